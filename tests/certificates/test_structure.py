"""Verdicts that the graph of a step decides: chains of entries, and positive numbers by their ratios."""

import numpy as np
import pytest

import banach

TEXT = """\
banach: 1
precision: float64
inputs: {{u: "real[3]"}}
solve:
  x:
    state: {{{state}}}
    next: {{{next}}}
    stop: {{residual: norm(x' - x) <= 1e-9, most: 100}}
outputs: {{x: x}}
"""


def certificate(state: str, next: str):
    return banach.loads(TEXT.format(state=state, next=next)).check().certificates["x"]


# --- chains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("next", "steps"),
    [
        ("floor(9 * [[0, 0, 0], [1, 0, 0], [1, 1, 0]] @ x) + u", 3),
        ("floor(9 * [[0, 0, 0], [1, 0, 0], [1, 0, 0]] @ x) + u", 2),
        ("round(7 * pad(x[:2], axis=0, before=1)) + u", 3),
        ("round(7 * pad(x[1:], axis=0, after=1)) + u", 3),
        ("sign(mask(take(x, [1, 2, 0], axis=0), count(3) < 2)) + u", 3),
        ("floor(take(x, [1, 2, 2], axis=0) * [3, 3, 0]) + u", 3),
        ("floor(sum([[0, 4, 4], [0, 0, 4], [0, 0, 0]] * reshape(x, 1, 3), axis=-1)) + u", 3),
        ("maximum(8 * square(concatenate([1], x[:2], axis=0)), u)", 3),
    ],
)
def test_the_longest_chain(next: str, steps: int) -> None:
    found = certificate("x: zeros(3)", f'x: "{next}"')
    assert (found.verdict, found.theorem) == ("proved", "exact-after-finite-steps")
    assert found.rate == f"0 from step {steps} on"


@pytest.mark.parametrize(
    "next",
    [
        "floor(9 * [[0, 0, 0], [1, 0, 0], [1, 1, 1e-300]] @ x) + u",  # its last entry reads itself
        "floor(3 * take(x, [1, 2, 0], axis=0)) + u",  # around
        "floor(7 * pad(x[:2], axis=0, before=1)) / (1 + x[0])",  # may have no value
        "floor(7 * log(pad(x[:2], axis=0, before=1)))",
        "floor(cumsum(x)) + u",
        "floor(pad(x[:2], axis=0, before=1) * k)",  # another map in every step
    ],
)
def test_no_chain(next: str) -> None:
    found = certificate("x: zeros(3)", f'x: "{next}"')
    assert found.theorem != "exact-after-finite-steps"
    assert found.verdict != "proved"


def test_two_states() -> None:
    found = certificate("x: zeros(3), y: 0", "x: floor(3 * y) + u, y: floor(sum(u))")
    assert found.rate == "0 from step 2 on"


def test_what_it_claims_is_what_runs() -> None:
    next = "round(7 * sin(pad(x[:2], axis=0, before=1))) + u"
    model = banach.loads(TEXT.format(state='x: "[9, 9, 9]"', next=f'x: "{next}"')).compile()
    found = model.run(u=np.array([0.3, -2, 5]))
    assert int(found["x.iterations"]) <= 4
    again = 0.3
    for other, shift in zip(found["x"], (0.3, -2, 5)):
        assert other == (again := shift if shift == 0.3 else np.round(7 * np.sin(again)) + shift)


# --- ratios -----------------------------------------------------------------------------------------------


def thompson(state: str, next: str):
    found = certificate(state, next)
    return found if found.theorem == "thompson-contraction" else None


W = "[[3, 1, 0], [0, 0, 0], [9, 0, 5]]"


@pytest.mark.parametrize(
    ("next", "factor"),
    [
        (f"({W} @ x + 1)**0.5", 0.5),
        (f"tanh({W} @ x + softplus(u))**0.25", 0.25),
        (f"sigmoid({W} @ x + exp(u))", 0.27847),
        (f"sqrt({W} @ x + [1, 2, 3])", 0.5),
        (f"exp(u) / sqrt({W} @ x + 1)", 0.5),
        ("maximum(x, exp(u))**0.75 / norm(x)**0.125", 0.875),
    ],
)
def test_the_elasticity(next: str, factor: float) -> None:
    found = thompson("x: ones(3)", f'x: "{next}"')
    assert found.verdict == "proved" and found.proviso is None
    assert found.upper_factor == pytest.approx(factor, rel=1e-12)


def test_a_start_that_only_the_run_knows() -> None:
    assert thompson("x: u", f'x: "({W} @ x + 1)**0.5"').proviso == "every entry of the start is positive"


def test_zero_is_left_in_the_first_step_or_not_at_all() -> None:
    assert thompson("x: zeros(3)", f'x: "({W} @ x + 1)**0.5"').proviso is None
    assert thompson("x: zeros(3)", 'x: "([[1, 1, 1], [1, 2, 1], [1, 1, 3]] @ x)**0.5"') is None
    assert thompson("x: ones(3)", 'x: "([[1, 1, 1], [1, 2, 1], [1, 1, 3]] @ x)**0.5"') is not None


