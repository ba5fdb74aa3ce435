"""What a spec assumes of its sizes: read with its place, simplified with, and held to by every run."""

import json
from hashlib import sha256

import numpy as np
import onnx
import pytest
from onnx import helper

import banach
from banach.backends.onnx.run import OnnxArtifact, load
from banach.compiler.optimisation import Options
from banach.ir.dims import assume
from banach.ir.text import print_graph

SPEC = """\
banach: 1
name: halves
sizes: {n: {least: 4, multiple: 2}, batch: any}
inputs: {x: "real[n]", w: "real[n // 2 * 2]", c: "real[3*n + 1]"}
operators: {F(z): 0.5 * tanh(z) + x * w}
solve:
  z: {method: picard(F), start: zeros(n), stop: {residual: 1e-5, most: 100}}
outputs: {z: z, s: sum(c)}
"""


def given(n: int) -> dict[str, np.ndarray]:
    return {"x": np.ones(n), "w": np.full(n, 0.5), "c": np.ones(3 * n + 1)}


def refused(artifact, n: int) -> str:
    with pytest.raises(banach.RunError) as refusal:
        artifact.run(given(n))
    return f"{refusal.value.diagnostic.code.id} {refusal.value.diagnostic.message}"


def test_a_size_that_comes_out_even_is_the_size_itself():
    """`w` has n // 2 * 2 entries, and x * w fits, since 2 divides n; without that it does not."""
    graph = banach.loads(SPEC).graph
    assert graph.contract == assume({"n": (4, 2), "batch": (0, 1)})
    assert str(graph.inputs[1].type) == "float32[n]" and "where batch >= 0, n >= 4, 2 | n {" in print_graph(
        graph
    )
    with pytest.raises(banach.SpecError, match="B202"):
        banach.loads(SPEC.replace("{least: 4, multiple: 2}", "any"))


@pytest.mark.parametrize("backend", ["onnx", "oracle", "fx", "file"])
def test_a_run_keeps_to_the_contract(backend, tmp_path):
    model = banach.loads(SPEC)
    if backend == "file":
        model.compile(tmp_path / "halves.onnx")
        artifact = load(tmp_path / "halves.onnx")
    else:
        artifact = model.compile(to=backend)
    assert artifact.run(given(6))["s"] == 19.0
    told = "the model needs n >= 4, 2 | n"
    assert refused(artifact, 5) == f"B706 the input `x` has n = 5; {told}"
    assert refused(artifact, 2) == f"B706 the input `x` has n = 2; {told}"
    wrong = {**given(6), "c": np.ones(20)}
    with pytest.raises(banach.RunError, match="B702"):
        artifact.run(wrong)


def test_every_name_is_at_least_1(tmp_path):
    text = SPEC.replace("{least: 4, multiple: 2}", "{least: 1}").replace("n // 2 * 2", "n")
    banach.loads(text).compile(tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").run(given(1))["s"] == 4.0
    assert refused(load(tmp_path / "m.onnx"), 0) == "B706 the input `x` has n = 0; the model needs n >= 1"


def test_a_size_that_only_a_sum_shows(tmp_path):
    text = 'banach: 1\nsizes: {n: {multiple: 3}}\ninputs: {c: "real[2*n + 1]"}\noutputs: {s: sum(c)}\n'
    banach.loads(text).compile(tmp_path / "m.onnx")
    for artifact in (load(tmp_path / "m.onnx"), banach.loads(text).compile(to="oracle")):
        assert artifact.run(c=np.ones(7))["s"] == 7.0
        with pytest.raises(banach.RunError, match=r"B706 the input `c` has n = 2; .* n >= 3, 3 \| n"):
            artifact.run(c=np.ones(5))
        with pytest.raises(banach.RunError, match="B702"):
            artifact.run(c=np.ones(6))


def test_the_metadata_of_a_file():
    metadata = banach.loads(SPEC).compile().metadata
    assert json.loads(metadata["banach.sizes"]) == {"n": {"least": 4, "multiple": 2}}
    assert "banach.certificate" in metadata and "banach.spec" in metadata
    whole = banach.loads("banach: 1\ninputs: {x: 'real[3]'}\noutputs: {y: 2 * x}\n").compile()
    assert "banach.sizes" not in whole.metadata


def test_derivatives_and_optimised_graphs_keep_it():
    model = banach.loads(SPEC)
    artifact = model.reverse("s", "c").compile()
    assert json.loads(artifact.metadata["banach.sizes"])["n"] == {"least": 4, "multiple": 2}
    for options in (Options(), Options(check_every=4)):
        assert model.optimised(options).graph.contract == model.graph.contract
    lanes = banach.loads(SPEC.replace("real[n]", "real[batch, n]"))
    assert lanes.graph.contract == assume({"n": (4, 2), "batch": (0, 1)})


@pytest.mark.parametrize(
    "entry", ["", "[]", "7", '{"n": 4}', '{"n": {"least": 4}}', '{"n": {"least": "4", "multiple": 1}}',
              '{"n": {"least": -1, "multiple": 1}}', '{"n": {"least": true, "multiple": 1}}', "[" * 100_000]
)  # fmt: skip
def test_a_file_with_a_broken_contract_is_refused(entry):
    model = onnx.ModelProto.FromString(banach.loads(SPEC).compile().model.SerializeToString())
    helper.set_model_props(model, {"banach.sizes": entry})
    with pytest.raises(banach.RunError, match="B711"):
        OnnxArtifact(model)


def test_a_file_of_another_origin_has_none():
    model = onnx.ModelProto.FromString(banach.loads(SPEC).compile().model.SerializeToString())
    helper.set_model_props(model, {})
    artifact = OnnxArtifact(model)
    assert artifact.contract is None and artifact.run(given(3))["s"] == 10.0


@pytest.mark.parametrize(
    ("size", "code", "column", "fault"),
    [
        ("{least: 0}", "B209", 20, "`least` of the size `n` is `0`, no whole number from 1 on"),
        ("{multiple: 1.5}", "B209", 23, "`multiple` of the size `n` is `1.5`, no whole number from 1 on"),
        ("{multiple: yes}", "B209", 23, "`multiple` of the size `n` is `yes`, no whole number from 1 on"),
        ("{most: 9}", "B131", 13, "a size has no key `most`"),
        ("{leest: 9}", "B131", 13, "a size has no key `leest`"),
        ("{least: [1]}", "B133", 20, "`least` takes one value, not a list"),
        ("{}", "B209", 12, "the size `n` is no whole number"),
        ("[1]", "B209", 12, "the size `n` is no whole number"),
        ("some", "B209", 12, "the size `n` is `some`, no whole number from 1 on"),
        ("-1", "B209", 12, "the size `n` is `-1`, no whole number from 1 on"),
    ],
)
def test_a_size_that_is_none(size, code, column, fault):
    text = SPEC.replace("{least: 4, multiple: 2}", size)
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text)
    (found,) = refusal.value.diagnostics
    assert (found.code.id, found.message) == (code, fault) and found.fix
    assert found.span is not None and (found.span.line, found.span.column) == (3, column)


def test_a_contract_that_says_nothing_changes_no_byte():
    texts = [
        SPEC.replace("n // 2 * 2", "n").replace("{least: 4, multiple: 2}", s) for s in ("any", "{least: 1}")
    ]
    one, two = (banach.loads(text).compile().model for text in texts)
    for model in (one, two):
        helper.set_model_props(model, {})
    assert sha256(one.SerializeToString()).digest() == sha256(two.SerializeToString()).digest()
