"""Gradient methods with memory, written out: proved by a Lyapunov function, refuted by a witness, or neither.

The functions of these tests are made for them, and rates come from closed forms or from eigenvalues in numpy.
"""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.verifier import verify
from banach.compiler.certificate import Certificate
from banach.compiler.cli import main
from banach.compiler.facts import lyapunov
from banach.compiler.facts.multipliers import prove
from banach.ir.exact import Interval

SPEC = """
banach: 1
precision: {precision}
sizes: {{n: 3}}
inputs: {{start: "real[n]"}}
operators:
  f(x): {f}
  g: l1(0.5)
  {operators}
assume:
  a: convex(f)
  b: strong_convexity(f) >= {mu}
  c: lipschitz(grad(f)) <= {L}
solve:
  x:
    state: {state}
    {where}
    next: {next}
    stop: {{residual: norm(x' - x) <= 1e-6, most: 2000}}
    {returns}
outputs: {{x: x}}
"""
TWO = "{x: start, last: start}"


def model(
    next: str,
    state: str = TWO,
    mu: object = 1,
    L: object = 25,
    operators: str = "I1: I",
    where: str = "",
    returns: str = "",
    precision: str = "float64",
    f: str = "sum(log(1 + exp(x))) + sum(x**2)",
) -> banach.Model:
    words = dict(where=where and f"where: {where}", returns=returns and f"returns: {returns}")
    return banach.loads(
        SPEC.format(
            next=next, state=state, mu=mu, L=L, operators=operators, precision=precision, f=f, **words
        )
    )


def certificate(next: str, state: str = TWO, **words: object) -> Certificate:
    return model(next, state, **words).check().certificates["x"]  # type: ignore[arg-type]


def heavy_ball(step: object, momentum: object) -> str:
    return f"{{x: x - {step} * grad(f)(x) + {momentum} * (x - last), last: x}}"


# --- proved -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("step", "momentum"),
    [("1/25", "0.5"), ("1.5/25", "0.5"), ("0.5/25", "0.85"), ("1/25", "0.7"), ("1/25", "0")],
)
def test_heavy_ball_in_the_region_of_ghadimi(step: str, momentum: str, precision: str) -> None:
    g, m = float(eval(step)) * 25, 1 / 25
    assert float(momentum) < (m * g / 2 + np.sqrt(m * m * g * g / 4 + 4 * (1 - g / 2))) / 2  # T18
    found = certificate(heavy_ball(step, momentum), precision=precision)
    assert (found.verdict, found.theorem, found.rate) == ("proved", "quadratic-lyapunov", "linear")
    worst = max(radius(curvature / 25, g, float(momentum), 0) for curvature in np.linspace(1, 25, 97))
    assert worst - 1e-9 <= found.upper_factor < 1
    assert set(found.assumptions) == {"convex(f)", "strong_convexity(f) >= 1", "lipschitz(grad(f)) <= 25"}


def radius(curvature: float, step: float, momentum: float, ahead: float) -> float:
    """Of the momentum method that takes its gradient `ahead`, on a quadratic of one variable."""
    a, b = momentum - ahead * step * curvature, 1 - step * curvature
    return float(np.abs(np.linalg.eigvals([[b + a, -a], [1, 0]])).max())


@pytest.mark.parametrize("step", ["0.01", "1/25", "2/26", "1.99/25"])
@pytest.mark.parametrize(
    ("next", "operators"),
    [
        ("{{x: x - {s} * grad(f)(x)}}", "I1: I"),
        ("{{x: 2 * (x - {s} / 2 * grad(f)((3 * x + x) / 4)) - (x - 0)}}", "I1: I"),
        ("{{x: x * (1 - 0.3) + 0.3 * (x + ({s} / -0.3) * grad(f)(x))}}", "I1: I"),
        ("{{x: move(x)}}", "move(z): z - {s} * (grad(f) + 0 * grad(f))(z)"),
        ("{{x: (I - {s} * grad(f)) @ x}}", "I1: I"),
        ("{{x: x - moved}}", "I1: I"),
    ],
)
def test_gradient_descent_with_unusual_algebra(step: str, next: str, operators: str) -> None:
    """Within 1e-4 of max(|1 - step·mu|, |1 - step·L|), and never below it."""
    where = f"{{moved: {step} * grad(f)(x)}}" if "moved" in next else ""
    text, words = next.format(s=step), operators.format(s=step)
    found = certificate(text, "{x: start}", operators=words, where=where)
    exact = max(abs(1 - eval(step)), abs(1 - eval(step) * 25))
    assert found.verdict == "proved", found.missing
    assert exact * (1 - 1e-9) <= found.upper_factor <= exact + 1e-4


