"""Primitives as words: a formula calls them by the name of their page, attributes by keyword.

`softmax(x)`, `cumsum(x, axis=0)`, `top(x, size=3)`, `solve(A, b)`. Axes are counted from 0, or from the end
if negative; without a word it is the last one, or for reductions all of them.
"""

import inspect
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, WRONG_KIND, no_axis, refuse
from banach.compiler.elaboration.things import (
    Complex,
    Extent,
    Number,
    Several,
    Table,
    Tensor,
    Truth,
    describe,
)
from banach.compiler.elaboration.words import semirings
from banach.ir.graph import PRIMITIVES
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.shelf import pages
from banach.ir.span import Span

# What formulas write by signs, or by a word of the language that does more.
_UNSPOKEN = {
    "add", "subtract", "multiply", "divide", "power", "less", "less_equal", "equal", "and", "or", "not",
    "negate", "constant", "extent", "cast", "count", "broadcast", "reshape", "transpose", "slice", "sum",
    "norm", "reduce_max", "reduce_min", "threefry", "uniform", "normal", "select", "matvec", "matmul",
    "soft_threshold", "stop_gradient", "within", "semiring_sum", "semiring_matmul",
}  # fmt: skip
# Attributes that may be left out.
_DEFAULTS: Mapping[str, Any] = {
    "axis": -1,
    "exclusive": False,
    "reverse": False,
    "epsilon": 1e-5,
    "alpha": 1.0,
    "leak": 0.01,
    "adjoint": False,
    "before": 0,
    "after": 0,
}


# Of complex numbers these keep the length, unless another is named.
_TRANSFORMS = {"dft": "modes", "dft_adjoint": "size"}
_FIXED = "give the last axis a number under `sizes:`"


@cache
def spoken() -> Mapping[str, inspect.Signature]:
    """The primitives that a formula can call, with what they take."""
    found = {}
    for name, definition in pages(PRIMITIVES).items():
        if name not in _UNSPOKEN and not isinstance(definition, RegionOp):
            found[name] = inspect.signature(definition.evaluate)
    return found


def usage(name: str) -> str:
    """How a primitive is called."""
    parts = []
    for parameter in spoken()[name].parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            if parameter.name != "dtype":
                parts.append(f"{parameter.name}=...")
        else:
            parts.append(
                f"{parameter.name}, ..." if parameter.kind is parameter.VAR_POSITIONAL else parameter.name
            )
    return f"{name}({', '.join(parts)})"


def summary(name: str) -> str:
    """The first line of a primitive's page."""
    return (page(name).__doc__ or "").strip().splitlines()[0]


def trusted(name: str) -> str:
    """What a verdict trusts that rests on a primitive; "" for one of ours, which tests have attacked."""
    module = type(page(name)).__module__
    return "" if module.startswith("banach.") else f"the page of the primitive {name} in {module}"


def speak(
    name: str, arguments: Sequence[Any], keywords: Mapping[str, Any], context: Context, span: Span
) -> Any:
    """A primitive applied to its arguments. SpecError: it does not take them."""
    context.assumed.trust(trusted(name))
    parameters = spoken()[name].parameters.values()
    operands = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    wanted = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    many = any(p.kind is p.VAR_POSITIONAL for p in operands)
    if (len(arguments) != len(operands) and not (many and arguments)) or any(
        k not in wanted for k in keywords
    ):
        raise refuse(
            WRONG_ARGUMENTS, f"`{name}` is called as `{usage(name)}`", span, fix=f"write `{usage(name)}`"
        )
    for argument in arguments:
        if not arithmetic.is_tensor(argument):
            raise refuse(
                WRONG_KIND,
                f"`{name}` does not take {describe(argument)}",
                span,
                fix="give it a tensor, a table or a number",
            )
    if name in _TRANSFORMS and isinstance(arguments[0], Complex):
        keywords = {_TRANSFORMS[name]: _length(arguments[0], name, context, span), **keywords}
    rank = arithmetic.type_of(arguments[0], context.scope).rank
    over = semirings.algebra(keywords, name, span) if "semiring" in wanted else {}
    rest = [key for key in wanted if key not in semirings.KEYS or not over]
    attributes = over | {key: _attribute(name, key, keywords.get(key), rank, context, span) for key in rest}
    if (
        name in ("solve", "solve_positive", "solve_triangular")
        and arithmetic.type_of(arguments[1], context.scope).rank == 1
    ):
        return _of_column(name, arguments, attributes, context, span)
    pairs = zip(operands, arguments)
    given = arguments if many else [_whole(a) if p.name == "index" else a for p, a in pairs]
    try:
        return arithmetic.apply(name, given, context.scope, span, **attributes)
    except (TypeError, AttributeError, IndexError, OverflowError) as wrong:  # of a kind that no page reads
        told = ", ".join(f"{key}={value}" for key, value in attributes.items())
        fix = f"write `{usage(name)}`"
        raise refuse(WRONG_ARGUMENTS, f"`{name}` does not take {told}", span, fix=fix) from wrong


