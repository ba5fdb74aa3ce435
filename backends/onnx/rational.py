"""Exact arithmetic for the checker that travels with the model: intervals of rationals, with units.

Plain Python, and a second implementation on purpose: it shares no code with the compiler's intervals.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

End = Fraction | float  # a float only where it is infinite
Unit = tuple[tuple[str, Fraction], ...]

_BITS = 256  # mantissa to which the ends of intervals are rounded, outwards
_LONGEST_POWER = 1 << 20


class Refused(Exception):
    """The certificate is not of a form that can be checked."""


@dataclass(frozen=True, slots=True)
class Number:
    """A real number between lo and hi, times powers of positive unknowns."""

    lo: End
    hi: End
    unit: Unit = ()


def same_unit(a: Number, b: Number) -> bool:
    """Whether two numbers can be compared; zero and infinity have every unit."""
    return a.unit == b.unit or _universal(a) or _universal(b)


def _universal(a: Number) -> bool:
    return (a.lo == 0 == a.hi) or (a.lo == math.inf)


def _common(a: Number, b: Number) -> Unit:
    if not same_unit(a, b):
        raise Refused("a sum of unlike unknowns")
    return b.unit if _universal(a) else a.unit


def _add(a: Number, b: Number) -> Number:
    lo, hi = a.lo + b.lo, a.hi + b.hi  # inf - inf is NaN: nothing is known there
    return Number(-math.inf if lo != lo else lo, math.inf if hi != hi else hi, _common(a, b))


def _opposite(a: Number) -> Number:
    return Number(-a.hi, -a.lo, a.unit)


def _times(x: End, y: End) -> End:
    return Fraction(0) if x == 0 or y == 0 else x * y


def _multiply(a: Number, b: Number) -> Number:
    corners = [_times(x, y) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return Number(min(corners), max(corners), _joined(a.unit, b.unit, 1))


def _divide(a: Number, b: Number) -> Number:
    unit = _joined(a.unit, b.unit, -1)
    if b.lo < 0 or b.hi == 0 or b.lo == math.inf:  # no divisor of ours is negative; inf/inf may be anything
        return Number(-math.inf, math.inf, unit)
    inverse = Number(_inverse(b.hi), math.inf if b.lo == 0 else _inverse(b.lo))
    product = _multiply(Number(a.lo, a.hi), inverse)
    return Number(product.lo, product.hi, unit)


def _inverse(x: End) -> End:
    return Fraction(0) if isinstance(x, float) else 1 / x


def _joined(a: Unit, b: Unit, sign: int) -> Unit:
    powers = dict(a)
    for name, power in b:
        powers[name] = powers.get(name, Fraction(0)) + sign * power
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def _power(a: Number, b: Number) -> Number:
    exponent = b.lo
    if b.unit or exponent != b.hi or not isinstance(exponent, Fraction):
        raise Refused("a power whose exponent is not known")
    if exponent.denominator != 1 or not 0 <= exponent <= _LONGEST_POWER:
        raise Refused("a power that is no whole number")
    result, base, left = Number(Fraction(1), Fraction(1)), Number(a.lo, a.hi), int(exponent)
    if left % 2 == 0 and base.lo < 0:  # an even power is that of the size
        base = _size(base)
    while left:
        if left & 1:
            result = rounded(_multiply(result, base))
        base, left = rounded(_multiply(base, base)), left >> 1
    return Number(result.lo, result.hi, tuple((name, own * exponent) for name, own in a.unit if exponent))


def _size(a: Number) -> Number:
    if a.lo >= 0:
        return a
    return _opposite(a) if a.hi <= 0 else Number(Fraction(0), max(-a.lo, a.hi), a.unit)


def _root(a: Number) -> Number:
    unit = tuple((name, power / 2) for name, power in a.unit)
    return Number(root(max(a.lo, Fraction(0)), False), root(max(a.hi, Fraction(0)), True), unit)


def root(x: End, upwards: bool) -> End:
    """The square root of an end, rounded."""
    if isinstance(x, float):
        return x
    shift = 2 * _BITS  # √(n/d) = √(n·d·4^s)/(d·2^s)
    square = x.numerator * x.denominator << 2 * shift
    whole = math.isqrt(square)
    return Fraction(whole + (upwards and whole * whole != square), x.denominator << shift)


def _hull(a: Number, b: Number) -> Number:
    """A number that is at least a and at most b: an end that was not checked says nothing of the other."""
    if b.hi < a.lo:
        raise Refused("a number between two ends of which the lower is the larger")
    return Number(a.lo, b.hi, _common(a, b))


UNARY: dict[str, Callable[[Number], Number]] = {
    "-": _opposite,
    "abs": _size,
    "sqrt": _root,
    "upper": lambda a: Number(a.hi, a.hi, a.unit),
    "lower": lambda a: Number(a.lo, a.lo, a.unit),
    "at_most": lambda a: Number(Fraction(0), a.hi, a.unit),
    "around": lambda a: Number(-a.hi, a.hi, a.unit),
}
BINARY: dict[str, Callable[[Number, Number], Number]] = {
    "+": _add,
    "-": lambda a, b: _add(a, _opposite(b)),
    "*": _multiply,
    "/": _divide,
    "**": _power,
    "min": lambda a, b: Number(min(a.lo, b.lo), min(a.hi, b.hi), _common(a, b)),
    "max": lambda a, b: Number(max(a.lo, b.lo), max(a.hi, b.hi), _common(a, b)),
    "hull": _hull,
}


def rounded(a: Number) -> Number:
    """The number with short ends, rounded outwards."""
    return Number(_shortened(a.lo, False), _shortened(a.hi, True), a.unit)


def _shortened(x: End, upwards: bool) -> End:
    """The end in _BITS bits, rounded outwards; exact numbers that are short stay exact."""
    if isinstance(x, float) or (
        x.numerator.bit_length() <= 2 * _BITS and x.denominator.bit_length() <= 2 * _BITS
    ):
        return x
    shift = _BITS - (x.numerator.bit_length() - x.denominator.bit_length())
    scaled = x * Fraction(2) ** shift
    whole = (
        -((-scaled.numerator) // scaled.denominator) if upwards else scaled.numerator // scaled.denominator
    )
    return Fraction(whole) / Fraction(2) ** shift
