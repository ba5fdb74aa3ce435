"""Forms of maps that have facts of their own, which their parts do not tell: KᵀK and 2P − I."""

from banach.compiler.elaboration.things import (
    Adjoint,
    Composed,
    Identity,
    Map,
    Matrix,
    Number,
    Prox,
    Scaled,
    Total,
)


def is_gram(map: Composed) -> bool:
    """Whether a composition is Kᵀ K."""
    outer, inner = map.outer, map.inner
    return isinstance(outer, Adjoint) and _same(outer.map, inner)


def _same(a: Map, b: Map) -> bool:
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return a.matrix is b.matrix
    return a is b


def reflected(map: Total) -> Prox | None:
    """The proximal map P of a sum that is 2P − I; None for any other sum."""
    match map.maps:
        case (Scaled(Number(two), Prox() as prox), Scaled(Number(minus), Identity())):
            return prox if (two, minus) == (2, -1) else None
    return None
