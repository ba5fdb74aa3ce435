"""Constants of maps, enclosed from their structure: Lipschitz constants, singular values, spectra.

A linear map's Lipschitz constant is its norm. What a page of the library states of what it makes is asked of
`context.fact`; maps that are given by formulas are bounded by their graph.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, refuse
from banach.compiler.elaboration.scope import stored
from banach.compiler.elaboration.things import (
    Adjoint,
    Composed,
    Extent,
    Gradient,
    Identity,
    Map,
    Matrix,
    Operator,
    Prox,
    Scaled,
    Table,
    Tensor,
    Total,
)
from banach.compiler.facts import lipschitz as analysis
from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.ir.exact import Interval
from banach.ir.span import Span

NONNEGATIVE = Interval.between(0, math.inf)
ANYTHING = q.Quantity(NONNEGATIVE, ["unknown", "no bound"])


def measured(thing: Any, context: Context) -> q.Quantity | None:
    """What is known of a number."""
    if isinstance(thing, q.Quantity):
        return thing
    if isinstance(thing, Extent):
        return q.atom(str(thing.size))
    if isinstance(thing, Tensor) and thing.quantity is None and not thing.value.type.shape:
        return q.unknown("a number that is known only when the model runs")
    return arithmetic.quantity_of(thing)


def entries(context: Context) -> q.Quantity:
    """The number of entries of the unknown."""
    if context.domain is None:
        return ANYTHING
    total = q.number(1)
    for size in context.domain.shape:
        total = q.combine("*", total, q.number(size) if isinstance(size, int) else q.atom(str(size)))
    return total


def lipschitz(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The Lipschitz constant of a map in the Euclidean norm; of a linear map, its norm."""
    map = maps.as_map(thing, span)
    return context.assumed.narrow("lipschitz", map, _by_structure(map, context, span))


def _by_structure(map: Map, context: Context, span: Span | None) -> q.Quantity:
    match map:
        case Identity():
            return q.number(1)
        case Matrix(Table() as table):
            return analysis.norm_fact(stored(table, context.scope.precision), table.label)
        case Matrix(Tensor(_, label)):
            return q.atom(f"‖{label or 'A'}‖")
        case Scaled(factor, inner):
            size = measured(factor, context) or ANYTHING
            return q.combine("*", q.transform("abs", size), lipschitz(inner, context, span))
        case Composed(outer, inner):
            if _is_gram(map):
                return q.combine("**", lipschitz(inner, context, span), q.number(2))
            both = q.combine("*", lipschitz(outer, context, span), lipschitz(inner, context, span))
            return _at_most(both)
        case Total(terms):
            total = lipschitz(terms[0], context, span)
            for term in terms[1:]:
                total = q.combine("+", total, lipschitz(term, context, span))
            return _at_most(total)
        case Adjoint(inner):
            return lipschitz(inner, context, span)
        case Gradient(function):
            smoothness = context.fact("smoothness", function, context, span)
            return smoothness if isinstance(smoothness, q.Quantity) else ANYTHING
        case Prox(function):
            return q.number(1) if context.fact("convex", function, context, span) is True else ANYTHING
        case Operator() if "lipschitz" in map.page.facts:
            return context.fact("lipschitz", map, context, span)
    return _by_graph(map, context, span).lipschitz


def _at_most(quantity: q.Quantity) -> q.Quantity:
    """An upper bound only: what holds of the parts bounds the whole from above."""
    interval = quantity.interval
    return q.Quantity(Interval.between(0, interval.hi), ["at_most", quantity.tree], quantity.unit)


def _by_graph(map: Map, context: Context, span: Span | None) -> analysis.Bounds:
    """The bounds of a map that is given by formulas, from its graph."""
    if context.domain is None:
        fix = "use it inside a solve, where the type of the unknown is known"
        raise refuse(NOT_KNOWN_YET, "the type of this map's argument is not known here", span, fix=fix)
    graph, _ = maps.graph_of(map, [context.domain], context, span)
    return analysis.lipschitz(graph, 0, labels=context.scope.labels)


