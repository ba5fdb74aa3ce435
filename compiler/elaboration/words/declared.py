"""The word for maps with declared facts: `opaque`."""

from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import maps
from banach.compiler.elaboration.analysis.assumption import Assumption
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.derivation import arguments_of
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.things import (
    Formula,
    Function,
    Map,
    Number,
    Opaque,
    Operator,
    Several,
    Truth,
    describe,
)
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.exact import Interval
from banach.ir.span import Span

_UPPER, _LOWER = ("lipschitz", "smoothness"), ("strong_convexity", "smallest_singular")
_TRUE = ("convex", "linear", "symmetric", "quadratic")


@word("opaque(F, lipschitz=0.9, ...)", 1, 1, *_UPPER, *_LOWER, "spectrum", *_TRUE)
def _opaque(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """F as a map of which only the declared facts are known; the verdict says that it trusts them."""
    inner = maps.as_map(arguments[0], span)
    if len(arguments_of(inner)) != 1:
        fix = "give the others: `opaque(F(_, u), ...)`"
        raise refuse(WRONG_ARGUMENTS, "an opaque map has one argument", span, fix=fix)
    known = context.assumed.known
    label = f"opaque({_name(inner)})"
    made = Opaque(inner, f"opaque.{len(known)}.{_name(inner)}")
    for key, thing in keywords.items():
        interval, text = _declared(key, thing, label, span)
        known.append(Assumption(key, made, interval, text, span))
    context.assumed.opaque[made.name] = made
    return made


def _name(map: Map) -> str:
    match map:
        case Formula(name):
            return name
        case Operator(page) | Function(page):
            return page.name
        case _:
            return "a map"


def _declared(key: str, thing: Any, label: str, span: Span) -> tuple[Interval | None, str]:
    """The interval that a keyword declares, if it is about a number, and how a verdict says it."""
    if key in _TRUE:
        if not (isinstance(thing, Truth) and thing.value):
            message = f"`{key}` is declared as true, not as {describe(thing)}"
            raise refuse(WRONG_KIND, message, span, fix=f"write `{key}=true`, or leave it out")
        return None, f"{key}({label})"
    if key == "spectrum":
        ends = thing.items if isinstance(thing, Several) else ()
        if len(ends) == 2 and all(isinstance(end, Number) for end in ends) and ends[0].value <= ends[1].value:
            low, high = (end.value for end in ends)
            return Interval.between(low, high), f"spectrum({label}) in [{_short(low)}, {_short(high)}]"
        raise refuse(WRONG_KIND, "`spectrum` is declared by two numbers", span, fix="write spectrum=(0.1, 2)")
    if not isinstance(thing, Number) or thing.value < 0:
        message = f"`{key}` is declared by a number from 0 on, not by {describe(thing)}"
        raise refuse(WRONG_KIND, message, span, fix=f"write `{key}=0.9`, say")
    bound = thing.value
    if key in _UPPER:
        return Interval.between(0, bound), f"{key}({label}) <= {_short(bound)}"
    return Interval.between(bound, float("inf")), f"{key}({label}) >= {_short(bound)}"


def _short(number: Fraction) -> str:
    return f"{float(number):.12g}"
