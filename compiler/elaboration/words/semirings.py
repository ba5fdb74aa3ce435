"""Sums and products over semirings: `semiring=` behind a word, and the word `matmul`."""

from typing import Any

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.things import Number, Word
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.primitives.semiring import SEMIRINGS
from banach.ir.span import Span

KEYS = ("semiring", "bound")
_TROPICAL = "write `semiring=min_plus`, or `max_plus`: the tropical sum is the smaller, or the larger"


def algebra(keywords: Keywords, name: str, span: Span) -> dict[str, Any]:
    """The semiring that keywords name, and its bound, as attributes. SpecError: they name none."""
    thing, bound = keywords.get("semiring"), keywords.get("bound")
    told = thing.value if isinstance(thing, Word) else ""
    if told not in SEMIRINGS:
        fix = f"write `semiring={next(iter(SEMIRINGS))}`, or one of {', '.join(SEMIRINGS)}"
        fix = _TROPICAL if told == "tropical" else fix
        raise refuse(WRONG_ARGUMENTS, f"`{name}` is over a semiring, and this names none", span, fix=fix)
    if not SEMIRINGS[told].bounded:
        if bound is not None:
            raise refuse(WRONG_ARGUMENTS, f"the semiring {told} has no bound", span, fix="drop `bound`")
        return {"semiring": told}
    if not isinstance(bound, Number) or bound.value.denominator != 1:
        fix = f"write `semiring={told}, bound=4`, say"
        raise refuse(WRONG_ARGUMENTS, f"the semiring {told} has a bound, a whole number", span, fix=fix)
    return {"semiring": told, "bound": int(bound.value)}


def elements(things: Arguments, semiring: str, context: Context, span: Span) -> list[Any]:
    """Tensors whose entries are of the semiring. SpecError: one holds other entries."""
    found = maps.as_tensors(things, span)
    kinds = SEMIRINGS[semiring].kinds
    for thing in found:
        type = arithmetic.type_of(thing, context.scope)
        if type.dtype not in kinds:
            wanted, fix = _WANTED[kinds[0]]
            message = f"the semiring {semiring} is of {wanted}, and this is {type}"
            raise refuse(WRONG_KIND, message, span, fix=fix)
    return found


_WANTED = {
    "bool": ("truth values", "write `x > 0`, say, which is a truth value"),
    "int64": ("integers", "write `whole(x)`, which is an integer"),
    "float64": ("reals", "write `1.0 * x` for an integer, `1.0 if x else 0.0` for a truth value"),
}


@word("matmul(A, B, semiring=s, bound=n)", 2, 2, *KEYS)
def _matmul(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The product of a matrix with a matrix or a vector over a semiring; over the reals write A @ B."""
    if "semiring" not in keywords:
        fix = "write `A @ B`, or add `semiring=boolean`, say"
        raise refuse(WRONG_ARGUMENTS, "the product over the reals is `A @ B`", span, fix=fix)
    over = algebra(keywords, "matmul", span)
    left, right = elements(arguments, over["semiring"], context, span)
    scope, type = context.scope, arithmetic.type_of(right, context.scope)
    if type.rank != 1:
        return arithmetic.apply("semiring_matmul", [left, right], scope, span, **over)
    column = arithmetic.apply("reshape", [right], scope, span, shape=(*type.shape, 1))
    found = arithmetic.apply("semiring_matmul", [left, column], scope, span, **over)
    return arithmetic.apply(
        "reshape", [found], scope, span, shape=arithmetic.type_of(found, scope).shape[:-1]
    )
