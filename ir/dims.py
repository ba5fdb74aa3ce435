"""Sizes of axes: integers, names, and polynomials of names with opaque floor-division.

A size is an `int`, or a `Dim` where a name is involved. Arithmetic keeps one normal form, so two sizes
are equal for every value of their names exactly when they compare equal (floor-division apart, which is
opaque: `n // 2 * 2` is not `n`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Quotient:
    """`numerator // denominator`, where the division does not come out even for every value."""

    numerator: "Size"
    denominator: "Size"

    def __str__(self) -> str:
        # Parentheses outside, because it stands in products and powers.
        return f"(({self.numerator}) // ({self.denominator}))"


Atom = str | Quotient
Monomial = tuple[tuple[Atom, int], ...]  # atoms with their powers, sorted by their text


@dataclass(frozen=True, slots=True)
class Dim:
    """An integer polynomial: monomials with their non-zero coefficients, sorted."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: "Size") -> "Size":
        return _collect([*self.terms, *_terms(other)])

    def __mul__(self, other: "Size") -> "Size":
        return _collect([(_times(a, b), p * q) for a, p in self.terms for b, q in _terms(other)])

    def __neg__(self) -> "Size":
        return self * -1

    def __sub__(self, other: "Size") -> "Size":
        return self + other * -1

    def __rsub__(self, other: "Size") -> "Size":
        return -self + other

    def __floordiv__(self, other: "Size") -> "Size":
        exact = _divide(self, other)
        return _atom(Quotient(self, other)) if exact is None else exact

    def __rfloordiv__(self, other: int) -> "Size":
        return 0 if other == 0 else _atom(Quotient(other, self))

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        return " + ".join(_print(monomial, coefficient) for monomial, coefficient in self.terms)


Size = int | Dim


def named(name: str) -> Dim:
    """The size called `name`."""
    return Dim(((((name, 1),), 1),))


def names(size: Size) -> Iterator[str]:
    """The names in a size, repeats included."""
    if isinstance(size, int):
        return
    for monomial, _ in size.terms:
        for atom, _ in monomial:
            if isinstance(atom, str):
                yield atom
            else:
                yield from names(atom.numerator)
                yield from names(atom.denominator)


def bind(size: Size, values: Mapping[str, int]) -> int:
    """The value of a size where its names have the given values. KeyError: a name has none."""
    if isinstance(size, int):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        for atom, power in monomial:
            coefficient *= _atom_value(atom, values) ** power
        total += coefficient
    return total


def _atom_value(atom: Atom, values: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return values[atom]
    return bind(atom.numerator, values) // bind(atom.denominator, values)


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(size, Dim):
        return size.terms
    return (((), size),) if size else ()


def _atom(atom: Atom) -> Dim:
    return Dim(((((atom, 1),), 1),))


def _key(monomial: Monomial) -> tuple[int, str]:
    return -sum(power for _, power in monomial), str([(str(atom), power) for atom, power in monomial])


def _collect(terms: list[tuple[Monomial, int]]) -> Size:
    sums: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        sums[monomial] = sums.get(monomial, 0) + coefficient
    kept = sorted(((m, c) for m, c in sums.items() if c), key=lambda term: _key(term[0]))
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Dim(tuple(kept))


@lru_cache(maxsize=4096)
def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _divide(size: Dim, divisor: Size) -> Size | None:
    """The quotient by a single monomial where it is exact for every value of the names, else None."""
    terms = _terms(divisor)
    if len(terms) != 1:
        return 1 if size == divisor else None
    (below, factor), quotient = terms[0], []
    for monomial, coefficient in size.terms:
        powers = dict(monomial)
        for atom, power in below:
            powers[atom] = powers.get(atom, 0) - power
        if coefficient % factor or any(power < 0 for power in powers.values()):
            return None
        quotient.append((tuple((atom, p) for atom, p in powers.items() if p), coefficient // factor))
    return _collect(quotient)


def _print(monomial: Monomial, coefficient: int) -> str:
    factors = [str(atom) if power == 1 else f"{atom}**{power}" for atom, power in monomial]
    if not factors:
        return str(coefficient)
    return "*".join(factors if coefficient == 1 else [str(coefficient), *factors])
