"""Methods as people write them out: the page's verdict where it is the page's method, and only there.

Oracle: the first steps of what is written out and of the page, which must be the same numbers.
"""

import numpy as np
import pytest

import banach

HEAD = """
banach: 1
precision: float64
sizes: {n: 3, m: 2}
parameters: {A: [[2, 1, 0], [0, 1, 1], [1, 0, 3]], K: [[1, -1, 0], [0, 1, -1]]}
inputs: {b: "real[n]"}
operators:
  f: least_squares(A, b)
  g: l1(0.1)
  h: box(-1, 1)
  tv: l1(0.2)
  T(x): cos(A @ x) / lipschitz(A)
  EXTRA: I
solve:
  x:
"""
STEP = "1 / lipschitz(grad(f))"
FISTA = """
    state: {x: zeros(n), y: zeros(n), t: 1}
    where: {L: lipschitz(grad(f)), next_t: (1 + sqrt(1 + 4 * t**2)) / 2}
    next:
      x: prox(g, 1 / L)(y - grad(f)(y) / L)
      y: x' + (t - 1) / next_t * (x' - x)
      t: next_t
"""
BY_HAND = f"""
    state: {{momentum: 1, x: zeros(n), y: zeros(n)}}
    next:
      x: prox(g, {STEP})(y - {STEP} * transpose(A) @ (A @ y - b))
      momentum: 0.5 + sqrt(0.25 + momentum**2)
      y: (1 + (momentum - 1) / momentum') * x' - (momentum - 1) / momentum' * x
"""
ADMM = """
    state: {x: zeros(n), z: zeros(n), u: zeros(n)}
    next:
      x: prox(h, 1)(z - u)
      z: prox(g, 1)(x' + u)
      u: u + x' - z'
"""
UNSCALED = """
    state: {x: zeros(n), z: zeros(n), y: zeros(n)}
    next:
      x: prox(h, 1 / 2)(z - y / 2)
      z: prox(g, 1 / 2)(x' + y / 2)
      y: y + 2 * (x' - z')
"""
DOUGLAS_RACHFORD = """
    state: {x: zeros(n), y: zeros(n), z: b}
    next:
      x: prox(h, 1)(z)
      y: prox(g, 1)(2 * x' - z)
      z: z + y' - x'
"""
PDHG = """
    state: {x: zeros(n), y: "zeros(m)"}
    next:
      x: prox(g, 0.5)(x - 0.5 * transpose(K) @ y)
      y: y + 0.5 * K @ (2 * x' - x) - 0.5 * prox(tv, 2)(2 * y + 2 * K @ x' - K @ x)
"""
PDHG = PDHG.replace("2 * K @ x' - K @ x)", "K @ (x' + x' - x))")
DAVIS_YIN = """
    state: {x: zeros(n), y: zeros(n), z: zeros(n)}
    next:
      x: prox(g, 0.1)(z)
      y: prox(h, 0.1)(2 * x' - z - 0.1 * grad(f)(x'))
      z: z + y' - x'
"""
HALPERN = """
    state: {x: b}
    where: {a: 1 / (k + 2)}
    next: {x: a * b + (1 - a) * T(x)}
"""
CONDAT_VU = """
    state: {x: zeros(n), y: "zeros(m)"}
    next:
      x: prox(h, 0.05)(x - 0.05 * (grad(f)(x) + transpose(K) @ y))
      y: y + 0.5 * K @ (2 * x' - x) - 0.5 * prox(tv, 2)(2 * y + K @ (2 * x' - x))
"""
FORMS = {  # equations, what is returned, the page with its options, the page's start, its theorem
    "fista": (FISTA, "x", "fista(f, g)", "zeros(n)", "fista"),
    "fista by hand": (BY_HAND, "x", "fista(f, g)", "zeros(n)", "fista"),
    "admm": (ADMM, "z", "admm(h, g)", "zeros(n)", "admm"),
    "admm with its dual": (UNSCALED, "z", "admm(h, g); step: 0.5", "zeros(n)", "admm"),
    "douglas-rachford": (
        DOUGLAS_RACHFORD,
        "prox(h, 1)(z)",
        "douglas_rachford(h, g)",
        "b",
        "douglas-rachford",
    ),
    "pdhg": (PDHG, "x", "pdhg(g, tv, K); tau: 0.5; sigma: 0.5", "zeros(n)", "chambolle-pock"),
    "davis-yin": (DAVIS_YIN, "prox(g, 0.1)(z)", "davis_yin(h, g, f); step: 0.1", "zeros(n)", "davis-yin"),
    "halpern": (HALPERN, "x", "halpern(T)", "b", "halpern"),
    "condat-vu": (CONDAT_VU, "x", "condat_vu(f, h, tv, K); tau: 0.05; sigma: 0.5", "zeros(n)", "condat-vu"),
}


