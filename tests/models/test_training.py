"""Training: the step graph on every backend, torch's own steps, checkpoints, trained weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import root
from sklearn.datasets import load_digits, load_iris

import banach
from banach.compiler.training import CHECKPOINT, WEIGHTS, backend_of, order

MLP = """banach: 1
name: iris
doc: A network with one hidden layer, by cross entropy.
sizes: {batch: any, p: 4, h: 8, classes: 3}
inputs: {x: "real[batch, p]"}
parameters:
  W: {type: "real[h, p]", init: "normal(0, 0.5)", seed: 1, trainable: true}
  b: {type: "real[h]", init: constant(0), trainable: true}
  V: {type: "real[classes, h]", init: "normal(0, 0.5)", seed: 2, trainable: true}
  lr: 0.02
operators:
  net(u): V @ tanh(W @ u + b)
outputs: {scores: net(x)}
train:
  loss: -take(log_softmax(net(x)), y)
  data:
    x: x.npy
    y: {file: y.csv, columns: kind, type: int}
    batch: 32
    shuffle: 5
  method: adam(lr)
  steps: 50
"""

DEQ = """banach: 1
name: equilibrium
doc: A deep equilibrium layer under a linear one; its gradient is that of the fixed point.
sizes: {batch: any, p: 16, h: 6}
inputs: {x: "real[batch, p]"}
parameters:
  W: {type: "real[h, h]", init: "normal(0, 0.1)", seed: 7, trainable: true}
  U: {type: "real[h, p]", init: "normal(0, 0.3)", seed: 8, trainable: true}
  b: {type: "real[h]", init: constant(0), trainable: true}
  c: {type: "real[h]", init: "normal(0, 0.5)", seed: 9, trainable: true}
operators:
  F(z, u): tanh(W @ z + U @ u + b)
solve:
  z:
    method: picard(F(_, x))
    start: zeros(h)
    stop: {residual: 1e-6, most: 300}
outputs: {digit: "dot(c, z)", z: z}
train:
  loss: (dot(c, z) - y)**2
  data: {x: x.npy, y: y.npy, batch: 16, shuffle: 3}
  method: adam(0.01)
  steps: 50
require: {z: converges}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec of the network and its data."""
    made = tmp_path_factory.mktemp("iris")
    x, y = load_iris(return_X_y=True)
    np.save(made / "x.npy", ((x - x.mean(0)) / x.std(0)).astype(np.float32))
    (made / "y.csv").write_text("kind\n" + "\n".join(map(str, y)) + "\n")
    (made / "iris.yaml").write_text(MLP)
    return made


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec of the equilibrium layer, and small digits."""
    made = tmp_path_factory.mktemp("digits")
    pictures, digits = load_digits(return_X_y=True)
    small = pictures[:96].reshape(96, 4, 2, 4, 2).mean((2, 4)).reshape(96, 16) / 16
    np.save(made / "x.npy", small.astype(np.float32))
    np.save(made / "y.npy", (digits[:96] / 9 - 0.5).astype(np.float32))
    (made / "deq.yaml").write_text(DEQ)
    return made


def curve(step: Any, artifact: Any, count: int) -> list[float]:
    """The losses of some steps, the state carried by hand, as whoever has the file alone would."""
    state: dict[str, np.ndarray] = {}
    losses = []
    for number in range(count):
        found = artifact.run({**state, **step.batch(number)})
        state = {name: found[f"{name}'"] for name in step.step.carried}
        losses.append(float(found["loss"]))
    return losses


