"""Scans, branches, `while` and calls in torch, against the oracle and our reverse."""

import numpy as np
import pytest
import torch
from fx_agreement import agree, both

from banach.backends.fx.loops import Fix
from banach.backends.fx.lower import lower
from banach.ir.diagnostic import RunError
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

F64, COUNT, BOOL = TensorType("float64"), TensorType("int64"), TensorType("bool")
N = 3


def vector(*shape):
    return TensorType("float64", shape)


def exports(graph, arrays):
    """What torch.export makes of it gives the same."""
    given = tuple(map(torch.tensor, arrays))
    found = torch.export.export(lower(graph), given).module()(*given)
    agree([y.numpy() for y in found], evaluate(graph, arrays))


def carried(backwards=False, length=None) -> Graph:
    """s ← tanh(W s + x_k), y_k = s·x_k, over a sequence of a named length."""
    length = named("t") if length is None else length
    step = Builder("step")
    s, x, w = step.input("s", vector(N)), step.input("x", vector(N)), step.input("W", vector(N, N))
    new = step.op("tanh", step.op("matvec", w, s) + x)
    step = step.finish({"s": new, "y": new * x})
    build = Builder("carried")
    given = [build.input("s", vector(N)), build.input("x", vector(length, N)), build.input("W", vector(N, N))]
    shape = {"states": 1, "sequences": 1, "length": length, "reverse": backwards}
    return build.finish(dict(zip(["last", "y"], build.emit("scan", given, shape, [step]))))


def sequence(length):
    random = np.random.default_rng(4)
    return [
        random.standard_normal(N),
        random.standard_normal((length, N)),
        0.5 * random.standard_normal((N, N)),
    ]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("length", [1, 6])
def test_a_scan_and_its_gradient(length, backwards):
    graph, arrays = carried(backwards), sequence(length)
    found, expected, module = both(graph, arrays)
    agree(found, expected)
    given = [torch.tensor(x, requires_grad=True) for x in arrays]
    seeds = [np.random.default_rng(5).standard_normal(y.shape) for y in expected]
    torch.autograd.backward(module(*given), [torch.tensor(seed) for seed in seeds])
    agree([x.grad.numpy() for x in given], evaluate(reverse(graph), [*arrays, *seeds]), 1e-11)
    assert module.scan.synchronisations == 0


def test_a_scan_passes_gradcheck_twice():
    module = lower(carried())
    given = [torch.tensor(x, requires_grad=True) for x in sequence(3)]
    assert torch.autograd.gradcheck(module, given)
    assert torch.autograd.gradgradcheck(module, given)


@pytest.mark.slow
def test_torch_export_keeps_scans_branches_and_whiles():
    exports(carried(True, 3), sequence(3))
    exports(branches(), [np.array(True), np.array([0.5, 1.0])])
    exports(halving(), [np.array(9), np.array(20.0)])


def test_a_scan_of_nothing():
    found = lower(carried())(*(torch.tensor(x) for x in sequence(0)))
    assert found[0].shape == (N,) and found[1].shape == (0, N)


def branches() -> Graph:
    yes, no = Builder("yes"), Builder("no")
    yes = yes.finish({"y": yes.op("exp", yes.input("x", vector(named("n"))))})
    no = no.finish({"y": no.input("x", vector(named("n"))) * 3.0})
    build = Builder("branches")
    given = [build.input("c", BOOL), build.input("x", vector(named("n")))]
    return build.finish({"y": build.emit("cond", given, {}, [yes, no])[0]})


@pytest.mark.parametrize("chosen", [True, False])
def test_only_the_chosen_branch_runs(chosen):
    arrays = [np.array(chosen), np.array([0.5, 800.0 if not chosen else 1.0])]
    found, expected, module = both(branches(), arrays)
    agree(found, expected)
    x = torch.tensor(arrays[1], requires_grad=True)
    module(torch.tensor(chosen), x)[0].sum().backward()
    agree([x.grad.numpy()], evaluate(reverse(branches()), [*arrays, np.ones(2)]))


