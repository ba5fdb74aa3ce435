"""Linear systems in feedback with gradients, and the inequality that proves their linear rate.

System   ξ⁺ = A ξ + B u,  y = C ξ + D u,  u_i ∈ ∂f(y_i) with f the function number of[i], everything measured
         from a fixed point at which all y_i are the minimiser. D is lower triangular: an evaluation may use
         the ones before it, and a proximal map x = w - t·u uses itself. Each letter stands for a block of any
         size: A ⊗ I.
Class    f is convex with f - mu/2‖·‖² convex and, where `smooth` says so, `smooth`-smooth. With h = f -
         mu/2‖·‖² and s = u - mu·y, two points of one function satisfy (and this is all there is to know of
         them)
             h_a >= h_b + <s_b, y_a - y_b> + ‖s_a - s_b‖²/(2(smooth - mu))
Claim    V(ξ, s) = [ξ s]ᵀ P [ξ s] + Σ_i p_i h(y_i) is at least ‖ξ‖², and V⁺ <= factor²·V in every step, for
         every function of the class in every dimension. So ‖ξ_k‖ <= factor^k √V_0.
Proof    factor²·V - V⁺ - Σ λ_ab (h_a - h_b - ...) and V - ‖ξ‖² - Σ ν_ab (h_a - h_b - ...) are positive
         definite quadratic forms, with λ, ν >= 0 and no h left over
Source   Taylor, Hendrickx & Glineur 2017 (the inequalities); Lessard, Recht & Packard 2016 and Taylor, Van
         Scoy & Lessard 2018 (their use as multipliers)

Coefficients are intervals, so that one certificate holds for the numbers as written and as stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.ir.exact import Interval

STAR = -1  # the index of the minimiser among the points
Row = np.ndarray  # a linear form in (ξ_0, s_0, s_1): floats, or Fractions or Intervals in an object array
Kind = type[float] | type[Fraction] | type[Interval]
Multipliers = dict[tuple[int, int], Fraction]


@dataclass(frozen=True, slots=True)
class Curvature:
    """Functions that are `mu`-strongly convex and `smooth`-smooth; None: perhaps not smooth."""

    mu: Fraction
    smooth: Fraction | None


@dataclass(frozen=True, slots=True)
class System:
    """See above. A: [n, n], B: [n, r], C: [r, n], D: [r, r], as rows of intervals; `of`: [r]."""

    A: tuple[tuple[Interval, ...], ...]
    B: tuple[tuple[Interval, ...], ...]
    C: tuple[tuple[Interval, ...], ...]
    D: tuple[tuple[Interval, ...], ...]
    of: tuple[int, ...]
    classes: tuple[Curvature, ...]

    @property
    def states(self) -> int:
        return len(self.A)

    @property
    def evaluations(self) -> int:
        return len(self.of)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Rational numbers that prove a factor. Points: STAR, 0 .. r - 1 now, r .. 2r - 1 one step later."""

    factor: Fraction
    P: tuple[tuple[Fraction, ...], ...]
    values: tuple[Fraction, ...]
    decrease: Multipliers
    lower: Multipliers


@dataclass(frozen=True, slots=True)
class Window:
    """Two steps of a system as linear forms: the state and s now and one step later, and the points (y,
    s).
    """

    now: list[Row]
    later: list[Row]
    points: list[tuple[Row, Row]]


def window(system: System, kind: Kind) -> Window:
    """The forms, in numbers of a kind; Fractions where every interval is a point."""
    n, r = system.states, system.evaluations
    matrices = [_matrix(m, kind) for m in (system.A, system.B, system.C, system.D)]
    unit = _matrix([[int(i == j) for j in range(n + 2 * r)] for i in range(n + 2 * r)], kind)
    state, points = list(unit[:n]), []
    ends = []
    for step in (0, 1):
        s = list(unit[n + step * r : n + (step + 1) * r])
        ends.append([*state, *s])
        state, found = _advance(system, matrices, state, s, kind)
        points += found
    return Window(ends[0], ends[1], points)


def _advance(
    system: System, matrices: list[np.ndarray], state: list[Row], s: list[Row], kind: Kind
) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """One step: (1 - D_ii mu) y_i = C_i ξ + Σ_j<i D_ij u_j + D_ii s_i, and u_i = s_i + mu·y_i."""
    A, B, C, D = matrices
    u: list[Row] = []
    points = []
    for i, own in enumerate(s):
        mu = _number(system.classes[system.of[i]].mu, kind)
        y = _sum([*zip(C[i], state), *zip(D[i], u), (D[i][i], own)]) / (1 - D[i][i] * mu)
        u.append(own + y * mu)
        points.append((y, own))
    return [_sum([*zip(a, state), *zip(b, u)]) for a, b in zip(A, B)], points