def written(equations: str, returns: str, most: int = 5000, extra: str = "unused") -> banach.Model:
    head = HEAD.replace("EXTRA: I", extra if ":" in extra else f"{extra}: I")
    stop = f'    stop: {{residual: "norm(x\' - x) <= 1e-6", most: {most}}}\n    returns: {returns}\n'
    if " z: " in equations:  # where x follows from z, it may stand still at first
        stop = stop.replace("norm(x' - x)", "norm(z' - z)")
    return banach.loads(head + equations.strip("\n") + "\n" + stop + "outputs: {x: x}\n")


def by_page(method: str, start: str, most: int) -> banach.Model:
    method = method.replace("; ", "\n    ")
    stop = f"    method: {method}\n    start: {start}\n    stop: {{residual: 1e-14, most: {most}}}\n"
    return banach.loads(HEAD.replace("EXTRA", "unused") + stop + "outputs: {x: x}\n")


@pytest.mark.parametrize("form", FORMS)
def test_it_has_the_verdict_of_the_page_and_its_iterates(form: str) -> None:
    equations, returns, method, start, theorem = FORMS[form]
    found = written(equations, returns).check().certificates["x"]
    assert (found.verdict, found.theorem) == ("proved", theorem), found.missing
    b = np.array([1.0, -2.0, 0.7])
    for most in (1, 4, 9):
        one = written(equations, returns, most).compile(to="oracle").run(b=b)["x"]
        other = by_page(method, start, most).compile(to="oracle").run(b=b)["x"]
        assert np.abs(one - other).max() <= 1e-13


def test_what_is_returned_one_step_before_is_said() -> None:
    found = written(DOUGLAS_RACHFORD, "x").check().certificates["x"]
    assert found.verdict == "proved" and "one step before" in found.proviso
    assert "one step before" not in (
        written(*FORMS["douglas-rachford"][:2]).check().certificates["x"].proviso or ""
    )
    assert written(DOUGLAS_RACHFORD, "y").check().certificates["x"].verdict == "unknown"


@pytest.mark.parametrize(
    ("form", "old", "new"),
    [
        ("fista", "(t - 1) / next_t", "(t + 1) / next_t"),
        ("fista", "1 + 4 * t**2", "1 + 5 * t**2"),
        ("fista", "grad(f)(y) / L", "2.1 * grad(f)(y) / L"),
        ("fista", "t: 1}", "t: 5}"),
        ("fista", "y: zeros(n)", "y: b"),
        ("fista by hand", "(A @ y - b)", "(A @ y + b)"),
        ("fista by hand", "transpose(A) @ (A @ y - b)", "A @ (A @ y - b)"),
        ("admm", "u: u + x' - z'", "u: u + z' - x'"),
        ("admm", "prox(g, 1)(x' + u)", "prox(g, 1)(x + u)"),
        ("admm", "prox(g, 1)", "prox(g, 2)"),
        ("admm with its dual", "y: y + 2 *", "y: y + 3 *"),
        ("douglas-rachford", "2 * x' - z", "2 * x' + z"),
        ("pdhg", "(x' + x' - x)", "x'"),
        ("pdhg", "0.5 * transpose(K)", "-0.5 * transpose(K)"),
        ("davis-yin", "grad(f)(x')", "grad(f)(z)"),
        ("halpern", "1 / (k + 2)", "1 / (k + 2)**2"),
        ("halpern", "state: {x: b}", "state: {x: 2 * b}"),
        ("condat-vu", "(grad(f)(x) +", "(grad(f)(x) -"),
        # what cancels, and must not be lost: a value that there is not, a shape, a word with another meaning
        ("fista", "y - grad(f)(y) / L", "y + 0 * log(y) - grad(f)(y) / L"),
        ("fista", "y - grad(f)(y) / L", "y + (log(t - 2) - log(t - 2)) - grad(f)(y) / L"),
        ("fista", "(t - 1) / next_t", "(t - 1) * (t - 1) / (t - 1) / next_t"),
        ("halpern", "T(x)}", "T(x) + 0 * T(norm(x) + 0 * x)}"),
    ],
)
def test_what_is_another_method_is_not_taken_for_it(form: str, old: str, new: str) -> None:
    equations, returns, _, _, theorem = FORMS[form]
    assert equations.count(old) >= 1
    found = written(equations.replace(old, new), returns).check().certificates["x"]
    assert found.verdict != "proved" or found.theorem != theorem


