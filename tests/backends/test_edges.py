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
from banach.ir.primitive import Known, page
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
            "torch": [y.numpy() for y in to_torch(graph)(*(torch.tensor(np.array(a)) for a in arguments))],
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


# --- the tables of families ---------------------------------------------------------------------------


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


# --- places -------------------------------------------------------------------------------------------


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
    operands = [np.array([1.0, 0.0]), np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0])]
    graph = reverse(single("scatter_max", operands, axis=-1))
    dbase, dx = agree(graph, [*operands, np.array([3.0, 5.0])])
    assert (dbase.tolist(), dx.tolist()) == ([1.0, 0.0], [1.0, 1.0, 5.0])


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


# --- orders --------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("size", [1, 3, 100, 2000])
def test_many_ties(size: int) -> None:
    x = np.random.default_rng(0).integers(0, 4, (2, 2000)).astype(np.float64)
    x[0, ::7], x[1, ::5] = NAN, INF
    for given in (x, np.nan_to_num(x, posinf=9.0).astype("int64")):
        found = one("arg_top", given, axis=-1, size=size)
        assert found[0, 0] == one("argmax", given, axis=-1)[0]
    one("argsort", x, axis=-1)
    one("argmin", x, axis=-1)


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


# --- along an axis ---------------------------------------------------------------------------------------

MOVES: list[tuple[str, dict[str, Any]]] = [
    *(("roll", {"shift": shift}) for shift in (0, 3, -4, 10)),
    ("flip", {}),
    *(("stride", {"step": step}) for step in (1, 2, 9)),
    *(("dilate", {"step": step, "size": size}) for step, size in ((1, 3), (2, 6), (4, 9), (4, 12))),
    *(("wrap_pad", {"before": a, "after": b}) for a, b in ((0, 0), (3, 3), (0, 2), (1, 0))),
    *(("reflect_pad", {"before": a, "after": b}) for a, b in ((0, 0), (2, 2), (0, 1), (1, 0))),
    *(("cumsum", {"exclusive": a, "reverse": b}) for a in (False, True) for b in (False, True)),
]


@pytest.mark.parametrize(("name", "attributes"), MOVES)
def test_moves_along_every_axis(name: str, attributes: dict[str, Any]) -> None:
    x = draw(3, 3, 3)
    for axis in (-1, -2, -3):
        both_ways(name, x, axis=axis, **attributes)
    for dtype in ("int64", "int32", "float16"):
        one(name, (4 * x).astype(dtype), axis=-2, **attributes)
    if name != "cumsum":
        one(name, x > 0, axis=-2, **attributes)
    one(name, np.array([NAN, INF, 1.0]), axis=-1, **attributes)


@pytest.mark.parametrize(("name", "attributes"), MOVES)
def test_moves_of_nothing(name: str, attributes: dict[str, Any]) -> None:
    both_ways(name, draw(0, 3), axis=-1, **attributes)
    if name in ("roll", "flip", "stride", "cumsum"):
        both_ways(name, draw(2, 0), axis=-1, **attributes)


def test_moves_of_a_named_size() -> None:
    n = named("n")
    build = Builder("moves")
    x = build.input("x", TensorType("float64", (2, n)))
    strided = build.op("stride", x, axis=-1, step=3)
    outputs = {
        "forwards": build.op("roll", x, axis=-1, shift=7),
        "backwards": build.op("roll", x, axis=-1, shift=-2),
        "flipped": build.op("flip", x, axis=-1),
        "strided": strided,
        "dilated": build.op("dilate", strided, axis=-1, step=3, size=n),
        "wrapped": build.op("wrap_pad", x, axis=-1, before=2, after=1),
        "reflected": build.op("reflect_pad", x, axis=-1, before=2, after=1),
        "summed": build.op("cumsum", x, axis=-1, exclusive=True, reverse=True),
        "product": build.op("prod", x, axes=(-1,)),
        "least": build.op("reduce_min", x, axes=(-1,)),
        "some": build.op("reduce_any", build.op("less", x, build.scalar(0.0, "float64")), axes=(-1,)),
    }
    graph = build.finish(outputs)
    for size in (3, 4, 9):
        found = agree(graph, [draw(2, size)])
        agree(reverse(graph), [draw(2, size), *found[:-1]])


