"""Loops in torch: values, counts and status of the oracle; implicit gradients; memory and host waiting."""

import numpy as np
import pytest
import torch
from fx_agreement import agree, both

from banach.backends.fx.lower import lower
from banach.backends.fx.run import artifact, code
from banach.ir.diagnostic import RunError
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

F64, COUNT = TensorType("float64"), TensorType("int64")
N = 3


def vector(*shape):
    return TensorType("float64", shape)


def total(build, value, lanes):
    """The Euclidean norm, of every lane or of all."""
    return build.op("norm", value, axes=tuple(range(int(lanes) - value.type.rank, 0)))


def regions(x, others, update, lanes=False, counted=False):
    """Step, residual and equation of x = update(x, *others)."""
    step = Builder("step")
    k, s = step.input("k", COUNT), step.input("x", x)
    held = [step.input(f"c{i}", t) for i, t in enumerate(others)]
    new = update(step, s, *held)
    if counted:  # a schedule that vanishes: x_(k+1) = update + 0.5^k / 8
        new = new + step.op("power", step.scalar(0.5, "float64"), step.op("cast", k, dtype="float64")) * 0.125
    step = step.finish({"x": new})
    residual = Builder("residual")
    old, new = residual.input("old", x), residual.input("new", x)
    for i, t in enumerate(others):
        residual.input(f"c{i}", t)
    one = residual.zeros(TensorType("float64", x.shape[: int(lanes)])) + 1.0
    residual = residual.finish({"size": total(residual, new - old, lanes), "scale": one})
    equation = Builder("equation")
    s = equation.input("x", x)
    held = [equation.input(f"c{i}", t) for i, t in enumerate(others)]
    return [step, residual, equation.finish({"x": update(equation, s, *held)})]


def affine(build, x, matrix, b):
    return build.op("tanh", build.op("matvec", matrix, x) + b)


def square(build, x, matrix, b):
    return x * x + b


def solve(update=affine, lanes=(), every=1, counted=False, stated=True, **derivative) -> Graph:
    """x = update(x, A, b), for one b or for every row of b."""
    build = Builder("solve")
    matrix, b = build.input("A", vector(N, N)), build.input("b", vector(*lanes, N))
    start = build.input("x0", vector(*lanes, N))
    tolerance = build.input("x.tolerance", F64, Tensor(np.array(1e-12)))
    most = build.input("x.max_iterations", COUNT, Tensor(np.array(500)))
    parts = regions(start.type, [matrix.type, b.type], update, bool(lanes), counted)
    shape = {"states": 1, "solution": 1, "lanes": bool(lanes), "every": every, **derivative}
    found = build.emit("fix", [tolerance, most, start, matrix, b], shape, parts if stated else parts[:2])
    return build.finish(dict(zip(["x", "iterations", "residual", "status"], found)))


def data(batch=(), scale=0.15, seed=0):
    random = np.random.default_rng(seed)
    return [
        scale * random.standard_normal((N, N)),
        random.standard_normal((*batch, N)),
        np.zeros((*batch, N)),
    ]


def settings(tolerance=1e-12, most=500):
    return [np.array(tolerance), np.array(most)]


CASES = {
    "converges": (affine, data(), settings(), 0),
    "stops": (affine, data(), settings(most=3), 1),
    "has no steps": (affine, data(), settings(most=0), 1),
    "cannot reach": (affine, data(), settings(tolerance=-1.0, most=40), 1),
    "starts at nan": (affine, [*data()[:2], np.full(N, np.nan)], settings(), 2),
    "overflows": (square, [*data()[:2], np.full(N, 10.0)], settings(), 2),
}


