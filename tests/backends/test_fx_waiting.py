"""The host waits for a device once per check of a solve, and for nothing else: forward, and backward."""

from typing import Any

import pytest
import torch
from test_fx_fix import data, solve
from torch._subclasses.fake_tensor import FakeTensorMode
from waiting import Waits

import banach
from banach.backends.fx.loops import _Loop
from banach.backends.fx.lower import lower
from banach.compiler import library
from banach.compiler.optimisation import Options
from banach.ir.dims import named

QUICK = ("picard", "fista", "cg", "newton", "gmres", "backtracking")  # the others are slow only by number
SOLVERS = [
    pytest.param(page, id=page.name, marks=() if page.name in QUICK else pytest.mark.slow)
    for page in library.pages("solver")
    if page.section.example
]
EVERY = Options(check_every=5)


def checks(iterations, every, most):
    """How often a solve asks: after every check but that of the last permitted step."""
    steps = int(iterations.max())
    return -(-steps // every) - (steps == most > 0)


def loops(module):
    return [part for part in module.modules() if isinstance(part, _Loop)]


def asked(module):
    """How often loops say that they waited."""
    return sum(loop.synchronisations for loop in loops(module))


@pytest.mark.parametrize("every", [1, 5, 7])
@pytest.mark.parametrize("lanes", [(), (named("batch"),)])
@pytest.mark.parametrize("most", [500, 10, 0])
def test_a_solve_waits_once_per_check(every, lanes, most):
    module = lower(solve(lanes=lanes, every=every))
    arrays = [torch.tensor(x) for x in data((6,) if lanes else (), scale=0.3)]
    with Waits() as waits:
        found = module(*arrays, torch.tensor(1e-12).double(), most)
    assert waits.total == asked(module) == checks(found[1], every, most)


@pytest.mark.parametrize("every", [1, 5])
def test_a_gradient_waits_for_the_checks_of_its_own_solve(every):
    module: Any = lower(solve(every=every))
    matrix, b, start = (torch.tensor(x, requires_grad=i < 2) for i, x in enumerate(data(scale=0.3)))
    loss = module(matrix, b, start)[0].sum()
    with Waits() as waits:
        loss.backward()
    (region,) = module.fix._backwards.values()
    assert loops(region.module) and waits.total == asked(region.module) > 0


@pytest.mark.parametrize("page", SOLVERS)
def test_every_solver_of_the_library(page):
    """⌈iterations / 5⌉ checks, and once the largest number of iterations, which is on the host anyway."""
    artifact: Any = banach.loads(page.section.example.text).compile(to="fx", options=EVERY)
    with Waits() as waits:
        found = artifact.run()
    assert waits.total == asked(artifact.module) + 1, waits.seen
    if len(loops(artifact.module)) == 1:
        assert waits.total <= -(-int(found["x.iterations"]) // 5) + 1


def pretend(module):
    """Moves a module to a device that only pretends: no number can be read from it."""
    for part in module.modules():
        for name, tensor in part._buffers.items():
            part._buffers[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")


@pytest.mark.parametrize("page", SOLVERS)
def test_between_two_checks_nothing_crosses_over(page, monkeypatch):
    """Four checks on a pretended accelerator: reading a number would raise, and no array is copied to it."""
    artifact: Any = banach.loads(page.section.example.text).compile(to="fx", options=EVERY)
    module, answers = artifact.module, [0]

    def ask(loop, flag):
        assert flag.device.type == "cuda"
        answers[0] += 1
        goes = answers[0] % 4 != 0  # every loop goes on three times
        return [goes] * len(flag) if flag.ndim else goes

    monkeypatch.setattr(_Loop, "_synchronise", ask)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        pretend(module)
        given = [
            torch.empty(port.type.shape, dtype=torch.float32, device="cuda") if port.type.is_float else 1000
            for port in artifact.inputs
        ]
        with Waits() as waits:
            module(*given)
    assert not waits.total, waits.seen
    assert answers[0] >= 4


def test_the_counter_counts():
    x = torch.arange(4.0)
    with Waits() as waits:
        assert bool(x.any()) and x.sum().item() == 6 and x[x > 1].shape == (2,) and x.tolist()
        assert int(x[1]) == 1 and float(x[2]) == 2
    assert waits.seen["_local_scalar_dense"] >= 4 and waits.total >= 5
    with FakeTensorMode(), Waits() as waits:
        x = torch.tensor(3.0, device="cuda") + torch.empty(3, device="cuda")
        assert x.cpu().device.type == "cpu"
    assert waits.total == 2, waits.seen


@pytest.mark.parametrize("ahead", [2, 3, 16])
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("lanes", [(), (named("batch"),)])
@pytest.mark.parametrize("most", [500, 17, 2, 0])
def test_a_host_that_falls_behind_finds_the_same(ahead, every, lanes, most):
    """As on an accelerator: bit for bit the same, and one wait for many looks."""
    arrays = [torch.tensor(x) for x in data((6,) if lanes else (), scale=0.3)]
    limits = (torch.tensor(1e-12).double(), most)
    keen, behind = (lower(solve(lanes=lanes, every=every)) for _ in range(2))
    expected = keen(*arrays, *limits)
    (loop,) = loops(behind)
    loop.ahead = ahead
    found = behind(*arrays, *limits)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    looked = checks(expected[1], every, most)
    # One look, then twice as many each time, up to `ahead`; and those at the end.
    assert asked(behind) <= 2 + ahead.bit_length() + looked // ahead, (asked(behind), looked)
    assert looked < 3 or asked(behind) < asked(keen)


def test_an_accelerator_falls_behind_unless_states_are_large():
    (loop,) = loops(lower(solve()))
    small, large = (torch.empty(n, device="meta") for n in (1000, 1 << 26))
    assert loop._ahead([torch.empty(1000)]) == 1
    assert loop._ahead([small]) == 16 and loop._ahead([small, large]) == 1
