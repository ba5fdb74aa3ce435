"""A long spec takes work that grows as its length does; benchmarks/long_spec.py has the times."""

import sys
from typing import Any

import numpy as np
import pytest

import banach

# How many times the work may grow where the text grows four times; 16 were the square.
MOST = 4.5


def text(operators: int) -> str:
    """A spec of four lines for each operator, each of which reads the one before."""
    lines = ["banach: 1", "sizes: {n: 8}", 'inputs: {x: "real[n]"}']
    lines += ["operators:", "  f0: sin(x)"]
    for i in range(1, operators):
        lines += [
            f"  f{i}:",
            "    where:",
            f"      half: f{i - 1} / 2",
            f"    returns: half + cos(half) / {i}",
        ]
    return "\n".join([*lines, f"outputs: {{y: f{operators - 1}}}", ""])


def work(operators: int) -> int:
    """How many functions are called, ours and others, to read, type and elaborate it: no clock, no noise."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    spec = text(operators)
    sys.setprofile(count)
    try:
        banach.loads(spec)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_grows_with_the_text() -> None:
    banach.loads(text(20))  # what is made once is made before
    small, large = work(125), work(500)
    assert large < MOST * small, (small, large)


def test_two_thousand_lines_are_a_model() -> None:
    spec = text(500)
    assert 1990 < spec.count("\n") < 2010
    model = banach.loads(spec)
    assert len(model.graph.ops) > 1000 and model.check().ok


@pytest.mark.parametrize("operators", [2, 30])
def test_it_computes(operators: int) -> None:
    x = np.linspace(0, 1, 8)
    y = np.sin(x)
    for i in range(1, operators):
        y = y / 2 + np.cos(y / 2) / i
    found = banach.loads(text(operators)).compile(to="oracle").run(x=x.astype(np.float32))
    np.testing.assert_allclose(found["y"], y, rtol=1e-4)
