"""Derivatives of maps: a map becomes a graph, the graph its derivative, and that part of the program.

Every one of them is again made of the graph's operations, so they nest: in a loss, in a step, in each other.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.complexes import carried, carrier, is_complex, opened
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import (
    Complex,
    Formula,
    Gradient,
    GradientIn,
    Jacobian,
    Map,
    Network,
    Number,
    Opaque,
    Partial,
    Pulled,
    Pushed,
    Several,
    Tensor,
    describe,
)
from banach.ir import derivatives
from banach.ir.forward import forward
from banach.ir.graph import Graph, Value, prune
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.polynomial import reverse_over
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType, TypeMismatch


def arguments_of(map: Map) -> tuple[str, ...]:
    """The arguments of a map by name; those of other maps than formulas are one, whose name is not said."""
    match map:
        case Formula() | Network():
            return map.parameters
        case Partial(inner, given):
            return tuple(name for name, thing in zip(arguments_of(inner), given) if thing is None)
        case GradientIn(inner, _) | Jacobian(inner, _) | Opaque(inner, _):
            return arguments_of(inner)
        case Pushed(inner, _, place):
            return arguments_of(inner) if place is None else ("v",)
        case Pulled():
            return ("w",)
        case _:
            return ("",)


def graph_of(
    map: Map, types: Sequence[TensorType], context: Context, span: Span | None
) -> tuple[Graph, list[Value]]:
    """A map as a closed graph over arguments of the given types, and the values that it captures."""
    inner, value, _ = _inside(map, types, context, span)
    return prune(inner.build.finish({"y": value})), _captures(inner)


def result_of(map: Map, types: Sequence[TensorType], context: Context, span: Span | None) -> TensorType:
    """The type in the language of what a map gives for arguments of the given types."""
    return _inside(map, types, context, span)[2]


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a map is differentiated: arguments as values of the graph, with their types in the language."""

    values: list[Value]
    types: list[TensorType]

    @classmethod
    def at(cls, point: Sequence[Any], scope: Scope, span: Span | None) -> "_Point":
        values = [scope.value(carried(x), place=span) for x in point]
        # A bare number is a real of the spec's precision, in both.
        return cls(values, [arithmetic.type_of(x, scope) for x in point])


def _at(
    map: Map, point: _Point, context: Context, span: Span | None
) -> tuple[Graph, list[Value], TensorType]:
    """The graph of a map that is to be differentiated here, what it captures, and the type of its result.

    What the solves inside it leave is reported here: the derivative runs them too, and once the model is
    simplified both are one.
    """
    inner, value, result = _inside(map, point.types, context, span)
    captures = _captures(inner)
    if inner.reports:
        found = context.scope.build.inline(inner.build.finish(inner.reports), [*point.values, *captures])
        for name, report in zip(inner.reports, found):
            context.scope.report(name, report)
    return prune(inner.build.finish({"y": value})), captures, result


def _trusted(graph: Graph) -> Iterator[str]:
    """Where the derivative of a graph is not that of the values that it works out, in words."""
    for part in graph.walk():
        for op in part.ops:
            if op.name == "ruled":
                yield f"the derivative given for {op.regions[0].name}"
            elif op.name == "stop_gradient":
                yield "that a derivative may leave out what stop_gradient holds"
            elif op.name == "fix" and (way := dict(op.attributes).get("gradient", "implicit")) != "unrolled":
                solve = op.regions[0].name.removesuffix(".step")
                yield f"the derivative of {solve} {'at its solution' if way == 'implicit' else f'by {way}'}"


def _captures(inner: Scope) -> list[Value]:
    return [outer for outer, _ in inner.captured.values()]


def _inside(
    map: Map, types: Sequence[TensorType], context: Context, span: Span | None
) -> tuple[Scope, Value, TensorType]:
    """A scope of its own, in which a map is applied to inputs of the given types; the result and its type."""
    inner = context.scope.inner("map")
    arguments = [opened(inner.build.input(f"x.{i}", carrier(type)), type) for i, type in enumerate(types)]
    result = context.apply(map, arguments, context.within(inner), span)
    if not arithmetic.is_tensor(result):
        raise refuse(
            WRONG_KIND,
            f"this map gives {describe(result)}, not a tensor",
            span,
            fix="let the map return a tensor",
        )
    return inner, inner.value(carried(result), place=span), arithmetic.type_of(result, inner)


