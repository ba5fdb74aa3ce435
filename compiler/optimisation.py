"""What the page of an optimisation pass holds, and what passes share: copies of graphs, and keys."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from banach.ir.graph import Graph, Op, prune
from banach.ir.rewrite import Effect, Entry, Journal
from banach.ir.shelf import Page
from banach.ir.tensor_type import TensorType

LOOPS = ("fix", "scan", "while")


@dataclass(frozen=True, slots=True)
class Options:
    """What passes may do beyond what leaves every number as it is.

    `reassociate` lets them regroup sums and products, which changes rounding. `check_every` looks at the
    residual of a solve only every so many steps, so it may take more of them; "auto" chooses by cost.
    `direct` lets them replace an iteration by a closed form of what it solves, where they find one.

    Two are no passes. `target`: "unrolled" is a file without loops; "portable" and "ort" are one file so far.
    `compact`: in ONNX, samples that have stopped are left out of the steps that follow, which may change the
    last bits of an answer with its batch mates.
    """

    reassociate: bool = False
    check_every: int | Literal["auto"] | None = None
    direct: bool = False
    target: Literal["portable", "ort", "unrolled"] = "portable"
    compact: bool = False

    def refusal(self, effect: Effect) -> str:
        """Why an effect was not asked for; empty if it was, or is none."""
        if Effect.REASSOCIATES in effect and not self.reassociate:
            return "it changes rounding, and `reassociate` was not asked for"
        if Effect.CHANGES_ITERATES in effect and self.check_every is None:
            return "it changes the number of steps, and `check_every` was not asked for"
        if Effect.REPLACES_ITERATION in effect and not self.direct:
            return "it replaces the iteration, and `direct` was not asked for"
        return ""


class Pass(Page, ABC):
    """A map from graphs to graphs of one meaning, up to its effect. It works inside regions too."""

    headings = ("Maths", "Why", "Preserves")
    after: ClassVar[tuple[str, ...]] = ()
    effect: ClassVar[Effect] = Effect.EXACT

    @abstractmethod
    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        """The graph after the pass; the graph itself where there was nothing to do."""


class Copy:
    """A graph in the making, from the operations of another. Types are taken over, not worked out again.

    `at` gives the new number of every old value.
    """

    def __init__(self, graph: Graph, inputs: int | None = None):
        self.graph = graph
        self.ops: list[Op] = []
        self.at = list(range(len(graph.inputs)))
        self.next = len(graph.inputs) if inputs is None else inputs

    def keep(self, op: Op, regions: Sequence[Graph] | None = None) -> None:
        """Copies the next operation of the graph."""
        fresh = op if regions is None else replace(op, regions=tuple(regions))
        self.at.extend(self.add(fresh, self.moved(op.operands)))

    def add(self, op: Op, operands: tuple[int, ...] | None = None) -> range:
        """Adds an operation, with operands that have new numbers; its results."""
        made = op.moved(op.operands if operands is None else operands, self.next)
        self.ops.append(made)
        self.next += len(op.types)
        return made.results

    def inline(self, graph: Graph, operands: Sequence[int]) -> list[int]:
        """Adds the operations of a region, reading `operands` for its inputs; its outputs."""
        known = list(operands)
        for op in graph.ops:
            known.extend(self.add(op, tuple(known[v] for v in op.operands)))
        return [known[v] for v in graph.outputs]

    def moved(self, values: Iterable[int]) -> tuple[int, ...]:
        at = self.at
        return tuple([at[v] for v in values])

    def finish(self) -> Graph:
        return replace(self.graph, ops=tuple(self.ops), outputs=self.moved(self.graph.outputs))


def inside_out(graph: Graph, work: Callable[[Graph], Graph]) -> Graph:
    """The graph with `work` done in every region, innermost first, each object once, and then on itself.

    What `work` returns unchanged stays the same object.
    """
    done: dict[int, tuple[Graph, Graph]] = {}  # the key's graph is kept, so that its identity stays its own

    def worked(part: Graph) -> Graph:
        if id(part) not in done:
            ops = part.ops
            if any(op.regions for op in ops):
                ops = tuple(_with_regions(op, [worked(region) for region in op.regions]) for op in ops)
            same = all(new is old for new, old in zip(ops, part.ops))
            done[id(part)] = part, work(part if same else replace(part, ops=ops))
        return done[id(part)][1]

    return worked(graph)


def _with_regions(op: Op, regions: Sequence[Graph]) -> Op:
    same = all(new is old for new, old in zip(regions, op.regions))
    return op if same else replace(op, regions=tuple(regions))


def captures(op: Op) -> list[dict[int, int]]:
    """For every region of a loop, the operand that each of its captures is."""
    states = op.attribute("states")
    if op.name == "fix":
        solution, held = op.attribute("solution"), op.operands[2 + states :]
        fronts = [1 + states, 2 * states, solution]
        return [{front + i: v for i, v in enumerate(held)} for front, _ in zip(fronts, op.regions)]
    if op.name == "scan":
        front = states + op.attribute("sequences")
        return [{front + i: v for i, v in enumerate(op.operands[front:])}]
    return [{states + i: v for i, v in enumerate(op.operands[1 + states :])} for _ in op.regions]


def key(op: Op, operands: Sequence[int], regions: Iterable[Any] = ()) -> Any:
    """Equal for operations that give the same results. 1, 1.0 and true are three attributes, not one."""
    return op.name, tuple(operands), _typed(op.attributes), tuple(regions)


def _typed(value: Any) -> Any:
    return tuple(map(_typed, value)) if isinstance(value, tuple) else (type(value), value)


def with_attributes(op: Op, changed: Mapping[str, Any]) -> Op:
    """The operation with some attributes changed."""
    return replace(op, attributes=tuple((name, changed.get(name, value)) for name, value in op.attributes))


def count(graph: Graph) -> int:
    """The operations of a graph and of every region below it."""
    return sum(len(part.ops) for part in graph.walk())


def pruned(graph: Graph) -> Graph:
    """The graph without dead operations; the graph itself if there are none."""
    fresh = prune(graph)
    return graph if len(fresh.ops) == len(graph.ops) else fresh


def reads(graph: Graph) -> list[int]:
    """How often every value is read, by operations and as an output."""
    found = [0] * (len(graph.inputs) + sum(len(op.types) for op in graph.ops))
    for op in graph.ops:
        for value in op.operands:
            found[value] += 1
    for value in graph.outputs:
        found[value] += 1
    return found


def entries(type: TensorType) -> int | None:
    """How many entries a value has; None if a size is known by name only."""
    total = 1
    for size in type.shape:
        if not isinstance(size, int):
            return None
        total *= size
    return total


def note(rule: str, op: Op, graph: Graph, reason: str = "") -> Entry:
    """A line of the journal."""
    return Entry(rule, op.name, graph.name, op.place, reason)
