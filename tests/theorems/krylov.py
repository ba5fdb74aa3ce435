"""Cases: Krylov methods and Chebyshev's, with 256 bits, since they amplify rounding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from equations import begin, definite, rectangle, right, told
from flint import arb, arb_mat, ctx
from harness import Draw, Instance, case
from problems import ends, symmetric

Vector = np.ndarray
ctx.prec = 256
_SMALL = 1e-40


def exactly(a: Any) -> Vector:
    """The same numbers as balls of 256 bits."""
    return np.array([arb(float(x)) for x in np.ravel(a)], dtype=object).reshape(np.shape(a))


def sharp(v: Vector) -> Vector:
    """The midpoints: radii would grow as if every rounding were the worst one."""
    return np.array([x.mid() for x in v], dtype=object)


def root(square: arb) -> float:
    return float(np.sqrt(max(float(square.upper()), 0.0)))


def length(v: Vector) -> float:
    return root(sum((x * x for x in v), arb(0)))


def conjugate_gradients(A: Vector, b: Vector, x: Vector, M: Vector | None = None) -> Iterator[Vector]:
    """Hestenes & Stiefel, in the inner product of M."""
    M = exactly(np.eye(len(b))) if M is None else M
    r = b - A @ x
    p = z = M @ r
    while True:
        yield x
        if length(r) < _SMALL:
            return
        alpha = (r @ z) / (p @ (A @ p))
        x, new = sharp(x + alpha * p), sharp(r - alpha * (A @ p))
        z, before = M @ new, r @ z
        p, r = sharp(z + (new @ z) / before * p), new


def _krylov(
    A: Vector, b: Vector, start: Vector, run: Any, energy: Vector | None, **more: Any
) -> dict[str, Any]:
    """Errors in the norm of `energy`, or residuals where it is None."""
    exact_A, exact_b = exactly(A), exactly(b)
    at = _solved(A, b)

    def measured(k: int, x: Vector) -> list:
        if energy is None:
            return [(length(exact_b - exact_A @ x), {})]
        e = x - at
        return [(root(e @ (exactly(energy) @ e)), {})]

    return dict(
        start=start,
        states=run,
        measure=measured,
        size=1e-12,
        parts=told(A, b, **more)["parts"],
    )


def _solved(A: Vector, b: Vector) -> Vector:
    """The solution of A x = b, or of AᵀA x = Aᵀb, with 256 bits."""
    M, v = exactly(A), exactly(b)
    if len(A) != A.shape[1]:
        M, v = M.T @ M, M.T @ v
    found = arb_mat(M.tolist()).solve(arb_mat([[x] for x in v]))
    return np.array([found[i, 0] for i in range(len(v))], dtype=object)


@case("conjugate-gradients")
def cg(draw: Draw) -> Instance:
    A = definite(draw)
    b, start = right(draw, A), begin(draw, len(A))
    at = _solved(A, b)
    first = root((exactly(start) - at) @ (exactly(A) @ (exactly(start) - at)))
    B, c = exactly(A), exactly(b)
    return Instance(
        "cg(A, b)",
        names={"norm": lambda _: first, "start": 0, "solution": 0},
        residual=lambda _, x: length(c - B @ x) / length(c),
        **_krylov(A, b, start, conjugate_gradients(B, c, exactly(start)), A),
    )


@case("preconditioned-conjugate-gradients")
def preconditioned(draw: Draw) -> Instance:
    A = definite(draw)
    M = symmetric(draw, ends(draw, len(A), 0.5, 4.0))
    b, start = right(draw, A), begin(draw, len(A))
    at = _solved(A, b)
    first = root((exactly(start) - at) @ (exactly(A) @ (exactly(start) - at)))
    run = conjugate_gradients(exactly(A), exactly(b), exactly(start), exactly(M))
    return Instance(
        "preconditioned_cg(A, b, M)",
        names={"norm": lambda _: first, "start": 0, "solution": 0},
        **_krylov(A, b, start, run, A, M=M),
    )


@case("conjugate-gradients-least-squares")
def cgls(draw: Draw) -> Instance:
    A = rectangle(draw)
    b, start = draw.point(len(A)), begin(draw, A.shape[1])
    at, B, c = _solved(A, b), exactly(A), exactly(b)
    square = B.T @ B
    error = exactly(start) - at
    first = root(error @ (square @ error))
    told = _krylov(A, b, start, conjugate_gradients(square, B.T @ c, exactly(start)), None)
    told["measure"] = lambda k, x: [(root((x - at) @ (square @ (x - at))), {})]
    return Instance(
        "cgls(A, b)",
        names={"norm": lambda _: first, "start": 0, "solution": 0},
        residual=lambda _, x: length(B.T @ (c - B @ x)) / length(B.T @ c),
        **told,
    )


def least_residuals(A: Vector, b: Vector, x: Vector, restart: int = 1 << 30) -> Iterator[Vector]:
    """The point with the least residual of each Krylov space: by Gram and Schmidt on the images."""
    steps, images = [], []
    r = b - A @ x
    while True:
        yield x
        if length(r) < _SMALL:
            return
        if len(steps) == restart:
            steps, images = [], []
        seed = images[-1] if images else r
        p, q = seed, A @ seed
        for s, t in zip(steps, images):
            along = t @ q
            p, q = p - along * s, q - along * t
        size = (q @ q).sqrt()
        if not size > _SMALL:
            return
        p, q = sharp(p / size), sharp(q / size)
        steps, images = [*steps, p], [*images, q]
        x, r = sharp(x + (r @ q) * p), sharp(r - (r @ q) * q)


def _residual_method(method: str, draw: Draw, A: Vector, restart: int = 0) -> Instance:
    b, start = right(draw, A), begin(draw, len(A))
    B, c = exactly(A), exactly(b)
    first = length(c - B @ exactly(start))
    options = {"restart": restart} if restart else {}
    return Instance(
        f"{method}(A, b)",
        options=options,
        names={"norm": lambda _: first, "A": lambda _: 0, "start": 0, "b": 0},
        residual=lambda _, x: length(c - B @ x) / length(c),
        **_krylov(A, b, start, least_residuals(B, c, exactly(start), restart or 1 << 30), None),
    )


@case("conjugate-residuals")
def conjugate_residual(draw: Draw) -> Instance:
    return _residual_method("conjugate_residual", draw, definite(draw))


@case("minres")
def minres(draw: Draw) -> Instance:
    """Eigenvalues on both sides, alike: then the residual falls in every other step only."""
    n = int(draw.integers(1, 4))
    values = ends(draw, n, 1 / float(draw.choice([1.0, 3.0, 30.0])), 1.0)
    values = (
        np.concatenate([values, -values]) if draw.random() < 0.7 else values * draw.choice([-1.0, 1.0], n)
    )
    return _residual_method("minres", draw, symmetric(draw, values))


@case("gmres-positive")
def gmres(draw: Draw) -> Instance:
    n = int(draw.integers(1, 6))
    skew = draw.standard_normal((n, n))
    A = float(draw.choice([0.0, 1.0, 4.0])) * (skew - skew.T) + symmetric(draw, ends(draw, n, 0.3, 1.0))
    return _residual_method("gmres", draw, A, int(draw.choice([1, 2, 20])))


@case("chebyshev")
def chebyshev(draw: Draw) -> Instance:
    A = definite(draw, least=2)
    b, start = right(draw, A), begin(draw, len(A))
    wide = float(draw.choice([1.0 + 1e-5, 1.1, 3.0]))
    values = np.linalg.eigvalsh(A)
    low, high = float(values[0] / wide), float(values[-1] * wide)
    B, c, at = exactly(A), exactly(b), _solved(A, b)
    first = length(exactly(start) - at)

    def run() -> Iterator[Vector]:
        """Golub & Varga: x_(k+1) = w (x_k + δ r_k - x_(k-1)) + x_(k-1)."""
        middle, half = (arb(high) + arb(low)) / 2, (arb(high) - arb(low)) / 2
        before = x = exactly(start)
        w, k = arb(1), 0
        while length(c - B @ x) > _SMALL:
            yield x
            w = arb(1) if k == 0 else 1 / (1 - w * (half / middle) ** 2 / (2 if k == 1 else 4))
            before, x = x, sharp(w * (x + (c - B @ x) / middle - before) + before)
            k += 1

    told = _krylov(A, b, start, run(), None)
    told["measure"] = lambda k, x: [(length(x - at), {})]
    return Instance(
        "chebyshev(A, b)",
        options={"low": repr(low), "high": repr(high)},
        names={"norm": lambda _: first, "start": 0, "solution": 0},
        residual=lambda _, x: length(c - B @ x) / length(c),
        **told,
    )
