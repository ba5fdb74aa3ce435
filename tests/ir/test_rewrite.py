"""Every rule fires on its left side, keeps values and derivatives, and the sweep ends."""

from collections.abc import Callable

import laws
import numpy as np
import pytest
from law_graphs import INT, Case, call_case, closed, draws, fn, page_cases, real, region_cases

from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Value
from banach.ir.reverse import reverse
from banach.ir.rewrite import BadRule, Effect, Journal, Refusal, Rule, rewrite
from banach.ir.simplify import RULES, simplify
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType
from banach.ir.text import print_graph
from banach.ir.verify import verify

N = named("n")


def names(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops]


def op(name: str, *operands: Value, **attributes) -> Value:
    return operands[0].builder.op(name, *operands, **attributes)


def number(like: Value, value: float) -> Value:
    return like.builder.scalar(value, like.type.dtype)


def opposite(x: Value) -> Value:
    return -x


# rule, its left side as a map of x: [2, 3], and what is left of it
LEFT: dict[str, list[tuple[Callable[[Value], Value], list[str]]]] = {
    "add-zero": [
        (lambda x: x + 0.0, []),
        (lambda x: x.builder.zeros(x.type) + x, []),
        (
            lambda x: op("slice", x, axis=-2, start=0, stop=1) + x.builder.zeros(x.type),
            ["slice", "broadcast"],
        ),
    ],
    "subtract-zero": [(lambda x: x - 0.0, [])],
    "multiply-one": [(lambda x: 1.0 * x, []), (lambda x: x * x.builder.constant(np.ones((2, 1))), [])],
    "divide-one": [(lambda x: x / 1.0, [])],
    "negate-twice": [(lambda x: opposite(opposite(x)), []), (lambda x: opposite(opposite(-x)), ["negate"])],
    "add-negated": [
        (lambda x: fn("sin", x) + opposite(x), ["sin", "subtract"]),
        (lambda x: opposite(x) + fn("sin", x), ["sin", "subtract"]),
    ],
    "subtract-negated": [(lambda x: fn("sin", x) - opposite(x), ["sin", "add"])],
    "negate-difference": [(lambda x: opposite(fn("sin", x) - x), ["sin", "subtract"])],
    "not-twice": [
        (
            lambda x: op("select", fn("not", fn("not", op("less", x, -x))), x * x, fn("sin", x)),
            ["negate", "less", "multiply", "sin", "select"],
        )
    ],
    "select-equal": [
        (lambda x: op("select", op("less", x, number(x, 0.1)), fn("sin", x), fn("sin", x)), ["sin"])
    ],
    "reshape-unchanged": [(lambda x: op("reshape", x, shape=(2, 3)), [])],
    "reshape-twice": [
        (lambda x: op("reshape", op("reshape", x, shape=(6,)), shape=(3, 2)), ["reshape"]),
        (lambda x: op("reshape", op("reshape", x, shape=(6,)), shape=(2, 3)), []),
    ],
    "broadcast-unchanged": [(lambda x: op("broadcast", x, shape=(2, 3)), [])],
    "broadcast-twice": [
        (lambda x: op("broadcast", op("broadcast", x, shape=(4, 2, 3)), shape=(5, 4, 2, 3)), ["broadcast"])
    ],
    "cast-unchanged": [(lambda x: op("cast", x, dtype="float64"), [])],
    "transpose-unchanged": [(lambda x: op("transpose", x, permutation=(-2, -1)), [])],
    "transpose-twice": [
        (lambda x: op("transpose", op("transpose", x, permutation=(-1, -2)), permutation=(-1, -2)), []),
        (
            lambda x: op(
                "transpose",
                op("transpose", op("broadcast", x, shape=(4, 2, 3)), permutation=(-1, -3, -2)),
                permutation=(-1, -2),
            ),
            ["broadcast", "transpose"],
        ),
    ],
    "fold": [(lambda x: x * fn("sin", number(x, 0.5) + 2.0), ["constant", "multiply"])],
}


def left(f: Callable[[Value], Value]) -> Graph:
    return closed("left", lambda x: {"y": f(x)}, x=real(2, 3))


def test_every_rule_has_an_example() -> None:
    assert set(LEFT) == {rule.name for rule in RULES}
    assert all(rule.effect is Effect.EXACT and rule.law for rule in RULES)


