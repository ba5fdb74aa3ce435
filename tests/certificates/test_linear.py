"""Affine iterations, and those whose entries change each other little: exact norms, exact refutations.

The oracle is numpy: eigenvalues, and orbits of the matrices that certificates and witnesses name.
"""

import json
import textwrap
from fractions import Fraction

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler.certificate import Certificate
from banach.compiler.elaboration.analysis.slopes import bounded_step
from banach.compiler.facts import contraction, stability
from banach.compiler.facts.stability import Side

HEAD = """
banach: 1
precision: float64
sizes: {n: 3}
inputs: {u: real, v: "real[n]"}
"""
STOP = "stop: {residual: abs(x' - x) <= 1e-8, most: 500}"
NORM = "stop: {residual: norm(x' - x) <= 1e-8, most: 500}"


def model(body: str) -> banach.Model:
    return banach.loads(HEAD + textwrap.dedent(body) + "\noutputs: {x: x}\n")


def certificate(body: str) -> Certificate:
    return model(body).check().certificates["x"]


def matrix(told: object) -> np.ndarray:
    return np.array([[float(Fraction(x)) for x in row] for row in told])  # type: ignore[attr-defined]


def radius(m: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvals(m)).max())


JACOBI = """
parameters: {{A: [[1, {a}, {a}], [{a}, 1, {a}], [{a}, {a}, 1]]}}
solve:
  x: {{state: {{x: zeros(n)}}, next: {{x: x + (v - A @ x) / diag}}, where: {{diag: "[1, 1, 1]"}}, {stop}}}
"""
SWEEP = """
solve:
  x:
    state: {{x: u, y: 0, z: 0}}
    next:
      x: (1 - {w}) * x + {w} * (1 - {a} * y - {a} * z)
      y: (1 - {w}) * y + {w} * (2 - {a} * x' - {a} * z)
      z: (1 - {w}) * z + {w} * (3 - {a} * x' - {a} * y')
    {stop}
"""


@pytest.mark.parametrize("a", ["0.3", "0.49", "-0.49"])
def test_jacobi_written_out(a: str) -> None:
    found = certificate(JACOBI.format(a=a, stop=NORM))
    exact = radius(-float(a) * (np.ones((3, 3)) - np.eye(3)))
    assert found.verdict == "proved" and exact <= found.upper_factor <= exact + 0.02 * (1 - exact)


def test_jacobi_on_a_positive_definite_matrix_may_fail() -> None:
    """Trap 13: radius 1.6."""
    found = certificate(JACOBI.format(a="0.8", stop=NORM))
    assert (found.verdict, found.scope) == ("refuted", "class")  # the start is an input
    assert radius(matrix(found.witness.exact["matrix"])) == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("a", "w"), [("0.8", "1"), ("0.8", "1.5"), ("0.8", "0.3"), ("-0.45", "1.9"), ("0.9", "1.2")]
)
def test_sweeps_over_a_positive_definite_matrix(a: str, w: str) -> None:
    """Gauss-Seidel and over-relaxation, on a matrix where Jacobi fails: Ostrowski and Reich."""
    found = certificate(SWEEP.format(a=a, w=w, stop=STOP))
    A = np.eye(3) + float(a) * (np.ones((3, 3)) - np.eye(3))
    lower, upper = np.tril(A, -1), np.triu(A, 1)
    sweep = np.linalg.solve(np.eye(3) + float(w) * lower, (1 - float(w)) * np.eye(3) - float(w) * upper)
    assert found.verdict == "proved"
    assert radius(sweep) <= found.upper_factor <= radius(sweep) + 0.41 * (1 - radius(sweep))
    np.testing.assert_allclose(matrix(found.to_json()["derivation"]["matrix"]), sweep, atol=1e-12)


@pytest.mark.parametrize(("a", "w"), [("0.8", "2"), ("0.8", "2.3"), ("0.8", "-0.1"), ("1.1", "1")])
def test_sweeps_that_fail(a: str, w: str) -> None:
    found = certificate(SWEEP.format(a=a, w=w, stop=STOP))
    assert (found.verdict, found.scope) == ("refuted", "class")  # the start is an input
    assert radius(matrix(found.witness.exact["matrix"])) >= 1 - 1e-12


