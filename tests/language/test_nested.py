"""Maps that hold iterations of their own: bilevel, proximal and implicit layers, against numpy and scipy."""

import numpy as np
import pytest
from scipy.optimize import minimize

import banach

BACKENDS = ("oracle", "onnx", "fx")
BILEVEL = """
banach: 1
name: bilevel
precision: float64
sizes: {n: 5}
inputs: {theta: "real[n]", b: "real[n]"}
parameters:
  W: {type: "real[n, n]", init: "normal(0, 0.15)", seed: 3}
operators:
  inner(y):
    solve:
      z:
        state: {z: zeros(n)}
        next: {z: tanh(W @ z) + 0.1 * y * z + y}
        stop: {residual: norm(z' - z) <= 1e-12, most: 100}
        gradient: GRADIENT
    returns: z
  loss(y): 0.5 * dot(inner(y) - b, inner(y) - b) + 0.5 * dot(y, y)
  slope: grad(loss)
solve:
  y:
    state: {y: theta}
    next: {y: y - 0.2 * slope(y)}
    stop: {residual: norm(y' - y) <= 1e-9, most: 400}
outputs: {y: y}
"""
B, THETA = np.array([0.3, -0.2, 0.5, 0.1, -0.4]), np.array([0.1, 0.2, -0.1, 0.4, 0.3])


def weight(model, name="W"):
    return model.elaborated.names.find(name).array


def inner_point(W, y):
    z = np.zeros(len(y))
    for _ in range(200):
        z = np.tanh(W @ z) + 0.1 * y * z + y
    return z


@pytest.mark.parametrize("gradient", ["implicit", "unrolled", "neumann(30)"])
def test_a_bilevel_problem_ends_where_scipy_does(gradient):
    model = banach.loads(BILEVEL.replace("GRADIENT", gradient))
    W = weight(model)
    lowest = minimize(
        lambda y: 0.5 * np.sum((inner_point(W, y) - B) ** 2) + 0.5 * y @ y, THETA, options={"gtol": 1e-9}
    ).x
    for backend in BACKENDS if gradient == "implicit" else ["onnx"]:
        found = model.compile(to=backend).run(theta=THETA, b=B)
        np.testing.assert_allclose(found["y"], lowest, atol=2e-7)
        assert found["y.status"] == 0 and found["inner.z.status"] == 0
        assert 20 < found["inner.z.iterations"] < 60  # of the last step


def test_one_step_is_another_gradient():
    """v = dx in place of the adjoint fixed point: it ends elsewhere, and the spec has asked for it."""
    exact = banach.loads(BILEVEL.replace("GRADIENT", "implicit")).compile(to="oracle")
    short = banach.loads(BILEVEL.replace("GRADIENT", "one_step")).compile(to="oracle")
    moved = exact.run(theta=THETA, b=B)["y"] - short.run(theta=THETA, b=B)["y"]
    assert np.linalg.norm(moved) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_derivative_of_a_bilevel_solution(backend):
    """R of a fixed point whose step is the derivative of another, against differences of the oracle."""
    model = banach.loads(BILEVEL.replace("GRADIENT", "implicit"))
    ones = np.ones(5)
    found = model.reverse("y", wrt="b").compile(to=backend).run({"theta": THETA, "b": B, "d.y": ones})
    run = model.compile(to="onnx")

    def total(b):
        return run.run(theta=THETA, b=b)["y"].sum()

    step = 1e-5
    slopes = [(total(B + step * e) - total(B - step * e)) / (2 * step) for e in np.eye(5)]
    np.testing.assert_allclose(found["d.b"], slopes, rtol=1e-5)


PROXIMAL = """
banach: 1
name: fused
precision: float64
sizes: {batch: any, n: 8}
inputs: {b: "real[batch, n]"}
operators:
  D: finite_difference()
  prox_tv(v, t):
    solve:
      u:
        state: {u: zeros(n - 1)}
        next:
          u: minimum(maximum(u + 0.25 * D(v - adjoint(D)(u)), -t), t)
        stop:
          residual: norm(u' - u) <= 1e-9 * (1 + norm(v))
          most: 20000
    returns: v - adjoint(D)(u)
solve:
  x:
    state: {x: zeros(n)}
    next:
      x: prox_tv(x - 0.5 * (x - b), 0.1)
    stop: {residual: norm(x' - x) <= 1e-7, most: 200}
outputs: {x: x}
"""


