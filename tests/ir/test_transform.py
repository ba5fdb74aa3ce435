"""RD.1, 3, 4 and 5: the laws of `reverse` as a transform, on graphs composed at random; and its growth."""

import sys

import laws
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_graphs import Case, closed, draws, fn, layer, random, real

from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Value
from banach.ir.reverse import reverse
from banach.ir.verify import verify

VECTOR = real(3)
UNARY, BINARY = ("sin", "tanh", "sigmoid", "square", "negate"), ("add", "multiply", "subtract")

# A program is a list of (operation, first, second): operands count backwards from the newest value.
programs = st.lists(
    st.tuples(st.sampled_from(UNARY + BINARY), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8
)
seeds = st.integers(0, 2**16)
quick = settings(max_examples=60, deadline=None, derandomize=True)


def written(program: list[tuple[str, int, int]], name: str = "f") -> Graph:
    """The map R³ → R³ that a program says, with its values held in check by tanh."""
    build = Builder(name)
    values = [build.input("x", VECTOR)]
    for op, first, second in program:
        x, y = (values[-1 - i % len(values)] for i in (first, second))
        made = build.op(op, x) if op in UNARY else build.op(op, x, y)
        values.append(fn("tanh", made) if op == "multiply" else made)
    return build.finish({"y": values[-1]})


def vectors(count: int, seed: int) -> list[np.ndarray]:
    return draws(*[(3,)] * count, seed=seed)


def after(f: Graph, *, parts: list[Graph], combine) -> Graph:
    """A graph from x that combines the outputs of several graphs."""

    def body(x: Value) -> dict[str, Value]:
        return combine(*(x.builder.inline(part, [x])[0] for part in parts))

    return closed(f.name, body, x=VECTOR)


@quick
@given(programs, programs, seeds)
def test_rd1_of_a_sum(f, g, seed: int) -> None:
    f, g = written(f), written(g)
    x, b = vectors(2, seed)
    both = after(f, parts=[f, g], combine=lambda y, z: {"y": y + z})
    apart = evaluate(reverse(f), [x, b])[0] + evaluate(reverse(g), [x, b])[0]
    laws.close(evaluate(reverse(both), [x, b]), [apart], 1e-12, "RD.1")


def test_rd1_of_zero() -> None:
    zero = closed("zero", lambda x: {"y": x.builder.zeros(x.type)}, x=VECTOR)
    assert not np.any(evaluate(reverse(zero), vectors(2, 0)))


def test_rd3_of_identity_projections_and_injections() -> None:
    a, b, c, d = vectors(4, 0)
    identity = closed("identity", lambda x: {"y": x}, x=VECTOR)
    np.testing.assert_array_equal(evaluate(reverse(identity), [a, b])[0], b)
    first = closed("first", lambda x, y: {"z": x}, x=VECTOR, y=VECTOR)
    np.testing.assert_array_equal(evaluate(reverse(first), [a, b, c]), [c, 0 * c])
    swap = closed("swap", lambda x, y: {"z": y, "w": x}, x=VECTOR, y=VECTOR)
    np.testing.assert_array_equal(evaluate(reverse(swap), [a, b, c, d]), [d, c])
    beside = closed("beside", lambda x: {"y": x, "z": x.builder.zeros(x.type)}, x=VECTOR)
    np.testing.assert_array_equal(evaluate(reverse(beside), [a, b, c])[0], b)


@quick
@given(programs, programs, seeds)
def test_rd4_of_a_pair(f, g, seed: int) -> None:
    f, g = written(f), written(g)
    x, b, c = vectors(3, seed)
    pair = after(f, parts=[f, g], combine=lambda y, z: {"y": y, "z": z})
    apart = evaluate(reverse(f), [x, b])[0] + evaluate(reverse(g), [x, c])[0]
    laws.close(evaluate(reverse(pair), [x, b, c]), [apart], 1e-12, "RD.4")


@quick
@given(programs, programs, seeds)
def test_rd5_of_a_composition(f, g, seed: int) -> None:
    f, g = written(f), written(g)
    x, c = vectors(2, seed)
    whole = closed("fg", lambda x: {"z": x.builder.inline(g, x.builder.inline(f, [x]))[0]}, x=VECTOR)
    (middle,) = evaluate(f, [x])
    apart = evaluate(reverse(f), [x, evaluate(reverse(g), [middle, c])[0]])
    laws.close(evaluate(reverse(whole), [x, c]), apart, 1e-12, "RD.5")


@settings(max_examples=15, deadline=None, derandomize=True)
@given(programs, seeds)
def test_a_random_graph_obeys_the_laws_of_rules(f, seed: int) -> None:
    case = Case(written(f), vectors(1, seed))
    laws.check_derivative(case)
    laws.check_second_derivative(case)
    laws.check_additive(case)
    laws.check_linear_in_cotangent(case, 1e-9)
    laws.check_symmetric(case, 1e-9)


def chain(depth: int, call: bool) -> Graph:
    """A layer composed with itself."""
    region = layer()

    def body(w: Value, x: Value) -> dict[str, Value]:
        for _ in range(depth):
            given = [w, x]
            (x,) = w.builder.emit("call", given, {}, [region]) if call else w.builder.inline(region, given)
        return {"y": x}

    return closed("chain", body, w=real(2, 2), x=real(2))


@pytest.mark.parametrize("call", [False, True])
def test_reverse_grows_in_step_with_the_graph(call: bool) -> None:
    sizes = {depth: len(reverse(chain(depth, call)).ops) for depth in (10, 20, 1000)}
    step = (sizes[20] - sizes[10]) // 10
    assert sizes[1000] == sizes[10] + 990 * step
    assert step <= (6 if call else 20)


def test_a_graph_put_in_on_another_shape_is_typed_anew() -> None:
    inner = closed("f", lambda x: {"y": fn("sin", x) * x}, x=VECTOR)

    def body(x: Value) -> dict[str, Value]:
        return {"y": x.builder.inline(inner, [x])[0]}

    whole = closed("g", body, x=real(2, 3))
    verify(whole)
    assert whole.output_types == (real(2, 3),)


def test_reverse_does_not_recurse_along_the_graph() -> None:
    graph, here = chain(1000, False), len(_frames())
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(here + 60)
        found = reverse(graph)
    finally:
        sys.setrecursionlimit(limit)
    w, x = 0.1 * random().standard_normal((2, 2)), np.ones(2)
    assert np.all(np.isfinite(evaluate(found, [w, x, x])[0]))


def _frames() -> list[object]:
    frame, found = sys._getframe(), []
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found
