"""Weighted spaces: ⟨A x, y⟩_Y = ⟨x, A* y⟩_X, gradients, dual norms, and what is refused."""

import laws
import numpy as np
import pytest
from law_graphs import apply, closed, draws, fn, real, total

from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact
from banach.ir import linear_map, spaces
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitives.space import within
from banach.ir.reverse import reverse
from banach.ir.simplify import simplify
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.text import parse_graph, print_graph
from banach.ir.verify import verify

WX, WY = np.array([0.5, 2.0, 3.0]), np.array([4.0, 0.25, 1.5, 7.0])
WEIGHTS = {"X": Tensor(WX), "Y": Tensor(WY)}
W = {"X": WX, "Y": WY, "euclidean": np.array(1.0)}


def into(source: str, target: str) -> Graph:
    """x ↦ M x from one space to another, for M a capture."""
    return closed(
        "M", lambda x, m: {"y": within(apply(m, x), target)}, x=real(3).with_space(source), m=real(4, 3)
    )


def pairing(space: str, a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(W[space] * a * b))


@pytest.mark.parametrize("source", ["X", "euclidean"])
@pytest.mark.parametrize("target", ["Y", "euclidean"])
def test_the_adjoint_between_spaces(source: str, target: str) -> None:
    map = linear_map.linear_map(into(source, target), 1)
    star = spaces.adjoint(map, WEIGHTS)
    for graph in (star.graph, star.transposed):
        verify(graph)
        assert parse_graph(print_graph(graph)) == graph
    assert (star.domain, star.graph.output_types) == (map.codomain, map.domain)
    assert star.codomain == map.domain
    x, y, m = draws((3,), (4,), (4, 3))
    (ax,), (back,) = evaluate(map.graph, [x, m]), evaluate(star.graph, [y, m])
    np.testing.assert_allclose(pairing(target, ax, y), pairing(source, x, back), rtol=1e-12)
    twice = spaces.adjoint(star, WEIGHTS)
    laws.close(evaluate(twice.graph, [x, m]), [ax], 1e-14)
    # The transpose that it holds is that of its coordinates: Σ (A* y) x = Σ y (A*)ᵀ x.
    (t,) = evaluate(star.transposed, [x, m])
    np.testing.assert_allclose(np.sum(back * x), np.sum(y * t), rtol=1e-12)


def test_the_euclidean_adjoint_costs_nothing() -> None:
    map = linear_map.linear_map(into("euclidean", "euclidean"), 1)
    assert spaces.adjoint(map, WEIGHTS) == linear_map.adjoint(map)
    graph = reverse(closed("f", lambda x: {"y": total(x * x)}, x=real(3)))
    assert spaces.riesz(graph, WEIGHTS) is graph
    assert not any(op.name == "within" for op in graph.ops)


def energy() -> Graph:
    """A number from a vector of X and a matrix, by way of Y."""

    def body(x: Value, m: Value) -> dict[str, Value]:
        y = within(fn("sin", apply(m, x)), "Y")
        return {"f": spaces.norm(y, WEIGHTS) + spaces.inner(x, x, WEIGHTS)}

    return closed("energy", body, x=real(3).with_space("X"), m=real(4, 3))


def test_the_gradient_represents_the_derivative() -> None:
    """⟨∇f(x), v⟩_X is the slope of f along v, by differences."""
    graph = energy()
    gradient = spaces.riesz(reverse(graph), WEIGHTS)
    verify(gradient)
    assert [t.space for t in gradient.output_types] == ["X", "euclidean"]
    x, v, m = draws((3,), (3,), (4, 3))
    found, plain = evaluate(gradient, [x, m, np.ones(())])
    slope = laws.slope(lambda t: evaluate(graph, [x + t * v, m])[0])
    np.testing.assert_allclose(pairing("X", found, v), slope, rtol=1e-8)
    laws.close([found * WX, plain], evaluate(reverse(graph), [x, m, np.ones(())]), 1e-14)


def test_the_derivative_between_spaces_is_the_adjoint_of_the_tangent() -> None:
    f = closed(
        "f", lambda x, m: {"y": within(fn("sin", apply(m, x)), "Y")}, x=real(3).with_space("X"), m=real(4, 3)
    )
    back = spaces.reverse(f, WEIGHTS)
    verify(back)
    x, v, y, m = draws((3,), (3,), (4,), (4, 3))
    tangent = np.cos(m @ x) * (m @ v)
    found = evaluate(back, [x, m, y])[0]
    np.testing.assert_allclose(pairing("Y", tangent, y), pairing("X", v, found), rtol=1e-12)


