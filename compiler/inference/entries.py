"""Iterations that are followed entry by entry: affine ones exactly, others by how much entries change each
other.
"""

from fractions import Fraction
from typing import Any, final

import numpy as np

from banach.compiler.certificate import REFUTED, UNKNOWN, Certificate, Derivation, Hypothesis, Witness
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.entrywise import NotRead, Step, affine_step, exact_step
from banach.compiler.elaboration.analysis.pieces import pieces
from banach.compiler.elaboration.analysis.returned import continuous
from banach.compiler.elaboration.analysis.slopes import bounded_step
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import contraction, stability
from banach.compiler.facts.stability import Side
from banach.compiler.inference.rule import Rule, contracting

_MOST_ROOTS = 16  # entries up to which eigenvalues are placed exactly
_STEPS = 200
_CLOSE = 1.02  # a weighted norm is preferred while its 1/(1 - q) is at most so much larger


@final
class LinearIteration(Rule):
    """An affine iteration with a known matrix converges exactly if its eigenvalues allow it.

    Form    new states are M (old states) + c, where M is known before the run; c may be an input. States of
            any shapes, whose entries are at most 32 together; read off from the graph, on the stored weights
    If      |M| w <= q w for weights w > 0 and q < 1; or P and q²P - MᵀPM are positive definite. What is
            returned is a continuous formula of the states
    Then    one fixed point, and the distance from it, max_i |x_i|/w_i or √(xᵀPx), falls by q in every step
    Refuted an eigenvalue |z| >= 1, z ≠ 1, that the first move has a part in, and the state which is returned
            sees: its moves do not go to 0. Where the first move is known only when the model runs, the class
            of its inputs is refuted. Decided exactly, on the minimal polynomial (Schur, Cohn)
    Source  Varga 1962, theorem 3.1; Stein 1952; Schur 1917; Kalman 1960
    """

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        step = _affine(claim)
        if step is None:
            return None
        entries = f"{', '.join(step.states)} ↦ M ({', '.join(step.states)}) + c, M known before the run"
        told = self.told(claim, "Varga 1962, theorem 3.1", Hypothesis(entries, True))
        # A page means more than a fixed point: where its own hypotheses fail, that is not proved here.
        proved = _proved(step, told) if claim.page is None and continuous(claim) else None
        if proved:
            return proved
        if len(step.rows) > _MOST_ROOTS:
            return Certificate(
                verdict=UNKNOWN, missing="M has too many entries to place its eigenvalues", **told
            )
        where = _side_seen(step)
        if where is None:
            missing = "M contracts in no norm that was found, and what is returned is no state"
            return Certificate(verdict=UNKNOWN, missing=missing, **told)
        if where is Side.BEYOND:
            # Inputs may happen to make the start a fixed point: then this very run does not fail.
            scope = "instance" if step.first else "class"
            whose = "" if step.first else "but for a start or inputs without a part in it, "
            statement = f"M has an eigenvalue of size 1 or more: {whose}the moves do not go to 0."
            told |= {"statement": statement, "source": "Schur 1917"}
            return Certificate(verdict=REFUTED, scope=scope, witness=_orbit(step), **told)
        missing = f"M has {where.value}" if where is Side.ONE else "no norm was found in which M contracts"
        return Certificate(verdict=UNKNOWN, missing=missing, **told)


@final
class WeightedContraction(Rule):
    """Entries that change each other little enough: a contraction in a weighted largest entry.

    Form    steps of known linear maps and of functions of one number, such as activations with bounded slope;
            of any number of states, whose entries are at most 32 together
    If      a change d of the states changes the new ones by at most B |d|, entry by entry, and B w <= q w for
            weights w > 0 and q < 1: so it is if the spectral radius of B is below 1. What is returned is a
            continuous formula of the states
    Then    one fixed point, and max_i |x_i - x*_i|/w_i falls by q in every step; also in any order of entries
    Source  Chazan & Miranker 1969; Bertsekas & Tsitsiklis 1989, section 6.2
    """

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        try:
            step = bounded_step(claim) if claim.page is None and continuous(claim) else None
        except NotRead:
            step = None
        if step is None:
            return None
        text = "every new entry changes by at most Σ_j B_ij |change of entry j|"
        told = self.told(claim, "Bertsekas & Tsitsiklis 1989, section 6.2", Hypothesis(text, True))
        around = contraction.radius(step.rows, True)
        missing = f"the spectral radius of B is {around:.6g}, and would have to be below 1"
        return _weighted(step, told) or Certificate(verdict=UNKNOWN, missing=missing, **told)


