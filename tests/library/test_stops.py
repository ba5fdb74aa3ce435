"""Every stop: its example ends at the number that numpy finds, and what is called a bound is one."""

import re

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler import library

A = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1], [0, 2, 1.0]])
B = np.array([1, -2, 3, 0.5, 1])
S = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2.0]])
W = np.array([[0.5, 0.2], [-0.1, 0.4]])
C = np.array([0.2, 1.1, -0.4])
Q = np.linalg.norm(W, 2)


def image(x: np.ndarray) -> np.ndarray:
    return np.tanh(W @ x) + [1, 2]


def slope(x: np.ndarray) -> np.ndarray:
    return A.T @ (A @ x - B)


def cost(x: np.ndarray) -> float:
    return np.sum((A @ x - B) ** 2) / 2


def soft(x: np.ndarray, t: float) -> np.ndarray:
    return np.sign(x) * np.maximum(abs(x) - t, 0)


def gap(x: np.ndarray) -> float:
    """Of the lasso: its objective, less that of its dual at the residual, scaled until it is allowed."""
    dual = (B - A @ x) * min(1, 0.5 / abs(A.T @ (B - A @ x)).max())
    return cost(x) + 0.5 * abs(x).sum() - (B @ dual - dual @ dual / 2)


norm = np.linalg.norm
VALUES = {
    "change": lambda old, new: norm(new - old),
    "relative_change": lambda old, new: norm(new - old) / norm(new),
    "largest_change": lambda old, new: abs(new - old).max(),
    "mixed_change": lambda old, new: norm(new - old) / (1e-6 + 1e-5 * norm(new)),
    "fixed_point_residual": lambda old, new: norm(image(new) - new),
    "certified_error": lambda old, new: Q / (1 - Q) * norm(new - old),
    "linear_residual": lambda old, new: norm([1, 2, 3] - S @ new) / norm([1, 2, 3]),
    "normal_residual": lambda old, new: norm(slope(new)) / norm(A.T @ B),
    "gradient_norm": lambda old, new: norm(slope(new)),
    "distance_bound": lambda old, new: norm(slope(new)) / np.linalg.eigvalsh(A.T @ A)[0],
    "proximal_gradient_norm": lambda old, new: norm(new - soft(new - 0.05 * slope(new), 0.025)) / 0.05,
    "objective_change": lambda old, new: abs(cost(new) - cost(old)) / max(abs(cost(new)), 1),
    "lasso_gap": lambda old, new: gap(new),
    "simplex_gap": lambda old, new: (new - C) @ new - (new - C).min(),
}
PAGES = [pytest.param(page, id=page.name) for page in library.pages("stop")]


def double(page: library.Page) -> banach.Model:
    return banach.loads(
        page.section.example.text.replace("banach: 1\n", "banach: 1\nprecision: float64\n", 1)
    )


@pytest.mark.parametrize("page", PAGES)
def test_it_stops_at_the_number_that_numpy_finds(page: library.Page) -> None:
    run = double(page).compile(to="oracle").run
    found = run()
    count, tolerance = (
        int(found["x.iterations"]),
        float(re.search(r"<= (\S+?)\"", page.section.example.text)[1]),
    )
    assert found["x.status"] == 0 and found["x.residual"] <= tolerance
    before = run({"x.max_iterations": count - 1})
    assert before["x.status"] == 1 and before["x.residual"] > tolerance  # and not a step too late
    expected = VALUES[page.name](before["x"], found["x"])
    assert found["x.residual"] == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("page", PAGES)
def test_it_runs_alike_and_its_certificate_is_verified(page: library.Page) -> None:
    model = banach.loads(page.section.example.text)
    certificate = model.check().certificates["x"]
    assert certificate.verdict == "proved"
    if "method:" in page.section.example.text:
        assert certificate.iterations is None  # a bound of the page's own residual says nothing of this one
    oracle = model.compile(to="oracle").run()
    for backend in ("onnx", "fx"):
        artifact = model.compile(to=backend)
        found = artifact.run()
        assert found["x.status"] == 0
        assert abs(int(found["x.iterations"]) - int(oracle["x.iterations"])) <= 2
        np.testing.assert_allclose(found["x"], oracle["x"], rtol=2e-3, atol=1e-4)
        if backend == "onnx":
            assert not verify(artifact.model).failed


def test_what_is_called_a_bound_is_one() -> None:
    """At every step: of the distance from the solution, or of the objective from its least value."""
    fixed = np.zeros(2)
    for _ in range(200):
        fixed = image(fixed)
    least = np.linalg.lstsq(A, B, rcond=None)[0]
    sparse = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, B).coef_
    simplex = np.array([0.05, 0.95, 0])
    errors = {
        "certified_error": lambda x: norm(x - fixed),
        "distance_bound": lambda x: norm(x - least),
        "lasso_gap": lambda x: cost(x) + 0.5 * abs(x).sum() - cost(sparse) - 0.5 * abs(sparse).sum(),
        "simplex_gap": lambda x: norm(x - C) ** 2 / 2 - norm(simplex - C) ** 2 / 2,
    }
    for name, error in errors.items():
        page = library.find(name)
        assert page is not None
        run = double(page).compile(to="oracle").run
        for k in range(1, 12):
            found = run({"x.max_iterations": k, "x.tolerance": 1e-300})
            assert error(found["x"]) <= found["x.residual"] * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("rule", ["certified_error(T, x, x')", "distance_bound(f, x')"])
def test_a_bound_that_is_not_known_never_says_stop(rule: str) -> None:
    method = "picard(T)" if "T" in rule else "gradient_descent(f)"
    found = banach.loads(f"""
banach: 1
operators:
  T(x): 1.5 * x
  f: least_squares([[1, 1], [1, 1]], [0, 0])
solve:
  x: {{method: {method}, start: zeros(2), stop: {{residual: "{rule} <= 1e-3", most: 20}}}}
outputs: {{x: x}}
""")
    assert found.compile(to="oracle").run()["x.status"] == 1