def _matrix(rows: Sequence[Sequence[Any]], kind: Kind) -> np.ndarray:
    array = np.empty((len(rows), len(rows[0]) if rows else 0), float if kind is float else object)
    array[...] = [[_number(x, kind) for x in row] for row in rows]
    return array


def middle(x: Interval) -> float:
    """A float inside or near an interval."""
    low, high = x.to_floats()
    return low / 2 + high / 2


def _number(x: Any, kind: Kind) -> Any:
    if kind is float:
        return middle(x) if isinstance(x, Interval) else float(x)
    return Interval.of(x) if kind is Interval else Fraction(x.lo if isinstance(x, Interval) else x)


def _sum(pairs: Sequence[tuple[Any, Row]]) -> Row:
    (first, row), *rest = pairs
    total = row * first
    for factor, other in rest:
        total = total + other * factor
    return total


def pairs(system: System, steps: int) -> Iterator[tuple[int, int]]:
    """All ordered pairs of points of one function, within so many steps."""
    r = system.evaluations
    points = [STAR, *range(steps * r)]
    for a in points:
        for b in points:
            one = a == STAR or b == STAR or system.of[a % r] == system.of[b % r]
            if a != b and one:
                yield a, b


def form(system: System, seen: Window, a: int, b: int, kind: Kind) -> np.ndarray:
    """The quadratic form of -<s_b, y_a - y_b> - ‖s_a - s_b‖²/(2(smooth - mu)), what is left of a pair."""
    zero = seen.points[0][0] * _number(Fraction(0), kind)
    (y, s), (z, t) = (seen.points[i] if i != STAR else (zero, zero) for i in (a, b))
    curvature = system.classes[system.of[max(a, b) % system.evaluations]]
    half = _number(Fraction(1, 2), kind)
    outer = np.outer(t, y - z)
    found = (outer + outer.T) * -half
    if curvature.smooth is not None:
        found = found - np.outer(s - t, s - t) * _number(1 / (2 * (curvature.smooth - curvature.mu)), kind)
    return found


def spread(P: np.ndarray, rows: list[Row]) -> np.ndarray:
    """ZᵀPZ, for the linear forms Z."""
    Z = np.array(rows)
    return Z.T @ P @ Z


def left_over(
    system: System, factor: Fraction, values: Sequence[Fraction], step: Multipliers, low: Multipliers
) -> Iterator[Fraction]:
    """The coefficients of h at every point, first in the decrease, then in the lower bound."""
    r = system.evaluations
    for i in range(2 * r):
        own = factor**2 * values[i] if i < r else -values[i - r]
        yield own - _flow(step, i)
    for i in range(r):
        yield values[i] - _flow(low, i)


def _flow(multipliers: Multipliers, i: int) -> Fraction:
    return sum((m * ((a == i) - (b == i)) for (a, b), m in multipliers.items()), Fraction(0))


def proves(system: System, found: Certificate) -> bool:
    """Whether the certificate proves its factor of the system: all in exact arithmetic."""
    n, r = system.states, system.evaluations
    if any(m < 0 for m in (*found.decrease.values(), *found.lower.values())):
        return False
    if not set(found.decrease) <= set(pairs(system, 2)) or not set(found.lower) <= set(pairs(system, 1)):
        return False
    if any(left_over(system, found.factor, found.values, found.decrease, found.lower)):
        return False
    points = (x.is_point for rows in (system.A, system.B, system.C, system.D) for row in rows for x in row)
    kind: Kind = Fraction if all(points) else Interval
    seen = window(system, kind)
    P = _matrix(found.P, kind)
    decrease = spread(P, seen.now) * _number(found.factor**2, kind) - spread(P, seen.later)
    lower = P - _matrix([[int(i == j < n) for j in range(n + r)] for i in range(n + r)], kind)
    for (a, b), m in found.decrease.items():
        decrease = decrease - form(system, seen, a, b, kind) * _number(m, kind)
    for (a, b), m in found.lower.items():
        lower = lower - form(system, seen, a, b, kind)[: n + r, : n + r] * _number(m, kind)
    return positive_definite(decrease) and positive_definite(lower)


def positive_definite(matrix: np.ndarray) -> bool:
    """Whether all pivots of L D Lᵀ are positive, for every symmetric matrix between intervals."""
    rest = [list(row) for row in matrix]
    while rest:
        (pivot, *row), *below = rest
        if not (pivot.lo if isinstance(pivot, Interval) else pivot) > 0:
            return False
        scaled = [x / pivot for x in row]
        rest = [[x - line[0] * y for x, y in zip(line[1:], scaled)] for line in below]
    return True
