"""The algebra of maps: sums, multiples, compositions, adjoints, gradients and proximal maps."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import arithmetic, complexes, derivation, networks, opaque, rule
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import (
    TOO_MANY_MAPS,
    WRONG_ARGUMENTS,
    WRONG_KIND,
    WRONG_SHAPE,
    counted,
    refuse,
)
from banach.compiler.elaboration.region import pending
from banach.compiler.elaboration.things import (
    Adjoint,
    Complex,
    Composed,
    Formula,
    Function,
    Gradient,
    GradientIn,
    Identity,
    Included,
    Jacobian,
    Map,
    Matrix,
    Network,
    Number,
    Opaque,
    Operator,
    Partial,
    Prox,
    Pulled,
    Pushed,
    Scaled,
    Total,
    describe,
)
from banach.compiler.text import syntax
from banach.ir.span import Span

ONE = Number(Fraction(1))
MOST_APPLICATIONS = 50_000  # in one model; it takes some seconds
_DEEPEST = 300  # applications of maps, each inside the one before


def as_map(thing: Any, span: Span | None) -> Map:
    """A map, or the map of a matrix."""
    if isinstance(thing, Map):
        return thing
    if arithmetic.is_matrix(thing):
        return Matrix(thing)
    raise refuse(
        WRONG_KIND, f"a map is wanted here, not {describe(thing)}", span, fix="give a map, or a matrix"
    )


def as_tensors(things: Sequence[Any], span: Span | None) -> list[Any]:
    """Things that have entries. SpecError: one is none."""
    for thing in things:
        if not arithmetic.is_tensor(thing):
            raise refuse(
                WRONG_KIND,
                f"a tensor or a number is wanted here, not {describe(thing)}",
                span,
                fix="give it a tensor, a table or a number",
            )
    return list(things)


def add(left: Any, right: Any, span: Span | None) -> Map:
    """x ↦ f(x) + g(x)."""
    terms: list[Map] = []
    for side in (as_map(left, span), as_map(right, span)):
        terms.extend(side.maps if isinstance(side, Total) else (side,))
    return Total(tuple(terms))


def total(things: Sequence[Any], span: Span | None) -> Map:
    """x ↦ f(x) + g(x) + ..."""
    summed = as_map(things[0], span)
    for thing in things[1:]:
        summed = add(summed, thing, span)
    return summed


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
        case Scaled(factor, inner) if arithmetic.is_real_number(factor):
            return Scaled(factor, adjoint(inner, span))
        case Total(maps):
            return Total(tuple(adjoint(m, span) for m in maps))
        case Composed(outer, inner):
            return Composed(adjoint(inner, span), adjoint(outer, span))
        case Adjoint(inner):
            return inner
        case Pushed(inner, point, place) if place is not None:
            return Pulled(inner, point, place)
        case Pulled(inner, point, place) if place is not None:
            return Pushed(inner, point, place)
        case _:
            return Adjoint(map)


def gradient(map: Map, span: Span | None) -> Map:
    """x ↦ ∇f(x); of a sum the sum of gradients, of a multiple the multiple."""
    match map:
        case Total(terms):
            return Total(tuple(gradient(term, span) for term in terms))
        case Scaled(Complex()):
            message = "a gradient is of a real function, and this one has a complex factor"
            raise refuse(WRONG_KIND, message, span, fix="take that of its real part, or of abs(f(x))**2")
        case Scaled(factor, inner):
            return Scaled(factor, gradient(inner, span))
        case _:
            return Gradient(map)


def apply(map: Map, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """A map applied to its arguments, in the context's graph."""
    if isinstance(map, Formula):
        return _apply_formula(map, arguments, context, span)
    if isinstance(map, Partial):
        return _apply_partial(map, arguments, context, span)
    if isinstance(map, GradientIn | Jacobian | Pushed | Pulled):
        return derivation.apply(map, arguments, context, span)
    if isinstance(map, Opaque):
        return opaque.apply(map, arguments, context, span)
    if isinstance(map, Network):
        return networks.apply(map, arguments, context, span)
    if isinstance(map, Included):
        return map.work(arguments, context, span)
    if len(arguments) != 1:
        raise refuse(
            WRONG_ARGUMENTS, f"this map takes one argument, not {len(arguments)}", span, fix="write `F(x)`"
        )
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
        case Gradient(Function() as function) if "gradient" in function.page.formulas:
            return _in_its_space(_from_page(function, "gradient", [x], context, span), x, context, span)
        case Gradient():
            return derivation.apply(map, arguments, context, span)
        case Prox(function, step):
            return _in_its_space(_from_page(function, "prox", [x, step], context, span), x, context, span)
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


