"""The models that onnx ships for testing backends, against the results that it ships."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

import banach
from banach.backends.onnx.network.network import Network, covered
from banach.backends.onnx.network.read import NEWEST, OLDEST, read
from banach.backends.onnx.network.refusal import BadNetwork, Misfit, Uncovered
from banach.ir.evaluate import evaluate
from banach.ir.tensor_type import TensorType

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
# Why a model stays out whose nodes are all of operators that we cover.
REFUSED = (
    "a tensor of",  # strings, small integers
    "is no tensor",
    "covered is",
    "is not covered",
    "must be known before the run",
    "training mode",
    "whole numbers",
    "remainder of reals",
    "`output_shape`",
    "it reduces nothing",
    "an axis without entries",
    "lie in the padding alone",
    "is not finite",
    "the shapes [3] and [2, 3, 4",  # slopes of the PRelu of old
)
# Their shipped results have four digits.
COARSE = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}


def plain(array: object) -> np.ndarray:
    """Reals in float64, whole numbers in int64: the oracle is asked in full precision."""
    found = numpy_helper.to_array(array) if isinstance(array, onnx.TensorProto) else np.asarray(array)
    if found.dtype.name == "bfloat16":
        return found.astype(np.float64)
    kinds = {"f": np.float64, "i": np.int64, "u": np.int64}
    return found.astype(kinds.get(found.dtype.kind, found.dtype))


def evaluated(network: Network, arguments: list[np.ndarray]) -> list[np.ndarray]:
    types = [TensorType(str(a.dtype), a.shape) for a in arguments]
    graph = network.trace(types, "float64").graph
    with np.errstate(all="ignore"):
        return list(evaluate(graph, arguments))


def close(found: list[np.ndarray], wanted: list[np.ndarray], allowed: float, name: str) -> None:
    assert len(found) == len(wanted)
    for got, want in zip(found, map(plain, wanted)):
        assert (got.shape, got.dtype.kind) == (want.shape, want.dtype.kind), name
        np.testing.assert_allclose(
            got.astype(float), want.astype(float), rtol=allowed, atol=allowed, err_msg=name
        )


# --- one node each ------------------------------------------------------------------------------------------


@cache
def cases() -> tuple[tuple[str, onnx.ModelProto, list, list], ...]:
    """Those whose nodes are all of operators that we cover, under an opset that we take."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shipped = load_model_tests(kind="node")
    for case in shipped:
        graph = case.model.graph
        if any(n.op_type not in covered() or n.domain for n in graph.node):
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid("", NEWEST))
        model.ir_version = 10
        try:
            onnx.checker.check_model(model)
        except onnx.checker.ValidationError:
            continue  # of a newer operator
        found.append((case.name, model, *case.data_sets[0]))
    return tuple(found)


def frozen(network: Network, arguments: list[np.ndarray], kept: int) -> tuple[Network, list[np.ndarray]]:
    """All inputs but the first few become weights, as exporters write shapes, axes and statistics."""
    weights = {port.name: a for port, a in zip(network.inputs[kept:], arguments[kept:])}
    fewer = replace(network, inputs=network.inputs[:kept], weights={**network.weights, **weights}, _traces={})
    return fewer, arguments[:kept]


def answers(network: Network, arguments: list[np.ndarray]) -> list[np.ndarray]:
    """With as many inputs as can stay open."""
    for kept in sorted({len(arguments), 1, 0}, reverse=True):
        try:
            return evaluated(*frozen(network, arguments, kept))
        except Uncovered:
            if not kept:
                raise
    raise AssertionError


@pytest.mark.parametrize("operator", sorted(covered()))
def test_an_operator_means_what_onnx_says(operator: str, tmp_path: Path) -> None:
    own = [case for case in cases() if [n.op_type for n in case[1].graph.node] == [operator]]
    assert sum(agrees(case, tmp_path) for case in own), operator


def test_operators_that_are_spelt_out_by_others(tmp_path: Path) -> None:
    """Attention, losses, windows and more, as functions of plain operators."""
    expanded = [case for case in cases() if len(case[1].graph.node) > 1]
    assert sum(agrees(case, tmp_path) for case in expanded) >= 250


