"""Entries moved along one axis: around, mirrored, apart, beyond the ends. Axes are counted from the end."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Known, Regions, Sample, Types, Values, draw
from banach.ir.primitives.shape import Rearrangement, axis_size, resized
from banach.ir.tensor_type import TypeMismatch


class _Along(Rearrangement):
    """Moves every row in the same way, so that an axis in front changes nothing."""

    example: ClassVar[Mapping[str, Any]] = {}

    def samples(self) -> Iterable[Sample]:
        x, y = draw((2, 4), (4, 2))
        yield Sample((x,), {"axis": -1, **self.example})
        yield Sample((y,), {"axis": -2, **self.example})


@final
class Roll(_Along):
    """Every entry `shift` places further; what leaves at the end comes back at the start.

    Maths    y_i = x_((i - shift) mod n)
    Types    x: [.., n, ..] -> y: [.., n, ..]; shift is any integer
    Reverse  R(x, dy) = dy moved back
    Facts    linear, an isometry
    Source   textbook
    """

    example = {"shift": 1}

    def types(self, operands: Types, regions: Regions, *, axis: int, shift: int) -> Types:
        axis_size(operands[0], axis)
        return operands

    def evaluate(self, x: np.ndarray, *, axis: int, shift: int) -> np.ndarray:
        return np.roll(x, shift, axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int, shift: int
    ) -> Cotangents:
        return (build.op("roll", cotangents[0], axis=axis, shift=-shift),)

    def decompose(self, build: Builder, x: Value, *, axis: int, shift: int) -> Value:
        """The last `shift` entries, then the others."""
        size = x.type.shape[axis]
        if not isinstance(size, int):  # how often the shift goes around is known when it runs
            start = build.scalar(-shift, "int64")
            places = build.op("count", size=size, dtype="int64") + start
            entries = build.op("extent", size=size, dtype="int64")
            return build.op("take", x, build.op("modulo", places, entries), axis=axis)
        cut = -shift % size if size else 0
        if not cut:
            return x
        first = build.op("slice", x, axis=axis, start=cut, stop=size)
        return build.op("concatenate", first, build.op("slice", x, axis=axis, start=0, stop=cut), axis=axis)

    def samples(self) -> Iterable[Sample]:
        yield from super().samples()
        yield Sample(draw((3,)), {"axis": -1, "shift": -5})


@final
class Flip(_Along):
    """The entries in the opposite order.

    Maths    y_i = x_(n - 1 - i)
    Types    x: [.., n, ..] -> y: [.., n, ..]
    Reverse  R(x, dy) = dy in the opposite order
    Facts    linear, an isometry, its own inverse
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, axis: int) -> Types:
        axis_size(operands[0], axis)
        return operands

    def evaluate(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.flip(x, axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int
    ) -> Cotangents:
        return (build.op("flip", cotangents[0], axis=axis),)


@final
class Stride(_Along):
    """The first entry and every `step`-th after it.

    Maths    y_i = x_(i·step)
    Types    x: [.., n, ..] -> y: [.., ceil(n/step), ..]; step >= 1
    Reverse  R(x, dy) = dy with zeros between
    Facts    linear, nonexpansive: a coordinate projection
    Source   textbook
    """

    example = {"step": 3}

    def types(self, operands: Types, regions: Regions, *, axis: int, step: int) -> Types:
        (x,) = operands
        return (resized(x, axis, _strided(axis_size(x, axis), step)),)

    def evaluate(self, x: np.ndarray, *, axis: int, step: int) -> np.ndarray:
        return np.take(x, np.arange(0, x.shape[axis], step), axis=axis)

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, *, axis: int, step: int
    ) -> Cotangents:
        size = operands[0].type.shape[axis]
        return (build.op("dilate", cotangents[0], axis=axis, step=step, size=size),)

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        return Interval.between(0, 1)


@final
class Dilate(_Along):
    """step - 1 zeros after every entry, as far as `size` goes: the adjoint of `stride`.

    Maths    y_(i·step) = x_i, and 0 elsewhere
    Types    x: [.., ceil(size/step), ..] -> y: [.., size, ..]; step >= 1
    Reverse  R(x, dy) = the first entry of dy and every `step`-th after it
    Facts    linear, an isometry
    Source   textbook
    """

    example = {"step": 2, "size": 7}

    def types(self, operands: Types, regions: Regions, *, axis: int, step: int, size: Size) -> Types:
        (x,) = operands
        if axis_size(x, axis) != _strided(size, step):
            raise TypeMismatch(f"{x} does not fill an axis of {size} in steps of {step}")
        return (resized(x, axis, size),)

    def evaluate(self, x: np.ndarray, *, axis: int, step: int, size: int) -> np.ndarray:
        y = np.zeros(x.shape[:axis] + (size,) + x.shape[x.ndim + axis + 1 :], x.dtype)
        y[(..., slice(None, None, step), *(slice(None),) * (-1 - axis))] = x
        return y

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        step: int,
        size: Size,
    ) -> Cotangents:
        return (build.op("stride", cotangents[0], axis=axis, step=step),)

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        return operands[0].range.hull(0)

    def decompose(self, build: Builder, x: Value, *, axis: int, step: int, size: Size) -> Value:
        """Every entry as a row of its own, zeros behind it, and the rows one after the other."""
        cut, entries = x.type.rank + axis, x.type.shape[axis]
        before, after = x.type.shape[:cut], x.type.shape[cut + 1 :]
        column = build.op("reshape", x, shape=(*before, entries, 1, *after))
        rows = build.op("pad", column, axis=axis, before=0, after=step - 1)
        long = build.op("reshape", rows, shape=(*before, entries * step, *after))
        return build.op("slice", long, axis=axis, start=0, stop=size)


