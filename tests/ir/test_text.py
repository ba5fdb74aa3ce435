"""parse(print(g)) = g, the same bytes every time, and faults with a place."""

import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_graphs import Case, closed, fix_case, page_cases, real, region_cases, while_case

from banach.ir.dims import Size, named
from banach.ir.graph import Builder, Graph, Op, Port
from banach.ir.reader import BadText
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType
from banach.ir.text import digest, parse_graph, print_graph, tensors_of
from banach.ir.vectorise import vectorise

CASES: dict[str, Case] = {**dict(page_cases()), **region_cases(), "fix-report": fix_case(report=True)}
N, M = named("n"), named("m")


def assert_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text, tensors_of(graph))
    assert again == graph
    assert print_graph(again) == text
    assert digest(again) == digest(graph)


@pytest.mark.parametrize("name", CASES)
def test_round_trip_of_graphs_and_their_derivatives(name: str) -> None:
    graph = CASES[name].graph
    assert_round_trip(graph)
    if graph.inputs and graph.inputs[0].type.is_float:
        assert_round_trip(vectorise(graph, [True] + [False] * (len(graph.inputs) - 1), N)[0])
    if name != "fix-report":
        assert_round_trip(reverse(graph))
        assert_round_trip(reverse(reverse(graph)))


def test_round_trip_of_a_while() -> None:
    assert_round_trip(while_case().graph)


def test_golden_page() -> None:
    build = Builder("a layer")
    w = build.input("w", TensorType("float64", (2, N)))
    x = build.input("x", TensorType("float64", (N,), "A"))
    t = build.input("t", TensorType("float32"), Tensor(np.asarray(0.5, np.float32)))
    y = build.op("matvec", w, x)
    inner = closed("square", lambda z: {"z'": z * z}, z=TensorType("float64", (2,), "A"))
    (z,) = build.emit("call", [build.op("reshape", y, shape=(2,))], {}, [inner])
    big = build.constant(np.arange(9.0))
    graph = build.finish({"y": z, "t": t, "big": big})
    assert_round_trip(graph)
    assert print_graph(graph) == (
        f"""graph "a layer"(%0 w: float64[2, n], %1 x: float64[n]@A, %2 t: float32 = float32{{0.5}}) {{
  %3 = matvec(%0, %1) : float64[2]@A
  %4 = reshape(%3) {{shape: (2,)}} : float64[2]@A
  %5 = call(%4) : float64[2]@A with {{
    graph square(%0 z: float64[2]@A) {{
      %1 = multiply(%0, %0) : float64[2]@A
      return z': %1
    }}
  }}
  %6 = constant() {{value: float64[9]#{Tensor(np.arange(9.0)).digest}}} : float64[9]
  return y: %5, t: %2, big: %6
}}
"""
    )


def of_attributes(**attributes) -> Graph:
    """A graph with one operation, which no page needs to know."""
    op = Op("odd", (0,), tuple(attributes.items()), (), (real(2),), 1)
    return Graph("g", (Port("x", real(2)),), (op,), (1,), ("y",))


@pytest.mark.parametrize(
    "value",
    [
        True, False, None, 0, -3, 10**30, 1.0, -0.0, 0.1, 1e300, 5e-324, float("inf"), -float("inf"),
        "float64", 'a "b"\n%1 {', "", (), (1,), (1, (2.0, "x"), None), Fraction(1, 3), Fraction(-2, 1),
        N, N * 2 + 1, -N, N // 2, (N + 1) // 2 * M, (N // 2) * (N // 2) + M * M * 3 - 7, (N // (M + 1)) // 3,
        7 // N, named("true"), named("a size"), (N, 3),
    ],
)  # fmt: skip
def test_round_trip_of_attributes(value) -> None:
    graph = of_attributes(value=value, other=1)
    assert_round_trip(graph)
    assert repr(parse_graph(print_graph(graph)).ops[0].attribute("value")) == repr(value)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2), (3, 3), (0, 4)])
def test_round_trip_of_constants(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).standard_normal(shape) * 3
    graph = of_attributes(value=Tensor(array.astype(dtype)))
    assert_round_trip(graph)
    assert bool(tensors_of(graph)) == (np.prod(shape, dtype=int) > 8)


