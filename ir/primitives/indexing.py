"""Entries at places that are known when the program runs, along one axis. Axes are counted from the end.

Places lie in 0..n-1 for an axis of n; a negative one is a fault, and the oracle says so.
"""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
    NONNEGATIVE,
    Cotangents,
    Known,
    Primitive,
    Regions,
    Sample,
    Types,
    Values,
    draw,
)
from banach.ir.primitives.shape import axis_size
from banach.ir.tensor_type import INTEGERS, TensorType, TypeMismatch, same_dtype


@final
class Take(Primitive):
    """Entries at given places along one axis, repeats allowed.

    Maths    y[.., i, ..] = x[.., index_i, ..]
    Types    x: [*p, n, *q], index: int[*i] with values in 0..n-1 -> y: [*p, *i, *q]
    Reverse  R(x, index, dy) = (dy added up at its places, -)
    Facts    linear in x; its range is x's
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        x, index = operands
        axis_size(x, axis)
        check_places(index)
        cut = x.rank + axis
        return (x.with_shape((*x.shape[:cut], *index.shape, *x.shape[cut + 1 :])),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int) -> np.ndarray:
        return np.take(x, within(index, x.shape[axis]), axis=axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        x, index = operands
        size = x.type.shape[axis]
        return build.op("scatter_add", cotangents[0], index, axis=axis, size=size), None

    def range(self, operands: Sequence[Known], *, axis: int) -> Interval:
        return operands[0].range

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int) -> Value:
        x, index = operands
        if not lanes[1]:
            return build.op("take", x, index, axis=axis)
        if not lanes[0]:
            return move(build.op("take", x, index, axis=axis), x.type.rank + axis, 1, 0)
        # One long axis of the lanes' axes, one after the other.
        places = _flat_places(index, x.type.shape[axis])
        y = build.op("take", flat := _flat(x, axis), places, axis=-flat.type.rank)
        return move(y, 1, index.type.rank - 1, x.type.rank + axis)

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 4))
        yield Sample((x, np.array([3, 1, 1])), {"axis": -1})
        yield Sample((x, np.array([[0, 1], [1, 1]])), {"axis": -2})


@final
class ScatterAdd(Primitive):
    """Entries added up at given places along one axis of a zero array: the adjoint of `take`.

    Maths    y[.., j, ..] = Σ x[.., i, ..] over the i with index_i = j
    Types    x: [*p, *i, *q], index: int[*i] with values in 0..size-1 -> y: [*p, size, *q]
    Reverse  R(x, index, dy) = (dy at the places, -)
    Facts    linear in x; gain at most √m for m places
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, axis: int, size: Size) -> Types:
        x, index = operands
        check_numbers(x)
        cut, after = _cut(x, index, axis)
        return (x.with_shape((*x.shape[:cut], size, *x.shape[x.rank - after :])),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int, size: int) -> np.ndarray:
        flat = _one_axis(x, index, axis)
        base = np.zeros(flat.shape[:axis] + (size,) + flat.shape[flat.ndim + axis + 1 :], x.dtype)
        return _scatter(np.add, base, index, x, axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int, size: Size
    ) -> Cotangents:
        return build.op("take", cotangents[0], operands[1], axis=axis), None

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return _crowd(operands[1].type)

    def vectorise(
        self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int, size: Size
    ) -> Value:
        x, index = operands
        if not lanes[1]:
            return build.op("scatter_add", x, index, axis=axis, size=size)
        x, index = spread(operands, lanes)
        moved, places = _places_first(x, index, axis), _flat_places(index, size)
        rank, lane = moved.type.rank - index.type.rank + 1, index.type.shape[0]
        flat = build.op("scatter_add", moved, places, axis=-rank, size=lane * size)
        return _unflat(flat, lane, size, axis)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 3), (2, 2, 4))
        yield Sample((x, np.array([3, 1, 1])), {"axis": -1, "size": 4})
        yield Sample((y, np.array([[0, 1], [1, 1]])), {"axis": -2, "size": 2})


