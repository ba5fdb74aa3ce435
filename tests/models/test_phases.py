"""Trainings of several phases, and parameters that follow others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import banach
from banach.compiler.training import CHECKPOINT, WEIGHTS

SPEC = """banach: 1
name: teacher
doc: A linear map that is fitted to data and to its own slow average; then an offset, on other data.
precision: float64
sizes: {batch: any, p: 3}
inputs: {x: "real[batch, p]"}
parameters:
  w: {value: [0.5, -1, 2], trainable: true}
  b: {value: 0.25, trainable: true}
  slow: {follows: w, decay: 0.9}
outputs:
  y: dot(w, x) + b
  average: dot(slow, x)
train:
  - loss: (dot(w, x) - y)**2 + (dot(w, x) - dot(slow, x))**2
    learns: w
    data: {x: x.npy, y: y.npy, batch: 4}
    method: momentum(0.05, 0.9)
    steps: 7
  - loss: (dot(slow, x) + b - z)**2
    learns: [b]
    data: {x: x.npy, z: z.npy, batch: 8}
    method: sgd(0.1)
    steps: 5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("teacher")
    random = np.random.default_rng(0)
    for name, shape in {"x": (8, 3), "y": 8, "z": 8}.items():
        np.save(made / f"{name}.npy", random.standard_normal(shape))
    (made / "teacher.yaml").write_text(SPEC)
    return made


