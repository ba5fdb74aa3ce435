"""exp, log and tanh of an interval: truncated series in rational arithmetic, with their remainders."""

import math
from fractions import Fraction

from banach.ir.exact import Bound, Interval

_LIMIT = 5500  # 2^7934 < e^5500 < 2^7935, within the range of a bound; beyond it the ends saturate
_EDGE = Fraction(2) ** 7934


def exp(a: Interval) -> Interval:
    """{e^x : x in a}; increasing, so the ends decide."""
    return Interval(_exp(a.lo).lo, _exp(a.hi).hi)


def log(a: Interval) -> Interval:
    """{log x : x in a, x > 0}; from -inf where a reaches 0, ValueError if a holds nothing positive."""
    if a.hi <= 0:
        raise ValueError(f"logarithm of an interval that ends at {a.hi}")
    low = _log(a.lo).lo if a.lo > 0 else -math.inf
    return Interval(low, math.inf if isinstance(a.hi, float) else _log(a.hi).hi)


def tanh(a: Interval) -> Interval:
    """{tanh x : x in a}; increasing, odd, and |tanh x| <= min(|x|, 1)."""
    return Interval(_tanh(a.lo).lo, _tanh(a.hi).hi)


def _exp(x: Bound) -> Interval:
    if x > _LIMIT:
        return Interval(_EDGE, math.inf)
    if x < -_LIMIT:
        return Interval(Fraction(0), 1 / _EDGE)
    halvings = 0
    while abs(x) > 2**halvings / 2:
        halvings += 1
    # t = x / 2^h, |t| <= 1/2. The tail from t^30/30! on is at most |t|^30/30! · (1 + 1/2 + 1/4 + ...).
    t = Interval.of(x) / 2**halvings
    term = total = Interval.of(1)
    for i in range(1, 30):
        term = term * t / i
        total += term
    tail = 2 * abs(term * t / 30).hi
    total += Interval(-tail, tail)
    for _ in range(halvings):
        total = total * total
    return total


def _log(x: Bound) -> Interval:
    # x = m · 2^e with m in [2/3, 4/3]; log m = 2 artanh(z), z = (m - 1)/(m + 1), |z| <= 1/5
    x = Fraction(x)
    e = x.numerator.bit_length() - x.denominator.bit_length()
    m = x / Fraction(2) ** e
    if m > Fraction(4, 3):
        e, m = e + 1, m / 2
    elif m < Fraction(2, 3):
        e, m = e - 1, m * 2
    return _twice_artanh((m - 1) / (m + 1)) + e * _twice_artanh(Fraction(1, 3))


def _twice_artanh(z: Fraction) -> Interval:
    """2 Σ z^(2i+1)/(2i+1) for |z| <= 1/3; the tail from i = 45 on is at most 2|z|^91/91 · 1/(1 - 1/9)."""
    power, square, total = Interval.of(z), Interval.of(z) ** 2, Interval.of(0)
    for i in range(45):
        total += power / (2 * i + 1)
        power *= square
    tail = abs(power).hi * Fraction(9, 8) / 91
    return 2 * (total + Interval(-tail, tail))


def _tanh(x: Bound) -> Interval:
    if x < 0:
        return -_tanh(-x)
    if isinstance(x, float):
        return Interval.of(1)
    value = 1 - 2 / (_exp(2 * x) + 1)
    return Interval(max(value.lo, Fraction(0)), min(value.hi, x, Fraction(1)))
