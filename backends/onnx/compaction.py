"""Rounds of a batched solve that carry only the samples which have not stopped.

Where samples need different numbers of iterations, holding those that have stopped still pays for their
steps. A round gathers the others, does a few checks' worth of steps on them alone, and scatters what they
have become. Every sample meets the same operations in the same order. But a product of matrices may round
otherwise with fewer rows, so that the last bits of an answer depend on the batch mates: on request only.

Only what keeps samples apart can be gathered: the batch is the leading axis of every value that has it, and
no operation takes it away (`separate`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from banach.ir.dims import Dim, Size, named, names
from banach.ir.graph import Graph
from banach.ir.tensor_type import TensorType

CHECKS = 8  # in a round
_REPEATING = ("broadcast", "within")


def separate(regions: Sequence[Graph], lane: Size) -> bool:
    """Whether the batch is the leading axis of all that has it, and stays so."""
    if not isinstance(lane, Dim) or len(lane.terms) != 1 or lane != named(*names(lane)):
        return False
    for region in regions:
        types = region.types()
        if not all(_leads(type, lane) is not None for type in types):
            return False
        for op in region.ops:
            reads = any(_leads(types[v], lane) for v in op.operands)
            if op.regions or (reads and not all(_leads(type, lane) for type in op.types)):
                return False
            made = not reads and any(_leads(type, lane) for type in op.types)
            if made and op.name not in _REPEATING:  # what is drawn or counted for a place in the batch
                return False
            if not all(_plain(value, lane) for _, value in op.attributes):
                return False
    return True


def _leads(type: TensorType, lane: Dim) -> bool | None:
    """Whether the batch is its leading axis; None: it is in another place."""
    own = set(names(lane))
    first, *rest = type.shape or (1,)
    if any(own & set(names(size)) for size in rest) or (first != lane and own & set(names(first))):
        return None
    return first == lane


def _plain(value: object, lane: Dim) -> bool:
    if isinstance(value, tuple):
        return all(_plain(part, lane) for part in value)
    return value == lane or not (isinstance(value, Dim) and set(names(lane)) & set(names(value)))


def renamed(graph: Graph, lane: Size, fresh: Size) -> Graph:
    """The graph with another name for its batch."""
    ops = tuple(
        replace(
            op,
            types=tuple(_type(type, lane, fresh) for type in op.types),
            attributes=tuple((key, _value(value, lane, fresh)) for key, value in op.attributes),
        )
        for op in graph.ops
    )
    ports = tuple(replace(port, type=_type(port.type, lane, fresh)) for port in graph.inputs)
    return replace(graph, inputs=ports, ops=ops)


def _type(type: TensorType, lane: Size, fresh: Size) -> TensorType:
    return type.with_shape([fresh if size == lane else size for size in type.shape])


def _value(value: Any, lane: Size, fresh: Size) -> Any:
    if isinstance(value, tuple):
        return tuple(_value(part, lane, fresh) for part in value)
    return fresh if isinstance(value, Dim) and value == lane else value
