"""Softmax, and layers that standardise: by known statistics, or along axes."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.operators.reduction import mean
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import Thing, Trace, axis_of, product, rank_of, shape_of


def _along(primitive: str, trace: Trace, node: Node, x: Thing) -> Thing:
    """A primitive of the last axis, along another one."""
    rank = rank_of(x)
    axis = axis_of(node.get("axis", -1), rank)
    order = list(range(-rank, 0))
    order[axis], order[-1] = order[-1], order[axis]
    if axis == -1:
        return trace.op(primitive, x)
    turned = trace.op("transpose", x, permutation=tuple(order))
    return trace.op("transpose", trace.op(primitive, turned), permutation=tuple(order))


def _layer_norm(
    trace: Trace, node: Node, x: Thing, scale: Thing, shift: Thing | None = None
) -> tuple[Thing, Thing, Thing]:
    """What it makes, the means, and one over the deviations."""
    node.only(stash_type=1)
    axis, shape = axis_of(node.get("axis", -1), rank_of(x)), shape_of(x)
    epsilon = float(node.get("epsilon", 1e-5))
    inner = shape[axis:]
    if rank_of(scale) > len(inner):
        raise Uncovered("its scale has more axes than it standardises")
    whole_axis = (*shape[:axis], product(inner))
    parts = [_flat(trace, part, inner) for part in (scale, np.zeros(()) if shift is None else shift)]
    y = trace.op("layer_norm", trace.op("reshape", x, shape=whole_axis), *parts, epsilon=epsilon)
    axes, kept = tuple(range(axis, 0)), (*shape[:axis], *[1] * -axis)
    average = trace.op("reshape", mean(trace, x, axes), shape=kept)
    centred = trace.op("subtract", x, average)
    variance = trace.op("reshape", mean(trace, trace.op("square", centred), axes), shape=kept)
    inverse = trace.op("divide", 1.0, trace.op("sqrt", trace.op("add", variance, epsilon)))
    return trace.op("reshape", y, shape=shape), average, inverse


def _flat(trace: Trace, part: Thing, inner: tuple) -> Thing:
    """A scale or shift as one axis."""
    stretched = part if shape_of(part) == inner else trace.op("broadcast", part, shape=inner)
    return trace.op("reshape", stretched, shape=(product(inner),))


def _batch_norm(
    trace: Trace, node: Node, x: Thing, scale: Thing, shift: Thing, average: Thing, variance: Thing
) -> Thing:
    """With statistics that are given it is a multiple and a shift for every channel."""
    node.only(training_mode=0)
    deviation = trace.op("sqrt", trace.op("add", variance, float(node.get("epsilon", 1e-5))))
    factor = trace.op("divide", scale, deviation)
    offset = trace.op("subtract", shift, trace.op("multiply", average, factor))
    return _per_channel(trace, x, factor, offset)


def _per_channel(trace: Trace, x: Thing, factor: Thing, offset: Thing) -> Thing:
    if rank_of(x) < 2:
        raise Uncovered("it needs axes of samples and of channels")
    column = (shape_of(x)[1], *[1] * (rank_of(x) - 2))
    factor, offset = (trace.op("reshape", part, shape=column) for part in (factor, offset))
    return trace.op("add", trace.op("multiply", x, factor), offset)


def _instance_norm(trace: Trace, node: Node, x: Thing, scale: Thing, shift: Thing) -> Thing:
    return _grouped(trace, node, x, scale, shift, shape_of(x)[1])


def _group_norm(trace: Trace, node: Node, x: Thing, scale: Thing, shift: Thing) -> Thing:
    node.only(stash_type=1)
    groups, channels = node.get("num_groups", 0), shape_of(x)[1]
    if shape_of(scale) != (channels,):
        raise Uncovered("its scale is not one number for every channel, as from opset 21 on")
    return _grouped(trace, node, x, scale, shift, groups)


def _grouped(trace: Trace, node: Node, x: Thing, scale: Thing, shift: Thing, groups: object) -> Thing:
    """Channels in groups, each standardised with all of its places."""
    shape = shape_of(x)
    channels = shape[1]
    if not isinstance(groups, int) or not isinstance(channels, int) or groups < 1 or channels % groups:
        raise Uncovered(f"{channels} channels do not make {groups} groups")
    each = channels // groups * product(shape[2:])
    flat = trace.op("reshape", x, shape=(shape[0], groups, each))
    one = [trace.op("broadcast", number, shape=(each,)) for number in (1.0, 0.0)]
    y = trace.op("layer_norm", flat, *one, epsilon=float(node.get("epsilon", 1e-5)))
    return _per_channel(trace, trace.op("reshape", y, shape=shape), scale, shift)


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": partial(_along, "log_softmax"),
    "Softmax": partial(_along, "softmax"),
}
