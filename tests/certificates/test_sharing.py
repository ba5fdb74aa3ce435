"""A bound that does not exist keeps no trace of how it was sought, which may be a tree of shared parts."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.verifier import verify

SPEC = """banach: 1
name: shared
sizes: {n: 2}
inputs: {u: "real[n]"}
operators:
  twice(x): exp(x) * x + x
  T(x): CHAIN
solve:
  x:
    state: {x: zeros(n)}
    next: {x: T(x) + u}
    stop: {residual: norm(x' - x) <= 1e-3, most: 3}
outputs: {x: x}
"""


def test_an_unbounded_map_has_short_evidence():
    chain = "x"
    for _ in range(24):  # a tree of 2^24 leaves, were it written out
        chain = f"twice({chain})"
    model = banach.loads(SPEC.replace("CHAIN", f"0.01 * {chain}"))
    certificate = model.check().certificates["x"]
    assert certificate.verdict == "unknown" and "[0, inf]" in certificate.missing
    assert len(json.dumps(certificate.evidence())) < 10_000
    assert model.compile(to="onnx").run(u=[0.0, 0.0])["x"].tolist() == [0, 0]


def deep(layers: int) -> str:
    chain = ["  h0(x): tanh(A @ x)", *(f"  h{i}(x): (x + tanh(h{i - 1}(x))) / 4" for i in range(1, layers))]
    head = SPEC[: SPEC.index("  twice")].replace(
        "operators:", "parameters: {A: [[1, 2], [0, 1]]}\noperators:"
    )
    return (
        head + "\n".join(chain) + SPEC[SPEC.index("\nsolve:") :].replace("T(x)", f"h{layers - 1}(x) / 4")
    ).replace("1e-3, most: 3", "1e-9, most: 300")


def test_a_deep_network_is_certified_and_checked_again(tmp_path: Path) -> None:
    """The bound is that of the recursion l ← (1 + l)/4, from the norm of A, in numpy."""
    bound = np.linalg.norm([[1, 2], [0, 1]], 2)
    for _ in range(249):
        bound = (1 + bound) / 4
    path = tmp_path / "deep.onnx"
    model = banach.loads(deep(250))
    found = model.check().certificates["x"]
    assert found.verdict == "proved" and bound / 4 <= found.upper_factor <= bound / 4 * (1 + 1e-9)
    artifact = model.compile(path)
    sealed = onnx.load(path)
    assert verify(sealed).ok
    u = np.array([0.3, -0.2])
    x = artifact.run(u=u)["x"]
    y = np.tanh(np.array([[1, 2], [0, 1]]) @ x)
    for _ in range(249):
        y = (x + np.tanh(y)) / 4
    assert np.abs(y / 4 + u - x).max() < 1e-7


@pytest.mark.parametrize("change", [-1, 10**6, "first", 1.5])
def test_a_term_that_comes_later_or_is_none_is_refused(change: object) -> None:
    artifact = banach.loads(deep(250)).compile(to="onnx")
    model = onnx.load_from_string(artifact.model.SerializeToString())
    entry = next(e for e in model.metadata_props if e.key == "banach.certificate")
    document = json.loads(entry.value)
    terms = document["certificates"][0]["evidence"]["terms"]
    terms[0] = ["term", change if change != "first" else 0]
    entry.value = json.dumps(document)
    assert not verify(model).ok


def test_maps_inside_one_another_are_counted() -> None:
    with pytest.raises(banach.SpecError, match="300 deep"):
        banach.loads(deep(400))
