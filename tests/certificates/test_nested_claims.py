"""Solves inside maps and parts: what must not be proved because a name means another thing there."""

import pytest

import banach

SCAN_INSIDE = """
banach: 1
precision: float64
sizes: {n: 2}
inputs: {b: "real[n]"}
parameters:
  z: 0.4
  A: [[1, 0], [0, 2]]
operators:
  f: least_squares(A, b)
  F(y):
    scan:
      z: {steps: 1, state: {z: 30.0}, next: {z: z}}
    returns: y - z * grad(f)(y)
solve:
  x:
    state: {x: zeros(n)}
    next: {x: F(x)}
    stop: {residual: norm(x' - x) <= 1e-9, most: 100}
outputs: {x: x}
"""
SOLVE_INSIDE = SCAN_INSIDE.replace(
    """    scan:
      z: {steps: 1, state: {z: 30.0}, next: {z: z}}
""",
    """    solve:
      z: {state: {z: 30.0}, next: {z: z}, stop: {residual: abs(z' - z) <= 1e-9, most: 3}}
""",
)


@pytest.mark.parametrize("text", [SCAN_INSIDE, SOLVE_INSIDE])
def test_an_iteration_inside_a_map_that_hides_a_parameter(text):
    """The step is 30, not 0.4: the orbit runs away."""
    model = banach.loads(text)
    assert model.check().certificates["x"].verdict != "proved"
    assert model.compile(to="oracle").run(b=[1.0, 1.0])["x.status"] != 0


STEP = """
banach: 1
precision: float64
inputs: {A: "real[5, 3]", b: "real[5]", As: "real[4, 5, 3]"}
operators:
  f: least_squares(A, b)
  G(y, M):
    solve:
      x:
        method: gradient_descent(f)
        start: y
        step: 1 / lipschitz(M)**2
        stop: {residual: 1e-6, most: 50}
    returns: x
scan:
  s:
    over: {ROW: As}
    state: {y: zeros(3)}
    next:
      y: G(y, GIVEN)
outputs: {s: s}
"""


@pytest.mark.parametrize(("row", "given"), [("A", "A"), ("Q", "Q"), ("Q", "2 * A"), ("A", "transpose(A)")])
def test_a_row_that_bears_the_name_of_an_input_is_another_matrix(row, given):
    """The step belongs to an entry of As, the function to the input A."""
    text = STEP.replace("ROW", row).replace("GIVEN", given)
    assert banach.loads(text).check().certificates["G.x"].verdict != "proved"


def test_the_input_itself_is_known():
    text = STEP.replace("ROW", "Q").replace("GIVEN", "A")
    assert banach.loads(text).check().certificates["G.x"].verdict == "proved"
