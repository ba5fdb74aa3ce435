"""A file that is written down anew keeps its certificate; one that computes something else does not."""

import copy
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

import banach
from banach.backends.onnx.verifier import verify

SPEC = """\
banach: 1
sizes: {batch: any, n: 6}
inputs: {x: "real[batch, n]"}
parameters:
  W: {type: "real[n, n]", init: "normal(0, 0.1)", seed: 1}
  V: {type: "real[n, n]", init: "normal(0, 0.1)", seed: 2}
operators:
  F(z, u):
    solve:
      y: {method: "picard(G(_, z))", start: zeros(n), stop: {residual: 1e-6, most: 100}}
    returns: tanh(W @ y + u)
  G(y, z): tanh(V @ y + z)
  T(z, u): 0.5 * F(z, u) - 0.1 * tanh(V @ z)
solve:
  z: {method: "picard(T(_, x))", start: zeros(n), stop: {residual: 1e-5, most: 200}}
outputs: {z: z}
"""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return banach.loads(SPEC).compile().model


def graphs(graph: onnx.GraphProto):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def renamed(model: onnx.ModelProto) -> None:
    """Every inner value of the outermost graph and of those inside."""
    kept = {v.name for v in (*model.graph.input, *model.graph.output, *model.graph.initializer)} | {""}
    for graph in graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            if value.name not in kept:
                value.name = f"other_{value.name}"
        for node in graph.node:
            node.name = f"node_{node.name}"
            node.input[:] = [n if n in kept else f"other_{n}" for n in node.input]
            node.output[:] = [n if n in kept else f"other_{n}" for n in node.output]


def with_dead_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Neg", ["x"], ["nobody_reads_this"]))


def with_identities(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.input and node.input[0] == "x")
    model.graph.node.insert(0, helper.make_node("Identity", ["x"], ["again"]))
    node.input[0] = "again"


def fixed_limits(model: onnx.ModelProto) -> None:
    kept = [value for value in model.graph.input if "." not in value.name]
    del model.graph.input[:]
    model.graph.input.extend(kept)


SAME = [renamed, with_dead_nodes, with_identities, fixed_limits]


@pytest.mark.parametrize("change", SAME)
def test_what_computes_the_same_keeps_its_certificate(change: Callable, model: onnx.ModelProto) -> None:
    other = copy.deepcopy(model)
    change(other)
    assert other.SerializeToString() != model.SerializeToString()
    onnx.checker.check_model(other)
    assert verify(other).ok, verify(other).failed


def first(model: onnx.ModelProto, kind: str, depth: int = 1):
    """A node inside a loop's body."""
    inner = list(graphs(model.graph))[depth:]
    return next(node for graph in inner for node in graph.node if node.op_type == kind)


def another_operation(model: onnx.ModelProto) -> None:
    first(model, "Tanh").op_type = "Sin"


def another_weight(model: onnx.ModelProto) -> None:
    square = [t.name for t in model.graph.initializer if list(t.dims) == [6, 6]]
    for graph in graphs(model.graph):
        for node in graph.node:
            node.input[:] = [square[1] if name == square[0] else name for name in node.input]


def operands_swapped(model: onnx.ModelProto) -> None:
    node = first(model, "Sub")
    node.input[:] = node.input[::-1]


def another_output(model: onnx.ModelProto) -> None:
    node = next(n for n in model.graph.node if "z" in n.output)
    at = list(node.output).index("z")
    node.output[at] = "hidden"
    model.graph.node.append(helper.make_node("Neg", ["hidden"], ["z"]))


def another_set(model: onnx.ModelProto) -> None:
    model.opset_import[0].version += 1


def a_function(model: onnx.ModelProto) -> None:
    body = [helper.make_node("Neg", ["a"], ["b"])]
    model.functions.append(
        helper.make_function("own", "Tanh", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    )


def an_outer_value(model: onnx.ModelProto) -> None:
    """In a loop's body, a state of the loop around in place of its own: names alone tell them apart."""
    outer, inner = None, None
    for graph in graphs(model.graph):
        for node in graph.node:
            if node.op_type == "Loop":
                body = next(a.g for a in node.attribute if a.name == "body")
                nested = [n for n in body.node if n.op_type == "Loop"]
                if nested:
                    outer, inner = body, next(a.g for a in nested[0].attribute if a.name == "body")
    if outer is None or inner is None:
        pytest.skip("there is no loop in a loop")
    swap = {a.name: b.name for a, b in zip(inner.input[2:], outer.input[2:])}
    for node in inner.node:
        node.input[:] = [swap.get(name, name) for name in node.input]


CHANGED = [another_operation, another_weight, operands_swapped, another_output, another_set, a_function]


@pytest.mark.parametrize("change", [*CHANGED, an_outer_value])
def test_what_computes_something_else_does_not(change: Callable, model: onnx.ModelProto) -> None:
    other = copy.deepcopy(model)
    change(other)
    assert not verify(other).ok


@pytest.mark.parametrize("tool", ["onnxslim", "onnxoptimizer"])
def test_two_tools_keep_it(tool: str, model: onnx.ModelProto) -> None:
    module = pytest.importorskip(tool, reason="`make nightly` installs it")
    other = module.slim(copy.deepcopy(model)) if tool == "onnxslim" else module.optimize(copy.deepcopy(model))
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    from banach.backends.onnx.run import OnnxArtifact

    wanted, found = OnnxArtifact(model).run(x=x), OnnxArtifact(other).run(x=x)
    np.testing.assert_allclose(found["z"], wanted["z"], rtol=1e-6, atol=1e-6)
    assert verify(other).ok or all("nodes" in why or "weight" in why for why in verify(other).failed)