class _IntoBase(Primitive):
    """Entries brought to given places of another array."""

    core = None

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        base, index, x = operands
        axis_size(base, axis)
        _, after = _cut(x, index, axis)
        wanted = (*base.shape[: base.rank + axis], *index.shape, *base.shape[base.rank - after :])
        if x.shape != wanted:
            raise TypeMismatch(f"{x} does not fill {index} places of {base} along axis {axis}")
        return (base.with_dtype(same_dtype((base, x))),)

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int) -> Value:
        kept = operands[1]
        base, index, x = spread(operands, lanes)
        if not lanes[1]:
            return build.op(self.name, base, kept, x, axis=axis)
        moved, places = _places_first(x, index, axis), _flat_places(index, base.type.shape[axis])
        y = build.op(self.name, flat := _flat(base, axis), places, moved, axis=-flat.type.rank)
        return _unflat(y, index.type.shape[0], base.type.shape[axis], axis)

    def samples(self) -> Iterable[Sample]:
        base, x, y = draw((2, 4), (2, 3), (2, 2, 4))
        yield Sample((base, np.array([3, 0, 1]), x), {"axis": -1})
        yield Sample((np.concatenate([base, base + 1.5]), np.array([[0, 3], [1, 2]]), y), {"axis": -2})


@final
class ScatterSet(_IntoBase):
    """An array with some entries along one axis replaced.

    Maths    y[.., index_i, ..] = x[.., i, ..], and base elsewhere
    Types    base: [*p, n, *q], index: int[*i], distinct in 0..n-1, x: [*p, *i, *q] -> y: [*p, n, *q]
    Reverse  R(base, index, x, dy) = (dy with zeros at the places, -, dy at the places)
    Facts    linear in base and x together; nonexpansive in base, an isometry in x; in the hull of both ranges
    Source   textbook
    """

    linear = True

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        index = operands[1]
        (found,) = super().types(operands, regions, axis=axis)
        places, size = _entries(index), found.shape[axis]
        if isinstance(places, int) and isinstance(size, int) and places > size:
            raise TypeMismatch(f"{places} places in an axis of {size} are not distinct")
        return (found,)

    def evaluate(self, base: np.ndarray, index: np.ndarray, x: np.ndarray, *, axis: int) -> np.ndarray:
        if np.unique(index).size != index.size:
            raise IndexError(f"the places {index.tolist()} are not distinct")
        y = np.array(base)
        y[(..., within(index, base.shape[axis]).reshape(-1)) + (slice(None),) * (-1 - axis)] = _one_axis(
            x, index, axis
        )
        return y

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        (_, index, x), (dy,) = operands, cotangents
        kept = build.op("scatter_set", dy, index, build.zeros(x.type), axis=axis)
        return kept, None, build.op("take", dy, index, axis=axis)

    def range(self, operands: Sequence[Known], *, axis: int) -> Interval:
        return operands[0].range.hull(operands[2].range)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1) if index == 0 else Interval.of(1)


