"""Verdicts that were once wrong: what is returned hides a mode, places share a name, derivatives are cut."""

import numpy as np
import pytest

import banach
from banach.compiler.elaboration.analysis.returned import LEAPS
from banach.compiler.facts import stability
from banach.ir.diagnostic import SpecError
from banach.ir.exact import Interval
from banach.ir.graph import PRIMITIVES
from banach.ir.primitive import Known, page
from banach.ir.primitives.elementwise import Elementwise
from banach.ir.shelf import pages
from banach.ir.tensor_type import TensorType

HEAD = "banach: 1\nprecision: float64\n"


def verdict(text: str, solve: str = "x"):
    return banach.loads(HEAD + text).check().certificates[solve]


# --- refuted, though what is returned converges -----------------------------------------------------------

ITERATION = """
solve:
  x:
    state: {{{state}}}
    next: {{{next}}}
    returns: {returns}
    stop: {{residual: "abs({size}) <= 1e-9", most: 60}}
outputs: {{x: x}}
"""
HIDDEN = {
    "two states that differ by nothing": dict(
        state="x: 1.0, y: 1.0",
        next='x: "-1.5 * x", y: "-1.5 * y"',
        returns="x - y",
        size="(x' - y') - (x - y)",
    ),
    "an entry that is not returned": dict(
        state='x: "ones(2)"', next='x: "[[0.5, 0], [0, 2]] @ x"', returns="x[0]", size="x'[0] - x[0]"
    ),
    "two that cancel in the third": dict(
        state="x: 1.0, y: 1.0, z: 1.0",
        next='x: "0.5 * x + y - z", y: "2 * y", z: "2 * z"',
        returns="x",
        size="x' - x",
    ),
}


