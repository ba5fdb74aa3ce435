"""What a graph costs in memory: a derivative is made and simplified without holding anything twice."""

import gc
import tracemalloc

from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.simplify import simplify
from banach.ir.tensor_type import TensorType
from banach.ir.text import parse_graph, print_graph
from banach.ir.verify import verify

BUDGET = 2_200  # bytes for an operation of the text; benchmarks/ir.py holds 2,000 at 10,000 operations


def chain(count: int) -> Graph:
    build = Builder("chain")
    vector = TensorType("float64", (8,))
    x, y = build.input("x", vector), build.input("y", vector)
    for _ in range(count // 4):
        x, y = x * y + x, build.op("tanh", x) * y
    return build.finish({"x": x, "y": y})


def peak(count: int) -> float:
    """Bytes for an operation, from the text to the verified derivative."""
    text = print_graph(chain(count))
    gc.collect()
    tracemalloc.start()
    verify(simplify(reverse(parse_graph(text))))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found / count


def test_a_derivative_is_never_held_twice():
    peak(40)  # what is made once: pages, signatures
    small, large = peak(1_000), peak(3_000)
    assert large < BUDGET
    assert large < 1.2 * small


def test_closing_a_builder_leaves_no_dead_operations():
    build = Builder("dead")
    x = build.input("x", TensorType("float64", (3,)))
    build.op("sin", x)
    y = build.op("cos", x)
    build.op("exp", y)
    found = build.close({"y": y})
    assert [op.name for op in found.ops] == ["cos"]
    assert found.outputs == (1,)
    verify(found)


def test_what_no_rule_touches_is_the_same_operation():
    build = Builder("kept")
    x = build.input("x", TensorType("float64", (3,)))
    y = build.op("tanh", build.op("sin", x))
    graph = build.finish({"y": y + build.zeros(y.type)})
    kept = simplify(graph).ops
    assert [op.name for op in kept] == ["sin", "tanh"]
    assert all(new is old for new, old in zip(kept, graph.ops))
