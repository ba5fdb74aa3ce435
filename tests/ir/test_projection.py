"""A projection y of x on a convex set C is the y in C with ⟨x - y, z - y⟩ <= 0 for every z in C."""

import numpy as np
import pytest

from banach.ir.primitive import page

N, ROWS, RADIUS = 6, 40, 1.3


def ball(z: np.ndarray) -> np.ndarray:
    return RADIUS * z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), RADIUS)


def simplex(z: np.ndarray) -> np.ndarray:
    return RADIUS * np.abs(z) / np.sum(np.abs(z), axis=-1, keepdims=True)


def l1(z: np.ndarray) -> np.ndarray:
    return z / np.maximum(np.sum(np.abs(z), axis=-1, keepdims=True) / RADIUS, 1)


def cone(z: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(z[..., :-1], axis=-1, keepdims=True)
    return np.concatenate([z[..., :-1], size + np.abs(z[..., -1:])], axis=-1)


SETS = {
    "project_ball": (ball, (np.asarray(RADIUS),)),
    "project_simplex": (simplex, (np.asarray(RADIUS),)),
    "project_l1_ball": (l1, (np.asarray(RADIUS),)),
    "project_second_order_cone": (cone, ()),
}


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("name", SETS)
def test_variational_inequality(name: str, scale: float) -> None:
    inside, rest = SETS[name]
    random = np.random.default_rng(0)
    x = scale * random.standard_normal((ROWS, N))
    x[0] = scale * np.round(x[0] / scale)  # ties
    x[1] = 0
    y = page(name).evaluate(x, *rest)
    np.testing.assert_allclose(page(name).evaluate(y, *rest), y, atol=1e-14 * scale + 1e-14)
    for _ in range(20):
        z = inside(random.standard_normal((ROWS, N)) * random.choice([0.1, 1.0, 3.0]))
        sides = np.sum((x - y) * (z - y), axis=-1)
        assert np.all(sides <= 1e-13 * (1 + scale**2)), name


def test_group_soft_threshold_is_what_the_ball_leaves() -> None:
    """Moreau: x = prox of r‖·‖ + projection on the ball of radius r, its dual."""
    x = np.random.default_rng(0).standard_normal((ROWS, N))
    x[0], r = 0, np.asarray(2.0)
    parts = page("group_soft_threshold").evaluate(x, r), page("project_ball").evaluate(x, r)
    np.testing.assert_allclose(sum(parts), x, atol=1e-15)
