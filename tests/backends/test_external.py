"""Weights beside a model: the bound of 2 GB is set to a few kilobytes here, and once it is the real one."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx import external
from banach.backends.onnx.run import load
from banach.backends.onnx.verifier import verify
from banach.ir.diagnostic import RunError

SPEC = """
banach: 1
precision: float64
sizes: {n: 40}
inputs: {b: "real[n]"}
parameters: {W: {file: W.npy}}
operators: {T(x): tanh(W @ x) + b}
solve:
  x:
    method: picard(T)
    start: zeros(n)
    stop: {residual: 1e-9, most: 200}
outputs: {x: x}
"""
W = 0.9 * np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]


def compiled(folder: Path) -> Path:
    path = folder / "m.onnx"
    banach.load(folder / "m.yaml").compile(path)
    return path


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two weights, of which each fits, and both do not."""
    np.save(tmp_path / "W.npy", W)
    (tmp_path / "m.yaml").write_text(
        SPEC.replace("tanh(W @ x)", "tanh(W @ tanh(V @ x))").replace(
            "parameters: {W: {file: W.npy}}", "parameters: {W: {file: W.npy}, V: {file: V.npy}}"
        )
    )
    np.save(tmp_path / "V.npy", W.T @ W.T)
    monkeypatch.setattr(external, "LARGEST", 25_000)
    return compiled(tmp_path)


def test_weights_that_do_not_fit_are_beside_it_and_the_answer_is_the_same(model: Path) -> None:
    data = external.beside(model)
    assert data.name == "m.onnx.data" and data.stat().st_size >= 2 * W.nbytes
    assert model.stat().st_size < 25_000
    b = np.linspace(-1, 1, 40)
    x = np.zeros(40)
    for _ in range(300):
        x = np.tanh(W @ np.tanh(W.T @ W.T @ x)) + b
    artifact = load(model)
    assert verify(artifact.model).ok
    assert np.abs(artifact.run(b=b)["x"] - x).max() <= 1e-8
    assert np.abs(banach.load(model.with_name("m.yaml")).compile(to="onnx").run(b=b)["x"] - x).max() <= 1e-8
    onnx.checker.check_model(str(model))
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(model), providers=["CPUExecutionProvider"])  # without us
    assert np.abs(session.run(["x"], {"b": b})[0] - x).max() <= 1e-8


def test_the_bytes_do_not_depend_on_the_folder(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("W.npy", "V.npy", "m.yaml"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    again = compiled(other)
    assert again.read_bytes() == model.read_bytes()
    assert external.beside(again).read_bytes() == external.beside(model).read_bytes()


def test_another_weight_is_found_by_verify(model: Path) -> None:
    data = external.beside(model)
    content = bytearray(data.read_bytes())
    content[3] ^= 1
    data.write_bytes(content)
    assert not verify(load(model).model).ok


def _told(key: str, value: str) -> Any:
    def spoil(model: Path) -> None:
        proto = onnx.load(model, load_external_data=False)
        tensor = next(t for t in proto.graph.initializer if t.external_data)
        next(e for e in tensor.external_data if e.key == key).value = value
        model.write_bytes(proto.SerializeToString())

    return spoil


def _linked(model: Path) -> None:
    data = external.beside(model)
    data.rename(data.with_name("away"))
    os.symlink(data.with_name("away"), data)


def _longer(model: Path) -> None:
    proto = onnx.load(model, load_external_data=False)
    next(t for t in proto.graph.initializer if t.external_data).dims[0] = 1 << 40
    model.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: external.beside(m).unlink(), "not there"),
        (lambda m: external.beside(m).write_bytes(b"short"), "beyond the end"),
        (_linked, "a link"),
        (_told("location", "../m.onnx.data"), "in another file"),
        (_told("location", "/etc/passwd"), "in another file"),
        (_told("offset", "-1"), "does not say where"),
        (_told("offset", "999999"), "beyond the end"),
        (_told("offset", "9" * 30), "does not say where"),
        (_told("length", "8"), "another length"),
        (_longer, "another length"),
    ],
)
def test_a_file_that_lies_is_refused(model: Path, spoil: Any, words: str) -> None:
    spoil(model)
    with pytest.raises(RunError, match=rf"B711 .*{words}"):
        load(model)


def test_one_weight_that_is_too_large_is_said_and_nothing_is_written(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    monkeypatch.setattr(external, "LARGEST", 12_000)
    with pytest.raises(RunError, match="B713"):
        compiled(model.parent)
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


@pytest.mark.slow
def test_more_than_two_gigabytes(tmp_path: Path) -> None:
    """Three weights of 800 MB: what is not 0 is on their diagonals, so that the answer is known."""
    n = 14_142
    for name, part in zip("UVW", (0.5, 0.25, 0.125)):  # equal ones would be kept once
        array = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.float32, (n, n))
        np.fill_diagonal(array, part)
        array.flush()
    (tmp_path / "m.yaml").write_text(f"""
banach: 1
sizes: {{n: {n}}}
inputs: {{x: "real[n]"}}
parameters: {{U: {{file: U.npy}}, V: {{file: V.npy}}, W: {{file: W.npy}}}}
outputs: {{y: "relu(U @ relu(V @ relu(W @ x)))"}}
""")
    path = compiled(tmp_path)
    assert external.beside(path).stat().st_size > 2**31 - 1
    x = np.arange(n, dtype=np.float32)
    assert np.array_equal(load(path).run(x=x)["y"], x / 64)
