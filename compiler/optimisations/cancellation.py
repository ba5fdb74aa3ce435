"""Linear maps that undo each other, and diagonal ones that follow each other."""

from typing import final

import numpy as np

from banach.compiler.optimisation import Options, Pass
from banach.ir.graph import Builder, Graph, Value
from banach.ir.rewrite import Effect, Journal, Match, Refusal, Rule, Site, rewrite
from banach.ir.simplify import FOLDED, GROWTH
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import broadcast, numpy_dtype

SWAP = (-1, -2)


@final
class Cancellation(Pass):
    """Leave out a map and its inverse, and make one of two that scale.

    Maths      FᴴF = FFᴴ = I for a unitary transform F; Aᵀ Bᵀ = (BA)ᵀ; D(Ex) = (DE)x for diagonal D, E;
               P(P(x)) = P(x) for the ball; the proximal map of 0 is the identity
    Why        a filter after a filter goes to the frequencies and back for each; weights that a page and a
               solver both apply are one array
    Preserves  every number up to rounding. A derivative too, but for a threshold of 0: the identity has
               slope 1 at 0, where `soft_threshold` is given slope 0
    """

    after = ("simplification", "sharing")
    effect = Effect.REASSOCIATES

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        names = {op.name for part in graph.walk() for op in part.ops}
        return rewrite(graph, RULES, journal) if names & {rule.root for rule in RULES} else graph


# --- transforms ---------------------------------------------------------------------------------------------


def _there_and_back(site: Site) -> Match:
    """x, where it is transformed and all its coefficients are transformed back."""
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != "dft":
        return None
    x, modes = site.value(inner.operands[0]), inner.attribute("modes")
    if x.type != site.type:
        return Refusal(f"a signal of {x.type.shape[-2]} entries comes back as one of {site.type.shape[-2]}")
    if modes != x.type.shape[-2]:
        return Refusal(f"only {modes} of {x.type.shape[-2]} coefficients are kept: that is a projection")
    return (x,)


def _back_and_there(site: Site) -> Match:
    """y, where the signal of these coefficients is transformed into as many; others it has not."""
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != "dft_adjoint":
        return None
    y = site.value(inner.operands[0])
    if y.type != site.type:
        return Refusal(f"{y.type.shape[-2]} coefficients come back as {site.type.shape[-2]}")
    return (y,)


def _undone(inverse: str, site: Site) -> Match:
    inner = site.maker(site.operand(0))
    return (site.value(inner.operands[0]),) if inner is not None and inner.name == inverse else None


# --- products -----------------------------------------------------------------------------------------------


def _both_turned(site: Site) -> Match:
    """A and B of a product Aᵀ Bᵀ."""
    found = []
    for i in (0, 1):
        inner = site.maker(site.operand(i))
        if inner is None or inner.name != "transpose":
            return None
        rank = inner.types[0].rank
        order = (*range(-rank, -len(inner.attribute("permutation"))), *inner.attribute("permutation"))
        if order != (*range(-rank, -2), *SWAP):
            return Refusal("a transpose moves axes other than the last two")
        found.append(site.value(inner.operands[0]))
    a, b = found
    if a.type.space != b.type.space:
        return Refusal(f"the product of {b.type} and {a.type} has another space")
    return a, b


def _turned_product(build: Builder, a: Value, b: Value) -> Value:
    return build.op("transpose", build.op("matmul", b, a), permutation=SWAP)


def _weights(site: Site) -> list[tuple[np.ndarray, Value]]:
    """Constant factors of a product, each with the other factor."""
    found = []
    for i in (0, 1):
        maker, other = site.maker(site.operand(i)), site.operand(1 - i)
        if maker is not None and maker.name == "constant":
            found.append((maker.attribute("value").array, other))
    return found


def _two_diagonals(site: Site) -> Match:
    """The product of two constants that x is multiplied by, and x."""
    outer = next(iter(_weights(site)), None)
    if outer is None or not site.type.is_float:
        return None
    inner = site.maker(outer[1])
    if inner is None or inner.name != "multiply":
        return None
    within = next(iter(_weights(Site(site.build, inner, site.makers))), None)
    if within is None:
        return None
    (d, _), (e, x) = outer, within
    with np.errstate(all="ignore"):
        product = (d.astype(np.float64) * e.astype(np.float64)).astype(d.dtype)
    if product.size > max(FOLDED, GROWTH * (d.size + e.size)):
        return Refusal(f"{product.size} entries would be stored for {d.size + e.size}")
    # 1e-200·(1e-200·x) with x = 1e300 is a number; the product of the factors is 0.
    normal = np.isfinite(product) & (np.abs(product) >= np.finfo(d.dtype).tiny)
    if not np.all(normal | (d == 0) | (e == 0)):
        return Refusal("the product of the factors is not a normal number")
    if broadcast(product.shape, x.type.shape) != site.type.shape or x.type.space != site.type.space:
        return Refusal(f"{x.type} and the product of the factors are not {site.type}")
    return Tensor(np.asarray(product, numpy_dtype(site.type.dtype))), x


def _weighed(build: Builder, weight: Tensor, x: Value) -> Value:
    return build.op("multiply", build.constant(weight), x)


# --- projections --------------------------------------------------------------------------------------------


def _same_ball(site: Site) -> Match:
    inner = site.maker(site.operand(0))
    if inner is None or inner.name != "project_ball":
        return None
    if inner.operands[1] != site.op.operands[1]:
        return Refusal("the radii are two values, and not known to be equal")
    return (site.operand(0),) if site.operand(0).type == site.type else None


def _no_threshold(site: Site) -> Match:
    t, x = site.constant(site.operand(1)), site.operand(0)
    return (x,) if t is not None and t.size and not np.any(t) and x.type == site.type else None


def _itself(build: Builder, x: Value) -> Value:
    return x


_ROUNDS = Effect.REASSOCIATES
RULES = (
    Rule("dft-undone", "dft_adjoint", "Fᴴ F x = x, all n modes", _there_and_back, _itself, _ROUNDS),
    # P F Fᴴ Pᵀ = P Pᵀ = I for the coordinate projection P on the first modes
    Rule("dft-redone", "dft", "P F Fᴴ Pᵀ y = y", _back_and_there, _itself, _ROUNDS),
    Rule("dct-undone", "dct_inverse", "C⁻¹ C x = x", lambda s: _undone("dct", s), _itself, _ROUNDS),
    Rule("dct-redone", "dct", "C C⁻¹ y = y", lambda s: _undone("dct_inverse", s), _itself, _ROUNDS),
    Rule("transposed-product", "matmul", "Aᵀ Bᵀ = (B A)ᵀ", _both_turned, _turned_product, _ROUNDS),
    Rule("two-diagonals", "multiply", "D(E x) = (D E) x", _two_diagonals, _weighed, _ROUNDS),
    # R in x: (r/‖x‖)(I - uuᵀ), and on the sphere the outer one is I - uuᵀ or I; in r one of the two is 0
    Rule("ball-twice", "project_ball", "P P x = P x, one radius", _same_ball, _itself, _ROUNDS),
    # prox of 0 is the identity; R differs where an entry is exactly 0
    Rule(
        "no-threshold",
        "soft_threshold",
        "soft_threshold(x, 0) = x",
        _no_threshold,
        _itself,
        Effect.UNSTABLE_UNDER_REVERSE,
    ),
)
