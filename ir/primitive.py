"""What a primitive's page holds.

One final class in `ir/primitives/<family>.py`. Its docstring has the fixed headings below; then come, in
this order: shape rule, numpy meaning (the oracle), reverse derivative, facts, names of its lowerings or a
decomposition, samples. The pages are found by walking the folder, and tests/ir/test_laws.py runs over all.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from banach.ir.dims import Size
from banach.ir.exact import Interval
from banach.ir.graph import PRIMITIVES, Builder, Graph, Value
from banach.ir.shelf import BadPage, Page, pages
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
    norm as a matrix [first axis, all others] (worked out only when asked for), and its value if constant."""

    type: TensorType
    range: Interval = REALS
    norm: Callable[[], Interval] = field(default=lambda: NONNEGATIVE)
    value: Tensor | None = None
    symbol: Callable[[], Interval] = field(default=lambda: NONNEGATIVE)


@dataclass(frozen=True, slots=True)
class Sample:
    """Arguments on which the shelf's tests try a primitive."""

    operands: tuple[np.ndarray, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Primitive(Page, ABC):
    """An operation on tensors."""

    headings = ("Maths", "Types", "Reverse", "Facts", "Source")

    # Trailing axes that each operand's meaning takes for itself; the axes before them broadcast.
    # None: the operands are not aligned with each other.
    core: ClassVar[tuple[int, ...] | None] = ()
    # Whether the operation is linear in all of its operands that have tangents, taken together.
    linear: ClassVar[bool] = False
    # Where it is not: groups of operands, in each of which, taken together, it is linear, the others held.
    linear_in: ClassVar[tuple[tuple[int, ...], ...]] = ()
    # The name of the same operation in a backend, where it needs nothing else.
    lowerings: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def types(self, operands: Types, regions: Regions, **attributes: Any) -> Types:
        """The types of the results. TypeMismatch: the operands do not fit."""

    @abstractmethod
    def evaluate(self, *operands: np.ndarray, **attributes: Any) -> np.ndarray:
        """The numpy meaning."""

    @abstractmethod
    def reverse(
        self, build: Builder, operands: Values, results: Values, cotangents: Values, **attributes: Any
    ) -> Cotangents:
        """A cotangent for every operand; None where it is zero, or where the operand has no tangent."""

    def linear_groups(self, operands: int) -> tuple[tuple[int, ...], ...]:
        """The groups of operands in each of which, taken together, the operation is linear."""
        return (tuple(range(operands)),) if self.linear else self.linear_in

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

    @abstractmethod
    def samples(self) -> Iterable[Sample]:
        """Arguments for the laws: generic points, no kinks."""

    def accept(self) -> None:
        """Holds a page from another package to the laws, at its samples, along one direction each."""
        samples = list(self.samples())
        if not samples:
            raise BadPage("it has no samples to try it on")
        for i, sample in enumerate(samples):
            try:
                _hold(self, sample)
            except BadPage as refusal:
                raise BadPage(f"on its sample {i}, {refusal}") from None


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


# --- what a page from another package is held to -----------------------------------------------------------

STEP, ALLOWED = 1e-5, 1e-5  # of a difference, and its error relative to what it measures


def _hold(definition: Primitive, sample: Sample) -> None:
    """The result has the type that `types` says, and the facts that a certificate would rest on hold; R is
    the slope, is additive, and is 0 at 0. A sample can refute a page, and proves nothing. BadPage."""
    given = [np.asarray(x) for x in sample.operands]
    operands = tuple(TensorType(str(x.dtype), x.shape) for x in given)
    (declared,) = definition.types(operands, (), **sample.attributes)
    made = np.asarray(definition.evaluate(*given, **sample.attributes))
    found = TensorType(str(made.dtype), made.shape)
    if (found.dtype, found.shape) != (declared.dtype, declared.shape):
        raise BadPage(f"`types` says {declared}, and `evaluate` gives {found}")
    _hold_facts(definition, sample, given, made)
    if not declared.is_float or not any(type.is_float for type in operands):
        return
    try:
        graph = _rule(definition, operands, sample)
    except NotDifferentiable:
        return
    random = np.random.default_rng(0)
    w = random.standard_normal(made.shape)
    v = [random.standard_normal(x.shape) if x.dtype.kind == "f" else 0 * x for x in given]
    back = _run(graph, [*given, w])
    for x, dx in zip(given, back):
        if dx.shape != x.shape:
            raise BadPage(
                f"`reverse` gives a cotangent of shape {list(dx.shape)} for an operand {list(x.shape)}"
            )

    def along(t: float) -> float:
        there = [x + t * d if x.dtype.kind == "f" else x for x, d in zip(given, v)]
        return float(np.sum(w * definition.evaluate(*there, **sample.attributes)))

    slope = (along(STEP) - along(-STEP)) / (2 * STEP)
    told = float(sum(np.sum(dx * d) for dx, d in zip(back, v)))
    if not abs(told - slope) <= ALLOWED * max(1.0, abs(slope)):
        raise BadPage(f"`reverse` says a slope of {told:.6g}, and differences of `evaluate` say {slope:.6g}")
    for twice, once in zip(_run(graph, [*given, 2 * w]), back):
        if not np.allclose(twice, 2 * once, rtol=1e-9, atol=1e-12):
            raise BadPage("`reverse` is not linear in the cotangent")


def _hold_facts(definition: Primitive, sample: Sample, given: Sequence[np.ndarray], made: np.ndarray) -> None:
    """`range` holds the result, no step grows by more than `gain`, what is called linear is. BadPage."""

    def f(operands: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(definition.evaluate(*operands, **sample.attributes), np.float64)

    low, high = definition.range([_known(x, 0.0) for x in given], **sample.attributes).to_floats()
    slack = ALLOWED * max(1.0, float(np.abs(made).max(initial=0)))
    if np.any(made < low - slack) or np.any(made > high + slack):
        raise BadPage(f"`range` says [{low:.6g}, {high:.6g}], and `evaluate` gives {np.ravel(made)}")
    random, y = np.random.default_rng(1), f(given)  # not the seed of `draw`: x - x is linear in anything
    for i, x in enumerate(given):
        if x.dtype.kind != "f" or not x.size:
            continue
        known = [_known(z, STEP * (i == j)) for j, z in enumerate(given)]
        most = definition.gain(i, known, **sample.attributes).to_floats()[1]

        def along(d: np.ndarray, i: int = i) -> np.ndarray:
            return np.ravel(f([z + d if i == j else z for j, z in enumerate(given)]) - y)

        basis = STEP * np.eye(x.size).reshape(x.size, *x.shape)
        slopes = np.stack([along(d) for d in basis], axis=1)
        d = STEP * np.linalg.svd(slopes)[2][0].reshape(x.shape)  # the direction in which it grows most
        grown = float(np.linalg.norm(along(d)) / STEP)
        if not grown <= most + ALLOWED * max(1.0, grown):
            raise BadPage(f"`gain` says at most {most:.6g} in operand {i}, a step grows by {grown:.6g}")
    for group in definition.linear_groups(len(given)):
        moves = [i in group and x.dtype.kind == "f" for i, x in enumerate(given)]
        d = [random.standard_normal(x.shape) if m else x for x, m in zip(given, moves)]
        mixed = [2 * x - z if m else x for x, z, m in zip(given, d, moves)]
        if any(moves) and not np.allclose(f(mixed), 2 * y - f(d), rtol=ALLOWED, atol=ALLOWED):
            raise BadPage(f"it calls itself linear in operands {list(group)}, and `evaluate` is not")


def _known(x: np.ndarray, reach: float) -> Known:
    """What is known of an operand whose entries are at most `reach` away from those of x."""
    type = TensorType(str(x.dtype), x.shape)
    if x.dtype == bool or not x.size:
        return Known(type)
    return Known(type, Interval.between(x.min() - reach, x.max() + reach))


def _rule(definition: Primitive, operands: Types, sample: Sample) -> Graph:
    """x, dy ↦ dx, with zeros where the page says nothing flows."""
    build = Builder(definition.name)
    x = [build.input(f"x{i}", type) for i, type in enumerate(operands)]
    y = build.op(definition.name, *x, **sample.attributes)
    dy = build.input("dy", y.type)
    found = definition.reverse(build, x, [y], [dy], **sample.attributes)
    if len(found) != len(x):
        raise BadPage(f"`reverse` gives {len(found)} cotangents for {len(x)} operands")
    return build.finish(
        {f"d{i}": build.zeros(v.type) if d is None else d for i, (v, d) in enumerate(zip(x, found))}
    )


def _run(graph: Graph, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a graph without regions means; ir/evaluate.py is the oracle, and stands above the pages."""
    values: list[np.ndarray] = list(arguments)
    for op in graph.ops:
        operands = [values[v] for v in op.operands]
        values.append(np.asarray(page(op.name).evaluate(*operands, **dict(op.attributes))))
    return [values[v] for v in graph.outputs]
