"""Specs that were once proved, and fail when they run: each forgets a hypothesis in its own way."""

import textwrap

import numpy as np
import pytest

import banach

HEAD = """
banach: 1
precision: {precision}
sizes: {{n: 3, m: 10}}
"""
STOP = "stop: {residual: 1e-3, most: 500}"

FORGOTTEN = {
    # ten labels beside one prediction: the loss of every sample counts, so L is ten times ‖A‖²/4
    "labels that stretch the predictions": f"""
        parameters: {{A: [[1, 1, 1]], labels: [1, 1, 1, 1, 1, 1, 1, 1, 1, -1]}}
        operators: {{f: "logistic(A, labels)"}}
        solve:
          x: {{method: gradient_descent(f), start: zeros(n), step: 1.2, {STOP}}}
        """,
    # x ↦ x/(1 - 0.9) is no proximal map: T multiplies by 5
    "a proximal map of a negative step": f"""
        operators: {{T: "0.5 * prox(ridge(1), -0.9)"}}
        solve:
          x: {{method: picard(T), start: ones(n), {STOP}}}
        """,
    "a proximal map of a step that is known at run time": f"""
        inputs: {{t: real}}
        operators: {{T: "0.5 * prox(ridge(1), t)"}}
        solve:
          x: {{method: picard(T), start: ones(n), {STOP}}}
        """,
    "a proximal map with one step for each entry": f"""
        parameters: {{t: [1, 50, 2]}}
        operators: {{T: "prox(l2(1), t)"}}
        solve:
          x: {{method: halpern(T), start: ones(n), {STOP}}}
        """,
    # f adds up 100 entries, not one: T(x) = 5x + 1
    "a map that is composed takes another size": f"""
        operators:
          g(x): x * ones(100)
          f(y): 0.05 * sum(y) * ones(1) + 1
          T: compose(f, g)
        solve:
          x: {{method: picard(T), start: ones(1), {STOP}}}
        """,
    # R x is one number, added to every entry: T has the eigenvalue 0.1 + 3 · 0.4
    "a term of a sum is stretched": f"""
        parameters: {{M: [[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]], R: [[0.4, 0.4, 0.4]]}}
        operators: {{T: matrix(M) + matrix(R)}}
        solve:
          x: {{method: picard(T), start: ones(n), {STOP}}}
        """,
    # the step is 100/L
    "an input and a nameless multiple of it": f"""
        inputs: {{A: "real[m, n]", b: "real[m]"}}
        operators: {{f: "least_squares(10 * A, b)"}}
        solve:
          x: {{method: gradient_descent(f), start: zeros(n), step: 1 / lipschitz(A)**2, {STOP}}}
        """,
    # the step is 200, not 0.2
    "a local name that hides a parameter": """
        parameters: {A: [[2, 0, 0], [0, 1, 0], [0, 0, 1]], b: [1, 1, 1], tau: 0.1}
        operators: {f: "least_squares(A, b)"}
        solve:
          x:
            state: {x: zeros(n)}
            where: {tau: 100}
            next: {x: x - (2 * tau) * grad(f)(x)}
            stop: {residual: norm(x' - x) <= 1e-6, most: 100}
        """,
    # c is 5 · 7: local names may be defined in any order
    "a local name that is defined after its use": """
        parameters: {d: 0.01}
        solve:
          x:
            state: {x: ones(n)}
            where: {c: 5 * d, d: 7}
            next: {x: c * x}
            stop: {residual: norm(x' - x) <= 1e-6, most: 100}
        """,
    "a word of the language that means something else": """
        parameters: {A: [[2, 0, 0], [0, 1, 0], [0, 0, 1]], b: [1, 1, 1]}
        operators: {f: "least_squares(A, b)", g: l1(0.1), sqrt(x): -1000 * x}
        solve:
          x:
            state: {x: zeros(n), y: zeros(n), s: 1}
            next:
              x: prox(g, 0.25)(y - 0.25 * grad(f)(y))
              s: (1 + sqrt(1 + 4 * s**2)) / 2
              y: x' + (s - 1) / s' * (x' - x)
            stop: {residual: norm(x' - x) <= 1e-6, most: 100}
        """,
    "a solve that returns another state": """
        parameters: {A: [[2, 0, 0], [0, 1, 0], [0, 0, 1]], b: [1, 1, 1]}
        operators: {f: "least_squares(A, b)", g: l1(0.1)}
        solve:
          x:
            state: {x: zeros(n), y: zeros(n), s: 1}
            next:
              x: prox(g, 0.25)(y - 0.25 * grad(f)(y))
              s: (1 + sqrt(1 + 4 * s**2)) / 2
              y: x' + (s - 1) / s' * (x' - x)
            returns: s
            stop: {residual: norm(x' - x) <= 1e-6, most: 100}
        """,
    "a factor that is stored as 1": f"""
        parameters: {{R: [[0, -1, 0], [1, 0, 0], [0, 0, -1]]}}
        operators: {{T: 0.99999999999999999999 * matrix(R)}}
        solve:
          x: {{method: picard(T), start: ones(n), {STOP}}}
        """,
    "a multiple of the identity that is stored as 0": f"""
        parameters: {{K: [[1, 0, 0], [0, 0, 0], [0, 0, 0]]}}
        operators: {{A: adjoint(K) @ matrix(K) + 1e-400 * I}}
        solve:
          x: {{method: "cg(A, ones(n))", start: zeros(n), {STOP}}}
        """,
}


