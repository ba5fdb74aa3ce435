"""Common subexpressions, those with regions too."""

from typing import Any, final

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, key
from banach.ir.graph import Graph
from banach.ir.rewrite import Journal


@final
class Sharing(Pass):
    """Do once what is done twice, and keep equal regions as one object.

    Maths      f(x) = f(x): operations of one name, attributes, regions and operands have equal results
    Why        two solves of one problem, and layers that are equal, are one; the local rules compare regions
               by identity only
    Preserves  every number
    """

    after = ("simplification",)

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        first: dict[Any, Graph] = {}
        return inside_out(graph, lambda part: _interned(_shared(part, journal), first))


def _interned(graph: Graph, first: dict[Any, Graph]) -> Graph:
    """The first graph seen that is equal but for names. Regions of regions are interned already."""
    inputs = tuple((port.type, port.default) for port in graph.inputs)
    ops = tuple((key(op, op.operands, map(id, op.regions)), op.types) for op in graph.ops)
    return first.setdefault((inputs, ops, graph.outputs), graph)


def _shared(graph: Graph, journal: Journal) -> Graph:
    known: dict[Any, range] = {}
    copy = Copy(graph)
    for op in graph.ops:
        operands = copy.moved(op.operands)
        own = key(op, operands, map(id, op.regions))
        if own not in known:
            known[own] = copy.add(op, operands)
        copy.at.extend(known[own])
    if len(copy.ops) == len(graph.ops):
        return graph
    journal.shared += len(graph.ops) - len(copy.ops)
    return copy.finish()
