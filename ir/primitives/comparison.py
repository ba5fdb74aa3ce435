"""Comparisons, logic, and the choice between two values."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

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


class _Comparison(Primitive):
    core = (0, 0)

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        same_dtype(operands)
        same_space(operands)
        return (TensorType("bool", broadcast(*(t.shape for t in operands))),)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None, None)

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((3, 2), (2,)))


@final
class Less(_Comparison):
    """Whether x is smaller than y; false where either is NaN.

    Maths    z = 1{x < y}
    Types    x: [*s], y: [*t] of one dtype -> z: bool[*s|t], broadcast
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   IEEE 754-2019, section 5.11
    """

    lowerings = {"onnx": "Less", "fx": "lt"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x < y


@final
class LessEqual(_Comparison):
    """Whether x is at most y; false where either is NaN.

    Maths    z = 1{x <= y}
    Types    x: [*s], y: [*t] of one dtype -> z: bool[*s|t], broadcast
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   IEEE 754-2019, section 5.11
    """

    lowerings = {"onnx": "LessOrEqual", "fx": "le"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x <= y


@final
class Equal(_Comparison):
    """Whether x equals y; false where either is NaN.

    Maths    z = 1{x = y}
    Types    x: [*s], y: [*t] of one dtype -> z: bool[*s|t], broadcast
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   IEEE 754-2019, section 5.11
    """

    lowerings = {"onnx": "Equal", "fx": "eq"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x == y


class _Logic(_Comparison):
    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        if any(t.dtype != "bool" for t in operands):
            raise TypeMismatch(f"takes truth values, not {' and '.join(str(t) for t in operands)}")
        return (TensorType("bool", broadcast(*(t.shape for t in operands))),)

    def samples(self) -> Iterable[Sample]:
        yield Sample((np.array([True, True, False, False]), np.array([True, False, True, False])))


@final
class And(_Logic):
    """Whether both hold.

    Maths    z = x ∧ y
    Types    x: bool[*s], y: bool[*t] -> z: bool[*s|t], broadcast
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   textbook
    """

    lowerings = {"onnx": "And", "fx": "logical_and"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x & y


@final
class Or(_Logic):
    """Whether one holds, or both.

    Maths    z = x ∨ y
    Types    x: bool[*s], y: bool[*t] -> z: bool[*s|t], broadcast
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   textbook
    """

    lowerings = {"onnx": "Or", "fx": "logical_or"}

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x | y


@final
class Not(_Logic):
    """Whether it does not hold.

    Maths    z = ¬x
    Types    x: bool[*s] -> z: bool[*s]
    Reverse  none: a truth value has no tangent
    Facts    none
    Source   textbook
    """

    core = (0,)
    lowerings = {"onnx": "Not", "fx": "logical_not"}

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return ~x

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None,)

    def samples(self) -> Iterable[Sample]:
        yield Sample((np.array([True, False]),))


@final
class Select(Primitive):
    """One of two values, by a truth value, entry by entry; NaN in the other one does not matter.

    Maths    z = x where c, else y
    Types    c: bool[*r], x: [*s], y: [*t] of one dtype -> z: [*r|s|t], broadcast
    Reverse  R(c, x, y, dz) = (-, dz where c, dz where not c), summed where an operand was stretched
    Facts    the range is the hull of both
    Source   textbook
    """

    core = (0, 0, 0)
    linear_in = ((1, 2),)
    lowerings = {"onnx": "Where", "fx": "where"}

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        chosen, x, y = operands
        if chosen.dtype != "bool":
            raise TypeMismatch(f"chooses by a truth value, not by {chosen}")
        shape = broadcast(*(t.shape for t in operands))
        return (TensorType(same_dtype((x, y)), shape, same_space((x, y))),)

    def evaluate(self, chosen: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(chosen, x, y)

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        (chosen, x, y), (dz,) = operands, cotangents
        zero = build.zeros(dz.type)
        dx = unbroadcast(build.op("select", chosen, dz, zero), x.type) if x.type.is_float else None
        dy = unbroadcast(build.op("select", chosen, zero, dz), y.type) if y.type.is_float else None
        return None, dx, dy

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[1].range.hull(operands[2].range)

    def samples(self) -> Iterable[Sample]:
        x, y, c = draw((3, 2), (2,), (3, 1))
        yield Sample((c > 0, x, y))


@final
class Mask(Primitive):
    """The entries that are kept, and zeros for the others, where NaN does not matter.

    Maths    z = x where c, else 0
    Types    x: [*s], c: bool[*t] -> z: [*s|t], broadcast
    Reverse  R(x, c, dz) = (dz where c, summed where x was stretched, -)
    Facts    linear in x; an orthogonal projection, so firmly nonexpansive, where x is not stretched
    Source   textbook
    """

    core = (0, 0)
    linear = True

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        x, kept = operands
        if kept.dtype != "bool":
            raise TypeMismatch(f"keeps by a truth value, not by {kept}")
        return (x.with_shape(broadcast(x.shape, kept.shape)),)

    def evaluate(self, x: np.ndarray, kept: np.ndarray) -> np.ndarray:
        return np.where(kept, x, np.zeros_like(x))

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        x, kept = operands
        return unbroadcast(build.op("mask", cotangents[0], kept), x.type), None

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range.hull(0)

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.between(0, copies(operands, 0).hi)

    def decompose(self, build: Builder, x: Value, kept: Value) -> Value:
        """Zero is the other choice."""
        return build.op("select", kept, x, build.zeros(x.type))

    def samples(self) -> Iterable[Sample]:
        (x,) = draw((2, 3))
        yield Sample((x, np.array([True, False, True])))
        yield Sample((x[0], np.array([[True, False, True], [False, False, True]])))
