"""Entries moved along one axis; sums on the way, reductions, and division of whole numbers."""

from collections.abc import Mapping

import numpy as np

from banach.backends.onnx.emit import Emitter, Ref
from banach.backends.onnx.plain import Rule, cast, choose, slim
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.primitives.reduction import count
from banach.ir.tensor_type import TensorType

_END = np.iinfo(np.int64).max  # beyond every axis


def _stepped(emit: Emitter, type: TensorType, x: Ref, axis: int, start: int, stop: int, step: int) -> Ref:
    return emit.node("Slice", [x, *(emit.vector([number]) for number in (start, stop, axis, step))], type)


def _flip(emit: Emitter, type: TensorType, x: Ref, axis: int) -> Ref:
    return _stepped(emit, type, x, axis, -1, -_END, -1)


def _stride(emit: Emitter, type: TensorType, x: Ref, axis: int, step: int) -> Ref:
    return x if step == 1 else _stepped(emit, type, x, axis, 0, _END, step)


def _pad(emit: Emitter, type: TensorType, x: Ref, axis: int, widths: tuple[int, int], mode: str) -> Ref:
    # One node is 1 to 2 us faster than slices and a Concat, and as fast on large arrays.
    operands = [x, emit.vector(widths), emit.constant(0, type.dtype), emit.vector([axis])]
    return emit.node("Pad", operands, type, mode=mode)


def _wrap_pad(emit: Emitter, type: TensorType, x: Ref, axis: int, before: int, after: int) -> Ref | None:
    # ONNX Runtime wraps no array without entries, and a batch may have none.
    if not all(isinstance(size, int) and size for size in x.type.shape):
        return None
    return _pad(emit, type, x, axis, (before, after), "wrap")


def _reflect_pad(emit: Emitter, type: TensorType, x: Ref, axis: int, before: int, after: int) -> Ref:
    return _pad(emit, type, x, axis, (before, after), "reflect")


def _cumsum(emit: Emitter, type: TensorType, x: Ref, axis: int, exclusive: bool, reverse: bool) -> Ref:
    operands = [x, emit.constant(axis, "int64")]
    return emit.node("CumSum", operands, type, exclusive=int(exclusive), reverse=int(reverse))


def _reduce(emit: Emitter, op_type: str, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    return emit.node(op_type, [x, emit.vector(axes)], type, keepdims=0)


def _prod(emit: Emitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    return _reduce(emit, "ReduceProd", type, x, axes) if axes else x


def _reduce_min(emit: Emitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    if not axes:
        return x
    least = _reduce(emit, "ReduceMin", type, x, axes)
    if not type.is_float:
        return least
    # It passes over NaN, as ReduceMax does.
    spoilt = emit.node("IsNaN", [x], x.type.with_dtype("bool"))
    spoilt = _reduce(emit, "ReduceMax", type.with_dtype("bool"), spoilt, axes)
    return choose(emit, type, spoilt, emit.constant(np.nan, type.dtype), least)


def _of_truths(op_type: str) -> Rule:
    """ONNX Runtime reduces no empty set of truth values, but of numbers it does: to their limits."""

    def emit_reduction(emit: SizedEmitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
        entries = count(x.type, axes)
        if not axes:
            return x
        if isinstance(entries, int) and entries:
            return _reduce(emit, op_type, type, x, axes)
        numbers = cast(emit, x.type.with_dtype("int32"), x, "int32")
        found = _reduce(emit, op_type, type.with_dtype("int32"), numbers, axes)
        return emit.node("Greater", [found, emit.constant(0, "int32")], type)

    return emit_reduction


def _divisor(emit: Emitter, y: Ref) -> tuple[Ref | None, Ref]:
    """Where a divisor is 0, which ends the process, or -1, by which the least number cannot be divided; and
    the divisor with 1 there. A constant without either is left alone."""
    if y.constant is not None and not np.any((y.constant.array >= -1) & (y.constant.array <= 0)):
        return None, y
    truth = y.type.with_dtype("bool")
    ends = [emit.constant(number, y.type.dtype) for number in (-1, 0)]
    above = emit.node("GreaterOrEqual", [y, ends[0]], truth)
    there = emit.node("And", [above, emit.node("LessOrEqual", [y, ends[1]], truth)], truth)
    return there, choose(emit, y.type, there, emit.constant(1, y.type.dtype), y)


def _floor_divide(emit: Emitter, type: TensorType, x: Ref, y: Ref) -> Ref:
    x, y = slim([x, y], type)
    there, divisor = _divisor(emit, y)
    # Div cuts towards zero; x - x mod y is a multiple of y, so there the two agree.
    whole = emit.node("Sub", [x, emit.node("Mod", [x, divisor], type)], type)
    found = emit.node("Div", [whole, divisor], type)
    # x·0 = 0 and x·(-1) are the quotients there.
    return found if there is None else choose(emit, type, there, emit.node("Mul", [x, y], type), found)


def _modulo(emit: Emitter, type: TensorType, x: Ref, y: Ref) -> Ref:
    x, y = slim([x, y], type)
    there, divisor = _divisor(emit, y)
    left = emit.node("Mod", [x, divisor], type)
    return left if there is None else choose(emit, type, there, emit.constant(0, type.dtype), left)


RULES: Mapping[str, Rule] = {
    "flip": _flip,
    "stride": _stride,
    "wrap_pad": _wrap_pad,
    "reflect_pad": _reflect_pad,
    "cumsum": _cumsum,
    "reduce_min": _reduce_min,
    "reduce_all": _of_truths("ReduceMin"),
    "reduce_any": _of_truths("ReduceMax"),
    "prod": _prod,
    "floor_divide": _floor_divide,
    "modulo": _modulo,
}
