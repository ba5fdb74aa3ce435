"""Definitions of a spec in the order of need, and the names that their formulas read."""

import graphlib
from typing import Any

from banach.compiler.elaboration.problem import RECURSIVE
from banach.compiler.elaboration.things import Broken, Environment
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.span import Span


def in_order(
    work: dict[str, tuple[Any, tuple[str, ...], Span]], names: Environment, mistakes: list[Diagnostic]
) -> tuple[str, ...]:
    """The names in the order of need, without those that go round in circles.

    `work` has what each of them reads, and its place. The circles become mistakes, and their names broken.
    """
    graph = {name: [n for n in reads if n in work] for name, (_, reads, _) in work.items()}
    while True:
        try:
            return tuple(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as circle:
            path = list(dict.fromkeys(reversed(circle.args[1])))
            start = min(path, key=list(work).index)
            turn = path.index(start)
            path = path[turn:] + path[:turn]
            notes = tuple((work[name][2], f"`{name}` is defined here") for name in path[1:])
            message = f"these definitions go round in a circle: {' -> '.join([*path, path[0]])}"
            fix = "feedback needs a `solve` or a `scan`, which says where it starts and when it stops"
            mistakes.append(Diagnostic(RECURSIVE, message, work[start][2], fix=fix, notes=notes))
            for name in path:
                names.known[name] = Broken()
                graph.pop(name, None)
            graph = {name: [n for n in reads if n in graph] for name, reads in graph.items()}


def free_in(node: syntax.Node, own: set[str]) -> list[syntax.Name]:
    """The names that a formula reads from outside."""
    return [n for n in syntax.walk(node) if isinstance(n, syntax.Name) and n.id not in own]


def parses(node: Scalar) -> bool:
    """Whether a text is a formula."""
    try:
        parse(node)
    except SpecError:
        return False
    return True
