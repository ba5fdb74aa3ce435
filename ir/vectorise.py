"""A graph on every lane at once: this is how each sample of a batch gets, and ends, its own iteration.

An axis of lanes goes in front of the inputs that have one, and from there through every operation that reads
them. What no lane reaches stays as it is, and is computed once. Each page knows how to run on lanes; a `fix`
becomes one `fix` whose lanes stop one by one.
"""

from collections.abc import Sequence

from banach.ir.dims import Size
from banach.ir.graph import Builder, Graph, Op, Port, Value
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp


def vectorise(graph: Graph, lanes: Sequence[bool], size: Size) -> tuple[Graph, tuple[bool, ...]]:
    """The graph on `size` lanes, and which of its outputs have the axis of lanes.

    Inputs marked in `lanes` get a leading axis: `[*s]` becomes `[size, *s]`, and a default, which is one
    lane's, goes away. The others are shared, and keep theirs. TypeMismatch: an operation cannot run on lanes.
    """
    if len(lanes) != len(graph.inputs):
        raise ValueError(f"{graph.name} has {len(graph.inputs)} inputs, and {len(lanes)} marks")
    build = Builder(f"V.{graph.name}", graph.contract)
    values = [_input(build, port, has, size) for port, has in zip(graph.inputs, lanes)]
    marks = [bool(has) for has in lanes]
    for op in graph.ops:
        results, reached = _apply(
            build, op, [values[v] for v in op.operands], [marks[v] for v in op.operands], size
        )
        values.extend(results)
        marks.extend(reached)
    outputs = {name: values[v] for name, v in zip(graph.output_names, graph.outputs)}
    return build.finish(outputs), tuple(marks[v] for v in graph.outputs)


def _input(build: Builder, port: Port, has: bool, size: Size) -> Value:
    if not has:
        return build.input(port.name, port.type, port.default, port.place)
    return build.input(port.name, port.type.with_shape((size, *port.type.shape)), place=port.place)


def _apply(
    build: Builder, op: Op, operands: Sequence[Value], lanes: Sequence[bool], size: Size
) -> tuple[Sequence[Value], Sequence[bool]]:
    if not any(lanes):
        return build.replay(op, operands), [False] * len(op.types)
    definition, attributes = page(op.name), dict(op.attributes)
    if not isinstance(definition, RegionOp):
        return [definition.vectorise(build, operands, lanes, **attributes)], [True]

    def lift(region: Graph, marks: Sequence[bool]) -> tuple[Graph, tuple[bool, ...]]:
        return vectorise(region, marks, size)

    return definition.vectorise(build, operands, lanes, op.regions, lift, **attributes)
