"""What the shelf's samples leave out, through ONNX Runtime, the reference evaluator and torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from banach.backends.fx.lower import lower as to_torch
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import Size, named
from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES, Builder, Graph
from banach.ir.primitive import page
from banach.ir.reverse import reverse
from banach.ir.shelf import BadPage, entries, pages
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.vectorise import vectorise

CLOSE = {"float64": 1e-12, "float32": 3e-6, "float16": 2e-3}
FLOATS = ["float64", "float32"]


def agree(graph: Graph, arguments: Sequence[np.ndarray], close: float = 1e-12) -> list[np.ndarray]:
    """The oracle's outputs, after all have given the same, in the same dtypes and shapes."""
    with np.errstate(all="ignore"):
        expected = evaluate(graph, arguments)
        model = to_onnx(graph)
        feed = {port.name: np.asarray(a) for port, a in zip(graph.inputs, arguments)}
        found = {
            "onnxruntime": OnnxArtifact(model).evaluate(arguments),
            "reference": ReferenceEvaluator(model).run(None, feed),
            "torch": [y.numpy() for y in to_torch(graph)(*map(torch.tensor, map(np.asarray, arguments)))],
        }
    for runtime, outputs in found.items():
        for want, got in zip(expected, outputs, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape), runtime
            np.testing.assert_allclose(got, want, rtol=close, atol=close, err_msg=runtime)
    return expected


def single(name: str, operands: Sequence[np.ndarray], **attributes: Any) -> Graph:
    build = Builder(name)
    values = [build.input(f"x{i}", TensorType(str(x.dtype), x.shape)) for i, x in enumerate(operands)]
    return build.finish({"y": build.op(name, *values, **attributes)})


def one(name: str, *operands: np.ndarray, **attributes: Any) -> np.ndarray:
    """The result of one operation, on which all agree."""
    floats = [str(x.dtype) for x in operands if x.dtype.kind == "f"]
    return agree(single(name, operands, **attributes), operands, CLOSE[floats[0] if floats else "float64"])[0]


def both_ways(name: str, *operands: np.ndarray, **attributes: Any) -> None:
    """All agree on one operation and on its reverse derivative."""
    graph = single(name, operands, **attributes)
    (y,) = agree(graph, operands)
    seed = np.random.default_rng(1).standard_normal(y.shape)
    agree(reverse(graph), [*operands, *[seed] * (y.dtype.kind == "f")])


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


# --- the tables of families -------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "table"), [("onnx", "RULES"), ("fx", "TABLE")])
def test_every_rule_is_for_a_primitive(backend: str, table: str) -> None:
    known = {**entries(f"banach.backends.{backend}.families", table)}
    assert known and not set(known) - set(pages(PRIMITIVES))


def test_a_rule_said_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from banach.backends.onnx.families import indexing

    entries.cache_clear()
    monkeypatch.setattr("banach.ir.shelf.modules", lambda package: [indexing, indexing])
    with pytest.raises(BadPage, match=r"says again what .*take"):
        entries("banach.backends.onnx.families", "RULES")


# --- places -----------------------------------------------------------------------------------------------


def with_places(name: str, index: np.ndarray) -> tuple[list[np.ndarray], dict[str, int]]:
    """Operands with these places in the middle axis of 4."""
    x = draw(2, *index.shape, 3)
    if name == "take":
        return [draw(2, 4, 3), index], {"axis": -2}
    if name == "scatter_add":
        return [x, index], {"axis": -2, "size": 4}
    return [draw(2, 4, 3), index, x], {"axis": -2}


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("places", [[], [0], [3, 0], [[0, 3], [2, 1]], 2])
@pytest.mark.parametrize("name", ["take", "scatter_add", "scatter_set", "scatter_max"])
def test_places_none_at_the_ends_and_in_a_table(name: str, places: object, dtype: str) -> None:
    operands, attributes = with_places(name, np.asarray(places, dtype))
    both_ways(name, *operands, **attributes)


@pytest.mark.parametrize("dtype", ["int64", "int32", "float16", "bool"])
@pytest.mark.parametrize("name", ["take", "scatter_add", "scatter_set", "scatter_max"])
def test_places_in_every_dtype(name: str, dtype: str) -> None:
    operands, attributes = with_places(name, np.array([3, 0]))
    cast = [x.astype(dtype) if x.dtype.kind == "f" else x for x in operands]
    if dtype == "bool" and name in ("scatter_add", "scatter_max"):
        with pytest.raises(TypeMismatch, match="truth values"):
            single(name, cast, **attributes)
    else:
        one(name, *cast, **attributes)


@pytest.mark.parametrize("place", [-1, 4])
@pytest.mark.parametrize("name", ["take", "scatter_add", "scatter_set", "scatter_max"])
def test_places_outside_are_refused(name: str, place: int) -> None:
    operands, attributes = with_places(name, np.array([0, place]))
    with pytest.raises(IndexError, match="do not lie in 0"):
        evaluate(single(name, operands, **attributes), operands)


def test_places_in_rows_outside_are_refused_and_empty_rows_are_not() -> None:
    x = draw(2, 3)
    for name, attributes in [("take_along", {"axis": -1}), ("scatter_along", {"axis": -1, "size": 3})]:
        for index in (np.array([[0, 1, -1], [0, 1, 2]]), np.array([[0, 1, 3], [0, 1, 2]])):
            with pytest.raises(IndexError):
                evaluate(single(name, [x, index], **attributes), [x, index])
    both_ways("take_along", x, np.zeros((2, 0), np.int64), axis=-1)
    both_ways("scatter_along", x[:, :0], np.zeros((2, 0), np.int64), axis=-1, size=3)
    both_ways("scatter_along", x, np.array([[2, 2, 0], [1, 1, 1]], np.int32), axis=-1, size=3)
    assert one("scatter_along", x.astype("float16"), np.array([[2, 2, 0], [1, 1, 1]]), axis=-1, size=3).size