def halving() -> Graph:
    condition, step = Builder("condition"), Builder("step")
    x = condition.input("x", F64)
    condition = condition.finish({"c": condition.op("less", condition.scalar(1.0, "float64"), x)})
    step = step.finish({"x": step.input("x", F64) * 0.5})
    build = Builder("halving")
    given = [build.input("most", COUNT, Tensor(np.array(9))), build.input("x", F64)]
    return build.finish(
        dict(zip(["x", "steps"], build.emit("while", given, {"states": 1}, [condition, step])))
    )


@pytest.mark.parametrize(("most", "x"), [(9, 20.0), (2, 20.0), (0, 20.0), (9, 0.5), (9, np.nan)])
def test_a_while_ends_as_the_oracle_does(most, x):
    found, expected, _ = both(halving(), [np.array(most), np.array(x)])
    agree(found, expected)


def test_a_while_has_no_gradient():
    found = lower(halving())(9, torch.tensor(20.0, dtype=torch.float64, requires_grad=True))[0]
    with pytest.raises(RunError, match="B605"):
        found.backward()


def test_a_call_is_a_module_with_its_own_name():
    inner = Builder("layer")
    n = named("n")
    inner = inner.finish({"y": inner.op("reshape", inner.input("x", vector(n * 2)), shape=(n, 2)) * 2.0})
    build = Builder("calls")
    x = build.input("x", vector(n, 2))
    flat = build.op("reshape", x, shape=(n * 2,))
    (first,) = build.emit("call", [flat], {}, [inner])
    (second,) = build.emit("call", [build.op("reshape", first, shape=(n * 2,))], {}, [inner])
    graph = build.finish({"y": second})
    found, expected, module = both(graph, [np.arange(6.0).reshape(3, 2)])
    agree(found, expected)
    assert {name for name, _ in module.named_children()} == {"layer", "layer_1"}
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    agree([compiled(torch.arange(6.0).double().reshape(3, 2))[0].numpy()], expected)


def contraction():
    """The regions of x = tanh(A x + b)."""
    step, residual, equation = Builder("step"), Builder("residual"), Builder("equation")
    step.input("k", COUNT)
    made = {}
    for build in (step, equation):
        x, matrix, b = (
            build.input("x", vector(N)),
            build.input("A", vector(N, N)),
            build.input("b", vector(N)),
        )
        new = build.op("tanh", build.op("matvec", matrix, x) + b)
        made[build.name] = build.finish({"x": new})
    old, new = residual.input("old", vector(N)), residual.input("new", vector(N))
    residual.input("A", vector(N, N))
    residual.input("b", vector(N))
    size = residual.op("norm", new - old, axes=(-1,))
    residual = residual.finish({"size": size, "scale": residual.zeros(F64) + 1.0})
    return [made["step"], residual, made["equation"]]


def test_a_solve_inside_a_scan_has_the_gradient_of_our_reverse():
    """x_(k+1) solves x = tanh(A x + x_k + b_k): implicit time stepping."""
    step = Builder("step")
    s, b, matrix = step.input("s", vector(N)), step.input("b", vector(N)), step.input("A", vector(N, N))
    ends = [step.scalar(1e-13, "float64"), step.scalar(200, "int64")]
    shape = {"states": 1, "solution": 1, "lanes": False, "every": 2}
    (x, *_) = step.emit("fix", [*ends, s, matrix, s + b], shape, contraction())
    step = step.finish({"s": x, "y": x})
    build = Builder("stepping")
    given = [build.input("s", vector(N)), build.input("b", vector(4, N)), build.input("A", vector(N, N))]
    shape = {"states": 1, "sequences": 1, "length": 4, "reverse": False}
    graph = build.finish(dict(zip(["last", "y"], build.emit("scan", given, shape, [step]))))
    arrays = [x * 0.3 for x in sequence(4)]
    found, expected, module = both(graph, arrays)
    agree(found, expected)
    assert isinstance(module.scan.step.fix, Fix)
    given = [torch.tensor(x, requires_grad=True) for x in arrays]
    module(*given)[0].sum().backward()
    wanted = evaluate(reverse(graph), [*arrays, np.ones(N), np.zeros((4, N))])
    agree([x.grad.numpy() for x in given], wanted, 1e-8)
