"""Interval arithmetic against exact rationals, against 200-bit Arb, and against numpy's own rounding."""

import math
from fractions import Fraction

import numpy as np
import pytest
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from banach.ir import elementary
from banach.ir.exact import Bound, Interval, down, rational, round_float, smallest_power, stored, up

FIXED = settings(derandomize=True, deadline=None)
short = st.fractions(max_denominator=1000, min_value=-1000, max_value=1000)
# built from bytes: a wide range of integers would be drawn with 53 leading bits and zeros
digits = st.binary(min_size=1, max_size=90).map(lambda b: int.from_bytes(b, "big"))
long = st.builds(lambda sign, n, d: sign * Fraction(n, d + 1), st.sampled_from([-1, 1]), digits, digits)
numbers = st.one_of(short, long, st.sampled_from([Fraction(0), Fraction(1), Fraction(-1)]))


@st.composite
def held(draw, points=numbers):
    """(interval, a point of it); one interval in four reaches an infinity."""
    x, y = draw(points), draw(points)
    low, high = min(x, y), max(x, y)
    ends = draw(st.sampled_from(["both", "both", "low", "high", "point"]))
    if ends == "point":
        return Interval(x, x), x
    between = low + (high - low) * draw(st.fractions(0, 1, max_denominator=8))
    return Interval(-math.inf if ends == "low" else low, math.inf if ends == "high" else high), between


BINARY = {
    "+": (lambda a, b: a + b, lambda x, y: x + y),
    "-": (lambda a, b: a - b, lambda x, y: x - y),
    "*": (lambda a, b: a * b, lambda x, y: x * y),
    "min": (lambda a, b: a.min(b), min),
    "max": (lambda a, b: a.max(b), max),
}


@pytest.mark.parametrize("name", BINARY)
@FIXED
@given(held(), held())
def test_a_result_holds_every_result_of_points(name, p, q):
    (a, x), (b, y) = p, q
    of_intervals, of_points = BINARY[name]
    assert of_points(x, y) in of_intervals(a, b)
    assert of_points(x, y) in of_intervals(Interval.of(x), Interval.of(y))


@FIXED
@given(held(), held())
def test_a_quotient_holds_every_quotient(p, q):
    (a, x), (b, y) = p, q
    if b.lo == 0 == b.hi:
        with pytest.raises(ZeroDivisionError):
            _ = a / b
    elif y:
        assert x / y in a / b


@FIXED
@given(held(), st.integers(-5, 9))
def test_a_power_holds_every_power(p, n):
    a, x = p
    if n >= 0 or x:
        if n < 0 and a.lo == 0 == a.hi:
            return
        assert x**n in a**n
        assert -x in -a
        assert abs(x) in abs(a)


@FIXED
@given(held(numbers.map(abs)), st.integers(1, 7))
def test_a_root_holds_every_root(p, n):
    a, x = p
    if a.lo < 0:
        with pytest.raises(ValueError, match="root"):
            a.root(n)
        return
    r = a.root(n)
    assert r.lo**n <= x <= r.hi**n
    point = Interval.of(x).root(n)
    assert point.hi - point.lo <= point.hi / 2**100
    assert Interval.of(x**n if x.numerator < 2**100 else 1).root(n).is_point


@FIXED
@given(held(), held())
def test_an_order_is_decided_only_when_it_holds_for_all_points(p, q):
    (a, x), (b, y) = p, q
    said = (a.le(b), a.lt(b), a.ge(b), a.gt(b), a.eq(b))
    for answer, truth in zip(said, (x <= y, x < y, x >= y, x > y, x == y)):
        assert answer is None or answer == truth
    assert x in a.hull(b) and y in a.hull(b)
    meet = a.meet(b)
    assert (x in b) <= (meet is not None and x in meet)


@FIXED
@given(held())
def test_floats_and_shortened_ends_lie_outside(p):
    a, x = p
    low, high = a.to_floats()
    assert low <= x <= high
    assert x in a.simplify()
    if a.is_finite:
        assert down(a.lo) <= a.lo < math.nextafter(down(a.lo), math.inf)
        assert math.nextafter(up(a.hi), -math.inf) < a.hi <= up(a.hi)


def test_ends_do_not_grow_and_short_ones_stay():
    a = Interval.of("0.1")
    assert a + a == Interval.of("0.2")
    for _ in range(60):
        a = a * a + Interval.of("1/5")
    assert Fraction(a.lo).numerator.bit_length() <= 256
    assert a.hi - a.lo < Fraction(1, 2**100)
    tiny = Interval.of("0.3") ** 10**6
    assert tiny.lo == 0 < tiny.hi
    huge = Interval.of(3) ** 10**6
    assert huge.lo > 0 and huge.hi == math.inf
    assert repr(tiny) and repr(huge)  # within the 4300 digits that Python prints


def test_what_is_no_number_is_refused():
    for text in ("nan", "inf", "1e99999", "", ".", "1/0", "0x10", "e5", "1,5"):
        with pytest.raises(ValueError):
            rational(text)
    for value in (math.nan, math.inf, np.float32("nan")):
        with pytest.raises(ValueError, match="finite"):
            rational(value)
    for value in (None, True, 1j, [1]):
        with pytest.raises(TypeError):
            rational(value)
    assert rational(np.int8(100)) * 100 == 10000  # not modulo 256
    assert rational(np.float32(0.1)) == Fraction(13421773, 2**27)
    with pytest.raises(ValueError, match="order"):
        Interval(Fraction(1), Fraction(0))
    with pytest.raises(ValueError, match="Fraction"):
        Interval(0.5, Fraction(1))


