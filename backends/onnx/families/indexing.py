"""Entries at places along one axis."""

from collections.abc import Mapping

from banach.backends.onnx.emit import Emitter, Ref
from banach.backends.onnx.plain import Rule, cast, choose
from banach.ir.dims import Size
from banach.ir.tensor_type import TensorType


def _take(emit: Emitter, type: TensorType, x: Ref, index: Ref, axis: int) -> Ref:
    return emit.node("Gather", [x, index], type, axis=axis + x.type.rank)


def _take_along(emit: Emitter, type: TensorType, x: Ref, index: Ref, axis: int) -> Ref:
    return emit.node("GatherElements", [x, index], type, axis=axis + x.type.rank)


def _scatter(emit: Emitter, base: Ref, index: Ref, x: Ref, axis: int, reduction: str) -> Ref:
    """Places first: ScatterND brings whole slices of the axes that follow."""
    after = -1 - axis
    before, places = x.type.rank - after - index.type.rank, index.type.rank
    shape = x.type.shape
    if before:
        order = (*range(before, before + places), *range(before), *range(before + places, x.type.rank))
        x = emit.node("Transpose", [x], x.type.with_shape([shape[i] for i in order]), perm=order)
        start = (before, *range(before), *range(before + 1, before + 1 + after))
        moved = base.type.with_shape([base.type.shape[i] for i in start])
        if base.stretched is not None and not base.stretched.type.rank:
            base = Ref(moved, depth=base.depth, stretched=base.stretched)
        else:
            base = emit.node("Transpose", [base], moved, perm=start)
    where = cast(emit, index.type.with_dtype("int64"), index, "int64")
    where = emit.node("Unsqueeze", [where, emit.vector([-1])], where.type.with_shape((*where.type.shape, 1)))
    total = emit.node("ScatterND", [base, where, x], base.type, reduction=reduction)
    if not before:
        return total
    back = (*range(1, before + 1), 0, *range(before + 1, before + 1 + after))
    return emit.node(
        "Transpose", [total], total.type.with_shape([total.type.shape[i] for i in back]), perm=back
    )


def _zeros(emit: Emitter, type: TensorType) -> Ref:
    return Ref(type, stretched=emit.constant(0, type.dtype))


def _wide(type: TensorType) -> str:
    """ONNX Runtime adds and compares no float16 when it scatters."""
    return "float32" if type.dtype in ("float16", "bfloat16") else type.dtype


def _scatter_add(emit: Emitter, type: TensorType, x: Ref, index: Ref, axis: int, size: Size) -> Ref:
    wide = _wide(type)
    start = _zeros(emit, type.with_dtype(wide))
    total = _scatter(emit, start, index, cast(emit, x.type.with_dtype(wide), x, wide), axis, "add")
    return cast(emit, type, total, type.dtype)


def _scatter_set(emit: Emitter, type: TensorType, base: Ref, index: Ref, x: Ref, axis: int) -> Ref:
    return _scatter(emit, base, index, x, axis, "none")


def _scatter_max(emit: Emitter, type: TensorType, base: Ref, index: Ref, x: Ref, axis: int) -> Ref:
    wide = _wide(type)
    first, others = (cast(emit, ref.type.with_dtype(wide), ref, wide) for ref in (base, x))
    largest = _scatter(emit, first, index, others, axis, "max")
    if not type.is_float:
        return largest
    # std::max passes over a NaN in one of its two arguments, so the NaNs are brought to their places apart.
    spoilt = [
        cast(
            emit,
            ref.type.with_dtype("int32"),
            emit.node("IsNaN", [ref], ref.type.with_dtype("bool")),
            "int32",
        )
        for ref in (first, others)
    ]
    found = cast(
        emit, type.with_dtype("bool"), _scatter(emit, spoilt[0], index, spoilt[1], axis, "max"), "bool"
    )
    nan = emit.constant(float("nan"), wide)
    return cast(emit, type, choose(emit, type.with_dtype(wide), found, nan, largest), type.dtype)


def _scatter_along(emit: Emitter, type: TensorType, x: Ref, index: Ref, axis: int, size: Size) -> Ref:
    wide = _wide(type)
    moved, start = cast(emit, x.type.with_dtype(wide), x, wide), _zeros(emit, type.with_dtype(wide))
    total = emit.node(
        "ScatterElements", [start, index, moved], start.type, axis=axis + type.rank, reduction="add"
    )
    return cast(emit, type, total, type.dtype)


RULES: Mapping[str, Rule] = {
    "take": _take,
    "take_along": _take_along,
    "scatter_add": _scatter_add,
    "scatter_along": _scatter_along,
    "scatter_set": _scatter_set,
    "scatter_max": _scatter_max,
}
