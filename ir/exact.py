"""Rationals and closed intervals whose ends are rounded outwards: the arithmetic of every verdict.

A bound is a `Fraction`, or one of the floats -inf and inf; no other float ever stands in one. Nothing here
rounds to nearest except `round_float`, which says what a machine would store.
"""

import math
import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real

Bound = Fraction | float

_BITS = 128  # mantissa of a shortened bound
_KEEP = 256  # a bound is left alone while its numerator and denominator are no longer than this
_RANGE = 1 << 13  # a result is 0, infinite or within 2^-_RANGE .. 2^_RANGE, which Python can still print
_TINY = Fraction(1, 1 << _RANGE)
_HUGE = Fraction(1 << _RANGE)

# name: (bits of the mantissa with the hidden one, least and greatest exponent of a normal number)
_FORMATS = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}
_DECIMAL = re.compile(r"\s*[+-]?(\d+(_\d+)*)?(\.\d*)?([eE]([+-]?\d{1,4}))?\s*|\s*[+-]?\d+/0*[1-9]\d*\s*")


def rational(x: object) -> Fraction:
    """The number that `x` is: an int, a Fraction, a float (its stored value) or decimal text ("0.1" is 1/10).

    Raises ValueError for NaN, an infinity, text that is no number or has an exponent beyond four digits,
    and TypeError for anything that is no real number.
    """
    if isinstance(x, Fraction):
        return x
    if isinstance(x, str):
        if not _DECIMAL.fullmatch(x):
            raise ValueError(f"not a decimal number: {x!r}")
        return Fraction(x)
    if isinstance(x, bool):
        raise TypeError("a truth value is no number")
    if isinstance(x, Integral):  # numpy's integers too, whose own arithmetic would wrap around
        return Fraction(int(x))
    if isinstance(x, Real):
        if not math.isfinite(x):
            raise ValueError(f"not a finite number: {x}")
        return Fraction(*map(int, x.as_integer_ratio()))  # type: ignore[attr-defined]
    raise TypeError(f"not a real number: {x!r}")


# --- rounding -------------------------------------------------------------------------------------------


def down(x: Bound) -> float:
    """The greatest float64 that is at most x."""
    return 0.0 - up(-x)  # 0.0 - 0.0 is 0.0, where -(0.0) would be -0.0


def up(x: Bound) -> float:
    """The least float64 that is at least x; inf above the range."""
    if isinstance(x, float):
        return x
    try:
        nearest = x.numerator / x.denominator  # Python divides integers with correct rounding
    except OverflowError:
        return math.inf if x > 0 else -sys.float_info.max
    return nearest if Fraction(nearest) >= x else math.nextafter(nearest, math.inf)


def round_float(x: Fraction, dtype: str) -> Fraction:
    """The value that storing x as `dtype` keeps: nearest, ties to even, subnormals included.

    Raises ValueError for a dtype that is no float format, and OverflowError where x would become infinite.
    """
    if dtype not in _FORMATS:
        raise ValueError(f"not a float format: {dtype}; known: {', '.join(_FORMATS)}")
    bits, least, greatest = _FORMATS[dtype]
    if not x:
        return x
    # 2^e <= |x| < 2^(e+1); neighbours there are 2^(e-bits+1) apart, below the normal range 2^(least-bits+1).
    step = _power_of_two(max(_exponent(x), least) - bits + 1)
    stored_value = round(x / step) * step
    if abs(stored_value) >= _power_of_two(greatest + 1):
        raise OverflowError(f"{down(abs(x)):g} in size is beyond {dtype}")
    return stored_value


def stored(x: object, dtype: str) -> "Interval":
    """The point that storing x as `dtype` keeps."""
    return Interval.of(round_float(rational(x), dtype))


def _power_of_two(e: int) -> Fraction:
    return Fraction(1 << e) if e >= 0 else Fraction(1, 1 << -e)


