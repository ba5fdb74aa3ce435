"""Claims that were wrong once, each by an instance that one can follow by hand."""

import numpy as np
import pytest
from harness import Told

import banach
from banach.compiler.certificate import Certificate


def certificate(parts: str, how: str) -> Certificate:
    stop = "stop: {residual: 1e-6, most: 1000}"
    text = f"banach: 1\nprecision: float64\n{parts}\nsolve:\n  x: {{{how}, {stop}}}\noutputs: {{x: x}}\n"
    return banach.loads(text).check().certificates["x"]


def test_nesterovs_bound_counts_the_distance_at_the_start() -> None:
    """f = x²/2 of the class mu = 1, L = 9, from 1: x_1 = 8/9, and the gap 32/81 > 2/3 · 1/2; nor does the sum
    of gap and distance fall by 2/3: 64/81 > 2/3.
    """
    found = certificate(
        'operators: {f: "quadratic([[1, 0], [0, 9]], [0, 0])"}', "method: nesterov(f), start: '[1, 0]'"
    )
    assert found.upper_factor == pytest.approx(2 / 3) and found.quantity == "objective gap"
    gap, at, start = 32 / 81, np.zeros(2), np.array([1.0, 0])
    assert gap > found.upper_factor / 2 and found.upper_factor < 64 / 81
    limit = Told(found).limit(1, 0.5, {"mu": 1, "start": start, "solution": at})
    assert gap <= limit == pytest.approx(2 / 3)


def test_the_gap_of_chambolle_and_pock_has_a_cross_term() -> None:
    """min c x with x/2 = d, tau = sigma = 1: without -<K(x - start), y> the bound is broken after 4 steps."""
    c, d, K = -0.0605, -0.293, 0.5
    found = certificate(
        f'operators: {{g: "tilt(free(), [{c}])", f: "affine([[1]], [{d}])"}}',
        'method: "pdhg(g, f, [[0.5]])", start: "[0]", tau: 1, sigma: 1',
    )
    assert found.verdict == "proved"
    x = y = 0.0
    mean = np.zeros(2)
    for _ in range(4):
        new = x - (c + K * y)
        x, y = new, y + K * (2 * new - x) - d
        mean += np.array([x, y]) / 4
    p = np.array([-1.0, 1.0])
    gap = (c * mean[0] + p[1] * (K * mean[0] - d)) - (c * p[0] + mean[1] * (K * p[0] - d))
    assert gap > (p @ p / 2) / 4
    names = {"tau": 1, "sigma": 1, "start": 0.0, "x": -1.0, "y": 1.0, "K": lambda x: K * x}
    assert gap <= Told(found).limit(4, 0, names)


@pytest.mark.parametrize("method", ["chebyshev", "conjugate_residual", "cg", "minres", "gmres", "richardson"])
def test_a_right_side_that_is_stretched_has_no_trip_bound(method: str) -> None:
    """‖b‖ is that of one entry, and the first residual that of three: the bound would be a trip short."""
    parts = "parameters: {A: [[4, 1, 0], [1, 3, 1], [0, 1, 2]]}"
    short = certificate(parts, f'method: "{method}(A, [1])", start: zeros(3)')
    full = certificate(parts, f'method: "{method}(A, [1, 1, 1])", start: zeros(3)')
    assert short.verdict == full.verdict == "proved"
    assert short.iterations is None and full.iterations is not None


def test_the_bound_of_two_grids_speaks_of_its_factor() -> None:
    """The factor is that of both steps, q²; its bound q^k, and not q^2k, which nothing kept."""
    parts = "parameters: {A: [[2, -1], [-1, 2]], P: [[1], [1]], b: [1, 2]}"
    found = certificate(parts, "method: 'two_grid(A, P, b)', start: '[0, 0]', step: 1 / 8")
    assert found.bound == "q**k times its first value"
    assert found.upper_factor == pytest.approx((7 / 8) ** 2)
