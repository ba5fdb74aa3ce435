"""Which entries are largest, and entries in order, along one axis. Axes are counted from the end.

Ties go to the first. NaN has no place in an order; here it stands beside the number that wins (`argmax`,
`arg_top`: ∞, `argmin`: -∞), so that a NaN is never passed over, and beside ∞ in `argsort`.
"""

from abc import abstractmethod
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
from banach.ir.primitives.indexing import check_numbers
from banach.ir.primitives.shape import axis_size, resized
from banach.ir.tensor_type import TensorType, TypeMismatch


def _orderly(x: np.ndarray, nan: float) -> np.ndarray:
    """x with the NaNs where the order has them."""
    return np.where(np.isnan(x), x.dtype.type(nan), x) if x.dtype.kind == "f" else x


class _Places(Primitive):
    """Places in an order: integers, which have no tangent."""

    core = None

    def types(self, operands: Types, regions: Regions, *, axis: int, **attributes: Any) -> Types:
        (x,) = operands
        check_numbers(x)
        axis_size(x, axis)
        return (self.found(x, axis, **attributes),)

    @abstractmethod
    def found(self, x: TensorType, axis: int, **attributes: Any) -> TensorType:
        """The type of the places. TypeMismatch: there are none."""

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        return (None,)

    def range(self, operands: Sequence[Known], *, axis: int, **attributes: Any) -> Interval:
        size = operands[0].type.shape[axis]
        return Interval.between(0, max(size - 1, 0)) if isinstance(size, int) else NONNEGATIVE

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 4), (3, 2))
        yield Sample((x,), {"axis": -1})
        yield Sample((np.round(y),), {"axis": -2})


class _Extreme(_Places):
    def found(self, x: TensorType, axis: int, **attributes: Any) -> TensorType:
        if x.shape[axis] == 0:
            raise TypeMismatch(f"{x} has no entry along axis {axis}")
        shape = list(x.shape)
        del shape[axis]
        return x.with_shape(shape).with_dtype("int64")


