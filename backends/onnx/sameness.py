"""A hash of what a graph computes, that does not see how it is written down.

Every value is hashed from its operation, its attributes and the hashes of its operands, so that the names of
inner values, the order of nodes, nodes that nothing reads, and two nodes that are one and the same do not
matter, nor whether a weight with a default is also an input. Weights are told by name: their own hashes stand
beside this one. Whatever else changes, as a fusion or a folded constant does, changes the hash.
"""

from collections.abc import Mapping
from hashlib import sha256

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper


def structure(model: ModelProto) -> str:
    """The hash of a model's graph, its operator sets included. ValueError: it has functions of its own."""
    if model.functions or model.graph.sparse_initializer:
        raise ValueError("a model with functions or sparse weights of its own")
    sets = sorted((entry.domain, entry.version) for entry in model.opset_import)
    return _hash("model", str(sets), _graph(model.graph, {}, 0))


def _graph(graph: GraphProto, around: Mapping[str, str], depth: int) -> str:
    known, outermost = dict(around), not depth
    held = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in held]
    for i, value in enumerate(inputs):
        known[value.name] = _hash("input", value.name if outermost else f"{depth}.{i}", _type(value))
    for tensor in graph.initializer:
        known[tensor.name] = _hash("weight", tensor.name) if outermost else _tensor(tensor)
    for node in graph.node:
        own = _node(node, known, depth)
        for i, name in enumerate(node.output):
            known[name] = _hash("result", str(i), own) if i else own
    results = [_hash(value.name if outermost else "", known[value.name]) for value in graph.output]
    return _hash("graph", *(known[value.name] for value in inputs), "gives", *results)


def _node(node: NodeProto, known: Mapping[str, str], depth: int) -> str:
    if node.op_type == "Identity" and not node.domain:
        return known[node.input[0]]
    operands = [known[name] if name else "" for name in node.input]
    attributes = [
        _hash(attribute.name, _attribute(attribute, known, depth))
        for attribute in sorted(node.attribute, key=lambda attribute: attribute.name)
    ]
    return _hash("node", node.domain, node.op_type, *operands, "with", *attributes)


def _attribute(attribute: AttributeProto, known: Mapping[str, str], depth: int) -> str:
    if attribute.type == AttributeProto.GRAPH:
        return _graph(attribute.g, known, depth + 1)
    if attribute.type == AttributeProto.TENSOR:
        return _tensor(attribute.t)
    if attribute.type in (AttributeProto.GRAPHS, AttributeProto.TENSORS) or attribute.ref_attr_name:
        raise ValueError(f"the attribute `{attribute.name}` is of a kind that no file of ours has")
    plain = AttributeProto()
    plain.CopyFrom(attribute)
    plain.ClearField("doc_string")
    return sha256(plain.SerializeToString(deterministic=True)).hexdigest()


def _tensor(tensor: TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    return _hash("tensor", str(tensor.data_type), str(array.shape), sha256(array.tobytes()).hexdigest())


def _type(value: ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    shape = [dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim]
    return f"{tensor.elem_type}{shape}"


def _hash(*parts: str) -> str:
    """Of parts that cannot run into each other."""
    return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
