"""Integers in formulas: places that are worked out, and circuits over a semiring with their derivative."""

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("semiring=modulo, bound=4)(w)", "semiring=odd)(w)", "no semiring"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=0.5)(w)", "no semiring"),
        ("a, semiring=modulo, bound=4)", "a, semiring=3, bound=4)", "names none"),
        ("a, semiring=modulo, bound=4)", "a)", "names none"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=5)(w)", "over"),
        ("semiring=modulo, bound=4)(w)", "semiring=modulo, bound=4)(1.5)", "direction"),
    ],
)
def test_what_is_no_semiring_is_refused(old, new, told):
    assert old in CIRCUIT
    with pytest.raises(banach.SpecError, match=told):
        banach.loads(CIRCUIT.replace(old, new))
