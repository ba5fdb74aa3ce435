"""Row 105: numpy's dense solve, and a simulation that keeps every iterate."""

import numpy as np
import pytest

N = 12


def schedule(tau, K, n=N, seed=0):
    """(order, delays): permutations one after the other, and delays up to tau, to the start at most."""
    random = np.random.default_rng(seed + tau)
    order = np.concatenate([random.permutation(n) for _ in range(-(-K // n))])[:K]
    delays = random.integers(0, tau + 1, (K, n))
    return order, np.minimum(delays, np.arange(K)[:, None])


def simulated(M, b, order, delays):
    path = [np.zeros(len(b))]
    for i, delay in zip(order, delays):
        seen = np.array([path[len(path) - 1 - d][j] for j, d in enumerate(delay)])
        new = path[-1].copy()
        new[i] = M[i] @ seen + b[i]
        path.append(new)
    return np.array(path)


@pytest.fixture
def affine(page):
    hollow = page.drawn("drawn")
    np.fill_diagonal(hollow, 0)
    return 0.9 * hollow / np.abs(hollow).sum(1, keepdims=True), page.drawn("b")


@pytest.mark.parametrize(("tau", "K"), [(0, 300), (5, 400), (20, 700)])
def test_the_bound_holds_for_every_delay(page, affine, tau, K):
    M, b = affine
    order, delays = schedule(tau, K)
    found = page.run(order=order, delays=delays)
    np.testing.assert_allclose(found["path"], simulated(M, b, order, delays)[1:], rtol=1e-11, atol=1e-12)
    exact = np.linalg.solve(np.eye(N) - M, b)
    errors = np.abs(np.vstack([np.zeros(N), found["path"]]) - exact).max(1)
    bound = 0.9 ** (np.arange(K + 1) // (2 * N - 1 + tau)) * errors[0]
    assert np.all(errors <= bound * (1 + 1e-12))
    assert errors[-1] < 1e-8
    np.testing.assert_allclose(found["x"], exact, rtol=1e-10)


def test_the_certificate_is_that_of_the_maximum_norm(page, affine):
    certificate = page.certificates["x"]
    assert certificate.norm == "linf"
    assert certificate.upper_factor == pytest.approx(np.abs(affine[0]).sum(1).max(), rel=1e-9)


def test_a_rotation_bears_no_delay(page):
    """ρ(M) = 0.98 and ρ(|M|) = 1.27: by Chazan and Miranker some delays must make it diverge."""
    c, s = 0.98 * np.cos(1.2), 0.98 * np.sin(1.2)
    M = np.array([[c, -s], [s, c]])
    assert max(abs(np.linalg.eigvals(M))) < 0.99 and max(abs(np.linalg.eigvals(np.abs(M)))) > 1.2
    turned = page.changed(
        ("n: 12,", "n: 2,"),
        ("M: 0.9 * hollow / reshape(sum(abs(hollow), axis=1), n, 1)", f"M: [[{c}, {-s}], [{s}, {c}]]"),
        ("require: {x: converges}", ""),
        ("method: jacobi(eye(n) - M, b)", "method: picard(T)"),  # Jacobi's own matrix has radius 1.4 here
    )
    order = np.tile([0, 1], 1500)
    K = len(order)
    none = turned.run(order=order, delays=np.zeros((K, 2), int), **{"x.max_iterations": 1})
    exact = np.linalg.solve(np.eye(2) - M, turned.drawn("b"))
    np.testing.assert_allclose(none["late"], exact, rtol=1e-6)
    late = np.minimum(8, np.arange(K))[:, None].repeat(2, axis=1)
    found = turned.run(order=order, delays=late, **{"x.max_iterations": 1})
    assert np.abs(found["late"]).max() > 1e6
