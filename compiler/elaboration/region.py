"""Regions under construction: formulas of states become closed graphs, whose captures are explicit."""

from collections.abc import Sequence
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.complexes import carried, carrier, is_complex
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import RECURSIVE, WRONG_KIND, WRONG_SHAPE, refuse
from banach.compiler.elaboration.scope import Scope
from banach.compiler.elaboration.things import Complex, Environment, Pending, describe
from banach.compiler.text import syntax
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.graph import Builder, Graph, Value, prune
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

_WHOLE = "write `complex(x)` for a new value that is real"

Formulas = tuple[tuple[str, syntax.Node], ...]
Region = tuple[Scope, list[Value], dict[str, Value]]  # scope, fixed inputs, outputs


def initial(
    name: str, formula: syntax.Node, names: Environment, context: Context
) -> tuple[Value, TensorType]:
    """The value that a state starts from, and its type in the language. SpecError: it is no tensor."""
    thing = context.evaluate(formula, names, context)
    if not arithmetic.is_tensor(thing):
        raise refuse(
            WRONG_KIND,
            f"the state `{name}` starts as {describe(thing)}, not as a tensor",
            formula.span,
            fix="start from a tensor, `zeros(n)` say",
        )
    type = arithmetic.type_of(thing, context.scope)
    return context.scope.value(carried(thing), place=formula.span), type


def pending(name: str, formula: syntax.Node, names: Environment, context: Context) -> Pending:
    """A formula that is worked out when it is first read."""

    def circle() -> Exception:
        fix = "a prime reads a new value; let one of them read the old one"
        return refuse(RECURSIVE, f"`{name}` needs its own value", formula.span, fix=fix)

    return Pending(lambda: context.evaluate(formula, names, context), circle)


def fitted(
    name: str, thing: Any, type: TensorType, span: Span, scope: Scope, start: Span | None = None
) -> Value:
    """A new value, which must have its state's type in the language; `start` is where that comes from."""
    if not arithmetic.is_tensor(thing):
        raise refuse(
            WRONG_KIND,
            f"the new value of `{name}` is {describe(thing)}, not a tensor",
            span,
            fix="write a formula that gives a tensor",
        )
    value = scope.value(carried(thing), carrier(type), span)
    found = arithmetic.type_of(thing, scope) if isinstance(thing, Complex) else value.type
    if value.type != carrier(type) or is_complex(found) != is_complex(type):
        message = f"`{name}` starts as {type}, and its new value is {found}"
        notes = ((start, f"it starts here, as {type}"),) if start else ()
        fix = "give both the same shape and dtype"
        if is_complex(found) != is_complex(type):
            fix = "start from complex numbers, `complex(zeros(n))` say" if is_complex(found) else _WHOLE
        raise SpecError([Diagnostic(WRONG_SHAPE, message, span, fix=fix, notes=notes)])
    return value


def captures_of(regions: Sequence[Region]) -> list[tuple[tuple[int, int], Value]]:
    """Everything that some region reads from outside, once, in the order of first use."""
    return list({key: outer for scope, _, _ in regions for key, (outer, _) in scope.captured.items()}.items())


def close(region: Region, captures: Sequence[tuple[tuple[int, int], Value]]) -> Graph:
    """The region with every capture of its operation as an input, in one order."""
    scope, fixed, outputs = region
    graph = scope.build.finish(outputs)
    position = {port_id: i for i, port_id in enumerate([value.id for value in scope.build.inputs])}
    build = Builder(graph.name, graph.contract)
    given: list[Value | None] = [None] * len(graph.inputs)
    for value in fixed:
        port = graph.inputs[position[value.id]]
        given[position[value.id]] = build.input(port.name, port.type, port.default, port.place)
    for number, (key, outer) in enumerate(captures):
        value = build.input(f"captured.{number}", outer.type)
        if key in scope.captured:
            given[position[scope.captured[key][1].id]] = value
    results = build.inline(graph, [value for value in given if value is not None])
    return prune(build.finish(dict(zip(graph.output_names, results))))
