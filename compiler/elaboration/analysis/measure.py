"""The formulas of theorems and facts, in exact arithmetic.

The formulas of theorems and of facts are read here, by the same syntax as everywhere; but a name or a word
stands for what is *known* of it, a `Quantity`, and a condition is true, false, or open (None).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from banach.compiler.elaboration.analysis import constants, tables, words
from banach.compiler.elaboration.analysis.assumption import PREDICATES
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import UNKNOWN_NAME, WRONG_KIND, refuse
from banach.compiler.elaboration.things import (
    Environment,
    Function,
    Number,
    Operator,
    Scaled,
    Total,
)
from banach.compiler.facts import quantity as q
from banach.compiler.text import syntax
from banach.compiler.text.expression import to_text
from banach.ir.exact import Interval
from banach.ir.span import Span

_BEYOND = Interval.between(Fraction(2) ** 4096, math.inf)  # stands for ∞: what has a bound lies below


@dataclass(frozen=True, slots=True)
class Judgement:
    """A condition that holds for sure (True), fails for sure (False) or is open (None), and its sides."""

    text: str
    holds: bool | None
    op: str = ""
    left: q.Quantity | None = None
    right: q.Quantity | None = None
    subject: str = ""  # the option that stands alone on the left
    origin: str = "derived"


Meaning = Any  # a quantity, a truth value (True, False, None), or a thing


def judge(node: syntax.Node, names: Environment, context: Context) -> Judgement:
    """A condition. SpecError: it speaks of something that has no such fact."""
    text = to_text(node)
    if isinstance(node, syntax.Compare):
        left, right = (quantity(side, names, context) for side in (node.left, node.right))
        subject = node.left.id if isinstance(node.left, syntax.Name) else ""
        return Judgement(text, q.compare(node.op, left, right), node.op, left, right, subject)
    holds = _meaning(node, names, context)
    if holds not in (True, False, None):
        raise refuse(WRONG_KIND, f"`{text}` is no condition", node.span, fix="write a comparison")
    return Judgement(text, holds, origin="library")


def quantity(node: syntax.Node, names: Environment, context: Context) -> q.Quantity:
    """The enclosure of a formula's value."""
    found = _meaning(node, names, context)
    measured = constants.measured(found, context)
    if measured is None:
        raise refuse(
            WRONG_KIND, f"`{to_text(node)}` is no number", node.span, fix="write a number, or a fact"
        )
    return measured


def settled(
    node: syntax.Node, free: str, names: Environment, context: Context
) -> tuple[syntax.Node, Environment]:
    """The formula with every part measured that does not read `free`, for who asks for its value often."""
    known: dict[str, q.Quantity] = {}

    def settle(part: syntax.Node) -> syntax.Node:
        if isinstance(part, syntax.Number):
            return part
        if free not in syntax.names(part):
            name = f"part.{len(known)}"
            known[name] = quantity(part, names, context)
            return syntax.Name(name, part.span)
        match part:
            case syntax.Unary(op, operand, span):
                return syntax.Unary(op, settle(operand), span)
            case syntax.Binary(op, left, right, span) if op not in ("and", "or"):
                return syntax.Binary(op, settle(left), settle(right), span)
            case syntax.Call(syntax.Name("sqrt" | "abs" | "max" | "min"), arguments, keywords, span):
                return syntax.Call(part.function, tuple(map(settle, arguments)), keywords, span)
        return part

    return settle(node), names.inner(known)


def _meaning(node: syntax.Node, names: Environment, context: Context) -> Meaning:
    match node:
        case syntax.Number(value):
            return q.number(Fraction(value))
        case syntax.Name(id, span):
            if id in ("inf", "∞"):
                return q.Quantity(_BEYOND, ["inf"])
            if id in ("true", "false", "unknown"):
                return None if id == "unknown" else id == "true"
            if id == "entries":
                return constants.entries(context)
            found = names.find(id)
            if found is None:
                raise refuse(UNKNOWN_NAME, f"there is nothing called `{id}`", span)
            return found
        case syntax.Unary("-", operand):
            return q.transform("-", quantity(operand, names, context))
        case syntax.Binary("and" | "or" as op, left, right):
            return _both(op, judge(left, names, context).holds, judge(right, names, context).holds)
        case syntax.Binary(op, left, right) if op in ("+", "-", "*", "/", "**"):
            return q.combine(op, quantity(left, names, context), quantity(right, names, context))
        case syntax.Compare():
            return judge(node, names, context).holds
        case syntax.Conditional(condition, then, otherwise):
            holds = judge(condition, names, context).holds
            if holds is None:
                number = isinstance(_meaning(then, names, context), q.Quantity)
                return constants.ANYTHING if number else None
            return _meaning(then if holds else otherwise, names, context)
        case syntax.Call(syntax.Name(word), arguments):
            return _word(word, arguments, names, context, node.span)
    raise refuse(
        WRONG_KIND,
        f"`{to_text(node)}` has no meaning in a theorem",
        node.span,
        fix="write numbers, facts and comparisons",
    )