# --- the step graph ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["iris", "deq"])
def test_the_backends_give_one_curve(spec: str, folder: Path, layer: Path, banach_command: Any) -> None:
    """Oracle, fx and the file in ONNX Runtime, to 1e-5 over 50 steps; and the loss falls."""
    from banach.backends.onnx.run import load

    path = folder / "iris.yaml" if spec == "iris" else layer / "deq.yaml"
    step = banach.load(path).train_step()
    said = banach_command("compile", path, "--train-step", "-o", path.parent / "step.onnx")
    assert said.code == 0 and "wrote" in said.out, said.err
    artifacts = [step.compile(to="oracle"), step.compile(to="fx"), load(path.parent / "step.onnx")]
    oracle, fx, onnx = (np.array(curve(step, artifact, 50)) for artifact in artifacts)
    np.testing.assert_allclose(fx, oracle, rtol=0, atol=1e-5)
    np.testing.assert_allclose(onnx, oracle, rtol=0, atol=1e-5)
    assert oracle[-10:].mean() < 0.6 * oracle[:10].mean()


def test_the_interface_of_a_step(folder: Path) -> None:
    step = banach.load(folder / "iris.yaml").train_step()
    names = [port.name for port in step.graph.inputs]
    assert names[:4] == ["W", "b", "V", "adam.t"] and names[-2:] == ["x", "y"]
    assert step.graph.output_names[:4] == ("W'", "b'", "V'", "adam.t'")
    assert step.graph.output_names[-1] == "loss"
    assert all((port.default is None) == (port.name in ("x", "y")) for port in step.graph.inputs)


def test_adam_takes_torchs_steps(folder: Path) -> None:
    """The whole step against torch's autograd and Adam, on a network that torch wrote."""
    torch = pytest.importorskip("torch")
    step = banach.load(folder / "iris.yaml").train_step()
    defaults = {p.name: p.default.array for p in step.graph.inputs if p.default is not None}
    W, b, V = (torch.tensor(defaults[name].copy(), requires_grad=True) for name in "WbV")
    optimiser = torch.optim.Adam([W, b, V], lr=0.02)
    for number, loss in enumerate(curve(step, step.compile(to="oracle"), 30)):
        rows = step.batch(number)
        scores = torch.tanh(torch.tensor(rows["x"]) @ W.T + b) @ V.T
        theirs = torch.nn.functional.cross_entropy(scores, torch.tensor(rows["y"]))
        optimiser.zero_grad()
        theirs.backward()
        optimiser.step()
        assert loss == pytest.approx(theirs.item(), rel=1e-4)


def test_the_gradient_through_a_solve_is_that_of_the_fixed_point(layer: Path) -> None:
    """(W - W')/lr by one step of sgd, against finite differences of scipy's roots."""
    text = DEQ.replace("adam(0.01)", "sgd(0.5)").replace("1e-6", "1e-12").replace("deq", "d")
    step = banach.loads(text.replace("name:", "precision: float64\nname:", 1), folder=layer).train_step()
    weights = {p.name: p.default.array for p in step.graph.inputs if p.default is not None}
    found, rows = step.compile(to="oracle").run(step.batch(0)), step.batch(0)

    def loss(W: np.ndarray) -> float:
        def z(x: np.ndarray) -> np.ndarray:
            drive = weights["U"] @ x + weights["b"]
            return root(lambda z: np.tanh(W @ z + drive) - z, np.zeros(6), tol=1e-14).x

        return float(np.mean([(weights["c"] @ z(x) - y) ** 2 for x, y in zip(rows["x"], rows["y"])]))

    assert found["loss"] == pytest.approx(loss(weights["W"]), rel=1e-10)
    slope = (weights["W"] - found["W'"]) / 0.5
    for place in [(0, 0), (2, 3), (5, 1)]:
        move = np.zeros((6, 6))
        move[place] = 1e-5
        difference = (loss(weights["W"] + move) - loss(weights["W"] - move)) / 2e-5
        assert slope[place] == pytest.approx(difference, rel=1e-5, abs=1e-9)


def test_a_parameter_is_an_input_for_derivatives(folder: Path) -> None:
    model = banach.load(folder / "iris.yaml")
    x, d = np.ones((2, 4)), np.ones((2, 3))
    found = model.reverse("scores", wrt=["V", "x"]).compile(to="onnx").run({"x": x, "d.scores": d})
    hidden = np.tanh(x @ model.opened.graph.inputs[1].default.array.T)  # b is 0
    np.testing.assert_allclose(found["d.V"], d.T @ hidden, rtol=1e-5)
    assert found["d.x"].shape == (2, 4)


