"""A scan: a state carried along given sequences, or for a fixed number of steps."""

from typing import Any

from banach.compiler import library
from banach.compiler.elaboration import arithmetic, updates
from banach.compiler.elaboration import formulas as meanings
from banach.compiler.elaboration.complexes import carried, opened
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.region import captures_of, close, fitted, initial, pending
from banach.compiler.elaboration.things import Environment, Tensor, describe
from banach.compiler.spec import Recurrence
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Scalar
from banach.ir.dims import Size
from banach.ir.graph import Value
from banach.ir.tensor_type import TensorType


def scan(key: Scalar, section: Recurrence, names: Environment, context: Context) -> dict[str, Any]:
    """Adds the scan to the graph: the result under its own name, what it gives under name.part.

    SpecError: its formulas do not fit together.
    """
    scope, name = context.scope, key.text
    types: dict[str, TensorType] = {}  # in the language, of states and of entries of sequences
    sequences: dict[str, Value] = {}
    for n, node in library.table(section.over):
        sequences[n], types[n] = _sequence(n, node, names, context)
    length = _length(key, section, sequences, names, context)
    counter = scope.build.op("count", size=length, dtype=scope.precision)
    rows = {**sequences, "k": counter}
    types["k"] = _entry(counter.type)
    returns = (
        parse(section.returns) if section.returns else syntax.Name(section.state.items[0][0].text, key.span)
    )
    gives = library.table(section.gives)
    also = (returns, *(formula for _, formula in gives))
    told = updates.read(
        library.table(section.state), section.next, library.table(section.where), names, context, also
    )
    (returns, *formulas), states = told.also, told.state
    start: dict[str, Value] = {}
    for n, formula in states:
        start[n], types[n] = initial(n, formula, names, context)
    inner = scope.inner(f"{name}.step")
    within = context.within(inner)
    places = {n: formula.span for n, formula in states}
    own = {n: inner.build.input(n, value.type, place=places[n]) for n, value in start.items()}
    entry = {n: inner.build.input(n, _entry(value.type)) for n, value in rows.items()}
    known: dict[str, Any] = {n: opened(value, types[n], n) for n, value in (own | entry).items()}
    local = names.inner(known)
    for n, formula in told.where:
        local.known[n] = pending(n, formula, local, within)
    for n, formula in told.next:
        parts = (local, within, told.where, told.periods.get(n), entry["k"])
        local.known[f"{n}'"] = updates.new_value(n, formula, *parts)
    outputs = {
        n: fitted(n, local.find(f"{n}'"), types[n], dict(told.next)[n].span, inner, places[n]) for n in own
    }
    given, kinds = {}, {}
    for (n, _), formula in zip(gives, formulas):
        given[n], kinds[n] = _given(n, formula, local, within)
    for n, value in inner.reports.items():  # what solves inside maps leave: the largest of all steps
        start[n] = scope.build.zeros(value.type)
        own[n] = inner.build.input(n, value.type)
        outputs[n] = inner.build.op("maximum", own[n], value)
    region = (inner, [*own.values(), *entry.values()], outputs | {f"given.{n}": v for n, v in given.items()})
    captures = captures_of([region])
    found = scope.build.emit(
        "scan",
        [*start.values(), *rows.values(), *(outer for _, outer in captures)],
        {"states": len(start), "sequences": len(rows), "length": length, "reverse": False},
        [close(region, captures)],
        key.span,
    )
    last = dict(zip(start, found))
    for n in inner.reports:
        scope.report(n, last[n])
    final = {n: opened(value, types.get(n, value.type), n) for n, value in last.items()}
    result = context.evaluate(returns, names.inner(final), context)
    stacks = {f"{name}.{n}": opened(value, kinds[n], n) for n, value in zip(given, found[len(start) :])}
    return {name: result, **stacks}


def _sequence(
    name: str, formula: syntax.Node, names: Environment, context: Context
) -> tuple[Value, TensorType]:
    """A sequence, and the type of its entries in the language."""
    thing = context.evaluate(formula, names, context)
    if not arithmetic.is_tensor(thing) or not arithmetic.type_of(thing, context.scope).shape:
        message = f"a scan runs over the first axis of a tensor; `{name}` is {describe(thing)}"
        raise refuse(WRONG_KIND, message, formula.span, fix="give a tensor whose first axis is the steps")
    value = context.scope.value(carried(thing), place=formula.span)
    return value, _entry(arithmetic.type_of(thing, context.scope))


def _length(
    key: Scalar, section: Recurrence, sequences: dict[str, Value], names: Environment, context: Context
) -> Size:
    """The common length of the sequences, or the number of steps."""
    lengths = {value.type.shape[0] for value in sequences.values()}
    if section.steps is not None:
        thing = context.evaluate(parse(section.steps), names, context)
        size = meanings.size_of(thing)
        if size is None or (isinstance(size, int) and size < 0):
            open = isinstance(thing, Tensor)
            told = "known only when the model runs" if open else describe(thing)
            message = f"the number of steps is a whole number, or a size; this is {told}"
            raise refuse(
                NOT_KNOWN_YET, message, section.steps.span, fix="write 100, say, or a name from `sizes:`"
            )
        lengths.add(size)
    if not lengths:
        fix = "add `over: {u: x}`, or `steps: 100`"
        raise refuse(WRONG_ARGUMENTS, "this scan has neither `over` nor `steps`", key.span, fix=fix)
    if len(lengths) > 1:
        told = " and ".join(sorted(map(str, lengths)))
        fix = "give sequences of one length"
        raise refuse(WRONG_ARGUMENTS, f"this scan runs over {told} entries at once", key.span, fix=fix)
    return lengths.pop()


def _given(name: str, formula: syntax.Node, names: Environment, context: Context) -> tuple[Value, TensorType]:
    """What every step gives, and its type in the language."""
    thing = context.evaluate(formula, names, context)
    if not arithmetic.is_tensor(thing):
        raise refuse(
            WRONG_KIND,
            f"`{name}` is {describe(thing)}, not a tensor",
            formula.span,
            fix="write a formula that gives a tensor",
        )
    type = arithmetic.type_of(thing, context.scope)
    return context.scope.value(carried(thing), place=formula.span), type


def _entry(type: TensorType) -> TensorType:
    return type.with_shape(type.shape[1:])
