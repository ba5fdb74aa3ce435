"""Row 175: torch's gated recurrent cell, one step after the other, and backpropagation through time."""

import itertools

import numpy as np
import pytest
import torch

T, H, P = 256, 4, 3
X = np.random.default_rng(175).standard_normal((T, P))


@pytest.fixture
def cell(page):
    """torch.nn.GRUCell with the page's weights; its gates are in the same order, r, z, n."""
    W, U, c = (torch.tensor(page.drawn(name)) for name in ("W", "U", "c"))
    made = torch.nn.GRUCell(P, H).double()
    with torch.no_grad():
        made.weight_ih.copy_(W.reshape(3 * H, P))
        made.weight_hh.copy_(U.reshape(3 * H, H))
        made.bias_ih.zero_()
        made.bias_hh.copy_(c.reshape(3 * H))
    return made


def sequence(cell, x):
    y, found = torch.zeros(1, H, dtype=torch.float64), []
    for row in x:
        y = cell(row[None], y)
        found.append(y[0])
    return torch.stack(found)


def test_newton_over_the_sequence_is_the_recurrence(page, cell):
    found, exact = page.run(x=X), sequence(cell, torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(found["sequential"], exact, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["Y"], exact, rtol=1e-12, atol=1e-12)
    assert found["Y.status"] == 0 and 3 <= found["Y.iterations"] <= 10


def test_errors_are_squared_and_places_become_exact(page, cell):
    exact, errors = sequence(cell, torch.tensor(X)).detach().numpy(), []
    run = page.model.compile(to="onnx").run
    for most in range(1, 8):
        gaps = np.abs(run({"x": X, "Y.max_iterations": most})["Y"] - exact)
        assert gaps[:most].max() <= 1e-12
        errors.append(gaps.max())
    small = [e for e in errors if e > 1e-13]
    assert len(small) >= 3 and small[0] > 0.05
    for old, new in itertools.pairwise(small):
        if old < 0.1:
            assert new <= 10 * old**2 + 1e-13


def test_gradients_are_those_through_time(page, cell):
    x, v = torch.tensor(X, requires_grad=True), np.random.default_rng(1).standard_normal((T, H))
    (sequence(cell, x) * torch.tensor(v)).sum().backward()
    found = page.reverse("Y", "x,W,U,c", close=1e-8, x=X, **{"d.Y": v})
    np.testing.assert_allclose(found["d.x"], x.grad, rtol=1e-8, atol=1e-8)
    for name, leaf in (("W", cell.weight_ih), ("U", cell.weight_hh), ("c", cell.bias_hh)):
        np.testing.assert_allclose(found[f"d.{name}"].ravel(), leaf.grad.ravel(), rtol=1e-8, atol=1e-7)