@pytest.mark.parametrize(
    ("next", "size"),
    [
        ("{x: 1 - 2 * y, y: 2 - 3 * x'}", 6),  # trap 15: Gauss-Seidel on [[1, 2], [3, 1]]
        ("{x: x - 0.01 * y, y: y + 0.01 * x}", 1.00005),  # trap 3: descent and ascent on xy
        ("{x: x - 0.01 * y, y: y + 0.01 * x'}", 1),  # taken in turn it goes round in a circle
        ("{x: y, y: x}", 1),  # trap 45: a periodic chain
        ("{x: -x, y: 0.5 * y}", 1),  # trap 17
    ],
)
def test_linear_traps(next: str, size: float) -> None:
    found = certificate(f"solve:\n  x: {{state: {{x: u, y: 2}}, next: {next}, {STOP}}}")
    assert (found.verdict, found.scope) == ("refuted", "class")  # the start is an input
    m = matrix(found.witness.exact["matrix"])
    assert radius(m) == pytest.approx(size, abs=1e-5)
    move, least = np.array(found.witness.start), 0.5 * np.abs(found.witness.start).max()
    for _ in range(100):
        move = m @ move
        assert np.abs(move).max() >= least  # the moves do not go to 0


def test_a_start_without_a_part_in_what_grows_is_not_refuted() -> None:
    """From (1/2, 1/2) the periodic chain does not move at all; from (1/2, 1/3) it does."""
    body = "solve:\n  x: {{state: {{x: 1 / 2, y: {y}}}, next: {{x: y, y: x}}, {stop}}}"
    assert certificate(body.format(y="1 / 2", stop=STOP)).verdict == "unknown"
    assert certificate(body.format(y="1 / 3", stop=STOP)).verdict == "refuted"


@pytest.mark.parametrize(
    "next",
    [
        "{x: x + 0.5 * y, y: 0.5 * y}",  # the eigenvalue 1: where it ends depends on the start
        "{x: 0.5 * x + k, y: x}",  # the step changes
        "{x: u * x, y: x}",  # the factor is an input
        "{x: 0.5 * x * y, y: x}",
        "{x: 1.5 * sin(x), y: x}",
    ],
)
def test_what_is_neither_proved_nor_refuted(next: str) -> None:
    assert certificate(f"solve:\n  x: {{state: {{x: u, y: 2}}, next: {next}, {STOP}}}").verdict == "unknown"


def test_a_state_that_nothing_reads_does_not_count() -> None:
    found = certificate(f"solve:\n  x: {{state: {{x: u, y: 2}}, next: {{x: 0.5 * x, y: 3 * y + k}}, {STOP}}}")
    assert found.verdict == "proved"


