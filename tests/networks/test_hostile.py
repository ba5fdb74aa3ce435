"""Files that are no networks, or lie: refused at their place in the spec, with a reason."""

import numpy as np
import onnx
import pytest
from networks import denoiser, mlp, network, node, save
from onnx import TensorProto, helper

from banach.backends.onnx.network import read as reading
from banach.backends.onnx.network import tensors

SPEC = """\
banach: 1
name: hostile
inputs: {x: "real[6]"}
operators:
  F: onnx(file=NAME)
outputs: {y: F(x)}
"""
HUGE = 1 << 40


@pytest.fixture
def refused(banach_command, write):
    """name of a file -> what is said: it has to be refused where the spec names the file."""

    def check(name="net.onnx", code="B212", line=5, spec=SPEC):
        path = write(spec.replace("NAME", name))
        said = banach_command("check", path)
        assert said.code == 2 and f"error[{code}" in said.err and not said.out, said
        assert f"model.yaml:{line}:" in said.err and "Traceback" not in said.err, said.err
        return said.err

    return check


def changed(folder, change, model=None):
    """A network, spoilt."""
    model = model or mlp()
    change(model)
    return save(model, folder)


# --- the file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\x08", b"not a network", b"\xff" * 1000, b"\x93NUMPY\x01\x00"]
)
def test_what_is_no_network(content, refused, beside):
    (beside / "net.onnx").write_bytes(content)
    assert "no ONNX file" in refused()


@pytest.mark.parametrize("part", [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_truncated_file(part, refused, beside):
    path = save(mlp(), beside)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    refused()


@pytest.mark.parametrize("make", [mlp, denoiser])
def test_single_bytes_that_are_wrong(make, beside, banach_command, write):
    """Whatever a byte says, the spec is read or refused; nothing else happens."""
    path = save(make(), beside)
    spec = write(
        SPEC.replace("NAME", "net.onnx").replace("real[6]", "real[6]" if make is mlp else "real[1, 8, 8]")
    )
    content, random = path.read_bytes(), np.random.default_rng(0)
    for place in random.integers(0, len(content), 150):
        spoilt = bytearray(content)
        spoilt[place] = random.integers(256)
        path.write_bytes(spoilt)
        said = banach_command("check", spec)
        assert said.code in (0, 2) and "Traceback" not in said.err and "B900" not in said.err, (place, said)


@pytest.mark.parametrize("name", ["../net.onnx", "/etc/passwd", "a/../../net.onnx", "no.onnx", "folder.onnx"])
def test_a_file_that_may_not_be_read(name, refused, beside, tmp_path):
    save(mlp(), tmp_path)
    (beside / "folder.onnx").mkdir()
    refused(f"'{name}'", "B210")


def test_a_link_that_leads_outside(refused, beside, tmp_path):
    (beside / "net.onnx").symlink_to(save(mlp(), tmp_path, "secret.onnx"))
    assert "outside" in refused(code="B210")


@pytest.mark.parametrize("call", ["onnx()", "onnx(3)", "onnx(file=3)", "onnx(file=[1, 2])", "onnx(name='a')"])
def test_a_call_without_a_file(call, refused):
    assert "`onnx" in refused(code="B204", spec=SPEC.replace("onnx(file=NAME)", call))


def test_a_size_that_is_too_large(refused, beside, monkeypatch):
    save(mlp(), beside)
    monkeypatch.setattr(reading, "LARGEST_FILE", 100)
    assert "larger than" in refused()


def test_too_many_nodes(refused, beside, monkeypatch):
    save(mlp(), beside)
    monkeypatch.setattr(reading, "MOST_NODES", 3)
    assert "6 nodes" in refused()


# --- weights ------------------------------------------------------------------------------------------------


def test_a_huge_tensor_is_not_allocated(refused, beside):
    def lie(model):
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend([HUGE, HUGE])

    changed(beside, lie)
    assert "sizes" in refused()


@pytest.mark.parametrize("dims", [[-1, 6], [10, 7], [10, 6, 2], []])
def test_sizes_that_lie(dims, refused, beside):
    def lie(model):
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)

    changed(beside, lie)
    refused()


def test_missing_bytes(refused, beside):
    def cut(model):
        model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]

    changed(beside, cut)
    assert "bytes" in refused()


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.INT8, 99])
def test_entries_of_another_kind(kind, refused, beside):
    def lie(model):
        model.graph.initializer[0].data_type = kind

    changed(beside, lie)
    assert "a tensor of" in refused()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_not_finite(bad, refused, beside):
    weights = {"W": np.array([[1.0, bad], [0.0, 1.0]])}
    save(network([node("MatMul", "x W", "y")], {"x": ["N", 2]}, {"y": ["N", 2]}, weights), beside)
    said = refused(spec=SPEC.replace("real[6]", "real[2]"))
    assert "`W`" in said and "[0, 1]" in said


