"""Cases: zeros of monotone maps, mostly rotations and bilinear pairs, with a convex function or without."""

from typing import Any

import numpy as np
from harness import Draw, Instance, Pair, case, listed, repeated, size_of
from problems import Function, Monotone, kinked, monotone

Vector = np.ndarray
_PHI = (1 + 5**0.5) / 2


def _told(F: Monotone, start: Vector, at: Vector, g: Function | None = None) -> dict[str, Any]:
    parts = f"operators:\n  F: {F.text}\n" + (f"  g: {g.text}\n" if g else "")
    size = (1 + size_of(start) + size_of(at)) * max(1.0, F.L)
    return dict(start=start, parts=parts, names={"start": start, "solution": at, "F": F.L}, size=size)


def _zero(draw: Draw) -> tuple[Monotone, Vector, Vector]:
    n = int(draw.integers(1, 3)) * 2
    at = draw.point(n)
    return monotone(draw, n, at, 0 * at), at, draw.point(n, float(draw.choice([0.1, 1, 30])))


def _inclusion(draw: Draw) -> tuple[Monotone, Function, Vector, Vector]:
    n = int(draw.integers(1, 5))
    g, at, v = kinked(draw, n)
    return monotone(draw, n, at, v), g, at, draw.point(n, float(draw.choice([0.1, 1, 30])))


@case("extragradient-last-iterate")
def extragradient_last(draw: Draw) -> Instance:
    F, at, start = _zero(draw)
    part = 0.7071 * draw.part()
    step = part / F.L
    told = _told(F, start, at)
    told["names"]["step"] = step
    return Instance(
        "extragradient(F)",
        states=repeated(lambda x: x - step * F.map(x - step * F.map(x)), start),
        options={"step": f"{part!r} / lipschitz(F)"},
        measure=lambda k, x: [(float(np.sum(F.map(x) ** 2)), {})],
        **told | {"size": told["size"] ** 2},
    )


@case("extragradient")
def extragradient(draw: Draw) -> Instance:
    """‖x⁺ - x*‖² <= ‖x - x*‖² - (1 - g²L²) g²‖F(x)‖²: Korpelevich."""
    F, at, start = _zero(draw)
    part = draw.uniform(0.72, 0.999)
    step, least = part / F.L, [np.inf]

    def beside(k: int, x: Vector) -> list[Pair]:
        least[0] = min(least[0], step * size_of(F.map(x)))
        far = size_of(start - at)
        return [(size_of(x - at), far), (least[0], far / np.sqrt((1 - part**2) * (k + 1)))]

    return Instance(
        "extragradient(F)",
        states=repeated(lambda x: x - step * F.map(x - step * F.map(x)), start),
        options={"step": f"{part!r} / lipschitz(F)"},
        beside=beside,
        **_told(F, start, at),
    )


@case("fast-extragradient")
def fast_extragradient(draw: Draw) -> Instance:
    F, at, start = _zero(draw)
    part = draw.part()
    step = part / F.L

    def advance(state: tuple[Vector, int]) -> tuple[Vector, int]:
        x, k = state
        beta = 1 / (k + 1)
        half = x + beta * (start - x) - (1 - beta) * step * F.map(x)
        return x + beta * (start - x) - step * F.map(half), k + 1

    told = _told(F, start, at)
    told["names"]["step"] = step
    return Instance(
        "fast_extragradient(F)",
        states=repeated(advance, (start, 0)),
        options={"step": f"{part!r} / lipschitz(F)"},
        measure=lambda k, s: [(float(np.sum(F.map(s[0]) ** 2)), {})] if k else [],
        **told | {"size": told["size"] ** 2},
    )


