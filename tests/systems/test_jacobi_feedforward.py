"""Row 50: torch's evaluation of one layer after the other, and greedy decoding in numpy."""

import numpy as np
import torch

L, N = 30, 6
X = np.random.default_rng(50).standard_normal(N)


def sequential(W, x):
    h, found = torch.tensor(x), []
    for w in torch.tensor(W):
        h = torch.tanh(w @ h)
        found.append(h.numpy())
    return np.array(found)


def test_after_as_many_sweeps_as_layers_nothing_changes(page):
    found = page.run(x=X)
    assert found["Z.residual"] == 0 and found["Z.status"] == 0
    assert 5 < found["Z.iterations"] <= L + 1
    assert np.array_equal(found["Z"], found["sequential"])
    W = 1.8 * page.drawn("drawn") / np.sqrt(N)
    np.testing.assert_allclose(found["Z"], sequential(W, X), rtol=1e-12, atol=1e-13)


def test_bits_agree_on_every_backend_by_itself(page):
    for backend in ("onnx", "fx"):
        found = page.model.compile(to=backend).run(x=X)
        assert found["Z.residual"] == 0 and found["Z.iterations"] <= L + 1


def test_sweep_k_makes_the_first_k_layers_exact(page):
    run = page.model.compile(to="oracle").run
    exact = run(x=X)["sequential"]
    reached = []
    for most in range(1, 12):
        Z = run({"x": X, "Z.max_iterations": most})["Z"]
        assert np.array_equal(Z[:most], exact[:most])
        reached.append(np.abs(Z - exact).max())
    assert reached[-1] > 1e-3  # the layers are strongly coupled: the others are not there yet


def test_a_contractive_chain_needs_few_sweeps(page):
    long = page.changed(("L: 30", "L: 200"), ("scale: 1.8", "scale: 0.45"), ("<= 1e-300", "<= 1e-9"))
    found = long.run(x=X)
    exact = sequential(0.45 * long.drawn("drawn") / np.sqrt(N), X)
    assert np.abs(found["Z"] - exact).max() <= 1e-8 and found["Z.iterations"] <= 40


def test_greedy_decoding_in_parallel(page):
    voice, places, words = page.drawn("voice"), 20, 11
    tokens = []
    for place in range(places):
        scores = X[0] * np.arange(words) / words
        for earlier, word in enumerate(tokens):
            scores = scores + voice[place, :, earlier, word]
        tokens.append(int(np.argmax(scores)))
    found = page.run(x=X)
    assert found["token"].tolist() == tokens and len(set(tokens)) > 3
    assert found["token.status"] == 0 and 2 < found["token.iterations"] <= places + 1
