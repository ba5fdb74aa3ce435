"""Convolution by torch's own, in every dtype."""

from collections.abc import Mapping

import torch
from torch.fx import Node

from banach.backends.fx.operations import Emit, Site
from banach.ir.dims import Size

FORWARDS = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)
BACKWARDS = (
    torch.nn.functional.conv_transpose1d,
    torch.nn.functional.conv_transpose2d,
    torch.nn.functional.conv_transpose3d,
)


def _batched(site: Site, space: int) -> Node:
    """The signal with one axis of samples."""
    x, shape = site.node(0), site.types[0].shape
    cut = len(shape) - space - 1
    if cut == 1:
        return x
    samples: Size = 1
    for size in shape[:cut]:
        samples = samples * size
    return site.method("reshape", x, site.shape((samples, *shape[cut:])))


def _unbatched(site: Site, found: Node, space: int) -> Node:
    batch = site.type.rank - space - 1
    return found if batch == 1 else site.method("reshape", found, site.shape(site.type.shape))


def _nothing(site: Site) -> Node:
    """What a kernel without entries gives; torch refuses it, or gives no channels."""
    return site.method("new_zeros", site.node(0), site.shape(site.type.shape))


def _convolve(site: Site) -> Node:
    stride = site.attribute("stride")
    space = len(stride)
    if 0 in site.types[1].shape:
        return _nothing(site)
    found = site.call(FORWARDS[space - 1], _batched(site, space), site.node(1), stride=stride)
    return _unbatched(site, found, space)


def _convolve_transpose(site: Site) -> Node:
    stride, size = site.attribute("stride"), site.attribute("size")
    space = len(stride)
    if 0 in site.types[1].shape:
        return _nothing(site)
    places, own = site.types[0].shape[site.types[0].rank - space :], site.types[1].shape[2:]
    left = tuple(site.size(n - (p - 1) * step - m) for n, p, step, m in zip(size, places, stride, own))
    options = {"stride": stride, "output_padding": left}
    found = site.call(BACKWARDS[space - 1], _batched(site, space), site.node(1), **options)
    return _unbatched(site, found, space)


TABLE: Mapping[str, Emit] = {"convolve": _convolve, "convolve_transpose": _convolve_transpose}
