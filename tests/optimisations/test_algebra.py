"""The algebra of linear maps and projections: left and right side, and their derivatives, are the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from law_graphs import Case, closed, draws, fn, real
from laws import reversed_case

from banach.compiler.optimisation import Options
from banach.compiler.optimisations import cancellation, projections
from banach.compiler.optimisations.products import is_circulant
from banach.compiler.optimise import PASSES, optimise
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Value
from banach.ir.reverse import reverse
from banach.ir.rewrite import Effect, Journal
from banach.ir.shelf import pages

REGROUP = Options(reassociate=True)
RANDOM = np.random.default_rng(11)
N = 6


def twice(name: str, x: Value, *others: Value, **attributes: Any) -> Value:
    return x.builder.op(name, x.builder.op(name, x, *others, **attributes), *others, **attributes)


def pair(outer: str, inner: str, x: Value, first: dict[str, Any], second: dict[str, Any]) -> Value:
    return x.builder.op(outer, x.builder.op(inner, x, **first), **second)


def turned(x: Value) -> Value:
    return x.builder.op("transpose", x, permutation=(-1, -2))


def number(x: Value, value: float) -> Value:
    return x.builder.scalar(value, x.type.dtype)


def array(x: Value, *shape: int) -> Value:
    return x.builder.constant(RANDOM.standard_normal(shape))


VECTOR, SIGNAL = (N,), (N, 2)
LEFT: dict[str, tuple[tuple[int, ...], Callable[[Value], Value], int]] = {  # .., operations of the right side
    "relu-twice": (VECTOR, lambda x: twice("relu", x), 1),
    "abs-twice": (VECTOR, lambda x: twice("abs", x), 1),
    "clip-twice": (VECTOR, lambda x: twice("clip", x, low=-0.5, high=0.25), 1),
    "ball-twice": (VECTOR, lambda x: twice("project_ball", x, number(x, 0.5)), 1),
    "no-threshold": (VECTOR, lambda x: x.builder.op("soft_threshold", x, number(x, 0.0)), 0),
    "dft-undone": (SIGNAL, lambda x: pair("dft_adjoint", "dft", x, {"modes": N}, {"size": N}), 0),
    "dft-redone": (SIGNAL, lambda x: pair("dft", "dft_adjoint", x, {"size": 9}, {"modes": N}), 0),
    "dct-undone": (VECTOR, lambda x: pair("dct_inverse", "dct", x, {}, {}), 0),
    "dct-redone": (VECTOR, lambda x: pair("dct", "dct_inverse", x, {}, {}), 0),
    "transposed-product": ((N, N), lambda x: x.builder.op("matmul", turned(x), turned(fn("sin", x))), 3),
    "two-diagonals": (VECTOR, lambda x: array(x, N) * (x * array(x, 2, 1)), 1),
}
RULES = {rule.name: rule for rule in (*projections.RULES, *cancellation.RULES)}


def run(graph: Graph, name: str) -> tuple[Graph, Journal]:
    journal = Journal()
    return pages(PASSES)[name].run(graph, REGROUP, journal), journal


def home(rule: str) -> str:
    return "projections" if RULES[rule] in projections.RULES else "cancellation"


def close(got: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_every_rule_has_an_example() -> None:
    assert set(LEFT) == set(RULES)


@pytest.mark.parametrize("rule", LEFT)
def test_both_sides_and_their_derivatives_are_the_same(rule: str) -> None:
    shape, left, size = LEFT[rule]
    graph = closed("f", lambda x: {"y": left(x)}, x=real(*shape))
    after, journal = run(graph, home(rule))
    assert journal.counts() == {rule: 1}
    assert sum(op.name != "constant" for op in after.ops) == size
    assert run(after, home(rule))[0] == after
    for seed in range(5):
        given = [np.random.default_rng(seed).standard_normal(shape)]
        close(evaluate(after, given), evaluate(graph, given))
        back = reversed_case(Case(graph, given))
        close(evaluate(reverse(after), back.arguments), evaluate(back.graph, back.arguments))


@pytest.mark.parametrize("rule", LEFT)
def test_a_kink_is_no_exception_unless_the_rule_says_so(rule: str) -> None:
    """At 0, where relu, abs and the threshold have kinks."""
    shape, left, _ = LEFT[rule]
    graph = closed("f", lambda x: {"y": left(x)}, x=real(*shape))
    after, _ = run(graph, home(rule))
    back = reversed_case(Case(graph, [np.zeros(shape)]))
    found = zip(evaluate(reverse(after), back.arguments), evaluate(back.graph, back.arguments), strict=True)
    same = all(np.allclose(got, wanted, atol=1e-12) for got, wanted in found)
    assert same is (Effect.UNSTABLE_UNDER_REVERSE not in RULES[rule].effect)


REFUSED: dict[str, tuple[tuple[int, ...], Callable[[Value], Value]]] = {
    "only 4 of 6 coefficients are kept": (
        SIGNAL,
        lambda x: pair("dft_adjoint", "dft", x, {"modes": 4}, {"size": N}),
    ),
    "a signal of 6 entries comes back as one of 8": (
        SIGNAL,
        lambda x: pair("dft_adjoint", "dft", x, {"modes": N}, {"size": 8}),
    ),
    "6 coefficients come back as 4": (
        SIGNAL,
        lambda x: pair("dft", "dft_adjoint", x, {"size": N}, {"modes": 4}),
    ),
    "the radii are two values": (
        VECTOR,
        lambda x: x.builder.op(
            "project_ball", x.builder.op("project_ball", x, number(x, 1.0)), number(x, 2.0)
        ),
    ),
    "the bounds [-1.0, 1.0] and [0.0, 1.0] differ": (
        VECTOR,
        lambda x: x.builder.op("clip", x.builder.op("clip", x, low=-1.0, high=1.0), low=0.0, high=1.0),
    ),
    "not a normal number": (VECTOR, lambda x: (x * 1e-200) * 1e-200),
    "10000 entries would be stored for 200": (
        (100, 100),
        lambda x: array(x, 100, 1) * (array(x, 1, 100) * x),
    ),
    "axes other than the last two": (
        (2, 2, 2),
        lambda x: x.builder.op("matmul", turned(x), x.builder.op("transpose", x, permutation=(-2, -1, -3))),
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_guard_says_why(reason: str) -> None:
    shape, body = REFUSED[reason]
    graph = closed("f", lambda x: {"y": body(x)}, x=real(*shape))
    told: list[str] = []
    for name in ("projections", "cancellation"):
        after, journal = run(graph, name)
        assert after == graph
        told += [entry.reason for entry in journal.refused]
    assert any(reason in line for line in told), told


# --- products ----------------------------------------------------------------------------------------------


def matrix(x: Value, entries: np.ndarray, side: str) -> Value:
    held = x.builder.constant(entries)
    return x.builder.op("matmul", *((held, x) if side == "left" else (x, held)))


@pytest.mark.parametrize("order", ["left right left right", "right left right left", "left right right left"])
def test_both_sides_of_a_kronecker_product_are_collected(order: str) -> None:
    """A₁(A₂ X B₂)B₁ = (A₁A₂) X (B₂B₁), with tall factors too."""
    sizes = {"left": iter([(5, 4), (3, 5)]), "right": iter([(4, 6), (6, 2)])}
    factors = [(side, RANDOM.standard_normal(next(sizes[side]))) for side in order.split()]

    def body(x: Value) -> dict[str, Value]:
        for side, entries in factors:
            x = matrix(x, entries, side)
        return {"y": x}

    graph = closed("f", body, x=real(4, 4))
    after, journal = run(graph, "products")
    assert [op.name for op in after.ops if op.name != "constant"] == ["matmul"] * 2
    assert journal.counts() == {"product of matrices": 2}
    assert run(after, "products")[0] == after
    close(evaluate(after, draws((4, 4))), evaluate(graph, draws((4, 4))))
    back = reversed_case(Case(graph, draws((4, 4))))
    close(evaluate(reverse(after), back.arguments), evaluate(back.graph, back.arguments))


def test_a_side_that_grows_is_left_alone() -> None:
    """4 numbers stand between 40 and 40: collecting would make 1600 of 320."""
    narrow, wide = RANDOM.standard_normal((4, 40)), RANDOM.standard_normal((40, 4))

    def body(x: Value) -> dict[str, Value]:
        inner = matrix(matrix(x, narrow, "left"), RANDOM.standard_normal((40, 40)), "right")
        return {"y": matrix(inner, wide, "left")}

    graph = closed("f", body, x=real(40, 40))
    after, journal = run(graph, "products")
    assert after == graph
    assert "are not fewer than" in journal.refused[0].reason


def multiplications(graph: Graph) -> int:
    types = graph.types()
    return sum(
        op.types[0].shape[0] * op.types[0].shape[1] * types[op.operands[0]].shape[1]  # type: ignore[operator]
        for op in graph.ops
        if op.name == "matmul"
    )


@pytest.mark.parametrize("seed", range(40))
def test_collecting_never_multiplies_more(seed: int) -> None:
    """Chains of factors of all sizes, on both sides."""
    random = np.random.default_rng(seed)
    shape = [int(n) for n in random.integers(1, 12, 2)]

    def body(x: Value) -> dict[str, Value]:
        held = list(shape)
        for side in random.integers(2, size=5):
            n = int(random.integers(1, 12))
            entries = random.standard_normal((n, held[0]) if side == 0 else (held[1], n))
            x, held[side] = matrix(x, entries, "left" if side == 0 else "right"), n
        return {"y": x}

    graph = closed("f", body, x=real(*shape))
    after, journal = run(graph, "products")
    cheaper = multiplications(after) < multiplications(graph)
    assert cheaper if journal.fired else after == graph
    close(evaluate(after, draws(tuple(shape))), evaluate(graph, draws(tuple(shape))))


def circulant(column: np.ndarray) -> np.ndarray:
    places = np.arange(len(column))
    return column[(places[:, None] - places) % len(column)]


def test_circulants_commute_and_stay_circulants() -> None:
    a, b = (circulant(RANDOM.standard_normal(16)) for _ in range(2))

    def times(m: np.ndarray, x: Value) -> Value:
        return x.builder.op("matvec", x.builder.constant(m), x)

    graph = closed("f", lambda x: {"y": times(a, times(b, x)) - times(b, times(a, x))}, x=real(16))
    after = optimise(graph, REGROUP).graph
    assert [op.name for op in after.ops] == ["constant", "matvec", "subtract"]
    (found,) = after.constants().values()
    assert is_circulant(found.array)
    np.testing.assert_allclose(found.array, a @ b, atol=1e-13)


def test_a_step_goes_into_the_map_and_the_data() -> None:
    """x - s(A x - v) = x - ((sA) x - s v), and s v is made once before the loop."""
    weights = RANDOM.standard_normal((4, 4))

    def step(x: Value, v: Value) -> dict[str, Value]:
        return {"x": x - 0.1 * (matrix(x, weights, "left") - v)}

    region = closed("step", step, x=real(4, 4), v=real(4, 4))

    def body(x: Value, v: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 5, "reverse": False}
        return {"x": x.builder.emit("scan", [x, v], shape, [region])[0]}

    graph = closed("descent", body, x=real(4, 4), v=real(4, 4))
    after = optimise(graph, REGROUP, checked=True).graph
    assert [op.name for op in after.ops if op.name != "constant"] == ["multiply", "scan"]
    inside = [op.name for op in after.ops[-1].regions[0].ops if op.name != "constant"]
    assert inside == ["matmul", "subtract", "subtract"]
    close(evaluate(after, draws((4, 4), (4, 4))), evaluate(graph, draws((4, 4), (4, 4))))
