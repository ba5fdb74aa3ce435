"""Networks that the tests make, and what other programs make of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import scipy.special
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
Port = tuple[str, Sequence[Any]]


def network(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any] | None],
    weights: Mapping[str, np.ndarray] = {},
    dtype: str = "float32",
    opset: int = 17,
    check: bool = True,
) -> onnx.ModelProto:
    """A model of the given nodes; real weights are stored in `dtype`."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(n, ELEMENTS[dtype], shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, ELEMENTS[dtype], shape) for n, shape in outputs.items()],
        [
            numpy_helper.from_array(w.astype(dtype) if w.dtype.kind == "f" else w, name)
            for name, w in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    if check:
        onnx.checker.check_model(model)
    return model


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node that is called by its first output."""
    made = outputs.split()
    return helper.make_node(operator, inputs.split(), made, name=f"make.{made[0]}", **attributes)


def scaled(matrix: np.ndarray, norm: float) -> np.ndarray:
    """The matrix with this spectral norm."""
    return matrix * (norm / np.linalg.norm(matrix, 2))


def mlp(dtype: str = "float32", n: int = 6, norm: float = 0.9, batch: Any = "N") -> onnx.ModelProto:
    """tanh and relu layers, whose weights have the given norm."""
    random = np.random.default_rng(0)
    nodes = [
        node("Gemm", "x W1 b1", "a", transB=1),
        node("Tanh", "a", "h"),
        node("MatMul", "h W2", "c"),
        node("Add", "c b2", "d"),
        node("Relu", "d", "e"),
        node("Gemm", "e W3", "y", transB=1, alpha=0.5),
    ]
    weights = {
        "W1": scaled(random.standard_normal((10, n)), norm),
        "b1": random.standard_normal(10),
        "W2": scaled(random.standard_normal((10, 8)), norm),
        "b2": random.standard_normal(8),
        "W3": scaled(random.standard_normal((n, 8)), 2 * norm),
    }
    return network(nodes, {"x": [batch, n]}, {"y": [batch, n]}, weights, dtype)


def denoiser(dtype: str = "float32", size: int = 8, part: float = 0.25) -> onnx.ModelProto:
    """x - part·(two convolutions with a batch norm and a leaky relu between them)."""
    random = np.random.default_rng(1)
    nodes = [
        node("Conv", "x K1 b1", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a s t m v", "c"),
        node("LeakyRelu", "c", "d", alpha=0.1),
        node("Conv", "d K2", "e", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        node("Mul", "e part", "f"),
        node("Sub", "x f", "y"),
    ]
    weights = {
        "K1": 0.1 * random.standard_normal((4, 1, 3, 3)),
        "b1": random.standard_normal(4),
        "K2": 0.1 * random.standard_normal((1, 4, 3, 3)),
        "s": random.uniform(0.5, 1, 4),
        "t": random.standard_normal(4),
        "m": random.standard_normal(4),
        "v": random.uniform(0.5, 2, 4),
        "part": np.asarray(part),
    }
    shape = ["N", 1, size, size]
    return network(nodes, {"x": shape}, {"y": shape}, weights, dtype)


def block(dtype: str = "float32", n: int = 8) -> onnx.ModelProto:
    """A transformer's feed-forward block: layer norm, gelu by erf as exporters write it, a residual."""
    random = np.random.default_rng(2)
    nodes = [
        node("LayerNormalization", "x g b", "z", epsilon=1e-3),
        node("MatMul", "z W1", "h"),
        node("Div", "h root", "u"),
        node("Erf", "u", "w"),
        node("Add", "w one", "p"),
        node("Mul", "h p", "q"),
        node("Mul", "q half", "r"),
        node("MatMul", "r W2", "s"),
        node("Add", "x s", "y"),
    ]
    weights = {
        "g": random.uniform(0.5, 1.5, n),
        "b": random.standard_normal(n),
        "W1": random.standard_normal((n, 2 * n)) / n,
        "W2": random.standard_normal((2 * n, n)) / n,
        "root": np.asarray(2**0.5),
        "one": np.asarray(1.0),
        "half": np.asarray(0.5),
    }
    shape = ["N", 3, n]
    return network(nodes, {"x": shape}, {"y": shape}, weights, dtype)


def reference(model: onnx.ModelProto, *arguments: np.ndarray) -> list[np.ndarray]:
    """What ONNX's own evaluator makes of it."""
    feed = {port.name: a for port, a in zip(model.graph.input, arguments)}
    return ReferenceEvaluator(model).run(None, feed)


def block_by_hand(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """`block` in numpy: ONNX's evaluator standardises in float32."""
    w = {t.name: numpy_helper.to_array(t).astype(x.dtype) for t in model.graph.initializer}
    centred = x - x.mean(axis=-1, keepdims=True)
    z = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-3))
    h = (z * w["g"] + w["b"]) @ w["W1"]
    return x + h * (1 + scipy.special.erf(h / 2**0.5)) / 2 @ w["W2"]


def runtime(model: onnx.ModelProto, *arguments: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime makes of it."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {port.name: a for port, a in zip(session.get_inputs(), arguments)}
    return session.run(None, feed)


def save(model: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    """Writes it; byte for byte the same each time."""
    path = folder / name
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def spec(network_type: str, shape: str, precision: str, file: str = "net.onnx") -> str:
    """A spec that applies a network to its input."""
    return f"""\
banach: 1
name: applied
precision: {precision}
{network_type}
inputs: {{x: "{shape}"}}
operators:
  F: onnx(file={file})
outputs: {{y: F(x)}}
"""
