"""Total variation denoising of a part of a photograph, against the optimum of an interior-point solver."""

import numpy as np
import pytest

import banach

LEAST = 30.04163131  # by Clarabel, to its last digit


@pytest.fixture(scope="module")
def picture(model_data):
    """(sharp, noisy)"""
    return model_data.noisy_cameraman()


def decibels(found, truth):
    return -10 * np.log10(np.mean((found - truth) ** 2))


def objective(u, noisy):
    down, right = np.zeros_like(u), np.zeros_like(u)
    down[:-1], right[:, :-1] = np.diff(u, axis=0), np.diff(u, axis=1)
    return np.sum((u - noisy) ** 2) / 2 + 0.1 * np.sum(np.hypot(down, right))


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_every_backend_finds_the_optimum(backend, picture, compiled):
    sharp, noisy = picture
    result = compiled("tv", backend).run(noisy=noisy)
    found = objective(result["u"], noisy)
    assert LEAST * (1 - 1e-9) <= found <= LEAST * (1 + 1e-5)
    assert float(result["objective"]) == pytest.approx(found, rel=1e-9)
    assert round(decibels(noisy, sharp), 2) == 20.02
    assert round(decibels(result["u"], sharp), 2) == 27.69
    assert result["u.status"] == 0


def test_certificate(model_file):
    report = banach.load(model_file("tv")).check()
    certificate = report.certificates["u"]
    assert report.ok and (certificate.verdict, certificate.theorem) == ("proved", "chambolle-pock")


def test_the_steps_are_not_a_hair_too_long(model_file):
    text = model_file("tv").read_text("utf-8")
    for tau, verdict in (("0.3535", "proved"), ("0.3536", "unknown")):  # 1/√8 = 0.35355
        told = text.replace("    start: noisy", f"    tau: {tau}\n    sigma: {tau}\n    start: noisy")
        told = told.replace("require: {u: converges}", "")
        assert banach.loads(told).check().certificates["u"].verdict == verdict