@final
class Argmax(_Extreme):
    """The place of the largest entry along one axis; of equals, and of NaN and ∞, the first.

    Maths    y = min {i : x_i = max x}
    Types    x: [*p, n, *q] with n >= 1 -> y: int64[*p, *q]
    Reverse  none: an integer has no tangent
    Facts    values in 0..n-1
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.argmax(_orderly(x, np.inf), axis=axis)


@final
class Argmin(_Extreme):
    """The place of the smallest entry along one axis; of equals, and of NaN and -∞, the first.

    Maths    y = min {i : x_i = min x}
    Types    x: [*p, n, *q] with n >= 1 -> y: int64[*p, *q]
    Reverse  none: an integer has no tangent
    Facts    values in 0..n-1
    Source   textbook
    """

    def evaluate(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.argmin(_orderly(x, -np.inf), axis=axis)


@final
class Argsort(_Places):
    """The places of the entries along one axis in ascending order; equals, and NaN and ∞, as they stand.

    Maths    x[y_0] <= x[y_1] <= .., and y_i < y_(i+1) where equal
    Types    x: [*p, n, *q] -> y: int64[*p, n, *q]
    Reverse  none: an integer has no tangent
    Facts    values in 0..n-1, a permutation along the axis
    Source   textbook
    """

    def found(self, x: TensorType, axis: int, **attributes: Any) -> TensorType:
        return x.with_dtype("int64")

    def evaluate(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.argsort(_orderly(x, np.inf), axis=axis, kind="stable")


@final
class ArgTop(_Places):
    """The places of the `size` largest entries along one axis, from the largest down; equals as they stand.

    Maths    x[y_0] >= x[y_1] >= .., and y_i < y_(i+1) where equal
    Types    x: [*p, n, *q] with n >= size -> y: int64[*p, size, *q]
    Reverse  none: an integer has no tangent
    Facts    values in 0..n-1, distinct along the axis
    Source   textbook
    """

    def found(self, x: TensorType, axis: int, **attributes: Any) -> TensorType:
        return _top(x, axis, attributes["size"]).with_dtype("int64")

    def evaluate(self, x: np.ndarray, *, axis: int, size: int) -> np.ndarray:
        # A stable descending order is a stable ascending one, read from the other end.
        turned = np.argsort(np.flip(_orderly(x, np.inf), axis), axis=axis, kind="stable")
        places = x.shape[axis] - 1 - np.flip(turned, axis)
        return np.take(places, np.arange(size), axis=axis)

    def samples(self) -> Iterable[Sample]:
        for sample in super().samples():
            yield Sample(sample.operands, {**sample.attributes, "size": 2})


class _InOrder(Primitive):
    """Entries taken in an order. Sorting two arrays brings them no further apart: ⟨x, y⟩ grows."""

    core = None

    @abstractmethod
    def places(self, build: Builder, x: Value, **attributes: Any) -> Value:
        """The places from which the entries are taken."""

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        **attributes: Any,
    ) -> Cotangents:
        (x,), (dy,) = operands, cotangents
        places = self.places(build, x, axis=axis, **attributes)
        return (build.op("scatter_along", dy, places, axis=axis, size=x.type.shape[axis]),)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return operands[0].range

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1)

    def decompose(self, build: Builder, x: Value, *, axis: int, **attributes: Any) -> Value:
        """x at the places of its order."""
        return build.op("take_along", x, self.places(build, x, axis=axis, **attributes), axis=axis)


@final
class Sort(_InOrder):
    """The entries along one axis in ascending order; NaN and ∞ last, as they stand.

    Maths    y_i = x[argsort(x)_i], so y_0 <= y_1 <= ..
    Types    x: [*p, n, *q] -> y: [*p, n, *q]
    Reverse  R(x, dy) = dy at the places from which the entries came; equals as they stand
    Facts    nonexpansive; its range is x's
    Source   hardy-littlewood-polya-1952, theorem 368
    """

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        check_numbers(operands[0])
        axis_size(operands[0], axis)
        return operands

    def evaluate(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.take_along_axis(x, np.argsort(_orderly(x, np.inf), axis=axis, kind="stable"), axis)

    def places(self, build: Builder, x: Value, **attributes: Any) -> Value:
        return build.op("argsort", x, **attributes)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 4), (3, 2))
        yield Sample((x,), {"axis": -1})
        yield Sample((y,), {"axis": -2})


@final
class Top(_InOrder):
    """The `size` largest entries along one axis, from the largest down.

    Maths    y_i = x[arg_top(x)_i], so y_0 >= y_1 >= ..
    Types    x: [*p, n, *q] with n >= size -> y: [*p, size, *q]
    Reverse  R(x, dy) = dy at the places from which the entries came, and 0 elsewhere
    Facts    nonexpansive, being sorting and a coordinate projection; its range is x's
    Source   hardy-littlewood-polya-1952, theorem 368
    """

    def types(self, operands: Types, regions: Regions, *, axis: int, size: Size) -> Types:
        check_numbers(operands[0])
        return (_top(operands[0], axis, size),)

    def evaluate(self, x: np.ndarray, *, axis: int, size: int) -> np.ndarray:
        if np.isnan(x).any():
            return np.take_along_axis(x, ArgTop().evaluate(x, axis=axis, size=size), axis)
        return np.take(np.flip(np.sort(x, axis=axis), axis), np.arange(size), axis=axis)

    def places(self, build: Builder, x: Value, **attributes: Any) -> Value:
        return build.op("arg_top", x, **attributes)

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 4), (3, 2))
        yield Sample((x,), {"axis": -1, "size": 3})
        yield Sample((y,), {"axis": -2, "size": 1})


def _top(x: TensorType, axis: int, size: Size) -> TensorType:
    entries = axis_size(x, axis)
    if isinstance(size, int) and (size < 0 or (isinstance(entries, int) and size > entries)):
        raise TypeMismatch(f"{x} has no {size} largest entries along axis {axis}")
    return resized(x, axis, size)
