"""The derivatives of a fixed point: implicit, unrolled, by a series, by one step; and what they cost."""

import tracemalloc
from collections import Counter
from typing import Any

import laws
import numpy as np
import pytest
from law_graphs import INT, Case, apply, closed, distance, draws, fix_case, fn, random, real

from banach.ir.evaluate import evaluate
from banach.ir.forward import forward
from banach.ir.graph import Graph, Op, Value
from banach.ir.hoist import split
from banach.ir.primitive import page
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.tensor_type import TypeMismatch
from banach.ir.vectorise import vectorise
from banach.ir.verify import verify

N, M = 5, 3


def affine(q: float, most: int = 4000, tolerance: float = 1e-14, **derivative: Any) -> Case:
    """x = A x + B c with ‖A‖₂ = q, whose solution is (1 - A)⁻¹ B c."""
    types = {"a": real(N, N), "b": real(N, M), "c": real(M)}

    def once(x: Value, a: Value, b: Value, c: Value) -> dict[str, Value]:
        return {"x": apply(a, x) + apply(b, c)}

    regions = [
        closed("step", lambda k, *rest: once(*rest), k=INT, x=real(N), **types),
        closed("residual", lambda old, new, *_: distance((old, new)), old=real(N), new=real(N), **types),
        closed("equation", once, x=real(N), **types),
    ]

    def body(x: Value, a: Value, b: Value, c: Value) -> dict[str, Value]:
        build = x.builder
        given = [build.scalar(tolerance, "float64"), build.scalar(most, "int64"), x, a, b, c]
        shape = {"states": 1, "solution": 1, "lanes": False, "every": 1, **derivative}
        return {"x": build.emit("fix", given, shape, regions)[0]}

    a, b, c = draws((N, N), (N, M), (M,))
    a = a * (q / np.linalg.norm(a, 2))
    return Case(closed("affine", body, x=real(N), **types), [np.zeros(N), a, b, c])


def gradient_in_c(case: Case, g: np.ndarray) -> np.ndarray:
    graph = reverse(case.graph)
    verify(graph)
    return evaluate(graph, [*case.arguments, g])[-1]


@pytest.mark.parametrize("q", [0.3, 0.9, 0.99])
def test_implicit_is_the_solution_of_the_adjoint_equation(q: float) -> None:
    case, g = affine(q), draws((N,), seed=3)[0]
    _, a, b, _ = case.arguments
    wanted = b.T @ np.linalg.solve(np.eye(N) - a.T, g)
    np.testing.assert_allclose(gradient_in_c(case, g), wanted, rtol=1e-10)


def truncated(k: int) -> dict[str, Any]:
    return {"gradient": "neumann", "terms": k}


@pytest.mark.parametrize("q", [0.3, 0.9])
@pytest.mark.parametrize(
    ("asked", "terms"), [({"gradient": "one_step"}, 1), *((truncated(k), k) for k in (1, 2, 5, 20))]
)
def test_a_series_is_off_by_no_more_than_its_bound(q: float, asked: dict[str, Any], terms: int) -> None:
    case, g = affine(q, **asked), draws((N,), seed=3)[0]
    _, a, b, _ = case.arguments
    exact = b.T @ np.linalg.solve(np.eye(N) - a.T, g)
    found = gradient_in_c(case, g)
    summed = sum((np.linalg.matrix_power(a.T, i) @ g for i in range(terms)), np.zeros(N))
    np.testing.assert_allclose(found, b.T @ summed, rtol=1e-12)
    bound = q**terms / (1 - q) * np.linalg.norm(g) * np.linalg.norm(b, 2)
    assert 0 < np.linalg.norm(found - exact) <= bound
    forwards = evaluate(
        forward(case.graph), [*case.arguments, *(0 * x for x in case.arguments[:3]), np.ones(M)]
    )
    pushed = sum((np.linalg.matrix_power(a, i) @ b @ np.ones(M) for i in range(terms)), np.zeros(N))
    np.testing.assert_allclose(forwards[0], pushed, rtol=1e-12)


