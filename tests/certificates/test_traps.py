"""Every row of the table of traps: a naive checker says "converges", and the right answer is beside each.

Where the right answer is "refuted" and ours is "unknown", the row says so: a gap, and never a false proof.
Matrices, cycles and orbits are known here by other means: eigenvalues in numpy, or a run of the oracle.
"""

import textwrap
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import banach
from banach.compiler.certificate import Certificate

HEAD = """
banach: 1
precision: float64
sizes: {n: 2}
inputs: {s: real, u: "real[n]"}
parameters: {turn: [[0, -1], [1, 0]], W: [[2, 4], [-1, -2]], c: [1, 1], A: [[2, 0], [0, 1]]}
"""
STOP = "stop: {residual: norm(x' - x) <= 1e-6, most: 300}"
ABS = "stop: {residual: abs(x' - x) <= 1e-6, most: 300}"
BY_PAGE = "stop: {residual: 1e-6, most: 300}"
DECLARED = """
operators: {f(x): sum(log(1 + exp(x))) + sum(x**2)}
assume: {a: convex(f), b: strong_convexity(f) >= 1, c1: lipschitz(grad(f)) <= 25}
"""


@dataclass(frozen=True)
class Trap:
    """`ours` is this checker's verdict with its scope; `right` that of the table, where they differ."""

    row: int
    what: str
    body: str
    ours: str
    right: str = ""


def own(state: str, next: str, stop: str = STOP, operators: str = "") -> str:
    return f"{operators}\nsolve:\n  x: {{state: {state}, next: {next}, {stop}}}\n"


def method(method: str, more: str = "", operators: str = "") -> str:
    return f"{operators}\nsolve:\n  x: {{method: '{method}', start: u, {more}{BY_PAGE}}}\n"


