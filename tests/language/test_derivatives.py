"""Derivatives as values, held against finite differences and closed forms in numpy, on every backend."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares, root

import banach
from banach.compiler.elaboration import nested
from banach.compiler.elaboration.analysis import constants
from banach.compiler.training import WEIGHTS
from banach.ir.tensor_type import TensorType

A = np.array([[1.0, -0.5, 0.2], [0.3, 0.8, -1.1]])
X = np.array([0.4, -0.7, 1.2])
U = np.array([0.9, -0.3])
V = np.array([1.5, 0.25, -0.6])
W = np.array([-0.8, 1.1])
INPUTS = {"A": A, "x": X, "u": U, "v": V, "w": W}
HEAD = """
banach: 1
precision: float64
inputs: {A: "real[2, 3]", x: "real[3]", u: "real[2]", v: "real[3]", w: "real[2]"}
operators:
  F(x): tanh(A @ x) * (A @ x)
  G(x, u): sin(A @ x) * u + u**2
  f(x): sum(exp(A @ x)) + x[0]**3 * x[2]
  h(x, u): dot(u, sin(A @ x)) + sum(x**2) * sum(u**3)
  q: least_squares(A, u)
  r: l2(0.3)
  size(x): sum(grad(f)(x)**2)
  mixed(x, u): dot(grad(h, wrt=u)(x, u), u)
"""


def F(x):
    return np.tanh(A @ x) * (A @ x)


def G(x, u):
    return np.sin(A @ x) * u + u**2


def f(x):
    return np.sum(np.exp(A @ x)) + x[0] ** 3 * x[2]


def h(x, u):
    return u @ np.sin(A @ x) + np.sum(x**2) * np.sum(u**3)


def q(x):
    return 0.5 * np.sum((A @ x - U) ** 2)


def slopes(function: Callable, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The Jacobian by central differences, [*result, *argument]."""
    columns = []
    for i in range(x.size):
        move = np.zeros(x.size)
        move[i] = step
        columns.append((np.asarray(function(x + move)) - np.asarray(function(x - move))) / (2 * step))
    return np.stack(columns, axis=-1)


def grad_f(x):
    return A.T @ np.exp(A @ x) + np.array([3 * x[0] ** 2 * x[2], 0, x[0] ** 3])


def grad_h_in_u(x, u):
    return np.sin(A @ x) + 3 * np.sum(x**2) * u**2


HESSIAN = A.T @ np.diag(np.exp(A @ X)) @ A
HESSIAN[0, 0] += 6 * X[0] * X[2]
HESSIAN[0, 2] += 3 * X[0] ** 2
HESSIAN[2, 0] += 3 * X[0] ** 2

