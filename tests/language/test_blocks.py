"""Maps whose blocks have parameters of their own, copies of them, and sums of maps."""

from pathlib import Path

import numpy as np
import pytest

import banach
from banach.compiler.training import WEIGHTS

BACKENDS = ["oracle", "onnx", "fx"]
NET = """
banach: 1
precision: float64
sizes: {batch: any, h: 3}
inputs: {x: "real[batch, h]"}
operators:
  layer(z):
    parameters:
      W: {type: "real[h, h]", init: "normal(0, 0.5)", seed: 7, trainable: true}
      b: {type: "real[h]", init: constant(0.1), trainable: true}
    returns: z + tanh(W @ z + b)
  net: repeat(layer, 4)
  other: repeat(layer, 2)
outputs: {y: net(x), z: other(x), single: layer(x)}
"""
X = np.random.default_rng(0).standard_normal((5, 3))


def weights(model: banach.Model) -> dict[str, np.ndarray]:
    graph = model.opened.graph
    return {p.name: p.default.array for p in graph.inputs if p.default is not None}


def by_hand(found: dict[str, np.ndarray], prefixes: list[str], x: np.ndarray) -> np.ndarray:
    for prefix in prefixes:
        x = x + np.tanh(x @ found[f"{prefix}.W"].T + found[f"{prefix}.b"])
    return x


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_copy_has_parameters_of_its_own(backend: str) -> None:
    model = banach.loads(NET)
    found = weights(model)
    assert sorted(found) == sorted(
        f"{prefix}.{name}"
        for prefix in ("layer", *(f"net.{i}" for i in range(4)), "other.0", "other.1")
        for name in ("W", "b")
    )
    matrices = [value.ravel() for name, value in found.items() if name.startswith("net.") and name[-1] == "W"]
    assert len({tuple(matrix) for matrix in matrices}) == 4  # no two copies draw the same numbers
    made = model.compile(to=backend).run(x=X)
    np.testing.assert_allclose(made["y"], by_hand(found, [f"net.{i}" for i in range(4)], X), rtol=1e-12)
    np.testing.assert_allclose(made["z"], by_hand(found, ["other.0", "other.1"], X), rtol=1e-12)
    np.testing.assert_allclose(made["single"], by_hand(found, ["layer"], X), rtol=1e-12)


def test_the_draws_of_a_copy_are_written_down() -> None:
    """Copy i draws by Philox's bits under seed + i·φ mod 2⁶⁴, the first as a parameter of the spec would."""
    found = weights(banach.loads(NET))
    for i in range(4):
        key = (7 + i * 0x9E3779B97F4A7C15) % 2**64
        bits = np.random.Philox(key=key).random_raw(18)
        flat = ((bits >> np.uint64(11)) * 2.0**-53).reshape(2, 9)
        normal = np.sqrt(-2 * np.log1p(-flat[0])) * np.cos(2 * np.pi * flat[1])
        np.testing.assert_array_equal(found[f"net.{i}.W"], (0.5 * normal).reshape(3, 3))


TRAINED = """
banach: 1
precision: float64
sizes: {batch: any, h: 3}
inputs: {x: "real[batch, h]"}
operators:
  layer(z):
    parameters:
      W: {type: "real[h, h]", init: "normal(0, 0.5)", seed: 7, trainable: true}
    returns: tanh(W @ z)
  net: repeat(layer, 2)
outputs: {y: net(x)}
train:
  loss: sum((net(x) - t)**2)
  data:
    x: [[0.5, -1.0, 0.2], [1.0, 0.3, -0.4]]
    t: [[0.1, 0.2, 0.3], [-0.1, 0.0, 0.4]]
  method: sgd(0.5)
  steps: 40
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_of_training_moves_every_copy(backend: str) -> None:
    step = banach.loads(TRAINED).train_step()
    own = {p.name: p.default.array for p in step.graph.inputs if p.default is not None}
    assert [name for name in own if name.startswith("net")] == ["net.0.W", "net.1.W"]
    found, rows = step.compile(to=backend).run(step.batch(0)), step.batch(0)

    def loss(first: np.ndarray, second: np.ndarray) -> float:
        return float(
            np.mean(np.sum((np.tanh(np.tanh(rows["x"] @ first.T) @ second.T) - rows["t"]) ** 2, axis=1))
        )

    assert found["loss"] == pytest.approx(loss(own["net.0.W"], own["net.1.W"]), rel=1e-12)
    for i, name in enumerate(("net.0.W", "net.1.W")):
        slope = (own[name] - found[f"{name}'"]) / 0.5
        for place in ((0, 0), (2, 1)):
            ends = []
            for sign in (1, -1):
                pair = [own["net.0.W"].copy(), own["net.1.W"].copy()]
                pair[i][place] += sign * 1e-6
                ends.append(loss(*pair))
            assert slope[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


def test_trained_copies_are_written_and_read_by_name(tmp_path: Path) -> None:
    model = banach.loads(TRAINED)
    trained = model.train(tmp_path, to="fx")
    assert trained.losses[-1] < 0.5 * trained.losses[0]
    again = banach.loads(TRAINED, weights=tmp_path / WEIGHTS).compile(to="onnx").run(x=X)["y"]
    first, second = (trained.parameters[f"net.{i}.W"] for i in range(2))
    np.testing.assert_allclose(again, np.tanh(np.tanh(X @ first.T) @ second.T), rtol=1e-9)
    with pytest.raises(banach.SpecError, match="no trainable parameter"):
        banach.loads(TRAINED, weights={**trained.parameters, "net.2.W": first})


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_and_copies_of_other_maps(backend: str) -> None:
    text = """
