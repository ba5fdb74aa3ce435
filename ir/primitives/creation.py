"""Values from nothing: constants, counts, and changes of dtype."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, final

import numpy as np

from banach.ir.dims import Size, bind
from banach.ir.exact import Bound, Interval, round_float
from banach.ir.graph import Builder, Value
from banach.ir.primitive import REALS, Cotangents, Known, Primitive, Regions, Sample, Types, Values, draw
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import INTEGERS, TensorType, TypeMismatch, numpy_dtype


@final
class Constant(Primitive):
    """An array that is part of the program.

    Maths    y = value
    Types    -> y: the value's own type
    Reverse  none: there is no operand
    Facts    its range, exactly
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, value: Tensor) -> Types:
        return (value.type,)

    def evaluate(self, *, value: Tensor) -> np.ndarray:
        return value.array

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, value: Tensor
    ) -> Cotangents:
        return ()

    def range(self, operands: Sequence[Known], *, value: Tensor) -> Interval:
        array = value.array
        if array.dtype == bool or not array.size or not np.all(np.isfinite(array)):
            return Interval.everything()
        return Interval.between(array.min().item(), array.max().item())

    def samples(self) -> Iterable[Sample]:
        yield Sample((), {"value": Tensor(np.arange(3.0))})


@final
class Count(Primitive):
    """The numbers 0, 1, ..., n - 1.

    Maths    y_i = i
    Types    -> y: dtype[n]
    Reverse  none: there is no operand
    Facts    none
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, size: Size, dtype: str) -> Types:
        return (TensorType(dtype, (size,)),)

    def evaluate(self, *, size: int, dtype: str) -> np.ndarray:
        return np.arange(bind(size, {}), dtype=numpy_dtype(dtype))

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        return ()

    def samples(self) -> Iterable[Sample]:
        yield Sample((), {"size": 4, "dtype": "float64"})


@final
class Cast(Primitive):
    """The same numbers in another dtype, rounded to nearest; towards zero for integers.

    Maths    y = x
    Types    x: [*s] -> y: dtype[*s]
    Reverse  R(x, dy) = dy in x's dtype, where both are floats; none otherwise
    Facts    nonexpansive up to rounding
    Source   IEEE 754-2019, section 5.4
    """

    core = (0,)

    def types(self, operands: Types, regions: Regions, *, dtype: str) -> Types:
        return (operands[0].with_dtype(dtype),)

    def evaluate(self, x: np.ndarray, *, dtype: str) -> np.ndarray:
        return x.astype(numpy_dtype(dtype))

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, dtype: str
    ) -> Cotangents:
        (x,) = operands
        return (build.op("cast", cotangents[0], dtype=x.type.dtype) if x.type.is_float else None,)

    def range(self, operands: Sequence[Known], *, dtype: str) -> Interval:
        # Rounding is monotone, so the ends bound what lies between them.
        known = operands[0].range
        try:
            return Interval.between(*(_rounded(end, dtype) for end in (known.lo, known.hi)))
        except OverflowError:
            return REALS

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((3,)), {"dtype": "float64"})


def _rounded(end: Bound, dtype: str) -> Bound:
    """What a bound becomes as `dtype`. OverflowError: it is too large for that."""
    if dtype == "bool":
        raise OverflowError
    if isinstance(end, float):
        return end
    if dtype not in INTEGERS:
        return round_float(Fraction(end), dtype)
    whole = math.trunc(end)
    if not -(limit := 1 << (63 if dtype == "int64" else 31)) <= whole < limit:
        raise OverflowError
    return Fraction(whole)


@final
class StopGradient(Primitive):
    """The same value, held constant by every derivative.

    Maths    y = x
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = 0, by definition
    Facts    an isometry
    Source   textbook
    """

    core = (0,)

    def types(self, operands: Types, regions: Regions) -> Types:
        return operands

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x

    def reverse(self, build: Builder, operands: Values, results: Values, cotangents: Values) -> Cotangents:
        return (None,)

    def range(self, operands: Sequence[Known]) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known]) -> Interval:
        return Interval.of(1)

    def decompose(self, build: Builder, x: Value) -> Value:
        """In a running program the identity."""
        return x

    def samples(self) -> Iterable[Sample]:
        yield Sample(draw((3,)))


@final
class Extent(Primitive):
    """A size as a number, where a formula needs the number of rows, say.

    Maths    y = size
    Types    -> y: dtype
    Reverse  none: there is no operand
    Facts    at least 1 where it is a name
    Source   textbook
    """

    core = None

    def types(self, operands: Types, regions: Regions, *, size: Size, dtype: str) -> Types:
        if dtype == "bool":
            raise TypeMismatch("a size is no truth value")
        return (TensorType(dtype),)

    def evaluate(self, *, size: Size, dtype: str) -> np.ndarray:
        return np.asarray(bind(size, {}), numpy_dtype(dtype))

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        return ()

    def samples(self) -> Iterable[Sample]:
        yield Sample((), {"size": 4, "dtype": "float64"})
