"""Constants of maps, enclosed from their structure: Lipschitz constants, singular values, spectra.

A linear map's Lipschitz constant is its norm. What a page of the library states of what it makes is asked of
`context.fact`; maps that are given by formulas are bounded by their graph.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, derivation, maps
from banach.compiler.elaboration.analysis import tables
from banach.compiler.elaboration.analysis.forms import is_gram, reflected
from banach.compiler.elaboration.complexes import carried, carrier
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.opaque import declared
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, refuse
from banach.compiler.elaboration.scope import Scope, stored
from banach.compiler.elaboration.things import (
    Adjoint,
    Complex,
    Composed,
    Extent,
    Gradient,
    Identity,
    Map,
    Matrix,
    Number,
    Opaque,
    Operator,
    Prox,
    Pulled,
    Pushed,
    Scaled,
    Table,
    Tensor,
    Total,
)
from banach.compiler.facts import lipschitz as analysis
from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.ir.exact import Interval, round_float
from banach.ir.graph import Graph
from banach.ir.linearity import NotLinear, prove_linear
from banach.ir.primitives.ruled import unruled
from banach.ir.span import Span
from banach.ir.tensor_type import ROUNDOFF, TensorType, TypeMismatch, broadcast

NONNEGATIVE = Interval.between(0, math.inf)
ANYTHING = tables.ANYTHING


def measured(thing: Any, context: Context) -> q.Quantity | None:
    """What is known of a number."""
    if isinstance(thing, q.Quantity):
        return thing
    if isinstance(thing, Extent):
        return q.atom(str(thing.size))
    if isinstance(thing, Tensor) and thing.quantity is None and not thing.value.type.shape:
        return q.unknown("a number that is known only when the model runs")
    return arithmetic.quantity_of(thing)


def as_stored(thing: Any, context: Context) -> q.Quantity | None:
    """What is known of a number that the model holds: as it is written, and as it is rounded."""
    if not isinstance(thing, Number):
        return measured(thing, context)
    exact = thing.value
    try:
        near = round_float(exact, context.scope.precision)
    except OverflowError:
        return q.unknown("a number too large for the model's precision")
    if near == exact:
        return q.number(exact)
    ends = sorted((exact, near))
    return q.Quantity(Interval.between(*ends), ["between", *map(str, ends)])


def _size(factor: Any, context: Context) -> q.Quantity:
    """What is known of the size of a factor, as it is written and as the model holds it."""
    if isinstance(factor, Complex) and isinstance(factor.pairs, Table) and factor.pairs.array.ndim == 1:
        held = stored(factor.pairs, context.scope.precision)
        squares = [sum(Fraction(float(x)) ** 2 for x in pair) for pair in (factor.pairs.array, held)]
        size = Interval.between(min(squares), max(squares)).sqrt()
        return q.Quantity(size, ["between", str(size.lo), str(size.hi)])
    return q.transform("abs", as_stored(factor, context) or ANYTHING)


def entries(context: Context) -> q.Quantity:
    """The number of entries of what the map is applied to that is asked about: of the unknown, say."""
    type = context.argument or context.domain
    if type is None:
        return ANYTHING
    total = q.number(1)
    for size in carrier(type).shape:
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
        case Matrix(Complex() as matrix):
            return lipschitz(arithmetic.real_matrix(matrix, context.scope, span), context, span)
        case Matrix(Table() as table):
            return analysis.norm_fact(stored(table, context.scope.precision), table.label)
        case Matrix(Tensor() as tensor):
            return norm_atom(tensor, context.scope)
        case Scaled(factor, inner):
            return q.combine("*", _size(factor, context), lipschitz(inner, context, span))
        case Composed(outer, inner):
            if is_gram(map):
                return q.combine("**", lipschitz(inner, context, span), q.number(2))
            after = context.taking(_result_of(inner, context, span))
            both = q.combine("*", lipschitz(outer, after, span), lipschitz(inner, context, span))
            return at_most(both)
        case Total() if (prox := reflected(map)) and _nonexpansive(prox, context, span):
            return q.number(1)  # 2P - I, for a firmly nonexpansive P
        case Total(terms):
            total = lipschitz(terms[0], context, span)
            for term in terms[1:]:
                total = q.combine("+", total, lipschitz(term, context, span))
            alike = len({_result_of(term, context, span) for term in terms}) == 1
            return at_most(total) if alike else ANYTHING  # a term that is stretched counts several times
        case Adjoint(inner):
            return lipschitz(inner, context.taking(None), span)
        case Gradient() if context.argument not in (None, context.domain):
            return ANYTHING  # the facts of functions are about the unknown
        case Gradient(function):
            smoothness = context.fact("smoothness", function, context, span)
            return smoothness if isinstance(smoothness, q.Quantity) else ANYTHING
        case Prox(function, step):
            # Of a negative step it is no proximal map, of a step for each entry one in another norm.
            size = measured(step, context)
            forward = size is not None and q.compare(">=", size, q.number(0)) is True
            convex = context.fact("convex", function, context, span) is True
            return q.number(1) if forward and convex else ANYTHING
        case Operator() if "lipschitz" in map.page.facts:
            return context.fact("lipschitz", map, context, span)
        case Opaque():
            return ANYTHING
    return _by_graph(map, context, span).lipschitz


def _nonexpansive(map: Map, context: Context, span: Span | None) -> bool:
    return q.compare("<=", lipschitz(map, context, span), q.number(1)) is True


def at_most(quantity: q.Quantity) -> q.Quantity:
    """An upper bound only: what holds of the parts bounds the whole from above."""
    interval = quantity.interval
    return q.Quantity(Interval.between(0, interval.hi), ["at_most", quantity.tree], quantity.unit)


def norm_atom(matrix: Tensor, scope: Scope) -> q.Quantity:
    """The norm of a matrix that is known only at run time: one unknown for each matrix, whatever its name.

    Only an input of the model is told by its name: states, entries of sequences and arguments of maps may
    bear the name of one.
    """
    value, name, home = matrix.value, matrix.label or "A", scope.home(matrix.value)
    given = home.outer is None and matrix.label and any(value.id == port.id for port in home.build.inputs)
    return q.atom(f"‖{name}‖" if given else f"‖{name} ({home.build.name}, {home.number}, {value.id})‖")


def _result_of(map: Map, context: Context, span: Span | None) -> TensorType | None:
    """The type of what a map gives, where the type of its argument is known."""
    type = context.argument or context.domain
    if type is None:
        return None
    return derivation.result_of(map, [type], context, span)


def _by_graph(
    map: Map, context: Context, span: Span | None, within: Interval | None = None
) -> analysis.Bounds:
    """The bounds of a map given by formulas, from its graph, for arguments whose entries lie in `within`."""
    type = context.argument or context.domain
    if type is None:
        fix = "use it inside a solve, where the type of the unknown is known"
        raise refuse(NOT_KNOWN_YET, "the type of this map's argument is not known here", span, fix=fix)
    graph, _ = derivation.graph_of(map, [type], context, span)
    return _bounds(graph, context, () if within is None else (within,))


def _bounds(graph: Graph, context: Context, ranges: Sequence[Interval] = ()) -> analysis.Bounds:
    return analysis.lipschitz(unruled(graph), 0, ranges, context.scope.labels, declared(graph, context))


def of_graph(graph: Graph, context: Context) -> q.Quantity:
    """An upper bound of the Lipschitz constant of a graph's first output in its first input."""
    return _bounds(graph, context).lipschitz