def total_variation(b, weight):
    """argmin ½‖x - b‖² + weight·Σ|x_(i+1) - x_i|, by the dual on a box, which scipy solves to the end."""
    D = np.diff(np.eye(len(b)), axis=0)
    dual = minimize(
        lambda u: (0.5 * np.sum((b - D.T @ u) ** 2), -D @ (b - D.T @ u)),
        np.zeros(len(D)),
        jac=True,
        bounds=[(-weight, weight)] * len(D),
        options={"ftol": 1e-16, "gtol": 1e-12},
    ).x
    return b - D.T @ dual


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_proximal_map_by_a_solve_of_its_own_for_every_sample(backend):
    """The prox of 0.5·f is taken with t = 0.1, so the answer is that of weight 0.2; samples stop alone."""
    batch = np.random.default_rng(0).standard_normal((3, 8)) * np.array([[0.1], [1.0], [5.0]])
    artifact = banach.loads(PROXIMAL).compile(to=backend)
    found = artifact.run(b=batch)
    assert np.all(found["x.status"] == 0) and np.all(found["prox_tv.u.status"] == 0)
    for i, sample in enumerate(batch):
        np.testing.assert_allclose(found["x"][i], total_variation(sample, 0.2), atol=1e-5)
        alone = artifact.run(b=batch[i : i + 1])
        assert alone["x.iterations"] == found["x.iterations"][i]
        assert alone["prox_tv.u.iterations"] == found["prox_tv.u.iterations"][i]


