"""Entries at places of their own in every row along one axis. Axes are counted from the end."""

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
from banach.ir.primitives.indexing import check_numbers, check_places, spread, within
from banach.ir.primitives.shape import axis_size, resized
from banach.ir.tensor_type import TensorType, TypeMismatch, numpy_dtype


def _fit(x: TensorType, index: TensorType, axis: int) -> None:
    axis_size(x, axis)
    check_places(index)
    if index.rank != x.rank or resized(x, axis, 1).shape != resized(index, axis, 1).shape:
        raise TypeMismatch(f"{index} has other axes than {x}, axis {axis} apart")


class _Along(Primitive):
    core = None

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], **attributes: Any) -> Value:
        return build.op(self.name, *spread(operands, lanes), **attributes)


@final
class TakeAlong(_Along):
    """Entries along one axis, each row at places of its own, repeats allowed.

    Maths    y[.., i, ..] = x[.., index[.., i, ..], ..]
    Types    x: [*p, n, *q], index: int[*p, m, *q] with values in 0..n-1 -> y: [*p, m, *q]
    Reverse  R(x, index, dy) = (dy added up at its places, -)
    Facts    linear in x; gain at most √m, as a row may take one entry m times; its range is x's
    Source   textbook
    """

    linear_in = ((0,),)

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        x, index = operands
        _fit(x, index, axis)
        return (x.with_shape(index.shape),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int) -> np.ndarray:
        return np.take_along_axis(x, within(index, x.shape[axis]), axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        x, index = operands
        size = x.type.shape[axis]
        return build.op("scatter_along", cotangents[0], index, axis=axis, size=size), None

    def range(self, operands: Sequence[Known], *, axis: int) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], *, axis: int) -> Interval:
        return _crowd(operands[1].type.shape[axis])

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 4))
        yield Sample((x, np.array([[3, 1, 1], [0, 2, 3]])), {"axis": -1})
        yield Sample((x, np.array([[0, 1, 1, 0]])), {"axis": -2})


@final
class ScatterAlong(_Along):
    """Entries added up along one axis of a zero array, each row at places of its own: take_along's adjoint.

    Maths    y[.., j, ..] = Σ x[.., i, ..] over the i with index[.., i, ..] = j
    Types    x: [*p, m, *q], index: int[*p, m, *q] with values in 0..size-1 -> y: [*p, size, *q]
    Reverse  R(x, index, dy) = (dy at the places, -)
    Facts    linear in x; gain at most √m
    Source   textbook
    """

    linear_in = ((0,),)

    def types(self, operands: Types, regions: Regions, *, axis: int, size: Size) -> Types:
        x, index = operands
        check_numbers(x)
        check_places(index)
        if x.shape != index.shape:
            raise TypeMismatch(f"{index} gives no place to every entry of {x}")
        return (resized(x, axis, size),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int, size: int) -> np.ndarray:
        y = np.zeros(x.shape[:axis] + (size,) + x.shape[x.ndim + axis + 1 :], x.dtype)
        places: list[np.ndarray] = list(np.indices(x.shape, sparse=True))
        places[axis] = within(index, size)
        np.add.at(y, tuple(places), x)
        return y

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int, size: Size
    ) -> Cotangents:
        return build.op("take_along", cotangents[0], operands[1], axis=axis), None

    def gain(self, index: int, operands: Sequence[Known], *, axis: int, size: Size) -> Interval:
        return _crowd(operands[1].type.shape[axis])

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 3), (1, 4))
        yield Sample((x, np.array([[3, 1, 1], [0, 2, 3]])), {"axis": -1, "size": 4})
        yield Sample((y, np.array([[0, 1, 1, 0]])), {"axis": -2, "size": 2})


@final
class OneHot(Primitive):
    """For every number a row with a 1 at that place, and zeros elsewhere; outside, all zeros.

    Maths    y[.., j] = 1{index[..] = j}
    Types    index: int[*i] -> y: dtype[*i, size]
    Reverse  none: an integer has no tangent
    Facts    values in [0, 1]
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, size: Size, dtype: str) -> Types:
        (index,) = operands
        check_places(index)
        return (TensorType(dtype, (*index.shape, size)),)

    def evaluate(self, index: np.ndarray, *, size: int, dtype: str) -> np.ndarray:
        return (index[..., None] == np.arange(size)).astype(numpy_dtype(dtype))

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        return (None,)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1)

    def decompose(self, build: Builder, index: Value, *, size: Size, dtype: str) -> Value:
        """1{index = j} for j = 0, 1, ..: ONNX's OneHot would count negative numbers from the end."""
        column = build.op("reshape", index, shape=(*index.type.shape, 1))
        hit = build.op("equal", column, build.op("count", size=size, dtype=index.type.dtype))
        return hit if dtype == "bool" else build.op("cast", hit, dtype=dtype)

    def samples(self) -> Iterable[Sample]:
        yield Sample((np.array([2, 0, -1, 3]),), {"size": 3, "dtype": "float64"})


def _crowd(places: Size) -> Interval:
    return Interval.between(0, Interval.of(places).sqrt().hi) if isinstance(places, int) else NONNEGATIVE
