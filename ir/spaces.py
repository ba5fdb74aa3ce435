"""Weighted Euclidean spaces: adjoints, derivatives and norms by the inner product ⟨x, y⟩ = Σ w x y.

A type names its space, and `weights` says what a name means: a positive weight for every entry, or for the
last axes of it. A space that is called euclidean has w = 1, and costs no operation.

The reverse derivative gives functionals in coordinates: df(x) v = Σ g v. In a space W the vector that stands
for one is its Riesz representative, W⁻¹ g, and that is the gradient: ⟨W⁻¹ g, v⟩ = Σ g v. Between spaces,
    A* = W_X⁻¹ Aᵀ W_Y,   since   ⟨A x, y⟩_Y = xᵀ Aᵀ W_Y y = ⟨x, W_X⁻¹ Aᵀ W_Y y⟩_X.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from banach.ir import linear_map
from banach.ir.graph import Builder, Graph, Value, prune
from banach.ir.linear_map import LinearMap
from banach.ir.primitives.space import within
from banach.ir.reverse import reverse as coordinates
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import EUCLIDEAN, TensorType, TypeMismatch, broadcast, numpy_dtype

Weights = Mapping[str, Tensor]


def weight(type: TensorType, weights: Weights) -> Tensor | None:
    """The weight of a type's space, in its dtype; None: Euclidean.

    TypeMismatch: the space has no weight, or one that is not positive and finite, or does not fit the shape.
    """
    if type.space == EUCLIDEAN:
        return None
    if type.space not in weights:
        known = ", ".join(sorted(weights)) or "none"
        raise TypeMismatch(f"{type} is in the space {type.space}, and weights are given for: {known}")
    found = weights[type.space]
    array = found.array.astype(numpy_dtype(type.dtype))
    if not np.all(np.isfinite(array) & (array > 0)):
        raise TypeMismatch(f"the weight of the space {type.space} is not positive and finite in {type.dtype}")
    if broadcast(found.type.shape, type.shape) != type.shape:
        raise TypeMismatch(f"the weight of the space {type.space} is {found.type}, and does not fit {type}")
    return Tensor(array)


def adjoint(map: LinearMap, weights: Weights) -> LinearMap:
    """A* = W_X⁻¹ Aᵀ W_Y, by the spaces of A's inputs and outputs; A itself is its adjoint. TypeMismatch."""
    domain, codomain = map.domain, map.graph.output_types
    if not _is_weighted([*domain, *codomain], weights):
        return linear_map.adjoint(map)
    star = _between(map.transposed, codomain, domain, weights)
    back = _between(map.graph, domain, codomain, weights, inverse=True)  # (W_X⁻¹ Aᵀ W_Y)ᵀ = W_Y A W_X⁻¹
    return LinearMap(star, back, map.captures)


def reverse(graph: Graph, weights: Weights) -> Graph:
    """R between spaces: its cotangents are vectors, v ↦ W_X⁻¹ Jᵀ W_Y v. NoDerivative, TypeMismatch."""
    back = coordinates(graph)
    build = Builder(back.name, back.contract)
    values = [build.input(p.name, p.type, p.default, p.place) for p in back.inputs]
    seeds = range(len(graph.inputs), len(values))
    given = [_times(v, weights) if i in seeds else v for i, v in enumerate(values)]
    return riesz(build.finish(dict(zip(back.output_names, build.inline(back, given)))), weights)


def riesz(graph: Graph, weights: Weights) -> Graph:
    """The graph with every output g, a functional in coordinates, as the vector W⁻¹ g of its own space.

    Of `reverse`, for an output that is a number, the gradients. TypeMismatch: a space has no weight.
    """
    if not _is_weighted(graph.output_types, weights):
        return graph
    build = Builder(f"riesz.{graph.name}", graph.contract)
    inputs = [build.input(p.name, p.type, p.default, p.place) for p in graph.inputs]
    found = [_over(v, weights) for v in build.inline(graph, inputs)]
    return prune(build.finish(dict(zip(graph.output_names, found))))


def inner(x: Value, y: Value, weights: Weights) -> Value:
    """⟨x, y⟩ = Σ w x y. TypeMismatch: they are in different spaces."""
    return _total(_times(x, weights) * y)


def norm(x: Value, weights: Weights) -> Value:
    """‖x‖ = √(Σ w x²)."""
    return x.builder.op("sqrt", inner(x, x, weights))


def dual_norm(g: Value, weights: Weights) -> Value:
    """‖g‖_* = max Σ g v over ‖v‖ <= 1, which is √(Σ g²/w), the norm of its Riesz representative."""
    return g.builder.op("sqrt", _total(_over(g, weights) * g))


def _is_weighted(types: Sequence[TensorType], weights: Weights) -> bool:
    """Whether one of them has a weight; each is looked up, so that no fault is passed over."""
    found = [weight(type, weights) for type in types]
    return any(w is not None for w in found)


def _between(
    graph: Graph,
    given: Sequence[TensorType],
    made: Sequence[TensorType],
    weights: Weights,
    inverse: bool = False,
) -> Graph:
    """The graph after W of what it is given, and before W⁻¹ of what it makes; `inverse` has these swapped."""
    before, behind = (_over, _times) if inverse else (_times, _over)
    build = Builder(f"{graph.name}*")
    inputs = [build.input(port.name, type) for port, type in zip(graph.inputs, _typed(graph, given))]
    weighed = [before(x, weights) if i < len(given) else x for i, x in enumerate(inputs)]
    found = build.inline(graph, [within(x, p.type.space) for x, p in zip(weighed, graph.inputs)])
    outputs = [behind(within(y, type.space), weights) for y, type in zip(found, made, strict=True)]
    return build.finish(dict(zip(graph.output_names, outputs)))


def _typed(graph: Graph, given: Sequence[TensorType]) -> list[TensorType]:
    """The types of the inputs, of which the first are given."""
    return [*given, *(port.type for port in graph.inputs[len(given) :])]


def _times(x: Value, weights: Weights) -> Value:
    w = weight(x.type, weights)
    return x if w is None else x * x.builder.constant(w)


def _over(x: Value, weights: Weights) -> Value:
    w = weight(x.type, weights)
    return x if w is None else x / x.builder.constant(w)


def _total(x: Value) -> Value:
    """The sum of all entries, which is a number and in no space."""
    return within(x.builder.op("sum", x, axes=tuple(range(-x.type.rank, 0))), EUCLIDEAN)
