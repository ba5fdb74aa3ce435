"""Derivatives that a user gives: used by every derivative, held against differences, named in verdicts."""

from collections.abc import Callable

import numpy as np
import pytest

import banach
from banach.ir.evaluate import evaluate

X = np.array([0.4, -0.7, 1.2])
V = np.array([1.5, 0.25, -0.6])
W = np.array([[0.5, -0.4, 0.2], [0.1, 0.3, -0.6]])
U = np.array([0.8, -1.3])
HEAD = """
banach: 1
precision: PRECISION
inputs: {x: "real[3]", v: "real[3]", u: "real[2]", W: "real[2, 3]"}
operators:
  softplus(x):
    returns: log(1 + exp(x))
    derivative: dx / (1 + exp(-x))
  mixed(x, u):
    where:
      h: tanh(W @ x)
    returns: dot(u, h) + sum(u**2)
    derivative: dot(u, (1 - h**2) * (W @ dx)) + dot(h + 2 * u, du)
  layer(x):
    returns: tanh(W @ x)
    derivative: (1 - tanh(W @ x)**2) * (W @ dx)
"""


def slopes(function: Callable, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The Jacobian by central differences, [*result, *argument]."""
    columns = []
    for i in range(x.size):
        move = np.zeros(x.size)
        move[i] = step
        columns.append((np.asarray(function(x + move)) - np.asarray(function(x - move))) / (2 * step))
    return np.stack(columns, axis=-1)


def mixed(x, u):
    return u @ np.tanh(W @ x) + np.sum(u**2)


S = 1 / (1 + np.exp(-X))
TABLE = [
    ("softplus(x)", np.log1p(np.exp(X))),
    ("jvp(softplus, x)(v)", S * V),
    ("vjp(softplus, x)(v)", S * V),
    ("jacobian(softplus)(x)", np.diag(S)),
    ("grad(sum_of)(x)", S),
    ("hessian(sum_of)(x)", np.diag(S * (1 - S))),
    ("hvp(sum_of, x)(v)", S * (1 - S) * V),
    ("grad(curved)(x)", slopes(lambda x: np.sum(1 / (1 + np.exp(-x)) ** 2), X)),
    ("mixed(x, u)", mixed(X, U)),
    ("grad(mixed, wrt=x)(x, u)", slopes(lambda x: mixed(x, U), X)),
    ("grad(mixed, wrt=u)(x, u)", slopes(lambda u: mixed(X, u), U)),
    ("grad(mixed(_, u))(x)", slopes(lambda x: mixed(x, U), X)),
    ("jvp(mixed, x, u)(v, u)", slopes(lambda x: mixed(x, U), X) @ V + slopes(lambda u: mixed(X, u), U) @ U),
    ("grad(in_weights)(W)", None),
]


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("formula", "wanted"), [pytest.param(f, w, id=f) for f, w in TABLE])
def test_derivatives_by_a_rule_are_those_of_differences(formula, wanted, precision) -> None:
    text = (
        HEAD.replace("PRECISION", precision)
        + f"""  sum_of(x): sum(softplus(x))
  curved(x): sum(grad(sum_of)(x)**2)
  in_weights(W): sum(layer2(x, W)**2)
  layer2(x, W):
    returns: tanh(W @ x)
    derivative: (1 - tanh(W @ x)**2) * (W @ dx + dW @ x)
outputs:
  y: {formula}
"""
    )
    if wanted is None:
        h = np.tanh(W @ X)
        wanted = np.outer(2 * h * (1 - h**2), X)
    rtol = 1e-6 if precision == "float64" else 1e-4
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(text).compile(to=backend).run(x=X, v=V, u=U, W=W)["y"]
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol, err_msg=backend)


def test_what_a_map_reads_besides_its_arguments_has_the_derived_derivative() -> None:
    """`layer` reads W from outside; the rule is about x alone, and the model's derivative in W is right."""
    model = banach.loads(HEAD.replace("PRECISION", "float64") + "outputs:\n  y: sum(layer(x)**2)\n")
    back = model.reverse("y", ["W", "x"])
    h = np.tanh(W @ X)
    for backend in ("oracle", "onnx", "fx"):
        found = back.compile(to=backend).run({"x": X, "v": V, "u": U, "W": W, "d.y": 1.0})
        np.testing.assert_allclose(found["d.W"], np.outer(2 * h * (1 - h**2), X), rtol=1e-12)
        np.testing.assert_allclose(found["d.x"], W.T @ (2 * h * (1 - h**2)), rtol=1e-12)


def test_the_rule_is_what_runs() -> None:
    """log(1 + exp(x)) derived by itself is exp(x)/(1 + exp(x)), which is not finite at 1000; the rule is."""
    text = """
banach: 1
precision: float64
inputs: {x: real}
operators:
  softplus(x):
    returns: max(x, 0) + log(1 + exp(-abs(x)))
    derivative: dx / (1 + exp(-x))
  plain(x): log(1 + exp(x))
outputs:
  told: grad(softplus)(x)
  derived: grad(plain)(x)
"""
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(text).compile(to=backend).run(x=1000.0)
        assert found["told"] == 1 and np.isnan(found["derived"])


def test_every_sample_of_a_batch() -> None:
    text = """
banach: 1
precision: float64
sizes: {batch: any, n: any}
inputs: {x: "real[batch, n]", s: real}
operators:
  F(x, t):
    returns: sin(x * t)
    derivative: cos(x * t) * (t * dx + x * dt)
outputs:
  y: vjp(F, x, s)(x)[0]
  z: vjp(F, x, s)(x)[1]
"""
    x = np.random.default_rng(0).standard_normal((4, 3))
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(text).compile(to=backend).run(x=x, s=0.7)
        np.testing.assert_allclose(found["y"], np.cos(0.7 * x) * 0.7 * x, rtol=1e-12)
        np.testing.assert_allclose(found["z"], np.sum(np.cos(0.7 * x) * x * x, axis=1), rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("sin(x) * dx", "along x[0], the derivative of `F[0]` is given as"),
        ("1.001 * cos(x) * dx", "the derivative of `F[0]` is given as"),
        ("-cos(x) * dx", "the derivative of `F[0]`"),
        ("cos(x) * dx + [0, 0, 0.001] * dx", "along x[2], the derivative of `F[2]` is given as"),
        ("cos(x)", "this is no derivative"),
        ("cos(x) * dx + 0.00001", "this is no derivative"),
        ("cos(x) * dx**2", "this is no derivative"),
        ("cos(x) * abs(dx)", "this is no derivative"),
        ("sum(cos(x) * dx)", "gives float64[3], and its derivative float64"),
        ("cos(x) * dy", "there is nothing called `dy`"),
        ("dx * sqrt(x) / sqrt(x) * cos(x)", "the derivative of `F[0]`"),  # nan where the map is fine
        ("(cos(x) * dx, dx)", "one tensor"),
    ],
)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_rule_that_disagrees_is_refused(rule: str, words: str, precision: str) -> None:
    text = f"""
banach: 1
precision: {precision}
inputs: {{x: "real[3]"}}
operators:
  F(x):
    returns: sin(x)
    derivative: {rule}
outputs: {{y: F(x)}}
"""
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text).compile(to="oracle")
    words = words.replace("float64", precision)
    assert any(words in d.message and d.fix and d.span for d in refusal.value.diagnostics), refusal.value


