"""Where a formula puts its operations: one graph under construction, and those around it.

Regions are closed, so a tensor of an outer graph that a formula reads inside a region becomes a capture: an
input of the region, and an operand of the operation that holds it. Constants are simply repeated.
"""

from fractions import Fraction
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.things import Complex, Extent, Number, Table, Tensor, Truth
from banach.ir.dims import FREE, Assumptions
from banach.ir.graph import Builder, Value
from banach.ir.quantised import Quantised
from banach.ir.span import Span
from banach.ir.tensor import Tensor as Constant
from banach.ir.tensor import fixed
from banach.ir.tensor_type import FLOATS, TensorType, numpy_dtype


class Scope:
    """A graph under construction, the dtype of its reals, and what it captures from outside."""

    def __init__(self, name: str, precision: str, outer: "Scope | None" = None, mixed: bool = False):
        self.build = Builder(name)
        self.precision = precision
        self.mixed: bool = outer.mixed if outer else mixed  # whether solves begin in float32
        self.outer = outer
        self.contract: Assumptions = outer.contract if outer else FREE  # what is assumed of sizes
        self.captured: dict[tuple[int, int], tuple[Value, Value]] = {}  # outer value -> (outer, inner)
        self.labels: dict[str, str] = outer.labels if outer else {}  # digest of a weight -> its name
        self.quantised: dict[str, Quantised] = outer.quantised if outer else {}  # by digest
        self.opened: list[int] = outer.opened if outer else [0]  # how many scopes were opened before, in all
        self.number = self.opened[0]
        self.opened[0] += 1
        self.applied: list[int] = outer.applied if outer else [0]  # how many maps, in all
        self.deep: list[int] = outer.deep if outer else [0]  # how many maps are being applied, one in another
        self.places: dict[str, Span] = (
            outer.places if outer else {}
        )  # where the names of the spec are defined
        self.tried: set[Any] = (
            outer.tried if outer else set()
        )  # derivatives that were held against differences
        self.reports: dict[str, Value] = {}  # of the solves inside maps that were applied here
        self.skipped: set[str] = set()  # those of work that is not done in every step; negative if it was not
        self.matrices: dict[int, tuple[Any, Any]] = {}  # complex ones of this graph, with their real matrices
        self._made: dict[int, tuple[Any, Value]] = {}  # by identity; the thing itself is kept alive with it

    def inner(self, name: str) -> "Scope":
        """The scope of a region inside this one."""
        return Scope(name, self.precision, self)

    @property
    def outermost(self) -> "Scope":
        """The scope of the model's own graph."""
        return self if self.outer is None else self.outer.outermost

    def home(self, value: Value) -> "Scope":
        """The scope whose graph a value belongs to: this one, or one around it."""
        place: Scope | None = self
        while place is not None and place.build is not value.builder:
            place = place.outer
        if place is None:
            raise ValueError("a value of another graph")
        return place

    def report(self, name: str, value: Value) -> None:
        """Keeps what a solve inside a map leaves, or the larger where there was one of that name."""
        known = self.reports.get(name)
        self.reports[name] = value if known is None else self.build.op("maximum", known, value)

    def value(self, thing: Any, like: TensorType | None = None, place: Span | None = None) -> Value:
        """The thing as a value of this graph; numbers take the dtype of `like`, or the spec's precision."""
        dtype = like.dtype if like else self.precision
        match thing:
            case Tensor(value):
                return self.bring(value)
            case Number(number):
                return self.build.scalar(_exact_in(number, dtype), dtype)
            case Truth(truth):
                return self.build.scalar(truth, "bool")
            case Table():
                return self._table(thing, place)
            case Extent(size):
                return self.build.op("extent", size=size, dtype=dtype, place=place)
            case Complex():  # who can take its pairs does so by `carried`
                fix = "take real(z) and imag(z) apart"
                raise refuse(WRONG_KIND, "complex numbers are not taken here", place, fix=fix)
            case _:
                raise TypeError(f"{type(thing).__name__} is no tensor")

    def bring(self, value: Value) -> Value:
        """A value of this graph or of one around it, as a value of this graph."""
        if value.builder is self.build:
            return value
        constant = value.builder.constant_of(value)
        if constant is not None:
            return self._repeat(constant)
        key = (id(value.builder), value.id)
        if key not in self.captured:
            if self.outer is None:
                raise ValueError("a value of another graph")
            outer = self.outer.bring(value)
            self.captured[key] = (outer, self.build.input(f"captured.{len(self.captured)}", value.type))
        return self.captured[key][1]

    def _repeat(self, constant: Constant) -> Value:
        array = constant.array
        if array.ndim == 0:
            return self.build.scalar(array.item(), str(array.dtype))
        if id(constant) not in self._made:
            self._made[id(constant)] = (constant, self.build.constant(constant))
        return self._made[id(constant)][1]

    def _table(self, table: Table, place: Span | None) -> Value:
        if id(table) not in self._made:
            weight = Constant(stored(table, self.precision))
            if table.label:
                self.labels.setdefault(weight.digest, table.label)
            self._made[id(table)] = (table, self.build.constant(weight, place))
        return self._made[id(table)][1]


def dtype_of(precision: str) -> str:
    """The dtype of reals in a model of this `precision`; a mixed one gives and takes float64."""
    return "float64" if precision == "mixed" else precision


_stored: WeakKeyDictionary[Table, dict[str, np.ndarray]] = WeakKeyDictionary()


def stored(table: Table, precision: str) -> np.ndarray:
    """The array that the compiled model holds for a table."""
    if table.array.dtype.kind != "f":
        return table.array
    known = _stored.setdefault(table, {})
    if precision not in known:
        known[precision] = fixed(table.array.astype(numpy_dtype(precision)))
    return known[precision]


def _exact_in(number: Fraction, dtype: str) -> float | int:
    if dtype in FLOATS:
        return float(number)
    if number.denominator != 1:
        raise ValueError(f"{float(number):g} is no integer")
    return int(number)
