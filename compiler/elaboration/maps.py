"""The algebra of maps: sums, multiples, compositions, adjoints, gradients and proximal maps."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.region import pending
from banach.compiler.elaboration.things import (
    Adjoint,
    Composed,
    Formula,
    Function,
    Gradient,
    Identity,
    Map,
    Matrix,
    Number,
    Operator,
    Partial,
    Prox,
    Scaled,
    Tensor,
    Total,
    describe,
)
from banach.ir.graph import Graph, Value, prune
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

ONE = Number(Fraction(1))


def as_map(thing: Any, span: Span | None) -> Map:
    """A map, or the map of a matrix."""
    if isinstance(thing, Map):
        return thing
    if arithmetic.is_matrix(thing):
        return Matrix(thing)
    raise refuse(
        WRONG_KIND, f"a map is wanted here, not {describe(thing)}", span, fix="give a map, or a matrix"
    )


def add(left: Any, right: Any, span: Span | None) -> Map:
    """x ↦ f(x) + g(x)."""
    terms: list[Map] = []
    for side in (as_map(left, span), as_map(right, span)):
        terms.extend(side.maps if isinstance(side, Total) else (side,))
    return Total(tuple(terms))


def scale(factor: Any, map: Map) -> Map:
    """x ↦ c·f(x)."""
    return Scaled(factor, map)


def compose(outer: Any, inner: Any, span: Span | None) -> Map:
    """x ↦ f(g(x))."""
    return Composed(as_map(outer, span), as_map(inner, span))


def adjoint(thing: Any, span: Span | None) -> Map:
    """The adjoint of a linear map, pushed inwards to the maps that it is made of."""
    map = as_map(thing, span)
    match map:
        case Identity():
            return map
        case Scaled(factor, inner):
            return Scaled(factor, adjoint(inner, span))
        case Total(maps):
            return Total(tuple(adjoint(m, span) for m in maps))
        case Composed(outer, inner):
            return Composed(adjoint(inner, span), adjoint(outer, span))
        case Adjoint(inner):
            return inner
        case _:
            return Adjoint(map)


def gradient(map: Map) -> Map:
    """x ↦ ∇f(x); of a sum the sum of gradients, of a multiple the multiple."""
    match map:
        case Total(terms):
            return Total(tuple(gradient(term) for term in terms))
        case Scaled(factor, inner):
            return Scaled(factor, gradient(inner))
        case _:
            return Gradient(map)


def apply(map: Map, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """A map applied to its arguments, in the context's graph."""
    if isinstance(map, Formula):
        return _apply_formula(map, arguments, context, span)
    if isinstance(map, Partial):
        return _apply_partial(map, arguments, context, span)
    if len(arguments) != 1:
        raise refuse(WRONG_ARGUMENTS, f"this map takes one argument, not {len(arguments)}", span)
    (x,) = arguments
    match map:
        case Identity():
            return x
        case Matrix(matrix):
            return times(matrix, x, context, span)
        case Scaled(factor, inner):
            return arithmetic.binary("*", factor, apply(inner, [x], context, span), context.scope, span)
        case Total(maps):
            total = apply(maps[0], [x], context, span)
            for term in maps[1:]:
                total = arithmetic.binary("+", total, apply(term, [x], context, span), context.scope, span)
            return total
        case Composed(outer, inner):
            return apply(outer, [apply(inner, [x], context, span)], context, span)
        case Adjoint(inner):
            return _apply_adjoint(inner, x, context, span)
        case Gradient(function):
            return _apply_gradient(function, x, context, span)
        case Prox(function, step):
            return _from_page(function, "prox", [x, step], context, span)
        case Operator():
            return _from_page(map, "returns", [x], context, span)
        case Function():
            return _from_page(map, "value", [x], context, span)
    raise refuse(WRONG_KIND, f"{describe(map)} cannot be applied", span, fix="apply a map, or a matrix")


def times(matrix: Any, x: Any, context: Context, span: Span | None) -> Any:
    """A matrix times a vector or a matrix."""
    scope = context.scope
    left, right = arithmetic.type_of(matrix, scope), arithmetic.type_of(x, scope)
    if left.rank < 2 or right.rank < 1:
        message = f"`@` takes a matrix, and a vector or a matrix, not {describe(matrix)} and {describe(x)}"
        raise refuse(
            WRONG_KIND,
            message,
            span,
            fix="`x * y` multiplies entry by entry, `dot(x, y)` is the inner product",
        )
    name = "matvec" if right.rank == 1 and left.rank == 2 else "matmul"
    return arithmetic.apply(name, [matrix, x], scope, span)


def transpose(matrix: Any, context: Context, span: Span | None) -> Any:
    """The transpose of a matrix."""
    return arithmetic.apply("transpose", [matrix], context.scope, span, permutation=(-1, -2))


