"""Runs that meet NaN or infinity, files that cannot be written, and compilations that are interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import banach

BACKENDS = ("oracle", "onnx", "fx")
GROWS = """\
banach: 1
name: grows
inputs: {c: real}
solve:
  x:
    state: {x: c}
    next: {x: x * x}
    stop: {residual: "norm(x' - x) <= 1e-6", most: 500}
outputs: {x: x}
"""
HALVES = """\
banach: 1
solve:
  x:
    state: {x: 1.0}
    next: {x: x / 2}
    stop: {residual: "norm(x' - x) <= 1e-3", most: 50}
outputs: {x: x}
"""
LEARNS = """\
banach: 1
inputs: {x: "real[2]"}
parameters: {w: {value: 0.5, trainable: true}}
outputs: {y: w * x}
train:
  loss: mean((w * x - y)**2)
  data: {x: [1.0, 2.0], y: [2.0, 4.0]}
  method: sgd(0.1)
  steps: 3
"""
# Relative to its own size, which becomes infinite too.
RELATIVE = GROWS.replace("<= 1e-6", "<= 1e-6 * norm(x)")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("start", [3.0, np.inf, np.nan, -np.inf])
def test_an_iteration_that_runs_away_stops(backend, start):
    result = banach.loads(GROWS).compile(to=backend).run(c=start)
    assert result["x.status"] == 2 and result["x.iterations"] <= 20
    assert not np.isfinite(result["x.residual"]) or not np.isfinite(result["x"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_infinite_residual_and_scale(backend):
    """inf <= 1e-6 · inf is true, and yet nothing has converged."""
    result = banach.loads(RELATIVE).compile(to=backend).run(c=3.0)
    assert result["x.status"] == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree_on_where_it_stops(backend):
    """To within one iteration: a norm may square what overflows, or scale it first."""
    model = banach.loads(GROWS)
    found, expected = model.compile(to=backend).run(c=3.0), model.compile(to="oracle").run(c=3.0)
    assert found["x.status"] == expected["x.status"] == 2
    assert abs(found["x.iterations"] - expected["x.iterations"]) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_command_exits_with_5_and_writes(backend, banach_command, write, tmp_path):
    path = write(GROWS)
    said = banach_command("run", path, "--input", "c=3", "--backend", backend, "-o", tmp_path / "out")
    assert said.code == 5 and "x: diverged" in said.out and "Traceback" not in said.err
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "x.npy", "x.iterations.npy", "x.residual.npy", "x.status.npy",
    }  # fmt: skip
    assert np.load(tmp_path / "out" / "x.status.npy") == 2
    said = banach_command("run", path, "--input", "c=nan", "--backend", backend, "--json")
    document = json.loads(said.out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert said.code == 5 and document["solves"][0]["status"] == "diverged"


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_among_the_inputs(backend, banach_command, model_file, tmp_path):
    x = np.ones((3, 64))
    x[1, 7] = np.nan
    np.save(tmp_path / "x.npy", x)
    words = ("run", model_file("deq"), "--backend", backend, "--input", f"x={tmp_path / 'x.npy'}")
    said = banach_command(*words, "-o", tmp_path / "out")
    assert said.code == 5 and "diverged" in said.out
    assert np.load(tmp_path / "out" / "z.status.npy").tolist() == [0, 2, 0]
    assert np.isfinite(np.load(tmp_path / "out" / "z.npy")[[0, 2]]).all()


def test_an_empty_batch(compiled):
    for backend in BACKENDS:
        result = compiled("deq", backend).run(x=np.zeros((0, 64)))
        assert result["z"].shape == (0, 48) and result["z.status"].shape == (0,)


# --- files that cannot be written -------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_target_that_is_no_file(banach_command, model_file, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    for target in ("/dev/full", tmp_path / "folder.onnx", tmp_path):
        said = banach_command("compile", model_file("lasso"), "-o", target)
        assert said.code == 2 and "B705" in said.err and "Traceback" not in said.err
    (tmp_path / "file").write_text("mine")
    said = banach_command("compile", "--to", "fx", model_file("lasso"), "-o", tmp_path / "file")
    assert said.code == 2 and "Traceback" not in said.err and (tmp_path / "file").read_text() == "mine"
    said = banach_command("run", model_file("lasso"), "--backend", "oracle", "-o", tmp_path / "file")
    assert said.code == 2 and "B705" in said.err and (tmp_path / "file").read_text() == "mine"


WRITING = {
    "model": ("compile {spec} -o {old}", 1),
    "module": ("compile {spec} --to fx -o {folder}", 3),
    "outputs": ("run {spec} --backend oracle -o {folder}", 4),
    "graph": ("graph {spec} -o {old}", 1),
    "training": ("train {net} --backend oracle --steps 1 -o {folder}", 2),
}


@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_is_full(name, banach_command, write, tmp_path, monkeypatch):
    """The last write fails half way: an older file stays whole, and of the new ones there is no trace."""
    command, count = WRITING[name]
    words = {"spec": write(HALVES), "net": write(LEARNS, "net.yaml"), "old": tmp_path / "old"}
    words["folder"] = tmp_path / "new" / "inner"
    words["old"].write_bytes(b"older")
    before, calls, sync = sorted(tmp_path.rglob("*")), [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == count:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    said = banach_command(*command.format(**words).split())
    assert said.code == 2 and "No space left" in said.err and "help: make room" in said.err
    assert len(calls) == count and sorted(tmp_path.rglob("*")) == before
    assert words["old"].read_bytes() == b"older"
    monkeypatch.undo()
    assert banach_command(*command.format(**words).split()).code == 0
    assert sorted(tmp_path.rglob("*")) != before or words["old"].read_bytes() != b"older"


# --- interrupted ------------------------------------------------------------------------------------------

INTERRUPTED = """
import os, sys, time
from banach.compiler.cli import main
step = os.fsync if sys.argv[1] == "fsync" else os.replace
def slow(*words):
    print("now", flush=True)
    time.sleep(30)