def gradient(map: Map, point: Sequence[Any], place: int, context: Context, span: Span | None) -> Any:
    """The gradient of a real-valued map in one of its arguments."""
    return pull_back(map, point, None, context, span)[place]


def pull_back(
    map: Map, point: Sequence[Any], cotangent: Any, context: Context, span: Span | None
) -> list[Any]:
    """R[map](point, cotangent): a tensor for every argument, zeros for one that is not real.

    None is the cotangent 1, for a map to numbers.
    """
    scope = context.scope
    at = _Point.at(point, scope, span)
    graph, captures, result = _at(map, at, context, span)
    context.assumed.rely(_trusted(graph))
    if cotangent is None and (result.shape or is_complex(result)):
        fix = "take the gradient of a number, `sum(F(x))` say"
        fix = "take that of a real number, `abs(F(z))**2` say" if is_complex(result) else fix
        raise refuse(WRONG_KIND, f"a gradient is of a map to numbers; this one gives {result}", span, fix=fix)
    (type,) = graph.output_types
    _differentiable(type, "what the map gives", span)
    derivative = _derived(lambda: reverse(graph), span)
    seed = scope.build.scalar(1, type.dtype)
    if cotangent is not None:
        seed = _like(cotangent, result, "the result of the map", context, span)
    wanted = sum(v.type.is_float for v in at.values)
    used = _restrict(derivative, wanted)
    found = iter(scope.build.inline(used, [*at.values, *captures, seed]))
    return [
        opened(next(found) if v.type.is_float else scope.build.zeros(v.type), own)
        for v, own in zip(at.values, at.types)
    ]


def transposed(map: Map, y: Any, type: TensorType, context: Context, span: Span | None) -> Any:
    """The adjoint of a linear map, by its derivative at 0; where it is not proved linear, that is trusted."""
    graph, _ = graph_of(map, [type], context, span)
    try:
        prove_linear(graph, [i == 0 for i in range(len(graph.inputs))])
    except NotLinear:
        context.assumed.rely(["that the slope at 0 of a map is the map, where its adjoint is taken"])
    origin = opened(context.scope.build.zeros(carrier(type)), type)
    (back,) = pull_back(map, [origin], y, context, span)
    return back


def pull_back_over(semiring: str, bound: int) -> Callable[..., list[Tensor]]:
    """The same over a semiring: of the sums and products that the map's graph is made of."""

    def pull(
        map: Map, point: Sequence[Any], cotangent: Any, context: Context, span: Span | None
    ) -> list[Tensor]:
        scope = context.scope
        values = [scope.value(x, place=span) for x in point]
        graph, captures = graph_of(map, [v.type for v in values], context, span)
        seed = _like(cotangent, graph.output_types[0], "the result of the map", context, span)
        derivative = _derived(lambda: reverse_over(graph, semiring, bound), span)
        used = _restrict(derivative, len(values))
        return [Tensor(v) for v in scope.build.inline(used, [*values, *captures, seed])]

    return pull


def push_forward(
    map: Map,
    point: Sequence[Any],
    tangents: Sequence[Any],
    place: int | None,
    context: Context,
    span: Span | None,
) -> Any:
    """D[map](point; tangents), with a tangent for every argument, or for the one at `place`."""
    scope = context.scope
    at = _Point.at(point, scope, span)
    graph, captures, result = _at(map, at, context, span)
    context.assumed.rely(_trusted(graph))
    moving = range(len(at.values)) if place is None else (place,)
    for i in moving:
        _differentiable(at.values[i].type, "the argument", span)
    _differentiable(graph.output_types[0], "what the map gives", span)
    marks = [i in moving for i in range(len(graph.inputs))]
    derivative = _derived(lambda: forward(graph, marks), span)
    moves = [_like(tangent, at.types[i], "the point", context, span) for i, tangent in zip(moving, tangents)]
    (found,) = scope.build.inline(derivative, [*at.values, *captures, *moves])
    return opened(found, result)


