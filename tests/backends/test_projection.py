"""Maps of the last axis in both backends: many shapes, NaN, infinities, points where the norm is 0."""

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from banach.backends.fx.lower import lower as to_fx
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TensorType

RADII = ["group_soft_threshold", "project_ball", "project_simplex", "project_l1_ball"]
PLAIN = ["softmax", "log_softmax", "log_sum_exp", "project_second_order_cone"]


def single(name: str, dtype: str, *shapes: tuple) -> Graph:
    build = Builder(name)
    operands = [build.input(f"x{i}", TensorType(dtype, shape)) for i, shape in enumerate(shapes)]
    return build.finish({"y": build.op(name, *operands)})


def agree(graph: Graph, arguments: list[np.ndarray], close: float) -> None:
    with np.errstate(all="ignore"):
        (expected,) = evaluate(graph, arguments)
        model = to_onnx(graph)
        feed = {port.name: x for port, x in zip(graph.inputs, arguments)}
        found = [
            OnnxArtifact(model).evaluate(arguments)[0],
            ReferenceEvaluator(model).run(None, feed)[0],
            to_fx(graph)(*map(torch.tensor, arguments))[0].numpy(),
        ]
    for got in found:
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(got, expected, rtol=close, atol=close)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [*RADII, *PLAIN])
def test_many_rows(name: str, dtype: str, scale: float) -> None:
    b, n = named("b"), named("n") if name in ("softmax", *RADII) else 33
    x = scale * np.random.default_rng(0).standard_normal((20, 33)).astype(dtype)
    x[0] = 0
    close = 1e-13 if dtype == "float64" else 2e-6
    if name in RADII:
        agree(
            single(name, dtype, (b, n), (b,)),
            [x, np.linspace(0.1, 3, 20, dtype=dtype)],
            close * max(scale, 1),
        )
    else:
        agree(single(name, dtype, (b, n)), [x], close * max(scale, 1))


SPOILT = [[np.nan, 1.0, 0.5], [1.0, 2.0, np.nan]]


@pytest.mark.parametrize("name", [*RADII, *PLAIN])
def test_a_spoilt_row_stays_spoilt(name: str) -> None:
    """Backends may spoil other entries than the oracle, but none gives a row of numbers."""
    x = np.array(SPOILT)
    graph = single(name, "float64", x.shape, *([()] if name in RADII else []))
    arguments = [x, np.asarray(1.0)][: len(graph.inputs)]
    model = to_onnx(graph)
    for got in (
        evaluate(graph, arguments)[0],
        OnnxArtifact(model).evaluate(arguments)[0],
        to_fx(graph)(*map(torch.tensor, arguments))[0].numpy(),
    ):
        assert np.all(np.any(np.isnan(got.reshape(2, -1)), axis=-1))


def test_log_sum_exp_of_infinities() -> None:
    # Of nothing but -inf, onnx's reference evaluator makes NaN.
    agree(single("log_sum_exp", "float64", (2, 2)), [np.array([[np.inf, 1], [-np.inf, 1]])], 1e-13)


@pytest.mark.parametrize("name", [*RADII, "project_second_order_cone"])
def test_no_gradient_is_nan_at_the_origin(name: str) -> None:
    x = np.zeros((2, 3))
    graph = single(name, "float64", x.shape, *([()] if name in RADII else []))
    arguments = [x, np.asarray(1.0)][: len(graph.inputs)]
    given = [torch.tensor(a, requires_grad=True) for a in arguments]
    to_fx(graph)(*given)[0].sum().backward()
    for mine, theirs in zip(evaluate(reverse(graph), [*arguments, np.ones((2, 3))]), given):
        assert np.all(np.isfinite(mine)) and torch.isfinite(theirs.grad).all()
