"""Sums, means and extremes along axes, and places of extremes."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import (
    Thing,
    Trace,
    axis_of,
    fixed,
    product,
    rank_of,
    shape_of,
    whole,
)
from banach.ir.dims import Size

Axes = tuple[int, ...]


def count_of(trace: Trace, sizes: tuple[Size, ...], dtype: str = "float") -> Thing:
    """How many entries axes of these sizes have together, as a number."""
    return trace.cast(np.asarray(product(sizes)), dtype)


def _sum(trace: Trace, x: Thing, axes: Axes) -> Thing:
    return trace.op("sum", x, axes=axes)


def mean(trace: Trace, x: Thing, axes: Axes) -> Thing:
    """The mean along axes, which are dropped."""
    count = count_of(trace, tuple(shape_of(x)[axis] for axis in axes))
    return trace.op("divide", _sum(trace, x, axes), count)


def _l1(trace: Trace, x: Thing, axes: Axes) -> Thing:
    return _sum(trace, trace.op("abs", x), axes)


def _sum_square(trace: Trace, x: Thing, axes: Axes) -> Thing:
    return _sum(trace, trace.op("square", x), axes)


def _log_sum(trace: Trace, x: Thing, axes: Axes) -> Thing:
    return trace.op("log", _sum(trace, x, axes))


def _log_sum_exp(trace: Trace, x: Thing, axes: Axes) -> Thing:
    """Along the last axis, into which the axes are put."""
    rank, shape = rank_of(x), shape_of(x)
    kept = [axis for axis in range(-rank, 0) if axis not in axes]
    turned = trace.op("transpose", x, permutation=(*kept, *axes)) if rank else x
    flat = (*(shape[axis] for axis in kept), product([shape[axis] for axis in axes]))
    return trace.op("log_sum_exp", trace.op("reshape", turned, shape=flat))


def _direct(primitive: str) -> Callable[[Trace, Thing, Axes], Thing]:
    return lambda trace, x, axes: trace.op(primitive, x, axes=axes)


def _reduced(
    make: Callable[[Trace, Thing, Axes], Thing], trace: Trace, node: Node, x: Thing, axes: Thing | None = None
) -> Thing:
    """Axes are an attribute in older operators, an input in newer ones."""
    rank = rank_of(x)
    given = node.numbers("axes") if axes is None else whole(axes, "list of axes")
    if not given:
        if node.get("noop_with_empty_axes", 0):
            raise Uncovered("it reduces nothing (`noop_with_empty_axes`)")
        given = tuple(range(rank))
    chosen = tuple(sorted({axis_of(axis, rank) for axis in given}))
    if any(shape_of(x)[axis] == 0 for axis in chosen):
        raise Uncovered("it reduces an axis without entries")
    y = make(trace, x, chosen)
    if not node.get("keepdims", 1):
        return y
    kept = tuple(1 if i - rank in chosen else size for i, size in enumerate(shape_of(x)))
    return trace.op("reshape", y, shape=kept)


def _place(primitive: str, trace: Trace, node: Node, x: Thing) -> Thing:
    node.only(select_last_index=0)
    rank, shape = rank_of(x), shape_of(x)
    axis = axis_of(node.get("axis", 0), rank)
    y = trace.op(primitive, x, axis=axis)
    if not node.get("keepdims", 1):
        return y
    return trace.op("reshape", y, shape=tuple(1 if i - rank == axis else n for i, n in enumerate(shape)))


def _top(trace: Trace, node: Node, x: Thing, count: Thing) -> tuple[Thing, Thing]:
    (size,), axis = whole(count, "count"), axis_of(node.get("axis", -1), rank_of(x))
    if node.get("largest", 1):
        return trace.op("top", x, axis=axis, size=size), trace.op("arg_top", x, axis=axis, size=size)
    low = trace.op("negate", x)
    values = trace.op("negate", trace.op("top", low, axis=axis, size=size))
    return values, trace.op("arg_top", low, axis=axis, size=size)


def _cumsum(trace: Trace, node: Node, x: Thing, axis: Thing) -> Thing:
    (place,) = whole(axis, "axis")
    flags = {name: bool(node.get(name, 0)) for name in ("exclusive", "reverse")}
    return trace.op("cumsum", x, axis=axis_of(place, rank_of(x)), **flags)


def _global(make: Callable[[Trace, Thing, Axes], Thing], trace: Trace, node: Node, x: Thing) -> Thing:
    """Over all places of a signal: every axis behind those of samples and channels becomes 1."""
    space = rank_of(x) - 2
    if space < 1:
        raise Uncovered("it needs axes of samples, of channels and of places")
    y = make(trace, x, tuple(range(-space, 0)))
    return trace.op("reshape", y, shape=(*shape_of(x)[:2], *[1] * space))


def _one_hot(trace: Trace, node: Node, index: Thing, depth: Thing, values: Thing) -> Thing:
    (size,) = whole(trace.cast(depth, "int64"), "depth")
    rank = rank_of(index) + 1
    axis = axis_of(node.get("axis", -1), rank)
    wrapped = trace.op("modulo", index, size)  # negative places count from the end
    inside = trace.op("and", trace.op("less", -size - 1, index), trace.op("less", index, size))
    hit = trace.op("one_hot", wrapped, size=size, dtype="bool")
    column = trace.op("reshape", inside, shape=(*shape_of(index), 1))
    hit = trace.op("and", hit, column)
    if axis != -1:
        order = list(range(-rank, -1))
        order.insert(axis + rank, -1)
        hit = trace.op("transpose", hit, permutation=tuple(order))
    off, on = (trace.op("reshape", part, shape=()) for part in _two(trace, values))
    return trace.op("select", hit, on, off)


def _two(trace: Trace, pair: Thing) -> tuple[Thing, Thing]:
    if fixed(shape_of(pair)) != (2,):
        raise Uncovered("its values are not two numbers")
    first, second = (trace.op("slice", pair, axis=-1, start=i, stop=i + 1) for i in range(2))
    return first, second


_MAKERS: Mapping[str, Callable[[Trace, Thing, Axes], Thing]] = {
    "ReduceL1": _l1,
    "ReduceL2": _direct("norm"),
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _direct("reduce_max"),
    "ReduceMean": mean,
    "ReduceMin": _direct("reduce_min"),
    "ReduceProd": _direct("prod"),
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}
RULES: Mapping[str, Rule] = {name: partial(_reduced, make) for name, make in _MAKERS.items()} | {
    "ArgMax": partial(_place, "argmax"),
    "ArgMin": partial(_place, "argmin"),
    "CumSum": _cumsum,
    "GlobalAveragePool": partial(_global, mean),
    "GlobalMaxPool": partial(_global, _direct("reduce_max")),
    "OneHot": _one_hot,
    "TopK": _top,
}
