"""Solvers of the library on random problems, against programs that are not ours.

A spec takes its data as inputs, of sizes that only the run knows, so it is compiled once. Shapes are odd (one
row, one column, wide, tall, primes), and every third problem is ill-conditioned: singular values over three
powers of ten, much noise, few links. Fifty instances each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cvxpy
import networkx
import numpy as np
import pyamg
import pytest
import scipy.sparse
from scipy.optimize import least_squares, linprog, lsq_linear, nnls
from sklearn.linear_model import Lasso, Ridge

import banach

SHAPES = [(1, 1), (7, 1), (1, 5), (5, 5), (13, 7), (7, 13), (23, 11), (11, 17), (31, 2), (2, 29)]
Random = np.random.Generator
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A spec, random inputs for it, and their answer by somebody else; `close` is relative to its size."""

    spec: str
    inputs: Callable[[Random, int], Inputs]
    answer: Callable[..., np.ndarray]
    output: str = "x"
    close: float = 1e-6


def matrix(random: Random, m: int, n: int, hard: bool) -> np.ndarray:
    """[m, n] with singular values from 1 down to 1/2, or to 1e-3 where it is hard."""
    u, _, v = np.linalg.svd(random.standard_normal((m, n)), full_matrices=False)
    return (u * np.geomspace(1, 1e-3 if hard else 0.5, min(m, n))) @ v


def shape(k: int) -> tuple[int, int]:
    return SHAPES[k % len(SHAPES)]


def hard(k: int) -> bool:
    return k % 3 == 2


# --- sparse, nonnegative and smooth fits --------------------------------------------------------------------


def fit(random: Random, k: int) -> Inputs:
    m, n = shape(k)
    a = matrix(random, m, n, hard(k))
    return {"A": a, "b": a @ random.standard_normal(n) + 0.1 * random.standard_normal(m)}


FIT = """
banach: 1
precision: float64
sizes: {m: any, n: any}
inputs: {A: "real[m, n]", b: "real[m]"}
operators:
  f: least_squares(A, b)
  g: PENALTY
solve:
  x:
    method: METHOD
    start: zeros(n)
    stop: {residual: TOLERANCE, most: 200000}
outputs:
  x: x
  objective: f(x)VALUE
"""


def fitting(method: str, penalty: str = "l1(0.05)", value: str = "", tolerance: str = "1e-12") -> str:
    """The spec of a fit, whose objective is that of the data and, if it has one, the penalty's value."""
    words = {"METHOD": method, "PENALTY": penalty, "VALUE": value, "TOLERANCE": tolerance}
    text = FIT
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


