"""Norms in which a rational matrix is a contraction, found in floats and proved in rationals.

Weights  |M| w <= q w with w > 0 gives max_i |(Mx)_i|/w_i <= q max_i |x_i|/w_i; such w exist exactly if the
         spectral radius of |M| is below 1. The same holds of any map whose entries change by at most
         |M|·|change|
Form     q²P - MᵀPM and P positive definite give ‖Mx‖_P <= q‖x‖_P; such P exist exactly if the spectral radius
         of M is below q (Stein)
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Rows = Sequence[Sequence[Fraction]]
_BITS = 40  # of a factor
_WEIGHT = 2**20  # of the least weight
_DOUBLINGS = 60
_ROOM = (0.01, 0.1, 0.4)  # of what the radius leaves below 1, in the order in which they are tried
LARGEST_FORM = 24


def radius(rows: Rows, sizes: bool = False) -> float:
    """The spectral radius of M, or of |M|, about."""
    floats = np.array([[float(x) for x in row] for row in rows])
    return float(np.abs(np.linalg.eigvals(np.abs(floats) if sizes else floats)).max(initial=0.0))


def weights(rows: Rows) -> tuple[Fraction, tuple[Fraction, ...]] | None:
    """(q, w) with |M| w <= q w and q < 1, exactly; None: there are none, or none were found."""
    size = np.abs(np.array([[float(x) for x in row] for row in rows]))
    around = radius(rows, True)
    if not around < 1:
        return None
    slower = around + (1 - around) * _ROOM[0]  # with w = 1 + |M|w/s + ... : |M| w = s(w - 1)
    try:
        solved = np.linalg.solve(np.eye(len(size)) - size / slower, np.ones(len(size)))
    except np.linalg.LinAlgError:
        return None
    if not (np.isfinite(solved).all() and solved.min() > 0 and solved.max() < 2.0**100):
        return None
    w = tuple(Fraction(round(x * _WEIGHT / solved.min())) for x in solved.tolist())
    worst = max(sum((abs(a) * x for a, x in zip(row, w)), Fraction(0)) / own for row, own in zip(rows, w))
    factor = rounded_up(worst)
    return (factor, w) if factor < 1 else None


def texts(rows: Rows) -> list[list[str]]:
    """A matrix as certificates state it."""
    return [[str(x) for x in row] for row in rows]


def rounded_up(x: Fraction) -> Fraction:
    """The least number of _BITS binary digits that is not smaller."""
    return Fraction(-(-x.numerator * 2**_BITS // x.denominator), 2**_BITS)


def form(rows: Rows) -> tuple[Fraction, tuple[tuple[Fraction, ...], ...]] | None:
    """(q, P) with q²P - MᵀPM and P positive definite and q < 1, exactly; None: none was found."""
    n, around = len(rows), radius(rows)
    if not around < 1 or n > LARGEST_FORM:
        return None
    floats = np.array([[float(x) for x in row] for row in rows])
    for room in _ROOM:
        factor = rounded_up(Fraction(around + (1 - around) * room))
        P = _sum_of_powers(floats / float(factor))
        if P is None or factor >= 1:
            continue
        size = np.abs(P).max()
        exact = [[Fraction(round(x / size * 2**_BITS)) for x in row] for row in P.tolist()]
        exact = [[exact[max(i, j)][min(i, j)] for j in range(n)] for i in range(n)]
        if falls(rows, exact, factor):
            return factor, tuple(map(tuple, exact))
    return None


def _sum_of_powers(a: np.ndarray) -> np.ndarray | None:
    """Σ_k (aᵏ)ᵀ aᵏ, which is P with P - aᵀPa = I."""
    total, power = np.eye(len(a)), a
    for _ in range(_DOUBLINGS):
        with np.errstate(all="ignore"):
            more = power.T @ total @ power
            total, power = total + more, power @ power
        if not np.isfinite(total).all():
            return None
        if np.abs(more).max() <= 1e-17 * np.abs(total).max():
            return total
    return None


def falls(rows: Rows, P: Rows, factor: Fraction) -> bool:
    """Are P and factor²·P - MᵀPM positive definite? In integers."""
    n = range(len(rows))
    columns = list(zip(*rows))
    image = [[_dot(row, column) for column in columns] for row in P]
    back = [[_dot(columns[i], column) for column in zip(*image)] for i in n]
    fallen = [[factor**2 * P[i][j] - back[i][j] for j in n] for i in n]
    return _definite(P) and _definite(fallen)


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b) if x), Fraction(0))


def _definite(rows: Rows) -> bool:
    """Every leading minor is positive: elimination without fractions (Bareiss)."""
    least = 1
    for row in rows:
        for x in row:
            least = math.lcm(least, x.denominator)
    s = [[int(x * least) for x in row] for row in rows]
    before = 1
    while s:
        (pivot, *row), rest = s[0], s[1:]
        if pivot <= 0:
            return False
        s = [[(pivot * x - line[0] * y) // before for x, y in zip(line[1:], row)] for line in rest]
        before = pivot
    return True
