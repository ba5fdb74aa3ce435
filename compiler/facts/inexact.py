"""Graphs that hold solves: how much their result moves, were these exact, and how far off it is as they end.

A solve z = S(z, c) with a contraction, ‖S(z, c) - S(w, c)‖ <= p‖z - w‖, has a solution that moves by
ℓ/(1 - p) with c, where ℓ is the constant of S in c. It ends where a step moves z by at most t, and the z that
it gives is then at most t·p/(1 - p) from the solution. Both pass through the operations that follow.

Source  Ortega & Rheinboldt 1970, theorem 12.2.1 (errors in the steps of a contraction)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from banach.compiler.facts import quantity as q
from banach.compiler.facts.lipschitz import Known, filled, gain_of, known_of, lipschitz
from banach.ir.graph import Graph, Op
from banach.ir.primitives.ruled import unruled

_ONE = q.number(1)


@dataclass(frozen=True, slots=True)
class Inner:
    """One of the solves: its name, and the factor by which it contracts."""

    name: str
    factor: q.Quantity


@dataclass(frozen=True, slots=True)
class Inexact:
    """The constant of the exact map, and the distance of what is computed from it, for the first output."""

    lipschitz: q.Quantity
    error: q.Quantity
    inner: tuple[Inner, ...]


def inexact(
    graph: Graph, index: int, labels: Mapping[str, str], declared: Mapping[str, q.Quantity]
) -> Inexact | None:
    """The first output of a step as a function of input number `index`; None: it has another form."""
    if _counts(graph):
        return None
    ports = [port.type for port in graph.inputs]
    known = [Known(type, r) for type, r in zip(ports, filled((), graph))]
    moves = [q.number(int(i == index)) for i in range(len(ports))]
    errors = [q.number(0) for _ in ports]
    found: list[Inner] = []
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        moved, off = [moves[v] for v in op.operands], [errors[v] for v in op.operands]
        if op.name == "fix":
            solved = _Solved.of(op, operands, labels, declared)
            if solved is None:
                return None
            found.append(Inner(solved.name, solved.factor))
            nothing = [q.unknown("what a solve reports")] * (len(op.types) - 1)
            moves += [solved.moved(moved), *nothing]
            errors += [q.combine("+", solved.moved(off), solved.error), *nothing]
        else:
            moves += [gain_of(op, operands, moved, declared)] * len(op.types)
            errors += [gain_of(op, operands, off, declared)] * len(op.types)
        known += [known_of(op, operands, type, labels) for type in op.types]
    result = graph.outputs[0]
    return Inexact(moves[result], errors[result], tuple(found))


@dataclass(frozen=True, slots=True)
class _Solved:
    """A solve of one state that stops by how far a step moves it."""

    name: str
    factor: q.Quantity  # in the state
    gains: tuple[q.Quantity, ...]  # of the step in each capture
    tolerance: q.Quantity

    @classmethod
    def of(
        cls,
        op: Op,
        operands: Sequence[Known],
        labels: Mapping[str, str],
        declared: Mapping[str, q.Quantity],
    ) -> "_Solved | None":
        step, residual, *_ = op.regions
        tolerance = operands[0].value
        scale = _absolute(residual)
        if op.attribute("states") != 1 or op.attribute("lanes") or tolerance is None or scale is None:
            return None
        if _counts(step):  # it has no solution of its own then
            return None
        step = unruled(step)
        bound = [lipschitz(step, i, (), labels, declared).lipschitz for i in range(1, len(step.inputs))]
        allowed = q.number(Fraction(float(tolerance.array)) * scale)
        return cls(step.name.removesuffix(".step"), bound[0], tuple(bound[1:]), allowed)

    def moved(self, through: Sequence[q.Quantity]) -> q.Quantity:
        """How far the solution moves: tolerance, largest number and start come before the captures."""
        total = q.number(0)
        for gain, inner in zip(self.gains, through[3:]):
            if not inner.is_zero:
                total = q.combine("+", total, q.combine("*", gain, inner))
        return q.combine("/", total, self._left)

    @property
    def error(self) -> q.Quantity:
        return q.combine("/", q.combine("*", self.tolerance, self.factor), self._left)

    @property
    def _left(self) -> q.Quantity:
        left = q.combine("-", _ONE, self.factor)
        return left if left.interval.lo > 0 else q.unknown("a solve that may not contract")


def _counts(step: Graph) -> bool:
    """Whether a step changes with its number, which is its first input."""
    return any(0 in op.operands for op in step.ops) or 0 in step.outputs


def _absolute(residual: Graph) -> Fraction | None:
    """The scale of a residual ‖z' - z‖ with a scale that is known; None: it is another residual."""
    by_name = {op.name: op for op in residual.ops}
    if len(residual.ops) != 3 or set(by_name) != {"subtract", "norm", "constant"}:
        return None
    place = {}
    number = len(residual.inputs)
    for op in residual.ops:
        place[op.name] = number
        number += len(op.types)
    moved, norm = by_name["subtract"], by_name["norm"]
    whole = len(norm.attribute("axes")) == residual.inputs[0].type.rank
    right = set(moved.operands) == {0, 1} and norm.operands == (place["subtract"],) and whole
    if not right or residual.outputs != (place["norm"], place["constant"]):
        return None
    scale = Fraction(float(by_name["constant"].attribute("value").array))
    return scale if 0 < scale < inf else None