@pytest.mark.parametrize(
    ("name", "attributes", "fault"),
    [
        ("stride", {"step": 0}, "forwards"),
        ("dilate", {"step": 2, "size": 3}, "does not fill"),
        ("wrap_pad", {"before": 4, "after": 0}, "is not continued"),
        ("reflect_pad", {"before": 0, "after": 3}, "is not continued"),
        ("reflect_pad", {"before": -1, "after": 0}, "is not continued"),
        ("roll", {"shift": 1, "axis": 0}, "no axis 0"),
    ],
)
def test_moves_that_do_not_fit(name: str, attributes: dict[str, Any], fault: str) -> None:
    with pytest.raises(TypeMismatch, match=fault):
        single(name, [np.zeros(3)], **{"axis": -1, **attributes})


@pytest.mark.parametrize("size", [1, 2, 5, 40])
@pytest.mark.parametrize("exclusive", [False, True])
def test_the_gain_of_sums_on_the_way(size: int, exclusive: bool) -> None:
    matrix = np.tril(np.ones((size, size)), -exclusive)
    norm = np.linalg.norm(matrix, 2)
    known = Known(TensorType("float64", (size,)))
    low, high = page("cumsum").gain(0, [known], axis=-1, exclusive=exclusive, reverse=False).to_floats()
    assert low * (1 - 1e-12) <= norm <= high * (1 + 1e-12)
    assert high <= 1.1 * norm


@pytest.mark.parametrize(("name", "most"), [("wrap_pad", 5), ("reflect_pad", 4)])
def test_the_gain_of_a_continuation_is_exact(name: str, most: int) -> None:
    for before in range(most + 1):
        for after in range(most + 1):
            attributes = {"axis": -1, "before": before, "after": after}
            norm = np.linalg.norm(page(name).evaluate(np.eye(5), **attributes), 2)
            for size in (5, named("n")):
                gain = page(name).gain(0, [Known(TensorType("float64", (size,)))], **attributes)
                low, high = gain.to_floats()
                assert low * (1 - 1e-12) <= norm <= high * (1 + 1e-12)
                assert size != 5 or high - low < 1e-12


# --- reductions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["reduce_min", "prod"])
def test_reductions_with_nan_and_infinity(name: str, dtype: str) -> None:
    rows = np.array([[1.0, NAN], [NAN, 1.0], [INF, 1.0], [INF, -INF], [NAN, INF], [2.0, 0.0]], dtype)
    for axes in ((-1,), (-2,), (-2, -1), ()):
        one(name, rows, axes=axes)
    one(name, np.zeros((0, 2), dtype), axes=(-1,))


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_reductions_of_integers(dtype: str) -> None:
    x = np.array([[3, np.iinfo(dtype).min, -2], [5, 4, 7]], dtype)
    for axes in ((-1,), (-2, -1)):
        one("reduce_min", x, axes=axes)
        one("prod", np.maximum(x, -2), axes=axes)


def test_a_product_with_zeros_has_a_derivative() -> None:
    for zeros in range(3):
        x = draw(2, 3, 4)
        x[0, :zeros, 1] = 0.0
        both_ways("prod", x, axes=(-2,))
        both_ways("prod", x, axes=(-1, -3))
    both_ways("prod", draw(2, 0), axes=(-1,))


@pytest.mark.parametrize("name", ["reduce_all", "reduce_any"])
def test_truths_of_none(name: str) -> None:
    x = draw(3, 2) > 0
    for axes in ((-1,), (-1, -2), ()):
        one(name, x, axes=axes)
        one(name, x[:0], axes=axes)
        one(name, x[:, :0], axes=axes)
    with pytest.raises(TypeMismatch, match="takes truth values"):
        single(name, [np.zeros(3)], axes=(-1,))


