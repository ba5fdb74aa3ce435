"""Branches, scans and while loops through ONNX Runtime and the reference evaluator against the oracle."""

import numpy as np
import pytest
from onnx_agreement import agree

from banach.backends.onnx.lower import lower
from banach.ir.dims import Size, named
from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TensorType

WHOLE, TRUTH = TensorType("int64"), TensorType("bool")


def scanned(reverse_order: bool, length: Size, stacks: bool) -> Graph:
    """s <- A s + B x, with non-commuting steps: the state is turned by a matrix that depends on the entry."""
    state = TensorType("float64", (3,))
    inner = Builder("step")
    s, x, _ = (inner.input(name, state) for name in "sxu")
    m = inner.input("m", TensorType("float64", (3, 3)))
    turned = inner.op("tanh", inner.op("matvec", m, s * x)) + x
    stacked = {"y": turned * s, "fixed": inner.zeros(TensorType("float64", (2,)))} if stacks else {}
    step = inner.finish({"s": turned, **stacked})
    build = Builder("scan")
    sequence = TensorType("float64", (length, 3))
    s, x, u = (build.input(name, type) for name, type in [("s", state), ("x", sequence), ("u", sequence)])
    m = build.input("m", TensorType("float64", (3, 3)))
    shape = {"states": 1, "sequences": 2, "length": length, "reverse": reverse_order}
    found = build.emit("scan", [s, x, u, m], shape, [step])
    return build.finish({f"o{i}": v for i, v in enumerate(found)})


@pytest.mark.parametrize("reverse_order", [False, True])
@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("stacks", [False, True])
def test_a_scan_and_its_reverse_derivative(reverse_order: bool, symbolic: bool, stacks: bool) -> None:
    random = np.random.default_rng(0)
    graph = scanned(reverse_order, named("n") if symbolic else 4, stacks)
    given = [random.standard_normal(s) for s in [(3,), (4, 3), (4, 3), (3, 3)]]
    agree(graph, given)
    back = reverse(graph)
    seeds = [random.standard_normal(t) for t in [(3,), (4, 3), (4, 2)][: len(graph.outputs)]]
    agree(back, [*given, *seeds])
    scans = [n for n in lower(back).graph.node if n.op_type == "Scan"]
    assert scans and all(not any("direction" in a.name for a in n.attribute) for n in scans)


@pytest.mark.parametrize("length", [0, 1, 4])
@pytest.mark.parametrize("stacks", [False, True])
@pytest.mark.parametrize("reverse_order", [False, True])
def test_a_scan_over_no_data(length: int, stacks: bool, reverse_order: bool) -> None:
    state = TensorType("float64", (2,))
    inner = Builder("step")
    s, c = inner.input("s", state), inner.input("c", state)
    step = inner.finish({"s": s * 0.5 + c, **({"y": s + c} if stacks and length else {})})
    build = Builder("scan")
    s, c = build.input("s", state), build.input("c", state)
    shape = {"states": 1, "sequences": 0, "length": length, "reverse": reverse_order}
    graph = build.finish({f"o{i}": v for i, v in enumerate(build.emit("scan", [s, c], shape, [step]))})
    agree(graph, [np.array([1.0, 2.0]), np.array([3.0, -1.0])])


def branching(inner_scan: bool) -> Graph:
    """sin(A x) where c, else x + 1; or that at every step of a scan."""
    state, square = TensorType("float64", (3,)), TensorType("float64", (3, 3))
    inner = Builder("then")
    x, m = inner.input("x", state), inner.input("m", square)
    first = inner.finish(
        {"x": inner.op("sin", inner.op("matvec", m, x)), "y": inner.op("sum", m, axes=(-1,))}
    )
    inner = Builder("else")
    x, _ = inner.input("x", state), inner.input("m", square)
    second = inner.finish({"x": x + 1.0, "y": x})
    if not inner_scan:
        build = Builder("cond")
        c, x, m = build.input("c", TRUTH), build.input("x", state), build.input("m", square)
        return build.finish(dict(zip("pq", build.emit("cond", [c, x, m], {}, [first, second]))))
    inner = Builder("step")
    x, c, m = inner.input("x", state), inner.input("c", TRUTH), inner.input("m", square)
    p, q = inner.emit("cond", [c, x, m], {}, [first, second])
    step = inner.finish({"x": p, "y": q})
    build = Builder("scan")
    c, x, m = build.input("c", TensorType("bool", (4,))), build.input("x", state), build.input("m", square)
    shape = {"states": 1, "sequences": 1, "length": 4, "reverse": False}
    return build.finish(dict(zip("pq", build.emit("scan", [x, c, m], shape, [step]))))


