"""Optimisers as lenses on state and parameters: forwards the parameters to use, back the new state and ones.

State comes first. All are for parameters of given types, which are floats.
"""

from collections.abc import Callable, Sequence

import numpy as np

from banach.ir.graph import Builder, Value
from banach.ir.lens import Lens
from banach.ir.tensor_type import TensorType, numpy_dtype

Types = Sequence[TensorType]
Update = Callable[[Sequence[Value], Value, Value], tuple[Sequence[Value], Value]]


def sgd(types: Types, rate: float) -> Lens:
    """p' = p - rate · dp; no state."""
    return _optimiser("sgd", types, 0, lambda state, p, dp: ((), p - rate * dp))


def momentum(types: Types, rate: float, decay: float) -> Lens:
    """s' = decay · s + dp, p' = p - rate · s' (Polyak 1964); the state is one s for each parameter."""

    def update(state: Sequence[Value], p: Value, dp: Value) -> tuple[Sequence[Value], Value]:
        moved = decay * state[0] + dp
        return (moved,), p - rate * moved

    return _optimiser("momentum", types, 1, update)


def adam(
    types: Types, rate: float, decays: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
) -> Lens:
    """Kingma and Ba 2015, algorithm 1; the state is the count of steps, then m and v for each parameter.

    t' = t + 1, m' = β₁m + (1 - β₁)dp, v' = β₂v + (1 - β₂)dp²,
    p' = p - rate · (m' / (1 - β₁^t')) / (√(v' / (1 - β₂^t')) + ε)
    """
    return _optimiser("adam", types, 2, _adam(rate, decays, epsilon, 0.0), counted=True)


def adamw(
    types: Types,
    rate: float,
    decays: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> Lens:
    """Adam with decoupled decay, p' = (1 - rate · weight_decay) p - ...: Loshchilov and Hutter 2019,
    algorithm 2."""
    return _optimiser("adamw", types, 2, _adam(rate, decays, epsilon, rate * weight_decay), counted=True)


def _adam(rate: float, decays: tuple[float, float], epsilon: float, shrink: float) -> Update:
    first, second = decays

    def update(state: Sequence[Value], p: Value, dp: Value) -> tuple[Sequence[Value], Value]:
        t, m, v = state
        build, dtype = p.builder, p.type.dtype
        m = first * m + (1.0 - first) * dp
        v = second * v + (1.0 - second) * (dp * dp)
        count = build.op("cast", t, dtype=dtype)
        rest = [1.0 - build.op("power", build.scalar(decay, dtype), count) for decay in decays]
        kept = p * (1.0 - shrink) if shrink else p
        return (m, v), kept - rate * (m / rest[0]) / (build.op("sqrt", v / rest[1]) + epsilon)

    return update


METHODS: dict[str, Callable[..., Lens]] = {
    made.__name__: made for made in (sgd, momentum, adam, adamw)
}  # by the name that a spec calls them by


def start(optimiser: Lens, parameters: Sequence[np.ndarray]) -> list[np.ndarray]:
    """State and parameters before the first step: every state zero."""
    own = optimiser.domain[: len(optimiser.domain) - len(parameters)]
    shapes = [tuple(size for size in type.shape if isinstance(size, int)) for type in own]
    zeros = [np.zeros(shape, numpy_dtype(type.dtype)) for shape, type in zip(shapes, own)]
    return [*zeros, *parameters]


def _optimiser(name: str, types: Types, states: int, update: Update, counted: bool = False) -> Lens:
    build, back = Builder(name), Builder(f"update.{name}")
    groups = [_given(made, types, states, counted) for made in (build, back)]
    forward = build.finish({f"p.{i}": p for i, p in enumerate(groups[0][2])})
    count, own, parameters = groups[1]
    arriving = [back.input(f"d.{i}", type) for i, type in enumerate(types)]
    fresh: dict[str, Value] = {}
    if count is not None:
        count = fresh["t"] = count + 1
    moved = []
    for i, (p, dp) in enumerate(zip(parameters, arriving)):
        mine = [own[k][i] for k in range(states)]
        moved.append(update(mine if count is None else [count, *mine], p, dp))
    for k in range(states):
        fresh.update({f"s{k}.{i}": state[k] for i, (state, _) in enumerate(moved)})
    fresh.update({f"p.{i}": p for i, (_, p) in enumerate(moved)})
    return Lens(forward, back.finish(fresh), 0, 0)


def _given(
    build: Builder, types: Types, states: int, counted: bool
) -> tuple[Value | None, list[list[Value]], list[Value]]:
    """The inputs: the count of steps, the states, the parameters."""
    count = build.input("t", TensorType("int64")) if counted else None
    own = [[build.input(f"s{k}.{i}", type) for i, type in enumerate(types)] for k in range(states)]
    return count, own, [build.input(f"p.{i}", type) for i, type in enumerate(types)]
