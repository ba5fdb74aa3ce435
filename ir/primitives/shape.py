"""The same entries in other places. Axes are counted from the end."""

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
    copies,
    draw,
    unbroadcast,
)
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype

Shape = tuple[Size, ...]


def _size(shape: Shape) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total


class _Rearrangement(Primitive):
    """A linear isometry, or one with zeros beside it."""

    core = None
    linear = True

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.of(1)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return operands[0].range


@final
class Reshape(_Rearrangement):
    """The same entries, in the same order, under another shape.

    Maths    y = x
    Types    x: [*s] -> y: [*shape] with as many entries
    Reverse  R(x, dy) = dy under x's shape
    Facts    linear, an isometry
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, shape: Shape) -> Types:
        (x,) = operands
        if _size(x.shape) != _size(shape):
            raise TypeMismatch(f"{x} has {_size(x.shape)} entries, not {_size(shape)}")
        return (x.with_shape(shape),)

    def evaluate(self, x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
        return np.reshape(x, shape)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, shape: Shape
    ) -> Cotangents:
        return (build.op("reshape", cotangents[0], shape=operands[0].type.shape),)

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, shape: Shape) -> Value:
        (x,) = operands
        return build.op("reshape", x, shape=(x.type.shape[0], *shape))

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"shape": (3, 2)})


@final
class Broadcast(_Rearrangement):
    """Copies along new axes in front, and along axes of size 1.

    Maths    y[i, j] = x[j]
    Types    x: [*t] -> y: [*shape], where t stretches to shape
    Reverse  R(x, dy) = the sum over the copies
    Facts    linear; gain √c for c copies
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, shape: Shape) -> Types:
        (x,) = operands
        if broadcast(x.shape, shape) != shape:
            raise TypeMismatch(f"{x} does not stretch to [{', '.join(map(str, shape))}]")
        return (x.with_shape(shape),)

    def evaluate(self, x: np.ndarray, *, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(x, shape)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, shape: Shape
    ) -> Cotangents:
        return (unbroadcast(cotangents[0], operands[0].type),)

    def gain(self, index: int, operands: Sequence[Known], *, shape: Shape) -> Interval:
        return copies([operands[0], Known(operands[0].type.with_shape(shape))], 0)

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, shape: Shape) -> Value:
        (x,) = operands
        lane, *own = x.type.shape
        unit = build.op("reshape", x, shape=(lane, *[1] * (len(shape) - len(own)), *own))
        return build.op("broadcast", unit, shape=(lane, *shape))

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((3,)), {"shape": (2, 3)})
        yield Sample(draw((3, 1)), {"shape": (3, 2)})


@final
class Slice(_Rearrangement):
    """The entries from `start` up to, not including, `stop` along one axis.

    Maths    y_i = x_(start + i)
    Types    x: [.., n, ..] -> y: [.., stop - start, ..]
    Reverse  R(x, dy) = dy between zeros
    Facts    linear, nonexpansive: a coordinate projection
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int, start: Size, stop: Size) -> Types:
        (x,) = operands
        size = _axis(x, axis)
        fixed = all(isinstance(number, int) for number in (size, start, stop))
        if fixed and not 0 <= start <= stop <= size:  # type: ignore[operator]
            raise TypeMismatch(f"{start}:{stop} does not lie in an axis of {size}")
        return (_resized(x, axis, stop - start),)

    def evaluate(self, x: np.ndarray, *, axis: int, start: int, stop: int) -> np.ndarray:
        return np.take(x, np.arange(start, stop), axis=axis)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        start: Size,
        stop: Size,
    ) -> Cotangents:
        after = operands[0].type.shape[axis] - stop
        return (build.op("pad", cotangents[0], axis=axis, before=start, after=after),)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 5)), {"axis": -1, "start": 1, "stop": 4})
        yield Sample(draw((5, 2)), {"axis": -2, "start": 0, "stop": 2})


@final
class Pad(_Rearrangement):
    """Zeros before and after, along one axis.

    Maths    y = (0, x, 0)
    Types    x: [.., n, ..] -> y: [.., before + n + after, ..]
    Reverse  R(x, dy) = the slice of dy that x fills
    Facts    linear, an isometry
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int, before: Size, after: Size) -> Types:
        (x,) = operands
        if any(isinstance(number, int) and number < 0 for number in (before, after)):
            raise TypeMismatch(f"cannot add {before} and {after} zeros")
        return (_resized(x, axis, before + _axis(x, axis) + after),)

    def evaluate(self, x: np.ndarray, *, axis: int, before: int, after: int) -> np.ndarray:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (before, after)
        return np.pad(x, widths)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        before: Size,
        after: Size,
    ) -> Cotangents:
        stop = before + operands[0].type.shape[axis]
        return (build.op("slice", cotangents[0], axis=axis, start=before, stop=stop),)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return operands[0].range.hull(0)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"axis": -1, "before": 1, "after": 2})