@pytest.mark.parametrize("every", [1, 5, 7])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("counted", [False, True])
def test_a_solve_ends_as_the_oracle_does(case, every, counted):
    update, arrays, ends, status = CASES[case]
    found, expected, module = both(solve(update, every=every, counted=counted), [*arrays, *ends])
    agree(found, expected)
    assert found[3] == status
    steps, most = int(found[1]), int(ends[1])
    checks = -(-steps // every)
    # After every check the host asks, but not after the last permitted step.
    assert module.fix.synchronisations == checks - (steps == most > 0)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_each_lane_is_its_own_run(batch, every):
    graph = solve(square, lanes=(named("batch"),), every=every)
    arrays = data((batch,), seed=2)
    arrays[1] *= 0.2  # some lanes converge, at different times; others overflow
    arrays[1][::3] += 1.0
    found, expected, _ = both(graph, [*arrays, *settings(1e-10, 60)])
    agree(found, expected)
    assert batch < 64 or {0, 2} <= set(found[3])
    alone = lower(graph)
    with np.errstate(all="ignore"):
        for i in range(min(batch, 8)):
            own = alone(
                torch.tensor(arrays[0]),
                *(torch.tensor(x[i : i + 1]) for x in arrays[1:]),
                *map(torch.tensor, settings(1e-10, 60)),
            )
            for row, solo in zip(found, own, strict=True):
                np.testing.assert_array_equal(row[i], solo[0].numpy())


def test_defaults_may_be_left_out_and_numbers_given():
    module = lower(solve())
    arrays = [torch.tensor(x) for x in data()]
    assert module(*arrays)[3] == 0
    assert module(*arrays, torch.tensor(1e-12, dtype=torch.float64), 2)[1] == 2
    assert "given(x_max_iterations, 500)" in module.code


def test_each_region_prints_its_code():
    text = code(lower(solve()))
    assert "# fix.step\ndef forward(self, k, x, c0, c1):" in text
    assert "x_1 = torch.tanh(" in text


def test_run_by_name():
    found = artifact(solve()).run(dict(zip(["A", "b", "x0"], data())))
    assert found["status"] == 0 and found["x"].shape == (N,)


def loss_of(module, arrays, weights):
    return (module(*arrays)[0] * weights).sum()


def leaves(arrays):
    return [torch.tensor(x, requires_grad=i < 2) for i, x in enumerate(arrays)]


@pytest.mark.parametrize("lanes", [(), (named("batch"),)])
def test_the_gradient_is_the_implicit_one(lanes):
    graph = solve(lanes=lanes)
    arrays = data((4,) if lanes else (), scale=0.3)
    module, given = lower(graph), leaves(arrays)
    weights = torch.tensor(np.random.default_rng(7).standard_normal(arrays[1].shape))
    loss_of(module, given, weights).backward()
    # Against finite differences of the oracle.
    for which in range(2):
        direction = np.random.default_rng(8 + which).standard_normal(arrays[which].shape)
        ends = []
        for sign in (1, -1):
            moved = [x + sign * 1e-5 * direction if i == which else x for i, x in enumerate(arrays)]
            ends.append((evaluate(graph, [*moved, *settings(1e-14)])[0] * weights.numpy()).sum())
        slope = (given[which].grad.numpy() * direction).sum()
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-6)
    # And against our reverse derivative, run by the oracle, which solves again.
    alone = Builder("alone")
    inputs = [alone.input(port.name, port.type) for port in graph.inputs]
    outputs = alone.inline(graph, inputs)
    derivative = reverse(alone.finish({"x": outputs[0]}))
    expected = evaluate(derivative, [*arrays, *settings(), weights.numpy()])
    agree([given[0].grad.numpy(), given[1].grad.numpy()], expected[:2], 1e-9)


def test_first_and_second_derivatives_pass_gradcheck():
    module, (matrix, b, start) = lower(solve()), leaves(data())
    assert torch.autograd.gradcheck(lambda a, c: module(a, c, start)[0], (matrix, b), atol=1e-7)
    assert torch.autograd.gradgradcheck(lambda a, c: module(a, c, start)[0], (matrix, b), atol=1e-6)


def test_the_start_has_no_gradient():
    module, (matrix, b, start) = lower(solve()), leaves(data())
    start.requires_grad_()
    module(matrix, b, start)[0].sum().backward()
    assert torch.count_nonzero(start.grad) == 0