@pytest.mark.parametrize("seed", range(12))
def test_random_affine_iterations(seed: int) -> None:
    """Proved or refuted as their eigenvalues are, with a factor that the norm of the certificate keeps."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    M = rng.standard_normal((n, n)) * rng.choice([0.1, 1, 3], (n, n))
    M *= rng.choice([0.3, 0.9, 0.999, 1.001, 1.5]) / radius(M)
    body = f"""
    parameters: {{M: {M.tolist()}, c: {rng.standard_normal(n).tolist()}}}
    inputs: {{w: "real[{n}]"}}
    solve:
      x: {{state: {{x: w}}, next: {{x: M @ x + c}}, {NORM}}}
    """
    body = textwrap.dedent(body).replace("inputs:", "#")
    found = (
        banach.loads(
            "banach: 1\nprecision: float64\ninputs: {w: 'real["
            + str(n)
            + "]'}\n"
            + body
            + "outputs: {x: x}\n"
        )
        .check()
        .certificates["x"]
    )
    if found.verdict == "refuted":
        assert radius(M) > 1
        return
    assert found.verdict == "proved" and radius(M) < 1
    if found.theorem == "banach":
        assert found.upper_factor >= np.linalg.norm(M, 2) * (1 - 1e-9)
        return
    assert radius(M) <= found.upper_factor * (1 + 1e-9)
    data = found.to_json()["derivation"]
    for x in rng.standard_normal((50, n)):
        if data["kind"] == "form":
            P = matrix(data["P"])
            before, after = x @ P @ x, (M @ x) @ P @ (M @ x)
            assert after <= found.upper_factor**2 * before * (1 + 1e-9)
        else:
            w = np.array([float(Fraction(t)) for t in data["weights"]])
            assert np.abs(M @ x / w).max() <= found.upper_factor * np.abs(x / w).max() * (1 + 1e-9)


# --- bounds entry by entry --------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softplus", "sin", "abs"])
def test_an_equilibrium_whose_weights_have_a_small_perron_root(activation: str) -> None:
    """‖W‖ is 3 and more, and the spectral radius of |W| is 0.87: neither norm nor symmetry helps."""
    W = np.array([[0.1, 3], [0.2, 0.1]])
    body = f"""
    parameters: {{W: {W.tolist()}}}
    solve:
      x: {{state: {{x: ones(2)}}, next: {{x: {activation}(W @ x + 1)}}, {NORM}}}
    """
    found = certificate(body)
    slope = 0.25 if activation == "sigmoid" else 1
    assert (found.verdict, found.theorem) == ("proved", "weighted-contraction" if slope == 1 else "banach")
    if slope == 1:
        assert radius(np.abs(W)) <= found.upper_factor <= radius(np.abs(W)) + 0.01
        w = np.array([float(Fraction(t)) for t in found.to_json()["derivation"]["weights"]])
        f = {"relu": lambda t: np.maximum(t, 0), "softplus": lambda t: np.logaddexp(0, t)}.get(
            activation, getattr(np, activation, None)
        )
        rng = np.random.default_rng(0)
        for _ in range(500):
            x, y = rng.standard_normal((2, 2)) * rng.choice([0.1, 1, 10])
            moved = np.abs((f(W @ x + 1) - f(W @ y + 1)) / w).max()
            assert moved <= found.upper_factor * np.abs((x - y) / w).max() * (1 + 1e-9)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("relu(W @ x + [1, 0])", "trap 21: spectral radius 0, but 5 for |W|"),
        ("gelu(0.95 * x)", "trap 47: slope 1.129"),
        ("silu(0.95 * x)", "trap 47: slope 1.0998"),
        ("sqrt(1 + x**2)", "trap 19: slopes below 1 whose supremum is 1"),
        ("x + 0.5 * tanh(x)", "trap 47: 1 + L"),
        ("softmax(3 * x)", "not entry by entry"),
        ("x * x", "no slope"),
        ("0.6 * (relu(x) + relu(-x)) + 0.6 * abs(x)", "1.2 |x|: signs must not cancel between slopes"),
        ("2 * relu(x) * [1, -1] - relu(-x) * [1, -1]", "slopes 2 and 1"),
        ("floor(0.5 * x)", "a jump"),
        ("sort(x) - 0.5 * x", "places that change"),
        ("where(x > 0, 0.5 * x, 0.4 * x + 1)", "a jump between branches"),
        ("soft_threshold(0.5 * x, abs(x))", "a threshold that moves"),
    ],
)
def test_no_bound_entry_by_entry(step: str, why: str) -> None:
    body = f"""
    parameters: {{W: [[2, 4], [-1, -2]]}}
    solve:
      x: {{state: {{x: ones(2)}}, next: {{x: "{step}"}}, {NORM}}}
    """
    try:
        assert certificate(body).verdict != "proved", why
    except banach.SpecError as refusal:
        assert all(d.code.id.startswith("B2") for d in refusal.diagnostics)  # no word of the language


def test_several_states_of_several_shapes() -> None:
    """R1: a matrix of gains between states; x is a vector, s a number that is added to every entry."""
    body = f"""
    solve:
      x:
        state: {{x: v, s: 0}}
        next: {{x: tanh(0.2 * x + 0.5 * s), s: 0.1 * sum(sin(x)) + 0.3 * s}}
        {NORM}
    """
    found = certificate(body)
    gains = np.zeros((4, 4))
    gains[:3, :3], gains[:3, 3], gains[3, :3], gains[3, 3] = 0.2 * np.eye(3), 0.5, 0.1, 0.3
    assert found.verdict == "proved" and radius(gains) <= found.upper_factor <= radius(gains) + 0.02


# --- the arithmetic by itself -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_the_side_of_the_circle_is_exact(seed: int) -> None:
    """Companion matrices of polynomials with chosen roots, on the circle and 2^-40 beside it."""
    rng = np.random.default_rng(seed)
    polynomial, largest, one = [Fraction(1)], Fraction(0), False
    for _ in range(int(rng.integers(1, 6))):
        sizes = [Fraction(1, 2), 1 - Fraction(1, 2**40), Fraction(1), 1 + Fraction(1, 2**40), Fraction(3)]
        root = Fraction(rng.choice(sizes)) * int(rng.choice([-1, 1]))
        polynomial = [a - root * b for a, b in zip([*polynomial, Fraction(0)], [Fraction(0), *polynomial])]
        one, largest = one or root == 1, largest if root == 1 else max(largest, abs(root))
    n = len(polynomial) - 1
    companion = [
        [-c for c in polynomial[1:]],
        *([Fraction(int(i == j)) for j in range(n)] for i in range(n - 1)),
    ]
    wanted = Side.BEYOND if largest >= 1 else Side.ONE if one else Side.INSIDE
    assert stability.side(companion) is wanted
    assert stability.characteristic(companion) == polynomial


def test_a_form_just_too_fast_is_not_believed() -> None:
    rows = [[Fraction(1, 2), Fraction(1)], [Fraction(0), Fraction(1, 2)]]
    found = contraction.form(rows)
    assert found is not None and contraction.falls(rows, found[1], found[0])
    assert not contraction.falls(rows, found[1], Fraction(1, 2))
    assert contraction.form([[Fraction(1)]]) is None and contraction.weights([[Fraction(-1)]]) is None


# --- the certificate travels ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [(SWEEP.format(a="0.8", w="1.5", stop=STOP), "form"), (JACOBI.format(a="0.3", stop=NORM), "weights")],
)
def test_the_independent_checker(tmp_path: object, body: str, kind: str) -> None:
    path = tmp_path / "model.onnx"  # type: ignore[operator]
    model(body).compile(path)
    sealed = onnx.load(path)
    found = verify(sealed)
    assert found.ok and any("norm of the certificate" in line for line in found.checked)
    entry = next(e for e in sealed.metadata_props if e.key == "banach.certificate")
    true = json.loads(entry.value)
    assert true["certificates"][0]["derivation"]["kind"] == kind
    for change in (
        lambda d: d.update(factor="1/10"),
        lambda d: d["matrix"][1].__setitem__(1, "11/10"),
        lambda d: d["matrix"].pop(),
        lambda d: d.update(kind="trust me"),
        lambda d: d.update(weights=["-1"] * 3) if kind == "weights" else d["P"][0].__setitem__(0, "-1"),
    ):
        document = json.loads(json.dumps(true))
        change(document["certificates"][0]["derivation"])
        entry.value = json.dumps(document)
        assert not verify(sealed).ok


def test_slopes_keep_their_signs() -> None:
    """Between 0.1 and 0.9, where sizes alone would give 1.7."""
    found = certificate(f"solve:\n  x: {{state: {{x: v}}, next: {{x: 0.9 * x - 0.8 * softplus(x)}}, {NORM}}}")
    assert (found.verdict, found.theorem) == ("proved", "weighted-contraction")
    assert found.upper_factor == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(6))
def test_no_change_of_an_entry_is_larger_than_its_bound(seed: int) -> None:
    """Random networks with every kind of operation, against differences of the oracle's own values."""
    rng = np.random.default_rng(seed)
    V, W = rng.standard_normal((2, 3, 3)).round(2)
    steps = [
        "0.3 * tanh(W @ x) - 0.2 * x",
        "maximum(W @ x, 0.5 * x) - minimum(V @ x, 0.1)",
        "relu(V @ relu(W @ x) - x) / [2, -4, 8]",
        "soft_threshold(W @ x, 0.3) + abs(V @ x) * [1, -1, 0.5]",
        "gelu(x) - silu(W @ x) + sum(softplus(x)) * ones(3)",
        "concatenate(sin(x[1:]), 2 * x[:1]) - sigmoid(W @ tanh(V @ x))",
    ]
    body = f"""
    parameters: {{V: {V.tolist()}, W: {W.tolist()}}}
    operators: {{T(x): "{steps[seed % len(steps)]}"}}
    solve:
      x: {{state: {{x: v}}, next: {{x: T(x)}}, {NORM}}}
    """
    built = banach.loads(HEAD + textwrap.dedent(body) + "\noutputs: {y: T(v)}\n")
    bound = np.array([[float(t) for t in row] for row in bounded_step(built.elaborated.claims[0]).rows])
    run, attained = built.compile(to="oracle").run, np.zeros((3, 3))
    for _ in range(15):
        x, j, size = (
            rng.standard_normal(3) * rng.choice([0.1, 1, 5]),
            rng.integers(3),
            rng.choice([1e-3, 1, 10]),
        )
        moved = np.abs(run(v=x + size * np.eye(3)[j], u=0)["y"] - run(v=x, u=0)["y"]) / size
        assert (moved <= bound[:, j] * (1 + 1e-9) + 1e-9).all()
        attained[:, j] = np.maximum(attained[:, j], moved)
    assert attained.sum() > 0.2 * bound.sum()  # the bounds are no empty ones
