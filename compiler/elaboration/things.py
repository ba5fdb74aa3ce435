"""What a formula can mean in the first stage: exact numbers, tables, run-time tensors, maps, functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.facts.quantity import Quantity
from banach.compiler.spec import Recurrence, Solve
from banach.compiler.text import syntax
from banach.compiler.text.source import Scalar
from banach.ir.dims import Size
from banach.ir.graph import Value
from banach.ir.span import Span


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number, known before the run."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Truth:
    """A truth value, known before the run."""

    value: bool


@dataclass(frozen=True, slots=True)
class Word:
    """A text in quotes, or a bare option such as `circular`."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Table:
    """An array that is known before the run: float64, int64 or bool."""

    array: np.ndarray
    label: str = ""


@dataclass(frozen=True, slots=True)
class Extent:
    """A size that is not known before the run."""

    size: Size


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value of the running program; `quantity` encloses it where it is a scalar that certificates use."""

    value: Value
    label: str = ""
    quantity: Quantity | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Complex:
    """A tensor of complex numbers: `pairs` has (Re, Im) on a last axis of its own."""

    pairs: Table | Tensor


@dataclass(frozen=True, slots=True)
class Several:
    """A tuple or a list."""

    items: tuple[Any, ...]


class Map:
    """Something that can be applied. Leaves below; the algebra of maps is in maps.py."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Formula(Map):
    """A map given by a formula over its parameters, with the names that it may read from outside."""

    name: str
    parameters: tuple[str, ...]
    body: syntax.Node
    names: "Environment"
    where: tuple[tuple[str, syntax.Node], ...] = ()
    rule: syntax.Node | None = None  # its change along dx, where the user gives that
    scans: tuple[tuple[Scalar, Recurrence], ...] = ()  # iterations of its own, run where it is applied
    solves: tuple[Solve, ...] = ()
    fresh: Callable[[str, int], "Formula"] | None = (
        None  # a copy with parameters of its own, by prefix and number
    )

    @property
    def iterates(self) -> bool:
        """Whether it holds iterations: its body may not be read without them, as they name values."""
        return bool(self.scans or self.solves)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix(Map):
    """x ↦ A x, for a table or tensor with two axes."""

    matrix: Table | Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Network(Map):
    """A network from a file: `trace` makes its graph for given types, `place` is where the spec names it."""

    file: str
    parameters: tuple[str, ...]
    trace: Callable[..., Any]
    place: Span


@dataclass(frozen=True, slots=True, eq=False)
class Included(Map):
    """Another spec: `work` gives its outputs for arguments, in a context, at a place."""

    name: str
    parameters: tuple[str, ...]
    work: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Identity(Map):
    """x ↦ x."""


@dataclass(frozen=True, slots=True, eq=False)
class Scaled(Map):
    """x ↦ c·f(x), for a number or scalar c."""

    factor: Any
    map: Map


