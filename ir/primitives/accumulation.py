"""Sums on the way, products, and what holds for all. Axes are counted from the end."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
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
from banach.ir.primitives.indexing import check_numbers
from banach.ir.primitives.reduction import Axes, Reduction, count
from banach.ir.primitives.shape import axis_size
from banach.ir.tensor_type import TypeMismatch

# π, from below and from above.
_PI = Interval.between(Fraction(314159265358979, 10**14), Fraction(314159265358980, 10**14))


@final
class Cumsum(Primitive):
    """Sums of all entries up to each one, along one axis.

    Maths    y_i = Σ x_j over j <= i; over j < i where exclusive; over j >= i, or j > i, where reverse
    Types    x: [.., n, ..] -> y: [.., n, ..]
    Reverse  R(x, dy) = the same sums of dy from the other end
    Facts    linear; gain 1/(2 sin(π/(4n + 2))), with n - 1 for n where exclusive
    Source   textbook
    """

    core = None
    linear = True

    def types(self, operands: Types, regions: Regions, *, axis: int, exclusive: bool, reverse: bool) -> Types:
        check_numbers(operands[0])
        axis_size(operands[0], axis)
        return operands

    def evaluate(self, x: np.ndarray, *, axis: int, exclusive: bool, reverse: bool) -> np.ndarray:
        x = np.flip(x, axis) if reverse else x
        if exclusive:
            first, size = np.zeros_like(np.take(x, np.arange(x.shape[axis])[:1], axis=axis)), x.shape[axis]
            x = np.concatenate([first, np.take(x, np.arange(size - 1), axis=axis)], axis)
        y = np.cumsum(x, axis=axis, dtype=x.dtype)
        return np.flip(y, axis) if reverse else y

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        exclusive: bool,
        reverse: bool,
    ) -> Cotangents:
        return (build.op("cumsum", cotangents[0], axis=axis, exclusive=exclusive, reverse=not reverse),)

    def range(self, operands: Sequence[Known], *, axis: int, exclusive: bool, reverse: bool) -> Interval:
        size = operands[0].type.shape[axis]
        if not isinstance(size, int):
            return Interval.everything()
        terms = Interval.between(0, max(size - 1, 0)) if exclusive else Interval.between(1, max(size, 1))
        return operands[0].range * terms

    def gain(
        self, index: int, operands: Sequence[Known], *, axis: int, exclusive: bool, reverse: bool
    ) -> Interval:
        size = operands[0].type.shape[axis]
        if not isinstance(size, int):
            return NONNEGATIVE
        terms = size - exclusive
        if terms < 1:
            return Interval.of(0)
        # (LLᵀ)⁻¹ has the eigenvalues 4 sin²((2k - 1)t), t = π/(4n + 2), and t - t³/6 <= sin t <= t.
        t = _PI / (4 * terms + 2)
        return Interval((1 / (2 * t)).lo, (1 / (2 * (t - t * t * t / 6))).hi)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 4), (3, 2))
        yield Sample((x,), {"axis": -1, "exclusive": False, "reverse": False})
        yield Sample((y,), {"axis": -2, "exclusive": True, "reverse": False})
        yield Sample((x,), {"axis": -1, "exclusive": True, "reverse": True})


@final
class Prod(Reduction):
    """The product over some axes.

    Maths    y = Π x over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  R(x, dy)_i = dy·Π x_j over the j ≠ i, which holds at zeros too; takes n² numbers for n entries
    Facts    gain at most √n·(sup|x|)^(n-1) for n entries taken together
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axes: Axes) -> Types:
        check_numbers(operands[0])
        return super().types(operands, regions, axes=axes)

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.prod(x, axis=axes, dtype=x.dtype)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axes: Axes
    ) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        rank = x.type.rank
        order = (*(i for i in range(-rank, 0) if i not in axes), *axes)
        moved = _permuted(x, order)
        terms, rest = count(x.type, axes), dy.type.shape
        rows = build.op("reshape", moved, shape=(*rest, 1, terms))
        rows = build.op("broadcast", rows, shape=(*rest, terms, terms))
        places = build.op("count", size=terms, dtype="int64")
        itself = build.op("equal", build.op("reshape", places, shape=(terms, 1)), places)
        others = build.op("prod", build.op("select", itself, build.scalar(1, x.type.dtype), rows), axes=(-1,))
        flat = others * build.op("reshape", dy, shape=(*rest, 1))
        back = tuple(order.index(axis - rank) - rank for axis in range(rank))
        return (_permuted(build.op("reshape", flat, shape=moved.type.shape), back),)

    def range(self, operands: Sequence[Known], *, axes: Axes) -> Interval:
        terms = count(operands[0].type, axes)
        return _power(operands[0].range, terms) if isinstance(terms, int) else Interval.everything()

    def gain(self, index: int, operands: Sequence[Known], *, axes: Axes) -> Interval:
        terms = count(operands[0].type, axes)
        if not isinstance(terms, int):
            return NONNEGATIVE
        if not terms:
            return Interval.of(0)
        each = _power(Interval.between(0, abs(operands[0].range).hi), terms - 1)
        return Interval.between(0, (each * Interval.of(terms).sqrt()).hi)


class _OfTruths(Reduction):
    def types(self, operands: Types, regions: Regions, *, axes: Axes) -> Types:
        if operands[0].dtype != "bool":
            raise TypeMismatch(f"takes truth values, not {operands[0]}")
        return super().types(operands, regions, axes=axes)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axes: Axes
    ) -> Cotangents:
        return (None,)

    def samples(self) -> Iterable[Sample]:
        x = np.array([[True, True, False], [True, True, True], [False, False, False]])
        yield Sample((x,), {"axes": (-1,)})
        yield Sample((x,), {"axes": (-2, -1)})


@final
class ReduceAll(_OfTruths):
    """Whether all hold, over some axes; true where there is none.

    Maths    y = ∀ x over the axes
    Types    x: bool[*s] -> y: bool[*s without the axes]
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return np.all(x, axis=axes)


@final
class ReduceAny(_OfTruths):
    """Whether one holds, or more, over some axes; false where there is none.

    Maths    y = ∃ x over the axes
    Types    x: bool[*s] -> y: bool[*s without the axes]
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axes: Axes) -> np.ndarray:
        return np.any(x, axis=axes)


def _permuted(value: Value, order: Sequence[int]) -> Value:
    if list(order) == list(range(-len(order), 0)):
        return value
    return value.builder.op("transpose", value, permutation=tuple(order))


def _power(factor: Interval, times: Size) -> Interval:
    """The product of that many numbers of an interval, each chosen by itself: [-1, 2]·[-1, 2] reaches -2."""
    assert isinstance(times, int)
    product = Interval.of(1)
    for bit in f"{times:b}":
        product = product * product
        if bit == "1":
            product = product * factor
    return product