def test_the_bound_is_reached() -> None:
    """x = q x + c in one dimension: the tail is q^k/(1-q) exactly."""
    held = {"q": real(), "c": real()}
    regions = [
        closed("step", lambda k, x, q, c: {"x": q * x + c}, k=INT, x=real(), **held),
        closed("residual", lambda old, new, q, c: distance((old, new)), old=real(), new=real(), **held),
        closed("equation", lambda x, q, c: {"x": q * x + c}, x=real(), **held),
    ]

    def body(x: Value, q: Value, c: Value) -> dict[str, Value]:
        given = [x.builder.scalar(1e-13, "float64"), x.builder.scalar(500, "int64"), x, q, c]
        shape = {"states": 1, "solution": 1, "lanes": False, "every": 1, **truncated(4)}
        return {"x": x.builder.emit("fix", given, shape, regions)[0]}

    graph = closed("line", body, x=real(), **held)
    dc = evaluate(reverse(graph), [np.asarray(v) for v in (0.0, 0.5, 1.0, 1.0)])[-1]
    np.testing.assert_allclose(2.0 - dc, 0.5**4 / (1 - 0.5))


# --- unrolled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 3])
def test_unrolled_is_the_derivative_of_the_steps_that_were_taken(every: int) -> None:
    """Far from the solution: five steps, whose derivative is not the implicit one."""
    case = fix_case(damped=True, every=every, most=5, gradient="unrolled")
    laws.check_derivative(case)
    weights = laws.cotangents(case)
    other = laws.backward(fix_case(damped=True, every=every, most=5), weights)
    assert np.abs(np.subtract(laws.backward(case, weights)[2], other[2])).max() > 1e-3


def test_unrolled_stops_where_the_iteration_did() -> None:
    """A cap far beyond the steps taken changes nothing; one below them is told by NaN."""
    few, many, short = (fix_case(gradient="unrolled", cap=cap) for cap in (60, 300, 10))
    weights = laws.cotangents(few)
    laws.close(laws.backward(few, weights), laws.backward(many, weights), 1e-14)
    laws.close(laws.backward(few, weights)[2:], laws.backward(fix_case(), weights)[2:], 1e-9)
    assert all(np.all(np.isnan(x)) for x in laws.backward(short, weights))
    v = laws.tangents(short)
    assert np.all(np.isnan(evaluate(forward(short.graph), [*short.arguments, *v])[0]))


def with_open_most(**derivative: Any) -> Graph:
    inner = affine(0.5, **derivative).graph
    (fix,) = [op for op in inner.ops if op.name == "fix"]

    def body(most: Value, x: Value, a: Value, b: Value, c: Value) -> dict[str, Value]:
        tolerance = x.builder.scalar(1e-12, "float64")
        return {"x": x.builder.replay(fix, [tolerance, most, x, a, b, c])[0]}

    return closed("open", body, most=INT, x=real(N), a=real(N, N), b=real(N, M), c=real(M))


@pytest.mark.parametrize("lanes", [False, True])
def test_unrolled_follows_no_step_that_was_not_taken(lanes: bool) -> None:
    """Three steps of at most nine, far from the solution; one more would be seen."""
    graph = with_open_most(gradient="unrolled", cap=9)
    case = Case(graph, [np.asarray(3), *affine(0.9).arguments])
    if lanes:
        lifted, _ = vectorise(graph, [False, True, False, False, True], 2)
        x, a, b, c = case.arguments[1:]
        case = Case(lifted, [np.asarray(3), np.stack([x, x + 1.0]), a, b, np.stack([c, 2 * c])])
    laws.check_derivative(case)


def test_what_cannot_be_unrolled_says_so() -> None:
    for transform in (reverse, forward):
        with pytest.raises(NoDerivative, match="give the attribute `cap`"):
            transform(with_open_most(gradient="unrolled"))
    case = Case(with_open_most(gradient="unrolled", cap=40), [np.asarray(40), *affine(0.5).arguments])
    laws.check_derivative(case)
    with pytest.raises(NoDerivative, match="residual"):
        reverse(fix_case(report=True, gradient="unrolled").graph)


def test_a_gradient_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeMismatch, match="there is no gradient 'backprop'"):
        affine(0.5, gradient="backprop")
    with pytest.raises(TypeMismatch, match="a series of 0 terms"):
        affine(0.5, gradient="neumann")
    with pytest.raises(TypeMismatch, match="no number of steps is -1"):
        affine(0.5, adjoint_most=-1)


# --- the adjoint's own limits, and its cost ----------------------------------------------------------------


def test_the_adjoint_has_a_cap_of_its_own() -> None:
    """A forward iteration that stops after one step: the adjoint does not."""
    g = draws((N,), seed=3)[0]
    one = gradient_in_c(affine(0.9, most=1), g)
    np.testing.assert_allclose(one, gradient_in_c(affine(0.9), g), rtol=1e-10)  # J does not depend on x
    assert np.all(np.isnan(gradient_in_c(affine(0.9, adjoint_most=3), g)))
    assert np.all(np.isnan(gradient_in_c(affine(0.9, adjoint_most=0), g)))


