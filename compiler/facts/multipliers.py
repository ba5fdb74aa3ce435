"""A search for the best certified rate of a system: numbers from floats, kept only if they prove it exactly.

Free numbers are P, the weights of the function values and most multipliers; the multipliers of the pairs (a,
STAR) follow from them, since no function value may be left over. The rate is found by a search that
aims by the slack, then loosened until the rounded numbers pass `lyapunov.proves`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from banach.compiler.facts import lyapunov
from banach.compiler.facts.barrier import Cone, inside
from banach.compiler.facts.lyapunov import (
    STAR,
    Certificate,
    System,
    Window,
    form,
    pairs,
    proves,
    spread,
    window,
)

_SLOWEST = 1e-6  # a rate closer to 1 than this is not looked for
_REACHED = 1e-5  # how much of 1 - factor is given up to reach a lower bound
_CLOSE = 5e-5  # how near the greatest log(1 - factor) the search ends
_MOST = 0.8  # of the slack that there is
_TRIES = 24
_LOOSER = (4e-6, 3e-5, 2e-4, 2e-3, 2e-2)  # relative to 1 - factor, and what rounding needs at most
_BITS = 40
_LARGEST = 12  # states, and evaluations twice

Pair = tuple[int, int]


def prove(systems: Sequence[System]) -> Certificate | None:
    """One certificate for all systems, which differ by rounding: its factor is near the best of the first.

    None: there is none of this form, or none was found.
    """
    system = systems[0]
    if not 0 < system.states + 2 * system.evaluations <= _LARGEST or not system.evaluations:
        return None
    task = _Task(system)
    search = _Search(task)
    if search.best is None:
        return None
    gap, best = float(np.exp(search.feasible[-1][0])), search.best
    for looser in _LOOSER:
        factor = Fraction(round((1 - gap * (1 - looser)) * 2**_BITS) + 1, 2**_BITS)
        certificate = task.certificate(factor, best)
        if certificate is not None and factor < 1 and all(proves(s, certificate) for s in systems):
            return certificate
    return None


class _Search:
    """The greatest log(1 - factor) with slack, about: `feasible` ends with it, and `best` are its numbers.

    No factor is below the radius for a quadratic of the class, which many methods reach. Below the greatest,
    slack falls about as a line does, so that two points foretell where it ends.
    """

    def __init__(self, task: "_Task"):
        self.task = task
        self.feasible: list[tuple[float, float]] = []
        self.best: np.ndarray | None = None
        slowest, gap = float(np.log(_SLOWEST)), 1 - slowest_mode(task.system)
        if gap <= _SLOWEST:
            return
        self.beyond = float(np.log(gap))
        reached = self.beyond + float(np.log1p(-_REACHED))
        if self._try(reached) or not (self._try(self.beyond - 1) or self._try(slowest)):
            return
        trust = 0.9
        for _ in range(_TRIES):
            near = self.feasible[-1][0]
            ahead = self._foretold()
            if self.beyond - near < _CLOSE or (ahead is not None and ahead < _CLOSE / 4):
                return
            middle = (self.beyond - near) / 2
            done = self._try(near + (middle if ahead is None else min(trust * ahead, middle)))
            trust = 0.9 if done else trust / 2

    def _try(self, place: float) -> bool:
        found = self.task.solve(1 - float(np.exp(place)), self.best)
        if found is None:
            self.beyond = min(self.beyond, place)
            return False
        self.best, slack = found
        self.feasible.append((place, slack))
        return True

    def _foretold(self) -> float | None:
        """How far beyond the last point its slack is used up."""
        if len(self.feasible) < 2:
            return None
        (before, much), (now, little) = self.feasible[-2:]
        return little * (now - before) / (much - little) if little < much else None


def slowest_mode(system: System) -> float:
    """The radius of the method on the worst of the quadratics that bend by mu or by L in every direction; a
    function that is perhaps not smooth bends by mu.
    """
    A, B, C, D = (
        np.array([[lyapunov.middle(x) for x in row] for row in m])
        for m in (system.A, system.B, system.C, system.D)
    )
    ends = [(float(own.mu), float(own.mu if own.smooth is None else own.smooth)) for own in system.classes]
    worst = 0.0
    for bent in itertools.product(*ends):
        slopes = np.array([bent[own] for own in system.of])
        try:
            points = np.linalg.solve(np.eye(len(slopes)) - D * slopes, C)
        except np.linalg.LinAlgError:
            continue
        worst = max(worst, float(np.abs(np.linalg.eigvals(A + (B * slopes) @ points)).max()))
    return worst


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the free numbers stand."""

    entries: list[Pair]  # of P
    values: int
    decrease: list[Pair]
    lower: list[Pair]

    @property
    def size(self) -> int:
        return len(self.entries) + self.values + len(self.decrease) + len(self.lower)