banach: 1
precision: float64
inputs: {x: "real[3]", u: "real[3]"}
parameters:
  A: [[1, 2, 0], [0, 1, 0], [3, 0, 1]]
operators:
  f(x): x**2
  g(x, u): x * u + 1
  layer(z, u):
    parameters:
      W: {type: "real[3, 3]", init: orthogonal, seed: 3}
    returns: W @ z + u
  deep: repeat(compose(layer(_, u), 2 * layer(_, u)), 2)
outputs:
  total: sum(f, A, I, sin_of)(x)
  thrice: repeat(g(_, u), 3)(x)
  squared: repeat(A, 2)(x)
  number: sum(x)
  deep: norm(deep(x))
""".replace("  f(x): x**2", "  f(x): x**2\n  sin_of(x): sin(x)")
    text = text.replace(
        "  deep: repeat(compose(layer(_, u), 2 * layer(_, u)), 2)\n", "  deep: repeat(layer(_, u), 2)\n"
    )
    A, x, u = np.array([[1.0, 2, 0], [0, 1, 0], [3, 0, 1]]), X[0], X[1]
    model = banach.loads(text)
    found = model.compile(to=backend).run(x=x, u=u)
    np.testing.assert_allclose(found["total"], x**2 + A @ x + x + np.sin(x), rtol=1e-12)
    np.testing.assert_allclose(found["thrice"], ((x * u + 1) * u + 1) * u + 1, rtol=1e-12)
    np.testing.assert_allclose(found["squared"], A @ A @ x, rtol=1e-12)
    np.testing.assert_allclose(found["number"], np.sum(x), rtol=1e-12)
    assert np.isfinite(found["deep"])


def test_a_bound_goes_through_every_copy() -> None:
    """Four orthogonal layers after each other keep distances; a fifth factor of 0.9 makes a contraction."""
    text = """
banach: 1
precision: float64
inputs: {c: "real[3]"}
operators:
  turn(z):
    parameters:
      W: {type: "real[3, 3]", init: orthogonal, seed: 5}
    returns: tanh(W @ z)
  net: repeat(turn, 4)
solve:
  z:
    state: {z: zeros(3)}
    next: {z: FACTOR * net(z) + c}
    stop: {residual: norm(z' - z) <= 1e-9, most: 500}
outputs: {z: z}
"""
    proved = banach.loads(text.replace("FACTOR", "0.9")).check().certificates["z"]
    assert proved.verdict == "proved" and 0.9 <= float(proved.upper_factor) < 0.9001
    assert banach.loads(text.replace("FACTOR", "1.1")).check().certificates["z"].verdict == "unknown"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  net: repeat(layer, 0)", "the number of copies is a whole number"),
        ("  net: repeat(layer, 2.5)", "the number of copies is a whole number"),
        ("  net: repeat(layer, 100000)", "the number of copies is a whole number"),
        ("  net: repeat(two, 3)", "what is repeated has one argument"),
        ("  net: chain(repeat(layer, 2), repeat(layer, 2))", "there are two parameters `net.0.W`"),
        ("  net(z): repeat(layer, 2)(z)", "copies with parameters of their own need a name"),
        ("  net: {parameters: {W: 1}, returns: W}", "only a map has parameters of its own"),
        ("  net(z): {parameters: {W: {init: constant(0)}}, returns: W * z}", "an initial value needs a type"),
        ("  net(z): {parameters: {W: {file: ../W.npy}}, returns: W * z}", "outside"),
    ],
)
def test_what_cannot_be_repeated(line: str, words: str, tmp_path: Path) -> None:
    text = NET.replace("  net: repeat(layer, 4)", line + "\n  two(x, y): x + y")
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text, folder=tmp_path).compile(to="oracle")
    assert any(words in d.message and d.fix for d in refusal.value.diagnostics), refusal.value
