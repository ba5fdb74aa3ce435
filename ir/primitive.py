"""What a primitive's page holds.

One final class in `ir/primitives/<family>.py`. Its docstring has the fixed headings below; then come, in
this order: shape rule, numpy meaning (the oracle), reverse derivative, facts, names of its lowerings or a
decomposition, samples. The pages are found by walking the folder, and tests/ir/test_laws.py runs over all.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import PRIMITIVES, Builder, Graph, Value
from banach.ir.shelf import Page, pages
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, broadcast

REALS = Interval.everything()
NONNEGATIVE = Interval.between(0, math.inf)

Types = tuple[TensorType, ...]
Regions = tuple[Graph, ...]
Values = Sequence[Value]
Cotangents = tuple[Value | None, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an operand: its type, an interval that holds every entry, an enclosure of its spectral
    norm as a matrix (worked out only when asked for), and its value if constant."""

    type: TensorType
    range: Interval = REALS
    norm: Callable[[], Interval] = field(default=lambda: NONNEGATIVE)
    value: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """Arguments on which the shelf's tests try a primitive."""

    operands: tuple[np.ndarray, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Primitive(Page):
    """An operation on tensors."""

    headings = ("Maths", "Types", "Reverse", "Facts", "Source")

    # Trailing axes that each operand's meaning takes for itself; the axes before them broadcast.
    # None: the operands are not aligned with each other.
    core: ClassVar[tuple[int, ...] | None] = ()
    # Whether the operation is linear in all of its operands that have tangents, taken together.
    linear: ClassVar[bool] = False
    # The name of the same operation in a backend, where it needs nothing else.
    lowerings: ClassVar[Mapping[str, str]] = {}

    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        """The types of the results. TypeMismatch: the operands do not fit."""
        raise NotImplementedError

    def evaluate(self, *operands: np.ndarray, **attributes: Any) -> np.ndarray:
        """The numpy meaning."""
        raise NotImplementedError

    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        """A cotangent for every operand; None where it is zero, or where the operand has no tangent."""
        raise NotImplementedError

    def range(self, operands: Sequence[Known], **attributes: Any) -> Interval:
        """An interval that holds every entry of the result."""
        return REALS

    def gain(self, index: int, operands: Sequence[Known], **attributes: Any) -> Interval:
        """Lower and upper bound of the Lipschitz constant, in the Euclidean norm, of the result as a
        function of one operand, for any values of the others that agree with what is known of them."""
        return NONNEGATIVE

    def vectorise(self, build: Builder, operands: Values, lanes: Sequence[bool], **attributes: Any) -> Value:
        """The operation on every lane at once; `lanes` tells which operands have the axis of lanes."""
        return build.op(self.name, *align(operands, lanes, self.core), **attributes)

    def samples(self) -> Iterable[Sample]:
        """Arguments for the laws: generic points, no kinks."""
        raise NotImplementedError


def page(name: str) -> Any:
    """The page of a primitive. KeyError: there is none."""
    return pages(PRIMITIVES)[name]


def align(operands: Values, lanes: Sequence[bool], core: tuple[int, ...] | None) -> list[Value]:
    """Operands reshaped so that an axis of lanes in front does not meet another operand's own axis."""
    if core is None:
        return list(operands)
    taken = core or (0,) * len(operands)
    leading = [v.type.rank - has - c for v, has, c in zip(operands, lanes, taken)]
    widest = max(leading, default=0)
    aligned = []
    for value, has, own in zip(operands, lanes, leading):
        missing = widest - own
        if has and missing:
            lane, *rest = value.type.shape
            value = value.builder.op("reshape", value, shape=(lane, *[1] * missing, *rest))
        aligned.append(value)
    return aligned


def unbroadcast(value: Value, type: TensorType) -> Value:
    """The sum over the copies that broadcasting made of an operand of this type: its adjoint."""
    shape = value.type.shape
    padded = (1,) * (len(shape) - type.rank) + type.shape
    axes = tuple(i - len(shape) for i, (size, own) in enumerate(zip(shape, padded)) if size != own)
    if axes:
        value = value.builder.op("sum", value, axes=axes)
    return value if value.type.shape == type.shape else value.builder.op("reshape", value, shape=type.shape)


def copies(operands: Sequence[Known], index: int) -> Interval:
    """The gain of stretching one operand to the common shape: the root of the number of its copies."""
    own, common = operands[index].type.shape, broadcast(*(known.type.shape for known in operands))
    padded = (1,) * (len(common) - len(own)) + own
    count: Size = 1
    for size, part in zip(common, padded):
        count = count * (1 if size == part else size)
    return Interval.of(count).sqrt() if isinstance(count, int) else NONNEGATIVE


def draw(*shapes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Standard normal arrays, for samples."""
    random = np.random.default_rng(seed)
    return tuple(random.standard_normal(shape) for shape in shapes)


class NotDifferentiable(Exception):
    """There is no derivative here; the message says why."""