setattr(os, sys.argv[1], slow)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_compile_leaves_no_half_file(moment, blow, model_file, tmp_path):
    """Stopped while it writes, or just before the file gets its name: the older file is whole."""
    target = tmp_path / "deq.onnx"
    target.write_bytes(b"older")
    where = str(Path(str(banach.__file__)).parent.parent)
    running = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, moment, "compile", model_file("deq"), "-o", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": where},
    )
    assert running.stdout.readline() == "now\n", running.stderr.read()
    running.send_signal(blow)
    running.wait(timeout=10)
    said = running.stderr.read()
    running.stdout.close()
    running.stderr.close()
    assert running.returncode != 0 and "Traceback" not in said
    assert target.read_bytes() == b"older"
    if blow == signal.SIGINT:
        assert running.returncode == 130 and [f.name for f in tmp_path.iterdir()] == ["deq.onnx"]
    assert not [f for f in tmp_path.iterdir() if f.suffix == ".onnx" and f.name != "deq.onnx"]


def test_compiling_over_a_running_reader(compiled, model_file, tmp_path):
    """The new file takes the name in one step: whoever has the old one open reads the old one to its end."""
    target = tmp_path / "deq.onnx"
    banach.load(model_file("deq")).compile(target)
    content = target.read_bytes()
    with target.open("rb") as file:
        head = file.read(100)
        banach.load(model_file("deq")).compile(target)
        assert head + file.read() == content
    assert target.read_bytes() == content


def test_a_deep_chain_of_definitions(banach_command, write):
    """A thousand definitions, each of the one before: read in the order of need, without Python's stack."""
    lines = ["banach: 1", "parameters:", "  a0: 1"]
    lines += [f"  a{i}: a{i - 1} + 1" for i in range(1, 1000)]
    text = "\n".join([*lines, "outputs: {a: a999}"])
    start = time.monotonic()
    said = banach_command("run", write(text), "--backend", "oracle")
    assert said.code == 0 and "a = 1000" in said.out and time.monotonic() - start < 60
    backwards = "\n".join([*lines[:2], *lines[:1:-1], "outputs: {a: a999}"])
    said = banach_command("run", write(backwards), "--backend", "oracle")
    assert said.code == 0 and "a = 1000" in said.out
