"""The numbers of certificates: Lipschitz constants, spectra, convexity, as exact enclosures.

The formulas of theorems and of facts are read here, by the same syntax as everywhere; but a name or a word
stands for what is *known* of it, a `Quantity`, and a condition is true, false, or open (None).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler import syntax
from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, UNKNOWN_NAME, WRONG_KIND, refuse
from banach.compiler.elaboration.scope import stored
from banach.compiler.elaboration.things import (
    Adjoint,
    Composed,
    Environment,
    Extent,
    Function,
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
from banach.compiler.expression import to_text
from banach.compiler.facts import lipschitz as analysis
from banach.compiler.facts import norms
from banach.compiler.facts import quantity as q
from banach.ir.exact import Interval
from banach.ir.span import Span
from banach.ir.tensor_type import ROUNDOFF

NONNEGATIVE = Interval.between(0, math.inf)
_BEYOND = Interval.between(Fraction(2) ** 4096, math.inf)  # stands for ∞: what has a bound lies below
ANYTHING = q.Quantity(NONNEGATIVE, ["unknown", "no bound"])


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
        raise refuse(WRONG_KIND, f"`{text}` is no condition", node.span)
    return Judgement(text, holds, origin="library")


def quantity(node: syntax.Node, names: Environment, context: Context) -> q.Quantity:
    """The enclosure of a formula's value."""
    found = _meaning(node, names, context)
    measured = _measured(found, context)
    if measured is None:
        raise refuse(WRONG_KIND, f"`{to_text(node)}` is no number", node.span)
    return measured


def _meaning(node: syntax.Node, names: Environment, context: Context) -> Meaning:
    match node:
        case syntax.Number(value):
            return q.number(Fraction(value))
        case syntax.Name(id, span):
            if id in ("inf", "∞"):
                return q.Quantity(_BEYOND, ["inf"])
            if id in ("true", "false"):
                return id == "true"
            if id == "entries":
                return _entries(context)
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
                return ANYTHING
            return _meaning(then if holds else otherwise, names, context)
        case syntax.Call(syntax.Name(word), arguments):
            return _word(word, arguments, names, context, node.span)
    raise refuse(WRONG_KIND, f"`{to_text(node)}` has no meaning in a theorem", node.span)


def _both(op: str, a: bool | None, b: bool | None) -> bool | None:
    decisive = op == "or"
    if a is decisive or b is decisive:
        return decisive
    return None if a is None or b is None else not decisive


def _measured(thing: Meaning, context: Context) -> q.Quantity | None:
    """What is known of a number."""
    if isinstance(thing, q.Quantity):
        return thing
    if isinstance(thing, Extent):
        return q.atom(str(thing.size))
    if isinstance(thing, Tensor) and thing.quantity is None and not thing.value.type.shape:
        return q.unknown("a number that is known only when the model runs")
    return arithmetic.quantity_of(thing)


def _entries(context: Context) -> q.Quantity:
    """The number of entries of the unknown."""
    if context.domain is None:
        return ANYTHING
    total = q.number(1)
    for size in context.domain.shape:
        total = q.combine("*", total, q.number(size) if isinstance(size, int) else q.atom(str(size)))
    return total


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
    if word in _OF_MAPS:
        things = [context.evaluate(argument, names, context) for argument in arguments]
        return _OF_MAPS[word](*things, context, span)
    things = [
        names.find(a.id) if isinstance(a, syntax.Name) else quantity(a, names, context) for a in arguments
    ]
    if things and things[0] is not None and not isinstance(things[0], q.Quantity):
        return fact(word, things[0], context, span, things[1:])
    raise refuse(UNKNOWN_NAME, f"theorems know no `{word}`", span)


def fact(
    name: str, thing: Any, context: Context, span: Span | None, arguments: Sequence[Any] = ()
) -> Meaning:
    """A fact that a page states of what it makes. What no page states is unknown, and never false."""
    if isinstance(thing, Scaled | Total) and name == "convex":
        return None
    if not isinstance(thing, Operator | Function) or name not in thing.page.facts:
        return ANYTHING if name in _NUMBERS else None
    parameters, formula = thing.page.facts[name]
    names = thing.names.inner(dict(zip(parameters, arguments)))
    return _meaning(formula, names, context)


_NUMBERS = ("strong_convexity", "smoothness", "displacement", "lipschitz", "smallest_singular")


