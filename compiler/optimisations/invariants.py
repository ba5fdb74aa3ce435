"""What does not change in a loop is worked out before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from banach.compiler.optimisation import LOOPS, Copy, Options, Pass, captures, inside_out, key, note
from banach.ir.graph import Graph, Op, Port, unused
from banach.ir.rewrite import Journal
from banach.ir.tensor_type import TensorType

# They cost memory, not time: better made where they are read.
FREE = ("constant", "broadcast", "count", "extent")
TRAPS = ("divide", "remainder")  # of integers: by zero they end the process, and the loop may not run at all


@final
class Invariants(Pass):
    """Move operations on captures and constants out of `fix`, `scan` and `while`.

    Maths      step(s, c) = g(s, h(c)) for every s: with d = h(c) before the loop, the step is g(s, d)
    Why        Aᵀb, Ux + b, the norm that a residual is measured against: once, not once per iteration. ONNX
               hoists when it is written; torch and the oracle do not
    Preserves  every number. The equation is not run, so nothing is worked out for it alone; it reads what the
               step needs anyway, and its derivative flows through that
    """

    after = ("sharing", "branches", "products", "sums")

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _outwards(part, journal))


def _outwards(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name in LOOPS for op in graph.ops):
        return graph
    copy, types = Copy(graph), graph.types()
    outside = _Outside(copy, types[: len(graph.inputs)])
    changed = False
    for op in graph.ops:
        operands = copy.moved(op.operands)
        if op.name in LOOPS:
            hoisted = _hoisted(replace(op, operands=operands), outside, graph, journal)
            changed = changed or hoisted.regions is not op.regions
            copy.at.extend(outside.add(hoisted))
        else:
            copy.at.extend(outside.again(replace(op, operands=operands)))
    return copy.finish() if changed else graph


class _Outside:
    """The graph around a loop as it grows; what is in it already is not made a second time."""

    def __init__(self, copy: Copy, types: Sequence[TensorType]):
        self.copy, self.types = copy, list(types)
        self.known: dict[Any, range] = {}

    def find(self, op: Op) -> range | None:
        return self.known.get(_key(op))

    def add(self, op: Op) -> range:
        self.types.extend(op.types)
        return self.known.setdefault(_key(op), self.copy.add(op))

    def again(self, op: Op) -> range:
        """Adds an operation of the graph's own, even if there is an equal one: sharing is another pass."""
        self.types.extend(op.types)
        made = self.copy.add(op)
        self.known.setdefault(_key(op), made)
        return made


def _key(op: Op) -> Any:
    return key(op, op.operands, map(id, op.regions))


@dataclass(slots=True)
class _Body:
    """A region of a loop. `outer` gives the outer value of every inner one that does not change, where it
    has been made; `makers` the operation of every inner value that could be."""

    region: Graph
    outer: dict[int, int]
    makers: dict[int, Op]
    front: list[int]  # unchanging values worth handing in, in order

    def constant(self, value: int) -> bool:
        return value in self.makers and self.makers[value].name == "constant"


def _hoisted(op: Op, outside: _Outside, graph: Graph, journal: Journal) -> Op:
    bodies = [_body(region, held, op, journal) for region, held in zip(op.regions, captures(op))]
    eager = bodies[:2] if op.name == "fix" else bodies
    handed: dict[int, None] = {}  # outer values, in the order in which they become captures
    for body in eager:
        for value in body.front:
            outer = _bring(body, value, outside)
            if outer not in op.operands:
                journal.fired.append(note("hoist", body.makers[value], body.region))
            handed.setdefault(outer)
    if not handed:
        return op
    for body in bodies[len(eager) :]:
        _meet(body, handed, outside)
    ports = [outside.types[value] for value in handed]
    regions = tuple(_handed(body, list(handed), ports) for body in bodies)
    return replace(op, operands=(*op.operands, *handed), regions=regions)


def _body(region: Graph, held: Mapping[int, int], op: Op, journal: Journal) -> _Body:
    """Which operations of a region read nothing that changes, and which of their results are needed."""
    body = _Body(region, dict(held), {}, [])
    wanted: dict[int, None] = {}
    for inner in region.ops:
        still = all(v in body.outer or v in body.makers for v in inner.operands)
        trap = inner.name in TRAPS and not inner.types[0].is_float
        if still and not trap:
            body.makers.update((result, inner) for result in inner.results)
            continue
        if still:
            reason = "it may divide by zero, and the loop may not run at all"
            journal.refused.append(note("hoist", inner, region, reason))
        wanted.update(dict.fromkeys(v for v in inner.operands if v in body.makers))
    wanted.update(dict.fromkeys(v for v in region.outputs if v in body.makers))
    body.front = sorted(_worth(body, wanted))
    return body


def _worth(body: _Body, wanted: Mapping[int, None]) -> set[int]:
    """The values to hand in: those wanted, or where these cost no time, what they are made of."""
    found: set[int] = set()
    pending, seen = list(wanted), set(wanted)
    while pending:
        value = pending.pop()
        if body.makers[value].name not in FREE:
            found.add(value)
            continue
        fresh = [v for v in body.makers[value].operands if v in body.makers and v not in seen]
        seen.update(fresh)
        pending.extend(fresh)
    return found


def _bring(body: _Body, value: int, outside: _Outside) -> int:
    """The outer value, made with all that it needs."""
    pending = [value]
    while pending:
        top = pending[-1]
        missing = (
            [v for v in body.makers[top].operands if v not in body.outer] if top not in body.outer else []
        )
        if missing:
            pending.extend(missing)
            continue
        pending.pop()
        if top not in body.outer:
            inner = body.makers[top]
            moved = replace(inner, operands=tuple(body.outer[v] for v in inner.operands))
            found = outside.find(moved)
            body.outer.update(zip(inner.results, outside.add(moved) if found is None else found))
    return body.outer[value]


def _meet(body: _Body, handed: dict[int, None], outside: _Outside) -> None:
    """Finds in a region that is not run what has been made for the others."""
    for value, inner in body.makers.items():
        if value in body.outer or any(v not in body.outer for v in inner.operands):
            continue
        found = outside.find(replace(inner, operands=tuple(body.outer[v] for v in inner.operands)))
        if found is not None:
            body.outer.update(zip(inner.results, found))
    body.front = [v for v, outer in body.outer.items() if v in body.makers and outer in handed]


def _handed(body: _Body, handed: Sequence[int], ports: Sequence[TensorType]) -> Graph:
    """The region with further captures, read in place of what it worked out before."""
    region = body.region
    taken = {port.name for port in region.inputs}
    extra = []
    for type in ports:
        name = unused(f"hoisted.{len(extra)}", taken)
        taken.add(name)
        extra.append(Port(name, type))
    first = len(region.inputs)
    place = {outer: first + i for i, outer in enumerate(handed)}
    read = {value: place[body.outer[value]] for value in body.front}
    copy = Copy(region, first + len(extra))
    needed = _needed(region, read)
    for op in region.ops:
        if any(result in needed for result in op.results):
            copy.keep(op)
        else:
            copy.at.extend([-1] * len(op.types))
        for result in op.results:
            copy.at[result] = read.get(result, copy.at[result])
    return replace(copy.finish(), inputs=(*region.inputs, *extra))


def _needed(region: Graph, read: Mapping[int, int]) -> set[int]:
    """The values that are still to be worked out."""
    needed = set(region.outputs) - read.keys()
    for op in reversed(region.ops):
        if any(result in needed for result in op.results):
            needed.update(v for v in op.operands if v not in read)
    return needed
