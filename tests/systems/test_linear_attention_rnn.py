"""Row 166: numpy's masked quadratic form, and torch's gradient of it."""

import numpy as np
import pytest
import torch

N, D = 64, 8


def given(n=N):
    random = np.random.default_rng(166)
    return {name: random.standard_normal((n, D)) for name in ("q", "key", "v")}


def numpy_form(q, key, v, causal):
    phi = [np.where(z > 0, z + 1, np.exp(np.minimum(z, 0))) for z in (q, key)]
    weights = phi[0] @ phi[1].T
    weights = np.tril(weights) if causal else weights
    return weights @ v / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("n", [1, 2, N])
def test_three_forms_of_one_function(page, n):
    inputs = given(n)
    found = page.run(close=1e-11, **inputs)
    for form in ("quadratic", "prefix", "recurrent"):
        np.testing.assert_allclose(found[form], numpy_form(**inputs, causal=True), rtol=1e-12, atol=1e-12)
        largest = np.maximum.accumulate(np.abs(inputs["v"]).max(1))
        assert np.all(np.abs(found[form]).max(1) <= largest * (1 + 1e-14))
    np.testing.assert_allclose(found["whole"], numpy_form(**inputs, causal=False), rtol=1e-12, atol=1e-12)


def test_in_float32(page):
    short = page.changed(("precision: float64", "precision: float32"))
    inputs = {name: value.astype(np.float32) for name, value in given().items()}
    found = short.run(close=1e-5, **inputs)
    for form in ("quadratic", "prefix", "recurrent"):
        np.testing.assert_allclose(found[form], numpy_form(**given(), causal=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["quadratic", "prefix", "recurrent"])
def test_one_gradient(page, form):
    inputs = given()
    seed = np.random.default_rng(5).standard_normal((N, D))
    q, key, v = (torch.tensor(inputs[name], requires_grad=True) for name in ("q", "key", "v"))
    weights = torch.tril((torch.nn.functional.elu(q) + 1) @ (torch.nn.functional.elu(key) + 1).T)
    (weights @ v / weights.sum(1, keepdim=True) * torch.tensor(seed)).sum().backward()
    found = page.reverse(form, "q,key,v", **inputs, **{f"d.{form}": seed})
    for name, leaf in (("q", q), ("key", key), ("v", v)):
        np.testing.assert_allclose(found[f"d.{name}"], leaf.grad, rtol=1e-10, atol=1e-11)


def test_the_state_does_not_grow(page):
    """Two states of the scan, d·d and d numbers, in a graph that is the same for every N."""
    (scan,) = [op for op in page.model.graph.ops if op.name == "scan"]
    states = scan.types[: scan.attribute("states")]
    assert sorted(tuple(type.shape) for type in states) == [(D,), (D, D)]
