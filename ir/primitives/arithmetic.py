"""Sums, products and quotients, entry by entry; operands are aligned at their last axis."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import (
    NONNEGATIVE,
    REALS,
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
from banach.ir.tensor_type import TensorType, broadcast, same_dtype, same_space


class _Binary(Primitive):
    core = (0, 0)

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        shape = broadcast(*(t.shape for t in operands))
        return (TensorType(same_dtype(operands), shape, same_space(operands)),)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((3, 2), (2,)))
        yield Sample(draw((), (2, 3)))


@final
class Add(_Binary):
    """The sum.

    Maths    z = x + y
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (dz, dz), each summed over the axes along which its operand was stretched
    Facts    linear; gain 1 in either operand, times the root of the number of copies when stretched
    Source   textbook
    """

    linear = True
    lowerings = {"onnx": "Add", "fx": "add"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x + y

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (dz,) = cotangents
        return tuple(unbroadcast(dz, operand.type) for operand in operands)

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range + operands[1].range

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return copies(operands, index)


@final
class Subtract(_Binary):
    """The difference.

    Maths    z = x - y
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (dz, -dz), each summed over the axes along which its operand was stretched
    Facts    linear; gain 1 in either operand, times the root of the number of copies when stretched
    Source   textbook
    """

    linear = True
    lowerings = {"onnx": "Sub", "fx": "sub"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x - y

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (dz,) = cotangents
        x, y = operands
        return unbroadcast(dz, x.type), unbroadcast(-dz, y.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range - operands[1].range

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return copies(operands, index)


@final
class Multiply(_Binary):
    """The product, entry by entry.

    Maths    z = x · y
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (y·dz, x·dz), each summed over the axes along which its operand was stretched
    Facts    bilinear; gain in x at most sup|y|, times the root of the number of copies when stretched
    Source   textbook
    """

    linear_in = ((0,), (1,))
    lowerings = {"onnx": "Mul", "fx": "mul"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):  # 0 · ∞, and what lies beyond the largest float
            return x * y

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (dz,) = cotangents
        x, y = operands
        return unbroadcast(y * dz, x.type), unbroadcast(x * dz, y.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range * operands[1].range

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        other = abs(operands[1 - index].range)
        return copies(operands, index) * Interval.between(0, other.hi)


@final
class Divide(_Binary):
    """The quotient, entry by entry.

    Maths    z = x / y
    Types    x: [*s], y: [*t] with y != 0 -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (dz/y, -x·dz/y²), each summed over the axes along which its operand was stretched
    Facts    gain in x at most 1/inf|y|; linear in x
    Source   textbook
    """

    linear_in = ((0,),)
    lowerings = {"onnx": "Div", "fx": "div"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return x / y

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (dz,), (z,) = cotangents, results
        x, y = operands
        dx = dz / y
        return unbroadcast(dx, x.type), unbroadcast(-(z * dx), y.type)

    def range(self, operands: Sequence[Known]) -> Interval:
        divisor = operands[1].range
        return REALS if divisor.lo == 0 == divisor.hi else operands[0].range / divisor

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        divisor = operands[1].range
        if index == 1 or divisor.lo == 0 == divisor.hi:
            return NONNEGATIVE
        return copies(operands, 0) * Interval.between(0, (1 / abs(operands[1].range)).hi)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((3, 2), (2,))
        yield Sample((x, np.abs(y) + 1.0))


@final
class Power(_Binary):
    """A positive number to a power.

    Maths    z = x^y
    Types    x: [*s] with x > 0, y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (y·x^(y-1)·dz, log(x)·z·dz), each summed where its operand was stretched
    Facts    none
    Source   textbook
    """

    lowerings = {"onnx": "Pow", "fx": "pow"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.power(x, y)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (dz,), (z,) = cotangents, results
        x, y = operands
        dx = y * build.op("power", x, y - 1.0) * dz
        return unbroadcast(dx, x.type), unbroadcast(build.op("log", x) * z * dz, y.type)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((3, 2), (2,))
        yield Sample((np.abs(x) + 0.5, y))


class _Extremum(_Binary):
    @abstractmethod
    def range(self, operands: Sequence[Known]) -> Interval:
        """Where the larger, or the smaller, of the two lies."""

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        # Where the other operand always wins, the result does not move at all.
        return Interval.between(0, copies(operands, index).hi)

    def _split(self, x: Value, y: Value, first_wins: Value, dz: Value) -> tuple[Value, Value]:
        build, zero = dz.builder, dz.builder.zeros(dz.type)
        dx = build.op("select", first_wins, dz, zero)
        dy = build.op("select", first_wins, zero, dz)
        return unbroadcast(dx, x.type), unbroadcast(dy, y.type)


@final
class Maximum(_Extremum):
    """The larger of two numbers.

    Maths    z = max(x, y)
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (k·dz, (1-k)·dz) with k = 1{x >= y}: a tie goes to x
    Facts    nonexpansive in either operand; convex
    Source   textbook
    """

    lowerings = {"onnx": "Max", "fx": "maximum"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(x, y)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        x, y = operands
        return self._split(x, y, build.op("less_equal", y, x), cotangents[0])

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.max(operands[1].range)


@final
class Minimum(_Extremum):
    """The smaller of two numbers.

    Maths    z = min(x, y)
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  R(x, y, dz) = (k·dz, (1-k)·dz) with k = 1{x <= y}: a tie goes to x
    Facts    nonexpansive in either operand; concave
    Source   textbook
    """

    lowerings = {"onnx": "Min", "fx": "minimum"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.minimum(x, y)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        x, y = operands
        return self._split(x, y, build.op("less_equal", x, y), cotangents[0])

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.min(operands[1].range)