@pytest.mark.parametrize(
    "next",
    [
        f"({W} @ x)**0.5",  # its second entry is 0
        f"({W} @ x + 1)**1.0",  # elasticity 1
        f"({W} @ x + u)**0.5",  # of no known sign
        f"({W} @ x - 1)**0.5",
        f"1 / ({W} @ x + 1)**1.5",
        "exp(x)**0.1 + 1",  # stretches ratios more and more
        "(x * x)**0.5",
        "(sum(x) * x + 1)**0.5",  # two factors
        "([[-1, 3, 3], [3, 1, 3], [3, 3, 1]] @ x + 1)**0.5",
    ],
)
def test_no_contraction_of_ratios(next: str) -> None:
    assert thompson("x: ones(3)", f'x: "{next}"') is None


def test_states_that_stretch_each_other_in_turn() -> None:
    found = thompson("x: ones(3), y: ones(3)", f'x: "y**0.25 + 1", y: "({W} @ x + 1)**2"')
    assert found.verdict == "proved" and 0.5**0.5 <= found.upper_factor < 1


def test_sizes_that_only_the_run_knows() -> None:
    text = """\
banach: 1
precision: float64
sizes: {n: any}
inputs: {u: "real[n]"}
solve:
  x:
    state: {x: ones(n)}
    next: {x: "sqrt(x + exp(u) + mean(x) * count(n) / n)"}
    stop: {residual: norm(x' - x) <= 1e-9, most: 100}
outputs: {x: x}
"""
    assert banach.loads(text).check().certificates["x"].verdict == "unknown"
    found = banach.loads(text.replace(" + mean(x) * count(n) / n", "")).check().certificates["x"]
    assert (found.theorem, found.upper_factor) == ("thompson-contraction", 0.5)


# --- tournaments ------------------------------------------------------------------------------------------

RANKED = """\
banach: 1
precision: float64
ASSUMED
solve:
  x: {method: "METHOD(WON)", start: ones(3), stop: {residual: 1e-6, most: 1000}}
outputs: {x: x}
"""
CHAIN, BROKEN = "[[0, 2, 0], [0, 0, 1], [3, 0, 0]]", "[[0, 2, 1], [0, 0, 1], [0, 3, 0]]"


@pytest.mark.parametrize("method", ["zermelo", "bradley_terry"])
@pytest.mark.parametrize(
    ("won", "verdict"),
    [
        (CHAIN, "proved"),
        (BROKEN, "unknown"),  # nobody beats the first player: no strength is enough
        (CHAIN.replace("2", "-2"), "unknown"),
    ],
)
def test_a_chain_of_wins(method: str, won: str, verdict: str) -> None:
    text = RANKED.replace("METHOD", method).replace("WON", won).replace("ASSUMED", "")
    found = banach.loads(text).check().certificates["x"]
    assert found.verdict == verdict and (verdict == "proved" or "fails" in found.missing)


def test_a_chain_that_is_assumed() -> None:
    assumed = "inputs: {won: 'real[3, 3]'}\nassume: {chain: strongly_connected(won)}"
    text = RANKED.replace("METHOD", "bradley_terry").replace("WON", "won")
    found = banach.loads(text.replace("ASSUMED", assumed)).check().certificates["x"]
    assert found.verdict == "proved" and found.assumptions == ("strongly_connected(won)",)
    given = assumed.replace("inputs: {won: 'real[3, 3]'}", f"parameters: {{won: '{BROKEN}'}}")
    report = banach.loads(text.replace("ASSUMED", given))
    with pytest.raises(banach.SpecError, match="B330"):
        report.check()


# --- noise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("next", "factor"),
    [
        ("x - 0.1 * (x + normal((1, k), 3))", 0.1),
        ("0.5 * tanh(x) + [3, -2, 4] * normal((7, k), 3) / 4", 0.5),
        ("u - uniform((2, k), 3)", 1.0),
    ],
)
def test_fresh_noise_does_not_settle(next: str, factor: float) -> None:
    text = TEXT.format(state="x: u", next=f'x: "{next}"')
    found = banach.loads(text).check().certificates["x"]
    assert (found.verdict, found.scope, found.theorem) == ("refuted", "class", "fresh-noise")
    assert float(found.witness.exact["factor"]) == pytest.approx(factor)
    # What is refused does not compile: the oracle's own run of the step says how long its moves are.
    x, moves = np.array([0.3, -1.0, 2.0]), []
    given = x.copy()
    step = banach.loads(ONE_STEP.replace("NEXT", next)).compile(to="oracle")
    for k in range(1, 300):
        new = step.run(x=x, u=given, k=k)["y"]
        moves.append(np.abs(new - x).max())
        x = new
    assert max(moves[200:]) > 0.5 * factor and min(max(moves[i : i + 20]) for i in range(280)) > 0.1 * factor


ONE_STEP = """\
banach: 1
precision: float64
inputs: {x: "real[3]", u: "real[3]", k: int}
outputs: {y: "NEXT"}
"""


@pytest.mark.parametrize(
    "next",
    [
        "x - (x + normal((1, k), 3)) / k",  # averages
        "x - 0.1 * (x + normal((1, 2), 3))",  # one draw for all steps
        "0.5 * x + normal((1, k), 3) - normal((1, k), 3)",  # nothing
        "0.5 * x + 0 * normal((1, k), 3)",
        "0.5 * x + x * normal((1, k), 3)",  # smaller and smaller
        "0.5 * x + 0.1 * tanh(normal((1, k), 3) - 1e9)",
    ],
)
def test_other_noise_is_not_refuted(next: str) -> None:
    assert certificate("x: u", f'x: "{next}"').theorem != "fresh-noise"
