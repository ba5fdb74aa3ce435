"""What nothing needs: operations, captures, states and outputs of regions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note, with_attributes
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Journal


@final
class DeadCode(Pass):
    """Leave out what no output needs.

    Maths      the outputs do not depend on it
    Why        derivatives and hoisting leave captures that no region reads; a scan stacks what nobody asked
               for; a state that only feeds itself costs memory and time in every step
    Preserves  every number. The states of a solution stay, and what the residual reads: they decide when to
               stop. What only the equation reads stays too: the derivative needs it
    """

    after = ("simplification", "sharing", "invariants", "branches")

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        while (fresh := inside_out(graph, lambda part: _swept(part, journal))) is not graph:
            graph = fresh
        return graph


def _swept(graph: Graph, journal: Journal) -> Graph:
    """One sweep backwards for what is needed, one forwards for new numbers."""
    needed = set(graph.outputs)
    kept: list[tuple[Op, Op, Sequence[int]]] = []  # an operation, what is left of it, and of its results
    for op in reversed(graph.ops):
        used = [i for i, result in enumerate(op.results) if result in needed]
        if not used:
            continue
        left, results = op, range(len(op.types))
        if op.regions:
            left, results = _trimmed(op, used, graph, journal)
        needed.update(left.operands)
        kept.append((op, left, results))
    if len(kept) == len(graph.ops) and all(op is left for op, left, _ in kept):
        return graph
    copy = Copy(graph)
    moved = dict(enumerate(range(len(graph.inputs))))
    for op, left, results in reversed(kept):
        fresh = copy.add(left, tuple(moved[v] for v in left.operands))
        moved.update((op.first + result, new) for result, new in zip(results, fresh))
    return replace(graph, ops=tuple(copy.ops), outputs=tuple(moved[v] for v in graph.outputs))


# --- operations with regions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A region seen from its operation: which slot each of its inputs shows, and which outputs are states.

    A slot is an operand behind the first `head` ones, which no region sees.
    """

    region: Graph
    slots: tuple[int, ...]
    states: bool  # whether its outputs are the operation's states, and then the operation's further results


@dataclass(frozen=True, slots=True)
class _Form:
    """How an operation's operands, regions and results hang together."""

    head: int
    carried: int  # the first slots are states, one result each
    held: int  # so many states stay in any case
    tail: int  # so many results at the end stay in any case
    parts: tuple[_Part, ...]


def _form(op: Op) -> _Form:
    regions, slots = op.regions, range(len(op.operands))
    if op.name == "cond":
        return _Form(1, 0, 0, 0, tuple(_Part(region, tuple(slots[:-1]), True) for region in regions))
    if op.name == "call":
        return _Form(0, 0, 0, 0, (_Part(regions[0], tuple(slots), True),))
    states = op.attribute("states")
    if op.name == "scan":
        return _Form(0, states, 0, 0, (_Part(regions[0], tuple(slots), True),))
    if op.name == "while":
        own = tuple(slots[:-1])
        return _Form(1, states, 0, 1, (_Part(regions[0], own, False), _Part(regions[1], own, True)))
    own, solution = tuple(slots[:-2]), op.attribute("solution")
    roles = [
        _Part(regions[0], (-1, *own), True),
        _Part(regions[1], (*own[:states], *own), False),
        *(_Part(region, (*own[:solution], *own[states:]), False) for region in regions[2:]),
    ]
    return _Form(2, states, solution, 3, tuple(roles))


def _trimmed(op: Op, used: Sequence[int], graph: Graph, journal: Journal) -> tuple[Op, Sequence[int]]:
    """The operation with what its used results need, and which of its results it still has."""
    if op.name in ("linear", "ruled"):  # what is proved of them speaks of their operands by their places
        return op, range(len(op.types))
    form = _form(op)
    results, slots = _alive(form, op, set(used))
    if len(results) == len(op.types) and len(slots) == len(op.operands) - form.head:
        return op, results
    journal.fired.append(note(_what(op, form, results), op, graph))
    regions = tuple(_narrowed(part, form, results, slots) for part in form.parts)
    operands = (*op.operands[: form.head], *(op.operands[form.head + slot] for slot in slots))
    changed: dict[str, int] = {}
    if form.carried:
        changed["states"] = sum(slot < form.carried for slot in slots)
    if op.name == "scan":
        split = form.carried + op.attribute("sequences")
        changed["sequences"] = sum(form.carried <= slot < split for slot in slots)
    fresh = replace(op, operands=operands, regions=regions, types=tuple(op.types[i] for i in results))
    return with_attributes(fresh, changed), results


def _what(op: Op, form: _Form, results: Sequence[int]) -> str:
    if len(results) == len(op.types):
        return "unused capture"
    return "unused state" if any(i not in results for i in range(form.carried)) else "unused result"


def _alive(form: _Form, op: Op, used: set[int]) -> tuple[list[int], list[int]]:
    """The results and slots that are needed: the least set that holds what is used, and what that reads."""
    count = len(op.types)
    results = used | set(range(form.held)) | set(range(count - form.tail, count))
    slots: set[int] = set()
    while True:
        before = len(results), len(slots)
        for part in form.parts:
            region = part.region
            read = _reads(region, [region.outputs[i] for i in sorted(results) if i < len(region.outputs)])
            slots |= {part.slots[i] for i in (read if part.states else _reads(region, region.outputs))}
        slots |= {i for i in results if i < form.carried}
        results |= {slot for slot in slots if 0 <= slot < form.carried}
        if (len(results), len(slots)) == before:
            return sorted(results), sorted(slot for slot in slots if slot >= 0)


def _reads(region: Graph, outputs: Sequence[int]) -> list[int]:
    """The inputs that some outputs of a region need."""
    needed = set(outputs)
    for op in reversed(region.ops):
        if any(result in needed for result in op.results):
            needed.update(op.operands)
    return sorted(v for v in needed if v < len(region.inputs))


def _narrowed(part: _Part, form: _Form, results: Sequence[int], slots: Sequence[int]) -> Graph:
    """The region with the inputs and outputs that are left."""
    region, left = part.region, {-1, *slots}
    inputs = [i for i, slot in enumerate(part.slots) if slot in left]
    outputs = [i for i in results if i < len(region.outputs)] if part.states else range(len(region.outputs))
    return _restricted(region, inputs, list(outputs))


def _restricted(region: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    needed = {region.outputs[i] for i in outputs}
    kept: list[Op] = []
    for op in reversed(region.ops):
        if any(result in needed for result in op.results):
            kept.append(op)
            needed.update(op.operands)
    copy = Copy(region, len(inputs))
    moved = {old: new for new, old in enumerate(inputs)}
    for op in reversed(kept):
        moved.update(zip(op.results, copy.add(op, tuple(moved[v] for v in op.operands))))
    return Graph(
        region.name,
        tuple(region.inputs[i] for i in inputs),
        tuple(copy.ops),
        tuple(moved[region.outputs[i]] for i in outputs),
        tuple(region.output_names[i] for i in outputs),
    )
