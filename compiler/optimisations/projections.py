"""Projections that are made twice."""

from typing import final

from banach.compiler.optimisation import Options, Pass
from banach.ir.graph import Builder, Graph, Value
from banach.ir.rewrite import Journal, Match, Refusal, Rule, Site, rewrite


@final
class Projections(Pass):
    """Project once where it is done twice.

    Maths      P(P(x)) = P(x) for P = max(·, 0), |·| and the projection on a box
    Why        a page projects what it starts from, and so does the solver that it hands it to
    Preserves  every number, and every derivative: R[P∘P] = R[P], kinks included, for these P
    """

    after = ("simplification", "sharing")

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        names = {op.name for part in graph.walk() for op in part.ops}
        return rewrite(graph, RULES, journal) if names & {rule.root for rule in RULES} else graph


def _twice(site: Site) -> Match:
    """The inner one of two equal operations, which is what both are."""
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != site.op.name:
        return None
    if inner.attributes != site.op.attributes:
        return Refusal(f"the bounds {_bounds(inner.attributes)} and {_bounds(site.op.attributes)} differ")
    return (site.operand(0),)


def _bounds(attributes: tuple[tuple[str, object], ...]) -> str:
    return "[" + ", ".join(str(value) for _, value in attributes) + "]"


def _itself(build: Builder, x: Value) -> Value:
    return x


RULES = (
    # R: 1{max(x, 0) > 0}·1{x > 0} = 1{x > 0}, at x = 0 too
    Rule("relu-twice", "relu", "max(max(x, 0), 0) = max(x, 0)", _twice, _itself),
    # R: sign(|x|)·sign(x) = sign(x), at x = 0 too
    Rule("abs-twice", "abs", "||x|| = |x|", _twice, _itself),
    # R: 1{y = clip(y)}·1{x = y} = 1{x = y} for y = clip(x)
    Rule("clip-twice", "clip", "clip(clip(x, a, b), a, b) = clip(x, a, b)", _twice, _itself),
)