def test_nesterov_in_one_state_less_and_one_more() -> None:
    """y_k alone with its last value, and a velocity, where the page has x and y: its bound is kept."""
    b = Fraction(2, 3)  # (1 - √q)/(1 + √q), q = 1/25
    forms = [
        (
            f"{{y: y - g + {b} * (y - g - (old - h)), old: y}}",
            "{y: start, old: start}",
            "{g: grad(f)(y) / 25, h: grad(f)(old) / 25}",
        ),
        (f"{{x: x + v', v: {b} * v - 0.04 * grad(f)(x + {b} * v)}}", "{x: start, v: zeros(n)}", ""),
    ]
    for next, state, where in forms:
        next = next.replace("x' - x", "y' - y")
        text = SPEC.replace("norm(x' - x)", "norm(y' - y)") if "y:" in state else SPEC
        words = dict(f="sum(log(1 + exp(x))) + sum(x**2)", operators="I1: I", mu=1, L=25, precision="float64")
        spec = text.format(next=next, state=state, where=where and f"where: {where}", returns="", **words)
        found = banach.loads(spec).check().certificates["x"]
        assert found.verdict == "proved", found.missing
        assert 0.8 <= found.upper_factor <= np.sqrt(1 - 1 / 5) + 1e-6


def test_triple_momentum_has_its_factor() -> None:
    """1 - √(mu/L), the best known of any method with fixed steps: Van Scoy, Freeman & Lynch 2018."""
    r = Fraction(4, 5)
    a, b, c = (1 + r) / 25, r**2 / (2 - r), r**2 / ((1 + r) * (2 - r))
    next = f"{{x: (1 + {b}) * x - {b} * last - {a} * grad(f)(x + {c} * (x - last)), last: x}}"
    found = certificate(next)
    assert found.verdict == "proved" and 0.8 <= found.upper_factor <= 0.8 + 1e-4


def test_a_proximal_map_beside_the_gradient() -> None:
    plain = certificate('{x: "prox(g, 0.04)(x - 0.04 * grad(f)(x))"}', "{x: start}")
    assert plain.verdict == "proved" and plain.theorem == "forward-backward-strongly-convex"
    fast = certificate(
        '{x: "prox(g, 0.04)(y - 0.04 * grad(f)(y))", y: "x\' + 2 / 3 * (x\' - x)"}', "{x: start, y: start}"
    )
    assert fast.verdict == "proved" and fast.theorem == "quadratic-lyapunov"
    assert 0.8 <= fast.upper_factor < plain.upper_factor == pytest.approx(0.96)


def test_steps_from_the_constants_themselves() -> None:
    """A method's page with a function that is not quadratic, and a step that is a bound of L."""
    text = SPEC.format(
        f="sum(x**2)",
        mu=1,
        L=25,
        operators="I1: I",
        precision="float32",
        state="",
        where="",
        returns="",
        next="",
    )
    head, _, _ = text.partition("solve:")
    how = "{method: heavy_ball(f), start: start, momentum: 0.3, stop: {residual: 1e-5, most: 99}}"
    solve = f"solve:\n  x: {how}\n"
    found = banach.loads(head + solve + "outputs: {x: x}\n").check().certificates["x"]
    assert (found.verdict, found.theorem) == ("proved", "quadratic-lyapunov")


# --- the numbers, by other means --------------------------------------------------------------------------


