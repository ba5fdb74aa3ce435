"""The fixed point: an equation, the algorithm that solves it, and the residual that ends the algorithm.

Its derivative is one of four, by the attribute `gradient`. For an equation f with ‖∂f/∂x‖ <= q < 1 near the
solution, and dx the cotangent that arrives:

    implicit   v = (∂f/∂x)ᵀ v + dx, solved by an iteration of its own: exact, up to the tolerance
    neumann    v = Σ (∂f/∂x)ᵀ^i dx over i < terms: dc is off by at most q^terms/(1-q) · ‖dx‖ · ‖∂f/∂c‖
    one_step   v = dx: the same with terms = 1
    unrolled   the derivative of exactly the steps that were taken, start and other states included; its
               memory grows with `cap`, the largest number of steps that it can follow
"""

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from banach.ir.graph import Builder, Graph, Op, Value
from banach.ir.hoist import only, split
from banach.ir.implicit import MOST, poisoned, series, solve
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
    spread,
)
from banach.ir.tensor_type import TensorType, TypeMismatch

NO_EQUATION = "this iteration states no equation"
NO_OTHER = "only the solution of an iteration has a derivative"
GRADIENTS = ("implicit", "unrolled", "neumann", "one_step")


@final
class Fix(RegionOp):
    """Iterate to a fixed point, and stop by the residual.

    Maths    s_(k+1) = step(k, s_k, c) until r_(k+1) <= tolerance · scale, where
             (r, scale) = residual(s_k, s_(k+1), c); the solution, the first states, is x = equation(x, c)
    Types    tolerance: float, most: int64, states s, captures c
             -> final states, iterations: int64, residual: float, status: int64 (0 converged, 1 stopped at
             `most`, 2 r or scale not finite). With `lanes`, everything but tolerance and most may have a
             leading axis of lanes; each lane stops by itself and is frozen from then on
    Reverse  dc = R[equation](x, c, v)_c, with v = R[equation](x, c, v)_x + dx: again a fix, of at most
             `adjoint_most` steps, NaN if it does not converge. States that are no part of the solution have
             none. `gradient` asks for another one (see the head of this file): "neumann" with `terms`,
             "one_step", or "unrolled" with a `cap` (0: the operand `most`, if that is a constant), NaN if
             there were more steps than that. The residual has no derivative
    Facts    those of the equation
    Source   the implicit function theorem; DESIGN.md, section 4
    """

    def types(
        self,
        operands: Types,
        regions: Regions,
        *,
        states: int,
        solution: int,
        lanes: bool,
        every: int,
        **derivative: Any,
    ) -> Types:
        _check_gradient(**derivative)
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
        gradient: str = "implicit",  # how to differentiate takes no part in the meaning
        terms: int = 0,
        cap: int = 0,
        adjoint_most: int = MOST,
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
                with np.errstate(over="ignore", invalid="ignore"):  # it may diverge: the status says so
                    before, fresh = fresh, list(run(step, [np.asarray(k), *fresh, *captures]))
                k += 1
            with np.errstate(over="ignore", invalid="ignore"):
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
        gradient: str = "implicit",
        terms: int = 0,
        cap: int = 0,
        adjoint_most: int = MOST,
    ) -> Cotangents:
        captures = operands[2 + states :]
        if any(dy is not None for dy in cotangents[states:]):
            raise NotDifferentiable(f"{NO_OTHER}, not its residual")
        if gradient == "unrolled":
            unrolled, good = follow(build, operands, results[states], regions[0], states, lanes, cap)
            flow = _filled(cotangents[:states], results[:states], build)
            flow = flow if good is None else [poisoned(dy, good) for dy in flow]
            given = [*operands[2 : 2 + states], results[states], *captures, *flow]
            leaving = build.inline(derive(unrolled), given)
            return (None, None, *_scattered(leaving, operands[2:]))
        if len(regions) < 3:
            raise NotDifferentiable(f"{NO_EQUATION}, so its limit has no implicit derivative")
        if any(dy is not None for dy in cotangents[solution:]):
            raise NotDifferentiable(f"{NO_OTHER}, not its other states")
        found = results[:solution]
        flow = _filled(cotangents[:solution], found, build)
        derivative = derive(regions[2])
        point = [*found, *captures]
        parts = split(derivative, [i >= len(point) for i in range(len(derivative.inputs))])
        held = build.inline(parts.before, point)
        own = range(len(flow))
        if gradient == "implicit":
            product = only(parts.after, own)
            limits = {"tolerance": operands[0], "most": adjoint_most, "lanes": lanes}
            v = solve(build, product, held, flow, **limits)
        else:
            v = series(build, only(parts.after, own), held, flow, 1 if gradient == "one_step" else terms)
        outward = build.inline(only(parts.after, range(len(flow), len(parts.after.outputs))), [*v, *held])
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


