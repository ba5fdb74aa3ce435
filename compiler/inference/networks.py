"""Steps of one layer: contractions by what all slopes of the activations have in common."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import final

import numpy as np

from banach.compiler.certificate import UNKNOWN, Certificate, Derivation, Hypothesis
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.analysis.bends import Layer, Row, layer
from banach.compiler.elaboration.analysis.entrywise import NotRead
from banach.compiler.elaboration.analysis.returned import continuous
from banach.compiler.elaboration.claims import Claim
from banach.compiler.facts import contraction
from banach.compiler.inference.rule import Rule, contracting

_MOST_BENDS = 4  # of one row
_STEPS = 100
_WEIGHT = 2**20


@final
class LayerContraction(Rule):
    """One layer of activations contracts where it does so for every slope that they may have.

    Form    new states are C x + Q σ(M x + b) + c with known matrices, b and c may be inputs; σ acts entry by
            entry with slopes in a known range, as relu, tanh, leaky_relu do; at most 32 entries together
    If      |C + Σ t_k B_k| w <= q w, for all t in [0, 1] and weights w > 0, with q < 1: it is enough to look
            at the ends, row by row. Or C = 0, Q = 1, slopes are at most h, and h‖Mx‖_P <= q‖x‖_P for a
            diagonal P, since slopes shorten every entry. What is returned is a continuous formula of the
            states
    Then    one fixed point, and the distance from it in that norm falls by q in every step. So it is of
            z ← (1 - a) z + a σ(W z + b), if the logarithmic norm of W in the largest entry is below 1 and
            a <= 1/(1 - min W_ii); and of z ← relu(z - a ((I - W) z - b)), a step of a monotone network
    Source  Jafarpour, Davydov, Proskurnikov & Bullo 2021; Winston & Kolter 2020
    """

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        try:
            read = layer(claim) if claim.page is None and continuous(claim) else None
        except NotRead:
            read = None
        if read is None or not any(bends for _, bends in read.rows):
            return None
        text = "new states differ by (C + Σ t_k B_k)(difference of the old ones), with t_k in [0, 1]"
        source = "Jafarpour, Davydov, Proskurnikov & Bullo 2021; Winston & Kolter 2020"
        told = self.told(claim, source, Hypothesis(text, True))
        best = min(_proofs(read), key=lambda proof: proof[0], default=None)
        if best is None:
            missing = "no norm was found in which the layer contracts for all slopes of its activations"
            return Certificate(verdict=UNKNOWN, missing=missing, **told)
        factor, norm, quantity, derivation = best
        return contracting(factor, derivation, {**told, "norm": norm, "quantity": quantity})


Proof = tuple[Fraction, str, str, Derivation]


def _proofs(read: Layer) -> Iterator[Proof]:
    yield from _by_weights(read)
    yield from _by_form(read)


# --- in a weighted largest entry --------------------------------------------------------------------------


def _by_weights(read: Layer) -> Iterator[Proof]:
    if any(len(bends) > _MOST_BENDS for _, bends in read.rows):
        return
    ends = [list(_ends(row, bends)) for row, bends in read.rows]
    w = _weights(ends)
    worst = max(
        sum((abs(a) * x for a, x in zip(row, w)), Fraction(0)) / own
        for rows, own in zip(ends, w)
        for row in rows
    )
    factor = contraction.rounded_up(worst)
    if not factor < 1:
        return
    data = {
        "kind": "weights",
        "states": list(read.states),
        "matrix": contraction.texts([rows[0] for rows in ends]),
        "also": [[i, list(map(str, row))] for i, rows in enumerate(ends) for row in rows[1:]],
        "factor": str(factor),
        "weights": [str(x) for x in w],
    }
    lines = (
        f"Σ_j |J_ij| w_j <= factor·w_i over {', '.join(read.states)}, for the slopes at their ends",
        "w   " + "  ".join(f"{float(x / min(w)):.5g}" for x in w),
    )
    quantity = "largest weighted distance of an entry from the fixed point"
    yield factor, "linf(w)", quantity, Derivation(data, {}, lines)


def _ends(row: Row, bends: Sequence[Row]) -> Iterator[Row]:
    """C_i + Σ t_k B_ki for t_k = 0 and 1."""
    for bent in product((False, True), repeat=len(bends)):
        rows = [row, *(bend for bend, is_bent in zip(bends, bent) if is_bent)]
        yield tuple(sum(column, Fraction(0)) for column in zip(*rows))


def _weights(ends: Sequence[Sequence[Row]]) -> list[Fraction]:
    """Weights near which the greatest row falls most, by the power method on w ↦ max_ends |J| w."""
    n = len(ends)
    owner = np.array([i for i, rows in enumerate(ends) for _ in rows])
    sizes = np.abs(np.array([[float(x) for x in row] for rows in ends for row in rows]))
    best, least, w = np.ones(n), np.inf, np.ones(n)
    for _ in range(_STEPS):
        grown = np.zeros(n)
        np.maximum.at(grown, owner, sizes @ w)
        worst = float((grown / w).max())
        if worst < least:
            best, least = w, worst
        w = (grown + w) / max((grown + w).max(), 1e-300) + 1e-6
    return [Fraction(round(x * _WEIGHT / best.min())) for x in best.tolist()]


# --- in a form with a diagonal matrix ---------------------------------------------------------------------


def _by_form(read: Layer) -> Iterator[Proof]:
    rows = [_scaled(row, bends) for row, bends in read.rows]
    if any(row is None for row in rows) or len(rows) > contraction.LARGEST_FORM:
        return
    matrix = [row for row in rows if row is not None]
    floats = np.array([[float(x) for x in row] for row in matrix])
    for diagonal in _diagonals(floats):
        root = np.sqrt(diagonal)
        size = float(np.linalg.norm(root[:, None] * floats / root, 2))
        if not size < 1:
            continue
        factor = contraction.rounded_up(Fraction(size + (1 - size) * 1e-9))
        scale = [Fraction(round(x * _WEIGHT / diagonal.min())) for x in diagonal.tolist()]
        P = [[x if i == j else Fraction(0) for j in range(len(scale))] for i, x in enumerate(scale)]
        if not (factor < 1 and contraction.falls(matrix, P, factor)):
            continue
        data = {
            "kind": "form",
            "bent": True,
            "states": list(read.states),
            "matrix": contraction.texts(matrix),
            "factor": str(factor),
            "P": contraction.texts(P),
        }
        lines = (
            f"‖x‖² = xᵀPx over {', '.join(read.states)}, P diagonal; factor²·P - MᵀPM is positive definite,",
            "and slopes only shorten the entries of Mx",
        )
        yield factor, "√(xᵀPx)", "distance from the fixed point", Derivation(data, {}, lines)
        return


def _scaled(row: Row, bends: Sequence[Row]) -> Row | None:
    """h·M_i for a row d·M_i whose slope d is at most h in size. None: the row is of another form."""
    if not bends:
        return row
    if len(bends) > 1:
        return None
    (bend,) = bends
    place = next(j for j, x in enumerate(bend) if x)
    ratio = row[place] / bend[place]  # low/(high - low)
    if any(a != ratio * b for a, b in zip(row, bend)):
        return None
    return tuple(max(abs(ratio), abs(ratio + 1)) * b for b in bend)


def _diagonals(floats: np.ndarray) -> Iterator[np.ndarray]:
    """Diagonals of P that may serve: one, and those that balance |M| by its Perron vectors."""
    yield np.ones(len(floats))
    size = np.abs(floats) + 1e-9
    left = right = np.ones(len(floats))
    for _ in range(_STEPS):
        left, right = size.T @ left, size @ right
        left, right = left / left.max(), right / right.max()
    if left.min() > 1e-6 and right.min() > 1e-6:
        yield left / right