@pytest.mark.parametrize("name", LEFT)
def test_a_rule_keeps_values_and_derivatives(name: str) -> None:
    for f, kept in LEFT[name]:
        graph, journal = left(f), Journal()
        after = simplify(graph, journal)
        verify(after)
        assert name in journal.counts()
        assert names(after) == kept
        assert simplify(after) == after
        for seed in range(3):
            (x,) = draws((2, 3), seed=seed)
            y = evaluate(graph, [x])
            np.testing.assert_array_equal(evaluate(after, [x])[0], y[0])
            (w,) = draws(y[0].shape, seed=seed + 10)
            laws.close(evaluate(reverse(after), [x, w]), evaluate(reverse(graph), [x, w]), 1e-14)


CASES: dict[str, Case] = {**dict(page_cases()), **region_cases()}


@pytest.mark.parametrize("name", CASES)
def test_whole_graphs_keep_values_and_derivatives(name: str) -> None:
    case, back = CASES[name], laws.reversed_case(CASES[name])
    assert_same(case)
    assert_same(back)
    laws.close(
        evaluate(reverse(simplify(case.graph)), back.arguments),
        evaluate(back.graph, back.arguments),
        1e-12,
        name,
    )


def assert_same(case: Case) -> None:
    after = simplify(case.graph)
    verify(after)
    assert len(after.ops) <= len(case.graph.ops)
    assert simplify(after) == after
    for got, wanted in zip(
        evaluate(after, case.arguments), evaluate(case.graph, case.arguments), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-15)


def test_a_neutral_number_on_the_wrong_side_stays() -> None:
    assert names(simplify(left(lambda x: 0.0 - x))) == ["constant", "subtract"]
    assert names(simplify(left(lambda x: 1.0 / x))) == ["constant", "divide"]
    assert names(simplify(left(lambda x: x * 0.0))) == ["constant", "multiply"]  # NaN · 0 is NaN


def test_common_subexpressions_are_made_once() -> None:
    graph = closed("f", lambda x: {"y": fn("sin", x) * fn("sin", x) + fn("cos", x + 0.0)}, x=real(2))
    journal = Journal()
    assert names(simplify(graph, journal)) == ["sin", "multiply", "cos", "add"]
    assert journal.shared == 1
    apart = closed(
        "f", lambda x: {"y": op("sum", x, axes=(-1,)), "z": op("sum", x, axes=(-2,))}, x=real(2, 2)
    )
    assert names(simplify(apart)) == ["sum", "sum"]


def test_constants_that_differ_in_a_sign_or_a_dtype_stay_apart() -> None:
    build = Builder("f")
    x = build.input("x", real())
    plus, minus = build.constant(np.asarray(0.0)), build.constant(np.asarray(-0.0))
    graph = build.finish({"a": x / plus, "b": x / minus, "c": build.constant(np.asarray(0))})
    assert names(simplify(graph)).count("constant") == 3


def test_folding_says_why_it_does_not() -> None:
    build = Builder("f")
    row = build.constant(np.ones((1, 40)))
    column = build.constant(np.ones((40, 1)))
    build.op("count", size=N, dtype="float64")
    outputs = {"big": row + column, "count": build.op("count", size=N, dtype="float64"), "sum": row * row}
    journal = Journal()
    assert names(simplify(build.finish(outputs), journal)) == ["constant", "constant", "count", "add"]
    reasons = {entry.reason for entry in journal.refused}
    assert reasons == {"1600 entries would be stored for 80", "a size is known by name only"}


def test_folding_makes_no_large_file(monkeypatch) -> None:
    monkeypatch.setattr("banach.ir.simplify.LARGEST", 1000)
    build = Builder("f")
    row, journal = build.constant(np.ones((1, 40))), Journal()
    graph = build.finish({"y": build.constant(np.ones((4, 1))) + row, "z": row + row})
    assert names(simplify(graph, journal)) == ["constant", "constant", "add", "constant"]
    assert {entry.reason for entry in journal.refused} == {"160 entries of float64 are more than 1000 bytes"}


def test_folding_rounds_as_the_oracle_does() -> None:
    build = Builder("f")
    third = build.constant(np.asarray(1.0, np.float32)) / build.constant(np.asarray(3.0, np.float32))
    graph = build.finish({"y": build.op("exp", third), "z": build.op("cast", third, dtype="int64")})
    for got, wanted in zip(evaluate(simplify(graph), []), evaluate(graph, []), strict=True):
        assert got.dtype == wanted.dtype
        assert got == wanted


