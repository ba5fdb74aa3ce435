"""Where the eigenvalues of a rational matrix lie, decided exactly: inside the unit circle or not.

For p(z) = a_0 z^n + ... + a_n and its reverse p*(z) = a_n z^n + ... + a_0, the step of Schur and Cohn: if
|a_n| < |a_0| then (a_0 p - a_n p*)/z, of degree n - 1, has as many roots outside the circle as p, and the
same roots on it (|p| = |p*| there, so a_0 p rules: Rouché). If |a_n| >= |a_0|, the product of the roots is at
least 1 in size.
"""

from collections.abc import Sequence
from enum import Enum
from fractions import Fraction

from banach.ir.exact import Interval

Matrix = Sequence[Sequence[Fraction]]


class Side(Enum):
    """Where the eigenvalues of a matrix lie."""

    INSIDE = "all eigenvalues are smaller than 1"
    ONE = "the eigenvalue 1, and all others are smaller"
    BEYOND = "an eigenvalue other than 1 that is not smaller than 1"


def characteristic(matrix: Matrix) -> list[Fraction]:
    """The coefficients of det(zI - M), that of z^n first (Faddeev & Le Verrier)."""
    n = len(matrix)
    found, power = [Fraction(1)], [[Fraction(int(i == j)) for j in range(n)] for i in range(n)]
    for k in range(1, n + 1):
        power = product(matrix, power)
        c = -sum((power[i][i] for i in range(n)), Fraction(0)) / k
        found.append(c)
        for i in range(n):
            power[i][i] += c
    return found


def product(a: Matrix, b: Matrix) -> list[list[Fraction]]:
    """A B."""
    columns = list(zip(*b))
    return [
        [sum((x * y for x, y in zip(row, column) if x and y), Fraction(0)) for column in columns] for row in a
    ]


def side(matrix: Matrix) -> Side:
    """Where the eigenvalues lie; see above."""
    return side_of(characteristic(matrix))


def side_of(polynomial: Sequence[Fraction]) -> Side:
    """Where the roots of a polynomial lie, its leading coefficient first and not zero."""
    p, ones = list(polynomial), 0
    while len(p) > 1 and not sum(p):  # z = 1 is a root: divide it out
        quotient = [p[0]]
        for c in p[1:-1]:
            quotient.append(quotient[-1] + c)
        p, ones = quotient, ones + 1
    while len(p) > 1:
        first, last = p[0], p[-1]
        if abs(last) >= abs(first):
            return Side.BEYOND
        p = [first * a - last * b for a, b in zip(p[:-1], p[:0:-1])]
        p = [a / p[0] for a in p]
    return Side.ONE if ones else Side.INSIDE


def annihilator(matrix: Matrix, vector: Sequence[Fraction]) -> list[Fraction]:
    """The monic polynomial p of least degree with p(M) v = 0: its roots are the eigenvalues that v has a part
    in.
    """
    rows: list[tuple[int, list[Fraction], list[Fraction]]] = []  # place of the pivot, M^k v reduced, how
    v, k = list(vector), 0
    while True:
        rest, how = list(v), [Fraction(0)] * k + [Fraction(1)]
        for place, row, own in rows:
            if rest[place]:
                c = rest[place] / row[place]
                rest = [x - c * y for x, y in zip(rest, row)]
                how = [h - c * (own[i] if i < len(own) else 0) for i, h in enumerate(how)]
        place = next((i for i, x in enumerate(rest) if x), None)
        if place is None:
            return how[::-1]
        rows.append((place, rest, how))
        v, k = [sum((a * x for a, x in zip(row, v) if a), Fraction(0)) for row in matrix], k + 1


def observed(matrix: Matrix, seen: Matrix) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    """(N, O) with O M = N O for a basis O of what `seen`, `seen` M, `seen` M², ... see: with ξ⁺ = M ξ, O ξ
    follows N, and it goes to 0 exactly if what is seen of ξ does (Kalman).
    """
    basis: list[tuple[int, list[Fraction]]] = []  # reduced: each pivot is 1, and alone in its column
    waiting = [list(row) for row in seen]
    while waiting:
        row = waiting.pop()
        for place, own in basis:
            row = [x - row[place] * y for x, y in zip(row, own)]
        place = next((i for i, x in enumerate(row) if x), None)
        if place is None:
            continue
        row = [x / row[place] for x in row]
        basis = [(i, [x - own[place] * y for x, y in zip(own, row)]) for i, own in basis]
        basis.append((place, row))
        waiting += product([row], matrix)
    rows = [row for _, row in basis]
    return [[row[place] for place, _ in basis] for row in product(rows, matrix)], rows


def surely_beyond(matrix: Sequence[Sequence[Interval]]) -> bool:
    """Whether every matrix between the ends has an eigenvalue beyond the circle; False says nothing."""
    n = len(matrix)
    zero, one = Interval.of(0), Interval.of(1)
    p, power = [one], [[one if i == j else zero for j in range(n)] for i in range(n)]
    for k in range(1, n + 1):
        power = [
            [sum((x * y for x, y in zip(row, column)), zero) for column in zip(*power)] for row in matrix
        ]
        p.append(sum((power[i][i] for i in range(n)), zero) * Fraction(-1, k))
        for i in range(n):
            power[i][i] = power[i][i] + p[-1]
    while len(p) > 1:
        first, last = abs(p[0]), abs(p[-1])
        if last.gt(first):
            return True
        if not last.lt(first):
            return False
        p = [p[0] * a - p[-1] * b for a, b in zip(p[:-1], p[:0:-1])]
    return False
