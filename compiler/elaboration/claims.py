"""Solves of a spec: by a page of the library, or written out; each becomes a recipe, and is built."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler import library
from banach.compiler.elaboration import arithmetic, formulas, updates
from banach.compiler.elaboration.blocks import read_body
from banach.compiler.elaboration.complexes import admit
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.declarations import count, derivative, positive, stop_rule
from banach.compiler.elaboration.iteration import Recipe, Solved, solve, start_types
from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.region import Formulas
from banach.compiler.elaboration.things import Complex, Environment, Number, Table, Tensor, describe
from banach.compiler.spec import SOLVE_KEYS, Method, Solve
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.section import MISSING_KEY, unknown_key
from banach.compiler.text.signature import parse_signature
from banach.compiler.text.source import Mapping, Scalar
from banach.ir.diagnostic import Diagnostic
from banach.ir.span import Span


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A solve, as the certifier needs it: its page, the names of the page, and where things stand."""

    solve: Solve
    page: library.Page | None
    names: Environment
    context: Context
    recipe: Recipe
    solved: Solved
    places: dict[str, Span]
    own_stop: bool = False  # whether the spec stops by another residual than the page's
    reworded: bool = False  # whether the page's equations stand there in other words
    behind: bool = False  # whether it returns what the page returns, one step before

    @property
    def stated(self) -> dict[str, Any]:
        """What every certificate repeats of the solve: its name, its limits and its place."""
        recipe = self.recipe
        limits = {"tolerance": str(recipe.tolerance), "most": recipe.most}
        return {"solve": recipe.name, **limits, "place": recipe.place}

    @property
    def reported(self) -> bool:
        """Whether iterations, residual and status are outputs of the model."""
        said = self.solve.method or self.solve.iteration
        return said is None or said.report is None or said.report.text != "none"

    def reports(self, name: str | None = None) -> dict[str, Tensor]:
        """What the solve leaves beside its result, under this name or its own."""
        solved, name = self.solved, name or self.recipe.name
        parts = {"iterations": solved.iterations, "residual": solved.residual, "status": solved.status}
        return {f"{name}.{part}": tensor for part, tensor in parts.items()}


def claim(
    found: Solve, spec: Environment, context: Context, mistakes: list[Diagnostic], within: str | None = None
) -> Claim:
    """Adds a solve to the graph; `within` is the map whose block holds it, if one does.

    SpecError: it cannot be given a meaning; lesser faults go to `mistakes`.
    """
    if found.method:
        return _by_method(found, found.method, spec, context, mistakes, within)
    return _by_equations(found, spec, context, within)


def _name(found: Solve, within: str | None) -> str:
    return f"{within}.{found.key.text}" if within else found.key.text


def _by_method(
    found: Solve,
    method: Method,
    spec: Environment,
    context: Context,
    mistakes: list[Diagnostic],
    within: str | None,
) -> Claim:
    solver = context.evaluate(parse(method.method), spec, context)
    if not isinstance(solver, formulas.Solver):
        fix = "`banach list solvers` shows what there is"
        raise refuse(WRONG_KIND, f"a method is a solver, not {describe(solver)}", method.method.span, fix=fix)
    page, section = solver.page, solver.page.section
    assert isinstance(section, library.SolverPage)
    if not isinstance(method.start, Scalar):
        span = method.start.span if method.start else found.key.span
        raise refuse(MISSING_KEY, "this solve has no `start`", span, fix="add `start: zeros(n)`")
    start = context.evaluate(parse(method.start), spec, context)
    if not arithmetic.is_tensor(start):
        raise refuse(
            WRONG_KIND,
            f"the start is {describe(start)}, not a tensor",
            method.start.span,
            fix="write `start: zeros(n)`, say",
        )
    admit(page, start, method.start.span)
    context = context.about(arithmetic.type_of(start, context.scope))
    own = {**dict(zip(page.parameters, solver.arguments)), "start": start}
    names = Environment(own, Environment(page.shelf))
    places = {"start": method.start.span, "method": method.method.span}
    _options(page, method, names, spec, context, places, mistakes)
    size, tolerance, scale, own = _stop(found, section, spec, context)
    most = count(found.stop) if found.stop else 0
    names.known["tolerance"] = Number(tolerance)
    for key, node in section.operators or ():
        signature = parse_signature(key)
        names.known[signature.name] = read_body(node).map(signature.name, signature.parameters or (), names)
    parts = library.table(section.state), section.next, page.where
    told, (size, returns, scale) = _updates(parts, (size, parse(section.returns), scale), names, context)
    recipe = Recipe(
        name=_name(found, within),
        nested=within is not None,
        derivative=derivative(method.gradient, most),
        names=names,
        state=told.state,
        where=told.where,
        next=told.next,
        equation=library.table(section.equation),
        size=size,
        scale=scale,
        stops=spec if own else None,
        returns=returns,
        tolerance=tolerance,
        most=most,
        place=method.method.span,
        start=method.start.span,
        tied=any(theorem.reads("start") for theorem in page.theorems),
        periods=told.periods,
        delayed=told.delayed,
    )
    return Claim(found, page, names, context, recipe, solve(recipe, context), places, own)


