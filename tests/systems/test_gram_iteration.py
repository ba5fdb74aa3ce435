"""Row 133: numpy's singular values of the matrix, and of the explicit matrix of the convolution."""

import numpy as np
import pytest

random = np.random.default_rng(135)  # its two largest singular values lie 12% apart
G, K = random.standard_normal((32, 24)), random.standard_normal((8, 8, 3, 3))
TORUS = 8


def circulant(K, n):
    """The doubly block-circulant matrix of a circular convolution, entry by entry."""
    matrix = np.zeros((8, n, n, 8, n, n))
    for p in range(3):
        for q in range(3):
            for i in range(n):
                for j in range(n):
                    matrix[:, i, j, :, (i - p) % n, (j - q) % n] += K[:, :, p, q]
    return matrix.reshape(8 * n * n, 8 * n * n)


@pytest.fixture
def found(page):
    return page.run(close=1e-10, G=G, K=K)


def test_bounds_of_a_matrix(found):
    top = np.linalg.norm(G, 2)
    assert found["bounds"].shape == (8,)
    for t, bound in enumerate(found["bounds"], start=1):
        assert top * (1 - 1e-10) <= bound <= 24 ** (2.0**-t) * top
        exact = (np.linalg.svd(G, compute_uv=False) ** 2**t).sum() ** 2.0**-t  # Schatten's norm
        assert bound == pytest.approx(exact, rel=1e-10)
    assert found["bounds"][5] / top - 1 < 1e-4
    assert found["bound"] == found["bounds"][-1]


def test_power_iteration_is_below(found):
    """What the bound is for: the other cheap estimate lies on the wrong side."""
    v = np.random.default_rng(1).standard_normal(24)
    for _ in range(8):
        v = G.T @ (G @ v)
        v /= np.linalg.norm(v)
    assert np.linalg.norm(G @ v) < np.linalg.norm(G, 2) * (1 - 1e-8) < found["bound"]


def test_bounds_of_a_convolution(found):
    top = np.linalg.norm(circulant(K, TORUS), 2)
    assert found["conv_bound"] == pytest.approx(top, rel=1e-6)
    assert all(bound >= top * (1 - 1e-10) for bound in found["conv_bounds"])
    assert np.all(np.diff(found["conv_bounds"]) <= 1e-9)


def test_zero_padding_is_bounded_by_the_larger_torus(page):
    """On 6 × 6 points with a border of zeros the convolution is a part of that on the torus of 8 × 8."""
    inner = np.zeros((8, 8), bool)
    inner[1:7, 1:7] = True
    kept = np.tile(inner.ravel(), 8)
    padded = circulant(K, TORUS)[:, kept]
    rows = np.tile(np.roll(inner, (1, 1), (0, 1)).ravel(), 8)
    assert np.linalg.norm(padded[rows], 2) <= page.run(G=G, K=K)["conv_bound"]


def test_bounds_are_differentiable(page):
    """At its limit the gradient is u vᵀ, of the largest singular value alone."""
    u, s, vt = np.linalg.svd(G)
    gradient = page.reverse("bound", "G", G=G, K=K, **{"d.bound": 1.0})["d.G"]
    weights = (s / s[0]) ** 255  # of the Schatten norm of order 256
    exact = (u[:, :24] * weights) @ vt * (s / s[0] ** 1 @ (s / s[0]) ** 255) ** (1 / 256 - 1)
    np.testing.assert_allclose(gradient, exact, rtol=1e-8, atol=1e-10)
    step, direction = 1e-6, random.standard_normal((8, 8, 3, 3))
    gradient = page.reverse("conv_bound", "K", G=G, K=K, **{"d.conv_bound": 1.0})["d.K"]
    ends = [page.run(G=G, K=K + h * direction)["conv_bound"] for h in (step, -step)]
    assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)