@pytest.mark.parametrize(
    ("form", "extra"),
    [
        ("fista", "grad(x): l1(2)"),
        ("fista", "sqrt(x): x / 2"),
        ("admm", "prox(p, s): I"),
        ("fista by hand", "transpose(M): M"),
        ("pdhg", "transpose(M): 2 * adjoint(M)"),
        ("pdhg", "zeros(size): 3 * ones(size)"),  # the dual then starts elsewhere than at 0
    ],
)
def test_a_word_that_the_spec_defines_anew_is_another_word(form: str, extra: str) -> None:
    equations, returns, _, _, theorem = FORMS[form]
    found = written(equations, returns, extra=extra).check().certificates["x"]
    assert found.verdict != "proved" or found.theorem != theorem


def test_a_norm_of_what_was_broadcast_is_not_that_of_the_number() -> None:
    """norm(1 + 0·x) is √n, norm(1) is 1: as steps they make two methods."""
    plain = "    state: {x: zeros(n)}\n    next: {x: x - 0.02 * norm(1 + 0 * x) * grad(f)(x)}\n"
    found = written(plain, "x").check().certificates["x"]
    other = plain.replace(" + 0 * x", "")
    for same in (" * x**0", " + (x - x)"):
        again = written(plain.replace(" + 0 * x", same), "x").check().certificates["x"]
        assert (again.verdict, again.theorem) == (found.verdict, found.theorem)
    assert found.theorem != written(other, "x").check().certificates["x"].theorem or found.verdict != "proved"


@pytest.mark.parametrize("step", ["d", "d * 1"])
@pytest.mark.parametrize("next", ["prox(g, {s})(x - {s} * grad(f)(x))", "x - {s} * grad(f)(x)"])
def test_a_step_for_each_entry_is_no_step_of_a_page(step: str, next: str) -> None:
    """It is a method of its own, and no mistake: the page's theorem is not asked about a vector."""
    text = HEAD.replace("EXTRA", "unused").replace("parameters: {", "parameters: {d: [0.01, 0.02, 0.5], ")
    stop = "    stop: {residual: norm(x' - x) <= 1e-6, most: 9}\n"
    body = f'    state: {{x: zeros(n)}}\n    next: {{x: "{next.format(s=step)}"}}\n{stop}outputs: {{x: x}}\n'
    found = banach.loads(text + body).check().certificates["x"]
    assert found.theorem in ("banach", "linear-iteration") and found.verdict != "proved"


@pytest.mark.parametrize(
    "next",
    [
        "x - 0.01 * (grad(h2) @ (x + last) - grad(h2) @ last)",  # a gradient is not linear
        "x - 0.01 * (grad(h2)(x + last) - grad(h2)(last))",
        "x - 0.01 * (T @ (x + last) - T @ last)",
    ],
)
def test_a_map_that_is_not_linear_does_not_go_into_sums(next: str) -> None:
    text = HEAD.replace("EXTRA: I", "h2: huber(1)")
    stop = "    stop: {residual: norm(x' - x) <= 1e-6, most: 9}\n    returns: x\n"
    body = f'    state: {{x: zeros(n), last: zeros(n)}}\n    next: {{x: "{next}", last: x}}\n{stop}'
    found = banach.loads(text + body + "outputs: {x: x}\n").check().certificates["x"]
    assert found.verdict != "proved"


def test_a_matrix_goes_into_sums() -> None:
    form = PDHG.replace("0.5 * K @ (2 * x' - x)", "K @ x' - 0.5 * (K @ x)")
    assert form != PDHG
    assert written(form, "x").check().certificates["x"].theorem == "chambolle-pock"