def lasso(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least objective by coordinate descent: where columns are dependent, minimisers differ."""
    found = Lasso(alpha=0.05 / len(b), fit_intercept=False, tol=1e-14, max_iter=10**6).fit(A, b)
    return np.asarray(0.5 * np.sum((A @ found.coef_ - b) ** 2) + 0.05 * np.abs(found.coef_).sum())


def nonnegative(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * nnls(A, b)[1] ** 2)


def stacked(random: Random, k: int) -> Inputs:
    """Ridge regression as least squares: below A stands a tenth of the identity."""
    given = fit(random, k)
    n = given["A"].shape[1]
    return {"A": np.vstack([given["A"], 0.1 * np.eye(n)]), "b": np.append(given["b"], np.zeros(n))}


def shrunk(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    rows = len(A) - A.shape[1]
    return Ridge(alpha=0.01, fit_intercept=False, solver="svd").fit(A[:rows], b[:rows]).coef_


# --- linear systems -----------------------------------------------------------------------------------------

LINEAR = """
banach: 1
precision: float64
sizes: {n: any}
inputs: {A: "real[n, n]", b: "real[n]"}
solve:
  x:
    method: METHOD
    start: zeros(n)
    stop: {residual: 1e-12, most: 3000}
outputs: {x: x}
"""


def definite(random: Random, k: int) -> Inputs:
    n = max(shape(k))
    q, _ = np.linalg.qr(random.standard_normal((n, n)))
    a = (q * np.geomspace(1, 1e-3 if hard(k) else 0.1, n)) @ q.T
    return {"A": (a + a.T) / 2, "b": random.standard_normal(n)}


def indefinite(random: Random, k: int) -> Inputs:
    n = max(shape(k))
    q, _ = np.linalg.qr(random.standard_normal((n, n)))
    signs = np.where(np.arange(n) % 2, -1.0, 1.0)
    a = (q * (signs * np.geomspace(1, 1e-2 if hard(k) else 0.1, n))) @ q.T
    return {"A": (a + a.T) / 2, "b": random.standard_normal(n)}


def turning(random: Random, k: int) -> Inputs:
    """Neither symmetric nor normal."""
    n = max(shape(k))
    a = matrix(random, n, n, False) @ np.diag(np.geomspace(1, 0.05 if hard(k) else 0.3, n))
    return {"A": a + 0.2 * np.triu(random.standard_normal((n, n)) / n, 1), "b": random.standard_normal(n)}


# --- duality, decisions, graphs, curves ---------------------------------------------------------------------


def signal(random: Random, k: int) -> Inputs:
    n = 3 + sum(shape(k))
    steps = np.repeat(random.standard_normal(5), -(-n // 5))[:n]
    noise = 2.0 if hard(k) else 0.2
    return {"y": steps + noise * random.standard_normal(n), "lam": np.asarray(0.3)}


VARIATION = """
banach: 1
precision: float64
sizes: {n: any}
inputs: {y: "real[n]", lam: real}
operators:
  misfit: sq_l2(y)
  jumps: l1(lam)
  D(u): u[1:] - u[:-1]
solve:
  x:
    method: pdhg(misfit, jumps, D)
    start: y
    tau: 0.5
    sigma: 0.5
    stop: {residual: 1e-11, most: 200000}
outputs: {x: x}
"""


def flattened(y: np.ndarray, lam: np.ndarray) -> np.ndarray:
    """By the dual: x = y - Dᵀp, with p the projection's coordinates in a box."""
    d = np.diff(np.eye(len(y)), axis=0)
    return y - d.T @ lsq_linear(d.T, y, (-float(lam), float(lam)), method="bvls", tol=1e-15, max_iter=9999).x


def decisions(random: Random, k: int) -> Inputs:
    states, actions = max(shape(k)), min(shape(k))
    chance = random.exponential(size=(states, actions, states)) ** (4 if hard(k) else 1)
    return {
        "reward": random.standard_normal((states, actions)),
        "chance": chance / chance.sum(-1, keepdims=True),
    }


VALUES = """
banach: 1
precision: float64
sizes: {n: any, a: any}
inputs: {reward: "real[n, a]", chance: "real[n, a, n]"}
solve:
  x:
    method: value_iteration(reward, chance)
    start: zeros(n)
    discount: 0.97
    stop: {residual: 1e-11, most: 5000}
outputs: {x: x}
"""


def valued(reward: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The least v with v_s >= r_sa + 0.97 Σ p_sat v_t for every action: a linear program."""
    states, actions = reward.shape
    rows = [0.97 * chance[s, a] - np.eye(states)[s] for s in range(states) for a in range(actions)]
    found = linprog(np.ones(states), np.array(rows), -reward.ravel(), bounds=(None, None), method="highs")
    return found.x


def web(random: Random, k: int) -> Inputs:
    """Links by columns of sum 1; where it is hard, some pages have a single link."""
    n = 2 + max(shape(k))
    links = (random.random((n, n)) < (0.1 if hard(k) else 0.4)).astype(float)
    links[(np.arange(n) + 1) % n, np.arange(n)] = 1
    return {"links": links / links.sum(0)}


RANK = """
banach: 1
precision: float64
sizes: {n: any}
inputs: {links: "real[n, n]"}
operators:
  T(r): 0.85 * (links @ r) + 0.15 * sum(r) * ones(n) / n
solve:
  x:
    method: picard(T)
    start: ones(n) / n
    stop: {residual: 1e-13, most: 3000}
outputs: {x: "x / sum(x)"}
"""


def ranked(links: np.ndarray) -> np.ndarray:
    graph = networkx.from_numpy_array(links.T, create_using=networkx.DiGraph)
    found = networkx.pagerank(graph, alpha=0.85, tol=1e-15, max_iter=10**5)
    return np.array([found[i] for i in range(len(links))])


def curve(random: Random, k: int) -> Inputs:
    count = 4 + max(shape(k))
    t = np.linspace(0, 4 if hard(k) else 2, count)
    p = np.array([1, 0.7]) + 0.3 * random.random(2)
    return {"t": t, "seen": p[0] * np.exp(-p[1] * t) + 0.01 * random.standard_normal(count)}


CURVE = """
banach: 1
precision: float64
sizes: {n: any}
inputs: {t: "real[n]", seen: "real[n]"}
operators:
  F(p): p[0] * exp(-p[1] * t) - seen
solve:
  x:
    method: levenberg_marquardt(F)
    start: "[1, 1]"
    stop: {residual: 1e-9, most: 500}
outputs: {x: x}
"""


def fitted(t: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return least_squares(
        lambda p: p[0] * np.exp(-p[1] * t) - seen, [1, 1], xtol=1e-15, ftol=1e-15, gtol=1e-15
    ).x


# --- a simplex, and flow through rock -----------------------------------------------------------------------


def mixture(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least objective by Clarabel: minimisers differ where columns are dependent."""
    x = cvxpy.Variable(A.shape[1], nonneg=True)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(A @ x - b) / 2), [cvxpy.sum(x) == 1])
    exact = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    return np.asarray(problem.solve(solver=cvxpy.CLARABEL, **exact))


