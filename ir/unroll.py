"""Solves without loops: every step in a row, for runtimes that have none.

A step that is not needed any more is worked out all the same, and left aside: answer, iterations, residual
and status are those of the loop. Only a largest number of iterations that a run sets beyond the one that was
unrolled counts as that one.
"""

from collections.abc import Sequence

from banach.ir.graph import Builder, Graph, Op, Port, Value
from banach.ir.primitives.regions import AT_MOST, CONVERGED, DIVERGED

LARGEST = 50_000  # operations of a graph without loops


class TooLong(Exception):
    """A graph that cannot be without loops; the message says why."""


def unrolled(graph: Graph) -> Graph:
    """The same graph without `fix`. TooLong: it would be, or it holds another loop, or an open limit."""
    build = Builder(graph.name, graph.contract)
    inputs = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    limits = {v.id: int(p.default.array) for v, p in zip(inputs, graph.inputs) if p.default and _counts(p)}
    outputs = _Unrolling(build, limits).inline(graph, inputs)
    return build.finish(dict(zip(graph.output_names, outputs)))


def _counts(port: Port) -> bool:
    return port.type.dtype == "int64" and not port.type.rank


class _Unrolling:
    def __init__(self, build: Builder, limits: dict[int, int]):
        self.build, self.limits = build, limits

    def inline(self, graph: Graph, arguments: Sequence[Value]) -> list[Value]:
        """Adds a graph's operations, and steps in place of its solves."""
        known = list(arguments)
        for op in graph.ops:
            operands = [known[v] for v in op.operands]
            if op.name == "fix":
                known += self._fix(op, operands)
            elif op.regions:
                raise TooLong(f"`{op.name}` is a loop or a branch that stays one")
            else:
                known += self.build.replay(op, operands)
            if len(self.build) > LARGEST:
                raise TooLong(f"it has more than {LARGEST:,} operations")
        return [known[v] for v in graph.outputs]

    def _most(self, value: Value, name: str) -> int:
        held = self.build.constant_of(value)
        if held is not None:
            return int(held.array)
        if value.id not in self.limits:
            raise TooLong(f"the largest number of iterations of `{name}` is only known in the run")
        return self.limits[value.id]

    def _fix(self, op: Op, operands: list[Value]) -> list[Value]:
        """The steps of a solve; see `Fix.evaluate`, whose words these are."""
        build, states, every = self.build, op.attribute("states"), op.attribute("every")
        step, residual = op.regions[:2]
        tolerance, most, *given = operands
        state, captures = given[:states], given[states:]
        measured_type = op.types[states + 1]
        last = self._most(most, step.name.removesuffix(".step"))
        zero = build.scalar(0, "int64")
        lane = op.types[states].shape
        iterations = self._filled(zero, lane)
        status = self._filled(build.scalar(AT_MOST, "int64"), lane)
        measured = self._filled(build.scalar(float("inf"), measured_type.dtype), lane)
        going = self._filled(build.op("less", zero, most), lane)
        infinite = build.scalar(float("inf"), measured_type.dtype)
        for k in range(0, last, every):
            before = fresh = state
            reached = build.scalar(k, "int64")
            for j in range(k, min(k + every, last)):
                count = build.scalar(j, "int64")
                taken = list(self.inline(step, [count, *fresh, *captures]))
                if j == k:
                    before, fresh, reached = fresh, taken, build.scalar(j + 1, "int64")
                    continue
                within = build.op("less", count, most)
                before = [build.op("select", within, new, old) for new, old in zip(fresh, before)]
                fresh = [build.op("select", within, new, old) for new, old in zip(taken, fresh)]
                reached = build.op("select", within, build.scalar(j + 1, "int64"), reached)
            size, scale = self.inline(residual, [*before, *fresh, *captures])
            state = [self._chosen(going, new, old) for new, old in zip(fresh, state)]
            measured = build.op("select", going, size, measured)
            iterations = build.op("select", going, self._filled(reached, lane), iterations)
            small = build.op("less_equal", size, build.op("multiply", tolerance, scale))
            finite = build.op("less", build.op("add", size, scale), infinite)
            ends = build.op("select", small, build.scalar(CONVERGED, "int64"), build.scalar(AT_MOST, "int64"))
            ends = build.op("select", finite, ends, build.scalar(DIVERGED, "int64"))
            status = build.op("select", going, ends, status)
            on = build.op("and", build.op("equal", status, build.scalar(AT_MOST, "int64")), going)
            going = build.op("and", on, build.op("less", build.scalar(k + every, "int64"), most))
        return [*state, iterations, measured, status]

    def _filled(self, value: Value, lane: tuple) -> Value:
        return self.build.op("broadcast", value, shape=lane) if lane and value.type.shape != lane else value

    def _chosen(self, going: Value, new: Value, old: Value) -> Value:
        rank = new.type.rank - going.type.rank
        if going.type.rank and rank:
            going = self.build.op("reshape", going, shape=(*going.type.shape, *[1] * rank))
        return self.build.op("select", going, new, old)
