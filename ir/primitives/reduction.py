"""Reductions over axes. Axes are counted from the end, so that leading axes may be added freely."""

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
    draw,
)
from banach.ir.tensor_type import TensorType, TypeMismatch

Axes = tuple[int, ...]


class Reduction(Primitive):
    core = None

    def types(self, operands: Types, regions: Regions, *, axes: Axes) -> Types:
        (x,) = operands
        if any(not -x.rank <= axis < 0 for axis in axes) or len(set(axes)) != len(axes):
            raise TypeMismatch(f"the axes {axes} are not among the last {x.rank}")
        kept = [size for i, size in enumerate(x.shape) if i - x.rank not in axes]
        return (x.with_shape(kept),)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((2, 3)), {"axes": (-1,)})
        yield Sample(draw((2, 3)), {"axes": (-2, -1)})


def stretch(value: Value, type: TensorType, axes: Axes) -> Value:
    """A reduced value, repeated along the axes that a reduction of this type took away."""
    kept = tuple(1 if i - type.rank in axes else size for i, size in enumerate(type.shape))
    unit = value.builder.op("reshape", value, shape=kept)
    return value.builder.op("broadcast", unit, shape=type.shape)


def count(type: TensorType, axes: Axes) -> Size:
    """The number of entries that a reduction over these axes takes together."""
    total: Size = 1
    for axis in axes:
        total = total * type.shape[axis]
    return total


@final
class Sum(Reduction):
    """The sum over some axes.

    Maths    y = Σ x over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  R(x, dy) = dy, repeated along the axes
    Facts    linear; gain √n for n entries taken together
    Source   textbook
    """

    linear = True

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return np.sum(x, axis=axes, dtype=x.dtype)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axes: Axes
    ) -> Cotangents:
        return (stretch(cotangents[0], operands[0].type, axes),)

    def range(self, operands: Sequence[Known], *, axes: Axes) -> Interval:
        terms = count(operands[0].type, axes)
        return operands[0].range * terms if isinstance(terms, int) else Interval.everything()

    def gain(self, index: int, operands: Sequence[Known], *, axes: Axes) -> Interval:
        terms = count(operands[0].type, axes)
        return Interval.of(terms).sqrt() if isinstance(terms, int) else NONNEGATIVE


class _Extreme(Reduction):
    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axes: Axes
    ) -> Cotangents:
        (x,), (y,), (dy,) = operands, results, cotangents
        attained = build.op("equal", x, stretch(y, x.type, axes))
        ones = build.op("cast", attained, dtype=x.type.dtype)
        return (ones * stretch(dy / build.op("sum", ones, axes=axes), x.type, axes),)

    def range(self, operands: Sequence[Known], *, axes: Axes) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], *, axes: Axes) -> Interval:
        return Interval.between(0, 1)


@final
class ReduceMax(_Extreme):
    """The largest entry over some axes.

    Maths    y = max x over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  R(x, dy) = dy shared equally among the entries that attain the maximum
    Facts    nonexpansive; convex
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return np.max(x, axis=axes)


@final
class ReduceMin(_Extreme):
    """The smallest entry over some axes.

    Maths    y = min x over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  R(x, dy) = dy shared equally among the entries that attain the minimum
    Facts    nonexpansive; concave
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return np.min(x, axis=axes)


@final
class Norm(Reduction):
    """The Euclidean norm over some axes.

    Maths    y = √(Σ x²) over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  R(x, dy) = x·dy/y; at x = 0, where no derivative exists, it is 0
    Facts    nonexpansive, nonnegative, convex
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):
            return np.sqrt(np.sum(x * x, axis=axes, dtype=x.dtype))

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axes: Axes
    ) -> Cotangents:
        (x,), (y,), (dy,) = operands, results, cotangents
        nothing = build.op("equal", y, build.zeros(y.type))
        scale = build.op("select", nothing, build.zeros(y.type), dy) / build.op(
            "select", nothing, build.scalar(1, y.type.dtype), y
        )
        return (x * stretch(scale, x.type, axes),)

    def range(self, operands: Sequence[Known], *, axes: Axes) -> Interval:
        return NONNEGATIVE

    def gain(self, index: int, operands: Sequence[Known], *, axes: Axes) -> Interval:
        return Interval.between(0, 1)
