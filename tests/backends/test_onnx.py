"""Every primitive through ONNX Runtime and the reference evaluator against the oracle; the file's form."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from banach.backends.onnx import plain
from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.diagnostic import SpecError
from banach.ir.dims import bind, named
from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES, Builder, Graph
from banach.ir.primitive import Sample
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.shelf import pages
from banach.ir.span import Span
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

CLOSE = {"float64": 1e-12, "float32": 3e-6}
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 0.7, -1.3, 1e30])


def agree(graph: Graph, arguments: Sequence[np.ndarray], close: float = 1e-12) -> list[np.ndarray]:
    """The oracle's outputs, after both runtimes have given the same, in the same dtypes and shapes."""
    expected = evaluate(graph, arguments)
    model = lower(graph)
    with np.errstate(all="ignore"):
        feed = {port.name: np.asarray(a) for port, a in zip(graph.inputs, arguments)}
        found = [OnnxArtifact(model).evaluate(arguments), ReferenceEvaluator(model).run(None, feed)]
    for outputs in found:
        for name, want, got in zip(graph.output_names, expected, outputs, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape), name
            np.testing.assert_allclose(got, want, rtol=close, atol=close, err_msg=name)
    return expected


def single(name: str, operands: Sequence[np.ndarray], **attributes: Any) -> Graph:
    build = Builder(name)
    values = [build.input(f"x{i}", TensorType(str(x.dtype), x.shape)) for i, x in enumerate(operands)]
    return build.finish({"y": build.op(name, *values, **attributes)})


CASES = [
    pytest.param(name, sample, dtype, id=f"{name}-{i}-{dtype}")
    for name, page in pages(PRIMITIVES).items()
    for i, sample in enumerate(page.samples())
    for dtype in CLOSE
]


@pytest.mark.parametrize(("name", "sample", "dtype"), CASES)
def test_every_primitive_and_its_reverse_derivative(name: str, sample: Sample, dtype: str) -> None:
    operands = [x.astype(dtype) if x.dtype.kind == "f" else x for x in map(np.asarray, sample.operands)]
    graph = single(name, operands, **sample.attributes)
    agree(graph, operands, CLOSE[dtype])
    try:
        back = reverse(graph)
    except NoDerivative:
        return
    random = np.random.default_rng(1)
    shapes = [(p.type.dtype, [bind(n, {}) for n in p.type.shape]) for p in back.inputs[len(operands) :]]
    seeds = [random.standard_normal(shape).astype(kind) for kind, shape in shapes]
    if back.outputs:
        agree(back, [*operands, *seeds], CLOSE[dtype])


