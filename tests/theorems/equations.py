"""Linear equations with spectra at which methods are slow, and right sides that start them slowly."""

from typing import Any

import numpy as np
from harness import Draw, listed, size_of
from problems import ends, symmetric

Vector = np.ndarray


def definite(draw: Draw, least: int = 1) -> Vector:
    """Symmetric and positive definite: few eigenvalues at the ends, or where a polynomial is ±1."""
    n = int(draw.integers(least, 7))
    L = float(2.0 ** draw.integers(-2, 3))
    mu = L / float(draw.choice([1.5, 10.0, 1000.0]))
    if draw.random() < 0.5:
        nodes = np.cos(np.pi * np.arange(n) / max(n - 1, 1))  # where Chebyshev's polynomial is ±1
        return symmetric(draw, (L + mu) / 2 + (L - mu) / 2 * nodes)
    return symmetric(draw, ends(draw, n, mu, L))


def right(draw: Draw, A: Vector) -> Vector:
    """Sides that make slow starts: one eigenvector, all alike, or any."""
    kind = draw.integers(3)
    if kind == 0:
        return np.round(A @ draw.standard_normal(A.shape[1]), 9)
    return draw.point(len(A)) if kind == 1 else np.ones(len(A))


def told(A: Vector, b: Vector, **more: Any) -> dict[str, Any]:
    parts = "".join(f"  {name}: {listed(array)}\n" for name, array in {"A": A, "b": b, **more}.items())
    return dict(parts=f"parameters:\n{parts}", size=1 + size_of(b))


def begin(draw: Draw, n: int) -> Vector:
    return np.zeros(n) if draw.random() < 0.7 else draw.point(n)


def rectangle(draw: Draw) -> Vector:
    n, m = int(draw.integers(1, 5)), int(draw.integers(0, 3))
    values = np.sqrt(ends(draw, n, 0.01, 1.0))
    return draw.turn(n + m)[:, :n] @ np.diag(values) @ draw.turn(n)
