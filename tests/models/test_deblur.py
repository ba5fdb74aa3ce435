"""Deblurring a photograph by conjugate gradients, against the closed form by FFT."""

from fractions import Fraction

import numpy as np
import pytest
from skimage.data import camera

import banach


@pytest.fixture(scope="module")
def picture():
    """(sharp, blurred, closed form), in float64."""
    sharp = camera().reshape(256, 2, 256, 2).mean((1, 3)) / 255
    distance = np.minimum(np.arange(256), 256 - np.arange(256))
    kernel = np.exp(-(distance**2) / 8)
    response = np.fft.fft(kernel / kernel.sum())
    response = np.outer(response, response)
    noise = 0.01 * np.random.default_rng(1).standard_normal((256, 256))
    blurred = np.fft.ifft2(response * np.fft.fft2(sharp)).real + noise
    exact = np.fft.ifft2(response.conj() * np.fft.fft2(blurred) / (np.abs(response) ** 2 + 0.01)).real
    return sharp, blurred, exact


def decibels(found, truth):
    return -10 * np.log10(np.mean((found - truth) ** 2))


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_every_backend_equals_the_closed_form(backend, picture, compiled, model_file):
    sharp, blurred, exact = picture
    result = compiled("deblur", backend).run(y=blurred)
    x = result["x"].astype(np.float64)
    assert round(decibels(blurred, sharp), 2) == 23.88
    assert round(decibels(x, sharp), 2) == 25.99
    assert np.abs(x - exact).max() <= 1e-5
    assert result["x.status"] == 0
    bound = banach.load(model_file("deblur")).check().certificates["x"].iterations
    assert result["x.iterations"] <= bound <= 300


def test_certificate(model_file):
    certificate = banach.load(model_file("deblur")).check().certificates["x"]
    assert certificate.verdict == "proved" and certificate.theorem == "conjugate-gradients"
    assert certificate.rate == "linear" and certificate.norm == "A"
    # κ of HᵀH + λI, from the symbol: at least that, and a good bound of it.
    distance = np.minimum(np.arange(256), 256 - np.arange(256))
    kernel = np.exp(-(distance**2) / 8)
    symbol = np.abs(np.fft.fft(kernel / kernel.sum()))
    spectrum = np.outer(symbol, symbol) ** 2 + 0.01
    root = np.sqrt(spectrum.max() / spectrum.min())
    factor = (root - 1) / (root + 1)
    assert factor * (1 - 1e-6) <= certificate.upper_factor <= factor * 1.01
    tolerance = float(Fraction(certificate.tolerance))
    # 2·sqrt(κ)·q^k <= tolerance: the least k, give or take the bound's own slack.
    least = int(np.ceil(np.log(tolerance / (2 * root)) / np.log(factor)))
    assert least <= certificate.iterations <= least + 2


def test_the_envelope_holds(picture, model_file):
    """The bound of the residual, checked along CG in numpy: 2·sqrt(κ)·q^k."""
    _, blurred, _ = picture
    distance = np.minimum(np.arange(256), 256 - np.arange(256))
    kernel = np.exp(-(distance**2) / 8)
    response = np.fft.fft(kernel / kernel.sum())
    response = np.abs(np.outer(response, response)) ** 2 + 0.01
    certificate = banach.load(model_file("deblur")).check().certificates["x"]
    root = (1 + certificate.upper_factor) / (1 - certificate.upper_factor)
    b = np.fft.ifft2(np.sqrt(response - 0.01) * np.fft.fft2(blurred)).real
    r = p = b
    for k in range(1, 90):
        Ap = np.fft.ifft2(response * np.fft.fft2(p)).real
        alpha = np.sum(r * r) / np.sum(p * Ap)
        new = r - alpha * Ap
        p, r = new + np.sum(new * new) / np.sum(r * r) * p, new
        assert np.linalg.norm(r) <= 2 * root * certificate.upper_factor**k * np.linalg.norm(b)
