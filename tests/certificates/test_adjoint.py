"""What is said of the adjoint of a fixed point, against the derivative at scipy's solution, and runs."""

import json

import numpy as np
import onnx
import pytest
from scipy.optimize import root

import banach
from banach.backends.onnx.verifier import verify

HEAD = """\
banach: 1
precision: float64
parameters:
  A: [[4, 1, 0], [1, 3, 1], [0, 1, 2]]
  B: [[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1]]
  W: [[0.5, 0.3, 0], [-0.2, 0.4, 0.1], [0.1, 0, 0.3]]
  P: [[3, 1, 0.2], [0.1, 2, 1], [1, 0.5, 4]]
  b: [1, -2, 0.5]
  c: [1, 2, 0.5, -1]
operators:
  f: least_squares(B, c)
  g: l1(0.1)
  T(x): tanh(W @ x + b)
solve:
  x: HOW
outputs: {x: x}
"""
A = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
B = np.array([[2.0, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1]])
W = np.array([[0.5, 0.3, 0], [-0.2, 0.4, 0.1], [0.1, 0, 0.3]])
P = np.array([[3, 1, 0.2], [0.1, 2, 1], [1, 0.5, 4]])
b, c = np.array([1, -2, 0.5]), np.array([1, 2, 0.5, -1])
L = np.linalg.norm(B, 2) ** 2
STOP = "stop: {residual: 1e-8, most: 5000}"


def soft(x: np.ndarray, t: float) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


# The equation in numpy, by the page's own words for it: what its derivative is taken of.
CASES = {
    "picard(T)": lambda x: np.tanh(W @ x + b),
    "anderson(T)": lambda x: np.tanh(W @ x + b),
    "cg(A, b)": lambda x: x - (A @ x - b) / np.linalg.norm(A, 2),
    "conjugate_residual(A, b)": lambda x: x - (A @ x - b) / np.linalg.norm(A, 2),
    "minres(A, b)": lambda x: x - A.T @ (A @ x - b) / np.linalg.norm(A, 2) ** 2,
    "cgls(B, c)": lambda x: x - B.T @ (B @ x - c) / L,
    "jacobi(A, b)": lambda x: x + (b - A @ x) / np.diag(A),
    "gradient_descent(f)": lambda x: x - B.T @ (B @ x - c) / L,
    "nesterov(f)": lambda x: x - B.T @ (B @ x - c) / L,
    "fista(f, g)": lambda x: soft(x - B.T @ (B @ x - c) / L, 0.1 / L),
    "proximal_gradient(f, g)": lambda x: soft(x - B.T @ (B @ x - c) / L, 0.1 / L),
}


def checked(how: str):
    return banach.loads(HEAD.replace("HOW", how)).check().certificates["x"]


def jacobian(step, x: np.ndarray) -> np.ndarray:
    h = 1e-6
    return np.stack([(step(x + h * e) - step(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=1)


def trips(J: np.ndarray, g: np.ndarray, tolerance: float) -> int:
    """Steps of v <- Jᵀv + g from g until a move is as small as tolerance·‖g‖."""
    v, k = g, 0
    while True:
        new, k = J.T @ v + g, k + 1
        if np.linalg.norm(new - v) <= tolerance * np.linalg.norm(g):
            return k
        v = new


@pytest.mark.parametrize("method", CASES)
def test_the_derivative_is_no_larger_and_no_run_longer(method: str) -> None:
    found = checked(f"{{method: '{method}', start: 'zeros(3)', {STOP}}}")
    adjoint, step = found.adjoint, CASES[method]
    assert adjoint.verdict == "proved" and adjoint.factor < 1
    solution = root(lambda x: step(x) - x, np.full(3, 0.1), tol=1e-13)
    assert solution.success
    J = jacobian(step, solution.x)
    assert np.abs(np.linalg.eigvals(J)).max() <= adjoint.factor * (1 + 1e-6)
    if adjoint.norm == "l2":
        assert np.linalg.norm(J, 2) <= adjoint.factor * (1 + 1e-6)
        random = np.random.default_rng(0)
        worst = [np.linalg.svd(J)[0][:, 0], *random.standard_normal((50, 3))]
        assert max(trips(J, g, 1e-8) for g in worst) <= adjoint.iterations
    else:
        assert adjoint.iterations is None


def test_ratios_bound_the_derivative_too() -> None:
    """Thompson's metric: D⁻¹JD for D = diag(x*) has rows of at most the factor."""
    next = "(P @ x + 1)**0.6"
    stop = "stop: {residual: norm(x' - x) <= 1e-9, most: 500}"
    found = checked(f"{{state: {{x: 'ones(3)'}}, next: {{x: '{next}'}}, {stop}}}")
    assert (found.adjoint.verdict, found.adjoint.norm) == ("proved", "thompson")
    x = np.ones(3)
    for _ in range(200):
        x = (P @ x + 1) ** 0.6
    J = jacobian(lambda x: (P @ x + 1) ** 0.6, x)
    assert np.abs(J * x / x[:, None]).sum(1).max() <= found.adjoint.factor + 1e-6


def test_what_is_not_known() -> None:
    assert (
        "10000 are allowed"
        in checked(f"{{method: 'richardson(A, b)', start: 'zeros(3)', step: 1e-5, {STOP}}}").adjoint.missing
    )
    flat = HEAD.replace("least_squares(B, c)", "least_squares([[1, 1, 0]], [1])")
    how = f"{{method: 'proximal_gradient(f, g)', start: 'zeros(3)', {STOP}}}"
    found = banach.loads(flat.replace("HOW", how)).check().certificates["x"]
    assert (found.verdict, found.adjoint.verdict) == ("proved", "unknown")
    assert "would have to be below 1" in found.adjoint.missing


def test_where_there_is_none() -> None:
    for way in ("unrolled", "one_step"):
        how = f"{{method: 'picard(T)', start: 'zeros(3)', gradient: {way}, {STOP}}}"
        assert checked(how).adjoint is None
    assert checked(f"{{method: 'pdhg(g, g, W)', start: 'zeros(3)', {STOP}}}").adjoint is None


def test_it_is_told() -> None:
    document = checked(f"{{method: 'picard(T)', start: 'zeros(3)', {STOP}}}").to_json()["adjoint"]
    assert document["verdict"] == "proved" and document["missing"] is None and document["norm"] == "l2"


@pytest.mark.parametrize("how", ["picard(T)", "cg(A, b)", "fista(f, g)"])
def test_the_file_is_checked_for_it(how: str) -> None:
    """A smaller factor, fewer steps, or a factor of something else does not pass."""
    text = HEAD.replace("HOW", f"{{method: '{how}', start: 'zeros(3)', {STOP}}}")
    sealed = banach.loads(text).compile(to="onnx").model
    found = verify(sealed)
    assert found.ok and any("its adjoint" in line for line in found.checked)
    for change in ("factor", "iterations", "tree"):
        model = onnx.load_from_string(sealed.SerializeToString())
        entry = next(e for e in model.metadata_props if e.key == "banach.certificate")
        document = json.loads(entry.value)
        (told,) = document["certificates"]
        if change == "factor":
            told["adjoint"]["factor"] *= 0.99
        elif change == "iterations" and told["adjoint"]["iterations"] is not None:
            told["adjoint"]["iterations"] -= 2
        else:
            told["evidence"]["adjoint"] = ["number", "1"]
        entry.value = json.dumps(document)
        assert not verify(model).ok, change
