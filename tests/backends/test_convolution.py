"""Convolution against scipy, on every backend; its boundaries, its adjoints and its bound."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from scipy.ndimage import correlate as continued
from scipy.signal import correlate

from banach.backends.fx.lower import lower as to_torch
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.compiler.facts.lipschitz import lipschitz
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.exact import Interval
from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitive import Known, page
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.vectorise import vectorise

CLOSE = {"float64": 1e-11, "float32": 1e-4}


def agree(graph: Graph, arguments: Sequence[np.ndarray], close: float = 1e-11) -> list[np.ndarray]:
    """The oracle's outputs, after all have given the same."""
    expected, model = evaluate(graph, arguments), to_onnx(graph)
    feed = {port.name: np.asarray(a) for port, a in zip(graph.inputs, arguments)}
    found = [
        OnnxArtifact(model).evaluate(arguments),
        [y.numpy() for y in to_torch(graph)(*(torch.tensor(np.array(a)) for a in arguments))],
    ]
    if all(np.size(a) for a in arguments):  # the reference transposes no convolution of nothing
        found.append(ReferenceEvaluator(model).run(None, feed))
    for outputs in found:
        for want, got in zip(expected, outputs, strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(got, want, rtol=close, atol=close)
    return expected


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def laid(x: np.ndarray, kernel: np.ndarray, name: str = "convolve", **attributes: Any) -> Graph:
    build = Builder(name)
    values = [build.input(n, TensorType(str(a.dtype), a.shape)) for n, a in (("x", x), ("k", kernel))]
    return build.finish({"y": build.op(name, *values, **attributes)})


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    ("signal", "kernel", "stride"),
    [
        ((2, 9), (3, 2, 4), (1,)),
        ((9,), (1, 1, 9), (1,)),
        ((3, 2, 8), (1, 2, 3), (3,)),
        ((2, 6, 5), (3, 2, 3, 2), (1, 1)),
        ((2, 2, 2, 7, 6), (2, 2, 2, 3), (2, 3)),
        ((1, 8, 8), (1, 1, 7, 7), (1, 1)),  # cut by place
        ((2, 4, 3, 5), (2, 2, 2, 1, 3), (1, 1, 2)),
        ((0, 2, 6, 5), (3, 2, 3, 2), (1, 1)),  # no sample
    ],
)
def test_convolution_and_its_derivatives(
    signal: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dtype: str
) -> None:
    if len(signal) == 1:
        signal = (1, *signal)
    x, k = draw(*signal).astype(dtype), draw(*kernel, seed=1).astype(dtype)
    graph = laid(x, k, stride=stride)
    (y,) = agree(graph, [x, k], CLOSE[dtype])
    space, steps = len(stride), tuple(slice(None, None, step) for step in stride)
    for place in np.ndindex(signal[: len(signal) - space - 1]):
        for o in range(kernel[0]):
            parts = [correlate(x[place][i], k[o, i], "valid", "direct") for i in range(kernel[1])]
            whole = np.sum(parts, axis=0)
            np.testing.assert_allclose(y[place][o], whole[steps], rtol=CLOSE[dtype], atol=CLOSE[dtype])
    back = reverse(graph)
    dy = draw(*y.shape, seed=2).astype(dtype)
    dx, dk = agree(back, [x, k, dy], CLOSE[dtype])
    if dtype == "float64":  # ⟨K x, dy⟩ = ⟨x, Kᵀ dy⟩ = ⟨k, dk⟩
        np.testing.assert_allclose([np.vdot(x, dx), np.vdot(k, dk)], np.vdot(y, dy), rtol=1e-12, atol=1e-12)
        agree(reverse(back), [x, k, dy, x, k], 1e-10)


def _same(x: Value, kernel: Value, boundary: str) -> Value:
    """A convolution of the signal's size."""
    for axis, size in ((-1, kernel.type.shape[-1]), (-2, kernel.type.shape[-2])):
        before, after = size // 2, (size - 1) // 2
        x = x.builder.op(boundary, x, axis=axis, before=before, after=after)
    return x.builder.op("convolve", x, kernel, stride=(1, 1))


