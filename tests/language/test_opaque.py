"""Maps of which only declared facts are known: they run as they are, and verdicts say what they trust."""

import numpy as np
import pytest

import banach

HEAD = """
banach: 1
precision: float64
inputs: {b: "real[3]"}
parameters:
  W: [[0.5, -0.4, 0.2], [0.1, 0.3, -0.6], [-0.2, 0.4, 0.1]]
operators:
  net(x): tanh(W @ x)
  f(x): sum(x**2) + sum(log(1 + exp(x)))
  A(x): 2 * x + roll(x, shift=1) / 2 + roll(x, shift=-1) / 2
  G: opaque(FACTS)
"""
SOLVE = """solve:
  x:
    METHOD
    stop: {residual: 1e-8, most: 300}
outputs: {x: x}
"""
W = np.array([[0.5, -0.4, 0.2], [0.1, 0.3, -0.6], [-0.2, 0.4, 0.1]])
B = np.array([1.0, -2.0, 0.5])


def text(facts: str, method: str) -> str:
    start = "" if "state" in method else "\n    start: zeros(3)"
    body = HEAD.replace("FACTS", facts) + SOLVE.replace("METHOD", method + start)
    return body.replace("residual: 1e-8", "residual: norm(x' - x) <= 1e-8") if "state" in method else body


OWN = "state: {x: zeros(3)}\n    next:\n      x: NEXT"
TRUSTED = [
    ("net, lipschitz=0.9", "method: picard(G)", "lipschitz(opaque(net)) <= 0.9"),
    ("net, lipschitz=0.9", OWN.replace("NEXT", "G(x) + b"), "lipschitz(opaque(net)) <= 0.9"),
    ("net, lipschitz=0.9", OWN.replace("NEXT", "x / 4 + 0.8 * G(x) + b"), "lipschitz(opaque(net)) <= 0.9"),
    ("net, lipschitz=0.9", OWN.replace("NEXT", "G(G(x) + b)"), "lipschitz(opaque(net)) <= 0.9"),
    (
        "f, convex=true, smoothness=2.25, strong_convexity=2",
        "method: gradient_descent(G)\n    step: 0.4",
        "smoothness(opaque(f)) <= 2.25",
    ),
    (
        "A, linear=true, symmetric=true, spectrum=(1, 3), lipschitz=3",
        "method: cg(G, b)",
        "spectrum(opaque(A)) in [1, 3]",
    ),
]


@pytest.mark.parametrize(("facts", "method", "trusts"), TRUSTED)
def test_a_verdict_says_what_it_trusts(facts: str, method: str, trusts: str) -> None:
    model = banach.loads(text(facts, method))
    found = model.check().certificates["x"]
    assert found.verdict == "proved" and trusts in found.assumptions
    results = [model.compile(to=backend).run(b=B)["x"] for backend in ("oracle", "onnx", "fx")]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-9, atol=1e-12)


def test_it_runs_and_is_derived_as_what_is_inside() -> None:
    spec = HEAD.replace("FACTS", "net, lipschitz=0.9") + "outputs:\n  y: G(b)\n  d: jacobian(G)(b)\n"
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(spec).compile(to=backend).run(b=B)
        np.testing.assert_allclose(found["y"], np.tanh(W @ B), rtol=1e-12)
        np.testing.assert_allclose(found["d"], (1 - np.tanh(W @ B) ** 2)[:, None] * W, rtol=1e-12)


def test_a_batch_of_it() -> None:
    spec = HEAD.replace('b: "real[3]"', 'b: "real[batch, 3]"').replace(
        "inputs:", "sizes: {batch: any}\ninputs:"
    )
    spec = spec.replace("FACTS", "net, lipschitz=0.9") + "outputs:\n  y: G(b)\n"
    rows = np.random.default_rng(0).standard_normal((5, 3))
    for backend in ("oracle", "onnx", "fx"):
        found = banach.loads(spec).compile(to=backend).run(b=rows)["y"]
        np.testing.assert_allclose(found, np.tanh(rows @ W.T), rtol=1e-12)


