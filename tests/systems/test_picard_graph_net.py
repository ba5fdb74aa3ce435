"""Row 1: scipy's root on networkx's karate club, Banach's count, and torch through an unrolled iteration."""

import math

import networkx
import numpy as np
import pytest
import torch
from scipy.optimize import root

F = np.random.default_rng(1).standard_normal((34, 4))


@pytest.fixture
def parts(page):
    A = networkx.to_numpy_array(networkx.karate_club_graph(), weight=None) + np.eye(34)
    degree = A.sum(1)
    drawn = page.drawn("drawn")
    return A / np.sqrt(np.outer(degree, degree)), drawn / np.linalg.norm(drawn, 2)


def fixed_point(A_hat, W):
    found = root(
        lambda x: (0.8 * np.tanh(A_hat @ x.reshape(34, 4) @ W) + F).ravel() - x, F.ravel(), tol=1e-13
    )
    assert found.success
    return found.x.reshape(34, 4)


def test_the_fixed_point_is_scipys_root(page, parts):
    found = page.run(F=F)
    np.testing.assert_allclose(found["X"], fixed_point(*parts), rtol=1e-8, atol=1e-8)
    assert found["X.status"] == 0
    # ‖x_k+1 - x_k‖ <= q^k ‖x_1 - x_0‖ < 1e-10
    first = np.linalg.norm(F)
    assert 15 < found["X.iterations"] <= 2 + math.log(1e-10 / first) / math.log(0.8)


def test_every_ratio_is_below_the_certified_factor(page, parts):
    exact, factor = fixed_point(*parts), page.certificates["X"].upper_factor
    assert 0.8 <= factor <= 0.8 * (1 + 1e-6)
    errors = [np.linalg.norm(exact)]
    for most in range(1, 15):
        errors.append(np.linalg.norm(page.run(F=F, **{"X.max_iterations": most})["X"] - exact))
    ratios = np.array(errors[1:]) / np.array(errors[:-1])
    assert 0.3 < ratios.max() <= 0.8


def test_a_larger_weight_is_not_proved(page):
    large = page.changed(("value: drawn /", "value: 4 * drawn /"))
    assert large.certificates["X"].verdict == "unknown"
    assert "3.2" in large.certificates["X"].missing


def test_implicit_gradients(page, parts):
    A_hat, W = (torch.tensor(part, requires_grad=i == 1) for i, part in enumerate(parts))
    F_, v = torch.tensor(F, requires_grad=True), np.random.default_rng(2).standard_normal((34, 4))
    X = torch.zeros(34, 4, dtype=torch.float64)
    for _ in range(80):
        X = 0.8 * torch.tanh(A_hat @ X @ W) + F_
    (X * torch.tensor(v)).sum().backward()
    found = page.reverse("X", "F,W", F=F, **{"d.X": v})
    np.testing.assert_allclose(found["d.F"], F_.grad, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found["d.W"], W.grad, rtol=1e-8, atol=1e-8)