def polygon(rng: np.random.Generator, L: float) -> tuple[np.ndarray, np.ndarray]:
    """A random convex function with slopes 1 .. L and its minimiser at 0: the knots of its gradient."""
    slopes = rng.choice([1.0, L, rng.uniform(1, L)], 9)
    knots = np.sort(np.append(rng.standard_normal(8), 0.0))
    rise = np.concatenate([[0.0], np.cumsum(slopes[1:] * np.diff(knots))])
    return knots, rise - rise[knots == 0]


def gradient(knots: np.ndarray, rise: np.ndarray, L: float, y: float) -> float:
    if y < knots[0]:
        return rise[0] + L * (y - knots[0])
    return float(rise[-1] + (y - knots[-1]) if y > knots[-1] else np.interp(y, knots, rise))


def value(knots: np.ndarray, rise: np.ndarray, L: float, y: float) -> float:
    """∫ of the gradient from 0: it is a polygon, so the trapezoidal rule at its knots is exact."""
    inner = knots[(knots > min(0, y)) & (knots < max(0, y))]
    grid = np.sort(np.concatenate([[0.0, y], inner]))
    total = np.trapezoid([gradient(knots, rise, L, t) for t in grid], grid)
    return float(total if y >= 0 else -total)


@pytest.mark.parametrize(("step", "momentum", "ahead"), [(0.04, 0.5, 0), (0.04, 2 / 3, 1), (0.06, 0.4, 0.5)])
def test_the_lyapunov_function_falls_on_random_functions(step: float, momentum: float, ahead: float) -> None:
    """V is evaluated here from its rational numbers as the JSON has them, along orbits of bad shape."""
    L, rng = 25.0, np.random.default_rng(0)
    next = (
        f"{{x: x + {momentum} * (x - last) - {step} * grad(f)(x + {momentum * ahead} * (x - last)), last: x}}"
    )
    told = certificate(next).to_json()
    data, q = told["derivation"], told["factor"]
    P = np.array([[float(Fraction(x)) for x in row] for row in data["P"]])
    (p,) = (float(Fraction(x)) for x in data["values"])
    tightest = 0.0
    for _ in range(60):
        shape = polygon(rng, L)
        x, last = rng.standard_normal(2) * 3
        before = None
        for _ in range(30):
            y = x + momentum * ahead * (x - last)
            u = gradient(*shape, L, y)
            s, h = u / L - y / L, (value(*shape, L, y) - y * y / 2) / L  # in units of L = 1
            z = np.array([x, last, s])
            now = z @ P @ z + p * h
            assert now >= x * x + last * last - 1e-9
            if before is not None and before > 1e-9:
                assert now <= q**2 * before * (1 + 1e-7)
                tightest = max(tightest, max(now / before, 0.0) ** 0.5)
            before = now
            x, last = x + momentum * (x - last) - step * u, x
    assert tightest > 0.8 * q  # the factor is no empty one


@pytest.mark.parametrize("seed", range(40))
def test_random_methods_are_never_proved_faster_than_quadratics_allow(seed: int) -> None:
    rng = np.random.default_rng(seed)
    step, momentum, ahead = rng.uniform(0, 3) / 25, rng.uniform(-0.3, 1.1), rng.uniform(0, 1.5)
    next = (
        f"{{x: x + {momentum} * (x - last) - {step} * grad(f)(x + {momentum * ahead} * (x - last)), last: x}}"
    )
    found = certificate(next)
    worst = max(radius(c / 25, step * 25, momentum, momentum * ahead) for c in np.linspace(1, 25, 49))
    if found.verdict == "proved":
        assert found.upper_factor >= worst * (1 - 1e-9)
    if worst > 1 + 1e-9:
        assert found.verdict != "proved"
    if max(radius(c / 25, step * 25, momentum, momentum * ahead) for c in (1, 25)) > 1 + 1e-6:
        assert (found.verdict, found.scope) == ("refuted", "class")


# --- refuted ----------------------------------------------------------------------------------------------


