"""Row 14: numpy's dense solve, the ratios of an iteration written here, and torch through the dense solve."""

import numpy as np
import pytest
import torch

NODES, HEADS, GAMMA = 30, 3, 0.8
B = np.random.default_rng(14).standard_normal((HEADS, NODES))


@pytest.fixture
def graph(page):
    chance = page.drawn("chance")
    edge = (chance + chance.T < 0.6325) & ~np.eye(NODES, dtype=bool)
    return torch.tensor(page.drawn("logits")), torch.tensor(edge.astype(float)), page.drawn("decoder")


def matrices(logits, edge):
    return torch.sigmoid(logits) * edge / edge.sum(1).clamp(min=1)[:, None]


def dense(logits, edge, decoder, b):
    x = torch.linalg.solve(torch.eye(NODES) - GAMMA * matrices(logits, edge), b[..., None])[..., 0]
    return x, torch.tanh(torch.einsum("hn,h->n", x, torch.tensor(decoder))).sum()


def test_fixed_points_equal_the_dense_solve(page, graph):
    found = page.run(b=B)
    x, read = dense(*graph, torch.tensor(B))
    for head in range(HEADS):
        np.testing.assert_allclose(found[f"x{head}"], x[head], rtol=1e-10, atol=1e-10)
        assert found[f"x{head}.status"] == 0
    assert found["read"] == pytest.approx(float(read), abs=1e-10)


def test_the_ratio_in_the_maximum_norm(page, graph):
    """Stopping early shows the iterates of the model itself: each error is at most 0.8 of the last."""
    exact, _ = dense(*graph, torch.tensor(B))
    errors = []
    for most in range(1, 12):
        found = page.run(b=B, **{f"x{head}.max_iterations": most for head in range(HEADS)})
        errors.append([np.abs(found[f"x{head}"] - exact[head].numpy()).max() for head in range(HEADS)])
        assert all(found[f"x{head}.iterations"] == most for head in range(HEADS))
    ratios = np.array(errors[1:]) / np.array(errors[:-1])
    assert ratios.max() <= GAMMA and ratios.max() > 0.2
    certificates = page.certificates
    rows = GAMMA * matrices(*graph[:2]).sum(-1).amax(-1)
    assert rows.max() < GAMMA
    for head in range(HEADS):
        certificate = certificates[f"x{head}"]
        assert certificate.norm == "linf"
        assert certificate.upper_factor == pytest.approx(float(rows[head]), rel=1e-9)
        assert max(ratio[head] for ratio in ratios) <= certificate.upper_factor * (1 + 1e-9)


def test_implicit_gradients_equal_those_of_the_dense_solve(page, graph):
    logits, edge, decoder = graph
    logits, b = logits.clone().requires_grad_(), torch.tensor(B, requires_grad=True)
    dense(logits, edge, decoder, b)[1].backward()
    found = page.reverse("read", "b,logits", b=B, **{"d.read": 1.0})
    np.testing.assert_allclose(found["d.b"], b.grad, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found["d.logits"], logits.grad, rtol=1e-8, atol=1e-8)
    assert np.abs(found["d.logits"]).max() > 1e-3
