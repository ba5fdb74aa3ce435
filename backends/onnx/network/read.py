"""From an ONNX file to a network that can be traced. Nothing of the file is believed before it is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, ValueInfoProto, defs

from banach.backends.onnx.network.network import Input, Network, covered
from banach.backends.onnx.network.node import HOME, Node, node_of
from banach.backends.onnx.network.refusal import BadNetwork, Uncovered
from banach.backends.onnx.network.tensors import array_of, dtype_of, text

LARGEST_FILE = 1 << 28  # bytes
MOST_NODES = 20_000
OLDEST, NEWEST = 13, 21  # opsets


@dataclass(frozen=True, slots=True)
class _Folders:
    own: Path  # of the network
    root: Path  # which no path may leave


def read(path: Path, root: Path) -> Network:
    """The network in a file. `root` is the folder that data outside the file must lie in.

    BadNetwork: it is no ONNX file, is damaged, or describes no network. Uncovered: it has a node whose
    operator is not covered; what else is not covered is found when the network is applied.
    """
    model = _parsed(path)
    opset = _opset(model)
    folders, graph = _Folders(path.resolve().parent, root.resolve()), model.graph
    if len(graph.node) > MOST_NODES:
        raise BadNetwork(f"it has {len(graph.node):,} nodes, more than {MOST_NODES:,}")
    if graph.sparse_initializer:
        raise BadNetwork("it has sparse weights, which we do not read")
    weights = _weights(graph, folders)
    inputs = tuple(_input(info) for info in graph.input if info.name not in weights)
    nodes = tuple(node_of(proto, opset, folders.own, folders.root) for proto in graph.node)
    outputs = tuple(text(info.name) for info in graph.output)
    _check_order(nodes, {*weights, *(port.name for port in inputs)}, outputs)
    for node in nodes:
        if node.operator not in covered():
            raise Uncovered(f"{node}: {_why(node, model)}")
        _check_signature(node)
    return Network(inputs, nodes, outputs, weights)


def _parsed(path: Path) -> ModelProto:
    if path.stat().st_size > LARGEST_FILE:
        raise BadNetwork(f"it is larger than {LARGEST_FILE >> 20} MB")
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError:
        raise BadNetwork("it is no ONNX file, or a damaged one") from None
    except OSError as wrong:
        raise BadNetwork(f"it cannot be read: {wrong.strerror}") from None
    if not model.ir_version or not model.graph.output:
        raise BadNetwork("it is no ONNX file, or one without outputs")
    return model


def _opset(model: ModelProto) -> int:
    """The version of the operators. BadNetwork: none is given, or one that is too old or too new."""
    versions = {entry.version for entry in model.opset_import if text(entry.domain) in HOME}
    if len(versions) != 1:
        raise BadNetwork("it does not say which version of ONNX's operators it uses")
    (version,) = versions
    if not OLDEST <= version <= NEWEST:
        raise BadNetwork(
            f"it uses opset {version}; taken are {OLDEST} to {NEWEST}."
            f" `onnx.version_converter.convert_version(model, {NEWEST})` converts it"
        )
    return version


def _weights(graph: GraphProto, folders: _Folders) -> Mapping[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in found:
            raise BadNetwork(f"it has two tensors called `{tensor.name}`, or one without a name")
        found[tensor.name] = array_of(tensor, folders.own, folders.root)
        bad = np.argwhere(~np.isfinite(found[tensor.name]))
        if len(bad):
            place = ", ".join(map(str, bad[0]))
            raise BadNetwork(
                f"its weight `{tensor.name}` is {found[tensor.name][tuple(bad[0])]} at [{place}]"
            )
    return found


def _input(info: ValueInfoProto) -> Input:
    """BadNetwork: it is no tensor of known rank."""
    name, kind = text(info.name), info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise BadNetwork(f"its input `{name}` is no tensor")
    if not info.type.tensor_type.HasField("shape"):
        raise BadNetwork(f"its input `{name}` has no shape")
    shape: list[int | str] = []
    for i, dim in enumerate(info.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(dim.dim_value)
        else:
            shape.append(text(dim.dim_param) or f"{name}.{i}")
    return Input(name, dtype_of(info.type.tensor_type.elem_type), tuple(shape))


def _check_order(nodes: tuple[Node, ...], known: set[str], outputs: tuple[str, ...]) -> None:
    """BadNetwork: a name is made twice, or read before it is made."""
    made = [name for node in nodes for name in node.outputs if name]
    for node in nodes:
        for name in filter(None, node.inputs):
            if name in known:
                continue
            if name in made:
                raise BadNetwork(f"{node} reads `{name}` before it is made: the nodes go round in a circle")
            raise BadNetwork(f"{node} reads `{name}`, which nothing makes")
        for name in filter(None, node.outputs):
            if name in known:
                raise BadNetwork(f"{node} makes `{name}`, which is there already")
            known.add(name)
    for name in outputs:
        if name not in known:
            raise BadNetwork(f"nothing makes its output `{name}`")


def _check_signature(node: Node) -> None:
    """BadNetwork: the node is not such as its operator's definition says."""
    try:
        schema = defs.get_schema(node.operator, node.opset)
    except defs.SchemaError:
        raise BadNetwork(f"{node}: opset {node.opset} has no such operator") from None
    count, made = len(node.inputs), sum(map(bool, node.outputs))
    if not schema.min_input <= count <= schema.max_input or not schema.min_output <= made:
        raise BadNetwork(f"{node} reads {count} things and makes {made}, and its operator does not")
    single = defs.OpSchema.FormalParameterOption.Single
    for parameter, name in zip(schema.inputs, node.inputs):
        if not name and parameter.option == single:
            raise BadNetwork(f"{node} leaves out its input `{parameter.name}`")
    for name, attribute in schema.attributes.items():
        if attribute.required and name not in node.attributes:
            raise BadNetwork(f"{node} has no attribute `{name}`")
    unknown = sorted(node.attributes.keys() - schema.attributes.keys())
    if unknown:
        raise BadNetwork(f"{node} has an attribute `{unknown[0]}`, which its operator does not")


def _why(node: Node, model: ModelProto) -> str:
    domains = {entry.domain for entry in model.opset_import}
    domain, _, operator = node.operator.rpartition(".")
    if domain:
        declared = "" if domain in domains else ", which it does not import"
        return f"`{operator}` is of the domain `{domain}`{declared}; covered are ONNX's own operators"
    return "there is nothing of ours that it means"