def test_only_a_map_has_a_derivative() -> None:
    text = "banach: 1\ninputs: {x: real}\noperators:\n  F: {returns: x, derivative: dx}\noutputs: {y: F}\n"
    with pytest.raises(banach.SpecError, match="only a map of arguments has a derivative"):
        banach.loads(text).compile(to="oracle")


def test_a_name_of_the_block_is_no_change() -> None:
    text = """
banach: 1
inputs: {x: real, y: real}
operators:
  F(x, dx):
    returns: x * dx
    derivative: x * dx
outputs: {y: "F(x, y)"}
"""
    with pytest.raises(banach.SpecError, match=r"is the change of `x`"):
        banach.loads(text.replace("{y:", "{z:")).compile(to="oracle")


DESCENT = """
banach: 1
precision: float64
inputs: {b: "real[2]"}
operators:
  f(x):
    returns: sum(x**2) + dot(b, x)
    derivative: RULE
assume:
  c: convex(f)
  L: lipschitz(grad(f)) <= 2
  mu: strong_convexity(f) >= 1
solve:
  x:
    method: gradient_descent(f)
    start: zeros(2)
    step: 0.4
    stop: {residual: 1e-8, most: 200}
outputs: {x: x}
"""


def test_a_verdict_names_the_rules_that_it_trusts() -> None:
    model = banach.loads(DESCENT.replace("RULE", "dot(2 * x + b, dx)"))
    found = model.check().certificates["x"]
    assert found.verdict == "proved" and "the derivative given for f" in found.assumptions
    result = model.compile(to="onnx").run(b=[1.0, -3.0])
    np.testing.assert_allclose(result["x"], [-0.5, 1.5], atol=1e-7)
    # A rule that is right at every point that is drawn, and wrong elsewhere, is trusted by name.
    sly = "dot(2 * x + b, dx) if norm(x) < 100 else 0 * sum(dx)"
    found = banach.loads(DESCENT.replace("RULE", sly)).check().certificates["x"]
    assert found.verdict != "proved" or "the derivative given for f" in found.assumptions
    with pytest.raises(banach.SpecError, match="the derivative of `f`"):
        banach.loads(DESCENT.replace("RULE", "0 * sum(dx)")).compile(to="oracle")


