"""Row 131: numpy's closed form, and central differences of the problem solved anew."""

import numpy as np
import pytest

n, m, D = 60, 40, 20


class Ridge:
    """The problem in numpy, from the page's documented draws."""

    def __init__(self, page):
        self.A, self.A_v, self.lam = page.drawn("A"), page.drawn("A_v"), page.drawn("lam")
        truth = page.drawn("truth")
        self.b, self.b_v = self.A @ truth + page.drawn("noise"), self.A_v @ truth + page.drawn("noise_v")

    def hessian(self, lam):
        return self.A.T @ self.A / n + np.diag(np.exp(lam))

    def weights(self, lam):
        return np.linalg.solve(self.hessian(lam), self.A.T @ self.b / n)

    def validation(self, lam):
        return np.sum((self.A_v @ self.weights(lam) - self.b_v) ** 2) / (2 * m)

    def hypergradient(self, lam):
        w = self.weights(lam)
        slope = self.A_v.T @ (self.A_v @ w - self.b_v) / m
        return -np.exp(lam) * w * np.linalg.solve(self.hessian(lam), slope)


@pytest.fixture
def ridge(page):
    return Ridge(page)


def test_four_hypergradients_agree(page, ridge):
    found = page.run()
    np.testing.assert_allclose(found["w"], ridge.weights(ridge.lam), rtol=1e-9, atol=1e-10)
    assert found["validation"] == pytest.approx(ridge.validation(ridge.lam), rel=1e-9)
    exact = ridge.hypergradient(ridge.lam)
    np.testing.assert_allclose(found["hypergradient"], exact, rtol=0, atol=1e-7)
    implicit = page.reverse("validation", "lam", **{"d.validation": 1.0})["d.lam"]
    np.testing.assert_allclose(implicit, exact, rtol=0, atol=1e-9)
    step = 1e-5
    for i, direction in enumerate(step * np.eye(D)):
        ends = [ridge.validation(ridge.lam + s * direction) for s in (1, -1)]
        assert exact[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6)
    assert np.abs(exact).max() > 1e-3


def test_every_term_of_the_series_tells(page, ridge):
    found = page.run()
    H, alpha = ridge.hessian(ridge.lam), found["alpha"]
    spectrum = np.linalg.eigvalsh(H)
    assert 0 < alpha <= 1 / spectrum[-1]
    # In the inverse alone, where the theorem stands: v_J = α Σ_(j <= J) (I - α H)^j ∇L_V.
    w = ridge.weights(ridge.lam)
    slope = ridge.A_v.T @ (ridge.A_v @ w - ridge.b_v) / m
    inverse = found["partial"] / (-np.exp(ridge.lam) * w)
    errors = np.linalg.norm(inverse - np.linalg.solve(H, slope), axis=1)
    factor, kept = 1 - alpha * spectrum[0], errors > 1e-8
    ratios = (errors[1:] / errors[:-1])[kept[1:]]
    assert 0.1 < ratios.max() <= factor + 1e-6 and len(ratios) > 10
    J = np.arange(1, 201)
    assert np.all(errors <= factor ** (J + 1) * np.linalg.norm(slope) / spectrum[0] + 1e-8)


def test_too_large_a_step_is_not_proved(page):
    large = page.changed(("step: alpha", "step: 20 * alpha"))
    assert large.certificates["w"].verdict == "unknown"


def test_training_follows_the_hypergradient(page, ridge, tmp_path):
    trained = page.model.train(tmp_path, to="onnx")
    lam, losses = ridge.lam, []
    for _ in range(60):
        losses.append(ridge.validation(lam))
        lam = lam - 0.3 * ridge.hypergradient(lam)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-7)
    assert losses[-1] < losses[0] - 1e-3
