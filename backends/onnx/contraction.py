"""A norm in which a matrix contracts, as a certificate states it, checked again in plain Python.

Weights: if Σ_j |M_ij| w_j <= q w_i for all i, with w > 0, the largest |x_i|/w_i falls by q under M, and under
any map whose entries change by at most |M|·|change|; "also" are further rows, each of which may stand in
place of one of M, where slopes vary. Form: if P and q²P - MᵀPM are positive definite, √(xᵀPx) falls by q;
under a map that shortens the entries of Mx, "bent", P must be diagonal. All in exact rationals; it shares no
code with the compiler that found the numbers.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

_LARGEST = 64


def contracts(stated: Mapping[str, Any]) -> bool:
    """Whether the stated norm falls by the stated factor under the stated matrix."""
    matrix = [[Fraction(x) for x in row] for row in stated["matrix"]]
    n, factor = len(matrix), Fraction(stated["factor"])
    if not (0 <= factor < 1 and 0 < n <= _LARGEST and all(len(row) == n for row in matrix)):
        return False
    if stated["kind"] == "weights":
        weights = [Fraction(x) for x in stated["weights"]]
        if len(weights) != n or min(weights) <= 0:
            return False
        rows = [*enumerate(matrix), *((i, [Fraction(x) for x in row]) for i, row in stated.get("also", ()))]
        return all(
            0 <= i < n
            and len(row) == n
            and sum(abs(a) * w for a, w in zip(row, weights)) <= factor * weights[i]
            for i, row in rows
        )
    P = [[Fraction(x) for x in row] for row in stated["P"]]
    if (
        len(P) != n
        or any(len(row) != n for row in P)
        or any(P[i][j] != P[j][i] for i in range(n) for j in range(i))
    ):
        return False
    if stated.get("bent") and any(P[i][j] for i in range(n) for j in range(n) if i != j):
        return False
    columns = list(zip(*matrix))
    image = [[sum(p * x for p, x in zip(row, column)) for column in columns] for row in P]
    back = [[sum(x * y for x, y in zip(columns[i], column)) for column in zip(*image)] for i in range(n)]
    fallen = [[factor**2 * p - b for p, b in zip(row, other)] for row, other in zip(P, back)]
    return _definite(P) and _definite(fallen)


def _definite(matrix: Sequence[Sequence[Fraction]]) -> bool:
    """Whether every leading minor is positive, by elimination in integers (Bareiss)."""
    scale = math.lcm(*(x.denominator for row in matrix for x in row))
    rest = [[int(x * scale) for x in row] for row in matrix]
    before = 1
    while rest:
        (pivot, *row), *below = rest
        if pivot <= 0:
            return False
        rest = [[(pivot * x - line[0] * y) // before for x, y in zip(line[1:], row)] for line in below]
        before = pivot
    return True