def lipschitz(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """The Lipschitz constant of a map in the Euclidean norm; of a linear map, its norm."""
    map = maps.as_map(thing, span)
    match map:
        case Identity():
            return q.number(1)
        case Matrix(Table() as table):
            return analysis.norm_fact(stored(table, context.scope.precision), table.label)
        case Matrix(Tensor(_, label)):
            return q.atom(f"‖{label or 'A'}‖")
        case Scaled(factor, inner):
            size = _measured(factor, context) or ANYTHING
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
            smoothness = fact("smoothness", function, context, span)
            return smoothness if isinstance(smoothness, q.Quantity) else ANYTHING
        case Prox(function):
            return q.number(1) if fact("convex", function, context, span) is True else ANYTHING
        case Operator() if "lipschitz" in map.page.facts:
            return fact("lipschitz", map, context, span)
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
    match map:
        case Identity():
            return q.number(1)
        case Matrix(Table() as table):
            return analysis.least_fact(stored(table, context.scope.precision), table.label)
        case Scaled(factor, inner):
            size = _measured(factor, context) or ANYTHING
            return q.combine("*", q.transform("abs", size), smallest_singular(inner, context, span))
        case Operator() if "smallest_singular" in map.page.facts:
            return fact("smallest_singular", map, context, span)
    return ANYTHING


def symmetric(thing: Any, context: Context, span: Span | None) -> bool | None:
    """Whether a linear map is its own adjoint."""
    map = maps.as_map(thing, span)
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
    return fact("symmetric", map, context, span)


def spectrum(thing: Any, context: Context, span: Span | None) -> q.Quantity:
    """An interval that holds every eigenvalue of a symmetric linear map."""
    map = maps.as_map(thing, span)
    match map:
        case Identity():
            return q.number(1)
        case Scaled(factor, inner):
            size = _measured(factor, context) or q.unknown("the factor")
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
    array = arithmetic.as_array(start)
    own = Interval.between(float(array.min()), float(array.max()))
    farthest = abs(interval - own).hi
    if isinstance(farthest, float):
        return ANYTHING
    distance = q.Quantity(Interval.of(farthest), ["number", str(farthest)])
    return _at_most(q.combine("*", distance, q.transform("sqrt", _entries(context))))


def _linear(thing: Any, context: Context, span: Span | None) -> bool | None:
    map = maps.as_map(thing, span)
    match map:
        case Identity() | Matrix() | Adjoint():
            return True
        case Scaled(_, inner):
            return _linear(inner, context, span)
        case Total(terms):
            return True if all(_linear(term, context, span) for term in terms) else None
        case Composed(outer, inner):
            return True if _linear(outer, context, span) and _linear(inner, context, span) else None
    return fact("linear", map, context, span)


def _is_zero(thing: Any, context: Context, span: Span | None) -> bool | None:
    return bool(not np.any(arithmetic.as_array(thing))) if arithmetic.is_known(thing) else None


_OF_MAPS: dict[str, Callable[..., Meaning]] = {
    "lipschitz": lipschitz,
    "norm": lipschitz,
    "smallest_singular": smallest_singular,
    "symmetric": symmetric,
    "spectrum": spectrum,
    "reach": reach,
    "linear": _linear,
    "is_zero": _is_zero,
}


# --- from enclosures to numbers of the program ------------------------------------------------------------


def upper_bound(quantity: q.Quantity, context: Context, span: Span | None) -> Any:
    """A number of the program that is at least the quantity, by a margin that survives being stored."""
    return _bound(quantity, quantity.interval.hi, 1, context, span)


def lower_bound(quantity: q.Quantity, context: Context, span: Span | None) -> Any:
    """A number of the program that is at most the quantity, by a margin that survives being stored."""
    return _bound(quantity, quantity.interval.lo, -1, context, span)


def _bound(quantity: q.Quantity, end: Any, sign: int, context: Context, span: Span | None) -> Any:
    if isinstance(end, float) or quantity.unit:
        reason = (
            "depends on what is known only when the model runs"
            if quantity.unit
            else "has no bound that we can prove"
        )
        raise refuse(NOT_KNOWN_YET, f"this constant {reason}", span, fix="give the number itself")
    # Four units of roundoff: 1/L, stored to nearest, stays below 1/L.
    margin = 4 * Fraction(ROUNDOFF[context.scope.precision])
    rounded = Interval.of(end * (1 + sign * margin)).to_floats()
    return Number(Fraction(rounded[1] if sign > 0 else rounded[0]))


def thing(node: syntax.Node, names: Environment, context: Context) -> Any | None:
    """What a formula of a page names, where it is no number: a map, say."""
    found = _meaning(node, names, context)
    return None if isinstance(found, q.Quantity | bool) else found