def count_application(context: Context, span: Span | None, weight: int = 1) -> None:
    """Keeps count of what is worked out, weighed by how long that takes. SpecError: it is too much."""
    context.scope.applied[0] += weight
    if context.scope.applied[0] > MOST_APPLICATIONS:
        message = f"maps are applied more than {MOST_APPLICATIONS:,} times"
        fix = "use a `scan` for steps, and `where:` for what is read twice"
        raise refuse(TOO_MANY_MAPS, message, span, fix=fix)


def _apply_formula(map: Formula, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    count_application(context, span)
    if len(arguments) != len(map.parameters):
        message = f"`{map.name}` takes {counted(len(map.parameters), 'argument')}, not {len(arguments)}"
        fix = f"write `{map.name}({', '.join(map.parameters)})`, or `_` for one that is left open"
        raise refuse(WRONG_ARGUMENTS, message, span, fix=fix)

    def meaning(formula: syntax.Node, known: Mapping[str, Any], context: Context) -> Any:
        names = map.names.inner(known)
        for name, local in map.where:  # in any order, as in an iteration
            names.known[name] = pending(name, local, names, context)
        context.iterate(map, names, context)
        return context.evaluate(formula, names, context)

    if map.parameters:  # what is made while it is applied belongs to no definition
        context = replace(context, naming="")
    deep = context.scope.deep
    if deep[0] >= _DEEPEST:
        message = f"maps are applied inside one another more than {_DEEPEST:,} deep"
        raise refuse(TOO_MANY_MAPS, message, span, fix="use a `scan` for layers that are alike")
    deep[0] += 1
    try:
        if map.rule is not None:
            return rule.apply(map, arguments, meaning, context, span)
        return meaning(map.body, dict(zip(map.parameters, arguments)), context)
    finally:
        deep[0] -= 1


def _apply_partial(map: Partial, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    holes = map.arguments.count(None)
    if len(arguments) != holes:
        message = f"this map has {counted(holes, 'hole')}, and is given {counted(len(arguments), 'argument')}"
        raise refuse(WRONG_ARGUMENTS, message, span, fix="give one argument for each hole `_`")
    flow = iter(arguments)
    return context.apply(map.map, [next(flow) if a is None else a for a in map.arguments], context, span)


def _in_its_space(result: Any, x: Any, context: Context, span: Span | None) -> Any:
    """The result of a gradient or a proximal map, which has the shape of x: no argument stretches it."""
    if not arithmetic.is_tensor(result):
        return result
    found, wanted = arithmetic.type_of(result, context.scope), arithmetic.type_of(x, context.scope)
    if found.shape == wanted.shape:
        return result
    message = f"a gradient or proximal map keeps the shape of its argument: {wanted} became {found}"
    fix = "give the function arguments that are no larger than what it is applied to"
    raise refuse(WRONG_SHAPE, message, span, fix=fix)


def _from_page(
    map: Operator | Function, formula: str, arguments: Sequence[Any], context: Context, span: Span | None
) -> Any:
    """One of the formulas of a page, with the page's own arguments and `where` in view."""
    page = map.page
    for thing in arguments:
        complexes.admit(page, thing, span)
    if formula not in page.formulas:
        raise refuse(
            WRONG_KIND,
            f"the {page.kind} {page.name} has no {formula}",
            span,
            fix="see `banach explain` for what it has",
        )
    if formula in ("gradient", "prox", "adjoint"):  # the page says that they are those of the value
        context.assumed.trust(page.trusted)
    parameters, body = page.formulas[formula]
    names = map.names.inner(dict(zip(parameters, arguments)))
    return context.evaluate(body, names, context)


def _apply_adjoint(map: Map, y: Any, context: Context, span: Span | None) -> Any:
    if isinstance(map, Matrix):
        turned = transpose(map.matrix, context, span)
        if isinstance(turned, Complex):  # the Hermitian adjoint
            turned = Complex(arithmetic.reals(context.scope, span).conjugate(turned.pairs))
        return times(turned, y, context, span)
    if isinstance(map, Scaled):  # by a complex number, or entry by entry: (D A)* y = A* (conj(D) y)
        factor = map.factor
        if isinstance(factor, Complex):
            factor = Complex(arithmetic.reals(context.scope, span).conjugate(factor.pairs))
        scaled = arithmetic.binary("*", factor, y, context.scope, span)
        return apply(adjoint(map.map, span), [scaled], context, span)
    if isinstance(map, Operator) and "adjoint" in map.page.formulas:
        return _from_page(map, "adjoint", [y], context, span)
    if context.domain is None:
        message = "the adjoint of this map needs the type of its argument, which is not known here"
        raise refuse(
            WRONG_KIND, message, span, fix="use it inside a solve, where the type of the unknown is known"
        )
    return derivation.transposed(map, y, context.domain, context, span)
