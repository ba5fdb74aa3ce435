"""The words for complex numbers: `complex`, `real`, `imag`, `conj`. The imaginary unit is `i`."""

from typing import Any

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.complexes import Reals
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.things import Complex, describe
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.span import Span


@word("complex(x, y)", 1, 2)
def _complex(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The complex numbers x + iy, of real tensors; complex(x) has the imaginary part 0."""
    reals, parts = _read(arguments, context, span)
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], Complex) else Complex(reals.pairs(parts[0]))
    for part in parts:
        if isinstance(part, Complex):
            message = f"real and imaginary part are real, and this is {describe(part)}"
            raise refuse(WRONG_KIND, message, span, fix="write `z + i * w` for complex z and w")
    x, y = (Complex(reals.pairs(part)) for part in parts)
    return arithmetic.binary("+", x, Complex(reals("flip", y.pairs, axis=-1)), context.scope, span)


@word("real(z)", 1, 1)
def _real(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The real parts of complex numbers."""
    reals, (z,) = _read(arguments, context, span)
    return reals.part(z.pairs, 0) if isinstance(z, Complex) else z


@word("imag(z)", 1, 1)
def _imag(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The imaginary parts of complex numbers."""
    reals, (z,) = _read(arguments, context, span)
    return reals.part(reals.pairs(z), 1)


@word("conj(z)", 1, 1)
def _conj(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The complex conjugates. As a map it is linear over the reals, and its own adjoint."""
    reals, (z,) = _read(arguments, context, span)
    return Complex(reals.conjugate(z.pairs)) if isinstance(z, Complex) else z


def _read(arguments: Arguments, context: Context, span: Span) -> tuple[Reals, list[Any]]:
    return arithmetic.reals(context.scope, span), maps.as_tensors(arguments, span)
