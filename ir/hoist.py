"""A graph in two parts: what does not depend on some of its inputs, to be computed once, and the rest.

An iteration v ↦ J(x) v reads a point x that stands still. Everything that depends on x alone goes in front of
the loop, and what the loop needs of it comes in as captures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from banach.ir.graph import Builder, Graph, Op, Value, prune

# Made from nothing: cheaper to make again than to carry along.
_FREE = ("constant", "extent", "count")


@dataclass(frozen=True, slots=True)
class Split:
    """graph(still, moving) = after(moving, before(still)), with both groups in the graph's order."""

    before: Graph
    after: Graph


def split(graph: Graph, moving: Sequence[bool]) -> Split:
    """The graph in two parts; `moving` marks the inputs that `before` must not read. Calls are inlined."""
    if len(moving) != len(graph.inputs):
        raise ValueError(f"{graph.name} has {len(graph.inputs)} inputs, and {len(moving)} marks")
    flat = prune(_flat(graph))
    moves, free = list(moving), [False] * len(moving)
    read: set[int] = set()
    for op in flat.ops:
        reaches = any(moves[v] for v in op.operands)
        stretched = op.name == "broadcast" and all(free[v] for v in op.operands)
        moves.extend([reaches] * len(op.types))
        free.extend([op.name in _FREE or stretched] * len(op.types))
        read.update(op.operands if reaches else ())
    read.update(flat.outputs)
    held = sorted(v for v in read if not moves[v] and not free[v])
    return Split(_before(flat, moving, moves, held), _after(flat, moving, moves, free, held))


def _before(graph: Graph, moving: Sequence[bool], moves: Sequence[bool], held: Sequence[int]) -> Graph:
    build = Builder(f"before.{graph.name}", graph.contract)
    known: dict[int, Value] = {}
    for i, port in enumerate(graph.inputs):
        if not moving[i]:
            known[i] = build.input(port.name, port.type, port.default, port.place)
    _replay(build, (op for op in graph.ops if not moves[op.first]), known)
    return prune(build.finish({f"at.{i}": known[v] for i, v in enumerate(held)}))


def _after(
    graph: Graph,
    moving: Sequence[bool],
    moves: Sequence[bool],
    free: Sequence[bool],
    held: Sequence[int],
) -> Graph:
    build, types = Builder(graph.name, graph.contract), graph.types()
    known: dict[int, Value] = {}
    for i, port in enumerate(graph.inputs):
        if moving[i]:
            known[i] = build.input(port.name, port.type, port.default, port.place)
    for i, v in enumerate(held):
        known[v] = build.input(f"at.{i}", types[v])
    _replay(build, (op for op in graph.ops if moves[op.first] or free[op.first]), known)
    return prune(build.finish({name: known[v] for name, v in zip(graph.output_names, graph.outputs)}))


def _replay(build: Builder, ops: Iterable[Op], known: dict[int, Value]) -> None:
    for op in ops:
        known.update(zip(op.results, build.replay(op, [known[v] for v in op.operands])))


def _flat(graph: Graph) -> Graph:
    """The graph with its calls inlined, so that a part of what is called may be hoisted."""
    if all(op.name != "call" for op in graph.ops):
        return graph
    build = Builder(graph.name, graph.contract)
    known = [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        called = op.name == "call"
        known.extend(build.inline(_flat(op.regions[0]), operands) if called else build.replay(op, operands))
    return build.finish({name: known[v] for name, v in zip(graph.output_names, graph.outputs)})


def only(graph: Graph, kept: Sequence[int]) -> Graph:
    """The graph with these outputs alone."""
    outputs, names = (tuple(each[i] for i in kept) for each in (graph.outputs, graph.output_names))
    return prune(replace(graph, outputs=outputs, output_names=names))


def without_unread(graph: Graph, first: int) -> tuple[Graph, list[int]]:
    """The graph without the inputs from `first` on that nothing reads; and the numbers of those it keeps."""
    read = {v for op in graph.ops for v in op.operands} | set(graph.outputs)
    kept = [i for i in range(len(graph.inputs)) if i < first or i in read]
    build = Builder(graph.name, graph.contract)
    known: dict[int, Value] = {}
    for i in kept:
        port = graph.inputs[i]
        known[i] = build.input(port.name, port.type, port.default, port.place)
    _replay(build, graph.ops, known)
    outputs = {name: known[v] for name, v in zip(graph.output_names, graph.outputs)}
    return build.finish(outputs), kept
