"""Reads a finished model again, for the faults that no other checker finds.

onnx's checker and strict inference accept a loop condition with axes, a carried value whose shape drifts,
an output declared with a wrong shape; ONNX Runtime then runs them silently. Here every graph is inferred
without its declared outputs, and what follows is held against what is declared.
"""

from collections.abc import Iterator, Sequence

import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TypeProto,
    ValueInfoProto,
    helper,
    shape_inference,
)

from banach.ir.diagnostic import Code, Diagnostic, RunError

UNSOUND_FILE = Code(
    "B911",
    "unsound-file",
    """The ONNX backend wrote a file that does not pass its own check. It is a bug of ours: please report it.

No file has been written. The message names the node and what is wrong with it.
""",
)

Types = dict[str, TypeProto]
SMALL = 1024  # bytes; larger initializers say nothing about shapes and are left out of the inference
WHOLE, TRUTH = onnx.TensorProto.INT64, onnx.TensorProto.BOOL


def verify(model: ModelProto) -> None:
    """RunError B911: the model is not sound."""
    found = faults(model)
    if found:
        raise RunError(Diagnostic(UNSOUND_FILE, "; ".join(found), fix="report this with the spec"))


def faults(model: ModelProto) -> list[str]:
    """Everything that is wrong with a model, in words; none where it is sound."""
    skeleton = _skeleton(model)
    found = [*_foreign(model), *_repeated(model.graph), *_inner_initializers(model.graph)]
    found += [fault for node in _nodes(model.graph) for fault in _shape_of_node(node)]
    found = found or list(_inferred(skeleton, skeleton.graph, {}))
    if found:
        return found
    try:
        onnx.checker.check_model(skeleton, full_check=True)
        return []
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as refusal:
        return [" ".join(str(refusal).split())]


def _skeleton(model: ModelProto) -> ModelProto:
    """The model with its large initializers as inputs."""
    skeleton = ModelProto()
    skeleton.opset_import.extend(model.opset_import)
    skeleton.ir_version = model.ir_version
    graph = skeleton.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    given = {port.name for port in graph.input}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= SMALL:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return skeleton


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for body in _bodies(node).values():
            yield from _graphs(body)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for inner in _graphs(graph):
        yield from inner.node


def _bodies(node: NodeProto) -> dict[str, GraphProto]:
    return {a.name: a.g for a in node.attribute if a.type == AttributeProto.GRAPH}


def _foreign(model: ModelProto) -> Iterator[str]:
    for domain in [entry.domain for entry in model.opset_import] + [
        node.domain for node in _nodes(model.graph)
    ]:
        if domain not in ("", "ai.onnx"):
            yield f"the domain {domain} is not the standard one"


def _repeated(graph: GraphProto) -> Iterator[str]:
    """Names that two values of the file share, in whatever graphs."""
    seen: set[str] = set()
    for inner in _graphs(graph):
        inputs = [value.name for value in inner.input]
        constants = [tensor.name for tensor in inner.initializer if tensor.name not in inputs]
        for name in [*inputs, *constants, *(output for node in inner.node for output in node.output)]:
            if name in seen:
                yield f"the name {name} is given twice"
            seen.add(name)


def _inner_initializers(graph: GraphProto) -> Iterator[str]:
    for inner in _graphs(graph):
        if inner is not graph and inner.initializer:
            yield f"the inner graph {inner.name} has initializers of its own"


def _shape_of_node(node: NodeProto) -> Iterator[str]:
    """What the dialect asks of a Loop and of a Scan, apart from types."""
    if node.op_type == "Loop":
        body = _bodies(node)["body"]
        if len(node.input) < 2 or not node.input[0]:
            yield f"{node.name}: a Loop without a trip count"
        if len(node.input) < 2 or not node.input[1]:
            yield f"{node.name}: a Loop without an explicit condition"
        if len(node.output) != len(node.input) - 2 or len(body.output) != len(node.input) - 1:
            yield f"{node.name}: a Loop that stacks outputs, or whose body has another number of values"
        elif len(body.input) != len(node.input):
            yield f"{node.name}: the body takes {len(body.input)} values and is given {len(node.input)}"
        elif all(body.output[0].name not in inner.output for inner in body.node):
            yield f"{node.name}: no node of the body computes its condition"
    if node.op_type == "Scan":
        body, scanned = _bodies(node)["body"], helper.get_node_attr_value(node, "num_scan_inputs")
        if any("direction" in a.name and any(a.ints) for a in node.attribute):
            yield f"{node.name}: a Scan that runs backwards"
        read = {name for inner in _nodes(body) for name in inner.input}
        unread = [value.name for value in list(body.input)[-scanned:] if value.name not in read]
        if unread:
            yield f"{node.name}: a Scan that does not read {', '.join(unread)}"


