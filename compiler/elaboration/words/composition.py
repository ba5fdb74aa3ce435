"""The words that put maps together: `compose`, `chain`, `repeat`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from banach.compiler.elaboration import maps
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.derivation import arguments_of
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, refuse
from banach.compiler.elaboration.things import (
    Composed,
    Formula,
    Map,
    Number,
    Partial,
    Scaled,
    Total,
    describe,
)
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.span import Span

_MOST = 1 << 10  # copies of a map, each written out


@word("compose(f, g, ...)", 1, 16)
def _compose(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """x ↦ f(g(x))."""
    composed = maps.as_map(arguments[0], span)
    for inner in arguments[1:]:
        composed = Composed(composed, maps.as_map(inner, span))
    return composed


@word("chain(f, g, ...)", 1, 16)
def _chain(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """First f, then g: x ↦ g(f(x))."""
    return _compose(arguments[::-1], keywords, context, span)


@word("repeat(F, n)", 2, 2)
def _repeat(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """F after itself, n times; where its block has parameters, each copy has some of its own."""
    map, count = maps.as_map(arguments[0], span), arguments[1]
    if len(arguments_of(map)) != 1:
        fix = "leave one argument open: `repeat(F(_, u), 4)`"
        raise refuse(WRONG_ARGUMENTS, "what is repeated has one argument", span, fix=fix)
    if not isinstance(count, Number) or count.value.denominator != 1 or not 1 <= count.value <= _MOST:
        message = f"the number of copies is a whole number from 1 to {_MOST}, not {describe(count)}"
        raise refuse(NOT_KNOWN_YET, message, span, fix="write `repeat(F, 4)`, say")
    furnished = list(_furnished(map))
    if furnished and not context.naming:
        fix = f"define it under `operators:`, `net: repeat({furnished[0].name}, {count.value})`"
        raise refuse(WRONG_ARGUMENTS, "copies with parameters of their own need a name", span, fix=fix)
    made: Map | None = None
    for number in range(int(count.value)):
        copy = _copied(map, f"{context.naming}.{number}", number, len(furnished) > 1)
        made = copy if made is None else Composed(copy, made)
    return made


def _furnished(map: Map) -> Iterator[Formula]:
    """The maps in a map whose blocks have parameters."""
    if isinstance(map, Formula) and map.fresh is not None:
        yield map
    for part in _parts(map):
        yield from _furnished(part)


def _parts(map: Map) -> tuple[Map, ...]:
    match map:
        case Composed(outer, inner):
            return outer, inner
        case Total(terms):
            return terms
        case Partial(inner) | Scaled(_, inner):
            return (inner,)
        case _:
            return ()


def _copied(map: Map, prefix: str, number: int, several: bool) -> Map:
    """A copy of the map; parameters are named by the prefix, and by their own map where there are several."""
    copied: Callable[[Map], Map] = lambda part: _copied(part, prefix, number, several)  # noqa: E731
    match map:
        case Formula(name) if map.fresh is not None:
            return map.fresh(f"{prefix}.{name}" if several else prefix, number)
        case Composed(outer, inner):
            return Composed(copied(outer), copied(inner))
        case Total(terms):
            return Total(tuple(copied(term) for term in terms))
        case Partial(inner) | Scaled(_, inner):
            return replace(map, map=copied(inner))
        case _:
            return map
