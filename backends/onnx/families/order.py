"""Places in an order. ONNX Runtime's own has no rule for NaN, so the NaNs are put where the page has them."""

import math
from collections.abc import Mapping
from typing import Any

from banach.backends.onnx.emit import Ref
from banach.backends.onnx.plain import Rule, choose
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.dims import Size
from banach.ir.tensor_type import TensorType


def _orderly(emit: SizedEmitter, x: Ref, nan: float) -> Ref:
    if not x.type.is_float:
        return x
    spoilt = emit.node("IsNaN", [x], x.type.with_dtype("bool"))
    return choose(emit, x.type, spoilt, emit.constant(nan, x.type.dtype), x)


def _extreme(op_type: str, nan: float) -> Rule:
    def emit_extreme(emit: SizedEmitter, type: TensorType, x: Ref, axis: int) -> Ref:
        return emit.node(op_type, [_orderly(emit, x, nan)], type, axis=axis, keepdims=0)

    return emit_extreme


def _places(emit: SizedEmitter, type: TensorType, x: Ref, axis: int, size: Size, **options: Any) -> Ref:
    # TopK gives equals in the order in which they stand, in either direction. Its first result, the entries,
    # has lost the NaNs.
    operands = [_orderly(emit, x, math.inf), emit.size(size)]
    return emit.node("TopK", operands, type, skipped=1, axis=axis, **options)


def _argsort(emit: SizedEmitter, type: TensorType, x: Ref, axis: int) -> Ref:
    return _places(emit, type, x, axis, x.type.shape[axis], largest=0)


def _arg_top(emit: SizedEmitter, type: TensorType, x: Ref, axis: int, size: Size) -> Ref:
    return _places(emit, type, x, axis, size, largest=1)


RULES: Mapping[str, Rule] = {
    "argmax": _extreme("ArgMax", math.inf),
    "argmin": _extreme("ArgMin", -math.inf),
    "argsort": _argsort,
    "arg_top": _arg_top,
}