# --- whole numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("name", ["floor_divide", "modulo"])
def test_division_of_whole_numbers(name: str, dtype: str) -> None:
    x, y = np.arange(-7, 8, dtype=dtype)[:, None], np.arange(-4, 5, dtype=dtype)
    found = one(name, x, y)
    for i, a in enumerate(x[:, 0].tolist()):
        for j, b in enumerate(y.tolist()):
            wanted = 0 if b == 0 else a // b if name == "floor_divide" else a % b
            assert found[i, j] == wanted
    with np.errstate(over="ignore"):
        least = np.full(9, np.iinfo(dtype).min, dtype)
        one(name, least, y) if name == "modulo" else one(name, least[4:6], y[3:5])
    with pytest.raises(TypeMismatch, match="takes whole numbers"):
        single(name, [np.zeros(2), np.ones(2)])


def test_a_constant_divisor_needs_no_guard() -> None:
    build = Builder("halves")
    x = build.input("x", TensorType("int64", (5,)))
    graph = build.finish({"y": build.op("modulo", x, build.scalar(2, "int64"))})
    assert [node.op_type for node in to_onnx(graph).graph.node] == ["Mod", "Identity"]
    agree(graph, [np.array([-3, -2, -1, 0, 1])])


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_the_arithmetic_of_whole_numbers(dtype: str) -> None:
    x, y = np.array([7, -7, 0, 3, -8], dtype), np.array([2, 2, -5, 3, 3], dtype)
    for name in ["add", "subtract", "multiply", "divide", "maximum", "minimum"]:
        one(name, x, y)
    one("power", np.abs(x), np.abs(y))
    for name in ["negate", "abs", "sign", "relu", "square"]:
        one(name, x)
    one("soft_threshold", x, np.asarray(2, dtype))


def test_a_mask_hides_nan() -> None:
    x, kept = np.array([NAN, INF, 1.0]), np.array([[False, True, True], [False, False, True]])
    assert not np.isnan(one("mask", x, kept)).any()
    both_ways("mask", draw(3), kept)
    one("mask", np.array([1, 2, 3]), kept)


# --- tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_table_at_its_ends_and_beyond(size: int, dtype: str) -> None:
    places = np.array([0.0, 1.0, size - 1, size, -1.0, 1e30, -1e30, INF, -INF, NAN, 0.5], dtype)
    found = one("interpolate", draw(size).astype(dtype), places)
    table, known = draw(size), np.isfinite(places)
    wanted = np.interp(places[known], np.arange(size), table)
    np.testing.assert_allclose(found[known], wanted, rtol=1e-5, atol=1e-6)
    assert np.isnan(found).tolist() == np.isnan(places).tolist()
    if dtype == "float64":
        both_ways("interpolate", table, places[known])
        both_ways("interpolate", draw(2, size), places[known])
        both_ways("interpolate", draw(2, 1, size), draw(3, 4))
        both_ways("interpolate", draw(2, size), draw(2, 0))


def test_the_slope_at_an_entry_is_that_of_the_piece_after_it() -> None:
    table, places = np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, 2.0, -1.0, 2.5])
    graph = reverse(single("interpolate", [table, places]))
    assert evaluate(graph, [table, places, np.ones(5)])[1].tolist() == [1.0, 2.0, 0.0, 0.0, 0.0]


def test_a_table_of_a_named_size_on_lanes() -> None:
    b, n = named("b"), named("n")
    build = Builder("table")
    table, places = (build.input(name, TensorType("float64", (s,))) for name, s in (("v", n), ("p", 3)))
    graph = build.finish({"y": build.op("interpolate", table, places)})
    for marks in ((True, True), (True, False), (False, True)):
        laned, _ = vectorise(graph, marks, b)
        for lanes, size in ((2, 1), (1, 4), (3, 6)):
            given = [draw(*(lanes,) * has, length) for has, length in zip(marks, (size, 3))]
            agree(laned, given)
            agree(reverse(laned), [*given, draw(lanes, 3)])


def test_what_is_no_table_is_refused() -> None:
    for table, places in (
        (np.zeros(0), np.zeros(2)),
        (np.zeros(2), np.asarray(0.5)),
        (np.zeros(2, int), np.ones(1, int)),
    ):
        with pytest.raises(TypeMismatch, match="is no table"):
            single("interpolate", [table, places])