class _Task:
    """The inequalities of a system, affine in the free numbers."""

    def __init__(self, system: System):
        self.system = system
        self.seen: Window = window(system, float)
        r, q = system.evaluations, system.states + system.evaluations
        self.layout = _Layout(
            [(i, j) for i in range(q) for j in range(i, q)],
            r,
            [pair for pair in pairs(system, 2) if pair[1] != STAR],
            [pair for pair in pairs(system, 1) if pair[1] != STAR],
        )
        self.forms = {pair: form(system, self.seen, *pair, float) for pair in pairs(system, 2)}

    def solve(self, factor: float, near: np.ndarray | None) -> tuple[np.ndarray, float] | None:
        """Free numbers that have most of the slack that there is at a factor, and that slack."""
        x, slack = inside(self._cone(factor), _MOST, near)
        return (x, slack) if slack > 0 else None

    def certificate(self, factor: Fraction, near: np.ndarray) -> Certificate | None:
        """Rational numbers well inside, scaled such that V >= ‖ξ‖² has room too."""
        x, slack = inside(self._cone(float(factor)), 0.5, near)
        if slack <= 0:
            return None
        scale = max(float(slack), 1e-300) * 0.75
        free = [Fraction(round(value / scale * 2**_BITS), 2**_BITS) for value in x.tolist()]
        return self._rational(factor, free)

    def _cone(self, factor: float) -> Cone:
        system, layout = self.system, self.layout
        n, r = system.states, system.evaluations
        q, size = n + r, n + 2 * r
        square = factor**2
        decrease, lower, lines = [], [], []
        for i, j in layout.entries:
            E = np.zeros((q, q))
            E[i, j] = E[j, i] = 1
            decrease.append(square * spread(E, self.seen.now) - spread(E, self.seen.later))
            lower.append(E)
        forms = self.forms
        for i in range(layout.values):
            decrease.append(-square * forms[i, STAR] + forms[r + i, STAR])
            lower.append(-forms[i, STAR][:q, :q])
        for a, b in layout.decrease:
            back = forms[b, STAR] - (forms[a, STAR] if a != STAR else 0)
            decrease.append(-forms[a, b] - back)
            lower.append(np.zeros((q, q)))
        for a, b in layout.lower:
            back = forms[b, STAR] - (forms[a, STAR] if a != STAR else 0)
            decrease.append(np.zeros((size, size)))
            lower.append(-(forms[a, b] + back)[:q, :q])
        unit = np.eye(layout.size)
        lines = [
            unit[len(layout.entries) + layout.values + i]
            for i in range(len(unit) - len(layout.entries) - layout.values)
        ]
        lines += self._dependent(square)
        return Cone([np.array(decrease), np.array(lower)], np.array(lines))

    def _dependent(self, square: float) -> list[np.ndarray]:
        """The multipliers of (a, STAR), as forms in the free numbers."""
        layout, r = self.layout, self.system.evaluations
        p, step = len(layout.entries), len(layout.entries) + layout.values
        low = step + len(layout.decrease)
        rows = np.zeros((3 * r, layout.size))
        for i in range(r):
            rows[i, p + i], rows[r + i, p + i], rows[2 * r + i, p + i] = square, -1.0, 1.0
        for start, first, chosen in ((step, 0, layout.decrease), (low, 2 * r, layout.lower)):
            for k, (a, b) in enumerate(chosen):
                rows[first + b, start + k] += 1
                if a != STAR:
                    rows[first + a, start + k] -= 1
        return list(rows)

    def _rational(self, factor: Fraction, free: list[Fraction]) -> Certificate:
        layout, r = self.layout, self.system.evaluations
        q = self.system.states + r
        P = [[Fraction(0)] * q for _ in range(q)]
        for (i, j), value in zip(layout.entries, free):
            P[i][j] = P[j][i] = value
        rest = free[len(layout.entries) :]
        values, rest = rest[:r], rest[r:]
        decrease = dict(zip(layout.decrease, rest))
        lower = dict(zip(layout.lower, rest[len(layout.decrease) :]))
        own = [*(factor**2 * v for v in values), *(-v for v in values)]
        for chosen, needed in ((decrease, own), (lower, values)):
            back = list(needed)
            for (a, b), m in list(chosen.items()):
                back[b] += m
                if a != STAR:
                    back[a] -= m
            chosen.update({(i, STAR): m for i, m in enumerate(back)})
        return Certificate(factor, tuple(map(tuple, P)), tuple(values), decrease, lower)
