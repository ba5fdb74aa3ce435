"""Constants of maps, enclosed from their structure: Lipschitz constants, singular values, spectra.

A linear map's Lipschitz constant is its norm. What a page of the library states of what it makes is asked of
`context.fact`; maps that are given by formulas are bounded by their graph.
"""

import math
from collections.abc import Callable, Iterator
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
    Number,
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
from banach.ir.exact import Interval, round_float
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
            both = q.combine("*", _of_outer(outer, inner, context, span), lipschitz(inner, context, span))
            return at_most(both)
        case Total(terms):
            total = lipschitz(terms[0], context, span)
            for term in terms[1:]:
                total = q.combine("+", total, lipschitz(term, context, span))
            return at_most(total)
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


def at_most(quantity: q.Quantity) -> q.Quantity:
    """An upper bound only: what holds of the parts bounds the whole from above."""
    interval = quantity.interval
    return q.Quantity(Interval.between(0, interval.hi), ["at_most", quantity.tree], quantity.unit)


def hull(low: q.Quantity, high: q.Quantity) -> q.Quantity:
    """A number of which is known that it lies between two others."""
    if low.unit != high.unit or high.interval.hi < low.interval.lo:
        return q.unknown("a number between unlike ones")
    interval = Interval.between(low.interval.lo, high.interval.hi)
    return q.Quantity(interval, ["hull", low.tree, high.tree], low.unit)


def _of_outer(outer: Map, inner: Map, context: Context, span: Span | None) -> q.Quantity:
    """The constant of a map on the results of another, whose type need not be that of the unknown.

    The sum of n numbers has the constant √n: what is bounded by its graph is bounded at the type it is given.
    """
    leaves = list(_leaves(outer))
    if context.domain is None or not any(_by_formula(leaf) for leaf in leaves):
        return lipschitz(outer, context, span)
    if any(isinstance(leaf, Adjoint) and _by_formula(leaf.map) for leaf in leaves):
        return ANYTHING  # the adjoint of a formula is about the type of the unknown, and the formula is not
    graph, _ = maps.graph_of(inner, [context.domain], context, span)
    return lipschitz(outer, context.about(graph.output_types[0]), span)


def _leaves(map: Map) -> Iterator[Map]:
    """The maps that sums, multiples and compositions are made of."""
    match map:
        case Scaled(_, inner):
            yield from _leaves(inner)
        case Total(terms):
            for term in terms:
                yield from _leaves(term)
        case Composed(outer, inner):
            yield from _leaves(outer)
            yield from _leaves(inner)
        case _:
            yield map


def _by_formula(map: Map) -> bool:
    """Whether a map's constant is read off its graph."""
    if isinstance(map, Operator):
        return "lipschitz" not in map.page.facts
    return not isinstance(map, Identity | Matrix | Gradient | Prox | Adjoint)


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
            return q.combine("**", hull(least, most), q.number(2))
        case Matrix(Table() as table) if symmetric(map, context, span):
            least, most = norms.spectrum(stored(table, context.scope.precision))
            return analysis.spectrum_fact(stored(table, context.scope.precision), table.label, least, most)
        case Operator() if "spectrum" in map.page.facts:
            return context.fact("spectrum", map, context, span)
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
    return at_most(q.combine("*", distance, q.transform("sqrt", entries(context))))


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
    array = _stored(thing, context)
    return ANYTHING if array is None else q.number(Fraction(float(np.max(np.abs(array), initial=0.0))))


def _entries_of(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """An interval that holds every entry of a tensor, where it is known before the run."""
    array = _stored(thing, context)
    if array is None or not array.size:
        return q.unknown("entries that are known only when the model runs")
    low, high = (q.number(Fraction(float(end))) for end in (array.min(), array.max()))
    return hull(low, high)


def _sum_of_sizes(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """Σ|x_i| over the entries of a tensor, exactly, where it is known before the run."""
    array = _stored(thing, context)
    if array is None:
        return ANYTHING
    return q.number(sum((abs(Fraction(float(x))) for x in array.ravel()), Fraction(0)))


def _dominance(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """max_i Σ_(j≠i) |a_ij| / |a_ii| of a square matrix that is known before the run, exactly.

    Below 1 it is strictly diagonally dominant. A zero on the diagonal, or another shape, has no bound.
    """
    array = _stored(thing, context) if arithmetic.is_matrix(thing) else None
    if array is None or array.shape[0] != array.shape[1] or not np.diag(array).all():
        return ANYTHING
    worst = Fraction(0)
    for i, row in enumerate(array):
        sizes = [abs(Fraction(float(x))) for x in row]
        worst = max(worst, (sum(sizes, Fraction(0)) - sizes[i]) / sizes[i])
    return q.number(worst)


def _row_sums(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The largest Σ|x_i| along the last axis of a tensor that is known before the run, exactly."""
    array = _stored(thing, context)
    if array is None or not array.ndim:
        return ANYTHING
    rows = array.reshape(-1, array.shape[-1])
    sums = [sum((abs(Fraction(float(x))) for x in row), Fraction(0)) for row in rows]
    return q.number(max(sums, default=Fraction(0)))


def monotone(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether ⟨F(x) - F(y), x - y⟩ >= 0 for all x and y."""
    map = maps.as_map(thing, span)
    match map:
        case Identity():
            return True
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
        case Composed() if _is_gram(map):
            return True if linear(map.inner, context, span) else None
        case Adjoint(inner):
            return monotone(inner, context, span) if linear(inner, context, span) else None
        case Gradient(function) | Prox(function):
            return True if context.fact("convex", function, context, span) is True else None
    return context.fact("monotone", map, context, span)


def _stored(thing: Any, context: Context) -> np.ndarray | None:
    """The entries of a tensor as the model holds them; None where they are known only when it runs."""
    if not arithmetic.is_known(thing):
        return None
    if isinstance(thing, Table):
        return stored(thing, context.scope.precision)
    return (
        np.asarray(round_float(thing.value, context.scope.precision)) if isinstance(thing, Number) else None
    )


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
    "entries_of": _entries_of,
    "sum_of_sizes": _sum_of_sizes,
    "dominance": _dominance,
    "row_sums": _row_sums,
    "monotone": monotone,
}