def test_places_that_repeat_are_refused_where_one_must_win() -> None:
    base, index, x = np.zeros(3), np.array([1, 1]), np.ones(2)
    with pytest.raises(IndexError, match="not distinct"):
        evaluate(single("scatter_set", [base, index, x], axis=-1), [base, index, x])
    with pytest.raises(TypeMismatch, match="not distinct"):
        single("scatter_set", [base, np.arange(4), np.ones(4)], axis=-1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_nan_is_the_largest_wherever_it_comes_from(dtype: str) -> None:
    base = np.array([np.nan, 1.0, -np.inf, 0.0, np.inf], dtype)
    x, index = np.array([5.0, np.nan, 2.0, -np.inf], dtype), np.array([0, 1, 1, 2])
    assert np.isnan(one("scatter_max", base, index, x, axis=-1)).tolist() == [True, True, False, False, False]


def test_a_tie_of_scatter_max_is_shared() -> None:
    both_ways("scatter_max", np.array([1.0, 0.0]), np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0]), axis=-1)


@pytest.mark.parametrize("marks", [(True, True, True), (False, True, False), (True, False, True)])
@pytest.mark.parametrize("name", ["take", "scatter_add", "scatter_set", "scatter_max"])
def test_every_lane_has_places_of_its_own(name: str, marks: tuple[bool, ...]) -> None:
    b: Size = named("b")
    index = np.array([[2, 1], [0, 3]])
    operands, attributes = with_places(name, index)
    marks = marks[: len(operands)]
    graph, _ = vectorise(single(name, operands, **attributes), marks, b)
    given = [np.stack([np.roll(x, i, 0) for i in range(3)]) if has else x for x, has in zip(operands, marks)]
    (together,) = agree(graph, given)
    for lane in range(3):
        alone = [x[lane] if has else x for x, has in zip(given, marks)]
        np.testing.assert_allclose(together[lane], page(name).evaluate(*alone, **attributes), rtol=1e-12)


# --- orders ------------------------------------------------------------------------------------------------

NAN, INF = np.nan, np.inf
UNORDERLY = np.array(
    [
        [1.0, NAN, INF, -INF, 1.0],
        [INF, NAN, 0.0, -0.0, INF],
        [NAN, NAN, NAN, NAN, NAN],
        [-INF, NAN, -INF, 2.0, 2.0],
        [0.0, -0.0, 0.0, -0.0, 0.0],
    ]
)
ORDERS: list[tuple[str, dict[str, Any]]] = [
    ("argmax", {}),
    ("argmin", {}),
    ("argsort", {}),
    ("arg_top", {"size": 3}),
    ("sort", {}),
    ("top", {"size": 5}),
]


@pytest.mark.parametrize("dtype", [*FLOATS, "float16"])
@pytest.mark.parametrize(("name", "attributes"), ORDERS)
def test_ties_and_nans_in_an_order(name: str, attributes: dict[str, Any], dtype: str) -> None:
    for axis in (-1, -2):
        one(name, UNORDERLY.astype(dtype), axis=axis, **attributes)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize(("name", "attributes"), ORDERS)
def test_orders_of_integers(name: str, attributes: dict[str, Any], dtype: str) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = np.array([[3, least, most, 3, least], [0, 0, 0, 0, 0]], dtype)
    found = one(name, x, axis=-1, **attributes)
    assert found.dtype == (x.dtype if name in ("sort", "top") else np.int64)


def test_what_wins_in_an_order() -> None:
    x = np.array([2.0, NAN, INF, 2.0, -INF])
    assert one("argmax", x, axis=-1) == 1 and one("argmin", x, axis=-1) == 1
    assert one("argsort", x, axis=-1).tolist() == [4, 0, 3, 1, 2]
    assert one("arg_top", x, axis=-1, size=4).tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize(("name", "attributes"), ORDERS)
def test_an_order_of_nothing(name: str, attributes: dict[str, Any]) -> None:
    x = np.zeros((2, 0))
    given = dict.fromkeys(attributes, 0)
    if name in ("argmax", "argmin"):
        with pytest.raises(TypeMismatch, match="no entry"):
            single(name, [x], axis=-1)
    else:
        one(name, x, axis=-1, **given)
    one(name, np.zeros((0, 3)), axis=-1, **given)
    with pytest.raises(TypeMismatch, match="truth values"):
        single(name, [np.zeros(3, bool)], axis=-1, **given)
    if given:
        with pytest.raises(TypeMismatch, match="no 4 largest"):
            single(name, [np.zeros(3)], axis=-1, size=4)


def test_an_order_of_a_named_size() -> None:
    n = named("n")
    build = Builder("order")
    x = build.input("x", TensorType("float64", (2, n)))
    half = build.op("top", x, axis=-1, size=(n + 1) // 2)
    outputs = {"sorted": build.op("sort", x, axis=-1), "half": half, "first": build.op("argmax", x, axis=-1)}
    graph = build.finish(outputs)
    for size in (1, 4, 5):
        agree(graph, [draw(2, size)])
        agree(reverse(graph), [draw(2, size), draw(2, size), draw(2, (size + 1) // 2)])
