"""The singular values of a circular convolution: the discrete Fourier transform of its kernel, enclosed."""

from fractions import Fraction

import numpy as np

from banach.compiler.facts.rounding import (
    TINY,
    float64,
    gamma,
    integers,
    power_of_two,
    root_above,
    root_below,
)
from banach.ir.exact import Interval

_BITS = 192  # fixed-point digits of the roots of unity before they become floats
_BLOCK = 1 << 22  # entries of the transform's matrix held at a time


def circulant_symbol(kernel: object) -> tuple[Interval, Interval]:
    """(least, greatest) |ĉ_k| over all frequencies, ĉ_k = Σ_j c_j exp(-2πi jk/N), of a real kernel c: [*s].

    They are the extreme singular values of x -> c * x on the grid [*s] with periodic boundary, so pad a small
    kernel with zeros to the grid first. The cost is N · (nonzero columns) for each axis of length N.

    Errors   ValueError for NaN, infinities, complex and empty kernels
    Maths    one axis, x: [N]: stored roots are within 2^-52 of exp(2πi k/N), and a real or imaginary part
             sums 2N products, so |y~_k - y_k| <= step·Σ|x_j| + 6N·TINY with step = 2·gamma(N + 1) + 2^-52.
             D, the error summed over the axes still to come, grows by D <- (1 + step)·D + step·Σ|c| + ...,
             hence the last error is at most (Π(1 + step) - 1)·Σ|c| + 8·d·size·TINY·Π(1 + step) for d axes;
             exactly |Σc| = |ĉ_0| lies between the two, and Σ|c| is never exceeded
    """
    c = float64(kernel, None)
    if not c.size:
        raise ValueError("a symbol needs a kernel with entries")
    if not c.any():
        return Interval.of(0), Interval.of(0)
    e = int(np.frexp(np.abs(c).max())[1])
    re, im, growth = np.ldexp(c, -e), np.zeros(c.shape), Fraction(1)
    for axis, n in enumerate(c.shape):
        re, im = _transform(re, im, axis)
        growth *= 1 + 2 * gamma(n + 1) + Fraction(1, 2**52)
    k, unit = integers(c)
    total, mean = (int(abs(k).sum()) * power_of_two(unit), abs(int(k.sum())) * power_of_two(unit))
    away = (growth - 1) * total + 8 * c.ndim * c.size * TINY * growth * power_of_two(e)
    squares = re * re + im * im
    least, greatest = (_length(float(s), e, away) for s in (squares.min(), squares.max()))
    return (
        Interval(least.lo, min(least.hi, mean)).simplify(),
        Interval(max(greatest.lo, mean), min(greatest.hi, total)).simplify(),
    )


def _length(square: float, e: int, away: Fraction) -> Interval:
    """2^e·sqrt(re² + im²), whose float square took three roundings, give or take `away`."""
    s, slack = Fraction(square), gamma(4)
    low, high = root_below(max(s * (1 - slack) - TINY, Fraction(0))), root_above(s * (1 + slack) + TINY)
    return Interval(max(low * power_of_two(e) - away, Fraction(0)), high * power_of_two(e) + away)


def _transform(re: np.ndarray, im: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform along one axis, by the sums that define it."""
    n = re.shape[axis]
    a, b = (np.moveaxis(x, axis, 0).reshape(n, -1) for x in (re, im))
    used = np.flatnonzero(a.any(axis=1) | b.any(axis=1))
    a, b = a[used], b[used]
    cos, sin = roots_of_unity(n)
    real, imaginary = [], []
    rows = max(1, _BLOCK // max(len(used), 1))
    for first in range(0, n, rows):
        turns = np.outer(np.arange(first, min(first + rows, n)), used) % n
        p, q = cos[turns], sin[turns]  # exp(-iθ)(a + ib) = (pa + qb) + i(pb - qa)
        real.append(p @ a + q @ b)
        imaginary.append(p @ b - q @ a)
    shape = np.moveaxis(re, axis, 0).shape
    whole = [np.moveaxis(np.concatenate(x).reshape(shape), 0, axis) for x in (real, imaginary)]
    return whole[0], whole[1]


def roots_of_unity(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(cos, sin) of 2πk/n, k = 0 .. n - 1, each within 2^-53.

    Integers of _BITS binary digits. Taylor's series at 2π/n/2^h <= 1 is 2^6 units off, at most 4 doublings of
    the angle treble that each, π adds 2^14: the first root is within 2^15 units, that is 2^-177, the k-th, a
    product of k of them, within k·2^-176 (n < 2^60), and the nearest floats add at most 2^-54.
    """
    one = 1 << _BITS
    turn = 2 * _pi() // n
    halvings = max(0, (turn // one).bit_length() + 1)
    c, s = _cos_sin(turn >> halvings)
    for _ in range(halvings):
        c, s = (c * c - s * s) >> _BITS, (2 * c * s) >> _BITS
    points, x, y = [], one, 0
    for _ in range(n):
        points.append((x / one, y / one))
        x, y = (x * c - y * s) >> _BITS, (x * s + y * c) >> _BITS
    return np.array([p[0] for p in points]), np.array([p[1] for p in points])


def _cos_sin(x: int) -> tuple[int, int]:
    """Taylor's series in fixed point, |x| <= 1: each of its 50 terms is cut by less than a unit."""
    term, sums = 1 << _BITS, [0, 0, 0, 0]
    for i in range(1, 51):
        sums[(i - 1) % 4] += term
        term = (term * x >> _BITS) // i
    return sums[0] - sums[2], sums[1] - sums[3]


def _pi() -> int:
    """π in fixed point, at most 2^13 units off: Machin's 16 arctan(1/5) - 4 arctan(1/239).

    The first series has 85 terms of two cuts each: 16 · 170 units; the second 26 terms.
    """

    def arctan_inverse(k: int) -> int:
        power, total, i = (1 << _BITS) // k, 0, 1
        while power:
            total += power // i if i % 4 == 1 else -(power // i)
            power, i = power // (k * k), i + 2
        return total

    return 16 * arctan_inverse(5) - 4 * arctan_inverse(239)
