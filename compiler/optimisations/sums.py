"""Sums of many terms."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note, pruned, reads
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Effect, Journal
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import numpy_dtype

_SIGNS = {"add": (1, 1), "subtract": (1, -1), "negate": (-1,)}


@final
class Sums(Pass):
    """Collect equal terms and constants of a sum.

    Maths      Σ aᵢxᵢ + Σ cⱼ with xᵢ different: x + c + x + d = 2x + (c + d)
    Why        a product rule gives one term per use of a value; constants in a sum are one addition
    Preserves  every number up to rounding. A term never cancels: x - x is not 0 where x is not finite
    """

    after = ("simplification", "sharing")
    effect = Effect.REASSOCIATES

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _collected(part, journal))


@dataclass(slots=True)
class _Sum:
    """Terms by number, each with its factor; constants; and the operations that it is made of."""

    terms: dict[int, int] = field(default_factory=dict)
    constants: list[np.ndarray] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    factor: int = 1  # for all of it, so that a sum is negated in no time

    @property
    def weight(self) -> int:
        return len(self.terms) + len(self.constants) + len(self.ops)

    def add(self, value: int, factor: int) -> None:
        self.terms[value] = self.terms.get(value, 0) + factor * self.factor

    def absorb(self, other: "_Sum", sign: int) -> None:
        turn = sign * other.factor * self.factor
        for value, factor in other.terms.items():
            self.terms[value] = self.terms.get(value, 0) + turn * factor
        self.constants += [float(turn) * c for c in other.constants]
        self.ops += other.ops


def _collected(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name in _SIGNS for op in graph.ops):
        return graph
    told = len(journal.refused)
    while (
        fresh := _once(pruned(graph), journal)
    ) is not graph:  # what has become dead reads nothing any more
        del journal.refused[told:]
        graph = fresh
    return graph


def _once(graph: Graph, journal: Journal) -> Graph:
    constants = {v: tensor.array for v, tensor in graph.constants().items()}
    plain = _plain(graph, constants)
    inner = _inner(graph, plain)
    copy, changed = Copy(graph), 0
    sums: dict[int, _Sum] = {}
    for op in graph.ops:
        if op.first not in plain:
            copy.keep(op)
            continue
        total = _total(op, sums, constants)
        if op.first in inner:
            sums[op.first] = total
            copy.at.append(-1)
            continue
        reason = _refusal(total)
        if reason is None:
            changed += 1
            journal.fired.append(note("collect terms", op, graph))
            copy.at.append(_written(total, op, copy))
            continue
        if reason:
            journal.refused.append(note("collect terms", op, graph, reason))
        _unchanged(total, op, copy)
    return copy.finish() if changed else graph


def _plain(graph: Graph, constants: dict[int, np.ndarray]) -> set[int]:
    """The sums of values that have the sum's own type, and of constants that may be stretched."""
    types = graph.types()
    found = set()
    for op in graph.ops:
        if op.name in _SIGNS and op.types[0].is_float:
            others = [v for v in op.operands if v not in constants]
            if others and all(types[v] == op.types[0] for v in others):
                found.add(op.first)
    return found


def _inner(graph: Graph, plain: set[int]) -> set[int]:
    """The sums that only another sum reads."""
    found = reads(graph)
    return {v for op in graph.ops if op.first in plain for v in op.operands if v in plain and found[v] == 1}


def _total(op: Op, sums: dict[int, _Sum], constants: dict[int, np.ndarray]) -> _Sum:
    """The sum that an operation gives. The larger part takes up the smaller: long chains stay cheap."""
    parts = [(sums.pop(v, None), v, sign) for v, sign in zip(op.operands, _SIGNS[op.name])]
    total, turn = max(
        ((part, sign) for part, _, sign in parts if part is not None),
        key=lambda p: p[0].weight,
        default=(_Sum(), 1),
    )
    total.factor *= turn
    for part, value, sign in parts:
        if part is total:
            continue
        if part is not None:
            total.absorb(part, sign)
        elif value in constants:
            total.constants.append(constants[value] * float(sign * total.factor))
        else:
            total.add(value, sign)
    total.ops.append(op)
    return total


def _unchanged(total: _Sum, root: Op, copy: Copy) -> None:
    """Copies the operations of a sum as they were; those below the root have waited until now."""
    for old in sorted(total.ops, key=lambda op: op.first):
        (made,) = copy.add(old, copy.moved(old.operands))
        if old is root:
            copy.at.append(made)
        else:
            copy.at[old.first] = made


def _refusal(total: _Sum) -> str | None:
    """Why a sum stays as it is: empty where there is nothing to say."""
    factors = [f * total.factor for f in total.terms.values()]
    if 0 in factors:
        return "a term would cancel, and with it a NaN"
    after = len(factors) - 1 + sum(abs(f) > 1 for f in factors) + bool(total.constants)
    after += max(factors) < 0 and not total.constants
    return None if after < len(total.ops) else ""


def _written(total: _Sum, op: Op, copy: Copy) -> int:
    """Adds the sum, terms in the order in which they were made, a positive one first; its value."""
    type = op.types[0]

    def made(name: str, *operands: int) -> int:
        return copy.add(Op(name, operands, (), (), (type,), 0, op.place))[0]

    def constant(array: np.ndarray) -> int:
        tensor = Tensor(np.asarray(array, numpy_dtype(type.dtype)))
        return copy.add(Op("constant", (), (("value", tensor),), (), (tensor.type,), 0, op.place))[0]

    terms = [(copy.at[v], f * total.factor) for v, f in sorted(total.terms.items())]
    terms.sort(key=lambda term: term[1] < 0)  # stable
    found: int | None = None
    if total.constants and terms[0][1] < 0:
        found = constant(_constant(total))
    for value, factor in terms:
        part = value if abs(factor) == 1 else made("multiply", constant(np.asarray(abs(factor))), value)
        if found is None:
            found = part if factor > 0 else made("negate", part)
        else:
            found = made("add" if factor > 0 else "subtract", found, part)
    assert found is not None
    if total.constants and terms[0][1] > 0:
        found = made("add", found, constant(_constant(total)))
    return found


def _constant(total: _Sum) -> np.ndarray:
    """All constants as one, in float64."""
    found = np.zeros(())
    for c in total.constants:
        found = found + c
    return found * total.factor
