"""Row 8: the operator in numpy with rfft and irfft, on several grids; Poisson's equation in closed form."""

import math

import numpy as np
import pytest

import banach

MODES, WIDTH = 8, 16
erf = np.vectorize(math.erf)


def band_limited(n):
    x = np.arange(n) / n
    return np.cos(2 * np.pi * x) + 0.5 * np.sin(4 * np.pi * x) - 0.3 * np.cos(6 * np.pi * x + 1)


def numpy_operator(page, u):
    re, im, W = page.drawn("re"), page.drawn("im"), page.drawn("W")
    n = len(u)
    v = page.drawn("lift") @ np.stack([u, np.sin(2 * np.pi * np.arange(n) / n)])
    for layer in range(3):
        spectrum = np.zeros((WIDTH, n // 2 + 1), complex)
        spectrum[:, :MODES] = np.einsum("koc,ck->ok", re[layer] + 1j * im[layer], np.fft.rfft(v)[:, :MODES])
        v = np.fft.irfft(spectrum, n) + W[layer] @ v
        v = v * (1 + erf(v / math.sqrt(2))) / 2
    return page.drawn("read") @ v


def on_grid(page, n, **inputs):
    """The page with another number of points, and nothing else changed."""
    resized = page if n == 64 else page.changed(("n: 64,", f"n: {n},"))
    return resized.run(**{"u": np.zeros(n), "f": np.zeros(n), **inputs})


def test_it_does_not_depend_on_the_grid(page):
    found = {n: on_grid(page, n, u=band_limited(n))["y"] for n in (32, 64, 1024)}
    for n, y in found.items():
        np.testing.assert_allclose(y, numpy_operator(page, band_limited(n)), rtol=1e-11, atol=1e-11)
    for n, close in ((64, 1e-8), (32, 1e-6)):
        assert np.abs(found[n] - found[1024][:: 1024 // n]).max() <= close * np.abs(found[1024]).max()
    assert np.ptp(found[1024]) > 0.05


@pytest.mark.parametrize("n", [16, 64])
def test_poisson(page, n):
    x = np.arange(n) / n
    f = np.sin(2 * np.pi * x) + 2 * np.cos(2 * np.pi * 3 * x) + 5  # a mean has no solution: it is left out
    exact = np.sin(2 * np.pi * x) / (2 * np.pi) ** 2 + 2 * np.cos(2 * np.pi * 3 * x) / (6 * np.pi) ** 2
    np.testing.assert_allclose(on_grid(page, n, f=f)["potential"], exact, rtol=0, atol=1e-12)


def test_a_grid_with_fewer_points_than_modes_is_refused(page):
    with pytest.raises(banach.SpecError, match="modes"):
        on_grid(page, 7)
