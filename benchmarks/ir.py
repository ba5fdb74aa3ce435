"""What the IR costs per operation: parse, reverse, simplify and verify, on chains of 1,000 to 100,000.

    python benchmarks/ir.py [largest]

Budget on 10,000 operations: 200 µs for all four together, and 2 kB of peak memory, for an operation of the
text (of the derivative there are four for one). Each stage holds what the one before it made, and no more.
Times are the processor's, the better of two runs. The exponent is the slope of log time against log size; 1
is linear.
"""

import gc
import math
import sys
import time
import tracemalloc
from collections.abc import Callable

from banach.ir.graph import Builder, Graph
from banach.ir.reverse import reverse
from banach.ir.simplify import simplify
from banach.ir.tensor_type import TensorType
from banach.ir.text import parse_graph, print_graph
from banach.ir.verify import verify

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
PIVOT = 10_000
MICROSECONDS, BYTES = 200, 2_000  # the budget for one operation


def chain(count: int) -> Graph:
    """`count` operations of seven kinds on three inputs, each value read twice or so."""
    build = Builder("chain")
    vector = TensorType("float64", (8,))
    matrix, x, y = (
        build.input("w", TensorType("float64", (8, 8))),
        build.input("x", vector),
        build.input("y", vector),
    )
    made = 0
    while made < count:
        x, y = build.op("matvec", matrix, x) + y, build.op("tanh", x)
        x = build.op("sin", x * y) - build.op("sigmoid", y)
        made += 7
    return build.finish({"x": x, "y": y})


def stages(text: str) -> list[tuple[str, Callable[[], object]]]:
    """The four, each on what the one before it made."""
    known: dict[str, Graph] = {}

    def keep(name: str, graph: Graph) -> Graph:
        known[name] = graph
        return graph

    return [
        ("parse", lambda: keep("parsed", parse_graph(text))),
        ("reverse", lambda: keep("reversed", reverse(known["parsed"]))),
        ("simplify", lambda: keep("simplified", simplify(known["reversed"]))),
        ("verify", lambda: verify(known["simplified"])),
    ]


def seconds(count: int) -> dict[str, float]:
    """The time of each stage; the better of two runs."""
    text, best = print_graph(chain(count)), {}
    for _ in range(2):
        for name, run in stages(text):
            gc.collect()
            start = time.process_time()
            run()
            taken = time.process_time() - start
            best[name] = min(best.get(name, math.inf), taken)
    return best


def peak(count: int) -> tuple[int, int]:
    """The largest memory of all four in turn, in bytes; and the operations of the derivative."""
    text = print_graph(chain(count))
    gc.collect()
    tracemalloc.start()
    graph = reverse(parse_graph(text))
    largest = len(graph.ops)
    verify(simplify(graph))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, largest


def main(largest: int) -> None:
    sizes = [size for size in SIZES if size <= largest]
    totals: dict[int, float] = {}
    print(f"{'ops':>8} {'parse':>8} {'reverse':>8} {'simplify':>8} {'verify':>8} {'all':>8}  µs per op")
    for size in sizes:
        found = seconds(size)
        totals[size] = sum(found.values())
        each = " ".join(f"{1e6 * taken / size:8.1f}" for taken in (*found.values(), totals[size]))
        print(f"{size:8} {each}   {size / totals[size]:,.0f} ops/s")
    if len(sizes) > 1:
        low, high = sizes[0], sizes[-1]
        print(f"exponent {math.log(totals[high] / totals[low]) / math.log(high / low):.3f}")
    count = min(PIVOT, largest)
    held, derived = peak(count)
    print(
        f"peak {held / count:,.0f} bytes per op of the text, {held / derived:,.0f} per op of the derivative"
    )
    print(f"the budget for the former is {BYTES:,}")
    if PIVOT in totals:
        print(f"{1e6 * totals[PIVOT] / PIVOT:.0f} µs per op at {PIVOT:,}; the budget is {MICROSECONDS}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SIZES[-1])
