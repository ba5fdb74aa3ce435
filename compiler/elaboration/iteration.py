"""A solve becomes a `fix`: its state, step, residual and equation as closed regions of the graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, refinement, updates
from banach.compiler.elaboration.complexes import carrier, opened
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.region import (
    Formulas,
    Region,
    captures_of,
    close,
    fitted,
    initial,
    pending,
)
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import Complex, Environment, Pending, Tensor, describe
from banach.compiler.text import syntax
from banach.ir.graph import Graph, Value
from banach.ir.span import Span
from banach.ir.tensor import Tensor as Constant
from banach.ir.tensor_type import TensorType, numpy_dtype


@dataclass(frozen=True, slots=True)
class Recipe:
    """An iteration as formulas. `names` is what they may read; `equation` speaks of the first states.

    `size` and `scale` are the residual: the iteration stops when size <= tolerance · scale.
    """

    name: str
    names: Environment
    state: Formulas
    where: Formulas
    next: Formulas
    equation: Formulas
    size: syntax.Node
    scale: syntax.Node | None
    returns: syntax.Node
    tolerance: Fraction
    most: int
    place: Span
    derivative: dict[str, Any] = field(default_factory=dict)  # attributes of the fix; implicit without any
    nested: bool = False  # whether it stands in a map's block
    periods: Mapping[str, syntax.Node] = field(default_factory=dict)  # of the states that `every` holds
    delayed: bool = False  # whether it reads histories of its states
    start: Span | None = None  # where a spec says what a page's states start from
    tied: bool = False  # whether a theorem of its page speaks of the start
    stops: Environment | None = None  # what the residual reads beside the states, if not `names`

    @property
    def plain(self) -> bool:
        """Whether its formulas are all that it does: a theorem about those is one about it."""
        return not self.periods and not self.delayed


@dataclass(frozen=True, slots=True)
class Solved:
    """What a solve leaves in the graph, and the type of its unknown there."""

    result: Any
    iterations: Tensor
    residual: Tensor
    status: Tensor
    unknown: TensorType
    step: Graph
    start: tuple[Value, ...]
    captures: tuple[Value, ...]
    types: Mapping[str, TensorType]  # of the states, in the language
    rules: tuple[str, ...] = ()  # what it trusts of derivatives
    equation: Graph | None = None
    again: bool = False  # whether it starts a second time, from where a part in float32 ended


def solve(recipe: Recipe, context: Context) -> Solved:
    """Adds the iteration to the context's graph. SpecError: its formulas do not fit together."""
    scope, before = context.scope, len(context.assumed.rules)
    order = _ordered(recipe)
    begun = {name: initial(name, formula, recipe.names, context) for name, formula in order}
    start = {name: value for name, (value, _) in begun.items()}
    types = {name: type for name, (_, type) in begun.items()}
    step = _step(recipe, types, context)
    for name, value in step[0].reports.items():  # what solves inside maps leave is carried along
        types[name] = value.type
        start[name] = scope.build.zeros(value.type)
    regions = [
        step,
        _residual(recipe, types, context),
        *([_equation(recipe, types, context)] if recipe.equation else []),
    ]
    captures = captures_of(regions)
    closed = [close(region, captures) for region in regions]
    held = tuple(outer for _, outer in captures)
    tolerance, most = _limits(recipe, scope)
    coarse = None
    reals = all(value.type.is_float for value in start.values())
    if scope.mixed and reals and not step[0].reports and _begins_anywhere(recipe):
        given = [tolerance, most, *start.values(), *held]
        coarse = refinement.begin(scope.build, closed, given, len(start), len(recipe.equation))
        start, most = _again(recipe, types, coarse.solution, context), coarse.most
    given = [tolerance, most, *start.values(), *held]
    shape = {"states": len(start), "solution": len(recipe.equation) or 1, "lanes": False, "every": 1}
    shape |= recipe.derivative
    *found, iterations, residual, status = scope.build.emit("fix", given, shape, closed, recipe.place)
    if coarse is not None:
        iterations = scope.build.op("add", coarse.spent, iterations)
    for name, value in zip(start, found):
        if name in step[0].reports:
            scope.report(name, value)
    names = _names(recipe, {name: opened(v, types[name], name) for name, v in zip(start, found)}, context)
    result = context.evaluate(recipe.returns, names, context)
    unknown = carrier(next(iter(types.values())))
    reports = Tensor(iterations), Tensor(residual), Tensor(status)
    rules = tuple(dict.fromkeys(context.assumed.rules[before:]))
    own, again = tuple(start.values()), coarse is not None
    equation = closed[2] if recipe.equation else None
    return Solved(result, *reports, unknown, closed[0], own, held, types, rules, equation, again)


