"""Operations that hold graphs: the only places where a program may branch, repeat or feed back.

Regions are closed: what they use from outside comes as captures, the last operands. `run` evaluates a
region, `derive` gives a region's reverse derivative (see ir/reverse.py), `lift` its vectorisation.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from banach.ir.dims import Size
from banach.ir.graph import Builder, Graph, Value, unused
from banach.ir.primitive import NotDifferentiable, Primitive, Regions, Sample, Types, Values
from banach.ir.tensor_type import TensorType, TypeMismatch

Run = Callable[[Graph, Sequence[np.ndarray]], Sequence[np.ndarray]]
Derive = Callable[[Graph], Graph]
Lift = Callable[[Graph, Sequence[bool]], tuple[Graph, tuple[bool, ...]]]
Cotangents = tuple[Value | None, ...]

CONVERGED, AT_MOST, DIVERGED = 0, 1, 2  # the status of a loop that has ended


class RegionOp(Primitive):
    """An operation with regions. `evaluate`, `reverse` and `vectorise` get them beside the operands."""

    core = None

    @abstractmethod
    def evaluate(self, *arguments: Any, **attributes: Any) -> Any:
        """run, regions, operands -> results."""

    @abstractmethod
    def reverse(self, *arguments: Any, **attributes: Any) -> Cotangents:
        """build, operands, results, cotangents, regions, derive, kept -> cotangents."""

    @abstractmethod
    def vectorise(self, *arguments: Any, **attributes: Any) -> Any:
        """build, operands, lanes, regions, lift -> results, and which of them have the axis of lanes."""

    def record(
        self, build: Builder, operands: Values, regions: Regions, **attributes: Any
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        """Adds the operation so that `reverse` can follow; returns its results, and what it kept for that."""
        return build.emit(self.name, operands, attributes, regions), ()

    def samples(self) -> Iterable[Sample]:
        return ()


def spread(value: Value, lane: Size) -> Value:
    """A value, repeated on every lane."""
    return value.builder.op("broadcast", value, shape=(lane, *value.type.shape))


def floats(values: Iterable[Value | TensorType]) -> list[Any]:
    """Those that have a tangent."""
    return [v for v in values if (v.type if isinstance(v, Value) else v).is_float]


def _expect(region: Graph, role: str, given: Sequence[TensorType]) -> None:
    wanted = [port.type for port in region.inputs]
    if wanted != list(given):
        raise TypeMismatch(f"the {role} takes ({_list(wanted)}) and is given ({_list(given)})")


def _list(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))


def _lane(operands: Values, lanes: Sequence[bool]) -> Size:
    return next(v.type.shape[0] for v, has in zip(operands, lanes) if has)


def _filled(cotangents: Sequence[Value | None], results: Sequence[Value], build: Builder) -> list[Value]:
    """The cotangents of results that have tangents, zeros where nothing flows back."""
    pairs = zip(cotangents, results)
    return [build.zeros(y.type) if dy is None else dy for dy, y in pairs if y.type.is_float]


def _scattered(values: Sequence[Value], operands: Sequence[Value]) -> Cotangents:
    """One cotangent for every operand, from those of the operands with tangents."""
    flow = iter(values)
    return tuple(next(flow) if operand.type.is_float else None for operand in operands)


@final
class Call(RegionOp):
    """A named map, kept in one piece until its facts have been used.

    Maths    y = f(x)
    Types    x: the inputs of the region -> y: its outputs
    Reverse  R[call f] = call R[f]
    Facts    the region's
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions) -> Types:
        (f,) = regions
        _expect(f, "map", operands)
        return f.output_types

    def evaluate(self, run: Run, regions: Regions, operands: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return run(regions[0], operands)

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Sequence[Value | None],
        regions: Regions,
        derive: Derive,
        kept: Values,
    ) -> Cotangents:
        given = [*operands, *_filled(cotangents, results, build)]
        return _scattered(build.emit("call", given, {}, [derive(regions[0])]), operands)

    def vectorise(
        self, build: Builder, operands: Values, lanes: Sequence[bool], regions: Regions, lift: Lift
    ) -> tuple[Values, tuple[bool, ...]]:
        region, marks = lift(regions[0], lanes)
        return build.emit("call", operands, {}, [region]), marks


