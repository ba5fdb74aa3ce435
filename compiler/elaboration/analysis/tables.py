"""Facts of tensors that are known before the run, in exact arithmetic."""

import math
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.complexes import carried
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.scope import stored
from banach.compiler.elaboration.things import (
    Number,
    Table,
    Tensor,
)
from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.compiler.facts.lipschitz import lipschitz
from banach.ir.exact import Interval, round_float
from banach.ir.graph import prune
from banach.ir.span import Span

ANYTHING = q.Quantity(Interval.between(0, math.inf), ["unknown", "no bound"])
_MOST_EXACT = 1 << 14  # entries of a matrix whose products are worked out in fractions


def hull(low: q.Quantity, high: q.Quantity) -> q.Quantity:
    """A number of which is known that it lies between two others."""
    if low.unit != high.unit or high.interval.hi < low.interval.lo:
        return q.unknown("a number between unlike ones")
    interval = Interval.between(low.interval.lo, high.interval.hi)
    return q.Quantity(interval, ["hull", low.tree, high.tree], low.unit)


def is_zero(thing: Any, context: Context, span: Span | None) -> bool | None:
    held = carried(thing)
    return bool(not np.any(arithmetic.as_array(held))) if arithmetic.is_known(held) else None


def largest_entry(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The largest absolute value of the entries of a tensor, where it is known before the run."""
    array = entries_stored(thing, context)
    return ANYTHING if array is None else q.number(Fraction(float(np.max(np.abs(array), initial=0.0))))


def entries_of(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """An interval that holds every entry of a tensor: of a known one, or of one whose graph tells it, as that
    of `ones(n)` for an n that only the run knows.
    """
    array = entries_stored(thing, context)
    if array is None and isinstance(thing, Tensor):
        graph = prune(context.scope.build.finish({"value": thing.value}))
        found = lipschitz(graph, -1).range
        if found.is_finite:
            return q.Quantity(found, ["between", str(found.lo), str(found.hi)])
    if array is None or not array.size:
        return q.unknown("entries that are known only when the model runs")
    low, high = (q.number(Fraction(float(end))) for end in (array.min(), array.max()))
    return hull(low, high)


def sum_of_sizes(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """Σ|x_i| over the entries of a tensor, exactly, where it is known before the run."""
    array = entries_stored(thing, context)
    if array is None:
        return ANYTHING
    return q.number(sum((abs(Fraction(float(x))) for x in array.ravel()), Fraction(0)))


def dominance(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """max_i Σ_(j≠i) |a_ij| / |a_ii| of a square matrix that is known before the run, exactly.

    Below 1 it is strictly diagonally dominant. A zero on the diagonal, or another shape, has no bound.
    """
    array = entries_stored(thing, context) if arithmetic.is_matrix(thing) else None
    if array is None or array.shape[0] != array.shape[1] or not np.diag(array).all():
        return ANYTHING
    worst = Fraction(0)
    for i, row in enumerate(array):
        sizes = [abs(Fraction(float(x))) for x in row]
        worst = max(worst, (sum(sizes, Fraction(0)) - sizes[i]) / sizes[i])
    return q.number(worst)


def tight(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The number c with A Aᵀ = c I, exactly, of a known matrix; no bound if there is none."""
    array = entries_stored(thing, context) if arithmetic.is_matrix(thing) else None
    if array is None or array.size > _MOST_EXACT:
        return ANYTHING
    rows = [[Fraction(float(x)) for x in row] for row in array]
    gram = [[sum(map(mul, a, b), Fraction(0)) for b in rows] for a in rows]
    squares = {gram[i][i] for i in range(len(rows))}
    apart = any(gram[i][j] for i in range(len(rows)) for j in range(i))
    return ANYTHING if apart or len(squares) != 1 else q.number(squares.pop())


def strongly_connected(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether a square matrix has no negative entry, and a way from each of its indices to each other along
    positive ones, for a matrix that is known before the run, or by assumption. One index alone has no way.
    """
    array, found = entries_stored(thing, context) if arithmetic.is_matrix(thing) else None, None
    if array is not None:
        square = array.shape[0] == array.shape[1] > 1 and bool((array >= 0).all())
        found = square and _reaches_all(array > 0) and _reaches_all(array.T > 0)
    return context.assumed.holds("strongly_connected", thing, found)


def _reaches_all(links: np.ndarray) -> bool:
    """Whether a way leads from the first index to each other."""
    seen = np.arange(len(links)) == 0
    while True:
        wider = seen | links[seen].any(axis=0)
        if wider.sum() == seen.sum():
            return bool(seen.all())
        seen = wider


def row_sums(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The largest Σ|x_i| along the last axis of a tensor that is known before the run, exactly."""
    array = entries_stored(thing, context)
    if array is None or not array.ndim:
        return ANYTHING
    rows = array.reshape(-1, array.shape[-1])
    sums = [sum((abs(Fraction(float(x))) for x in row), Fraction(0)) for row in rows]
    return q.number(max(sums, default=Fraction(0)))


def largest_norm(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The largest norm of the matrices on the last two axes of a tensor that is known before the run."""
    array = entries_stored(thing, context)
    if array is None or array.ndim < 2:
        return ANYTHING
    found = [norms.spectral_norm(matrix) for matrix in array.reshape(-1, *array.shape[-2:])]
    low, high = (max((getattr(norm, end) for norm in found), default=Fraction(0)) for end in ("lo", "hi"))
    return q.Quantity(Interval.between(low, high), ["between", str(low), str(high)])


def entries_stored(thing: Any, context: Context) -> np.ndarray | None:
    """The entries of a tensor as the model holds them; None where they are known only when it runs."""
    if not arithmetic.is_known(thing):
        return None
    if isinstance(thing, Table):
        return stored(thing, context.scope.precision)
    return (
        np.asarray(round_float(thing.value, context.scope.precision)) if isinstance(thing, Number) else None
    )
