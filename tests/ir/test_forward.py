"""The forward derivative against finite differences, and against the reverse one."""

import laws
import numpy as np
import pytest
from law_graphs import (
    Case,
    closed,
    cond_case,
    draws,
    fix_case,
    fn,
    layer,
    page_cases,
    real,
    region_cases,
    solve,
    while_case,
)
from test_laws import laned, unstable

from banach.ir.evaluate import evaluate
from banach.ir.forward import forward
from banach.ir.graph import Builder, Graph, Value
from banach.ir.primitives.regions import RegionOp
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.verify import verify

PAGES = {key: case for key, case in page_cases() if not key.startswith("stop_gradient")}
REGIONS = region_cases()
REGIONS["fix-laned"] = laned(fix_case(damped=True), (True, False, True, False))
CASES = {**PAGES, **REGIONS}


def pushed(case: Case, v: laws.Arrays) -> laws.Arrays:
    return evaluate(forward(case.graph), [*case.arguments, *v])


def along(case: Case, v: laws.Arrays) -> laws.Arrays:
    """The derivative of every float output along v, by differences of the oracle."""

    def there(t: float) -> list[np.ndarray]:
        arguments = list(case.arguments)
        for i, direction in zip(case.floats, v):
            arguments[i] = arguments[i] + t * direction
        return laws.float_outputs(case, arguments)

    return [laws.slope(lambda t, i=i: there(t)[i]) for i in range(len(there(0.0)))]


def check_forward(case: Case) -> None:
    v, w = laws.tangents(case), laws.cotangents(case)
    found = pushed(case, v)
    laws.close(found, along(case, v), 1e-6, "D against finite differences")
    left, right = laws.inner(laws.backward(case, w), v), laws.inner(w, found)
    assert abs(left - right) <= 1e-10 * max(1.0, abs(left)), "⟨R(a, w), v⟩ = ⟨w, D(a, v)⟩"


@pytest.mark.parametrize("key", CASES)
def test_forward(key: str) -> None:
    verify(forward(CASES[key].graph))
    check_forward(CASES[key])


@pytest.mark.parametrize("key", CASES)
def test_forward_of_forward_and_of_reverse(key: str) -> None:
    case = CASES[key]
    twice = Case(forward(case.graph), [*case.arguments, *laws.tangents(case)])
    v = laws.tangents(twice, 3)
    laws.close(pushed(twice, v), along(twice, v), 1e-6, "D[D]")
    back = laws.reversed_case(case)
    v = laws.tangents(back, 4)
    laws.close(pushed(back, v), along(back, v), 1e-6, "D[R]")
    verify(reverse(forward(case.graph)))


def test_names_of_a_derivative() -> None:
    graph = forward(cond_case(True).graph)
    assert [port.name for port in graph.inputs] == ["c", "x", "y", "t.x", "t.y"]
    assert graph.output_names == ("t.z",)


def test_a_chain_has_the_operations_of_a_hand_written_rule() -> None:
    graph = closed("f", lambda x, y: {"z": fn("sin", x * y) + y}, x=real(2), y=real(2))
    # x·y; dx·y + x·dy; cos(x·y)·that; + dy
    assert sorted(op.name for op in forward(graph).ops) == sorted(["multiply"] * 4 + ["add", "add", "cos"])
    graph = closed("f", lambda x: {"y": fn("exp", fn("exp", x))}, x=real())
    assert [op.name for op in forward(graph).ops] == ["exp", "multiply", "exp", "multiply"]


def test_what_is_constant_has_no_tangent() -> None:
    def body(x: Value) -> dict[str, Value]:
        return {"y": x * fn("exp", x.builder.constant(np.ones(2)))}

    assert [op.name for op in forward(closed("f", body, x=real(2))).ops] == ["constant", "exp", "multiply"]


def test_forward_grows_in_step_with_the_graph() -> None:
    def chain(depth: int) -> Graph:
        def body(w: Value, x: Value) -> dict[str, Value]:
            for _ in range(depth):
                (x,) = w.builder.inline(layer(), [w, x])
            return {"y": x}

        return closed("chain", body, w=real(2, 2), x=real(2))

    sizes = {depth: len(forward(chain(depth)).ops) for depth in (10, 20, 1000)}
    assert sizes[1000] == sizes[10] + 99 * (sizes[20] - sizes[10])


def test_stop_gradient_has_the_zero_tangent() -> None:
    graph = closed("f", lambda x: {"y": fn("stop_gradient", x) * x}, x=real(2))
    x, v = draws((2,), (2,))
    np.testing.assert_allclose(evaluate(forward(graph), [x, v])[0], x * v)


def test_a_tangent_that_does_not_converge_is_nan() -> None:
    case = unstable()
    zero, one = np.asarray(0.0), np.asarray(1.0)
    assert np.isnan(pushed(case, [zero, one, zero])[0])
    assert pushed(case, [one, zero, zero])[0] == 0  # the limit does not depend on the start


def test_the_start_of_an_iteration_has_no_influence() -> None:
    case = fix_case()
    x, y, w, b = (np.zeros(case.arguments[i].shape) for i in case.floats)
    assert all(not np.any(t) for t in pushed(case, [x + 1, y + 1, w, b]))

    def body(x: Value) -> dict[str, Value]:
        start, given = [x, x.builder.scalar(0.0, "float64")], case.arguments[2:]
        return {"y": solve(*start, *(x.builder.constant(c) for c in given))[0]}

    graph = forward(closed("f", body, x=real(2)))
    assert "fix" not in [op.name for op in graph.ops]
    assert not np.any(evaluate(graph, draws((2,), (2,)))[0])


def test_what_has_no_derivative_says_so_where_it_is_needed() -> None:
    with pytest.raises(NoDerivative, match="only the solution"):
        forward(fix_case(report=True).graph)
    with pytest.raises(NoDerivative, match="while"):
        forward(while_case().graph)
    whole, build = while_case().graph, Builder("count")
    given = [build.input(port.name, port.type) for port in whole.inputs]
    y, steps = build.inline(whole, given)
    forward(build.finish({"steps": steps, "frozen": fn("stop_gradient", y)}))


def test_every_operation_with_regions_has_a_rule() -> None:
    from banach.ir.forward import _RULES
    from banach.ir.graph import PRIMITIVES
    from banach.ir.shelf import pages

    assert set(_RULES) == {name for name, found in pages(PRIMITIVES).items() if isinstance(found, RegionOp)}
