"""What float64 arithmetic may have done to a matrix product or a Cholesky factor, as rational bounds.

Model    u = 2^-53, gamma(k) = ku/(1 - ku). A sum of k products, added in any order, with or without fused
         multiply-add, differs from the exact one by at most gamma(k) Σ|x_i y_i| + k·TINY (Higham, Accuracy
         and Stability, 2nd ed., section 3.1); TINY covers underflow in each product and each sum, even where
         the processor flushes subnormal numbers to zero. Not so for Strassen, TF32 or float32 accumulation.
Norms    ‖E‖2 <= ‖|E|‖2 for every E, ‖E‖2 <= ‖F‖2 if |E| <= F entry by entry, ‖E‖2² <= min(‖E‖1 ‖E‖inf, ‖E‖F²)
Shapes   every function takes matrices [m, n] of finite float64 whose entries are at most 2^400 in size,
         except `scaled` and `integers`, which take any
"""

import math
from fractions import Fraction

import numpy as np

from banach.ir.exact import Interval

UNIT = Fraction(1, 2**53)
TINY = Fraction(1, 2**1020)  # two operations that lose at most 2^-1022 each, doubled for 1 + gamma
_SUBNORMAL = np.full(1, 2.0**-1074)


def float64(array: object, rank: int | None) -> np.ndarray:
    """The same numbers as float64; ValueError if that changes them, or if they are not finite and real."""
    if not (_SUBNORMAL + 0.0).all():
        raise ValueError("this processor is set to flush subnormal numbers: no bound would hold")
    given = np.asarray(array)
    if np.iscomplexobj(given) or given.dtype == object:
        raise ValueError(f"a bound needs real numbers, not {given.dtype}")
    a = np.ascontiguousarray(given, dtype=np.float64)
    if rank is not None and a.ndim != rank:
        raise ValueError(f"a bound needs a matrix, not an array of shape {list(given.shape)}")
    if not np.isfinite(a).all():
        i = tuple(int(k) for k in np.argwhere(~np.isfinite(a))[0])
        raise ValueError(f"entry {list(i)} is {a[i]}: a bound needs finite numbers")
    if given.dtype.itemsize >= 8 and not (a.astype(given.dtype) == given).all():
        raise ValueError(f"float64 cannot hold these {given.dtype} numbers exactly")
    return a


def gamma(k: int) -> Fraction:
    """The relative error of k roundings."""
    return k * UNIT / (1 - k * UNIT)


def root_above(x: Fraction) -> Fraction:
    """A bound of sqrt(x) from above."""
    return Fraction(Interval.of(x).sqrt().hi)


def root_below(x: Fraction) -> Fraction:
    """A bound of sqrt(x) from below."""
    return Fraction(Interval.of(x).sqrt().lo)


def power_of_two(e: int) -> Fraction:
    return Fraction(2) ** e


def scaled(a: np.ndarray) -> tuple[np.ndarray, int, Fraction]:
    """(b, e, lost): a = 2^e (b + d), the greatest entry of b lies in [1/2, 1), and ‖d‖2 <= lost.

    Only entries 2^1022 times smaller than the greatest are lost in part, by at most 2^-1022 each.
    """
    e = int(np.frexp(np.abs(a).max(initial=0.0))[1])
    b = np.ldexp(a, -e)
    lost = Fraction(0) if np.array_equal(np.ldexp(b, e), a) else (math.isqrt(a.size) + 1) * TINY
    return b, e, lost


def integers(a: np.ndarray) -> tuple[np.ndarray, int]:
    """(k, e) with a = k·2^e exactly: Python integers in an object array, without a common factor 2."""
    mantissas, exponents = np.frexp(a)
    k = np.ldexp(mantissas, 53).astype(np.int64).astype(object)
    if not np.any(a):
        return k, 0
    least = int(exponents[a != 0].min())
    k = k << np.where(a != 0, exponents - least, 0).astype(object)
    bits = int(np.bitwise_or.reduce(k, axis=None))
    even = (bits & -bits).bit_length() - 1
    return k >> even, least - 53 + even


