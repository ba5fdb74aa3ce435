"""Row 69: numpy's eigenvalues of the companion matrix, and the methods in numpy."""

import numpy as np
import pytest

N = 4
START = np.random.default_rng(69).standard_normal(2 * N)


def matrix(page, mu):
    A = page.drawn("A")
    return np.block([[mu * np.eye(N), A], [-A.T, mu * np.eye(N)]])


@pytest.fixture
def found(page):
    return page.run(start=START)


def radius(V, g):
    """Of (z_t+1/2, z_t-1/2) ↦ (z_t+3/2, z_t+1/2): z_t+3/2 = (I - 2gV) z_t+1/2 + gV z_t-1/2."""
    eye = np.eye(2 * N)
    return max(abs(np.linalg.eigvals(np.block([[eye - 2 * g * V, g * V], [eye, 0 * eye]]))))


def test_the_step_is_safe(page, found):
    V = matrix(page, 0.2)
    assert found["step"] == pytest.approx(1 / (4 * np.linalg.norm(V, 2)), rel=1e-6)
    assert page.certificates["z"].theorem == "optimistic-gradient"
    assert found["z.status"] == 0 and np.linalg.norm(found["z"]) < 1e-8


@pytest.mark.parametrize("method", ["past", "reflected", "optimistic"])
def test_the_observed_factor_is_the_spectral_radius(page, found, method):
    sizes = np.linalg.norm(found[method], axis=1)
    observed = (sizes[599] / sizes[299]) ** (1 / 300)
    assert observed == pytest.approx(radius(matrix(page, 0.2), found["step"]), abs=1e-3)
    assert observed < 0.999


def test_the_methods_are_numpys(page, found):
    V, g = matrix(page, 0.2), found["step"]
    z, v = START, V @ START
    past = []
    for _ in range(600):
        half = z - g * v
        v = V @ half
        z = z - g * v
        past.append(z)
    np.testing.assert_allclose(found["past"], past, rtol=1e-9, atol=1e-13)
    z, last, reflected = START, START, []
    for _ in range(600):
        z, last = z - g * V @ (2 * z - last), z
        reflected.append(z)
    np.testing.assert_allclose(found["reflected"], reflected, rtol=1e-9, atol=1e-13)
    # The optimistic state and the past half steps are one sequence: half_t = z_t - g V half_(t-1).
    z, last, half = START, V @ START, []
    for _ in range(600):
        z = z - g * last
        half.append(z)
        z, last = z + g * last - g * (V @ z), V @ z
    np.testing.assert_allclose(found["optimistic"][-1], z, rtol=1e-9, atol=1e-13)


def test_without_strong_monotonicity(page):
    flat = page.changed(("mu: 0.2", "mu: 0"), ("long: 2400", "long: 2"))
    assert flat.certificates["z"].verdict == "proved"
    found, V = flat.run(start=START, **{"z.max_iterations": 1}), matrix(page, 0.0)
    moved = np.linalg.norm(START - found["past"][-1]) / (found["step"] * 600)
    assert np.linalg.norm(V @ found["average"]) == pytest.approx(moved, rel=1e-9)
    assert np.linalg.norm(found["plain"]) > 1e6
    assert np.linalg.norm(found["past"][-1]) < 10 * np.linalg.norm(START)


def test_noise_leaves_an_error_of_1_over_t(found):
    """Strongly monotone with 0.2, and steps of 8/t, 8 > 1/0.2: E‖z_t‖² t stays bounded."""
    means = [found["noisy"][a:b].mean() * (a + b) / 2 for a, b in ((300, 600), (600, 1200), (1200, 2400))]
    assert 0.3 < means[1] / means[0] < 3 and 0.3 < means[2] / means[1] < 3
    assert found["noisy"][1200:].mean() < found["noisy"][150:300].mean() / 3
