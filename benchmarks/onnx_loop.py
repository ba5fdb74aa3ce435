"""Time per iteration of x <- soft(W x + c) with a residual check: our ONNX Loop against torch eager.

`python benchmarks/onnx_loop.py [seconds per cell]`. One thread, float32, CPU; each figure is the smallest
of interleaved runs of 1000 iterations, so read the ratios rather than the times.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from banach.backends.onnx.lower import lower
from banach.ir.graph import Builder, Graph
from banach.ir.tensor_type import TensorType

ITERATIONS, THRESHOLD = 1000, 0.01
NEVER = -1.0  # a tolerance that no residual meets: every run makes all iterations

Run = Callable[[], object]


def weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    """W [n, n] of norm 0.9 and c [n]."""
    random = np.random.default_rng(0)
    w = random.standard_normal((n, n))
    return (w / np.linalg.norm(w, 2) * 0.9).astype(np.float32), random.standard_normal(n).astype(np.float32)


def graph(n: int, every: int) -> Graph:
    """The iteration as a solve."""
    w, c = weights(n)
    state, whole = TensorType("float32", (n,)), TensorType("int64")
    inner = Builder("step")
    inner.input("k", whole)
    x = inner.input("x", state)
    u = inner.op("matvec", inner.constant(w), x) + inner.constant(c)
    step = inner.finish({"x": inner.op("soft_threshold", u, inner.scalar(THRESHOLD, "float32"))})
    inner = Builder("residual")
    old, new = inner.input("old", state), inner.input("new", state)
    size = inner.op("norm", new - old, axes=(-1,))
    residual = inner.finish({"size": size, "scale": inner.scalar(1, "float32")})
    build = Builder("loop")
    x, tolerance, most = (
        build.input("x", state),
        build.input("t", TensorType("float32")),
        build.input("m", whole),
    )
    shape = {"states": 1, "solution": 1, "lanes": False, "every": every}
    found = build.emit("fix", [tolerance, most, x], shape, [step, residual])
    return build.finish(dict(zip(["y", "y.iterations", "y.residual", "y.status"], found)))


def onnx_run(n: int, every: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = lower(graph(n, every)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {"x": np.zeros(n, np.float32), "t": np.asarray(NEVER, np.float32), "m": np.asarray(ITERATIONS)}
    return lambda: session.run(None, feed)


def torch_run(n: int, every: int) -> Run:
    w, c = map(torch.from_numpy, weights(n))

    def run() -> None:
        old = x = torch.zeros(n)
        for _ in range(ITERATIONS // every):
            for _ in range(every):
                old = x
                u = w @ x + c
                x = u - u.clamp(-THRESHOLD, THRESHOLD)
            if not (torch.linalg.vector_norm(x - old) > NEVER).item():
                break

    return torch.inference_mode()(run)


def timed(runs: list[Run], seconds: float) -> list[float]:
    """Microseconds per iteration, the smallest of runs that take turns."""
    best = [float("inf")] * len(runs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], (time.perf_counter() - start) / ITERATIONS * 1e6)
    return best


def main() -> None:
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print(f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, {ITERATIONS} iterations")
    print(f"{'n':>5} {'every':>6} {'onnx us':>9} {'torch us':>9} {'onnx/torch':>11}")
    for n in (64, 512):
        for every in (1, 10):
            ours, eager = timed([onnx_run(n, every), torch_run(n, every)], seconds)
            print(f"{n:>5} {every:>6} {ours:>9.2f} {eager:>9.2f} {ours / eager:>11.2f}")


if __name__ == "__main__":
    main()
