"""The linear equation v = J v + g, where J is a graph: the adjoint, or the tangent, of a fixed point.

Its solution is Σ J^i g over all i. It is found by iterating, or cut off after some terms. What J needs of the
point it is taken at has been computed in front (ir/hoist.py), so an iteration costs one product with J.
"""

from collections.abc import Sequence

import numpy as np

from banach.ir.graph import Builder, Graph, Value
from banach.ir.hoist import without_unread
from banach.ir.primitives.regions import floats
from banach.ir.tensor_type import ROUNDOFF, TensorType

# The trip cap of an adjoint: q^MOST < 1e-13 for a contraction of factor q <= 0.997.
MOST = 10_000

# Differences below SLACK units of roundoff of v are rounding, and end an iteration however small the
# tolerance is: at one ulp an iteration may go round for ever.
SLACK = 32


def solve(
    build: Builder,
    product: Graph,
    held: Sequence[Value],
    g: Sequence[Value],
    *,
    tolerance: Value,
    most: int,
    lanes: bool,
) -> list[Value]:
    """The v with v = product(v, held) + g, by Picard's iteration from g, as a `fix`.

    It stops where ‖v' - v‖ <= tolerance·‖g‖, with `lanes` lane by lane. NaN where it does not within `most`
    steps.
    """
    product, kept = without_unread(product, len(g))
    given = [held[i - len(g)] for i in kept[len(g) :]]
    equation = _affine(product, len(g))
    regions = [_step(equation), _residual(equation, len(g), lanes, tolerance.type.dtype), equation]
    cap = build.constant(np.asarray(most, np.int64))
    shape = {"states": len(g), "solution": len(g), "lanes": lanes, "every": 1}
    if most != MOST:
        shape["adjoint_most"] = most
    *solved, _, _, status = build.emit("fix", [tolerance, cap, *g, *given, *g], shape, regions)
    converged = build.op("equal", status, build.zeros(status.type))
    return [poisoned(v, converged) for v in solved]


def series(
    build: Builder, product: Graph, held: Sequence[Value], g: Sequence[Value], terms: int
) -> list[Value]:
    """Σ product^i g over i < terms, as a scan by Horner's rule; for one term g itself.

    For ‖product‖ <= q < 1 what is cut off is at most q^terms / (1 - q) · ‖g‖.
    """
    if terms == 1:
        return list(g)
    product, kept = without_unread(product, len(g))
    given = [held[i - len(g)] for i in kept[len(g) :]]
    shape = {"states": len(g), "sequences": 0, "length": terms - 1, "reverse": False}
    return list(build.emit("scan", [*g, *given, *g], shape, [_affine(product, len(g))]))


def poisoned(value: Value, good: Value) -> Value:
    """NaN where it is not good: a wrong gradient must not look like a right one.

    A factor, not a choice between `value` and NaN: the derivative of that choice would be 0, unpoisoned.
    """
    build = value.builder
    mask = build.op("reshape", good, shape=(*good.type.shape, *[1] * (value.type.rank - good.type.rank)))
    one, poison = (build.scalar(x, value.type.dtype) for x in (1.0, float("nan")))
    return value * build.op("select", mask, one, poison)


def _affine(product: Graph, count: int) -> Graph:
    """v, held, g ↦ product(v, held) + g."""
    inner = Builder(f"affine.{product.name}")
    v = [inner.input(f"v.{i}", port.type) for i, port in enumerate(product.inputs[:count])]
    held = [inner.input(f"at.{i}", port.type) for i, port in enumerate(product.inputs[count:])]
    g = [inner.input(f"g.{i}", value.type) for i, value in enumerate(v)]
    moved = inner.inline(product, [*v, *held])
    return inner.finish({f"v.{i}": a + b for i, (a, b) in enumerate(zip(moved, g, strict=True))})


def _step(equation: Graph) -> Graph:
    """The equation as an algorithm: Picard's iteration."""
    inner = Builder(f"picard.{equation.name}")
    inner.input("k", TensorType("int64"))
    inputs = [inner.input(port.name, port.type) for port in equation.inputs]
    return inner.finish(dict(zip(equation.output_names, inner.inline(equation, inputs))))


def _residual(equation: Graph, states: int, lanes: bool, dtype: str) -> Graph:
    """‖v' - v‖, or 0 where that may be rounding, against ‖g‖; g are the equation's last inputs."""
    inner = Builder(f"residual.{equation.name}")
    own = equation.inputs[:states]
    old = [inner.input(f"old.{port.name}", port.type) for port in own]
    new = [inner.input(f"new.{port.name}", port.type) for port in own]
    held = [inner.input(f"held.{port.name}", port.type) for port in equation.inputs[states:]]
    size = _norm(inner, [a - b for a, b in zip(new, old)], lanes, dtype)
    slack = _norm(inner, new, lanes, dtype) * (SLACK * max(ROUNDOFF[port.type.dtype] for port in own))
    infinite = inner.op("broadcast", inner.scalar(np.inf, dtype), shape=slack.type.shape)
    # An overflow of ‖v'‖ must not make the difference look small.
    below = inner.op("and", inner.op("less_equal", size, slack), inner.op("less", slack, infinite))
    size = inner.op("select", below, inner.zeros(size.type), size)
    return inner.finish({"size": size, "scale": _norm(inner, held[len(held) - states :], lanes, dtype)})


def _norm(build: Builder, values: Sequence[Value], lanes: bool, dtype: str) -> Value:
    """The Euclidean norm of all values together, lane by lane."""
    total: Value | None = None
    for value in floats(values):
        square = value * value
        axes = tuple(range(int(lanes) - square.type.rank, 0))
        part = build.op("cast", build.op("sum", square, axes=axes), dtype=dtype)
        total = part if total is None else total + part
    assert total is not None, "an iteration has a state with a tangent"
    return build.op("sqrt", total)