def test_a_solve_of_no_steps_leaves_its_start_alone():
    module, (matrix, b, start) = lower(solve(adjoint_most=0)), leaves(data())
    start.requires_grad_()
    found = module(matrix, b, start, torch.tensor(1e-12).double(), 0)[0]
    assert found.data_ptr() != start.data_ptr()
    found.sum().backward()
    assert b.grad.isnan().all()


def saved_bytes(most):
    module, seen = lower(solve()), [0]

    def pack(tensor):
        seen[0] += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(module, [*leaves(data()), torch.tensor(0.0).double(), most], torch.ones(N))
    return seen[0], loss


def test_memory_does_not_grow_with_the_iterations():
    few, _ = saved_bytes(10)
    many, loss = saved_bytes(400)
    assert 0 < few == many < 1000
    loss.backward()


def test_a_gradient_that_does_not_converge_is_nan():
    module, (matrix, b, start) = lower(solve(adjoint_most=2)), leaves(data(scale=0.3))
    module(matrix, b, start, torch.tensor(1e-12).double(), 500)[0].sum().backward()
    assert b.grad.isnan().all()


@pytest.mark.parametrize(("graph", "output"), [(solve(), 2), (solve(stated=False), 0)])
def test_a_gradient_that_does_not_exist_is_refused(graph, output):
    found = lower(graph)(*leaves(data()))[output]
    with pytest.raises(RunError, match="B605"):
        found.sum().backward()


def test_the_backward_follows_to_and_is_no_weight():
    module = lower(solve())
    names = list(module.state_dict())
    matrix, b, start = leaves(data())
    module(matrix, b, start)[0].sum().backward()
    assert list(module.state_dict()) == names
    module.to(torch.float32)
    small = [x.detach().float().requires_grad_(i < 2) for i, x in enumerate((matrix, b, start))]
    found = module(*small, torch.tensor(1e-5))
    assert found[0].dtype == torch.float32 and found[3] == 0
    found[0].sum().backward()
    np.testing.assert_allclose(small[1].grad, b.grad, rtol=1e-3)
    (made,) = module.fix._backwards.values()
    assert "torch.float64" not in code(made.module)
    assert "torch.float32" in code(made.module)


def test_torch_compile_goes_around_a_loop():
    module = lower(solve())
    matrix, b, start = leaves(data())
    torch.compile(module, backend="eager")(matrix, b, start)[0].sum().backward()
    first = b.grad.clone()
    b.grad = None
    module(matrix, b, start)[0].sum().backward()
    np.testing.assert_array_equal(first, b.grad)
    module.fix.step.compile(backend="eager")
    assert module(matrix, b, start)[3] == 0


def test_the_loop_waits_for_nothing_but_the_checks(monkeypatch):
    """Every other way from device to host is closed while the loop runs."""
    module, arrays = lower(solve(every=5)), [torch.tensor(x) for x in data()]
    watched = {"item": torch.Tensor.item, "__bool__": torch.Tensor.__bool__, "tolist": torch.Tensor.tolist}
    seen = [0]

    def closed(name, stock):
        def call(self, *arguments):
            seen[0] += 1
            return stock(self, *arguments)

        return call

    for name, stock in watched.items():
        monkeypatch.setattr(torch.Tensor, name, closed(name, stock))
    found = module(*arrays)
    assert seen[0] == module.fix.synchronisations == int(found[1]) // 5


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [(), (named("batch"),)])
@pytest.mark.parametrize(("every", "most"), [(1, 500), (5, 500), (5, 7), (5, 0)])
def test_torch_export_keeps_the_loop(every, most, lanes):
    graph, arrays = solve(every=every, lanes=lanes, counted=True), data((4,) if lanes else ())
    given = (*map(torch.tensor, arrays), torch.tensor(1e-12).double(), torch.tensor(most))
    program = torch.export.export(lower(graph), given)
    assert "while_loop" in str(program.graph)
    agree([y.numpy() for y in program.module()(*given)], evaluate(graph, [*arrays, *settings(most=most)]))