def _affine(claim: Claim) -> Step | None:
    """A step that is affine as it is written, or that is the same affine map on all of its pieces."""
    try:
        return exact_step(claim)
    except NotRead:
        pass
    try:
        states, found = pieces(claim)
        matrices = {tuple(row[:-1] for row in piece.rows) for piece in found}
        return affine_step(claim, states, matrices.pop()) if len(matrices) == 1 else None
    except NotRead:
        return None


def _proved(step: Step, told: dict[str, Any]) -> Certificate | None:
    """By weights where they cost little, since they are shorter and speak of entries; else by a form."""
    plain, sized = contraction.radius(step.rows), contraction.radius(step.rows, True)
    if sized < 1 and 1 - plain <= _CLOSE * (1 - sized):
        return _weighted(step, told)
    found = contraction.form(step.rows)
    if found is None:
        return _weighted(step, told)
    factor, P = found
    data = {**_data(step, factor), "kind": "form", "P": contraction.texts(P)}
    lines = (
        f"‖x‖² = xᵀPx over {', '.join(step.states)}: P and factor²·P - MᵀPM are positive definite",
        *_shown("M", step.rows),
        *_shown("P", P),
    )
    told |= {"source": "Stein 1952", "norm": "√(xᵀPx)", "quantity": "distance from the fixed point"}
    return contracting(factor, Derivation(data, {}, lines), told)


def _side_seen(step: Step) -> Side | None:
    """Where the eigenvalues lie that show in what is returned; None: it is no state, but a formula."""
    if not step.seen:
        return None
    n = range(len(step.rows))
    unit = [[Fraction(int(i == j)) for j in n] for i in step.seen]
    matrix, basis = stability.observed(step.rows, unit)
    if step.first is None:
        return stability.side(matrix)
    move = [x for (x,) in stability.product(basis, [[x] for x in step.first])]
    return stability.side_of(stability.annihilator(matrix, move))


def _weighted(step: Step, told: dict[str, Any]) -> Certificate | None:
    found = contraction.weights(step.rows)
    if found is None:
        return None
    factor, w = found
    data = {**_data(step, factor), "kind": "weights", "weights": [str(x) for x in w]}
    name = "M" if step.affine else "B"
    lines = (
        f"|{name}| w <= factor·w over {', '.join(step.states)}",
        *_shown(name, step.rows),
        "w   " + "  ".join(f"{float(x / min(w)):.5g}" for x in w),
    )
    quantity = "largest weighted distance of an entry from the fixed point"
    told = told | {"norm": "linf(w)", "quantity": quantity}
    return contracting(factor, Derivation(data, {}, lines), told)


def _data(step: Step, factor: Fraction) -> dict[str, Any]:
    matrix = contraction.texts(step.rows)
    return {"states": list(step.states), "matrix": matrix, "factor": str(factor)}


def _shown(name: str, rows: Any) -> list[str]:
    if len(rows) > 8:
        return [f"{name}   {len(rows)} × {len(rows)}, in the JSON"]
    return [f"{name}   {'  '.join(f'{float(x):10.5g}' for x in row)}" for row in rows]


def _orbit(step: Step) -> Witness:
    """The moves M^k d from the first one, or from the direction that grows most."""
    floats = np.array([[float(x) for x in row] for row in step.rows])
    values, vectors = np.linalg.eig(floats)
    size = float(np.abs(values).max())
    if step.first:
        move = np.array([float(x) for x in step.first])
        note = f"M has an eigenvalue of size {size:.6g}, and the first move a part that does not shrink"
    else:
        v = vectors[:, int(np.argmax(np.abs(values)))]
        move = np.real(v) + np.imag(v)
        note = f"M has an eigenvalue of size {size:.6g}: no first move with a part in it shrinks"
    start, growth = move, []
    for _ in range(_STEPS):
        growth.append(float(np.abs(move).max()))
        if not growth[-1] < 1e12 * growth[0]:
            break
        move = floats @ move
    exact = {"matrix": contraction.texts(step.rows), "states": list(step.states)}
    return Witness("moves", tuple(map(float, start)), start.shape, tuple(growth), note, exact)
