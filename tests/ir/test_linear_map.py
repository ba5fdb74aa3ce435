"""Linear maps: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩, their algebra, and what is not proved linear."""

from collections.abc import Callable

import laws
import numpy as np
import pytest
from law_graphs import BOOL, apply, closed, draws, fn, linear_case, real, total

from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Value
from banach.ir.linear_map import LinearMap, add, adjoint, compose, identity, linear_map, scale
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TypeMismatch
from banach.ir.verify import verify


def matrix() -> LinearMap:
    """x ↦ W x, for W a capture."""
    return linear_map(closed("W", lambda x, w: {"y": apply(w, x)}, x=real(3), w=real(4, 3)), 1)


def differences() -> LinearMap:
    """x ↦ (x_(i+1) - x_i), beside their sum."""

    def body(x: Value) -> dict[str, Value]:
        a, b = (x.builder.op("slice", x, axis=-1, start=i, stop=i + 3) for i in (0, 1))
        return {"d": b - a, "s": total(x)}

    return linear_map(closed("D", body, x=real(4)), 1)


def weighed() -> LinearMap:
    """x ↦ c·(x, 0) taken at two places, for c a capture."""

    def body(x: Value, c: Value) -> dict[str, Value]:
        padded = x.builder.op("pad", x * c, axis=-1, before=0, after=1)
        index = x.builder.constant(np.array([3, 0, 0, 2]))
        return {"y": x.builder.op("take", padded, index, axis=-1)}

    return linear_map(closed("T", body, x=real(3), c=real(3)), 1)


MAPS: dict[str, Callable[[], LinearMap]] = {
    "matrix": matrix,
    "differences": differences,
    "weighed": weighed,
    "identity": lambda: identity([real(2), real()]),
    "composed": lambda: compose(differences(), matrix()),
    "sum": lambda: add(matrix(), weighed()),
    "scaled": lambda: scale(matrix(), -2.5),
    "adjoint": lambda: adjoint(matrix()),
    "all": lambda: compose(differences(), add(scale(weighed(), 3.0), matrix())),
}


def numbers(graph: Graph, seed: int) -> list[np.ndarray]:
    return draws(*(tuple(int(str(n)) for n in port.type.shape) for port in graph.inputs), seed=seed)


