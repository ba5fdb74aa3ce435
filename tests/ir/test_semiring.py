"""Semirings: their axioms, known answers, and the laws of the reverse derivative, exactly, by brute force."""

from collections.abc import Callable
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_graphs import closed, fn, real

from banach.ir.evaluate import evaluate
from banach.ir.graph import Builder, Graph, Value
from banach.ir.polynomial import IDEMPOTENT, reverse_over
from banach.ir.primitive import page
from banach.ir.reverse import NoDerivative
from banach.ir.rewrite import Effect, rewrite
from banach.ir.tensor_type import TensorType, TypeMismatch
from banach.ir.verify import verify

# semiring, bound, all of its elements, a dtype
EXACT = {
    "boolean": ({"semiring": "boolean"}, [False, True], "bool"),
    "Z2": ({"semiring": "modulo", "bound": 2}, [0, 1], "int64"),
    "Z3": ({"semiring": "modulo", "bound": 3}, [0, 1, 2], "int64"),
    "Z4": ({"semiring": "modulo", "bound": 4}, [0, 1, 2, 3], "int64"),
    "saturating": ({"semiring": "saturating", "bound": 3}, [0, 1, 2, 3], "int64"),
}


@pytest.mark.parametrize("key", EXACT)
def test_the_axioms_of_a_commutative_semiring(key: str) -> None:
    how, elements, _ = EXACT[key]

    def plus(x: Any, y: Any) -> Any:
        return page("semiring_add").evaluate(np.asarray(x), np.asarray(y), **how)

    def times(x: Any, y: Any) -> Any:
        return page("semiring_multiply").evaluate(np.asarray(x), np.asarray(y), **how)

    for x, y, z in product(elements, repeat=3):
        assert plus(x, y) == plus(y, x) and times(x, y) == times(y, x)
        assert plus(plus(x, y), z) == plus(x, plus(y, z))
        assert times(times(x, y), z) == times(x, times(y, z))
        assert times(x, plus(y, z)) == plus(times(x, y), times(x, z))
        assert plus(x, 0) == x and times(x, 1) == x and times(x, 0) == 0


# --- known answers -----------------------------------------------------------------------------------------


def power(matrix: np.ndarray, count: int, **how: Any) -> np.ndarray:
    return reduce(lambda a, b: page("semiring_matmul").evaluate(a, b, **how), [matrix] * count)


def test_shortest_paths_are_scipys() -> None:
    from scipy.sparse.csgraph import floyd_warshall

    weights = np.random.default_rng(0).uniform(1, 5, (6, 6))
    weights[np.random.default_rng(1).random((6, 6)) < 0.5] = np.inf
    np.fill_diagonal(weights, 0)
    dense = np.where(np.isfinite(weights), weights, 0)
    np.testing.assert_allclose(power(weights, 6, semiring="min_plus"), floyd_warshall(dense))
    np.testing.assert_allclose(-power(-weights, 6, semiring="max_plus"), floyd_warshall(dense))


def test_reachability_and_counting() -> None:
    edges = np.random.default_rng(2).random((5, 5)) < 0.3
    walks = np.linalg.matrix_power(edges.astype(np.int64), 4)
    np.testing.assert_array_equal(power(edges, 4, semiring="boolean"), walks > 0)
    whole = edges.astype(np.int64)
    np.testing.assert_array_equal(power(whole, 4, semiring="modulo", bound=3), walks % 3)
    np.testing.assert_array_equal(power(whole, 4, semiring="saturating", bound=3), np.minimum(walks, 3))


def test_the_largest_residues_are_exact() -> None:
    n = 65536
    a = np.full((1, 4096), n - 1)
    build = Builder("f")
    values = [
        build.input(name, TensorType("int64", shape)) for name, shape in (("a", (1, 4096)), ("b", (4096, 1)))
    ]
    graph = build.finish({"c": page("semiring_matmul").decompose(build, *values, semiring="modulo", bound=n)})
    assert evaluate(graph, [a, a.T])[0][0, 0] == 4096 * (n - 1) ** 2 % n
    assert page("semiring_matmul").evaluate(a, a.T, semiring="modulo", bound=n)[0, 0] == 4096


