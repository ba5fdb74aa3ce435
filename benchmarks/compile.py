"""What compiling costs: `python benchmarks/compile.py`. CPU time, the least of several runs.

Prints milliseconds for checking and compiling the lasso, and chains of 1,000 and 10,000 operations, stage by
stage, with the exponent by which each stage grows (1: in proportion); then the start of `banach check`
against the imports that it cannot do without.
"""

import gc
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from banach.backends.onnx.lower import lower
from banach.backends.onnx.seal import seal
from banach.compiler.certify import certify
from banach.compiler.elaborate import elaborate
from banach.compiler.optimise import optimise
from banach.compiler.pipeline import Model, load
from banach.compiler.spec import spec
from banach.compiler.text import source
from banach.ir.reverse import reverse

LASSO = Path(__file__).parents[1] / "specs/models/lasso.yaml"
BUDGET = 200.0  # µs per operation over the whole pipeline (DESIGN.md, section 4)
RUNS = 5


def chain(operations: int) -> str:
    """A spec whose graph is one long chain: two operations per definition."""
    lines = [f"  a{i}: tanh(a{i - 1}) * a{max(i - 2, 0)}" for i in range(1, operations // 2 + 1)]
    head = ["banach: 1", "name: chain", "sizes: {n: 8}", "inputs: {x: 'real[n]'}", "operators:", "  a0: x"]
    return "\n".join([*head, *lines, f"outputs: {{y: sum(a{operations // 2})}}", ""])


def stages(text: str) -> dict[str, float]:
    """CPU milliseconds of every stage for a spec's text."""
    found: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        gc.collect()
        begun = time.process_time()
        result = work()
        found[name] = 1000 * (time.process_time() - begun)
        return result

    read = timed("source, spec", lambda: spec(source.parse(text, "chain.yaml")))
    elaborated = timed("elaborate", lambda: elaborate(read))
    timed("certify", lambda: certify(elaborated))
    optimised = timed("optimise", lambda: optimise(elaborated.graph))
    model = timed("lower", lambda: lower(optimised.graph))
    timed("seal", lambda: seal(model, [], {}))
    found["all"] = sum(found.values())
    back = timed("(reverse)", lambda: reverse(elaborated.graph))
    timed("(optimise it)", lambda: optimise(back))
    return found


def least(work: Callable[[], dict[str, float]]) -> dict[str, float]:
    rounds = [work() for _ in range(RUNS)]
    return {name: min(found[name] for found in rounds) for name in rounds[0]}


def lasso() -> dict[str, float]:
    def whole() -> dict[str, float]:
        found: dict[str, float] = {}
        begun = time.process_time()
        model: Model = load(LASSO)
        found["load"] = 1000 * (time.process_time() - begun)
        begun = time.process_time()
        model.check()
        found["certify"] = 1000 * (time.process_time() - begun)
        begun = time.process_time()
        model.optimised()
        found["optimise"] = 1000 * (time.process_time() - begun)
        begun = time.process_time()
        model.compile()
        found["compile"] = 1000 * (time.process_time() - begun)
        return found

    return least(whole)


def cpu(command: list[str]) -> float:
    """CPU seconds of a child process, the least of several."""
    spent = []
    for _ in range(RUNS):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        spent.append(
            after.children_user - before.children_user + after.children_system - before.children_system
        )
    return min(spent)


def main() -> None:
    found = lasso()
    print(f"{'lasso.yaml':16}" + "".join(f"{name:>12}" for name in found))
    print(f"{'ms':16}" + "".join(f"{ms:12.2f}" for ms in found.values()))
    small, large = 1_000, 10_000
    stages(chain(small))  # warm
    few, many = least(lambda: stages(chain(small))), least(lambda: stages(chain(large)))
    print(f"\n{'chain, ms':16}{small:>12,}{large:>12,}{'exponent':>12}{'µs per op':>12}")
    for name, ms in few.items():
        exponent = math.log(max(many[name], 1e-3) / max(ms, 1e-3)) / math.log(large / small)
        print(f"{name:16}{ms:12.1f}{many[name]:12.1f}{exponent:12.2f}{1000 * many[name] / large:12.1f}")
    told = "within" if 1000 * many["all"] / large <= BUDGET else "ABOVE"
    print(f"{told} the budget of {BUDGET:.0f} µs per operation")
    floor = cpu([sys.executable, "-c", "import numpy, pydantic, yaml"])
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "lasso.onnx")
        for words in (["check", str(LASSO)], ["compile", str(LASSO), "-o", target]):
            took = cpu([sys.executable, "-m", "banach.compiler", *words])
            told = f"{took:.2f} s, the imports of numpy, pydantic and yaml {floor:.2f} s"
            print(f"banach {words[0]} lasso.yaml {told}: {took / floor:.2f} times")


if __name__ == "__main__":
    main()