def _options(
    page: library.Page,
    method: Method,
    names: Environment,
    spec: Environment,
    context: Context,
    places: dict[str, Span],
    mistakes: list[Diagnostic],
) -> None:
    """The options of the page: those of the spec are formulas of the spec, the others of the page."""
    section = page.section
    assert isinstance(section, library.SolverPage)
    known = {key.text: node for key, node in section.options or ()}
    given = dict.fromkeys(known)
    for key, value in method.options:
        if key.text not in known:
            mistakes.append(unknown_key(key, f"solve by {page.name}", [*known, *SOLVE_KEYS[1:]]))
            continue
        given[key.text] = value
        places[key.text] = value.span
        thing = names.known[key.text] = context.evaluate(parse(value), spec, context)
        if isinstance(thing, Complex) and not arithmetic.type_of(thing, context.scope).shape:
            message = (
                f"the option `{key.text}` of {page.name} is a real number, and this is {describe(thing)}"
            )
            fix = "write its size `abs(z)`, or its real part `real(z)`"
            raise refuse(WRONG_KIND, message, value.span, fix=fix)
    for name, default in known.items():
        if given[name] is None and isinstance(default, Scalar):
            names.known[name] = context.evaluate(parse(default), names, context)
            places[name] = method.method.span


def _stop(
    found: Solve, page: library.SolverPage, names: Environment, context: Context
) -> tuple[syntax.Node, Fraction, syntax.Node | None, bool]:
    """Size, tolerance and scale of the residual, and whether the spec states one of its own."""
    if found.stop is None:
        fix = "add `stop: {residual: 1e-6, most: 1000}`"
        raise refuse(MISSING_KEY, "this solve has no `stop`", found.key.span, fix=fix)
    given = found.stop.residual
    if "<" in given.text:  # a formula of the spec, over the states of the page
        return *stop_rule(parse(given)), True
    scale = parse(page.scale) if page.scale else None
    plain = isinstance(given.value, int | Fraction | bool)
    tolerance = None if plain else context.evaluate(parse(given), names, context)
    if isinstance(tolerance, Table) and not tolerance.array.ndim and np.isfinite(tolerance.array):
        tolerance = Number(Fraction(float(tolerance.array)))  # of a root, say
    if isinstance(tolerance, Number) and tolerance.value > 0:
        return parse(page.residual), tolerance.value, scale, False
    return parse(page.residual), positive(given, "residual"), scale, False


def _updates(
    parts: tuple[Formulas, Mapping, Formulas],
    stop: tuple[syntax.Node, syntax.Node, syntax.Node | None],
    names: Environment,
    context: Context,
) -> tuple[updates.Updates, tuple[syntax.Node, syntax.Node, syntax.Node | None]]:
    """What `state:`, `next:` and `where:` say; and size, result and scale, which may read histories too."""
    size, returns, scale = stop
    told = updates.read(*parts, names, context, (size, returns, *([scale] if scale else ())))
    size, returns, *rest = told.also
    return told, (size, returns, rest[0] if rest else None)


def _by_equations(found: Solve, spec: Environment, context: Context, within: str | None) -> Claim:
    iteration, stop = found.iteration, found.stop
    assert iteration is not None and stop is not None
    size, tolerance, scale = stop_rule(parse(stop.residual))
    most = count(stop)
    state, where = library.table(iteration.state), library.table(iteration.where)
    returns = parse(iteration.returns) if iteration.returns else syntax.Name(state[0][0], found.key.span)
    parts = state, iteration.next, where
    told, (size, returns, scale) = _updates(parts, (size, returns, scale), spec, context)
    equation = library.table(iteration.equation)
    counted = any("k" in syntax.names(node) for _, node in (*told.next, *where))
    if not equation and len(state) == 1 and not counted and not told.periods:
        equation = told.next[:1]  # a step that is the same map every time ends at a fixed point of that map
    recipe = Recipe(
        name=_name(found, within),
        nested=within is not None,
        derivative=derivative(iteration.gradient, most),
        names=spec,
        state=told.state,
        where=told.where,
        next=told.next,
        equation=equation,
        size=size,
        scale=scale,
        returns=returns,
        tolerance=tolerance,
        most=most,
        place=found.key.span,
        periods=told.periods,
        delayed=told.delayed,
    )
    context = context.about(start_types(recipe, context))
    return Claim(found, None, spec, context, recipe, solve(recipe, context), {})
