"""The meaning of a formula: a number, a table, a tensor of the graph, a map or a function."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler import library
from banach.compiler.elaboration import arithmetic, complexes, domains, indexing, maps
from banach.compiler.elaboration.arithmetic import is_map, is_tensor
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import (
    UNKNOWN_NAME,
    WRONG_ARGUMENTS,
    WRONG_KIND,
    Silent,
    counted,
    refuse,
)
from banach.compiler.elaboration.things import (
    Broken,
    Complex,
    Environment,
    Extent,
    Formula,
    Function,
    GradientIn,
    Jacobian,
    Map,
    Number,
    Operator,
    Partial,
    Several,
    Table,
    Tensor,
    Truth,
    Word,
    describe,
)
from banach.compiler.elaboration.words import spoken, vocabulary, word
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.ir.diagnostic import suggest
from banach.ir.span import Span


class Solver:
    """A page of a solver with its arguments: what `method:` takes."""

    __slots__ = ("arguments", "page")

    def __init__(self, page: library.Page, arguments: tuple[Any, ...]):
        self.page = page
        self.arguments = arguments


def evaluate(node: syntax.Node, names: Environment, context: Context) -> Any:
    """The meaning of a formula. SpecError: it has none. Silent: a name in it has failed before."""
    match node:
        case syntax.Number(value):
            return Number(Fraction(value))
        case syntax.Text(value):
            return Word(value)
        case syntax.Name(id, span):
            return _name(id, span, names)
        case syntax.Primed(name, span):
            found = names.find(f"{name}'")
            if found is None:
                fix = f"write `{name}`, or give `{name}` an equation in `next:`"
                raise refuse(UNKNOWN_NAME, f"there is no new value of `{name}` here", span, fix=fix)
            return found
        case syntax.Hole(span):
            raise refuse(
                WRONG_KIND,
                "a hole `_` stands only among the arguments of a map",
                span,
                fix="give the argument a name",
            )
        case syntax.Unary(op, operand, span):
            return _unary(op, evaluate(operand, names, context), context, span)
        case syntax.Binary(op, left, right, span):
            return _binary(op, evaluate(left, names, context), evaluate(right, names, context), context, span)
        case syntax.Compare(op, left, right, span):
            sides = evaluate(left, names, context), evaluate(right, names, context)
            return arithmetic.binary(op, *sides, context.scope, span)
        case syntax.Call():
            return _call(node, names, context)
        case syntax.Index(base, items, span):
            return indexing.index(evaluate(base, names, context), items, names, context, span)
        case syntax.Attribute(base, name, span):
            return _attribute(base, name, span, names)
        case syntax.Tuple(items):
            return Several(tuple(evaluate(item, names, context) for item in items))
        case syntax.List(items):
            return _listed(tuple(evaluate(item, names, context) for item in items))
        case syntax.Conditional(condition, then, otherwise, span):
            chosen = evaluate(condition, names, context)
            if isinstance(chosen, Truth):  # the other branch need not have a meaning
                return evaluate(then if chosen.value else otherwise, names, context)
            first, second = evaluate(then, names, context), evaluate(otherwise, names, context)
            return _choose(chosen, first, second, context, span)
    raise refuse(WRONG_KIND, "this has no meaning here", node.span, fix="write a formula")


def _name(id: str, span: Span, names: Environment) -> Any:
    found = names.find(id)
    if isinstance(found, Broken):
        raise Silent
    if found is not None:
        return found
    if id in word.CONSTANTS:
        return word.CONSTANTS[id]
    if id in vocabulary.FUNCTIONS or id in spoken.spoken():
        return vocabulary.Spoken(id)
    found = library.find(id)
    if found is not None:
        return found
    known = [*names.visible(), *vocabulary.FUNCTIONS, *word.CONSTANTS, *spoken.spoken()]
    near = suggest(id, [*known, *(name for kind in library.FOLDERS for name in library.names(kind))])
    label = f"did you mean `{near}`?" if near else ""
    fix = f"write `{near}`" if near else "define it under `operators:`, `parameters:` or `inputs:`"
    raise refuse(UNKNOWN_NAME, f"there is nothing called `{id}`", span, fix=fix, label=label)


def _listed(things: tuple[Any, ...]) -> Any:
    """A list of numbers is a vector, a list of vectors a matrix; anything else stays a list."""
    complex = [thing for thing in things if isinstance(thing, Complex) and isinstance(thing.pairs, Table)]
    if things and all(isinstance(thing, Number | Table) or thing in complex for thing in things):
        arrays = [arithmetic.as_array(thing) for thing in things]
        if len({array.shape for array in arrays}) == 1:
            return arithmetic.from_array(np.stack(arrays))
    return Several(things)


def _attribute(base: syntax.Node, name: str, span: Span, names: Environment) -> Any:
    if not isinstance(base, syntax.Name):
        fix = "give what is before the dot a name; a solve or a scan leaves names behind a dot"
        raise refuse(UNKNOWN_NAME, f"there is no `.{name}` here", span, fix=fix)
    owner = names.find(base.id)
    if isinstance(owner, Broken):  # what a solve leaves is known once it is worked out
        raise Silent
    found = names.find(f"{base.id}.{name}")
    if found is not None:
        return found
    if owner is None and not library.find(base.id) and name in (*vocabulary.FUNCTIONS, *spoken.spoken()):
        message = f"there is nothing called `{base.id}`, and no word stands in a module"
        raise refuse(UNKNOWN_NAME, message, base.span, fix=f"write `{name}`")
    left = [n.partition(".")[2] for n in names.visible() if n.startswith(f"{base.id}.")]
    near = suggest(name, left)
    label = f"did you mean `{base.id}.{near}`?" if near else ""
    fix = f"`{base.id}` leaves {', '.join(left)}" if left else "a dot stands behind a solve or a scan alone"
    if near:
        fix = f"write `{base.id}.{near}`"
    elif name in (*vocabulary.FUNCTIONS, *spoken.spoken()):
        fix = f"write `{name}({base.id})`"
    raise refuse(UNKNOWN_NAME, f"there is no `{base.id}.{name}`", span, fix=fix, label=label)


def _unary(op: str, operand: Any, context: Context, span: Span) -> Any:
    if op == "not":
        return (
            Truth(not operand.value) if isinstance(operand, Truth) else _apply("not", operand, context, span)
        )
    if isinstance(operand, Number):
        return Number(-operand.value if op == "-" else operand.value)
    if isinstance(operand, Map):
        return maps.scale(Number(Fraction(-1)), operand) if op == "-" else operand
    return operand if op == "+" else _apply("negate", operand, context, span)


def _apply(name: str, operand: Any, context: Context, span: Span) -> Any:
    if not is_tensor(operand):
        raise refuse(
            WRONG_KIND,
            f"`{name}` does not take {describe(operand)}",
            span,
            fix="give it a tensor, a table or a number",
        )
    return arithmetic.apply(name, [operand], context.scope, span)


def _binary(op: str, left: Any, right: Any, context: Context, span: Span) -> Any:
    sizes = _sizes(op, left, right, context)
    if sizes is not None:
        return sizes
    if isinstance(left, Map) or isinstance(right, Map):
        return _of_maps(op, left, right, context, span)
    if op == "@":
        return maps.times(left, right, context, span)
    if op not in arithmetic.PRIMITIVE:
        raise refuse(
            WRONG_KIND,
            f"`{op}` is for sizes and whole numbers that are known before the run",
            span,
            fix="use it on sizes, or write `/`",
        )
    return arithmetic.binary(op, left, right, context.scope, span)


def _sizes(op: str, left: Any, right: Any, context: Context) -> Any | None:
    """Arithmetic of sizes: it stays a size where both are."""
    if not (isinstance(left, Extent) or isinstance(right, Extent)) and op not in ("//", "%"):
        return None
    a, b = size_of(left), size_of(right)
    if a is None or b is None or op not in ("+", "-", "*", "//", "%"):
        return None
    if op in ("//", "%") and b == 0:
        return None
    result = {"+": a + b, "-": a - b, "*": a * b}.get(op)
    if result is None:
        result = a // b if op == "//" else a - a // b * b
    result = context.scope.contract.simplify(result)
    return Number(Fraction(result)) if isinstance(result, int) else Extent(result)


def size_of(thing: Any) -> Any | None:
    """A thing as a size: a whole number, or a named size."""
    if isinstance(thing, Number) and thing.value.denominator == 1:
        return int(thing.value)
    return thing.size if isinstance(thing, Extent) else None


def _of_maps(op: str, left: Any, right: Any, context: Context, span: Span) -> Any:
    if op == "@" and isinstance(left, Map) and is_tensor(right) and not isinstance(right, Map):
        return apply(left, [right], context, span)
    if op == "@":
        return maps.compose(left, right, span)
    if op == "+":
        return maps.add(left, right, span)
    if op == "-":
        return maps.add(left, maps.scale(Number(Fraction(-1)), maps.as_map(right, span)), span)
    if op == "*" and is_tensor(left):
        return maps.scale(left, right)
    if op in ("*", "/") and is_tensor(right) and isinstance(left, Map):
        factor = right if op == "*" else arithmetic.binary("/", maps.ONE, right, context.scope, span)
        return maps.scale(factor, left)
    raise refuse(
        WRONG_KIND,
        f"`{op}` does not take {describe(left)} and {describe(right)}",
        span,
        fix="apply the map to a tensor, or compose maps by `@`",
    )


def _call(node: syntax.Call, names: Environment, context: Context) -> Any:
    called = evaluate(node.function, names, context)
    span = node.span
    if isinstance(called, vocabulary.Spoken):
        return _speak(called.name, node, names, context)
    if isinstance(called, library.Page):
        return instantiate(called, node, names, context)
    if not is_map(called):
        raise refuse(
            WRONG_KIND,
            f"{describe(called)} cannot be called",
            node.function.span,
            fix="call a map, or write `*` to multiply",
        )
    if node.keywords:
        fix = "write the value without its name, in the place of the argument"
        raise refuse(WRONG_ARGUMENTS, "a map takes its arguments by place", node.keywords[0][1].span, fix=fix)
    map = maps.as_map(called, span)
    arguments = [None if isinstance(a, syntax.Hole) else evaluate(a, names, context) for a in node.arguments]
    if any(argument is None for argument in arguments):
        return Partial(map, tuple(arguments))
    return apply(map, arguments, context, span)


def _speak(name: str, node: syntax.Call, names: Environment, context: Context) -> Any:
    """A word of the language itself."""
    arguments = [evaluate(argument, names, context) for argument in node.arguments]
    keywords = {key: evaluate(value, names, context) for key, value in node.keywords}
    if name in vocabulary.FUNCTIONS:
        return vocabulary.speak(name, arguments, keywords, context, node.span)
    return spoken.speak(name, arguments, keywords, context, node.span)


def instantiate(found: library.Page, node: syntax.Call, names: Environment, context: Context) -> Any:
    """A page of the library with its arguments, by place or by name."""
    given = [evaluate(argument, names, context) for argument in node.arguments]
    if len(given) > len(found.parameters):
        raise _wrong_count(found, len(given), node.span)
    bound, options = dict(zip(found.parameters, given)), _options(found)
    for key, value in node.keywords:
        if key not in (*found.parameters, *options) or key in bound:
            taken = (*found.parameters, *options)
            near = suggest(key, taken)
            fix = f"write `{near}=...`" if near else f"it takes {', '.join(taken) or 'nothing'}"
            raise refuse(
                WRONG_ARGUMENTS, f"`{found.name}` takes no argument `{key}` here", value.span, fix=fix
            )
        bound[key] = evaluate(value, names, context)
    missing = [name for name in found.parameters if name not in bound]
    if missing:
        raise _wrong_count(found, len(found.parameters) - len(missing), node.span)
    for thing in bound.values():
        complexes.admit(found, thing, node.span)
    if found.kind == "solver":
        return Solver(found, tuple(bound[name] for name in found.parameters))
    inner = Environment(bound, Environment(found.shelf))
    for name, default in options.items():
        if name not in bound:
            inner = inner.inner({name: evaluate(default, inner, context)})
    for name, formula in found.where:
        inner = inner.inner({name: evaluate(formula, inner, context)})
    domains.check(found, inner, context, node.span)
    if isinstance(found.section, library.StopPage):
        return evaluate(parse(found.section.returns), inner, context)
    if found.kind == "function":
        return Function(found, inner)
    if "returns" not in found.formulas:
        return maps.as_map(evaluate(found.formulas["means"][1], inner, context), node.span)
    return Operator(found, inner)


def _options(found: library.Page) -> dict[str, syntax.Node]:
    """What a call may leave out, by name, with its default; a solver's options stand beside its method."""
    return {} if found.kind == "solver" else dict(library.table(found.section.options))


