"""What is called an acceleration takes fewer steps by a stated factor, on a stated problem, to one answer."""

import numpy as np
import pytest

import banach

random = np.random.default_rng(0)
G = np.linalg.qr(random.standard_normal((30, 30)))[0]


def with_eigenvalues(values: np.ndarray) -> np.ndarray:
    matrix = G @ np.diag(values) @ G.T
    return (matrix + matrix.T) / 2


SYMMETRIC = with_eigenvalues(np.linspace(-0.5, 0.97, 30))  # a contraction by 0.97
STEEP = with_eigenvalues(np.logspace(0, 2, 30))  # a condition of 100
SCALED = np.diag(np.logspace(0, 4, 30)) + 0.2 * SYMMETRIC  # badly scaled, and nothing else
RIGHT = random.standard_normal(30)
LINE = 2 * np.eye(31) - np.eye(31, k=1) - np.eye(31, k=-1)
GRID = np.maximum(1 - np.abs(np.arange(31)[:, None] - 2 * np.arange(15) - 1) / 2, 0)

SPEC = """
banach: 1
precision: float64
parameters:
  M: {matrix}
  r: {right}
operators:
  T(x): tanh(M @ x) + 0.02 * r
  f: least_squares(M, r)
  q: quadratic(M, -r)
  g: l1(0.1)
solve:
  x:
    method: {method}
    start: zeros({size})
    stop: {{residual: {tolerance}, most: 100000}}
outputs: {{x: x}}
"""


def solved(method: str, matrix: np.ndarray, tolerance: float) -> tuple[int, np.ndarray]:
    right = RIGHT if len(matrix) == 30 else np.ones(len(matrix))
    text = SPEC.format(
        matrix=matrix.tolist(), right=right.tolist(), method=method, size=len(matrix), tolerance=tolerance
    )
    found = banach.loads(text).compile(to="oracle").run()
    assert found["x.status"] == 0
    return int(found["x.iterations"]), found["x"]


@pytest.mark.parametrize(
    ("fast", "slow", "matrix", "factor"),
    [
        ("anderson(T)", "picard(T)", SYMMETRIC, 4),
        ("aitken(T)", "picard(T)", SYMMETRIC, 1.5),
        ("cg(M, r)", "richardson(M, r)", STEEP, 20),
        ("minres(M, r)", "richardson(M, r)", STEEP, 20),
        ("gmres(M, r)", "richardson(M, r)", STEEP, 10),
        ("chebyshev(M, r)", "richardson(M, r)", STEEP, 10),
        ("preconditioned_cg(M, r, diagonal(own))", "cg(M, r)", SCALED, 4),
        ("sor(M, r)", "gauss_seidel(M, r)", LINE, 2),
        ("two_grid(M, P, r)", "richardson(M, r)", LINE, 20),
        ("nesterov(q)", "gradient_descent(q)", STEEP, 8),
        ("triple_momentum(q)", "nesterov(q)", STEEP, 1.1),
        ("heavy_ball(q)", "gradient_descent(q)", STEEP, 1.8),
        ("barzilai_borwein(q)", "gradient_descent(q)", STEEP, 10),
        ("lbfgs(q)", "gradient_descent(q)", STEEP, 10),
        ("fista(q, g)", "proximal_gradient(q, g)", STEEP, 1.4),
        ("adaptive_restart(q, g)", "fista(q, g)", STEEP, 1.5),
        ("restarted_fista(q, g)", "proximal_gradient(q, g)", STEEP, 4),
    ],
    ids=lambda x: str(x) if isinstance(x, str) else "",
)
def test_fewer_steps_to_one_answer(fast: str, slow: str, matrix: np.ndarray, factor: float) -> None:
    tolerance = 1e-8
    for name, value in (("own", (1 / np.diag(matrix)).tolist()), ("P", GRID.tolist())):
        fast = fast.replace(name, str(value)) if f"{name})" in fast or f"{name}," in fast else fast
    few, answer = solved(fast, matrix, tolerance)
    many, expected = solved(slow, matrix, tolerance)
    assert few * factor <= many
    np.testing.assert_allclose(answer, expected, atol=2e-4 * np.abs(expected).max())


def test_the_start_matters_to_an_acceleration() -> None:
    """From its own answer every method stops at once, or nearly so."""
    _, answer = solved("anderson(T)", SYMMETRIC, 1e-12)
    text = SPEC.format(
        matrix=SYMMETRIC.tolist(), right=RIGHT.tolist(), method="anderson(T)", size=30, tolerance=1e-8
    ).replace("start: zeros(30)", f"start: '{answer.tolist()}'")
    assert banach.loads(text).compile(to="oracle").run()["x.iterations"] == 1