def _strided(size: Size, step: int) -> Size:
    if step < 1:
        raise TypeMismatch(f"a step of {step} does not go forwards")
    return (size + (step - 1)) // step


class _Extension(_Along):
    """The axis continued on both sides by entries of its own. Copies of an entry do not overlap."""

    example = {"before": 2, "after": 1}

    @abstractmethod
    def reach(self, size: int) -> int:
        """The most entries that can come on either side."""

    @abstractmethod
    def source(self, size: int, before: int, after: int) -> np.ndarray:
        """Where every entry of the result comes from."""

    def types(self, operands: Types, regions: Regions, *, axis: int, before: int, after: int) -> Types:
        (x,) = operands
        size = axis_size(x, axis)
        if min(before, after) < 0 or (isinstance(size, int) and max(before, after) > self.reach(size)):
            raise TypeMismatch(f"an axis of {size} is not continued by {before} and {after} entries")
        return (resized(x, axis, size + (before + after)),)

    def evaluate(self, x: np.ndarray, *, axis: int, before: int, after: int) -> np.ndarray:
        return np.take(x, self.source(x.shape[axis], before, after), axis=axis)

    def gain(self, index: int, operands: Sequence[Known], *, axis: int, before: int, after: int) -> Interval:
        size = operands[0].type.shape[axis]
        if not isinstance(size, int):  # an entry has at most a copy on either side
            return Interval.between(1, 1 + (before > 0) + (after > 0)).sqrt()
        if not size:
            return Interval.of(1)
        return Interval.of(int(np.bincount(self.source(size, before, after)).max())).sqrt()


@final
class WrapPad(_Extension):
    """The axis continued as if it were a circle.

    Maths    y_i = x_((i - before) mod n)
    Types    x: [.., n, ..] -> y: [.., before + n + after, ..]; before, after <= n
    Reverse  R(x, dy) = the middle of dy, with its ends added to the entries from which they came
    Facts    linear; gain √c where an entry appears at most c times
    Source   textbook
    """

    def reach(self, size: int) -> int:
        return size

    def source(self, size: int, before: int, after: int) -> np.ndarray:
        return np.arange(-before, size + after) % max(size, 1)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        before: int,
        after: int,
    ) -> Cotangents:
        (dy,), size = cotangents, operands[0].type.shape[axis]
        left, total, right = _parts(dy, axis, size, before, after)
        total = total + build.op("pad", left, axis=axis, before=size - before, after=0)
        return (total + build.op("pad", right, axis=axis, before=0, after=size - after),)

    def decompose(self, build: Builder, x: Value, *, axis: int, before: int, after: int) -> Value:
        """The last entries, all of them, the first."""
        size = x.type.shape[axis]
        left = build.op("slice", x, axis=axis, start=size - before, stop=size)
        right = build.op("slice", x, axis=axis, start=0, stop=after)
        return build.op("concatenate", left, x, right, axis=axis)


@final
class ReflectPad(_Extension):
    """The axis continued by its mirror images at both ends; the entry at the end itself is not repeated.

    Maths    y = (x_before, .., x_1, x_0, .., x_(n-1), x_(n-2), .., x_(n-1-after))
    Types    x: [.., n, ..] -> y: [.., before + n + after, ..]; before, after <= n - 1
    Reverse  R(x, dy) = the middle of dy, with its ends added to the entries from which they came
    Facts    linear; gain √c where an entry appears at most c times
    Source   textbook
    """

    def reach(self, size: int) -> int:
        return max(size - 1, 0)

    def source(self, size: int, before: int, after: int) -> np.ndarray:
        places = np.abs(np.arange(-before, size + after))
        return np.where(places < size, places, 2 * (size - 1) - places)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axis: int,
        before: int,
        after: int,
    ) -> Cotangents:
        (dy,), size = cotangents, operands[0].type.shape[axis]
        left, total, right = _parts(dy, axis, size, before, after)
        left, right = (build.op("flip", part, axis=axis) for part in (left, right))
        if before:
            total = total + build.op("pad", left, axis=axis, before=1, after=size - 1 - before)
        if after:
            total = total + build.op("pad", right, axis=axis, before=size - 1 - after, after=1)
        return (total,)

    def decompose(self, build: Builder, x: Value, *, axis: int, before: int, after: int) -> Value:
        """The mirrored first entries, all of them, the mirrored last."""
        size, parts = x.type.shape[axis], [x]
        if before:
            left = build.op("slice", x, axis=axis, start=1, stop=before + 1)
            parts.insert(0, build.op("flip", left, axis=axis))
        if after:
            right = build.op("slice", x, axis=axis, start=size - 1 - after, stop=size - 1)
            parts.append(build.op("flip", right, axis=axis))
        return build.op("concatenate", *parts, axis=axis)


def _parts(dy: Value, axis: int, size: Size, before: int, after: int) -> list[Value]:
    """What stands before, in, and behind the middle."""
    middle = before + size
    ends = [(0, before), (before, middle), (middle, middle + after)]
    return [dy.builder.op("slice", dy, axis=axis, start=start, stop=stop) for start, stop in ends]
