"""Sums and products over semirings: numbers, truth values, residues, tropical and saturating numbers.

`semiring` is one of `SEMIRINGS`; `modulo` and `saturating` are on 0 .. bound - 1 and 0 .. bound, of at most
65536, so that a product of matrices of up to 2^20 terms an entry is exact as a sum of float64. Operands lie
in the semiring. Only real and tropical numbers have tangents; ir/polynomial.py derives over the semiring.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from banach.ir.graph import Builder, Value
from banach.ir.primitive import Cotangents, Primitive, Regions, Sample, Types, Values, draw, page
from banach.ir.tensor_type import FLOATS, INTEGERS, TensorType, TypeMismatch, broadcast, same_dtype

LARGEST = 1 << 16  # see the head of this file


@dataclass(frozen=True, slots=True)
class Semiring:
    """What numpy makes of + and ·, and the neutral element of +; `wrap` brings a number back into bounds."""

    kinds: tuple[str, ...]
    plus: Callable[[Any, Any], Any]
    times: Callable[[Any, Any], Any]
    zero: float
    wrap: Callable[[Any, int], Any] = lambda x, bound: x
    bounded: bool = False

    def total(self, x: np.ndarray, axis: int, bound: int) -> np.ndarray:
        """The sum along one axis, term by term."""
        found = np.full(np.delete(x.shape, axis), self.zero, x.dtype)
        for term in np.moveaxis(x, axis, 0):
            found = self.wrap(self.plus(found, term), bound)
        return found


SEMIRINGS = {
    "real": Semiring(FLOATS, np.add, np.multiply, 0),
    "boolean": Semiring(("bool",), np.logical_or, np.logical_and, 0),
    "modulo": Semiring(INTEGERS, np.add, np.multiply, 0, lambda x, n: x % n, True),
    "max_plus": Semiring(FLOATS, np.maximum, np.add, -np.inf),
    "min_plus": Semiring(FLOATS, np.minimum, np.add, np.inf),
    "saturating": Semiring(INTEGERS, np.add, np.multiply, 0, lambda x, top: np.minimum(x, top), True),
}


def semiring_of(name: str, bound: int, operands: Types) -> Semiring:
    """The semiring on these operands. TypeMismatch: there is none, or they are not of its dtypes."""
    if name not in SEMIRINGS:
        raise TypeMismatch(f"there is no semiring {name!r}; there are {', '.join(SEMIRINGS)}")
    found = SEMIRINGS[name]
    if same_dtype(operands) not in found.kinds:
        raise TypeMismatch(f"the semiring {name} is on {' or '.join(found.kinds)}, not on {operands[0]}")
    least = 2 if name == "modulo" else 1
    if found.bounded and not least <= bound <= LARGEST:
        raise TypeMismatch(f"the bound of {name} is {least} to {LARGEST}, not {bound}")
    return found


class _SemiringOp(Primitive):
    core = (0, 0)
    unbounded: ClassVar[Mapping[str, str]]  # the primitive of every semiring, before its result is wrapped

    def types(self, operands: Types, regions: Regions, *, semiring: str, bound: int = 0) -> Types:
        semiring_of(semiring, bound, operands)
        shape = broadcast(*(t.shape for t in operands))
        return (TensorType(operands[0].dtype, shape, operands[0].space),)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        semiring: str,
        bound: int = 0,
    ) -> Cotangents:
        return page(self.unbounded[semiring]).reverse(build, operands, results, cotangents)

    def decompose(self, build: Builder, x: Value, y: Value, *, semiring: str, bound: int = 0) -> Value:
        return _wrapped(build.op(self.unbounded[semiring], x, y), semiring, bound)

    def samples(self) -> Iterable[Sample]:
        yield from _samples((3, 2), (2,))


@final
class SemiringAdd(_SemiringOp):
    """The sum of a semiring, entry by entry.

    Maths    z = x ⊕ y
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  that of add, maximum or minimum; none on truth values and integers
    Facts    none
    Source   Golan, Semirings and their applications (1999)
    """

    unbounded = {
        "real": "add",
        "boolean": "or",
        "modulo": "add",
        "max_plus": "maximum",
        "min_plus": "minimum",
        "saturating": "add",
    }

    def evaluate(self, x: np.ndarray, y: np.ndarray, *, semiring: str, bound: int = 0) -> np.ndarray:
        algebra = SEMIRINGS[semiring]
        return algebra.wrap(algebra.plus(x, y), bound)


@final
class SemiringMultiply(_SemiringOp):
    """The product of a semiring, entry by entry.

    Maths    z = x ⊗ y
    Types    x: [*s], y: [*t] -> z: [*s|t], broadcast
    Reverse  that of multiply or add; none on truth values and integers
    Facts    none
    Source   Golan, Semirings and their applications (1999)
    """

    unbounded = {
        "real": "multiply",
        "boolean": "and",
        "modulo": "multiply",
        "max_plus": "add",
        "min_plus": "add",
        "saturating": "multiply",
    }

    def evaluate(self, x: np.ndarray, y: np.ndarray, *, semiring: str, bound: int = 0) -> np.ndarray:
        algebra = SEMIRINGS[semiring]
        return algebra.wrap(algebra.times(x, y), bound)


@final
class SemiringSum(Primitive):
    """The sum of a semiring over some axes.

    Maths    y = ⊕ x over the axes
    Types    x: [*s] -> y: [*s without the axes]
    Reverse  that of sum or reduce_max; none on truth values and integers
    Facts    none
    Source   Golan, Semirings and their applications (1999)
    """

    core = None

    def types(
        self, operands: Types, regions: Regions, *, axes: tuple[int, ...], semiring: str, bound: int = 0
    ) -> Types:
        semiring_of(semiring, bound, operands)
        return page("sum").types(operands, regions, axes=axes)

    def evaluate(self, x: np.ndarray, *, axes: tuple[int, ...], semiring: str, bound: int = 0) -> np.ndarray:
        for axis in sorted(axes):  # from the front, so that the later ones keep their place from the end
            x = SEMIRINGS[semiring].total(x, axis, bound)
        return x

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        axes: tuple[int, ...],
        semiring: str,
        bound: int = 0,
    ) -> Cotangents:
        if semiring == "real":
            return page("sum").reverse(build, operands, results, cotangents, axes=axes)
        if semiring == "max_plus":
            return page("reduce_max").reverse(build, operands, results, cotangents, axes=axes)
        # min x = -max(-x)
        signed = [[-value for value in group] for group in (operands, results, cotangents)]
        (dx,) = page("reduce_max").reverse(build, *signed, axes=axes)
        return (-dx,)

    def decompose(
        self, build: Builder, x: Value, *, axes: tuple[int, ...], semiring: str, bound: int = 0
    ) -> Value:
        if semiring == "boolean":
            count = build.op("sum", build.op("cast", x, dtype="int64"), axes=axes)
            return build.op("less", build.scalar(0, "int64"), count)
        if semiring == "max_plus":
            return build.op("reduce_max", x, axes=axes)
        if semiring == "min_plus":
            return -build.op("reduce_max", -x, axes=axes)
        return _wrapped(build.op("sum", x, axes=axes), semiring, bound)

    def samples(self) -> Iterable[Sample]:
        for axes in ((-1,), (-3, -1)):
            for sample in _samples((2, 3, 2)):
                yield Sample(sample.operands, {"axes": axes, **sample.attributes})


@final
class SemiringMatmul(Primitive):
    """The product of matrices over a semiring: shortest paths, reachability, automata.

    Maths    C_ij = ⊕_k A_ik ⊗ B_kj
    Types    A: [*s, m, k], B: [*t, k, n] -> C: [*s|t, m, n]
    Reverse  that of matmul, or of a maximum of sums; none on truth values and integers
    Facts    none
    Source   Golan, Semirings and their applications (1999)
    """

    core = (2, 2)

    def types(self, operands: Types, regions: Regions, *, semiring: str, bound: int = 0) -> Types:
        semiring_of(semiring, bound, operands)
        return page("matmul").types(operands, regions)

    def evaluate(self, a: np.ndarray, b: np.ndarray, *, semiring: str, bound: int = 0) -> np.ndarray:
        algebra = SEMIRINGS[semiring]
        terms = algebra.wrap(algebra.times(a[..., :, :, None], b[..., None, :, :]), bound)
        return algebra.total(terms, terms.ndim - 2, bound)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Values,
        *,
        semiring: str,
        bound: int = 0,
    ) -> Cotangents:
        if semiring == "real":
            return page("matmul").reverse(build, operands, results, cotangents)
        wide = _beside(*operands)
        terms = wide[0] + wide[1]
        (inner,) = page("semiring_sum").reverse(
            build, [terms], results, cotangents, axes=(-2,), semiring=semiring
        )
        apart = page("add").reverse(build, wide, [terms], [inner])
        return tuple(build.op("reshape", dx, shape=x.type.shape) for dx, x in zip(apart, operands))

    def decompose(self, build: Builder, a: Value, b: Value, *, semiring: str, bound: int = 0) -> Value:
        if semiring == "real":
            return build.op("matmul", a, b)
        if semiring in ("max_plus", "min_plus"):
            left, right = _beside(a, b)
            return page("semiring_sum").decompose(build, left + right, axes=(-2,), semiring=semiring)
        counts = build.op("matmul", *(build.op("cast", x, dtype="float64") for x in (a, b)))
        if semiring == "boolean":
            return build.op("less", build.scalar(0.0, "float64"), counts)
        return _wrapped(build.op("cast", counts, dtype=a.type.dtype), semiring, bound)

    def samples(self) -> Iterable[Sample]:
        yield from _samples((2, 3), (3, 2))
        yield from _samples((2, 2, 3), (3, 1))


# The page that means the same on the semiring's dtype, before the result is brought back into bounds.
def _wrapped(x: Value, semiring: str, bound: int) -> Value:
    build = x.builder
    if semiring == "saturating":
        return build.op("minimum", x, build.scalar(bound, x.type.dtype))
    if semiring != "modulo":
        return x
    # x - n·⌊x/n⌋ for x >= 0: the quotient of numbers below 2^52 is rounded to no larger integer.
    quotient = build.op("cast", x, dtype="float64") / float(bound)
    return x - build.op("cast", quotient, dtype=x.type.dtype) * bound


def _beside(a: Value, b: Value) -> tuple[Value, Value]:
    """[*s, m, k, 1] and [*t, 1, k, n]."""
    build, (*t, k, n) = a.builder, b.type.shape
    return build.op("reshape", a, shape=(*a.type.shape, 1)), build.op("reshape", b, shape=(*t, 1, k, n))


def _samples(*shapes: tuple[int, ...]) -> Iterable[Sample]:
    for name, algebra in SEMIRINGS.items():
        if not algebra.bounded:
            operands = draw(*shapes)
            if name == "boolean":
                operands = tuple(x > 0 for x in operands)
            yield Sample(operands, {"semiring": name})
            continue
        whole = tuple(np.abs(10 * x).astype(np.int64) % 5 for x in draw(*shapes))
        yield Sample(whole, {"semiring": name, "bound": 5})