@dataclass(frozen=True, slots=True, eq=False)
class Total(Map):
    """x ↦ f(x) + g(x) + ..."""

    maps: tuple[Map, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Composed(Map):
    """x ↦ f(g(x))."""

    outer: Map
    inner: Map


@dataclass(frozen=True, slots=True, eq=False)
class Adjoint(Map):
    """The adjoint of a linear map from a page or a formula."""

    map: Map


@dataclass(frozen=True, slots=True, eq=False)
class Partial(Map):
    """A map of which some arguments are given; None marks a hole."""

    map: Map
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Operator(Map):
    """A page of the library, with its arguments."""

    page: Any
    names: "Environment"


@dataclass(frozen=True, slots=True, eq=False)
class Function(Map):
    """A real-valued function from a page: it has a gradient or a prox, and facts."""

    page: Any
    names: "Environment"


@dataclass(frozen=True, slots=True, eq=False)
class Gradient(Map):
    """x ↦ ∇f(x)."""

    function: Map


@dataclass(frozen=True, slots=True, eq=False)
class GradientIn(Map):
    """(x, u, ...) ↦ the gradient of f(x, u, ...) in the argument at `place`."""

    function: Map
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class Jacobian(Map):
    """(x, u, ...) ↦ the Jacobian of F(x, u, ...) in the argument at `place`."""

    map: Map
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class Pushed(Map):
    """v ↦ D[F](point) v, where v moves the argument at `place`; all of them, one by one, if that is None."""

    map: Map
    point: tuple[Any, ...]
    place: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Pulled(Map):
    """w ↦ D[F](point)ᵀ w, its part for the argument at `place`; all of them if that is None.

    Where a semiring is named, with its bound, the derivative is that of the circuit, over the semiring.
    """

    map: Map
    point: tuple[Any, ...]
    place: int | None
    semiring: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Opaque(Map):
    """A map that is applied in one piece, and of which only what is declared is known."""

    map: Map
    name: str  # of the piece, one for each such map of a spec


@dataclass(frozen=True, slots=True, eq=False)
class Prox(Map):
    """x ↦ argmin_u f(u) + ‖u - x‖²/(2t)."""

    function: Function
    step: Any


@dataclass(frozen=True, slots=True)
class Broken:
    """The meaning of a name whose definition failed; it has been reported, so its users keep silent."""


class Environment:
    """Names and their meanings; an inner one is looked up before the outer."""

    __slots__ = ("known", "outer")

    def __init__(self, known: Mapping[str, Any] | None = None, outer: "Environment | None" = None):
        self.known = dict(known or {})
        self.outer = outer

    def find(self, name: str) -> Any | None:
        """The meaning of a name; one that is worked out on demand is worked out once. None: unknown."""
        place: Environment | None = self
        while place is not None:
            if name in place.known:
                found = place.known[name]
                if isinstance(found, Pending):
                    found = place.known[name] = found.settle()
                return found
            place = place.outer
        return None

    def visible(self) -> tuple[str, ...]:
        """Every name that can be seen from here, inner ones first."""
        names: dict[str, None] = {}
        place: Environment | None = self
        while place is not None:
            names.update(dict.fromkeys(place.known))
            place = place.outer
        return tuple(names)

    def inner(self, known: Mapping[str, Any]) -> "Environment":
        return Environment(known, self)


class Pending:
    """A definition that is worked out when it is first read, so that their order does not matter."""

    __slots__ = ("circle", "running", "work")

    def __init__(self, work: Callable[[], Any], circle: Callable[[], Exception]):
        self.work = work
        self.circle = circle  # the mistake to report where the definition needs itself
        self.running = False

    def settle(self) -> Any:
        """The meaning. Raises what `circle` makes when it is asked for while it is being worked out."""
        if self.running:
            raise self.circle()
        self.running = True
        try:
            return self.work()
        finally:
            self.running = False


def complex_type(shape: tuple[Size, ...]) -> str:
    """A type of complex numbers, as a spec writes it."""
    return f"complex[{', '.join(map(str, shape))}]" if shape else "complex"


def _told(pair: np.ndarray) -> str:
    re, im = pair
    return f"{re:g} {'-' if im < 0 else '+'} {abs(im):g} * i"


def describe(thing: Any) -> str:
    """A thing in words, for messages."""
    match thing:
        case Number(value):
            return f"the number {float(value):g}"
        case Truth():
            return "a truth value"
        case Word(value):
            return f"the word '{value}'"
        case Table(array):
            return f"a table [{', '.join(map(str, array.shape))}]"
        case Extent(size):
            return f"the size {size}"
        case Tensor(value):
            return str(value.type)
        case Complex(Tensor(value)):
            return complex_type(value.type.shape[:-1])
        case Complex(Table(array)):
            return complex_type(array.shape[:-1]) if array.ndim > 1 else f"the complex number {_told(array)}"
        case Several(items):
            return f"{len(items)} things in brackets"
        case Function(page):
            return f"the function {page.name}"
        case Map():
            return "a map"
        case _:
            return f"a {type(thing).__name__.lower()}"
