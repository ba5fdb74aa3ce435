"""Complex numbers: what operations mean on them, as operations on pairs (Re, Im) of reals.

The graph has real types alone, as the runtimes of ONNX have. A tensor complex[n] is carried by a real one of
shape [n, 2], and C^n is the Euclidean space R^2n: one norm, the inner product Re Σ conj(x_i)·y_i, and as
derivative of a map that of the real map between pairs. So every fact and theorem about reals holds as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.things import Complex, Number, Table, Tensor, describe
from banach.ir.dims import Size
from banach.ir.graph import Value
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

# The dtype of the language, by that of its parts; halves have no such dtype in numpy, and come in as others.
COMPLEX = {
    "float32": "complex64",
    "float64": "complex128",
    "float16": "complex32",
    "bfloat16": "bcomplex32",
}
_REAL = {name: part for part, name in COMPLEX.items()}


def is_complex(type: TensorType) -> bool:
    """Whether a type of the language is one of complex numbers."""
    return type.dtype in _REAL


def carried(thing: Any) -> Any:
    """The real tensor that carries a tensor: the pairs of complex numbers, anything else as it is."""
    return thing.pairs if isinstance(thing, Complex) else thing


def carrier(type: TensorType) -> TensorType:
    """The type of what carries a tensor of this type."""
    return TensorType(_REAL[type.dtype], (*type.shape, 2)) if is_complex(type) else type


def opened(value: Value, type: TensorType, label: str = "") -> Tensor | Complex:
    """A value of the graph as a tensor of the language, whose type is given."""
    tensor = Tensor(value, label)
    return Complex(tensor) if is_complex(type) else tensor


@dataclass(frozen=True, slots=True)
class Reals:
    """Operations on reals, of which those on complex numbers are made.

    How one is applied, what type it has, and the real matrix that carries a complex one.
    """

    apply: Callable[..., Any]
    type_of: Callable[[Any], TensorType]
    matrix: Callable[[Complex], Any]

    def __call__(self, name: str, *operands: Any, **attributes: Any) -> Any:
        return self.apply(name, operands, **attributes)

    def shape(self, thing: Any) -> tuple[Size, ...]:
        return self.type_of(thing).shape

    def reshaped(self, thing: Any, *shape: Size) -> Any:
        return self("reshape", thing, shape=shape)

    def beside(self, x: Any) -> Any:
        """A real tensor as a factor of pairs: a last axis of length 1 is added where it has axes."""
        return self.reshaped(x, *self.shape(x), 1) if self.shape(x) else x

    def pairs(self, x: Any) -> Any:
        """The pairs of complex numbers, or of reals: (x, 0)."""
        if isinstance(x, Complex):
            return x.pairs
        if isinstance(x, Number):
            return Table(np.array([float(x.value), 0.0]))
        return self("pad", self.reshaped(x, *self.shape(x), 1), axis=-1, before=0, after=1)

    def part(self, pairs: Any, place: int) -> Any:
        """The real parts, or the imaginary ones."""
        cut = self("slice", pairs, axis=-1, start=place, stop=place + 1)
        return self.reshaped(cut, *self.shape(pairs)[:-1])

    def conjugate(self, pairs: Any) -> Any:
        return self("multiply", pairs, Table(np.array([1.0, -1.0])))

    def made_matrix(self, pairs: Any) -> Any:
        """The real matrix [2m, 2n] of the map z ↦ A z on pairs: a block (a, -b; b, a) for an entry a + ib."""
        *leading, m, n, _ = self.shape(pairs)
        turned = self("complex_multiply", pairs, Table(np.array([0.0, 1.0])))  # the image of i
        columns = [self.reshaped(part, *leading, m, n, 1, 2) for part in (pairs, turned)]
        blocks = self("concatenate", *columns, axis=-2)  # [.., m, n, column, row]
        rows = self("transpose", blocks, permutation=(-4, -1, -3, -2))
        return self.reshaped(rows, *leading, 2 * m, 2 * n)

    def columns(self, pairs: Any) -> Any:
        """[.., n, k, 2] as the real matrix [.., 2n, k] whose columns the real matrix of a map takes."""
        *leading, n, k, _ = self.shape(pairs)
        turned = self("transpose", pairs, permutation=(-3, -1, -2))
        return self.reshaped(turned, *leading, 2 * n, k)

    def from_columns(self, matrix: Any) -> Any:
        *leading, doubled, k = self.shape(matrix)
        apart = self.reshaped(matrix, *leading, doubled // 2, 2, k)
        return self("transpose", apart, permutation=(-3, -1, -2))


def admit(page: Any, thing: Any, span: Span | None) -> None:
    """SpecError: a page of the library is given complex numbers, and does not say that it is about those."""
    if isinstance(thing, Complex) and not page.complex:
        message = f"the {page.kind} {page.name} is about reals, and this is {describe(thing)}"
        way = (
            "write its equations in `next:`"
            if page.kind == "solver"
            else "apply it to real(z), imag(z) or abs(z)"
        )
        fix = f"{way}; `banach list {page.kind}s` marks the pages that take complex numbers"
        raise refuse(WRONG_KIND, message, span, fix=fix)


Rule = Callable[..., Any]  # (reals, operands, attributes) to what the operation gives


def apply(
    reals: Reals, name: str, operands: Sequence[Any], attributes: Mapping[str, Any], span: Span | None
) -> Any:
    """An operation of which some operand is complex. SpecError: it has no such meaning."""
    rule = _RULES.get(name)
    if rule is None:
        fix = _FIXES.get(name, "take real(z) and imag(z) apart, or the size abs(z)")
        what = (
            "complex numbers have no order" if name in _ORDERS else f"`{name}` does not take complex numbers"
        )
        raise refuse(WRONG_KIND, what, span, fix=fix)
    return rule(reals, operands, **attributes)


_ORDERS = ("less", "less_equal", "maximum", "minimum", "reduce_max", "sort", "argmax", "top", "sign", "clip")
_FIXES = {
    **dict.fromkeys(_ORDERS, "compare their sizes, `abs(z)`, or their parts, `real(z)` and `imag(z)`"),
    "power": "write a whole number from -1 to 8 as the exponent",
    "complex_multiply": "write `z * w`",
    "cast": "take `real(z)` first",
}


def _as_pairs(name: str) -> Rule:
    """What acts on real and imaginary parts alike, entry by entry."""
    return lambda reals, operands: Complex(reals(name, *map(reals.pairs, operands)))


def _along(name: str) -> Rule:
    """What moves or adds entries: axes are counted from the end, where the pairs stand."""

    def rule(reals: Reals, operands: Sequence[Any], **attributes: Any) -> Complex:
        shifted = dict(attributes)
        if "axis" in shifted:
            shifted["axis"] -= 1
        if "axes" in shifted:
            shifted["axes"] = tuple(axis - 1 for axis in shifted["axes"])
        if "shape" in shifted:
            shifted["shape"] = (*shifted["shape"], 2)
        if "permutation" in shifted:
            shifted["permutation"] = (*(axis - 1 for axis in shifted["permutation"]), -1)
        given = [reals.pairs(x) for x in operands] if name == "concatenate" else list(map(carried, operands))
        return Complex(reals(name, *given, **shifted))

    return rule


def _multiply(reals: Reals, operands: Sequence[Any]) -> Complex:
    a, b = operands
    if isinstance(a, Complex) and isinstance(b, Complex):
        return Complex(reals("complex_multiply", a.pairs, b.pairs))
    z, x = (a, b) if isinstance(a, Complex) else (b, a)
    return Complex(reals("multiply", z.pairs, reals.beside(x)))


def _divide(reals: Reals, operands: Sequence[Any]) -> Complex:
    a, b = operands
    if not isinstance(b, Complex):
        return Complex(reals("divide", a.pairs, reals.beside(b)))
    # a / b = a·conj(b) / |b|²
    square = reals("sum", reals("square", b.pairs), axes=(-1,))
    mirror = Complex(reals.conjugate(b.pairs))
    product = _multiply(reals, (a, mirror))
    return Complex(reals("divide", product.pairs, reals.beside(square)))


def _equal(reals: Reals, operands: Sequence[Any]) -> Any:
    same = reals("equal", *map(reals.pairs, operands))
    return reals("and", reals.part(same, 0), reals.part(same, 1))


def _select(reals: Reals, operands: Sequence[Any]) -> Any:
    condition, *sides = operands
    return Complex(reals("select", reals.beside(condition), *map(reals.pairs, sides)))


def _norm(reals: Reals, operands: Sequence[Any], *, axes: tuple[int, ...]) -> Any:
    return reals("norm", operands[0].pairs, axes=(*(axis - 1 for axis in axes), -1))


def _exponential(reals: Reals, operands: Sequence[Any]) -> Complex:
    """e^(a + ib) = e^a (cos b, sin b)."""
    pairs = operands[0].pairs
    angle = reals.part(pairs, 1)
    parts = [reals.reshaped(reals(name, angle), *reals.shape(angle), 1) for name in ("cos", "sin")]
    size = reals.beside(reals("exp", reals.part(pairs, 0)))
    return Complex(reals("multiply", reals("concatenate", *parts, axis=-1), size))


def _soft_threshold(reals: Reals, operands: Sequence[Any]) -> Complex:
    """The proximal map of t·Σ|z_i|, which moves every z_i towards zero by t."""
    z, t = operands
    return Complex(reals("group_soft_threshold", z.pairs, t))


def _matvec(reals: Reals, operands: Sequence[Any]) -> Complex:
    a, x = operands
    if not isinstance(a, Complex):
        return Complex(reals("matmul", a, x.pairs))
    pairs = reals.pairs(x)
    *_, n, _ = reals.shape(pairs)
    found = reals("matvec", reals.matrix(a), reals.reshaped(pairs, 2 * n))
    return Complex(reals.reshaped(found, reals.shape(a.pairs)[0], 2))


def _matmul(reals: Reals, operands: Sequence[Any]) -> Complex:
    a, b = operands
    if not isinstance(a, Complex):  # the same rows act on both parts
        *leading, n, k, _ = reals.shape(b.pairs)
        found = reals("matmul", a, reals.reshaped(b.pairs, *leading, n, 2 * k))
        return Complex(reals.reshaped(found, *reals.shape(found)[:-1], k, 2))
    found = reals("matmul", reals.matrix(a), reals.columns(reals.pairs(b)))
    return Complex(reals.from_columns(found))


def _solve(reals: Reals, operands: Sequence[Any]) -> Complex:
    a, b = (Complex(reals.pairs(x)) for x in operands)
    return Complex(reals.from_columns(reals("solve", reals.matrix(a), reals.columns(b.pairs))))


def _transform(name: str) -> Rule:
    return lambda reals, operands, **attributes: Complex(reals(name, operands[0].pairs, **attributes))


_RULES: Mapping[str, Rule] = {
    **{name: _as_pairs(name) for name in ("add", "subtract", "negate", "stop_gradient")},
    **{
        name: _along(name)
        for name in (
            *("sum", "slice", "concatenate", "take", "roll", "flip", "pad", "cumsum"),
            *("reshape", "broadcast", "transpose"),
        )
    },
    **{name: _transform(name) for name in ("dft", "dft_adjoint")},
    "multiply": _multiply,
    "divide": _divide,
    "square": lambda reals, operands: _multiply(reals, (*operands, *operands)),
    "equal": _equal,
    "select": _select,
    "norm": _norm,
    "abs": lambda reals, operands: reals("norm", operands[0].pairs, axes=(-1,)),
    "exp": _exponential,
    "soft_threshold": _soft_threshold,
    "matvec": _matvec,
    "matmul": _matmul,
    "solve": _solve,
}
UNIT = Complex(Table(np.array([0.0, 1.0])))  # i