TABLE = [
    ("grad(f)(x)", grad_f(X)),
    ("grad(f, wrt=x)(x)", grad_f(X)),
    ("grad(h, wrt=x)(x, u)", slopes(lambda x: h(x, U), X)),
    ("grad(h, wrt=u)(x, u)", slopes(lambda u: h(X, u), U)),
    ("grad(h(_, u))(x)", slopes(lambda x: h(x, U), X)),
    ("grad(h(x, _), wrt=u)(u)", slopes(lambda u: h(X, u), U)),
    ("grad(h, wrt=u)(_, u)(x)", slopes(lambda u: h(X, u), U)),
    ("grad(q + 0.5 * r)(x)", A.T @ (A @ X - U) + 0.15 * X / np.linalg.norm(X)),
    ("jvp(F, x)(v)", slopes(F, X) @ V),
    ("vjp(F, x)(w)", slopes(F, X).T @ W),
    ("adjoint(jvp(F, x))(w)", slopes(F, X).T @ W),
    ("adjoint(vjp(F, x))(v)", slopes(F, X) @ V),
    ("jvp(G, x, u)(v, w)", slopes(lambda x: G(x, U), X) @ V + slopes(lambda u: G(X, u), U) @ W),
    ("jvp(G, x, u, wrt=u)(w)", slopes(lambda u: G(X, u), U) @ W),
    ("vjp(G, x, u)(w)[0]", slopes(lambda x: G(x, U), X).T @ W),
    ("vjp(G, x, u)(w)[1]", slopes(lambda u: G(X, u), U).T @ W),
    ("vjp(G, x, u, wrt=u)(w)", slopes(lambda u: G(X, u), U).T @ W),
    ("jacobian(F)(x)", slopes(F, X)),
    ("jacobian(G, wrt=u)(x, u)", slopes(lambda u: G(X, u), U)),
    ("jacobian(compose(F, I - grad(q)))(x)", slopes(lambda x: F(x - A.T @ (A @ x - U)), X)),
    ("jacobian(A)(x)", A),
    ("hessian(f)(x)", HESSIAN),
    ("jacobian(grad(f))(x)", HESSIAN),
    ("hvp(f, x)(v)", HESSIAN @ V),
    ("hvp(q, x)(v)", A.T @ A @ V),
    ("hvp(h, x, u, wrt=u)(w)", slopes(lambda u: grad_h_in_u(X, u), U) @ W),
    ("jvp(grad(h, wrt=u), x, u, wrt=x)(v)", slopes(lambda x: grad_h_in_u(x, U), X) @ V),
    ("grad(size)(x)", 2 * HESSIAN @ grad_f(X)),
    ("grad(mixed, wrt=x)(x, u)", slopes(lambda x: grad_h_in_u(x, U) @ U, X)),
    ("hvp(size, x)(v)", slopes(lambda x: slopes(lambda y: np.sum(grad_f(y) ** 2), x, 1e-4), X, 1e-4) @ V),
    ("jvp(f, x)(v)", grad_f(X) @ V),
    ("(jvp(F, x) + jvp(F, 2 * x))(v)", (slopes(F, X) + slopes(F, 2 * X)) @ V),
]