@pytest.mark.parametrize("form", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_seen_does_not_refute(form):
    text = ITERATION.format(**form)
    assert verdict(text).verdict == "unknown"
    assert banach.loads(HEAD + text).compile(to="oracle").run()["x.status"] == 0


def test_what_is_seen_refutes():
    form = HIDDEN["two that cancel in the third"] | {"state": "x: 1.0, y: 1.0, z: 2.0"}
    assert verdict(ITERATION.format(**form)).verdict == "refuted"


LARGE = """
inputs: {{b: "real[40]"}}
parameters: {{A: 2 * eye(40)}}
operators: {{f: "least_squares(A, b)"}}
solve:
  x:
    state: {{x: zeros(40), y: zeros(40), z: zeros(40)}}
    next: {{x: x - 0.01 * grad(f)(x), y: y - 10 * grad(f)(y), z: y - 10 * grad(f)(y)}}
    returns: {returned}
    stop: {{residual: norm(x' - x) <= 1e-9, most: 60}}
outputs: {{x: x}}
"""


def test_gradients_that_cancel_in_what_is_returned():
    """y = z after one step: 40 entries are too many to be followed one by one."""
    assert verdict(LARGE.format(returned="x + y - z")).verdict == "unknown"
    assert verdict(LARGE.format(returned="2 * x - y")).verdict == "refuted"


@pytest.mark.parametrize("seed", range(20))
def test_the_part_that_is_seen_follows_its_own_matrix(seed):
    """Against numpy: O M = N O, and O has the rank of the observability matrix."""
    random = np.random.default_rng(seed)
    n, size = 5, int(random.integers(1, 4))
    matrix = random.integers(-2, 3, (n, n)) * (random.random((n, n)) < 0.4)
    seen = random.integers(-1, 2, (size, n)) * (random.random((size, n)) < 0.5)
    found, basis = (np.array(x, float) for x in stability.observed(matrix.tolist(), seen.tolist()))
    powers = np.vstack([seen @ np.linalg.matrix_power(matrix, k) for k in range(n)])
    rank = np.linalg.matrix_rank(powers)
    assert len(basis) == rank
    if rank:
        assert np.linalg.matrix_rank(np.vstack([powers, basis])) == rank
        np.testing.assert_allclose(basis @ matrix, found @ basis, atol=1e-9)


# --- proved, though what is returned leaps ----------------------------------------------------------------

RETURNED = """
solve:
  x:
    state: {{x: ones(3)}}
    where: {{half: x / 2}}
    next: {{x: {step}}}
    returns: {returns}
    stop: {{residual: norm(x' - x) <= 1e-9, most: 3000}}
outputs: {{x: x}}
"""


@pytest.mark.parametrize("step", ["-0.9 * x", "-0.9 * tanh(x)"])
@pytest.mark.parametrize("returns", ["sign(x)", "1 / x", "1 if half > 0 else 0", "floor(x)", "sqrt(x)"])
def test_a_result_that_leaps_is_not_proved(returns, step):
    """The states go to 0 from both sides, and the result to no limit."""
    assert verdict(RETURNED.format(step=step, returns=returns)).verdict == "unknown"


@pytest.mark.parametrize("step", ["-0.9 * x", "-0.9 * tanh(x)"])
@pytest.mark.parametrize("returns", ["2 * half[0]", "tanh(x) + norm(half)", "sum(x) / 3"])
def test_a_result_that_follows_is_proved(returns, step):
    assert verdict(RETURNED.format(step=step, returns=returns)).verdict == "proved"


ENTRYWISE = sorted(
    name for name, page in pages(PRIMITIVES).items() if isinstance(page, Elementwise) and name not in LEAPS
)


@pytest.mark.parametrize("name", ENTRYWISE)
def test_a_function_of_one_number_that_is_not_listed_does_not_leap(name):
    """Finite between -3 and 3, and no step larger than e³ times the distance."""
    page, sample = pages(PRIMITIVES)[name], next(iter(pages(PRIMITIVES)[name].samples()))
    found = page.evaluate(np.linspace(-3, 3, 6001), **sample.attributes)
    if found.dtype.kind == "f":  # a truth value is no result that is proved
        assert np.isfinite(found).all() and np.abs(np.diff(found)).max() < 0.025


def test_a_result_of_an_opaque_map_is_not_proved():
    text = (
        RETURNED.format(step="-0.9 * x", returns="F(x)") + "operators: {F: opaque(leap), leap(x): sign(x)}\n"
    )
    assert verdict(text).verdict == "unknown"


def test_a_state_that_is_returned_through_a_local_name():
    """y doubles, and is part of the result by the name of h."""
    text = """
solve:
  x:
    state: {x: 1.0, y: 1.0}
    where: {h: y, g: h}
    next: {x: 0.5 * x, y: 2 * y}
    returns: x + g
    stop: {residual: abs(x' - x) <= 1e-9, most: 60}
outputs: {x: x}
"""
    assert verdict(text).verdict != "proved"


# --- assumptions that a verdict did not name --------------------------------------------------------------

PLACES = """
operators:
  T(x): 3 * sin(x) + 1
  U(x): 0.9 * x + 1
  G(T, y):
    solve:
      z: {method: picard(T), start: y, stop: {residual: 1e-6, most: 300}}
    returns: z
assume: {q: lipschitz(T) <= 0.5}
"""


@pytest.mark.parametrize("outputs", ['{a: "G(T, 1.0)", b: "G(U, 1.0)"}', '{b: "G(U, 1.0)", a: "G(T, 1.0)"}'])
def test_a_solve_at_two_places_names_what_either_assumes(outputs):
    """The slower place is proved without the assumption, the other one is not."""
    found = verdict(PLACES + f"outputs: {outputs}\n", "G.z")
    assert found.verdict == "proved"
    assert found.assumptions == ("lipschitz(T) <= 0.5",)


# --- derivatives that are not those of the values ---------------------------------------------------------

STOPPED = """
operators:
  f(x): sum(stop_gradient(x)**2) - sum(x**2) / 2
assume: {c: convex(f), l: lipschitz(grad(f)) <= 1}
solve:
  x: {method: gradient_descent(f), step: 0.5, start: ones(2), stop: {residual: 1e-6, most: 300}}
outputs: {x: x}
"""
CUT = """
parameters: {J: [[0, 10], [0, 0]], v: [1, -1], b: [1, 1]}
operators:
  low(y):
    solve:
      z:
        state: {z: zeros(2)}
        next: {z: J @ z + v * y}
        stop: {residual: norm(z' - z) <= 1e-12, most: 20}
        gradient: one_step
    returns: z
  f(y): sum((low(y) - b)**2) / 2
assume: {c: convex(f), l: lipschitz(grad(f)) <= 90}
solve:
  x: {method: gradient_descent(f), step: 0.01, start: "3.0", stop: {residual: 1e-6, most: 300}}
outputs: {x: x}
"""
ADJOINT = """
inputs: {b: "real[2]"}
operators:
  L(x): relu(x) - relu(-x)
  f: least_squares(L, b)
assume: {l: linear(L), n: norm(L) <= 1}
solve:
  x: {method: gradient_descent(f), step: 0.5, start: ones(2), stop: {residual: 1e-6, most: 300}}
outputs: {x: x}
"""


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        (STOPPED, "that a derivative may leave out what stop_gradient holds"),
        (CUT, "the derivative of low.z by one_step"),
        (ADJOINT, "that the slope at 0 of a map is the map, where its adjoint is taken"),
    ],
)
def test_a_derivative_that_is_not_that_of_the_values_is_named(text, trusted):
    """All that is assumed is true of the values, and the iteration fails all the same."""
    assert trusted in verdict(text).assumptions
    inputs = {"b": [1.0, 2.0]} if "inputs" in text else {}
    found = banach.loads(HEAD + text).compile(to="oracle").run(**inputs)
    assert found["x.status"] != 0 or abs(found["x"][1] - 2) > 0.5


