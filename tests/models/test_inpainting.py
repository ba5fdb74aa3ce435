"""Total variation inpainting of a part of a photograph, against the optimum of an interior-point solver."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

import banach

LEAST = 1.27761221  # by Clarabel, to its last digit
LAM = 0.01


def differences(u):
    down, right = np.zeros_like(u), np.zeros_like(u)
    down[:-1], right[:, :-1] = np.diff(u, axis=0), np.diff(u, axis=1)
    return np.stack([down, right])


def adjoint(y):
    down, right = np.pad(y[0, :-1], ((1, 1), (0, 0))), np.pad(y[1, :, :-1], ((0, 0), (1, 1)))
    return down[:-1] - down[1:] + right[:, :-1] - right[:, 1:]


def objective(u, seen, kept):
    return np.sum((u - seen)[kept] ** 2) / 2 + LAM * np.sum(np.hypot(*differences(u)))


def least_possible(u, seen, kept):
    """A bound of the objective by duality: a field of arrows no longer than λ, whose divergence is that
    of the misfit where something is seen, and 0 elsewhere."""
    y = np.zeros((2, *u.shape))
    x, tau = u.copy(), 1 / np.sqrt(8)
    for _ in range(4000):  # the primal-dual method in numpy, for its dual
        new = x - tau * adjoint(y)
        new = np.where(kept, (new + tau * seen) / (1 + tau), new)
        y = y + tau * differences(2 * new - x)
        y = y / np.maximum(np.hypot(*y) / LAM, 1)
        x = new
    left = adjoint(y)  # min over u of misfit + <Du, y>: finite where `left` is 0 at what is not kept
    slack = np.abs(left[~kept]).sum()  # |u| <= 1 there
    return -np.sum(left[kept] ** 2) / 2 + np.sum(left[kept] * seen[kept]) - slack


@pytest.fixture(scope="module")
def picture(model_data):
    return model_data.spotted_coins()


def decibels(found, truth):
    return -10 * np.log10(np.mean((found - truth) ** 2))


@pytest.mark.parametrize("backend", ["oracle", "onnx", pytest.param("fx", marks=pytest.mark.slow)])
def test_every_backend_finds_the_optimum(backend, picture, compiled):
    sharp, seen, kept = picture
    result = compiled("inpainting", backend).run(seen=seen, kept=kept)
    found = objective(result["u"], seen, kept)
    assert LEAST * (1 - 1e-8) <= found <= LEAST * (1 + 1e-5)
    assert float(result["objective"]) == pytest.approx(found, rel=1e-9)
    assert round(decibels(seen, sharp), 2) == 9.38
    assert round(decibels(result["u"], sharp), 2) == 30.16
    assert result["u.status"] == 0


def test_the_stated_optimum_is_one(picture):
    """No picture with entries in [-1, 1] does better, by a dual bound worked out here."""
    _, seen, kept = picture
    assert LEAST - 3e-5 <= least_possible(seen, seen, kept) <= LEAST + 1e-8


def test_variation_does_better_than_a_soap_film(picture):
    """The harmonic picture through the seen pixels, by scipy's sparse solver."""
    sharp, seen, kept = picture
    line = sp.diags([-np.ones(64), np.ones(63)], [0, 1]).tolil()
    line[-1] = 0
    square = (line.T @ line).tocsr()
    A = (sp.kron(square, sp.eye(64)) + sp.kron(sp.eye(64), square)).tocsr()
    known, u = kept.ravel(), seen.ravel().copy()
    u[~known] = spsolve(A[~known][:, ~known].tocsc(), -A[~known][:, known] @ u[known])
    assert round(decibels(u.reshape(64, 64), sharp), 2) == 29.66


def test_certificate(model_file):
    report = banach.load(model_file("inpainting")).check()
    certificate = report.certificates["u"]
    assert report.ok and (certificate.verdict, certificate.theorem) == ("proved", "chambolle-pock")
