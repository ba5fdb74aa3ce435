"""The torch.fx backend on plain operations: values against the oracle, gradients against our reverse."""

import json

import numpy as np
import pytest
import torch

from banach.backends.fx.lower import lower
from banach.backends.fx.run import artifact, code
from banach.ir.diagnostic import RunError, SpecError
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES, Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.shelf import pages
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

SAMPLES = [
    pytest.param(name, sample, id=f"{name}-{i}")
    for name, page in pages(PRIMITIVES).items()
    for i, sample in enumerate(page.samples())
]
ELEMENTWISE = [
    name
    for name, page in pages(PRIMITIVES).items()
    if type(page).__module__.endswith("primitives.elementwise")
]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "less_equal", "equal"]
EXTREMES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, -1e-300, 750.0, -750.0, 21.0, 1e300, -1e300])


def one_operation(name, sample, dtype):
    """A graph of one operation, and its arguments with floats in the given dtype."""
    build = Builder(f"one_{name}")
    arrays = [np.asarray(x) for x in sample.operands]
    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]
    inputs = [build.input(f"x.{i}", TensorType(str(x.dtype), x.shape)) for i, x in enumerate(arrays)]
    return build.finish({"y": build.op(name, *inputs, **sample.attributes)}), arrays


def tensors(arrays):
    return [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]


def same(actual, expected, tolerance=1e-12):
    assert (str(actual.dtype), actual.shape) == (str(expected.dtype), expected.shape)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_every_primitive_means_what_the_oracle_means(name, sample, dtype):
    graph, arrays = one_operation(name, sample, dtype)
    (found,) = lower(graph)(*map(torch.tensor, arrays))
    same(found.numpy(), evaluate(graph, arrays)[0], 1e-12 if dtype == "float64" else 2e-5)


def differentiable(name, sample):
    """Whether an operation takes a real number to another."""
    graph, _ = one_operation(name, sample, "float64")
    return graph.output_types[0].is_float and any(port.type.is_float for port in graph.inputs)


@pytest.mark.parametrize(("name", "sample"), [case for case in SAMPLES if differentiable(*case.values)])
def test_torch_and_our_reverse_agree_on_every_primitive(name, sample):
    graph, arrays = one_operation(name, sample, "float64")
    seed = np.random.default_rng(3).standard_normal(graph.output_types[0].shape)
    expected = evaluate(reverse(graph), [*arrays, seed])
    given = tensors(arrays)
    (found,) = lower(graph)(*given)
    if found.requires_grad:
        found.backward(torch.tensor(seed).to(found.dtype))
    wanted = [x for x in given if x.requires_grad]
    for x, dx in zip(wanted, expected, strict=True):
        same((torch.zeros_like(x) if x.grad is None else x.grad).numpy(), dx, 1e-10)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_extreme_numbers(name):
    build = Builder("extreme")
    graph = build.finish({"y": build.op(name, build.input("x", TensorType("float64", EXTREMES.shape)))})
    with np.errstate(all="ignore"):
        expected = evaluate(graph, [EXTREMES])[0]
    found = lower(graph)(torch.tensor(EXTREMES))[0].numpy()
    if name in ("sin", "cos"):  # libraries reduce huge arguments differently
        found, expected = found[:-2], expected[:-2]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("number", [0.0, 2.5, np.inf, np.nan])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_number_in_the_code_is_the_constant(name, number, flipped, dtype):
    build = Builder("number")
    x, c = build.input("x", TensorType(dtype, (8,))), build.constant(np.asarray(number, dtype))
    graph = build.finish({"y": build.op(name, *([c, x] if flipped else [x, c]))})
    data = np.concatenate([EXTREMES[:5], [2.5, -1.0, 3.0]]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = evaluate(graph, [data])[0]
    same(lower(graph)(torch.tensor(data))[0].numpy(), expected)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_with_a_number_goes_to_the_first_operand(name):
    build = Builder("tie")
    x = build.input("x", TensorType("float64", (2,)))
    graph = build.finish({"y": build.op(name, x, build.scalar(1.0, "float64"))})
    data = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    lower(graph)(data)[0].sum().backward()
    same(data.grad.numpy(), evaluate(reverse(graph), [data.detach().numpy(), np.ones(2)])[0])


@pytest.mark.parametrize("name", ["sum", "reduce_max", "norm"])
def test_a_reduction_over_no_axes(name):
    build = Builder("none")
    graph = build.finish({"y": build.op(name, build.input("x", TensorType("float64", (3,))), axes=())})
    data = np.array([1.0, -2.0, 3.0])
    same(lower(graph)(torch.tensor(data))[0].numpy(), evaluate(graph, [data])[0])


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum"])
def test_integers_stay_integers(name, dtype):
    build = Builder("integers")
    x, y = (build.input(n, TensorType(dtype, (4,))) for n in "xy")
    graph = build.finish({"z": build.op("sum", build.op(name, x, y), axes=(-1,))})
    data = [np.array([7, -7, 9, 0], dtype), np.array([2, 2, -4, 3], dtype)]
    same(lower(graph)(*map(torch.tensor, data))[0].numpy(), evaluate(graph, data)[0])


def sized() -> Graph:
    """Uses every kind of size: bare, sums, products, quotients."""
    n, m = named("n"), named("m")
    build = Builder("sized")
    x, y = build.input("x", TensorType("float64", (n, m))), build.input("y", TensorType("float64", (n * 2,)))
    flat = build.op("reshape", x, shape=(n * m,))
    doubled = build.op("concatenate", flat, y, axis=-1)
    half = build.op("slice", doubled, axis=-1, start=0, stop=(n * m + 1) // 2)
    padded = build.op("pad", half, axis=-1, before=n, after=0)
    places = build.op("count", size=n * m + 2 * n, dtype="float64")
    mean = build.op("sum", doubled * places, axes=(-1,)) / build.op("extent", size=n * n + m, dtype="float64")
    return build.finish({"padded": padded, "mean": mean})


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (4, 2)])
def test_named_sizes_are_read_from_the_inputs(n, m):
    arrays = [np.random.default_rng(0).standard_normal(shape) for shape in ((n, m), (2 * n,))]
    module = lower(sized())
    for found, expected in zip(module(*map(torch.tensor, arrays)), evaluate(sized(), arrays), strict=True):
        same(found.numpy(), expected)


