"""Cases: minimisation over the simplex, transport, and decisions."""

from typing import Any

import numpy as np
from harness import Draw, Instance, case, listed, repeated
from problems import ends, symmetric

Vector = np.ndarray


def _problem(draw: Draw, total: float) -> tuple[str, Any, Any, Vector, float]:
    """(text, value, gradient, x*, L): the multiplier of Σx and of x >= 0 are put where we want them."""
    n = int(draw.integers(2, 6))
    Q = symmetric(draw, ends(draw, n, 0.01, float(2.0 ** draw.integers(-2, 3))))
    at = np.where(draw.random(n) < 0.5, 0.0, draw.random(n))
    at[0] += 0.1
    at = total * at / at.sum()
    slack = np.where(at > 0, 0.0, draw.choice([0.0, 0.1, 1.0], n))
    q = slack - draw.uniform(-1, 1) - Q @ at
    text = f"operators:\n  f: quadratic({listed(Q)}, {listed(q)})\n"
    return text, lambda x: float(x @ Q @ x / 2 + q @ x), lambda x: Q @ x + q, at, float(np.linalg.norm(Q, 2))


@case("frank-wolfe")
def frank_wolfe(draw: Draw) -> Instance:
    total = float(draw.choice([0.5, 1.0, 4.0]))
    text, value, gradient, at, L = _problem(draw, total)
    start = np.round(draw.random(len(at)), 6)

    def advance(state: tuple[Vector, int]) -> tuple[Vector, int]:
        x, k = state
        corner = total * np.eye(len(x))[np.argmin(gradient(x))]
        return x + 2 / (k + 2) * (corner - x), k + 1

    class f:
        pass

    f.L = L
    return Instance(
        f"frank_wolfe(f, {total!r})",
        start=start,
        states=repeated(advance, (start, 0)),
        parts=text,
        measure=lambda k, s: [(value(s[0]) - value(at), {})] if k else [],
        names={"f": f, "total": total},
        size=1 + abs(value(at)),
    )


@case("mirror-descent")
def mirror_descent(draw: Draw) -> Instance:
    text, value, gradient, at, L = _problem(draw, 1.0)
    part, start = draw.part(), np.round(0.01 + draw.random(len(at)), 6)
    step, first = part / L, start / start.sum()

    def advance(x: Vector) -> Vector:
        grown = x * np.exp(-step * (gradient(x) - gradient(x).min()))
        return grown / grown.sum()

    live = at > 0
    entropy = float(np.sum(at[live] * np.log(at[live] / first[live])))
    return Instance(
        "mirror_descent(f)",
        start=start,
        states=repeated(advance, first),
        parts=text,
        options={"step": f"{part!r} / lipschitz(grad(f))"},
        measure=lambda k, x: [(value(x) - value(at), {})],
        names={"entropy": entropy, "step": step},
        size=1 + abs(value(at)),
    )


@case("sinkhorn")
def sinkhorn(draw: Draw) -> Instance:
    """Kernels with few distinct entries are those for which Birkhoff's constant is nearly attained."""
    m, n = int(draw.integers(2, 5)), int(draw.integers(2, 5))
    spread = float(10 ** draw.uniform(0.01, 2))
    K = (
        np.where(draw.random((m, n)) < 0.5, 1.0, 1 / spread)
        if draw.random() < 0.5
        else spread ** -draw.random((m, n))
    )
    if m == n and draw.random() < 0.5:
        K = np.full((n, n), 1 / spread) + (1 - 1 / spread) * np.eye(n)
    u, v = draw.random(m) + 0.1, draw.random(n) + 0.1
    plan = u[:, None] * K * v
    rows, columns = plan.sum(1), plan.sum(0)
    start = np.round(np.exp(draw.standard_normal(m)), 6)
    parts = f"parameters:\n  K: {listed(K)}\n  rows: {listed(rows)}\n  columns: {listed(columns)}\n"
    return Instance(
        "sinkhorn(K, rows, columns)",
        start=start,
        states=repeated(lambda x: rows / (K @ (columns / (K.T @ x))), start),
        parts=parts,
        measure=lambda k, x: [(float(np.ptp(np.log(x / u))), {})],
        stepwise=True,
    )


@case("bellman")
def value_iteration(draw: Draw) -> Instance:
    states, actions = int(draw.integers(1, 5)), int(draw.integers(1, 4))
    chance = draw.integers(0, 3, (states, actions, states)).astype(float)
    chance[..., 0] += 1
    if draw.random() < 0.5:  # one state leads to one
        chance = np.eye(states)[draw.integers(0, states, (states, actions))]
    chance = chance / chance.sum(-1, keepdims=True)
    reward = draw.point(states * actions).reshape(states, actions)
    discount = float(draw.choice([0.1, 0.9, 0.99, -0.9]))

    def advance(v: Vector) -> Vector:
        return np.max(reward + discount * chance @ v, axis=1)

    at, before = advance(np.zeros(states)), np.full(states, np.inf)
    while np.abs(at - before).max() > 1e-15 * np.abs(at).max():
        at, before = advance(at), at
    start = np.zeros(states) if draw.random() < 0.5 else draw.point(states)
    parts = f"parameters:\n  reward: {listed(reward)}\n  chance: {listed(chance)}\n"
    return Instance(
        "value_iteration(reward, chance)",
        start=start,
        states=repeated(advance, start),
        parts=parts,
        options={"discount": discount},
        measure=lambda k, v: [(float(np.abs(v - at).max()), {})],
        residual=lambda before, v: float(np.abs(v - before).max()),
        stepwise=True,
        size=1 + float(np.abs(at).max()),
    )