def rock(random: Random, k: int) -> Inputs:
    """Flow through cells of random permeability, over powers of ten where it is hard, with leaks."""
    m, n = (size + 2 for size in shape(k))
    a, places = np.diag(0.01 + random.random(m * n)), np.arange(m * n).reshape(m, n)
    for left, right in ((places[:, :-1], places[:, 1:]), (places[:-1], places[1:])):
        for i, j in zip(left.ravel(), right.ravel()):
            conductance = np.exp((2.0 if hard(k) else 0.5) * random.standard_normal())
            a[np.ix_([i, j], [i, j])] += conductance * np.array([[1, -1], [-1, 1]])
    return {"A": a, "b": random.standard_normal(m * n)}


def flowing(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    solver = pyamg.ruge_stuben_solver(scipy.sparse.csr_matrix(A), max_coarse=5)
    return solver.solve(b, tol=1e-13, maxiter=500, accel="cg")


CASES = {
    "fista, cvxpy": Case(fitting("fista(f, g)", "simplex(1)"), fit, mixture, "objective"),
    "cg, pyamg": Case(LINEAR.replace("METHOD", "cg(A, b)"), rock, flowing),
    "fista, scikit-learn": Case(fitting("fista(f, g)", value=" + g(x)"), fit, lasso, "objective"),
    "adaptive_restart, scipy": Case(
        fitting("adaptive_restart(f, g)", "nonnegative()"), fit, nonnegative, "objective"
    ),
    "lbfgs, scikit-learn": Case(fitting("lbfgs(f)", tolerance="1e-9"), stacked, shrunk),
    "cg, numpy": Case(LINEAR.replace("METHOD", "cg(A, b)"), definite, lambda A, b: np.linalg.solve(A, b)),
    "minres, numpy": Case(
        LINEAR.replace("METHOD", "minres(A, b)"), indefinite, lambda A, b: np.linalg.solve(A, b)
    ),
    "gmres, numpy": Case(
        LINEAR.replace("METHOD", "gmres(A, b)\n    restart: 40"), turning, lambda A, b: np.linalg.solve(A, b)
    ),
    "pdhg, scipy": Case(VARIATION, signal, flattened),
    "value_iteration, scipy": Case(VALUES, decisions, valued),
    "picard, networkx": Case(RANK, web, ranked),
    "levenberg_marquardt, scipy": Case(CURVE, curve, fitted),
}


@cache
def compiled(name: str, backend: str) -> Any:
    return banach.loads(CASES[name].spec).compile(to=backend)


@pytest.mark.parametrize("number", range(50))
@pytest.mark.parametrize("name", CASES)
def test_the_answer_of_another_program(name: str, number: int) -> None:
    case = CASES[name]
    given = case.inputs(np.random.default_rng([number, sum(map(ord, name))]), number)
    expected = case.answer(**given)
    for backend in ("onnx", "fx", "oracle") if number == 3 else ("onnx",):
        found = compiled(name, backend).run(**given)
        assert found["x.status"] == 0, (backend, found["x.residual"], found["x.iterations"])
        off = np.linalg.norm(found[case.output] - expected)
        assert off <= case.close * (1 + np.linalg.norm(expected)), (backend, off, found["x.iterations"])
