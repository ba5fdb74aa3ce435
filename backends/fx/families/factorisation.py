"""Factorisations by torch.linalg, with the signs that the pages fix."""

import operator
from typing import Any

import torch
from torch.fx import Node

from banach.backends.fx.families.dense import symmetric
from banach.backends.fx.operations import Site


def _parts(site: Site, function: Any, x: Node, count: int, **options: Any) -> list[Node]:
    found = site.call(function, x, **options)
    return [site.call(operator.getitem, found, i) for i in range(count)]


def _transposed(site: Site, x: Node) -> Node:
    return site.method("transpose", x, -1, -2)


def _row(site: Site, x: Node) -> Node:
    return site.method("unsqueeze", x, -2)


def _signs(site: Site, v: Node) -> Node:
    """±1 for every column, so that the entry of largest absolute value becomes positive."""
    high = site.call(torch.amax, v, -2, keepdim=True)
    low = site.call(torch.amin, v, -2, keepdim=True)
    swapped = site.call(operator.lt, high, site.call(operator.neg, low))
    return site.call(operator.sub, 1.0, site.call(operator.mul, site.method("to", swapped, site.dtype), 2.0))


def _stack(site: Site, *parts: Node) -> Node:
    return site.call(torch.cat, parts, -2)


def _eigh(site: Site) -> Node:
    values, v = _parts(site, torch.linalg.eigh, symmetric(site, site.node(0)), 2)
    return _stack(site, _row(site, values), site.call(operator.mul, v, _signs(site, v)))


def _svd(site: Site) -> Node:
    u, s, vt = _parts(site, torch.linalg.svd, site.node(0), 3, full_matrices=False)
    v = _transposed(site, vt)
    signs = _signs(site, v)
    left, right = (site.call(operator.mul, x, signs) for x in (u, v))
    return _stack(site, _row(site, s), left, right)


def _eigenvalues(site: Site) -> Node:
    return site.call(torch.linalg.eigvalsh, symmetric(site, site.node(0)))


def _singular_values(site: Site) -> Node:
    return site.call(torch.linalg.svdvals, site.node(0))


def _qr(site: Site) -> Node:
    q, r = _parts(site, torch.linalg.qr, site.node(0), 2)
    signs = site.call(torch.sign, site.call(torch.diagonal, r, 0, -2, -1))
    signs = _row(site, signs)
    rows = site.call(operator.mul, r, _transposed(site, signs))
    return _stack(site, site.call(operator.mul, q, signs), rows)


TABLE = {
    "eigh": _eigh,
    "svd": _svd,
    "eigenvalues": _eigenvalues,
    "singular_values": _singular_values,
    "qr": _qr,
}
