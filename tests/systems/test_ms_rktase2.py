"""Row 34: scipy's Radau to 1e-12, and the stability function in closed form."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import solve_ivp

NOTHING = np.zeros((2, 2))
START, END, MU = np.array([2.0, 0.0]), 0.5, 5


def solved(page, N=1, B=NOTHING, start=START, end=END):
    return page.run(start=start, steps=np.full(N, end / N), B=B)


def test_the_conditions_of_a_w_method_hold():
    """c_i0 = Σ_j β_ij and c_i1 = Σ_j j β_ij for T_1 = R and T_2 = 2R - R², exactly."""
    beta = {1: {1: 1}, 2: {1: 2, 2: -1}}
    c0 = {i: sum(Fraction(x) for x in row.values()) for i, row in beta.items()}
    c1 = {i: sum(Fraction(j * x) for j, x in row.items()) for i, row in beta.items()}
    b, a21 = {1: 0, 2: 1}, Fraction(1, 2)
    assert sum(b[i] * c0[i] for i in b) == 1
    assert b[2] * a21 * c0[2] * c0[1] == Fraction(1, 2)
    assert sum(b[i] * c1[i] for i in b) == 0


@pytest.mark.parametrize("W", ["exact", "frozen", "none"])
def test_the_order_is_two(page, W):
    f = lambda t, y: [y[1], MU * (1 - y[0] ** 2) * y[1] - y[0]]  # noqa: E731
    exact = solve_ivp(f, (0, END), START, method="Radau", rtol=1e-12, atol=1e-13).y[:, -1]
    errors = [np.linalg.norm(solved(page, N)[W] - exact) for N in (160, 320)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.12)
    assert errors[1] < 1e-3


def stability(z, a=1):
    return 1 + z * (1 - 2 * a * z) / (1 - a * z) ** 2 * (1 + z / (2 * (1 - a * z)))


@pytest.mark.parametrize("z", [-1e6 * 0.1, -3.0, -0.1, -1e9])
def test_a_linear_equation_follows_the_stability_function(page, z):
    found = solved(page, B=np.diag([z, z]), end=1.0, start=np.ones(2))["linear"]
    np.testing.assert_allclose(found, stability(z), rtol=1e-9, atol=1e-14)
    if z <= -1e5:
        assert np.abs(found).max() < 1e-5


@pytest.mark.parametrize("omega", [0.1, 0.7, 1.0, 2.0, 30.0, 1e4])
def test_no_oscillation_grows(page, omega):
    """y' = iωy as a rotation of the plane; the modulus of the stability function on the imaginary axis."""
    turn = np.array([[0, -omega], [omega, 0]])
    found = solved(page, B=turn, end=1.0, start=np.array([1.0, 0.0]))["linear"]
    value = stability(1j * omega)
    np.testing.assert_allclose(found, [value.real, value.imag], rtol=1e-10, atol=1e-12)
    assert np.linalg.norm(found) <= 1 + 1e-12


def test_the_stability_function_is_bounded_on_the_axis():
    assert np.abs(stability(1j * np.logspace(-4, 9, 4000))).max() <= 1 + 1e-12
    assert abs(stability(-1e12)) < 1e-10
