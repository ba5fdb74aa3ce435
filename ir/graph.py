"""Graphs: an SSA list of operations in program order, and the builder that makes one.

A graph is a morphism from its inputs to its outputs. Values are numbered: the inputs first, then the
results of each operation. Regions are closed: what they use from outside is an explicit operand.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from banach.ir.dims import FREE, Assumptions
from banach.ir.shelf import pages
from banach.ir.span import Span
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, TypeMismatch, numpy_dtype

PRIMITIVES = "banach.ir.primitives"


@dataclass(frozen=True, slots=True)
class Port:
    """An input of a graph; one with a default may be left out when the graph is run."""

    name: str
    type: TensorType
    default: Tensor | None = None
    place: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: a page's name, the values it reads, what fixes it, and the types of its results.

    `first` numbers its first result. Places take no part in equality.
    """

    name: str
    operands: tuple[int, ...]
    attributes: tuple[tuple[str, Any], ...]
    regions: tuple["Graph", ...]
    types: tuple[TensorType, ...]
    first: int
    place: Span | None = field(default=None, compare=False)

    @property
    def results(self) -> range:
        """The numbers of what it makes."""
        return range(self.first, self.first + len(self.types))

    def moved(self, operands: tuple[int, ...], first: int) -> "Op":
        """The operation with other numbers. (`dataclasses.replace` takes four times as long.)"""
        return Op(self.name, operands, self.attributes, self.regions, self.types, first, self.place)

    def attribute(self, name: str, default: Any = None) -> Any:
        return next((value for key, value in self.attributes if key == name), default)


