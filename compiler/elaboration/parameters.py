"""Parameters: a number, a formula of sizes and other parameters, a list, a file, or an initial value."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, files, initial
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, WRONG_SHAPE, refuse
from banach.compiler.elaboration.things import Complex, Environment, Number, Several, Table, describe
from banach.compiler.elaboration.words import vocabulary
from banach.compiler.spec import Parameter
from banach.compiler.text import syntax
from banach.compiler.text.expression import parse
from banach.compiler.text.section import WRONG_FORM, shown
from banach.compiler.text.source import Mapping, Node, Scalar, Sequence
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.span import Span
from banach.ir.tensor_type import numpy_dtype


def parameter(
    key: Scalar,
    node: Node,
    names: Environment,
    context: Context,
    folder: Path | None,
    run: int = 0,
    copy: int = 0,
) -> Any:
    """The meaning of an entry of `parameters:`, rounded to what the model will hold.

    `run` sets the draws of trainable parameters apart: another number, other initial values; `copy` those of
    the copies of a block.
    """
    if isinstance(node, Scalar):
        thing = context.evaluate(parse(node), names, context)
        return _rounded(key, thing, context, node.span)
    if isinstance(node, Sequence):
        return _rounded(key, _listed(node), context, node.span)
    mistakes: list[Diagnostic] = []
    section = Parameter.read(node, mistakes)
    if section is None:
        raise SpecError(mistakes)
    given = [part for part in ("value", "file", "init") if getattr(section, part) is not None]
    if len(given) != 1:
        told = " and ".join(f"`{part}`" for part in given) or "none"
        message = f"a parameter has one of `value`, `file`, `init` and `follows`; this one has {told}"
        raise refuse(WRONG_FORM, message, key.span, fix="keep one of them" if given else "add one of them")
    if given == ["init"]:
        thing = _init(section, names, context, run if trainable(node) else 0, copy)
    else:
        thing = _MAKERS[given[0]](section, names, context, folder)
    if section.type is not None:
        if _is_complex(section.type) and not isinstance(thing, Complex) and arithmetic.is_known(thing):
            thing = arithmetic.from_array(arithmetic.as_array(thing).astype(complex))
        _check_type(key, thing, section.type, names, context)
    return _rounded(key, thing, context, node.span)


def trainable(node: Node) -> bool:
    """Whether a parameter says `trainable: true`. SpecError: it says neither that nor `false`."""
    told = node.get("trainable") if isinstance(node, Mapping) else None
    if told is None:
        return False
    if not isinstance(told, Scalar) or not isinstance(told.value, bool):
        raise refuse(WRONG_FORM, "`trainable` is true or false", told.span, fix="write `trainable: true`")
    return told.value


def _rounded(key: Scalar, thing: Any, context: Context, span: Span) -> Any:
    """A table becomes what its dtype can hold, so that what is proved is proved of what runs."""
    if isinstance(thing, Table):
        array = thing.array
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(numpy_dtype(context.scope.precision)).astype(np.float64)
            if np.isinf(array).any() and np.isfinite(thing.array).all():
                message = f"`{key.text}` holds a number that is too large for {context.scope.precision}"
                raise refuse(files.NOT_FINITE, message, span, fix="write `precision: float64`, or scale it")
        return Table(files.finite(array, f"`{key.text}`", span), key.text)
    if isinstance(thing, Complex) and isinstance(thing.pairs, Table):
        return Complex(_rounded(key, thing.pairs, context, span))
    if isinstance(thing, Several):
        arrays = [arithmetic.as_array(item) for item in thing.items if arithmetic.is_known(item)]
        if len(arrays) == len(thing.items) and len({a.shape for a in arrays}) == 1:
            return _rounded(key, arithmetic.from_array(np.stack(arrays)), context, span)
    if not arithmetic.is_known(thing):
        fix = "what depends on an input, or on a trainable parameter, is an operator, or stands in a formula"
        told = "known only when the model runs" if arithmetic.is_tensor(thing) else describe(thing)
        raise refuse(NOT_KNOWN_YET, f"the parameter `{key.text}` is {told}", span, fix=fix)
    return thing


def _listed(node: Sequence) -> Table:
    """A list of numbers, or of lists of one length."""

    def numbers(item: Node) -> Any:
        if isinstance(item, Sequence):
            return [numbers(part) for part in item]
        value = item.value if isinstance(item, Scalar) else None
        if isinstance(value, int | Fraction) and not isinstance(value, bool):
            return float(value)
        raise refuse(
            WRONG_FORM, f"a list holds numbers, not {shown(item)}", item.span, fix="write a number there"
        )

    try:
        return Table(np.asarray(numbers(node), np.float64))
    except ValueError:
        raise refuse(
            WRONG_SHAPE,
            "the lists in this list are of different lengths",
            node.span,
            fix="give every row as many numbers",
        ) from None


def _value(section: Parameter, names: Environment, context: Context, folder: Path | None) -> Any:
    node = section.value
    if isinstance(node, Sequence):
        return _listed(node)
    if isinstance(node, Scalar):
        return context.evaluate(parse(node), names, context)
    assert isinstance(node, Mapping)
    raise refuse(WRONG_FORM, "a value is a number, a formula or a list", node.span, fix="write one of them")


def _file(section: Parameter, names: Environment, context: Context, folder: Path | None) -> Any:
    assert section.file is not None
    columns: tuple[str, ...] = ()
    if isinstance(section.columns, Sequence):
        columns = tuple(item.text for item in section.columns if isinstance(item, Scalar))
    elif isinstance(section.columns, Scalar):
        columns = (section.columns.text,)
    return arithmetic.from_array(files.load(section.file.text, columns, folder, section.file.span))


def _init(section: Parameter, names: Environment, context: Context, run: int, copy: int) -> Any:
    assert section.init is not None
    if section.type is None:
        raise refuse(
            WRONG_FORM, "an initial value needs a type", section.init.span, fix='add `type: "real[n]"`'
        )
    node = parse(section.init)
    word, arguments = (node, ()) if isinstance(node, syntax.Name) else (None, ())
    if isinstance(node, syntax.Call) and isinstance(node.function, syntax.Name):
        word, arguments = node.function, node.arguments
    numbers = [context.evaluate(argument, names, context) for argument in arguments]
    if word is None or not all(isinstance(number, Number) for number in numbers):
        fix = "write `normal(0, 0.1)`, say"
        raise refuse(
            WRONG_ARGUMENTS, "an initial value is a word with its numbers", section.init.span, fix=fix
        )
    shape = _shape(section.type, names, context)
    seed = section.seed.value if section.seed is not None else 0
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        place = section.seed.span if section.seed else None
        raise refuse(WRONG_ARGUMENTS, "a seed is a whole number from 0 on", place, fix="write `seed: 7`, say")
    # Philox's key has two halves; copies are an odd multiple apart, so that none meets a neighbouring seed's.
    key = (seed + copy * _APART) % 2**64 + (run << 64)
    complex = _is_complex(section.type)
    parts = (*shape, 2) if complex else shape  # real and imaginary parts, each by itself
    drawn = Table(initial.draw(word.id, [float(n.value) for n in numbers], parts, key, section.init.span))
    return Complex(drawn) if complex else drawn


def _is_complex(type: Scalar) -> bool:
    node = parse(type)
    base = node.base if isinstance(node, syntax.Index) else node
    return base == syntax.Name("complex", base.span)


def _shape(type: Scalar, names: Environment, context: Context) -> tuple[int, ...]:
    node = parse(type)
    items = node.items if isinstance(node, syntax.Index) else ()
    things = [context.evaluate(item, names, context) for item in items if not isinstance(item, syntax.Slice)]
    shape = vocabulary.sizes(things, type.span) if things else ()
    if not all(isinstance(size, int) for size in shape):
        fix = "give the size a number, or make this an input"
        raise refuse(NOT_KNOWN_YET, "a parameter has sizes that are known before the run", type.span, fix=fix)
    return shape  # type: ignore[return-value]


def _check_type(key: Scalar, thing: Any, type: Scalar, names: Environment, context: Context) -> None:
    wanted = _shape(type, names, context)
    actual = arithmetic.type_of(thing, context.scope).shape
    if isinstance(thing, Complex) and not _is_complex(type):
        message = f"`{key.text}` is declared {type.text}, and its value is {describe(thing)}"
        raise refuse(WRONG_SHAPE, message, type.span, fix="write `complex` for `real` in the type")
    if actual != wanted:
        message = f"`{key.text}` is declared {type.text}, and its value has the shape {list(actual)}"
        label = f"that is {list(wanted)}"
        raise refuse(WRONG_SHAPE, message, type.span, label=label, fix="correct the type, or the value")


_APART = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, as in SplitMix64

_MAKERS = {"value": _value, "file": _file}
