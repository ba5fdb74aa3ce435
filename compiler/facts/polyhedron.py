"""Systems of linear inequalities and equations in exact rationals, and why they have no solution."""

from collections.abc import Sequence
from fractions import Fraction

from banach.compiler.facts.elimination import reduce

Row = Sequence[Fraction]  # coefficients of the unknowns, then the constant
_MOST_ROWS = 256  # of a system while unknowns are eliminated; each may square the number


def contradiction(
    at_least: Sequence[Row], equal: Sequence[Row]
) -> tuple[list[Fraction], list[Fraction]] | None:
    """Multipliers y >= 0 and z under which the rows add up to 0 = -1: then g·x + h >= 0 for all rows of
    `at_least` and e·x + c = 0 for all of `equal` hold nowhere (Farkas 1902).

    Rows have one length. None: there is a solution, or the elimination (Fourier, Motzkin) grew too long.
    """
    count, whole = len(at_least), [*at_least, *equal]
    unknowns = len(whole[0]) - 1
    # Behind every row stand the multipliers of the rows it was added up from.
    rows = [[*row, *(Fraction(int(i == j)) for j in range(len(whole)))] for i, row in enumerate(whole)]
    above, level = rows[:count], rows[count:]
    pivots = reduce(level, unknowns)
    for row, column in zip(level, pivots):
        above = [[a - other[column] * b for a, b in zip(other, row)] for other in above]
    for row in level[len(pivots) :]:
        if row[unknowns]:
            return _split([-x / row[unknowns] for x in row], unknowns, count)
    for column in range(unknowns):
        ups = [row for row in above if row[column] > 0]
        downs = [row for row in above if row[column] < 0]
        above = [row for row in above if not row[column]]
        if len(above) + len(ups) * len(downs) > _MOST_ROWS:
            return None
        above += [
            [a / up[column] - b / down[column] for a, b in zip(up, down)] for up in ups for down in downs
        ]
    below = next((row for row in above if row[unknowns] < 0), None)
    return None if below is None else _split([-x / below[unknowns] for x in below], unknowns, count)


def _split(row: list[Fraction], unknowns: int, count: int) -> tuple[list[Fraction], list[Fraction]]:
    # A row that was scaled by a negative number is one of equations alone: it has no part with a sign.
    told = row[unknowns + 1 :]
    return told[:count], told[count:]


def has_inside(at_least: Sequence[Row]) -> bool:
    """Whether g·x + h > 0 for all rows somewhere; True also where the elimination grew too long to tell.

    Then, and only then, g·y + h·t >= 1 for all of them and some t >= 1: y = t x, for a large t.
    """
    unknowns = len(at_least[0])
    rows: list[Row] = [(*row, Fraction(-1)) for row in at_least]
    rows.append((*[Fraction(0)] * (unknowns - 1), Fraction(1), Fraction(-1)))
    return contradiction(rows, []) is None
