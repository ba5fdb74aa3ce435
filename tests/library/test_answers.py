"""The answers of examples, by programs that are not ours."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares, minimize, root
from sklearn.linear_model import Lasso

import banach
from banach.compiler import library

A = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1], [0, 2, 1.0]])
B = np.array([1, -2, 3, 0.5, 1])
S = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2.0]])
N = np.array([[4, 1, 0], [-1, 3, 2], [0, -1, 2]])
W = np.array([[0.5, 0.2, 0], [-0.1, 0.4, 0.3], [0.2, 0, 0.6]])
TURN = np.array([[0, -1], [1, 0.0]])
WEIGHT = A.sum(1)[:, None]
WIDE = np.array([[2, 1, 0], [1, 0, 3.0]])
NEAREST = 1 + np.linalg.pinv(WIDE) @ ([1, -2] - WIDE @ np.ones(3))
LASSO = Lasso(alpha=0.5 / 5, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, B).coef_
LASSO_SOLVERS = ("chambolle_dossal", "restarted_fista", "adaptive_restart", "proximal_gradient", "fista")
ROOT = root(lambda x: [x @ x - 4, np.exp(x[0]) + x[1] - 1], [1, -1], tol=1e-14).x
TIMES, SEEN = np.arange(5), np.array([2, 1.3, 0.7, 0.5, 0.25])
FIT = least_squares(lambda x: x[0] * np.exp(-x[1] * TIMES) - SEEN, [1, 0.2], xtol=1e-15, ftol=1e-15).x
CLOSE = (
    "fista",
    "mirror_descent",
    "dopri5",
    "sinkhorn",
    "gauss_newton",
    "levenberg_marquardt",
    *LASSO_SOLVERS,
)


def pendulum(t: float, y: np.ndarray) -> list[float]:
    return [y[1], -np.sin(y[0])]


def example(name: str, most: int = 10**5) -> np.ndarray:
    page = library.find(name)
    assert page is not None and page.section.example is not None
    text = page.section.example.text.replace("banach: 1\n", "banach: 1\nprecision: float64\n", 1)
    return banach.loads(text).compile(to="oracle").run({"x.tolerance": 1e-12, "x.max_iterations": most})["x"]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("landweber", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("cgls", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("conjugate_residual", np.linalg.solve(S, [1, 2, 3])),
        ("chebyshev", np.linalg.solve(S, [1, 2, 3])),
        ("jacobi", np.linalg.solve(S, [1, 2, 3])),
        ("gauss_seidel", np.linalg.solve(S, [1, 2, 3])),
        ("extragradient", np.linalg.solve(TURN, [-1, -2])),
        ("optimistic_gradient", np.linalg.solve(TURN, [-1, -2])),
        ("peaceman_rachford", np.array([0.5, -1.5, 0.0])),  # the soft threshold of (1, -2, 0.25) by 0.5
        ("admm", np.array([0.5, -1.5, 0.0])),
        ("kaczmarz", NEAREST),
        ("sor", np.linalg.solve(S, [1, 2, 3])),
        ("ssor", np.linalg.solve(S, [1, 2, 3])),
        ("gmres", np.linalg.solve(N, [1, 2, 3])),
        ("bicgstab", np.linalg.solve(N, [1, 2, 3])),
        ("minres", np.linalg.solve([[4, 1, 0], [1, -3, 1], [0, 1, 2]], [1, 2, 3])),
        ("preconditioned_cg", np.linalg.solve([[100, 1, 0], [1, 3, 1], [0, 1, 0.5]], [1, 2, 3])),
        ("two_grid", np.linalg.solve(2 * np.eye(5) - np.eye(5, k=1) - np.eye(5, k=-1), [1, 2, 3, -1, 0.5])),
        ("sirt", np.linalg.solve(A.T @ (A / WEIGHT), A.T @ (B / A.sum(1)))),
        ("lbfgs", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("barzilai_borwein", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("backtracking", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("triple_momentum", np.linalg.lstsq(A, B, rcond=None)[0]),
        ("polyak_step", np.linalg.solve([[2, 1, 0], [0, 1, 1], [1, 0, 3]], [1, -2, 3])),
        ("fast_extragradient", np.linalg.solve(TURN, [-1, -2])),
        *((name, np.array([-1.5, -1.5])) for name in ("tseng", "forward_reflected_backward", "golden_ratio")),
        *((name, LASSO) for name in (*LASSO_SOLVERS, "linearized_admm", "coordinate_descent")),
        ("newton", ROOT),
        ("broyden", ROOT),
        ("gauss_newton", FIT),
        ("levenberg_marquardt", FIT),
        ("aitken", np.linalg.solve(np.eye(2) - [[0.5, 0.2], [0.1, 0.8]], [1, 2])),
        ("anderson", root(lambda x: np.tanh(W @ x) + [1, 2, -1] - x, np.ones(3), tol=1e-14).x),
        ("mirror_descent", np.array([0.05, 0.95, 0])),
        ("dopri5", solve_ivp(pendulum, (0, 5), [1, 0.2], rtol=1e-12, atol=1e-13).y[:, -1]),
        ("alternating_proximal", -np.array([1, 1, 0]) / np.sqrt(2)),
    ],
)
def test_an_example_finds_its_answer(name: str, answer: np.ndarray) -> None:
    np.testing.assert_allclose(example(name), answer, atol=1e-6 if name in CLOSE else 1e-8)


def test_condat_vu_finds_a_minimiser() -> None:
    """min ½‖x − c‖² + Σ huber(Ax) over x ≥ 0: no projected gradient step moves it."""
    c, x = np.array([1, -2, 0.25]), example("condat_vu")
    step = np.maximum(x - 0.05 * (x - c + A.T @ np.clip(A @ x, -0.5, 0.5)), 0)
    np.testing.assert_allclose(step, x, atol=1e-9)
    assert np.all(x >= -1e-12)


def test_value_iteration_finds_the_best_policy() -> None:
    """Of all four policies, each by a linear system, the best in every state."""
    reward = np.array([[1, 0], [2, -1.0]])
    chance = np.array([[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]])
    values = []
    for first in (0, 1):
        for second in (0, 1):
            P = np.stack([chance[0, first], chance[1, second]])
            r = np.array([reward[0, first], reward[1, second]])
            values.append(np.linalg.solve(np.eye(2) - 0.9 * P, r))
    np.testing.assert_allclose(example("value_iteration"), np.max(values, axis=0), atol=1e-9)


def test_dykstra_projects_on_what_two_sets_share() -> None:
    found = minimize(
        lambda x: np.sum((x - [1, 2, 3]) ** 2),
        np.array([-0.65, -0.65, 0]),
        constraints=[
            {"type": "ineq", "fun": lambda x: 1 - x @ x},
            {"type": "ineq", "fun": lambda x: -1.2 - x[0] - x[1]},
        ],
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(example("dykstra"), found.x, atol=1e-5)


def test_frank_wolfe_comes_near_the_projection_on_the_simplex() -> None:
    x = example("frank_wolfe")
    assert np.all(x >= -1e-12) and x.sum() == pytest.approx(1)
    np.testing.assert_allclose(x, [0.05, 0.95, 0], atol=1e-3)


def test_viscosity_chooses_among_the_fixed_points() -> None:
    """Of all (a, 1), the one with a = a/2 + 1."""
    np.testing.assert_allclose(example("viscosity", 2000), [2, 1], atol=0.06)


def test_sinkhorn_keeps_the_sums_and_the_form() -> None:
    plan = example("sinkhorn")
    np.testing.assert_allclose(plan.sum(1), [0.6, 0.4], atol=1e-9)
    np.testing.assert_allclose(plan.sum(0), [0.3, 0.3, 0.4], atol=1e-9)
    scales = np.log(plan / np.array([[1, 0.4, 0.2], [0.5, 1, 0.6]]))
    np.testing.assert_allclose(scales - scales[:1] - scales[:, :1] + scales[0, 0], 0, atol=1e-9)
