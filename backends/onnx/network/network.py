"""A network, and its graph for arguments of given types.

The convention of batches. An argument has the axes that the network declares; or, where the input begins with
an axis of samples (of size 1, or with a name), one axis fewer: then it is one sample, the axis is put before
it, and taken from everything that the network gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.refusal import Misfit, Uncovered
from banach.backends.onnx.network.tracing import Thing, Trace, shape_of
from banach.ir.dims import FREE, Assumptions, Size
from banach.ir.graph import Builder, Graph, Value, prune
from banach.ir.shelf import entries
from banach.ir.span import Span
from banach.ir.tensor_type import TensorType

OPERATORS = "banach.backends.onnx.network.operators"


def covered() -> Mapping[str, Any]:
    """The operators that are covered, with their rules."""
    return entries(OPERATORS, "RULES")


@dataclass(frozen=True, slots=True)
class Input:
    """An input: float, int64 or bool, and its sizes, of which those with a name are open."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        kind = {"float": "real", "int64": "int"}.get(self.dtype, self.dtype)
        return f"{kind}[{', '.join(map(str, self.shape))}]"

    @property
    def has_samples(self) -> bool:
        """Whether its first axis may be one of samples."""
        return bool(self.shape) and (self.shape[0] == 1 or isinstance(self.shape[0], str))


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """The graph of a network, and the names of the weights that its constants are made of, by digest."""

    graph: Graph
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Inputs, nodes in an order in which they can be worked out, names of outputs, and weights by name."""

    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, np.ndarray]
    _traces: dict[Any, Traced] = field(default_factory=dict)

    def trace(
        self,
        types: Sequence[TensorType],
        precision: str,
        contract: Assumptions = FREE,
        place: Span | None = None,
    ) -> Traced:
        """The graph of the network for arguments of these types; reals are of the given precision.

        Misfit: the arguments do not fit. Uncovered: a node cannot be expressed.
        """
        key = (tuple(types), precision, contract)
        if key not in self._traces:
            self._traces[key] = self._traced(types, precision, contract, place)
        return self._traces[key]

    def _traced(
        self, types: Sequence[TensorType], precision: str, contract: Assumptions, place: Span | None
    ) -> Traced:
        single = self._fit(types, precision)
        build = Builder("network", contract)
        trace = Trace(build, precision, place)
        values: dict[str, Thing | None] = {"": None}
        values.update({name: trace.name(weight, name) for name, weight in self.weights.items()})
        for port, type in zip(self.inputs, types):
            given: Value = build.input(port.name, type)
            if type.rank < len(port.shape):
                given = build.op("reshape", given, shape=(1, *type.shape), place=place)
            values[port.name] = given
        for node in self.nodes:
            values.update(_made(trace, node, [values[name] for name in node.inputs]))
        results = {}
        for i, name in enumerate(self.outputs):
            found = values[name]
            assert found is not None, name
            results[f"y.{i}"] = trace.value(_without_samples(trace, name, found) if single else found)
        return Traced(prune(build.finish(results)), trace.labels)

    def _fit(self, types: Sequence[TensorType], precision: str) -> bool:
        """Whether the arguments are one sample. Misfit: they are not what the network takes."""
        if len(types) != len(self.inputs):
            takes = ", ".join(f"{port.name}: {port}" for port in self.inputs)
            raise Misfit(f"it takes {len(self.inputs)} arguments ({takes}), not {len(types)}")
        pairs = list(zip(self.inputs, types))
        fewer = [port.has_samples and type.rank == len(port.shape) - 1 for port, type in pairs]
        sizes: dict[str, Size] = {}
        for (port, type), one in zip(pairs, fewer):
            wanted = {"float": precision}.get(port.dtype, port.dtype)
            shape = (1, *type.shape) if one else type.shape
            fits = wanted == type.dtype and len(shape) == len(port.shape)
            if not fits or not all(_agree(n, own, sizes) for n, own in zip(port.shape, shape)):
                told = f", with {', '.join(f'{k} = {v}' for k, v in sizes.items())}" if sizes else ""
                raise Misfit(f"its input `{port.name}` is {port}{told}, and is given {type}")
        return any(fewer)


def _agree(size: int | str, actual: Size, sizes: dict[str, Size]) -> bool:
    """Whether a size is the declared one; a name takes the first size that it meets."""
    return (sizes.setdefault(size, actual) if isinstance(size, str) else size) == actual


def _made(trace: Trace, node: Node, things: list[Thing | None]) -> dict[str, Thing]:
    """What a node makes, by name. Uncovered: it is not expressed by our primitives."""
    try:
        try:
            made = covered()[node.operator](trace, node, *things)
        except (TypeError, IndexError) as wrong:  # numpy's, for entries of the wrong kind
            raise Uncovered(f"it cannot be worked out: {wrong}") from None
        found = made if isinstance(made, tuple) else (made,)
        names = [name for name in node.outputs[len(found) :] if name]
        if names:
            raise Uncovered(f"its output `{names[0]}` is not covered")
    except Uncovered as refusal:
        raise Uncovered(f"{node}: {refusal}") from None
    except (ValueError, ArithmeticError, MemoryError) as wrong:
        raise Uncovered(f"{node}: {wrong}") from None
    return {name: thing for name, thing in zip(node.outputs, found) if name}


def _without_samples(trace: Trace, name: str, thing: Thing) -> Thing:
    shape = shape_of(thing)
    if not shape or shape[0] != 1:
        told = ", ".join(map(str, shape))
        raise Misfit(
            f"it is applied to one sample, and its output `{name}` is [{told}], without an axis of 1"
        )
    return trace.op("reshape", thing, shape=shape[1:])
