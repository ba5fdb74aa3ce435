"""Constants as numbers of the program: bounds that survive being stored, or that the graph computes.

Gram iteration in float64. For a symmetric M, ‖M‖² = ‖M²‖ <= ‖fl(M M)‖ + γ‖M‖_F², where γ bounds the rounding
of a product of n terms in any order; so with M_0 = fl(AᵀA) and M_(k+1) = fl(M_k M_k)
    ‖A‖² <= ‖M_0‖ + γ‖A‖_F²,   ‖M_k‖ <= √(‖M_(k+1)‖ + γ‖M_k‖_F²),   ‖M_K‖ <= ‖M_K‖_F.
Every M_k is divided by its own size first, so that nothing overflows; each scalar step is loosened.
"""

from fractions import Fraction
from typing import Any

from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.analysis import constants
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import NOT_KNOWN_YET, refuse
from banach.compiler.elaboration.things import (
    Adjoint,
    Complex,
    Composed,
    Function,
    Gradient,
    Map,
    Matrix,
    Number,
    Operator,
    Scaled,
    Tensor,
    Total,
)
from banach.compiler.facts import quantity as q
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Value
from banach.ir.span import Span
from banach.ir.tensor_type import ROUNDOFF

_ROUNDS = 6
_LOOSE = 1 + 2.0**-40  # covers the few roundings of each scalar step in float64
_STORED = 1 + 2.0**-20  # covers the rounding of the result, and of 1/L, in float32
_FARTHEST = 2**40  # the bound is at most √n ‖A‖, up to rounding; no array has more than 2^63 entries
_TINY = 1e-150
_LEAST = {
    "float32": 2.0**-60,
    "float64": 2.0**-500,
}  # for A = 0: 1/L² is finite still, and a bound all the same


def lipschitz(thing: Any, context: Context, span: Span | None) -> Any:
    """An upper bound of a map's Lipschitz constant: a number, or a tensor if it depends on inputs."""
    known = constants.lipschitz(thing, context, span)
    if known.unit:
        return _at_run_time(maps.as_map(thing, span), context, span)
    return upper_bound(known, context, span)


def _at_run_time(map: Map, context: Context, span: Span | None) -> Any:
    """The same where the map is known only at run time: a bound that the graph computes."""
    scope = context.scope
    match map:
        case Matrix(Complex() as matrix):
            return norm_bound(arithmetic.real_matrix(matrix, scope, span), context, span)
        case Matrix(Tensor() as matrix):
            return norm_bound(matrix, context, span)
        case Adjoint(inner):
            return _at_run_time(inner, context, span)
        case Scaled(factor, inner):
            size = arithmetic.apply("abs", [factor], scope, span)
            return arithmetic.binary("*", size, lipschitz(inner, context, span), scope, span)
        case Composed(outer, inner):
            first, second = (lipschitz(part, context, span) for part in (outer, inner))
            return arithmetic.binary("*", first, second, scope, span)
        case Total(terms):
            total = lipschitz(terms[0], context, span)
            for term in terms[1:]:
                total = arithmetic.binary("+", total, lipschitz(term, context, span), scope, span)
            return total
        case Gradient(Function(page, names)):
            context.assumed.trust(page.trusted)
            return context.evaluate(page.facts["smoothness"][1], names, context)
        case Operator(page, names):
            context.assumed.trust(page.trusted)
            return context.evaluate(page.facts["lipschitz"][1], names, context)
    raise refuse(NOT_KNOWN_YET, "this constant depends on what is known only when the model runs", span)


def upper_bound(quantity: q.Quantity, context: Context, span: Span | None) -> Any:
    """A number of the program that is at least the quantity, by a margin that survives being stored."""
    return _bound(quantity, quantity.interval.hi, 1, context, span)


def lower_bound(quantity: q.Quantity, context: Context, span: Span | None) -> Any:
    """A number of the program that is at most the quantity, by a margin that survives being stored."""
    return _bound(quantity, quantity.interval.lo, -1, context, span)


def _bound(quantity: q.Quantity, end: Any, sign: int, context: Context, span: Span | None) -> Any:
    if isinstance(end, float) or quantity.unit:
        reason = (
            "depends on what is known only when the model runs"
            if quantity.unit
            else "has no bound that we can prove"
        )
        raise refuse(NOT_KNOWN_YET, f"this constant {reason}", span, fix="give the number itself")
    # Four units of roundoff: 1/L, stored to nearest, stays below 1/L.
    margin = 4 * Fraction(ROUNDOFF[context.scope.precision])
    rounded = Interval.of(end * (1 + sign * margin)).to_floats()
    return Number(Fraction(rounded[1] if sign > 0 else rounded[0]))


def norm_bound(matrix: Tensor, context: Context, span: Span | None) -> Tensor:
    """An upper bound of the spectral norm of a matrix; its enclosure is in units of the norm itself."""
    build = context.scope.build
    value = context.scope.value(matrix, place=span)
    bound = _gram_bound(build, build.op("cast", value, dtype="float64"))
    floor = build.scalar(_LEAST[value.type.dtype], value.type.dtype)
    stored = build.op("maximum", build.op("cast", bound * _STORED, dtype=value.type.dtype), floor)
    within = q.Quantity(
        Interval.between(1, _FARTHEST), ["between", "1", str(_FARTHEST)]
    )  # the factor between the bound and the norm
    norm = constants.norm_atom(matrix, context.scope)
    return Tensor(stored, norm.tree[1], q.combine("*", within, norm))


def _gram_bound(build: Builder, a: Value) -> Value:
    m, n = a.type.shape
    turned = build.op("transpose", a, permutation=(-1, -2))
    wide = isinstance(m, int) and isinstance(n, int) and m < n
    gram = build.op("matmul", a, turned) if wide else build.op("matmul", turned, a)
    gamma = _gamma(build, m, n)
    squares: list[tuple[Value, Value]] = []  # size of M_k, and ‖M_k/size‖_F²
    current = gram
    for _ in range(_ROUNDS):
        size = build.op("maximum", _frobenius(build, current), build.scalar(_TINY, "float64"))
        unit = current / size
        squares.append((size, _square(build, unit)))
        current = build.op("matmul", unit, unit)
    bound = _frobenius(build, current) * _LOOSE
    for size, square in reversed(squares):
        # ‖unit‖ <= √(‖unit²‖ + γ‖unit‖_F²), and M_k = size · unit
        bound = build.op("sqrt", (bound + gamma * square) * _LOOSE) * size * _LOOSE
    return build.op("sqrt", (bound + gamma * _square(build, a)) * _LOOSE) * _LOOSE


def _gamma(build: Builder, m: Any, n: Any) -> Value:
    """(m + n + 4)·u·2, more than the rounding of a product of m or n terms and of the division before it."""
    count = build.op("extent", size=m + n + 4, dtype="float64")
    return count * float(Fraction(2, 2**53))


def _square(build: Builder, matrix: Value) -> Value:
    return build.op("sum", matrix * matrix, axes=(-2, -1)) * _LOOSE


def _frobenius(build: Builder, matrix: Value) -> Value:
    return build.op("sqrt", _square(build, matrix))
