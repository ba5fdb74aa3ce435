"""Every benchmark, each in a process of its own: `make bench`, or this with --seconds and --threads.

Peers take part where they are installed; `pip install "banach[bench]"` brings those that are small.
"""

import subprocess
import sys
from pathlib import Path

NAMES = (
    "onnx_loop",
    "check",
    "compaction",
    "deblur",
    "tv",
    "lasso",
    "deq",
    "fno",
    "direct",
    "gradient",
    "compile",
    "gpu",
)


def main() -> None:
    for name in NAMES:
        print(f"\n## {name}", flush=True)
        given = [] if name in ("onnx_loop", "check", "compaction", "compile") else sys.argv[1:]
        command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *given]
        ended = subprocess.run(command, check=False).returncode
        if ended:
            print(f"{name} ended with {ended}", flush=True)


if __name__ == "__main__":
    main()