def test_a_size_that_no_input_shows():
    build = Builder("unshown")
    x = build.input("x", TensorType("float64", (named("n") * 2,)))
    graph = build.finish({"y": build.op("reshape", x, shape=(named("n"), 2))})
    with pytest.raises(SpecError, match="B603 no input shows the size `n`"):
        lower(graph)
    assert lower(graph, sizes={"n": 3})(torch.zeros(6))[0].shape == (3, 2)


def layer() -> Graph:
    """relu(W x + b) · 0.5, where W, b and the factor have defaults."""
    build = Builder("layer")
    x = build.input("x", TensorType("float64", (named("batch"), 3)))
    weight = build.input("net.W", TensorType("float64", (2, 3)), Tensor(np.arange(6.0).reshape(2, 3) - 2))
    bias = build.input("net.b", TensorType("float64", (2,)), Tensor(np.array([0.5, -0.5])))
    return build.finish({"y": 0.5 * build.op("relu", build.op("matvec", weight, x) + bias)})


def test_the_code_can_be_read():
    text = lower(layer(), trainable={"net.W": None, "net.b": np.ones(2)}).code
    assert "def forward(self, x):" in text
    assert "net_W = self.net_W" in text
    assert "linear(x, net_W)" in text
    assert "y = relu * 0.5" in text


def test_weights_are_the_parameters_and_the_rest_is_not():
    module = lower(layer(), trainable={"net.W": None})
    assert [name for name, _ in module.named_parameters()] == ["net_W"]
    x = torch.ones(4, 3, dtype=torch.float64)
    module(x)[0].sum().backward()
    assert module.net_W.grad.shape == (2, 3)
    with torch.no_grad():
        module.net_W.zero_()
    same(module(x, torch.ones(2, dtype=torch.float64))[0].detach().numpy(), np.full((4, 2), 0.5))


@pytest.mark.parametrize("name", ["net.V", "x"])
def test_a_weight_that_is_not_there(name):
    with pytest.raises(SpecError, match="B604"):
        lower(layer(), trainable={name: None})