@dataclass(frozen=True, slots=True)
class Graph:
    """A morphism: named inputs, operations in program order, named outputs.

    `contract` is what the sizes of the inputs must keep to; regions have none of their own.
    """

    name: str
    inputs: tuple[Port, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]
    output_names: tuple[str, ...]
    contract: Assumptions = FREE

    def types(self) -> list[TensorType]:
        """The type of every value, by its number."""
        found = [port.type for port in self.inputs]
        for op in self.ops:
            found.extend(op.types)
        return found

    @property
    def output_types(self) -> tuple[TensorType, ...]:
        types = self.types()
        return tuple(types[v] for v in self.outputs)

    def constants(self) -> dict[int, Tensor]:
        """The values that are constants, by number."""
        return {op.first: op.attribute("value") for op in self.ops if op.name == "constant"}

    def walk(self) -> Iterator["Graph"]:
        """This graph and every region below it, outermost first."""
        pending: list[Graph] = [self]
        while pending:
            graph = pending.pop()
            yield graph
            regions: list[Graph] = [region for op in graph.ops for region in op.regions]
            pending.extend(reversed(regions))


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A handle on a value under construction. Arithmetic on handles adds operations to their builder."""

    builder: "Builder"
    id: int
    type: TensorType

    def __add__(self, other: "Value | float") -> "Value":
        return self.builder.op("add", self, self._lift(other))

    def __sub__(self, other: "Value | float") -> "Value":
        return self.builder.op("subtract", self, self._lift(other))

    def __rsub__(self, other: float) -> "Value":
        return self.builder.op("subtract", self._lift(other), self)

    def __mul__(self, other: "Value | float") -> "Value":
        return self.builder.op("multiply", self, self._lift(other))

    def __truediv__(self, other: "Value | float") -> "Value":
        return self.builder.op("divide", self, self._lift(other))

    def __rtruediv__(self, other: float) -> "Value":
        return self.builder.op("divide", self._lift(other), self)

    def __neg__(self) -> "Value":
        return self.builder.op("negate", self)

    __radd__ = __add__
    __rmul__ = __mul__

    def _lift(self, other: "Value | float") -> "Value":
        return other if isinstance(other, Value) else self.builder.scalar(other, self.type.dtype)


class Builder:
    """Makes one graph: add inputs, then operations, then `finish`.

    Every operation is typed by its page as it is added. TypeMismatch: the operands do not fit.
    """

    def __init__(self, name: str, contract: Assumptions = FREE):
        self.name, self.contract = name, contract
        self._inputs: list[tuple[int, Port]] = []
        self._ops: list[Op] = []
        self._types: list[TensorType] = []
        self._constants: dict[int, Tensor] = {}
        self._scalars: dict[tuple[str, Any], Value] = {}
        self._shared: dict[tuple[TensorType, ...], tuple[TensorType, ...]] = {}  # one object for equal types
        self.place: Span | None = None  # where what is added stands in the text, if nothing else is said

    @classmethod
    def over(cls, graph: Graph) -> "Builder":
        """A builder with the inputs of a graph, in which every value of it has its number: `keep` adds an
        operation of the graph as it stands, and what is made anew is numbered behind them all. `close` ends
        it."""
        build = cls(graph.name, graph.contract)
        build._inputs = list(enumerate(graph.inputs))
        build._types = graph.types()
        return build

    def input(
        self, name: str, type: TensorType, default: Tensor | None = None, place: Span | None = None
    ) -> Value:
        """A further input. Inputs may come late: `finish` puts them first."""
        value = Value(self, len(self._types), type)
        self._inputs.append((value.id, Port(name, type, default, place)))
        self._types.append(type)
        return value

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs so far, in order."""
        return tuple(Value(self, value, port.type) for value, port in self._inputs)

    @property
    def names(self) -> set[str]:
        """The names of the inputs so far."""
        return {port.name for _, port in self._inputs}

    def constant(self, value: np.ndarray | Tensor, place: Span | None = None) -> Value:
        """A constant array."""
        tensor = value if isinstance(value, Tensor) else Tensor(value)
        return self.op("constant", value=tensor, place=place)

    def constant_of(self, value: Value) -> Tensor | None:
        """The array behind a value that is a constant."""
        return self._constants.get(value.id)

    def place_of(self, value: Value) -> Span | None:
        """Where an input or an operation's result stands in the text."""
        made = next((op.place for op in reversed(self._ops) if value.id in op.results), None)
        return made or next((port.place for number, port in self._inputs if number == value.id), None)

    def scalar(self, value: float | int | bool | Fraction, dtype: str) -> Value:
        """A constant without axes; the same number is made once."""
        key = (dtype, repr(value))
        if key not in self._scalars:
            number = float(value) if isinstance(value, Fraction) else value
            self._scalars[key] = self.constant(np.asarray(number, numpy_dtype(dtype)))
        return self._scalars[key]

    def zeros(self, type: TensorType) -> Value:
        """The zero of a type."""
        zero = self.op("broadcast", self.scalar(0, type.dtype), shape=type.shape)
        return zero if zero.type.space == type.space else self.op("within", zero, space=type.space)

    def op(self, name: str, *operands: Value, place: Span | None = None, **attributes: Any) -> Value:
        """Adds an operation with one result."""
        (result,) = self.emit(name, operands, attributes, place=place)
        return result

    def emit(
        self,
        name: str,
        operands: Sequence[Value],
        attributes: Mapping[str, Any],
        regions: Sequence[Graph] = (),
        place: Span | None = None,
    ) -> tuple[Value, ...]:
        """Adds an operation, with as many results as its page says."""
        types = infer(name, [v.type for v in operands], attributes, regions)
        return self._append(name, operands, tuple(attributes.items()), tuple(regions), types, place)

    def _append(
        self,
        name: str,
        operands: Sequence[Value],
        attributes: tuple[tuple[str, Any], ...],
        regions: tuple[Graph, ...],
        types: tuple[TensorType, ...],
        place: Span | None,
    ) -> tuple[Value, ...]:
        for operand in operands:
            if operand.builder is not self:
                raise ValueError(f"{name}: an operand belongs to another graph")
        first, types = len(self._types), self._shared.setdefault(types, types)
        read = tuple([v.id for v in operands])
        self._ops.append(Op(name, read, attributes, regions, types, first, place or self.place))
        self._types.extend(types)
        if name == "constant":
            self._constants[first] = attributes[0][1]
        return tuple([Value(self, first + i, t) for i, t in enumerate(types)])

    def inline(self, graph: Graph, arguments: Sequence[Value]) -> tuple[Value, ...]:
        """Adds another graph's operations, reading `arguments` for its inputs; returns its outputs."""
        known = list(arguments)
        fits = all(value.type == port.type for value, port in zip(known, graph.inputs))
        add = self.copy if fits else self.replay
        for op in graph.ops:
            known.extend(add(op, [known[v] for v in op.operands]))
        return tuple(known[v] for v in graph.outputs)

    def replay(
        self, op: Op, operands: Sequence[Value], regions: Sequence[Graph] | None = None
    ) -> tuple[Value, ...]:
        """Adds a copy of an operation that reads other operands (and, if given, has other regions)."""
        kept = op.regions if regions is None else regions
        return self.emit(op.name, operands, dict(op.attributes), kept, op.place)

    def copy(self, op: Op, operands: Sequence[Value]) -> tuple[Value, ...]:
        """Adds a copy of an operation that reads other operands, of the types that its own ones had."""
        return self._append(op.name, operands, op.attributes, op.regions, op.types, op.place)

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._types)

    def keep(self, op: Op) -> None:
        """Adds an operation of the graph that this builder is `over`, under its own numbers."""
        self._ops.append(op)
        if op.name == "constant":
            self._constants[op.first] = op.attributes[0][1]

    @property
    def ops(self) -> Sequence[Op]:
        """The operations made so far; not to be changed."""
        return self._ops

    def at(self, id: int) -> Value:
        """The value with this number."""
        return Value(self, id, self._types[id])

    def finish(self, outputs: Mapping[str, Value]) -> Graph:
        """The graph made so far."""
        if all(value == i for i, (value, _) in enumerate(self._inputs)):
            return self._graph(tuple(self._ops), [value.id for value in outputs.values()], outputs)
        fresh = self._fresh()
        moved = _renumbered(self._ops, fresh, len(self._inputs))
        return self._graph(moved, [fresh[value.id] for value in outputs.values()], outputs)

    def close(self, outputs: Mapping[str, Value]) -> Graph:
        """The graph made so far, without the operations that no output needs; the builder is spent.

        An operation is let go as it is renumbered: a graph of n operations is never held twice.
        """
        ops, self._ops = self._ops, []
        needed = _needed(ops, [value.id for value in outputs.values()], len(self._types))
        fresh = self._fresh()
        ops.reverse()
        rest = (ops.pop() for _ in range(len(ops)))
        moved = _renumbered((op for op in rest if op.types and needed[op.first]), fresh, len(self._inputs))
        return self._graph(moved, [fresh[value.id] for value in outputs.values()], outputs)

    def _fresh(self) -> list[int]:
        """By its number here, the number of an input in the graph to be; the rest is not known yet."""
        fresh = [-1] * len(self._types)
        for i, (value, _) in enumerate(self._inputs):
            fresh[value] = i
        return fresh

    def _graph(self, ops: tuple[Op, ...], outputs: Sequence[int], names: Iterable[str]) -> Graph:
        ports = tuple(port for _, port in self._inputs)
        return Graph(self.name, ports, ops, tuple(outputs), tuple(names), self.contract)


