"""Entries moved along one axis; sums on the way and products."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from banach.backends.fx.operations import Emit, Site


def _roll(site: Site) -> Node:
    return site.call(torch.roll, site.node(0), site.attribute("shift"), site.attribute("axis"))


def _flip(site: Site) -> Node:
    return site.call(torch.flip, site.node(0), (site.attribute("axis"),))


def _stride(site: Site) -> Node:
    key = (
        ...,
        slice(None, None, site.attribute("step")),
        *(slice(None),) * (-1 - site.attribute("axis")),
    )
    return site.call(torch.Tensor.__getitem__, site.node(0), key)


def _cumsum(site: Site) -> Node:
    x, axis = site.node(0), site.attribute("axis")
    if site.attribute("reverse"):
        x = site.call(torch.flip, x, (axis,))
    if site.attribute("exclusive"):
        x = site.call(torch.nn.functional.pad, x, (*(0, 0) * (-1 - axis), 1, 0))
    y = site.call(torch.cumsum, x, axis, dtype=site.dtype)
    if site.attribute("exclusive"):
        y = site.method("narrow", y, axis, 0, site.size(site.type.shape[axis]))
    return site.call(torch.flip, y, (axis,)) if site.attribute("reverse") else y


def _reduction(function: Callable[..., Any]) -> Emit:
    def emit(site: Site) -> Node:
        axes = site.attribute("axes")
        return site.call(function, site.node(0), axes) if axes else site.node(0)  # for torch none are all

    return emit


def _prod(site: Site) -> Node:
    x = site.node(0)
    for axis in sorted(site.attribute("axes")):  # one at a time, from the left: those to the right keep place
        x = site.call(torch.prod, x, axis, dtype=site.dtype)
    return x


def _divided(function: Callable[..., Any], **options: Any) -> Emit:
    """Nothing is divided by 0, which torch refuses, nor by -1, where the least number has no quotient."""

    def emit(site: Site) -> Node:
        x, y = site.nodes()
        plain = site.call(torch.logical_and, site.call(torch.ge, y, -1), site.call(torch.le, y, 0))
        found = site.call(function, x, site.call(torch.where, plain, 1, y), **options)
        # x·0 = 0 and x·(-1) are the quotients there; nothing is left.
        there = site.call(torch.mul, x, y) if function is torch.div else 0
        return site.call(torch.where, plain, there, found)

    return emit


TABLE: Mapping[str, Emit] = {
    "roll": _roll,
    "flip": _flip,
    "stride": _stride,
    "cumsum": _cumsum,
    "reduce_min": _reduction(torch.amin),
    "reduce_all": _reduction(torch.all),
    "reduce_any": _reduction(torch.any),
    "prod": _prod,
    "floor_divide": _divided(torch.div, rounding_mode="floor"),
    "modulo": _divided(torch.remainder),
}
