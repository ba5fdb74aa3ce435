"""One node of a network, with its attributes as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import AttributeProto, NodeProto

from banach.backends.onnx.network.refusal import BadNetwork, Uncovered
from banach.backends.onnx.network.tensors import array_of

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
        value = self.attributes.get(name, default)
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
    name = proto.name or next(iter(proto.output), "")
    attributes = {a.name: _attribute(a, folder, root) for a in proto.attribute}
    operator = proto.op_type if proto.domain in HOME else f"{proto.domain}.{proto.op_type}"
    return Node(name, operator, opset, tuple(proto.input), tuple(proto.output), attributes)


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
