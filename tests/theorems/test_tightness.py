"""Where a constant is known to be the best, an extremal instance comes within 1e-4 of the certified one."""

from fractions import Fraction

import numpy as np
import pytest
from harness import Told

import banach
from banach.compiler.certificate import Certificate

MU, L = 1.0, 9.0
BOTH = "quadratic([[1, 0], [0, 9]], [0, 0])"
TURN = "[[0, -1], [1, 0]]"


def certificate(parts: str, method: str, **options: object) -> Certificate:
    told = "".join(f', {name}: "{value}"' for name, value in options.items())
    how = f'method: "{method}", start: "[1, 1]"{told}, stop: {{residual: 1e-6, most: 1000}}'
    text = f"banach: 1\nprecision: float64\noperators:\n{parts}\nsolve:\n  x: {{{how}}}\noutputs: {{x: x}}\n"
    found = banach.loads(text).check().certificates["x"]
    assert found.verdict == "proved", found.missing
    return found


def close(certified: float | None, observed: float) -> None:
    """Never below what was seen, and no more than 1e-4 above it."""
    assert certified is not None
    assert observed * (1 - 1e-12) <= certified <= observed * (1 + 1e-4)


@pytest.mark.parametrize("step", [0.05, 0.2, 2 / 10, 0.21])
@pytest.mark.parametrize("method", ["gradient_descent(f)", "proximal_gradient(f, g)"])
def test_gradient_steps(method: str, step: float) -> None:
    """T7, T20, R8: one of the ends of the spectrum."""
    found = certificate(f"  f: {BOTH}\n  g: free()", method, step=step)
    close(found.upper_factor, max(abs(1 - step * MU), abs(1 - step * L)))


@pytest.mark.parametrize("step", [0.1, 1 / 3, 2.0])
def test_peaceman_and_rachford(step: float) -> None:
    """R16: the reflection of a piecewise quadratic, where one of its slopes is in force, and of nothing."""
    found = certificate(
        "  f: moreau_envelope(elastic_net(1, 1.125), 1 / 9)\n  g: free()",
        "peaceman_rachford(f, g)",
        step=step,
    )
    seen = max(abs((1 - step * slope) / (1 + step * slope)) for slope in (MU, L))
    close(found.upper_factor, seen)


def test_proximal_point() -> None:
    found = certificate("  g: ridge(0.5)", "proximal_point(g)", step=2)
    close(found.upper_factor, 0.5)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_gradient_descent_on_a_convex_function(count: int) -> None:
    """T8 with the step 1/L: Huber's function that is left in the last step only, of Drori and Teboulle."""
    found = certificate("  f: least_squares([[1, 0], [0, 0]], [0, 0])", "gradient_descent(f)", step=1)
    width = 1 / (2 * count + 1)  # the gradient has this size all along
    x = 1.0
    for _ in range(count):
        x -= np.clip(x, -width, width)
    gap = width * abs(x) - width**2 / 2
    names = {"step": 1.0, "start": np.array([1.0]), "solution": np.zeros(1)}
    close(Told(found).limit(count, 0, names), gap)


@pytest.mark.parametrize("count", [1, 4, 20])
def test_proximal_point_on_a_convex_function(count: int) -> None:
    """T19: a cone that is not yet reached."""
    found = certificate("  g: l1(0.1)", "proximal_point(g)", step=1)
    weight = 1 / (2 * count)
    gap = weight * (1 - count * weight)
    names = {"step": 1.0, "start": np.array([1.0]), "solution": np.zeros(1)}
    close(Told(found).limit(count, 0, names), gap)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_halpern(count: int) -> None:
    """T4: reflections whose bound is attained, of Lieder: T turns the line by one end of a k-step orbit."""
    found = certificate(f'  T(x): "{TURN} @ x"', "halpern(T)")
    names = {"start": np.array([1.0]), "solution": np.zeros(1)}
    # T(x) = -sign(x)·(a - |x|)-like: a translation by d towards 0 while |x| > d, then a reflection.
    d = 2 / (count + 1)
    x = start = 1.0
    for k in range(count):
        x = start / (k + 2) + (k + 1) / (k + 2) * _moved(x, d)
    close(Told(found).limit(count, 0, names), abs(x - _moved(x, d)))


