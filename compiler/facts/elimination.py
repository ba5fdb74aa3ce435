"""Elimination in exact rationals."""

from fractions import Fraction


def reduce(rows: list[list[Fraction]], columns: int) -> list[int]:
    """Reduces rows in place, over their first `columns` columns; returns the columns of the pivots.

    The pivot number i is a 1 in row i, and alone in its column. What lies behind the columns, a right side
    say, is carried along.
    """
    pivots: list[int] = []
    for column in range(columns):
        head = len(pivots)
        chosen = next((i for i in range(head, len(rows)) if rows[i][column]), None)
        if chosen is None:
            continue
        rows[head], rows[chosen] = rows[chosen], rows[head]
        rows[head] = [x / rows[head][column] for x in rows[head]]
        for i, row in enumerate(rows):
            if i != head and row[column]:
                rows[i] = [x - row[column] * y for x, y in zip(row, rows[head])]
        pivots.append(column)
    return pivots
