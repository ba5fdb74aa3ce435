"""Cases: splittings of several functions, whose solution and dual are put where we want them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from harness import Draw, Instance, Pair, case, listed, repeated, size_of
from problems import Function, composite, elastic, kinked, l1, proximable


def _told(start: np.ndarray, at: np.ndarray, **functions: Function) -> dict[str, Any]:
    parts = "".join(f"  {name}: {function.text}\n" for name, function in functions.items())
    names = {"start": start, "solution": at}
    return dict(start=start, parts=f"operators:\n{parts}", names=names, size=1 + size_of(start) + size_of(at))


def _summed(draw: Draw) -> tuple[Function, Function, np.ndarray, np.ndarray, np.ndarray]:
    """(f, g, x*, v, start) with v in ∂g(x*) and -v in ∂f(x*), both with a prox."""
    n = int(draw.integers(1, 5))
    g, at, v = kinked(draw, n)
    if draw.random() < 0.5:
        f, near = proximable(draw, n, 0.0, 1.0)
        f = f.tilted(-v - f.slope(at))
    else:
        other, near, w = kinked(draw, n)
        shift = at - near
        base = Function(
            f"translate({other.text}, {listed(shift)})",
            lambda x: other.value(x - shift),
            lambda x: other.slope(x - shift),
            lambda x, t: shift + other.prox(x - shift, t),
            other.mu,
            other.L,
        )
        f = base.tilted(-v - w)
    return f, g, at, v, draw.point(n, float(draw.choice([0.1, 1, 30])))


def _step(draw: Draw) -> float:
    return float(draw.choice([0.01, 0.5, 1.0, 20.0]))


@case("douglas-rachford")
def douglas_rachford(draw: Draw) -> Instance:
    f, g, at, v, start = _summed(draw)
    step, relaxation = _step(draw), 2 * draw.part(edge=False)
    fixed = at - step * v  # prox of f at z is x*, with (z - x*)/step = -v

    def advance(z: np.ndarray) -> np.ndarray:
        x = f.prox(z, step)
        return z + relaxation * (g.prox(2 * x - z, step) - x)

    def beside(k: int, z: np.ndarray) -> list[Pair]:
        far = size_of(start - fixed)
        share = relaxation / (2 - relaxation)
        return [(size_of(advance(z) - z), np.sqrt(share / (k + 1)) * far), (size_of(z - fixed), far)]

    return Instance(
        "douglas_rachford(f, g)",
        states=repeated(advance, start),
        options={"step": step, "relaxation": repr(relaxation)},
        beside=beside,
        **_told(start, fixed, f=f, g=g),
    )


@case("admm")
def admm(draw: Draw) -> Instance:
    f, g, at, v, start = _summed(draw)
    step = _step(draw)
    fixed = at + step * v

    def advance(state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        z, u = state
        x = f.prox(z - u, step)
        new = g.prox(x + u, step)
        return new, u + x - new

    first = sum(advance((start, 0 * start)))  # from here on z + u is Douglas and Rachford's z

    def beside(k: int, state: tuple[np.ndarray, np.ndarray]) -> list[Pair]:
        if not k:
            return []
        now, far = sum(state), size_of(first - fixed)
        return [(size_of(sum(advance(state)) - now), far / np.sqrt(k)), (size_of(now - fixed), far)]

    return Instance(
        "admm(f, g)",
        states=repeated(advance, (start, 0 * start)),
        options={"step": step},
        beside=beside,
        **_told(start, fixed, f=f, g=g),
    )


@case("peaceman-rachford")
def peaceman_rachford(draw: Draw) -> Instance:
    n = int(draw.integers(1, 5))
    g, at, v = kinked(draw, n)
    L = float(2.0 ** draw.integers(-2, 3))
    f, _ = proximable(draw, n, L / float(draw.choice([1.0, 4.0, 100.0])), L)
    f = f.tilted(-v - f.slope(at))
    step = float(draw.choice([0.01, 1 / np.sqrt(f.mu * f.L), 1.0, 20.0]))
    fixed, start = at - step * v, draw.point(n, float(draw.choice([1, 30])))

    def advance(z: np.ndarray) -> np.ndarray:
        x = f.prox(z, step)
        return z + 2 * (g.prox(2 * x - z, step) - x)

    return Instance(
        "peaceman_rachford(f, g)",
        states=repeated(advance, start),
        options={"step": repr(step)},
        measure=lambda k, z: [(size_of(z - fixed), {})],
        stepwise=True,
        **_told(start, fixed, f=f, g=g),
    )


@case("alternating-proximal")
def alternating_proximal(draw: Draw) -> Instance:
    """x* = prox of f at y*, y* = prox of g at x*: the kink of f is moved there."""
    n = int(draw.integers(1, 5))
    step = _step(draw)
    g, y, v = kinked(draw, n)
    at = y + step * v
    other, near, w = kinked(draw, n)
    shift = at - near
    base = Function(
        f"translate({other.text}, {listed(shift)})",
        lambda x: other.value(x - shift),
        lambda x: other.slope(x - shift),
        lambda x, t: shift + other.prox(x - shift, t),
    )
    f = base.tilted((y - at) / step - w)
    start = draw.point(n, float(draw.choice([0.1, 1, 30])))

    def advance(x: np.ndarray) -> np.ndarray:
        return f.prox(g.prox(x, step), step)

    def beside(k: int, x: np.ndarray) -> list[Pair]:
        far = size_of(start - at)
        return [(size_of(advance(x) - x), np.sqrt(2 / (k + 1)) * far), (size_of(x - at), far)]  # 2/3-averaged

    return Instance(
        "alternating_proximal(f, g)",
        states=repeated(advance, start),
        options={"step": step},
        beside=beside,
        **_told(start, at, f=f, g=g),
    )


@case("davis-yin")
def davis_yin(draw: Draw) -> Instance:
    n = int(draw.integers(2, 5))
    h, g, at = composite(draw, n, 0.0, float(2.0 ** draw.integers(-2, 3)))
    v = -h.slope(at)
    f = l1(0.5) if draw.random() < 0.5 else elastic(0.3, 0.5)
    f = f.tilted(-f.slope(at))  # 0 in ∂f(x*)
    part = draw.part(edge=False)
    step = 2 * part / h.L
    fixed, start = at + step * v, draw.point(n, float(draw.choice([0.1, 1, 30])))

    def advance(z: np.ndarray) -> np.ndarray:
        x = g.prox(z, step)
        return z + f.prox(2 * x - z - step * h.slope(x), step) - x

    def beside(k: int, z: np.ndarray) -> list[Pair]:
        far = size_of(start - fixed)
        # 2β/(4β - γ)-averaged: a/(1 - a) = 2β/(2β - γ)
        return [(size_of(advance(z) - z), far / np.sqrt((1 - part) * (k + 1))), (size_of(z - fixed), far)]

    return Instance(
        "davis_yin(f, g, h)",
        states=repeated(advance, start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(h))"},
        beside=beside,
        **_told(start, fixed, f=f, g=g, h=h),
    )


@case("dykstra")
def dykstra(draw: Draw) -> Instance:
    """½‖x_k - x*‖² is at most the dual gap, which is ½‖start - x*‖² at first for sets and norms."""
    n = int(draw.integers(1, 5))
    at = np.round(draw.uniform(-0.8, 0.8, n), 3)
    low = draw.random(n) < 0.5
    at[low] = 0.5
    start = at + np.where(low, draw.uniform(0, 3, n), 0.0)
    rest = ~low
    at[rest] = 0.0
    start[rest] = draw.choice([-1.0, 0.3, 1.0], int(rest.sum()))
    start[low] += 1.0
    box = Function("box(-1.0, 0.5)", lambda x: 0.0, lambda x: 0 * x, lambda x, t: np.clip(x, -1.0, 0.5))
    one = l1(1.0)
    f, g = (box, one) if draw.random() < 0.5 else (one, box)

    def run() -> Iterator[np.ndarray]:
        x, p, q = start, 0 * start, 0 * start
        while True:
            yield x
            y = g.prox(x + p, 1.0)
            p = x + p - y
            x = f.prox(y + q, 1.0)
            q = y + q - x

    gap = np.sum((start - at) ** 2) + 2 * np.abs(at).sum()
    return Instance(
        "dykstra(f, g)",
        states=run(),
        beside=lambda k, x: [(np.sum((x - at) ** 2), gap / max(1, k))] if k else [],
        **_told(start, at, f=f, g=g),
    )


# --- with a linear map between ----------------------------------------------------------------------------


def _matrix(draw: Draw, m: int, n: int) -> np.ndarray:
    kind = draw.integers(3)
    if kind == 0:
        return np.eye(m, n) * float(2.0 ** draw.integers(-2, 3))
    K = draw.standard_normal((m, n))
    return K if kind == 1 else np.outer(K[:, 0], K[0])


def _saddle(draw: Draw, K: np.ndarray, at: np.ndarray) -> tuple[Function, np.ndarray]:
    """(h, y*) with y* in ∂h(K x*): a kink is moved to K x*."""
    other, near, w = kinked(draw, len(K))
    shift = K @ at - near
    h = Function(
        f"translate({other.text}, {listed(shift)})",
        lambda z: other.value(z - shift),
        lambda z: other.slope(z - shift),
        lambda z, t: shift + other.prox(z - shift, t),
    )
    return h, w


@case("chambolle-pock")
def chambolle_pock(draw: Draw) -> Instance:
    """The gap between (x, y) and the average, for points (x, y) where both functions are known: for linear g
    and f the conjugate is an indicator, and y is held there.
    """
    m, n = int(draw.integers(1, 4)), int(draw.integers(1, 4))
    K = _matrix(draw, m, n)
    size = np.linalg.norm(K, 2)
    weight = float(10 ** draw.uniform(-1, 1))
    part = draw.part()
    steps = {"tau": part * weight, "sigma": part / weight}
    tau, sigma = steps["tau"] / size, steps["sigma"] / size
    c, d = draw.point(n), draw.point(m)
    g = Function(f"tilt(free(), {listed(c)})", lambda x: float(c @ x), lambda x: c, lambda x, t: x - t * c)
    f = Function(f"affine({listed(np.eye(m))}, {listed(d)})", lambda z: 0.0, lambda z: 0 * z, lambda z, t: d)
    start = draw.point(n)

    def run() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        x, y, total, k = start, np.zeros(m), (0 * start, np.zeros(m)), 0
        while True:
            yield (total[0] / k, total[1] / k) if k else (x, y)
            new = g.prox(x - tau * K.T @ y, tau)
            ahead = y + sigma * K @ (2 * new - x)
            x, y = new, ahead - sigma * f.prox(ahead / sigma, 1 / sigma)
            total, k = (total[0] + x, total[1] + y), k + 1

    cloud = [(draw.point(n, 3.0), draw.point(m, 3.0)) for _ in range(6)]

    def lagrangian(x: np.ndarray, y: np.ndarray) -> float:
        return float(c @ x + y @ K @ x - d @ y)

    def measure(k: int, mean: tuple[np.ndarray, np.ndarray]) -> list:
        if not k:
            return [(0.0, {"x": x, "y": y}) for x, y in [*cloud, *cloud]]
        # The gap is linear in (x, y) and the bound quadratic: where they are closest, and a cloud of points.
        a, b = mean
        dx, dy = -k * tau * (c + K.T @ b), k * sigma * (K @ a - d)
        points = [*cloud, *((start + t * dx, t * dy) for t in (0.2, 0.5, 0.8, 1, 1.2, 2))]
        return [(lagrangian(a, y) - lagrangian(x, b), {"x": x, "y": y}) for x, y in points]

    told = _told(start, start, g=g, f=f)
    told["names"] |= {"tau": tau, "sigma": sigma, "K": lambda x: K @ x}
    return Instance(
        f"pdhg(g, f, {listed(K)})",
        states=run(),
        options={
            "tau": f"{part * weight!r} / lipschitz(matrix({listed(K)}))",
            "sigma": f"{part / weight!r} / lipschitz(matrix({listed(K)}))",
        },
        measure=measure,
        **told | {"size": 1e3},
    )


@case("condat-vu")
def condat_vu(draw: Draw) -> Instance:
    m, n = int(draw.integers(1, 4)), int(draw.integers(2, 4))
    K = _matrix(draw, m, n)
    size = float(np.linalg.norm(K, 2))
    f, g, at = composite(draw, n, 0.0, float(2.0 ** draw.integers(-2, 3)))
    h, y = _saddle(draw, K, at)
    f = f.tilted(-K.T @ y)  # -∇f - Kᵀy* in ∂g, as before
    sigma, part = float(10 ** draw.uniform(-1, 1)) / size, draw.part(edge=False)
    tau = part / (f.L / 2 + sigma * size**2)
    metric = np.block([[np.eye(n) / tau, -K.T], [-K, np.eye(m) / sigma]])
    start, fixed = draw.point(n, float(draw.choice([0.1, 1, 30]))), np.concatenate([at, y])

    def advance(z: np.ndarray) -> np.ndarray:
        x, y = z[:n], z[n:]
        new = g.prox(x - tau * (f.slope(x) + K.T @ y), tau)
        ahead = y + sigma * K @ (2 * new - x)
        return np.concatenate([new, ahead - sigma * h.prox(ahead / sigma, 1 / sigma)])

    first = np.concatenate([start, np.zeros(m)])
    share = 1 / (1 - f.L / 2 / (1 / tau - sigma * size**2))  # a/(1 - a) in the metric

    def long(z: np.ndarray) -> float:
        return float(np.sqrt(max(z @ metric @ z, 0.0)))

    def beside(k: int, z: np.ndarray) -> list[Pair]:
        far = long(first - fixed)
        return [(long(advance(z) - z), np.sqrt(share / (k + 1)) * far), (long(z - fixed), far)]

    return Instance(
        f"condat_vu(f, g, h, {listed(K)})",
        states=repeated(advance, first),
        options={"sigma": repr(sigma), "tau": repr(tau)},
        beside=beside,
        **_told(start, fixed, f=f, g=g, h=h) | {"size": 1 + long(first - fixed) + size_of(fixed)},
    )


@case("linearized-admm")
def linearized_admm(draw: Draw) -> Instance:
    m, n = int(draw.integers(1, 4)), int(draw.integers(1, 4))
    K = _matrix(draw, m, n)
    size = float(np.linalg.norm(K, 2))
    f, at, v = kinked(draw, n)
    g, y = _saddle(draw, K, at)
    f = f.tilted(-v - K.T @ y)
    sigma, part = float(10 ** draw.uniform(-1, 1)), draw.part(edge=False)
    tau = part / (sigma * size**2)
    start = draw.point(n, float(draw.choice([0.1, 1, 30])))
    State = tuple[np.ndarray, np.ndarray, np.ndarray]

    def advance(state: State) -> State:
        x, z, u = state
        x = f.prox(x - tau * sigma * K.T @ (K @ x - z + u), tau)
        z = g.prox(K @ x + u, 1 / sigma)
        return x, z, u + K @ x - z

    def distance(state: State) -> float:
        x, z, u = state[0] - at, state[1] - K @ at, state[2] - y / sigma
        return float(x @ x / tau - sigma * np.sum((K @ x) ** 2) + sigma * (z @ z + u @ u))

    first: State = start, K @ start, np.zeros(m)
    after = advance(first)

    def beside(k: int, state: State) -> list[Pair]:
        if not k:
            return []
        new = advance(state)
        moved = sigma * (np.sum((new[1] - state[1]) ** 2) + np.sum((new[2] - state[2]) ** 2))
        return [(distance(state), distance(after)), (moved * k, 2 * distance(after))]

    return Instance(
        f"linearized_admm(f, g, {listed(K)})",
        states=repeated(advance, first),
        options={"sigma": repr(sigma), "tau": f"{part / sigma!r} / lipschitz(matrix({listed(K)}))**2"},
        beside=beside,
        **_told(start, at, f=f, g=g) | {"size": 1 + abs(distance(after)) + size_of(K @ at) + size_of(y)},
    )
