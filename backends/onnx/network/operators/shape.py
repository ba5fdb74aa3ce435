"""Shapes: asking for them, changing them, and arrays made of them."""

from collections.abc import Mapping

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tensors import LARGEST, dtype_of
from banach.backends.onnx.network.tracing import (
    Thing,
    Trace,
    axis_of,
    fixed,
    is_real,
    is_truth,
    known,
    product,
    rank_of,
    shape_of,
    sizes_in,
    whole,
)
from banach.ir.dims import Dim, Size
from banach.ir.tensor_type import TypeMismatch, broadcast


def sizes(shape: tuple[Size, ...]) -> np.ndarray:
    """A shape as a vector: whole numbers, or objects where a size has a name."""
    if any(isinstance(size, Dim) for size in shape):
        found = np.empty(len(shape), object)
        found[:] = shape
        return found
    return np.asarray(shape, np.int64).reshape(len(shape))


def _shape(trace: Trace, node: Node, x: Thing) -> Thing:
    start, end = node.get("start", 0), node.attributes.get("end")
    return sizes(shape_of(x)[start:end])


def _size(trace: Trace, node: Node, x: Thing) -> Thing:
    return sizes((product(shape_of(x)),)).reshape(())


def _constant(trace: Trace, node: Node) -> Thing:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in node.attributes:
            value = node.attributes[name]
            dtype = np.float64 if "float" in name else np.int64
            return value if isinstance(value, np.ndarray) else np.asarray(value, dtype)
    raise Uncovered("it holds no array of numbers")


def _constant_of_shape(trace: Trace, node: Node, shape: Thing) -> Thing:
    value = node.attributes.get("value", np.zeros(1))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise Uncovered("its value is not one number")
    return trace.op("broadcast", value.reshape(()), shape=sizes_in(shape, "shape"))


def _range(trace: Trace, node: Node, start: Thing, limit: Thing, step: Thing) -> Thing:
    first, last, by = (known(part, "bound").reshape(()) for part in (start, limit, step))
    if any(part.dtype == object for part in (first, last, by)):
        (size,) = sizes_in(last, "bound")
        if (first.item(), by.item()) != (0, 1):
            raise Uncovered("it counts to a size that is known only at run time, and not from 0 by 1")
        return trace.build.op("count", size=size, dtype="int64", place=trace.place)
    if by == 0 or not np.isfinite([float(first), float(last), float(by)]).all():
        raise Uncovered("it does not end")
    if abs((float(last) - float(first)) / float(by)) > LARGEST:
        raise Uncovered(f"it has more than {LARGEST:,} entries")
    return np.arange(first.item(), last.item(), by.item(), dtype=first.dtype)


def _cast(trace: Trace, node: Node, x: Thing) -> Thing:
    """Every real has the precision of the spec."""
    return _converted(trace, x, dtype_of(node.get("to", 0)))


def _cast_like(trace: Trace, node: Node, x: Thing, like: Thing) -> Thing:
    return _converted(trace, x, "float" if is_real(like) else "bool" if is_truth(like) else "int64")


def _converted(trace: Trace, x: Thing, dtype: str) -> Thing:
    if dtype == "bool" and not is_truth(x):
        return trace.op("not", trace.op("equal", x, 0))  # every number but 0 is true
    return trace.cast(x, dtype)


