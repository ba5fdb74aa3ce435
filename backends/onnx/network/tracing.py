"""What nodes work on while a network is traced, and how they add operations.

A thing is a value of the running program, or an array that is known before the run: weights, and shapes.
What depends on known things alone is worked out at once, reals in float64; the rest becomes operations. A
size that has a name stands in an array of objects, so that arithmetic of shapes works for it too.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tensors import LARGEST
from banach.ir.dims import Dim, Size
from banach.ir.graph import Builder, Value, infer
from banach.ir.primitive import page
from banach.ir.span import Span
from banach.ir.tensor_type import FLOATS, TensorType, TypeMismatch, numpy_dtype

Thing = Value | np.ndarray


class Trace:
    """A graph under construction, the dtype of its reals, and where in the spec all of it stands."""

    def __init__(self, build: Builder, precision: str, place: Span | None = None):
        self.build, self.precision, self.place = build, precision, place
        self._made: dict[int, tuple[np.ndarray, Value]] = {}  # by identity; the array is kept alive with it
        self._weights: dict[int, tuple[np.ndarray, str]] = {}  # likewise: the weight that an array is made of
        self.labels: dict[str, str] = {}  # digest of a constant -> that weight
        self._origins: dict[int, tuple[str, tuple[Thing, ...]]] = {}  # value -> what it was made by

    def name(self, weight: np.ndarray, label: str) -> np.ndarray:
        """The weight, whose name goes with what is made of it."""
        self._weights.setdefault(id(weight), (weight, label))
        return weight

    def op(self, name: str, *things: Thing | float, **attributes: Any) -> Thing:
        """A primitive applied to things; a number stands for a known one. Uncovered: they do not fit."""
        known = [np.asarray(t) if isinstance(t, int | float) else t for t in things]
        try:
            if all(isinstance(t, np.ndarray) for t in known) and not _is_open(attributes):
                return self._known(name, known, attributes)
            leader = next((t.type.dtype for t in known if isinstance(t, Value)), self.precision)
            values = [self._like(given, t, leader) for given, t in zip(things, known)]
            self._bound(infer(name, [v.type for v in values], attributes)[0])
            made = self.build.op(name, *values, place=self.place, **attributes)
            self._origins[made.id] = (name, tuple(known))
            return made
        except TypeMismatch as mismatch:
            raise Uncovered(str(mismatch)) from None

    def origin(self, thing: Thing) -> tuple[str, tuple[Thing, ...]]:
        """The primitive that made a value, and of what; no name for what was not made here."""
        return self._origins.get(thing.id, ("", ())) if isinstance(thing, Value) else ("", ())

    def _like(self, given: Any, thing: Thing, leader: str) -> Value:
        """A bare number takes the dtype of the operand beside it."""
        if isinstance(given, int | float) and not isinstance(given, bool) and leader != "bool":
            return self.build.scalar(float(given) if leader in FLOATS else int(given), leader)
        return self.value(thing)

    def _known(self, name: str, arrays: Sequence[Any], attributes: dict[str, Any]) -> np.ndarray:
        definition = page(name)
        if definition.core is not None and any(a.dtype.kind == "f" for a in arrays):
            arrays = [a.astype(np.float64) if a.dtype.kind == "i" and a.ndim == 0 else a for a in arrays]
        if not any(a.dtype == object for a in arrays):
            types = [TensorType(str(a.dtype), a.shape) for a in arrays]
            self._bound(infer(name, types, attributes)[0])
        with np.errstate(all="ignore"):
            made = np.asarray(definition.evaluate(*arrays, **attributes))
        source = next((self._weights[id(a)][1] for a in arrays if id(a) in self._weights), None)
        return made if source is None else self.name(made, source)

    def _bound(self, type: TensorType) -> None:
        known = [size for size in type.shape if isinstance(size, int)]
        if math.prod(known) > LARGEST:
            raise Uncovered(f"its result has {math.prod(known):,} entries, more than {LARGEST:,}")

    def value(self, thing: Thing) -> Value:
        """The thing as a value of the graph. Uncovered: it is not finite in the precision of the spec."""
        if isinstance(thing, Value):
            return thing
        if id(thing) not in self._made:
            made = self._constant(thing)
            self._made[id(thing)] = (thing, made)
            held = self.build.constant_of(made)
            if id(thing) in self._weights and held is not None:
                self.labels.setdefault(held.digest, self._weights[id(thing)][1])
        return self._made[id(thing)][1]

    def _constant(self, array: np.ndarray) -> Value:
        if array.dtype == object:
            return self._extents(array, "int64")
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(numpy_dtype(self.precision))
            if not np.all(np.isfinite(array)):
                raise Uncovered(f"it computes with a constant that is not finite in {self.precision}")
        return self.build.constant(array, self.place)

    def _extents(self, sizes: np.ndarray, dtype: str) -> Value:
        parts = [self.build.op("extent", size=size, dtype=dtype, place=self.place) for size in sizes.flat]
        row = [self.build.op("reshape", part, shape=(1,), place=self.place) for part in parts]
        whole = self.build.op("concatenate", *row, axis=-1, place=self.place)
        return self.build.op("reshape", whole, shape=sizes.shape, place=self.place)

    def cast(self, thing: Thing, dtype: str) -> Thing:
        """The thing as float, int64 or bool."""
        kind = self.precision if dtype == "float" else dtype
        if isinstance(thing, np.ndarray) and thing.dtype == object:
            return thing if dtype == "int64" else self._extents(thing, kind)
        if isinstance(thing, np.ndarray):
            with np.errstate(invalid="ignore"):
                return thing.astype(np.float64 if dtype == "float" else kind)
        return thing if thing.type.dtype == kind else self.op("cast", thing, dtype=kind)


def _is_open(attributes: dict[str, Any]) -> bool:
    """Whether an attribute has a size that is known only at run time."""
    parts = (v if isinstance(v, tuple) else (v,) for v in attributes.values())
    return any(isinstance(part, Dim) for several in parts for part in several)


# --- questions ----------------------------------------------------------------------------------------------


def shape_of(thing: Thing) -> tuple[Size, ...]:
    return thing.type.shape if isinstance(thing, Value) else thing.shape


def rank_of(thing: Thing) -> int:
    return len(shape_of(thing))


def is_real(thing: Thing) -> bool:
    return thing.type.is_float if isinstance(thing, Value) else thing.dtype.kind == "f"


def is_truth(thing: Thing) -> bool:
    return (thing.type.dtype if isinstance(thing, Value) else str(thing.dtype)) == "bool"


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the end. Uncovered: there is none."""
    if not -rank <= axis < rank:
        raise Uncovered(f"there is no axis {axis}; the tensor has {rank}")
    return axis - rank if axis >= 0 else axis


