"""Row 12: the rotations' spectrum in closed form, and the geometry of the two sets."""

import numpy as np
import pytest

import banach

PLANES, N = 200, 4000
random = np.random.default_rng(12)
START, BEGIN = random.standard_normal((PLANES, 2)), random.standard_normal(5)
MOVE, V = np.zeros((2, PLANES, 2))
MOVE[0] = random.standard_normal(2)  # in the plane that does not turn
V[0] = -MOVE[0]  # x - T x there


@pytest.fixture(scope="module")
def long():
    return {}


@pytest.fixture
def found(page, long):
    if not long:
        long.update(page.model.compile(to="onnx").run(start=START, move=MOVE, v=V, begin=BEGIN))
    return long


def test_backends_agree(page):
    short = page.changed(("N: 4000, M: 3000", "N: 60, M: 60"))
    found = short.run(start=START, move=MOVE, v=V, begin=BEGIN)
    np.testing.assert_allclose(found["anchored_squares"], modes(True)[:60], rtol=1e-9)


@pytest.mark.slow
def test_backends_agree_on_the_whole_run(page):
    page.run(start=START, move=MOVE, v=V, begin=BEGIN)


def slope(squares, first, last):
    k = np.arange(first, last)
    return np.polyfit(np.log(k + 1), np.log(squares[first:last]), 1)[0]


def modes(anchored):
    """‖x_k - T x_k - v‖² in every plane by itself, in complex numbers: T x = e^(iθ) x + m."""
    angle = np.pi * (np.arange(PLANES) / PLANES) ** 2
    turn, move = np.exp(1j * angle), MOVE @ [1, 1j]
    x0 = x = START @ [1, 1j]
    found = []
    for k in range(N):
        new = turn * x + move
        x = x0 / (k + 2) + (k + 1) / (k + 2) * new if anchored else (x + new) / 2
        found.append(np.sum(np.abs(x - turn * x - move - V @ [1, 1j]) ** 2))
    return np.array(found)


@pytest.mark.parametrize("name", ["anchored", "averaged"])
def test_the_residuals_are_those_of_the_spectrum(found, name):
    np.testing.assert_allclose(found[f"{name}_squares"], modes(name == "anchored"), rtol=1e-6)


def test_the_rates_without_a_fixed_point(found):
    assert slope(found["anchored_squares"], 100, N) <= -1.9
    assert -1.5 <= slope(found["averaged_squares"], 100, N) < -1
    # Normalised iterates tend to v as well: 2 (x_0 - x_k)/k, where one step of the average is half of T's.
    for name in ("anchored", "averaged"):
        assert np.linalg.norm(found[name] - V) < 0.05 * np.linalg.norm(V) + 0.05


def test_the_gap_of_two_sets(found):
    """From {x_0 <= -1} to the ball of radius 1 around 2e_0 it is 2, along e_0."""
    gap = np.array([-2.0, 0, 0, 0, 0])
    np.testing.assert_allclose(found["gap"], gap, rtol=0, atol=1e-3)
    assert slope(((found["gaps"] - gap) ** 2).sum(1), 100, 3000) <= -1.9


def test_where_the_sets_meet_halperns_bound_holds(page, found):
    certificate = page.certificates["feasible"]
    assert certificate.theorem == "halpern" and certificate.verdict == "proved"
    assert found["feasible.status"] == 0 and found["distance"] <= 1e-3
    # A point of both sets is a fixed point: 2‖x_0 - x*‖/(k + 1) bounds every residual (Lieder 2021).
    point = np.array([-1.5, 0, 0, 0, 0])
    run = page.model.compile(to="onnx").run
    for most in (1, 3, 10, 30, 100):
        early = run(
            start=START,
            move=MOVE,
            v=V,
            begin=BEGIN,
            **{"feasible.max_iterations": most, "feasible.tolerance": 1e-12},
        )
        assert early["distance"] <= 2 * np.linalg.norm(BEGIN - point) / (most + 1)


def test_only_reflections_of_convex_functions_are_nonexpansive(page):
    for old, new in (
        ("A: 2 * prox", "A: 2.1 * prox"),
        ("A: 2 * prox(half_space, 1)", "A: 2 * prox(half_space, -1)"),
    ):
        with pytest.raises(banach.SpecError, match="B331"):
            page.changed((old, new)).model.compile(to="oracle")
