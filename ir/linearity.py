"""Whether a graph is linear in some of its inputs, told by its structure alone.

A value is zero, does not depend on the marked inputs, or is linear in all of them together. An operation
keeps that where its page says so: it is linear in a group of operands, and what depends on the marked inputs
is such a group, or part of one whose rest is zero. What is not proved is refused, with the reason.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from banach.ir.graph import Graph, Op
from banach.ir.primitive import page


class NotLinear(Exception):
    """The graph is not proved linear; the message names the operation and says why."""


class Kind(IntEnum):
    """What is known of a value; the larger one covers the smaller where `FREE` and `LINEAR` do not meet."""

    ZERO = 0
    FREE = 1
    LINEAR = 2


def prove_linear(graph: Graph, marked: Sequence[bool]) -> None:
    """Proves the graph linear in the marked inputs together, the others held. NotLinear: it cannot."""
    kinds = kinds_of(graph, [Kind.LINEAR if mark else Kind.FREE for mark in marked])
    for name, kind in zip(graph.output_names, kinds):
        if kind is Kind.FREE:
            raise NotLinear(f"the output {name} is no zero, and does not depend on the linear inputs")


def kinds_of(graph: Graph, inputs: Sequence[Kind]) -> list[Kind]:
    """What the outputs are, for inputs of these kinds. NotLinear: an operation on the way is not linear."""
    known = list(inputs)
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        if op.name in _REGIONS:
            known.extend(_REGIONS[op.name](op, operands))
        else:
            known.extend([_kind(op, operands)] * len(op.types))
    return [known[v] for v in graph.outputs]


def _kind(op: Op, operands: Sequence[Kind]) -> Kind:
    if op.name == "constant":
        return Kind.FREE if np.any(op.attribute("value").array) else Kind.ZERO
    definition = page(op.name)
    groups = definition.linear_groups(len(operands))
    if any(all(operands[i] is Kind.ZERO for i in group) for group in groups):
        return Kind.ZERO
    moving = {i for i, kind in enumerate(operands) if kind is Kind.LINEAR}
    if not moving:
        return Kind.FREE
    if not op.types[0].is_float:
        raise NotLinear(f"{op.name} turns a value that is linear in the inputs into {op.types[0]}")
    if not groups:
        raise NotLinear(f"{op.name} is not linear, and it is given a value that is linear in the inputs")
    group = next((set(group) for group in groups if moving <= set(group)), None)
    if group is None:
        which = " and ".join(str(i) for i in sorted(moving))
        raise NotLinear(
            f"{op.name} is not linear in the operands {which} together, and they are in the inputs"
        )
    if any(operands[i] is Kind.FREE for i in group):
        raise NotLinear(f"{op.name} adds a value that does not depend on the linear inputs")
    return Kind.LINEAR


# --- operations with regions -----------------------------------------------------------------------------


def _call(op: Op, operands: Sequence[Kind]) -> list[Kind]:
    return kinds_of(op.regions[0], operands)


def _linear(op: Op, operands: Sequence[Kind]) -> list[Kind]:
    return kinds_of(op.regions[0], operands)


def _cond(op: Op, operands: Sequence[Kind]) -> list[Kind]:
    if operands[0] is Kind.LINEAR:
        raise NotLinear("cond chooses by a value that depends on the linear inputs")
    found = []
    for first, second in zip(*(kinds_of(region, operands[1:]) for region in op.regions)):
        if {first, second} == {Kind.FREE, Kind.LINEAR}:
            raise NotLinear("cond is linear in one branch only")
        found.append(max(first, second))
    return found


def _scan(op: Op, operands: Sequence[Kind]) -> list[Kind]:
    """Linear in states and sequences together where the step is; the states are found by going round."""
    states = op.attribute("states")
    state = list(operands[:states])
    while True:  # a kind only rises, and once at most
        found = kinds_of(op.regions[0], [*state, *operands[states:]])
        for start, after in zip(state, found):
            if {start, after} == {Kind.FREE, Kind.LINEAR}:
                raise NotLinear("a state of scan is linear in some steps only")
        risen = [max(pair) for pair in zip(state, found)]
        if risen == state:
            return found
        state = risen


def _never(op: Op, operands: Sequence[Kind]) -> list[Kind]:
    if Kind.LINEAR in operands:
        raise NotLinear(f"{op.name} ends by its values, so it is not linear in them")
    return [Kind.FREE] * len(op.types)


_REGIONS = {
    "call": _call,
    "linear": _linear,
    "ruled": _linear,
    "cond": _cond,
    "scan": _scan,
    "while": _never,
    "fix": _never,
}
