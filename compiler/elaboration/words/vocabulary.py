"""The words of the language itself: what a formula can call without defining it.

Every function below with a docstring is a word. `arguments` are things, `keywords` things by name.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic, indexing, maps, noise
from banach.compiler.elaboration.analysis import constants, monotonicity, runtime
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, WRONG_ARGUMENTS, WRONG_KIND, no_axis, refuse
from banach.compiler.elaboration.things import (
    Complex,
    Extent,
    Function,
    Map,
    Number,
    Prox,
    Several,
    Table,
    Tensor,
    Truth,
    describe,
)
from banach.compiler.elaboration.words import complexes, composition, declared, derivative, semirings
from banach.compiler.elaboration.words.word import FUNCTIONS, Arguments, Keywords, word
from banach.ir.dims import Size, bind
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

SHELVES = (
    complexes,
    composition,
    declared,
    derivative,
    semirings,
)  # whose words are spoken beside those below


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word of the language, before it is called."""

    name: str


def speak(name: str, arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """A word with its arguments. SpecError: it does not take them."""
    spoken = FUNCTIONS[name]
    least, most, names = spoken.takes
    if not least <= len(arguments) <= most or any(key not in names for key in keywords):
        raise refuse(
            WRONG_ARGUMENTS, f"`{name}` is called as `{spoken.usage}`", span, fix=f"write `{spoken.usage}`"
        )
    return spoken.work(arguments, keywords, context, span)


# --- making tensors ---------------------------------------------------------------------------------------


@word("zeros(n, ...)", 0, 8)
def _zeros(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Zeros of the given sizes."""
    return _filled(0.0, arguments, context, span)


@word("ones(n, ...)", 0, 8)
def _ones(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Ones of the given sizes."""
    return _filled(1.0, arguments, context, span)


@word("eye(n)", 1, 1)
def _eye(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The identity matrix."""
    n = _fixed(arguments[0], span)
    arithmetic.bound(TensorType(context.scope.precision, (n, n)), span)
    return Table(np.eye(n))


@word("count(n)", 1, 1)
def _count(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The numbers 0, 1, ..., n - 1, as reals."""
    size = sizes(arguments, span)[0]
    if isinstance(size, int):
        arithmetic.bound(TensorType(context.scope.precision, (size,)), span)
        return Table(np.arange(size, dtype=np.float64))
    return Tensor(context.scope.build.op("count", size=size, dtype=context.scope.precision, place=span))


@word("circulant(c)", 1, 1)
def _circulant(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The matrix whose row i is c, turned by i places: C[i, j] = c[(i - j) mod n]."""
    (c,) = maps.as_tensors(arguments, span)
    type = arithmetic.type_of(c, context.scope)
    if type.rank != 1 or not isinstance(type.shape[0], int):
        raise refuse(
            WRONG_KIND,
            f"`circulant` takes a vector of known size, not {type}",
            span,
            fix="give it a vector whose size is a number",
        )
    n = type.shape[0]
    arithmetic.bound(TensorType(type.dtype, (n, n)), span)
    places = (np.arange(n)[:, None] - np.arange(n)[None, :]) % n
    return arithmetic.apply("take", [c, Table(places)], context.scope, span, axis=-1)


@word("normal(key, n, ...)", 1, 9)
def _normal(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Standard normal numbers, a function of the key alone: normal((seed, k), n) is new in every step."""
    pairs = _random("normal", arguments, context, span)
    return indexing.first(pairs, context, span)


@word("uniform(key, n, ...)", 1, 9)
def _uniform(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Numbers between 0 and 1, a function of the key alone: uniform((seed, k), n) is new in every step."""
    return _random("uniform", arguments, context, span)


def _random(name: str, arguments: Arguments, context: Context, span: Span) -> Any:
    """Keyed and counter-based: Threefry's words for the entries 0, 1, .. of the shape, made into numbers."""
    key, shape = arguments[0], sizes(arguments[1:], span)
    parts = key.items if isinstance(key, Several) else (Number(Fraction(0)), key)
    if len(parts) != 2:
        raise refuse(WRONG_ARGUMENTS, "a key is one number, or two in brackets", span, fix="write (seed, k)")
    return noise.draw(name, maps.as_tensors(parts, span), shape, context, span)


@word("whole(x)", 1, 1)
def _whole(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Reals rounded down to integers, which name places: whole(10 * uniform((7, k))) is one of 0 to 9."""
    below = arithmetic.apply("floor", maps.as_tensors(arguments, span), context.scope, span)
    return arithmetic.apply("cast", [below], context.scope, span, dtype="int64")


# --- reductions -------------------------------------------------------------------------------------------


@word("sum(x, axis=k, semiring=s, bound=n)", 1, 16, "axis", *semirings.KEYS)
def _sum(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The sum of all entries, or along one axis; of maps, sum(f, g) is x ↦ f(x) + g(x)."""
    if "semiring" in keywords or "bound" in keywords:
        over = semirings.algebra(keywords, "sum", span)
        (x,) = semirings.elements(arguments[:1], over["semiring"], context, span)
        return _reduced("semiring_sum", x, keywords, context, span, **over)
    if len(arguments) > 1 or isinstance(arguments[0], Map):
        return maps.total(arguments, span)
    return _reduced("sum", arguments[0], keywords, context, span)


@word("mean(x, axis=k)", 1, 1, "axis")
def _mean(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The mean of all entries, or along one axis."""
    (x,) = maps.as_tensors(arguments, span)
    type = arithmetic.type_of(x, context.scope)
    total = _reduced("sum", x, keywords, context, span)
    count: Size = 1
    for axis in _axes(type.rank, keywords, span):
        count = count * type.shape[axis]
    many = Number(Fraction(count)) if isinstance(count, int) else Extent(count)
    return arithmetic.binary("/", total, many, context.scope, span)


@word("norm(x, axis=k)", 1, 1, "axis")
def _norm(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The Euclidean norm of a tensor, or along one axis; the operator norm of a linear map, from above."""
    if isinstance(arguments[0], Map):
        return _lipschitz(arguments, keywords, context, span)
    return _reduced("norm", arguments[0], keywords, context, span)


@word("dot(x, y)", 2, 2)
def _dot(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The inner product: the sum of the products of all entries; of complex ones Re Σ conj(x_j)·y_j."""
    x, y = maps.as_tensors(arguments, span)
    if isinstance(x, Complex) or isinstance(y, Complex):
        x, y = map(arithmetic.reals(context.scope, span).pairs, (x, y))
    product = arithmetic.binary("*", x, y, context.scope, span)
    return _reduced("sum", product, {}, context, span)


@word("max(x, y, ..., axis=k)", 1, 8, "axis")
def _max(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The largest entry of one tensor, or along one axis, or the larger of several, entry by entry."""
    return _extremum("maximum", arguments, keywords, context, span)


@word("min(x, y, ..., axis=k)", 1, 8, "axis")
def _min(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The smallest entry of one tensor, or along one axis, or the smaller of several, entry by entry."""
    return _extremum("minimum", arguments, keywords, context, span)


# --- rearrangements ---------------------------------------------------------------------------------------


@word("transpose(A, i, j, ...)", 1, 9)
def _transpose(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The transpose of a matrix, or a tensor with its axes in another order: its axis i comes first."""
    (tensor,) = maps.as_tensors(arguments[:1], span)
    order = arguments[1:]
    if not order:
        return maps.transpose(tensor, context, span)
    rank = arithmetic.type_of(tensor, context.scope).rank
    axes = [_axes(rank, {"axis": axis}, span)[0] for axis in order]
    if sorted(axes) != list(range(-rank, 0)):
        message = f"the order of {rank} axes has each of them once, and this one has {len(axes)} places"
        fix = f"write the numbers from 0 to {rank - 1} in the order that you want"
        raise refuse(WRONG_ARGUMENTS, message, span, fix=fix)
    return arithmetic.apply("transpose", [tensor], context.scope, span, permutation=tuple(axes))


@word("reshape(x, n, ...)", 1, 8)
def _reshape(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The same entries under another shape, of which one size may be -1: whatever is left for it."""
    (x,) = maps.as_tensors(arguments[:1], span)
    left = [isinstance(size, Number) and size.value == -1 for size in arguments[1:]]
    shape = sizes([maps.ONE if rest else size for rest, size in zip(left, arguments[1:])], span)
    if any(left):
        entries, told = (math.prod(part) for part in (arithmetic.type_of(x, context.scope).shape, shape))
        rest = context.scope.contract.simplify(entries // told) if told != 0 else 0
        shape = tuple(rest if unsaid else size for unsaid, size in zip(left, shape))
    return arithmetic.apply("reshape", [x], context.scope, span, shape=shape)


@word("shape(x)", 1, 1)
def _shape(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The sizes of a tensor: shape(x)[0] is that of its first axis, reshape(y, shape(x)) has them all."""
    return indexing.sizes_of(maps.as_tensors(arguments, span)[0], context)


@word("stack(x, y, ...)", 1, 8)
def _stack(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Tensors of one shape beside each other, along a new last axis."""
    return indexing.stacked(maps.as_tensors(arguments, span), context, span)


@word("history(x, n)", 2, 2, "before")
def _history(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The state x of an iteration and its values before, newest first, along a new first axis; n in all."""
    if "before" not in keywords:
        fix = "write it in the `next:`, `where:` or `gives:` of the solve or scan whose state it is"
        raise refuse(WRONG_ARGUMENTS, "a history is of a state, inside its own iteration", span, fix=fix)
    x, before = maps.as_tensors([arguments[0], keywords["before"]], span)
    return indexing.behind(x, before, _fixed(arguments[1], span), context, span)


@word("stop_gradient(x)", 1, 1)
def _stop_gradient(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The same value, held constant by every derivative."""
    return arithmetic.apply("stop_gradient", maps.as_tensors(arguments, span), context.scope, span)


@word("soft_threshold(x, t)", 2, 2)
def _soft_threshold(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Every entry moved towards zero by t, and no further."""
    return arithmetic.apply("soft_threshold", maps.as_tensors(arguments, span), context.scope, span)


# --- maps and functions -----------------------------------------------------------------------------------


@word("prox(g, t)", 2, 2)
def _prox(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The proximal map of t·g: x ↦ argmin_u g(u) + ‖u - x‖²/(2t)."""
    g, t = arguments
    if not isinstance(g, Function) or "prox" not in g.page.formulas:
        fix = "`banach list functions` shows those that have one"
        raise refuse(WRONG_KIND, f"there is no proximal map of {describe(g)}", span, fix=fix)
    maps.as_tensors([t], span)
    return Prox(g, t)


@word("adjoint(K)", 1, 1)
def _adjoint(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The adjoint of a linear map."""
    return maps.adjoint(arguments[0], span)


@word("lipschitz(F)", 1, 1)
def _lipschitz(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """A guaranteed upper bound of the Lipschitz constant of a map in the Euclidean norm."""
    return runtime.lipschitz(arguments[0], context, span)


@word("linear(F)", 1, 1)
def _linear(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Whether a map is known to be linear."""
    return Truth(constants.linear(arguments[0], context, span) is True)


@word("symmetric(A)", 1, 1)
def _symmetric(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Whether a linear map is known to be its own adjoint."""
    return Truth(constants.symmetric(arguments[0], context, span) is True)


@word("strong_convexity(f)", 1, 1)
def _strong_convexity(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """A guaranteed lower bound of the strong convexity of a function."""
    return runtime.lower_bound(context.fact("strong_convexity", arguments[0], context, span), context, span)


@word("monotonicity(F)", 1, 1)
def _monotonicity(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """A guaranteed m with ⟨F(x) - F(y), x - y⟩ >= m‖x - y‖²; negative where none is known that is not."""
    return runtime.lower_bound(monotonicity.monotonicity(arguments[0], context, span), context, span)


# --- what the words share ---------------------------------------------------------------------------------


def sizes(things: Arguments, span: Span) -> tuple[Size, ...]:
    """Things as sizes. SpecError: one is no size."""
    flat = things[0].items if len(things) == 1 and isinstance(things[0], Several) else things
    found: list[Size] = []
    for thing in flat:
        if isinstance(thing, Extent):
            found.append(thing.size)
        elif isinstance(thing, Number) and thing.value.denominator == 1 and thing.value >= 0:
            found.append(int(thing.value))
        else:
            fix = "write a whole number, or a name from `sizes:`"
            open = isinstance(thing, Tensor)
            told = "what is known only when the model runs" if open else describe(thing)
            raise refuse(NOT_KNOWN_YET, f"a size is wanted here, not {told}", span, fix=fix)
    return tuple(found)


def _fixed(thing: Any, span: Span) -> int:
    (size,) = sizes([thing], span)
    if not isinstance(size, int):
        fix = f"give `{size}` a number under `sizes:`"
        raise refuse(NOT_KNOWN_YET, f"the size {size} is known only when the model runs", span, fix=fix)
    return size


def _filled(number: float, arguments: Arguments, context: Context, span: Span) -> Any:
    shape = sizes(arguments, span)
    if all(isinstance(size, int) for size in shape) and _entries(shape) <= 1 << 22:
        return Table(np.full(shape, number))  # type: ignore[arg-type]
    scalar = context.scope.build.scalar(number, context.scope.precision)
    return Tensor(context.scope.build.op("broadcast", scalar, shape=shape, place=span))


def _entries(shape: tuple[Size, ...]) -> int:
    total = 1
    for size in shape:
        total *= bind(size, {})
    return total


def _axes(rank: int, keywords: Keywords, span: Span) -> tuple[int, ...]:
    """All axes, or the one that is named; counted from the end."""
    if "axis" not in keywords:
        return tuple(range(-rank, 0))
    axis = keywords["axis"]
    number = int(axis.value) if isinstance(axis, Number) and axis.value.denominator == 1 else None
    if number is None or not -rank <= number < rank:
        raise no_axis("that" if number is None else number, rank, span)
    return (number - rank if number >= 0 else number,)


def _reduced(name: str, x: Any, keywords: Keywords, context: Context, span: Span, **over: Any) -> Any:
    (x,) = maps.as_tensors([x], span)
    type = arithmetic.type_of(x, context.scope)
    return arithmetic.apply(name, [x], context.scope, span, axes=_axes(type.rank, keywords, span), **over)


def _extremum(name: str, arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    things = maps.as_tensors(arguments, span)
    if len(things) == 1:
        if name == "maximum":
            return _reduced("reduce_max", things[0], keywords, context, span)
        opposite = arithmetic.apply("negate", things, context.scope, span)
        most = _reduced("reduce_max", opposite, keywords, context, span)
        return arithmetic.apply("negate", [most], context.scope, span)
    if keywords:
        raise refuse(
            WRONG_ARGUMENTS, f"`axis` goes with one tensor, not with {len(things)}", span, fix="drop it"
        )
    exact = [thing.value for thing in things if isinstance(thing, Number)]
    if len(exact) == len(things):
        return Number(max(exact) if name == "maximum" else min(exact))
    result = things[0]
    for thing in things[1:]:
        result = arithmetic.apply(name, [result, thing], context.scope, span)
    return result