@pytest.mark.parametrize(("formula", "wanted"), [pytest.param(t, w, id=t) for t, w in TABLE])
def test_a_derivative_is_that_of_differences(formula: str, wanted: np.ndarray) -> None:
    model = banach.loads(f"{HEAD}outputs:\n  y: {formula}\n")
    for backend in ("oracle", "onnx", "fx"):
        found = model.compile(to=backend).run(**INPUTS)["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=backend)


JET = """
banach: 1
precision: float64
inputs: {t: real}
operators:
  f(t): exp(sin(t))
  first(t): jvp(f, t)(1)
  second(t): jvp(first, t)(1)
  third(t): jvp(second, t)(1)
outputs: {one: first(t), two: second(t), three: third(t)}
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_jet_is_derivatives_of_derivatives(backend: str) -> None:
    found = banach.loads(JET).compile(to=backend).run(t=0.7)
    s, c, e = np.sin(0.7), np.cos(0.7), np.exp(np.sin(0.7))
    np.testing.assert_allclose(found["one"], c * e, rtol=1e-12)
    np.testing.assert_allclose(found["two"], (c**2 - s) * e, rtol=1e-12)
    np.testing.assert_allclose(found["three"], (c**3 - 3 * s * c - c) * e, rtol=1e-12)


NEWTON = """
banach: 1
precision: float64
sizes: {batch: any, n: 3}
inputs: {b: "real[batch, n]"}
parameters:
  A: [[0.5, -0.4, 0.2], [0.1, 0.3, -0.6], [-0.2, 0.4, 0.1]]
operators:
  F(x, b): x + tanh(A @ x) + x**3 / 3 - b
solve:
  x:
    state: {x: zeros(n)}
    next:
      x: x - solve(jacobian(F, wrt=x)(x, b), F(x, b))
    stop: {residual: norm(x' - x) <= 1e-12, most: 50}
outputs: {x: x}
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_newtons_method_written_with_a_jacobian(backend: str) -> None:
    model = banach.loads(NEWTON)
    M = np.array([[0.5, -0.4, 0.2], [0.1, 0.3, -0.6], [-0.2, 0.4, 0.1]])
    b = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [3.0, 2.0, -4.0]])
    found = model.compile(to=backend).run(b=b)
    for i in range(3):
        wanted = root(lambda x, i=i: x + np.tanh(M @ x) + x**3 / 3 - b[i], np.zeros(3), tol=1e-13).x
        np.testing.assert_allclose(found["x"][i], wanted, rtol=1e-10, atol=1e-12)
    assert np.all(found["x.iterations"] <= 12) and np.all(found["x.status"] == 0)  # quadratic convergence
    assert model.check().certificates["x"].verdict == "unknown"


GAUSS_NEWTON = """
banach: 1
precision: float64
sizes: {n: 2, m: 4}
parameters:
  t: [0, 1, 2, 3]
  y: [2.0, 1.25, 0.75, 0.5]
operators:
  r(p): p[0] * exp(-1 * p[1] * t) - y
  J(p): jacobian(r)(p)
solve:
  p:
    state:
      p: "[1.0, 1.0]"
    next:
      p: p - solve(transpose(J(p)) @ J(p), vjp(r, p)(r(p)))
    stop: {residual: norm(p' - p) <= 1e-11, most: 60}
scan:
  flow:
    steps: 200
    state:
      p: "[1.0, 1.0]"
    next:
      p: p - 0.05 * vjp(r, p)(r(p))
outputs: {p: p, flow: flow}
"""


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_gauss_newton_and_a_gradient_flow_fit_a_curve(backend: str) -> None:
    t, y = np.arange(4.0), np.array([2.0, 1.25, 0.75, 0.5])
    wanted = least_squares(lambda p: p[0] * np.exp(-p[1] * t) - y, [1.0, 1.0], xtol=1e-15, gtol=1e-15).x
    found = banach.loads(GAUSS_NEWTON).compile(to=backend).run()
    np.testing.assert_allclose(found["p"], wanted, rtol=1e-8)
    p = np.ones(2)
    for _ in range(200):
        e = np.exp(-p[1] * t)
        p = p - 0.05 * np.stack([e, -p[0] * t * e]) @ (p[0] * e - y)
    np.testing.assert_allclose(found["flow"], p, rtol=1e-10)


PINN = """
banach: 1
precision: float64
sizes: {batch: any, h: 6}
inputs: {t: "real[batch]"}
parameters:
  W: {type: "real[h]", init: "normal(0, 1)", seed: 1, trainable: true}
  b: {type: "real[h]", init: "normal(0, 1)", seed: 2, trainable: true}
  c: {type: "real[h]", init: "normal(0, 0.5)", seed: 3, trainable: true}
operators:
  y(t): 1 + t * dot(c, tanh(W * t + b))
outputs: {y: y(t)}
train:
  loss: (grad(y)(t) + y(t))**2
  data:
    t: [0.0, 0.25, 0.5, 0.75, 1.0]
  method: METHOD
  steps: 2000
"""
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_the_derivative_in_an_input_stands_inside_a_loss(backend: str) -> None:
    """The loss in closed form, and its slope in the weights by differences."""
    step = banach.loads(PINN.replace("METHOD", "sgd(1)")).train_step()
    weights = {p.name: p.default.array for p in step.graph.inputs if p.default is not None}
    found = step.compile(to=backend).run(step.batch(0))

    def loss(W: np.ndarray) -> float:
        b, c = weights["b"], weights["c"]
        a = np.tanh(np.outer(TIMES, W) + b)
        y, dy = 1 + TIMES * (a @ c), a @ c + TIMES * ((1 - a**2) * W @ c)
        return float(np.mean((dy + y) ** 2))

    np.testing.assert_allclose(found["loss"], loss(weights["W"]), rtol=1e-12)
    slope = weights["W"] - found["W'"]
    np.testing.assert_allclose(slope, slopes(loss, weights["W"]), rtol=1e-6, atol=1e-9)


def test_a_network_learns_a_differential_equation(tmp_path: Path) -> None:
    """y' = -y with y(0) = 1, from the equation alone: y is the exponential."""
    model = banach.loads(PINN.replace("METHOD", "adam(0.02)"))
    assert model.train(tmp_path, to="fx").ok
    model = banach.loads(PINN.replace("METHOD", "adam(0.02)"), weights=tmp_path / WEIGHTS)
    found = model.compile(to="onnx").run(t=TIMES)["y"]
    np.testing.assert_allclose(found, np.exp(-TIMES), atol=5e-3)


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("grad(h)(x, u)", "it is not said which one"),
        ("grad(h, wrt=z)(x, u)", "`wrt` names an argument of the map"),
        ("grad(q, wrt=z)(x)", "`wrt` names an argument of the map"),
        ("grad(F)(x)", "a gradient is of a map to numbers"),
        ("jvp(G, x)(v)", "a map of 2 arguments is derived at 2 of them"),
        ("jvp(G, x, u)(v)", "this derivative takes 2 arguments, not 1"),
        ("jvp(F, x)(w)", "this direction is"),
        ("vjp(F, x)(v)", "this direction is"),
        ("jvp(F, f)(v)", "a tensor or a number is wanted here"),
        ("jacobian(x)(x)", "a map is wanted here"),
        ("jvp(F, floor)(v)", "a tensor or a number is wanted here"),
        ("grad(f, of=x)(x)", "is called as `grad(f, wrt=x)`"),
        ("jacobian(picked, wrt=i)(x, count)", "only reals have derivatives"),
    ],
)
def test_a_derivative_that_cannot_be(formula: str, words: str) -> None:
    head = HEAD.replace("{A:", '{count: "int[2]", A:')
    text = head + f"  picked(x, i): take(x, i)\noutputs:\n  y: {formula}\n"
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text).compile(to="oracle")
    assert any(words in d.message and d.fix for d in refusal.value.diagnostics), refusal.value


