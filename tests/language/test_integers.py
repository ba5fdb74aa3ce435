"""Integers in formulas: places that are worked out, and circuits over a semiring with their derivative."""

import numpy as np
import pytest
import scipy.sparse.csgraph

import banach

DRAWS = """banach: 1
name: draws
sizes: {n: 5, T: 40}
inputs: {x: "real[n]", y: "real[3]"}
parameters: {table: whole(count(n) / 2)}
scan:
  s:
    steps: T
    state: {s: 0}
    next: {s: "s + take(x, place, axis=0)"}
    where: {place: "whole(n * uniform((7, k)))"}
    gives: {place: place}
outputs: {places: s.place, total: s, down: whole(y), chosen: "take(x, table, axis=0)"}
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_whole_rounds_down_to_places(backend):
    x = np.array([1.0, 2, 4, 8, 16])
    found = banach.loads(DRAWS).compile(to=backend).run(x=x, y=[-0.5, 2.0, 2.99])
    assert found["down"].tolist() == [-1, 2, 2] and found["down"].dtype == np.int64
    assert found["places"].dtype == np.int64 and set(found["places"].tolist()) == set(range(5))
    assert found["total"] == x[found["places"]].sum()
    assert found["chosen"].tolist() == [1, 1, 2, 2, 4]


CIRCUIT = """banach: 1
name: circuit
sizes: {n: 4}
inputs: {x: "int[n]", y: "int[n]", d: "int[n]"}
operators:
  f(a, b): semiring_multiply(semiring_add(a, b, semiring=modulo, bound=4), a, semiring=modulo, bound=4)
  R(a, b, w): vjp(f, a, b, semiring=modulo, bound=4)(w)
outputs: {f: "f(x, y)", da: "R(x, y, d)[0]", db: "vjp(f, x, y, wrt=b, semiring=modulo, bound=4)(d)"}
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_derivative_over_a_semiring(backend):
    """(a + b) a has the formal derivatives 2a + b and a."""
    x, y, d = np.array([[0, 1, 2, 3], [3, 2, 2, 1], [1, 1, 3, 2]])
    found = banach.loads(CIRCUIT).compile(to=backend).run(x=x, y=y, d=d)
    np.testing.assert_array_equal(found["f"], (x + y) * x % 4)
    np.testing.assert_array_equal(found["da"], (2 * x + y) * d % 4)
    np.testing.assert_array_equal(found["db"], x * d % 4)


PATHS = """banach: 1
name: paths
precision: float64
sizes: {n: 5}
inputs: {edge: "bool[n, n]", length: "real[n, n]", count: "int[n, n]", start: "bool[n]", far: "real[n]"}
scan:
  reach:
    steps: 5
    state: {seen: start}
    next: {seen: "seen or matmul(edge, seen, semiring=boolean)"}
  near:
    steps: 5
    state: {d: length}
    next: {d: "matmul(d, length, semiring=min_plus)"}
outputs:
  reach: reach
  near: near
  any: sum(edge, axis=0, semiring=boolean)
  nearest: sum(length, axis=1, semiring=min_plus)
  farthest: sum(length, semiring=max_plus)
  relaxed: matmul(length, far, semiring=max_plus)
  odd: sum(count, axis=0, semiring=modulo, bound=2)
  walks: matmul(count, count, semiring=modulo, bound=3)
  few: matmul(count, sum(count, axis=1, semiring=saturating, bound=2), semiring=saturating, bound=2)
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_sums_and_products_over_semirings(backend):
    """Reachability, shortest paths by powers of the matrix, and residues, against scipy and numpy."""
    random = np.random.default_rng(3)
    edge = random.random((5, 5)) < 0.25
    weights = np.where(edge, random.random((5, 5)) + 0.1, 0)
    length = np.where(edge, weights, np.inf)
    np.fill_diagonal(length, 0)
    count, start, far = random.integers(0, 2, (5, 5)), np.eye(5, dtype=bool)[2], random.random(5)
    given = {"edge": edge, "length": length, "count": count, "start": start, "far": far}
    found = banach.loads(PATHS).compile(to=backend).run(given)
    shortest = scipy.sparse.csgraph.floyd_warshall(weights)
    np.testing.assert_allclose(found["near"], shortest, rtol=1e-12)
    np.testing.assert_array_equal(found["reach"], np.isfinite(shortest[:, 2]))
    np.testing.assert_array_equal(found["any"], edge.any(axis=0))
    np.testing.assert_array_equal(found["nearest"], length.min(axis=1))
    np.testing.assert_array_equal(found["farthest"], length.max())
    np.testing.assert_allclose(found["relaxed"], (length + far).max(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(found["odd"], count.sum(axis=0) % 2)
    np.testing.assert_array_equal(found["walks"], count @ count % 3)
    np.testing.assert_array_equal(found["few"], np.minimum(count @ np.minimum(count.sum(axis=1), 2), 2))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("semiring=modulo, bound=4)(w)", "semiring=odd)(w)", "names none"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=0.5)(w)", "whole number"),
        ("a, semiring=modulo, bound=4)", "a, semiring=3, bound=4)", "names none"),
        ("a, semiring=modulo, bound=4)", "a)", "names none"),
        ("a, semiring=modulo, bound=4)", "a, semiring=modulo)", "has a bound"),
        ("a, semiring=modulo, bound=4)", "a, semiring=boolean, bound=4)", "has no bound"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=5)(w)", "over"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=4)(1.5)", "direction"),
    ],
)
def test_what_is_no_semiring_is_refused(old, new, told):
    assert old in CIRCUIT
    with pytest.raises(banach.SpecError, match=told):
        banach.loads(CIRCUIT.replace(old, new))
