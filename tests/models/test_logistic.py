"""Logistic regression with ℓ2 penalty on the breast cancer data, against scikit-learn's minimum."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

import banach

LEAST = 37.87776556


@pytest.fixture(scope="module")
def data():
    A, target = load_breast_cancer(return_X_y=True)
    return (A - A.mean(axis=0)) / A.std(axis=0), 2.0 * target - 1


@pytest.fixture(scope="module")
def model(model_file):
    return banach.load(model_file("logistic"))


def objective(x, data):
    A, labels = data
    return np.sum(np.logaddexp(0, -labels * (A @ x))) + x @ x / 2


def test_the_peer_agrees_with_the_stated_optimum(data):
    A, labels = data
    peer = LogisticRegression(C=1, fit_intercept=False, tol=1e-12, max_iter=10**5).fit(A, labels)
    assert objective(peer.coef_[0], data) == pytest.approx(LEAST, rel=1e-9)


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_every_backend_finds_the_optimum(backend, data, compiled):
    A, labels = data
    result = compiled("logistic", backend).run()
    x = result["x"]
    assert LEAST * (1 - 1e-9) <= objective(x, data) <= LEAST * (1 + 1e-9)
    assert float(result["objective"]) == pytest.approx(LEAST, rel=1e-9)
    assert np.mean(np.sign(A @ x) == labels) == pytest.approx(0.98770, abs=5e-6)
    assert result["x.status"] == 0
    slope = x - A.T @ (labels / (1 + np.exp(labels * (A @ x))))
    assert np.linalg.norm(slope) <= 1e-6


def test_certificate(data, model):
    certificate = model.check().certificates["x"]
    assert (certificate.verdict, certificate.theorem) == ("proved", "nesterov-strongly-convex")
    L = np.linalg.norm(data[0], 2) ** 2 / 4 + 1
    assert pytest.approx(1890.31, abs=0.01) == L
    assert certificate.lipschitz.to_floats()[1] == pytest.approx(L, rel=1e-6)
    # The factor of the objective's gap, 1 − √(mu/L), from the data in numpy.
    assert certificate.upper_factor == pytest.approx(1 - np.sqrt(1 / L), rel=1e-6)


def test_the_gap_falls_as_promised(data, model):
    """f(x_k) − f* ≤ q^k (f(0) − f* + ½‖x*‖²), along the oracle's run."""
    compiled, q = model.compile(to="oracle"), model.check().certificates["x"].upper_factor
    best = compiled.run()["x"]
    least = objective(best, data)
    first = objective(0 * best, data) - least + best @ best / 2
    for k in (1, 5, 20, 60, 150):
        x = compiled.run({"x.max_iterations": k, "x.tolerance": 1e-300})["x"]
        assert objective(x, data) - least <= q**k * first * (1 + 1e-9)
