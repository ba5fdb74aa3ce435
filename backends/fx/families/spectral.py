"""Fourier transforms by torch.fft; pairs of real numbers are viewed as complex ones."""

from typing import Any

import torch
from torch.fx import Node

from banach.backends.fx.operations import Site


def _transform(site: Site, function: Any, **options: Any) -> Node:
    x = site.method("contiguous", site.node(0))
    found = site.call(function, site.call(torch.view_as_complex, x), dim=-1, norm="ortho", **options)
    return site.call(torch.view_as_real, found)


def _dft(site: Site) -> Node:
    return site.method("narrow", _transform(site, torch.fft.fft), -2, 0, site.attribute("modes"))


def _dft_adjoint(site: Site) -> Node:
    return _transform(site, torch.fft.ifft, n=site.attribute("size"))


TABLE = {"dft": _dft, "dft_adjoint": _dft_adjoint}
