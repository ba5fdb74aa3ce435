"""Operations on two or more tensors, entry by entry: arithmetic, comparisons, choices."""

from collections.abc import Mapping
from functools import partial, reduce

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.spelt import product
from banach.backends.onnx.network.tracing import Thing, Trace, is_real

_LARGEST_POWER = 8  # up to here a power is a product, which takes negative numbers too


def _fold(primitive: str) -> Rule:
    """An operator on two operands, or any number of them, that is a primitive on two."""
    return partial(_folded, primitive)


def _folded(primitive: str, trace: Trace, node: Node, *things: Thing) -> Thing:
    return reduce(lambda x, y: trace.op(primitive, x, y), things)


def _flipped(primitive: str) -> Rule:
    """a > b is b < a."""
    return partial(_turned, primitive)


def _turned(primitive: str, trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    return trace.op(primitive, y, x)


def _mean(trace: Trace, node: Node, *things: Thing) -> Thing:
    return trace.op("multiply", 1 / len(things), _folded("add", trace, node, *things))


def _multiply(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    return product(trace, x, y) if is_real(x) else trace.op("multiply", x, y)


def _divide(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    if is_real(x):
        return trace.op("divide", x, y)
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        raise Uncovered("it divides whole numbers that are known only when the model runs")
    if x.dtype == object or y.dtype == object:
        return x // y  # sizes are not negative
    if not np.all(y):
        raise Uncovered("it divides by zero")
    quotient = np.abs(x) // np.abs(y)  # towards zero
    return quotient * np.sign(x) * np.sign(y)


def _modulo(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    node.only(fmod=0)
    if is_real(x):
        raise Uncovered("it takes the remainder of reals")
    return trace.op("modulo", x, y)


def _power(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    """By products and roots where the exponent is one known number: they take negative numbers too."""
    if not is_real(x):
        raise Uncovered("it takes a power of whole numbers")
    y = trace.cast(y, "float")
    if not (isinstance(y, np.ndarray) and y.size == 1):
        return trace.op("power", x, y)
    exponent = float(y.reshape(()))
    if exponent == 0.5:
        return trace.op("sqrt", x)
    if exponent == -0.5:
        return trace.op("divide", 1.0, trace.op("sqrt", x))
    if not exponent.is_integer() or not 1 <= abs(exponent) <= _LARGEST_POWER:
        return trace.op("power", x, exponent)
    count = int(abs(exponent))
    power = _product(trace, x, count)
    return power if exponent > 0 else trace.op("divide", 1.0, power)


def _product(trace: Trace, x: Thing, count: int) -> Thing:
    """x to a whole power from 1 on."""
    if count == 1:
        return x
    half = trace.op("square", _product(trace, x, count // 2))
    return half if count % 2 == 0 else trace.op("multiply", half, x)


def _xor(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    return trace.op("not", trace.op("equal", x, y))


def _where(trace: Trace, node: Node, chosen: Thing, x: Thing, y: Thing) -> Thing:
    if isinstance(chosen, np.ndarray) and isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return np.where(chosen, x, y)  # of shapes too: exporters put a size where there is -1
    return trace.op("select", chosen, x, y)


def _equal(trace: Trace, node: Node, x: Thing, y: Thing) -> Thing:
    if not any(isinstance(thing, np.ndarray) and thing.dtype == object for thing in (x, y)):
        return trace.op("equal", x, y)
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        raise Uncovered("it compares a size with a number that is known only when the model runs")
    pairs = np.broadcast(x, y)
    found = [trace.build.contract.holds(a, "==", b) for a, b in pairs]
    if None in found:
        raise Uncovered("it asks whether two sizes are equal that are known only when the model runs")
    return np.asarray(found, bool).reshape(pairs.shape)


RULES: Mapping[str, Rule] = {
    "Add": _fold("add"),
    "And": _fold("and"),
    "Div": _divide,
    "Equal": _equal,
    "Greater": _flipped("less"),
    "GreaterOrEqual": _flipped("less_equal"),
    "Less": _fold("less"),
    "LessOrEqual": _fold("less_equal"),
    "Max": _fold("maximum"),
    "Mean": _mean,
    "Min": _fold("minimum"),
    "Mod": _modulo,
    "Mul": _multiply,
    "Or": _fold("or"),
    "Pow": _power,
    "Sub": _fold("subtract"),
    "Sum": _fold("add"),
    "Where": _where,
    "Xor": _xor,
}
