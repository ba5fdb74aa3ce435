"""The threshold of the simplex, by sorting."""

import operator

import torch
from torch.fx import Node

from banach.backends.fx.operations import Site


def _simplex_threshold(site: Site) -> Node:
    x, r = site.nodes()
    down = site.call(operator.getitem, site.call(torch.sort, x, dim=-1, descending=True), 0)
    excess = site.call(operator.sub, site.call(torch.cumsum, down, -1), site.call(torch.unsqueeze, r, -1))
    size = site.size(site.types[0].shape[-1])
    last = site.call(operator.add, size, 1)
    count = site.call(torch.arange, 1, last, dtype=site.dtype, device=site.device())
    return site.call(torch.amax, site.call(operator.truediv, excess, count), -1)


TABLE = {"simplex_threshold": _simplex_threshold}