@final
class ScatterMax(_IntoBase):
    """An array with entries raised to what arrives at their places, repeats allowed.

    Maths    y[.., j, ..] = max(base[.., j, ..], x[.., i, ..] for the i with index_i = j)
    Types    base: [*p, n, *q], index: int[*i] with values in 0..n-1, x: [*p, *i, *q] -> y: [*p, n, *q]
    Reverse  R(base, index, x, dy) = dy shared equally among the entries that attain the maximum
    Facts    nonexpansive in base and in x; convex; at least base, at most the larger of the two suprema
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        check_numbers(operands[0])
        return super().types(operands, regions, axis=axis)

    def evaluate(self, base: np.ndarray, index: np.ndarray, x: np.ndarray, *, axis: int) -> np.ndarray:
        return _scatter(np.maximum, np.array(base), index, x, axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        (base, index, x), (y,), (dy,) = operands, results, cotangents
        dtype = base.type.dtype
        first = build.op("cast", build.op("equal", base, y), dtype=dtype)
        others = build.op("cast", build.op("equal", x, build.op("take", y, index, axis=axis)), dtype=dtype)
        size = base.type.shape[axis]
        share = dy / (first + build.op("scatter_add", others, index, axis=axis, size=size))
        return first * share, None, others * build.op("take", share, index, axis=axis)

    def range(self, operands: Sequence[Known], *, axis: int) -> Interval:
        base, _, x = (known.range for known in operands)
        return Interval(base.lo, max(base.hi, x.hi))

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1)

    def samples(self) -> Iterable[Sample]:
        yield from super().samples()
        base, x = draw((2, 4), (2, 3), seed=1)
        yield Sample((base, np.array([3, 1, 1]), x), {"axis": -1})


# --- what the pages share -----------------------------------------------------------------------------------


def check_places(index: TensorType) -> None:
    """TypeMismatch: places are integers."""
    if index.dtype not in INTEGERS:
        raise TypeMismatch(f"places are integers, not {index}")


def check_numbers(type: TensorType) -> None:
    """TypeMismatch: truth values are neither added nor ordered."""
    if type.dtype == "bool":
        raise TypeMismatch(f"takes numbers; the truth values of {type} are neither added nor ordered")


def within(index: np.ndarray, size: int) -> np.ndarray:
    """The places. IndexError: one lies outside the axis."""
    if index.size and not (index.min() >= 0 and index.max() < size):
        raise IndexError(f"the places {index.tolist()} do not lie in 0..{size - 1}")
    return index


def spread(values: Values, lanes: Sequence[bool]) -> list[Value]:
    """Every value with an axis of lanes in front."""
    lane = next(v.type.shape[0] for v, has in zip(values, lanes) if has)
    return [
        v if has else v.builder.op("broadcast", v, shape=(lane, *v.type.shape))
        for v, has in zip(values, lanes)
    ]


def move(value: Value, first: int, count: int, to: int) -> Value:
    """`count` axes from number `first` on, moved so that they start at number `to` of the result."""
    rank = value.type.rank
    order = [axis for axis in range(rank) if not first <= axis < first + count]
    order[to:to] = range(first, first + count)
    if order == list(range(rank)):
        return value
    return value.builder.op("transpose", value, permutation=tuple(axis - rank for axis in order))


def _cut(x: TensorType, index: TensorType, axis: int) -> tuple[int, int]:
    """Where in x the axes of places begin, and how many axes follow them."""
    check_places(index)
    after = -1 - axis
    cut = x.rank - after - index.rank
    if after < 0 or cut < 0 or x.shape[cut : x.rank - after] != index.shape:
        raise TypeMismatch(f"{x} has no axes {index} in front of its last {after}")
    return cut, after


def _entries(type: TensorType) -> Size:
    total: Size = 1
    for size in type.shape:
        total = total * size
    return total


def _crowd(index: TensorType) -> Interval:
    """Adding m entries up in one place has the gain √m, and no places can be more crowded."""
    places = _entries(index)
    return Interval.between(0, Interval.of(places).sqrt().hi) if isinstance(places, int) else NONNEGATIVE


def _one_axis(x: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """The axes of places of x as one."""
    after = -1 - axis
    return x.reshape(*x.shape[: x.ndim - after - index.ndim], index.size, *x.shape[x.ndim - after :])


def _scatter(function: np.ufunc, base: np.ndarray, index: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    places: Any = (..., within(index, base.shape[axis]).reshape(-1), *(slice(None),) * (-1 - axis))
    function.at(base, places, _one_axis(x, index, axis))
    return base


def _flat(x: Value, axis: int) -> Value:
    """[lane, *p, n, *q] as [lane·n, *p, *q]."""
    moved = move(x, x.type.rank + axis, 1, 1)
    lane, size, *rest = moved.type.shape
    return x.builder.op("reshape", moved, shape=(lane * size, *rest))


def _unflat(y: Value, lane: Size, size: Size, axis: int) -> Value:
    """[lane·n, *p, *q] as [lane, *p, n, *q], with n at the axis."""
    apart = y.builder.op("reshape", y, shape=(lane, size, *y.type.shape[1:]))
    return move(apart, 1, 1, apart.type.rank + axis)


def _flat_places(index: Value, size: Size) -> Value:
    """Places in an axis of n, lane by lane, as places in an axis of lane·n."""
    build, lane = index.builder, index.type.shape[0]
    starts = build.op("count", size=lane, dtype="int64") * build.op("extent", size=size, dtype="int64")
    column = build.op("reshape", starts, shape=(lane, *[1] * (index.type.rank - 1)))
    return build.op("cast", index, dtype="int64") + column


def _places_first(x: Value, index: Value, axis: int) -> Value:
    """[lane, *p, *i, *q] as [lane, *i, *p, *q]."""
    places = index.type.rank - 1
    return move(x, x.type.rank - (-1 - axis) - places, places, 1)
