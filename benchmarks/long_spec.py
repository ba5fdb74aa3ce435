"""What a long spec costs: `python benchmarks/long_spec.py`. CPU time, the least of several runs.

Prints milliseconds for reading, typing and elaborating specs of 125 to 2,000 operators, four lines each, with
the exponent by which they grow (1: in proportion). The budget is one second for 2,000 lines.
"""

import math
import time

import banach

RUNS = 5
BUDGET = 1.0  # seconds for 2,000 lines


def text(operators: int) -> str:
    """Operators of four lines, each of which reads the one before."""
    lines = ["banach: 1", "sizes: {n: 8}", "inputs: {x: 'real[n]'}", "operators:", "  f0: sin(x)"]
    for i in range(1, operators):
        lines += [
            f"  f{i}:",
            "    where:",
            f"      half: f{i - 1} / 2",
            f"    returns: half + cos(half) / {i}",
        ]
    return "\n".join([*lines, f"outputs: {{y: f{operators - 1}}}", ""])


def seconds(spec: str) -> float:
    """The least CPU time of several runs."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        banach.loads(spec)
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    seconds(text(20))  # what is made once is made before
    before: tuple[int, float] | None = None
    for operators in (125, 250, 500, 1000, 2000):
        spec = text(operators)
        lines, took = spec.count("\n"), seconds(spec)
        grown = f", exponent {math.log(took / before[1], lines / before[0]):.2f}" if before else ""
        verdict = f", within {BUDGET:g} s: {took < BUDGET}" if operators == 500 else ""
        print(f"{lines:6,} lines {1000 * took:8.1f} ms{grown}{verdict}")
        before = lines, took


if __name__ == "__main__":
    main()