def _inferred(model: ModelProto, graph: GraphProto, outer: Types) -> Iterator[str]:
    """Faults of a graph's types, and of those below; `outer` has the types of the values around it."""
    types = _infer(model, graph, outer)
    for value in graph.output:
        clash = _clash(value.type, types.get(value.name))
        if clash:
            yield f"the output {value.name} of {graph.name} is declared wrongly: {clash}"
    for node in graph.node:
        if node.op_type == "Loop":
            yield from _loop_types(model, node, types)
        for body in _bodies(node).values():
            yield from _inferred(model, body, types)


def _loop_types(model: ModelProto, node: NodeProto, types: Types) -> Iterator[str]:
    body = _bodies(node)["body"]
    inside = _infer(model, body, types)
    for role, name, element in (("trip count", node.input[0], WHOLE), ("condition", node.input[1], TRUTH)):
        yield from _scalar(f"{node.name}: the {role} {name}", types.get(name), element)
    condition = body.output[0]
    yield from _scalar(f"{node.name}: the condition {condition.name}", inside.get(condition.name), TRUTH)
    for start, carried, result in zip(
        list(node.input)[2:], list(body.input)[2:], list(body.output)[1:], strict=True
    ):
        for other in (types.get(start), inside.get(result.name)):
            clash = _clash(carried.type, other)
            if clash:
                yield f"{node.name}: {carried.name} changes its type from one iteration to the next: {clash}"


def _scalar(what: str, type: TypeProto | None, element: int) -> Iterator[str]:
    if type is None:
        return
    tensor = type.tensor_type
    if tensor.elem_type != element:
        yield f"{what} is {_show(type)}"
    elif tensor.HasField("shape") and len(tensor.shape.dim):
        yield f"{what} has axes: {_show(type)}"


def _infer(model: ModelProto, graph: GraphProto, outer: Types) -> Types:
    """The type of every value that can be worked out from the inputs alone."""
    bare = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = graph.name
    bare.graph.node.extend(graph.node)
    bare.graph.initializer.extend(graph.initializer)
    bare.graph.input.extend(graph.input)
    if graph is not model.graph:
        bare.graph.initializer.extend(model.graph.initializer)
        own = {value.name for value in graph.input} | {tensor.name for tensor in model.graph.initializer}
        own |= {name for node in graph.node for name in node.output}
        bare.graph.input.extend(ValueInfoProto(name=n, type=t) for n, t in outer.items() if n not in own)
    # onnx says nothing of the shape of a Loop's results. As none changes from one iteration to the next
    # (_loop_types), they are those that the body declares.
    kept = {name: v.type for n in graph.node if n.op_type == "Loop" for name, v in _carried(n)}
    ends = {value.name for value in graph.output}
    bare.graph.value_info.extend(ValueInfoProto(name=n, type=t) for n, t in kept.items() if n not in ends)
    bare.graph.output.extend(
        ValueInfoProto(name=value.name, type=kept.get(value.name)) for value in graph.output
    )
    # Entries of vectors are followed only where one may be a shape: there are as many as a weight is long.
    measured = any(node.op_type == "Shape" for node in graph.node)
    done = shape_inference.infer_shapes(bare, data_prop=measured).graph
    types: Types = dict(outer)
    for tensor in model.graph.initializer:
        types[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    types.update(
        {v.name: v.type for v in [*done.input, *done.value_info, *done.output] if v.HasField("type")}
    )
    return types


def _carried(node: NodeProto) -> Iterator[tuple[str, ValueInfoProto]]:
    return zip(node.output, list(_bodies(node)["body"].input)[2:])


def _clash(declared: TypeProto, found: TypeProto | None) -> str:
    """How two types contradict each other; empty where they do not."""
    if found is None or not found.HasField("tensor_type") or not found.tensor_type.elem_type:
        return ""
    a, b = declared.tensor_type, found.tensor_type
    contradicts = a.elem_type != b.elem_type or not a.HasField("shape")
    if not contradicts and b.HasField("shape"):
        pairs = zip(a.shape.dim, b.shape.dim)
        contradicts = len(a.shape.dim) != len(b.shape.dim) or any(
            x.HasField("dim_value") and y.HasField("dim_value") and x.dim_value != y.dim_value
            for x, y in pairs
        )
    return f"{_show(declared)} against {_show(found)}" if contradicts else ""


def _show(type: TypeProto) -> str:
    tensor = type.tensor_type
    axes: Sequence[object] = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim
    ]
    name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return f"{name}[{', '.join(map(str, axes))}]" if tensor.HasField("shape") else name
