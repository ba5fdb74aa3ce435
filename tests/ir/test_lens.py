"""Lenses form a category; learners are a functor into it; optimisers do what their papers say."""

from collections.abc import Callable

import laws
import numpy as np
import pytest
from law_graphs import INT, apply, closed, draws, fn, real

from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Value
from banach.ir.lens import Lens, beside, compose, identity, learner, lens, mean_square, reparametrise, train
from banach.ir.optimiser import adam, adamw, momentum, sgd, start
from banach.ir.reverse import reverse
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.verify import verify


def dense(inputs: int, outputs: int, function: str = "tanh") -> Lens:
    """a ↦ function(W a + b)."""

    def body(w: Value, b: Value, a: Value) -> dict[str, Value]:
        return {"y": fn(function, apply(w, a) + b)}

    return lens(closed("dense", body, w=real(outputs, inputs), b=real(outputs), a=real(inputs)), 2)


def numbers(types: list[TensorType], seed: int = 0) -> list[np.ndarray]:
    return draws(*(tuple(int(str(n)) for n in type.shape) for type in types), seed=seed)


def agree(first: Lens, second: Lens, tolerance: float = 1e-12) -> None:
    """Both ways, on random points; the names of inputs and outputs may differ."""
    assert (first.parameters, first.back) == (second.parameters, second.back)
    for one, two in ((first.forward, second.forward), (first.reverse, second.reverse)):
        verify(one)
        verify(two)
        types = [port.type for port in one.inputs]
        assert types == [port.type for port in two.inputs]
        given = numbers(types)
        laws.close(evaluate(one, given), evaluate(two, given), tolerance)


F, G, H = dense(3, 4), dense(4, 2, "sin"), dense(2, 3, "sigmoid")


def test_composition_is_associative_and_has_units() -> None:
    agree(compose(compose(F, G), H), compose(F, compose(G, H)))
    agree(compose(identity([real(3)]), F), F)
    agree(compose(F, identity([real(4)])), F)


def test_the_tensor_is_functorial() -> None:
    """(f * g); (f' * g') = (f; f') * (g; g'), up to the order of the parameters."""
    left = compose(beside(F, G), beside(G, H))
    right = beside(compose(F, G), compose(G, H))
    order = [0, 1, 4, 5, 2, 3, 6, 7]  # f g f' g' from f f' g g'
    given = numbers([port.type for port in right.reverse.inputs])
    moved = [*(given[i] for i in order), *given[8:]]
    laws.close(evaluate(left.forward, moved[:10]), evaluate(right.forward, given[:10]), 1e-12)
    found, wanted = evaluate(left.reverse, moved), evaluate(right.reverse, given)
    laws.close(found, [*(wanted[i] for i in order), *wanted[8:]], 1e-12)
    agree(beside(identity([real(2)]), identity([real(3)])), identity([real(2), real(3)]))


def composed(f: Lens, g: Lens) -> Graph:
    """g ∘ f as one graph, with the parameters of both in front."""

    def body(*values: Value) -> dict[str, Value]:
        p, q, a = values[: f.parameters], values[f.parameters : f.parameters + g.parameters], values[-1:]
        return {"c": g.get(a[0].builder, q, f.get(a[0].builder, p, a))[0]}

    types = [*f.held, *g.held, *f.domain]
    return closed("whole", body, **{f"x{i}": type for i, type in enumerate(types)})


def test_the_reverse_derivative_is_a_functor_to_lenses() -> None:
    """R[f; g] is the composition of the lenses of f and g: RD.5."""
    agree(compose(F, G), lens(composed(F, G), 4))


OPTIMISERS: dict[str, Callable[[list[TensorType]], Lens]] = {
    "sgd": lambda types: sgd(types, 0.05),
    "momentum": lambda types: momentum(types, 0.05, 0.8),
    "adam": lambda types: adam(types, 0.05),
    "adamw": lambda types: adamw(types, 0.05, weight_decay=0.2),
}


@pytest.mark.parametrize("key", OPTIMISERS)
def test_composing_two_learners_is_the_learner_of_the_composition(key: str) -> None:
    """Backprop as Functor: implement, update and request agree to 1e-12."""
    make = OPTIMISERS[key]
    apart = compose(learner(F, make(F.held)), learner(G, make(G.held)))
    whole = learner(compose(F, G), beside(make(F.held), make(G.held)))
    assert [port.type for port in apart.reverse.inputs] == [port.type for port in whole.reverse.inputs]
    for seed in range(5):
        given = numbers([port.type for port in whole.reverse.inputs], seed)
        given = [
            np.abs(x) if port.type.is_float else np.asarray(3)  # a state of adam is a mean of squares
            for x, port in zip(given, whole.reverse.inputs)
        ]
        count = len(whole.forward.inputs)
        laws.close(evaluate(apart.forward, given[:count]), evaluate(whole.forward, given[:count]), 1e-12)
        laws.close(evaluate(apart.reverse, given), evaluate(whole.reverse, given), 1e-12)