ADMM = """
solve:
  x:
    state: {x: s, y: 1, z: 1, l: "zeros(3)"}
    where: {a: "[1, 1, 1]", b: "[1, 1, 2]", d: "[1, 2, 2]"}
    next:
      x: sum(a * (l - b * y - d * z)) / 3
      y: sum(b * (l - a * x' - d * z)) / 6
      z: sum(d * (l - a * x' - b * y')) / 9
      l: l - a * x' - b * y' - d * z'
    stop: {residual: abs(x' - x) <= 1e-6, most: 300}
"""
RESTARTED = f"""{DECLARED}
solve:
  x:
    state: {{x: u, y: u}}
    where: {{gone: "sum(grad(f)(y) * (x' - x)) > 0"}}
    next: {{x: y - 0.04 * grad(f)(y), y: "x' if gone else x' + k / (k + 3) * (x' - x)"}}
    {STOP}
"""
ADAM = f"""{DECLARED}
solve:
  x:
    state: {{x: u, m: zeros(n), v: zeros(n)}}
    next:
      m: 0.9 * m + 0.1 * grad(f)(x)
      v: 0.05 * v + 0.95 * grad(f)(x)**2
      x: x - 0.01 * m' / (sqrt(v') + 1e-8)
    {STOP}
"""
TRAPS = [
    Trap(
        1,
        "heavy ball, Polyak's tuning, 1 and 25",
        own("{x: u, last: u}", "{x: x - 1/9 * grad(f)(x) + 4/9 * (x - last), last: x}", operators=DECLARED),
        "refuted class",
    ),
    Trap(
        3,
        "descent and ascent on xy",
        own("{x: s, y: 1}", "{x: x - 0.01 * y, y: y + 0.01 * x}", ABS),
        "refuted class",
    ),
    Trap(5, "a forward step on a rotation", own("{x: u}", "{x: x - 0.1 * (turn @ x)}"), "refuted class"),
    Trap(
        7,
        "optimistic steps of 0.6/L",
        method("optimistic_gradient(F)", "step: 0.6, ", "operators: {F: 'affine_map(turn, c)'}"),
        "refuted class",
    ),
    Trap(
        7,
        "between 1/(2L) and 1/(√3 L)",
        method("optimistic_gradient(F)", "step: 0.55, ", "operators: {F: 'affine_map(turn, c)'}"),
        "unknown",
    ),
    Trap(
        7,
        "below 1/(2L)",
        method("optimistic_gradient(F)", "step: 0.49, ", "operators: {F: 'affine_map(turn, c)'}"),
        "proved",
    ),
    Trap(9, "ADMM with three blocks", ADMM, "refuted class"),
    Trap(
        11,
        "Peaceman-Rachford on monotone maps",
        own("{x: u}", "{x: 2 * b(x) - x}", operators="operators: {g: 'box(0, 0)', b: 'prox(g, 1)'}"),
        "refuted class",
    ),
    Trap(
        13,
        "Jacobi on a positive definite matrix",
        own(
            "{x: s, y: 1, z: 1}",
            "{x: 1 - 0.8 * y - 0.8 * z, y: 1 - 0.8 * x - 0.8 * z, z: 1 - 0.8 * x - 0.8 * y}",
            ABS,
        ),
        "refuted class",
    ),
    Trap(
        13,
        "where 2D - A is positive definite",
        own(
            "{x: s, y: 1, z: 1}",
            "{x: 1 - 0.49 * y - 0.49 * z, y: 1 - 0.49 * x - 0.49 * z, z: 1 - 0.49 * x - 0.49 * y}",
            ABS,
        ),
        "proved",
    ),
    Trap(
        15,
        "Gauss-Seidel on [[1, 2], [3, 1]]",
        own("{x: s, y: 1}", "{x: 1 - 2 * y, y: 2 - 3 * x'}", ABS),
        "refuted class",
    ),
    Trap(
        17,
        "Picard on a rotation",
        method("picard(T)", "", "operators: {T(x): turn @ x + c}"),
        "refuted class",
    ),
    Trap(17, "Picard on -I", own("{x: u}", "{x: c - x}"), "refuted class"),
    Trap(19, "slopes below 1, no fixed point", own("{x: u}", "{x: sqrt(1 + x**2)}"), "refuted instance"),
    Trap(
        21,
        "spectral radius 0, and 2^k - 1",
        own("{x: u}", "{x: 'relu(W @ x + [1, 0])'}"),
        "refuted instance",
    ),
    Trap(
        23,
        "a step from an estimate of L",
        method("gradient_descent(f)", "step: 1.95 / (0.952 * 4), ", "operators: {f: 'least_squares(A, c)'}"),
        "refuted class",
    ),
    Trap(
        27,
        "Arrow and Hurwicz on xy",
        own("{x: s, y: 1}", "{x: x - 0.3 * y, y: y + 0.3 * x'}", ABS),
        "refuted class",
        "refuted class",
    ),
    Trap(
        29,
        "Nesterov with 1.5/L",
        own("{x: u, y: u}", "{x: y - 0.06 * grad(f)(y), y: x' + 2/3 * (x' - x)}", operators=DECLARED),
        "refuted class",
    ),
    Trap(31, "restarts where the gradient says so", RESTARTED, "unknown"),
    Trap(
        33,
        "relaxed Davis-Yin, 1.9 beta and 1.5",
        own(
            "{x: u}",
            "{x: x + 1.5 * (p(2 * p(x) - x - 0.475 * grad(h)(p(x))) - p(x))}",
            operators="operators: {g: l1(0.1), h: 'least_squares(A, c)', p: 'prox(g, 0.475)'}",
        ),
        "unknown",
    ),
    Trap(
        35,
        "conjugate gradients on an indefinite matrix",
        method("cg(S, c)", "", "operators: {S: 'matrix([[1, 2], [2, 1]])'}"),
        "unknown",
    ),
    Trap(
        37,
        "Chebyshev, 10% too low",
        method("chebyshev(Q, c)", "high: 3.6, ", "operators: {Q: 'matrix([[4, 0], [0, 1]])'}"),
        "unknown",  # 4 < low + 3.6: the polynomials fall there too, but not at the rate of the theorem
    ),
    Trap(39, "Adam with beta2 = 1/(1 + C²)", ADAM, "unknown", "refuted class"),
    Trap(
        41,
        "noise and a constant step",
        own("{x: u}", "{x: 'x - 0.1 * (x + normal((1, k), n))'}"),
        "refuted class",
    ),
    Trap(
        43,
        "coordinate descent on |x - y| + (x + y)²/20",
        own(
            "{x: 1, y: 1}",
            "{x: 'y + soft_threshold(-2 * y, 10)', y: \"x' + soft_threshold(-2 * x', 10)\"}",
            ABS,
        ),
        "unknown",
        "refuted",
    ),
    Trap(45, "a periodic chain", own("{x: u}", "{x: '[[0, 1], [1, 0]] @ x'}"), "refuted class"),
    Trap(
        45,
        "value iteration without discount",
        method(
            "value_iteration([[1, 0], [2, -1]], [[[0.5, 0.5], [0, 1]], [[1, 0], [0.25, 0.75]]])",
            "discount: 1, ",
        ),
        "refuted instance",
    ),
    Trap(47, "a residual block", own("{x: u}", "{x: x + 0.5 * tanh(x)}"), "unknown"),
    Trap(47, "GELU as if 1-Lipschitz", own("{x: u}", "{x: gelu(0.95 * x)}"), "unknown"),
    Trap(47, "SiLU as if 1-Lipschitz", own("{x: u}", "{x: silu(0.95 * x)}"), "unknown"),
    Trap(47, "LayerNorm inside", own("{x: u}", "{x: '0.9 * layer_norm(x, ones(n), zeros(n))'}"), "unknown"),
    Trap(47, "attention inside", own("{x: u}", "{x: '0.5 * x * softmax(x * x)'}"), "unknown"),
    Trap(
        49, "a sublinear iteration that stops on small moves", own("{x: u}", "{x: x - 0.1 * x**3}"), "unknown"
    ),
]


