"""Numbers in front of states and gradients: exact where identities count, enclosed where sizes count.

A coefficient is a polynomial with rational coefficients in numbers that are known by an enclosure only, so
that (1 + b) - b is 1 whatever b is. Beside that stand its enclosures, with every number as written and as
stored.
"""

import json
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.things import Number, Table
from banach.compiler.facts import quantity as q
from banach.ir.exact import round_float

Monomial = tuple[str, ...]  # names of enclosed numbers, sorted, repeated as often as they are multiplied
_LONGEST = 64  # terms, and factors of each
_MOST_BITS = 4096


class NoCoefficient(Exception):
    """A number has no such form; the message says why."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """See above. `terms` has no zero."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    written: q.Quantity
    stored: q.Quantity

    @property
    def is_zero(self) -> bool:
        return not self.terms

    @property
    def rational(self) -> Fraction | None:
        """The number, where it is one rational."""
        if not self.terms:
            return Fraction(0)
        (monomial, value), *rest = self.terms
        return value if not rest and not monomial else None

    def __add__(self, other: "Coefficient") -> "Coefficient":
        terms = dict(self.terms)
        for monomial, value in other.terms:
            terms[monomial] = terms.get(monomial, Fraction(0)) + value
        return self._with("+", other, terms)

    def __mul__(self, other: "Coefficient") -> "Coefficient":
        terms: dict[Monomial, Fraction] = {}
        for a, x in self.terms:
            for b, y in other.terms:
                monomial = tuple(sorted((*a, *b)))
                terms[monomial] = terms.get(monomial, Fraction(0)) + x * y
        return self._with("*", other, terms)

    def __neg__(self) -> "Coefficient":
        return exactly(Fraction(-1)) * self

    def __sub__(self, other: "Coefficient") -> "Coefficient":
        return self + -other

    def inverse(self) -> "Coefficient":
        """1/self. NoCoefficient: it may be zero."""
        exact = self.rational
        if exact == 0 or self.written.interval.lo <= 0 <= self.written.interval.hi:
            raise NoCoefficient("a division by what may be zero")
        one = q.number(1)
        written, stored = q.combine("/", one, self.written), q.combine("/", one, self.stored)
        if exact is not None:
            return Coefficient((((), 1 / exact),), written, stored)
        return Coefficient((((json.dumps(written.tree),), Fraction(1)),), written, stored)

    def _with(self, op: str, other: "Coefficient", terms: dict[Monomial, Fraction]) -> "Coefficient":
        kept = {monomial: value for monomial, value in terms.items() if value}
        bits = max((x.numerator.bit_length() + x.denominator.bit_length() for x in kept.values()), default=0)
        if len(kept) > _LONGEST or any(len(m) > _LONGEST for m in kept) or bits > _MOST_BITS:
            raise NoCoefficient("a formula that grows too long")
        if op == "*" and not kept:
            return ZERO
        written = _combined(op, self.written, other.written)
        return Coefficient(tuple(kept.items()), written, _combined(op, self.stored, other.stored))


def _combined(op: str, left: q.Quantity, right: q.Quantity) -> q.Quantity:
    """The same, without what changes nothing: derivations stay as short as the formulas."""
    if op == "+" and left.is_zero:
        return right
    if op == "+" and right.is_zero:
        return left
    if op == "*" and left.tree == ["number", "1"]:
        return right
    return left if op == "*" and right.tree == ["number", "1"] else q.combine(op, left, right)


def exactly(value: Fraction) -> Coefficient:
    """A number that the model holds exactly, or does not hold at all."""
    return Coefficient((((), value),) if value else (), q.number(value), q.number(value))


ZERO = exactly(Fraction(0))
ONE = exactly(Fraction(1))


def coefficient_of(thing: Any, precision: str) -> Coefficient:
    """The coefficient that a scalar is. NoCoefficient: it is none, or nothing bounds it."""
    if isinstance(thing, Number) or (isinstance(thing, Table) and thing.array.ndim == 0):
        known = arithmetic.quantity_of(thing)
        if known is None:
            raise NoCoefficient("a number that is not finite")
        value = Fraction(known.interval.lo)
        try:
            stored = round_float(value, precision)
        except OverflowError:
            raise NoCoefficient("a number too large for the model's precision") from None
        return Coefficient((((), value),) if value else (), q.number(value), q.number(stored))
    known = arithmetic.quantity_of(thing)
    if known is None or not known.interval.is_finite:
        raise NoCoefficient("a number that is known only when the model runs")
    return Coefficient((((json.dumps(known.tree),), Fraction(1)),), known, known)
