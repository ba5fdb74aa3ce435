"""Sizes of axes: integers, names, and polynomials of names with opaque floor-division.

A size is an `int`, or a `Dim` where a name is involved. Arithmetic keeps one normal form, so two sizes
are equal for every value of their names exactly when they compare equal (floor-division apart, which is
opaque: `n // 2 * 2` is not `n`, unless `Assumptions` say that 2 divides n).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, gcd


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


def learn(size: Size, actual: int, values: dict[str, int]) -> None:
    """Where a size is c·n + d, and n has no value yet, gives n the one at which the size is `actual`."""
    terms = dict(_terms(size))
    constant = terms.pop((), 0)
    if len(terms) != 1:
        return
    ((monomial, coefficient),) = terms.items()
    (name, power), *others = monomial
    if isinstance(name, str) and power == 1 and not others and (actual - constant) % coefficient == 0:
        values.setdefault(name, (actual - constant) // coefficient)


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


# --- what is taken for granted of names ---------------------------------------------------------------------

RELATIONS = ("<=", "<", ">=", ">", "==", "!=")
_Rational = dict[Monomial, Fraction]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """A least value and a divisor for names; of a name that is not listed, that it is at least 1.

    `bounds` holds (name, least, multiple), sorted by name, where that says more than nothing; `assume` makes
    it. The least value is itself a multiple, so equal contracts are equal.
    """

    bounds: tuple[tuple[str, int, int], ...] = ()

    def least(self, name: str) -> int:
        """The smallest value of a name."""
        return next((least for known, least, _ in self.bounds if known == name), 1)

    def multiple(self, name: str) -> int:
        """What divides every value of a name."""
        return next((multiple for known, _, multiple in self.bounds if known == name), 1)

    def admits(self, name: str, value: int) -> bool:
        """Whether a name may have this value."""
        return value >= self.least(name) and value % self.multiple(name) == 0

    def tell(self, name: str) -> str:
        """What is assumed of one name: `n >= 4, 2 | n`."""
        least, multiple = self.least(name), self.multiple(name)
        return f"{name} >= {least}" + (f", {multiple} | {name}" if multiple > 1 else "")

    def holds(self, left: Size, relation: str, right: Size) -> bool | None:
        """Whether `left relation right`: True for every value of the names, False for none, None: open.

        `relation` is one of RELATIONS. What it answers is proved; an open comparison may have an answer that
        is not found.
        """
        match relation:
            case ">=":
                return self.holds(right, "<=", left)
            case ">" | "<":
                low, high = (left, right) if relation == ">" else (right, left)
                return _opposite(self.holds(low, "<=", high))
            case "!=":
                return _opposite(self.holds(left, "==", right))
        gap = self._split(right - left)
        if relation == "<=":
            return True if self._is_at_least(gap, 0) else False if self._is_at_least(gap * -1, 1) else None
        if relation != "==":
            raise ValueError(f"{relation} is none of {', '.join(RELATIONS)}")
        if gap == 0:
            return True
        apart = self._is_at_least(gap, 1) or self._is_at_least(gap * -1, 1) or _leaves_rest(gap)
        return False if apart else None

    def simplify(self, size: Size) -> Size:
        """The size without the floor-divisions that come out even: n // 2 * 2 is n where 2 divides n."""
        split = self._split(size)
        return (
            size
            if isinstance(split, int) and split == size
            else _collect([self._joined(monomial, coefficient) for monomial, coefficient in _terms(split)])
        )

    def _split(self, size: Size) -> Size:
        """The size with d·(n // d) for every n that d divides, and no other quotient that comes out even."""
        total: Size = 0
        for monomial, coefficient in _terms(size):
            term: Size = coefficient
            for atom, power in monomial:
                for _ in range(power):
                    term = term * self._split_atom(atom)
            total = total + term
        return total

    def _split_atom(self, atom: Atom) -> Size:
        if isinstance(atom, str):
            d = self.multiple(atom)
            return named(atom) if d == 1 else _atom(Quotient(named(atom), d)) * d
        above, below = self._split(atom.numerator), self._split(atom.denominator)
        if not isinstance(below, int) or below < 1 or isinstance(above, int):
            return above // below if below else _atom(atom)
        # (E + R) // k = E / k + R // k, where k divides E
        even = [(monomial, c) for monomial, c in above.terms if c % below == 0]
        rest = _collect([(monomial, c) for monomial, c in above.terms if c % below])
        return _collect([(monomial, c // below) for monomial, c in even]) + rest // below

    def _joined(self, monomial: Monomial, coefficient: int) -> tuple[Monomial, int]:
        """c·(n // d) as (c / g)·(n // (d / g)), where g = gcd(c, d): d·(n // d) is n again."""
        joined: Monomial = ()
        for atom, power in monomial:
            for _ in range(power):
                factor, common = atom, 1
                if isinstance(atom, Quotient) and self._divides_name(atom):
                    common = gcd(coefficient, atom.denominator)  # type: ignore[arg-type]
                    left = atom.denominator // common
                    factor = str(atom.numerator) if left == 1 else Quotient(atom.numerator, left)
                elif isinstance(atom, Quotient):
                    factor = Quotient(self.simplify(atom.numerator), self.simplify(atom.denominator))
                coefficient //= common
                joined = _times(joined, ((factor, 1),))
        return joined, coefficient

    def _divides_name(self, atom: Quotient) -> bool:
        """Whether this is n // d for the d that divides n: a whole number as free as a name."""
        name = str(atom.numerator)
        return atom.numerator == named(name) and atom.denominator == self.multiple(name) > 1

    def _is_at_least(self, size: Size, bound: int) -> bool:
        """Whether this is proved: with x = least + t for every x, no coefficient of t is negative."""
        terms = self._without_quotients({m: Fraction(c) for m, c in _terms(size)})
        if terms is None:
            return False
        shifted: _Rational = {}
        for monomial, coefficient in terms.items():
            for part, times in self._shifted(monomial).items():
                shifted[part] = shifted.get(part, Fraction(0)) + coefficient * times
        first = shifted.pop((), Fraction(0))
        return all(c >= 0 for c in shifted.values()) and ceil(first) >= bound

    def _without_quotients(self, terms: _Rational) -> _Rational | None:
        """A polynomial that is nowhere larger: (a - k + 1) / k <= a // k <= a / k. None: it has others."""
        result: _Rational = {}
        for monomial, coefficient in terms.items():
            opaque = [(a, p) for a, p in monomial if isinstance(a, Quotient) and not self._divides_name(a)]
            if not opaque:
                result[monomial] = result.get(monomial, Fraction(0)) + coefficient
                continue
            (atom, power), k = opaque[0], opaque[0][0].denominator
            if len(opaque) > 1 or power > 1 or not isinstance(k, int) or k < 1:
                return None
            rest = tuple(pair for pair in monomial if pair[0] != atom)  # a product of names, so not negative
            above = {m: Fraction(c) for m, c in _terms(atom.numerator + (0 if coefficient < 0 else 1 - k))}
            inner = self._without_quotients({m: c * coefficient / k for m, c in above.items()})
            if inner is None:
                return None
            for part, c in inner.items():
                whole = _times(part, rest)
                result[whole] = result.get(whole, Fraction(0)) + c
        return result

    def _shifted(self, monomial: Monomial) -> dict[Monomial, int]:
        """The monomial in t, where every atom is its least value and t: a product of binomials."""
        result: dict[Monomial, int] = {(): 1}
        for atom, power in monomial:
            if isinstance(atom, str):
                low = self.least(atom)
            else:
                low = self.least(str(atom.numerator)) // _whole(atom)
            grown: dict[Monomial, int] = {}
            for part, times in result.items():
                for i in range(power + 1):
                    key = _times(part, ((atom, i),) if i else ())
                    grown[key] = grown.get(key, 0) + times * comb(power, i) * low ** (power - i)
            result = grown
        return result


FREE = Assumptions()  # every name is at least 1, and that is all


def assume(bounds: Mapping[str, tuple[int, int]]) -> Assumptions:
    """Assumptions from (least, multiple) by name. ValueError: a divisor below 1, or a least value below 0."""
    kept = []
    for name, (least, multiple) in sorted(bounds.items()):
        if least < 0 or multiple < 1:
            raise ValueError(f"{name} has the least value {least} and the divisor {multiple}")
        least = -(-least // multiple) * multiple
        kept += [(name, least, multiple)] if (least, multiple) != (1, 1) else []
    return Assumptions(tuple(kept))


def _opposite(answer: bool | None) -> bool | None:
    return None if answer is None else not answer


def _leaves_rest(size: Size) -> bool:
    """Whether something divides every term but the constant: the size is then never 0."""
    terms = dict(_terms(size))
    constant = terms.pop((), 0)
    return bool(terms) and constant % gcd(*terms.values()) != 0


def _whole(atom: Quotient) -> int:
    assert isinstance(atom.denominator, int), "only n // d, for a number d, is free"
    return atom.denominator