DEEP = """
banach: 1
name: deep
precision: float64
inputs: {b: real}
operators:
  low(y):
    solve:
      z:
        state: {z: 0.0}
        next: {z: 0.5 * z + y}
        stop: {residual: abs(z' - z) <= 1e-14, most: 100}
    returns: z
  middle(y):
    scan:
      s:
        steps: 3
        state: {s: y}
        next: {s: low(s) + 1}
    solve:
      z:
        state: {z: 0.0}
        next: {z: 0.1 * low(z) + y}
        stop: {residual: abs(z' - z) <= 1e-14, most: MOST}
    returns: z + s
solve:
  x:
    state: {x: 0.0}
    next: {x: 0.05 * middle(x) + b}
    stop: {residual: abs(x' - x) <= 1e-13, most: 100}
outputs: {x: x, at: middle(b)}
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_floors_and_a_scan(backend):
    """low(y) = 2y; s = 8y + 7; z = 0.2z + y = 1.25y; so middle(y) = 9.25y + 7, and x = 0.4625x + 0.35 + b."""
    found = banach.loads(DEEP.replace("MOST", "100")).compile(to=backend).run(b=0.3)
    np.testing.assert_allclose(found["at"], 9.25 * 0.3 + 7, rtol=1e-12)
    np.testing.assert_allclose(found["x"], 0.65 / 0.5375, rtol=1e-11)
    statuses = {name: int(value) for name, value in found.items() if name.endswith(".status")}
    assert statuses == {"x.status": 0, "low.z.status": 0, "middle.z.status": 0}


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_inner_solve_that_is_cut_short_says_so(backend):
    found = banach.loads(DEEP.replace("MOST", "2")).compile(to=backend).run(b=0.3)
    assert (int(found["x.status"]), int(found["middle.z.status"]), int(found["low.z.status"])) == (0, 1, 0)
    assert found["middle.z.iterations"] == 2


def test_a_run_that_was_cut_short_inside_has_an_exit_code(banach_command, write):
    said = banach_command("run", write(DEEP.replace("MOST", "2")), "--input", "b=0.3")
    assert said.code == 5 and "middle.z: stopped at" in said.out


HELD = """
banach: 1
name: held
precision: float64
inputs: {b: real}
operators:
  root(y):
    solve:
      z:
        state: {z: 1.0}
        next: {z: 0.5 * (z + y / z)}
        stop: {residual: abs(z' - z) <= 1e-12, most: MOST}
    returns: z
solve:
  x:
    state: {x: 0.0, r: 1.0}
    next:
      x: 0.5 * x + r
      every(40):
        r: root(b)
    stop: {residual: abs(x' - x) <= 1e-12, most: 100}
outputs: {x: x}
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("most", "status"), [(100, 0), (2, 1)])
def test_work_that_is_held_keeps_what_its_solves_left(backend, most, status):
    """x = 2√b; the root is taken in step 0, and the loop ends in a step that takes none."""
    found = banach.loads(HELD.replace("MOST", str(most))).compile(to=backend).run(b=9.0)
    assert found["x.status"] == 0 and found["x.iterations"] % 40 != 1
    assert found["root.z.status"] == status and 2 <= found["root.z.iterations"] <= 10
    if not status:
        np.testing.assert_allclose(found["x"], 6.0, rtol=1e-11)


# --- what is certified -------------------------------------------------------------------------------------

PLACES = """
banach: 1
name: places
precision: float64
sizes: {n: 4}
inputs: {b: "real[n]"}
operators:
  F(y, q):
    solve:
      z:
        state: {z: zeros(n)}
        next: {z: q * z + y}
        stop: {residual: norm(z' - z) <= 1e-9, most: 500}
    returns: z
outputs:
  x: OUTPUT
require: {F.z: converges}
"""


def certified(text):
    return banach.loads(text).check().certificates


def test_a_solve_inside_is_certified_at_the_worst_of_its_places():
    both = certified(PLACES.replace("OUTPUT", "F(b, 0.5) + F(b, 0.9)"))["F.z"]
    slow = certified(PLACES.replace("OUTPUT", "F(b, 0.9)"))["F.z"]
    assert both.verdict == "proved" and both.upper_factor == slow.upper_factor >= 0.9
    assert certified(PLACES.replace("OUTPUT", "F(b, 0.5)"))["F.z"].upper_factor < 0.51


@pytest.mark.parametrize(
    "output", ["F(b, 0.5) + F(b, 1.1)", "F(b, 1.1) + F(b, 0.5)", "F(b, 0.5) + F(b, b[0])"]
)
def test_one_bad_place_is_enough(output):
    report = banach.loads(PLACES.replace("OUTPUT", output)).check()
    assert report.certificates["F.z"].verdict != "proved"
    assert not report.ok  # it is required


FAR = """
banach: 1
name: far
precision: float64
inputs: {b: real}
operators:
  F(y):
    solve:
      z:
        state: {z: 0.0}
        next: {z: 0.9 * z + GAIN * y}
        stop: {residual: abs(z' - z) <= 1e-9, most: 500}
    returns: z
solve:
  x:
    state: {x: 1.0}
    next: {x: 0.5 * F(x) + b}
    stop: {residual: abs(x' - x) <= 1e-9, most: 60}
outputs: {x: x}
"""


@pytest.mark.parametrize("gain", ["1", "0.01"])
def test_nothing_is_claimed_of_a_step_that_runs_another_loop(gain):
    """F(y) = 10·gain·y: with gain 1 the outer loop diverges, and a cut loop is no continuous map at all."""
    found = certified(FAR.replace("GAIN", gain))
    assert found["F.z"].verdict == "proved" and found["x"].verdict == "unknown"
    run = banach.loads(FAR.replace("GAIN", gain)).compile(to="oracle").run(b=0.3)
    assert (run["x.status"] == 0) == (gain == "0.01")


def test_a_file_with_a_solve_inside_is_verified(banach_command, write, tmp_path):
    """Its limits are no inputs of the file, which is told; a file whose own solve has none fails."""
    model = tmp_path / "places.onnx"
    spec = write(PLACES.replace("OUTPUT", "F(b, 0.5)"))
    assert banach_command("compile", spec, "-o", model).code == 0
    said = banach_command("verify", model)
    assert said.code == 0 and "trusted  F.z: that it stops at 1e-09, after at most 500 iterations" in said.out
    assert "checked  F.z: the factor is at most 0.5" in said.out


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "told"),
    [
        ("{z: q * z + y}", '{z: "F(z, q) + y"}', "B205", 8, "F -> F"),
        ("q * z + y", "q * z + w", "B201", 12, "`w`"),
        ("    returns: z", "    returns: v", "B201", 14, "`v`"),
        ("        state: {z: zeros(n)}\n", "", "B133", 11, "neither `method` nor `state`"),
        ("most: 500}", "most: 500}\n        gradient: exact", "B203", 14, "no gradient `exact`"),
    ],
)
def test_a_mistake_inside_is_told_once_and_in_its_place(old, new, code, line, told):
    text = PLACES.replace("OUTPUT", "F(b, 0.5) + F(b, 0.9)").replace(old, new)
    with pytest.raises(banach.SpecError) as wrong:
        banach.loads(text)
    (found,) = wrong.value.diagnostics
    assert (found.code.id, found.span.line) == (code, line) and told in found.message


def test_a_gradient_is_one_word():
    text = PLACES.replace("OUTPUT", "F(b, 0.5)").replace("most: 500}", "most: 500}\n        gradient: [a]")
    with pytest.raises(banach.SpecError) as wrong:
        banach.loads(text)
    assert [found.span.line for found in wrong.value.diagnostics] == [14]
