"""Row 64: the hypergradient in closed form, by numpy."""

import numpy as np
import pytest

X0 = np.random.default_rng(64).standard_normal(3)


class Bilevel:
    """F and its gradient in closed form, from the page's documented draws."""

    def __init__(self, page):
        Q, self.B, self.c, self.target = (page.drawn(name) for name in ("Q", "B", "c", "target"))
        self.A = Q @ Q.T / 5 + np.eye(5)

    def lower(self, x):
        return np.linalg.solve(self.A, self.B @ x + self.c)

    def gradient(self, x):
        return x / 2 + self.B.T @ np.linalg.solve(self.A, self.lower(x) - self.target)

    def penalised(self, x, lam):
        return np.linalg.solve(np.eye(5) + lam * self.A, self.target + lam * (self.B @ x + self.c))


@pytest.fixture
def bilevel(page):
    return Bilevel(page)


def with_penalty(page, lam):
    return page if lam == 50 else page.changed(("lam: 50", f"lam: {lam}"))


def test_the_bias_halves_as_the_penalty_doubles(page, bilevel):
    biases = []
    for lam in (50, 100, 200, 400):
        artifact = with_penalty(page, lam).model.compile(to="onnx")
        found = page.run(x0=X0) if lam == 50 else artifact.run(x0=X0)
        np.testing.assert_allclose(found["y"], bilevel.penalised(X0, lam), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(found["z"], bilevel.lower(X0), rtol=1e-11, atol=1e-12)
        biases.append(np.linalg.norm(found["slope"] - bilevel.gradient(X0)))
    ratios = np.array(biases[:-1]) / biases[1:]
    assert np.all((ratios >= 1.95) & (ratios <= 2.03)) and biases[0] > 1e-3


def test_both_lower_problems_are_certified_for_every_penalty(page):
    for lam in (50, 400):
        certificates = with_penalty(page, lam).certificates
        assert [certificates[name].verdict for name in "yz"] == ["proved", "proved"]


def test_a_growing_penalty_ends_where_the_gradient_is_zero(page, bilevel):
    x = page.run(x0=X0)["x"]
    A, B = bilevel.A, bilevel.B
    inverse = np.linalg.inv(A)
    exact = np.linalg.solve(
        np.eye(3) / 2 + B.T @ inverse @ inverse @ B, B.T @ inverse @ (bilevel.target - inverse @ bilevel.c)
    )
    np.testing.assert_allclose(bilevel.gradient(exact), 0, atol=1e-12)
    assert np.linalg.norm(x - exact) < 2e-2 * np.linalg.norm(X0 - exact)
    assert np.linalg.norm(bilevel.gradient(x)) < 2e-2 * np.linalg.norm(bilevel.gradient(X0))
