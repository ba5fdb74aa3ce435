"""`method:` of a training: an optimiser of ir/optimiser with its numbers."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, refuse
from banach.compiler.elaboration.things import Environment, Several, describe
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.source import Scalar
from banach.ir.diagnostic import Code, suggest
from banach.ir.lens import Lens
from banach.ir.optimiser import METHODS
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

UNKNOWN_OPTIMISER = Code(
    "B345",
    "unknown-optimiser",
    """`method:` of a training names no optimiser. There are sgd(rate), momentum(rate, decay),
adam(rate, decays, epsilon) and adamw(rate, decays, epsilon, weight_decay); what follows the rate may be left
out where it is not momentum's decay.

    wrong    method: Adam
    right    method: adam(1e-3)
""",
)


def optimiser(
    scalar: Scalar, names: Environment, context: Context
) -> tuple[str, Callable[[Sequence[TensorType]], Lens]]:
    """The name of a method, and what makes it for parameters of given types. SpecError: it is none."""
    node = parse(scalar)
    word = node.function if isinstance(node, syntax.Call) else node
    id = word.id if isinstance(word, syntax.Name) else ""
    known = ", ".join(METHODS)
    if id not in METHODS:
        near = suggest(id, METHODS)
        label = f"did you mean `{near}`?" if near else ""
        fix = f"write `{near}`" if near else f"write one of {known}"
        raise refuse(
            UNKNOWN_OPTIMISER, f"there is no optimiser `{id or scalar.text}`", word.span, fix=fix, label=label
        )
    make = METHODS[id]
    takes = list(inspect.signature(make).parameters)[1:]
    usage = f"{id}({', '.join(takes)})"
    if not isinstance(node, syntax.Call):
        raise refuse(WRONG_ARGUMENTS, f"`{id}` is called as `{usage}`", node.span, fix=f"write `{id}(1e-3)`")
    given: dict[str, Any] = {}
    if len(node.arguments) > len(takes):
        raise refuse(
            WRONG_ARGUMENTS,
            f"there are more arguments than `{usage}` takes",
            node.span,
            fix=f"write `{usage}`",
        )
    for name, argument in [*zip(takes, node.arguments), *node.keywords]:
        if name not in takes or name in given:
            told = "twice" if name in given else "no argument"
            message = f"`{id}` takes {told} `{name}`" if told != "twice" else f"`{name}` is given twice"
            raise refuse(WRONG_ARGUMENTS, message, argument.span, fix=f"`{usage}`")
        given[name] = _checked(name, context.evaluate(argument, names, context), argument.span)
    missing = [
        name
        for name, parameter in list(inspect.signature(make).parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty and name not in given
    ]
    if missing:
        raise refuse(
            WRONG_ARGUMENTS, f"`{usage}` needs `{missing[0]}`", node.span, fix=f"give `{missing[0]}`"
        )
    return id, lambda types: make(types, **given)


def _checked(name: str, thing: Any, span: Span) -> Any:
    """A number in its range: a rate and an epsilon are positive, a decay is below 1."""
    if name == "decays":
        if not isinstance(thing, Several) or len(thing.items) != 2:
            raise refuse(WRONG_ARGUMENTS, "`decays` are two numbers", span, fix="write `decays=(0.9, 0.999)`")
        return tuple(_checked("decay", item, span) for item in thing.items)
    if not arithmetic.is_known(thing) or arithmetic.as_array(thing).ndim:
        fix = "an optimiser's numbers are known before the run"
        raise refuse(WRONG_ARGUMENTS, f"`{name}` is {describe(thing)}, not a number", span, fix=fix)
    number = float(arithmetic.as_array(thing))
    least, most = {"decay": (0.0, 1.0), "weight_decay": (0.0, float("inf"))}.get(name, (0.0, float("inf")))
    good = least <= number < most and (number > 0 or name in ("decay", "weight_decay"))
    if not good:
        told = (
            "from 0 to below 1" if name == "decay" else "from 0 on" if name == "weight_decay" else "positive"
        )
        message = f"`{name}` is {number:g}; it is to be {told}"
        raise refuse(
            WRONG_ARGUMENTS, message, span, fix="write 0.9, say" if name == "decay" else "write 1e-3, say"
        )
    return number