def test_polyaks_tuning_has_an_exact_cycle() -> None:
    """Trap 1. The witness is replayed in rationals: after three steps the state is what it was."""
    found = certificate(heavy_ball("1/9", "4/9"))
    assert (found.verdict, found.scope, found.witness.kind) == ("refuted", "class", "cycle")
    exact = found.to_json()["witness"]["exact"]
    points = [(Fraction(y), Fraction(u)) for y, u in exact["points"]]
    ordered = sorted([*points, (Fraction(0), Fraction(0))])
    slopes = [(v - u) / (z - y) for (y, u), (z, v) in pairwise(ordered)]
    assert all(1 <= slope <= 25 for slope in slopes)  # so there is such a function, and its minimiser is 0
    x = start = Fraction(exact["states"]["x"])
    last = first = Fraction(exact["states"]["last"])
    for y, u in points:
        assert x == y
        x, last = x - u / 9 + Fraction(4, 9) * (x - last), x
    assert (x, last) == (start, first) and len(set(points)) == 3


def test_polyaks_tuning_is_proved_for_quadratics_only() -> None:
    text = """
banach: 1
sizes: {n: 2}
parameters: {A: [[5, 0], [0, 1]], b: [1, 1]}
operators: {f: "least_squares(A, b)"}
solve:
  x:
    state: {x: zeros(n), last: zeros(n)}
    next: {x: x - 1/9 * grad(f)(x) + 4/9 * (x - last), last: x}
    stop: {residual: norm(grad(f)(x')) <= 1e-5, most: 500}
outputs: {x: x}
"""
    found = banach.loads(text).check().certificates["x"]
    assert (found.verdict, found.theorem) == ("proved", "heavy-ball-quadratic")


@pytest.mark.parametrize(
    ("next", "state"),
    [
        (heavy_ball("0.13", "0.5"), TWO),  # beyond 2(1 + momentum)/L
        (heavy_ball("0.01", "1.2"), TWO),
        (heavy_ball("0.01", "-1.2"), TWO),
        ("{x: x - 0.081 * grad(f)(x)}", "{x: start}"),
        ("{x: x + 0.01 * grad(f)(x)}", "{x: start}"),
        # trap 29: 1.5/L, and stable up to (2 + 2b)/(1 + 2b) = 10/7 only
        ("{x: y - 0.06 * grad(f)(y), y: x' + 2/3 * (x' - x)}", "{x: start, y: start}"),
    ],
)
def test_a_quadratic_of_the_class_refutes(next: str, state: str) -> None:
    """The witness is a matrix of rationals: numpy finds an eigenvalue that is not smaller than 1."""
    found = certificate(next, state, L=25)
    assert (found.verdict, found.scope, found.witness.kind) == ("refuted", "class", "mode")
    exact = found.witness.exact
    assert Fraction(exact["curvature"]) in (1, 25)
    matrix = np.array([[float(Fraction(x)) for x in row] for row in exact["matrix"]])
    assert np.abs(np.linalg.eigvals(matrix)).max() > 1
    x = np.array(found.witness.start)
    for _ in range(2000):
        x = matrix @ x
    assert np.abs(x).max() > 100 * np.abs(found.witness.start).max()


def test_a_refuted_class_is_compiled_with_a_warning_and_a_refuted_instance_is_not() -> None:
    refuted = model(heavy_ball("0.13", "0.5"))
    (told,) = refuted.check().diagnostics
    assert (told.code.id, told.severity, refuted.check().exit_code()) == ("B316", "warning", 3)
    start = np.array([1.0, -1.0, 2.0])
    assert refuted.compile(to="oracle").run(start=start)["x.status"] == 0  # this very f is tame
    quadratic = """
banach: 1
sizes: {n: 2}
parameters: {A: [[5, 0], [0, 1]], b: [1, 1]}
operators: {f: "least_squares(A, b)"}
solve:
  x:
    state: {x: zeros(n), v: zeros(n)}
    next: {x: x + v', v: 0.5 * v - 0.13 * grad(f)(x)}
    stop: {residual: norm(grad(f)(x')) <= 1e-5, most: 500}
outputs: {x: x}
"""
    found = banach.loads(quadratic).check().certificates["x"]
    assert (found.verdict, found.scope) == ("refuted", "instance")
    with pytest.raises(banach.SpecError, match="B313"):
        banach.loads(quadratic).compile()