def jacobian(map: Map, point: Sequence[Any], place: int, context: Context, span: Span | None) -> Tensor:
    """The Jacobian in one argument, of shape [*result, *argument]."""
    scope = context.scope
    at = _Point.at(point, scope, span)
    graph, captures, result = _at(map, at, context, span)
    context.assumed.rely(_trusted(graph))
    if is_complex(result) or is_complex(at.types[place]):
        fix = "use `jvp(F, z)(v)` and `vjp(F, z)(w)`, or a map of real(z) and imag(z)"
        raise refuse(WRONG_KIND, "the Jacobian of a complex map is no complex matrix", span, fix=fix)
    _differentiable(at.values[place].type, "the argument", span)
    _differentiable(graph.output_types[0], "what the map gives", span)
    made = _derived(lambda: derivatives.jacobian(graph, "y", graph.inputs[place].name), span)
    (found,) = scope.build.inline(made, [*at.values, *captures])
    return Tensor(found)


def apply(map: Map, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """A derivative, applied. SpecError: it is given too few arguments, or too many."""
    wanted = arguments_of(map)
    if len(arguments) != len(wanted):
        message = f"this derivative takes {_counted(len(wanted))}, not {len(arguments)}"
        raise refuse(WRONG_ARGUMENTS, message, span, fix="give one for each argument of the map")
    if any(isinstance(thing, Map) for thing in arguments):
        return apply(*_holding(map, arguments, span), context, span)
    match map:
        case Gradient(function):
            return gradient(function, arguments, 0, context, span)
        case GradientIn(function, place):
            return gradient(function, arguments, place, context, span)
        case Jacobian(inner, place):
            return jacobian(inner, arguments, place, context, span)
        case Pushed(inner, point, place):
            return push_forward(inner, point, arguments, place, context, span)
        case Pulled(inner, point, place, semiring):
            pull = pull_back if semiring is None else pull_back_over(*semiring)
            found = pull(inner, point, arguments[0], context, span)
            whole = found[0] if len(found) == 1 else Several(tuple(found))
            return whole if place is None else found[place]
    raise TypeError(f"{type(map).__name__} is no derivative")


def _holding(map: Map, arguments: Sequence[Any], span: Span | None) -> tuple[Map, list[Any]]:
    """A derivative of a map that takes maps, with those as given: it is in the other arguments."""
    assert isinstance(map, GradientIn | Jacobian)
    if isinstance(arguments[map.place], Map):
        message = f"`{arguments_of(map)[map.place]}` is a map, and derivatives are in tensors"
        raise refuse(WRONG_KIND, message, span, fix="derive in another argument")
    inner = map.function if isinstance(map, GradientIn) else map.map
    held = [thing if isinstance(thing, Map) else None for thing in arguments]
    place = held[: map.place].count(None)
    closed = Partial(inner, tuple(held))
    rest = [thing for thing in arguments if not isinstance(thing, Map)]
    return (GradientIn if isinstance(map, GradientIn) else Jacobian)(closed, place), rest


def _counted(count: int) -> str:
    return "one argument" if count == 1 else f"{count} arguments"


def _differentiable(type: TensorType, what: str, span: Span | None) -> None:
    if not type.is_float:
        fix = "derive in real arguments, of a real result; `wrt=x` chooses an argument"
        raise refuse(WRONG_KIND, f"{what} is {type}, and only reals have derivatives", span, fix=fix)


def _like(thing: Any, type: TensorType, what: str, context: Context, span: Span | None) -> Value:
    """A direction, which has the type in the language of that in which it points."""
    held = carrier(type)
    if is_complex(type) and not isinstance(thing, Complex):
        thing = Complex(arithmetic.reals(context.scope, span).pairs(thing))
    fraction = isinstance(thing, Number) and thing.value.denominator != 1 and not held.is_float
    value = context.scope.value(carried(thing), None if fraction else held, span)
    if value.type != held or (isinstance(thing, Complex) and not is_complex(type)):
        found = arithmetic.type_of(thing, context.scope) if isinstance(thing, Complex) else value.type
        message = f"this direction is {found}, and {what} is {type}"
        raise refuse(WRONG_KIND, message, span, fix="give both the same shape")
    return value


def _derived(work: Callable[[], Graph], span: Span | None) -> Graph:
    """A derivative of a graph. SpecError: there is none."""
    try:
        return work()
    except (NoDerivative, TypeMismatch) as refusal:
        place = refusal.place if isinstance(refusal, NoDerivative) else None
        fix = "leave that operation out, or `stop_gradient` its argument"
        raise refuse(WRONG_KIND, f"this has no derivative: {refusal}", place or span, fix=fix) from None


def _restrict(derivative: Graph, count: int) -> Graph:
    return prune(
        replace(derivative, outputs=derivative.outputs[:count], output_names=derivative.output_names[:count])
    )