@pytest.mark.parametrize("chosen", [True, False])
def test_a_branch_and_its_reverse_derivative(chosen: bool) -> None:
    graph = branching(False)
    random = np.random.default_rng(0)
    given = [np.asarray(chosen), random.standard_normal(3), random.standard_normal((3, 3))]
    agree(graph, given)
    agree(reverse(graph), [*given, *random.standard_normal((2, 3))])
    assert not [n for n in lower(graph).graph.node if n.op_type in ("MatMul", "ReduceSum")]  # in its branch


def test_a_branch_in_a_scan() -> None:
    random = np.random.default_rng(0)
    given = [np.array([True, False, False, True]), random.standard_normal(3), random.standard_normal((3, 3))]
    agree(branching(True), given)
    agree(reverse(branching(True)), [*given, random.standard_normal(3), random.standard_normal((4, 3))])


def test_a_branch_by_an_outer_value_that_reads_the_state_of_a_scan() -> None:
    state = TensorType("float64", (2,))
    inner = Builder("then")
    first = inner.finish({"x": inner.input("x", state) * 2.0})
    inner = Builder("else")
    second = inner.finish({"x": inner.input("x", state) + 1.0})
    inner = Builder("step")
    x, c = inner.input("x", state), inner.input("c", TRUTH)
    step = inner.finish({"x": inner.emit("cond", [c, x], {}, [first, second])[0]})
    build = Builder("scan")
    x, c = build.input("x", state), build.input("c", TRUTH)
    shape = {"states": 1, "sequences": 0, "length": 3, "reverse": False}
    graph = build.finish({"y": build.emit("scan", [x, c], shape, [step])[0]})
    for chosen in (True, False):
        agree(graph, [np.array([1.0, 2.0]), chosen])


def test_a_branch_by_a_constant_is_no_branch() -> None:
    build = Builder("constant")
    x, m = build.input("x", TensorType("float64", (3,))), build.input("m", TensorType("float64", (3, 3)))
    inner = branching(False)
    found = build.emit("call", [build.scalar(False, "bool"), x, m], {}, [inner])
    graph = build.finish(dict(zip("pq", found)))
    agree(graph, [np.arange(3.0), np.eye(3)])
    assert "If" not in [n.op_type for n in lower(graph).graph.node]


@pytest.mark.parametrize("most", [0, 2, 100])
@pytest.mark.parametrize("start", [1.0, 5.0, np.nan])
def test_a_while_loop(most: int, start: float) -> None:
    number = TensorType("float64")
    inner = Builder("condition")
    x, _, limit = inner.input("x", number), inner.input("y", number), inner.input("limit", number)
    condition = inner.finish({"go": inner.op("less", x, limit)})
    inner = Builder("body")
    x, y, limit = inner.input("x", number), inner.input("y", number), inner.input("limit", number)
    step = inner.finish({"x": x * 1.5, "y": y + inner.op("exp", limit)})
    build = Builder("while")
    n, x, limit = build.input("most", WHOLE), build.input("x", number), build.input("limit", number)
    found = build.emit("while", [n, x, x, limit], {"states": 2}, [condition, step])
    graph = build.finish({f"o{i}": v for i, v in enumerate(found)})
    agree(graph, [most, start, 4.0])
