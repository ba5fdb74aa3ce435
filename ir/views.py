"""Graphs as others see them: as a graph of networkx, and as text for Graphviz.

The first shows one graph, and names the regions below it; the second draws them too.
"""

from typing import Any

from banach.ir.graph import Graph, Op
from banach.ir.tensor_type import TensorType

# What a constant of few entries shows of itself.
_SHOWN = 4


def to_networkx(graph: Graph) -> Any:
    """A networkx.MultiDiGraph: nodes are inputs, operations and outputs, an edge is a value that is read.

    Nodes have `kind` (input, op or output), `name`, `types`, and `line` and `file` where their place is
    known; operations also `attributes`, and `regions`, the names of theirs. Edges have `value`, the number of
    what is read, `operand`, its place among what the reader reads, and `type`.
    """
    import networkx  # an eighth of a second, and few want a view

    view, types = networkx.MultiDiGraph(name=graph.name), graph.types()
    maker: dict[int, str] = {}
    for i, port in enumerate(graph.inputs):
        maker[i] = f"in.{i}"
        view.add_node(maker[i], kind="input", name=port.name, types=(port.type,), **_place(port))
    for op in graph.ops:
        node = f"op.{op.first}"
        about = {"attributes": dict(op.attributes), "regions": tuple(region.name for region in op.regions)}
        view.add_node(node, kind="op", name=op.name, types=op.types, **about, **_place(op))
        for i, v in enumerate(op.operands):
            view.add_edge(maker[v], node, value=v, operand=i, type=types[v])
        maker.update((v, node) for v in op.results)
    for i, (name, v) in enumerate(zip(graph.output_names, graph.outputs)):
        view.add_node(f"out.{i}", kind="output", name=name, types=(types[v],))
        view.add_edge(maker[v], f"out.{i}", value=v, operand=0, type=types[v])
    return view


def to_dot(graph: Graph) -> str:
    """The graph for Graphviz; a region is a cluster of its own, and a dashed arrow leads to it."""
    lines = [f"digraph {_quoted(graph.name)} {{"]
    lines += ['  node [shape=box, fontname="sans-serif"];', "  compound=true;"]
    counter = iter(range(len(list(graph.walk()))))
    lines.extend(_cluster(graph, next(counter), counter, "  ")[1])
    return "\n".join([*lines, "}"]) + "\n"


def _cluster(graph: Graph, number: int, counter: Any, indent: str) -> tuple[str, list[str]]:
    """The name of a node in it, and the lines of one graph and those below it."""
    types, here = graph.types(), f"g{number}"
    lines, maker = [], {}
    for i, port in enumerate(graph.inputs):
        maker[i] = f"{here}_in{i}"
        lines.append(f"{maker[i]} [label={_quoted(f'{port.name}: {port.type}')}, shape=oval];")
    below = []
    for op in graph.ops:
        node = f"{here}_op{op.first}"
        lines.append(f"{node} [label={_quoted(_label(op))}];")
        lines.extend(_edge(maker[v], node, types[v]) for v in op.operands)
        maker.update((v, node) for v in op.results)
        for region in op.regions:
            own = next(counter)
            first, inside = _cluster(region, own, counter, indent + "  ")
            header = [f"subgraph cluster_g{own} {{", f"  label={_quoted(region.name)};"]
            below.extend([*header, *inside, "}", f"{node} -> {first} [lhead=cluster_g{own}, style=dashed];"])
    for i, (name, v) in enumerate(zip(graph.output_names, graph.outputs)):
        lines.append(f"{here}_out{i} [label={_quoted(name)}, shape=oval, style=bold];")
        lines.append(_edge(maker[v], f"{here}_out{i}", types[v]))
    first = maker.get(0, f"{here}_out0")
    return first, [f"{indent}{line}" for line in (*lines, *below)]


def _edge(start: str, end: str, type: TensorType) -> str:
    return f"{start} -> {end} [label={_quoted(str(type))}];"


def _label(op: Op) -> str:
    shown = ", ".join(f"{key}: {_short(value)}" for key, value in op.attributes)
    line = f"line {op.place.line}" if op.place else ""
    return "\n".join(part for part in (op.name, shown, line) if part)


def _short(value: Any) -> str:
    array = getattr(value, "array", None)
    if array is None:
        return str(value)
    return str(array.tolist()) if array.size <= _SHOWN else str(value.type)


def _place(thing: Any) -> dict[str, Any]:
    return {"line": thing.place.line, "file": thing.place.file} if thing.place else {}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
