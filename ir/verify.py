"""Whether a graph is well formed: what every stage may take for granted, and hands on."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from inspect import Parameter, signature
from typing import Any

from banach.ir.dims import Dim
from banach.ir.graph import PRIMITIVES, Graph, Op, infer
from banach.ir.primitive import page
from banach.ir.shelf import pages
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import DTYPES, TensorType, TypeMismatch

KINDS = (bool, int, float, str, Fraction, Dim, Tensor, TensorType, type(None))  # what an attribute may be


class IllFormed(Exception):
    """A graph that is none; the message names the graph, the operation and the value. A bug of ours."""


def verify(graph: Graph) -> None:
    """Checks a graph and every region below it.

    Operands are defined before they are used (in their own graph: regions are closed), numbers are dense,
    types are what the pages say, outputs exist, names of inputs and of outputs are unique, attributes are
    those that the page asks for, of known kinds. IllFormed: the first fault.
    """
    for part in graph.walk():
        for fault in _faults(part):
            raise IllFormed(f"{part.name}: {fault}")


def _faults(graph: Graph) -> Iterator[str]:
    """The faults of a graph, its regions' own apart; what follows the first may be wrong."""
    yield from _port_faults(graph)
    types = [port.type for port in graph.inputs]
    for number, op in enumerate(graph.ops):
        for fault in _op_faults(op, types):
            yield f"operation {number}, %{op.first} = {op.name}: {fault}"
        types.extend(op.types)
    if len(graph.outputs) != len(graph.output_names):
        yield f"{len(graph.outputs)} outputs have {len(graph.output_names)} names"
    yield from (f"two outputs are called {name}" for name in _repeated(graph.output_names))
    for name, value in zip(graph.output_names, graph.outputs):
        if not 0 <= value < len(types):
            yield f"the output {name} is %{value}, and there are only {len(types)} values"


def _port_faults(graph: Graph) -> Iterator[str]:
    yield from (f"two inputs are called {name}" for name in _repeated([port.name for port in graph.inputs]))
    for number, port in enumerate(graph.inputs):
        what = f"input {number}, %{number} {port.name}"
        if port.type.dtype not in DTYPES:
            yield f"{what}: there is no dtype {port.type.dtype}"
        if port.default is not None and not _fits(port.default.type, port.type):
            yield f"{what}: it is {port.type}, and its default {port.default.type}"


def _op_faults(op: Op, types: Sequence[TensorType]) -> Iterator[str]:
    if op.first != len(types):
        yield f"its first result is numbered %{op.first}, and should be %{len(types)}"
    for value in op.operands:
        if not 0 <= value < len(types):
            yield f"it reads %{value}, which is not defined before it"
            return
    yield from (f"two attributes are called {name}" for name in _repeated([key for key, _ in op.attributes]))
    for key, value in op.attributes:
        if not _is_known(value):
            yield f"the attribute {key} is {value!r}, of type {type(value).__name__}, which none may be"
            return
    yield from _signature_faults(op)
    try:
        wanted = infer(op.name, [types[v] for v in op.operands], dict(op.attributes), op.regions)
    except TypeMismatch as refusal:
        yield str(refusal)
    except (
        TypeError,
        ValueError,
        IndexError,
    ) as failure:  # operands, attributes or regions too many or too few
        yield f"its page cannot type it: {failure}"
    else:
        if wanted != op.types:
            yield f"it says it gives ({_list(op.types)}), and gives ({_list(wanted)})"


def _signature_faults(op: Op) -> Iterator[str]:
    """Faults that a page's shape rule may overlook: what its numpy meaning could not be called with."""
    if op.name not in pages(PRIMITIVES):
        return  # typing it says so
    count, required, names, regions = _signature(op.name)
    given = {key for key, _ in op.attributes}
    yield from (f"it has no attribute {key}" for key in sorted(required - given))
    yield from (f"its page knows no attribute {key}" for key in sorted(given - names))
    if op.regions and not regions:
        yield "it holds a region, and its page takes none"
    if count is not None and count != len(op.operands):
        yield f"it has {len(op.operands)} operands, and its page takes {count}"


@cache
def _signature(name: str) -> tuple[int | None, frozenset[str], frozenset[str], bool]:
    """How many operands a page takes (None: any number), the attributes that it needs, all that it knows, and
    whether it takes regions."""
    found = list(signature(page(name).evaluate).parameters.values())
    keywords = [p for p in found if p.kind is Parameter.KEYWORD_ONLY]
    required = frozenset(p.name for p in keywords if p.default is Parameter.empty)
    plain = [p for p in found if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    regions = any(p.name == "regions" for p in plain)
    free = regions or any(p.kind is Parameter.VAR_POSITIONAL for p in found)
    return None if free else len(plain), required, frozenset(p.name for p in keywords), regions


def _fits(default: TensorType, declared: TensorType) -> bool:
    """Whether a constant may stand for an input: the named sizes of the input are free."""
    if default.dtype != declared.dtype or default.rank != declared.rank:
        return False
    return all(isinstance(size, Dim) or size == own for own, size in zip(default.shape, declared.shape))


def _is_known(value: Any) -> bool:
    """Whether an attribute is of a known kind exactly: a numpy number, say, is not."""
    return all(map(_is_known, value)) if type(value) is tuple else type(value) in KINDS


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _list(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))