ENTRYWISE = [
    name for name, page in pages(PRIMITIVES).items() if page.core == (0,) and name not in ("not", "cast")
]
PAIRS = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "equal", "soft_threshold"]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", ENTRYWISE)
def test_one_operand_keeps_nan_and_infinity(name: str, dtype: str) -> None:
    x = SPECIAL.astype(dtype)
    x = x[np.abs(x) != np.float32(1e30)] if name in ("sin", "cos") else x  # no digits are left there
    with np.errstate(all="ignore"):
        sample = next(iter(pages(PRIMITIVES)[name].samples()))
        agree(single(name, [x], **sample.attributes), [x], CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", PAIRS)
def test_two_operands_keep_nan_and_infinity(name: str, dtype: str) -> None:
    x, y = SPECIAL.astype(dtype)[:, None], np.abs(SPECIAL).astype(dtype)
    with np.errstate(all="ignore"):
        agree(single(name, [x, y]), [x, y], CLOSE[dtype])


@pytest.mark.parametrize("name", ["sum", "reduce_max", "norm"])
def test_reductions_keep_nan_and_infinity(name: str) -> None:
    rows = [[1.0, np.nan], [np.nan, 1.0], [np.inf, 1.0], [np.inf, -np.inf], [np.nan, np.inf], [2.0, 1.0]]
    with np.errstate(all="ignore"):
        agree(single(name, [np.array(rows)], axes=(-1,)), [np.array(rows)])
        agree(single(name, [np.array(rows)], axes=(-2, -1)), [np.array(rows)])
        agree(single(name, [np.zeros((0, 2))], axes=(-1,)), [np.zeros((0, 2))])
        agree(single(name, [np.array(rows[-1:])], axes=()), [np.array(rows[-1:])])


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_integers(dtype: str) -> None:
    x, y = np.array([7, -7, 0, 3], dtype), np.array([2, 2, 5, 3], dtype)
    for name in ["add", "subtract", "multiply", "maximum", "minimum", "less", "less_equal", "equal"]:
        agree(single(name, [x, y]), [x, y])
    for name in ["negate", "abs", "sign", "relu", "square"]:
        agree(single(name, [x]), [x])
    agree(single("select", [x > 0, x, y]), [x > 0, x, y])
    agree(single("sum", [x], axes=(-1,)), [x])
    agree(single("reduce_max", [x], axes=(-1,)), [x])
    agree(single("cast", [x], dtype="float32"), [x])
    agree(single("cast", [np.array([1.7, -1.7])], dtype=dtype), [np.array([1.7, -1.7])])


def test_truth_values() -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    agree(single("equal", [x, y]), [x, y])
    agree(single("select", [x, y, ~y]), [x, y, ~y])
    agree(single("select", [x, ~y, y[:1]]), [x, ~y, y[:1]])
    agree(single("cast", [x], dtype="float32"), [x])
    agree(single("cast", [np.array([0.0, 2.0])], dtype="bool"), [np.array([0.0, 2.0])])


def test_named_sizes() -> None:
    b, n = named("b"), named("n")
    build = Builder("sizes")
    x = build.input("x", TensorType("float64", (b, n, 2)))
    y = build.input("y", TensorType("float64", (n,)))
    outputs = {
        "one": build.op("reshape", x, shape=(b, n * 2)),
        "two": build.op("reshape", x, shape=(b * n, 2)),
        "three": build.op("reshape", x, shape=(2, n, b)),
        "stretched": build.op("broadcast", y, shape=(b, 3, n)),
        "cut": build.op("slice", y, axis=-1, start=1, stop=n),
        "half": build.op("slice", y, axis=-1, start=0, stop=n // 2),
        "padded": build.op("pad", y, axis=-1, before=b, after=n - 1),
        "count": build.op("count", size=n * b - 1, dtype="float64"),
        "whole": build.op("count", size=n + 1, dtype="int64"),
        "extent": build.op("extent", size=n * n + (b - n) // 2, dtype="float64"),
        "joined": build.op("concatenate", y, y, axis=-1),
        "zeros": build.zeros(TensorType("float64", (b, n))) + y,
        "total": build.op("sum", x, axes=(-3, -1)) / build.op("extent", size=2 * b, dtype="float64"),
    }
    graph = build.finish(outputs)
    random = np.random.default_rng(0)
    for rows, columns in [(1, 1), (3, 4), (2, 7)]:
        agree(graph, [random.standard_normal((rows, columns, 2)), random.standard_normal(columns)])
    axes = [d.dim_param or d.dim_value for d in lower(graph).graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["b", "n", 2]


def test_a_batch_without_samples() -> None:
    b = named("b")
    build = Builder("empty")
    x = build.input("x", TensorType("float64", (b, 4)))
    wide = build.op("reshape", x, shape=(b, 2, 2))
    graph = build.finish({"wide": wide, "flat": build.op("reshape", wide, shape=(b * 2, 2)), "sum": x + 1.0})
    agree(graph, [np.zeros((0, 4))])
    n = named("n")
    build = Builder("turned")
    x = build.input("x", TensorType("float64", (n, b)))
    graph = build.finish({"y": build.op("reshape", x, shape=(b, n))})
    agree(graph, [np.zeros((3, 0))])


def test_a_size_that_a_multiple_shows() -> None:
    n = named("n")
    build = Builder("multiple")
    x = build.input("x", TensorType("float64", (2 * n,)))
    graph = build.finish(
        {"y": build.op("reshape", x, shape=(2, n)), "n": build.op("extent", size=n, dtype="int64")}
    )
    model = lower(graph)
    y, number = OnnxArtifact(model).evaluate([np.arange(6.0)])
    assert y.shape == (2, 3) and number == 3


def test_a_size_that_no_input_shows_is_refused() -> None:
    build = Builder("hidden")
    graph = build.finish({"y": build.op("count", size=named("n"), dtype="float64")})
    with pytest.raises(SpecError, match="B612 no input shows the size `n`"):
        lower(graph)


def test_an_operation_without_a_form_is_refused_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "RULES", {k: v for k, v in plain.RULES.items() if k != "matvec"})
    place = Span("a.yaml", 3, 5, 3, 9)
    build = Builder("g")
    a, x = build.input("a", TensorType("float64", (2, 2))), build.input("x", TensorType("float64", (2,)))
    graph = build.finish({"y": build.op("matvec", a, x, place=place)})
    with pytest.raises(SpecError, match="B611") as caught:
        lower(graph)
    assert caught.value.diagnostics[0].span == place


def test_outputs_that_are_inputs_constants_or_twice_the_same() -> None:
    build = Builder("outputs")
    x = build.input("x", TensorType("float64", (2,)))
    y = x + x
    fixed = build.constant(np.array([1, 2]))
    graph = build.finish({"same": x, "y": y, "again": y, "fixed": fixed, "zero": build.zeros(x.type)})
    agree(graph, [np.array([1.0, 2.0])])


def test_names_are_those_of_the_graph_and_never_taken_twice() -> None:
    build = Builder("names")
    x = build.input("add_1", TensorType("float64", (2,)))
    graph = build.finish({"add_2": x + x + x, "constant_3": x * 2.0})
    model = lower(graph)
    assert [v.name for v in model.graph.input] == ["add_1"]
    assert [v.name for v in model.graph.output] == ["add_2", "constant_3"]
    agree(graph, [np.array([1.0, 2.0])])


def test_an_input_may_be_an_output_under_its_own_name_and_no_other_may() -> None:
    build = Builder("through")
    x = build.input("x", TensorType("float64", (2,)))
    agree(build.finish({"x": x, "y": x + x}), [np.array([1.0, 2.0])])
    with pytest.raises(SpecError, match="B616 the output `x`"):
        lower(build.finish({"x": x + x}))


def test_a_default_may_be_overridden() -> None:
    build = Builder("default")
    x = build.input("x", TensorType("float64", (2,)))
    step = build.input("x.step", TensorType("float64"), Tensor(np.asarray(3.0)))
    model = lower(build.finish({"y": x * step}))
    artifact = OnnxArtifact(model)
    assert artifact.run({"x": [1.0, 2.0]})["y"].tolist() == [3.0, 6.0]
    assert artifact.run({"x": [1.0, 2.0], "x.step": 5.0})["y"].tolist() == [5.0, 10.0]
    (y,) = ReferenceEvaluator(model).run(None, {"x": np.array([1.0, 2.0])})
    np.testing.assert_array_equal(y, [3.0, 6.0])


def sample_graph() -> Graph:
    """A graph with everything that could leak an order or a place: constants, a solve, several outputs."""
    place = Span("/secret/folder/spec.yaml", 1, 1, 1, 2)
    random = np.random.default_rng(0)
    state, whole = TensorType("float64", (4,)), TensorType("int64")
    inner = Builder("step")
    inner.input("k", whole)
    x, c = inner.input("x", state), inner.input("c", state)
    matrix = inner.constant(random.standard_normal((4, 4)) / 8, place)
    step = inner.finish({"x": inner.op("tanh", inner.op("matvec", matrix, x), place=place) + c})
    inner = Builder("residual")
    old, new = inner.input("old", state), inner.input("new", state)
    inner.input("c", state)
    size = inner.op("norm", new - old, axes=(-1,))
    residual = inner.finish({"size": size, "scale": inner.scalar(1, "float64")})
    build = Builder("sample")
    c = build.input("c", state, place=place)
    tolerance = build.input("x.tolerance", TensorType("float64"), Tensor(np.asarray(1e-8)))
    most = build.input("x.max_iterations", whole, Tensor(np.asarray(50)))
    shape = {"states": 1, "solution": 1, "lanes": False, "every": 5}
    found = build.emit("fix", [tolerance, most, c, c], shape, [step, residual], place)
    return build.finish(dict(zip(["x", "x.iterations", "x.residual", "x.status"], found)))


def digest() -> str:
    model = lower(sample_graph(), {"b": "2", "a": "1"})
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def test_the_bytes_are_the_same_under_every_hash_seed_and_name_no_place() -> None:
    program = f"import runpy; print(runpy.run_path({__file__!r})['digest']())"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            check=True,
        )
        assert done.stdout.strip() == digest()
    assert b"secret" not in lower(sample_graph()).SerializeToString()


def test_the_file_says_what_it_is() -> None:
    model = lower(sample_graph(), {"b": "2", "a": "1"})
    assert [(p.key, p.value) for p in model.metadata_props] == [("a", "1"), ("b", "2")]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert model.ir_version == 10 and model.graph.name == "sample"
    onnx.checker.check_model(model, full_check=True)


def test_constants_are_shared_and_a_transposed_matrix_is_written_once() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    build = Builder("shared")
    x = build.input("x", TensorType("float64", (3,)))
    a, b = build.constant(matrix), build.constant(matrix.copy())
    back = build.op("transpose", a, permutation=(-1, -2))
    twice = build.op("matvec", a, x) + build.op("matvec", b, x)
    graph = build.finish({"y": twice, "z": build.op("matvec", back, x)})
    model = lower(graph)
    assert len(model.graph.initializer) == 2  # Aᵀ for A x, A for Aᵀ x
    assert [node.op_type for node in model.graph.node].count("MatMul") == 2
    agree(graph, [np.array([1.0, -2.0, 3.0])])


def test_the_transpose_of_a_transpose_costs_nothing() -> None:
    build = Builder("twice")
    a, x = build.input("a", TensorType("float64", (2, 3))), build.input("x", TensorType("float64", (2,)))
    graph = build.finish({"y": build.op("matvec", build.op("transpose", a, permutation=(-1, -2)), x)})
    assert [node.op_type for node in lower(graph).graph.node] == ["MatMul", "Identity"]
    agree(graph, [np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])])