def test_regions_are_simplified_each_once() -> None:
    case, journal = call_case(), Journal()
    region = closed(
        "layer", lambda w, x: {"y": opposite(opposite(fn("tanh", x))) + 0.0}, w=real(2, 2), x=real(2)
    )

    def body(w: Value, x: Value) -> dict[str, Value]:
        (y,) = w.builder.emit("call", [w, x], {}, [region])
        return {"z": w.builder.emit("call", [w, y], {}, [region])[0]}

    after = simplify(closed("calls", body, w=real(2, 2), x=real(2)), journal)
    assert journal.counts() == {"negate-twice": 1, "add-zero": 1}
    assert {entry.graph for entry in journal.fired} == {"layer"}
    assert names(after.ops[0].regions[0]) == ["tanh"]
    assert after.ops[0].regions[0] is after.ops[1].regions[0]
    verify(simplify(case.graph))


def test_symbolic_sizes() -> None:
    def body(x: Value) -> dict[str, Value]:
        flat = op("reshape", x, shape=(N * 3,))
        return {"y": op("reshape", flat, shape=(N, 3)) * 1.0 + x.builder.zeros(x.type)}

    assert names(simplify(closed("f", body, x=real(N, 3)))) == []


def test_a_stretched_zero_of_a_larger_shape_is_a_broadcast() -> None:
    def body(x: Value) -> dict[str, Value]:
        return {"y": x + x.builder.zeros(TensorType("float64", (N, 3)))}

    after = simplify(closed("f", body, x=real(3)))
    assert names(after) == ["broadcast"]
    assert after.output_types == (real(N, 3),)


def test_places_survive() -> None:
    place = Span("f.yaml", 3, 1, 3, 9)
    build = Builder("f")
    x = build.input("x", real(2, 3))
    inner = build.op("reshape", x, shape=(6,))
    graph = build.finish({"y": build.op("reshape", inner, shape=(3, 2), place=place)})
    journal = Journal()
    assert simplify(graph, journal).ops[0].place == place
    assert [entry.place for entry in journal.fired] == [place]


def test_rules_that_undo_each_other_are_caught() -> None:
    def swapped(build: Builder, x: Value, y: Value) -> Value:
        return y + x

    commute = Rule("commute", "add", "x + y = y + x", lambda s: (s.operand(0), s.operand(1)), swapped)
    with pytest.raises(BadRule, match="commute still fires"):
        rewrite(closed("f", lambda x, y: {"z": x + y}, x=real(), y=real()), [commute])


def test_a_rule_that_changes_a_type_is_caught() -> None:
    total = Rule(
        "total", "negate", "-x = Σx", lambda s: (s.operand(0),), lambda b, x: op("sum", x, axes=(-1,))
    )
    with pytest.raises(BadRule, match="total makes float64 from negate"):
        rewrite(closed("f", lambda x: {"z": -x}, x=real(2)), [total])


def test_what_a_rule_makes_is_tried_again() -> None:
    """x² → x·x, then 1·1 → 1 by another rule, then folding; a refusal leaves the rest alone."""
    product = Rule("product", "square", "x² = x·x", lambda s: (s.operand(0),), lambda b, x: x * x)
    never = Rule(
        "never", "multiply", "x·y = ?", lambda s: Refusal("it must not"), lambda b, x: x, Effect.REASSOCIATES
    )
    journal = Journal()
    graph = closed("f", lambda x: {"y": fn("square", number(x, 1.0)) * x}, x=real(2))
    assert names(rewrite(graph, [product, never, *RULES], journal)) == []
    assert journal.counts() == {"product": 1, "multiply-one": 2}
    assert {entry.reason for entry in journal.refused} == {"it must not"}


def test_a_long_chain_is_swept_without_recursion_in_linear_time() -> None:
    def body(x: Value) -> dict[str, Value]:
        for _ in range(3000):
            x = opposite(opposite(x * 1.0)) + 0.0
        return {"y": fn("sin", x)}

    journal = Journal()
    assert names(simplify(closed("f", body, x=real(2)), journal)) == ["sin"]
    assert journal.counts() == {"multiply-one": 3000, "negate-twice": 3000, "add-zero": 3000}


def test_the_same_graph_gives_the_same_text() -> None:
    for case in region_cases().values():
        assert print_graph(simplify(reverse(case.graph))) == print_graph(simplify(reverse(case.graph)))


def test_integers_count_too() -> None:
    graph = closed("f", lambda k: {"k": k * number(k, 1) + number(k, 0)}, k=INT)
    assert names(simplify(graph)) == []
    assert evaluate(simplify(graph), [np.asarray(7)]) == [7]
