"""Contenders that take turns, and the table of their ratios.

Every benchmark here runs alike: `python benchmarks/NAME.py [--seconds 5] [--threads 2]`. A figure is the
least of interleaved runs in one process: read the ratios, which shared cores disturb less than the times. A
goal stands beside the ratio that it is about, met or not.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from banach.compiler.optimisation import Options

Run = Callable[[], Any]
FAST = Options(reassociate=True, check_every="auto")


@dataclass(frozen=True)
class Contender:
    """A way to do the work. `of` is how many units one run does; `note` is told beside its line."""

    name: str
    run: Run
    of: float = 1
    note: str = ""


@dataclass(frozen=True)
class Goal:
    """`name` is asked to take at most `most` times what `against` takes."""

    name: str
    against: str
    most: float


def options(doc: str) -> argparse.Namespace:
    """The command line, read before anything counts threads."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each table")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(asked.threads)
    return asked


def onnx(artifact: Any, threads: int, **inputs: np.ndarray) -> Run:
    """A run of the compiled file in ONNX Runtime on so many threads, and nothing around it."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 4
    model = artifact.model.SerializeToString()
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    names = list(artifact.outputs)
    given = {name: np.asarray(array) for name, array in inputs.items()}
    return lambda: dict(zip(names, session.run(None, given)))


def fx(artifact: Any, device: str = "cpu", **inputs: np.ndarray) -> Run:
    """A run of the torch module, on tensors that are there already; whole numbers stay on the host."""
    import torch

    given = []
    for port in artifact.inputs:
        array = inputs.get(port.name, None if port.default is None else port.default.array)
        tensor = torch.from_numpy(np.array(array))
        given.append(tensor if tensor.ndim == 0 and not tensor.is_floating_point() else tensor.to(device))
    module, names = artifact.module.to(device), list(artifact.outputs)

    def run() -> dict[str, Any]:
        with torch.no_grad():
            return dict(zip(names, module(*given)))

    return run


def peer(name: str) -> ModuleType | None:
    """Somebody else's package; a line says where it is not installed, or does not start."""
    try:
        return importlib.import_module(name)
    except Exception as fault:
        print(f"  {name} does not take part: {type(fault).__name__}: {str(fault).splitlines()[0]}")
        return None


def compared(
    runs: Mapping[str, Run | None], output: str, exact: np.ndarray, iterations: int | None = None
) -> list[Contender]:
    """The contenders that take part, each with its distance from `exact`, relative to that.

    With `iterations`, a figure is for one of them, and a solve of ours must have made so many: one that
    stopped early would be flattered. Without, the note tells how many there were.
    """
    field = []
    for name, run in runs.items():
        if run is None:
            continue
        found, note = run(), ""
        if isinstance(found, dict):
            made = found.get(f"{output}.iterations")
            if iterations is not None and made != iterations:
                raise RuntimeError(f"{name} made {made} iterations for {iterations}")
            note = f", {int(made)} iterations" if made is not None and iterations is None else ""
            found = found[output]
        found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
        off = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        field.append(Contender(name, run, iterations or 1, f"off by {off:.0e}{note}"))
    return field


def race(
    title: str,
    contenders: Iterable[Contender],
    seconds: float,
    goals: Iterable[Goal] = (),
    unit: str = "ms",
) -> dict[str, float]:
    """Seconds per unit of work by name, printed with ratios to the first. Everybody is run once before."""
    field = list(contenders)
    for contender in field:
        contender.run()
    best = dict.fromkeys([contender.name for contender in field], float("inf"))
    end = time.perf_counter() + seconds
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        for contender in field:
            begun = time.perf_counter()
            contender.run()
            spent = (time.perf_counter() - begun) / contender.of
            best[contender.name] = min(best[contender.name], spent)
        rounds += 1
    scale = {"s": 1, "ms": 1e3, "us": 1e6}[unit]
    first = field[0].name
    print(f"{title} ({rounds} rounds)")
    for contender in field:
        spent = best[contender.name]
        line = f"  {contender.name:44}{spent * scale:11.3f} {unit} {spent / best[first]:8.2f} x"
        print(f"{line}  {contender.note}".rstrip())
    for goal in goals:
        if goal.name in best and goal.against in best:
            ratio = best[goal.name] / best[goal.against]
            met = "met" if ratio <= goal.most else "NOT met"
            print(f"  goal: {goal.name} / {goal.against} at most {goal.most:.3g}: {ratio:.3g}, {met}")
    sys.stdout.flush()
    return best
