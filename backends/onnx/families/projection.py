"""The threshold of the simplex, by sorting."""

from banach.backends.onnx.emit import Ref
from banach.backends.onnx.plain import RULES as PLAIN
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.tensor_type import TensorType


def _simplex_threshold(emit: SizedEmitter, type: TensorType, x: Ref, r: Ref) -> Ref:
    size = x.type.shape[-1]
    places = x.type.with_dtype("int64")
    down, _ = emit.regions("TopK", [x, emit.size(size)], [x.type, places], {}, axis=-1)
    sums = emit.node("CumSum", [down, emit.constant(-1, "int64")], x.type)
    column = r.type.with_shape((*r.type.shape, 1))
    whole = type.with_shape((*type.shape, size))
    excess = emit.node("Sub", [sums, PLAIN["reshape"](emit, column, r, column.shape)], whole)
    count = PLAIN["count"](emit, TensorType("int64", (size,)), size=size, dtype="int64")
    count = emit.node("Add", [count, emit.constant(1, "int64")], count.type)
    count = PLAIN["cast"](emit, count.type.with_dtype(type.dtype), count, type.dtype)
    return PLAIN["reduce_max"](emit, type, emit.node("Div", [excess, count], whole), (-1,))


RULES = {"simplex_threshold": _simplex_threshold}
