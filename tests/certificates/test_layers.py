"""Layers of activations: the factor against closed forms and norms in numpy, and what must not be proved."""

import json

import numpy as np
import onnx
import pytest

import banach
from banach.backends.onnx.verifier import verify

SPEC = """
banach: 1
precision: float64
sizes: {{n: {n}}}
inputs: {{b: "real[n]"}}
parameters: {{W: {W}}}
solve:
  z:
    state: {{z: zeros(n)}}
    next: {{z: "{next}"}}
    stop: {{residual: norm(z' - z) <= 1e-9, most: 20000}}
outputs: {{z: z}}
"""
TURN = np.array([[0.5, 4.0, 0.0], [-4.0, 0.5, 2.0], [0.0, -2.0, 0.5]])
BACK = np.array([[-3.0, 1.5, 1.0], [0.5, -2.0, -1.2], [-1.0, 1.0, -2.5]])


def model(W: np.ndarray, next: str) -> banach.Model:
    return banach.loads(SPEC.format(n=len(W), W=json.dumps(W.tolist()), next=next))


def by_layer(W: np.ndarray, next: str) -> float | None:
    found = model(W, next).check().certificates["z"]
    return found.upper_factor if found.theorem == "layer-contraction" and found.verdict == "proved" else None


@pytest.mark.parametrize("word", ["relu", "tanh"])
@pytest.mark.parametrize("a", [0.1, 0.2, 0.25])
def test_a_layer_that_holds_itself_back(word: str, a: float) -> None:
    """1 - (1 - max(μ, 0)) a for the logarithmic norm μ in the largest entry, which is negative here."""
    μ = (np.diag(BACK) + np.abs(BACK).sum(1) - np.abs(np.diag(BACK))).max()
    assert μ < 0 and np.abs(BACK).sum(1).max() > 1 and a <= 1 / (1 - BACK.min())
    found = by_layer(BACK, f"{1 - a} * z + {a} * {word}(W @ z + b)")
    assert found is not None and 1 - a <= found <= 1 - a + 1e-9


def test_too_long_a_step_is_not_proved() -> None:
    assert by_layer(BACK, "0.2 * z + 0.8 * relu(W @ z + b)") is None
    assert by_layer(-BACK, "0.75 * z + 0.25 * relu(W @ z + b)") is None


@pytest.mark.parametrize(
    ("part", "proved"), [(0.1, True), (0.5, True), (0.99, True), (1.0, False), (1.01, False)]
)
def test_the_forward_step_of_a_monotone_network(part: float, proved: bool) -> None:
    """I - W = 0.5 + skew: ‖(1 - a) + a W‖² = (1 - 0.5a)² + a²s², below 1 for a < 1/(0.25 + s²)."""
    s = np.linalg.norm(TURN - 0.5 * np.eye(3), 2)
    a = float(part / (0.25 + s**2))
    for next in (f"relu(z - {a!r} * (z - W @ z - b))", f"relu({1 - a!r} * z + {a!r} * (W @ z + b))"):
        found = by_layer(TURN, next)
        assert (found is not None) == proved
        if found is not None:
            exact = np.sqrt((1 - 0.5 * a) ** 2 + a**2 * s**2)
            assert exact * (1 - 1e-12) <= found <= exact + 1e-6


def test_steep_slopes_and_two_layers_are_not_taken_for_flat_ones() -> None:
    a = 0.1 / 20
    flat, steep = f"relu(z - {a} * (z - W @ z - b))", f"leaky_relu(z - {a} * (z - W @ z - b), slope=1.2)"
    assert by_layer(TURN, flat) is not None
    for next in (steep.replace(", slope=1.2", ""), f"1.1 * {flat}", f"gelu(z - {a} * (z - W @ z - b))"):
        try:
            found = by_layer(TURN, next)
        except banach.SpecError:
            continue
        assert found is None or "leaky" in next
    assert by_layer(TURN, f"relu(tanh(z - {a} * (z - W @ z - b)))") is None


@pytest.fixture(scope="module", params=["weights", "form"])
def sealed(request: pytest.FixtureRequest) -> onnx.ModelProto:
    back = (BACK, "0.75 * z + 0.25 * relu(W @ z + b)")
    W, next = back if request.param == "weights" else (TURN, "relu(z - 0.025 * (z - W @ z - b))")
    return model(W, next).compile(to="onnx").model


def test_the_certificate_is_checked_again_and_the_answer_is_the_fixed_point(sealed: onnx.ModelProto) -> None:
    assert verify(sealed).ok
    b = np.array([0.3, -1.0, 2.0])
    for W, next in ((BACK, "0.75 * z + 0.25 * relu(W @ z + b)"), (TURN, "relu(z - 0.025 * (z - W @ z - b))")):
        z = model(W, next).compile(to="onnx").run(b=b)["z"]
        assert np.abs(z - np.maximum(W @ z + b, 0)).max() <= 1e-5


@pytest.mark.parametrize("change", ["factor", "also", "matrix", "whose", "P"])
def test_a_changed_number_is_found(sealed: onnx.ModelProto, change: str) -> None:
    copy = onnx.load_from_string(sealed.SerializeToString())
    entry = next(e for e in copy.metadata_props if e.key == "banach.certificate")
    document = json.loads(entry.value)
    stated = document["certificates"][0]["derivation"]
    if (change in ("also", "whose")) != (stated["kind"] == "weights") and change in ("also", "whose", "P"):
        pytest.skip("of the other kind")
    match change:
        case "factor":
            stated["factor"] = "1/2"
            document["certificates"][0]["factor"] = 0.5
        case "also":
            stated["also"][0][1][0] = "3"
        case "matrix":
            stated["matrix"][0][0] = "3"
        case "whose":
            stated["also"][0][0] = 7
        case "P":
            stated["P"][0][1] = stated["P"][1][0] = "1"
    entry.value = json.dumps(document)
    assert not verify(copy).ok
