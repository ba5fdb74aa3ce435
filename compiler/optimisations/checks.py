"""How often a solve looks at its residual."""

from dataclasses import replace
from typing import final

from banach.compiler.optimisation import Options, Pass, entries, inside_out, note, with_attributes
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Effect, Journal
from banach.ir.tensor_type import TensorType, numpy_dtype

# A step in µs, roughly, as ONNX Runtime takes it on one core (shared/ONNX.md, 2.1-2.2).
PER_OP = 0.2
PER_MEGABYTE = 30.0  # arrays that stay in the cache, read and written
PER_MEGAFLOP = 15.0  # matrix products
TINY, DEAR = 3.0, 50.0  # below, ten steps for one check; above, one


@final
class Checks(Pass):
    """Look at the residual of a `fix` only every few steps.

    Maths      the states of step k are the same; the test is made for k = m, 2m, .. and at `most`
    Why        for 64 unknowns the test costs as much as a step: 10 steps and one test take 1.03 µs per step,
               against 2.24; above 50 µs for a step the surplus steps cost more than the tests
    Preserves  every state of every step, and what the status means. Where the residual falls from step to
               step a solve takes up to m - 1 steps more; a residual that rises and falls may be small
               between two checks only, and then it takes more than that
    """

    after = ("dead_code",)
    effect = Effect.CHANGES_ITERATES

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _spaced(part, options, journal))


def _spaced(graph: Graph, options: Options, journal: Journal) -> Graph:
    if not any(op.name == "fix" for op in graph.ops):
        return graph
    ops = tuple(_chosen(op, graph, options, journal) if op.name == "fix" else op for op in graph.ops)
    return graph if ops == graph.ops else replace(graph, ops=ops)


def _chosen(op: Op, graph: Graph, options: Options, journal: Journal) -> Op:
    every, reason = options.check_every, ""
    if every == "auto":
        every, reason = _by_cost(op)
    if reason:
        journal.refused.append(note("space checks", op, graph, reason))
    if every is None or op.attribute("every") == every:
        return op
    journal.fired.append(note(f"a check every {every} steps", op, graph))
    return with_attributes(op, {"every": every})


def _by_cost(op: Op) -> tuple[int | None, str]:
    """How many steps for one check, or why that is left as it is."""
    if op.attribute("every") != 1:
        return None, "it has been chosen before"
    cost = microseconds(op.regions[0])
    if cost is None:
        return None, "the size of a step is known only when it runs"
    if cost > DEAR:
        return None, f"a step takes about {cost:.0f} µs, and a surplus one costs more than a check"
    return (10 if cost < TINY else 5), ""


def microseconds(graph: Graph) -> float | None:
    """About how long a region takes; None where a size has only a name."""
    types = graph.types()
    total = 0.0
    for op in graph.ops:
        if op.name == "constant":
            continue
        inner = [microseconds(region) for region in op.regions]
        if any(cost is None for cost in inner):
            return None
        repeats = op.attribute("length", 1)
        if op.name in ("fix", "while") or not isinstance(repeats, int):
            return None
        moved = [_bytes(type) for type in (*(types[v] for v in op.operands), *op.types)]
        if any(size is None for size in moved):
            return None
        total += PER_OP + PER_MEGABYTE * sum(size or 0 for size in moved) / 1e6
        total += PER_MEGAFLOP * _flops(op, types) / 1e6 + repeats * sum(cost or 0.0 for cost in inner)
    return total


def _bytes(type: TensorType) -> int | None:
    found = entries(type)
    return None if found is None else found * numpy_dtype(type.dtype).itemsize


def _flops(op: Op, types: list[TensorType]) -> int:
    """Multiplications and additions of a product of matrices."""
    if op.name not in ("matvec", "matmul"):
        return 0
    inner = types[op.operands[0]].shape[-1]
    return 2 * (entries(op.types[0]) or 0) * inner if isinstance(inner, int) else 0
