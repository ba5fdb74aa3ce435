"""Iterations inside maps: a map's block may hold `scan:` and `solve:` of its own, run wherever it is applied.

Within the map its iterations are read by name, and what a solve leaves as `z.iterations`, `z.residual` and
`z.status`. Outside, a solve z of a map F is called F.z, and the model reports the largest of each over all
the places where F is applied; for a place inside another iteration, in its last step. Tolerance and largest
number of iterations are fixed: a model has inputs for those of its own solves, which are at one place.
"""

from pathlib import Path
from typing import Any

from banach.compiler.elaboration import formulas
from banach.compiler.elaboration.analysis import measure
from banach.compiler.elaboration.claims import claim
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import RECURSIVE, refuse
from banach.compiler.elaboration.recurrence import scan
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import Environment, Formula, Pending
from banach.compiler.spec import Recurrence, Solve
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Diagnostic, SpecError


def context(scope: Scope, folder: Path | None = None) -> Context:
    """A fresh context for a graph; files are looked up in the folder."""
    return Context(scope, formulas.evaluate, formulas.apply, measure.fact, iterate, folder)


def iterate(map: Formula, names: Environment, context: Context) -> None:
    """The iterations of a map as names for its formulas, each worked out where it is first read."""
    for key, section in map.scans:
        names.known[key.text] = _pending(key, lambda k=key, s=section: _scan(k, s, names, context))
    for found in map.solves:
        work = lambda found=found: _solve(map, found, names, context)  # noqa: E731
        names.known[found.key.text] = _pending(found.key, work)


def _pending(key: Scalar, work: Any) -> Pending:
    fix = "what feeds back is one solve, with all that changes among its states"
    return Pending(work, lambda: refuse(RECURSIVE, f"`{key.text}` needs itself", key.span, fix=fix))


def _scan(key: Scalar, section: Recurrence, names: Environment, context: Context) -> Any:
    parts = scan(key, section, names, context)
    names.known.update({name: thing for name, thing in parts.items() if name != key.text})
    return parts[key.text]


def _solve(map: Formula, found: Solve, names: Environment, context: Context) -> Any:
    mistakes: list[Diagnostic] = []
    try:
        made = claim(found, names, context, mistakes, within=map.name)
    except SpecError as wrong:
        raise SpecError([*mistakes, *wrong.diagnostics]) from None
    if mistakes:
        raise SpecError(mistakes)
    context.claims.append(made)
    if made.reported:
        for name, tensor in made.reports().items():
            context.scope.report(name, tensor.value)
    names.known.update(made.reports(found.key.text))
    return made.solved.result