def _apply_formula(map: Formula, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    if len(arguments) != len(map.parameters):
        wanted = f"{len(map.parameters)} arguments ({', '.join(map.parameters)})"
        message = f"`{map.name}` takes {wanted}, not {len(arguments)}"
        raise refuse(WRONG_ARGUMENTS, message, span)
    names = map.names.inner(dict(zip(map.parameters, arguments)))
    for name, formula in map.where:  # in any order, as in an iteration
        names.known[name] = pending(name, formula, names, context)
    return context.evaluate(map.body, names, context)


def _apply_partial(map: Partial, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    holes = map.arguments.count(None)
    if len(arguments) != holes:
        raise refuse(
            WRONG_ARGUMENTS, f"this map has {holes} holes and is given {len(arguments)} arguments", span
        )
    flow = iter(arguments)
    return context.apply(map.map, [next(flow) if a is None else a for a in map.arguments], context, span)


def _from_page(
    map: Operator | Function, formula: str, arguments: Sequence[Any], context: Context, span: Span | None
) -> Any:
    """One of the formulas of a page, with the page's own arguments and `where` in view."""
    page = map.page
    if formula not in page.formulas:
        raise refuse(
            WRONG_KIND,
            f"the {page.kind} {page.name} has no {formula}",
            span,
            fix="see `banach explain` for what it has",
        )
    parameters, body = page.formulas[formula]
    names = map.names.inner(dict(zip(parameters, arguments)))
    return context.evaluate(body, names, context)


def _apply_adjoint(map: Map, y: Any, context: Context, span: Span | None) -> Any:
    if isinstance(map, Matrix):
        return times(transpose(map.matrix, context, span), y, context, span)
    if isinstance(map, Operator) and "adjoint" in map.page.formulas:
        return _from_page(map, "adjoint", [y], context, span)
    if context.domain is None:
        message = "the adjoint of this map needs the type of its argument, which is not known here"
        raise refuse(
            WRONG_KIND, message, span, fix="use it inside a solve, where the type of the unknown is known"
        )
    origin = context.scope.build.zeros(context.domain)
    (back,) = _pull_back(map, [Tensor(origin)], y, context, span)
    return back


def _apply_gradient(function: Map, x: Any, context: Context, span: Span | None) -> Any:
    if isinstance(function, Function) and "gradient" in function.page.formulas:
        return _from_page(function, "gradient", [x], context, span)
    (gradient,) = _pull_back(function, [x], None, context, span)
    return gradient


def graph_of(
    map: Map, types: Sequence[TensorType], context: Context, span: Span | None
) -> tuple[Graph, list[Value]]:
    """A map as a closed graph over arguments of the given types, and the values that it captures."""
    inner = context.scope.inner("map")
    arguments = [Tensor(inner.build.input(f"x.{i}", type)) for i, type in enumerate(types)]
    result = context.apply(map, arguments, context.within(inner), span)
    if not arithmetic.is_tensor(result):
        raise refuse(
            WRONG_KIND,
            f"this map gives {describe(result)}, not a tensor",
            span,
            fix="let the map return a tensor",
        )
    value = inner.value(result, place=span)
    return prune(inner.build.finish({"y": value})), [outer for outer, _ in inner.captured.values()]


def _pull_back(
    map: Map, point: Sequence[Any], cotangent: Any, context: Context, span: Span | None
) -> list[Tensor]:
    """R[map](point, cotangent), the parts that belong to the arguments; None is the cotangent 1."""
    scope = context.scope
    values = [scope.value(x, place=span) for x in point]
    graph, captures = graph_of(map, [v.type for v in values], context, span)
    (result,) = graph.output_types
    if cotangent is None and result.shape:
        raise refuse(
            WRONG_KIND,
            f"a gradient is of a map to numbers; this one gives {result}",
            span,
            fix="take the gradient of a number, `sum(F(x))` say",
        )
    try:
        derivative = reverse(graph)
    except NoDerivative as refusal:
        raise refuse(
            WRONG_KIND,
            f"this has no derivative: {refusal}",
            refusal.place or span,
            fix="leave that operation out, or `stop_gradient` its argument",
        ) from None
    seed = scope.build.scalar(1, result.dtype) if cotangent is None else scope.value(cotangent, place=span)
    wanted = [v for v in values if v.type.is_float]
    used = _restrict(derivative, len(wanted))
    return [Tensor(v) for v in scope.build.inline(used, [*values, *captures, seed])]


def _restrict(derivative: Graph, count: int) -> Graph:
    return prune(
        replace(derivative, outputs=derivative.outputs[:count], output_names=derivative.output_names[:count])
    )
