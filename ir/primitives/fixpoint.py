"""The fixed point: an equation, the algorithm that solves it, and the residual that ends the algorithm."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitive import NotDifferentiable, Regions, Types, Values
from banach.ir.primitives.regions import (
    AT_MOST,
    CONVERGED,
    DIVERGED,
    Cotangents,
    Derive,
    Lift,
    RegionOp,
    Run,
    _all_lanes,
    _expect,
    _filled,
    _lane,
    _list,
    _scattered,
    floats,
    spread,
)
from banach.ir.tensor_type import TensorType, TypeMismatch


@final
class Fix(RegionOp):
    """Iterate to a fixed point, and stop by the residual.

    Maths    s_(k+1) = step(k, s_k, c) until r_(k+1) <= tolerance · scale, where
             (r, scale) = residual(s_k, s_(k+1), c); the solution, the first states, is x = equation(x, c)
    Types    tolerance: float, most: int64, states s, captures c
             -> final states, iterations: int64, residual: float, status: int64 (0 converged, 1 stopped at
             `most`, 2 r or scale not finite). With `lanes`, everything but tolerance and most may have a
             leading axis of lanes; each lane stops by itself and is frozen from then on
    Reverse  implicit: v = R[equation](x, c, v)_x + dx is again a fix, and dc = R[equation](x, c, v)_c.
             States that are no part of the solution, and the residual, have no derivative
    Facts    those of the equation
    Source   the implicit function theorem; DESIGN.md, section 4
    """

    def types(
        self, operands: Types, regions: Regions, *, states: int, solution: int, lanes: bool, every: int
    ) -> Types:
        tolerance, most, *given = operands
        step, residual, *equation = regions
        own, captures = given[:states], given[states:]
        if most != TensorType("int64"):
            raise TypeMismatch(f"the largest number of iterations is an int64, not {most}")
        _expect(step, "step", [TensorType("int64"), *own, *captures])
        if list(step.output_types) != own:
            raise TypeMismatch(f"the step turns ({_list(own)}) into ({_list(step.output_types)})")
        _expect(residual, "residual", [*own, *own, *captures])
        lane = own[0].shape[:1] if lanes else ()
        measure = TensorType(tolerance.dtype, lane)
        if residual.output_types != (measure, measure) or tolerance.shape:
            raise TypeMismatch(
                f"the residual gives ({_list(residual.output_types)}), not a size and a scale {measure}"
            )
        for region in equation:
            _expect(region, "equation", [*own[:solution], *captures])
            if list(region.output_types) != own[:solution]:
                raise TypeMismatch(f"the equation gives ({_list(region.output_types)})")
        count = TensorType("int64", lane)
        return (*own, count, measure, count)

    def evaluate(
        self,
        run: Run,
        regions: Regions,
        operands: Sequence[np.ndarray],
        *,
        states: int,
        solution: int,
        lanes: bool,
        every: int,
    ) -> Sequence[np.ndarray]:
        step, residual = regions[:2]
        tolerance, most = operands[0], int(operands[1])
        state, captures = list(operands[2 : 2 + states]), operands[2 + states :]
        lane = state[0].shape[:1] if lanes else ()
        iterations = np.zeros(lane, np.int64)
        measured = np.full(lane, np.inf, tolerance.dtype)
        status = np.full(lane, AT_MOST, np.int64)
        k = 0
        while k < most and np.any(status == AT_MOST):
            before = fresh = state
            for _ in range(min(every, most - k)):
                before, fresh = fresh, list(run(step, [np.asarray(k), *fresh, *captures]))
                k += 1
            size, scale = run(residual, [*before, *fresh, *captures])
            going = status == AT_MOST
            state = [np.where(_widen(going, new), new, old) for new, old in zip(fresh, state)]
            measured = np.where(going, size, measured)
            iterations = np.where(going, k, iterations)
            with np.errstate(over="ignore", invalid="ignore"):
                small = np.where(size <= tolerance * scale, CONVERGED, AT_MOST)
                outcome = np.where(size + scale < np.inf, small, DIVERGED)  # which NaN is not
            status = np.where(going, outcome, status)
        return [*state, iterations, measured, status]

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Sequence[Value | None],
        regions: Regions,
        derive: Derive,
        kept: Values,
        *,
        states: int,
        solution: int,
        lanes: bool,
        every: int,
    ) -> Cotangents:
        if len(regions) < 3:
            raise NotDifferentiable(
                "this iteration states no equation, so its limit has no implicit derivative"
            )
        if any(dy is not None for dy in cotangents[solution:]):
            raise NotDifferentiable(
                "only the solution of an iteration has a derivative, not its other states"
            )
        captures, found = operands[2 + states :], results[:solution]
        derivative = derive(regions[2])
        point = [*found, *captures]
        flow = _filled(cotangents[:solution], found, build)
        adjoint = _adjoint_equation(derivative, point, flow)
        given = [operands[0], operands[1], *flow, *point, *flow]
        regions_ = [_step(adjoint), _residual(adjoint, len(flow), lanes, operands[0].type.dtype), adjoint]
        shape = {"states": len(flow), "solution": len(flow), "lanes": lanes, "every": 1}
        *solved, _, _, status = build.emit("fix", given, shape, regions_)
        solved = [_poisoned(v, status) for v in solved]
        outward = build.inline(derivative, [*point, *solved])[len(flow) :]
        return (None, None, *[None] * states, *_scattered(outward, captures))

    def vectorise(
        self,
        build: Builder,
        operands: Values,
        lanes: Sequence[bool],
        regions: Regions,
        lift: Lift,
        /,  # `lanes` is an attribute's name too
        **attributes: Any,
    ) -> tuple[Values, tuple[bool, ...]]:
        if attributes["lanes"]:
            raise TypeMismatch(
                "fix: its samples already stop one by one; a second batch axis is not supported"
            )
        if lanes[0] or lanes[1]:
            raise TypeMismatch(
                "fix: the tolerance and the largest number of iterations are shared by all samples"
            )
        states, lane = attributes["states"], _lane(operands, lanes)
        given = [
            v if has or i >= 2 + states or i < 2 else spread(v, lane)
            for i, (v, has) in enumerate(zip(operands, lanes))
        ]
        own, held = [True] * states, list(lanes[2 + states :])
        roles = [[False, *own, *held], [*own, *own, *held], [*own[: attributes["solution"]], *held]]
        lifted = [_all_lanes(*lift(region, role), lane) for region, role in zip(regions, roles)]
        found = build.emit("fix", given, {**attributes, "lanes": True}, lifted)
        return found, (True,) * len(found)


def _widen(mask: np.ndarray, array: np.ndarray) -> np.ndarray:
    return mask.reshape((*mask.shape, *[1] * (array.ndim - mask.ndim)))


def _poisoned(value: Value, status: Value) -> Value:
    """NaN where the adjoint iteration did not converge: a wrong gradient must not look like a right one."""
    build = value.builder
    good = build.op("equal", status, build.zeros(status.type))
    mask = build.op("reshape", good, shape=(*status.type.shape, *[1] * (value.type.rank - status.type.rank)))
    one, poison = (build.scalar(x, value.type.dtype) for x in (1.0, float("nan")))
    # A factor, not a choice between `value` and NaN: the derivative of that choice would be 0, unpoisoned.
    return value * build.op("select", mask, one, poison)


def _adjoint_equation(derivative: Graph, point: Values, flow: Values) -> Graph:
    """v, x, c, g ↦ R[equation](x, c, v)_x + g."""
    inner = Builder(f"adjoint.{derivative.name}")
    v = [inner.input(f"v.{i}", value.type) for i, value in enumerate(flow)]
    at = [inner.input(f"at.{i}", value.type) for i, value in enumerate(point)]
    g = [inner.input(f"g.{i}", value.type) for i, value in enumerate(flow)]
    back = inner.inline(derivative, [*at, *v])[: len(flow)]
    return inner.finish({f"v.{i}": a + b for i, (a, b) in enumerate(zip(back, g))})


def _step(equation: Graph) -> Graph:
    """The equation as an algorithm: Picard's iteration."""
    inner = Builder(f"picard.{equation.name}")
    inner.input("k", TensorType("int64"))
    inputs = [inner.input(port.name, port.type, port.default, port.place) for port in equation.inputs]
    return inner.finish(dict(zip(equation.output_names, inner.inline(equation, inputs))))


def _residual(equation: Graph, states: int, lanes: bool, dtype: str) -> Graph:
    """‖v' - v‖ against ‖g‖, where g are the equation's last inputs."""
    inner = Builder(f"residual.{equation.name}")
    own = equation.inputs[:states]
    old = [inner.input(f"old.{port.name}", port.type) for port in own]
    new = [inner.input(f"new.{port.name}", port.type) for port in own]
    held = [inner.input(f"held.{port.name}", port.type) for port in equation.inputs[states:]]
    size = _total_norm(inner, [a - b for a, b in zip(new, old)], lanes, dtype)
    return inner.finish({"size": size, "scale": _total_norm(inner, held[len(held) - states :], lanes, dtype)})


def _total_norm(build: Builder, values: Sequence[Value], lanes: bool, dtype: str) -> Value:
    """The Euclidean norm of all values together, lane by lane."""
    total: Value | None = None
    for value in floats(values):
        square = value * value
        axes = tuple(range(int(lanes) - square.type.rank, 0))
        part = build.op("cast", build.op("sum", square, axes=axes), dtype=dtype)
        total = part if total is None else total + part
    assert total is not None, "an iteration has a state with a tangent"
    return build.op("sqrt", total)
