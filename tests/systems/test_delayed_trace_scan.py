"""Row 23: torch's autograd and jvp on the unrolled network."""

import numpy as np
import pytest
import torch

import banach
from banach.backends.fx.lower import lower as to_torch
from banach.backends.onnx.lower import lower as to_onnx
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.evaluate import evaluate
from banach.ir.forward import forward

T, P, H = 40, 3, 5
random = np.random.default_rng(23)
X, S0, V = random.standard_normal((T, P)), random.standard_normal(H), random.standard_normal((T, 2))


def unrolled(W, U, C, x, s):
    rows = []
    for x_t in x:
        s = torch.tanh(W @ s + U @ x_t)
        rows.append(C @ s)
    return torch.stack(rows)


def weights(page):
    return [torch.tensor(page.drawn(name)) for name in ("W", "U", "C")]


def test_the_scan_is_the_unrolled_network(page):
    found = page.run(x=X, s0=S0)
    want = unrolled(*weights(page), torch.tensor(X), torch.tensor(S0))
    np.testing.assert_allclose(found["y"], want, rtol=1e-12, atol=1e-12)


def test_the_reverse_scan_is_the_gradient(page):
    leaves = [leaf.requires_grad_() for leaf in [*weights(page), torch.tensor(X), torch.tensor(S0)]]
    (unrolled(*leaves) * torch.tensor(V)).sum().backward()
    found = page.reverse("y", "W,U,C,x,s0", x=X, s0=S0, **{"d.y": V})
    for name, leaf in zip(("W", "U", "C", "x", "s0"), leaves):
        np.testing.assert_allclose(found[f"d.{name}"], leaf.grad, rtol=1e-10, atol=1e-10)


def test_the_forward_scan_is_the_directional_derivative(page):
    graph = forward(page.model.graph)
    dx, ds = random.standard_normal((T, P)), random.standard_normal(H)
    given = {"x": X, "s0": S0}
    directions = dict(zip((port.name for port in graph.inputs[2:]), (dx, ds)))
    arguments = [given.get(port.name, directions.get(port.name)) for port in graph.inputs]
    W, U, C = weights(page)
    want = torch.func.jvp(
        lambda x, s: unrolled(W, U, C, x, s),
        (torch.tensor(X), torch.tensor(S0)),
        tuple(map(torch.tensor, (dx, ds))),
    )
    oracle = evaluate(graph, arguments)
    onnx = OnnxArtifact(to_onnx(graph)).evaluate(arguments)
    fx = to_torch(graph)(*map(torch.tensor, arguments))
    for found in (oracle, onnx, [value.numpy() for value in fx]):
        told = dict(zip(graph.output_names, found))
        tangent = next(v for n, v in told.items() if n != "y" and v.shape == (T, 2))
        np.testing.assert_allclose(tangent, want[1], rtol=1e-10, atol=1e-10)


def count(graph):
    return sum(1 + sum(count(region) for region in op.regions) for op in graph.ops)


def test_the_graphs_do_not_grow_with_the_number_of_steps(page):
    counts = set()
    for steps in ("any", "4", "400"):
        model = page.changed(("T: any", f"T: {steps}")).model
        counts.add((count(model.graph), count(model.backward), count(forward(model.graph))))
    assert len(counts) == 1
    assert all(3 < size < 200 for size in counts.pop())


def test_a_feedback_without_delay_is_refused(page):
    loop = page.changed(("tanh(W @ s + U @ x_t)", "tanh(W @ s' + U @ x_t)"))
    with pytest.raises(banach.SpecError, match="needs its own value"):
        _ = loop.model
