"""Subscripts: entries and slices of a tensor, and the types real[m, n]."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_KIND, refuse
from banach.compiler.elaboration.things import Environment, Extent, Number, Several, Tensor, describe
from banach.compiler.text import syntax
from banach.ir.dims import Size
from banach.ir.span import Span


def index(base: Any, items: Sequence[Any], names: Environment, context: Context, span: Span) -> Any:
    """base[items]: whole axes (`:`), slices and single entries with bounds that are known sizes."""
    if isinstance(base, Several) and len(items) == 1:
        return _part(base, context.evaluate(items[0], names, context), span)
    if not arithmetic.is_tensor(base):
        raise refuse(
            WRONG_KIND, f"{describe(base)} has no entries to choose from", span, fix="choose from a tensor"
        )
    type = arithmetic.type_of(base, context.scope)
    if len(items) > type.rank:
        raise refuse(
            WRONG_KIND,
            f"{type} has {'1 axis' if type.rank == 1 else f'{type.rank} axes'}, not {len(items)}",
            span,
            fix="write at most one place for every axis",
        )
    result, dropped = base, []
    for position, item in enumerate(items):
        axis, size = position - type.rank, type.shape[position]
        if isinstance(item, syntax.Slice):
            start, stop = _bounds(item, size, names, context)
        else:
            start = _wrapped(_size(context.evaluate(item, names, context), item.span), size)
            stop = start + 1
            dropped.append(position)
        if (start, stop) != (0, size):
            result = arithmetic.apply(
                "slice", [result], context.scope, span, axis=axis, start=start, stop=stop
            )
    if dropped:
        shape = arithmetic.type_of(result, context.scope).shape
        kept = tuple(size for i, size in enumerate(shape) if i not in dropped)
        result = arithmetic.apply("reshape", [result], context.scope, span, shape=kept)
    return result


def first(pairs: Any, context: Context, span: Span) -> Any:
    """The first of two entries on the last axis."""
    type = arithmetic.type_of(pairs, context.scope)
    cut = arithmetic.apply("slice", [pairs], context.scope, span, axis=-1, start=0, stop=1)
    return arithmetic.apply("reshape", [cut], context.scope, span, shape=type.shape[:-1])


def stacked(parts: Sequence[Any], context: Context, span: Span) -> Any:
    """Tensors beside each other, along a new last axis."""
    columns = []
    for part in parts:
        shape = (*arithmetic.type_of(part, context.scope).shape, 1)
        columns.append(arithmetic.apply("reshape", [part], context.scope, span, shape=shape))
    return arithmetic.apply("concatenate", columns, context.scope, span, axis=-1)


def behind(x: Any, before: Any, count: int, context: Context, span: Span) -> Any:
    """x and count - 1 rows that stand behind it, along a new first axis; a `before` of x's shape is each."""
    scope, shape = context.scope, arithmetic.type_of(x, context.scope).shape
    rows = arithmetic.apply("reshape", [x], scope, span, shape=(1, *shape))
    if count == 1:
        return rows
    rank = len(shape) + 1
    if arithmetic.type_of(before, scope).rank < rank:
        rest = arithmetic.apply("broadcast", [before], scope, span, shape=(count - 1, *shape))
    else:
        rest = arithmetic.apply("slice", [before], scope, span, axis=-rank, start=0, stop=count - 1)
    return arithmetic.apply("concatenate", [rows, rest], scope, span, axis=-rank)


def sizes_of(x: Any, context: Context) -> Several:
    """The sizes of a tensor."""
    shape = arithmetic.type_of(x, context.scope).shape
    return Several(tuple(Number(Fraction(s)) if isinstance(s, int) else Extent(s) for s in shape))


def _part(several: Several, place: Any, span: Span) -> Any:
    if isinstance(place, Number) and place.value.denominator == 1 and 0 <= place.value < len(several.items):
        return several.items[int(place.value)]
    raise refuse(
        WRONG_KIND,
        f"there are {len(several.items)} things, counted from 0",
        span,
        fix="write a place among them",
    )


def _bounds(item: syntax.Slice, size: Size, names: Environment, context: Context) -> tuple[Size, Size]:
    if item.step is not None:
        raise refuse(
            WRONG_KIND,
            "a slice with a step is not supported",
            item.span,
            fix="write the slice without a step",
        )
    start = (
        0
        if item.start is None
        else _wrapped(_size(context.evaluate(item.start, names, context), item.span), size)
    )
    stop = (
        size
        if item.stop is None
        else _wrapped(_size(context.evaluate(item.stop, names, context), item.span), size)
    )
    return start, stop


def _size(thing: Any, span: Span) -> Size:
    if isinstance(thing, Extent):
        return thing.size
    if isinstance(thing, Number) and thing.value.denominator == 1:
        return int(Fraction(thing.value))
    told = "one that is known only when the model runs" if isinstance(thing, Tensor) else describe(thing)
    fix = "write a whole number, or a size; `take(x, i)` takes places that the run finds"
    raise refuse(NOT_KNOWN_YET, f"a place is a whole number, not {told}", span, fix=fix)


def _wrapped(place: Size, size: Size) -> Size:
    """Negative places count from the end."""
    return size + place if isinstance(place, int) and place < 0 else place
