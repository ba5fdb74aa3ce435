"""Activations that exporters spell out: x·σ(x), x·(1 + erf(x/√2))/2, x·tanh(softplus(x)).

A product of two values of the run has no bound, an activation has one. The constants of a file are rounded to
float32, so √2 is taken for what it is meant to be.
"""

import math

import numpy as np

from banach.backends.onnx.network.tracing import Thing, Trace, rank_of
from banach.ir.graph import Value

_NEAR = 1e-6
_DEEPEST = 8  # products within products


def product(trace: Trace, x: Thing, y: Thing) -> Thing:
    """x·y, as the activation that it spells."""
    scale, factors = 1.0, []
    for part in (x, y):
        own, values = _factors(trace, part, _DEEPEST)
        scale, factors = scale * own, [*factors, *values]
    plain = trace.op("multiply", x, y)
    if not isinstance(plain, Value):
        return plain
    found = factors[0] if len(factors) == 1 and scale == 1 else None
    for a, b in (factors, factors[::-1]) if len(factors) == 2 else ():
        if found is None and (gate := _gate(trace, a, b)) is not None:
            name, twice = gate
            found, scale = trace.op(name, a), scale * twice
    if not isinstance(found, Value) or found.type != plain.type:
        return plain
    return found if scale == 1 else trace.op("multiply", scale, found)


def _factors(trace: Trace, thing: Thing, depth: int) -> tuple[float, list[Thing]]:
    """A number, and the values that it multiplies."""
    if isinstance(thing, np.ndarray) and thing.dtype.kind == "f" and thing.size == 1:
        return float(thing.reshape(())), []
    name, operands = trace.origin(thing)
    if not depth or name not in ("multiply", "divide"):
        return 1.0, [thing]
    (scale, first), (other, second) = (_factors(trace, part, depth - 1) for part in operands)
    if name == "multiply":
        return scale * other, [*first, *second]
    return (scale / other, first) if other and not second else (1.0, [thing])


def _gate(trace: Trace, x: Thing, y: Thing) -> tuple[str, float] | None:
    """The activation that is x times y, where y is a function of x, and by what it is to be multiplied."""
    name, operands = trace.origin(y)
    if name == "sigmoid" and operands[0] is x:
        return "silu", 1.0
    if name == "tanh":
        inner, argument = trace.origin(operands[0])
        return ("mish", 1.0) if inner == "softplus" and argument[0] is x else None
    if name == "add":
        for curve, one in (operands, operands[::-1]):
            inner, argument = trace.origin(curve)
            if inner == "erf" and _factors(trace, one, 0) == (1.0, []):
                scale, values = _factors(trace, argument[0], _DEEPEST)
                near = abs(scale - math.sqrt(0.5)) <= _NEAR and rank_of(one) <= rank_of(x)
                if near and len(values) == 1 and values[0] is x:
                    return "gelu", 2.0
    return None