def _reflected(
    F: Monotone, g: Function, step: float, at: Vector, start: Vector, share: float
) -> dict[str, Any]:
    """Malitsky & Tam 2020: ‖x - x*‖² + 2g<F(x) - F(last), x* - x> + ½‖x - last‖² falls, and by the part
    ½ - gL of ‖x⁺ - x‖².
    """
    moves = [0.0]

    def beside(k: int, state: tuple[Vector, Vector]) -> list[Pair]:
        x, last = state
        moves[0] += size_of(x - last) ** 2
        now = (
            size_of(x - at) ** 2 + 2 * step * (F.map(x) - F.map(last)) @ (at - x) + size_of(x - last) ** 2 / 2
        )
        far = size_of(start - at) ** 2
        return [(now, far), (size_of(x - at) ** 2, 2 * far), ((0.5 - share) * moves[0], far)]

    def advance(state: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        x, last = state
        return g.prox(x - step * (2 * F.map(x) - F.map(last)), step), x

    return dict(states=repeated(advance, (start, start)), beside=beside)


@case("forward-reflected-backward")
def forward_reflected_backward(draw: Draw) -> Instance:
    F, g, at, start = _inclusion(draw)
    part = draw.part(edge=False)
    told = _told(F, start, at, g)
    return Instance(
        "forward_reflected_backward(F, g)",
        options={"step": f"{part!r} / (2 * lipschitz(F))"},
        **_reflected(F, g, part / (2 * F.L), at, start, part / 2),
        **told | {"size": told["size"] ** 2},
    )


@case("optimistic-gradient")
def optimistic_gradient(draw: Draw) -> Instance:
    F, at, start = _zero(draw)
    part = draw.part(edge=False)
    nothing = Function("", lambda x: 0.0, lambda x: 0 * x, lambda x, t: x)
    told = _told(F, start, at)
    return Instance(
        "optimistic_gradient(F)",
        options={"step": f"{part!r} / (2 * lipschitz(F))"},
        **_reflected(F, nothing, part / (2 * F.L), at, start, part / 2),
        **told | {"size": told["size"] ** 2},
    )


@case("golden-ratio")
def golden_ratio(draw: Draw) -> Instance:
    """Malitsky 2020, theorem 1: φ²‖mean - x*‖² + φ/2‖x - last‖² falls."""
    F, g, at, start = _inclusion(draw)
    part = draw.part()
    step = 0.809 * part / F.L
    energy = [np.inf]

    def advance(state: tuple[Vector, Vector, Vector]) -> tuple[Vector, Vector, Vector]:
        x, mean, _ = state
        mean = ((_PHI - 1) * x + mean) / _PHI
        return g.prox(mean - step * F.map(x), step), mean, x

    def beside(k: int, state: tuple[Vector, Vector, Vector]) -> list[Pair]:
        x, _, last = state
        mean = advance(state)[1]  # the mean that belongs to the next step
        now = (1 + _PHI) * size_of(mean - at) ** 2 + _PHI / 2 * size_of(x - last) ** 2
        before, energy[0] = energy[0], now
        return [(now, before)] if k > 1 else []

    told = _told(F, start, at, g)
    return Instance(
        "golden_ratio(F, g)",
        states=repeated(advance, (start, start, start)),
        options={"step": f"{0.809 * part!r} / lipschitz(F)"},
        beside=beside,
        **told | {"size": told["size"] ** 2},
    )


@case("forward-backward-forward")
def tseng(draw: Draw) -> Instance:
    """‖x⁺ - x*‖² <= ‖x - x*‖² - (1 - g²L²)‖y - x‖²: Tseng."""
    F, g, at, start = _inclusion(draw)
    part = draw.part(edge=False)
    step = part / F.L

    def inner(x: Vector) -> Vector:
        return g.prox(x - step * F.map(x), step)

    def advance(x: Vector) -> Vector:
        y = inner(x)
        return y - step * (F.map(y) - F.map(x))

    nearest = [np.inf]

    def beside(k: int, x: Vector) -> list[Pair]:
        before, nearest[0] = nearest[0], size_of(x - at) ** 2 - (1 - part**2) * size_of(inner(x) - x) ** 2
        return [(size_of(x - at) ** 2, before)]

    told = _told(F, start, at, g)
    return Instance(
        "tseng(F, g)",
        states=repeated(advance, start),
        options={"step": f"{part!r} / lipschitz(F)"},
        beside=beside,
        **told | {"size": told["size"] ** 2},
    )


@case("forward-backward-strongly-monotone")
def forward_backward(draw: Draw) -> Instance:
    """Rotations with a little of the identity: μ·1 + skew, for which the factor is attained."""
    n = int(draw.integers(1, 4)) * 2
    g, at, v = kinked(draw, n)
    mu, size = float(draw.choice([0.1, 0.5, 2.0])), float(2.0 ** draw.integers(-1, 3))
    half = np.eye(n // 2)
    M = mu * np.eye(n) + size * np.block([[0 * half, half], [-half, 0 * half]])
    L, b = float(np.hypot(mu, size)), -(M @ at) - v
    step = float(draw.choice([0.1, 1.0, 1.9])) * mu / L**2
    factor = np.sqrt(max(1 - 2 * step * mu + (step * L) ** 2, 0.0))
    F = Monotone(f"affine_map({listed(M)}, {listed(b)})", lambda x: M @ x + b, L)
    start = draw.point(n, float(draw.choice([0.1, 1, 30])))
    told = _told(F, start, at, g)
    return Instance(
        "forward_backward(F, g)",
        states=repeated(lambda x: g.prox(x - step * F.map(x), step), start),
        options={"step": repr(step)},
        measure=lambda k, x: [(size_of(x - at), {})],
        beside=lambda k, x: [(size_of(x - at), factor**k * size_of(start - at) * (1 + 1e-9) + 1e-12)],
        **told,
    )