@pytest.mark.parametrize(
    ("facts", "method"),
    [
        ("net", "method: picard(G)"),  # the inside would do, and is not looked into
        ("net", OWN.replace("NEXT", "G(x) + b")),
        ("net, linear=false", "method: picard(G)"),
        ("net, lipschitz=0.9", OWN.replace("NEXT", "2 * G(x) + b")),  # 1.8
        ("net, lipschitz=0.9", OWN.replace("NEXT", "x / 4 + G(x)")),  # 1.15
        ("net, lipschitz=1.1", "method: picard(G)"),
        ("net, lipschitz=0.9", OWN.replace("NEXT", "x - 0.1 * vjp(G, x)(x)")),  # says nothing of derivatives
        ("net, lipschitz=0.9", OWN.replace("NEXT", "jacobian(G)(x) @ x")),
        ("f, convex=true, smoothness=3", "method: gradient_descent(G)\n    step: 0.7"),
        ("f, smoothness=3", "method: gradient_descent(G)\n    step: 0.4"),
    ],
)
def test_what_is_not_declared_is_not_known(facts: str, method: str) -> None:
    if "false" in facts:
        with pytest.raises(banach.SpecError, match="declared as true"):
            banach.loads(text(facts, method)).check()
        return
    found = banach.loads(text(facts, method)).check().certificates["x"]
    assert found.verdict == "unknown"


def test_what_moves_with_the_argument_is_not_bounded() -> None:
    """The declared constant is that of x ↦ net2(u, x) for one u; here u moves too."""
    spec = text("net, lipschitz=0.9", OWN.replace("NEXT", "moved(x)")).replace(
        "  G: opaque",
        "  net2(u, x): tanh(W @ x) * u\n  moved(x): opaque(net2(x, _), lipschitz=0.5)(x)\n  G: opaque",
    )
    assert banach.loads(spec).check().certificates["x"].verdict == "unknown"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("net, lipschitz=0.1", "‖F(x) - F(y)‖/‖x - y‖"),
        ("net, smallest_singular=0.8", "‖F(x) - F(y)‖/‖x - y‖"),
        ("net, linear=true", "F(2x) - 2F(x)"),
        ("net, symmetric=true", "⟨x, F(y)⟩"),
        ("A, spectrum=(1, 2)", "⟨x, F(x)⟩/‖x‖²"),
        ("f, smoothness=1", "curvature"),
        ("f, strong_convexity=4", "curvature"),
        ("h, convex=true", "curvature"),
    ],
)
def test_a_declaration_that_fails_where_it_is_tried(facts: str, words: str) -> None:
    spec = HEAD.replace("FACTS", facts).replace("  G:", "  h(x): -sum(x**2)\n  G:")
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(spec + "outputs:\n  y: G(b)\n").compile(to="oracle")
    assert any(words in d.message and d.code.id == "B330" for d in refusal.value.diagnostics), refusal.value


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("net, lipschitz=-1", "a number from 0 on"),
        ("net, lipschitz=W", "a number from 0 on"),
        ("net, spectrum=3", "declared by two numbers"),
        ("net, contractive=true", "is called as `opaque(F, lipschitz=0.9, ...)`"),
        ("two, lipschitz=1", "an opaque map has one argument"),
        ("b, lipschitz=1", "a map is wanted here"),
    ],
)
def test_what_cannot_be_declared(facts: str, words: str) -> None:
    spec = HEAD.replace("FACTS", facts).replace("  G:", "  two(x, y): x + y\n  G:")
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(spec + "outputs:\n  y: G(b)\n").compile(to="oracle")
    assert any(words in d.message and d.fix for d in refusal.value.diagnostics), refusal.value


def test_a_verified_file_lists_what_was_declared(tmp_path, banach_command) -> None:
    (tmp_path / "spec.yaml").write_text(text("net, lipschitz=0.9", OWN.replace("NEXT", "0.9 * G(x) + b")))
    assert banach_command("compile", tmp_path / "spec.yaml", "-o", tmp_path / "m.onnx").code == 0
    said = banach_command("verify", tmp_path / "m.onnx")
    assert said.code == 0 and "lipschitz(opaque(net)) <= 0.9" in said.out + said.err
