"""Polynomials as formulas again."""

from collections.abc import Sequence
from fractions import Fraction

from banach.compiler.elaboration.analysis.algebra import NotAlgebra
from banach.compiler.elaboration.analysis.atoms import (
    Applied,
    Atom,
    Monomial,
    Own,
    Poly,
    Power,
    Root,
    Sum,
    Word,
)
from banach.compiler.text import syntax
from banach.ir.span import Span


def write(atoms: Sequence[Atom], poly: Poly, place: Span) -> syntax.Node:
    """A formula of a polynomial; every part of it stands at `place`."""
    terms = [_term(atoms, m, c, place) for m, c in poly]
    total: syntax.Node = terms[0] if terms else syntax.Number(0, place)
    for term in terms[1:]:
        total = syntax.Binary("+", total, term, place)
    return total


def _term(atoms: Sequence[Atom], monomial: Monomial, coefficient: Fraction, place: Span) -> syntax.Node:
    above = [(a, p) for a, p in monomial if p > 0]
    below = [(a, -p) for a, p in monomial if p < 0]
    top, bottom = _factors(atoms, above, coefficient.numerator, place), None
    if below or coefficient.denominator > 1:
        bottom = _factors(atoms, below, coefficient.denominator, place)
    return top if bottom is None else syntax.Binary("/", top, bottom, place)


def _factors(atoms: Sequence[Atom], factors: list[tuple[int, int]], number: int, place: Span) -> syntax.Node:
    found: syntax.Node | None = syntax.Number(number, place) if number != 1 or not factors else None
    for atom, power in factors:
        written = _written(atoms, atoms[atom], place)
        if power > 1:
            written = syntax.Binary("**", written, syntax.Number(power, place), place)
        found = written if found is None else syntax.Binary("*", found, written, place)
    assert found is not None
    return found


def _written(atoms: Sequence[Atom], atom: Atom, place: Span) -> syntax.Node:
    match atom:
        case Word(id) | Own(id):
            return syntax.Name(id, place)
        case Sum(inner):
            return write(atoms, inner, place)
        case Root(inner):
            return syntax.Call(syntax.Name("sqrt", place), (write(atoms, inner, place),), (), place)
        case Power(base, exponent):
            return syntax.Binary("**", write(atoms, base, place), write(atoms, exponent, place), place)
        case Applied(map, arguments, keywords):
            values = tuple(write(atoms, argument, place) for argument in arguments)
            named = tuple((key, write(atoms, value, place)) for key, value in keywords)
            return syntax.Call(write(atoms, map, place), values, named, place)
        case _:
            raise NotAlgebra
