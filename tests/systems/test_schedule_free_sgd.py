"""Row 59: scipy's linear program for the optimum, and the methods in numpy."""

import numpy as np
import pytest
from scipy.optimize import linprog

ROWS, D = 200, 20


@pytest.fixture(scope="module")
def problem():
    """(A, b, minimiser, least value): min Σ t / rows with -t <= A x - b <= t."""

    def solve(page):
        A = page.drawn("A")
        b = A @ page.drawn("truth") + page.drawn("noise")
        sides = np.block([[A, -np.eye(ROWS)], [-A, -np.eye(ROWS)]])
        cost = np.r_[np.zeros(D), np.ones(ROWS) / ROWS]
        bounds = [(None, None)] * D + [(0, None)] * ROWS
        found = linprog(cost, A_ub=sides, b_ub=np.r_[b, -b], bounds=bounds)
        return A, b, found.x[:D], found.fun

    return solve


def orders(seed, T):
    return np.random.default_rng(seed).integers(0, ROWS, T)


def sgd(A, b, order, gamma):
    """Every iterate of plain SGD from 0, with a constant step."""
    x, found = np.zeros(D), []
    for i in order:
        x = x - gamma * np.sign(A[i] @ x - b[i]) * A[i]
        found.append(x)
    return np.array(found)


@pytest.mark.parametrize("T", [1000, 4000, 16000])
def test_the_gap_is_below_the_bound(page, problem, T):
    A, b, best, least = problem(page)
    radius, slope = np.linalg.norm(best), np.linalg.norm(A, axis=1).max()
    gamma, gaps, constant = radius / (slope * np.sqrt(T)), [], []
    artifact = page.model.compile(to="onnx")
    for seed in (1, 2, 3):
        order = orders(seed, T)
        gaps.append(artifact.run(order=order, gamma=gamma, beta=0.9)["value"] - least)
        constant.append(np.abs(A @ sgd(A, b, order, gamma)[-1] - b).mean() - least)
    assert 0 < np.mean(gaps) <= radius * slope / np.sqrt(T)
    if T == 16000:
        assert np.mean(gaps) <= 0.7 * np.mean(constant)


def test_without_beta_it_is_averaged_sgd(page, problem):
    A, b, _, _ = problem(page)
    order = orders(4, 200)
    found = page.run(order=order, gamma=0.01, beta=0.0)
    np.testing.assert_allclose(found["x"], sgd(A, b, order, 0.01).mean(0), rtol=1e-12, atol=1e-12)


def test_adam_is_numpys(page, problem):
    A, b, _, _ = problem(page)
    order, gamma, beta, total = orders(5, 300), 0.02, 0.9, 0.0
    x, z, v = np.zeros((3, D))
    for t, i in enumerate(order, start=1):
        y = (1 - beta) * z + beta * x
        slope = np.sign(A[i] @ y - b[i]) * A[i]
        v = 0.999 * v + 0.001 * slope**2
        step = gamma * min(1, t / 100)
        z = z - step * (slope / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + 0.01 * y)
        total += step**2
        x = x + step**2 / total * (z - x)
    found = page.run(order=order, gamma=gamma, beta=beta)
    np.testing.assert_allclose(found["adam"], x, rtol=1e-11, atol=1e-12)
    assert found["adam_value"] < 0.7 * np.abs(b).mean()