def test_what_is_no_semiring_is_refused() -> None:
    def types(name: str, dtype: str, bound: int = 0) -> None:
        page("semiring_add").types((TensorType(dtype),) * 2, (), semiring=name, bound=bound)

    with pytest.raises(TypeMismatch, match="there is no semiring 'fuzzy'"):
        types("fuzzy", "float64")
    with pytest.raises(TypeMismatch, match="the semiring boolean is on bool, not on int64"):
        types("boolean", "int64")
    with pytest.raises(TypeMismatch, match="the bound of modulo is 2 to 65536, not 1"):
        types("modulo", "int64", 1)
    with pytest.raises(TypeMismatch, match="not 65537"):
        types("saturating", "int64", 65537)


# --- the reverse derivative, exactly -----------------------------------------------------------------------

# A circuit is a list of (operation, first, second): operands count backwards from the newest value.
circuits = st.lists(
    st.tuples(st.sampled_from(["semiring_add", "semiring_multiply"]), st.integers(0, 4), st.integers(0, 4)),
    min_size=1,
    max_size=5,
)
quick = settings(max_examples=40, deadline=None, derandomize=True)


def written(key: str, circuit: list[tuple[str, int, int]], inputs: int = 2) -> Graph:
    how, _, dtype = EXACT[key]
    build = Builder("f")
    values = [build.input(f"x{i}", TensorType(dtype)) for i in range(inputs)]
    for op, first, second in circuit:
        x, y = (values[-1 - i % len(values)] for i in (first, second))
        values.append(build.op(op, x, y, **how))
    return build.finish({"y": values[-1]})


def back(key: str, graph: Graph) -> Graph:
    how = EXACT[key][0]
    found = reverse_over(graph, how["semiring"], how.get("bound", 0))
    verify(found)
    return found


def run(graph: Graph, *arguments: Any) -> list[Any]:
    return [y.item() for y in evaluate(graph, [np.asarray(x) for x in arguments])]


def fold(key: str, op: str, *terms: Any) -> Any:
    return reduce(lambda x, y: page(op).evaluate(np.asarray(x), np.asarray(y), **EXACT[key][0]).item(), terms)


# A polynomial with natural coefficients: powers of the inputs, each with its coefficient.
Polynomial = dict[tuple[int, ...], int]


def expanded(circuit: list[tuple[str, int, int]], inputs: int = 2) -> Polynomial:
    """The polynomial that a circuit writes, by multiplying out."""
    values: list[Polynomial] = [{tuple(int(i == j) for j in range(inputs)): 1} for i in range(inputs)]
    for op, first, second in circuit:
        x, y = (values[-1 - i % len(values)] for i in (first, second))
        made: Polynomial = {}
        if op == "semiring_add":
            pairs = [*x.items(), *y.items()]
        else:
            pairs = [(tuple(i + j for i, j in zip(a, b)), c * d) for a, c in x.items() for b, d in y.items()]
        for powers, c in pairs:
            made[powers] = made.get(powers, 0) + c
        values.append(made)
    return values[-1]


def value_of(key: str, polynomial: Polynomial, point: tuple[Any, ...]) -> Any:
    """A polynomial at a point, its coefficients as sums of ones."""
    elements = EXACT[key][1]
    total: Any = elements[0]
    for powers, c in polynomial.items():
        term: Any = elements[1]
        for x, p in zip(point, powers):
            term = fold(key, "semiring_multiply", term, *[x] * p)
        if (
            c > 12
        ):  # counts beyond the bounds repeat: every semiring here has a period that divides 12, or saturates
            c = 12 + c % 12
        total = fold(key, "semiring_add", total, *[term] * c)
    return total


