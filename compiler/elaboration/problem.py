"""Mistakes that a formula can hold, found while it is given its meaning."""

from banach.ir.diagnostic import Code, Diagnostic, SpecError
from banach.ir.span import Span

UNKNOWN_NAME = Code(
    "B201",
    "unknown-name",
    """A formula uses a name that is defined nowhere: neither in the spec, nor in the library.

    wrong    outputs: {coefficients: x_hat}
    right    outputs: {coefficients: x}

`banach list` shows the names of the library.
""",
)
TOO_MANY_MAPS = Code(
    "B214",
    "too-many-applications",
    """Maps are applied so often that no graph can hold them all: a formula is worked out at every place where
it is applied, so maps that each apply the one before twice double with every floor.

    wrong    f9(x): f8(x) + f8(x)
    right    f9(x): 2 * f8(x)

An iteration belongs into a `scan` or a `solve`, whose step is there once.
""",
)
WRONG_SHAPE = Code(
    "B202",
    "shapes-do-not-fit",
    """An operation was given tensors whose shapes or dtypes do not go together.

Operands of + - * / are aligned at their last axis, and an axis of 1 stretches. `A @ x` takes as many columns
of A as x has entries. The message shows both shapes, and the notes where they come from.
""",
)
WRONG_KIND = Code(
    "B203",
    "wrong-kind",
    """Something was used as what it is not: a number was called, a map was added to a tensor, a tensor was
given where a function is wanted.

    wrong    prox(A, t)(v)        A is a matrix
    right    prox(l1(lam), t)(v)
""",
)
WRONG_ARGUMENTS = Code(
    "B204",
    "wrong-arguments",
    """A map, a function or a page of the library was given too few arguments, too many, or one that it does
not know. `banach explain NAME` shows what it takes.
""",
)
RECURSIVE = Code(
    "B205",
    "recursive-definition",
    """Definitions use each other in a circle, so none of them has a meaning.

    wrong    operators:
               F(x): G(x) + 1
               G(x): F(x) / 2

What feeds back is written as a `solve` or a `scan`, which says where it starts and when it stops.
""",
)
NOT_KNOWN_YET = Code(
    "B206",
    "not-known-before-the-run",
    """A place that is read when the spec is compiled was given something that is known only when it runs.

Sizes, numbers of repetitions and options in words must be known when the spec is compiled.
""",
)
NAME_CLASH = Code(
    "B208",
    "name-clash",
    """Two things in one spec bear the same name. Every name means one thing; rename one of them.

A map of a spec may have the name of a word of the language, `norm` say. Its formulas then speak of the map,
and a warning says so.
""",
)


class Silent(Exception):
    """A formula reads a name whose definition has failed and has been reported already."""


def counted(number: int, thing: str) -> str:
    """ "1 argument", "2 arguments", "no arguments"."""
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def no_axis(axis: object, rank: int, span: Span | None) -> SpecError:
    """A tensor of this rank has no such axis."""
    fix = f"write one from 0 to {rank - 1}" if rank > 1 else "write 0" if rank else "drop `axis`"
    axes = "no axes" if not rank else "1 axis" if rank == 1 else f"{rank} axes"
    return refuse(WRONG_ARGUMENTS, f"there is no axis {axis}; the tensor has {axes}", span, fix=fix)


def refuse(
    code: Code, message: str, span: Span | None, fix: str = "", label: str = "", why: str = ""
) -> SpecError:
    """A single mistake, as an exception to raise."""
    return SpecError([Diagnostic(code, message, span, label=label, why=why, fix=fix)])
