"""Ten thousand runs of one session, with batches of many sizes: their memory stays what it was."""

import os
from pathlib import Path

import numpy as np
import pytest

import banach

DEQ = """\
banach: 1
sizes: {batch: any, n: 32}
inputs: {x: "real[batch, n]"}
parameters:
  W: {type: "real[n, n]", init: "normal(0, 0.07)", seed: 7}
operators:
  F(z, u): tanh(W @ z + u)
solve:
  z: {method: "picard(F(_, x))", start: zeros(n), stop: {residual: 1e-5, most: 500}}
outputs: {z: z}
"""


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_stays_flat() -> None:
    artifact = banach.loads(DEQ).compile()
    random = np.random.default_rng(0)
    batches = [random.standard_normal((int(size), 32)).astype(np.float32) for size in range(1, 65)]
    expected = {len(x): artifact.run(x=x)["z"] for x in batches}
    seen = []
    for turn in range(10_000):
        x = batches[int(random.integers(len(batches)))]
        found = artifact.run(x=x)
        if turn % 1000 == 999:
            np.testing.assert_array_equal(found["z"], expected[len(x)])
            seen.append(resident())
    assert max(seen[2:]) - seen[1] <= 2**21, [size / 2**20 for size in seen]
