"""Weights that a file keeps as whole numbers of eight bits: what they stand for, by the text of the standard.

The checker's own reading of DequantizeLinear, opset 19: y = (x - zero)·scale, rounded once, in the dtype of
the scale; and of a Cast of that to another float.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, helper


def weights(graph: GraphProto, kept: Mapping[str, Any]) -> Iterator[Any]:
    """The float arrays that the outermost graph makes of its initializers, `kept`, by these operations."""
    found: dict[str, Any] = {}
    given = {value.name for value in graph.input}  # a run may give these another value
    for node in graph.node:
        if any(name in given for name in node.input):
            continue
        if node.op_type == "DequantizeLinear" and all(name in kept for name in node.input):
            found[node.output[0]] = _dequantised(node, [kept[name] for name in node.input])
        elif node.op_type == "Cast" and node.input[0] in found:
            to = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
            found[node.output[0]] = found[node.input[0]].astype(to)
    yield from found.values()


def _dequantised(node: NodeProto, operands: list[Any]) -> Any:
    numbers, scale, *zero = operands
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1) % max(numbers.ndim, 1)
    along = [1] * numbers.ndim
    along[axis] = -1
    spread = [part.reshape(along) if part.ndim else part for part in (scale, *zero)]
    whole = numbers.astype(np.int32) - (spread[1].astype(np.int32) if zero else 0)
    return whole.astype(scale.dtype) * spread[0]
