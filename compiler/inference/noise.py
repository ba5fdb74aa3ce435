"""Iterations into which a fresh draw enters at every step, at a size that does not shrink."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from banach.compiler.certificate import REFUTED, Certificate, Hypothesis, Witness
from banach.compiler.elaborate import Elaborated
from banach.compiler.elaboration.claims import Claim
from banach.compiler.inference.rule import Rule
from banach.compiler.text import syntax
from banach.ir.graph import Graph, Op
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.primitives.shape import Rearrangement

_DRAWS = ("normal", "uniform")
_PLACED = ("cast", "transpose")  # beside the rearrangements


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of a value: whether the count enters it; the least factor of a draw that is added to what
    the count does not enter; and the value itself, where it is known."""

    counted: bool = False
    factor: float | None = None
    known: np.ndarray | None = None


@final
class FreshNoise(Rule):
    """Where a fresh draw of one size is added in every step, the moves do not go to 0.

    Form    the new value of the state that is returned is F(states) + c ξ, entry by entry, where ξ are normal
            or uniform numbers drawn for the count k, and neither F nor c depends on k
    If      c is known before the run, and not 0
    Then    whatever the states are, a move is shorter than δ with a chance of at most a multiple of δ/|c|:
            so with probability 1 infinitely many are longer than some δ > 0, and nothing converges: refuted.
            Where c falls like 1/k, or of a ball in place of a point, other claims may hold
    Source  Robbins & Monro 1951; Borel & Cantelli
    """

    structural = True

    def verdict(self, claim: Claim, elaborated: Elaborated) -> Certificate | None:
        returns, graph = claim.recipe.returns, claim.solved.step
        if not isinstance(returns, syntax.Name) or returns.id not in graph.output_names:
            return None
        if not claim.recipe.plain or not any(op.name in _DRAWS for op in graph.ops):
            return None
        factor = _followed(graph)[graph.output_names.index(returns.id)].factor
        if factor is None:
            return None
        drawn = f"a draw for every k is added, times {factor:.6g} or more"
        note = f"every step adds fresh numbers times {factor:.6g} or more to each entry of {returns.id}"
        return Certificate(
            verdict=REFUTED,
            scope="class",
            witness=Witness("noise", (), (0,), (), note, {"factor": str(factor)}),
            **self.told(claim, "Robbins & Monro 1951", Hypothesis(drawn, True)),
        )


def _followed(graph: Graph) -> list[_Seen]:
    """Of a step, whose first input is the count."""
    known = [_Seen(counted=i == 0) for i in range(len(graph.inputs))]
    for op in graph.ops:
        known += [_made(op, [known[v] for v in op.operands])] * len(op.types)
    return [known[v] for v in graph.outputs]


def _made(op: Op, operands: Sequence[_Seen]) -> _Seen:
    counted = any(seen.counted for seen in operands)
    if op.name == "constant":
        return _Seen(known=np.asarray(op.attribute("value").array))
    if not counted or isinstance(page(op.name), RegionOp) or op.types[1:]:
        return _Seen(counted)
    if op.name in _DRAWS:
        return _Seen(True, 1.0)
    noisy = [seen for seen in operands if seen.factor is not None]
    if len(noisy) != 1 or sum(seen.counted for seen in operands) != 1:  # two draws may be one, and cancel
        return _Seen(True)
    (noise,), others = noisy, [seen for seen in operands if seen.factor is None]
    if op.name in ("add", "subtract", "negate", *_PLACED) or isinstance(page(op.name), Rearrangement):
        return _Seen(True, None if op.name == "pad" else noise.factor)
    scale = others[0].known if len(others) == 1 else None
    if scale is not None and scale.size and np.isfinite(scale).all() and scale.all():
        sizes = np.abs(scale.astype(float))
        if op.name == "multiply":
            return _Seen(True, float(noise.factor * sizes.min()))  # type: ignore[operator]
        if op.name == "divide" and operands[0] is noise:
            return _Seen(True, float(noise.factor / sizes.max()))  # type: ignore[operator]
    return _Seen(True)