@pytest.mark.parametrize("rule", ["0.5 * cos(x) * dx", None])
def test_facts_are_those_of_the_value(rule: str | None) -> None:
    """A contraction by its values, with and without a rule; what is no contraction stays unknown."""
    block = f"{{returns: 0.5 * sin(x), derivative: '{rule}'}}" if rule else "0.5 * sin(x)"
    for factor, verdict in ((1, "proved"), (3, "unknown")):
        text = f"""
banach: 1
precision: float64
inputs: {{b: "real[2]"}}
operators:
  F(x): {block}
  T(x): {factor} * F(x) + b
solve:
  x:
    method: picard(T)
    start: zeros(2)
    stop: {{residual: 1e-8, most: 100}}
outputs: {{x: x}}
"""
        found = banach.loads(text).check().certificates["x"]
        assert found.verdict == verdict and found.assumptions == ()
        if verdict == "proved":
            assert float(found.upper_factor) == pytest.approx(0.5, rel=1e-6)


def test_a_verified_file_lists_the_rule(tmp_path, banach_command) -> None:
    path = tmp_path / "descent.yaml"
    path.write_text(DESCENT.replace("RULE", "dot(2 * x + b, dx)"))
    assert banach_command("compile", path, "-o", tmp_path / "m.onnx").code == 0
    said = banach_command("verify", tmp_path / "m.onnx")
    assert said.code == 0 and "the derivative given for f" in said.out + said.err


def test_a_wide_graph_means_the_same() -> None:
    from banach.ir.widen import widen

    text = HEAD.replace("PRECISION", "float32") + "outputs:\n  y: jacobian(layer)(x) @ x\n"
    graph = banach.loads(text).graph
    wide = widen(graph)
    given = [{"x": X, "v": V, "u": U, "W": W}[port.name] for port in graph.inputs]
    (narrow,), (exact,) = evaluate(graph, given), evaluate(wide, given)
    assert (str(narrow.dtype), str(exact.dtype)) == ("float32", "float64")
    np.testing.assert_allclose(exact, (1 - np.tanh(W @ X) ** 2) * (W @ X), rtol=1e-14)
    np.testing.assert_allclose(narrow, exact, rtol=1e-5)
