"""Formulas as polynomials, so that two ways of writing one thing are one thing.

Products of tensors are entry by entry, so that they commute. Linear maps go into sums; x/c is x times the
power -1 of c, where a sum c is an atom.

Two things must not be lost. Where a formula has no value: 0·log(x) is 0 only where log(x) is a number, so
`partial` holds every atom that was met and may have none, also those that cancel. And shapes: x - x + 1 is a
vector where 1 is none, so what cancels must have a shape that what is left has too.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, isqrt

from banach.compiler.elaboration.analysis.atoms import (
    NUMBERS,
    ONE,
    SHAPELY,
    ZERO,
    Applied,
    Atom,
    Monomial,
    Other,
    Own,
    Poly,
    Power,
    Root,
    Shape,
    State,
    Sum,
    Word,
    constant,
    parts,
)
from banach.compiler.text import syntax

_LARGEST = 400  # terms of a polynomial
_POWER = 6  # largest power of a sum that is multiplied out


class NotAlgebra(Exception):
    """A formula that divides by zero, or grows beyond what is compared."""


@dataclass(slots=True)
class Reading:
    """How a formula is read: what its names stand for, or None where a name is an atom by itself."""

    name: Callable[[str], Poly | None]
    primed: Callable[[str], Poly]


@dataclass(slots=True)
class Algebra:
    """The atoms of all formulas that are compared with one another."""

    linear: Callable[[str], bool]  # whether a name of the spec is that of a linear map
    shape: Callable[[State | Own], Shape]
    real: bool = True
    strict: bool = True  # whether what cancels must leave its shape behind
    atoms: list[Atom] = field(default_factory=list)
    partial: set[int] = field(default_factory=set)
    _numbers: dict[Atom, int] = field(default_factory=dict)

    # --- polynomials -------------------------------------------------------------------------------------

    def atom(self, atom: Atom) -> Poly:
        number = self._numbers.setdefault(atom, len(self.atoms))
        if number == len(self.atoms):
            self.atoms.append(atom)
        return ((((number, 1),), Fraction(1)),)

    def single(self, poly: Poly) -> Atom | None:
        """The atom that a polynomial is, if it is one."""
        if len(poly) == 1 and poly[0][1] == 1 and len(poly[0][0]) == 1 and poly[0][0][0][1] == 1:
            return self.atoms[poly[0][0][0][0]]
        return None

    def sum(self, *polys: Poly) -> Poly:
        total: dict[Monomial, Fraction] = {}
        for poly in polys:
            for monomial, coefficient in poly:
                total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        if len(total) > _LARGEST:
            raise NotAlgebra
        left = tuple(sorted((m, c) for m, c in total.items() if c))
        if self.strict and len(left) < len(total):
            self._keeps((m for m, c in total.items() if c), total)
        return left

    def times(self, one: Poly, other: Poly) -> Poly:
        if len(one) * len(other) > _LARGEST:
            raise NotAlgebra
        if self.strict and (not one or not other):
            self._keeps((), [m for m, _ in (*one, *other)])
        return self.sum(*(((self._product(m, n), c * d),) for m, c in one for n, d in other))

    def _product(self, one: Monomial, other: Monomial) -> Monomial:
        powers = dict(one)
        for atom, power in other:
            powers[atom] = powers.get(atom, 0) + power
        left = tuple(sorted((atom, power) for atom, power in powers.items() if power))
        if self.strict and len(left) < len(powers):
            self._keeps([left], [one, other])
        return left

    def same(self, one: Poly, other: Poly) -> bool:
        """Whether two polynomials are equal, with sums that they divide by multiplied out."""
        strict, self.strict = self.strict, False
        try:
            rest = self.sum(one, self.times((((), Fraction(-1)),), other))
            for _ in range(_POWER):
                lowest = min(((p, a) for m, _ in rest for a, p in m if self._divides(a, p)), default=None)
                if lowest is None:
                    break
                rest = self._multiplied(rest, lowest[1], -lowest[0])
            return not rest
        finally:
            self.strict = strict

    def _divides(self, atom: int, power: int) -> bool:
        return power < 0 and isinstance(self.atoms[atom], Sum)

    def _multiplied(self, poly: Poly, atom: int, power: int) -> Poly:
        """poly times a power of a sum, written out wherever it does not cancel."""
        divisor, found = self.atoms[atom], ZERO
        whole = divisor.inner if isinstance(divisor, Sum) else ONE
        for monomial, coefficient in poly:
            powers = dict(monomial)
            term: Poly = ((tuple(part for part in monomial if part[0] != atom), coefficient),)
            for _ in range(power + powers.get(atom, 0)):
                term = self.times(term, whole)
            found = self.sum(found, term)
        return found

    # --- shapes ------------------------------------------------------------------------------------------

    def _keeps(self, left: Iterable[Monomial], before: Iterable[Monomial]) -> None:
        """NotAlgebra: what is left may have another shape than there was before."""
        now, then = self._common(map(self._shape, left)), self._common(map(self._shape, before))
        if then is None or now != then:
            raise NotAlgebra

    def _common(self, shapes: Iterable[Shape]) -> Shape:
        found: Shape = ()
        for shape in shapes:
            if shape is None or (shape and found and shape != found):
                return None
            found = shape or found
        return found

    def _shape(self, monomial: Monomial) -> Shape:
        return self._common(self._of(self.atoms[atom]) for atom, _ in monomial)

    def _of(self, atom: Atom) -> Shape:
        match atom:
            case State() | Own():
                return self.shape(atom)
            case Word("k"):
                return ()
            case Root(inner) | Sum(inner):
                return self._common(self._shape(m) for m, _ in inner)
            case Applied(map, (x, *_), ()):
                match self.single(map):
                    case Word(word) if word in NUMBERS:
                        return ()
                    case Applied(word, _, ()) if self.single(word) in SHAPELY:
                        return self._common(self._shape(m) for m, _ in x)
        return None

    def over(self, poly: Poly) -> Poly:
        """1/poly: negative powers of one product, or of a sum that is an atom."""
        if not poly:
            raise NotAlgebra
        monomial, lead = poly[0]
        if len(poly) > 1:
            monomial = self.atom(Sum(tuple((m, c / lead) for m, c in poly)))[0][0]
        self.partial.update(atom for atom, _ in monomial)
        return ((tuple((atom, -power) for atom, power in monomial), 1 / lead),)

    def power(self, base: Poly, exponent: Poly) -> Poly:
        whole = constant(exponent)
        if self.strict and whole == 0:  # one for every entry
            self._keeps([()], [m for m, _ in base])
        if whole is not None and whole.denominator == 1 and abs(whole) <= _POWER:
            found = ONE
            for _ in range(abs(int(whole))):
                found = self.times(found, base)
            return found if whole >= 0 else self.over(found)
        if whole == Fraction(1, 2):
            return self.root(base)
        return self._met(self.atom(Power(base, exponent)))

    def root(self, poly: Poly) -> Poly:
        """The square root, with the largest rational square that the coefficients share taken out."""
        exact = constant(poly)
        if not poly or exact == 1:
            return poly
        content = Fraction(0)
        for _, c in poly:
            content = _shared(content, abs(c))
        square = Fraction(_square(content.numerator), _square(content.denominator))
        inner = tuple((m, c / square**2) for m, c in poly)
        outer = ((), square)
        if inner == ONE:
            return (outer,)
        return self.times((outer,), self._met(self.atom(Root(inner))))

    def apply(
        self, map: Poly, arguments: tuple[Poly, ...], keywords: tuple[tuple[str, Poly], ...] = ()
    ) -> Poly:
        """A map applied: sums of maps term by term, and linear ones to sums term by term."""
        if len(map) > 1 and len(arguments) == 1:
            return self.sum(*(self.apply((term,), arguments, keywords) for term in map))
        if len(map) == 1 and map[0][1] != 1:
            monomial, coefficient = map[0]
            inner = self.apply(((monomial, Fraction(1)),), arguments, keywords)
            return self.times((((), coefficient),), inner)
        if len(arguments) != 1 or keywords:
            return self._met(self.atom(Applied(map, arguments, keywords)))
        (x,) = arguments
        if self.single(map) == Word("I"):
            return x
        misfit = self._misfit(map)
        if misfit is not None:
            matrix, b = misfit
            inner = self.sum(self.apply(matrix, (x,)), self.times((((), Fraction(-1)),), b))
            return self.apply(self.apply(self.atom(Word("adjoint")), (matrix,)), (inner,))
        if self.is_linear(map):
            terms = [(c, self.atom(Applied(map, (((m, Fraction(1)),),)))) for m, c in x]
            return self.sum(*(self.times((((), c),), term) for c, term in terms))
        return self._met(self.atom(Applied(map, arguments)))

    def _misfit(self, map: Poly) -> tuple[Poly, Poly] | None:
        """A and b of the gradient of least_squares(A, b), if A is linear."""
        match self.single(map):
            case Applied(grad, (of,), ()) if self.single(grad) == Word("grad"):
                match self.single(of):
                    case Applied(word, (matrix, b), ()) if self.single(word) == Word("least_squares"):
                        return (matrix, b) if self.is_linear(matrix) else None
        return None

    def _met(self, poly: Poly) -> Poly:
        self.partial.add(poly[0][0][0][0])
        return poly

    # --- formulas ----------------------------------------------------------------------------------------

    def read(self, node: syntax.Node, names: Reading) -> Poly:
        """The polynomial of a formula. NotAlgebra: it is none that can be compared."""
        match node:
            case syntax.Number(value):
                return (((), Fraction(value)),) if value else ZERO
            case syntax.Name(id):
                found = names.name(id)
                return self.atom(Word(id)) if found is None else found
            case syntax.Primed(name):
                return names.primed(name)
            case syntax.Unary("-", operand):
                return self.times((((), Fraction(-1)),), self.read(operand, names))
            case syntax.Binary("+", left, right):
                return self.sum(self.read(left, names), self.read(right, names))
            case syntax.Binary("-", left, right):
                minus = self.times((((), Fraction(-1)),), self.read(right, names))
                return self.sum(self.read(left, names), minus)
            case syntax.Binary("*", left, right):
                return self.times(self.read(left, names), self.read(right, names))
            case syntax.Binary("/", left, right):
                return self.times(self.read(left, names), self.over(self.read(right, names)))
            case syntax.Binary("**", left, right):
                return self.power(self.read(left, names), self.read(right, names))
            case syntax.Binary("@", left, right):
                return self._matrix(left, self.read(right, names), names)
            case syntax.Call(syntax.Name("sqrt"), (inner,), ()) if names.name("sqrt") is None:
                return self.root(self.read(inner, names))
            case syntax.Call(syntax.Name("transpose"), (inner,), ()) if (
                self.real and names.name("transpose") is None
            ):
                return self.apply(self.atom(Word("adjoint")), (self.read(inner, names),))
            case syntax.Call(function, arguments, keywords):
                values = tuple(self.read(argument, names) for argument in arguments)
                named = tuple((key, self.read(value, names)) for key, value in keywords)
                return self.apply(self.read(function, names), values, named)
            case _:
                return self._other(node, names)

    def _matrix(self, map: syntax.Node, x: Poly, names: Reading) -> Poly:
        """`c * A @ x` reads `(c * A) @ x`, and is c (A x) for a number c."""
        factor = ONE
        while isinstance(map, syntax.Binary) and map.op in ("*", "/"):
            if self._number(map.left, names) and map.op == "*":
                factor, map = self.times(factor, self.read(map.left, names)), map.right
            elif self._number(map.right, names):
                right = self.read(map.right, names)
                factor = self.times(factor, right if map.op == "*" else self.over(right))
                map = map.left
            else:
                break
        if isinstance(map, syntax.Unary) and map.op == "-":
            factor, map = self.times((((), Fraction(-1)),), factor), map.operand
        return self.times(factor, self.apply(self.read(map, names), (x,)))

    def _number(self, node: syntax.Node, names: Reading) -> bool:
        """Whether a formula is a number for sure."""
        match node:
            case syntax.Number():
                return True
            case syntax.Name(id):
                found = names.name(id)
                return found is not None and self.is_number(found)
            case syntax.Unary("-", inner):
                return self._number(inner, names)
            case syntax.Call(syntax.Name(word), _, ()):
                return word in NUMBERS and names.name(word) is None
            case syntax.Binary("+" | "-" | "*" | "/" | "**", left, right):
                return self._number(left, names) and self._number(right, names)
            case _:
                return False

    def is_number(self, poly: Poly) -> bool:
        """Whether a polynomial is a number for sure, and no tensor."""
        return self._common(self._shape(m) for m, _ in poly) == ()

    def is_linear(self, map: Poly) -> bool:
        match self.single(map):
            case Own(id):
                return self.linear(id)
            case Applied(word, (inner,), ()) if self.single(word) == Word("adjoint"):
                return self.is_linear(inner)
            case _:
                return False

    def _other(self, node: syntax.Node, names: Reading) -> Poly:
        """Comparisons, indices and the like: an atom of their parts."""
        parts = [
            self.read(part, names) for part in syntax.children(node) if not isinstance(part, syntax.Slice)
        ]
        if len(parts) < len(syntax.children(node)):
            raise NotAlgebra
        head = tuple(getattr(node, key) for key in ("op", "name", "value") if hasattr(node, key))
        return self._met(self.atom(Other((type(node), *head), tuple(parts))))

    def inside(self, poly: Poly) -> Iterator[int]:
        """Every atom in a polynomial, those inside atoms too."""
        waiting, seen = [poly], set[int]()
        while waiting:
            for monomial, _ in waiting.pop():
                for number, _ in monomial:
                    if number not in seen:
                        seen.add(number)
                        yield number
                        waiting += parts(self.atoms[number])


def _shared(one: Fraction, other: Fraction) -> Fraction:
    """The greatest rational number of which both are whole multiples."""
    denominator = one.denominator * other.denominator
    return Fraction(gcd(one.numerator * other.denominator, other.numerator * one.denominator), denominator)


def _square(whole: int) -> int:
    """The largest s that is found whose square divides a whole number; small primes only."""
    found = 1
    for prime in (2, 3, 5, 7):
        while whole % prime**2 == 0:
            whole //= prime**2
            found *= prime
    rest = isqrt(whole)
    return found * rest if rest * rest == whole else found
