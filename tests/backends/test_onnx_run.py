"""Files: written whole or not at all, read with suspicion; a runtime whose errors never come through raw."""

import builtins
import errno
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from banach.backends.onnx import run
from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact, load, save
from banach.ir.diagnostic import RunError
from banach.ir.dims import named
from banach.ir.graph import Builder, Port
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType


def model() -> ModelProto:
    build = Builder("g")
    x = build.input("x", TensorType("float32", (named("batch"), 2)))
    place = build.input("place", TensorType("int64", (1,)), Tensor(np.array([1])))
    return lower(build.finish({"y": build.op("take", x, place, axis=-1) + 1.0}), {"certificate": "{}"})


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    save(model(), tmp_path / "m.onnx")
    artifact = load(tmp_path / "m.onnx")
    assert list(artifact.inputs) == [
        Port("x", TensorType("float32", (named("batch"), 2))),
        Port("place", TensorType("int64", (1,)), Tensor(np.array([1]))),
    ]
    assert artifact.outputs == ("y",) and artifact.metadata["certificate"] == "{}"
    assert artifact.run({"x": [[1, 2], [3, 4]]})["y"].tolist() == [[3.0], [5.0]]
    assert artifact.run({"x": [[1, 2]], "place": [0]})["y"].tolist() == [[2.0]]
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == model().SerializeToString(deterministic=True)


def test_an_axis_without_a_plain_name_takes_any_size(tmp_path: Path) -> None:
    build = Builder("g")
    x = build.input("x", TensorType("float64", (named("n") * 2,)))
    save(lower(build.finish({"y": x + x})), tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").run({"x": np.ones(4)})["y"].tolist() == [2.0] * 4


def external(content: bytes) -> bytes:
    found = ModelProto.FromString(content)
    tensor = found.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return found.SerializeToString()


def hidden_external(content: bytes) -> bytes:
    """A reference in the attribute of a node of an inner graph."""
    found = ModelProto.FromString(content)
    tensor = TensorProto(name="t", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    node = helper.make_node("Constant", [], ["t"], value=tensor)
    inner = helper.make_graph([node], "inner", [], [])
    found.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    return found.SerializeToString()


def lying_default(content: bytes) -> bytes:
    found = ModelProto.FromString(content)
    place = next(t for t in found.graph.initializer if t.name == "place")
    place.dims[0] = 1 << 40
    return found.SerializeToString()


def strange_input(content: bytes) -> bytes:
    found = ModelProto.FromString(content)
    found.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return found.SerializeToString()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: b"", "is no ONNX model"),
        (lambda content: b"hello, world", "is no ONNX model"),
        (lambda content: b"\x89PNG\r\n\x1a\n" + bytes(100), "is no ONNX model"),
        (lambda content: content[: len(content) // 2], "is no ONNX model, or is cut short"),
        (lambda content: content[:20], "is no ONNX model, or is cut short"),
        (external, "keeps weights in m.onnx.data, which is not there"),
        (hidden_external, "keeps constants in other files"),
        (lying_default, "not the array that it says"),
        (strange_input, "the input `x` is no tensor"),
    ],
)
def test_a_file_from_a_stranger_is_refused(tmp_path: Path, spoil: Any, words: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(spoil(model().SerializeToString()))
    with pytest.raises(RunError, match=rf"B711 .*{words}"):
        load(path)


def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"B711 .*is not there"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(RunError, match=r"B711 .*is no file"):
        load(tmp_path)
    (tmp_path / "large.onnx").write_bytes(bytes(100))
    monkeypatch.setattr(run.external, "LARGEST", 99)
    with pytest.raises(RunError, match=r"B711 .*is larger than 99 bytes"):
        load(tmp_path / "large.onnx")


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:

        def full(handle: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"B705 .*No space left"):
            save(model(), path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.onnx"]
    with pytest.raises(RunError, match=r"B705 .*No such file"):
        save(model(), tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(RunError, match=r"B705 .*is no file"):
        save(model(), tmp_path)
    monkeypatch.setattr(run.external, "LARGEST", 10)
    with pytest.raises(RunError, match=r"B713 .*more than 10 bytes"):
        save(model(), path)
    assert path.read_bytes() == b"old"


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    save(model(), tmp_path / "m.onnx")
    (tmp_path / "usual").touch()
    assert (tmp_path / "m.onnx").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_provider_that_is_not_here_is_named_at_once() -> None:
    with pytest.raises(RunError, match=r"B614 there is no NoSuchProvider; there is .*CPUExecutionProvider"):
        OnnxArtifact(model(), providers=["NoSuchProvider"])
    assert OnnxArtifact(model(), providers=["CPUExecutionProvider"]).run({"x": [[1, 2]]})["y"] == 3.0


def test_without_a_runtime_a_file_is_read_and_a_run_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("onnxruntime"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(builtins, "__import__", absent)
    artifact = OnnxArtifact(model())
    assert artifact.metadata["certificate"] == "{}"
    with pytest.raises(RunError, match="B613") as caught:
        artifact.run({"x": [[1, 2]]})
    assert caught.value.diagnostic.fix == 'pip install "banach[cpu]"'


def test_a_failure_of_the_runtime_is_a_diagnostic(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match=r"B712 the run failed: .*out of data bounds"):
        OnnxArtifact(model()).run({"x": [[1, 2]], "place": [7]})
    assert capfd.readouterr() == ("", "")


def test_a_model_that_the_runtime_refuses_is_a_diagnostic(capfd: pytest.CaptureFixture[str]) -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    strange = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(RunError, match=r"B615 .*NoSuchOperator"):
        OnnxArtifact(strange).run({"x": [1.0]})
    assert capfd.readouterr() == ("", "")


def test_inputs_are_checked_before_the_run() -> None:
    for given, code in [({}, "B701"), ({"x": [1.0]}, "B702"), ({"x": [["a", "b"]]}, "B703")]:
        with pytest.raises(RunError, match=code):
            OnnxArtifact(model()).run(given)