def test_an_adjoint_of_what_is_proved_linear_is_not_named():
    text = ADJOINT.replace("relu(x) - relu(-x)", "concatenate(x[1:], x[:1], axis=0)")
    assert sorted(verdict(text).assumptions) == ["linear(L)", "norm(L) <= 1"]


# --- maps that give more than they take -------------------------------------------------------------------

STRETCHED = """
parameters: {{R: {row}}}
operators:
  f: sq_l2(ones(40))
  T: {map}
solve:
  x: {{method: {method}(T), start: ones({size}), stop: {{residual: 1e-6, most: 200}}}}
outputs: {{x: x}}
"""


@pytest.mark.parametrize("method", ["picard", "halpern"])
@pytest.mark.parametrize(
    ("map", "size"),
    [("prox(f, 1) @ matrix(R)", 40), ("matrix(R) @ prox(f, 1)", 1), ("matrix(R) @ grad(f)", 1)],
)
def test_a_function_of_more_entries_than_its_argument(map, size, method):
    """x ↦ x - b has the norm √40 where x is one number and b are forty; R has the norm 0.89."""
    text = STRETCHED.format(row=[[0.14] * 40], map=map, size=size, method=method)
    with pytest.raises(SpecError, match="keeps the shape of its argument"):
        verdict(text)


def test_frank_wolfe_on_a_matrix():
    """The set is that of all entries together: the gap keeps to the bound, of a diameter of √2."""
    text = """
operators: {f: sq_l2(0.25)}
solve:
  x: {method: "frank_wolfe(f, 1)", start: "zeros(20, 2)", stop: {residual: 1e-9, most: MOST}}
outputs: {x: x}
"""
    assert verdict(text.replace("MOST", "9")).verdict == "proved"
    least = 40 * (0.25 - 1 / 40) ** 2 / 2
    for k in (1, 5, 50):
        x = banach.loads(HEAD + text.replace("MOST", str(k))).compile(to="oracle").run()["x"]
        assert x.sum() == pytest.approx(1)
        assert np.sum((x - 0.25) ** 2) / 2 - least <= 4 / (k + 2)


# --- words that are told to take r >= 0 -------------------------------------------------------------------

RADIUS = """
inputs: {{t: real}}
solve:
  x:
    state: {{x: "[0.5, 0.2, -0.1]"}}
    next: {{x: "{step}"}}
    stop: {{residual: norm(x' - x) <= 1e-9, most: 300}}
outputs: {{x: x}}
"""


@pytest.mark.parametrize("radius", ["0 - 1", "t"])
@pytest.mark.parametrize("step", ["0.9 * project_ball(x, r)", "-0.9 * group_soft_threshold(x, r)"])
def test_a_negative_radius(step, radius):
    """x ↦ -x/‖x‖ and x ↦ x + x/‖x‖ leap at 0."""
    text = RADIUS.format(step=step.replace("r)", f"{radius})"))
    assert verdict(text).verdict == "unknown"
    assert banach.loads(HEAD + text).compile(to="oracle").run(t=-1.0)["x.status"] != 0


def test_a_radius_that_is_known():
    assert verdict(RADIUS.format(step="0.9 * project_ball(x, 1)")).verdict == "proved"


@pytest.mark.parametrize("word", ["soft_threshold", "group_soft_threshold", "project_ball"])
def test_a_range_holds_for_a_negative_radius(word):
    """soft_threshold(1, -5) is 6, and the ball of the radius -5 turns points round."""
    x, r = np.array([0.0, 1.0]), np.array(-5.0)
    known = [Known(TensorType("float64", (2,)), Interval.between(0, 1)), Known(TensorType("float64"))]
    low, high = page(word).range(known).to_floats()
    assert np.all((low <= page(word).evaluate(x, r)) & (page(word).evaluate(x, r) <= high))


# --- nothing at all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["0.5 * x", "2 * x", "0.5 * tanh(x)"])
def test_a_state_without_entries(step):
    text = ITERATION.format(state='x: "zeros(0)"', next=f'x: "{step}"', returns="x", size="norm(x' - x)")
    assert verdict(text).verdict in ("proved", "unknown")


@pytest.mark.parametrize("step", ["0.9 * take(x, [0, 1, 5], axis=0)", "0.9 * interpolate(x, x)"])
def test_what_cannot_be_followed_is_unknown(step):
    assert verdict(RADIUS.format(step=step)).verdict == "unknown"
