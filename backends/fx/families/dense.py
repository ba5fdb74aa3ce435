"""Small dense systems. None of these raises for a singular matrix: what comes out is not finite."""

import operator

import torch
from torch.fx import Node

from banach.backends.fx.operations import Site


def _first(site: Site, pair: Node) -> Node:
    return site.call(operator.getitem, pair, 0)


def symmetric(site: Site, x: Node) -> Node:
    total = site.call(operator.add, x, site.method("transpose", x, -1, -2))
    return site.call(operator.mul, total, 0.5)


def _solve(site: Site) -> Node:
    a, b = site.nodes()
    # torch takes a B with one axis less than A for vectors.
    b = site.method("expand", b, site.shape(site.type.shape))
    return _first(site, site.call(torch.linalg.solve_ex, a, b))


def _solve_positive(site: Site) -> Node:
    """A matrix that has no Cholesky factor is not definite."""
    info = site.call(operator.getitem, site.call(torch.linalg.cholesky_ex, site.node(0)), 1)
    good = site.call(operator.eq, site.method("reshape", info, (*_leading(site), 1, 1)), 0)
    return site.call(torch.where, good, _solve(site), float("nan"))


def _solve_triangular(site: Site) -> Node:
    a, b = site.nodes()
    adjoint = site.attribute("adjoint")
    a = site.call(torch.tril, a)
    a = site.method("transpose", a, -1, -2) if adjoint else a
    return site.call(torch.linalg.solve_triangular, a, b, upper=adjoint)


def _inverse(site: Site) -> Node:
    return _first(site, site.call(torch.linalg.inv_ex, site.node(0)))


def _cholesky(site: Site) -> Node:
    pair = site.call(torch.linalg.cholesky_ex, symmetric(site, site.node(0)))
    lower, info = _first(site, pair), site.call(operator.getitem, pair, 1)
    good = site.call(operator.eq, site.method("reshape", info, (*_leading(site), 1, 1)), 0)
    return site.call(torch.where, good, lower, float("nan"))


def _leading(site: Site) -> tuple[int | Node, ...]:
    return site.shape(site.types[0].shape[:-2])


TABLE = {
    "solve": _solve,
    "solve_positive": _solve_positive,
    "solve_triangular": _solve_triangular,
    "inverse": _inverse,
    "cholesky": _cholesky,
}
