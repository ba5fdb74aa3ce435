"""Twenty times the operations take about twenty times as long, for every pass where it has much to do."""

import gc
import time
from collections.abc import Callable

import numpy as np
import pytest
from law_graphs import closed, fn, real

from banach.compiler.optimisation import Options
from banach.compiler.optimise import PASSES, optimise, order
from banach.ir.graph import Graph, Value
from banach.ir.rewrite import Journal
from banach.ir.shelf import pages

SMALL, LARGE, SLACK = 1_000, 20_000, 2.5  # slack: caches, garbage and other people's jobs
FREE = Options(reassociate=True, check_every="auto")


def chain(count: int) -> Graph:
    """Sums, products by constants, negations, repeats, calls and dead code, all in one chain."""
    double = closed("double", lambda x: {"y": x + x}, x=real(2))

    def body(x: Value, y: Value) -> dict[str, Value]:
        matrix = x.builder.constant(np.array([[0.0, 1.0], [1.0, 0.0]]))
        for _ in range(count // 10):
            fn("sin", x)
            x = x.builder.op("matvec", matrix, x.builder.op("matvec", matrix, x)) - (-y)
            (z,) = x.builder.emit("call", [x], {}, [double])
            x = fn("tanh", z * 1.0) + fn("tanh", z) + 1.0
        return {"x": x}

    return closed("chain", body, x=real(2), y=real(2))


def looped(count: int) -> Graph:
    """The same inside a loop, half of it the same in every step."""

    def step(s: Value, c: Value, d: Value) -> dict[str, Value]:
        for i in range(count // 4):
            c = fn("sin", c) * d
            s = fn("tanh", s) + c if i % 8 == 0 else fn("sin", s)
        return {"s": s}

    region = closed("step", step, s=real(2), c=real(2), d=real(2))

    def body(s: Value, c: Value, d: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 3, "reverse": False}
        return {"s": s.builder.emit("scan", [s, c, d], shape, [region])[0]}

    return closed("loop", body, s=real(2), c=real(2), d=real(2))


def summed(count: int) -> Graph:
    """One sum of everything, leaning to both sides."""

    def body(x: Value, y: Value) -> dict[str, Value]:
        left = right = x
        for i in range(count // 4):
            left, right = left + (x if i % 2 else y), fn("sin", y) - right if i % 50 == 0 else y - right
        return {"z": left - right}

    return closed("sum", body, x=real(2), y=real(2))


def seconds(work: Callable[[Graph], object], make: Callable[[int], Graph], count: int) -> float:
    graph, spent = make(count), []
    while len(spent) < 3 and sum(spent) < 1:
        gc.collect()
        begun = time.process_time()
        work(graph)
        spent.append(time.process_time() - begun)
    return min(spent)


@pytest.mark.parametrize("make", [chain, looped, summed])
@pytest.mark.parametrize("name", [*order(), "all"])
def test_time_grows_in_proportion(name: str, make: Callable[[int], Graph]) -> None:
    def work(graph: Graph) -> object:
        return optimise(graph, FREE) if name == "all" else pages(PASSES)[name].run(graph, FREE, Journal())

    small, large = (seconds(work, make, count) for count in (SMALL, LARGE))
    assert large < SLACK * LARGE / SMALL * max(small, 0.0005)
    print(f"{name} on {make.__name__}: {1e6 * large / LARGE:.1f} µs per operation")
