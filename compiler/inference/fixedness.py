"""Iterations that stand still nowhere."""

from fractions import Fraction
from typing import Any, final

import numpy as np

from banach.compiler.certificate import REFUTED, Certificate, Hypothesis, Witness
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.entrywise import NotRead
from banach.compiler.elaboration.analysis.pieces import Piece, pieces
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts.polyhedron import Row, contradiction
from banach.compiler.inference.rule import Rule
from banach.compiler.text import syntax

_STEPS = 200


@final
class NoFixedPoint(Rule):
    """A piecewise affine step that leaves no point where it is does not converge from any start.

    Form    the new state is made of the old one, whose entries are at most 8, by known linear maps, larger
            and smaller of numbers, absolute values, relu, clip and soft threshold: at most 64 pieces, which
            are polyhedra {x : Gx + h >= 0} with x ↦ Mx + c on them. What is returned is the state
    If      on every piece there are y >= 0 and z with yᵀ(Gx + h) + zᵀ((M − I)x + c) = −1 for all x
    Then    no x has T(x) = x, which every limit would have, as T is continuous: refuted. No move is shorter
            than the least 1/Σ|z_i| of the pieces, in its largest entry
    Source  Farkas 1902
    """

    structural = True

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        try:
            states, found = pieces(claim)
        except NotRead:
            return None
        returns = claim.recipe.returns
        if len(states) != 1 or not isinstance(returns, syntax.Name) or returns.id != states[0]:
            return None
        reasons = [_nowhere(piece) for piece in found]
        if not all(reasons):
            return None
        told = [reason for reason in reasons if reason]
        shortest = min(1 / sum(map(abs, z), Fraction(0)) for _, z in told)
        exact = {
            "pieces": [
                {
                    "inside": _shown(piece.inside),
                    "rows": _shown(piece.rows),
                    "y": list(map(str, y)),
                    "z": list(map(str, z)),
                }
                for piece, (y, z) in zip(found, told)
            ]
        }
        start, growth = _orbit(found)
        note = f"T(x) = x has no solution: every move is {float(shortest):.6g} or more in some entry"
        return Certificate(
            verdict=REFUTED,
            scope="instance",
            witness=Witness("no fixed point", start, (len(start),), growth, note, exact),
            **self.told(
                claim, "Farkas 1902", Hypothesis(f"{len(found)} pieces, on none of which T(x) = x", True)
            ),
        )


def _nowhere(piece: Piece) -> tuple[list[Fraction], list[Fraction]] | None:
    """Multipliers that contradict T(x) = x on a piece."""
    moves = [
        tuple(x - int(i == j) if j < len(row) - 1 else x for j, x in enumerate(row))
        for i, row in enumerate(piece.rows)
    ]
    return contradiction(piece.inside, moves)


def _shown(rows: tuple[Row, ...]) -> list[list[str]]:
    return [[str(x) for x in row] for row in rows]


def _orbit(found: list[Piece]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """From 0, in floats: the largest entries of the moves."""
    tables: list[Any] = [
        (np.array(piece.inside, float).reshape(-1, len(piece.rows) + 1), np.array(piece.rows, float))
        for piece in found
    ]
    x, growth = np.zeros(len(found[0].rows)), []
    for _ in range(_STEPS):
        form = np.append(x, 1.0)
        least = [np.min(inside @ form, initial=np.inf) for inside, _ in tables]
        new = tables[int(np.argmax(least))][1] @ form
        growth.append(float(np.abs(new - x).max()))
        x = new
        if not np.abs(x).max() < 1e12:
            break
    return (0.0,) * len(x), tuple(growth)
