"""What is assumed of sizes: comparisons against every value in a box, text, every stage."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banach.ir.derivatives import gradient
from banach.ir.dims import FREE, RELATIONS, Assumptions, Quotient, Size, assume, bind, named, names
from banach.ir.forward import forward
from banach.ir.graph import Builder, Graph, prune
from banach.ir.reader import BadText
from banach.ir.reverse import reverse
from banach.ir.simplify import simplify
from banach.ir.tensor_type import TensorType
from banach.ir.text import digest, parse_graph, print_graph
from banach.ir.vectorise import vectorise

N, M = named("n"), named("m")
EVEN = assume({"n": (4, 2)})
COMPARE = {
    "<=": int.__le__, "<": int.__lt__, ">=": int.__ge__, ">": int.__gt__, "==": int.__eq__, "!=": int.__ne__
}  # fmt: skip


def sizes() -> st.SearchStrategy[Size]:
    leaves = st.sampled_from([N, M]) | st.integers(-3, 5)
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, b: a + b, inner, inner),
            st.builds(lambda a, b: a - b, inner, inner),
            st.builds(lambda a, b: a * b, inner, inner),
            st.builds(lambda a, k: a // k, inner, st.integers(1, 6)),
        ),
        max_leaves=6,
    )


def contracts() -> st.SearchStrategy[Assumptions]:
    bounds = st.tuples(st.integers(0, 5), st.integers(1, 4))
    return st.builds(lambda n, m: assume({"n": n, "m": m}), bounds, bounds)


def values(contract: Assumptions) -> list[dict[str, int]]:
    """Every pair of values up to 24 that the contract admits."""
    axes = [[v for v in range(25) if contract.admits(name, v)] for name in ("n", "m")]
    return [dict(zip(("n", "m"), pair)) for pair in product(*axes)]


@settings(deadline=None, max_examples=200)
@given(sizes(), sizes(), contracts())
def test_what_is_answered_is_so_for_every_value(left: Size, right: Size, contract: Assumptions) -> None:
    for relation in RELATIONS:
        answer = contract.holds(left, relation, right)
        if answer is not None:
            found = {COMPARE[relation](bind(left, v), bind(right, v)) for v in values(contract)}
            assert found == {answer}, (str(left), relation, str(right), contract)


@settings(deadline=None, max_examples=200)
@given(sizes(), contracts())
def test_a_simplified_size_has_the_same_values(size: Size, contract: Assumptions) -> None:
    simple = contract.simplify(size)
    assert all(bind(simple, v) == bind(size, v) for v in values(contract))
    assert contract.simplify(simple) == simple and set(names(simple)) <= set(names(size))


@pytest.mark.parametrize(
    ("left", "relation", "right", "answer"),
    [
        (N, ">=", 1, True),
        (N, ">=", 4, True),
        (N, ">", 4, None),
        (N, "<", 4, False),
        (N, "!=", 5, True),
        (N, "==", 5, False),
        (N, "==", 4, None),
        (N, "==", M, None),
        (M, ">=", 1, True),
        (M, ">=", 2, None),
        (M, "==", 0, False),
        (N * M, ">=", N, True),
        (N // 2, "<", N, True),
        (N // 3, "<=", N, True),
        (N // 3, ">=", 1, True),
        (N // 2 + N // 2, "==", N, True),
        (M // 2 + M // 2, "==", M, None),
        ((N + M) // 2, "==", N // 2 + M // 2, True),
        (2 * M + 1, "==", 6, False),
        (3, "<=", 4, True),
    ],
)
def test_comparisons(left: Size, relation: str, right: Size, answer: bool | None) -> None:
    assert EVEN.holds(left, relation, right) is answer


def test_floor_division_that_comes_out_even() -> None:
    assert EVEN.simplify(N // 2 * 2) == N
    assert EVEN.simplify(N // 2) == N // 2
    assert EVEN.simplify(M // 2 * 2) == M // 2 * 2 and FREE.simplify(N // 2 * 2) == N // 2 * 2
    assert EVEN.simplify((N // 2) * (N // 2) * 4) == N * N
    fours = assume({"n": (1, 4), "m": (1, 2)})
    assert fours.simplify(N // 4 * 2) == N // 2
    assert fours.simplify(N // 2 * M) == fours.simplify(M // 2 * N)
    assert fours.simplify((N + 3) // 2) == N // 2 + 1
    assert isinstance(fours.simplify(N // 2).terms[0][0][0][0], Quotient)  # type: ignore[union-attr]


def test_a_contract_has_one_form() -> None:
    assert assume({"n": (3, 2)}) == EVEN and EVEN.tell("n") == "n >= 4, 2 | n"
    assert assume({"n": (1, 1)}) == FREE and FREE.tell("n") == "n >= 1"
    assert assume({"m": (2, 1), "n": (4, 2)}) == assume({"n": (4, 2), "m": (2, 1)})
    for bad in ((-1, 1), (1, 0), (-2, 2)):
        with pytest.raises(ValueError, match="n has"):
            assume({"n": bad})
    with pytest.raises(ValueError, match="is none of"):
        FREE.holds(N, "<>", M)


def squares() -> Graph:
    build = Builder("squares", assume({"n": (4, 2), "a size": (3, 1)}))
    x = build.input("x", TensorType("float64", (N,)))
    build.op("sin", x)
    return build.finish({"y": build.op("sum", x * x, axes=(-1,))})


def test_the_text_prints_and_reads_it() -> None:
    graph = squares()
    text = print_graph(graph)
    assert text.startswith('graph squares(%0 x: float64[n]) where "a size" >= 3, n >= 4, 2 | n {\n')
    assert parse_graph(text) == graph and print_graph(parse_graph(text)) == text
    free = replace(graph, contract=FREE)
    assert "where" not in print_graph(free) and digest(free) != digest(graph) and free != graph


@pytest.mark.parametrize(
    "wrong", ["where {", "where n {", "where n >= -1 {", "where n >= 4, 0 | n {", "where 2 n {"]
)
def test_a_malformed_contract_has_a_place(wrong: str) -> None:
    text = print_graph(squares()).replace('where "a size" >= 3, n >= 4, 2 | n {', wrong)
    with pytest.raises(BadText) as fault:
        parse_graph(text)
    assert fault.value.line == 1 and fault.value.column > 30


def test_every_stage_keeps_it() -> None:
    graph = squares()
    for made in (
        prune(graph),
        reverse(graph),
        reverse(reverse(graph)),
        forward(graph),
        gradient(graph),
        simplify(graph),
        vectorise(graph, [True], named("batch"))[0],
        replace(graph, name="other"),
    ):
        assert made.contract == graph.contract, made.name


def test_regions_have_none() -> None:
    assert all(part.contract == FREE for part in list(reverse(squares()).walk())[1:])
    assert Builder("f").finish({}).contract == FREE
