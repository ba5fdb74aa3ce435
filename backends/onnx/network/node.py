"""One node of a network, with its attributes as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto

from banach.backends.onnx.network.refusal import BadNetwork, Uncovered
from banach.backends.onnx.network.tensors import array_of, text

HOME = ("", "ai.onnx")  # the domain of the operators that we know


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """What a node is called, what it does, what it reads and makes. An empty name is one left out."""

    name: str
    operator: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"node `{self.name}` ({self.operator}, opset {self.opset})"

    def get(self, name: str, default: Any) -> Any:
        """An attribute, of the kind of its default. Uncovered: it is of another kind."""
        if name not in self.attributes:
            # The defaults of ONNX are numbers of float32.
            return float(np.float32(default)) if isinstance(default, float) else default
        value = self.attributes[name]
        kinds = {float: (float, int), int: (int,), str: (str,), tuple: (tuple,)}.get(type(default))
        if kinds is not None and not isinstance(value, kinds):
            raise Uncovered(f"the attribute `{name}` is no {type(default).__name__}")
        return value

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """An attribute that lists whole numbers; None where it is not there."""
        value = self.get(name, ())
        if not all(isinstance(number, int) for number in value):
            raise Uncovered(f"the attribute `{name}` is no list of whole numbers")
        return value if name in self.attributes else None

    def only(self, **wanted: Any) -> None:
        """Uncovered: an attribute is there and is not what is wanted."""
        for name, value in wanted.items():
            if self.attributes.get(name, value) != value:
                raise Uncovered(f"`{name}` is {self.attributes[name]!r}; covered is {value!r}")


def node_of(proto: NodeProto, opset: int, folder: Path, root: Path) -> Node:
    """BadNetwork: an attribute cannot be read."""
    inputs, outputs = tuple(map(text, proto.input)), tuple(map(text, proto.output))
    attributes = {text(a.name): _attribute(a, folder, root) for a in proto.attribute}
    operator, domain = text(proto.op_type), text(proto.domain)
    operator = operator if domain in HOME else f"{domain}.{operator}"
    return Node(text(proto.name) or "".join(outputs[:1]), operator, opset, inputs, outputs, attributes)


def _attribute(attribute: AttributeProto, folder: Path, root: Path) -> Any:
    """A number, a text, an array, or a tuple of such; None for what no covered operator has."""
    kinds = AttributeProto
    match attribute.type:
        case kinds.FLOAT:
            return float(attribute.f)
        case kinds.INT:
            return int(attribute.i)
        case kinds.STRING:
            return attribute.s.decode("utf-8", "replace")
        case kinds.TENSOR:
            return array_of(attribute.t, folder, root)
        case kinds.FLOATS:
            return tuple(map(float, attribute.floats))
        case kinds.INTS:
            return tuple(map(int, attribute.ints))
        case kinds.STRINGS:
            return tuple(text.decode("utf-8", "replace") for text in attribute.strings)
        case kinds.UNDEFINED:
            raise BadNetwork(f"the attribute `{attribute.name}` has no type")
    return None
