"""Mistakes that other libraries take in silence: refuted, refused at their place, or told by the run."""

import numpy as np
import pytest
import yaml

import banach

LASSO = """banach: 1
name: mistaken
precision: float64
sizes: {m: 6, n: 4}
parameters:
  A: {type: "real[m, n]", init: "normal(0, 5)", seed: 1}
  b: {type: "real[m]", init: "normal(0, 1)", seed: 2}
operators:
  f: least_squares(A, b)
  g: l1(0.1)
solve:
  x:
    METHOD
    stop: {residual: 1e-8, most: 300}
outputs: {x: x}
"""
SQUARE = """banach: 1
name: mistaken
precision: float64
sizes: {n: 3}
inputs: {b: "real[n]"}
parameters:
  A: MATRIX
solve:
  x:
    method: METHOD
    start: zeros(n)
    stop: {residual: 1e-10, most: 60}
outputs: {x: x}
"""
B = np.array([1.0, 2, 3])
ROTATION = "[[0, -1, 0], [1, 0, 0], [0, 0, 1]]"
INDEFINITE = "[[1, 3, 0], [3, 1, 0], [0, 0, 1]]"


def lasso(*lines):
    return LASSO.replace("METHOD", "\n    ".join([*lines, "start: zeros(n)"]))


def square(matrix, method):
    return SQUARE.replace("MATRIX", matrix).replace("METHOD", method)


REFUTED = {
    "fista with 4/L": lasso("method: fista(f, g)", "step: 4 / lipschitz(grad(f))"),
    "gradient descent with 1.0 where L is hundreds": lasso("method: gradient_descent(f)", "step: 1.0"),
    "proximal gradient with 1.0": lasso("method: proximal_gradient(f, g)", "step: 1.0"),
    "a negative step": lasso("method: gradient_descent(f)", "step: -0.001"),
}


@pytest.mark.parametrize("mistake", REFUTED)
def test_a_step_that_diverges_is_never_run(mistake):
    report = banach.loads(REFUTED[mistake]).check()
    (found,) = report.certificates.values()
    assert found.verdict != "proved"
    if found.verdict == "refuted":
        (told,) = [d for d in report.diagnostics if d.severity == "error"]
        assert told.span is not None and told.span.line > 11 and told.fix
        with pytest.raises(banach.SpecError):
            banach.loads(REFUTED[mistake]).compile(to="onnx")
    else:
        run_openly(REFUTED[mistake])


