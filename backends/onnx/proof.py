"""Checks of a norm that a certificate states, in plain Python.

The second of two implementations, on purpose: it shares no code with the compiler that found the bound, and
needs neither numpy nor banach. True is a proof; False says only that no proof was found, as for a bound
within 1e-10 of the exact norm. A matrix is a list of rows of floats, read as the exact numbers they are; a
bound is an exact rational.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from operator import mul

_EXACT = 32  # columns up to which elimination in integers decides what floats could not
_UNIT = Fraction(1, 2**53)
_TINY = Fraction(1, 2**1000)  # more than any underflow below can add up to

Rows = Sequence[Sequence[float]]


def norm_at_most(rows: Rows, bound: Fraction) -> bool:
    """Is max ‖Av‖/‖v‖ <= bound proved, A: [m, n]?

    First ‖A‖1 ‖A‖inf <= bound² in integers, then a Cholesky factor of bound²·I - AᵀA, then exact elimination.
    """
    table = _integers(rows)
    if table is None or bound < 0:
        return False
    k, e = table
    if not k or not k[0]:
        return True
    limit = Fraction(bound) ** 2 / Fraction(4) ** e  # ‖k‖² <= limit is to be proved
    columns = list(zip(*k))
    if max(sum(map(abs, r)) for r in k) * max(sum(map(abs, c)) for c in columns) <= limit:
        return True
    tall = k if len(k) >= len(columns) else [list(c) for c in columns]
    return _float_definite(tall, limit, -1) or _exact_definite(tall, limit, -1)


def smallest_at_least(rows: Rows, bound: Fraction) -> bool:
    """Is min ‖Av‖/‖v‖ >= bound proved, A: [m, n]? The minimum is 0 if m < n.

    First the entries, if the columns do not meet; then a Cholesky factor of AᵀA - bound²·I, which sees
    singular values down to 1e-6 of the greatest; then exact elimination.
    """
    table = _integers(rows)
    if table is None:
        return False
    if bound <= 0:
        return True
    k, e = table
    if not k or not k[0] or len(k) < len(k[0]):
        return False
    limit = Fraction(bound) ** 2 / Fraction(4) ** e
    columns = list(zip(*k))
    if all(sum(map(bool, r)) <= 1 for r in k):  # orthogonal columns: each is stretched by its own length
        return all(sum(x * x for x in c) >= limit for c in columns)
    return _float_definite(k, limit, 1) or _exact_definite(k, limit, 1)


def spectrum_within(rows: Rows, lower: Fraction, upper: Fraction) -> bool:
    """Are all eigenvalues of a symmetric matrix proved to lie in [lower, upper]?

    For any c they do if ‖A - c·I‖ <= min(upper - c, c - lower); c is the middle, rounded to a float.
    """
    if any(len(row) != len(rows) for row in rows) or not lower <= upper:
        return False
    if any(rows[i][j] != rows[j][i] for i in range(len(rows)) for j in range(i)):
        return False
    middle = Fraction(float((lower + upper) / 2))
    shifted = [
        [Fraction(x) - (middle if i == j else 0) for j, x in enumerate(row)] for i, row in enumerate(rows)
    ]
    return norm_at_most(shifted, min(upper - middle, middle - lower))  # type: ignore[arg-type]


def abs_sum_at_most(values: Sequence[float], bound: Fraction) -> bool:
    """Is Σ|values| <= bound? Exact, so False is a proof too, but for numbers that are not finite."""
    table = _integers([values])
    if table is None:
        return False
    (k,), e = table
    return sum(map(abs, k)) * Fraction(2) ** e <= bound


def _integers(rows: Rows) -> tuple[list[list[int]], int] | None:
    """(k, e) with A = k·2^e; None unless A is rectangular and finite."""
    if any(len(r) != len(rows[0]) for r in rows) or not all(math.isfinite(x) for r in rows for x in r):
        return None
    ratios = [[x.as_integer_ratio() for x in r] for r in rows]
    e = max((d.bit_length() - 1 for r in ratios for _, d in r), default=0)
    return [[p << e - d.bit_length() + 1 for p, d in r] for r in ratios], -e


def _exact_definite(k: list[list[int]], limit: Fraction, sign: int) -> bool:
    """Is sign·(kᵀk - limit·I) positive semidefinite? By elimination without fractions (Bareiss).

    Each entry is a minor of the matrix, so the division by the pivot before is exact; the pivots are leading
    minors, and the rest is a positive multiple of a Schur complement: it must be semidefinite in turn.
    """
    columns = list(zip(*k))
    if len(columns) > _EXACT:
        return False
    p, q = sign * limit.numerator, sign * limit.denominator
    s = [[q * sum(map(mul, a, b)) for b in columns] for a in columns]
    for i, row in enumerate(s):
        row[i] -= p
    before = 1
    while s:
        (pivot, *row), rest = s[0], s[1:]
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        if pivot == 0:  # a zero row and column add nothing
            s = [line[1:] for line in rest]
        else:
            s = [[(pivot * x - line[0] * y) // before for x, y in zip(line[1:], row)] for line in rest]
            before = pivot
    return True


def _float_definite(k: list[list[int]], limit: Fraction, sign: int) -> bool:
    """The same by a Cholesky factor in floats and a bound of all that rounding can have done; k: [m, n].

    Write A = k/2^h with entries below 1 in size and t = limit/4^h. For a float s, M = sign·(fl(AᵀA) - s·I)
    and its factor R, every v of length 1 has
        sign·vᵀ(AᵀA - t·I)v  =  |Rv|² + vᵀ(M - RᵀR)v + vᵀ(rounding of the diagonal)v
                                + sign·vᵀ(AᵀA - fl(AᵀA))v + sign·(s - t)
    and the right side is not negative if sign·(s - t) is at least the sum of
        product    gamma(m)·‖A‖F² + tiny      since ‖|A|ᵀ|A|‖2 <= ‖A‖F²
        diagonal   u·max M_ii + tiny
        factor     g/(1 - g)·tr M + tiny, g = gamma(n + 4)
    Factor: entry ij of R comes from w = fl(M_ij - fl(Σ_k<i r_ki r_kj)) by one quotient or root. The sum errs
    by gamma(n)·Σ|r_ki r_kj|, difference and quotient (or squared root) by gamma(4)·|r_ii r_ij|: in all
    |M - RᵀR|_ij <= g·Σ_k|r_ki r_kj| <= g·|r_i||r_j| for columns r_i, r_j. On the diagonal |r_j|² <= M_jj
    + g·|r_j|², so |M - RᵀR|_ij <= g/(1 - g)·d_i d_j with d_i² = M_ii, and ‖ddᵀ‖2 = tr M (Rump, BIT 46, 2006).
    """
    m, n = len(k), len(k[0])
    h = max(abs(x) for r in k for x in r).bit_length()
    a, t = [[x / (1 << h) for x in r] for r in k], limit / Fraction(4) ** h
    if not _TINY < t < 2**200 or any(0 < abs(y) < 2.0**-900 for r in a for y in r):
        return False  # here the division by 2^h, exact otherwise, might have lost something
    square = Fraction(sum(x * x for r in k for x in r), 4**h)
    trace = sign * (square - n * t)
    if trace < 0:
        return False
    product, factor = _gamma(m) * square + _TINY, _gamma(n + 4) / (1 - _gamma(n + 4))
    spare = product + factor * trace * (1 + Fraction(1, 2**20)) + 4 * _UNIT * (t + square) + 4 * _TINY
    s = float(t + sign * spare)
    columns = list(zip(*a))
    gram = [[sum(map(mul, c, d)) for d in columns[i:]] for i, c in enumerate(columns)]
    matrix = [[sign * (r[0] - s), *(sign * x for x in r[1:])] for r in gram]
    if not _has_cholesky_factor(matrix):
        return False
    diagonal = [Fraction(r[0]) for r in matrix]
    needed = product + _UNIT * max(diagonal) + _TINY + factor * sum(diagonal) + _TINY
    return sign * (Fraction(s) - t) >= needed


def _has_cholesky_factor(upper: list[list[float]]) -> bool:
    """Are all pivots positive in floats? Row i holds the entries i, i + 1, ... of a symmetric matrix."""
    factor: list[list[float]] = [[] for _ in upper]  # columns of R, as far as they are known
    for i, row in enumerate(upper):
        column = factor[i]
        pivot = row[0] - sum(map(mul, column, column))
        if not pivot > 0:
            return False
        length = math.sqrt(pivot)
        for x, other in zip(row[1:], factor[i + 1 :]):
            other.append((x - sum(map(mul, column, other))) / length)
        column.append(length)
    return True


def _gamma(k: int) -> Fraction:
    """The relative error of k roundings."""
    return k * _UNIT / (1 - k * _UNIT)
