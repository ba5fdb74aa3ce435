"""A graph in float64: what it would mean without the rounding of its own precision."""

from typing import Any

import numpy as np

from banach.ir.graph import Builder, Graph, Value
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import FLOATS, TensorType

WIDEST = "float64"


def widen(graph: Graph) -> Graph:
    """The same operations on float64; weights keep the values that they were stored with."""
    build = Builder(graph.name, graph.contract)
    known: list[Value] = []
    for port in graph.inputs:
        default = None if port.default is None else _attribute(port.default)
        known.append(build.input(port.name, _type(port.type), default, port.place))
    for op in graph.ops:
        attributes = {key: _attribute(value) for key, value in op.attributes}
        regions = [widen(region) for region in op.regions]
        known.extend(build.emit(op.name, [known[v] for v in op.operands], attributes, regions, op.place))
    return build.finish({name: known[v] for name, v in zip(graph.output_names, graph.outputs)})


def _type(type: TensorType) -> TensorType:
    return TensorType(WIDEST, type.shape, type.space) if type.is_float else type


def _attribute(value: Any) -> Any:
    if isinstance(value, Tensor) and value.array.dtype.kind == "f":
        return Tensor(value.array.astype(np.float64))
    if isinstance(value, TensorType):
        return _type(value)
    return WIDEST if isinstance(value, str) and value in FLOATS else value
