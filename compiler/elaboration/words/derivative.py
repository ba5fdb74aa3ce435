"""The words for derivatives: `grad`, `jacobian`, `hessian`, `jvp`, `vjp`, `hvp`."""

from typing import Any

from banach.compiler.elaboration import maps
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.derivation import arguments_of
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, refuse
from banach.compiler.elaboration.things import GradientIn, Jacobian, Map, Pulled, Pushed
from banach.compiler.elaboration.words import semirings
from banach.compiler.elaboration.words.word import Arguments, Keywords, word
from banach.ir.diagnostic import suggest
from banach.ir.span import Span


@word("grad(f, wrt=x)", 1, 1, "wrt")
def _grad(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The gradient of a real-valued map, as a map of the same arguments; `wrt` names the one it is in."""
    return _gradient(maps.as_map(arguments[0], span), keywords, span)


@word("jacobian(F, wrt=x)", 1, 1, "wrt")
def _jacobian(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The Jacobian as a map: jacobian(F)(x)[i, j] is ∂F_i/∂x_j, of shape [*result, *argument]."""
    map = maps.as_map(arguments[0], span)
    return Jacobian(map, _one(map, keywords, span))


@word("hessian(f, wrt=x)", 1, 1, "wrt")
def _hessian(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The matrix of second derivatives of a real-valued map, as a map: the Jacobian of its gradient."""
    map = maps.as_map(arguments[0], span)
    return Jacobian(_gradient(map, keywords, span), _one(map, keywords, span))


@word("jvp(F, x, ..., wrt=x)", 2, 8, "wrt")
def _jvp(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The derivative of F at x, as a linear map: jvp(F, x)(v) is the change of F(x) along v."""
    map, point = _at(arguments, span)
    return Pushed(map, point, _place(map, keywords, span))


@word("vjp(F, x, ..., wrt=x, semiring=s)", 2, 8, "wrt", *semirings.KEYS)
def _vjp(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """The adjoint of jvp(F, x): vjp(F, x)(w) is the gradient of ⟨w, F(x)⟩, one for each argument of F."""
    map, point = _at(arguments, span)
    return Pulled(map, point, _place(map, keywords, span), _semiring(keywords, span))


def _semiring(keywords: Keywords, span: Span) -> tuple[str, int] | None:
    """The semiring that a derivative is over, and its bound; None is the reals."""
    if not keywords.keys() & set(semirings.KEYS):
        return None
    over = semirings.algebra(keywords, "vjp", span)
    return over["semiring"], over.get("bound", 0)


@word("hvp(f, x, ..., wrt=x)", 2, 8, "wrt")
def _hvp(arguments: Arguments, keywords: Keywords, context: Context, span: Span) -> Any:
    """Products with the Hessian: hvp(f, x)(v) is the change of grad(f)(x) along v."""
    map, point = _at(arguments, span)
    place = _one(map, keywords, span)
    return Pushed(_gradient(map, keywords, span), point, place)


def _gradient(map: Map, keywords: Keywords, span: Span) -> Map:
    place = _one(map, keywords, span)
    return maps.gradient(map, span) if len(arguments_of(map)) == 1 else GradientIn(map, place)


def _at(arguments: Arguments, span: Span) -> tuple[Map, tuple[Any, ...]]:
    """A map, and a point that has as many parts as the map has arguments."""
    map, point = maps.as_map(arguments[0], span), tuple(arguments[1:])
    wanted = _arguments(map, span)
    if len(point) != len(wanted):
        message = f"a map of {len(wanted)} arguments is derived at {len(wanted)} of them, not {len(point)}"
        raise refuse(WRONG_ARGUMENTS, message, span, fix="give a value for each argument of the map")
    maps.as_tensors(point, span)
    return map, point


def _arguments(map: Map, span: Span) -> tuple[str, ...]:
    """The arguments of a map, which has some."""
    known = arguments_of(map)
    if not known:
        fix = "give the map an argument, `F(x): ...`"
        raise refuse(WRONG_ARGUMENTS, "a map without arguments has no derivative", span, fix=fix)
    return known


def _place(map: Map, keywords: Keywords, span: Span) -> int | None:
    """The place of the argument that `wrt` names. None: there are several, and it names none."""
    known = _arguments(map, span)
    if "wrt" not in keywords:
        return 0 if len(known) == 1 else None
    name = getattr(keywords["wrt"], "value", None)
    if name in known and name:
        return known.index(name)
    near = suggest(str(name), known)
    told = f"write `wrt={near}`" if near else f"its arguments are {', '.join(known)}"
    fix = told if any(known) else "leave `wrt` out: it has one argument"
    raise refuse(WRONG_ARGUMENTS, "`wrt` names an argument of the map, and this is none", span, fix=fix)


def _one(map: Map, keywords: Keywords, span: Span) -> int:
    """The same, where it has to be one argument."""
    place = _place(map, keywords, span)
    if place is not None:
        return place
    known = arguments_of(map)
    message = f"this map has the arguments {', '.join(known)}; it is not said which one to derive in"
    raise refuse(WRONG_ARGUMENTS, message, span, fix=f"add `wrt={known[0]}`")