@pytest.mark.parametrize("key", MAPS)
def test_the_adjoint(key: str) -> None:
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩, also for the operation `linear` and its own reverse derivative."""
    map = MAPS[key]()
    verify(map.graph)
    verify(map.transposed)
    prove_linear(map.graph, [i < len(map.domain) for i in range(len(map.graph.inputs))])
    prove_linear(map.transposed, [i < len(map.codomain) for i in range(len(map.transposed.inputs))])
    given = numbers(map.graph, 1)
    x, held = given[: len(map.domain)], given[len(map.domain) :]
    y = numbers(map.transposed, 2)[: len(map.codomain)]
    left = laws.inner(evaluate(map.graph, given), y)
    back = evaluate(map.transposed, [*y, *held])
    np.testing.assert_allclose(laws.inner(x, back), left, rtol=1e-12)
    build = Builder("applied")
    values = [build.input(port.name, port.type) for port in map.graph.inputs]
    found = map.apply(values[: len(x)], values[len(x) :])
    applied = build.finish({f"y.{i}": v for i, v in enumerate(found)})
    laws.close(evaluate(applied, given), evaluate(map.graph, given), 0.0)
    laws.close(evaluate(reverse(applied), [*given, *y])[: len(x)], back, 1e-13)


@pytest.mark.parametrize("key", MAPS)
def test_the_adjoint_of_the_adjoint_is_the_map(key: str) -> None:
    map = MAPS[key]()
    assert adjoint(adjoint(map)) == map


def test_the_adjoint_of_a_composition_is_the_other_way_round() -> None:
    """(B A)ᵀ = Aᵀ Bᵀ, up to the order in which the captures come."""
    b, a = differences(), matrix()
    (left, right) = adjoint(compose(b, a)), compose(adjoint(a), adjoint(b))
    y, w = numbers(left.graph, 3)[:2], draws((4, 3))
    laws.close(evaluate(left.graph, [*y, *w]), evaluate(right.graph, [*y, *w]), 1e-14)
    assert [op.name for op in left.graph.ops] == [op.name for op in right.graph.ops]


def test_the_captures_of_a_composition_keep_their_order_both_ways() -> None:
    whole = compose(adjoint(weighed()), matrix())  # 3 -> 4 -> 3: W, then c
    assert [port.type for port in whole.graph.inputs[1:]] == [
        port.type for port in whole.transposed.inputs[1:]
    ]
    x, w, c = draws((3,), (4, 3), (3,))
    dense = evaluate(whole.graph, [x, w, c])
    (middle,) = evaluate(matrix().graph, [x, w])
    laws.close(dense, evaluate(weighed().transposed, [middle, c]), 1e-14)


def test_the_derivative_of_a_linear_map_does_not_read_the_point() -> None:
    graph = closed("f", lambda x, w: {"y": matrix().apply([x], [w])[0]}, x=real(3), w=real(4, 3))
    back = reverse(graph)
    (op,) = [op for op in back.ops if op.name == "linear"]
    assert 0 not in op.operands  # x
    assert len(op.regions[0].ops) <= 2  # transpose, matvec


def refused(body, **types) -> str:
    graph = closed("f", body, **types)
    with pytest.raises(NotLinear) as refusal:
        linear_map(graph, 1)
    return str(refusal.value)


def test_what_is_not_linear_is_refused_with_the_reason() -> None:
    x = {"x": real(2)}
    assert "sin is not linear" in refused(lambda x: {"y": fn("sin", x)}, **x)
    assert "multiply is not linear in the operands 0 and 1" in refused(lambda x: {"y": x * x}, **x)
    assert "divide" in refused(lambda x, c: {"y": c / x}, **x, c=real(2))
    assert "add adds a value that does not depend" in refused(lambda x, c: {"y": x + c}, **x, c=real(2))
    assert "output y is no zero" in refused(lambda x, c: {"y": fn("sin", c)}, **x, c=real(2))
    assert "norm is not linear" in refused(lambda x: {"y": x.builder.op("norm", x, axes=(-1,))}, **x)
    whole = refused(
        lambda x: {"y": x.builder.op("cast", x.builder.op("cast", x, dtype="int64"), dtype="float64")}, **x
    )
    assert "cast turns a value that is linear in the inputs into int64[2]" in whole
    assert "stop_gradient" in refused(lambda x: {"y": fn("stop_gradient", x)}, **x)
    assert "no tangent" in refused(lambda x: {"y": x.builder.op("less", x, x)}, **x)


def test_what_is_linear_by_a_zero_or_a_branch() -> None:
    f = closed("f", lambda x, c: {"y": x + c.builder.zeros(c.type)}, x=real(2), c=real(2))
    prove_linear(f, [True, False])
    halves = [closed("a", lambda x: {"y": 2.0 * x}, x=real(2)), closed("b", lambda x: {"y": -x}, x=real(2))]
    shifted = closed("b", lambda x: {"y": x.builder.zeros(x.type) + 1.0}, x=real(2))

    def choose(*regions: Graph) -> Graph:
        return closed(
            "f", lambda x, c: {"y": c.builder.emit("cond", [c, x], {}, regions)[0]}, x=real(2), c=BOOL
        )

    prove_linear(choose(*halves), [True, False])
    with pytest.raises(NotLinear, match="linear in one branch only"):
        prove_linear(choose(halves[0], shifted), [True, False])
    with pytest.raises(NotLinear, match=r"a state of scan|adds a value"):
        step = closed("step", lambda s, r: {"s": s + r}, s=real(2), r=real(2))
        shape = {"states": 1, "sequences": 1, "length": 3, "reverse": False}
        drift = closed(
            "f", lambda x, r: {"y": x.builder.emit("scan", [x, r], shape, [step])[0]}, x=real(2), r=real(3, 2)
        )
        prove_linear(drift, [True, False])


def test_the_operation_refuses_what_is_not_proved() -> None:
    squared = closed("square", lambda x: {"y": x * x}, x=real(2))
    build = Builder("f")
    with pytest.raises(TypeMismatch, match="square is not proved linear: multiply"):
        build.emit("linear", [build.input("x", real(2))], {"inputs": 1}, [squared])
    with pytest.raises(TypeMismatch, match="of which 2 cannot"):
        build.emit("linear", [build.input("x", real(2))], {"inputs": 2}, [squared])
    with pytest.raises(TypeMismatch, match="D takes"):
        compose(differences(), differences())
    with pytest.raises(TypeMismatch, match="not between the same types"):
        add(matrix(), differences())


def test_a_map_that_is_not_linear_breaks_the_test_of_the_adjoint() -> None:
    """The pairing is an oracle: a map with another adjoint is seen by it."""
    wrong = LinearMap(matrix().graph, scale(adjoint(matrix()), 1.5).graph, 1)
    x, w, y = draws((3,), (4, 3), (4,))
    left = laws.inner(evaluate(wrong.graph, [x, w]), [y])
    assert abs(left - laws.inner([x], evaluate(wrong.transposed, [y, w]))) > 1e-3


def test_linear_case_is_verified() -> None:
    verify(linear_case().graph)
    verify(reverse(linear_case().graph))
