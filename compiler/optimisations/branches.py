"""Branches that are decided at compile time."""

from typing import final

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note
from banach.ir.graph import Graph
from banach.ir.rewrite import Journal


@final
class Branches(Pass):
    """Write the chosen map in place of a choice whose condition is a constant.

    Maths      cond(true, f, g)(x) = f(x), cond(false, f, g)(x) = g(x)
    Why        options of a page become constants: what they switch off should cost nothing
    Preserves  every number
    """

    after = ("simplification",)

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _decided(part, journal))


def _decided(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name == "cond" for op in graph.ops):
        return graph
    constants, copy, decided = graph.constants(), Copy(graph), 0
    for op in graph.ops:
        if op.name != "cond":
            copy.keep(op)
        elif op.operands[0] not in constants:
            journal.refused.append(note("decide", op, graph, "the condition is known only when it runs"))
            copy.keep(op)
        else:
            journal.fired.append(note("decide", op, graph))
            decided += 1
            chosen = op.regions[0] if constants[op.operands[0]].array else op.regions[1]
            copy.at.extend(copy.inline(chosen, copy.moved(op.operands[1:])))
    return copy.finish() if decided else graph
