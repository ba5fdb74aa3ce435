"""Sparse regression: the certificate, and the answer of every backend against scikit-learn's."""

import numpy as np
import pytest
from onnx import numpy_helper
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

import banach

WEIGHT = 94.943526
LEAST = 798767.044659
SUPPORT = {1, 2, 3, 6, 8}
BACKENDS = ("oracle", "onnx", "fx")


@pytest.fixture(scope="module")
def data():
    A, target = load_diabetes(return_X_y=True)
    return A, target - target.mean()


def objective(x, data):
    A, b = data
    return 0.5 * np.sum((A @ x - b) ** 2) + WEIGHT * np.sum(np.abs(x))


def test_the_table_is_scikit_learns(data, compiled):
    """The coefficients below answer the stated problem: A and b as the compiled file holds them."""
    A, b = data
    held = [numpy_helper.to_array(tensor) for tensor in compiled("lasso", "onnx").model.graph.initializer]
    assert any(w.shape in (A.shape, A.T.shape) for w in held)
    for array in held:
        if array.size == A.size:
            np.testing.assert_allclose(array if array.shape == A.shape else array.T, A, rtol=1e-6, atol=1e-9)
        if array.size == b.size:
            np.testing.assert_allclose(array.ravel(), b, rtol=1e-6, atol=1e-4)


def test_the_peer_agrees_with_the_stated_optimum(data):
    """scikit-learn's coordinate descent, so that the number of the issue is not taken on trust."""
    A, b = data
    peer = Lasso(alpha=WEIGHT / len(b), fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, b)
    assert objective(peer.coef_, data) == pytest.approx(LEAST, rel=1e-9)
    assert set(np.flatnonzero(peer.coef_)) == SUPPORT


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_finds_the_optimum(backend, data, compiled):
    result = compiled("lasso", backend).run()
    x = result["coefficients"].astype(np.float64)
    assert LEAST * (1 - 1e-9) <= objective(x, data) <= LEAST * (1 + 1e-6)
    assert float(result["objective"]) == pytest.approx(LEAST, rel=1e-6)
    assert set(np.flatnonzero(x)) == SUPPORT
    assert result["x.status"] == 0
    assert 0 < result["x.iterations"] < 5000
    assert result["x.residual"] <= 1e-6 * np.linalg.norm(x) * 1.0001
    # Optimality, from the definition: -Aᵀ(Ax - b) is λ·sign(x) on the support, and within λ off it.
    A, b = data
    pull = A.T @ (b - A @ x)
    on = x != 0
    np.testing.assert_allclose(pull[on], WEIGHT * np.sign(x[on]), rtol=1e-4)
    assert np.all(np.abs(pull[~on]) <= WEIGHT * (1 + 1e-4))


def test_backends_agree(compiled):
    found = [compiled("lasso", backend).run() for backend in BACKENDS]
    for other in found[1:]:
        assert set(other) == set(found[0])
        np.testing.assert_allclose(other["coefficients"], found[0]["coefficients"], rtol=1e-4, atol=1e-2)
        assert abs(int(other["x.iterations"]) - int(found[0]["x.iterations"])) <= 5


def test_certificate(data, model_file):
    model = banach.load(model_file("lasso"))
    report = model.check()
    certificate = report.certificates["x"]
    assert report.ok and not [d for d in report.diagnostics if d.severity == "error"]
    assert certificate.verdict == "proved"
    assert certificate.theorem == "fista" and certificate.rate == "O(1/k^2)"
    low, high = certificate.lipschitz.to_floats()
    exact = np.linalg.norm(data[0], 2) ** 2
    assert low <= exact * (1 + 1e-6) and exact * (1 - 1e-6) <= high <= 4.0243
    assert all(hypothesis.holds for hypothesis in certificate.hypotheses)
    told = report.to_json()["certificates"][0]
    assert told["claim"]["rate"] == "O(1/k^2)" and told["claim"]["quantity"] == "objective gap"
    assert told["lipschitz"] == [low, high]
    assert told["factor"] is None and told["witness"] is None


def fista(data, iterations):
    """Beck and Teboulle's iterates in numpy, from 0 with the step 1/L: x_1, x_2, ..."""
    A, b = data
    step = 1 / np.linalg.norm(A, 2) ** 2
    x = y = np.zeros(10)
    s = 1.0
    for _ in range(iterations):
        v = y - step * A.T @ (A @ y - b)
        new = np.sign(v) * np.maximum(np.abs(v) - step * WEIGHT, 0)
        following = (1 + np.sqrt(1 + 4 * s * s)) / 2
        y, x, s = new + (s - 1) / following * (new - x), new, following
        yield x


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("most", [1, 2, 3, 17])
def test_it_is_fista(backend, most, data, compiled):
    """Not some iteration that ends at the same point: the iterates themselves."""
    result = compiled("lasso", backend).run({"x.max_iterations": most})
    assert result["x.iterations"] == most and result["x.status"] == 1
    np.testing.assert_allclose(result["coefficients"], list(fista(data, most))[-1], rtol=1e-4, atol=2e-2)


def test_the_certified_bound_holds(data, model_file):
    """f(x_k) - f* <= 2‖x0 - x*‖²/(step (k+1)²), at each k, in a numpy run of FISTA."""
    A, b = data
    solution = Lasso(alpha=WEIGHT / len(b), fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, b).coef_
    for k, x in enumerate(fista(data, 60), 1):
        bound = 2 * solution @ solution * np.linalg.norm(A, 2) ** 2 / (k + 1) ** 2
        assert objective(x, data) - LEAST <= bound * (1 + 1e-9)
    certificate = banach.load(model_file("lasso")).check().certificates["x"]
    assert certificate.bound == "2 * norm(start - solution)**2 / (step * (k + 1)**2)"


def test_b_is_no_input_to_differentiate(model_file):
    """b is a parameter: there is nothing to take a gradient with respect to, and it says so."""
    model = banach.load(model_file("lasso"))
    with pytest.raises(banach.SpecError, match=r"B401.*no real input `b`"):
        model.reverse(output="coefficients", wrt="b")
    with pytest.raises(banach.SpecError, match=r"B401.*no real output `x`"):
        model.reverse(output="x", wrt="b")