def test_constants_keep_every_bit() -> None:
    odd_nan = np.array([0x7FF8000000000001, 0xFFF8000000000000], np.uint64).view(np.float64)
    special = Tensor(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324]))
    for tensor in (Tensor(odd_nan), special):
        graph = of_attributes(value=tensor)
        assert (
            parse_graph(print_graph(graph), tensors_of(graph)).ops[0].attribute("value").digest
            == tensor.digest
        )
    assert "nan" in print_graph(of_attributes(value=special))


def sizes() -> st.SearchStrategy[Size]:
    def combined(inner):
        pairs = st.tuples(inner, inner)
        return st.one_of(
            pairs.map(lambda p: p[0] + p[1]),
            pairs.map(lambda p: p[0] * p[1]),
            st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] // p[1]),
            pairs.filter(lambda p: p[1] != 0).map(lambda p: p[0] // p[1]),
        )

    return st.recursive(st.one_of(st.sampled_from([N, M]), st.integers(-3, 9)), combined, max_leaves=6)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(sizes())
def test_round_trip_of_sizes(size: Size) -> None:
    graph = of_attributes(size=size)
    assert parse_graph(print_graph(graph)) == graph


def test_the_same_bytes_under_every_hash_seed() -> None:
    script = (
        "from law_graphs import region_cases\n"
        "from banach.ir.reverse import reverse\n"
        "from banach.ir.text import digest\n"
        "print([digest(f(case.graph)) for case in region_cases().values() for f in (lambda g: g, reverse)])\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(found) == 1
    assert len(re.findall("[0-9a-f]{64}", found.pop())) == 2 * len(region_cases())


GOOD = """graph f(%0 x: float64[n]) {
  %1 = sum(%0) {axes: (-1,)} : float64
  return y: %1
}
"""


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("graph f", "grph f", "1:1", "`graph` must stand here, not grph"),
        ("float64[n]", "float65[n]", "1:15", "there is no dtype float65"),
        ("%1 =", "%2 =", "2:3", "%1 must stand here, not %2"),
        ("sum(%0)", "sum(%1)", "2:12", "%1 is not defined yet"),
        ("y: %1", "y: %7", "3:13", "%7 is not defined yet"),
        ("} :", ": ", "2:28", "`,` must stand here, not :"),
        ("{axes", "{axes ?", "2:22", "'?' starts nothing"),
        (" : float64\n", "\n", "3:3", "sum has 1 results and 0 types"),
        ("float64[n]", "float64[n // 2]", "1:25", "`,` must stand here, not //"),
        ("float64[n]", "float64[(n // 0)]", "1:30", "the denominator is 0"),
        ("float64[n]", "float64[1.5]", "1:23", "1.5 is no whole number"),
        ("(-1,)", "1/0", "2:25", "the denominator is 0"),
        ("(-1,)", "float64[3]{1.0}", "2:34", "do not make a constant of type float64[3]"),
        ("(-1,)", "int64{1.0}", "2:29", "do not make a constant of type int64"),
        ("(-1,)", "float64[9]#" + "0" * 64, "2:33", "the table has no constant of type float64[9]"),
        ("}\n", "", "4:1", "`,` must stand here, not the end of the text"),
        ("%1\n}", "%1\n} x", "4:3", "the graph has ended, but x follows"),
        (" x:", " 7:", "1:12", "a name must stand here, not 7"),
    ],
)  # fmt: skip
def test_malformed_text_has_a_place(old: str, new: str, place: str, message: str) -> None:
    assert parse_graph(GOOD).ops[0].name == "sum"
    text = GOOD[::-1].replace(old[::-1], new[::-1], 1)[::-1] if old == "}\n" else GOOD.replace(old, new, 1)
    with pytest.raises(BadText) as caught:
        parse_graph(text)
    assert str(caught.value).startswith(f"{place}: "), str(caught.value)
    assert message in str(caught.value)
    assert f"{caught.value.line}:{caught.value.column}" == place


def test_an_attribute_without_a_text() -> None:
    with pytest.raises(ValueError, match="type list has no text"):
        print_graph(of_attributes(value=[1]))