REFUSED = {
    "a misspelt option": (lasso("method: fista(f, g)", "step_size: 0.001"), "B131"),
    "an option of no meaning": (lasso("method: fista(f, g)", "banana: 1"), "B131"),
    "a stop that means nothing": (lasso("method: fista(f, g)").replace("most", "stop_mode"), "B131"),
    "the name of another library": (lasso("method: fista(f, g)").replace("most", "max_iter"), "B131"),
    "a method that is not there": (lasso("method: fsta(f, g)"), "B201"),
    "a function that is not there": (lasso("method: fista(h, g)"), "B201"),
    "too few arguments": (lasso("method: fista(f)"), "B204"),
    "a proximal map that does not exist": (lasso("method: proximal_gradient(g, f)"), "B2"),
    "shapes that do not fit": (lasso("method: fista(f, g)").replace('real[m]"', 'real[n]"'), "B202"),
    "modes beyond Nyquist": (
        lasso("method: fista(f, g)").replace("{x: x}", '{x: "dft(stack(x, x), modes=9)"}'),
        "B202",
    ),
    "a tolerance of zero": (lasso("method: fista(f, g)").replace("1e-8", "0"), "B209"),
    "no stop": (lasso("method: fista(f, g)").replace("    stop: {residual: 1e-8, most: 300}\n", ""), "B"),
    "the same name twice": (lasso("method: fista(f, g)").replace("  g: l1", "  f: l1"), "B"),
    "a function of the unknown": (lasso("method: fista(f, g)").replace("l1(0.1)", "l1(norm(y))"), "B201"),
    "a definition that reads itself": (
        lasso("method: fista(f, g)").replace("l1(0.1)", "l1(norm(g))"),
        "B205",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_slip_of_the_pen_is_refused_at_its_place(mistake):
    text, code = REFUSED[mistake]
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text).compile(to="oracle")
    found = refusal.value.diagnostics
    assert any(d.code.id.startswith(code) for d in found), [d.code.id for d in found]
    assert all(d.span is not None and d.fix for d in found if d.code.id.startswith(code))


def run_openly(text, **inputs):
    """A run that is not proved: it says so, or its answer is one."""
    model = banach.loads(text)
    assert all(c.verdict != "proved" for c in model.check().certificates.values())
    with np.errstate(all="ignore"):
        found = model.compile(to="onnx").run(inputs)
    assert found["x.status"] in (1, 2), "it ended as if it had converged"
    return found


RUN = {
    "conjugate gradients on a matrix that is not symmetric": square(ROTATION, "cg(A, b)"),
    "Richardson on an indefinite matrix": square(INDEFINITE, "richardson(A, b)"),
    "Gauss–Seidel on an indefinite matrix": square(INDEFINITE, "gauss_seidel(A, b)"),
    "Jacobi without a dominant diagonal": square(INDEFINITE, "jacobi(A, b)"),
}


@pytest.mark.parametrize("mistake", RUN)
def test_a_method_beyond_its_theorem_says_so(mistake):
    report = banach.loads(RUN[mistake]).check()
    (certificate,) = report.certificates.values()
    assert certificate.verdict != "proved" and (certificate.missing or certificate.witness)
    if certificate.verdict == "refuted":
        with pytest.raises(banach.SpecError):
            banach.loads(RUN[mistake]).compile(to="onnx")
        return
    with np.errstate(all="ignore"):
        found = banach.loads(RUN[mistake]).compile(to="onnx").run(b=B)
    if found["x.status"] == 0:  # it may be lucky, but then its answer is right
        A = np.array(yaml.safe_load(RUN[mistake])["parameters"]["A"])
        np.testing.assert_allclose(A @ found["x"], B, atol=1e-6)


MAPS = {
    "a map that doubles": "2 * x + b",
    "a turn, which is no contraction": "-x + b",
    "slopes below 1 everywhere, and no fixed point": "sqrt(1 + x**2) + b * b",
}


@pytest.mark.parametrize("mistake", MAPS)
def test_a_map_without_a_limit_does_not_converge(mistake):
    text = square("[[1]]", "picard(T)").replace("solve:", f"operators:\n  T(x): {MAPS[mistake]}\nsolve:")
    report = banach.loads(text).check()
    assert report.certificates["x"].verdict != "proved"
    if report.ok:
        run_openly(text, b=B)
    required = text + "require: {x: converges}\n"
    with pytest.raises(banach.SpecError):
        banach.loads(required).compile(to="oracle")


def test_too_few_iterations_are_told_and_end_with_5(write, banach_command):
    spec = write(lasso("method: fista(f, g)").replace("most: 300", "most: 2"))
    said = banach_command("run", spec)
    assert said.code == 5 and "stopped" in said.out + said.err


def test_a_tolerance_below_rounding_is_warned_of():
    text = lasso("method: fista(f, g)").replace("1e-8", "1e-30")
    assert "B320" in [d.code.id for d in banach.loads(text).check().diagnostics]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_told(bad):
    text = square("[[2, 0, 0], [0, 2, 0], [0, 0, 2]]", "richardson(A, b)")
    with np.errstate(all="ignore"):
        found = banach.loads(text).compile(to="onnx").run(b=[1.0, bad, 3.0])
    assert found["x.status"] == 2


@pytest.mark.parametrize("inputs", [{}, {"b": [1.0, 2]}, {"b": [1j, 2, 3]}, {"b": B, "c": 1}])
def test_wrong_inputs_are_refused(inputs):
    artifact = banach.loads(square("[[2, 0, 0], [0, 2, 0], [0, 0, 2]]", "richardson(A, b)")).compile(
        to="onnx"
    )
    with pytest.raises(banach.RunError):
        artifact.run(inputs)
