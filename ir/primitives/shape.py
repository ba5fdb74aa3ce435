"""The same entries in other places. Axes are counted from the end."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
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
from banach.ir.tensor_type import TensorType, TypeMismatch, broadcast, same_dtype, same_space

Shape = tuple[Size, ...]


def _size(shape: Shape) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total


class Rearrangement(Primitive):
    """A linear isometry, or one with zeros beside it."""

    core = None
    linear = True

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.of(1)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return operands[0].range


@final
class Reshape(Rearrangement):
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
class Broadcast(Rearrangement):
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
class Slice(Rearrangement):
    """The entries from `start` up to, not including, `stop` along one axis.

    Maths    y_i = x_(start + i)
    Types    x: [.., n, ..] -> y: [.., stop - start, ..]
    Reverse  R(x, dy) = dy between zeros
    Facts    linear, nonexpansive: a coordinate projection
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int, start: Size, stop: Size) -> Types:
        (x,) = operands
        size = axis_size(x, axis)
        fixed = all(isinstance(number, int) for number in (size, start, stop))
        if fixed and not 0 <= start <= stop <= size:  # type: ignore[operator]
            raise TypeMismatch(f"{start}:{stop} does not lie in an axis of {size}")
        return (resized(x, axis, stop - start),)

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
class Pad(Rearrangement):
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
        return (resized(x, axis, before + axis_size(x, axis) + after),)

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
class Concatenate(Rearrangement):
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
            if resized(operand, axis, 1).shape != resized(first, axis, 1).shape:
                raise TypeMismatch(f"{first} and {operand} do not fit beside each other along axis {axis}")
            total = total + operand.shape[axis]
        whole = TensorType(same_dtype(operands), first.shape, same_space(operands))
        return (resized(whole, axis, total),)

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


def axis_size(type: TensorType, axis: int) -> Size:
    """The size of an axis. TypeMismatch: there is none."""
    if not -type.rank <= axis < 0:
        raise TypeMismatch(f"{type} has no axis {axis} (axes are counted from the end)")
    return type.shape[axis]


def resized(type: TensorType, axis: int, size: Size) -> TensorType:
    """The type with another size along an axis. TypeMismatch: there is no such axis."""
    axis_size(type, axis)
    cut = type.rank + axis
    return type.with_shape((*type.shape[:cut], size, *type.shape[cut + 1 :]))
