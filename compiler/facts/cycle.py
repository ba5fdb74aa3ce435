"""Periodic orbits of a method on a function of one variable, in exact rationals: why a class has no
guarantee.

A function of one variable with its minimiser at 0 and given slopes u_k at points y_k exists in the class
exactly if, in the order of the points and with (0, 0) among them, neighbours satisfy mu <= (u_b - u_a)/(y_b -
y_a) <= L: its slope is then drawn as a polygon. So an orbit of given period and order is a point in a cone:
it is looked for in floats, rounded, and checked in rationals.
Source   Goujaud, Taylor & Dieuleveut 2023, for the idea
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np

from banach.compiler.facts.barrier import Cone, inside
from banach.compiler.facts.elimination import reduce

Vector = list[Fraction]
Rows = Sequence[Sequence[Fraction]]
_PERIODS = (2, 3, 4)
_GRID = 2**24


@dataclass(frozen=True, slots=True)
class Cycle:
    """The state at its start, and the points with the slopes there, one for each step of the period."""

    state: tuple[Fraction, ...]
    points: tuple[tuple[Fraction, Fraction], ...]


def cycle(
    A: Rows, b: Sequence[Fraction], c: Sequence[Fraction], mu: Fraction, smooth: Fraction
) -> Cycle | None:
    """An orbit ξ⁺ = A ξ + b u, y = c ξ that comes back to its start for some function of the class."""
    for period in _PERIODS:
        basis = _orbits(A, b, period)
        if not basis:
            continue
        free = [_run(A, b, c, z) for z in basis]
        for order in _orders(period):
            found = _in_order(free, order, mu, smooth)
            if found is not None:
                z = [sum((f * x for f, x in zip(found, column)), Fraction(0)) for column in zip(*basis)]
                return Cycle(tuple(z[: len(A)]), tuple(_run(A, b, c, z)))
    return None


def _run(A: Rows, b: Sequence[Fraction], c: Sequence[Fraction], z: Vector) -> list[tuple[Fraction, Fraction]]:
    """(y_k, u_k) along the orbit from the state and with the slopes in z."""
    n, state, found = len(A), z[: len(A)], []
    for u in z[n:]:
        found.append((_dot(c, state), u))
        state = [_dot(row, state) + own * u for row, own in zip(A, b)]
    return found


def _dot(a: Sequence[Fraction], b: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b)), Fraction(0))


def _orbits(A: Rows, b: Sequence[Fraction], period: int) -> list[Vector]:
    """A basis of all (ξ_0, u_0, .., u_(p-1)) with ξ_p = ξ_0."""
    n = len(A)
    size = n + period
    state = [[Fraction(int(i == j)) for j in range(size)] for i in range(n)]
    for k in range(period):
        moved = [[_dot(row, column) for column in zip(*state)] for row in A]
        for i in range(n):
            moved[i][n + k] += b[i]
        state = moved
    for i in range(n):
        state[i][i] -= 1
    return _kernel(state, size)


def _kernel(rows: list[Vector], size: int) -> list[Vector]:
    """A basis of the vectors that all rows send to 0."""
    pivots = reduce(rows, size)
    found = []
    for column in range(size):
        if column not in pivots:
            vector = [Fraction(int(j == column)) for j in range(size)]
            for i, pivot in enumerate(pivots):
                vector[pivot] = -rows[i][column]
            found.append(vector)
    return found


def _orders(period: int) -> Iterator[tuple[int, ...]]:
    """The orders of the points from left to right, -1 being the minimiser: once each up to turns and
    mirrors.
    """
    seen: set[tuple[int, ...]] = set()
    for order in permutations(range(-1, period)):
        alike = set()
        for turn in range(period):
            turned = tuple(i if i < 0 else (i + turn) % period for i in order)
            alike |= {turned, turned[::-1]}
        if not alike & seen:
            seen.add(order)
            yield order


def _in_order(
    free: list[list[tuple[Fraction, Fraction]]], order: tuple[int, ...], mu: Fraction, smooth: Fraction
) -> Vector | None:
    """Weights of the basis whose orbit has this order and these slopes; None: none was found."""
    lines = []
    for a, b in pairwise(order):
        apart = [_apart(orbit, a, b) for orbit in free]
        lines.append([y for y, _ in apart])
        lines.append([smooth * y - u for y, u in apart])
        lines.append([u - mu * y for y, u in apart])
    lengths = [max(map(abs, line)) for line in lines]
    if not all(lengths):
        return None
    floats = np.array([[float(x / length) for x in line] for line, length in zip(lines, lengths)])
    x, slack = inside(Cone([], floats), 0.5)
    if slack <= 0:
        return None
    weights = [Fraction(round(value * _GRID), _GRID) for value in (x / np.abs(x).max()).tolist()]
    return weights if all(_dot(line, weights) > 0 for line in lines) else None


def _apart(orbit: list[tuple[Fraction, Fraction]], a: int, b: int) -> tuple[Fraction, Fraction]:
    (y, u), (z, v) = (orbit[i] if i >= 0 else (Fraction(0), Fraction(0)) for i in (a, b))
    return z - y, v - u
