"""The constants of theorems, attacked by plain numpy runs."""

from itertools import pairwise

import numpy as np
import pytest

import banach
from banach.compiler import library

A = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 3], [1, 1, 1], [0, 2, 1.0]])
B = np.array([1, -2, 3, 0.5, 1])
S = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2.0]])
TURN = np.array([[0, -1], [1, 0.0]])


@pytest.mark.parametrize("gain", [0.05, 0.3, 0.5**0.5])
def test_the_last_iterate_of_extragradient(gain: float) -> None:
    """‖F(x_k)‖² ≤ 3 D² / (g² (1 − L² g²)(k + 1)), on rotations and random monotone maps with L = 1."""
    random = np.random.default_rng(0)
    maps = [TURN, np.eye(2), 0 * TURN]
    for _ in range(20):
        G = random.standard_normal((4, 4))
        M = G - G.T + random.choice([0, 0.1, 1]) * G @ G.T
        maps.append(M / np.linalg.norm(M, 2))
    for M in maps:
        x = start = random.standard_normal(len(M))
        for k in range(200):
            bound = 3 * start @ start / (gain**2 * (1 - gain**2) * (k + 1))
            assert np.sum((M @ x) ** 2) <= bound * (1 + 1e-9)
            x = x - gain * M @ (x - gain * M @ x)


def iterates(name: str, H: np.ndarray, b: np.ndarray, count: int) -> list[tuple[float, np.ndarray]]:
    """(q^k, x_k) for the iterates of a page with the matrix H, in float64, from 0."""
    n = H.shape[1]
    text = f"""
banach: 1
precision: float64
sizes: {{n: {n}}}
parameters:
  H: {H.tolist()}
  b: {b.tolist()}
solve:
  x: {{method: "{name}(H, b)", start: zeros(n), stop: {{residual: 1e-14, most: 100}}}}
outputs: {{x: x}}
"""
    model = banach.loads(text)
    certificate = model.check().certificates["x"]
    assert certificate.verdict == "proved"
    compiled = model.compile(to="oracle")
    q = certificate.upper_factor
    found = []
    for k in range(1, count):
        x = compiled.run({"x.max_iterations": k, "x.tolerance": 1e-300})["x"]
        found.append((q**k, x))
    return found


@pytest.mark.parametrize("name", ["conjugate_residual", "chebyshev", "jacobi", "gauss_seidel"])
@pytest.mark.parametrize("seed", range(3))
def test_the_bound_of_a_linear_solver_is_kept(name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    G = random.standard_normal((6, 6))
    H = G @ G.T if name in ("conjugate_residual", "chebyshev") else np.zeros((6, 6))
    H = H + np.eye(6) if H.any() else G + np.diag(1.3 * np.abs(G).sum(axis=1))
    b = random.standard_normal(6)
    solution = np.linalg.solve(H, b)
    for power, x in iterates(name, H, b, 12):
        if name in ("jacobi", "gauss_seidel"):
            assert np.abs(x - solution).max() <= power * np.abs(solution).max() * (1 + 1e-9) + 1e-13
        else:
            assert np.linalg.norm(b - H @ x) <= 2 * power * np.linalg.norm(b) + 1e-12


def test_gauss_seidel_has_no_better_factor() -> None:
    """The first step from the error (1, 1) leaves half of it, which is the dominance of this matrix."""
    ((power, x),) = iterates("gauss_seidel", np.array([[1, -0.5], [-0.5, 1]]), np.array([0.5, 0.5]), 2)
    assert power == 0.5 and np.abs(x - 1).max() == 0.5


def test_cgls_keeps_its_bound() -> None:
    for power, x in iterates("cgls", A, B, 4):
        c = np.linalg.cond(A)
        first = np.linalg.norm(A.T @ B)
        assert np.linalg.norm(A.T @ (B - A @ x)) <= 2 * c * power * first * (1 + 1e-9) + 1e-12
        least = np.linalg.lstsq(A, B, rcond=None)[0]
        gap = np.linalg.norm(A @ (x - least))
        assert gap <= 2 * power * np.linalg.norm(A @ least) * (1 + 1e-9) + 1e-12
    found = banach.loads(library.find("cgls").section.example.text).check().certificates["x"]
    exact = (np.linalg.cond(A) - 1) / (np.linalg.cond(A) + 1)
    least = int(np.ceil(np.log(1e-5 / (2 * np.linalg.cond(A))) / np.log(exact)))
    assert found.upper_factor == pytest.approx(exact, rel=1e-6) and least <= found.iterations <= least + 1


def test_peaceman_rachford_keeps_its_factor() -> None:
    """Where the soft threshold is a translation, the reflection in f alone moves z: at its factor."""
    text = library.find("peaceman_rachford").section.example.text
    model = banach.loads(text.replace("banach: 1\n", "banach: 1\nprecision: float64\n", 1))
    q = model.check().certificates["x"].upper_factor
    compiled = model.compile(to="oracle")
    steps = [compiled.run({"x.max_iterations": k, "x.tolerance": 1e-300})["x"] for k in range(12)]
    apart = [np.linalg.norm(x - np.array([0.5, -1.5, 0])) for x in steps]  # of x = (z + step b)/(1 + step)
    ratios = [after / before for before, after in pairwise(apart)]
    assert max(ratios) <= q * (1 + 1e-9) and ratios[-1] >= q * (1 - 1e-6)


@pytest.mark.parametrize(
    ("method", "start", "why"),
    [
        ("jacobi(H, H)", "zeros(2, 2)", "the diagonal would divide columns, not rows"),
        ("value_iteration([[1], [1]], [[[0.5]], [[0.5]]])", "zeros(2)", "one chance would be taken twice"),
    ],
)
def test_what_would_be_stretched_is_refused(method: str, start: str, why: str) -> None:
    text = f"""
banach: 1
parameters: {{H: [[4, 1], [0.1, 0.2]]}}
solve:
  x: {{method: "{method}", start: "{start}", stop: {{residual: 1e-6, most: 100}}}}
outputs: {{x: x}}
"""
    with pytest.raises(banach.SpecError, match=r"B202.*has 2 entries"):
        banach.loads(text)
