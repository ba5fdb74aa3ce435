"""What is not so is not proved, and the traps into which a naive checker falls.

The matrix diag(2, 1) has norm 2 exactly, so L = 4 and mu = 1 are exact, and boundaries can be tried as such.
"""

import numpy as np
import pytest

import banach

SPEC = """
banach: 1
sizes: {{n: 2}}
parameters:
  A: [[2, 0], [0, 1]]
  turn: [[0, -1], [1, 0]]
  b: [1, 1]
  reward: [[1, 0], [2, -1]]
  chance: [[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]]
operators:
  f: least_squares(A, b)
  g: l1(0.1)
  Q: transpose(A) @ A
  {operators}
solve:
  x:
    method: {method}
    start: zeros(n)
    {options}
    stop: {{residual: 1e-4, most: 1000}}
outputs: {{x: x}}
"""


def verdict(method: str, options: str = "", operators: str = "I1: I") -> str:
    text = SPEC.format(method=method, options=options, operators=operators)
    return banach.loads(text).check().certificates["x"].verdict


@pytest.mark.parametrize(
    ("method", "operators", "why"),
    [
        ("picard(T)", "T(x): turn @ x + b", "a rotation is no contraction"),
        ("picard(T)", "T(x): sqrt(1 + x**2)", "slope below 1 everywhere, and no fixed point"),
        ("picard(T)", "T(x): x + 0.5 * tanh(x)", "1 + L exceeds 1"),
        ("picard(T)", "T(x): relu([[2, 4], [-1, -2]] @ x + [1, 0])", "spectral radius 0, norm 5"),
        ("picard(T)", "T(x): x * x", "no global constant"),
        (
            "picard(T)",
            "S(y): 0.2 * sum(y) * [1, 1]\n  T: compose(S, transpose([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]))",
            "the sum of five numbers, not of two: x becomes (x_0, x_0)",
        ),
        ("picard(T)", "T(x): 0.6 * sin(x) + 0.6 * cos(x)", "the sum of both gains is beyond 1"),
        ("fista(h, g)", "F(x): tanh(x)\n  h: least_squares(F, b)", "not convex: F is not linear"),
        ("gradient_descent(h)", "h: quadratic([[1, 0], [0, -1]], b)", "indefinite"),
        ("gradient_descent(h)", "h: quadratic([[1, 1], [0, 1]], b)", "not symmetric"),
        ("cg(S, b)", "S: matrix([[1, 2], [2, 1]])", "indefinite"),
        ("cg(S, b)", "S: matrix([[1, 2], [0, 1]])", "not symmetric"),
        ("cg(S, b)", "S: adjoint(matrix(turn)) @ matrix(A)", "not a Gram form"),
        ("richardson(S, b)", "S: -1 * I", "negative definite"),
        ("fista(f, h)", "h: l1(-1)", "a negative weight is not convex"),
        ("proximal_point(h)", "h: elastic_net(0.1, -3)", "not convex"),
        ("extragradient(F)", "F: affine_map([[0, 1], [1, 0]], b)", "indefinite, so not monotone"),
        ("extragradient(F)", "F: affine_map(-0.1 * I, b)", "not monotone"),
        ("extragradient(F)", "F: affine_map(turn, b) - 0.1 * I", "a multiple below zero"),
        ("extragradient(T)", "T(x): turn @ x + b", "no fact says that it is monotone"),
        (
            "optimistic_gradient(F)",
            "F: grad(quadratic([[1, 0], [0, -1]], b))",
            "the gradient of no convex one",
        ),
        ("jacobi([[1, 1], [1, 1]], b)", "h: I", "the sum of the others is as large as the diagonal"),
        ("jacobi([[1, 2], [3, 1]], b)", "h: I", "not dominant"),
        ("gauss_seidel([[1, 2], [3, 1]], b)", "h: I", "neither dominant nor symmetric"),
        ("gauss_seidel([[1, 2], [2, 1]], b)", "h: I", "indefinite"),
        ("peaceman_rachford(g, h)", "h: sq_l2(b)", "l1 is neither smooth nor strongly convex"),
        ("peaceman_rachford(h, g)", "h: huber(1)", "smooth, but not strongly convex"),
        ("peaceman_rachford(h, g)", "h: elastic_net(0.1, 1)", "strongly convex, but not smooth"),
        ("admm(h, g)", "h: l1(-1)", "a negative weight is not convex"),
        ("condat_vu(h, g, h2, A)", "h: sq_l2(b)\n  h2: l1(-1)", "a negative weight is not convex"),
        ("chebyshev(S, b)", "S: matrix([[1, 2], [2, 1]])", "indefinite"),
        ("conjugate_residual(S, b)", "S: matrix([[1, 2], [2, 1]])", "indefinite"),
        ("conjugate_residual(S, b)", "S: matrix([[1, 2], [0, 1]])", "not symmetric"),
        ("cgls(S, b)", "S: matrix([[1, 2], [2, 4]])", "of rank 1"),
        ("cgls(S, b)", "S: affine_map(A, b)", "not linear"),
        ("landweber(S, b)", "S: affine_map(A, b)", "not linear"),
        ("gradient_descent(h)", "h: least_squares(affine_map(A, b), b)", "not known to be linear"),
        ("power_iteration(Q)", "h: I", "no theorem of ours"),
        ("proximal_point(h)", "h: affine([[1, 1], [2, 2]], b)", "dependent rows"),
        ("proximal_point(h)", "h: scaled(sq_l2(b), -1)", "a negative multiple"),
        ("proximal_point(h)", "h: conjugate(l1(-1))", "of a function that is not convex"),
        ("proximal_point(h)", "h: moreau_envelope(l1(-1), 1)", "of a function that is not convex"),
        ("proximal_point(h)", "h: translate(l1(-1), b)", "of a function that is not convex"),
        ("proximal_point(h)", "h: poisson([1, -2])", "negative counts"),
        ("halpern(T)", "T(x): 1.01 * (turn @ x)", "expansive"),
    ],
)
def test_what_is_not_so_is_not_proved(method: str, operators: str, why: str) -> None:
    step = "step: 0.25" if "least_squares" in operators else ""
    assert verdict(method, step, operators) in ("unknown", "refuted"), why


