"""What `next:` says: an equation for every state, tuples of them, and work that is done every so many steps.

    next:
      x: x - solve(H', grad(f)(x))
      every(10):
        H: hessian(f)(x)
      (t, best): (t / 2, best) if worse else (t, x')

A state under `every(T)` gets its new value in the steps k = 0, T, 2T, .. and is held in the others: the work
is a branch of the program that is not taken. `history(x, 5)` is x and its four values before, newest first,
which are kept in a state of its own, `x.history`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.complexes import carried, opened
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, refuse
from banach.compiler.elaboration.region import Formulas, captures_of, close, fitted, pending
from banach.compiler.elaboration.things import Complex, Environment, Number, Pending, Tensor
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Mapping as Section
from banach.compiler.text.source import Scalar
from banach.ir.graph import Value
from banach.ir.span import Span

_EVERY, _HISTORY = "every", "history"
_LARGEST = 1 << 16  # values kept of a state
_NOT_RUN = -1  # below every count, residual and status


@dataclass(frozen=True, slots=True)
class Updates:
    """States with their starts and new values, and local names; `periods` has those that are held between."""

    state: Formulas
    next: Formulas
    where: Formulas
    also: tuple[syntax.Node, ...]
    periods: Mapping[str, syntax.Node]
    delayed: bool = False  # whether some formula reads a history


def read(
    state: Formulas,
    section: Section,
    where: Formulas,
    names: Environment,
    context: Context,
    also: Sequence[syntax.Node] = (),
) -> Updates:
    """What `next:` says of these states; `also` are further formulas that may read histories.

    SpecError: it does not say it.
    """
    update, periods = equations(section)
    starts = _copied(dict(state))
    _check(starts, update, section)
    asked: dict[str, int] = {}
    if names.find(_HISTORY) is None:  # else the spec has a thing of that name
        for node in (*update.values(), *(formula for _, formula in where), *also):
            _gather(node, starts, asked, names, context)

    def seen(node: syntax.Node) -> syntax.Node:
        return syntax.rewrite(node, _kept) if asked else node

    held, fresh = dict(starts), {name: seen(node) for name, node in update.items()}
    for name, count in asked.items():
        start = starts[name]
        rows = syntax.Number(max(count - 1, 1), start.span)
        fresh[buffer(name)] = _call(name, rows, start.span)
        held[buffer(name)] = _call(name, rows, start.span, start)
    local = tuple((name, seen(node)) for name, node in where)
    further = tuple(seen(node) for node in also)
    return Updates(tuple(held.items()), tuple(fresh.items()), local, further, periods, bool(asked))


def new_value(
    name: str,
    formula: syntax.Node,
    names: Environment,
    context: Context,
    where: Formulas,
    period: syntax.Node | None,
    k: Value,
) -> Pending:
    """The new value of a state, worked out when it is first read; `k` counts the steps."""
    made = pending(f"{name}'", formula, names, context)
    if period is None:
        return made
    return Pending(lambda: _held(name, formula, names, context, where, period, k), made.circle)


# --- every ------------------------------------------------------------------------------------------------


def _held(
    name: str,
    formula: syntax.Node,
    names: Environment,
    context: Context,
    where: Formulas,
    period: syntax.Node,
    k: Value,
) -> Tensor | Complex:
    """cond k mod T = 0: the new value, else the old one."""
    scope, build = context.scope, context.scope.build
    held = names.find(name)
    type, old = arithmetic.type_of(held, scope), carried(held).value
    every = _whole(context.evaluate(period, names, context), period.span, "every(10)")
    count = build.op("cast", k, dtype="int64")
    rest_of = build.op("modulo", count, build.scalar(every, "int64"))
    due = build.op("equal", rest_of, build.scalar(0, "int64"))
    work, rest = scope.inner(f"{name}.new"), scope.inner(f"{name}.held")
    inner = context.within(work)
    local = names.inner({})
    for own, node in where:  # worked out inside the branch, so that it is skipped with it
        local.known[own] = pending(own, node, local, inner)
    made = fitted(name, context.evaluate(formula, local, inner), type, formula.span, work)
    none = {own: rest.build.scalar(_NOT_RUN, value.type.dtype) for own, value in work.reports.items()}
    regions = [(work, [], {name: made, **work.reports}), (rest, [], {name: rest.bring(old), **none})]
    captures = captures_of(regions)
    closed = [close(region, captures) for region in regions]
    given = [due, *(outer for _, outer in captures)]
    result, *reports = build.emit("cond", given, {}, closed, formula.span)
    for own, value in zip(work.reports, reports):  # what solves inside maps leave
        scope.report(own, value)
        scope.skipped.add(own)
    return opened(result, type, name)


def _whole(thing: Any, span: Span, example: str) -> int:
    if isinstance(thing, Number) and thing.value.denominator == 1 and 1 <= thing.value <= _LARGEST:
        return int(thing.value)
    message = "this is no whole number from 1 on that is known before the run"
    raise refuse(NOT_KNOWN_YET, message, span, fix=f"write `{example}`, say")


# --- equations --------------------------------------------------------------------------------------------


def equations(section: Section) -> tuple[dict[str, syntax.Node], dict[str, syntax.Node]]:
    """The formula of every state, and the period of those that stand under `every`."""
    update: dict[str, syntax.Node] = {}
    periods: dict[str, syntax.Node] = {}
    for key, value in section:
        if isinstance(value, Scalar):
            _enter(key, value, update)
            continue
        period = _period_of(key)
        if period is None or not isinstance(value, Section):
            parse(value)  # it is no formula, and says so
            continue
        inner: dict[str, syntax.Node] = {}
        for own, formula in value:
            _enter(own, formula, inner, update)
        update |= inner
        periods |= dict.fromkeys(inner, period)
    return update, periods


def _period_of(key: Scalar) -> syntax.Node | None:
    """T of `every(T)`."""
    if not key.text.startswith(_EVERY + "("):
        return None
    match parse(key):
        case syntax.Call(syntax.Name("every"), (period,), ()):
            return period
    raise refuse(WRONG_ARGUMENTS, "`every` takes one number", key.span, fix="write `every(10):`")


def _enter(key: Scalar, value: Any, *tables: dict[str, syntax.Node]) -> None:
    """An equation, or those of a tuple of states, part by part."""
    formula = parse(value)
    names = parse(key) if key.text.startswith("(") else syntax.Name(key.text, key.span)
    told = names.items if isinstance(names, syntax.Tuple) else (names,)
    for place, name in enumerate(told):
        if not isinstance(name, syntax.Name):
            message = "an equation is for a state, or for a tuple of states"
            raise refuse(WRONG_ARGUMENTS, message, key.span, fix="write `(x, y): (a, b)`")
        if any(name.id in table for table in tables):
            fix = "give every state one equation"
            raise refuse(WRONG_ARGUMENTS, f"`{name.id}` has two equations", key.span, fix=fix)
        tables[0][name.id] = _part(formula, place, len(told)) if isinstance(names, syntax.Tuple) else formula


def _part(formula: syntax.Node, place: int, count: int) -> syntax.Node:
    """One part of a formula that gives a tuple."""
    match formula:
        case syntax.Tuple(items) if len(items) == count:
            return items[place]
        case syntax.Tuple(items):
            message = f"{count} states get {len(items)} new values"
            raise refuse(WRONG_ARGUMENTS, message, formula.span, fix="give each state one")
        case syntax.Conditional(condition, then, otherwise, span):
            sides = _part(then, place, count), _part(otherwise, place, count)
            return syntax.Conditional(condition, *sides, span)
        case _:
            return syntax.Index(formula, (syntax.Number(place, formula.span),), formula.span)


def _copied(state: dict[str, syntax.Node]) -> dict[str, syntax.Node]:
    """The starts, where `copy(x)` is that of x."""
    found = dict(state)
    for name in state:
        seen = [name]
        while isinstance(node := found[name], syntax.Call) and node.function == syntax.Name(
            "copy", node.span
        ):
            of = node.arguments[0] if len(node.arguments) == 1 else None
            if not isinstance(of, syntax.Name) or of.id not in state or of.id in seen:
                fix = "write `copy(x)`, where `x` is another state that says where it starts"
                raise refuse(WRONG_ARGUMENTS, "`copy` is of another state", node.span, fix=fix)
            seen.append(of.id)
            found[name] = state[of.id]
    return found


def _check(state: Mapping[str, Any], update: Mapping[str, Any], section: Section) -> None:
    wrong = [n for n in state if n not in update] + [n for n in update if n not in state]
    if wrong:
        told = "has no equation in `next:`" if wrong[0] in state else "is no state"
        fix = "give every state one equation"
        raise refuse(WRONG_ARGUMENTS, f"`{wrong[0]}` {told}", section.span, fix=fix)


# --- histories --------------------------------------------------------------------------------------------


def buffer(name: str) -> str:
    """The state that keeps the values before."""
    return f"{name}.{_HISTORY}"


def _history(node: Any) -> tuple[syntax.Node, syntax.Node] | None:
    """x and n of `history(x, n)`, as a spec writes it."""
    match node:
        case syntax.Call(syntax.Name("history"), (of, count), ()):
            return of, count
    return None


def _kept(node: syntax.Node) -> syntax.Node:
    """The same with the values before, which the iteration keeps."""
    match node:
        case syntax.Call(syntax.Name("history"), (syntax.Name(name), count), ()):
            return _call(name, count, node.span)
    return node


def _gather(
    node: syntax.Node,
    state: Mapping[str, Any],
    asked: dict[str, int],
    names: Environment,
    context: Context,
) -> None:
    """How many values of each state the formula asks for."""
    for of, count in filter(None, map(_history, syntax.walk(node))):
        if not isinstance(of, syntax.Name) or of.id not in state:
            fix = "write `history(x, 5)` for a state `x` of this iteration"
            raise refuse(WRONG_ARGUMENTS, "a history is of a state", of.span, fix=fix)
        many = _whole(context.evaluate(count, names, context), count.span, f"history({of.id}, 5)")
        asked[of.id] = max(asked.get(of.id, 1), many)


def _call(name: str, count: syntax.Node, span: Span, start: syntax.Node | None = None) -> syntax.Call:
    """history(x, count, before=x.history); of the start alone, as if x had always been where it starts."""
    of, kept = (start, start) if start else (syntax.Name(name, span), syntax.Name(buffer(name), span))
    return syntax.Call(syntax.Name(_HISTORY, span), (of, count), (("before", kept),), span)
