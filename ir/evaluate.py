"""The oracle: what a graph means, in numpy. Slow and plain on purpose; everything else is held against it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from banach.ir.dims import Dim, bind, learn
from banach.ir.graph import Graph, Op
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.tensor_type import TypeMismatch, numpy_dtype


def evaluate(
    graph: Graph, arguments: Sequence[np.ndarray], sizes: Mapping[str, int] | None = None
) -> list[np.ndarray]:
    """The outputs of a graph for given inputs, in the dtypes that the graph declares.

    `sizes` gives the named sizes that no input shows. TypeMismatch: an argument has the wrong shape.
    """
    known = dict(sizes or {})
    values = [
        _admit(port.name, port.type, argument, known)
        for port, argument in zip(graph.inputs, arguments, strict=True)
    ]
    with np.errstate(all="ignore"):  # what overflows is inf, as in every backend
        return _run(graph, values, known)


def _admit(name: str, type: Any, argument: np.ndarray, sizes: dict[str, int]) -> np.ndarray:
    """The argument in its declared dtype; its shape gives the sizes that it shows."""
    array = np.asarray(argument).astype(numpy_dtype(type.dtype), copy=False)
    if array.ndim != type.rank:
        raise TypeMismatch(f"the input {name} is {type}; it was given an array of shape {list(array.shape)}")
    for size, actual in zip(type.shape, array.shape):
        learn(size, actual, sizes)
        if bind(size, sizes) != actual:
            raise TypeMismatch(
                f"the input {name} is {type}; it was given an array of shape {list(array.shape)}"
            )
    return array


def _run(graph: Graph, arguments: Sequence[np.ndarray], sizes: Mapping[str, int]) -> list[np.ndarray]:
    values = list(arguments)
    for op in graph.ops:
        values.extend(_apply(op, [values[v] for v in op.operands], sizes))
    return [values[v] for v in graph.outputs]


def _apply(op: Op, operands: Sequence[np.ndarray], sizes: Mapping[str, int]) -> list[np.ndarray]:
    definition = page(op.name)
    attributes = {key: _bound(value, sizes) for key, value in op.attributes}
    if isinstance(definition, RegionOp):
        results = definition.evaluate(
            lambda region, given: _run(region, given, sizes), op.regions, operands, **attributes
        )
    else:
        results = (definition.evaluate(*operands, **attributes),)
    return [
        np.asarray(result, numpy_dtype(type.dtype)) for result, type in zip(results, op.types, strict=True)
    ]


def _bound(attribute: Any, sizes: Mapping[str, int]) -> Any:
    """An attribute whose named sizes have become numbers."""
    if isinstance(attribute, Dim):
        return bind(attribute, sizes)
    if isinstance(attribute, tuple):
        return tuple(_bound(part, sizes) for part in attribute)
    return attribute
