"""Places in an order, the NaNs where the page has them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Node

from banach.backends.fx.operations import Emit, Site


def _orderly(site: Site, nan: float) -> Node:
    x = site.node(0)
    if not site.types[0].is_float:
        return x
    return site.call(torch.where, site.call(torch.isnan, x), nan, x)


def _extreme(function: Callable[..., Any], nan: float) -> Emit:
    return lambda site: site.call(function, _orderly(site, nan), site.attribute("axis"))


def _sorted(site: Site, descending: bool) -> Node:
    axis = site.attribute("axis")
    return site.call(torch.argsort, _orderly(site, math.inf), dim=axis, descending=descending, stable=True)


def _arg_top(site: Site) -> Node:
    # torch.topk says nothing about the order of equals.
    places = _sorted(site, descending=True)
    return site.method("narrow", places, site.attribute("axis"), 0, site.size(site.attribute("size")))


TABLE: Mapping[str, Emit] = {
    "argmax": _extreme(torch.argmax, math.inf),
    "argmin": _extreme(torch.argmin, -math.inf),
    "argsort": lambda site: _sorted(site, descending=False),
    "arg_top": _arg_top,
}
