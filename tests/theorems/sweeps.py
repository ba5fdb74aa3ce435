"""Cases: linear equations by sweeps and gradient steps, and one coordinate after the other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from equations import begin, definite, rectangle, right, told
from harness import Draw, Instance, Pair, case, repeated, size_of
from problems import ends

Vector = np.ndarray


def _norm_of(A: Vector, e: Vector) -> float:
    return float(np.sqrt(max(e @ A @ e, 0.0)))


@case("richardson")
def richardson(draw: Draw) -> Instance:
    A = definite(draw)
    b, start = right(draw, A), begin(draw, len(A))
    part = draw.part(edge=False)
    step, at = 2 * part / np.linalg.norm(A, 2), np.linalg.solve(A, b)
    return Instance(
        "richardson(A, b)",
        start=start,
        states=repeated(lambda x: x + step * (b - A @ x), start),
        options={"step": f"{part!r} * 2 / lipschitz(A)"},
        measure=lambda k, x: [(size_of(x - at), {})],
        names={"start": start, "solution": at},
        residual=lambda _, x: size_of(b - A @ x) / size_of(b),
        stepwise=True,
        **told(A, b),
    )


@case("landweber-full-rank")
def landweber_full(draw: Draw) -> Instance:
    A = rectangle(draw)
    b, start = draw.point(len(A)), begin(draw, A.shape[1])
    part, at = draw.part(edge=False), np.linalg.lstsq(A, b, rcond=None)[0]
    step = 2 * part / np.linalg.norm(A, 2) ** 2
    return Instance(
        "landweber(A, b)",
        start=start,
        states=repeated(lambda x: x + step * A.T @ (b - A @ x), start),
        options={"step": f"{part!r} * 2 / lipschitz(A)**2"},
        measure=lambda k, x: [(size_of(x - at), {})],
        names={"start": start, "solution": at},
        residual=lambda _, x: size_of(A.T @ (b - A @ x)) / size_of(A.T @ b),
        stepwise=True,
        **told(A, b),
    )


@case("landweber")
def landweber(draw: Draw) -> Instance:
    n = int(draw.integers(2, 5))
    A = draw.standard_normal((int(draw.integers(1, n)), n))  # fewer rows than columns
    b, start = draw.point(len(A)), draw.point(n)
    part = draw.part(edge=False)
    step = 2 * part / np.linalg.norm(A, 2) ** 2
    at = start + np.linalg.pinv(A) @ (b - A @ start)

    def beside(k: int, x: Vector) -> list[Pair]:
        moved, far = step * size_of(A.T @ (b - A @ x)), size_of(start - at)
        return [(moved, far * np.sqrt(part / (1 - part) / (k + 1))), (size_of(x - at), far)]

    return Instance(
        "landweber(A, b)",
        start=start,
        states=repeated(lambda x: x + step * A.T @ (b - A @ x), start),
        options={"step": f"{part!r} * 2 / lipschitz(A)**2"},
        beside=beside,
        **told(A, b),
    )


@case("sirt")
def sirt(draw: Draw) -> Instance:
    m, n = int(draw.integers(1, 5)), int(draw.integers(1, 5))
    A = draw.standard_normal((m, n)) * (draw.random((m, n)) < 0.7)
    b, start, relaxation = draw.point(m), draw.point(n), 2 * draw.part(edge=False)
    across, down = np.abs(A).sum(1), np.abs(A).sum(0)
    R, C = 1 / np.where(across > 0, across, 1), 1 / np.where(down > 0, down, 1)
    half = np.sqrt(C)
    at = start + half * (np.linalg.pinv(np.sqrt(R)[:, None] * A * half) @ (np.sqrt(R) * (b - A @ start)))

    def advance(x: Vector) -> Vector:
        return x + relaxation * C * (A.T @ (R * (b - A @ x)))

    def beside(k: int, x: Vector) -> list[Pair]:
        far, share = size_of((start - at) / half), relaxation / (2 - relaxation)
        moved = size_of((advance(x) - x) / half)
        return [(moved, far * np.sqrt(share / (k + 1))), (size_of((x - at) / half), far)]

    return Instance(
        "sirt(A, b)",
        start=start,
        states=repeated(advance, start),
        options={"relaxation": repr(relaxation)},
        beside=beside,
        **told(A, b),
    )


def _sweep(A: Vector, b: Vector, relaxation: float, x: Vector) -> Vector:
    """One entry after the other."""
    x = x.copy()
    for i in range(len(x)):
        x[i] += relaxation * (b[i] - A[i] @ x) / A[i, i]
    return x


def _falling(A: Vector, at: Vector, start: Vector) -> Any:
    """Every sweep lowers the error in the norm of A: held against the least so far."""
    least = [_norm_of(A, start - at)]

    def beside(k: int, x: Vector) -> list[Pair]:
        now = _norm_of(A, x - at)
        before, least[0] = least[0], min(least[0], now)
        return [(now, before)]

    return beside


@case("ostrowski-reich")
def gauss_seidel(draw: Draw) -> Instance:
    A = definite(draw, least=3)
    while (2 * np.abs(np.diag(A)) > np.abs(A).sum(1)).all():
        A = definite(draw, least=3)
    b, start = right(draw, A), draw.point(len(A))
    at = np.linalg.solve(A, b)
    return Instance(
        "gauss_seidel(A, b)",
        start=start,
        states=repeated(lambda x: _sweep(A, b, 1.0, x), start),
        beside=_falling(A, at, start),
        **told(A, b),
    )


@case("ostrowski-reich-relaxed")
def sor(draw: Draw) -> Instance:
    A = definite(draw)
    b, start, relaxation = right(draw, A), draw.point(len(A)), 2 * draw.part(edge=False)
    return Instance(
        "sor(A, b)",
        start=start,
        states=repeated(lambda x: _sweep(A, b, relaxation, x), start),
        options={"relaxation": repr(relaxation)},
        beside=_falling(A, np.linalg.solve(A, b), start),
        **told(A, b),
    )


@case("ssor")
def ssor(draw: Draw) -> Instance:
    A = definite(draw)
    b, start, relaxation = right(draw, A), draw.point(len(A)), 2 * draw.part(edge=False)

    def advance(x: Vector) -> Vector:
        x = _sweep(A, b, relaxation, x)
        return _sweep(A[::-1, ::-1], b[::-1], relaxation, x[::-1])[::-1]

    return Instance(
        "ssor(A, b)",
        start=start,
        states=repeated(advance, start),
        options={"relaxation": repr(relaxation)},
        beside=_falling(A, np.linalg.solve(A, b), start),
        **told(A, b),
    )


def dominant(draw: Draw) -> Vector:
    n = int(draw.integers(1, 6))
    A = draw.standard_normal((n, n)) * (draw.random((n, n)) < 0.8)
    others = np.abs(A).sum(1) - np.abs(np.diag(A))
    sign = draw.choice([-1.0, 1.0], n)
    np.fill_diagonal(A, sign * np.where(others > 0, others / float(draw.choice([0.5, 0.9, 0.99])), 1.0))
    return A


@case("jacobi")
def jacobi(draw: Draw) -> Instance:
    A = dominant(draw)
    b, start = draw.point(len(A)), draw.choice([-1.0, 1.0], len(A))
    at = np.linalg.solve(A, b)
    return Instance(
        "jacobi(A, b)",
        start=start,
        states=repeated(lambda x: x + (b - A @ x) / np.diag(A), start),
        measure=lambda k, x: [(float(np.abs(x - at).max()), {})],
        stepwise=True,
        **told(A, b),
    )


@case("gauss-seidel-dominant")
def gauss_seidel_dominant(draw: Draw) -> Instance:
    A = dominant(draw)
    b, start = draw.point(len(A)), draw.choice([-1.0, 1.0], len(A))
    at = np.linalg.solve(A, b)
    return Instance(
        "gauss_seidel(A, b)",
        start=start,
        states=repeated(lambda x: _sweep(A, b, 1.0, x), start),
        measure=lambda k, x: [(float(np.abs(x - at).max()), {})],
        stepwise=True,
        **told(A, b),
    )


@case("kaczmarz")
def kaczmarz(draw: Draw) -> Instance:
    n = int(draw.integers(1, 6))
    A = draw.standard_normal((int(draw.integers(1, n + 1)), n))
    b, start, relaxation = draw.point(len(A)), draw.point(n), 2 * draw.part(edge=False)
    at = start + np.linalg.pinv(A) @ (b - A @ start)

    def sweep(x: Vector) -> Vector:
        for row, value in zip(A, b):
            x = x + relaxation * (value - row @ x) / (row @ row) * row
        return x

    return Instance(
        "kaczmarz(A, b)",
        start=start,
        states=repeated(sweep, start),
        options={"relaxation": repr(relaxation)},
        beside=_falling(np.eye(n), at, start),
        **told(A, b),
    )


@case("two-grid")
def two_grid(draw: Draw) -> Instance:
    A = definite(draw, least=2)
    n = len(A)
    P = (
        np.linalg.eigh(A)[1][:, -1:]
        if draw.random() < 0.5
        else draw.standard_normal((n, int(draw.integers(1, n))))
    )
    b, start, part = right(draw, A), begin(draw, n), draw.part(edge=False)
    step, at = 2 * part / np.linalg.norm(A, 2), np.linalg.solve(A, b)

    def advance(x: Vector) -> Vector:
        x = x + step * (b - A @ x)
        x = x + P @ np.linalg.solve(P.T @ A @ P, P.T @ (b - A @ x))
        return x + step * (b - A @ x)

    return Instance(
        "two_grid(A, P, b)",
        start=start,
        states=repeated(advance, start),
        options={"step": f"{part!r} * 2 / lipschitz(A)"},
        measure=lambda k, x: [(_norm_of(A, x - at), {})],
        residual=lambda _, x: size_of(b - A @ x) / size_of(b),
        stepwise=True,
        **told(A, b, P=P),
    )


@case("coordinate-descent")
def coordinate_descent(draw: Draw) -> Instance:
    """The objective never rises, and a problem of condition 4 is solved after some sweeps."""
    n = int(draw.integers(1, 4))
    A = draw.turn(n + 1)[:, :n] @ np.diag(np.sqrt(ends(draw, n, 0.25, 1.0))) @ draw.turn(n)
    weight = float(draw.choice([0.0, 0.1, 1.0]))
    at = np.where(draw.random(n) < 0.5, 0.0, draw.point(n))
    dual = weight * np.where(at == 0, draw.uniform(-1, 1, n), np.sign(at))
    b, start = A @ at + A @ np.linalg.solve(A.T @ A, dual), draw.point(n)

    def value(x: Vector) -> float:
        return float(np.sum((A @ x - b) ** 2) / 2 + weight * np.abs(x).sum())

    def run() -> Iterator[Vector]:
        x, k = start.copy(), 0
        while True:
            yield x.copy()
            i = k % n
            square = A[:, i] @ A[:, i]
            z = x[i] - A[:, i] @ (A @ x - b) / square
            x[i] = np.sign(z) * max(abs(z) - weight / square, 0.0)
            k += 1

    least = [value(start)]

    def beside(k: int, x: Vector) -> list[Pair]:
        before, least[0] = least[0], value(x)
        # A sweep leaves 1 - mu/(mu + n² L) of the gap at most, by far: Beck & Tetruashvili 2013.
        sweeps = k // n
        start_gap = value(start) - value(at)
        return [
            (least[0], before),
            (size_of(x - at) ** 2, 8 * start_gap * (1 - 0.25 / (0.25 + n**2)) ** sweeps),
        ]

    return Instance(
        f"coordinate_descent(A, b, {weight})",
        start=start,
        states=run(),
        beside=beside,
        **told(A, b),
    )
