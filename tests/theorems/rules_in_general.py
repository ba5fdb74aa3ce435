"""Cases: the rules for iterations of a form, in the norm or function that each certificate brings along."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from harness import Draw, Instance, Measured, case, listed, repeated, size_of
from problems import Function, huber, kinked, l1, least_squares

from banach.compiler.certificate import Certificate

Vector = np.ndarray
_SPEC = """\
banach: 1
precision: float64
{parts}
solve:
  x:
    state: {{{state}}}
    next: {{{next}}}
    stop: {{residual: norm(x' - x) <= 1e-9, most: 100000}}
outputs: {{x: x}}
"""


def spec(parts: str, state: str, next: str) -> str:
    return _SPEC.format(parts=parts, state=state, next=next)


def rational(rows: Any) -> Vector:
    return np.array([[float(Fraction(x)) for x in row] for row in rows])


# --- averaged maps ----------------------------------------------------------------------------------------


@case("averaged-map")
def averaged(draw: Draw) -> Instance:
    """Gradient and proximal steps that share a fixed point, one after the other, relaxed or not."""
    n = int(draw.integers(2, 5))
    g, at, v = kinked(draw, n)
    while g.mu:
        g, at, v = kinked(draw, n)
    flat = huber(2.0, 0.0, 1.0)
    f = (
        least_squares(draw.standard_normal((n - 1, n)), at)
        if draw.random() < 0.5
        else flat.tilted(-flat.slope(at))
    )
    h = l1(0.7).tilted(-l1(0.7).slope(at))
    parts = {"f": f, "g": g.tilted(-v), "h": h}
    length, step = round(2 * draw.part(edge=False) / f.L, 6), float(draw.choice([0.1, 1.0, 10.0]))
    relaxation = float(draw.choice([0.3, 0.5, 0.9]))
    text, map = "x", lambda x: x
    order = draw.permutation(["f", "g", "h"])[: int(draw.integers(2, 4))]
    for name in order:
        text, map = _after(name, parts[name], text, map, length, step)
    start, inner = draw.point(n, float(draw.choice([0.1, 1, 30]))), map

    def advance(x: Vector) -> Vector:
        return x + relaxation * (inner(x) - x)

    def by(found: Certificate) -> Callable[[int, Vector], list[Measured]]:
        a = float(Fraction(found.derivation.data["a"]))  # type: ignore[union-attr]
        return lambda k, x: [(size_of(advance(x) - x), {"a": a})]

    told = "operators:\n" + "".join(f"  {name}: {parts[name].text}\n" for name in order)
    next = f'x: "x + {relaxation!r} * ({text} - x)"'
    return Instance(
        "",
        start,
        repeated(advance, start),
        spec=spec(told, f'x: "{listed(start)}"', next),
        by=by,
        names={"start": start, "solution": at},
        beside=lambda k, x: [(size_of(x - at), size_of(start - at))],
        size=1 + size_of(start),
    )


def _after(name: str, f: Function, text: str, map: Any, length: float, step: float) -> tuple[str, Any]:
    if name == "f":
        return f"({text}) - {length!r} * grad(f)({text})", lambda x: (y := map(x)) - length * f.slope(y)
    return f"prox({name}, {step!r})({text})", lambda x: f.prox(map(x), step)


# --- linear iterations, and contractions by weights -------------------------------------------------------


def _weighing(found: Certificate) -> Callable[[Vector], float]:
    data = found.derivation.data  # type: ignore[union-attr]
    if data["kind"] == "weights":
        weights = np.array([float(Fraction(x)) for x in data["weights"]])
        return lambda x: float(np.abs(x / weights).max())
    P = rational(data["P"])
    return lambda x: float(np.sqrt(max(x @ P @ x, 0.0)))


def _towards(at: Vector, start: Vector, step: Callable[[Vector], Vector], next: str) -> Instance:
    """Steps that the certificate's own norm brings closer to their fixed point, each."""

    def by(found: Certificate) -> Callable[[int, Vector], list[Measured]]:
        norm = _weighing(found)
        return lambda k, x: [(norm(x - at), {})]

    text = spec("", f'x: "{listed(start)}"', next)
    return Instance("", start, repeated(step, start), spec=text, by=by, stepwise=True, size=1e2)


@case("linear-iteration")
def linear_iteration(draw: Draw) -> Instance:
    """Matrices that are far from normal: their norm is beyond 1, their eigenvalues are not."""
    n, M = int(draw.integers(2, 6)), np.zeros((1, 1))
    radius = float(draw.choice([0.5, 0.9, 0.999]))
    while np.linalg.norm(M, 2) <= 1.01:
        M = draw.standard_normal((n, n)) + np.triu(
            draw.standard_normal((n, n)) * 10 ** draw.uniform(-1, 1.5), 1
        )
        M = M * (radius / np.abs(np.linalg.eigvals(M)).max())
    c, start = draw.point(n), draw.point(n)
    at = np.linalg.solve(np.eye(n) - M, c)

    def by(found: Certificate) -> Callable[[int, Vector], list[Measured]]:
        norm = _weighing(found)
        return lambda k, away: [(norm(away), {})]

    return Instance(
        "",
        start,
        repeated(lambda away: M @ away, start - at),  # from the fixed point, so that nothing cancels
        spec=spec("", f'x: "{listed(start)}"', f'x: "{listed(M)} @ x + {listed(c)}"'),
        by=by,
        stepwise=True,
    )


@case("weighted-contraction")
def weighted(draw: Draw) -> Instance:
    """Entries of which some stretch others a lot, as long as they are not stretched back."""
    n, W = int(draw.integers(2, 6)), np.zeros((1, 1))
    while np.linalg.norm(W, 2) <= 1.01:
        scale = 10 ** draw.uniform(-1, 1, n)
        W = draw.standard_normal((n, n)) * (draw.random((n, n)) < 0.8) * scale[:, None] / scale
        radius = np.abs(np.linalg.eigvals(np.abs(W))).max()
        W = W * (float(draw.choice([0.5, 0.9, 0.98])) / radius if radius > 1e-9 else 1.0)
    word, curve = [("tanh", np.tanh), ("relu", lambda z: np.maximum(z, 0)), ("sin", np.sin)][draw.integers(3)]
    at, start = draw.point(n), draw.point(n)
    shift = W @ at
    c = at - curve(W @ at - shift)

    next = f'x: "{word}({listed(W)} @ x - {listed(shift)}) + {listed(c)}"'

    return _towards(at, start, lambda x: curve(W @ x - shift) + c, next)


# --- one layer, with all its slopes -------------------------------------------------------------------------


@case("layer-contraction")
def one_layer(draw: Draw) -> Instance:
    """Damped steps of layers that hold themselves back, and forward steps of monotone ones that turn."""
    n = int(draw.integers(2, 6))
    at, start = draw.point(n), draw.point(n, 3.0)
    word, curve = [("tanh", np.tanh), ("relu", lambda z: np.maximum(z, 0))][draw.integers(2)]
    if draw.random() < 0.5:
        W = draw.uniform(-1, 1, (n, n))
        np.fill_diagonal(W, 0)
        W *= 2.5 * draw.uniform(0.7, 0.99) / np.abs(W).sum(1, keepdims=True)
        np.fill_diagonal(W, draw.uniform(-3, -2, n))
        a = float(draw.choice([0.25, 0.1]))
        shift = W @ at + draw.choice([-1e-3, 0.0, 1e-3], n)
        c = at - curve(W @ at - shift)
        next = f'x: "{1 - a} * x + {a} * ({word}({listed(W)} @ x - {listed(shift)}) + {listed(c)})"'
        step = lambda x: (1 - a) * x + a * (curve(W @ x - shift) + c)  # noqa: E731
    else:
        turn = draw.standard_normal((n, n))
        turn = turn - turn.T
        W = draw.uniform(0.3, 0.8) * np.eye(n) + turn * draw.uniform(2, 5) / np.linalg.norm(turn, 2)
        a = float(0.9 * (1 - W[0, 0]) / np.linalg.norm(np.eye(n) - W, 2) ** 2)
        b = at - W @ at
        c = at - curve(at - a * (at - W @ at - b))
        next = f'x: "{word}(x - {a!r} * (x - {listed(W)} @ x - {listed(b)})) + {listed(c)}"'
        step = lambda x: curve(x - a * (x - W @ x - b)) + c  # noqa: E731

    return _towards(at, start, step, next)


# --- solves inside -----------------------------------------------------------------------------------------


@case("inexact-contraction")
def around_a_solve(draw: Draw) -> Instance:
    """Steps with a solve inside that ends early, from a start far off; linear ones attain the bounds."""
    n, p, h = int(draw.integers(1, 4)), float(draw.choice([0.3, 0.9])), float(draw.choice([0.5, 0.95]))
    W, inner = draw.turn(n) * p, float(draw.choice([1e-3, 1e-6]))
    curve, word = [(np.tanh, "tanh({})"), (lambda x: x, "({})")][draw.integers(2)]
    V = draw.turn(n) * h * (1 - p)
    b, start = draw.point(n), draw.point(n, 5.0)

    def solved(x: Vector, least: float) -> Vector:
        z = np.zeros(n)
        while True:
            z, before = W @ z + curve(V @ x), z
            if np.linalg.norm(z - before) <= least:
                return z

    at = start
    for _ in range(8000):  # both equations at once
        at = W @ (at - b) + curve(V @ at) + b
    tolerance = 3 * inner * p / (1 - p) / (1 - h)
    text = _SPEC.replace("norm(x' - x) <= 1e-9", f"norm(x' - x) <= {tolerance!r}")
    block = (
        f"operators:\n  inner(x):\n    solve:\n      z:\n        state: {{z: zeros({n})}}\n"
        f'        next: {{z: "{listed(W)} @ z + {word.format(f"{listed(V)} @ x")}"}}\n'
        f"        stop: {{residual: norm(z' - z) <= {inner!r}, most: 10000}}\n    returns: z"
    )
    return Instance(
        "",
        start,
        repeated(lambda x: solved(x, inner) + b, start),
        measure=lambda k, x: [(size_of(x - at), {})],
        names={"start": start, "solution": at},
        spec=text.format(parts=block, state=f'x: "{listed(start)}"', next=f'x: "inner(x) + {listed(b)}"'),
        size=1e2,
    )


# --- entries that read each other in no circle --------------------------------------------------------------


@case("exact-after-finite-steps")
def chained(draw: Draw) -> Instance:
    """Layers in any order, with weights that stretch a lot, and with jumps."""
    n = int(draw.integers(2, 7))
    order, W = draw.permutation(n), np.zeros((1, 1))
    while not W.any():
        W = np.tril(3 * draw.standard_normal((n, n)), -1) * (draw.random((n, n)) < 0.7)
    W = W[order][:, order]
    word, curve = [("floor", np.floor), ("sign", np.sign), ("square", np.square)][draw.integers(3)]
    c, start = draw.point(n), draw.point(n, 10.0)
    at = c
    for _ in range(n):
        at = curve(W @ at) + 2 * c
    longest = next(k for k in range(1, n + 1) if not np.linalg.matrix_power((W != 0).astype(int), k).any())

    def by(found: Certificate) -> Callable[[int, Vector], list[Measured]]:
        assert found.rate == f"0 from step {longest} on"

        def measure(k: int, x: Vector) -> list[Measured]:
            assert k < longest or np.array_equal(x, at), (k, longest, x, at)
            return []

        return measure

    text = f'x: "{word}({listed(W)} @ x) + 2 * {listed(c)}"'
    return Instance(
        "",
        start,
        repeated(lambda x: curve(W @ x) + 2 * c, start),
        spec=spec("", f'x: "{listed(start)}"', text),
        by=by,
    )


# --- positive numbers, by their ratios ----------------------------------------------------------------------


@case("thompson-contraction")
def thompson(draw: Draw) -> Instance:
    """Matrices that stretch a lot under a root, alone, under a curve, or divided by another product."""
    n, mu = int(draw.integers(1, 5)), round(float(draw.choice([0.3, 0.7, 0.97])), 2)
    W = np.round(10 ** draw.uniform(-2, 2) * draw.random((n, n)), 6)
    V = np.round(draw.random((n, n)) + 0.1, 6)
    b, steep = np.round(draw.random(n) + 1e-3, 6), np.round(30 * W / W.sum(), 6)
    kinds = {
        f"({listed(W)} @ x + {listed(b)})**{mu}": lambda x: (W @ x + b) ** mu,
        f"tanh({listed(W)} @ x + {listed(b)})**{mu}": lambda x: np.tanh(W @ x + b) ** mu,
        f"softplus({listed(W)} @ x)**{mu}": lambda x: np.log1p(np.exp(-W @ x)) + W @ x,
        f"sigmoid({listed(steep)} @ x + {listed(b)})": lambda x: 1 / (1 + np.exp(-steep @ x - b)),
        f"{listed(b)} / ({listed(V)} @ x)**{mu}": lambda x: b / (V @ x) ** mu,
        f"(x * ({listed(V)} @ x) / sum(x))**{mu / 3!r}": lambda x: (x * (V @ x) / np.sum(x)) ** (mu / 3),
    }
    text = list(kinds)[int(draw.integers(len(kinds)))]
    step = kinds[text]
    if text.startswith("softplus"):
        plain = step
        step = lambda x: plain(x) ** mu  # noqa: E731
    start = np.round(10 ** draw.uniform(-3, 1, n), 9)
    at = start
    for _ in range(2500):
        at = step(at)
    return Instance(
        "",
        start,
        repeated(step, start),
        spec=spec("", f'x: "{listed(start)}"', f'x: "{text}"'),
        by=lambda found: lambda k, x: [(float(np.abs(np.log(x / at)).max()), {})],
        stepwise=True,
    )


# --- gradient methods with memory -------------------------------------------------------------------------


@case("quadratic-lyapunov")
def lyapunov(draw: Draw) -> Instance:
    """V of the certificate is evaluated along orbits of piecewise quadratics, in units of L = 1."""
    L = float(2.0 ** draw.integers(-2, 3))
    mu = L / float(draw.choice([4.0, 16.0, 25.0]))
    n = int(draw.integers(1, 4))
    base = huber(L, mu, float(draw.choice([0.2, 1.0])))
    at, start = draw.point(n), draw.point(n, 3.0)
    f = base.tilted(-base.slope(at))
    if draw.random() < 0.5:  # Ghadimi et al. 2015, with g the step in units of 1/L
        g = draw.uniform(0.1, 1.2)
        m = mu / L
        momentum = (
            0.95 * float(draw.random()) * (m * g / 2 + np.sqrt(m * m * g * g / 4 + 4 * (1 - g / 2))) / 2
        )
        ahead = 0.0
    else:
        root = np.sqrt(mu / L)
        g, momentum, ahead = 1.0, (1 - root) / (1 + root), 1.0
    step, momentum = round(g / L, 9), round(float(momentum), 9)
    next = f"x: x + {momentum} * (x - last) - {step} * grad(f)(x + {momentum * ahead} * (x - last)), last: x"

    def point(state: tuple[Vector, Vector]) -> Vector:
        return state[0] + momentum * ahead * (state[0] - state[1])

    def advance(state: tuple[Vector, Vector]) -> tuple[Vector, Vector]:
        x, last = state
        return x + momentum * (x - last) - step * f.slope(point(state)), x

    def by(found: Certificate) -> Callable[[int, tuple[Vector, Vector]], list[Measured]]:
        data = found.derivation.data  # type: ignore[union-attr]
        P = rational(data["P"])
        (p,) = (float(Fraction(x)) for x in data["values"])
        order = [("x", "last").index(name) for name in data["states"]]

        def measure(k: int, state: tuple[Vector, Vector]) -> list[Measured]:
            y = point(state)
            s = (f.slope(y) - mu * (y - at)) / L
            h = (f.value(y) - f.value(at) - mu / 2 * np.sum((y - at) ** 2)) / L
            z = np.array([*((state[i] - at) for i in order), s])
            V = float(np.einsum("ik,ij,jk->", z, P, z) + p * h)
            far = sum(np.sum((x - at) ** 2) for x in state)
            assert far <= V * (1 + 1e-9) + 1e-9, "V >= ‖states‖²"
            return [(float(np.sqrt(max(V, 0.0))), {})]

        return measure

    return Instance(
        "",
        start,
        repeated(advance, (start, start)),
        spec=spec(f"operators:\n  f: {f.text}", f'x: "{listed(start)}", last: "{listed(start)}"', next),
        by=by,
        stepwise=True,
        size=1e8,  # V is a difference of values of f, and its root known to 1e-4 only
    )
