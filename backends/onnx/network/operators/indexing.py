"""Parts of tensors, tensors beside each other, and what stands around them."""

from collections.abc import Mapping

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import (
    Thing,
    Trace,
    axis_of,
    fixed,
    rank_of,
    shape_of,
    sizes_in,
    whole,
)
from banach.ir.dims import Size


def cut(trace: Trace, x: Thing, axis: int, start: Size, stop: Size) -> Thing:
    """The entries from start to stop along an axis, which is counted from the end."""
    if (start, stop) == (0, shape_of(x)[axis]):
        return x
    return trace.op("slice", x, axis=axis, start=start, stop=stop)


def joined(trace: Trace, parts: list[Thing], axis: int) -> Thing:
    """Tensors beside each other."""
    return parts[0] if len(parts) == 1 else trace.op("concatenate", *parts, axis=axis)


def _concat(trace: Trace, node: Node, *parts: Thing) -> Thing:
    return joined(trace, list(parts), axis_of(node.get("axis", 0), rank_of(parts[0])))


def _slice(
    trace: Trace,
    node: Node,
    x: Thing,
    starts: Thing,
    ends: Thing,
    axes: Thing | None = None,
    steps: Thing | None = None,
) -> Thing:
    first, last, rank = sizes_in(starts, "starts"), sizes_in(ends, "ends"), rank_of(x)
    places = tuple(range(len(first))) if axes is None else whole(axes, "list of axes")
    by = (1,) * len(first) if steps is None else whole(steps, "steps")
    if not len(first) == len(last) == len(places) == len(by):
        raise Uncovered("its starts, ends, axes and steps are not equally many")
    for axis, start, stop, step in zip(places, first, last, by):
        x = _sliced(trace, x, axis_of(axis, rank), start, stop, step)
    return x


def _sliced(trace: Trace, x: Thing, axis: int, start: Size, stop: Size, step: int) -> Thing:
    size = shape_of(x)[axis]
    if step == 0:
        raise Uncovered("its step is 0")
    if not all(isinstance(part, int) for part in (size, start, stop)):
        begin, end = _open_bounds(trace, size, start, stop, step)
        y = cut(trace, x, axis, begin, end)
        return y if step == 1 else trace.op("stride", y, axis=axis, step=step)
    begin, end, by = slice(start, stop, step).indices(size)  # type: ignore[arg-type]
    count = len(range(begin, end, by))
    if count == 0:
        return cut(trace, x, axis, 0, 0)
    if by < 0:  # the same places, taken from the other end
        x, begin = trace.op("flip", x, axis=axis), size - 1 - begin  # type: ignore[operator]
    y = cut(trace, x, axis, begin, begin + (count - 1) * abs(by) + 1)
    return y if abs(by) == 1 else trace.op("stride", y, axis=axis, step=abs(by))


def _open_bounds(trace: Trace, size: Size, start: Size, stop: Size, step: int) -> tuple[Size, Size]:
    """Bounds in an axis whose size is known only at run time, if they are sure to lie in it."""
    holds = trace.build.contract.holds
    ends = []
    for end in (start, stop):
        if holds(end, "<", 0):
            end = size + end
        if holds(end, ">=", size):
            end = size
        if not (holds(end, ">=", 0) and holds(end, "<=", size)):
            raise Uncovered(f"whether {end} lies in an axis of {size} is known only when the model runs")
        ends.append(end)
    if step < 0 or not holds(ends[0], "<=", ends[1]):
        raise Uncovered(f"it cuts an axis of {size} backwards")
    return ends[0], ends[1]


