"""Entries at places along one axis."""

from collections.abc import Mapping

import torch
from torch.fx import Node

from banach.backends.fx.operations import Emit, Site
from banach.ir.dims import Size


def _places(site: Site, operand: int) -> Node:
    """Places as one axis of int64."""
    index, type = site.node(operand), site.types[operand]
    if type.dtype != "int64":
        index = site.method("to", index, torch.int64)
    return index if type.rank == 1 else site.method("reshape", index, -1)


def _take(site: Site) -> Node:
    axis = site.types[0].rank + site.attribute("axis")
    rows = site.call(torch.index_select, site.node(0), axis, _places(site, 1))
    if site.types[1].rank == 1:
        return rows
    return site.method("reshape", rows, site.shape(site.type.shape))


def _one_axis(site: Site, operand: int, index: int) -> Node:
    """What arrives, with the axes of its places as one."""
    x, places = site.node(operand), site.types[index]
    if places.rank == 1:
        return x
    shape, axis = site.type.shape, site.type.rank + site.attribute("axis")
    entries: Size = 1
    for size in places.shape:
        entries = entries * size
    return site.method("reshape", x, site.shape((*shape[:axis], entries, *shape[axis + 1 :])))


def _axis(site: Site) -> int:
    return site.type.rank + site.attribute("axis")


def _scatter_add(site: Site) -> Node:
    x = _one_axis(site, 0, 1)
    zeros = site.method("new_zeros", x, site.shape(site.type.shape))
    return site.method("index_add", zeros, _axis(site), _places(site, 1), x)


def _scatter_set(site: Site) -> Node:
    return site.method("index_copy", site.node(0), _axis(site), _places(site, 1), _one_axis(site, 2, 1))


def _scatter_max(site: Site) -> Node:
    # torch's index_reduce would do without the stretched places, but it warns that it may change.
    x, axis = _one_axis(site, 2, 1), _axis(site)
    column = site.method("reshape", _places(site, 1), (-1, *[1] * (-1 - site.attribute("axis"))))
    places = site.call(torch.broadcast_to, column, site.call(getattr, x, "shape"))
    return site.method("scatter_reduce", site.node(0), axis, places, x, "amax")


def _along(site: Site) -> Node:
    index = site.node(1)
    return index if site.types[1].dtype == "int64" else site.method("to", index, torch.int64)


def _take_along(site: Site) -> Node:
    return site.call(torch.gather, site.node(0), site.attribute("axis"), _along(site))


def _scatter_along(site: Site) -> Node:
    x = site.node(0)
    zeros = site.method("new_zeros", x, site.shape(site.type.shape))
    return site.method("scatter_add", zeros, site.attribute("axis"), _along(site), x)


TABLE: Mapping[str, Emit] = {
    "take": _take,
    "take_along": _take_along,
    "scatter_add": _scatter_add,
    "scatter_along": _scatter_along,
    "scatter_set": _scatter_set,
    "scatter_max": _scatter_max,
}
