"""An upper bound of a graph's Lipschitz constant in one input, and an interval for every value.

One sweep in program order. The gain of an operation in each operand comes from its page; operands that depend
on the input add up (R1 of CERTIFICATES.md): L(op) <= Σ_i gain_i · L_i. Euclidean norms throughout.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import MappingProxyType

import numpy as np

from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.compiler.facts.torus import convolution_norm
from banach.ir.exact import Interval
from banach.ir.graph import Graph, Op
from banach.ir.primitive import NONNEGATIVE, REALS, Known, page
from banach.ir.primitives.regions import RegionOp
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

ZERO = q.number(0)
# Facts are loosened by this much, so that the checker that travels with the model, which works in plain
# Python, can prove them again; it needs a relative 1e-10.
_SPARE = Fraction(1, 1 << 30)
_FEW = 32  # columns
_SEEN = Fraction(1, 1 << 16)  # relative size of a smallest singular value that the checker can see


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of a graph's first output: its Lipschitz constant, and an interval for its entries."""

    lipschitz: q.Quantity
    range: Interval


def norm_fact(matrix: np.ndarray, label: str = "") -> q.Quantity:
    """The spectral norm of a matrix of the model, as a fact that can be checked again from its bytes."""
    interval = norms.spectral_norm(matrix)
    # Few columns the checker decides exactly, and a norm that is known exactly it finds by the same sums.
    exact = min(matrix.shape) <= _FEW or interval.is_point
    spare = 0 if exact else _SPARE
    return _fact("spectral_norm", matrix, label, Interval.between(interval.lo, interval.hi * (1 + spare)))


def least_fact(matrix: np.ndarray, label: str = "") -> q.Quantity:
    """The smallest singular value of a matrix of the model, likewise."""
    interval = norms.smallest_singular(matrix)
    if interval.lo < _SEEN * norms.spectral_norm(matrix).hi:
        interval = Interval.between(0, interval.hi)
    spare = 0 if min(matrix.shape) <= _FEW else _SPARE
    return _fact("smallest_singular", matrix, label, Interval.between(interval.lo * (1 - spare), interval.hi))


def _fact(kind: str, matrix: np.ndarray, label: str, interval: Interval) -> q.Quantity:
    leaf = {
        "kind": kind,
        "tensor": Tensor(matrix).digest,
        "label": label,
        "lower": str(interval.lo),
        "upper": str(interval.hi),
    }
    return q.Quantity(interval, ["fact", leaf])


def lipschitz(
    graph: Graph,
    index: int,
    ranges: Sequence[Interval] = (),
    labels: Mapping[str, str] = MappingProxyType({}),
    declared: Mapping[str, q.Quantity] = MappingProxyType({}),
) -> Bounds:
    """Bounds of the first output as a function of input number `index`; `labels` names weights by digest.

    `declared` has the Lipschitz constants of maps that are called, in their first operand, by their names.
    """
    known: list[Known] = [Known(port.type, r) for port, r in zip(graph.inputs, filled(ranges, graph))]
    gains: list[q.Quantity] = [q.number(int(i == index)) for i in range(len(graph.inputs))]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        through = [gains[v] for v in op.operands]
        for type in op.types:
            known.append(known_of(op, operands, type, labels))
            gains.append(gain_of(op, operands, through, declared))
    result = graph.outputs[0]
    found = gains[result]
    if found.interval.hi == math.inf:  # how it came about says nothing, and may be long
        return Bounds(q.Quantity(NONNEGATIVE, ["unknown", "no bound"]), known[result].range)
    whole = q.Quantity(Interval.between(0, found.interval.hi), ["at_most", found.tree], found.unit)
    return Bounds(whole, known[result].range)


def filled(ranges: Sequence[Interval], graph: Graph) -> Sequence[Interval]:
    return [*ranges, *[REALS] * (len(graph.inputs) - len(ranges))]


def known_of(op: Op, operands: Sequence[Known], type: TensorType, labels: Mapping[str, str]) -> Known:
    definition = page(op.name)
    if isinstance(definition, RegionOp):
        return Known(type)
    interval = definition.range(operands, **dict(op.attributes))
    if op.name == "constant" and type.rank == 2 and type.is_float:
        value = op.attribute("value")
        return _Weight(type, interval, value.array, labels.get(value.digest, ""))
    if op.name == "transpose" and isinstance(operands[0], _Weight):
        return _Weight(type, interval, operands[0].matrix, operands[0].label)
    if op.name == "constant" and type.rank > 2 and type.is_float:
        value = op.attribute("value")
        laid = partial(convolution_norm, value.array)
        return Known(type, interval, partial(_flat_norm, value), value, laid)
    return Known(type, interval, value=op.attribute("value") if op.name == "constant" else None)


def _flat_norm(value: Tensor) -> Interval:
    """The spectral norm of a kernel as a matrix [first axis, all others]."""
    if not value.array.size:
        return Interval.of(0)
    return Interval.between(0, norms.spectral_norm(value.array.reshape(len(value.array), -1)).hi)


class _Weight(Known):
    """A constant matrix, whose norm can be worked out; transposing it keeps the norm."""

    __slots__ = ("asked", "label", "matrix")

    def __init__(self, type: TensorType, interval: Interval, matrix: np.ndarray, label: str):
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "asked", [])
        super().__init__(type, interval, self._norm)

    def _norm(self) -> Interval:
        fact = norm_fact(self.matrix, self.label)
        self.asked.append(fact)
        return fact.interval


def gain_of(
    op: Op,
    operands: Sequence[Known],
    through: Sequence[q.Quantity],
    declared: Mapping[str, q.Quantity],
) -> q.Quantity:
    """Σ_i gain_i · L_i over the operands that depend on the input."""
    definition = page(op.name)
    total = ZERO
    for position, inner in enumerate(through):
        if inner.is_zero:
            continue
        told = declared.get(op.regions[0].name) if op.name == "call" and position == 0 else None
        if isinstance(definition, RegionOp) and told is None:
            return q.Quantity(NONNEGATIVE, ["unknown", f"the gain of `{op.name}`"])
        own = told or _own_gain(definition, position, operands, dict(op.attributes))
        part = own if inner.tree == ["number", "1"] else q.combine("*", own, inner)
        total = part if total.is_zero else q.combine("+", total, part)
    return total


def _own_gain(definition: object, position: int, operands: Sequence[Known], attributes: dict) -> q.Quantity:
    weights = [known for known in operands if isinstance(known, _Weight)]
    for weight in weights:
        weight.asked.clear()
    interval = definition.gain(position, operands, **attributes)  # type: ignore[attr-defined]
    for weight in weights:
        if weight.asked and weight.asked[-1].interval == interval:
            return weight.asked[-1]
    if isinstance(interval.hi, float):
        return q.Quantity(NONNEGATIVE, ["unknown", f"the gain of `{definition.name}`"])  # type: ignore[attr-defined]
    return q.Quantity(Interval.of(interval.hi), ["number", str(interval.hi)])


def spectrum_fact(matrix: np.ndarray, label: str, least: Interval, most: Interval) -> q.Quantity:
    """An interval that holds every eigenvalue of a symmetric matrix of the model, likewise."""
    spare = (most.hi - least.lo) * _SPARE
    return _fact("spectrum", matrix, label, Interval.between(least.lo - spare, most.hi + spare))