def test_a_weight_that_float32_cannot_hold(refused, beside):
    weights = {"W": np.array([[1e300, 0.0], [0.0, 1.0]])}
    model = network([node("MatMul", "x W", "y")], {"x": ["N", 2]}, {"y": ["N", 2]}, weights, "float64")
    save(model, beside)
    assert "not finite in float32" in refused(code="B213", spec=SPEC.replace("real[6]", "real[2]"))


def outside(folder, location, offset="0", length=None):
    """A network whose first weight lies in another file."""

    def move(model):
        tensor = model.graph.initializer[0]
        data = tensor.raw_data
        if location and "/" not in location:
            (folder / location).write_bytes(b"head" + data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        size = str(len(data)) if length is None else length
        for key, value in (("location", location), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=value)

    changed(folder, move)


def test_data_beside_the_network_are_read(beside, banach_command, write):
    outside(beside, "weights.bin", "4")
    assert banach_command("check", write(SPEC.replace("NAME", "net.onnx"))).code == 0


@pytest.mark.parametrize(
    ("location", "offset", "length"),
    [
        ("../weights.bin", "0", None),
        ("/etc/passwd", "0", None),
        ("", "0", None),
        ("a/../../weights.bin", "0", None),
        ("weights.bin", "5", None),
        ("weights.bin", "-1", None),
        ("weights.bin", "x", None),
        ("weights.bin", "4", "12"),
        ("weights.bin", str(HUGE), None),
        ("weights.bin\0", "0", None),
    ],
)
def test_data_that_may_not_be_read(location, offset, length, refused, beside, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"0" * 1000)
    if "\0" in location:
        outside(beside, "../none", offset, length)
    else:
        outside(beside, location, offset, length)
    refused()


def test_data_behind_a_link(refused, beside, tmp_path):
    outside(beside, "weights.bin", "4")
    (beside / "weights.bin").rename(tmp_path / "weights.bin")
    (beside / "weights.bin").symlink_to(tmp_path / "weights.bin")
    assert "outside" in refused()


# --- nodes --------------------------------------------------------------------------------------------------


def test_nodes_in_a_circle(refused, beside):
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b"), node("Identity", "b", "y")]
    save(network(nodes, {"x": [6]}, {"y": [6]}, check=False), beside)
    said = refused()
    assert "circle" in said and "`make.a`" in said and "opset 17" in said


def test_names_that_nothing_makes(refused, beside):
    save(network([node("Add", "x b", "y")], {"x": [6]}, {"y": [6]}, check=False), beside)
    assert "`b`, which nothing makes" in refused()
    save(network([node("Relu", "x", "z")], {"x": [6]}, {"y": [6]}, check=False), beside)
    assert "nothing makes its output `y`" in refused()


def test_a_name_that_is_made_twice(refused, beside):
    nodes = [node("Relu", "x", "y"), node("Tanh", "x", "y")]
    save(network(nodes, {"x": [6]}, {"y": [6]}, check=False), beside)
    assert "there already" in refused()


def test_an_operator_that_is_not_covered(refused, beside):
    save(network([node("NonZero", "x", "i"), node("Relu", "x", "y")], {"x": [6]}, {"y": [6]}), beside)
    said = refused(code="B213")
    assert "`make.i` (NonZero, opset 17)" in said and "F: onnx(file=net.onnx)" in said


def test_a_domain_that_is_not_known(refused, beside):
    own = helper.make_node("Fused", ["x"], ["y"], name="own", domain="com.example")
    model = network([own], {"x": [6]}, {"y": [6]}, check=False)
    save(model, beside)
    assert "which it does not import" in refused(code="B213")
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    save(model, beside)
    assert "domain `com.example`" in refused(code="B213")


def test_a_loop(refused, beside):
    body = helper.make_graph([], "body", [], [])
    loop = helper.make_node("Loop", ["", ""], ["y"], name="again", body=body)
    save(network([loop], {"x": [6]}, {"y": [6]}, check=False), beside)
    assert "`again` (Loop" in refused(code="B213")


@pytest.mark.parametrize(
    "made",
    [
        node("Relu", "x x", "y"),
        node("Add", "x", "y"),
        node("Gemm", "x", "y"),
        helper.make_node("Add", ["x", ""], ["y"]),
        node("Relu", "x", "y", alpha=1.0),
        node("Cast", "x", "y"),
        node("RMSNormalization", "x x", "y"),
    ],
)
def test_a_node_that_its_operator_does_not_know(made, refused, beside):
    save(network([made], {"x": [6]}, {"y": [6]}, check=False), beside)
    refused(code="B21")


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Expand", "x n", "y")], {"n": np.array([HUGE, 6])}),
        ([node("Tile", "x n", "y")], {"n": np.array([HUGE])}),
        ([node("ConstantOfShape", "n", "z"), node("Add", "x z", "y")], {"n": np.array([HUGE])}),
        ([node("Pad", "x n", "y", mode="edge")], {"n": np.array([HUGE, HUGE])}),
        ([node("Range", "a n b", "z"), node("Add", "x z", "y")],
         {"a": np.asarray(0), "n": np.asarray(HUGE), "b": np.asarray(1)}),
        ([node("Reshape", "x n", "u"), node("MaxPool", "u", "y", kernel_shape=[HUGE])],
         {"n": np.array([1, 1, 6])}),
        ([node("Reshape", "x n", "u"), node("AveragePool", "u", "y", kernel_shape=[2], pads=[HUGE, 0])],
         {"n": np.array([1, 1, 6])}),
        ([node("Reshape", "x n", "u"), node("Conv", "u k", "y", dilations=[HUGE])],
         {"n": np.array([1, 1, 6]), "k": np.ones((1, 1, 2))}),
        ([node("Reshape", "x n", "u"), node("Conv", "u k", "y", pads=[HUGE, HUGE])],
         {"n": np.array([1, 1, 6]), "k": np.ones((1, 1, 2))}),
        ([node("Split", "x", "y", num_outputs=HUGE)], {}),
        ([node("TopK", "x n", "y i")], {"n": np.array([HUGE])}),
        ([node("Gather", "x n", "y")], {"n": np.array([6])}),
        ([node("Gather", "x n", "y")], {"n": np.array([0, HUGE])}),
        ([node("Slice", "x a n", "u"), node("ReduceMax", "u", "y")],
         {"a": np.array([6]), "n": np.array([6])}),
        ([node("Reshape", "x n", "y")], {"n": np.array([-1, -1])}),
        ([node("Reshape", "x n", "y")], {"n": np.array([4, -1])}),
        ([node("Reshape", "x n", "y")], {"n": np.array([0, 0, 0])}),
        ([node("Transpose", "x", "y", perm=[0, 0])], {}),
        ([node("Concat", "x x", "y", axis=5)], {}),
        ([node("MatMul", "x n", "y")], {"n": np.ones((5, 5))}),
        ([node("Softmax", "x", "y", axis=7)], {}),
        ([node("Where", "x x x", "y")], {}),
        ([node("And", "x x", "y")], {}),
        ([node("Div", "n m", "z"), node("Cast", "z", "f", to=1), node("Add", "x f", "y")],
         {"n": np.array([1]), "m": np.array([0])}),
        ([node("Dropout", "x a t", "y")], {"a": np.asarray(0.5), "t": np.asarray(True)}),
        ([node("Unsqueeze", "x n", "y")], {"n": np.array([0, 0])}),
        ([node("CumSum", "x n", "y")], {"n": np.array([0.5])}),
        ([node("Celu", "x", "y", alpha=0.0)], {}),
        ([node("Elu", "x", "y", alpha=float("nan"))], {}),
    ],
    ids=lambda value: "-".join(n.op_type for n in value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_node_that_asks_for_too_much(nodes, weights, refused, beside):
    """Too large, outside, of the wrong kind: named, and nothing is allocated."""
    save(network(nodes, {"x": [6]}, {"y": ["?"]}, weights, opset=18, check=False), beside)
    said = refused(code="B21")
    assert "opset 18" in said


# --- how it is applied --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["real[5]", "real", "real[2, 3, 6]", "int[6]", "bool[6]"])
def test_an_argument_that_does_not_fit(shape, refused, beside):
    save(mlp(), beside)
    said = refused(code="B202", line=6, spec=SPEC.replace("real[6]", shape))
    assert "`x` is real[N, 6]" in said and "the network is read here" in said


def test_another_number_of_arguments(refused, beside):
    save(mlp(), beside)
    assert "takes 1 arguments" in refused(code="B202", line=6, spec=SPEC.replace("F(x)", '"F(x, x)"'))


def test_sizes_of_one_name_that_differ(refused, beside):
    save(network([node("Add", "x u", "y")], {"x": ["n"], "u": ["n"]}, {"y": ["n"]}), beside)
    said = refused(code="B202", line=6, spec=SPEC.replace("F(x)", '"F(x, x[0:1])"'))
    assert "n = 6" in said


def test_one_sample_of_what_mixes_samples(refused, beside):
    """An output without an axis of samples says nothing of one sample."""
    nodes = [node("Reshape", "x n", "y")]
    save(network(nodes, {"x": ["N", 6]}, {"y": [6]}, {"n": np.array([6])}), beside)
    assert "without an axis of 1" in refused(code="B202", line=6)


@pytest.mark.parametrize("kind", ["sequence", "shapeless"])
def test_an_input_that_is_no_tensor_of_known_rank(kind, refused, beside):
    model = network([node("Relu", "x", "y")], {"x": [6]}, {"y": [6]})
    model.graph.input[0].ClearField("type")
    if kind == "shapeless":
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    save(model, beside)
    refused()


def test_a_network_that_nobody_applies_is_read_all_the_same(refused, beside):
    (beside / "net.onnx").write_bytes(b"no network")
    refused(spec=SPEC.replace("F(x)", "x"))


def test_the_largest_tensor_is_bounded():
    assert tensors.LARGEST <= 1 << 26 and reading.LARGEST_FILE <= 1 << 28 and onnx.__version__