def held(op: Op, read: Sequence[bool]) -> list[bool]:
    """The states of a fixed point with `lanes` that a lane must keep when it has stopped; the others run on.

    A lane's states reach no other lane, so what nobody reads behind the loop may become anything. That would
    do harm where a number is a place, a divisor of integers or the length of another loop: there every state
    is kept. `read`: whether each result is read. The solution is kept for the derivative's sake.
    """
    states, solution = op.attribute("states"), op.attribute("solution")
    safe = all(_harmless(inner) for region in op.regions[:2] for inner in region.ops)
    return [i < solution or read[i] or not safe or not t.is_float for i, t in enumerate(op.types[:states])]


def _harmless(op: Op) -> bool:
    """Whether an operation takes any numbers: it makes no integer of others, and repeats nothing."""
    return not op.regions and not (op.operands and any(t.dtype.startswith("int") for t in op.types))


def _widen(mask: np.ndarray, array: np.ndarray) -> np.ndarray:
    return mask.reshape((*mask.shape, *[1] * (array.ndim - mask.ndim)))


def _check_gradient(
    gradient: str = "implicit", terms: int = 0, cap: int = 0, adjoint_most: int = MOST
) -> None:
    if gradient not in GRADIENTS:
        raise TypeMismatch(f"there is no gradient {gradient!r}; there are {', '.join(GRADIENTS)}")
    if gradient == "neumann" and terms < 1:
        raise TypeMismatch(f"a series of {terms} terms is none: give `terms`, at least 1")
    if cap < 0 or adjoint_most < 0:
        raise TypeMismatch(f"no number of steps is {min(cap, adjoint_most)}")


def follow(
    build: Builder,
    operands: Values,
    iterations: Value,
    step: Graph,
    states: int,
    lanes: bool,
    cap: int,
) -> tuple[Graph, Value | None]:
    """The steps that were taken, as a scan: states, iterations, captures ↦ states; and whether these are all.

    NotDifferentiable: no bound of their number is known.
    """
    most = build.constant_of(operands[1])
    if not cap and most is None:
        raise NotDifferentiable(
            "an unrolled derivative needs to know how many steps there may be: give the attribute `cap`"
        )
    length = cap if most is None else min(cap or int(most.array), max(int(most.array), 0))
    good = None
    if most is None or length < int(most.array):
        bound = build.op("broadcast", build.scalar(length, "int64"), shape=iterations.type.shape)
        good = build.op("less_equal", iterations, bound)
    inner = Builder(f"unrolled.{step.name}")
    start = [inner.input(f"s.{i}", v.type) for i, v in enumerate(operands[2 : 2 + states])]
    taken = inner.input("iterations", iterations.type)
    held = [inner.input(f"c.{i}", v.type) for i, v in enumerate(operands[2 + states :])]
    counts = inner.op("count", size=length, dtype="int64")
    shape = {"states": states, "sequences": 1, "length": length, "reverse": False}
    body = _taken(step, [*start, taken, *held], states, lanes)
    found = inner.emit("scan", [*start, counts, taken, *held], shape, [body])
    return inner.finish({f"s.{i}": v for i, v in enumerate(found[:states])}), good


def _taken(step: Graph, given: Values, states: int, lanes: bool) -> Graph:
    """states, k, iterations, captures ↦ the states after step k, or the same where it was not taken."""
    inner = Builder(f"taken.{step.name}")
    own = [inner.input(f"s.{i}", v.type) for i, v in enumerate(given[:states])]
    k = inner.input("k", TensorType("int64"))
    iterations, *held = (inner.input(f"c.{i}", v.type) for i, v in enumerate(given[states:]))
    going = inner.op("less", k, iterations)
    arguments = [k, *own, *held]
    if not lanes:  # a step that was not taken is not computed
        stay = Builder("stay")
        stayed = [stay.input(f"x.{i}", v.type) for i, v in enumerate(arguments)][1 : 1 + states]
        regions = [step, stay.finish({f"s.{i}": v for i, v in enumerate(stayed)})]
        fresh = inner.emit("cond", [going, *arguments], {}, regions)
    else:
        fresh = []
        for new, old in zip(inner.inline(step, arguments), own):
            mask = inner.op("reshape", going, shape=(*going.type.shape, *[1] * (new.type.rank - 1)))
            fresh.append(inner.op("select", mask, new, old))
    return inner.finish({f"s.{i}": v for i, v in enumerate(fresh)})