def slope(polynomial: Polynomial, i: int) -> Polynomial:
    """The formal derivative."""
    found: Polynomial = {}
    for powers, c in polynomial.items():
        if powers[i]:
            lower = (*powers[:i], powers[i] - 1, *powers[i + 1 :])
            found[lower] = found.get(lower, 0) + c * powers[i]
    return found


@pytest.mark.parametrize("key", EXACT)
@quick
@given(circuits)
def test_it_is_the_formal_derivative_of_the_polynomial(key: str, circuit) -> None:
    graph, polynomial = back(key, written(key, circuit)), expanded(circuit)
    elements = EXACT[key][1]
    slopes = [slope(polynomial, i) for i in range(2)]
    for x in product(elements, repeat=2):
        for d in elements:
            wanted = [fold(key, "semiring_multiply", value_of(key, s, x), d) for s in slopes]
            assert run(graph, *x, d) == wanted


@pytest.mark.parametrize("key", EXACT)
@quick
@given(circuits)
def test_rd2_rd6_and_rd7(key: str, circuit) -> None:
    """Additive in the cotangent; linear in it; mixed second derivatives agree."""
    f = written(key, circuit)
    first = back(key, f)
    second = back(key, first)
    third = back(key, second)
    elements = EXACT[key][1]
    for x in product(elements, repeat=2):
        assert run(first, *x, elements[0]) == [elements[0]] * 2
        for b, c in product(elements, repeat=2):
            both = run(first, *x, fold(key, "semiring_add", b, c))
            apart = zip(run(first, *x, b), run(first, *x, c))
            assert both == [fold(key, "semiring_add", *pair) for pair in apart]
            zeros = [elements[0]] * 2
            assert run(third, *x, b, *zeros, *zeros, c)[-2:] == run(first, *x, c)
            # H e_0 and H e_1, where H = R[R f] in x: the entry (0, 1) is (1, 0)
            columns = [
                run(second, *x, b, *unit)[:2]
                for unit in ((elements[1], elements[0]), zeros[:1] + [elements[1]])
            ]
            assert columns[0][1] == columns[1][0]


@pytest.mark.parametrize("key", EXACT)
@quick
@given(circuits, circuits)
def test_rd1_rd4_and_rd5(key: str, one, two) -> None:
    """Sums, copies and compositions."""
    f, g = written(key, one), written(key, two)
    how, elements, dtype = EXACT[key]

    def whole(combine: Callable[..., dict[str, Value]]) -> Graph:
        build = Builder("whole")
        return build.finish(combine(build, [build.input(f"x{i}", TensorType(dtype)) for i in range(2)]))

    def summed(build: Builder, x: list[Value]) -> dict[str, Value]:
        return {"y": build.op("semiring_add", build.inline(f, x)[0], build.inline(g, x)[0], **how)}

    def paired(build: Builder, x: list[Value]) -> dict[str, Value]:
        return {"y": build.inline(f, x)[0], "z": build.inline(g, x)[0]}

    def composed(build: Builder, x: list[Value]) -> dict[str, Value]:
        return {"y": build.inline(g, [build.inline(f, x)[0], x[1]])[0]}

    sums, pairs, chain = (back(key, whole(combine)) for combine in (summed, paired, composed))
    rf, rg = back(key, f), back(key, g)
    for x in product(elements, repeat=2):
        for b in elements:
            apart = [fold(key, "semiring_add", *p) for p in zip(run(rf, *x, b), run(rg, *x, b))]
            assert run(sums, *x, b) == apart  # RD.1, and RD.4 at (b, b)
            assert run(pairs, *x, b, b) == apart
            (middle,) = run(f, *x)
            inner, direct = run(rg, middle, x[1], b)
            through = run(rf, *x, inner)
            assert run(chain, *x, b) == [through[0], fold(key, "semiring_add", through[1], direct)]


