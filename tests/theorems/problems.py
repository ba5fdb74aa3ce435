"""Functions and maps of bad shape, in numpy and as a spec spells them, whose solution is known.

Quadratics with curvatures at both ends of their class, piecewise quadratics, kinks and faces that the
iterates have to find; a tilt puts the minimiser where we want it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from harness import Draw, listed

Vector = np.ndarray
Map = Callable[[Vector], Vector]


@dataclass(frozen=True)
class Function:
    """A convex function: `strong` mu and `smooth` L are exact; `slope` is some subgradient at a point."""

    text: str
    value: Callable[[Vector], float]
    slope: Map
    prox: Callable[[Vector, float], Vector]
    mu: float = 0.0
    L: float = np.inf

    def tilted(self, c: Vector) -> "Function":
        """f + <c, x>."""
        return Function(
            f"tilt({self.text}, {listed(c)})",
            lambda x: self.value(x) + float(c @ x),
            lambda x: self.slope(x) + c,
            lambda x, t: self.prox(x - t * c, t),
            self.mu,
            self.L,
        )


def quadratic(Q: Vector, at: Vector) -> Function:
    """½(x - at)ᵀQ(x - at) up to a constant, for a symmetric Q."""
    q = -(Q @ at)
    values = np.linalg.eigvalsh(Q)
    return Function(
        f"quadratic({listed(Q)}, {listed(q)})",
        lambda x: float(x @ Q @ x / 2 + q @ x),
        lambda x: Q @ x + q,
        lambda x, t: np.linalg.solve(np.eye(len(q)) + t * Q, x - t * q),
        max(float(values[0]), 0.0),
        float(values[-1]),
    )


def least_squares(A: Vector, at: Vector) -> Function:
    """½‖A(x - at)‖², which may be flat."""
    b, Q = A @ at, A.T @ A
    return Function(
        f"least_squares({listed(A)}, {listed(b)})",
        lambda x: float(np.sum((A @ x - b) ** 2) / 2),
        lambda x: A.T @ (A @ x - b),
        lambda x, t: np.linalg.solve(np.eye(len(x)) + t * Q, x + t * (A.T @ b)),
        0.0,
        float(np.linalg.norm(A, 2)) ** 2,
    )


def of_curvatures(draw: Draw, n: int, mu: float, L: float, at: Vector) -> Function:
    """A quadratic with its minimiser there; flat directions are those of a matrix without full rank."""
    values = ends(draw, n, mu, L)
    if mu:
        return quadratic(symmetric(draw, values), at)
    A = np.diag(np.sqrt(values)) @ (np.eye(n) if draw.random() < 0.4 else draw.turn(n))
    return least_squares(A, at)


def ends(draw: Draw, n: int, mu: float, L: float) -> Vector:
    """Curvatures: mostly the ends of the class, both of them if there is room."""
    values = np.where(draw.random(n) < 0.5, mu, L)
    values[0] = L
    if n > 1:
        values[-1] = mu
    if n > 2 and draw.random() < 0.5:
        values[1] = draw.uniform(mu, L)
    return values


def symmetric(draw: Draw, values: Vector) -> Vector:
    """A symmetric matrix with these eigenvalues: diagonal, or turned."""
    if draw.random() < 0.4:
        return np.diag(values)
    turn = draw.turn(len(values))
    matrix = turn * values @ turn.T
    return (matrix + matrix.T) / 2


def huber(L: float, mu: float, width: float, with_prox: bool = False) -> Function:
    """(L - mu)·huber(width) + mu/2‖x‖²: piecewise quadratic. No sum of pages has a prox; the same function is
    the envelope of an elastic net."""
    c = L - mu
    text = f"scaled(huber({width!r}), {c!r}) + ridge({mu!r})" if c else f"ridge({L!r})"
    if with_prox and c:
        text = f"moreau_envelope(elastic_net({L * width!r}, {mu / (1 - mu / L)!r}), {1 / L!r})"
    return Function(
        text,
        lambda x: float(
            c * np.sum(np.abs(x) * np.minimum(np.abs(x), width) - np.minimum(np.abs(x), width) ** 2 / 2)
            + mu / 2 * x @ x
        ),
        lambda x: c * np.clip(x, -width, width) + mu * x,
        lambda x, t: _prox_huber(x / (1 + t * mu), t * c / (1 + t * mu), width),
        mu,
        L,
    )


def _prox_huber(x: Vector, t: float, width: float) -> Vector:
    return np.where(np.abs(x) <= width * (1 + t), x / (1 + t), x - t * width * np.sign(x))


def hinge(L: float, mu: float) -> Function:
    """(L - mu)/2 Σ max(1 - x, 0)² + mu/2‖x‖²: curved on one side."""
    c = L - mu
    return Function(
        f"scaled(squared_hinge(1), {c!r}) + ridge({mu!r})" if c else f"ridge({L!r})",
        lambda x: float(c / 2 * np.sum(np.maximum(1 - x, 0) ** 2) + mu / 2 * x @ x),
        lambda x: -c * np.maximum(1 - x, 0) + mu * x,
        lambda x, t: np.where(x >= 1 + t * mu, x / (1 + t * mu), (x + t * c) / (1 + t * c + t * mu)),
        mu,
        c + mu,
    )


def smooth(draw: Draw, n: int, mu: float, L: float, slope: Vector | None = None) -> tuple[Function, Vector]:
    """(f, x*) with ∇f(x*) = -slope."""
    at = draw.point(n)
    slope = np.zeros(n) if slope is None else slope
    kind = draw.integers(4)
    if kind < 2:
        f = of_curvatures(draw, n, mu, L, at)
        return (f.tilted(-slope) if slope.any() else f), at
    base = huber(L, mu, float(draw.choice([0.5, 1, 2]))) if kind == 2 else hinge(L, mu)
    return base.tilted(-slope - base.slope(at)), at


def proximable(
    draw: Draw, n: int, mu: float, L: float, slope: Vector | None = None
) -> tuple[Function, Vector]:
    """(f, x*) with ∇f(x*) = 0, whose page has a prox."""
    at = draw.point(n)
    base = huber(L, mu, float(draw.choice([0.01, 1, 100])), with_prox=True)
    return base.tilted(-base.slope(at)), at


def l1(weight: float) -> Function:
    return Function(
        f"l1({weight!r})",
        lambda x: float(weight * np.abs(x).sum()),
        lambda x: weight * np.sign(x),
        lambda x, t: np.sign(x) * np.maximum(np.abs(x) - t * weight, 0),
    )


def box(low: float, high: float) -> Function:
    return Function(
        f"box({low!r}, {high!r})",
        lambda x: 0.0 if np.all((x >= low) & (x <= high)) else np.inf,
        lambda x: 0 * x,
        lambda x, t: np.clip(x, low, high),
    )


def free() -> Function:
    return Function("free()", lambda x: 0.0, lambda x: 0 * x, lambda x, t: x, 0.0, 0.0)


def elastic(sparse: float, mu: float) -> Function:
    shrink = l1(sparse).prox
    return Function(
        f"elastic_net({sparse!r}, {mu!r})",
        lambda x: float(sparse * np.abs(x).sum() + mu / 2 * x @ x),
        lambda x: sparse * np.sign(x) + mu * x,
        lambda x, t: shrink(x, t) / (1 + t * mu),
        mu,
    )


def kinked(draw: Draw, n: int) -> tuple[Function, Vector, Vector]:
    """(g, x*, v) with v in ∂g(x*): solutions on kinks and faces, strictly and only just."""
    kind = draw.integers(4)
    at = draw.point(n)
    inside = draw.choice([-1.0, 1.0, 0.0, 0.5, -0.9], n)
    if kind == 0:
        return free(), at, np.zeros(n)
    held = draw.random(n) < 0.6
    if kind == 1:
        weight = float(draw.choice([0.1, 1.0, 3.0]))
        at = np.where(held, 0.0, at)
        return l1(weight), at, weight * np.where(held, inside, np.sign(at))
    if kind == 2:
        at = np.where(held, 0.5, np.clip(at, -0.9, 0.4))
        return box(-1.0, 0.5), at, np.where(held, np.abs(inside), 0.0)
    at = np.where(held, 0.0, at)
    g = elastic(0.5, 0.25)
    return g, at, 0.5 * np.where(held, inside, np.sign(at)) + 0.25 * at


def composite(draw: Draw, n: int, mu: float, L: float) -> tuple[Function, Function, Vector]:
    """(f, g, x*) with x* the minimiser of f + g, f of the class (mu, L)."""
    g, at, v = kinked(draw, n)
    kind = draw.integers(4)
    if kind < 2:
        return of_curvatures(draw, n, mu, L, at).tilted(-v), g, at
    base = huber(L, mu, 1.0) if kind == 2 else hinge(L, mu)
    return base.tilted(-v - base.slope(at)), g, at


@dataclass(frozen=True)
class Monotone:
    """A monotone map with F(at) + v = 0. L is the constant that the compiler finds for it."""

    text: str
    map: Map
    L: float


def monotone(draw: Draw, n: int, at: Vector, v: Vector, skew: bool = False) -> Monotone:
    """Rotations, bilinear pairs, and gradients beside them."""
    size = float(2.0 ** draw.integers(-2, 3))
    kind = 0 if skew else draw.integers(4)
    upper = np.triu(draw.standard_normal((n, n)), 1)
    if n % 2 == 0 and kind < 2:
        half = np.eye(n // 2)
        upper = np.block([[0 * half, half], [0 * half, 0 * half]])
    M = upper - upper.T
    if not M.any():
        M = np.eye(n)
    M = size * M / np.linalg.norm(M, 2)
    if kind == 3:
        G = draw.standard_normal((n, n))
        M = M + size * G @ G.T / np.linalg.norm(G, 2) ** 2
    if kind == 2:
        base = huber(size, 0.0, 1.0)
        b = -(M @ at) - base.slope(at) - v
        return Monotone(
            f"affine_map({listed(M)}, {listed(b)}) + grad({base.text})",
            lambda x: M @ x + b + base.slope(x),
            float(np.linalg.norm(M, 2)) + size,
        )
    b = -(M @ at) - v
    return Monotone(f"affine_map({listed(M)}, {listed(b)})", lambda x: M @ x + b, float(np.linalg.norm(M, 2)))