@final
class Cond(RegionOp):
    """One of two maps, by a truth value. Only the chosen one runs.

    Maths    y = f(x) if c, else g(x)
    Types    c: bool, x: the inputs of both regions -> y: their outputs
    Reverse  R[cond c f g] = cond c R[f] R[g]
    Facts    the worse of both
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions) -> Types:
        chosen, *given = operands
        f, g = regions
        if chosen != TensorType("bool"):
            raise TypeMismatch(f"chooses by one truth value, not by {chosen}")
        _expect(f, "first map", given)
        _expect(g, "second map", given)
        if f.output_types != g.output_types:
            raise TypeMismatch(
                f"one map gives ({_list(f.output_types)}), the other ({_list(g.output_types)})"
            )
        return f.output_types

    def evaluate(self, run: Run, regions: Regions, operands: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return run(regions[0] if operands[0] else regions[1], operands[1:])

    def reverse(
        self,
        build: Builder,
        operands: Values,
        results: Values,
        cotangents: Sequence[Value | None],
        regions: Regions,
        derive: Derive,
        kept: Values,
    ) -> Cotangents:
        given = [*operands, *_filled(cotangents, results, build)]
        found = build.emit("cond", given, {}, [derive(region) for region in regions])
        return (None, *_scattered(found, operands[1:]))

    def vectorise(
        self, build: Builder, operands: Values, lanes: Sequence[bool], regions: Regions, lift: Lift
    ) -> tuple[Values, tuple[bool, ...]]:
        lane, inner = _lane(operands, lanes), lanes[1:]
        lifted = [lift(region, inner) for region in regions]
        if not lanes[0]:
            both = [_all_lanes(region, marks, lane) for region, marks in lifted]
            return build.emit("cond", operands, {}, both), (True,) * len(both[0].outputs)
        # A choice for each lane: run both maps, and select.
        chosen, *given = operands
        outcomes = []
        for region, marks in lifted:
            outputs = build.inline(region, given)
            outcomes.append([v if has else spread(v, lane) for v, has in zip(outputs, marks)])
        picked = []
        for x, y in zip(*outcomes):
            mask = build.op("reshape", chosen, shape=(lane, *[1] * (x.type.rank - 1)))
            picked.append(build.op("select", mask, x, y))
        return picked, (True,) * len(picked)


def _all_lanes(region: Graph, marks: Sequence[bool], lane: Size) -> Graph:
    """A lifted region all of whose outputs have the axis of lanes."""
    build = Builder(region.name)
    inputs = [build.input(port.name, port.type, port.default, port.place) for port in region.inputs]
    outputs = build.inline(region, inputs)
    spread_out = [v if has else spread(v, lane) for v, has in zip(outputs, marks)]
    return build.finish(dict(zip(region.output_names, spread_out)))


@final
class Scan(RegionOp):
    """A state carried along sequences: the recurrence over given data.

    Maths    (s_(k+1), y_k) = f(s_k, x_k, c) for k = 0 .. n-1, or n-1 .. 0 when `reverse`
    Types    states s, sequences x: [n, ..], captures c -> final states, stacked y: [n, ..]
    Reverse  a scan the other way over the kept states, whose own states are the cotangents of s and the
             sums of those of c
    Facts    the composition of n steps
    Source   textbook
    """

    def types(
        self, operands: Types, regions: Regions, *, states: int, sequences: int, length: Size, reverse: bool
    ) -> Types:
        (f,) = regions
        split = states + sequences
        for sequence in operands[states:split]:
            if not sequence.rank or sequence.shape[0] != length:
                raise TypeMismatch(f"a sequence {sequence} has not {length} entries")
        entries = [t.with_shape(t.shape[1:]) for t in operands[states:split]]
        _expect(f, "step", [*operands[:states], *entries, *operands[split:]])
        if f.output_types[:states] != operands[:states]:
            before, after = _list(operands[:states]), _list(f.output_types[:states])
            raise TypeMismatch(f"the step turns the states ({before}) into ({after})")
        stacked = (t.with_shape((length, *t.shape)) for t in f.output_types[states:])
        return (*operands[:states], *stacked)

    def evaluate(
        self,
        run: Run,
        regions: Regions,
        operands: Sequence[np.ndarray],
        *,
        states: int,
        sequences: int,
        length: int,
        reverse: bool,
    ) -> Sequence[np.ndarray]:
        (f,) = regions
        split = states + sequences
        state, captures = list(operands[:states]), operands[split:]
        rows: list[Sequence[np.ndarray]] = []
        order = range(length)
        for k in reversed(order) if reverse else order:
            found = run(f, [*state, *(x[k] for x in operands[states:split]), *captures])
            state = list(found[:states])
            rows.append(found[states:])
        if reverse:
            rows.reverse()
        stacks = [np.stack(column) for column in zip(*rows)] if rows else []
        return [*state, *stacks]

    def record(
        self, build: Builder, operands: Values, regions: Regions, **attributes: Any
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        # The same scan, which also gives out every state before its step.
        states = attributes["states"]
        inner = Builder(regions[0].name)
        inputs = [inner.input(port.name, port.type, port.default, port.place) for port in regions[0].inputs]
        outputs = dict(zip(regions[0].output_names, inner.inline(regions[0], inputs)))
        trace = {unused(f"trace.{i}", outputs): inputs[i] for i in range(states)}
        found = build.emit("scan", operands, attributes, [inner.finish({**outputs, **trace})])
        return found[: len(found) - states], found[len(found) - states :]

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
        sequences: int,
        length: Size,
        reverse: bool,
    ) -> Cotangents:
        split = states + sequences
        captures = operands[split:]
        flowing, pooled = floats(operands[:states]), floats(captures)
        inner = Builder(f"reverse.{regions[0].name}")
        d_state = [inner.input(f"ds.{i}", v.type) for i, v in enumerate(flowing)]
        pool = [inner.input(f"sum.{i}", v.type) for i, v in enumerate(pooled)]
        state = [inner.input(f"s.{i}", v.type) for i, v in enumerate(operands[:states])]
        entry = [inner.input(f"x.{i}", _entry(v)) for i, v in enumerate(operands[states:split])]
        d_out = _filled(cotangents[states:], results[states:], build)
        d_entry = [inner.input(f"dy.{i}", _entry(v)) for i, v in enumerate(d_out)]
        held = [inner.input(f"c.{i}", v.type) for i, v in enumerate(captures)]
        found = inner.inline(derive(regions[0]), [*state, *entry, *held, *d_state, *d_entry])
        carried = found[: len(flowing)]
        rest = found[len(flowing) : len(found) - len(pooled)]
        sums = [total + part for total, part in zip(pool, found[len(found) - len(pooled) :])]
        names = [f"out.{i}" for i in range(len(found))]
        body = inner.finish(dict(zip(names, [*carried, *sums, *rest])))
        start = _filled(cotangents[:states], results[:states], build)
        given = [
            *start,
            *(build.zeros(v.type) for v in pooled),
            *kept,
            *operands[states:split],
            *d_out,
            *captures,
        ]
        shape = {
            "states": len(start) + len(pool),
            "sequences": len(kept) + sequences + len(d_out),
            "length": length,
            "reverse": not reverse,
        }
        back = build.emit("scan", given, shape, [body])
        d_states, d_captures = back[: len(start)], back[len(start) : len(start) + len(pool)]
        d_sequences = back[len(start) + len(pool) :]
        return _scattered([*d_states, *d_sequences, *d_captures], operands)

    def vectorise(
        self,
        build: Builder,
        operands: Values,
        lanes: Sequence[bool],
        regions: Regions,
        lift: Lift,
        *,
        states: int,
        sequences: int,
        length: Size,
        reverse: bool,
    ) -> tuple[Values, tuple[bool, ...]]:
        lane, split = _lane(operands, lanes), states + sequences
        given, marks = [], []
        for i, (value, has) in enumerate(zip(operands, lanes)):
            if i < states:
                value, has = value if has else spread(value, lane), True
            elif i < split and has:  # a sequence's own axis stays in front
                value = _swap_front(value)
            given.append(value)
            marks.append(has)
        region, out = lift(regions[0], marks)
        region = _all_lanes(region, out, lane)
        found = build.emit(
            "scan",
            given,
            {"states": states, "sequences": sequences, "length": length, "reverse": reverse},
            [region],
        )
        moved = [*found[:states], *(_swap_front(v) for v in found[states:])]
        return moved, (True,) * len(moved)


def _entry(value: Value) -> TensorType:
    return value.type.with_shape(value.type.shape[1:])


def _swap_front(value: Value) -> Value:
    rank = value.type.rank
    return value.builder.op("transpose", value, permutation=(1 - rank, -rank, *range(2 - rank, 0)))


@final
class While(RegionOp):
    """Repeat while a condition holds, at most `most` times.

    Maths    s_(k+1) = f(s_k, c) while p(s_k, c) and k < most
    Types    most: int64, states s, captures c -> final states, the number of steps: int64
    Reverse  none: the number of steps has no bound in the text; write a `scan` or a `fix`
    Facts    none
    Source   textbook
    """

    def types(self, operands: Types, regions: Regions, *, states: int) -> Types:
        most, *given = operands
        condition, body = regions
        if most != TensorType("int64"):
            raise TypeMismatch(f"the largest number of steps is an int64, not {most}")
        _expect(condition, "condition", given)
        _expect(body, "step", given)
        if condition.output_types != (TensorType("bool"),):
            raise TypeMismatch(f"the condition gives ({_list(condition.output_types)}), not one truth value")
        if body.output_types != tuple(given[:states]):
            raise TypeMismatch(f"the step turns ({_list(given[:states])}) into ({_list(body.output_types)})")
        return (*given[:states], TensorType("int64"))

    def evaluate(
        self, run: Run, regions: Regions, operands: Sequence[np.ndarray], *, states: int
    ) -> Sequence[np.ndarray]:
        condition, body = regions
        most, state, captures = int(operands[0]), list(operands[1 : 1 + states]), operands[1 + states :]
        steps = 0
        while steps < most and run(condition, [*state, *captures])[0]:
            state = list(run(body, [*state, *captures]))
            steps += 1
        return [*state, np.asarray(steps)]

    def reverse(self, *arguments: Any, **attributes: Any) -> Cotangents:
        raise NotDifferentiable(
            "a `while` has no reverse derivative: write a scan with a fixed count, or a solve"
        )

    def vectorise(self, *arguments: Any, **attributes: Any) -> tuple[Values, tuple[bool, ...]]:
        raise TypeMismatch("while: cannot run on every lane at once; write a solve, which can")