def agrees(case: tuple[str, onnx.ModelProto, list, list], folder: Path) -> bool:
    """Whether we take it; if so, it has to give what is shipped."""
    name, model, inputs, outputs = case
    path = folder / "node.onnx"
    path.write_bytes(model.SerializeToString())
    half = any(name in str(model.graph) for name in ("elem_type: 10\n", "elem_type: 16\n"))  # of 16 bits
    try:
        found = answers(read(path, folder), [plain(x) for x in inputs])
    except (Uncovered, BadNetwork, Misfit) as refusal:
        assert any(why in str(refusal) for why in REFUSED), (name, refusal)
        return False
    close(found, outputs, 1e-2 if half else 1e-4 if name in COARSE else 1e-5, name)
    return True


# --- whole networks -----------------------------------------------------------------------------------------


def array(path: Path) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def files(folder: Path, kind: str) -> list[np.ndarray]:
    return [array(folder / f"{kind}_{i}.pb") for i in range(len(list(folder.glob(f"{kind}_*.pb"))))]


def models() -> Iterator[Any]:
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        for folder in sorted((DATA / kind).iterdir()):
            yield pytest.param(folder, id=folder.name.removeprefix("test_"))


def converted(folder: Path) -> onnx.ModelProto:
    """The model under an opset that we take; onnx's converter is trusted with that."""
    return version_converter.convert_version(onnx.load(folder / "model.onnx"), NEWEST)


@pytest.mark.parametrize("folder", list(models()))
def test_a_shipped_model(folder: Path, tmp_path: Path) -> None:
    model = converted(folder)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    data = folder / "test_data_set_0"
    try:
        network = read(path, tmp_path)
        found = evaluated(network, [plain(x) for x in files(data, "input")])
    except (Uncovered, BadNetwork) as refusal:
        ours = all(n.op_type in covered() and not n.domain for n in model.graph.node)
        assert not ours or any(why in str(refusal) for why in REFUSED), refusal
        return
    close(found, files(data, "output"), 1e-4, folder.name)


def test_most_of_them_are_taken(tmp_path: Path) -> None:
    taken = 0
    for folder in (param.values[0] for param in models()):
        path = tmp_path / "model.onnx"
        path.write_bytes(converted(folder).SerializeToString())
        try:
            read(path, tmp_path)
            taken += 1
        except (Uncovered, BadNetwork):
            pass
    assert taken >= 120


@pytest.mark.parametrize(
    "name",
    [
        "Linear",
        "Conv1d_dilated",
        "Conv2d_groups",
        "Conv2d_depthwise_strided",
        "Conv3d_stride_padding",
        "ConvTranspose2d",
        "BatchNorm2d_eval",
        "AvgPool2d_stride",
        "MaxPool2d",
        "PixelShuffle",
        "ReflectionPad2d",
        "GLU",
        "Softmin",
        "ELU",
    ],
)
def test_a_shipped_model_in_a_spec(name: str, tmp_path: Path) -> None:
    """Inlined, compiled, and run by ONNX Runtime and torch in float32."""
    folder = DATA / "pytorch-converted" / f"test_{name}"
    (x,), (y,) = files(folder / "test_data_set_0", "input"), files(folder / "test_data_set_0", "output")
    onnx.save(converted(folder), tmp_path / "net.onnx")
    text = f"""
banach: 1
inputs: {{x: "real[{", ".join(map(str, x.shape))}]"}}
operators: {{net: onnx(file=net.onnx)}}
outputs: {{y: net(x)}}
"""
    model = banach.loads(text, folder=tmp_path)
    for backend in ("oracle", "onnx", "fx"):
        found = model.compile(to=backend).run(x=x)["y"]
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5, err_msg=backend)


def test_both_ends_of_the_opsets_are_taken(tmp_path: Path) -> None:
    for version, right in ((OLDEST - 1, False), (OLDEST, True), (NEWEST, True), (NEWEST + 1, False)):
        relu = helper.make_node("Relu", ["x"], ["y"])
        ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
        graph = helper.make_graph([relu], "g", ports[:1], ports[1:])
        path = tmp_path / "net.onnx"
        path.write_bytes(
            helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8
            ).SerializeToString()
        )
        if right:
            read(path, tmp_path)
        else:
            with pytest.raises(BadNetwork, match=f"opset {version}.*convert_version"):
                read(path, tmp_path)