@pytest.mark.parametrize("seed", range(6))
def test_a_certified_contraction_is_kept(seed: int) -> None:
    """Random networks: the observed factor never exceeds the certified one."""
    text = f"""
banach: 1
precision: float64
sizes: {{n: 8}}
inputs: {{x: "real[n]"}}
parameters:
  V: {{type: "real[n, n]", init: "normal(0, 0.2)", seed: {seed}}}
  W: {{type: "real[n, n]", init: "normal(0, 0.2)", seed: {seed + 50}}}
operators:
  T(x): 0.9 * tanh(W @ relu(V @ x + 1) - x / 8) + 0.2 * sin(x)
outputs: {{y: T(x), L: lipschitz(T)}}
solve:
  z: {{method: picard(T), start: zeros(n), stop: {{residual: 1e-9, most: 1000}}}}
"""
    compiled = banach.loads(text.replace(", L: lipschitz(T)", "")).compile(to="oracle")
    factor = banach.loads(text.replace(", L: lipschitz(T)", "")).check().certificates["z"].lipschitz
    random = np.random.default_rng(seed)
    worst = 0.0
    for scale in (1e-4, 1e-2, 1.0, 10.0):
        for _ in range(25):
            x, d = random.standard_normal(8), scale * random.standard_normal(8)
            moved = np.linalg.norm(compiled.run(x=x + d)["y"] - compiled.run(x=x)["y"])
            worst = max(worst, moved / np.linalg.norm(d))
    assert factor is not None and worst <= float(factor.hi) * (1 + 1e-9)
    assert worst > 0.1 * float(factor.hi)  # the bound is no empty one


def test_a_trip_bound_measures_the_map_a_few_times_only(monkeypatch):
    """Its search asks for the bound at some forty counts; what does not depend on the count is asked once."""
    from banach.compiler.facts import lipschitz as analysis

    calls, measured = [], analysis.lipschitz
    monkeypatch.setattr(
        analysis, "lipschitz", lambda *given, **named: calls.append(0) or measured(*given, **named)
    )
    text = """
banach: 1
precision: float64
parameters: {b: [1, 2]}
solve:
  z: {state: {z: zeros(2)}, next: {z: 0.9 * sin(z) + b}, stop: {residual: norm(z' - z) <= 1e-9, most: 999}}
outputs: {z: z}
"""
    assert banach.loads(text).check().certificates["z"].iterations > 100
    assert 0 < len(calls) <= 24
