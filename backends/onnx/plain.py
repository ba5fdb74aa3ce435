"""How the plain primitives are written in ONNX, where their pages do not say it all.

A rule takes the emitter, the result's type, the operands and the attributes, and returns the result. It must
agree with the page's numpy meaning for NaN and infinities too: loops stop by them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from banach.backends.onnx.emit import ELEMENTS, Emitter, Ref
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.dims import Size
from banach.ir.primitive import page
from banach.ir.shelf import entries
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast

Rule = Callable[..., Ref | None]  # None: the page's decomposition serves better

FAMILIES = "banach.backends.onnx.families"  # further rules: a file for each family, which is found by walking


def choose(emit: Emitter, type: TensorType, chosen: Ref, x: Ref, y: Ref) -> Ref:
    """x where chosen, else y."""
    if type.dtype != "bool":
        return emit.node("Where", [chosen, x, y], type)
    # ONNX Runtime 1.32 has no Where for booleans: (c and x) or (not c and y).
    first = emit.node("And", [chosen, x], type)
    second = emit.node("And", [emit.node("Not", [chosen], chosen.type), y], type)
    return emit.node("Or", [first, second], type)


def slim(operands: Sequence[Ref], type: TensorType) -> list[Ref]:
    """Operands of an entrywise operation without the stretching that the operation does by itself."""
    found = list(operands)
    for i, ref in enumerate(found):
        if ref.stretched is None:
            continue
        shapes = [ref.stretched.type.shape if i == j else other.type.shape for j, other in enumerate(found)]
        try:
            fits = broadcast(*shapes) == type.shape
        except TypeMismatch:
            fits = False
        if fits:
            found[i] = ref.stretched
    return found


def reshape(emit: Emitter, type: TensorType, x: Ref, shape: tuple[Size, ...]) -> Ref:
    """The same entries under another shape."""
    if x.type.shape == shape:
        return x
    named = [axis for axis, size in enumerate(shape) if not isinstance(size, int)]
    fixed = [size for size in shape if isinstance(size, int)]
    if x.constant is not None and not named:
        return Ref(type, constant=Tensor(x.constant.array.reshape(fixed)))
    if len(named) == 1 and all(fixed):
        # One unknown follows from the rest, and shape inference can follow it too.
        vector = emit.vector([size if isinstance(size, int) else -1 for size in shape])
        return emit.node("Reshape", [x, vector], type)
    if not named and all(fixed):
        return emit.node("Reshape", [x, emit.vector(fixed)], type)
    return emit.node("Reshape", [x, emit.shape(shape)], type, allowzero=1)


def _select(emit: Emitter, type: TensorType, chosen: Ref, x: Ref, y: Ref) -> Ref:
    return choose(emit, type, *slim([chosen, x, y], type))


def _relu(emit: Emitter, type: TensorType, x: Ref) -> Ref:
    if type.is_float:
        return emit.node("Relu", [x], type)
    return emit.node("Max", [x, emit.constant(0, type.dtype)], type)  # no kernel for int64


def _soft_threshold(emit: Emitter, type: TensorType, x: Ref, t: Ref) -> Ref:
    # x - clip(x, -t, t). Shrink would be one node for two, but it turns NaN into 0: a diverged iteration
    # would look healthy.
    x, t = slim([x, t], type)
    if t.type.shape == ():
        clipped = emit.node("Clip", [x, _negative(emit, t), t], x.type)
    else:
        raised = emit.node("Max", [x, _negative(emit, t)], type)
        clipped = emit.node("Min", [raised, t], type)
    return emit.node("Sub", [x, clipped], type)


def _negative(emit: Emitter, x: Ref) -> Ref:
    if x.constant is not None:
        return Ref(x.type, constant=Tensor(-x.constant.array))
    return emit.node("Neg", [x], x.type)


def _matvec(emit: Emitter, type: TensorType, matrix: Ref, x: Ref) -> Ref:
    # x Aᵀ reads a row-major Aᵀ in order; A x as MatMul(A, x) is 40 times slower at n = 512. x stays without
    # a leading 1: reshaping it around every product costs more than the faster kernel gains.
    return emit.node("MatMul", [x, _transpose(emit, _swapped(matrix.type), matrix, (-1, -2))], type)


def _swapped(type: TensorType) -> TensorType:
    *leading, m, n = type.shape
    return type.with_shape((*leading, n, m))


def _transpose(emit: Emitter, type: TensorType, x: Ref, permutation: tuple[int, ...]) -> Ref:
    rank = x.type.rank
    order = (*range(rank - len(permutation)), *(axis + rank for axis in permutation))
    if order == tuple(range(rank)):
        return x
    if x.constant is not None:
        return Ref(type, constant=Tensor(np.transpose(x.constant.array, order)))
    if order[-2:] == (rank - 1, rank - 2) and order[:-2] == tuple(range(rank - 2)):
        return x.transposed if x.transposed is not None else Ref(type, depth=x.depth, transposed=x)
    return emit.node("Transpose", [x], type, perm=order)


def _broadcast(emit: Emitter, type: TensorType, x: Ref, shape: tuple[Size, ...]) -> Ref:
    if x.type.shape == shape:
        return x
    return Ref(type, depth=x.depth, stretched=x.stretched if x.stretched is not None else x)


def _sum(emit: Emitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    if not axes:
        return x
    return emit.node("ReduceSum", [x, emit.vector(axes)], type, keepdims=0)


def _norm(emit: Emitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    if not axes:
        return emit.node("Sqrt", [emit.node("Mul", [x, x], type)], type)
    return emit.node("ReduceL2", [x, emit.vector(axes)], type, keepdims=0)


def _reduce_max(emit: Emitter, type: TensorType, x: Ref, axes: tuple[int, ...]) -> Ref:
    if not axes:
        return x
    places = emit.vector(axes)
    largest = emit.node("ReduceMax", [x, places], type, keepdims=0)
    if not type.is_float:
        return largest
    # ONNX Runtime's ReduceMax passes over NaN: max(1, NaN) = 1. The sum does not, but has NaNs of its own
    # (inf - inf), so the NaNs are looked for one by one.
    truth = type.with_dtype("bool")
    spoilt = emit.node("IsNaN", [x], x.type.with_dtype("bool"))
    spoilt = emit.node("ReduceMax", [spoilt, places], truth, keepdims=0)
    return choose(emit, type, spoilt, emit.constant(np.nan, type.dtype), largest)


def cast(emit: Emitter, type: TensorType, x: Ref, dtype: str) -> Ref:
    """The same numbers in another dtype."""
    if x.type.dtype == dtype:
        return x
    if x.constant is not None:
        return Ref(type, constant=Tensor(page("cast").evaluate(x.constant.array, dtype=dtype)))
    return emit.node("Cast", [x], type, to=ELEMENTS[dtype])


def _constant(emit: Emitter, type: TensorType, value: Tensor) -> Ref:
    return Ref(type, constant=value)


def _extent(emit: SizedEmitter, type: TensorType, size: Size, dtype: str) -> Ref:
    if isinstance(size, int):
        return emit.constant(size, dtype)
    number = emit.node("Reshape", [emit.size(size), emit.vector([])], TensorType("int64"), free=True)
    return cast(emit, type, number, dtype)


def _count(emit: SizedEmitter, type: TensorType, size: Size, dtype: str) -> Ref:
    if isinstance(size, int):
        return emit.constant(np.arange(size), dtype)
    end = _extent(emit, TensorType("int64"), size, "int64")
    numbers = emit.node(
        "Range",
        [emit.constant(0, "int64"), end, emit.constant(1, "int64")],
        type.with_dtype("int64"),
        free=True,
    )
    return cast(emit, type, numbers, dtype)


def _slice(emit: SizedEmitter, type: TensorType, x: Ref, axis: int, start: Size, stop: Size) -> Ref:
    return emit.node("Slice", [x, emit.size(start), emit.size(stop), emit.vector([axis])], type)


def _pad(emit: SizedEmitter, type: TensorType, x: Ref, axis: int, before: Size, after: Size) -> Ref:
    nothing = emit.constant(0, type.dtype)
    return emit.node("Pad", [x, emit.shape((before, after)), nothing, emit.vector([axis])], type)


def _concatenate(emit: Emitter, type: TensorType, *operands: Ref, axis: int) -> Ref:
    if len(operands) == 1:
        return operands[0]
    return emit.node("Concat", operands, type, axis=axis)


RULES: Mapping[str, Rule] = {
    "constant": _constant,
    "extent": _extent,
    "count": _count,
    "cast": cast,
    "select": _select,
    "relu": _relu,
    "soft_threshold": _soft_threshold,
    "matvec": _matvec,
    "transpose": _transpose,
    "reshape": reshape,
    "broadcast": _broadcast,
    "sum": _sum,
    "norm": _norm,
    "reduce_max": _reduce_max,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
}


def apply(
    emit: Emitter, name: str, type: TensorType, operands: Sequence[Ref], attributes: Mapping[str, Any]
) -> Ref | None:
    """The result of a plain operation by a rule or by its page's ONNX name; None: there is neither."""
    rule = RULES.get(name) or entries(FAMILIES, "RULES").get(name)
    if rule is not None:
        return rule(emit, type, *operands, **attributes)
    op_type = page(name).lowerings.get("onnx")
    if op_type is None:
        return None
    core = page(name).core
    entrywise = core is not None and not any(core)
    return emit.node(op_type, slim(operands, type) if entrywise else operands, type)
