"""Row 142: the laws on random composites of every smooth word, and torch's derivatives of them."""

import re

import numpy as np
import pytest
import torch

# Every smooth word of one argument, as the language and as torch have it.
SMOOTH = {
    "sin(x)": torch.sin,
    "cos(x)": torch.cos,
    "tanh(x)": torch.tanh,
    "sigmoid(x)": torch.sigmoid,
    "softplus(x)": torch.nn.functional.softplus,
    "arctan(x)": torch.arctan,
    "exp(x)": torch.exp,
    "expm1(x)": torch.expm1,
    "sinh(x)": torch.sinh,
    "cosh(x)": torch.cosh,
    "erf(x)": torch.erf,
    "gelu(x)": torch.nn.functional.gelu,
    "silu(x)": torch.nn.functional.silu,
    "mish(x)": torch.nn.functional.mish,
    "square(x)": torch.square,
    "log1p(x**2)": lambda x: torch.log1p(x**2),
    "log(2 + cos(x))": lambda x: torch.log(2 + torch.cos(x)),
    "sqrt(1 + x**2)": lambda x: torch.sqrt(1 + x**2),
    "1 / (1 + x**2)": lambda x: 1 / (1 + x**2),
    "softmax(x)": lambda x: torch.softmax(x, -1),
    "log_softmax(x)": lambda x: torch.log_softmax(x, -1),
    "x * log_sum_exp(x)": lambda x: x * torch.logsumexp(x, -1),
    "cumsum(x)": lambda x: torch.cumsum(x, -1),
    "x * prod(1 + x / 4)": lambda x: x * torch.prod(1 + x / 4),
    "x / (1 + norm(x)**2)": lambda x: x / (1 + torch.linalg.norm(x) ** 2),
}
random = np.random.default_rng(142)
INPUTS = {name: random.standard_normal(3 if name in "avu" else 2) for name in ("a", "v", "u", "b", "c", "b0")}
LAWS = ("RD1", "RD2", "RD2_zero", "RD3", "RD4", "RD5", "RD6", "RD7", "forward", "dagger")


def composite(number):
    """Three words one after the other with the matrix between them, and every word in some composite."""
    rounds = np.random.default_rng(7)
    order = np.concatenate([rounds.permutation(len(SMOOTH)) for _ in range(3)])
    words = [list(SMOOTH)[i] for i in order[3 * number : 3 * number + 3]]
    inner = f"(W @ {inside(words[1], inside(words[0], 'x'))})"
    text = f"f(x): {inside(words[2], inner)}"

    def f(x, W):
        return SMOOTH[words[2]](W @ SMOOTH[words[1]](SMOOTH[words[0]](x)))

    return text, f


def inside(word, argument):
    return "(" + re.sub(r"\bx\b", f"({argument})", word) + ")"


def hold(found, W, f):
    for law in LAWS:
        scale = max(1, np.abs(found["R"]).max(), np.abs(found["D"]).max())
        assert np.abs(found[law]).max() <= 1e-9 * scale, law
    assert abs(found["adjoint"]) <= 1e-9 * max(1, np.abs(found["D"]).max())
    a, v, b = (torch.tensor(INPUTS[name]) for name in "avb")
    _, D = torch.func.jvp(lambda x: f(x, W), (a,), (v,))
    _, back = torch.func.vjp(lambda x: f(x, W), a)
    np.testing.assert_allclose(found["D"], D, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["R"], back(b)[0], rtol=1e-9, atol=1e-9)


def test_the_laws_hold_on_every_backend(page):
    def f(x, W):
        return torch.tanh(W @ x) * torch.exp(x[0] - x[2])

    hold(page.run(**INPUTS), torch.tensor(page.drawn("W")), f)


@pytest.mark.parametrize("number", range(20))
def test_the_laws_hold_for_random_composites(page, number):
    text, f = composite(number)
    other = page.changed(("f(x): tanh(W @ x) * exp(x[0] - x[2])", text))
    hold(other.model.compile(to="oracle").run(**INPUTS), torch.tensor(page.drawn("W")), f)


def test_the_composites_hold_every_word():
    texts = " ".join(composite(number)[0] for number in range(20))
    names = {name for word in SMOOTH for name in re.findall(r"[a-z_0-9]+(?=\()", word)}
    assert names <= set(re.findall(r"[a-z_0-9]+(?=\()", texts))


def test_a_wrong_derivative_would_be_seen(page):
    """`stop_gradient` makes R of the pair forget a part: the laws do not hold of it."""
    broken = page.changed(("after(x): g(f(x))", "after(x): g(stop_gradient(f(x)))"))
    found = broken.model.compile(to="oracle").run(**INPUTS)
    assert np.abs(found["RD5"]).max() > 1e-3
