"""Graphs as text, and back: parse_graph(print_graph(g)) == g, and the same graph gives the same bytes.

    graph layer(%0 w: float64[2, n], %1 x: float64[n] = float64[2]{1.0, 2.0}) {
      %2 = matvec(%0, %1) : float64[2]
      %3 = sum(%2) {axes: (-1,)} : float64
      return y: %3
    }

Regions follow their operation, as `with { graph .. }`. A constant of at most eight entries is written out; a
larger one is named by its digest, and `tensors_of` holds its entries. Places are no part of the text. What is
assumed of sizes stands behind the inputs: `graph halves(%0 x: float64[n]) where n >= 4, 2 | n {`.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from banach.ir.dims import Assumptions, Dim, Quotient, Size
from banach.ir.graph import Graph, Op, Port
from banach.ir.reader import NAME, Reader, filled
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

INLINE = 8  # a constant with more entries is named by its digest


def print_graph(graph: Graph) -> str:
    """The text of a graph. ValueError: an attribute is of no kind that has a text."""
    return "\n".join(_lines(graph, "")) + "\n"


def parse_graph(text: str, tensors: Mapping[str, Tensor] = MappingProxyType({})) -> Graph:
    """The graph of a text; `tensors` gives the large constants by digest. BadText: the text is malformed."""
    return Reader(text, tensors).whole()


def tensors_of(graph: Graph) -> dict[str, Tensor]:
    """The constants that the text names by digest, regions included."""
    found: dict[str, Tensor] = {}
    for part in graph.walk():
        defaults = (port.default for port in part.inputs)
        for value in (*defaults, *(value for op in part.ops for _, value in op.attributes)):
            found.update((tensor.digest, tensor) for tensor in _tensors(value) if _entries(tensor) is None)
    return found


def digest(graph: Graph) -> str:
    """sha256 of the text, in hexadecimal."""
    return sha256(print_graph(graph).encode()).hexdigest()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)


# --- printing ----------------------------------------------------------------------------------------------


def _lines(graph: Graph, indent: str) -> Iterator[str]:
    ports = ", ".join(_port(i, port) for i, port in enumerate(graph.inputs))
    yield f"{indent}graph {_name(graph.name)}({ports}){_contract(graph.contract)} {{"
    for op in graph.ops:
        head = f"{indent}  {_operation(op)}"
        if not op.regions:
            yield head
            continue
        yield f"{head} with {{"
        for region in op.regions:
            yield from _lines(region, f"{indent}    ")
        yield f"{indent}  }}"
    outputs = (f"{_name(name)}: %{v}" for name, v in zip(graph.output_names, graph.outputs, strict=True))
    yield f"{indent}  return {', '.join(outputs)}".rstrip()
    yield f"{indent}}}"


def _contract(contract: Assumptions) -> str:
    told = []
    for name, least, multiple in contract.bounds:
        told.append(f"{_name(name)} >= {least}")
        told += [f"{multiple} | {_name(name)}"] if multiple > 1 else []
    return f" where {', '.join(told)}" if told else ""


def _port(number: int, port: Port) -> str:
    text = f"%{number} {_name(port.name)}: {_type(port.type)}"
    return text if port.default is None else f"{text} = {_tensor(port.default)}"


def _operation(op: Op) -> str:
    results = ", ".join(f"%{v}" for v in op.results) or "_"
    operands = ", ".join(f"%{v}" for v in op.operands)
    text = f"{results} = {_name(op.name)}({operands})"
    if op.attributes:
        text += f" {{{', '.join(f'{_name(key)}: {_attribute(value)}' for key, value in op.attributes)}}}"
    return f"{text} : {', '.join(map(_type, op.types))}" if op.types else text


def _name(name: str) -> str:
    return name if re.fullmatch(NAME, name) else json.dumps(name)


def _type(type: TensorType) -> str:
    text = f"{type.dtype}[{', '.join(map(_size, type.shape))}]" if type.shape else type.dtype
    return text if type.space == "euclidean" else f"{text}@{_name(type.space)}"


def _size(size: Size) -> str:
    if isinstance(size, int):
        return str(size)
    return " + ".join(_term(monomial, coefficient) for monomial, coefficient in size.terms)


def _term(monomial: Any, coefficient: int) -> str:
    factors = [_atom(atom) if power == 1 else f"{_atom(atom)}**{power}" for atom, power in monomial]
    return "*".join(factors if factors and coefficient == 1 else [str(coefficient), *factors])


def _atom(atom: str | Quotient) -> str:
    if isinstance(atom, str):
        return _name(atom)
    return f"({_size(atom.numerator)} // {_size(atom.denominator)})"


def _attribute(value: Any) -> str:
    for kind, show in _SHOWN.items():
        if isinstance(value, kind):
            return show(value)
    raise ValueError(f"an attribute of type {type(value).__name__} has no text: {value!r}")


def _tuple(parts: tuple[Any, ...]) -> str:
    inner = ", ".join(map(_attribute, parts))
    return f"({inner},)" if len(parts) == 1 else f"({inner})"


def _tensor(tensor: Tensor) -> str:
    entries = _entries(tensor)
    return f"{_type(tensor.type)}#{tensor.digest}" if entries is None else f"{_type(tensor.type)}{entries}"


def _entries(tensor: Tensor) -> str | None:
    """The entries, where they are few and their text gives back every bit (a NaN may hold more)."""
    if tensor.array.size > INLINE:
        return None
    entries = [entry.item() for entry in tensor.array.ravel()]
    numbers = [math.nan if entry != entry else entry for entry in entries]
    if filled(tensor.type, numbers) != tensor:
        return None
    return f"{{{', '.join(map(_attribute, numbers))}}}"


_SHOWN: dict[Any, Callable[[Any], str]] = {  # bool before int, of which it is a kind
    bool: lambda value: "true" if value else "false",
    int: str,
    float: float.__repr__,
    str: json.dumps,
    type(None): lambda value: "none",
    Fraction: lambda value: f"{value.numerator}/{value.denominator}",
    Dim: lambda value: f"<{_size(value)}>",
    Tensor: _tensor,
    tuple: _tuple,
}