def _reshape(trace: Trace, node: Node, x: Thing, shape: Thing) -> Thing:
    own, wanted = shape_of(x), list(sizes_in(shape, "shape"))
    if not node.get("allowzero", 0):
        for i, size in enumerate(wanted):
            if size == 0:
                if i >= len(own):
                    raise Uncovered(f"it copies size {i} of a tensor that has {len(own)}")
                wanted[i] = own[i]
    if wanted.count(-1) > 1:
        raise Uncovered("it leaves two sizes open")
    if -1 in wanted:
        rest = product([size for size in wanted if size != -1])
        if rest == 0:
            raise Uncovered("it leaves a size open beside one of 0")
        left = trace.build.contract.simplify(product(own) // rest)
        wanted[wanted.index(-1)] = left
    return trace.op("reshape", x, shape=tuple(wanted))


def _flatten(trace: Trace, node: Node, x: Thing) -> Thing:
    shape, axis = shape_of(x), node.get("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise Uncovered(f"there is no axis {axis}; the tensor has {len(shape)}")
    cut = axis if axis >= 0 else axis + len(shape)
    return trace.op("reshape", x, shape=(product(shape[:cut]), product(shape[cut:])))


def _transpose(trace: Trace, node: Node, x: Thing) -> Thing:
    rank = rank_of(x)
    order = node.numbers("perm") or tuple(reversed(range(rank)))
    if len(order) != rank:
        raise Uncovered(f"its order has {len(order)} axes, and the tensor {rank}")
    return trace.op("transpose", x, permutation=tuple(axis_of(axis, rank) for axis in order))


def _axes(node: Node, axes: Thing | None, rank: int) -> tuple[int, ...] | None:
    """Axes from the input or the attribute, counted from the front."""
    given = node.numbers("axes") if axes is None else whole(axes, "list of axes")
    return None if given is None else tuple(axis_of(axis, rank) + rank for axis in given)


def _unsqueeze(trace: Trace, node: Node, x: Thing, axes: Thing | None = None) -> Thing:
    count = len((node.numbers("axes") if axes is None else whole(axes, "list of axes")) or ())
    places = _axes(node, axes, rank_of(x) + count) or ()
    if len(set(places)) != count:
        raise Uncovered("it names an axis twice")
    shape = list(shape_of(x))
    for place in sorted(places):
        shape.insert(place, 1)
    return trace.op("reshape", x, shape=tuple(shape))


def _squeeze(trace: Trace, node: Node, x: Thing, axes: Thing | None = None) -> Thing:
    shape = shape_of(x)
    places = _axes(node, axes, len(shape))
    if places is None:
        places = tuple(i for i, size in enumerate(shape) if size == 1)
    if any(shape[i] != 1 for i in places):
        raise Uncovered(f"it drops an axis that is not 1, of [{', '.join(map(str, shape))}]")
    return trace.op("reshape", x, shape=tuple(size for i, size in enumerate(shape) if i not in places))


def _expand(trace: Trace, node: Node, x: Thing, shape: Thing) -> Thing:
    try:
        common = broadcast(shape_of(x), sizes_in(shape, "shape"))
    except TypeMismatch as mismatch:
        raise Uncovered(str(mismatch)) from None
    return x if common == shape_of(x) else trace.op("broadcast", x, shape=common)


def _tile(trace: Trace, node: Node, x: Thing, repeats: Thing) -> Thing:
    """Copies beside each other: stretched along a new axis before each, and joined."""
    counts, shape = whole(repeats, "repeats"), shape_of(x)
    if len(counts) != len(shape) or any(count < 0 for count in counts):
        raise Uncovered(f"it repeats {len(counts)} axes, and the tensor has {len(shape)}")
    apart = tuple(size for n in shape for size in (1, n))
    spread = tuple(size for n, count in zip(shape, counts) for size in (count, n))
    copied = trace.op("broadcast", trace.op("reshape", x, shape=apart), shape=spread)
    return trace.op("reshape", copied, shape=tuple(n * count for n, count in zip(shape, counts)))


def _depth_to_space(trace: Trace, node: Node, x: Thing) -> Thing:
    b, shape = node.get("blocksize", 1), shape_of(x)
    if len(shape) != 4 or b < 1:
        raise Uncovered("it needs four axes, and blocks of 1 or more")
    n, c, h, w = shape
    depth = c // (b * b)
    if node.get("mode", "DCR") == "DCR":
        parts, order = (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2)
    else:
        node.only(mode="CRD")
        parts, order = (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3)
    turned = trace.op(
        "transpose", trace.op("reshape", x, shape=parts), permutation=tuple(axis - 6 for axis in order)
    )
    return trace.op("reshape", turned, shape=(n, depth, h * b, w * b))


def _space_to_depth(trace: Trace, node: Node, x: Thing) -> Thing:
    b, shape = node.get("blocksize", 1), shape_of(x)
    if len(shape) != 4 or b < 1:
        raise Uncovered("it needs four axes, and blocks of 1 or more")
    n, c, h, w = shape
    apart = trace.op("reshape", x, shape=(n, c, h // b, b, w // b, b))
    turned = trace.op("transpose", apart, permutation=(-6, -3, -1, -5, -4, -2))
    return trace.op("reshape", turned, shape=(n, c * b * b, h // b, w // b))


def _triangle(trace: Trace, node: Node, x: Thing, k: Thing | None = None) -> Thing:
    """The entries on one side of a diagonal, and zeros on the other."""
    (shift,) = (0,) if k is None else whole(k, "diagonal")
    rows, columns = fixed(shape_of(x)[-2:])
    kept = (
        np.tri(rows, columns, shift, bool)
        if not node.get("upper", 1)
        else ~np.tri(rows, columns, shift - 1, bool)
    )
    return trace.op("mask", x, kept)


RULES: Mapping[str, Rule] = {
    "Cast": _cast,
    "CastLike": _cast_like,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "SpaceToDepth": _space_to_depth,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
