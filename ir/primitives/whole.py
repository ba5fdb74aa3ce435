"""Division of whole numbers, rounded down; operands are aligned at their last axis."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.exact import Bound, Interval
from banach.ir.graph import Builder
from banach.ir.primitive import REALS, Cotangents, Known, Primitive, Regions, Sample, Types, Values
from banach.ir.tensor_type import INTEGERS, TensorType, TypeMismatch, broadcast, same_dtype


class _Whole(Primitive):
    core = (0, 0)

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        dtype = same_dtype(operands)
        if dtype not in INTEGERS:
            raise TypeMismatch(f"takes whole numbers, not {' and '.join(map(str, operands))}")
        return (TensorType(dtype, broadcast(*(t.shape for t in operands))),)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None, None)

    def samples(self) -> Iterable[Sample]:
        x, y = np.array([[7, -7, 0, 9], [-1, 8, 5, -9]]), np.array([2, 2, -3, -3])
        yield Sample((x, y))
        yield Sample((x, np.array([[0], [4]])))


@final
class FloorDivide(_Whole):
    """The quotient of whole numbers, rounded down; 0 where the divisor is 0.

    Maths    z = ⌊x / y⌋
    Types    x: int[*s], y: int[*t] with |x| + |y| < 2⁶³, or 2³¹ -> z: int[*s|t], broadcast
    Reverse  none: an integer has no tangent
    Facts    its range, where the divisor is positive
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(y == 0, 0, np.floor_divide(x, np.where(y == 0, 1, y))).astype(x.dtype)

    def range(self, operands: Sequence[Known]) -> Interval:
        x, y = (known.range for known in operands)
        if y.lo < 1:
            return REALS
        quotient = x / y
        return Interval.between(_floor(quotient.lo), _floor(quotient.hi))


@final
class Modulo(_Whole):
    """What is left of a whole number after division, with the divisor's sign; 0 where the divisor is 0.

    Maths    z = x - y·⌊x / y⌋
    Types    x: int[*s], y: int[*t] -> z: int[*s|t], broadcast
    Reverse  none: an integer has no tangent
    Facts    0 <= z < y where y > 0; y < z <= 0 where y < 0
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(y == 0, 0, np.mod(x, np.where(y == 0, 1, y))).astype(x.dtype)

    def range(self, operands: Sequence[Known]) -> Interval:
        y = operands[1].range
        return Interval.between(min(y.lo + 1, 0), max(y.hi - 1, 0))


def _floor(end: Bound) -> Bound:
    return end if isinstance(end, float) else math.floor(end)
