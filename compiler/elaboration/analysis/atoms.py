"""What polynomials of formulas are made of: names, states, and whatever is neither sum nor product.

A polynomial has rational coefficients and atoms, and an atom's parts are polynomials again. An atom is known
to its algebra by a number.
"""

from dataclasses import dataclass
from fractions import Fraction

Monomial = tuple[tuple[int, int], ...]  # atoms and their powers, in order
Poly = tuple[tuple[Monomial, Fraction], ...]  # no coefficient is 0

Shape = tuple[object, ...] | None  # None: not known

ZERO: Poly = ()
ONE: Poly = (((), Fraction(1)),)
NUMBERS = ("lipschitz", "norm", "strong_convexity", "dot")  # words whose value is a number


@dataclass(frozen=True, slots=True)
class Word:
    """A name of the language."""

    id: str


@dataclass(frozen=True, slots=True)
class Own:
    """A name that the spec defines."""

    id: str


@dataclass(frozen=True, slots=True)
class State:
    """A state's old value."""

    id: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A page's parameter that stands for nothing yet."""

    id: str


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum that is divided by; its first coefficient is 1."""

    inner: Poly


@dataclass(frozen=True, slots=True)
class Root:
    """A square root."""

    inner: Poly


@dataclass(frozen=True, slots=True)
class Power:
    """A power that is not multiplied out."""

    base: Poly
    exponent: Poly


@dataclass(frozen=True, slots=True)
class Applied:
    """A map applied to arguments, or a word to what makes a map of it."""

    map: Poly
    arguments: tuple[Poly, ...]
    keywords: tuple[tuple[str, Poly], ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """A comparison, an index and the like: what it is, and its parts."""

    head: tuple[object, ...]
    parts: tuple[Poly, ...]


SHAPELY = (Word("grad"), Word("prox"))  # their maps keep shapes
Atom = Word | Own | State | Variable | Sum | Root | Power | Applied | Other


def constant(poly: Poly) -> Fraction | None:
    """The number that a polynomial is, if it is one."""
    if not poly:
        return Fraction(0)
    return poly[0][1] if len(poly) == 1 and not poly[0][0] else None


def parts(atom: Atom) -> tuple[Poly, ...]:
    """The polynomials in an atom."""
    match atom:
        case Sum(inner) | Root(inner):
            return (inner,)
        case Power(base, exponent):
            return base, exponent
        case Applied(map, arguments, keywords):
            return (map, *arguments, *(value for _, value in keywords))
        case Other(_, parts):
            return parts
        case _:
            return ()
