"""Row 118: sympy's formal derivatives, reduced; the Boolean difference; a truth table."""

import itertools

import numpy as np
import pytest
import sympy

A, B, C, D = sympy.symbols("a b c d")
PAGE_F = "f(a, b, c): plus(times(a, plus(b, times(b, c))), plus(times(c, c), a))"
PAGE_G = "g(a, b): plus(times(a, b), times(b, b))"
POINTS = np.array(list(itertools.product((0, 1), repeat=4)))
LABELS = np.random.default_rng(118).integers(0, 2, 16)


def everything(modulus):
    """Every point, with every pair of covectors."""
    table = np.array(list(itertools.product(range(modulus), repeat=5)))
    return {"x": table[:, :3], "dz": table[:, 3], "dw": table[:, 4], "dx": table[:, :3]}


def run(page, modulus, backend=None):
    given = {**everything(modulus), "points": POINTS, "labels": LABELS, "theta": np.zeros(16, int)}
    return page.run(**given) if backend is None else page.model.compile(to=backend).run(given)


def circuit(random, depth, names):
    """A random circuit as the page writes it, and as sympy does."""
    if depth == 0:
        name = str(random.choice(names))
        return name, sympy.Symbol(name)
    (one, p), (two, q) = (
        circuit(random, depth - int(random.integers(1, 3)) if depth > 1 else 0, names) for _ in "ab"
    )
    if random.random() < 0.5:
        return f"plus({one}, {two})", p + q
    return f"times({one}, {two})", p * q


def formal(polynomial, values, modulus, *wrt):
    """A formal derivative at every point, modulo."""
    for symbol in wrt:
        polynomial = sympy.diff(polynomial, symbol)
    found = sympy.lambdify((A, B, C, D), sympy.expand(polynomial), "numpy")(*values)
    return np.broadcast_to(found, values[0].shape) % modulus


def hold(found, f, g, modulus):
    given = everything(modulus)
    values = (*given["x"].T, given["dz"])
    dz, dw = given["dz"], given["dw"]
    slopes = np.stack([formal(f, values, modulus, s) for s in (A, B, C)], -1)
    np.testing.assert_array_equal(found["f"], formal(f, values, modulus))
    np.testing.assert_array_equal(found["R"], slopes * dz[:, None] % modulus)
    np.testing.assert_array_equal(found["R_sum"], (found["R"] + found["R_other"]) % modulus)
    composed = sympy.expand(g.subs({A: f, B: A}, simultaneous=True))
    through = np.stack([formal(composed, values, modulus, s) for s in (A, B, C)], -1)
    np.testing.assert_array_equal(found["R_after"], through * dz[:, None] % modulus)
    np.testing.assert_array_equal(found["R_after"], found["chained"])
    np.testing.assert_array_equal(found["forward_a"], slopes[:, 0] * dw % modulus)
    np.testing.assert_array_equal(found["twice_ab"], found["twice_ba"])
    np.testing.assert_array_equal(found["twice_ab"], formal(f, values, modulus, A, B) * dz * dw % modulus)


@pytest.mark.parametrize("modulus", [2, 4])
def test_the_laws_hold_exhaustively_on_every_backend(page, modulus):
    sized = page if modulus == 2 else page.changed(("modulus: 2", f"modulus: {modulus}"))
    hold(run(sized, modulus), A * (B + B * C) + C**2 + A, A * B + B**2, modulus)


@pytest.mark.parametrize("modulus", [2, 4])
@pytest.mark.parametrize("number", range(10))
def test_the_laws_hold_for_random_circuits(page, number, modulus):
    random = np.random.default_rng(100 * modulus + number)
    (f_text, f), (g_text, g) = circuit(random, 5, ["a", "b", "c"]), circuit(random, 2, ["a", "b"])
    changed = page.changed(
        (PAGE_F, f"f(a, b, c): {f_text}"),
        (PAGE_G, f"g(a, b): {g_text}"),
        ("modulus: 2", f"modulus: {modulus}"),
    )
    hold(run(changed, modulus, "oracle"), f, g, modulus)


def test_over_truth_values_it_is_the_boolean_difference(page):
    """For a multilinear circuit R is f(x) ⊕ f(x with one bit turned): 8 inputs, and 4 covectors."""
    linear = page.changed((PAGE_F, "f(a, b, c): plus(times(a, plus(b, times(b, c))), c)"))
    found = run(linear, 2)
    value = {tuple(x): f for x, f in zip(everything(2)["x"], found["f"])}
    assert len(value) == 8 and len(found["R"]) == 32
    for x, dz, R in zip(everything(2)["x"], everything(2)["dz"], found["R"]):
        turned = [tuple(np.where(np.arange(3) == j, 1 - x, x)) for j in range(3)]
        assert R.tolist() == [(value[tuple(x)] ^ value[t]) * dz for t in turned]


def test_ascent_learns_a_truth_table_in_one_pass(page):
    assert 3 < LABELS.sum() < 13
    np.testing.assert_array_equal(run(page, 2)["learnt"], LABELS)


def test_a_derivative_of_the_reals_is_refused(page):
    import banach

    with pytest.raises(banach.SpecError, match="only reals have derivatives"):
        _ = page.changed(("vjp(f, a, b, c, semiring=modulo, bound=modulus)", "vjp(f, a, b, c)")).model
    with pytest.raises(banach.SpecError, match="names none"):
        _ = page.changed(("vjp(f, a, b, c, semiring=modulo", "vjp(f, a, b, c, semiring=odd")).model
