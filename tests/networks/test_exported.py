"""Networks that torch exports, against torch; and activations that exporters spell out."""

import warnings

import numpy as np
import pytest
import torch
from networks import network, node, reference, save, spec
from torch import nn

import banach
from banach.compiler.elaboration import nested
from banach.compiler.elaboration.analysis import constants
from banach.ir.tensor_type import TensorType


class Residual(nn.Module):
    """Attention over patches, with what its export needs of shapes."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        z, heads = self.norm(x), (x.shape[0], -1, 2, 3)
        q, k, v = (part(z).view(heads).transpose(1, 2) for part in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(-1, -2) / 3**0.5, dim=-1)
        return x + (weights @ v).transpose(1, 2).reshape(x.shape)


def conv(inward, outward, **options):
    return nn.Conv2d(inward, outward, 3, **{"padding": 1, **options})


FLAT, SMALL, LARGE = (6,), (1, 6, 6), (1, 8, 8)
MADE = {
    "dense": (lambda: [nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6), nn.Tanh()], FLAT),
    "gelu": (lambda: [nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 6)], FLAT),
    "silu": (lambda: [nn.Linear(6, 9), nn.SiLU(), nn.Linear(9, 6)], FLAT),
    "mish": (lambda: [nn.Linear(6, 9), nn.Mish(), nn.Linear(9, 6)], FLAT),
    "gelu by tanh": (lambda: [nn.Linear(6, 9), nn.GELU("tanh"), nn.Linear(9, 6)], FLAT),
    "prelu": (lambda: [conv(1, 3), nn.PReLU(3), conv(3, 1)], SMALL),
    "convolution": (lambda: [conv(1, 4), nn.BatchNorm2d(4), nn.ELU(), conv(4, 1)], SMALL),
    "u-net": (
        lambda: [
            conv(1, 4, padding_mode="circular"),
            nn.AvgPool2d(2),
            conv(4, 4, padding=2, dilation=2, groups=2),
            nn.GroupNorm(2, 4),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(4, 1, 2, stride=2),
        ],
        LARGE,
    ),
    "shuffle": (lambda: [nn.PixelUnshuffle(2), conv(4, 4), nn.PixelShuffle(2), nn.Hardswish()], SMALL),
    "patches": (lambda: [nn.ReflectionPad2d(1), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(36, 5)], SMALL),
    "attention": (lambda: [Residual()], (4, 6)),
}


@pytest.mark.parametrize("name", MADE)
def test_it_means_what_torch_means(name, tmp_path):
    make, shape = MADE[name]
    torch.manual_seed(0)
    module = nn.Sequential(*make()).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    x = torch.randn(2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            str(tmp_path / "net.onnx"),
            opset_version=18,
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "N"}},
        )
    with torch.no_grad():
        wanted = module(x).numpy()
    model = banach.loads(
        spec("sizes: {batch: any}", f"real[batch, {', '.join(map(str, shape))}]", "float32"), folder=tmp_path
    )
    for backend in ("oracle", "onnx", "fx"):
        found = model.compile(to=backend).run(x=x.numpy())["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=backend)


# --- activations spelt out ----------------------------------------------------------------------------------

NUMBERS = {"root": 2**0.5, "one": 1.0, "half": 0.5, "inverse": 0.5**0.5}
ROOT = {name: np.asarray(number) for name, number in NUMBERS.items()}
SPELT = {
    "gelu": [node("Div", "x root", "u"), node("Erf", "u", "e"), node("Add", "e one", "p"),
             node("Mul", "x p", "q"), node("Mul", "q half", "y")],
    "gelu, its half first": [node("Mul", "x half", "h"), node("Mul", "x inverse", "u"), node("Erf", "u", "e"),
                             node("Add", "one e", "p"), node("Mul", "p h", "y")],
    "silu": [node("Sigmoid", "x", "s"), node("Mul", "s x", "y")],
    "mish": [node("Softplus", "x", "s"), node("Tanh", "s", "t"), node("Mul", "x t", "y")],
}  # fmt: skip
OTHERS = {
    "another root": [node("Div", "x half", "u"), node("Erf", "u", "e"), node("Add", "e one", "p"),
                     node("Mul", "x p", "q"), node("Mul", "q half", "y")],
    "another one": [node("Div", "x root", "u"), node("Erf", "u", "e"), node("Add", "e half", "p"),
                    node("Mul", "x p", "q"), node("Mul", "q half", "y")],
    "another x": [node("Neg", "x", "z"), node("Sigmoid", "z", "s"), node("Mul", "s x", "y")],
    "a square": [node("Mul", "x x", "y")],
}  # fmt: skip


def bound(nodes, folder):
    save(network(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, ROOT, "float64"), folder)
    model = banach.loads(spec("", "real[3]", "float64"), folder=folder)
    map = model.elaborated.names.find("F")
    context = nested.context(model.elaborated.scope, folder).about(TensorType("float64", (3,)))
    return model, constants.lipschitz(map, context, map.place).interval.to_floats()[1]


@pytest.mark.parametrize("name", [*SPELT, *OTHERS])
def test_it_means_what_it_spells(name, tmp_path):
    nodes = (SPELT | OTHERS)[name]
    model, most = bound(nodes, tmp_path)
    x = np.linspace(-5, 5, 3003).reshape(-1, 3)
    wanted = reference(network(nodes, {"x": ["N", 3]}, {"y": ["N", 3]}, ROOT, "float64"), x)[0]
    found = np.array([model.compile(to="oracle").run(x=row)["y"] for row in x[::25]])
    np.testing.assert_allclose(found, wanted[::25], rtol=1e-5, atol=1e-6)  # ONNX's evaluator: erf in float32
    slopes = np.abs(np.diff(wanted.reshape(-1)) / np.diff(x.reshape(-1)))
    assert slopes.max() <= most * (1 + 1e-3)
    if name in SPELT:
        assert most <= 1.02 * slopes.max()
    else:
        assert most == np.inf
