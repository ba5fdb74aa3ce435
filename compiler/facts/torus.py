"""The norm of a convolution over all places at once, from its symbol on the torus.

Symbol   K^(t) = Σ_a k[:, :, a] exp(-i a·t) of a kernel k: [d, c, *m]. Laid on all of Z^n it has the norm
         sup_t ‖K^(t)‖2. A finite signal, zeros around it, the places that are kept and a stride take parts of
         that, so it bounds them all, where the grid of the signal's own frequencies may miss the greatest
         value
Grid     For unit u and v, |u* K^(t) v|² is a trigonometric polynomial of degree m_i - 1 along axis i. One of
         degree n with its maximum p(s) is at least p(s) cos(n(t - s)) for |t - s| <= pi/n (M. Riesz 1914), so
         it is at most 1/cos(pi n/N) times its greatest value at N > 2n equidistant points (Ehlich & Zeller
         1964)
Rounding along an axis of m places every part sums 2m products with roots within 2^-52; the sums are of real
numbers,
         in any order. Of the matrices at the grid ‖·‖2² <= min(‖·‖1 ‖·‖inf, ‖·‖F²), which is exact for one
         channel
"""

from fractions import Fraction

import numpy as np

from banach.compiler.facts.rounding import float64, gamma, power_of_two, root_above
from banach.compiler.facts.symbol import roots_of_unity
from banach.ir.exact import Interval

_FINE = (32, 16, 8, 4)  # points for each place of the kernel, the first that is affordable
_MOST = 1 << 20  # entries of the transform
_PI = Fraction(22, 7)
_TINY = Fraction(1, 2**900)  # more than underflow can add up to, for entries scaled to 1


def convolution_norm(kernel: object) -> Interval:
    """[0, a bound of sup_t ‖K^(t)‖2] of a kernel [d, c, *m]; no bound where the grid would be too fine.

    Errors   ValueError for NaN and infinities
    """
    k = float64(kernel, None)
    if not k.size or not k.any():
        return Interval.of(0)
    places = k.shape[2:]
    fine = next((f for f in _FINE if k.size * f ** len(places) <= _MOST), None)
    if fine is None:
        return Interval.between(0, float("inf"))
    e = int(np.frexp(np.abs(k).max())[1])
    re, im, growth, between = np.ldexp(k, -e), np.zeros(k.shape), Fraction(1), Fraction(1)
    sums = np.abs(re).reshape(*k.shape[:2], -1).sum(axis=2)
    for axis, m in enumerate(places):
        if m > 1:
            re, im = _transform(re, im, axis + 2, fine * m)
            growth *= 1 + 2 * gamma(2 * m + 4) + Fraction(1, 2**50)
            x = _PI * (m - 1) / (fine * m)
            between *= 1 / (1 - x * x / 2)  # cos x >= 1 - x²/2
    size = np.sqrt(re * re + im * im).reshape(*k.shape[:2], -1)
    square = Fraction(float(_squares(size).max())) * (1 + gamma(8 + 4 * k.shape[0] * k.shape[1]))
    total = Fraction(float(np.square(sums).sum())) * (1 + gamma(4 * k.size + 8))
    away = (growth - 1) * root_above(total) + _TINY * k.size
    bound = (root_above(square) + away) * root_above(between) * power_of_two(e)
    return Interval.between(0, bound).simplify()


def _squares(size: np.ndarray) -> np.ndarray:
    """A bound of ‖·‖2² of every matrix [d, c] along the last axis, up to the roundings of its sums."""
    across, along = size.sum(axis=1).max(axis=0), size.sum(axis=0).max(axis=0)
    return np.minimum(across * along, np.square(size).sum(axis=(0, 1)))


def _transform(re: np.ndarray, im: np.ndarray, axis: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform along one axis to so many points, by the sums that define it."""
    cos, sin = roots_of_unity(points)
    turns = np.outer(np.arange(points), np.arange(re.shape[axis])) % points
    c, s = cos[turns], sin[turns]

    def laid(factor: np.ndarray, part: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.tensordot(factor, part, (1, axis)), 0, axis)

    return laid(c, re) + laid(s, im), laid(c, im) - laid(s, re)
