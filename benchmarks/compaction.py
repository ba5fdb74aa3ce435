"""Batched solves with and without the samples that have stopped: `python benchmarks/compaction.py`.

z = a (W z) + b with an orthogonal W: a sample needs iterations in proportion to 1/log a. `spread` draws a, so
that some need a few and some a hundred; `equal` gives every sample the same. Times are the least of several.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from banach.compiler.optimisation import Options
from banach.compiler.pipeline import load

RUNS = 5
SPEC = """
banach: 1
sizes: {{n: {n}, batch: any}}
inputs: {{b: "real[batch, n]", a: "real[batch]"}}
parameters: {{W: {{file: W.npy}}}}
solve:
  z:
    state: {{z: zeros(n)}}
    next: {{z: "a * (W @ z) + b"}}
    stop: {{residual: norm(z' - z) <= 1e-4, most: 500}}
outputs: {{z: z}}
"""


def main() -> None:
    random = np.random.default_rng(0)
    print(f"{'n':>5}{'batch':>7}{'':>9}{'mean its':>10}{'most':>6}{'plain ms':>10}{'compact':>9}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as name:
        for n in (64, 256, 512):
            np.save(Path(name) / "W.npy", np.linalg.qr(random.standard_normal((n, n)))[0].astype(np.float32))
            (Path(name) / "m.yaml").write_text(SPEC.format(n=n))
            model = load(Path(name) / "m.yaml")
            made = [model.compile(to="onnx", options=Options(compact=compact)) for compact in (False, True)]
            for batch in (1, 8, 64, 256):
                for kind in ("spread", "equal"):
                    a = random.beta(1, 3, batch) * 0.95 if kind == "spread" else np.full(batch, 0.6)
                    given = {
                        "a": a.astype(np.float32),
                        "b": random.standard_normal((batch, n)).astype(np.float32),
                    }
                    best = [np.inf, np.inf]
                    for _ in range(RUNS):
                        for i, artifact in enumerate(made):
                            begun = time.perf_counter()
                            found = artifact.run(given)
                            best[i] = min(best[i], time.perf_counter() - begun)
                    counts, (plain, compact) = found["z.iterations"], (1e3 * t for t in best)
                    print(
                        f"{n:5}{batch:7}{kind:>9}{counts.mean():10.1f}{counts.max():6}{plain:10.2f}{compact:9.2f}"
                        f"{compact / plain:7.2f}"
                    )


if __name__ == "__main__":
    main()
