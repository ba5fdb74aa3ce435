"""Threefry in int64, cut to 32 bits after every sum: torch has few operations on unsigned words."""

import operator

import torch
from torch.fx import Node

from banach.backends.fx.operations import Site
from banach.ir.primitives.chance import PARITY, ROTATIONS, ROUNDS, WORD

_MASK = WORD - 1


def _threefry(site: Site) -> Node:
    def cut(x: Node) -> Node:
        return site.call(operator.and_, x, _MASK)

    def add(x: Node, y: Node | int) -> Node:
        return cut(site.call(operator.add, x, y))

    def words(x: Node) -> list[Node]:
        return [cut(site.method("select", x, -1, i)) for i in range(2)]

    (k0, k1), (a, b) = (words(x) for x in site.nodes())
    schedule = (k0, k1, site.call(operator.xor, site.call(operator.xor, k0, k1), PARITY))
    a, b = add(a, k0), add(b, k1)
    for i in range(ROUNDS):
        r = ROTATIONS[i % 8]
        a = add(a, b)
        up = cut(site.call(operator.lshift, b, r))
        b = site.call(operator.xor, site.call(operator.or_, up, site.call(operator.rshift, b, 32 - r)), a)
        if i % 4 == 3:
            four = i // 4 + 1
            a = add(a, schedule[four % 3])
            b = add(b, site.call(operator.add, schedule[(four + 1) % 3], four))
    return site.call(torch.stack, site.call(torch.broadcast_tensors, a, b), -1)


TABLE = {"threefry": _threefry}