def start_types(recipe: Recipe, context: Context) -> TensorType:
    """The type of the unknown in the language, before anything is built."""
    name, formula = _ordered(recipe)[0]
    return initial(name, formula, recipe.names, context)[1]


def _begins_anywhere(recipe: Recipe) -> bool:
    """Whether the same iteration may start again elsewhere: from the unknown, all its states follow."""
    told, formulas = [name for name, _ in recipe.equation], (*recipe.next, *recipe.where)
    if (
        recipe.nested
        or recipe.tied
        or not recipe.plain
        or not told
        or recipe.derivative.get("gradient") == "unrolled"
    ):
        return False
    read = {name for _, formula in formulas for name in syntax.names(formula)}
    if recipe.start is None:  # written out: only the states themselves are known to follow
        return len(told) == len(recipe.state) and "k" not in read
    first = dict(recipe.state)[told[0]]
    anywhere = isinstance(first, syntax.Name) and first.id == "start" and "start" not in read
    return anywhere and (len(told) == 1 or len(told) == len(recipe.state))


def _again(
    recipe: Recipe, types: Mapping[str, TensorType], solution: Sequence[Value], context: Context
) -> dict[str, Value]:
    """The states of an iteration that starts from another value of its unknown."""
    told = dict(zip((name for name, _ in recipe.equation), solution))
    first = next(iter(types))
    names = recipe.names.inner({"start": opened(solution[0], types[first])} if recipe.start else {})
    formulas = dict(recipe.state)
    return {
        name: told[name] if name in told else initial(name, formulas[name], names, context)[0]
        for name in types
    }


def _ordered(recipe: Recipe) -> Formulas:
    """The states, those of the equation first."""
    told = [name for name, _ in recipe.equation]
    return tuple(sorted(recipe.state, key=lambda pair: told.index(pair[0]) if pair[0] in told else len(told)))


def _starts(recipe: Recipe) -> dict[str, Span]:
    """Where each state starts, in the user's text."""
    return {name: recipe.start or formula.span for name, formula in recipe.state}


def _limits(recipe: Recipe, scope: Scope) -> tuple[Value, Value]:
    """Tolerance and largest number of iterations: inputs of the model, with defaults; fixed inside a map."""
    if recipe.nested:
        tolerance = scope.build.scalar(recipe.tolerance, scope.precision)
        return tolerance, scope.build.scalar(recipe.most, "int64")
    outer = scope.outermost
    real = TensorType(scope.precision)
    default = Constant(np.asarray(float(recipe.tolerance), numpy_dtype(scope.precision)))
    tolerance = outer.build.input(f"{recipe.name}.tolerance", real, default, recipe.place)
    count = Constant(np.asarray(recipe.most, np.int64))
    most = outer.build.input(f"{recipe.name}.max_iterations", TensorType("int64"), count, recipe.place)
    return scope.bring(tolerance), scope.bring(most)


def _names(recipe: Recipe, known: dict[str, Any], context: Context) -> Environment:
    """States and the local definitions, which are worked out where they are read."""
    names = recipe.names.inner(known)
    for name, formula in recipe.where:
        names.known[name] = pending(name, formula, names, context)
    return names