def _moved(x: float, d: float) -> float:
    """Nonexpansive, with the fixed point 0: by d towards 0, and within d/2 a reflection."""
    return x - np.sign(x) * d if abs(x) > d / 2 else -x


def test_contractions() -> None:
    """R4, R5, T1: a rotation by a quarter, times a number, relaxed or not."""
    found = certificate(f'  T(x): "0.75 * ({TURN} @ x)"', "picard(T)")
    close(found.upper_factor, 0.75)


def test_bellman_and_jacobi() -> None:
    parts = "  I1: I\nparameters:\n  A: [[4, -1], [-2, 8]]\n  b: [0, 0]\n"
    parts += "  reward: [[0], [0]]\n  chance: [[[1, 0]], [[1, 0]]]"
    close(certificate(parts, "value_iteration(reward, chance)", discount=0.75).upper_factor, 0.75)
    found = certificate(parts, "jacobi(A, b)")
    x = np.ones(2)
    A = np.array([[4.0, -1], [-2, 8]])
    close(found.upper_factor, float(np.abs(x - A @ x / np.diag(A)).max()))


def test_richardson_and_landweber() -> None:
    parts = "  I1: I\nparameters:\n  A: [[1, 0], [0, 9]]\n  b: [0, 0]"
    close(certificate(parts, "richardson(A, b)", step=0.1).upper_factor, 0.9)
    close(certificate(parts, "landweber(A, b)", step=0.01).upper_factor, 0.99)


def test_triple_momentum_and_its_lyapunov_function() -> None:
    """T13: on x²/2 of the class the distance falls by 1 - √(mu/L), times a polynomial in k."""
    found = certificate(f"  f: {BOTH}", "triple_momentum(f)")
    rho = 1 - np.sqrt(MU / L)
    alpha, beta, gamma = (1 + rho) / L, rho**2 / (2 - rho), rho**2 / ((1 + rho) * (2 - rho))
    matrix = np.array([[1 + beta - alpha * MU * (1 + gamma), alpha * MU * gamma - beta], [1, 0]])
    seen = float(np.abs(np.linalg.eigvals(matrix)).max())
    close(found.upper_factor, seen)


@pytest.mark.parametrize("step", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("turn", [0.5, 2.0])
def test_forward_steps_on_strongly_monotone_maps(step: float, turn: float) -> None:
    """R9, T30: μ·1 + a quarter turn, whose forward step is normal."""
    M = np.array([[1, -turn], [turn, 1]])
    long = 2 * step / np.linalg.norm(M, 2) ** 2
    parts = f"  F: affine_map({M.tolist()}, [0, 0])\n  g: free()"
    found = certificate(parts, "forward_backward(F, g)", step=repr(float(long)))
    close(found.upper_factor, float(np.linalg.norm(np.eye(2) - long * M, 2)))


@pytest.mark.parametrize("relaxation", [1.0, 0.5])
def test_averaged_constants(relaxation: float) -> None:
    """R4, R5: a map with eigenvalues λ is averaged with |λ - 1|²/(2 Re(1 - λ)), here for small turns.

    Two proximal steps, each a half, are as bad as two such turns: 2/3, and 2/3 of a relaxation.
    """
    text = f"""
banach: 1
precision: float64
inputs: {{u: "real[2]"}}
operators: {{g: l1(0.1), h: "box(-1, 1)"}}
solve:
  x:
    state: {{x: u}}
    next: {{x: "{1 - relaxation} * x + {relaxation} * prox(g, 1)(prox(h, 1)(x))"}}
    stop: {{residual: abs(sum(x' - x)) <= 1e-6, most: 900}}
outputs: {{x: x}}
"""
    found = banach.loads(text).check().certificates["x"]
    assert found.theorem == "averaged-map" and found.derivation is not None, found.theorem
    turn = (1 + np.exp(1e-3j)) / 2
    λ = 1 - relaxation + relaxation * turn**2
    close(
        float(Fraction(found.derivation.data["a"])), float(abs(λ - 1) ** 2 / (2 * (1 - λ).real)) * (1 - 1e-6)
    )
