"""Row 186: torch's gradient of the network as a whole."""

import numpy as np
import pytest
import torch

import banach

ETA, SAMPLES = 0.1, 100
random = np.random.default_rng(186)
WEIGHTS = [0.5 * random.standard_normal(shape) for shape in ((6, 4), (5, 6), (3, 5))]
A, C = random.standard_normal((SAMPLES, 4)), random.standard_normal((SAMPLES, 3))


def step(weights, a, c):
    """One gradient step of the whole network, and a - ∇_a E."""
    leaves = [torch.tensor(x, requires_grad=True) for x in (*weights, a)]
    p1, p2, p3, x = leaves
    error = ((p3 @ torch.tanh(p2 @ torch.tanh(p1 @ x)) - torch.tensor(c)) ** 2).sum() / 2
    error.backward()
    found = [(leaf - ETA * leaf.grad).detach().numpy() for leaf in leaves[:3]]
    return found, (x - x.grad).detach().numpy(), error.item()


def inputs(a, c, samples=A[:1], wanted=C[:1]):
    return dict(zip(("W1", "W2", "W3"), WEIGHTS)) | {"a": a, "c": c, "samples": samples, "wanted": wanted}


def differences(page, a, c, run):
    found = run(**inputs(a, c))
    weights, request, _ = step(WEIGHTS, a, c)
    pairs = [*zip((found["new1"], found["new2"], found["new3"]), weights), (found["request"], request)]
    return [np.abs(mine - theirs).max() for mine, theirs in pairs]


def test_a_composed_learner_takes_a_gradient_step_of_the_whole(page):
    assert max(differences(page, A[0], C[0], page.run)) <= 1e-10
    oracle = page.model.compile(to="oracle").run
    for a, c in zip(A, C):
        assert max(differences(page, a, c, oracle)) <= 1e-10


def test_training_is_gradient_descent_on_the_samples(page):
    found, weights, errors = page.run(**inputs(A[0], C[0], A, C)), WEIGHTS, []
    for a, c in zip(A, C):
        weights, _, error = step(weights, a, c)
        errors.append(error)
    np.testing.assert_allclose(found["errors"], errors, rtol=1e-9)


@pytest.mark.parametrize(
    "changed",
    [
        ("E2(p, x, y): sum(e(bent(p, x), y))", "E2(p, x, y): 2 * sum(e(bent(p, x), y))"),
        ("E3(p, x, y): sum(e(plain(p, x), y))", "E3(p, x, y): sum((plain(p, x) - y)**4) / 4"),
    ],
)
def test_another_error_in_one_learner_breaks_it(page, changed):
    other = page.changed(changed).model.compile(to="oracle").run
    assert max(differences(page, A[0], C[0], other)) > 1e-3


def test_maps_are_passed_to_formulas_alone(page):
    """The page passes errors to `update`; a page of the library takes a map where it asks for one."""
    with pytest.raises(banach.SpecError, match="B203"):
        _ = page.changed(("  eta: 0.1", "  eta: 0.1\n  odd: tanh(e)")).model