@pytest.mark.parametrize("q", [0.5, 0.99])
def test_an_adjoint_ends_at_rounding_whatever_the_tolerance(q: float) -> None:
    g = draws((N,), seed=3)[0]
    found = gradient_in_c(affine(q, tolerance=0.0), g)
    np.testing.assert_allclose(found, gradient_in_c(affine(q), g), rtol=1e-10)


def adjoint(graph: Graph) -> Op:
    """The last `fix` of a derivative."""
    return [op for op in reverse(graph).ops if op.name == "fix"][-1]


def test_an_adjoint_step_does_nothing_but_the_product() -> None:
    """tanh and sin belong to the point, the gradient of the weights is needed once."""
    step, _, equation = adjoint(fix_case().graph).regions
    for region in (step, equation):
        names = Counter(op.name for op in region.ops)
        assert not {"tanh", "sin", "cos", "matmul", "transpose"} & set(names)
        assert names["matvec"] == 1
    pushed = [op for op in forward(fix_case().graph).ops if op.name == "fix"][-1]
    names = Counter(op.name for op in pushed.regions[0].ops)
    assert not {"tanh", "sin", "cos"} & set(names) and names["matvec"] == 1


def test_calls_in_an_equation_are_parted_too() -> None:
    inner = closed("layer", lambda w, x: {"y": fn("tanh", apply(w, x))}, w=real(2, 2), x=real(2))

    def body(w: Value, x: Value) -> dict[str, Value]:
        return {"y": x.builder.emit("call", [w, x], {}, [inner])[0]}

    called = closed("outer", body, w=real(2, 2), x=real(2))
    back = reverse(called)
    parts = split(back, [False, False, True])
    assert "tanh" in {op.name for op in parts.before.ops}
    assert not {"tanh", "call"} & {op.name for op in parts.after.ops}
    w, x, dy = draws((2, 2), (2,), (2,))
    held = evaluate(parts.before, [w, x])
    laws.close(evaluate(parts.after, [dy, *held]), evaluate(back, [w, x, dy]), 1e-14)


def test_what_is_evaluated_at_the_point_does_not_grow_with_the_adjoint(monkeypatch) -> None:
    counts: Counter[str] = Counter()
    kind = type(page("tanh"))
    right = kind.evaluate

    def counted(self: Any, x: np.ndarray) -> np.ndarray:
        counts["tanh"] += 1
        return right(self, x)

    monkeypatch.setattr(kind, "evaluate", counted)
    case = fix_case()
    weights = laws.cotangents(case)  # which runs the graph once
    forwards = counts.pop("tanh")
    laws.backward(case, weights)
    assert counts["tanh"] <= forwards + 2  # once for R[equation], and once for its value


def peak(most: int) -> int:
    """The largest memory that R[fix] takes, after so many iterations forwards and backwards."""
    case = affine(0.999, most=most, tolerance=0.0, adjoint_most=most)
    graph, given = reverse(case.graph), [*case.arguments, np.ones(N)]
    evaluate(graph, given)
    tracemalloc.start()
    evaluate(graph, given)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_does_not_grow_with_the_iterations() -> None:
    assert peak(600) <= 1.1 * peak(30)


def test_unrolled_memory_does() -> None:
    """The measure above sees what it is there for."""
    sizes = []
    for most in (30, 600):
        case = affine(0.999, most=most, tolerance=0.0, gradient="unrolled")
        graph, given = reverse(case.graph), [*case.arguments, np.ones(N)]
        evaluate(graph, given)
        tracemalloc.start()
        evaluate(graph, given)
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] > 5 * sizes[0]


def test_split_keeps_the_meaning() -> None:
    """after(moving, before(still)), where an output may depend on neither or on one of them."""

    def body(a: Value, x: Value, b: Value) -> dict[str, Value]:
        one = a.builder.scalar(1.0, "float64")
        return {"still": fn("sin", a) * b, "both": fn("tanh", a + b) * x + one, "one": one, "x": x}

    graph = closed("f", body, a=real(2), x=real(2), b=real(2))
    parts = split(graph, [False, True, False])
    a, x, b = random().standard_normal((3, 2))
    found = evaluate(parts.after, [x, *evaluate(parts.before, [a, b])])
    laws.close(found, evaluate(graph, [a, x, b]), 1e-15)
    assert [op.name for op in parts.after.ops] == ["constant", "multiply", "add"]
    with pytest.raises(ValueError, match="marks"):
        split(graph, [True])