def test_an_argument_that_is_no_real_stands_still() -> None:
    text = (
        HEAD.replace("{A:", '{count: "int[2]", A:')
        + """  picked(x, i): take(x**2, i)
outputs:
  y: vjp(picked, x, count, wrt=x)(w)
"""
    )
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(text).compile(to=backend).run(count=[2, 0], **INPUTS)["y"]
        np.testing.assert_allclose(found, 2 * X * np.array([W[1], 0, W[0]]), err_msg=backend)


@pytest.mark.parametrize(
    ("map", "wanted"),
    [
        ("jvp(F, x)", True),
        ("adjoint(jvp(compose(q, I), x))", None),  # from numbers, not from the unknown's type
        ("jvp(F, x) + jvp(F, v)", True),
        ("hvp(f, x)", True),
        ("shifted", None),
        ("grad(f)", None),
        ("jacobian(f)", None),
    ],
)
def test_what_is_known_to_be_linear(map: str, wanted: bool | None) -> None:
    text = HEAD + f"  shifted(v): jvp(F, x)(v) + 1\n  L: {map}\noutputs: {{x: x}}\n"
    made = banach.loads(text).elaborated
    about = nested.context(made.scope).about(TensorType("float64", (3,)))
    try:
        found = constants.linear(made.names.find("L"), about, None)
    except banach.SpecError:
        found = None
    assert found is wanted


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        ("jvp(half, x)(x) + b", "proved"),  # D[half](x) x = A x / 2, and ‖A‖ < 2
        ("jvp(half, b)(x) + b", "proved"),
        ("vjp(half, x)(x) + b", "proved"),
        ("jacobian(half)(x) @ b", None),  # constant in x, as a matrix that is made in the step
        ("4 * jvp(half, x)(x) + b", "refuted"),  # 2 A has eigenvalues of size 1.17
        ("jvp(bent, x)(x)", "unknown"),  # 3 x³ by the derivative of x³: no contraction
        ("jvp(bent, x)(b)", "unknown"),
        ("x - grad(energy)(x)", "unknown"),
        ("x - 0.1 * hvp(energy, x)(x)", "unknown"),
    ],
)
def test_no_verdict_rests_on_a_derivative_that_is_not_bounded(update: str, verdict: str | None) -> None:
    text = f"""
banach: 1
precision: float64
inputs: {{b: "real[2]"}}
parameters:
  A: [[0.5, -0.3], [0.3, 0.5]]
operators:
  half(x): A @ x / 2
  bent(x): x**3
  energy(x): sum(x**4)
solve:
  x:
    state: {{x: zeros(2)}}
    next:
      x: {update}
    stop: {{residual: norm(x' - x) <= 1e-10, most: 200}}
outputs: {{x: x}}
"""
    found = banach.loads(text).check().certificates["x"]
    assert verdict is None or found.verdict == verdict
    if found.verdict == "proved":
        result = banach.loads(text).compile(to="onnx").run(b=[1.0, -2.0])
        assert result["x.status"] == 0 and result["x.iterations"] <= (found.iterations or 200)
        assert 0.291 < found.upper_factor < 0.3 or "jacobian" in update  # ‖A‖/2 = √0.34 / 2