def squared_size(a: np.ndarray) -> Fraction:
    """A bound of ‖|a|‖2²: min(‖a‖1 ‖a‖inf, ‖a‖F²).

    The sums have no negative term, so s <= (fl(s) + k·TINY)/(1 - gamma(k)) for k terms.
    """
    size, (rows, columns) = np.abs(a), a.shape
    if not a.size:
        return Fraction(0)
    across = (Fraction(float(size.sum(axis=1).max())) + columns * TINY) / (1 - gamma(columns))
    along = (Fraction(float(size.sum(axis=0).max())) + rows * TINY) / (1 - gamma(rows))
    square = (Fraction(float(np.square(size).sum())) + a.size * TINY) / (1 - gamma(a.size))
    return min(across * along, square)


def product_error(a: np.ndarray, b: np.ndarray) -> Fraction:
    """A bound of ‖fl(a b) - a b‖2 for a: [m, k], b: [k, n].

    Entry by entry the error is at most gamma(k)|a||b| + k·TINY. With t = fl(|a||b|), no term of which is
    negative, |a||b| <= (t + k·TINY)/(1 - gamma(k)); a matrix [m, n] of equal entries c has norm c·sqrt(mn).
    """
    (m, k), n = a.shape, b.shape[1]
    flat = k * TINY * (math.isqrt(m * n) + 1)
    sizes = root_above(squared_size(np.abs(a) @ np.abs(b)))
    return gamma(k) * (sizes + flat) / (1 - gamma(k)) + flat


def gram(b: np.ndarray) -> tuple[np.ndarray, Fraction]:
    """(fl(bᵀb), a bound of its error in the 2-norm): ‖|b|ᵀ|b|‖2 = ‖|b|‖2² <= squared_size(b)."""
    m, n = b.shape
    return b.T @ b, gamma(m) * squared_size(b) + m * n * TINY


def least_eigenvalue(s: np.ndarray) -> tuple[Fraction, np.ndarray]:
    """(c, v): vᵀsv >= c·vᵀv for every v, and the v returned comes close to equality. s: [n, n], n >= 1.

    Derivation, for any shift c and any real l:  s - cI = l lᵀ + E  gives  vᵀ(s - cI)v >= -‖E‖2 vᵀv.
    l is the Cholesky factor of m = fl(s - cI), and nothing is asked of how it was computed:
        E = (m - l lᵀ) + diag(d),  |d_i| <= u|m_ii| + TINY
        m - l lᵀ: with r = fl(m - fl(l lᵀ)) it is r within u|r| + TINY and the error of the product
    This is the test of Rump (BIT 46, 2006) with the factor's residual measured instead of bounded beforehand.
    c starts a little below an approximate eigenvalue and retreats until the factorisation completes.
    """
    n = len(s)
    start = np.random.default_rng(0).standard_normal(n)
    try:
        spectrum = np.linalg.eigvalsh(s)
    except np.linalg.LinAlgError:
        spectrum = np.full(1, np.nan)
    size = max(float(np.abs(spectrum).max()), 2.0**-900)
    for retreat in (2.0**k for k in range(3, 31, 4)):
        c = float(spectrum[0]) - size * n * retreat * 2.0**-53
        m = s.copy()
        m[np.diag_indices(n)] -= c
        remainder = _cholesky_residual(m)
        if remainder is not None:
            return Fraction(c) - remainder, _inverse_iteration(m, start)
    return -root_above(squared_size(s)), start


def _cholesky_residual(m: np.ndarray) -> Fraction | None:
    """A bound of ‖E‖2 in `least_eigenvalue`; None if m has no Cholesky factor in float64."""
    n = len(m)
    try:
        l = np.linalg.cholesky(m)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(l).all():
        return None
    diagonal = UNIT * Fraction(float(np.abs(np.diag(m)).max())) + TINY
    r = m - l @ l.T
    residual = (1 + UNIT) * root_above(squared_size(r)) + n * TINY
    # ‖|l||l|ᵀ‖2 = ‖|l|‖2² <= squared_size(l)
    return diagonal + residual + gamma(n) * squared_size(l) + n * n * TINY


def _inverse_iteration(m: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A direction of the least eigenvalue of the nearly singular m; any finite nonzero answer will do."""
    try:
        v = start
        for _ in range(3):
            v = np.linalg.solve(m, v)
            v = v / np.abs(v).max()
    except np.linalg.LinAlgError:
        return start
    return v if np.isfinite(v).all() and v.any() else start