def test_an_operation_without_meaning_is_refused(monkeypatch):
    monkeypatch.setattr(type(pages(PRIMITIVES)["tanh"]), "lowerings", {"onnx": "Tanh"})
    build = Builder("odd")
    graph = build.finish({"y": build.op("tanh", build.input("x", TensorType("float64")))})
    with pytest.raises(SpecError, match="B602 the operation `tanh`"):
        lower(graph)


def test_a_gradient_stops_where_it_is_told():
    build = Builder("stop")
    x = build.input("x", TensorType("float64"))
    module = lower(build.finish({"y": x * build.op("stop_gradient", x)}))
    given = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    module(given)[0].backward()
    assert given.grad == 3.0


def test_the_dtype_follows_to():
    module = lower(sized()).to(torch.float32)
    arrays = [np.ones((2, 3), np.float32), np.ones(4, np.float32)]
    assert [y.dtype for y in module(*map(torch.tensor, arrays))] == [torch.float32] * 2
    assert "torch.float64" not in module.code
    back = module.to(torch.float64)
    assert back(*(torch.tensor(x).double() for x in arrays))[1].dtype == torch.float64


def test_the_device_follows_to():
    module = lower(sized()).to("meta")
    given = [torch.empty(2, 3, device="meta"), torch.empty(4, device="meta")]
    assert [y.device.type for y in module(*given)] == ["meta", "meta"]


@pytest.mark.parametrize("dynamic", [None, True])
def test_torch_compile_sees_one_graph(dynamic):
    compiled = torch.compile(lower(sized()), backend="eager", fullgraph=True, dynamic=dynamic)
    arrays = [np.random.default_rng(1).standard_normal(shape) for shape in ((2, 3), (4,))]
    for found, expected in zip(compiled(*map(torch.tensor, arrays)), evaluate(sized(), arrays), strict=True):
        same(found.numpy(), expected)


def test_torch_export_keeps_the_batch_symbolic():
    module = lower(layer(), trainable={"net.W": None, "net.b": None})
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(module, (torch.ones(2, 3, dtype=torch.float64),), dynamic_shapes=shapes)
    x = torch.randn(7, 3, dtype=torch.float64)
    same(program.module()(x)[0].detach().numpy(), module(x)[0].detach().numpy())


def test_an_artifact_takes_and_gives_numpy():
    model = artifact(layer(), trainable={"net.W": None})
    x = np.random.default_rng(0).standard_normal((5, 3))
    weight, bias = (port.default.array for port in layer().inputs[1:])
    same(model.run({"x": x})["y"], evaluate(layer(), [x, weight, bias])[0])


def test_bfloat16_goes_in_and_out():
    build = Builder("half")
    graph = build.finish({"y": build.input("x", TensorType("bfloat16", (3,))) * 2.0})
    model = artifact(graph)
    found = model.run({"x": np.array([1.0, 2.5, -3.0], dtype="bfloat16")})["y"]
    assert found.dtype.name == "bfloat16"
    assert found.astype(float).tolist() == [2.0, 5.0, -6.0]


def test_a_model_is_saved_and_its_weights_restored(tmp_path):
    model = artifact(layer(), trainable={"net.W": None})
    model.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "code.py",
        "model.json",
        "weights.safetensors",
    ]
    first = (tmp_path / "model" / "weights.safetensors").read_bytes()
    model.save(tmp_path / "model")
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == first
    described = json.loads((tmp_path / "model" / "model.json").read_text())
    assert [port["name"] for port in described["inputs"]] == ["x", "net.b"]
    assert (tmp_path / "model" / "code.py").read_text() == code(model.module)
    other = artifact(layer(), trainable={"net.W": np.zeros((2, 3))})
    other.restore(tmp_path / "model")
    x = np.ones((1, 3))
    same(other.run({"x": x})["y"], model.run({"x": x})["y"])
    with pytest.raises(RunError, match="B606"):
        artifact(sized()).restore(tmp_path / "model")


def test_without_torch_the_message_says_what_to_install(monkeypatch):
    import sys

    for name in [
        name for name in sys.modules if name.startswith("banach.backends.fx.") and not name.endswith("run")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RunError, match="B601") as caught:
        artifact(layer())
    assert caught.value.diagnostic.fix == 'pip install "banach[torch]"'