def _wrong_count(found: library.Page, given: int, span: Span) -> Exception:
    wanted = ", ".join(found.parameters)
    count = counted(len(found.parameters), "argument")
    fix = f"write `{found.name}({wanted})`; `banach explain {found.name}` says what they are"
    return refuse(WRONG_ARGUMENTS, f"`{found.name}` takes {count}, not {given}", span, fix=fix)


def _choose(condition: Any, then: Any, otherwise: Any, context: Context, span: Span) -> Any:
    if isinstance(condition, Truth):
        return then if condition.value else otherwise
    if (
        isinstance(then, Several)
        and isinstance(otherwise, Several)
        and len(then.items) == len(otherwise.items)
    ):
        pairs = zip(then.items, otherwise.items)
        return Several(tuple(_choose(condition, a, b, context, span) for a, b in pairs))
    for side in (condition, then, otherwise):
        if not is_tensor(side):
            raise refuse(
                WRONG_KIND,
                f"`if` does not take {describe(side)}",
                span,
                fix="choose between tensors by a truth value",
            )
    return arithmetic.apply("select", [condition, then, otherwise], context.scope, span)


def apply(map: Map, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """A map applied to its arguments: tensors, and for a map that is given by a formula maps as well."""
    for argument in arguments:
        if not is_tensor(argument) and not (_takes_maps(map) and isinstance(argument, Map)):
            raise refuse(
                WRONG_KIND,
                f"a map does not take {describe(argument)}",
                span,
                fix="give it a tensor, a table or a number",
            )
    return maps.apply(map, arguments, context, span)


def _takes_maps(map: Map) -> bool:
    """Whether a map is given by a formula, or is a derivative of such a map."""
    match map:
        case Partial(inner) | GradientIn(inner) | Jacobian(inner):
            return _takes_maps(inner)
        case _:
            return isinstance(map, Formula)


Evaluate = Callable[[syntax.Node, Environment, Context], Any]
__all__ = ["Solver", "Tensor", "apply", "evaluate", "instantiate", "size_of"]