def test_the_identity_learns_nothing() -> None:
    """The learner of the identity asks for what it is told: the functor keeps units."""
    agree(learner(identity([real(3)]), sgd([], 0.1)), identity([real(3)]))


def test_a_learner_asks_for_what_lowers_its_error() -> None:
    model = learner(F, sgd(F.held, 0.05))
    w, b, a, t = numbers([port.type for port in model.reverse.inputs])

    def error(w: np.ndarray, b: np.ndarray, a: np.ndarray) -> float:
        return float(np.sum((np.tanh(w @ a + b) - t) ** 2)) / 2

    new_w, new_b, wanted = evaluate(model.reverse, [w, b, a, t])
    slope = np.array(
        [laws.slope(lambda h, i=i: np.asarray(error(w, b, a + h * np.eye(3)[i]))) for i in range(3)]
    )
    np.testing.assert_allclose(a - wanted, slope, rtol=1e-8)
    assert error(new_w, new_b, a) < error(w, b, a)


# --- training ----------------------------------------------------------------------------------------------


def steps(optimiser: Lens, count: int) -> tuple[list[list[np.ndarray]], list[float]]:
    """Parameters and losses of some steps of F on a fixed batch."""
    graph = train(F, mean_square(F.forward.output_types), optimiser)
    verify(graph)
    state = start(optimiser, numbers(F.held))
    batch = numbers([*F.domain, real(4)], seed=7)
    parameters, losses = [], []
    for _ in range(count):
        *state, loss = evaluate(graph, [*state, *batch])
        parameters.append(state[-2:])
        losses.append(float(loss))
    return parameters, losses


@pytest.mark.parametrize("key", OPTIMISERS)
def test_an_optimiser_takes_torchs_steps(key: str) -> None:
    torch = pytest.importorskip("torch")
    kinds = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8),
        "adam": lambda p: torch.optim.Adam(p, lr=0.05),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.2),
    }
    w, b = (torch.tensor(x, requires_grad=True) for x in numbers(F.held))
    a, t = (torch.tensor(x) for x in numbers([*F.domain, real(4)], seed=7))
    optimiser = kinds[key]([w, b])
    found, losses = steps(OPTIMISERS[key](F.held), 20)
    for ours, loss in zip(found, losses):
        optimiser.zero_grad()
        theirs = ((torch.tanh(w @ a + b) - t) ** 2).sum() / 2
        theirs.backward()
        optimiser.step()
        np.testing.assert_allclose(loss, theirs.item(), rtol=1e-10)
        laws.close(ours, [w.detach().numpy(), b.detach().numpy()], 1e-10)


def test_a_step_is_one_forward_and_one_backward_pass() -> None:
    """The value is not computed again for the way back."""
    graph = train(F, mean_square(F.forward.output_types), sgd(F.held, 0.05))
    names = [op.name for op in graph.ops]
    assert names.count("tanh") == 1
    assert names.count("matvec") == 1  # nobody asks for the gradient in the batch
    assert graph.output_names == ("s.0", "s.1", "loss")


def test_a_wanted_value_may_be_a_number_of_a_class() -> None:
    """A loss on integers, whose cotangent does not exist."""

    def body(b: Value, k: Value) -> dict[str, Value]:
        total = b.builder.op("log", b.builder.op("sum", fn("exp", b), axes=(-1,)))
        return {"loss": total - b.builder.op("take", b, k, axis=-1)}

    entropy = lens(closed("entropy", body, b=real(4), k=INT), 0)
    graph = train(F, entropy, sgd(F.held, 0.1))
    state, batch = numbers(F.held), [numbers(F.domain)[0], np.asarray(2)]
    losses = []
    for _ in range(30):
        *state, loss = evaluate(graph, [*state, *batch])
        losses.append(float(loss))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.75 * losses[0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeMismatch, match="one lens gives"):
        compose(G, G)
    with pytest.raises(TypeMismatch, match="is given back"):
        compose(identity([real(2)], [real(5)]), identity([real(2)], [real(2)]))
    with pytest.raises(TypeMismatch, match="parameters of its own"):
        reparametrise(F, F)
    with pytest.raises(TypeMismatch, match="one lens gives"):
        reparametrise(F, sgd(G.held, 0.1))


def test_the_way_back_of_a_lens_is_the_reverse_derivative() -> None:
    assert F.reverse == reverse(F.forward)
