"""Calls of small maps are opened."""

from typing import final

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note
from banach.ir.graph import Graph
from banach.ir.rewrite import Journal

SMALL = 16  # operations; above, a map called twice is better written once


@final
class Inlining(Pass):
    """Write a small map out where it is called.

    Maths      call f(x) = f(x)
    Why        rules and common subexpressions do not look into a call; its facts have been used by now
    Preserves  every number
    """

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _opened(part, journal))


def _opened(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name == "call" for op in graph.ops):
        return graph
    copy, opened = Copy(graph), 0
    for op in graph.ops:
        if op.name != "call":
            copy.keep(op)
            continue
        (map,) = op.regions
        reason = _refusal(map)
        if reason:
            journal.refused.append(note("open", op, graph, reason))
            copy.keep(op)
            continue
        journal.fired.append(note("open", op, graph))
        opened += 1
        copy.at.extend(copy.inline(map, copy.moved(op.operands)))
    return copy.finish() if opened else graph


def _refusal(map: Graph) -> str:
    if len(map.ops) > SMALL:
        return f"{map.name} has {len(map.ops)} operations, and only {SMALL} are small"
    if any(op.regions for op in map.ops):
        return f"{map.name} holds loops or branches of its own"
    return ""