def _split(trace: Trace, node: Node, x: Thing, sizes: Thing | None = None) -> tuple[Thing, ...]:
    axis = axis_of(node.get("axis", 0), rank_of(x))
    own = shape_of(x)[axis]
    given = node.numbers("split") if sizes is None else whole(sizes, "split")
    if given is None:
        (total,) = fixed((own,), "axis")
        count = node.get("num_outputs", len(node.outputs))
        if not 1 <= count <= max(total, 1):
            raise Uncovered(f"an axis of {total} does not make {count} parts")
        each = -(-total // count)
        given = tuple(min(each, total - i * each) for i in range(count))
    parts, start = [], 0
    if any(size < 0 for size in given) or (isinstance(own, int) and sum(given) != own):
        raise Uncovered(f"the parts {list(given)} do not make an axis of {own}")
    for size in given:
        parts.append(cut(trace, x, axis, start, start + size))
        start += size
    return tuple(parts)


def _gather(trace: Trace, node: Node, x: Thing, index: Thing) -> Thing:
    rank = rank_of(x)
    axis = axis_of(node.get("axis", 0), rank)
    size, shape = shape_of(x)[axis], shape_of(x)
    if not isinstance(index, np.ndarray):
        return trace.op("take", x, trace.op("modulo", index, _number(size)), axis=axis)
    if isinstance(x, np.ndarray) and x.dtype == object:
        return x[np.asarray(whole(index.reshape(-1), "index"), np.int64)].reshape(index.shape)  # a shape
    places = [_place(trace, place, size) for place in sizes_in(index.reshape(-1), "index")]
    if len(places) == 1:  # a slice has a gain, and no index
        part = cut(trace, x, axis, places[0], places[0] + 1)
        kept = (*shape[: rank + axis], *index.shape, *shape[rank + axis + 1 :])
        return trace.op("reshape", part, shape=kept)
    if not all(isinstance(place, int) for place in places):
        raise Uncovered("it picks several entries at places that are known only when the model runs")
    return trace.op("take", x, np.asarray(places, np.int64).reshape(index.shape), axis=axis)


def _place(trace: Trace, place: Size, size: Size) -> Size:
    """A place in an axis, counted from the front."""
    holds = trace.build.contract.holds
    if holds(place, "<", 0):
        place = size + place
    if not (holds(place, ">=", 0) and holds(place, "<", size)):
        raise Uncovered(f"it picks place {place} of {size}")
    return place


def _number(size: Size) -> int:
    return fixed((size,), "axis")[0]


def _gather_elements(trace: Trace, node: Node, x: Thing, index: Thing) -> Thing:
    axis = axis_of(node.get("axis", 0), rank_of(x))
    size = _number(shape_of(x)[axis])
    along = [own for i, own in enumerate(shape_of(x)) if i - rank_of(x) != axis]
    if along != [own for i, own in enumerate(shape_of(index)) if i - rank_of(index) != axis]:
        raise Uncovered("its index does not reach over the whole of the other axes")
    return trace.op("take_along", x, trace.op("modulo", index, size), axis=axis)


def _pad(
    trace: Trace, node: Node, x: Thing, pads: Thing, value: Thing | None = None, axes: Thing | None = None
) -> Thing:
    rank, amounts = rank_of(x), whole(pads, "pads")
    places = tuple(range(rank)) if axes is None else whole(axes, "list of axes")
    if len(amounts) != 2 * len(places):
        raise Uncovered(f"it has {len(amounts)} pads for {len(places)} axes")
    mode = node.get("mode", "constant")
    filler = 0.0 if value is None else value
    zero = isinstance(filler, float) or (isinstance(filler, np.ndarray) and not np.any(filler))
    if mode == "constant" and not zero and any(amount > 0 for amount in amounts):
        x = trace.op("subtract", x, trace.op("reshape", filler, shape=()))
    for axis, before, after in zip(places, amounts, amounts[len(places) :]):
        x = around(trace, x, axis_of(axis, rank), before, after, mode)
    if mode == "constant" and not zero and any(amount > 0 for amount in amounts):
        x = trace.op("add", x, trace.op("reshape", filler, shape=()))
    return x


def around(trace: Trace, x: Thing, axis: int, before: int, after: int, mode: str) -> Thing:
    """More entries at both ends of an axis; negative amounts take some away."""
    size = shape_of(x)[axis]
    x = cut(trace, x, axis, max(-before, 0), size - max(-after, 0))
    before, after = max(before, 0), max(after, 0)
    if not before and not after:
        return x
    if mode == "edge":
        shape, ends = list(shape_of(x)), [cut(trace, x, axis, i, i + 1) for i in (0, shape_of(x)[axis] - 1)]
        parts = [x]
        for place, (count, end) in enumerate(zip((before, after), ends)):
            shape[axis] = count
            parts.insert(2 * place, trace.op("broadcast", end, shape=tuple(shape)))
        return joined(trace, parts, axis)
    primitive = {"constant": "pad", "reflect": "reflect_pad", "wrap": "wrap_pad"}.get(mode)
    if primitive is None:
        raise Uncovered(f"its mode is `{mode}`")
    return trace.op(primitive, x, axis=axis, before=before, after=after)


RULES: Mapping[str, Rule] = {
    "Concat": _concat,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
}