@FIXED
@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(Fraction), numbers))
def test_rounding_to_a_format_is_what_numpy_stores(x):
    try:
        ours = float(round_float(x, "float64"))
    except OverflowError:
        assert abs(x) > 2**1023
        return
    assert ours == x.numerator / x.denominator
    for dtype in ("float16", "float32"):
        source = Fraction(ours)
        with np.errstate(over="ignore", under="ignore"):
            numpy_value = float(np.float64(ours).astype(dtype))
        if math.isinf(numpy_value):
            with pytest.raises(OverflowError):
                round_float(source, dtype)
        else:
            assert float(round_float(source, dtype)) == numpy_value


def test_rounding_does_not_go_through_float64():
    just_above_a_tie = 1 + Fraction(1, 2**24) + Fraction(1, 2**80)
    assert round_float(just_above_a_tie, "float32") == 1 + Fraction(1, 2**23)
    assert stored("0.1", "float32") == Interval.of(float(np.float32(0.1)))
    assert round_float(Fraction(1, 2**150), "float32") == 0
    with pytest.raises(ValueError, match="int32"):
        round_float(Fraction(1), "int32")


@FIXED
@given(st.fractions(0, 1, max_denominator=50), st.fractions(0, 1, max_denominator=10**6))
def test_the_smallest_power_is_the_smallest(q, target):
    k = smallest_power(q, target)
    if k is None:
        assert (q == 1 and target < 1) or (target == 0 and q > 0)
    elif k < 2000:
        assert q**k <= target
        assert k == 0 or q ** (k - 1) > target


@FIXED
@given(st.binary(min_size=36, max_size=36), st.integers(1, 60))
def test_a_power_just_above_the_target_is_not_enough(tail, j):
    q = Fraction(2**289 + int.from_bytes(tail, "big"), 2**290)  # in [1/2, 1), longer than any mantissa kept
    target = q**j * (1 - Fraction(1, 2**400))
    assert smallest_power(q, target) == j + 1
    assert smallest_power(q, q**j) in (j, j + 1)


@pytest.mark.parametrize("q", ["0.9999999", "0.99", "0.999999999999", "1e-30"])
@pytest.mark.parametrize("target", ["1e-6", "1e-300", "0.999"])
def test_the_smallest_power_agrees_with_logarithms(q, target):
    ctx.prec = 200
    exact = _arb(Fraction(target)).log() / _arb(Fraction(q)).log()
    k = smallest_power(Fraction(q), Fraction(target))
    assert arb(k) >= exact  # never too few trips
    assert arb(k) - exact < 1 + arb(2) ** -40 or k == 1


def test_no_power_is_proved_where_there_is_none():
    assert smallest_power(Fraction(1), Fraction(1, 2)) is None
    assert smallest_power(Fraction(3, 2), Fraction(1, 2)) is None
    assert smallest_power(1 - Fraction(1, 2**300), Fraction(1, 2)) is None
    assert smallest_power(Fraction(1, 2), Fraction(0)) is None
    assert smallest_power(Fraction(0), Fraction(0)) == 1
    assert smallest_power(Fraction(2), Fraction(1)) == 0
    with pytest.raises(ValueError, match="negative"):
        smallest_power(Fraction(-1), Fraction(1, 2))


@FIXED
@given(st.one_of(short, st.builds(Fraction, st.integers(-(10**40), 10**40), st.integers(1, 10**40))))
def test_exp_log_and_tanh_hold_what_arb_computes(x):
    ctx.prec = 200
    x = max(min(x, Fraction(3000)), Fraction(-3000))
    _holds(elementary.exp(Interval.of(x)), _arb(x).exp())
    _holds(elementary.tanh(Interval.of(x)), _arb(x).tanh())
    if x > 0:
        _holds(elementary.log(Interval.of(x)), _arb(x).log())


def test_the_tail_of_a_series_that_needs_no_rounding_is_counted():
    ctx.prec = 300
    half = elementary.exp(Interval.of("1/2"))
    assert _arb(half.lo) < arb("0.5").exp() < _arb(half.hi)
    low = elementary.exp(Interval.of("-1/2"))
    assert _arb(low.lo) < arb("-0.5").exp() < _arb(low.hi)


def test_exp_log_and_tanh_at_the_ends_of_the_line():
    line = Interval.everything()
    assert elementary.exp(line) == Interval(Fraction(0), math.inf)
    assert elementary.tanh(line) == Interval.between(-1, 1)
    assert elementary.log(Interval(Fraction(0), math.inf)) == line
    assert elementary.exp(Interval.between(-(10**9), 10**9)).hi == math.inf
    with pytest.raises(ValueError, match="logarithm"):
        elementary.log(Interval.between(-1, 0))


def _arb(x: Bound) -> arb:
    x = Fraction(x)
    return arb(fmpq(x.numerator, x.denominator))


def _holds(a: Interval, truth: arb) -> None:
    slack = (abs(truth) + arb(10) ** -60) * arb(2) ** -190
    assert _arb(a.lo) <= truth + slack and truth - slack <= _arb(a.hi)
    assert _arb(a.hi) - _arb(a.lo) <= abs(truth) * arb(2) ** -60 + arb(2) ** -100