def _step(recipe: Recipe, types: dict[str, TensorType], context: Context) -> Region:
    scope = context.scope.inner(f"{recipe.name}.step")
    inner = context.within(scope)
    counter = scope.build.input("k", TensorType("int64"))
    places = _starts(recipe)
    states = {
        name: scope.build.input(name, carrier(type), place=places[name]) for name, type in types.items()
    }
    known: dict[str, Any] = {name: opened(value, types[name], name) for name, value in states.items()}
    known["k"] = Pending(lambda: Tensor(scope.build.op("cast", counter, dtype=scope.precision)), RuntimeError)
    names = _names(recipe, known, inner)
    formulas = dict(recipe.next)
    for name, formula in formulas.items():
        period = recipe.periods.get(name)
        parts = (names, inner, recipe.where, period, counter)
        names.known[f"{name}'"] = updates.new_value(name, formula, *parts)
    outputs = {}
    for name, type in types.items():
        outputs[name] = fitted(name, names.find(f"{name}'"), type, formulas[name].span, scope, places[name])
    for name, value in scope.reports.items():
        states[name] = old = scope.build.input(name, value.type)
        if name in scope.skipped:  # what was found when it last ran
            ran = scope.build.op("less_equal", scope.build.scalar(0, value.type.dtype), value)
            value = scope.build.op("select", ran, value, old)
        outputs[name] = value
    return scope, [counter, *states.values()], outputs


def _residual(recipe: Recipe, types: dict[str, TensorType], context: Context) -> Region:
    scope = context.scope.inner(f"{recipe.name}.residual")
    inner = context.within(scope)
    places = _starts(recipe)
    held = {name: carrier(type) for name, type in types.items()}
    old = {name: scope.build.input(name, type, place=places.get(name)) for name, type in held.items()}
    new = {name: scope.build.input(f"{name}'", type) for name, type in held.items()}
    known: dict[str, Any] = {name: opened(value, types[name], name) for name, value in old.items()}
    known |= {f"{name}'": opened(value, types[name]) for name, value in new.items()}
    names = recipe.stops.inner(known) if recipe.stops else _names(recipe, known, inner)
    size = _number(recipe.size, names, inner)
    scale = _number(recipe.scale, names, inner) if recipe.scale else scope.build.scalar(1, scope.precision)
    return scope, [*old.values(), *new.values()], {"size": size, "scale": scale}


def _number(formula: syntax.Node, names: Environment, context: Context) -> Value:
    thing = context.evaluate(formula, names, context)
    real = arithmetic.is_tensor(thing) and not isinstance(thing, Complex)
    if not real or arithmetic.type_of(thing, context.scope).shape:
        raise refuse(
            WRONG_KIND,
            f"a residual is one number, not {describe(thing)}",
            formula.span,
            fix="take its size, `norm(x' - x)` say",
        )
    value = context.scope.value(thing, place=formula.span)
    # A residual of integers or truth values is a number too: how much, or whether, anything changed.
    precision = context.scope.precision
    return value if value.type.is_float else context.scope.build.op("cast", value, dtype=precision)


def _equation(recipe: Recipe, types: dict[str, TensorType], context: Context) -> Region:
    scope = context.scope.inner(f"{recipe.name}.equation")
    inner = context.within(scope)
    places = _starts(recipe)
    solution = {
        name: scope.build.input(name, carrier(types[name]), place=places[name]) for name, _ in recipe.equation
    }
    known: dict[str, Any] = {name: opened(value, types[name], name) for name, value in solution.items()}
    if recipe.delayed:  # at a fixed point every value in a history is the state itself
        known |= {updates.buffer(name): thing for name, thing in known.items()}
    names = _names(recipe, known, inner)
    outputs = {}
    for name, formula in recipe.equation:
        thing = context.evaluate(formula, names, inner)
        outputs[name] = fitted(name, thing, types[name], formula.span, scope, places[name])
    return scope, list(solution.values()), outputs