def test_dual_norms() -> None:
    """|Σ g v| <= ‖g‖_* ‖v‖, with equality at the representative, whose norm is ‖g‖_*."""
    x = real(3).with_space("X")
    norm = closed("n", lambda x: {"n": spaces.norm(x, WEIGHTS)}, x=x)
    dual = closed("d", lambda g: {"d": spaces.dual_norm(g, WEIGHTS)}, g=x)
    (g,) = draws((3,))
    (size,) = evaluate(dual, [g])
    for seed in range(50):
        (v,) = draws((3,), seed=seed)
        assert abs(g @ v) <= size * evaluate(norm, [v])[0] * (1 + 1e-14)
    np.testing.assert_allclose(evaluate(norm, [g / WX])[0], size, rtol=1e-14)
    np.testing.assert_allclose(g @ (g / WX), size * size, rtol=1e-14)
    assert all(type.space == "euclidean" for type in (*norm.output_types, *dual.output_types))


MIXED = {
    **{name: (name, {}) for name in ("add", "subtract", "multiply", "divide", "less", "equal", "maximum")},
    "concatenate": ("concatenate", {"axis": -1}),
}


@pytest.mark.parametrize("key", MIXED)
def test_two_spaces_in_one_operation_are_refused(key: str) -> None:
    name, attributes = MIXED[key]
    build = Builder("f")
    a, b = (build.input(space, real(3).with_space(space)) for space in ("X", "Z"))
    told = r"the spaces X and Z differ: float64\[3\]@X against float64\[3\]@Z"
    with pytest.raises(TypeMismatch, match=told):
        build.op(name, a, b, **attributes)
    with pytest.raises(TypeMismatch, match="the spaces X and Z differ"):
        build.op("select", build.input("c", TensorType("bool")), a, b)
    with pytest.raises(TypeMismatch, match="the spaces X and Z differ"):
        spaces.inner(a, b, {**WEIGHTS, "Z": Tensor(WX)})


def test_coordinates_and_numbers_go_with_every_space() -> None:
    build = Builder("f")
    a, z = (build.input(space, real(3).with_space(space)) for space in ("X", "Z"))
    plain = build.input("plain", real(3))
    for value in (a + plain, plain + a, 2.0 * a, a / total(z), total(z) * a):
        assert value.type.space == "X"
    assert (plain + plain).type.space == "euclidean"
    assert build.zeros(a.type).type == a.type and within(a, "X") is a


def test_cotangents_are_of_the_type_of_their_values() -> None:
    """A number made of one space meets a vector of another: the derivative is typed none the less."""
    f = closed(
        "f", lambda x, z: {"y": z * total(x) + z}, x=real(3).with_space("X"), z=real(3).with_space("Z")
    )
    for graph in (reverse(f), reverse(reverse(f))):
        verify(graph)
    assert [t.space for t in reverse(f).output_types] == ["X", "Z"]
    unused = closed("g", lambda x, z: {"y": z}, x=real(3).with_space("X"), z=real(3))
    assert reverse(unused).output_types[0] == unused.inputs[0].type


def test_weights_that_are_none() -> None:
    type = real(3).with_space("X")
    for weights, told in (
        ({}, "weights are given for: none"),
        ({"Y": Tensor(WY)}, "weights are given for: Y"),
        ({"X": Tensor(WY)}, r"float64\[4\], and does not fit float64\[3\]@X|do not fit"),
        ({"X": Tensor(np.array([1.0, 0.0, 1.0]))}, "not positive and finite"),
        ({"X": Tensor(np.array([1.0, np.inf, 1.0]))}, "not positive and finite"),
        ({"X": Tensor(np.array([1.0, np.nan, 1.0]))}, "not positive and finite"),
    ):
        with pytest.raises(TypeMismatch, match=told):
            spaces.weight(type, weights)
    assert spaces.weight(real(3), {}) is None
    assert spaces.weight(real(2, 3).with_space("X"), WEIGHTS) == Tensor(WX)
    tiny = {"X": Tensor(np.full(3, 1e-300))}
    with pytest.raises(TypeMismatch, match="not positive and finite in float32"):
        spaces.weight(type.with_dtype("float32"), tiny)


def test_a_running_program_knows_coordinates_alone() -> None:
    graph = simplify(spaces.riesz(reverse(energy()), WEIGHTS))
    given = [*draws((3,), (4, 3)), np.ones(())]
    laws.close(OnnxArtifact(lower(graph)).evaluate(given), evaluate(graph, given), 1e-12)