def certificate(body: str) -> Certificate:
    return banach.loads(HEAD + textwrap.dedent(body) + "outputs: {x: x}\n").check().certificates["x"]


@pytest.mark.parametrize("trap", [pytest.param(t, id=f"{t.row} {t.what}") for t in TRAPS])
def test_a_trap(trap: Trap) -> None:
    found = certificate(trap.body)
    assert " ".join(filter(None, (found.verdict, found.scope))) == trap.ours
    assert trap.ours != "proved" or not trap.right
    if found.verdict == "refuted":
        assert found.witness is not None


def test_every_row_is_here() -> None:
    here = {trap.row for trap in TRAPS} | {25}
    assert here == set(range(1, 50, 2))


def test_a_reshaped_kernel_is_no_convolution() -> None:
    """Trap 25: nine ones as a matrix have norm 3, and as a filter 9."""
    body = """
    operators: {C: "circular_filter2d(ones(3, 3))"}
    """
    text = "banach: 1\nsizes: {n: 6}\ninputs: {x: 'real[n, n]'}\n" + textwrap.dedent(body)
    model = banach.loads(text + "outputs: {y: C(x)}\n").compile(to="oracle")
    x = np.ones((6, 6), np.float32)
    assert np.linalg.norm(model.run(x=x)["y"]) == pytest.approx(9 * np.linalg.norm(x))
    solve = "solve:\n  z: {method: picard(T), start: x, stop: {residual: 1e-5, most: 9}}\noutputs: {z: z}\n"
    for factor, wanted in ((0.32, "unknown"), (0.11, "proved")):
        spec = text.replace("}\n    ", "}\n").rstrip()[:-1] + f", T: {factor} * C}}\n" + solve
        assert banach.loads(spec).check().certificates["z"].verdict == wanted


@pytest.mark.parametrize("row", [3, 7, 9, 13, 15, 17, 27, 45])
def test_a_linear_witness_is_what_numpy_says(row: int) -> None:
    """The matrix of the witness, its eigenvalues by numpy, against the numbers of the table."""
    wanted = {3: 1.00005, 7: 1.057, 9: 1.02784, 13: 1.6, 15: 6, 17: 1, 27: 1, 45: 1}[row]
    trap = next(t for t in TRAPS if t.row == row and t.ours.startswith("refuted"))
    exact = certificate(trap.body).witness.exact["matrix"]
    m = np.array([[float(Fraction(x)) for x in line] for line in exact])
    assert np.abs(np.linalg.eigvals(m)).max() == pytest.approx(wanted, abs=5e-4)


def test_a_tolerance_below_the_floor_of_its_precision() -> None:
    """Trap 49, the other half: float32 keeps x ← 0.999 x + 1 away from 1000."""
    text = """
banach: 1
solve:
  x: {state: {x: zeros(1)}, next: {x: 0.999 * x + 1}, stop: {residual: norm(x' - x) <= 1e-9, most: 100000}}
outputs: {x: x}
"""
    report = banach.loads(text).check()
    assert [d.code.id for d in report.diagnostics] == ["B320"] and report.certificates["x"].iterations is None
