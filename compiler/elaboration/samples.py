"""Points at which what a spec declares of a map is tried."""

from collections.abc import Iterator, Mapping

import numpy as np

from banach.ir.dims import Assumptions, bind, names
from banach.ir.graph import Graph


def sizes(graph: Graph, contract: Assumptions) -> dict[str, int]:
    """A small value for every named size, each another one as far as what is known of them allows."""
    found: dict[str, int] = {}
    for port in graph.inputs:
        for size in port.type.shape:
            for name in names(size):
                if name not in found:
                    least, step = max(contract.least(name), 2 + len(found)), contract.multiple(name)
                    found[name] = -(-least // step) * step
    return found


def points(graph: Graph, known: Mapping[str, int]) -> Iterator[list[np.ndarray]]:
    """Arguments of all signs, positive ones, and small ones."""
    random = np.random.default_rng(20)
    for shape in (lambda x: x, lambda x: np.abs(x) + 0.5, lambda x: 0.2 * x):
        point = []
        for port in graph.inputs:
            extents = [bind(size, known) for size in port.type.shape]
            if port.type.is_float:
                point.append(np.asarray(shape(random.standard_normal(extents))))
            else:
                point.append(np.asarray(random.integers(0, 2, extents)).astype(port.type.dtype))
        yield point
