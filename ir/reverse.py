"""The reverse derivative: R[f]: A × B → A of a graph f: A → B is again a graph.

Inputs of R[f] are those of f and a cotangent for every output that has a tangent; outputs are the cotangents
of the inputs that have one. Copying becomes adding (RD.4), composition the chain rule (RD.5); each page gives
the rest. Every operation is visited once forwards and once backwards, so n operations become O(n).
"""

from collections.abc import Sequence

from banach.ir.graph import Builder, Graph, Op, Value, unused
from banach.ir.primitive import NotDifferentiable, page
from banach.ir.primitives.regions import RegionOp
from banach.ir.primitives.space import within
from banach.ir.span import Span


class NoDerivative(Exception):
    """An operation on the way has no reverse derivative; `place` is where it stands in the user's text."""

    def __init__(self, message: str, place: Span | None):
        self.place = place
        super().__init__(message)


def reverse(graph: Graph) -> Graph:
    """The reverse derivative of a graph. NoDerivative: an operation on the way has none."""
    build = Builder(f"R.{graph.name}", graph.contract)
    inputs = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    types, taken = graph.types(), {port.name for port in graph.inputs}
    seeds: list[tuple[int, Value]] = []
    for name, value in zip(graph.output_names, graph.outputs):
        if types[value].is_float:
            taken.add(fresh := unused(f"d.{name}", taken))
            seeds.append((value, build.input(fresh, types[value])))
    values: list[Value] = list(inputs)
    kept: list[Sequence[Value]] = []
    for op in graph.ops:
        results, trace = _forwards(build, op, [values[v] for v in op.operands])
        values.extend(results)
        kept.append(trace)
    flow: dict[int, Value] = {}
    for value, seed in seeds:
        _add(flow, value, seed)
    for op, trace in zip(reversed(graph.ops), reversed(kept)):
        _backwards(build, op, values, trace, flow)
    outputs = {
        f"d.{port.name}": flow[i] if i in flow else build.zeros(port.type)
        for i, port in enumerate(graph.inputs)
        if port.type.is_float
    }
    del values, kept, flow
    return build.close(outputs)


def _forwards(build: Builder, op: Op, operands: Sequence[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
    definition = page(op.name)
    if isinstance(definition, RegionOp):
        return definition.record(build, operands, op.regions, **dict(op.attributes))
    return build.copy(op, operands), ()


def _backwards(
    build: Builder, op: Op, values: Sequence[Value], kept: Sequence[Value], flow: dict[int, Value]
) -> None:
    arriving = [flow.pop(result, None) for result in op.results]
    if all(dy is None for dy in arriving):
        return
    definition, attributes = page(op.name), dict(op.attributes)
    operands, results = [values[v] for v in op.operands], [values[v] for v in op.results]
    try:
        if isinstance(definition, RegionOp):
            leaving = definition.reverse(
                build, operands, results, arriving, op.regions, reverse, kept, **attributes
            )
        else:
            leaving = definition.reverse(build, operands, results, arriving, **attributes)
    except NotDifferentiable as refusal:
        raise NoDerivative(str(refusal), op.place) from None
    for value, cotangent in zip(op.operands, leaving, strict=True):
        if cotangent is not None and values[value].type.is_float:
            _add(flow, value, within(cotangent, values[value].type.space))


def _add(flow: dict[int, Value], value: int, cotangent: Value) -> None:
    """Copying becomes adding (RD.4)."""
    flow[value] = flow[value] + cotangent if value in flow else cotangent