def known(thing: Thing | None, what: str) -> np.ndarray:
    """An array that is known before the run. Uncovered: it is not."""
    if not isinstance(thing, np.ndarray):
        raise Uncovered(f"its {what} must be known before the run")
    return thing


def sizes_in(thing: Thing | None, what: str) -> tuple[Size, ...]:
    """Whole numbers or named sizes that are known before the run."""
    array = known(thing, what)
    if array.dtype.kind not in "iO" or array.ndim > 1:
        raise Uncovered(f"its {what} is no list of whole numbers")
    return tuple(size if isinstance(size, Dim) else int(size) for size in array.reshape(-1))


def whole(thing: Thing | None, what: str) -> tuple[int, ...]:
    """Whole numbers that are known before the run."""
    found = sizes_in(thing, what)
    numbers = tuple(size for size in found if isinstance(size, int))
    if len(numbers) != len(found):
        raise Uncovered(f"its {what} depends on a size that is known only when the model runs")
    return numbers


def fixed(shape: Sequence[Size], what: str = "shape") -> tuple[int, ...]:
    """Sizes that are numbers. Uncovered: one has a name."""
    numbers = tuple(size for size in shape if isinstance(size, int))
    if len(numbers) != len(shape):
        raise Uncovered(f"its {what} has a size that is known only when the model runs")
    return numbers


def product(shape: Sequence[Size]) -> Size:
    total: Size = 1
    for size in shape:
        total = total * size
    return total
