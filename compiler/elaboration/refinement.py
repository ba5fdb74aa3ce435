"""A solve in two precisions: in float32 as far as that goes, and from there in float64.

Maths    x̃ = the last iterate of the step in float32, where its residual passes or a step moves the unknown by
         at most θ of its size; then the iteration itself, in float64, from x̃
Why      below θ a step in float32 is rounding in part; above, it is as good, and moves half the bytes. What
         ends the solve is a residual in float64 of states in float64
Source   the first half is iterative refinement's inner solve (Higham, Accuracy and Stability, 2nd ed., ch.
         12); the second corrects it by the iteration itself, so it needs no linear equation
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitives.regions import DIVERGED
from banach.ir.widen import retype

NARROW, WIDE = "float32", "float64"
STILL = 2.0**-17  # θ: 128 roundings of float32, since a step with sums of many terms makes more than one


@dataclass(frozen=True, slots=True)
class Begun:
    """What is left after the float32 part: the unknown in float64, steps taken, and steps still allowed.

    Where it did not stay finite, which in float32 it may not, the unknown is where it was.
    """

    solution: tuple[Value, ...]
    spent: Value
    most: Value


def begin(build: Builder, regions: Sequence[Graph], given: Sequence[Value], states: int, told: int) -> Begun:
    """The float32 part of a `fix` with these regions and operands, whose first `told` states are the unknown.

    It takes at most half of the steps that are allowed, so that a residual that cannot settle in float32
    leaves as many for the rest.
    """
    tolerance, most, *operands = given
    step, residual = (retype(region, NARROW) for region in regions[:2])
    half = build.op("floor_divide", most, build.scalar(2, "int64"))
    narrow = [build.op("cast", v, dtype=NARROW) if v.type.is_float else v for v in (*operands, tolerance)]
    shape = {"states": states, "solution": told, "lanes": False, "every": 1}
    parts = [_unasked(step), _settled(residual, states, told)]
    found = build.emit("fix", [build.scalar(0, NARROW), half, *narrow], shape, parts)
    lost = build.op("equal", found[-1], build.scalar(DIVERGED, "int64"))
    solution = [
        build.op("select", lost, old, build.op("cast", new, dtype=WIDE))
        for old, new in zip(operands[:told], found)
    ]
    return Begun(tuple(solution), found[states], build.op("subtract", most, half))


def _unasked(step: Graph) -> Graph:
    """The step beside a tolerance that it does not read."""
    build = Builder(step.name)
    inputs = [build.input(port.name, port.type) for port in step.inputs]
    build.input("tolerance", step.inputs[1].type.with_shape(()))
    return build.finish(dict(zip(step.output_names, build.inline(step, inputs))))


def _settled(residual: Graph, states: int, told: int) -> Graph:
    """Size 0 where the residual passes, or the unknown has all but stopped; else the residual's own size."""
    build = Builder(residual.name)
    inputs = [build.input(port.name, port.type) for port in residual.inputs]
    old, new = inputs[:told], inputs[states : states + told]
    size, scale = build.inline(residual, inputs)
    tolerance = build.input("tolerance", size.type)
    moved = _length(build, [y - x for x, y in zip(old, new)])
    still = build.op("less_equal", moved, _length(build, new) * STILL)
    passes = build.op("less_equal", size, tolerance * scale)
    nothing = build.scalar(0, NARROW)
    kept = build.op("select", passes, nothing, build.op("select", still, nothing, size))
    finite = build.op("less", moved, build.scalar(math.inf, NARROW))
    kept = build.op("select", finite, kept, moved)  # the tolerance may be infinite in float32, too
    return build.finish({"size": kept, "scale": scale})


def _length(build: Builder, parts: Sequence[Value]) -> Value:
    """The sum of the Euclidean norms."""
    total = build.scalar(0, NARROW)
    for part in parts:
        total = total + build.op("norm", part, axes=tuple(range(-part.type.rank, 0)))
    return total