def _exponent(x: Fraction) -> int:
    """The e with 2^e <= |x| < 2^(e+1), for x not 0."""
    n, d = abs(x.numerator), x.denominator
    e = n.bit_length() - d.bit_length()  # 2^(e-1) < n/d < 2^(e+1)
    below = n < d << e if e >= 0 else n << -e < d
    return e - 1 if below else e


def _cut(x: Fraction, upwards: bool) -> Fraction:
    """x rounded to _BITS bits towards +inf or -inf, if it is longer than _KEEP bits."""
    if x.numerator.bit_length() <= _KEEP and x.denominator.bit_length() <= _KEEP:
        return x
    shift = _BITS - 1 - _exponent(x)
    n, d = (x.numerator << shift, x.denominator) if shift >= 0 else (x.numerator, x.denominator << -shift)
    whole = -(-n // d) if upwards else n // d
    return whole * _power_of_two(-shift)


def _shorten(x: Bound, upwards: bool) -> Bound:
    """`_cut`, and held within _TINY .. _HUGE in size, so that no chain of operations makes a bound grow."""
    if not isinstance(x, Fraction) or not x:
        return x
    if x < 0:
        return -_shorten(-x, not upwards)
    if x > _HUGE:
        return math.inf if upwards else _HUGE
    if x < _TINY:
        return _TINY if upwards else Fraction(0)
    return _cut(x, upwards)


# --- bounds: sums, products, powers -----------------------------------------------------------------------


def _sum(a: Bound, b: Bound) -> Bound:
    """a + b; opposite infinities never meet, since lower ends are below inf and upper ends above -inf."""
    if isinstance(a, float):
        return a
    return b if isinstance(b, float) else a + b


def _product(a: Bound, b: Bound) -> Bound:
    """a · b with 0 · inf = 0: an infinite end stands for ever larger reals, and 0 times each of them is 0."""
    if not a or not b:
        return Fraction(0)
    if isinstance(a, float) or isinstance(b, float):
        return math.inf if (a > 0) == (b > 0) else -math.inf
    return a * b


def _inverse(a: Bound) -> Bound:
    return Fraction(0) if isinstance(a, float) else 1 / a


def _raise(x: Bound, n: int, upwards: bool) -> Bound:
    """A bound of x^n, x >= 0, n >= 1: as no factor is negative, rounding each product one way bounds all."""
    result: Bound = Fraction(1)
    while True:
        if n & 1:
            result = _shorten(_product(result, x), upwards)
        n >>= 1
        if not n:
            return result
        x = _shorten(_product(x, x), upwards)


def _root(x: Bound, n: int, upwards: bool) -> Bound:
    """A bound of x^(1/n), x >= 0; exact where numerator and denominator are n-th powers."""
    if not isinstance(x, Fraction):
        return x
    top, bottom = _integer_root(x.numerator, n), _integer_root(x.denominator, n)
    if top**n == x.numerator and bottom**n == x.denominator:
        return Fraction(top, bottom)
    # floor((x·2^(ns))^(1/n)) / 2^s <= x^(1/n) < that + 2^-s, with s such that the root has _BITS bits or more
    s = _BITS - _exponent(x) // n
    scaled = x * _power_of_two(n * s)
    return (_integer_root(scaled.numerator // scaled.denominator, n) + upwards) * _power_of_two(-s)


def _integer_root(x: int, n: int) -> int:
    """floor(x^(1/n)) for x >= 0: Newton from above decreases until it reaches it."""
    if n == 2:
        return math.isqrt(x)
    if x < 2 or n == 1:
        return x
    guess = 1 << -(-x.bit_length() // n)  # x < 2^bits <= guess^n
    while True:
        better = ((n - 1) * guess + x // guess ** (n - 1)) // n
        if better >= guess:
            return guess
        guess = better


# --- intervals --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed set of reals {x : lo <= x <= hi} that is known to hold a value.

    Maths    every operation encloses {f(x, y) : x in a, y in b, f defined there}
    Ends     Fractions; lo may be -inf and hi may be inf (then the set is a half line or the line)
    Rounding outwards, to 128 bits, only when an end exceeds 256 bits: 1/10 stays 1/10
    Order    `le`, `lt`, `eq` answer True or False only when that holds for every choice of values, else None;
             == and hash compare the ends
    Errors   ValueError for ends that are NaN, floats, or out of order
    """

    lo: Bound
    hi: Bound

    def __post_init__(self) -> None:
        for end, infinity in ((self.lo, -math.inf), (self.hi, math.inf)):
            if not isinstance(end, Fraction) and end != infinity:
                raise ValueError(f"an end must be a Fraction or {infinity}, not {end!r}")
        if self.lo > self.hi:
            raise ValueError(f"the ends are out of order: {self.lo} > {self.hi}")

    @classmethod
    def of(cls, x: object) -> "Interval":
        """The point x (see `rational`), or x itself if it is an interval."""
        if isinstance(x, Interval):
            return x
        point = rational(x)
        return cls(point, point)

    @classmethod
    def between(cls, lo: object, hi: object) -> "Interval":
        """The interval with these ends (see `rational`); the floats -inf and inf are taken as they are."""
        low = -math.inf if lo == -math.inf else rational(lo)
        return cls(low, math.inf if hi == math.inf else rational(hi))

    @classmethod
    def everything(cls) -> "Interval":
        """The whole line: nothing is known."""
        return cls(-math.inf, math.inf)

    @property
    def is_point(self) -> bool:
        return self.lo == self.hi

    @property
    def is_finite(self) -> bool:
        return isinstance(self.lo, Fraction) and isinstance(self.hi, Fraction)

    def __contains__(self, x: object) -> bool:
        return self.lo <= rational(x) <= self.hi

    def __str__(self) -> str:
        """For a reader: nine digits, rounded to nearest."""
        low, high = self.to_floats()
        return f"{low:.9g}" if self.is_point else f"[{low:.9g}, {high:.9g}]"

    def to_floats(self) -> tuple[float, float]:
        """The ends as float64, rounded outwards."""
        return down(self.lo), up(self.hi)

    def simplify(self) -> "Interval":
        """The same set or a little more, with ends of at most 256 bits or a mantissa of 128."""
        return Interval(_shorten(self.lo, False), _shorten(self.hi, True))

    def hull(self, other: object) -> "Interval":
        """The least interval that holds both."""
        b = Interval.of(other)
        return Interval(min(self.lo, b.lo), max(self.hi, b.hi))

    def meet(self, other: object) -> "Interval | None":
        """What lies in both, or None: two enclosures of one value that do not meet contradict each other."""
        b = Interval.of(other)
        low, high = max(self.lo, b.lo), min(self.hi, b.hi)
        return Interval(low, high) if low <= high else None

    def le(self, other: object) -> bool | None:
        b = Interval.of(other)
        return True if self.hi <= b.lo else False if self.lo > b.hi else None

    def lt(self, other: object) -> bool | None:
        b = Interval.of(other)
        return True if self.hi < b.lo else False if self.lo >= b.hi else None

    def eq(self, other: object) -> bool | None:
        b = Interval.of(other)
        if self.hi < b.lo or b.hi < self.lo:
            return False
        return True if self.is_point and b.is_point else None

    def ge(self, other: object) -> bool | None:
        return Interval.of(other).le(self)

    def gt(self, other: object) -> bool | None:
        return Interval.of(other).lt(self)

    def __neg__(self) -> "Interval":
        return Interval(-self.hi, -self.lo)

    def __abs__(self) -> "Interval":
        if self.lo >= 0:
            return self
        return Interval(max(Fraction(0), -self.hi), max(-self.lo, self.hi))

    def __add__(self, other: object) -> "Interval":
        b = Interval.of(other)
        return Interval(_sum(self.lo, b.lo), _sum(self.hi, b.hi)).simplify()

    def __sub__(self, other: object) -> "Interval":
        return self + -Interval.of(other)

    def __mul__(self, other: object) -> "Interval":
        b = Interval.of(other)
        corners = [_product(x, y) for x in (self.lo, self.hi) for y in (b.lo, b.hi)]
        return Interval(min(corners), max(corners)).simplify()

    def __truediv__(self, other: object) -> "Interval":
        """x / y for all y other than 0 in the divisor; ZeroDivisionError if there is none."""
        b = Interval.of(other)
        if b.lo == 0 == b.hi:
            raise ZeroDivisionError("division by an interval that holds 0 alone")
        if b.lo < 0 < b.hi:
            return Interval.of(0) if self.lo == 0 == self.hi else Interval.everything()
        return self * Interval(_inverse(b.hi) if b.hi else -math.inf, _inverse(b.lo) if b.lo else math.inf)

    def __radd__(self, other: object) -> "Interval":
        return self + other

    def __rsub__(self, other: object) -> "Interval":
        return Interval.of(other) - self

    def __rmul__(self, other: object) -> "Interval":
        return self * other

    def __rtruediv__(self, other: object) -> "Interval":
        return Interval.of(other) / self

    def __pow__(self, n: int | Fraction) -> "Interval":
        """x^n; a fractional n needs x >= 0 throughout (ValueError), a negative n divides."""
        if n < 0:
            return 1 / self**-n
        if n == 0:
            return Interval.of(1)
        n = Fraction(n)
        if n.denominator > 1:
            return self.root(n.denominator) ** n.numerator
        size = abs(self) if n.numerator % 2 == 0 else self
        return Interval(_signed_power(size.lo, n.numerator, False), _signed_power(size.hi, n.numerator, True))

    def root(self, n: int) -> "Interval":
        """The n-th root, n >= 1; ValueError if part of the interval is negative."""
        if self.lo < 0 or n < 1:
            raise ValueError(f"root {n} of an interval that reaches {self.lo}")
        return Interval(_root(self.lo, n, False), _root(self.hi, n, True)).simplify()

    def sqrt(self) -> "Interval":
        return self.root(2)

    def min(self, other: object) -> "Interval":
        """min(x, y) for x here and y there."""
        b = Interval.of(other)
        return Interval(min(self.lo, b.lo), min(self.hi, b.hi))

    def max(self, other: object) -> "Interval":
        """max(x, y) for x here and y there."""
        b = Interval.of(other)
        return Interval(max(self.lo, b.lo), max(self.hi, b.hi))


def _signed_power(x: Bound, n: int, upwards: bool) -> Bound:
    return _raise(x, n, upwards) if x >= 0 else -_raise(-x, n, not upwards)


# --- trip bounds ------------------------------------------------------------------------------------------


def smallest_power(q_hi: Fraction, target: Fraction) -> int | None:
    """The least k with q^k <= target that upper bounds of the powers prove; None if there is none below 2^63.

    Maths    ups[j] >= q^(2^j) by squaring and rounding up; the bits of the last k with q^k > target follow
             from the greatest j down, and the trip after it is proved by its own upper bound
    Errors   ValueError if q < 0
    """
    if q_hi < 0:
        raise ValueError(f"a contraction factor is not negative: {q_hi}")
    if target >= 1:
        return 0
    if q_hi >= 1 or target <= 0:
        return 1 if q_hi == 0 and target == 0 else None
    ups = [_cut(q_hi, True)]
    while ups[-1] > target:
        ups.append(_cut(ups[-1] * ups[-1], True))
        if ups[-1] >= ups[-2] or len(ups) > 63:
            return None
    trips, reached = 0, Fraction(1)
    for j in reversed(range(len(ups))):
        longer = _cut(reached * ups[j], True)
        if longer > target:
            trips, reached = trips + (1 << j), longer
    while reached > target:
        trips, reached = trips + 1, _cut(reached * ups[0], True)
    return trips
