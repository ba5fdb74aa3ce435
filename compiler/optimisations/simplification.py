"""Local rules and constant folding."""

from typing import final

from banach.compiler.optimisation import Options, Pass
from banach.ir.graph import Graph
from banach.ir.rewrite import Journal
from banach.ir.simplify import simplify


@final
class Simplification(Pass):
    """Use every rule of ir/simplify, and work out what depends on constants alone.

    Maths      each rule states its law: x + 0 = x, -(x - y) = y - x, transpose of transpose, ..
    Why        reverse derivatives and pages of the library write such things; the rules after this one then
               need not look through them
    Preserves  every number, but for the sign of a zero: folding asks the oracle
    """

    after = ("inlining",)

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return simplify(graph, journal)