def smallest_singular(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The smallest singular value of a linear map: ‖A x‖ >= s‖x‖."""
    map = maps.as_map(thing, span)
    return context.assumed.narrow("smallest_singular", map, _least_by_structure(map, context, span))


def _least_by_structure(map: Map, context: Context, span: Span | None) -> q.Quantity:
    match map:
        case Identity():
            return q.number(1)
        case Matrix(Complex() as matrix):
            return smallest_singular(arithmetic.real_matrix(matrix, context.scope, span), context, span)
        case Matrix(Table() as table):
            return analysis.least_fact(stored(table, context.scope.precision), table.label)
        case Scaled(factor, inner):
            return q.combine("*", _size(factor, context), smallest_singular(inner, context, span))
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
        case Matrix(Complex() as matrix):  # of a Hermitian one it is symmetric
            return symmetric(arithmetic.real_matrix(matrix, context.scope, span), context, span)
        case Matrix(Table(array)):
            return bool(array.shape[0] == array.shape[1] and np.array_equal(array, array.T))
        case Scaled(factor) if not arithmetic.is_real_number(factor):
            return None  # its adjoint has the conjugate factor, and scales first
        case Scaled(_, inner) | Adjoint(inner):
            return symmetric(inner, context, span)
        case Total(terms):
            parts = [symmetric(term, context, span) for term in terms]
            return True if all(part is True for part in parts) else None
        case Composed() if is_gram(map):
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
            size = as_stored(factor, context) or q.unknown("the factor")
            return q.combine("*", size, spectrum(inner, context, span))
        case Total(terms):
            total = spectrum(terms[0], context, span)
            for term in terms[1:]:
                total = q.combine("+", total, spectrum(term, context, span))
            return total
        case Composed(_, inner) if is_gram(map):
            least, most = smallest_singular(inner, context, span), lipschitz(inner, context, span)
            if least.unit != most.unit:
                least = q.number(0)
            return q.combine("**", tables.hull(least, most), q.number(2))
        case Matrix(Complex() as matrix):
            return spectrum(arithmetic.real_matrix(matrix, context.scope, span), context, span)
        case Matrix(Table() as table) if symmetric(map, context, span):
            least, most = norms.spectrum(stored(table, context.scope.precision))
            return analysis.spectrum_fact(stored(table, context.scope.precision), table.label, least, most)
        case Operator() if "spectrum" in map.page.facts:
            return context.fact("spectrum", map, context, span)
    size = lipschitz(map, context, span)
    return q.Quantity(Interval.between(-size.interval.hi, size.interval.hi), ["around", size.tree], size.unit)


def reach(thing: Any, start: Any, context: Context, span: Span | None) -> q.Quantity:
    """An upper bound of ‖T(start) - start‖, from an interval that holds the entries of T(start)."""
    map, own = maps.as_map(thing, span), _start_range(start, context)
    if own is None:
        return ANYTHING
    farthest = abs(_by_graph(map, context, span, own).range - own).hi
    if isinstance(farthest, float):
        return ANYTHING
    distance = q.Quantity(Interval.of(farthest), ["number", str(farthest)])
    return at_most(q.combine("*", distance, q.transform("sqrt", entries(context))))


def _start_range(start: Any, context: Context) -> Interval | None:
    """The interval of a start's entries; None where they are not known before the run."""
    start = carried(start)
    if context.domain is None or not arithmetic.is_known(start) or not arithmetic.as_array(start).size:
        return None
    array = stored(start, context.scope.precision) if isinstance(start, Table) else arithmetic.as_array(start)
    return Interval.between(float(array.min()), float(array.max()))


def rounding(thing: Any, start: Any, context: Context, span: Span | None) -> q.Quantity:
    """How far storing T(x) alone may move it, from the interval that holds the entries of T; where there is
    none, from the ball that a contraction's iterates do not leave.
    """
    map = maps.as_map(thing, span)
    if context.domain is None:
        return ANYTHING
    unit = Fraction(ROUNDOFF[context.scope.precision])
    farthest = abs(_by_graph(map, context, span).range).hi
    if not isinstance(farthest, float):
        return at_most(q.combine("*", q.number(unit * farthest), q.transform("sqrt", entries(context))))
    own, factor = _start_range(start, context), lipschitz(map, context, span)
    shrinks = not factor.unit and not isinstance(factor.interval.hi, float) and factor.interval.hi < 1
    # What rounding adds to a move is below a quarter of what the contraction takes off it.
    if own is None or not shrinks or unit > (1 - Fraction(factor.interval.hi)) / 4:
        return ANYTHING
    farthest = Fraction(abs(own).hi)
    centre = q.combine("*", q.number(farthest), q.transform("sqrt", entries(context)))
    radius = q.combine("/", reach(map, start, context, span), q.combine("-", q.number(1), factor))
    return at_most(q.combine("*", q.number(2 * unit), q.combine("+", centre, radius)))


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
        case Pushed() | Pulled():  # of what ends by its values, as a solve does, it is not exactly linear
            return _proved_linear(map, context, span)
        case Composed(outer, inner):
            return True if linear(outer, context, span) and linear(inner, context, span) else None
    return context.fact("linear", map, context, span)


def _proved_linear(map: Map, context: Context, span: Span | None) -> bool | None:
    """Whether the graph of a map is linear, by its structure."""
    type = context.argument or context.domain
    if type is None:
        return None
    graph, _ = derivation.graph_of(map, [type], context, span)
    try:
        prove_linear(graph, [i == 0 for i in range(len(graph.inputs))])
    except NotLinear:
        return None
    return True


def unstretched(thing: Any, beside: Any, context: Context, span: Span | None) -> bool | None:
    """Whether what a map gives keeps its shape beside a tensor: no entry of it counts several times."""
    result = _result_of(maps.as_map(thing, span), context, span)
    if result is None or not arithmetic.is_tensor(beside):
        return None
    other = arithmetic.type_of(beside, context.scope).shape
    try:
        return True if broadcast(result.shape, other) == result.shape else None
    except TypeMismatch:
        return None


def like_unknown(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether a tensor has the shape of the unknown; a smaller one is stretched, and its norm grows."""
    if context.domain is None or not arithmetic.is_tensor(thing):
        return None
    return True if arithmetic.type_of(thing, context.scope).shape == context.domain.shape else None
