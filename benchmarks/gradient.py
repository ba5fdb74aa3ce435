"""The gradient through a fixed point of some 400 iterations with a state of 4 MB: time and memory.

Memory is the peak of the process beyond what the forward run needs, in states; each run has its own process.
"""

import resource
import subprocess
import sys
import time

import numpy as np
from race import options

STATE = 1 << 20  # entries of float32: 4 MB
SPEC = f"""
banach: 1
sizes: {{n: {STATE}}}
inputs:
  b: real[n]
  w: real[n]
operators:
  F(z, b): 0.966 * z + 0.01 * tanh(z) + b
solve:
  z:
    method: picard(F(_, b))
    start: zeros(n)
    stop: {{residual: 1e-6, most: 1000}}
outputs: {{loss: "dot(w, z)"}}
"""


def measure(to: str, backward: bool) -> None:
    """Prints the peak in bytes, the seconds of the faster of two runs, and the iterations."""
    import torch

    import banach

    model = banach.loads(SPEC)
    artifact = (model.reverse("loss", ["b"]) if backward else model).compile(to=to)
    random = np.random.default_rng(0)
    given = {
        "b": 0.02 + 0.01 * random.random(STATE, np.float32),
        "w": random.random(STATE, np.float32),
    }
    if backward:
        given["d.loss"] = np.ones((), np.float32)
    torch.set_num_threads(2)
    best = float("inf")
    for _ in range(2):
        begun = time.perf_counter()
        artifact.run(given)
        best = min(best, time.perf_counter() - begun)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, best)


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "measure":
        measure(sys.argv[2], sys.argv[3] == "backward")
        return
    options(__doc__)
    import banach

    found = (
        banach.loads(SPEC).compile().run(b=np.full(STATE, 0.025, np.float32), w=np.ones(STATE, np.float32))
    )
    print(f"Gradient through a fixed point, state of 4 MB, {int(found['z.iterations'])} iterations")
    for to in ("onnx", "fx"):
        figures = {}
        for way in ("forward", "backward"):
            command = [sys.executable, __file__, "measure", to, way]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            figures[way] = float(said[0]), float(said[1])
        states = (figures["backward"][0] - figures["forward"][0]) / (4 * STATE)
        # The derivative's graph holds the forward solve, whose result it needs.
        times = (figures["backward"][1] - figures["forward"][1]) / figures["forward"][1]
        print(f"  {to:5} backward over forward: {states:+.1f} states, {times:.2f} x its time")
        for told, value, most in (("states", states, 3), ("time", times, 2)):
            print(
                f"  goal: {to}, {told} at most {most}: {value:.2f}, {'met' if value <= most else 'NOT met'}"
            )


if __name__ == "__main__":
    main()