def unused(name: str, taken: Container[str]) -> str:
    """The name, with as many primes as set it apart from those taken."""
    while name in taken:
        name += "'"
    return name


def beside(name: str, graphs: Sequence[Graph]) -> Graph:
    """The graphs side by side: inputs of one name are one input, outputs follow each other."""
    build = Builder(name)
    inputs: dict[str, Value] = {}
    for port in (port for graph in graphs for port in graph.inputs):
        if port.name not in inputs:
            inputs[port.name] = build.input(port.name, port.type, port.default, port.place)
    outputs: dict[str, Value] = {}
    for graph in graphs:
        found = build.inline(graph, [inputs[port.name] for port in graph.inputs])
        outputs.update(zip(graph.output_names, found))
    return build.finish(outputs)


def infer(
    name: str, types: Sequence[TensorType], attributes: Mapping[str, Any], regions: Sequence[Graph] = ()
) -> tuple[TensorType, ...]:
    """The types of an operation's results. TypeMismatch: the page refuses the operands."""
    page = pages(PRIMITIVES).get(name)
    if page is None:
        raise TypeMismatch(f"there is no primitive called {name}")
    try:
        return page.types(tuple(types), tuple(regions), **attributes)
    except TypeMismatch as refusal:
        raise TypeMismatch(f"{name}: {refusal}") from None


def prune(graph: Graph) -> Graph:
    """The graph without the operations that no output needs, in one sweep."""
    count = len(graph.inputs) + sum(len(op.types) for op in graph.ops)
    needed = _needed(graph.ops, graph.outputs, count)
    fresh = [*range(len(graph.inputs)), *[-1] * (count - len(graph.inputs))]
    kept = (op for op in graph.ops if op.types and needed[op.first])
    moved = _renumbered(kept, fresh, len(graph.inputs))
    return replace(graph, ops=moved, outputs=tuple([fresh[v] for v in graph.outputs]))


def _needed(ops: Sequence[Op], outputs: Iterable[int], count: int) -> bytearray:
    """Which of `count` values an output needs. An operation is needed whole: its first result tells."""
    needed = bytearray(count + 1)
    for value in outputs:
        needed[value] = 1
    for op in reversed(ops):
        if 1 in needed[op.first : op.first + len(op.types)]:
            needed[op.first] = 1
            for value in op.operands:
                needed[value] = 1
    return needed


def _renumbered(ops: Iterable[Op], fresh: list[int], first: int) -> tuple[Op, ...]:
    """The operations with their values numbered from `first` on; `fresh` learns the new numbers."""
    moved: list[Op] = []
    for op in ops:
        operands = tuple([fresh[v] for v in op.operands])
        moved.append(op if op.first == first and op.operands == operands else op.moved(operands, first))
        for value in op.results:
            fresh[value] = first
            first += 1
    return tuple(moved)