BOUNDARIES = [("pad", "constant"), ("wrap_pad", "wrap"), ("reflect_pad", "mirror")]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("boundary", "mode"), BOUNDARIES)
@pytest.mark.parametrize("size", [(3, 3), (2, 5)])
def test_boundaries(boundary: str, mode: str, size: tuple[int, int], dtype: str) -> None:
    x, k = draw(2, 1, 6, 5).astype(dtype), draw(1, 1, *size, seed=1).astype(dtype)
    build = Builder("same")
    given = build.input("x", TensorType(dtype, x.shape)), build.input("k", TensorType(dtype, k.shape))
    graph = build.finish({"y": _same(*given, boundary)})
    (y,) = agree(graph, [x, k], CLOSE[dtype])
    for sample in range(2):
        wanted = continued(x[sample, 0], k[0, 0], mode=mode)
        np.testing.assert_allclose(y[sample, 0], wanted, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    agree(reverse(graph), [x, k, y], CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_named_sizes(stride: tuple[int, int], dtype: str) -> None:
    b, n = named("b"), named("n")
    build = Builder("sizes")
    x = build.input("x", TensorType(dtype, (b, 2, n, 7)))
    kernel = build.input("k", TensorType(dtype, (3, 2, 3, 2)))
    graph = build.finish({"y": build.op("convolve", x, kernel, stride=stride)})
    k = draw(3, 2, 3, 2, seed=1).astype(dtype)
    for batch, rows in ((2, 3), (1, 6), (3, 7), (0, 5)):
        given = draw(batch, 2, rows, 7).astype(dtype)
        (y,) = agree(graph, [given, k], CLOSE[dtype])
        turned = laid(y, k, "convolve_transpose", stride=stride, size=(rows, 7))
        agree(turned, [y, k], CLOSE[dtype])


def test_a_transpose_of_a_named_size() -> None:
    b, n = named("b"), named("n")
    build = Builder("sizes")
    y = build.input("y", TensorType("float32", (b, 3, n)))
    kernel = build.input("k", TensorType("float32", (3, 2, 4)))
    with pytest.raises(TypeMismatch, match="does not hold a copy"):
        build.op("convolve_transpose", y, kernel, stride=(2,), size=(n * 2,))
    long = build.op("convolve_transpose", y, kernel, stride=(1,), size=(n + 3,))
    graph = build.finish({"x": long})
    k = draw(3, 2, 4, seed=1).astype(np.float32)
    for batch, length in ((2, 1), (1, 5), (0, 3)):
        agree(graph, [draw(batch, 3, length).astype(np.float32), k], 1e-4)


@pytest.mark.parametrize("marks", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("name", ["convolve", "convolve_transpose"])
def test_every_lane_has_a_kernel_of_its_own(name: str, marks: tuple[bool, bool]) -> None:
    k = draw(3, 2, 2, 3, seed=1)
    x = draw(2, 6, 6) if name == "convolve" else draw(3, 3, 2)
    attributes: dict[str, Any] = {"stride": (2, 2)}
    if name == "convolve_transpose":
        attributes["size"] = (7, 6)
    graph, _ = vectorise(laid(x, k, name, **attributes), marks, named("lanes"))
    given = [np.stack([a, 2 * a, a - 1]) if has else a for a, has in zip((x, k), marks)]
    (together,) = agree(graph, given)
    for lane in range(3):
        alone = [a[lane] if has else a for a, has in zip(given, marks)]
        np.testing.assert_allclose(together[lane], page(name).evaluate(*alone, **attributes), rtol=1e-12)


@pytest.mark.parametrize(
    ("signal", "kernel", "stride", "fault"),
    [
        ((2, 5), (3, 1, 2), (1,), "cannot be laid"),
        ((5,), (1, 1, 2), (1,), "cannot be laid"),
        ((1, 5), (1, 1, 6), (1,), "does not fit into"),
        ((1, 5), (1, 1, 0), (1,), "does not fit into"),
        ((1, 5), (1, 1, 2), (0,), "the steps"),
        ((1, 5), (1, 1, 2), (1, 1), "the steps"),
        ((1, 5), (1, 2), (), "no kernel"),
    ],
)
def test_kernels_that_do_not_fit(signal: Any, kernel: Any, stride: Any, fault: str) -> None:
    with pytest.raises(TypeMismatch, match=fault):
        laid(np.zeros(signal), np.zeros(kernel), stride=stride)


def _matrix(name: str, shape: tuple[int, ...], kernel: np.ndarray, **attributes: Any) -> np.ndarray:
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return page(name).evaluate(units, kernel, **attributes).reshape(len(units), -1).T


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_the_gain_is_never_exceeded(stride: tuple[int, int], seed: int) -> None:
    kernel = draw(3, 2, 2, 3, seed=seed) * 10.0 ** draw(3, 2, 1, 1, seed=seed + 50)
    known = Known(TensorType("float64", kernel.shape), Interval.between(kernel.min(), kernel.max()))
    exact = Known(known.type, known.range, value=Tensor(kernel))
    norm = np.linalg.norm(_matrix("convolve", (2, 7, 8), kernel, stride=stride), 2)
    signal = Known(TensorType("float64", (2, 7, 8)))
    y = Known(
        TensorType(
            "float64", (3, *page("convolve").types((signal.type, known.type), (), stride=stride)[0].shape[1:])
        )
    )
    loose, tight = (
        page("convolve").gain(0, [signal, k], stride=stride).to_floats()[1] for k in (known, exact)
    )
    assert norm <= tight <= loose
    turned = page("convolve_transpose").gain(0, [y, exact], stride=stride, size=(7, 8)).to_floats()[1]
    assert turned == tight


def test_the_gain_of_one_channel_is_the_sum_of_its_kernel() -> None:
    kernel = np.abs(draw(1, 1, 3, 3))
    exact = Known(TensorType("float64", kernel.shape), value=Tensor(kernel))
    signal = Known(TensorType("float64", (1, 40, 40)))
    (_, high) = page("convolve").gain(0, [signal, exact], stride=(1, 1)).to_floats()
    np.testing.assert_allclose(high, kernel.sum(), rtol=1e-12)
    norm = np.linalg.norm(_matrix("convolve", (1, 14, 14), kernel, stride=(1, 1)), 2)
    assert 0.9 * high < norm <= high  # it is reached in the limit of a large signal


@pytest.mark.parametrize("shape", [(16, 1, 1), (1, 16, 1)])
def test_the_gain_weighs_rows_against_columns(shape: tuple[int, int, int]) -> None:
    kernel = np.ones(shape)
    exact = Known(TensorType("float64", shape), Interval.of(1), value=Tensor(kernel))
    signal = Known(TensorType("float64", (shape[1], 5)))
    norm = np.linalg.norm(_matrix("convolve", (shape[1], 5), kernel, stride=(1,)), 2)
    (_, high) = page("convolve").gain(0, [signal, exact], stride=(1,)).to_floats()
    np.testing.assert_allclose([high, norm], 4, rtol=1e-12)


def test_a_constant_kernel_bounds_a_model() -> None:
    build = Builder("model")
    x = build.input("x", TensorType("float64", (1, 9)))
    kernel = build.constant(np.array([[[0.25, -0.5, 0.125]]]))
    graph = build.finish({"y": build.op("convolve", x, kernel, stride=(1,))})
    assert lipschitz(graph, 0).lipschitz.interval.to_floats()[1] == pytest.approx(0.875, rel=1e-12)


def test_a_float32_convolution_is_one_node() -> None:
    x, k = draw(2, 2, 6, 5).astype(np.float32), draw(3, 2, 3, 2).astype(np.float32)
    assert [n.op_type for n in to_onnx(laid(x, k, stride=(1, 2))).graph.node] == ["Conv", "Identity"]
