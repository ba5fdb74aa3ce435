"""Gradients, products with the Hessian and Jacobians, against finite differences and scipy."""

from collections.abc import Sequence

import laws
import numpy as np
import pytest
from law_graphs import INT, Case, apply, closed, draws, fix_case, fn, real, scan_case, total
from scipy.optimize import approx_fprime, rosen, rosen_der, rosen_hess, rosen_hess_prod

from banach.ir.derivatives import BadRequest, gradient, hvp, jacobian
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Value
from banach.ir.reverse import reverse
from banach.ir.verify import verify


def rosenbrock(n: int) -> Graph:
    """Σ 100 (x_(i+1) - x_i²)² + (1 - x_i)²."""

    def body(x: Value) -> dict[str, Value]:
        first, last = (x.builder.op("slice", x, axis=-1, start=i, stop=n - 1 + i) for i in (0, 1))
        away, inner = last - first * first, 1.0 - first
        return {"f": total(100.0 * (away * away) + inner * inner)}

    return closed("rosenbrock", body, x=real(n))


def test_the_derivatives_of_rosenbrock_are_scipys() -> None:
    x, v = draws((6,), (6,))
    graph = rosenbrock(6)
    np.testing.assert_allclose(evaluate(graph, [x])[0], rosen(x))
    np.testing.assert_allclose(evaluate(gradient(graph), [x])[0], rosen_der(x), rtol=1e-12)
    np.testing.assert_allclose(evaluate(hvp(graph), [x, v])[0], rosen_hess_prod(x, v), rtol=1e-12)
    (hessian,) = evaluate(jacobian(gradient(graph), "d.x", "x"), [x])
    np.testing.assert_allclose(hessian, rosen_hess(x), rtol=1e-12, atol=1e-12)


def mixed() -> Graph:
    """Two outputs of several inputs, one of which has no tangent."""

    def body(w: Value, k: Value, x: Value) -> dict[str, Value]:
        y = fn("tanh", apply(w, x))
        return {"y": y, "loss": total(y * y * x.builder.op("cast", k, dtype="float64")) + total(w)}

    return closed("mixed", body, w=real(2, 3), k=INT, x=real(3))


POINT = [draws((2, 3))[0], np.asarray(3), draws((3,), seed=2)[0]]


def test_a_gradient_is_taken_of_one_output() -> None:
    graph = gradient(mixed(), "loss")
    verify(graph)
    assert graph.output_names == ("d.w", "d.x")
    assert [port.name for port in graph.inputs] == ["w", "k", "x"]
    found = evaluate(graph, POINT)
    wanted = approx_fprime(POINT[2], lambda x: float(evaluate(mixed(), [*POINT[:2], x])[1]), 1e-7)
    np.testing.assert_allclose(found[1], wanted, rtol=1e-5)


def test_hvp_is_the_difference_of_gradients() -> None:
    graph, (u, v) = hvp(mixed(), "loss"), draws((2, 3), (3,), seed=4)
    verify(graph)
    assert graph.output_names == ("h.w", "h.x")
    found = evaluate(graph, [*POINT, u, v])

    def moved(t: float) -> list[np.ndarray]:
        return evaluate(gradient(mixed(), "loss"), [POINT[0] + t * u, POINT[1], POINT[2] + t * v])

    laws.close(found, [laws.slope(lambda t, i=i: moved(t)[i]) for i in (0, 1)], 1e-8)


def differences(graph: Graph, arguments: Sequence[np.ndarray], output: int, input: int) -> np.ndarray:
    """The Jacobian, entry by entry, from the oracle alone."""
    shape = arguments[input].shape

    def there(entry: tuple[int, ...], t: float) -> np.ndarray:
        given = [np.array(x) for x in arguments]
        given[input][entry] += t
        return evaluate(graph, given)[output]

    columns = [laws.slope(lambda t, e=e: there(e, t)) for e in np.ndindex(shape)]
    return np.stack(columns, axis=-1).reshape((*columns[0].shape, *shape))