# --- data --------------------------------------------------------------------------------------------------


def test_every_sample_is_seen_once_in_a_pass(folder: Path) -> None:
    step = banach.load(folder / "iris.yaml").train_step()
    rows = np.concatenate([step.batch(number)["x"] for number in range(75)])  # 75 · 32 = 16 · 150
    data = np.load(folder / "x.npy")
    passes = rows.reshape(16, 150, 4)
    for one in passes:
        np.testing.assert_array_equal(one[np.lexsort(one.T)], data[np.lexsort(data.T)])
    assert not np.array_equal(passes[0], passes[1]) and not np.array_equal(passes[0], data)


def test_the_order_is_written_down() -> None:
    """The bits of Philox are a promise: the same order on every machine, for ever."""
    assert order(5, 8, 0).tolist() == np.argsort(np.random.Philox(key=5).random_raw(8)).tolist()
    assert order(5, 8, 0).tolist() == ORDER
    assert order(None, 4, 3).tolist() == [0, 1, 2, 3]


ORDER = [2, 4, 3, 1, 5, 0, 6, 7]


def test_a_seed_draws_values_and_order_anew(folder: Path) -> None:
    first, again, other = (
        banach.loads(text, folder=folder).train_step()
        for text in (MLP, MLP.replace("steps: 50", "steps: 50\n  seed: 0"), MLP + "  seed: 1\n")
    )
    one, two, three = (curve(step, step.compile(to="oracle"), 3) for step in (first, again, other))
    assert one == two and one != three
    assert not np.array_equal(first.batch(0)["x"], other.batch(0)["x"])


def test_data_may_be_whole() -> None:
    """Without a batch, the loss speaks of everything: least squares by gradient descent."""
    text = """banach: 1
name: line
parameters: {w: {value: 0.0, trainable: true}}
operators: {f(t): w * t}
outputs: {w: w}
train:
  loss: mean((f(t) - s)**2)
  data: {t: [1.0, 2.0, 3.0], s: [2.0, 4.0, 6.0]}
  method: momentum(0.05, decay=0.5)
  steps: 40
"""
    step = banach.loads(text).train_step()
    losses = curve(step, step.compile(to="oracle"), 40)
    assert losses[0] == pytest.approx(56 / 3) and losses[-1] < 1e-6