@final
class Concatenate(_Rearrangement):
    """Arrays one after the other, along one axis.

    Maths    z = (x, y, ..)
    Types    x: [.., m, ..], y: [.., n, ..] -> z: [.., m + n, ..]
    Reverse  R(x, y, dz) = the slices of dz
    Facts    linear; gain 1 in each operand
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        first = operands[0]
        total: Size = 0
        for operand in operands:
            if _resized(operand, axis, 1).shape != _resized(first, axis, 1).shape:
                raise TypeMismatch(f"{first} and {operand} do not fit beside each other along axis {axis}")
            total = total + operand.shape[axis]
        return (_resized(first.with_dtype(same_dtype(operands)), axis, total),)

    def evaluate(self, *operands: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate(operands, axis=axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        parts: list[Value | None] = []
        start: Size = 0
        for operand in operands:
            stop = start + operand.type.shape[axis]
            parts.append(build.op("slice", cotangents[0], axis=axis, start=start, stop=stop))
            start = stop
        return tuple(parts)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        hull = operands[0].range
        for operand in operands[1:]:
            hull = hull.hull(operand.range)
        return hull

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int) -> Value:
        lane = next(v.type.shape[0] for v, has in zip(operands, lanes) if has)
        spread = [
            v if has else build.op("broadcast", v, shape=(lane, *v.type.shape))
            for v, has in zip(operands, lanes)
        ]
        return build.op("concatenate", *spread, axis=axis)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3), (2, 1)), {"axis": -1})


@final
class Take(Primitive):
    """Entries at given places along one axis, repeats allowed.

    Maths    y[.., i, ..] = x[.., index_i, ..]
    Types    x: [*p, n, *q], index: int[*i] with values in 0..n-1 -> y: [*p, *i, *q]
    Reverse  R(x, index, dy) = (dy added up at its places, -)
    Facts    linear in x
    Source   textbook
    """

    core = None
    linear_in = ((0,),)

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        x, index = operands
        _axis(x, axis)
        if index.dtype not in ("int64", "int32"):
            raise TypeMismatch(f"places are integers, not {index}")
        cut = x.rank + axis
        return (x.with_shape((*x.shape[:cut], *index.shape, *x.shape[cut + 1 :])),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int) -> np.ndarray:
        return np.take(x, index, axis=axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        x, index = operands
        size = x.type.shape[axis]
        return build.op("scatter_add", cotangents[0], index, axis=axis, size=size), None

    def range(self, operands: Sequence[Known], *, axis: int) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], *, axis: int) -> Interval:
        return NONNEGATIVE

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int) -> Value:
        if lanes[1]:
            raise TypeMismatch("take: places that differ from lane to lane are not supported")
        return build.op("take", *operands, axis=axis)

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
    Facts    linear in x
    Source   textbook
    """

    core = None
    linear_in = ((0,),)

    def types(self, operands: Types, regions: Regions, *, axis: int, size: Size) -> Types:
        x, index = operands
        after = -1 - axis
        cut = x.rank - after - index.rank
        if cut < 0 or x.shape[cut : x.rank - after] != index.shape:
            raise TypeMismatch(f"{x} has no axes {index} in front of its last {after}")
        return (x.with_shape((*x.shape[:cut], size, *x.shape[x.rank - after :])),)

    def evaluate(self, x: np.ndarray, index: np.ndarray, *, axis: int, size: int) -> np.ndarray:
        after = -1 - axis
        before = x.ndim - after - index.ndim
        flat = x.reshape(*x.shape[:before], -1, *x.shape[x.ndim - after :])
        y = np.zeros((*x.shape[:before], size, *x.shape[x.ndim - after :]), x.dtype)
        places: Any = (slice(None),) * before + (index.reshape(-1),)
        np.add.at(y, places, flat)
        return y

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int, size: Size
    ) -> Cotangents:
        return build.op("take", cotangents[0], operands[1], axis=axis), None

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return NONNEGATIVE

    def vectorise(
        self, build: Builder, operands: Values, lanes: Sequence[bool], *, axis: int, size: Size
    ) -> Value:
        if lanes[1]:
            raise TypeMismatch("scatter_add: places that differ from lane to lane are not supported")
        return build.op("scatter_add", *operands, axis=axis, size=size)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 3), (2, 2, 4))
        yield Sample((x, np.array([3, 1, 1])), {"axis": -1, "size": 4})
        yield Sample((y, np.array([[0, 1], [1, 1]])), {"axis": -2, "size": 2})


def _axis(type: TensorType, axis: int) -> Size:
    if not -type.rank <= axis < 0:
        raise TypeMismatch(f"{type} has no axis {axis} (axes are counted from the end)")
    return type.shape[axis]


def _resized(type: TensorType, axis: int, size: Size) -> TensorType:
    _axis(type, axis)
    cut = type.rank + axis
    return type.with_shape((*type.shape[:cut], size, *type.shape[cut + 1 :]))
