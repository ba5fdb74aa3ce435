"""Networks of others as maps: `onnx(file=denoiser.onnx)` is read, and inlined where it is applied."""

from collections.abc import Sequence
from typing import Any

from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.files import inside
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_SHAPE, refuse
from banach.compiler.elaboration.things import Network, Several, Tensor, Word
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

BAD_NETWORK = Code(
    "B212",
    "bad-network",
    """The file of a network is no ONNX file, is damaged, too large, too old or too new, or holds what no
network holds: nodes in a circle, names that nothing makes, tensors whose bytes are missing or lie outside the
spec's folder, weights that are not finite.

    right    operators:
               denoise: onnx(file=denoiser.onnx)

Taken are opsets 13 to 21. `onnx.checker.check_model` says more about a file that should be right.
""",
)
UNCOVERED_NODE = Code(
    "B213",
    "uncovered-node",
    """A network has a node that we have no primitives for, or asks for something of it that we do not cover:
an operator of another domain, a loop, a shape that is known only when the model runs, training mode.

The message names the node, its operator and the opset. docs/language.md lists the operators that are covered.
Often another export helps: with fixed sizes, in inference mode, or with the node replaced by plain ones.
""",
)


@word("onnx(file=NAME)", 0, 0, "file")
def _onnx(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Network:
    """The network in an ONNX file beside the spec, as a map, with its bounds and its derivative."""
    name = keywords.get("file")
    if not isinstance(name, Word):
        fix = "write `onnx(file=denoiser.onnx)`, or the name in quotes"
        raise refuse(WRONG_ARGUMENTS, "`onnx` takes the name of a file", span, fix=fix)
    path = inside(name.value, context.folder, span)
    assert context.folder is not None, "a file that was found lies in a folder"
    from banach.backends.onnx.network.read import read  # only a spec with networks needs onnx
    from banach.backends.onnx.network.refusal import BadNetwork, Uncovered

    try:
        network = read(path, context.folder)
    except BadNetwork as wrong:
        raise refuse(BAD_NETWORK, f"`{name.value}`: {wrong}", span, fix="export it again") from None
    except Uncovered as wrong:
        raise _uncovered(name.value, wrong, span) from None
    parameters = tuple(port.name for port in network.inputs)
    return Network(name.value, parameters, network.trace, span)


def apply(map: Network, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """What the network gives: a tensor, or several in brackets. Reals have the precision of the spec."""
    scope = context.scope
    values = [scope.value(argument, place=span) for argument in arguments]
    traced = _traced(map, [value.type for value in values], context, span)
    for digest, weight in traced.labels.items():
        scope.labels.setdefault(digest, f"{weight} of {map.file}")
    results = tuple(Tensor(value) for value in scope.build.inline(traced.graph, values))
    return results[0] if len(results) == 1 else Several(results)


def _traced(map: Network, types: Sequence[TensorType], context: Context, span: Span | None) -> Any:
    from banach.backends.onnx.network.refusal import Misfit, Uncovered

    scope = context.scope
    try:
        return map.trace(types, scope.precision, scope.contract, map.place)
    except Misfit as wrong:
        notes = ((map.place, "the network is read here"),)
        fix = "give it what it takes; one sample may come without the axis of samples"
        found = Diagnostic(WRONG_SHAPE, f"`{map.file}`: {wrong}", span, fix=fix, notes=notes)
        raise SpecError([found]) from None
    except Uncovered as wrong:
        raise _uncovered(map.file, wrong, map.place, span) from None


def _uncovered(file: str, wrong: Exception, place: Span, span: Span | None = None) -> SpecError:
    fix = "export it without that node; `banach explain B213` says what is covered"
    notes = ((span, "it is applied here"),) if span else ()
    return SpecError([Diagnostic(UNCOVERED_NODE, f"`{file}`: {wrong}", place, fix=fix, notes=notes)])