def by_hand(folder: Path, first: int = 7, second: int = 5) -> tuple[dict[str, np.ndarray], list[float]]:
    """The same training in numpy: gradients worked out on paper, `slow` a constant in each step."""
    x, y, z = (np.load(folder / f"{name}.npy") for name in "xyz")
    w, b = np.array([0.5, -1, 2]), 0.25
    slow, speed, losses = w.copy(), np.zeros(3), []
    for step in range(first):
        rows = [(4 * step + i) % 8 for i in range(4)]
        fit, apart = x[rows] @ w - y[rows], x[rows] @ (w - slow)
        losses.append(float(np.mean(fit**2 + apart**2)))
        speed = 0.9 * speed + np.mean(2 * (fit + apart)[:, None] * x[rows], axis=0)
        w = w - 0.05 * speed
        slow = 0.9 * slow + 0.1 * w
    for _ in range(second):
        fit = x @ slow + b - z
        losses.append(float(np.mean(fit**2)))
        b -= 0.1 * float(np.mean(2 * fit))
    return {"w": w, "b": np.asarray(b), "slow": slow}, losses


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_phases_come_one_after_the_other(backend: str, folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    watch: Callable[[int, int, float], None] = lambda step, steps, loss: told.append((step, steps))  # noqa: E731
    found = banach.load(folder / "teacher.yaml").train(tmp_path, to=backend, watch=watch)
    parameters, losses = by_hand(folder)
    assert told == [(k, 12) for k in range(1, 13)] and found.status == "finished"
    np.testing.assert_allclose(found.losses, losses, rtol=1e-10)
    assert found.parameters.keys() == parameters.keys()
    for name, array in parameters.items():
        np.testing.assert_allclose(found.parameters[name], array, rtol=1e-10)


@pytest.mark.parametrize("cut", [3, 7, 9])
def test_a_run_goes_on_bit_for_bit_within_and_between_phases(cut: int, folder: Path, tmp_path: Path) -> None:
    model = banach.load(folder / "teacher.yaml")
    whole = model.train(tmp_path / "whole", to="onnx")
    model.train(tmp_path / "parts", to="onnx", steps=cut)
    parts = model.train(tmp_path / "parts", to="onnx", resume=True)
    assert parts.losses == whole.losses
    for name in (CHECKPOINT, WEIGHTS):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_last_phase_takes_the_steps_that_are_left(folder: Path, tmp_path: Path) -> None:
    found = banach.load(folder / "teacher.yaml").train(tmp_path, to="onnx", steps=20)
    np.testing.assert_allclose(found.losses, by_hand(folder, second=13)[1], rtol=1e-10)


def test_a_phase_may_end_early(folder: Path, tmp_path: Path) -> None:
    losses = by_hand(folder)[1]
    enough = max(losses[:4])  # reached by one of the first steps
    text = SPEC.replace("    steps: 7", f"    steps: 7\n    stop: {{loss: {enough!r}}}")
    first = next(i for i, loss in enumerate(losses) if loss <= enough) + 1
    found = banach.loads(text, folder=folder).train(tmp_path, to="onnx")
    np.testing.assert_allclose(found.losses, by_hand(folder, first=first)[1], rtol=1e-10)


def test_what_was_learnt_is_deployed(folder: Path, tmp_path: Path, banach_command: Any) -> None:
    banach.load(folder / "teacher.yaml").train(tmp_path / "run", to="onnx")
    learnt = banach.load(folder / "teacher.yaml", weights=tmp_path / "run" / WEIGHTS)
    x = np.load(folder / "x.npy")
    found, parameters = learnt.compile().run(x=x), by_hand(folder)[0]
    np.testing.assert_allclose(found["average"], x @ parameters["slow"], rtol=1e-10)
    np.testing.assert_allclose(found["y"], x @ parameters["w"] + parameters["b"], rtol=1e-10)
    before = banach.load(folder / "teacher.yaml").compile().run(x=x)
    np.testing.assert_allclose(before["average"], x @ [0.5, -1, 2], rtol=1e-10)


def test_weights_have_what_no_phase_learns(folder: Path, tmp_path: Path) -> None:
    """Parameters that stand still are weights as well, and so is one that follows them."""
    text = SPEC.split("  - loss: (dot(slow")[0]
    banach.loads(text, folder=folder).train(tmp_path, to="onnx")
    learnt = banach.loads(text, folder=folder, weights=tmp_path / WEIGHTS)
    assert learnt.compile().run(x=np.zeros((1, 3)))["y"] == 0.25


def test_a_checkpoint_of_no_phase_is_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    model = banach.load(folder / "teacher.yaml")
    model.train(tmp_path, to="onnx", steps=3)
    with safe_open(tmp_path / CHECKPOINT, "numpy") as kept:
        note = kept.metadata()
    held = load_file(tmp_path / CHECKPOINT)
    for place in ([-1, 0], [2, 0], [0, 4], [0, -1]):
        save_file(held | {"phase": np.asarray(place)}, tmp_path / CHECKPOINT, note)
        with pytest.raises(banach.RunError, match="B721"):
            model.train(tmp_path, to="onnx", resume=True)


def test_patience_is_of_a_phase(folder: Path, tmp_path: Path) -> None:
    """The losses of another phase are no measure: the second begins above the least of the first."""
    text = SPEC.replace(
        "method: sgd(0.1)\n    steps: 5", "method: sgd(0.1)\n    steps: 5\n    stop: {patience: 2}"
    )
    found = banach.loads(text, folder=folder).train(tmp_path, to="onnx")
    losses = by_hand(folder)[1]
    assert min(losses[:7]) < min(losses[7:]) and found.status == "finished" and found.steps == 12


def test_the_step_of_a_phase_is_a_file(folder: Path, tmp_path: Path, banach_command: Any) -> None:
    from banach.backends.onnx.run import load

    for phase, names in {1: {"w", "momentum.s0.w", "slow"}, 2: {"b"}}.items():
        target = tmp_path / f"{phase}.onnx"
        command = ("compile", folder / "teacher.yaml", "--train-step", "--phase", phase, "-o", target)
        assert banach_command(*command).code == 0
        outputs = set(load(target).outputs)
        assert outputs == {f"{name}'" for name in names} | {"loss"}
    said = banach_command(
        "compile", folder / "teacher.yaml", "--train-step", "--phase", 3, "-o", tmp_path / "x"
    )
    assert said.code == 2 and "phases go from 1 to 2" in said.err
    said = banach_command("compile", folder / "teacher.yaml", "--phase", 2, "-o", tmp_path / "x")
    assert said.code == 2 and "--train-step" in said.err


WRONG = {
    "nobody": ("follows: w,", "follows: v,", "no trainable parameter `v` to follow", "w, b"),
    "itself": ("follows: w,", "follows: slow,", "no trainable parameter `slow` to follow", ""),
    "decay": ("decay: 0.9}", "decay: 1}", "a decay is a number from 0 to below 1", ""),
    "no decay": (", decay: 0.9}", "}", "has a `decay`", "decay: 0.99"),
    "two starts": ("decay: 0.9}", "decay: 0.9, value: 3}", "has no more keys", ""),
    "learns": ("learns: [b]", "learns: [bb]", "no trainable parameter `bb`", "write `b`"),
    "learns form": ("learns: [b]", "learns: {b: 1}", "`learns` is a list", ""),
    "unread": ("learns: w", "learns: [w, b]", "does not depend on the trainable parameter `b`", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes(case: str, folder: Path, tmp_path: Path, banach_command: Any) -> None:
    old, new, message, fix = WRONG[case]
    for name in "xyz":
        (tmp_path / f"{name}.npy").write_bytes((folder / f"{name}.npy").read_bytes())
    assert old in SPEC
    (tmp_path / "spec.yaml").write_text(SPEC.replace(old, new, 1))
    said = banach_command("check", tmp_path / "spec.yaml")
    assert said.code == 2 and message in said.err and fix in said.err, said.err
    assert said.err.count("error[") == 1 and "spec.yaml:" in said.err, said.err


def test_a_list_without_phases_is_told(folder: Path) -> None:
    text = SPEC[: SPEC.index("train:")] + "train: []\n"
    with pytest.raises(banach.SpecError, match="phase"):
        banach.loads(text, folder=folder).check()
