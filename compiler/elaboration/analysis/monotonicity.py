"""Monotone maps: ⟨F(x) - F(y), x - y⟩ >= m‖x - y‖², with m = 0 or more."""

from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.analysis.constants import linear, measured
from banach.compiler.elaboration.analysis.forms import is_gram
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.scope import stored
from banach.compiler.elaboration.things import (
    Adjoint,
    Complex,
    Composed,
    Gradient,
    Identity,
    Matrix,
    Operator,
    Prox,
    Scaled,
    Table,
    Total,
)
from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.ir.span import Span


def monotone(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether ⟨F(x) - F(y), x - y⟩ >= 0 for all x and y."""
    map = maps.as_map(thing, span)
    match map:
        case Identity():
            return True
        case Matrix(Complex() as matrix):
            return monotone(arithmetic.real_matrix(matrix, context.scope, span), context, span)
        case Matrix(Table() as table):
            array = stored(table, context.scope.precision)
            if array.shape[0] != array.shape[1]:
                return None
            # The symmetric part has no negative eigenvalue; that of a skew matrix is zero, exactly.
            skew = np.array_equal(array, -array.T)
            return True if skew or norms.logarithmic_norm(-array).hi <= 0 else None
        case Scaled(factor, inner):
            size = measured(factor, context)
            positive = size is not None and q.compare(">=", size, q.number(0)) is True
            return True if positive and monotone(inner, context, span) else None
        case Total(terms):
            return True if all(monotone(term, context, span) for term in terms) else None
        case Composed() if is_gram(map):
            return True if linear(map.inner, context, span) else None
        case Adjoint(inner):
            return monotone(inner, context, span) if linear(inner, context, span) else None
        case Gradient(function) | Prox(function):
            return True if context.fact("convex", function, context, span) is True else None
    return context.fact("monotone", map, context, span)


def monotonicity(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """A number m with ⟨A x, x⟩ >= m‖x‖²: of a known matrix the least eigenvalue of its symmetric part."""
    map = maps.as_map(thing, span)
    if isinstance(map, Operator) and "monotonicity" in map.page.facts:
        return context.fact("monotonicity", map, context, span)
    if isinstance(map, Matrix) and isinstance(map.matrix, Complex):
        map = Matrix(arithmetic.real_matrix(map.matrix, context.scope, span))
    if not isinstance(map, Matrix) or not isinstance(map.matrix, Table):
        return q.unknown("the monotonicity of this map")
    array = stored(map.matrix, context.scope.precision)
    if array.shape[0] != array.shape[1]:
        return q.unknown("the monotonicity of a map between two spaces")
    least = -norms.logarithmic_norm(-array)
    return q.Quantity(least, ["between", str(least.lo), str(least.hi)])