# --- what is not of the form ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("next", "words", "why"),
    [
        (heavy_ball("0.02", "0.5"), {"mu": 0}, "not strongly convex"),
        ("{x: x - 0.02 * grad(f)(2 * x), last: x}", {}, "the gradient is not taken at the fixed point"),
        ("{x: 0.9 * x - 0.02 * grad(f)(x), last: x}", {}, "the minimiser does not stay"),
        ("{x: x - 0.02 * grad(f)(x) + 0.1, last: x}", {}, "a number is added"),
        ("{x: x - 0.02 / (k + 1) * grad(f)(x), last: x}", {}, "the step changes"),
        ("{x: x - 0.02 * x * grad(f)(x), last: x}", {}, "a product of two values that change"),
        ("{x: x - 0.02 * grad(f)(relu(x)), last: x}", {}, "a point that is no combination"),
        ("{x: x - 0.02 * start * grad(f)(x), last: x}", {}, "a step for each entry"),
        (heavy_ball("0.02", "0.5"), {"returns": "x - last"}, "what is returned is zero at the minimiser"),
        (heavy_ball("0.02", "0.5"), {"returns": "2 * x"}, "twice the minimiser is returned"),
        (heavy_ball("0.02", "0.5"), {"where": "{k: 1}"}, "a name is hidden"),
        (
            "{x: x - 0.02 * grad(h)(x) + 0.1 * (x - last), last: x}",
            {"operators": "h(x): sum(x**4)"},
            "not smooth",
        ),
        (
            '{x: "prox(g, 0.04)(x - 0.02 * grad(f)(x)) + 0.1 * (x - last)", last: x}',
            {},
            "another objective: the minimiser of f + g does not stay",
        ),
        ('{x: "prox(g, -0.02)(x - 0.02 * grad(f)(x))", last: x}', {}, "a negative step of the proximal map"),
        (
            "{x: x - s * grad(f)(x), last: x}",
            {"where": "{s: 0.01 + 0.01 * sin(k)}"},
            "the step changes, by a name",
        ),
    ],
)
def test_what_is_not_of_the_form_is_unknown(next: str, words: dict, why: str) -> None:
    assert certificate(next, **words).verdict == "unknown", why


def test_states_of_different_sizes() -> None:
    """A state that is stretched over the others counts several times."""
    found = certificate("{x: x - 0.02 * grad(f)(x) + 0.1 * c, c: 0.5 * c}", "{x: start, c: 1}")
    assert found.verdict == "unknown"


def test_a_state_that_nothing_reads_does_not_count() -> None:
    found = certificate("{x: x - 0.02 * grad(f)(x), seen: seen * seen + x}", "{x: start, seen: start}")
    assert found.verdict == "proved"


# --- the certificate travels ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("momentum") / "model.onnx"
    model(
        '{x: "prox(g, 0.04)(y - 0.04 * grad(f)(y))", y: "x\' + 0.5 * (x\' - x)"}', "{x: start, y: start}"
    ).compile(path)
    return onnx.load(path)


def reopened(sealed: onnx.ModelProto, change: object) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(sealed)
    entry = next(e for e in copy.metadata_props if e.key == "banach.certificate")
    document = json.loads(entry.value)
    change(document["certificates"][0])  # type: ignore[operator]
    entry.value = json.dumps(document)
    return copy


def test_the_independent_checker_proves_it_again(sealed: onnx.ModelProto) -> None:
    found = verify(sealed)
    assert found.ok and any("Lyapunov" in line for line in found.checked)


