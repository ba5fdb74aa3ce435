"""Layers of activations: the factor against closed forms and norms in numpy, and what must not be proved."""

import json

import numpy as np
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


@pytest.mark.parametrize(
    "next",
    [
        "1.1 * relu({step})",
        "leaky_relu({step}, leak=1.2)",
        "gelu({step})",  # its slopes reach 1.129
        "relu(tanh({step}))",  # two layers
    ],
)
def test_steep_slopes_and_two_layers_are_not_taken_for_flat_ones(next: str) -> None:
    step = "z - 0.025 * (z - W @ z - b)"
    assert by_layer(TURN, f"relu({step})") is not None
    assert by_layer(TURN, next.format(step=step)) is None


BACKWARD = (BACK, "0.75 * z + 0.25 * relu(W @ z + b)")
FORWARD = (TURN, "relu(z - 0.025 * (z - W @ z - b))")


@pytest.mark.parametrize(("W", "next"), [BACKWARD, FORWARD])
def test_the_certificate_is_checked_again_and_the_answer_is_the_fixed_point(W: np.ndarray, next: str) -> None:
    artifact = model(W, next).compile(to="onnx")
    assert verify(artifact.model).ok
    b = np.array([0.3, -1.0, 2.0])
    z = artifact.run(b=b)["z"]
    assert np.abs(z - np.maximum(W @ z + b, 0)).max() <= 1e-5


def _factor(stated: dict, certificate: dict) -> None:
    stated["factor"] = "1/2"
    certificate["factor"] = certificate["claim"]["factor"] = 0.5


def _off_diagonal(stated: dict, certificate: dict) -> None:
    """A form that is no diagonal one, and falls all the same: slopes need not shorten it."""
    stated["P"][0][1] = stated["P"][1][0] = "1"


CHANGES = [
    (BACKWARD, _factor),
    (BACKWARD, lambda stated, _: stated["also"][0][1].__setitem__(0, "3")),
    (BACKWARD, lambda stated, _: stated["also"][0].__setitem__(0, 7)),
    (BACKWARD, lambda stated, _: stated["matrix"][0].__setitem__(0, "3")),
    (FORWARD, _factor),
    (FORWARD, _off_diagonal),
    (FORWARD, lambda stated, _: stated["matrix"][0].__setitem__(0, "3")),
]


@pytest.mark.parametrize(("of", "change"), CHANGES)
def test_a_changed_number_is_found(of: tuple[np.ndarray, str], change: object) -> None:
    sealed = model(*of).compile(to="onnx").model
    entry = next(e for e in sealed.metadata_props if e.key == "banach.certificate")
    document = json.loads(entry.value)
    (certificate,) = document["certificates"]
    change(certificate["derivation"], certificate)  # type: ignore[operator]
    entry.value = json.dumps(document)
    assert not verify(sealed).ok
