"""Threefry against the published vectors, bit for bit everywhere; and whether the numbers look random."""

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from scipy import stats

from banach.backends.fx.lower import lower as to_fx
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph
from banach.ir.primitive import page
from banach.ir.tensor_type import TensorType

INT = "int64"
FULL = (1 << 32) - 1
# key, counter, result: the vectors that come with Random123, "threefry2x32 20".
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((FULL, FULL), (FULL, FULL), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def graph(shape: tuple, dtype: str = "float64") -> Graph:
    build = Builder("chance")
    bits = build.op(
        "threefry", build.input("key", TensorType(INT, (2,))), build.input("i", TensorType(INT, shape))
    )
    return build.finish(
        {
            "bits": bits,
            "uniform": build.op("uniform", bits, dtype=dtype),
            "normal": build.op("normal", bits, dtype=dtype),
        }
    )


@pytest.mark.parametrize(("key", "counter", "result"), KNOWN)
def test_known_answers(key: tuple, counter: tuple, result: tuple) -> None:
    made, given = graph((2,)), [np.array(key), np.array(counter)]
    model = to_onnx(made)
    for bits, *_ in (
        evaluate(made, given),
        OnnxArtifact(model).evaluate(given),
        ReferenceEvaluator(model).run(None, {"key": given[0], "i": given[1]}),
        [x.numpy() for x in to_fx(made)(*map(torch.tensor, given))],
    ):
        assert bits.dtype == np.int64 and bits.tolist() == list(result)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_backend_draws_the_same_bits(dtype: str) -> None:
    made = graph((named("n"), 2), dtype)
    i = np.stack([np.arange(-5, 500) * 7919**3, np.arange(505)], axis=-1)
    given = [np.array([-1, 1 << 40]), i]
    expected, model = evaluate(made, given), to_onnx(made)
    for found in (
        OnnxArtifact(model).evaluate(given),
        ReferenceEvaluator(model).run(None, {"key": given[0], "i": i}),
        [x.numpy() for x in to_fx(made)(*map(torch.tensor, given))],
    ):
        for got, want in zip(found[:2], expected[:2]):  # bits, and uniform numbers, which are exact
            assert got.dtype == want.dtype and np.array_equal(got, want)
        np.testing.assert_allclose(
            found[2], expected[2], rtol=1e-6 if dtype == "float32" else 1e-12, atol=1e-14
        )


def test_numbers_look_random() -> None:
    i = np.stack([np.arange(20000), np.zeros(20000, np.int64)], axis=-1)
    _, uniform, normal = evaluate(graph(i.shape), [np.array([3, 4]), i])
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-3
    assert (
        abs(np.corrcoef(normal.T)[0, 1]) < 0.03 and abs(np.corrcoef(uniform[1:], uniform[:-1])[0, 1]) < 0.03
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_uniform_numbers_are_never_0_or_1(dtype: str) -> None:
    ends = page("uniform").evaluate(np.array([[0, 0], [FULL, FULL]]), dtype=dtype)
    assert ends[0] > 0 and ends[1] < 1 and ends[0] == 1 - ends[1] and ends.dtype == dtype
    assert np.all(np.isfinite(page("normal").evaluate(np.array([[0, 0], [FULL, FULL]]), dtype=dtype)))