def _length(z: Complex, name: str, context: Context, span: Span) -> Any:
    """The length of the axis that a transform acts on, which is as many modes as it has."""
    shape = arithmetic.type_of(z, context.scope).shape
    if not shape or not isinstance(shape[-1], int):
        told = describe(z)
        raise refuse(WRONG_KIND, f"`{name}` takes a signal of fixed length, not {told}", span, fix=_FIXED)
    return Number(Fraction(shape[-1]))


def _of_column(
    name: str, arguments: Sequence[Any], attributes: Mapping[str, Any], context: Context, span: Span
) -> Any:
    """A system with one right-hand side: a vector in, a vector out."""
    matrix, vector = arguments
    (size,) = arithmetic.type_of(vector, context.scope).shape
    column = arithmetic.apply("reshape", [vector], context.scope, span, shape=(size, 1))
    found = arithmetic.apply(name, [matrix, column], context.scope, span, **attributes)
    return arithmetic.apply("reshape", [found], context.scope, span, shape=(size,))


def _whole(thing: Any) -> Any:
    """Places are integers, also where a formula worked them out as whole reals before the run."""
    if isinstance(thing, Table) and thing.array.dtype.kind == "f":
        whole = np.all(thing.array == np.round(thing.array))
        return Table(thing.array.astype(np.int64), thing.label) if whole else thing
    if isinstance(thing, Number) and thing.value.denominator == 1:
        return Table(np.asarray(int(thing.value)))
    return thing


def _attribute(name: str, key: str, thing: Any, rank: int, context: Context, span: Span) -> Any:
    """An attribute as the page wants it."""
    if key == "dtype":
        return context.scope.precision
    if key == "axes":
        return (
            tuple(range(-rank, 0)) if thing is None else (_axis(_known(thing, name, key, span), rank, span),)
        )
    if key == "stride" and thing is None:
        return (1,) * max(rank - 1, 1)  # a signal's first axis is its channels
    if thing is None:
        if key not in _DEFAULTS:
            raise refuse(WRONG_ARGUMENTS, f"`{name}` needs `{key}=`", span, fix=f"write `{usage(name)}`")
        return _DEFAULTS[key]
    value = _known(thing, name, key, span)
    if key == "stride" and isinstance(value, int):
        return (value,) * max(rank - 1, 1)
    return _axis(value, rank, span) if key == "axis" else value


def _known(thing: Any, name: str, key: str, span: Span) -> Any:
    match thing:
        case Number(value):
            return int(value) if value.denominator == 1 else float(value)
        case Truth(value):
            return value
        case Extent(size):
            return size
        case Several(items):
            return tuple(_known(item, name, key, span) for item in items)
        case Table(array) if array.ndim == 1 and np.all(array == np.round(array)):
            return tuple(int(x) for x in array)
    told = describe(thing) if not isinstance(thing, Tensor) else "known only when the model runs"
    raise refuse(NOT_KNOWN_YET, f"`{key}` of `{name}` is {told}", span, fix="write a number there")


def _axis(value: Any, rank: int, span: Span) -> int:
    if not isinstance(value, int) or not -rank <= value < rank:
        raise no_axis(value, rank, span)
    return value - rank if value >= 0 else value
