"""Enclosures of slopes that exceed 1, and of minima, proved by subdivision in interval arithmetic."""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import pytest

from banach.ir.elementary import exp, tanh
from banach.ir.exact import Interval
from banach.ir.primitive import page

END = 12  # from here on a slope is within 1e-3 of its limit, and so is the function of its asymptote


def erf_of_one() -> Interval:
    """2/√π Σ (-1)^n/(n! (2n+1)): alternating and decreasing, so two partial sums enclose it."""
    sums = [
        sum(Fraction((-1) ** n, math.factorial(n) * (2 * n + 1)) for n in range(terms)) for terms in (20, 21)
    ]
    return 2 * Interval(min(sums), max(sums)) / PI.sqrt()


PI = Interval.between("3.14159265358979323846", "3.14159265358979323847")


def test_gelu() -> None:
    """f'(√2), where f'' = (2 - x²)·φ changes its sign; f'(-x) = 1 - f'(x)."""
    highest = (1 + erf_of_one()) / 2 + exp(Interval.of(-1)) / PI.sqrt()
    slope = page("gelu").slope
    assert highest.le(slope.hi) and (1 - highest).ge(slope.lo)
    assert highest.ge(slope.hi - Fraction(1, 10**7))  # no slack


def test_silu() -> None:
    """u·tanh u increases for u > 0, so a sign change encloses the u where it is 1; f' is (1 + u)/2 there."""
    low, high = Fraction("1.19967864"), Fraction("1.19967865")
    assert (low * tanh(Interval.of(low))).lt(1) and (high * tanh(Interval.of(high))).gt(1)
    slope = page("silu").slope
    assert (1 + high) / 2 <= slope.hi <= (1 + low) / 2 + Fraction(1, 10**7)
    assert 1 - (1 + high) / 2 >= slope.lo
    # f' = 0 where x + 1 = -e^x, and there f = x + 1 = -e^x.
    low, high = Fraction("-1.27846455"), Fraction("-1.27846454")
    assert (low + 1 + exp(Interval.of(low))).lt(0) and (high + 1 + exp(Interval.of(high))).gt(0)
    assert low + 1 >= page("silu").image.lo >= low + 1 - Fraction(1, 10**7)


@cache
def power(x: Fraction) -> Interval:
    return exp(Interval.of(x))


def exponential(x: Interval) -> Interval:
    """e^x; the ends of the parts are shared."""
    return Interval(power(x.lo).lo, power(x.hi).hi)


def mish_slope(x: Interval) -> Interval:
    w = exponential(x)
    q = (w + 1) ** 2 + 1
    return 1 - 2 / q + 4 * x * w * (w + 1) / q**2


def mish(x: Interval) -> Interval:
    return x * (1 - 2 / ((exponential(x) + 1) ** 2 + 1))


def prove(f: Callable[[Interval], Interval], bound: Interval, start: Interval) -> int:
    """Halves the interval until f of every part lies within the bound; the number of parts."""
    pending, parts = [start], 0
    while pending:
        x = pending.pop()
        y = f(x)
        if y.lo >= bound.lo and y.hi <= bound.hi:
            parts += 1
            continue
        middle = (x.lo + x.hi) / 2
        assert x.hi - x.lo > Fraction(1, 2**10), f"{y} on {x} does not fit into {bound}"
        pending += [Interval(x.lo, middle), Interval(middle, x.hi)]
    return parts


def test_mish() -> None:
    # Beyond ±END, with w = e^x: for x > 0, |f' - 1| <= 2/w² + 8x/w²; for x < 0, |f'| <= w + 2|x|w.
    assert prove(mish_slope, page("mish").slope, Interval.between(-END, END)) > 10
    assert prove(mish, page("mish").image, Interval.between(-END, 0)) > 10
    assert (3 * END * exp(Interval.of(-END))).lt(Fraction(1, 1000))


@pytest.mark.parametrize("bound", [Interval.between("-0.113", "1.088"), Interval.between("-0.112", 2)])
def test_a_bound_that_is_too_tight_is_not_proved(bound: Interval) -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        prove(mish_slope, bound, Interval.between(-3, 2))


def test_selu() -> None:
    from banach.ir.primitives.activation import SELU_ALPHA, SELU_SCALE

    product = Fraction(SELU_SCALE) * Fraction(SELU_ALPHA)
    assert product <= page("selu").slope.hi <= product + Fraction(1, 10**9)