def check(body: str, precision: str = "float64") -> object:
    text = HEAD.format(precision=precision) + textwrap.dedent(body) + "\noutputs: {x: x}\n"
    return banach.loads(text).check().certificates["x"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("case", FORGOTTEN)
def test_what_fails_is_not_proved(case: str, precision: str) -> None:
    assert check(FORGOTTEN[case], precision).verdict != "proved"


def test_a_weight_that_is_stored_as_zero_makes_nothing_strongly_convex() -> None:
    body = f"""
        operators: {{g: ridge(1e-60)}}
        solve:
          x: {{method: proximal_point(g), start: ones(n), {STOP}}}
        """
    assert check(body, "float32").theorem == "proximal-point"
    assert check(body, "float64").theorem == "proximal-point-strongly-convex"


@pytest.mark.parametrize("method", ["richardson(B, ones(1))", "cg(B, ones(1))"])
def test_a_stretched_right_side_has_no_trip_bound(method: str) -> None:
    body = f"""
        parameters: {{B: [[2, 1, 0], [1, 2, 0], [0, 0, 1]]}}
        solve:
          x: {{method: "{method}", start: zeros(n), {STOP}}}
        """
    assert check(body).iterations is None
    assert check(body.replace("ones(1)", "ones(n)")).iterations is not None


def test_no_trip_bound_where_storing_the_iterate_moves_it_by_more_than_the_tolerance() -> None:
    body = """
        parameters: {b: [1000001.85]}
        solve:
          x:
            state: {x: zeros(1)}
            next: {x: 0.9 * sin(x) + b}
            stop: {residual: norm(x' - x) <= 1e-3, most: 1000}
        """
    assert check(body, "float32").iterations is None  # float32 goes round in a circle, 0.0625 wide
    assert check(body, "float64").iterations is not None


def test_the_default_step_is_finite_for_the_zero_matrix() -> None:
    text = HEAD.format(precision="float32") + textwrap.dedent(
        f"""
        inputs: {{A: "real[m, n]", b: "real[m]"}}
        operators: {{f: "least_squares(A, b)"}}
        solve:
          x: {{method: gradient_descent(f), start: ones(n), {STOP}}}
        outputs: {{x: x}}
        """
    )
    result = banach.loads(text).compile().run(A=np.zeros((10, 3), np.float32), b=np.ones(10, np.float32))
    assert result["x.status"] == 0 and np.array_equal(result["x"], np.ones(3))


def test_a_word_of_the_language_is_no_map_of_a_page() -> None:
    body = """
        solve:
          x:
            state: {x: zeros(n)}
            next: {x: softmax(x)}
            stop: {residual: norm(x' - x) <= 1e-3, most: 100}
        """
    assert check(body).theorem == "banach"


@pytest.mark.parametrize(
    "iteration",
    [
        'method: "krasnoselskii_mann(T)"\n    start: zeros(4)',
        'method: "plug_and_play(f, T)"\n    start: zeros(4)',
        'method: "viscosity(T, F)"\n    start: zeros(4)',
        'method: "viscosity(F, T)"\n    start: zeros(4)',
        "state: {x: zeros(4)}\n    next: {x: 0.5 * x + 0.5 * T(x)}",
        "state: {x: zeros(4)}\n    next: {x: F(x) / (k + 2) + (k + 1) / (k + 2) * T(x)}",
        "state: {x: zeros(4)}\n    next: {x: zeros(4) / (k + 2) + (k + 1) / (k + 2) * T(x)}",
    ],
)
def test_a_number_that_is_stretched_beside_the_unknown_counts_several_times(iteration):
    """T has the constant 0.998, but beside four entries of x its one number moves all of them: 2·0.998."""
    stop = "residual: norm(x' - x) <= 1e-6" if "next" in iteration else "residual: 1e-6"
    text = f"""
banach: 1
inputs: {{b: "real[4]"}}
operators:
  f: sq_l2(b)
  T(x): 0.499 * sum(x) + 1
  F(x): 0.4 * x
solve:
  x:
    {iteration}
    stop: {{{stop}, most: 100}}
outputs: {{x: x}}
"""
    assert banach.loads(text).check().certificates["x"].verdict != "proved"
