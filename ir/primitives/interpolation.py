"""Values between the entries of a table."""

from collections.abc import Iterable, Sequence
from typing import final

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
    copies,
    draw,
    unbroadcast,
)
from banach.ir.tensor_type import FLOATS, TensorType, TypeMismatch, broadcast, same_dtype


@final
class Interpolate(Primitive):
    """The piecewise linear function through a table's entries at 0, 1, .., n - 1, constant beyond its ends.

    Maths    y_j = (1 - f)·v_i + f·v_(i+1) with i + f = min(max(p_j, 0), n - 1), i whole, 0 <= f <= 1
    Types    v: [*s, n] with n >= 1, p: [*t, m] -> y: [*s|t, m], broadcast
    Reverse  R(v, p, dy) = ((1 - f)·dy added up at i and f·dy at i + 1, (v_(i+1) - v_i)·dy); at an entry the
             slope is that of the piece after it, at the last and beyond the ends 0
    Facts    linear in v, gain at most √m; gain in p at most sup v - inf v; its range is v's
    Source   textbook
    """

    core = (1, 1)
    linear_in = ((0,),)

    def types(self, operands: Types, regions: Regions) -> Types:
        table, places = operands
        rows = table.rank and places.rank and table.shape[-1] != 0
        if not rows or same_dtype(operands) not in FLOATS:
            raise TypeMismatch(f"{table} is no table for the places {places}")
        shape = broadcast(table.shape[:-1], places.shape[:-1])
        return (TensorType(table.dtype, (*shape, places.shape[-1]), table.space),)

    def evaluate(self, table: np.ndarray, places: np.ndarray) -> np.ndarray:
        last = table.shape[-1] - 1
        shape = (*np.broadcast_shapes(table.shape[:-1], places.shape[:-1]), places.shape[-1])
        table = np.broadcast_to(table, (*shape[:-1], last + 1))
        place = np.broadcast_to(np.clip(places, 0, last), shape)
        first = np.minimum(np.nan_to_num(np.floor(place)).astype(np.int64), max(last - 1, 0))
        left, right = (np.take_along_axis(table, np.minimum(first + i, last), -1) for i in (0, 1))
        return (left + (place - first.astype(place.dtype)) * (right - left)).astype(table.dtype)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (table, places), (dy,) = operands, cotangents
        first, second, part = _whole_and_part(table, places)
        slope = _at(table, second, dy.type) - _at(table, first, dy.type)
        # Beyond the ends the function is constant.
        last = build.op("extent", size=table.type.shape[-1] - 1, dtype=places.type.dtype)
        inside = build.op(
            "and",
            build.op("less_equal", build.scalar(0, places.type.dtype), places),
            build.op("less", places, last),
        )
        dplaces = unbroadcast(build.op("mask", slope * dy, inside), places.type)
        near = part * dy
        return _added(table.type, first, dy - near) + _added(table.type, second, near), dplaces

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        table, places = operands
        if index == 1:
            width = table.range - table.range
            rows = [Known(known.type.with_shape(known.type.shape[:-1])) for known in operands]
            return Interval.between(0, (copies(rows, 1) * Interval.between(0, width.hi)).hi)
        # Rows of the matrix sum up to 1, so its squared norm is at most the number of places.
        total: Size = 1
        shape = broadcast(table.type.shape[:-1], places.type.shape[:-1])
        padded = (1,) * (len(shape) - table.type.rank + 1) + table.type.shape[:-1]
        for size, own in zip(shape, padded):
            total = total * (1 if size == own else size)
        total = total * places.type.shape[-1]
        return Interval.between(0, Interval.of(total).sqrt().hi) if isinstance(total, int) else NONNEGATIVE

    def decompose(self, build: Builder, table: Value, places: Value) -> Value:
        """Both neighbours, and the part of the way between them."""
        (type,) = self.types((table.type, places.type), ())
        first, second, part = _whole_and_part(table, places)
        left = _at(table, first, type)
        return left + part * (_at(table, second, type) - left)

    def samples(self) -> Iterable[Sample]:
        (table,) = draw((2, 4))
        places = np.array([0.3, 2.6, -0.7, 1.4, 3.2])
        yield Sample((table[0], places))
        yield Sample((table, np.stack([places, 2.35 - places])))
        yield Sample((table, places))


def _whole_and_part(table: Value, places: Value) -> tuple[Value, Value, Value]:
    """The entries before and after every place, and the part of the way. NaN is between the first two."""
    build, dtype = table.builder, places.type.dtype
    size, zero = table.type.shape[-1], build.scalar(0, "int64")
    last = build.op("extent", size=size - 1, dtype="int64")
    end, start = build.op("cast", last, dtype=dtype), build.scalar(0, dtype)
    place = build.op("minimum", build.op("maximum", places, start), end)
    # A cast cuts towards zero, which is down here; what a NaN becomes is any number.
    before_last = build.op("maximum", last + build.scalar(-1, "int64"), zero)
    whole = build.op("minimum", build.op("cast", place, dtype="int64"), before_last)
    first = build.op("maximum", whole, zero)
    second = build.op("minimum", first + build.scalar(1, "int64"), last)
    return first, second, place - build.op("cast", first, dtype=dtype)


def _at(table: Value, index: Value, type: TensorType) -> Value:
    """The entries of every row at its places."""
    build = table.builder
    if table.type.rank == 1:
        return build.op("take", table, index, axis=-1)
    return build.op("take_along", *_rows(table, index, type.shape[:-1]), axis=-1)


def _rows(table: Value, index: Value, shape: tuple[Size, ...]) -> list[Value]:
    return [v.builder.op("broadcast", v, shape=(*shape, v.type.shape[-1])) for v in (table, index)]


def _added(table: TensorType, index: Value, part: Value) -> Value:
    """What arrives, added up in a table: the adjoint of `_at`."""
    build, size = part.builder, table.shape[-1]
    if table.rank == 1:
        return build.op("scatter_add", part, index, axis=-1, size=size)
    wide = build.op("broadcast", index, shape=part.type.shape)
    return unbroadcast(build.op("scatter_along", part, wide, axis=-1, size=size), table)
