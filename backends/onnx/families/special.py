"""Functions of one number. ONNX Runtime 1.32 has Erf, Gelu and Atan for float32 alone: others are decomposed.

Its Gelu is NaN at +∞, where the function is +∞: what is not finite stays so, and Gelu is five times as fast.
"""

import math

from banach.backends.onnx.emit import Emitter, Ref
from banach.ir.tensor_type import TensorType


def _single(op_type: str):
    def rule(emit: Emitter, type: TensorType, x: Ref) -> Ref | None:
        return emit.node(op_type, [x], type) if type.dtype == "float32" else None

    return rule


def _clip(emit: Emitter, type: TensorType, x: Ref, low: float, high: float) -> Ref:
    ends = ("Max", low), ("Min", high)
    if math.isinf(low) or math.isinf(high):
        for op_type, end in ends:
            if not math.isinf(end):
                x = emit.node(op_type, [x, emit.constant(end, type.dtype)], type)
        return x
    return emit.node("Clip", [x, emit.constant(low, type.dtype), emit.constant(high, type.dtype)], type)


RULES = {"erf": _single("Erf"), "gelu": _single("Gelu"), "arctan": _single("Atan"), "clip": _clip}