@pytest.mark.parametrize("key", EXACT)
def test_rd3_of_projections(key: str) -> None:
    _, elements, dtype = EXACT[key]
    first = closed("first", lambda x, y: {"z": x}, x=TensorType(dtype), y=TensorType(dtype))
    for x, y, b in product(elements, repeat=3):
        assert run(back(key, first), x, y, b) == [b, elements[0]]


@pytest.mark.parametrize("key", EXACT)
def test_matrices_sums_and_copies(key: str) -> None:
    """⟨d, f(x ⊕ e)⟩ has the part linear in e that R says: entry by entry, with unit vectors."""
    how, elements, dtype = EXACT[key]

    def body(a: Value, b: Value, c: Value) -> dict[str, Value]:
        build = a.builder
        product_ = build.op("semiring_matmul", a, b, **how)
        shifted = build.op("semiring_add", product_, c, **how)
        stretched = build.op("semiring_multiply", shifted, build.op("broadcast", c, shape=(2, 2)), **how)
        return {"y": build.op("semiring_sum", stretched, axes=(-1,), **how)}

    types = {"a": TensorType(dtype, (2, 3)), "b": TensorType(dtype, (3, 2)), "c": TensorType(dtype, (2,))}
    graph = closed("f", body, **types)
    found = back(key, graph)
    source = np.random.default_rng(0)
    point = [source.choice(elements, type.shape) for type in types.values()]
    d = source.choice(elements, (2,))
    got = evaluate(found, [*point, d])
    scalars = _entrywise(key, point, d)
    for ours, wanted in zip(got, scalars):
        np.testing.assert_array_equal(ours, wanted)


def _entrywise(key: str, point: list[np.ndarray], d: np.ndarray) -> list[np.ndarray]:
    """The same by the sums written out: y_i = ⊕_j (⊕_k a_ik b_kj ⊕ c_j) c_j."""
    a, b, c = point

    def times(*terms: Any) -> Any:
        return fold(key, "semiring_multiply", *terms)

    def total(*terms: Any) -> Any:
        return fold(key, "semiring_add", EXACT[key][1][0], *terms)

    da, db, dc = (np.zeros_like(x) for x in point)
    for i, k, j in product(range(2), range(3), range(2)):
        da[i, k] = total(da[i, k], times(d[i], c[j], b[k, j]))
        db[k, j] = total(db[k, j], times(d[i], c[j], a[i, k]))
    for i, j in product(range(2), range(2)):
        inner = total(*(times(a[i, k], b[k, j]) for k in range(3)), c[j])
        dc[j] = total(dc[j], times(d[i], inner), times(d[i], c[j]))
    return [da, db, dc]


def test_idempotence_is_for_after_the_derivative() -> None:
    """x ∧ x and x are one function with two derivatives: x ∨ x, and 1."""
    square = closed(
        "square",
        lambda x: {"y": x.builder.op("semiring_multiply", x, x, semiring="boolean")},
        x=TensorType("bool"),
    )
    assert all(rule.effect is Effect.UNSTABLE_UNDER_REVERSE for rule in IDEMPOTENT)
    before = reverse_over(rewrite(square, IDEMPOTENT), "boolean")
    after = rewrite(reverse_over(square, "boolean"), IDEMPOTENT)
    right = reverse_over(square, "boolean")
    table = list(product([False, True], repeat=2))
    assert [run(after, *p) for p in table] == [run(right, *p) for p in table]
    assert [run(before, *p) for p in table] != [run(right, *p) for p in table]
    assert len(after.ops) < len(right.ops)


def test_what_is_no_circuit_has_no_such_derivative() -> None:
    with pytest.raises(NoDerivative, match="sin is no operation of a semiring"):
        reverse_over(closed("f", lambda x: {"y": fn("sin", x)}, x=real()), "real")
    with pytest.raises(NoDerivative, match="is over"):
        reverse_over(written("Z2", [("semiring_add", 0, 1)]), "modulo", 3)
