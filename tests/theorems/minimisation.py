"""Cases: methods for smooth functions."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from harness import Draw, Instance, Pair, case, repeated, size_of
from problems import (
    Function,
    ends,
    least_squares,
    quadratic,
    smooth,
    symmetric,
)


def constants(draw: Draw) -> tuple[float, float]:
    """(mu, L), from equal to a condition of 10⁴."""
    L = float(2.0 ** draw.integers(-3, 4))
    return L / float(draw.choice([1.0, 2.0, 9.0, 100.0, 1e4])), L


def minimised(draw: Draw, mu: float, L: float) -> tuple[Function, np.ndarray, np.ndarray]:
    n = int(draw.integers(1, 5))
    f, at = smooth(draw, n, mu, L)
    return f, at, draw.point(n, float(draw.choice([0.1, 1, 30])))


def flat(draw: Draw) -> tuple[Function, np.ndarray, np.ndarray]:
    """A problem that is not strongly convex, or not known to be."""
    f, at, start = minimised(draw, 0.0, constants(draw)[1])
    if len(at) > 1 or not f.text.startswith("least_squares"):
        return f, at, start
    row = np.array([[np.sqrt(f.L), 0.0]])
    at, start = draw.point(2), draw.point(2)
    return least_squares(row, at), at, start


def of(f: Function, at: np.ndarray, start: np.ndarray, g: Function | None = None) -> dict[str, Any]:
    """What every instance of a minimisation has."""
    total = size_of(start) + size_of(at) + 1
    value = abs(f.value(at)) + abs(f.value(start))
    functions = f"operators:\n  f: {f.text}\n" + (f"  g: {g.text}\n" if g else "")
    names = {"start": start, "solution": at, "f": f}
    return dict(start=start, parts=functions, names=names, size=total + value)


def steps_of_gradient(f: Function, step: float, start: np.ndarray) -> Iterator[np.ndarray]:
    return repeated(lambda x: x - step * f.slope(x), start)


# --- gradient steps ---------------------------------------------------------------------------------------


@case("gradient-descent-strongly-convex")
def gradient_descent(draw: Draw) -> Instance:
    f, at, start = minimised(draw, *constants(draw))
    part = draw.part(edge=False)
    return Instance(
        "gradient_descent(f)",
        states=steps_of_gradient(f, 2 * part / f.L, start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(f))"},
        measure=lambda k, x: [(size_of(x - at), {})],
        stepwise=True,
        **of(f, at, start),
    )


@case("gradient-descent-convex")
def gradient_descent_convex(draw: Draw) -> Instance:
    f, at, start = flat(draw)
    part = draw.part()
    step = part / f.L
    told = of(f, at, start)
    told["names"]["step"] = step
    return Instance(
        "gradient_descent(f)",
        states=steps_of_gradient(f, step, start),
        options={"step": f"{part!r} / lipschitz(grad(f))"},
        measure=lambda k, x: [(f.value(x) - f.value(at), {})],
        **told,
    )


@case("backtracking")
def backtracking(draw: Draw) -> Instance:
    f, at, start = minimised(draw, 0.0, constants(draw)[1])
    first = float(draw.choice([0.01, 1.0, 100.0])) / f.L
    shrink, theta = float(draw.choice([0.1, 0.5, 0.9])), float(draw.choice([0.1, 0.3, 0.5]))

    def step(state: tuple[np.ndarray, float, int]) -> tuple[np.ndarray, float, int]:
        x, t, taken = state
        g = f.slope(x)
        trial = x - t * g
        if size_of(f.slope(trial) - g) <= theta * size_of(g):
            return trial, t, taken + 1
        return x, t * shrink, taken

    told = of(f, at, start)
    told["names"] |= {"first": first, "shrink": shrink, "theta": theta}
    return Instance(
        "backtracking(f)",
        states=repeated(step, (start, first, 0)),
        options={"first": repr(first), "shrink": repr(shrink), "theta": repr(theta)},
        measure=lambda k, state: [(f.value(state[0]) - f.value(at), {"taken": state[2], "first": first})],
        **told,
    )


@case("barzilai-borwein-quadratic")
def barzilai_borwein(draw: Draw) -> Instance:
    n = int(draw.integers(1, 4))
    Q = symmetric(draw, ends(draw, n, 0.25, 2.0))
    at, start = draw.point(n), draw.point(n)
    f = quadratic(Q, at)

    def run() -> Iterator[np.ndarray]:
        x, length = start, 1 / f.L
        while True:
            yield x
            new = x - length * f.slope(x)
            s, y = new - x, f.slope(new) - f.slope(x)
            length = s @ s / (s @ y) if s @ y > 0 else 1 / f.L
            x = new

    def beside(k: int, x: np.ndarray) -> list[Pair]:
        return [(size_of(x - at), 64 * size_of(start - at) * 0.75**k)]  # Dai & Liao 2002: R-linear

    return Instance("barzilai_borwein(f)", states=run(), beside=beside, **of(f, at, start))


@case("heavy-ball-quadratic")
def heavy_ball(draw: Draw) -> Instance:
    mu, L = constants(draw)
    n = int(draw.integers(1, 5))
    at, start = draw.point(n), draw.point(n)
    f = quadratic(symmetric(draw, ends(draw, n, mu, L)), at)
    part, momentum = draw.part(edge=False), float(draw.choice([0.0, 0.3, 0.9, 0.999]))
    step = 2 * (1 + momentum) * part / f.L
    values = np.linalg.eigvalsh(np.array([f.slope(at + e) for e in np.eye(n)]))
    radius = max(np.abs(np.roots([1, -(1 + momentum - step * v), momentum])).max() for v in values)

    def advance(state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        x, last = state
        return x - step * f.slope(x) + momentum * (x - last), x

    def beside(k: int, states: tuple[np.ndarray, np.ndarray]) -> list[Pair]:
        # Powers of a companion matrix with roots of size r: its entries are at most (k + 1) r^k.
        return [(size_of(states[0] - at), (2 * k + 1) * (radius + 1e-12) ** (k - 1) * size_of(start - at))]

    return Instance(
        "heavy_ball(f)",
        states=repeated(advance, (start, start)),
        options={"step": f"{part!r} * 2 * {1 + momentum!r} / lipschitz(grad(f))", "momentum": momentum},
        beside=beside if radius < 1 else lambda k, s: [(1.0, 0.0)],
        **of(f, at, start),
    )


# --- momentum ---------------------------------------------------------------------------------------------


@case("nesterov-strongly-convex")
def nesterov(draw: Draw) -> Instance:
    f, at, start = minimised(draw, *constants(draw))
    part, of_mu = draw.part(), draw.part()
    step, mu = part / f.L, of_mu * f.mu
    root = np.sqrt(step * mu)
    momentum = (1 - root) / (1 + root)

    def advance(state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        x, y = state
        new = y - step * f.slope(y)
        return new, new + momentum * (new - x)

    told = of(f, at, start)
    told["names"]["mu"] = mu
    return Instance(
        "nesterov(f)",
        states=repeated(advance, (start, start)),
        options={
            "step": f"{part!r} / lipschitz(grad(f))",
            "mu": f"{of_mu!r} * strong_convexity(f)",
        },
        measure=lambda k, s: [(f.value(s[0]) - f.value(at), {})],
        **told,
    )


@case("triple-momentum")
def triple_momentum(draw: Draw) -> Instance:
    mu, L = constants(draw)
    f, at, start = minimised(draw, min(mu, L / 2), L)
    wide, of_mu = 1 / draw.part(), draw.part()
    L, mu = f.L * wide, f.mu * of_mu
    rho = 1 - np.sqrt(mu / L)
    alpha, beta = (1 + rho) / L, rho**2 / (2 - rho)
    gamma, delta = rho**2 / ((1 + rho) * (2 - rho)), rho**2 / (1 - rho**2)

    def advance(state: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        z, last = state
        y = z + gamma * (z - last)
        return z + beta * (z - last) - alpha * f.slope(y), z

    def beside(k: int, state: tuple[np.ndarray, np.ndarray]) -> list[Pair]:
        z, last = state
        x = z + delta * (z - last)
        return [(size_of(x - at), 2 * L / mu * rho**k * size_of(start - at))]

    told = of(f, at, start)
    told["size"] *= L / mu
    return Instance(
        "triple_momentum(f)",
        states=repeated(advance, (start, start)),
        options={
            "smooth": f"{wide!r} * lipschitz(grad(f))",
            "mu": f"{of_mu!r} * strong_convexity(f)",
        },
        beside=beside,
        **told,
    )


# --- quasi-Newton -----------------------------------------------------------------------------------------


@case("lbfgs-safeguarded")
def lbfgs(draw: Draw) -> Instance:
    """Trial points come from anywhere: the theorem claims its bound whatever the quasi-Newton step is."""
    mu, L = constants(draw)
    f, at, start = minimised(draw, max(mu, L / 100), L)
    part, slack = draw.part(edge=False), float(draw.choice([1.0, 10.0]))
    accept, step = float(draw.choice([0.0, 0.5, 0.99])), 2 * part / f.L
    memory = int(draw.integers(1, 5))

    def run() -> Iterator[float]:
        x = trial = start
        plain, least, limit, moves = True, np.inf, np.inf, []
        last = slope = None
        yield 0.0
        while True:
            g = f.slope(trial)
            if last is not None:
                s, y = trial - last, g - slope
                if s @ y > 1e-6 * size_of(s) * size_of(y):
                    moves = [*moves, (s, y)][-memory:]
            if plain or size_of(g) <= limit:
                least = size_of(g)
                limit = max(min(accept * limit, slack * least), accept * least)
                following = trial - two_loops(g, moves, step)
                x, plain = trial - step * g, False
            else:
                following, plain = x, True
            last, slope, trial = trial, g, following
            yield least

    told = of(f, at, start)
    told["names"] |= {"slack": slack, "accept": accept, "least": step * f.mu, "most": step * f.L}
    first = size_of(f.slope(start))
    return Instance(
        "lbfgs(f)",
        states=run(),
        options={
            "step": f"{part!r} * 2 / lipschitz(grad(f))",
            "slack": slack,
            "accept": accept,
            "memory": memory,
        },
        measure=lambda k, size: [(size, {"first": first})] if k else [(0.0, {"first": first})],
        **told,
    )


def two_loops(g: np.ndarray, moves: list[tuple[np.ndarray, np.ndarray]], step: float) -> np.ndarray:
    """Nocedal's two-loop recursion: H g."""
    q, kept = g.copy(), []
    for s, y in reversed(moves):
        a = s @ q / (s @ y)
        kept.append(a)
        q = q - a * y
    q = q * (moves[-1][0] @ moves[-1][1] / (moves[-1][1] @ moves[-1][1]) if moves else step)
    for (s, y), a in zip(moves, reversed(kept)):
        q = q + (a - y @ q / (s @ y)) * s
    return q