@pytest.mark.parametrize("by", [None, "rows", "columns"])
@pytest.mark.parametrize(("output", "input"), [("y", "w"), ("y", "x"), ("loss", "w"), ("loss", "x")])
def test_a_jacobian_by_rows_and_by_columns(by, output: str, input: str) -> None:
    graph = jacobian(mixed(), output, input, by)
    verify(graph)
    wanted = differences(mixed(), POINT, ("y", "loss").index(output), ("w", "k", "x").index(input))
    laws.close(evaluate(graph, POINT), [wanted], 1e-8)


REGIONS = {"fix": (fix_case(), "w"), "fix-damped": (fix_case(True, 2), "b"), "scan": (scan_case(False), "a")}


@pytest.mark.parametrize("key", REGIONS)
@pytest.mark.parametrize("by", ["rows", "columns"])
def test_a_jacobian_through_regions(key: str, by) -> None:
    case, name = REGIONS[key]
    place = [port.name for port in case.graph.inputs].index(name)
    graph = jacobian(case.graph, case.graph.output_names[0], name, by)
    laws.close(evaluate(graph, case.arguments), [differences(case.graph, case.arguments, 0, place)], 1e-6)


def test_an_output_that_does_not_depend_has_the_zero_jacobian() -> None:
    graph = closed("f", lambda x, y: {"z": y * y}, x=real(2), y=real(3))
    for by in ("rows", "columns"):
        (found,) = evaluate(jacobian(graph, "z", "x", by), draws((2,), (3,)))
        assert found.shape == (3, 2) and not np.any(found)


def lanes(graph: Graph) -> int:
    """The number of the unit matrix's rows: how many products the Jacobian takes."""
    (found,) = {op.attribute("size") for op in graph.ops if op.name == "count"}
    return found


def test_the_fewer_products_are_taken() -> None:
    tall = closed("tall", lambda a, x: {"y": fn("sin", apply(a, x))}, a=real(7, 2), x=real(2))
    wide = closed("wide", lambda a, x: {"y": fn("sin", apply(a, x))}, a=real(2, 7), x=real(7))
    assert (lanes(jacobian(tall, "y", "x")), lanes(jacobian(wide, "y", "x"))) == (2, 2)
    assert lanes(jacobian(tall, "y", "x", "rows")) == lanes(jacobian(wide, "y", "x", "columns")) == 7


def test_a_jacobian_with_a_named_size() -> None:
    n = named("n")
    graph = jacobian(closed("f", lambda x: {"y": fn("sin", x) * total(x)}, x=real(n)), "y", "x")
    x = draws((4,))[0]
    (found,) = evaluate(graph, [x])
    np.testing.assert_allclose(found, np.diag(np.cos(x) * x.sum()) + np.sin(x)[:, None], rtol=1e-12)


def test_second_derivatives_cost_a_few_gradients() -> None:
    """O(n) operations: D[R] of a chain, against its length."""

    def chain(depth: int) -> Graph:
        def body(w: Value, x: Value) -> dict[str, Value]:
            for _ in range(depth):
                x = fn("tanh", apply(w, x))
            return {"f": total(x)}

        return closed("chain", body, w=real(2, 2), x=real(2))

    sizes = {depth: len(hvp(chain(depth)).ops) for depth in (10, 20, 400)}
    step = (sizes[20] - sizes[10]) // 10
    assert sizes[400] == sizes[10] + 390 * step
    assert step <= 5 * (len(reverse(chain(20)).ops) - len(reverse(chain(10)).ops)) // 10


def test_what_cannot_be_asked_for_says_so() -> None:
    with pytest.raises(BadRequest, match="give the name of an output; there are y, loss"):
        gradient(mixed())
    with pytest.raises(BadRequest, match="there is no output z"):
        gradient(mixed(), "z")
    with pytest.raises(BadRequest, match=r"y is float64\[2\], and only a scalar"):
        gradient(mixed(), "y")
    with pytest.raises(BadRequest, match="k is int64, in which"):
        jacobian(mixed(), "y", "k")
    with pytest.raises(BadRequest, match="there is no input q"):
        jacobian(mixed(), "y", "q")
    counted = Case(closed("n", lambda k: {"k": k + k}, k=INT), [np.asarray(1)])
    with pytest.raises(BadRequest, match="k is int64, which has no derivative"):
        gradient(counted.graph)
