"""Row 6: the definition of a proximal map over samples, in numpy; scipy's root for plug-and-play."""

import numpy as np
import pytest
from scipy.optimize import root

YS = 2 * np.random.default_rng(6).standard_normal((300, 4))
TARGET = np.array([1.0, -0.5, 0.3])
ALPHA, BETA = 0.1, 5.0


def sp(z):
    return np.logaddexp(0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Network:
    """ψ and its gradient by hand, in numpy, from the page's documented draws."""

    def __init__(self, page, positive=sp):
        names = ("H0", "b0", "free", "H1", "b1", "free_w")
        self.H0, self.b0, free, self.H1, self.b1, free_w = (page.drawn(name) for name in names)
        self.Wz, self.w = positive(free), positive(free_w)

    def gradient(self, y):
        a = self.H0 @ y + self.b0
        b = self.Wz @ (sp(BETA * a) / BETA) + self.H1 @ y + self.b1
        back = self.w * sigmoid(BETA * b)
        return self.H1.T @ back + self.H0.T @ (sigmoid(BETA * a) * (self.Wz.T @ back)) + ALPHA * y

    def value(self, y):
        a = self.H0 @ y + self.b0
        b = self.Wz @ (sp(BETA * a) / BETA) + self.H1 @ y + self.b1
        return self.w @ sp(BETA * b) / BETA + ALPHA / 2 * y @ y


def slack(ys, f, R):
    """min over i, j of ½‖f_j - y_i‖² + R_j - (½‖f_i - y_i‖² + R_i): not negative for a proximal map."""
    costs = ((f[None] - ys[:, None]) ** 2).sum(-1) / 2 + R[None]
    return (costs - np.diag(costs)[:, None]).min()


@pytest.fixture
def found(page):
    return page.run(ys=YS, target=TARGET)


def test_f_is_the_gradient(page, found):
    network = Network(page)
    np.testing.assert_allclose(found["f"], [network.gradient(y) for y in YS], rtol=1e-11, atol=1e-12)
    R = [y @ f - f @ f / 2 - network.value(y) for y, f in zip(YS, found["f"])]
    np.testing.assert_allclose(found["R"], R, rtol=1e-10, atol=1e-11)


def test_its_jacobian_is_that_of_a_proximal_map(found):
    J = found["jacobian"]
    assert np.abs(J - J.swapaxes(1, 2)).max() <= 1e-10
    least = np.linalg.eigvalsh((J + J.swapaxes(1, 2)) / 2).min()
    assert ALPHA - 1e-9 <= least < 1


def test_it_minimises_what_it_should(found):
    assert slack(YS, found["f"], found["R"]) >= -1e-9


def test_weights_of_both_signs_fail(page):
    """The same network without positive weights is no gradient of a convex function: the test can fail."""
    free = page.changed(("softplus(free) @", "(free + 4) @"), ("softplus(free_w)", "(free_w + 4)"))
    found = free.model.compile(to="onnx").run(ys=YS, target=TARGET, **{"x.max_iterations": 1})
    assert np.linalg.eigvalsh(found["jacobian"]).min() < 0
    assert slack(YS, found["f"], found["R"]) < -1e-3


def test_plug_and_play_ends_at_a_fixed_point(page, found):
    A = page.drawn("A")
    network, s = Network(page), 0.9 / np.linalg.norm(A, 2) ** 2
    step = lambda x: network.gradient(x - s * A.T @ (A @ x - TARGET))  # noqa: E731
    assert found["x.status"] == 0
    exact = root(lambda x: step(x) - x, found["x"], tol=1e-13)
    assert exact.success
    np.testing.assert_allclose(found["x"], exact.x, rtol=1e-7, atol=1e-7)


def test_what_the_theorem_asks_of_the_network(page):
    """Without its square the network is steep nowhere: its gradient stays below the bound."""
    (told,) = [h for h in page.model.check().certificates["x"].hypotheses if "displacement" in h.text]
    bound = float(told.value.strip("[]").split(",")[1])
    network, ys = Network(page), 100 * np.random.default_rng(0).standard_normal((500, 4))
    steepest = max(np.linalg.norm(network.gradient(y) - ALPHA * y) for y in ys)
    assert 0.05 * bound <= steepest <= bound


def test_every_step_lowers_what_it_should(page, found):
    """s·½‖Ax − b‖² + Ψ*(x) − ½‖x‖², where Ψ*(x) = ⟨x, v⟩ − Ψ(v) for x = ∇Ψ(v)."""
    A, network = page.drawn("A"), Network(page)
    s, x, heights = 0.9 / np.linalg.norm(A, 2) ** 2, 3 * np.ones(4), []
    for _ in range(200):
        v = x - s * A.T @ (A @ x - TARGET)
        x = network.gradient(v)
        heights.append(s * np.sum((A @ x - TARGET) ** 2) / 2 + x @ v - network.value(v) - x @ x / 2)
    assert np.all(np.diff(heights) <= 1e-12) and heights[0] - heights[-1] > 0.1
    np.testing.assert_allclose(x, found["x"], rtol=1e-3, atol=1e-3)
