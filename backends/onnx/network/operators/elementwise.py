"""Functions of one number, applied to every entry: activations and what they are made of."""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import Thing, Trace, is_real, known, rank_of
from banach.ir.primitives.activation import SELU_ALPHA, SELU_SCALE

Rule = Callable[..., Thing | tuple[Thing, ...]]


def _plain(primitive: str) -> Rule:
    """An operator that is a primitive, and has no attributes."""
    return partial(_apply, primitive)


def _apply(primitive: str, trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op(primitive, x)


def _identity(trace: Trace, node: Node, x: Thing) -> Thing:
    return x


def _dropout(trace: Trace, node: Node, x: Thing, ratio: Thing | None = None, training: Thing | None = None):
    """Between training and use it is the identity."""
    if training is not None and np.any(known(training, "training mode")):
        raise Uncovered("it is in training mode; export the network for inference")
    return x


def _ceil(trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op("negate", trace.op("floor", trace.op("negate", x)))


def _reciprocal(trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op("divide", 1.0, x)


def _elu(trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op("elu", x, alpha=float(node.get("alpha", 1.0)))


def _celu(trace: Trace, node: Node, x: Thing) -> Thing:
    """α·elu(x/α): above 0 it is x, below it α·(e^(x/α) - 1)."""
    alpha = float(node.get("alpha", 1.0))
    if not alpha > 0:
        raise Uncovered(f"`alpha` is {alpha}, not positive")
    return trace.op("multiply", alpha, trace.op("elu", trace.op("divide", x, alpha), alpha=1.0))


def _selu(trace: Trace, node: Node, x: Thing) -> Thing:
    alpha, gamma = float(node.get("alpha", SELU_ALPHA)), float(node.get("gamma", SELU_SCALE))
    if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and math.isclose(gamma, SELU_SCALE, rel_tol=1e-6):
        return trace.op("selu", x)
    return trace.op("multiply", gamma, trace.op("elu", x, alpha=alpha))


def _leaky_relu(trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op("leaky_relu", x, leak=float(node.get("alpha", 0.01)))


def _prelu(trace: Trace, node: Node, x: Thing, slope: Thing) -> Thing:
    """One slope for all is a leaky relu; else x is taken apart: relu(x) - slope·relu(-x)."""
    if isinstance(slope, np.ndarray) and slope.size == 1 and slope.ndim <= rank_of(x):
        return trace.op("leaky_relu", x, leak=float(slope.reshape(())))
    below = trace.op("relu", trace.op("negate", x))
    return trace.op("subtract", trace.op("relu", x), trace.op("multiply", slope, below))


def _thresholded_relu(trace: Trace, node: Node, x: Thing) -> Thing:
    above = trace.op("less", float(node.get("alpha", 1.0)), x)
    return trace.op("select", above, x, 0.0)


def _hard_sigmoid(trace: Trace, node: Node, x: Thing) -> Thing:
    return _ramp(trace, x, float(node.get("alpha", 0.2)), float(node.get("beta", 0.5)))


def _hard_swish(trace: Trace, node: Node, x: Thing) -> Thing:
    return trace.op("multiply", x, _ramp(trace, x, 1 / 6, 0.5))


def _ramp(trace: Trace, x: Thing, slope: float, height: float) -> Thing:
    line = trace.op("add", trace.op("multiply", slope, x), height)
    return trace.op("clip", line, low=0.0, high=1.0)


def _gelu(trace: Trace, node: Node, x: Thing) -> Thing:
    if node.get("approximate", "none") == "none":
        return trace.op("gelu", x)
    node.only(approximate="tanh")
    # x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
    cube = trace.op("multiply", x, trace.op("square", x))
    inner = trace.op("add", x, trace.op("multiply", 0.044715, cube))
    gate = trace.op("tanh", trace.op("multiply", math.sqrt(2 / math.pi), inner))
    return trace.op("multiply", trace.op("multiply", 0.5, x), trace.op("add", 1.0, gate))


def _shrink(trace: Trace, node: Node, x: Thing) -> Thing:
    """Soft thresholding, where bias and threshold are one number."""
    far, bias = float(node.get("lambd", 0.5)), float(node.get("bias", 0.0))
    if far == bias and far >= 0:
        return trace.op("soft_threshold", x, far)
    above = trace.op("select", trace.op("less", far, x), trace.op("subtract", x, bias), 0.0)
    return trace.op("select", trace.op("less", x, -far), trace.op("add", x, bias), above)


def _clip(trace: Trace, node: Node, x: Thing, low: Thing | None = None, high: Thing | None = None) -> Thing:
    """A projection on a box where the bounds are two known numbers."""
    if is_real(x) and all(t is None or (isinstance(t, np.ndarray) and t.size == 1) for t in (low, high)):
        least = -math.inf if low is None else float(low.reshape(()))  # type: ignore[union-attr]
        most = math.inf if high is None else float(high.reshape(()))  # type: ignore[union-attr]
        # ONNX says that the upper bound wins where they cross.
        return trace.op("clip", x, low=min(least, most), high=most)
    y = x if low is None else trace.op("maximum", x, low)
    return y if high is None else trace.op("minimum", y, high)


RULES: Mapping[str, Rule] = {
    "Abs": _plain("abs"),
    "Atan": _plain("arctan"),
    "Ceil": _ceil,
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _plain("cos"),
    "Cosh": _plain("cosh"),
    "Dropout": _dropout,
    "Elu": _elu,
    "Erf": _plain("erf"),
    "Exp": _plain("exp"),
    "Floor": _plain("floor"),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "Log": _plain("log"),
    "Mish": _plain("mish"),
    "Neg": _plain("negate"),
    "Not": _plain("not"),
    "PRelu": _prelu,
    "Reciprocal": _reciprocal,
    "Relu": _plain("relu"),
    "Round": _plain("round"),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _plain("sigmoid"),
    "Sign": _plain("sign"),
    "Sin": _plain("sin"),
    "Sinh": _plain("sinh"),
    "Softplus": _plain("softplus"),
    "Softsign": _plain("softsign"),
    "Sqrt": _plain("sqrt"),
    "Tanh": _plain("tanh"),
    "ThresholdedRelu": _thresholded_relu,
}
