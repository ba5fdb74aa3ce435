"""A search for a point inside convex constraints, by an interior point method; what it finds is checked
elsewhere.

Maximise t over ‖x‖ < 1 such that every Σ_i x_i F_i - t·I is positive definite and every h·x > t. The
constraints are homogeneous, so there is a strict solution exactly if the greatest t is positive. Newton's
method on the logarithmic barrier, followed along its central path (Boyd & Vandenberghe 2004, chapter 11).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TIGHTER = 0.1  # the barrier's weight, from one stage to the next
_CENTRED = 1.0  # a squared Newton decrement at which a stage ends
_LEAST = 1e-10  # a greatest t below this is taken for none
_STEPS = 400
_TRIES = 6  # along one step


@dataclass(frozen=True, slots=True)
class Cone:
    """Matrix constraints F: [d, k, k], and linear ones H: [m, d]."""

    matrices: Sequence[np.ndarray]
    lines: np.ndarray

    @property
    def size(self) -> int:
        return self.lines.shape[1]


def inside(cone: Cone, enough: float = 0.0, near: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """(x, t): a point and the slack that it has. t <= 0: there is no strict solution, or none was found.

    It stops as soon as the slack is positive and at least the fraction `enough` of the greatest that there
    may be. `near` is where to begin.
    """
    d = cone.size
    blocks = [np.concatenate([F, -np.eye(F.shape[1])[None]]) for F in cone.matrices]
    lines = np.hstack([cone.lines, -np.ones((len(cone.lines), 1))])
    x = np.zeros(d + 1)
    if near is not None:
        x[:-1] = near * (0.9 / max(1.0, float(np.linalg.norm(near))))
    x[-1] = _slack(cone, x[:-1]) - 0.1
    count = sum(F.shape[1] for F in cone.matrices) + len(lines) + 1
    weight = 1e-3
    for _ in range(_STEPS):
        found = _newton(blocks, lines, x, weight)
        if found is None:
            break
        move, decrement, ratios = found
        if decrement > _CENTRED:
            x = x + move * _length(move, x, ratios, weight, decrement)
            continue
        x = x + move
        most = x[-1] + weight * count  # the duality gap of a centred point, about
        if most < _LEAST or (x[-1] > 0 and x[-1] >= enough * most):
            break
        weight *= _TIGHTER
    return x[:-1], _slack(cone, x[:-1])


def _newton(
    blocks: Sequence[np.ndarray], lines: np.ndarray, x: np.ndarray, weight: float
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The Newton step of -t/weight - Σ log det - Σ log - log(1 - ‖x‖²), its squared decrement, and by which
    ratio each eigenvalue and line grows along it.
    """
    slack, ball = lines @ x, 1 - x[:-1] @ x[:-1]
    scaled = lines / slack[:, None]
    gradient = -scaled.sum(axis=0)
    hessian = scaled.T @ scaled
    relative = []
    for block in blocks:
        try:
            k = block.shape[1]
            root = np.linalg.inv(np.linalg.cholesky((x @ block.reshape(len(x), -1)).reshape(k, k)))
            turned = (root @ block @ root.T).reshape(len(x), -1)
        except np.linalg.LinAlgError:
            return None
        relative.append(turned)
        gradient = gradient - turned[:, :: k + 1].sum(axis=1)
        hessian = hessian + turned @ turned.T
    inner = slice(0, len(x) - 1)
    gradient[inner] += 2 * x[:-1] / ball
    hessian[inner, inner] += 2 * np.eye(len(x) - 1) / ball + 4 * np.outer(x[:-1], x[:-1]) / ball**2
    gradient[-1] -= 1 / weight
    try:
        move = -np.linalg.solve(hessian, gradient)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(move).all():
        return None
    sizes = [(move @ turned).reshape(block.shape[1:]) for turned, block in zip(relative, blocks)]
    ratios = np.concatenate([scaled @ move, *(np.linalg.eigvalsh(size) for size in sizes)])
    return move, float(-gradient @ move), ratios


def _length(move: np.ndarray, x: np.ndarray, ratios: np.ndarray, weight: float, decrement: float) -> float:
    """How far to go along a Newton step: to the least of the barrier, about, which is convex along it."""
    inner, step = x[:-1], move[:-1]
    ball, along, square = 1 - inner @ inner, inner @ step, step @ step
    safe = 1 / (1 + np.sqrt(decrement))  # inside, and lower
    low, high = safe, np.inf
    length = 1.0 if safe < 1 else safe
    for _ in range(_TRIES):
        rest = ball - 2 * length * along - length**2 * square
        grown = 1 + length * ratios
        if rest <= 0 or grown.min() <= 0:
            high = length
        else:
            slope = -move[-1] / weight - (ratios / grown).sum() + 2 * (along + length * square) / rest
            low, high = (length, high) if slope < 0 else (low, length)
        length = 2 * low if high == np.inf else (low + high) / 2
    return low


def _slack(cone: Cone, x: np.ndarray) -> float:
    """The greatest t that x allows."""
    found = [float((cone.lines @ x).min())] if len(cone.lines) else []
    found += [float(np.linalg.eigvalsh(np.tensordot(x, F, 1))[0]) for F in cone.matrices]
    return min(found)
