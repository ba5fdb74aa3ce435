"""Samples that stop one by one: what is read of a stopped one stands still, what is not may run on."""

import numpy as np
import pytest
from fx_agreement import agree

from banach.backends.fx.run import artifact
from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Op
from banach.ir.primitives.fixpoint import held
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

N, COUNT = 3, TensorType("int64")
ROWS, ROW = TensorType("float64", (named("batch"), N)), TensorType("float64", (N,))


def momentum(outputs: tuple[str, ...], whole: bool = False) -> Graph:
    """x ← x + v, v ← 0.5 v + 0.4 (b − x) for every row of b. `whole`: v is made of integers."""
    lane = TensorType("float64", (named("batch"),))
    step = Builder("step")
    step.input("k", COUNT)
    x, v, b = step.input("x", ROWS), step.input("v", ROWS), step.input("b", ROWS)
    fresh = v * 0.5 + (b - x) * 0.4
    if whole:
        fresh = fresh + step.op("cast", step.op("cast", fresh, dtype="int64"), dtype="float64") * 0.0
    step = step.finish({"x": x + v, "v": fresh})
    residual = Builder("residual")
    old = residual.input("x", ROWS)
    residual.input("v", ROWS)
    new, speed = residual.input("x'", ROWS), residual.input("v'", ROWS)
    residual.input("b", ROWS)
    size = residual.op("norm", new - old, axes=(-1,)) + residual.op("norm", speed, axes=(-1,))
    residual = residual.finish({"size": size, "scale": residual.zeros(lane) + 1.0})
    build = Builder("momentum")
    b = build.input("b", ROWS)
    tolerance = build.input("x.tolerance", TensorType("float64"), Tensor(np.array(1e-6)))
    most = build.input("x.max_iterations", COUNT, Tensor(np.array(200)))
    shape = {"states": 2, "solution": 1, "lanes": True, "every": 1}
    found = build.emit("fix", [tolerance, most, b * 0.0, b * 1.0, b], shape, [step, residual])
    names = dict(zip(["x", "v", "iterations", "residual", "status"], found))
    return build.finish({name: names[name] for name in outputs})


def the_fix(graph: Graph) -> Op:
    return next(op for op in graph.ops if op.name == "fix")


DATA = np.array([[1.0, 2, 3], [1e-3, 0, 0], [1e4, -1e4, 5], [0, 0, 0]])


@pytest.mark.parametrize("backend", [artifact, lambda graph: OnnxArtifact(lower(graph))], ids=["fx", "onnx"])
@pytest.mark.parametrize("outputs", [("x", "iterations", "status"), ("x", "v", "iterations", "residual")])
def test_what_is_read_stands_still(backend, outputs):
    graph = momentum(outputs)
    given = [DATA, *(port.default.array for port in graph.inputs[1:])]
    agree(backend(graph).evaluate(given), evaluate(graph, given))


def test_what_nobody_reads_is_not_masked():
    def masks(outputs: tuple[str, ...]) -> int:
        body = next(n for n in lower(momentum(outputs)).graph.node if n.op_type == "Loop").attribute[0].g
        return sum(node.op_type == "Where" for node in body.node)

    assert masks(("x", "v")) == masks(("x",)) + 1


def test_what_could_do_harm_is_kept():
    plain, whole = momentum(("x",)), momentum(("x",), whole=True)
    read = [True, False, False, False, False]
    assert held(the_fix(plain), read) == [True, False]
    assert held(the_fix(whole), read) == [True, True]
    assert held(the_fix(plain), [False] * 5) == [True, False]  # the solution, for the derivative's sake