def smallest_singular(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The smallest singular value of a linear map: ‖A x‖ >= s‖x‖."""
    map = maps.as_map(thing, span)
    return context.assumed.narrow("smallest_singular", map, _least_by_structure(map, context, span))


def _least_by_structure(map: Map, context: Context, span: Span | None) -> q.Quantity:
    match map:
        case Identity():
            return q.number(1)
        case Matrix(Table() as table):
            return analysis.least_fact(stored(table, context.scope.precision), table.label)
        case Scaled(factor, inner):
            size = measured(factor, context) or ANYTHING
            return q.combine("*", q.transform("abs", size), smallest_singular(inner, context, span))
        case Operator() if "smallest_singular" in map.page.facts:
            return context.fact("smallest_singular", map, context, span)
    return ANYTHING


def symmetric(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether a linear map is its own adjoint."""
    map = maps.as_map(thing, span)
    return context.assumed.holds("symmetric", map, _symmetric_by_structure(map, context, span))


def _symmetric_by_structure(map: Map, context: Context, span: Span | None) -> bool | None:
    match map:
        case Identity():
            return True
        case Matrix(Table(array)):
            return bool(array.shape[0] == array.shape[1] and np.array_equal(array, array.T))
        case Scaled(_, inner) | Adjoint(inner):
            return symmetric(inner, context, span)
        case Total(terms):
            parts = [symmetric(term, context, span) for term in terms]
            return True if all(part is True for part in parts) else None
        case Composed() if _is_gram(map):
            return True
    return context.fact("symmetric", map, context, span)


def spectrum(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """An interval that holds every eigenvalue of a symmetric linear map."""
    map = maps.as_map(thing, span)
    return context.assumed.narrow("spectrum", map, _spectrum_by_structure(map, context, span))


def _spectrum_by_structure(map: Map, context: Context, span: Span | None) -> q.Quantity:
    match map:
        case Identity():
            return q.number(1)
        case Scaled(factor, inner):
            size = measured(factor, context) or q.unknown("the factor")
            return q.combine("*", size, spectrum(inner, context, span))
        case Total(terms):
            total = spectrum(terms[0], context, span)
            for term in terms[1:]:
                total = q.combine("+", total, spectrum(term, context, span))
            return total
        case Composed(_, inner) if _is_gram(map):
            least, most = smallest_singular(inner, context, span), lipschitz(inner, context, span)
            if least.unit != most.unit:
                least = q.number(0)
            hull = Interval.between(least.interval.lo, most.interval.hi)
            return q.combine("**", q.Quantity(hull, ["hull", least.tree, most.tree], most.unit), q.number(2))
        case Matrix(Table() as table) if symmetric(map, context, span):
            least, most = norms.spectrum(stored(table, context.scope.precision))
            return analysis.spectrum_fact(stored(table, context.scope.precision), table.label, least, most)
    size = lipschitz(map, context, span)
    return q.Quantity(Interval.between(-size.interval.hi, size.interval.hi), ["around", size.tree], size.unit)


def _is_gram(map: Composed) -> bool:
    """Whether a composition is Kᵀ K."""
    outer, inner = map.outer, map.inner
    return isinstance(outer, Adjoint) and _same(outer.map, inner)


def _same(a: Map, b: Map) -> bool:
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return a.matrix is b.matrix
    return a is b


def reach(thing: Any, start: Any, context: Context, span: Span | None) -> q.Quantity:
    """An upper bound of ‖T(start) - start‖, from the interval that holds the entries of T."""
    map = maps.as_map(thing, span)
    if context.domain is None or not arithmetic.is_known(start):
        return ANYTHING
    interval = _by_graph(map, context, span).range
    array = stored(start, context.scope.precision) if isinstance(start, Table) else arithmetic.as_array(start)
    own = Interval.between(float(array.min()), float(array.max()))
    farthest = abs(interval - own).hi
    if isinstance(farthest, float):
        return ANYTHING
    distance = q.Quantity(Interval.of(farthest), ["number", str(farthest)])
    return _at_most(q.combine("*", distance, q.transform("sqrt", entries(context))))


def linear(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether a map is linear."""
    map = maps.as_map(thing, span)
    return context.assumed.holds("linear", map, _linear_by_structure(map, context, span))


def _linear_by_structure(map: Map, context: Context, span: Span | None) -> bool | None:
    match map:
        case Identity() | Matrix() | Adjoint():
            return True
        case Scaled(_, inner):
            return linear(inner, context, span)
        case Total(terms):
            return True if all(linear(term, context, span) for term in terms) else None
        case Composed(outer, inner):
            return True if linear(outer, context, span) and linear(inner, context, span) else None
    return context.fact("linear", map, context, span)


def _is_zero(thing: Any, context: Context, span: Span | None) -> bool | None:
    return bool(not np.any(arithmetic.as_array(thing))) if arithmetic.is_known(thing) else None


def _largest_entry(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The largest absolute value of the entries of a tensor, where it is known before the run."""
    if not arithmetic.is_known(thing):
        return ANYTHING
    size = Fraction(float(np.max(np.abs(arithmetic.as_array(thing)), initial=0.0)))
    return q.number(size)


WORDS: dict[str, Callable[..., Any]] = {
    "lipschitz": lipschitz,
    "norm": lipschitz,
    "smallest_singular": smallest_singular,
    "symmetric": symmetric,
    "spectrum": spectrum,
    "reach": reach,
    "linear": linear,
    "is_zero": _is_zero,
    "largest_entry": _largest_entry,
}
