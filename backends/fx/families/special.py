"""Functions of one number."""

import torch
from torch.fx import Node

from banach.backends.fx.operations import Site


def _clip(site: Site) -> Node:
    return site.call(torch.clamp, site.node(0), site.attribute("low"), site.attribute("high"))


def _elu(site: Site) -> Node:
    return site.call(torch.nn.functional.elu, site.node(0), site.attribute("alpha"))


def _leaky_relu(site: Site) -> Node:
    return site.call(torch.nn.functional.leaky_relu, site.node(0), site.attribute("leak"))


TABLE = {"clip": _clip, "elu": _elu, "leaky_relu": _leaky_relu}