# --- the run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["fx", "onnx"])
@pytest.mark.parametrize("spec", ["iris", "deq"])
def test_a_resumed_run_is_the_same_run(
    spec: str, backend: str, folder: Path, layer: Path, tmp_path: Path, banach_command: Any
) -> None:
    path = folder / "iris.yaml" if spec == "iris" else layer / "deq.yaml"
    said = banach_command("train", path, "-o", tmp_path / "whole", "--steps", 20, "--backend", backend)
    assert said.code == 0 and "finished after 20 steps" in said.out and not said.err
    banach_command("train", path, "-o", tmp_path / "parts", "--steps", 10, "--every", 4, "--backend", backend)
    half = (tmp_path / "parts" / CHECKPOINT).read_bytes()
    said = banach_command("train", path, "-o", tmp_path / "parts", "--steps", 20, "--resume")
    assert said.code == 0
    for name in (CHECKPOINT, WEIGHTS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert half != (tmp_path / "parts" / CHECKPOINT).read_bytes()
    assert {file.name for file in (tmp_path / "parts").iterdir()} == {CHECKPOINT, WEIGHTS}


def test_trained_weights_are_certified_anew(layer: Path, tmp_path: Path, banach_command: Any) -> None:
    from safetensors.numpy import load_file

    path, out = layer / "deq.yaml", tmp_path / "run"
    assert banach_command("train", path, "-o", out).code == 0
    weights = out / WEIGHTS
    said = banach_command("compile", path, "--weights", weights, "-o", tmp_path / "model.onnx")
    assert said.code == 0, said.err
    assert banach_command("verify", tmp_path / "model.onnx").code == 0
    before, after = (banach.load(path, weights=w).check().certificates["z"] for w in (None, weights))
    trained = load_file(weights)
    assert set(trained) == {"W", "U", "b", "c"}
    norm = np.linalg.norm(trained["W"].astype(float), 2)
    assert norm <= after.upper_factor <= norm * (1 + 1e-5) and after.upper_factor != before.upper_factor
    x = np.load(layer / "x.npy")[:3]
    found = banach.load(path, weights=weights).compile().run(x=x)
    expected = [
        root(lambda z, v=v: np.tanh(trained["W"] @ z + trained["U"] @ v + trained["b"]) - z, np.zeros(6)).x
        for v in x
    ]
    np.testing.assert_allclose(found["z"], expected, atol=1e-5)


def test_a_run_that_blows_up_says_so(folder: Path, tmp_path: Path, banach_command: Any) -> None:
    """NaN ends the run with code 5, and the last good checkpoint stays."""
    text = MLP.replace("adam(lr)", "sgd(1e38)").replace("-take(", "-2 * take(")
    (folder / "wild.yaml").write_text(text)
    said = banach_command("train", folder / "wild.yaml", "-o", tmp_path / "run")
    assert said.code == 5 and "not finite" in said.out
    kept = banach.load(folder / "wild.yaml", weights=tmp_path / "run" / WEIGHTS)
    assert np.all(np.isfinite(kept.compile(to="oracle").run(x=np.ones((1, 4)))["scores"]))


def test_a_run_ends_early(folder: Path, tmp_path: Path) -> None:
    enough = banach.loads(MLP + "  stop: {loss: 0.5}\n", folder=folder)
    found = enough.train(tmp_path / "enough", to="oracle")
    assert found.status == "loss reached" and found.steps < 50
    assert found.losses[-1] <= 0.5 < min(found.losses[:-1])
    assert enough.train(tmp_path / "enough", to="oracle", resume=True).losses == found.losses
    still = banach.loads(MLP.replace("adam(lr)", "sgd(1e-30)") + "  stop: {patience: 7}\n", folder=folder)
    found = still.train(tmp_path / "still", to="oracle")
    assert found.steps - 1 - int(np.argmin(found.losses)) == 7 and found.status == "no better for long"


def test_what_a_folder_may_not_be_used_for(folder: Path, tmp_path: Path, banach_command: Any) -> None:
    path, out = folder / "iris.yaml", tmp_path / "run"
    assert "B723" in banach_command("train", path, "-o", out, "--resume").err
    assert banach_command("train", path, "-o", out, "--steps", 2).code == 0
    assert "B722" in banach_command("train", path, "-o", out, "--steps", 3).err
    (folder / "other.yaml").write_text(MLP.replace("lr: 0.02", "lr: 0.03"))
    said = banach_command("train", folder / "other.yaml", "-o", out, "--resume")
    assert said.code == 2 and "B721" in said.err and "spec" in said.err
    assert "B721" in banach_command("train", path, "-o", out, "--resume", "--backend", "oracle").err
    (out / CHECKPOINT).write_bytes((out / CHECKPOINT).read_bytes()[:-8])
    assert "B724" in banach_command("train", path, "-o", out, "--resume").err
    assert "B705" in banach_command("train", path, "-o", path, "--steps", 2).err
    assert "B347" in banach_command("train", "specs/models/lasso.yaml", "-o", out).err


def test_without_torch_it_runs_on_onnx_runtime(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    model = banach.load(folder / "iris.yaml")
    monkeypatch.setattr("banach.compiler.pipeline.find_spec", lambda name: None)
    model.train(tmp_path, steps=3, watch=lambda step, steps, loss: seen.append((step, steps)))
    assert seen == [(1, 3), (2, 3), (3, 3)] and backend_of(tmp_path) == "onnx"
    monkeypatch.undo()
    model.train(tmp_path, steps=4, resume=True)  # torch or not, it goes on where it began
    assert backend_of(tmp_path) == "onnx"


def test_a_checkpoint_is_written_whole_or_not_at_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = banach.load(folder / "iris.yaml")
    model.train(tmp_path, steps=2, to="oracle")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(banach.RunError, match="B705"):
        model.train(tmp_path, steps=3, to="oracle", resume=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# --- torch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["iris", "deq"])
def test_torch_trains_the_module(spec: str, folder: Path, layer: Path) -> None:
    """torch.optim.Adam on our module, against our Adam on the step graph: 10 steps to 1e-4."""
    torch = pytest.importorskip("torch")
    model = banach.load(folder / "iris.yaml" if spec == "iris" else layer / "deq.yaml")
    module = model.compile(to="fx", trainable=True).module
    assert set(dict(module.named_parameters())) == set(model.elaborated.trainable)
    assert set(module.state_dict()) >= set(model.elaborated.trainable)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02 if spec == "iris" else 0.01)
    step, losses = model.train_step(), []
    for number in range(10):
        rows = {name: torch.tensor(array) for name, array in step.batch(number).items()}
        result = module(rows["x"])[0]
        if spec == "iris":
            loss = torch.nn.functional.cross_entropy(result, rows["y"])
        else:
            loss = torch.mean((result - rows["y"]) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    ours = curve(step, step.compile(to="onnx"), 10)
    np.testing.assert_allclose(losses, ours, rtol=0, atol=1e-4)
    assert losses[-1] < losses[0]


# --- mistakes ----------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[str], str], str, str]] = {
    "an unknown name": (lambda t: t.replace("net(x)), y)", "nett(x)), y)"), "B201", "nett"),
    "an unknown key": (lambda t: t + "  epochs: 3\n", "B131", "epochs"),
    "no steps": (lambda t: t.replace("  steps: 50\n", ""), "B132", "loss"),
    "steps below 1": (lambda t: t.replace("steps: 50", "steps: 0"), "B340", "0"),
    "half a batch": (lambda t: t.replace("batch: 32", "batch: 1.5"), "B340", "1.5"),
    "a negative seed": (lambda t: t + "  seed: -1\n", "B340", "-1"),
    "a wrong stop": (lambda t: t + "  stop: {loss: small}\n", "B340", "small"),
    "nothing trainable": (lambda t: t.replace(", trainable: true", ""), "B341", "-take"),
    "trainable is no truth": (lambda t: t.replace("trainable: true", "trainable: 1", 1), "B133", "1"),
    "a vector for a loss": (lambda t: t.replace("-take(log_softmax(net(x)), y)", "net(x)"), "B342", "net(x)"),
    "a map for a loss": (lambda t: t.replace("-take(log_softmax(net(x)), y)", "net"), "B342", "net"),
    "another length": (lambda t: t.replace("x: x.npy", "x: short.npy"), "B343", "{file: y.csv"),
    "another width": (lambda t: t.replace("x: x.npy", "x: wide.npy"), "B343", "wide.npy"),
    "a batch too large": (lambda t: t.replace("batch: 32", "batch: 151"), "B343", "151"),
    "another batch": (lambda t: t.replace("batch: any", "batch: 31"), "B343", "32"),
    "an input without data": (lambda t: t.replace("    x: x.npy\n", ""), "B343", "y: {"),
    "another size of the same name": (
        lambda t: (
            t.replace("p: 4", "p: 4, q: any")
            .replace('p]"}', 'p]", v: "real[batch, q]", w: "real[batch, q]"}', 1)
            .replace(", y)\n", ", y) + sum(v) * sum(w)\n")
            .replace("    x: x.npy\n", "    x: x.npy\n    v: x.npy\n    w: wide.npy\n")
        ),
        "B343",
        "wide.npy",
    ),
    "a type that is not the file's": (lambda t: t.replace("type: int", 'type: "int[2]"'), "B343", '"int[2]"'),
    "an unused parameter": (lambda t: t.replace("+ b)", ")"), "B344", "b"),
    "unused data": (lambda t: t.replace("    batch: 32", "    w: x.npy\n    batch: 32"), "B344", "x.npy"),
    "an unknown optimiser": (lambda t: t.replace("adam(lr)", "adan(lr)"), "B345", "adan"),
    "an optimiser without numbers": (lambda t: t.replace("adam(lr)", "adam"), "B204", "adam"),
    "a wrong number": (lambda t: t.replace("adam(lr)", "adam(lr, beta=0.5)"), "B204", "0.5"),
    "a rate of 0": (lambda t: t.replace("adam(lr)", "adam(0)"), "B204", "0"),
    "a rate that runs": (lambda t: t.replace("adam(lr)", "adam(x[0])"), "B204", "x[0]"),
    "a file outside": (lambda t: t.replace("x: x.npy", "x: ../x.npy"), "B210", "../x.npy"),
    "a missing file": (lambda t: t.replace("x: x.npy", "x: z.npy"), "B210", "z.npy"),
    "a number for data": (lambda t: t.replace("x: x.npy", "x: 3"), "B133", "3"),
    "a list of words": (lambda t: t.replace("x: x.npy", "x: [a, b]"), "B133", "a"),
    "NaN in the data": (lambda t: t.replace("x: x.npy", "x: nan.npy"), "B211", "nan.npy"),
    "a name twice": (lambda t: t.replace("    y: {", "    W: x.npy\n    y: {"), "B208", "W"),
    "whole numbers to train": (
        lambda t: t.replace('{type: "real[h]", init: constant(0), t', "{file: whole.npy, t"),
        "B133",
        "b",
    ),
}


@pytest.fixture(scope="module")
def faulty(folder: Path) -> Path:
    """The folder, with data that do not fit."""
    x = np.load(folder / "x.npy")
    np.save(folder / "short.npy", x[:-1])
    np.save(folder / "wide.npy", np.hstack([x, x]))
    np.save(folder / "nan.npy", np.where(x > 2, np.nan, x))
    np.save(folder / "whole.npy", np.zeros(8, np.int64))
    np.save(folder.parent / "x.npy", x)
    return folder


@pytest.mark.parametrize("fault", WRONG)
def test_a_mistake_has_its_place(fault: str, faulty: Path) -> None:
    change, code, at = WRONG[fault]
    text = change(MLP)
    assert text != MLP
    with pytest.raises(banach.SpecError) as caught:
        banach.loads(text, folder=faulty)
    found = [d for d in caught.value.diagnostics if d.code.id == code]
    assert found, [str(d) for d in caught.value.diagnostics]
    span = found[0].span
    assert span is not None
    assert text.split("\n")[span.line - 1][span.column - 1 :].startswith(at), (found[0], span)


def test_mistakes_of_model_and_training_are_told_at_once(folder: Path) -> None:
    text = MLP.replace("tanh(W", "tahn(W").replace("steps: 50", "steps: 0")
    with pytest.raises(banach.SpecError) as caught:
        banach.loads(text, folder=folder)
    assert {d.code.id for d in caught.value.diagnostics} == {"B201", "B340"}


def test_weights_that_do_not_fit(folder: Path, banach_command: Any) -> None:
    good = {"W": np.zeros((8, 4)), "b": np.zeros(8), "V": np.zeros((3, 8))}
    assert banach.load(folder / "iris.yaml", weights=good).check().ok
    for wrong in (
        {**good, "W": np.zeros((4, 8))},
        {**good, "b": np.full(8, np.nan)},
        {**good, "lr": np.zeros(())},
        {"W": good["W"], "V": good["V"]},
    ):
        with pytest.raises(banach.SpecError, match="B346"):
            banach.load(folder / "iris.yaml", weights=wrong)
    assert "B724" in banach_command("check", folder / "iris.yaml", "--weights", folder / "x.npy").err


def test_a_module_that_learns_needs_something_to_learn(folder: Path, model_file: Any) -> None:
    with pytest.raises(banach.SpecError, match="B341"):
        banach.load(model_file("deq")).compile(to="fx", trainable=True)
    with pytest.raises(banach.SpecError, match="B607"):
        banach.load(folder / "iris.yaml").compile(trainable=True)
