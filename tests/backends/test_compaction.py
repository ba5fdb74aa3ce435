"""Samples that have stopped are left out of the rounds that follow: the same answers, up to rounding."""

import json

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import banach
from banach.backends.onnx.compaction import separate
from banach.backends.onnx.verifier import verify
from banach.compiler.optimisation import Options
from banach.ir.dims import named
from banach.ir.graph import Builder
from banach.ir.tensor_type import TensorType

W = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 5)))[0]
SPEC = f"""
banach: 1
precision: float64
sizes: {{n: 5, batch: any}}
inputs: {{b: "real[batch, n]", a: "real[batch]"}}
parameters: {{W: {json.dumps(W.tolist())}}}
solve:
  z:
    state: {{z: zeros(n), last: zeros(n)}}
    next: {{z: "a * tanh(W @ z) + b", last: z}}
    stop: {{residual: norm(z' - z) <= 1e-9, most: 400}}
outputs: {{z: z}}
"""
COMPACT = Options(compact=True)


def loops(model: onnx.ModelProto) -> int:
    count, waiting = 0, [model.graph]
    while waiting:
        for node in waiting.pop().node:
            count += node.op_type == "Loop"
            waiting += [attribute.g for attribute in node.attribute if attribute.g.node]
    return count


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("batch", [0, 1, 3, 64])
def test_the_answers_are_those_of_the_plain_loop(batch: int, every: int | None) -> None:
    model = banach.loads(SPEC)
    compact = model.compile(to="onnx", options=Options(compact=True, check_every=every))
    plain = model.compile(to="onnx", options=Options(check_every=every))
    assert loops(compact.model) > loops(plain.model) and verify(compact.model).ok
    random = np.random.default_rng(batch)
    given = {"a": random.uniform(0, 0.97, batch), "b": random.standard_normal((batch, 5))}
    for limits in (
        {},
        {"z.max_iterations": np.int64(11)},
        {"z.max_iterations": np.int64(0)},
        {"z.tolerance": 0.1},
    ):
        found, wanted = compact.run({**given, **limits}), plain.run({**given, **limits})
        assert np.array_equal(found["z.iterations"], wanted["z.iterations"])
        assert np.array_equal(found["z.status"], wanted["z.status"])
        assert np.allclose(found["z"], wanted["z"], rtol=1e-12, atol=1e-12)
        assert np.allclose(found["z.residual"], wanted["z.residual"], rtol=1e-6, atol=1e-12)
    if batch == 64:
        assert np.ptp(plain.run(given)["z.iterations"]) > 50


def test_a_sample_that_diverges_is_left_out_and_says_so() -> None:
    model = banach.loads(SPEC.replace("tanh(W @ z)", "(W @ z) * norm(z)"))
    given = {"a": np.array([0.0, 9.0, 0.01]), "b": np.ones((3, 5))}
    found, wanted = model.compile(to="onnx", options=COMPACT).run(given), model.compile(to="onnx").run(given)
    assert wanted["z.status"].tolist() == found["z.status"].tolist() == [0, 2, 0]
    assert np.array_equal(found["z.iterations"], wanted["z.iterations"])


def test_the_reference_evaluator_agrees() -> None:
    artifact = banach.loads(SPEC).compile(to="onnx", options=COMPACT)
    given = {"a": np.array([0.1, 0.9, 0.5]), "b": np.arange(15.0).reshape(3, 5) / 9}
    told = {port.name: port.default.array for port in artifact.inputs if port.default is not None}
    found = dict(zip(artifact.outputs, ReferenceEvaluator(artifact.model).run(None, {**told, **given})))
    for name, wanted in artifact.run(given).items():
        assert np.allclose(found[name], wanted, rtol=1e-9, atol=1e-9), name


def test_the_largest_number_that_a_run_may_set() -> None:
    """2^63 - 1 iterations: nothing is added to it that would turn it negative."""
    artifact = banach.loads(SPEC).compile(to="onnx", options=COMPACT)
    given = {"a": np.array([0.5]), "b": np.ones((1, 5)), "z.max_iterations": np.int64(2**63 - 1)}
    assert artifact.run(given)["z.status"].tolist() == [0]


def test_what_mixes_samples_is_not_taken_apart() -> None:
    """A sum over the batch, a size of it, a draw for each place: rows would meet others."""
    batch, rows = named("batch"), TensorType("float64", (named("batch"), 3))

    def step(work) -> bool:  # type: ignore[no-untyped-def]
        build = Builder("step")
        x = build.input("x", rows)
        return separate((build.finish({"x": work(build, x)}),), batch)

    assert step(lambda build, x: x * 2.0)
    assert step(lambda build, x: x + build.op("broadcast", build.scalar(1, "float64"), shape=(batch, 3)))
    assert not step(lambda build, x: x + build.op("sum", x, axes=(-2,)))
    assert not step(lambda build, x: build.op("transpose", x, permutation=(-1, -2)))
    assert not step(lambda build, x: build.op("reshape", x, shape=(batch * 3,)))
    assert not separate((Builder("empty").finish({}),), 3)
    assert not separate((Builder("empty").finish({}),), batch * 2)


def test_a_solve_without_a_batch_stays_as_it_is() -> None:
    text = SPEC.replace("real[batch, n]", "real[n]").replace("real[batch]", "real")
    model = banach.loads(text)
    assert model.compile(to="onnx", options=COMPACT).model == model.compile(to="onnx").model
