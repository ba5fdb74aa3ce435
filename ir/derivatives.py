"""Derivatives of graphs for those who use them: gradients, products with the Hessian, Jacobians.

Each is again a graph with the inputs of the one it comes from, in their order, and further ones behind.
"""

from collections.abc import Sequence
from typing import Literal

from banach.ir.dims import Size
from banach.ir.forward import forward
from banach.ir.graph import Builder, Graph, Value, prune
from banach.ir.hoist import only
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TensorType
from banach.ir.vectorise import vectorise


class BadRequest(Exception):
    """A derivative of something that is no output, or no input, or that has none; the message says which."""


def gradient(graph: Graph, output: str | None = None) -> Graph:
    """x ↦ the gradient of a scalar output in every float input, as `d.<input>`.

    BadRequest: there is no such output, or it is no float without axes. NoDerivative: as from `reverse`.
    """
    number = _output(graph, output)
    type, back = graph.output_types[number], reverse(only(graph, [number]))
    if type.shape:
        raise BadRequest(f"{graph.output_names[number]} is {type}, and only a scalar has a gradient")
    build = Builder(f"gradient.{graph.name}", graph.contract)
    inputs = _inputs(build, graph)
    found = build.inline(back, [*inputs, build.scalar(1.0, type.dtype)])
    return build.finish(dict(zip(back.output_names, found)))


def hvp(graph: Graph, output: str | None = None) -> Graph:
    """x, v ↦ the Hessian of a scalar output times v, as `h.<input>`; v has `v.<input>` for every float input.

    It is D[gradient], forward over reverse: about the cost of two gradients, whatever the size of x.
    """
    slopes = gradient(graph, output)
    pushed = forward(slopes)
    named = [port.name for port in graph.inputs if port.type.is_float]
    build = Builder(f"hvp.{graph.name}", graph.contract)
    inputs = _inputs(build, graph)
    moves = [build.input(f"v.{port.name}", port.type) for port in graph.inputs if port.type.is_float]
    found = build.inline(pushed, [*inputs, *moves])
    return prune(build.finish({f"h.{name}": value for name, value in zip(named, found, strict=True)}))


def jacobian(graph: Graph, output: str, input: str, by: Literal["rows", "columns"] | None = None) -> Graph:
    """x ↦ the Jacobian of an output in an input, of shape [*output, *input], as `<output>.<input>`.

    `by` rows it is R on a basis of cotangents, all at once on an axis of lanes; by columns D on a basis of
    tangents. Left out, it is whichever are fewer; where named sizes leave that open, rows.
    """
    row, column = _output(graph, output), _input(graph, input)
    given, made = graph.inputs[column].type, graph.output_types[row]
    m, n = _entries(made), _entries(given)
    chosen = by or ("columns" if isinstance(n, int) and isinstance(m, int) and n < m else "rows")
    if chosen == "rows":
        return _by_rows(only(graph, [row]), column, (m, made, given), f"{output}.{input}")
    return _by_columns(only(graph, [row]), column, (n, made, given), f"{output}.{input}")


def _by_rows(graph: Graph, column: int, sizes: tuple[Size, TensorType, TensorType], name: str) -> Graph:
    """Row i is R[f](x, e_i)."""
    m, made, given = sizes
    place = [i for i, port in enumerate(graph.inputs) if port.type.is_float].index(column)
    back = only(reverse(graph), [place])
    lifted, reached = vectorise(back, [*[False] * len(graph.inputs), True], m)
    build = Builder(f"jacobian.{graph.name}", graph.contract)
    basis = build.op("reshape", _identity(build, m, made.dtype), shape=(m, *made.shape))
    (rows,) = build.inline(lifted, [*_inputs(build, graph), basis])
    rows = rows if reached[0] else build.op("broadcast", rows, shape=(m, *given.shape))
    return prune(build.finish({name: build.op("reshape", rows, shape=(*made.shape, *given.shape))}))


def _by_columns(graph: Graph, column: int, sizes: tuple[Size, TensorType, TensorType], name: str) -> Graph:
    """Column j is D[f](x, e_j)."""
    n, made, given = sizes
    moving = [i == column for i in range(len(graph.inputs))]
    lifted, reached = vectorise(forward(graph, moving), [*[False] * len(graph.inputs), True], n)
    build = Builder(f"jacobian.{graph.name}", graph.contract)
    basis = build.op("reshape", _identity(build, n, given.dtype), shape=(n, *given.shape))
    (columns,) = build.inline(lifted, [*_inputs(build, graph), basis])
    columns = columns if reached[0] else build.op("broadcast", columns, shape=(n, *made.shape))
    flat = build.op("reshape", columns, shape=(n, _entries(made)))
    turned = build.op("transpose", flat, permutation=(-1, -2))
    return prune(build.finish({name: build.op("reshape", turned, shape=(*made.shape, *given.shape))}))


def _identity(build: Builder, size: Size, dtype: str) -> Value:
    """The unit matrix: 1 where the number of the row is that of the column."""
    numbers = build.op("count", size=size, dtype="int64")
    rows = build.op("reshape", numbers, shape=(size, 1))
    return build.op("cast", build.op("equal", rows, numbers), dtype=dtype)


def _inputs(build: Builder, graph: Graph) -> Sequence[Value]:
    return [build.input(port.name, port.type, port.default, port.place) for port in graph.inputs]


def _entries(type: TensorType) -> Size:
    total: Size = 1
    for size in type.shape:
        total = total * size
    return total


def _output(graph: Graph, name: str | None) -> int:
    """The number of an output; of the only one, where no name is given."""
    if name is None and len(graph.outputs) == 1:
        name = graph.output_names[0]
    if name not in graph.output_names:
        told = "give the name of an output" if name is None else f"there is no output {name}"
        raise BadRequest(f"{graph.name}: {told}; there are {', '.join(graph.output_names)}")
    number = graph.output_names.index(name)
    if not graph.output_types[number].is_float:
        raise BadRequest(f"{name} is {graph.output_types[number]}, which has no derivative")
    return number


def _input(graph: Graph, name: str) -> int:
    names = [port.name for port in graph.inputs]
    if name not in names:
        raise BadRequest(f"{graph.name}: there is no input {name}; there are {', '.join(names)}")
    number = names.index(name)
    if not graph.inputs[number].type.is_float:
        raise BadRequest(f"{name} is {graph.inputs[number].type}, in which nothing has a derivative")
    return number