def smaller(text: str) -> str:
    return str(Fraction(text) * Fraction(999, 1000))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: (
            c["derivation"].update(factor="4/5") or c.update(factor=0.8) or c["claim"].update(factor=0.8)
        ),
        lambda c: c["derivation"]["P"][0].__setitem__(0, smaller(c["derivation"]["P"][0][0])),
        lambda c: c["derivation"]["values"].__setitem__(0, smaller(c["derivation"]["values"][0])),
        lambda c: c["derivation"]["decrease"][2].__setitem__(2, "-" + c["derivation"]["decrease"][2][2]),
        lambda c: c["derivation"]["decrease"].pop(),
        lambda c: c["derivation"]["lower"].clear(),
        lambda c: c["derivation"].update(of=[0, 0]),
        lambda c: c["evidence"]["derivation"]["systems"][1]["B"][0].__setitem__(0, ["number", "-9/4"]),
        lambda c: c["evidence"]["derivation"]["systems"].clear(),
        lambda c: c["evidence"]["derivation"]["classes"][0][0].__setitem__(0, "1/2"),
        lambda c: c["evidence"]["derivation"]["classes"][0][1].__setitem__(0, "1/2"),
        lambda c: c["derivation"].update(P=[["1"]]),
    ],
)
def test_a_changed_number_is_found(sealed: onnx.ModelProto, change: object) -> None:
    assert not verify(reopened(sealed, change)).ok


def test_the_derivation_is_told(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.yaml"  # type: ignore[operator]
    words = dict(f="sum(exp(-x)) + sum(x**2)", operators="I1: I", mu=1, L=25, precision="float64")
    words |= dict(where="", returns="")
    path.write_text(SPEC.format(next=heavy_ball("0.04", "0.5"), state=TWO, **words))
    assert main(["check", "-v", str(path)]) == 0
    told = capsys.readouterr().out
    assert "derivation" in told and "V⁺ <= factor²·V" in told and "λ(" in told
    assert main(["explain", "quadratic-lyapunov"]) == 0
    assert "Taylor, Van Scoy & Lessard 2018" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("next", "verdict"),
    [
        (heavy_ball("0.02", "0.5"), "proved"),
        ("{every(10): {x: x - 0.02 * grad(f)(x)}, last: x}", "unknown"),
        ("{x: x - 0.02 * grad(f)(history(x, 3)[2]), last: x}", "unknown"),
    ],
)
def test_a_step_that_does_more_than_its_formulas(next: str, verdict: str) -> None:
    try:
        assert certificate(next).verdict == verdict
    except banach.SpecError:
        assert verdict == "unknown"


def test_a_forged_certificate_is_not_believed() -> None:
    """The compiler's own check, on heavy ball with step 1/L and momentum 1/2, mu/L = 1/25."""
    half = Fraction(1, 2)
    parts = [[[3 * half, -half], [1, 0]], [[-1], [0]], [[1, 0]], [[0]]]
    A, B, C, D = (tuple(tuple(Interval.of(x) for x in row) for row in part) for part in parts)
    system = lyapunov.System(A, B, C, D, (0,), (lyapunov.Curvature(Fraction(1, 25), Fraction(1)),))
    true = prove([system])
    assert true is not None and lyapunov.proves(system, true)
    less = Fraction(99, 100)
    forged = [
        replace(true, factor=true.factor * less),
        replace(true, values=(true.values[0] * less,)),
        replace(true, values=(Fraction(0),), decrease={}, lower={}),
        replace(true, P=tuple(tuple(-x for x in row) for row in true.P)),
        *(
            replace(true, decrease={**true.decrease, pair: m * less})
            for pair, m in true.decrease.items()
            if m
        ),
        replace(true, lower={**true.lower, (0, 0): Fraction(1)}),
        replace(true, decrease={pair: -m for pair, m in true.decrease.items()}),
    ]
    assert not any(lyapunov.proves(system, other) for other in forged)
    worse = replace(system, classes=(lyapunov.Curvature(Fraction(1, 30), Fraction(1)),))
    assert not lyapunov.proves(worse, true)


def test_a_certificate_without_its_numbers_says_nothing() -> None:
    """Every rule is named in the verifier, which wants the numbers of each."""
    from banach.backends.onnx.verifier import DERIVED
    from banach.compiler.inference.rule import rules

    assert set(DERIVED) == {rule.theorem for rule in rules().values() if not rule.structural}
