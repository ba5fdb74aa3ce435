"""Cases: fixed points of contractions and of nonexpansive maps, mostly slow rotations."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from harness import Draw, Instance, Measured, Pair, case, listed, repeated, size_of
from minimisation import constants
from problems import huber, smooth

Vector = np.ndarray


def isometry(draw: Draw, n: int, exact: bool = False) -> Vector:
    """Signed permutations and the like, exact in floats; and turns by a small angle, less a rounding."""
    kind = draw.integers(2 if exact else 4)
    if kind == 0 and n == 4:
        half = np.array([[1.0, 1], [1, -1]])
        return np.kron(half, half) / 2
    if kind < 2:
        return np.eye(n)[draw.permutation(n)] * draw.choice([-1.0, 1.0], n)
    angle = float(10 ** draw.uniform(-2.5, 0.4))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.kron(np.eye(n // 2), turn) * (1 - 1e-12)


def _affine(draw: Draw, factor: float) -> tuple[str, Any, Vector, Vector]:
    n = int(draw.integers(1, 3)) * 2
    R = factor * isometry(draw, n)
    at, start = draw.point(n), draw.point(n, float(draw.choice([0.1, 1, 30])))
    c = at - R @ at
    return f'  T(x): "{listed(R)} @ x + {listed(c)}"', lambda x: R @ x + c, at, start


def _squashed(draw: Draw, factor: float) -> tuple[str, Any, Vector, Vector]:
    """tanh, relu or a sine of a matrix of that norm: steepest near the fixed point, or not smooth there."""
    n = int(draw.integers(1, 5))
    W = draw.standard_normal((n, n))
    W = factor * (1 - 1e-9) * W / np.linalg.norm(W, 2)
    at, start = draw.point(n), draw.point(n)
    word, curve = [("tanh", np.tanh), ("relu", lambda z: np.maximum(z, 0)), ("sin", np.sin)][draw.integers(3)]
    shift = W @ at if draw.random() < 0.7 else draw.point(n)
    c = at - curve(W @ at - shift)
    text = f'  T(x): "{word}({listed(W)} @ x - {listed(shift)}) + {listed(c)}"'
    return text, lambda x: curve(W @ x - shift) + c, at, start


def _map(draw: Draw, factor: float) -> tuple[str, Any, Vector, Vector]:
    return (_affine if draw.random() < 0.5 else _squashed)(draw, factor)


def _told(text: str, start: Vector, at: Vector, **names: Any) -> dict[str, Any]:
    names = {"start": start, "solution": at, **names}
    return dict(
        start=start, parts=f"operators:\n{text}\n", names=names, size=1 + size_of(start) + size_of(at)
    )


@case("banach")
def picard(draw: Draw) -> Instance:
    text, T, at, start = _map(draw, float(draw.choice([0.1, 0.5, 0.9, 0.99])))
    return Instance(
        "picard(T)",
        states=repeated(T, start),
        measure=lambda k, x: [(size_of(x - at), {})],
        residual=lambda before, x: size_of(x - before),
        stepwise=True,
        **_told(text, start, at),
    )


@case("krasnoselskii-mann")
def krasnoselskii_mann(draw: Draw) -> Instance:
    text, T, at, start = _map(draw, 1.0)
    relaxation = draw.part(edge=False)
    far = size_of(start - at)

    def beside(k: int, x: Vector) -> list[Pair]:
        return [(size_of(x - at), far)]

    told = _told(text, start, at, relaxation=relaxation)
    return Instance(
        "krasnoselskii_mann(T)",
        states=repeated(lambda x: (1 - relaxation) * x + relaxation * T(x), start),
        options={"relaxation": repr(relaxation)},
        measure=lambda k, x: [(size_of(x - T(x)) ** 2, {})] if k else [],
        beside=beside,
        **told | {"size": told["size"] ** 2},
    )


@case("halpern")
def halpern(draw: Draw) -> Instance:
    text, T, at, start = _map(draw, 1.0)

    def run() -> Iterator[Vector]:
        x, k = start, 0
        while True:
            yield x
            x, k = start / (k + 2) + (k + 1) / (k + 2) * T(x), k + 1

    return Instance(
        "halpern(T)",
        states=run(),
        measure=lambda k, x: [(size_of(x - T(x)), {})],
        **_told(text, start, at),
    )


@case("viscosity")
def viscosity(draw: Draw) -> Instance:
    """Xu 2004: ‖x_k - p‖ <= max(‖start - p‖, ‖F(p) - p‖/(1 - c)); and x - T(x) goes to 0."""
    text, T, at, start = _affine(draw, 1.0)
    c = float(draw.choice([0.0, 0.5, 0.9]))
    anchor = draw.point(len(at))
    size = max(size_of(start - at), size_of(c * at + anchor - at) / (1 - c))

    def run() -> Iterator[Vector]:
        x, k = start, 0
        while True:
            yield x
            x, k = (c * x + anchor) / (k + 2) + (k + 1) / (k + 2) * T(x), k + 1

    def beside(k: int, x: Vector) -> list[Pair]:
        # Sabach & Shtern 2017 have O(1/k) for steps of this kind; the constant is generous.
        return [(size_of(x - at), size), (size_of(x - T(x)), 4 * size / (1 - c) / (k + 1) ** (1 - c))]

    text += f'\n  F(x): "{c!r} * x + {listed(anchor)}"'
    return Instance("viscosity(T, F)", states=run(), beside=beside, **_told(text, start, at))


@case("anderson-safeguarded")
def anderson(draw: Draw) -> Instance:
    """Trial points come from anywhere: the theorem claims its bound whatever the extrapolation is."""
    factor = float(draw.choice([0.5, 0.9, 0.99]))
    text, T, at, start = _map(draw, factor)
    slack, accept = float(draw.choice([1.0, 10.0])), float(draw.choice([0.0, 0.5, 0.99]))
    memory = int(draw.integers(1, 5))
    first = size_of(T(start) - start)

    def run() -> Iterator[float]:
        x = trial = start
        least, limit, plain, kept = np.inf, np.inf, True, []
        yield 0.0
        while True:
            y = T(trial)
            f = y - trial
            kept = [*kept, (f, y)][-memory - 1 :]
            if plain or size_of(f) <= limit:
                least = size_of(f)
                limit = max(min(accept * limit, slack * least), accept * least)
                x, plain = y, False
                trial = _extrapolated(kept)
            else:
                trial, plain = x, True
            yield least

    def measure(k: int, size: float) -> list[Measured]:
        return [(size, {"first": first})]

    return Instance(
        "anderson(T)",
        states=run(),
        options={"slack": slack, "accept": accept, "memory": memory},
        measure=measure,
        **_told(text, start, at, slack=slack, accept=accept, T=factor),
    )


def _extrapolated(kept: list[tuple[Vector, Vector]]) -> Vector:
    """Walker & Ni 2011: the combination of images whose residuals add up to the least one."""
    f, y = kept[-1]
    if len(kept) == 1:
        return y
    turns = np.array([f - other for other, _ in kept[:-1]]).T
    images = np.array([y - other for _, other in kept[:-1]]).T
    return y - images @ np.linalg.lstsq(turns, f, rcond=1e-6)[0]


# --- denoisers --------------------------------------------------------------------------------------------


def _denoiser(draw: Draw, n: int, factor: float) -> tuple[str, Any]:
    W = draw.standard_normal((n, n))
    W = factor * (1 - 1e-9) * W / np.linalg.norm(W, 2)
    return f"tanh({listed(W)} @ x)", lambda x: np.tanh(W @ x)


def _fixed(step: Any, x: Vector) -> Vector:
    for _ in range(20000):
        new = step(x)
        if size_of(new - x) < 1e-16 * (1 + size_of(x)):
            return new
        x = new
    return x


@case("plug-and-play-contraction")
def plug_and_play(draw: Draw) -> Instance:
    n = int(draw.integers(1, 5))
    mu, L = constants(draw)
    f, _ = smooth(draw, n, max(mu, L / 10), L)
    factor, relaxation = float(draw.choice([0.5, 0.9, 1.0])), draw.part()
    part = draw.part(edge=False)
    step = 2 * part / f.L
    text, D = _denoiser(draw, n, factor)

    def advance(x: Vector) -> Vector:
        return (1 - relaxation) * x + relaxation * D(x - step * f.slope(x))

    start = draw.point(n)
    at = _fixed(lambda x: D(x - step * f.slope(x)), start)
    return Instance(
        "plug_and_play(f, D)",
        states=repeated(advance, start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(f))", "relaxation": repr(relaxation)},
        measure=lambda k, x: [(size_of(x - at), {})],
        stepwise=True,
        **_told(f"  f: {f.text}\n  D(x): {text}", start, at),
    )


@case("plug-and-play-nonexpansive")
def plug_and_play_nonexpansive(draw: Draw) -> Instance:
    n = int(draw.integers(1, 3)) * 2
    R = isometry(draw, n, exact=True)
    L = constants(draw)[1]
    f, at = smooth(draw, n, 0.0, L)  # ∇f(x*) = 0, and D(x*) = x*
    c = at - R @ at
    part, relaxation = draw.part(), draw.part(edge=False)
    step, start = 2 * part / f.L, draw.point(n)

    def inner(x: Vector) -> Vector:
        return R @ (x - step * f.slope(x)) + c

    told = _told(f'  f: {f.text}\n  D(x): "{listed(R)} @ x + {listed(c)}"', start, at, relaxation=relaxation)
    return Instance(
        "plug_and_play(f, D)",
        states=repeated(lambda x: (1 - relaxation) * x + relaxation * inner(x), start),
        options={"step": f"{part!r} * 2 / lipschitz(grad(f))", "relaxation": repr(relaxation)},
        measure=lambda k, x: [(size_of(x - inner(x)) ** 2, {})] if k else [],
        **told | {"size": told["size"] ** 2},
    )


@case("learned-proximal-gradient")
def learned_prox(draw: Draw) -> Instance:
    """step·f + R falls by a part of the square of every move. Where x = ∇Ψ(v), Ψ*(x) = ⟨x, v⟩ − Ψ(v)."""
    n = int(draw.integers(1, 5))
    f, _ = smooth(draw, n, 0.0, constants(draw)[1])
    width, c = float(draw.choice([0.3, 1.0])), float(draw.choice([0.5, 2.0, 20.0]))
    tilt, strength = draw.point(n), float(draw.choice([0.05, 0.5, 0.99]))
    psi = huber(c, 0.0, width)
    text = f"tilt(scaled(huber({width!r}), {c!r}), {listed(tilt)})"
    longest = 1 + 1 / (c + strength)
    share = draw.part(edge=False)
    step = share * longest / f.L
    part = 1 - step * f.L + 1 / (c + strength)

    def slope(v: Vector) -> Vector:
        return psi.slope(v) + tilt + strength * v

    def potential(v: Vector) -> float:
        return psi.value(v) + float(tilt @ v) + strength / 2 * float(v @ v)

    def advance(state: Any) -> Any:
        x, _, _ = state
        v = x - step * f.slope(x)
        new = slope(v)
        total = step * f.value(new) + float(new @ v) - potential(v) - float(new @ new) / 2
        return new, total, (state[1], size_of(new - x))

    def beside(k: int, state: Any) -> list[Pair]:
        _, total, (before, move) = state
        return [(total - before + part / 2 * move**2, 0.0)] if k > 1 else []

    start = draw.point(n, 3.0)
    told = _told(f"  f: {f.text}\n  psi: {text}", start, start)
    return Instance(
        "learned_prox(f, psi)",
        states=repeated(advance, (start, 0.0, (0.0, 0.0))),
        options={"step": f"{share * longest!r} / lipschitz(grad(f))", "strength": repr(strength)},
        beside=beside,
        **told | {"size": 1e3 * (1 + f.L + c) * told["size"] ** 2},
    )


# --- rankings ---------------------------------------------------------------------------------------------


def _tournament(draw: Draw) -> tuple[Vector, Vector]:
    """Wins in a ring, so that a chain leads from each player to each other, and some more; a start."""
    n = int(draw.integers(2, 7))
    won = np.round(10 ** draw.uniform(-2, 2, (n, n)), 3) * (draw.random((n, n)) < 0.4)
    won[(np.arange(n) + 1) % n, np.arange(n)] += round(float(10 ** draw.uniform(-1, 1)), 3)
    np.fill_diagonal(won, 0)
    return won, np.round(10 ** draw.uniform(-2, 2, n), 6)


def _ranked(method: str, won: Vector, start: Vector, update: Any) -> Instance:
    def likelihood(x: Vector) -> float:
        return float((won * (np.log(x)[:, None] - np.log(x[:, None] + x))).sum())

    def advance(state: Any) -> Any:
        x = update(state[0].copy())
        x = x / np.exp(np.log(x).mean())
        return x, likelihood(x), state[1]

    def slope(x: Vector) -> Vector:
        pairs = x[:, None] + x
        return np.asarray((won * (x / pairs)).sum(1) - (won.T * x[:, None] / pairs).sum(1))

    def beside(k: int, state: Any) -> list[Pair]:
        x, now, before = state
        rises = [(before - now, 0.0)] if k else []
        return [*rises, (size_of(slope(x)), 0.05 * won.sum())] if k > 2000 else rises

    return Instance(
        f"{method}({listed(won)})",
        start,
        repeated(advance, (start, likelihood(start), -np.inf)),
        beside=beside,
        size=1e2 * (1 + won.sum()),
    )


@case("zermelo")
def zermelo(draw: Draw) -> Instance:
    won, start = _tournament(draw)
    return _ranked("zermelo", won, start, lambda x: won.sum(1) / ((won + won.T) / (x[:, None] + x)).sum(1))


@case("newman")
def newman(draw: Draw) -> Instance:
    won, start = _tournament(draw)

    def sweep(x: Vector) -> Vector:
        for i in range(len(x)):
            x[i] = (won[i] * x / (x[i] + x)).sum() / (won[:, i] / (x[i] + x)).sum()
        return x

    return _ranked("bradley_terry", won, start, sweep)
