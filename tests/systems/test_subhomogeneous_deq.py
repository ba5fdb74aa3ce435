"""Row 38: scipy's root, and the iteration in logarithms, in numpy."""

import itertools

import numpy as np
import pytest
from scipy.optimize import root

N, MU = 50, 0.7
U_IN = np.random.default_rng(38).standard_normal(8)


def thompson(z, y):
    return np.abs(np.log(z) - np.log(y)).max()


@pytest.fixture
def step(page):
    W, b = page.drawn("W"), np.logaddexp(0, page.drawn("U") @ U_IN - 2)
    return lambda log_z: MU * np.log(np.tanh(W @ np.exp(log_z) + b))


def test_two_starts_meet_at_scipys_root(page, step):
    low, high = (page.run(u=U_IN, start=np.full(N, size)) for size in (1e-3, 5.0))
    assert low["z.status"] == high["z.status"] == 0
    assert thompson(low["z"], high["z"]) <= 1e-12
    exact = root(lambda log_z: step(log_z) - log_z, np.zeros(N), tol=1e-14)
    assert exact.success
    assert thompson(low["z"], np.exp(exact.x)) <= 1e-11
    assert 5 < high["z.iterations"] < 100


def test_every_ratio_is_below_the_degree(page, step):
    start = np.random.default_rng(1).uniform(1e-3, 5, N)
    log_z, path = np.log(start), [start]
    for most in range(1, 9):
        log_z = step(log_z)
        path.append(page.run(u=U_IN, start=start, **{"z.max_iterations": most})["z"])
        np.testing.assert_allclose(path[-1], np.exp(log_z), rtol=1e-12)
    steps = [thompson(new, old) for old, new in itertools.pairwise(path)]
    ratios = np.array(steps[1:]) / steps[:-1]
    assert 0.05 < ratios.max() <= MU


def test_only_this_metric_can_certify(page):
    """‖W‖ > 1, so the product of Lipschitz bounds is beyond 1; the power is steep near 0 besides."""
    assert np.linalg.norm(page.drawn("W"), 2) > 1.2


def test_implicit_gradient(page, step):
    b = np.logaddexp(0, page.drawn("U") @ U_IN - 2)
    z = page.run(u=U_IN, start=np.ones(N))["z"]
    slope = MU * z ** (1 - 1 / MU) * (1 - z ** (2 / MU))  # d/da tanh(a)^μ at z = tanh(a)^μ
    v = np.random.default_rng(2).standard_normal(N)
    adjoint = np.linalg.solve((np.eye(N) - slope[:, None] * page.drawn("W")).T, v)
    exact = page.drawn("U").T @ ((1 - np.exp(-b)) * slope * adjoint)
    found = page.reverse("z", "u", u=U_IN, start=np.ones(N), **{"d.z": v})
    np.testing.assert_allclose(found["d.u"], exact, rtol=1e-8, atol=1e-9)
