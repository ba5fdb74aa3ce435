"""A graph with its reals in another precision."""

from typing import Any

from banach.ir.graph import Builder, Graph, Value
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import FLOATS, TensorType, numpy_dtype


def widen(graph: Graph) -> Graph:
    """What it would mean without the rounding of its own precision: the same operations on float64; weights
    keep the values that they were stored with."""
    return retype(graph, "float64")


def retype(graph: Graph, dtype: str) -> Graph:
    """The same operations on reals of this dtype."""
    build = Builder(graph.name, graph.contract)
    known: list[Value] = []
    for port in graph.inputs:
        default = None if port.default is None else _attribute(port.default, dtype)
        known.append(build.input(port.name, _type(port.type, dtype), default, port.place))
    for op in graph.ops:
        attributes = {key: _attribute(value, dtype) for key, value in op.attributes}
        regions = [retype(region, dtype) for region in op.regions]
        known.extend(build.emit(op.name, [known[v] for v in op.operands], attributes, regions, op.place))
    return build.finish({name: known[v] for name, v in zip(graph.output_names, graph.outputs)})


def _type(type: TensorType, dtype: str) -> TensorType:
    return TensorType(dtype, type.shape, type.space) if type.is_float else type


def _attribute(value: Any, dtype: str) -> Any:
    if isinstance(value, Tensor) and value.type.is_float:
        return Tensor(value.array.astype(numpy_dtype(dtype)))
    if isinstance(value, TensorType):
        return _type(value, dtype)
    return dtype if isinstance(value, str) and value in FLOATS else value