def _both(op: str, a: bool | None, b: bool | None) -> bool | None:
    decisive = op == "or"
    if a is decisive or b is decisive:
        return decisive
    return None if a is None or b is None else not decisive


# --- words ------------------------------------------------------------------------------------------------


def _word(
    word: str, arguments: Sequence[syntax.Node], names: Environment, context: Context, span: Span
) -> Meaning:
    if word in ("sqrt", "abs"):
        return q.transform(word, quantity(arguments[0], names, context))
    if word in ("max", "min"):
        result = quantity(arguments[0], names, context)
        for argument in arguments[1:]:
            result = q.combine(word, result, quantity(argument, names, context))
        return result
    if word in ("upper", "lower"):
        inner = quantity(arguments[0], names, context)
        end = inner.interval.hi if word == "upper" else inner.interval.lo
        return q.Quantity(
            Interval.between(end, end) if not isinstance(end, float) else inner.interval,
            [word, inner.tree],
            inner.unit,
        )
    if word == "at_most":
        return constants.at_most(quantity(arguments[0], names, context))
    if word == "between":
        return tables.hull(*(quantity(argument, names, context) for argument in arguments))
    if word in words.WORDS:
        things = [context.evaluate(argument, names, context) for argument in arguments]
        return words.WORDS[word](*things, context, span)
    things = [
        names.find(a.id) if isinstance(a, syntax.Name) else quantity(a, names, context) for a in arguments
    ]
    if things and things[0] is not None and not isinstance(things[0], q.Quantity):
        return fact(word, things[0], context, span, things[1:])
    raise refuse(UNKNOWN_NAME, f"theorems know no `{word}`", span)


def fact(
    name: str, thing: Any, context: Context, span: Span | None, arguments: Sequence[Any] = ()
) -> Meaning:
    """A fact that a page states of what it makes, or the spec assumes. Unknown otherwise, and never false."""
    found = _stated(name, thing, context, span, arguments)
    if isinstance(found, q.Quantity):
        return context.assumed.narrow(name, thing, found)
    if name in PREDICATES:  # a page states what suffices: where that fails, nothing is known
        return context.assumed.holds(name, thing, True if found is True else None)
    return found


def _stated(name: str, thing: Any, context: Context, span: Span | None, arguments: Sequence[Any]) -> Meaning:
    if isinstance(thing, Total):
        return _of_sum(name, [fact(name, term, context, span, arguments) for term in thing.maps])
    if isinstance(thing, Scaled):
        return _of_multiple(name, thing, context, span)
    if not isinstance(thing, Operator | Function) or name not in thing.page.facts:
        return constants.ANYTHING if name in _NUMBERS else None
    context.assumed.trust(thing.page.trusted)
    parameters, formula = thing.page.facts[name]
    numbers = {
        name: own for name in thing.names.visible() if isinstance(own := thing.names.find(name), Number)
    }
    held = {name: constants.as_stored(own, context) for name, own in numbers.items()}
    rounded = {name: own for name, own in held.items() if own is not None and not own.interval.is_point}
    names = thing.names.inner(rounded).inner(dict(zip(parameters, arguments)))
    return _meaning(formula, names, context)


def _of_sum(name: str, parts: Sequence[Meaning]) -> Meaning:
    """A fact of f + g: constants of smoothness and convexity add, and what holds of both holds of the sum."""
    if name in ("smoothness", "strong_convexity"):
        total = parts[0]
        for part in parts[1:]:
            total = q.combine("+", total, part)
        return total
    if name in _NUMBERS:
        return constants.ANYTHING
    return True if all(part is True for part in parts) else None


def _of_multiple(name: str, thing: Scaled, context: Context, span: Span | None) -> Meaning:
    """A fact of c·f, which is that of f where c is not negative."""
    factor = constants.as_stored(thing.factor, context)
    inner = fact(name, thing.map, context, span)
    if factor is None or q.compare(">=", factor, q.number(0)) is not True:
        return constants.ANYTHING if name in _NUMBERS else None
    return q.combine("*", factor, inner) if name in ("smoothness", "strong_convexity") else inner


_NUMBERS = (
    "strong_convexity", "smoothness", "displacement", "lipschitz", "smallest_singular", "monotonicity"
)  # fmt: skip


def thing(node: syntax.Node, names: Environment, context: Context) -> Any | None:
    """What a formula of a page names, where it is no number: a map, say."""
    found = _meaning(node, names, context)
    return None if isinstance(found, q.Quantity | bool) else found
