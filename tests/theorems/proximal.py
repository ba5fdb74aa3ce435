"""Cases: methods with a proximal map, with and without momentum."""

from collections.abc import Iterator

import numpy as np
from harness import Draw, Instance, Pair, case, repeated, size_of
from minimisation import constants, of
from problems import Function, composite, kinked, proximable


def _composite(draw: Draw, mu: float, L: float) -> tuple[Function, Function, np.ndarray, np.ndarray]:
    n = int(draw.integers(1 if mu else 2, 5))
    f, g, at = composite(draw, n, mu, L)
    start = draw.point(n, float(draw.choice([0.1, 1, 30])))
    return f, g, at, start


def accelerated(
    f: Function, g: Function, step: float, start: np.ndarray, weights: Iterator[tuple[float, float]]
) -> Iterator[np.ndarray]:
    """Proximal gradient steps at points ahead by (weight - 1)/(next weight) of the last move."""
    x = y = start
    for weight, following in weights:
        yield x
        new = g.prox(y - step * f.slope(y), step)
        y = new + (weight - 1) / following * (new - x)
        x = new


def beck_teboulle(every: int = 0) -> Iterator[tuple[float, float]]:
    t, k = 1.0, 0
    while True:
        k += 1
        after = (1 + np.sqrt(1 + 4 * t * t)) / 2
        if every and k % every == 0:
            yield 1.0, 1.0
            t = 1.0
        else:
            yield t, after
            t = after


@case("fista")
def fista(draw: Draw) -> Instance:
    f, g, at, start = _composite(draw, 0.0, constants(draw)[1])
    part = draw.part()
    step = part / f.L
    told = of(f, at, start, g)
    told["names"]["step"] = step
    least = f.value(at) + g.value(at)
    return Instance(
        "fista(f, g)",
        states=accelerated(f, g, step, start, beck_teboulle()),
        options={"step": f"{part!r} / lipschitz(grad(f))"},
        measure=lambda k, x: [(f.value(x) + g.value(x) - least, {})] if k else [(0.0, {})],
        **told,
    )


@case("chambolle-dossal")
def chambolle_dossal(draw: Draw) -> Instance:
    f, g, at, start = _composite(draw, 0.0, constants(draw)[1])
    part, a = draw.part(), float(draw.choice([3.0, 3.5, 4.0, 10.0]))
    step = part / f.L
    told = of(f, at, start, g)
    told["names"] |= {"step": step, "a": a}
    least = f.value(at) + g.value(at)

    def weights() -> Iterator[tuple[float, float]]:
        k = 1
        while True:
            yield (k + a - 2) / (a - 1), (k + a - 1) / (a - 1)
            k += 1

    return Instance(
        "chambolle_dossal(f, g)",
        states=accelerated(f, g, step, start, weights()),
        options={"step": f"{part!r} / lipschitz(grad(f))", "a": a},
        measure=lambda k, x: [(f.value(x) + g.value(x) - least, {})] if k else [(0.0, {})],
        **told,
    )


@case("restarted-fista")
def restarted_fista(draw: Draw) -> Instance:
    L = float(2.0 ** draw.integers(-2, 3))
    f, g, at, start = _composite(draw, L / float(draw.choice([1.0, 4.0, 25.0])), L)
    part = draw.part()
    step = part / f.L
    every = int(np.floor(2 / np.sqrt(step * f.mu))) + int(draw.integers(0, 4))  # 4 < step·mu (every + 1)²
    every += step * f.mu * (every + 1) ** 2 * (1 - 1e-9) <= 4
    told = of(f, at, start, g)
    told["names"]["step"] = step
    told["names"]["every"] = every
    least = f.value(at) + g.value(at)
    inside = g.prox(start, 1.0)
    told["start"] = inside

    def rounds() -> Iterator[np.ndarray]:
        for k, x in enumerate(accelerated(f, g, step, inside, beck_teboulle(every))):
            if k % every == 0:
                yield x

    return Instance(
        "restarted_fista(f, g)",
        states=rounds(),
        options={"step": f"{part!r} / lipschitz(grad(f))", "every": every},
        measure=lambda k, x: [(f.value(x) + g.value(x) - least, {"rounds": k})],
        **told,
    )


# --- proximal steps ---------------------------------------------------------------------------------------


@case("forward-backward-strongly-convex")
def forward_backward_strong(draw: Draw) -> Instance:
    f, g, at, start = _composite(draw, *constants(draw))
    part = draw.part(edge=False)
    step = 2 * part / f.L
    return Instance(
        "proximal_gradient(f, g)",
        states=repeated(lambda x: g.prox(x - step * f.slope(x), step), start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(f))"},
        measure=lambda k, x: [(size_of(x - at), {})],
        stepwise=True,
        **of(f, at, start, g),
    )


@case("forward-backward")
def forward_backward(draw: Draw) -> Instance:
    f, g, at, start = _composite(draw, 0.0, constants(draw)[1])
    part = draw.part(edge=False)
    step = 2 * part / f.L

    def advance(x: np.ndarray) -> np.ndarray:
        return g.prox(x - step * f.slope(x), step)

    def beside(k: int, x: np.ndarray) -> list[Pair]:
        # 2β/(4β - γ)-averaged: a/(1 - a) = 2/(2 - γL)
        moved = size_of(advance(x) - x)
        return [
            (moved, size_of(start - at) / np.sqrt((1 - part) * (k + 1))),
            (size_of(x - at), size_of(start - at)),
        ]

    return Instance(
        "proximal_gradient(f, g)",
        states=repeated(advance, start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(f))"},
        beside=beside,
        **of(f, at, start, g),
    )


@case("proximal-point-strongly-convex")
def proximal_point_strong(draw: Draw) -> Instance:
    n = int(draw.integers(1, 5))
    f, at = proximable(draw, n, *constants(draw))
    start = draw.point(n, float(draw.choice([1, 30])))
    step = float(draw.choice([0.01, 1.0, 100.0]))
    return Instance(
        "proximal_point(f)",
        states=repeated(lambda x: f.prox(x, step), start),
        options={"step": step},
        measure=lambda k, x: [(size_of(x - at), {})],
        stepwise=True,
        **of(f, at, start),
    )


@case("proximal-point")
def proximal_point(draw: Draw) -> Instance:
    n = int(draw.integers(1, 5))
    base, at, v = kinked(draw, n)
    while base.mu or base.text.startswith("box"):
        base, at, v = kinked(draw, n)
    g = base.tilted(-v)
    start, step = draw.point(n, float(draw.choice([1, 30]))), float(draw.choice([0.01, 1.0, 100.0]))
    told = of(g, at, start)
    told["names"]["step"] = step
    return Instance(
        "proximal_point(f)",
        states=repeated(lambda x: g.prox(x, step), start),
        options={"step": step},
        measure=lambda k, x: [(g.value(x) - g.value(at), {})],
        **told,
    )


@case("proximal-point")
def proximal_point_of_a_smooth_function(draw: Draw) -> Instance:
    n = int(draw.integers(1, 5))
    f, at = proximable(draw, n, 0.0, constants(draw)[1])
    start = draw.point(n, float(draw.choice([1, 30])))
    step = float(draw.choice([0.01, 1.0, 100.0]))
    told = of(f, at, start)
    told["names"]["step"] = step
    return Instance(
        "proximal_point(f)",
        states=repeated(lambda x: f.prox(x, step), start),
        options={"step": step},
        measure=lambda k, x: [(f.value(x) - f.value(at), {})],
        **told,
    )
