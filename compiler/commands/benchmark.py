"""`banach bench`: what a spec costs per iteration and in total, beside the memory floor of this machine."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from banach.compiler.arguments import USAGE
from banach.compiler.commands.running import Runnable, inputs
from banach.compiler.report import FINE
from banach.compiler.speaking import document
from banach.ir import dims
from banach.ir.diagnostic import Diagnostic, SpecError
from banach.ir.graph import Graph, Port
from banach.ir.tensor_type import TensorType, numpy_dtype

_SIZE = 64  # of an axis that nothing is said of
_COPIED = 1 << 26  # bytes, far beyond any cache
_ROUNDS = 5
_FEW = 20  # iterations of the shorter of two runs, whose difference is taken


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Tells the command line."""
    bench = command("bench", _bench, "times a spec, against the memory floor of this machine")
    bench.add_argument("model", help="a spec")
    inputs(bench)
    bench.add_argument(
        "--size", action="append", default=[], metavar="NAME=N", help="of inputs that are drawn"
    )
    bench.add_argument("--iterations", type=int, default=200, metavar="N", help="of each solve (200)")
    bench.add_argument("--json", action="store_true")


def _bench(options: Any, texts: dict[str, str]) -> int:
    from banach.backends import arrays

    if options.model.endswith(".onnx"):
        raise SpecError([Diagnostic(USAGE, "a spec is timed, not a file", fix="give the .yaml")])
    found = Runnable(options, texts)
    if found.refusal != FINE:
        return found.refusal
    sizes = _sizes(options.size)
    given: dict[str, Any] = dict(arrays.read_inputs(options.input, found.artifact.inputs))
    drawn = [p.name for p in found.artifact.inputs if p.default is None and p.name not in given]
    for port in found.artifact.inputs:
        if port.name in drawn:
            given[port.name] = _drawn(port, sizes)
    for port in found.artifact.inputs:
        _learnt(port.type, np.shape(given[port.name]) if port.name in given else None, sizes)
    total = _least(lambda: found.artifact.run(given))
    speed = bandwidth()
    rows = [
        _row(solve, graph, found.artifact, given, sizes, options.iterations, speed)
        for solve, graph in _solves(found.model.optimised().graph)
    ]
    told = {"total_ms": 1e3 * total, "copied_gb_per_s": speed / 1e9, "drawn": drawn, "solves": rows}
    if options.json:
        document(told)
    else:
        _print(told)
    return FINE


def _print(told: Mapping[str, Any]) -> None:
    if told["drawn"]:
        print(f"drawn       {', '.join(told['drawn'])}: normal numbers, the same in every run")
    print(f"in total    {told['total_ms']:.3g} ms")
    print(f"memory      {told['copied_gb_per_s']:.3g} GB/s, as numpy copies")
    for row in told["solves"]:
        print(f"{row['solve']}:")
        print(f"  an iteration     {row['iteration_us']:.3g} µs")
        print(f"  reads and writes {row['bytes']:,} bytes, so {row['floor_us']:.3g} µs from memory")
        print(f"  ratio            {row['ratio']:.3g}; below 1, the weights stay in the caches")


def _row(
    solve: str,
    step: Graph,
    artifact: Any,
    given: Mapping[str, Any],
    sizes: Mapping[str, int],
    iterations: int,
    speed: float,
) -> dict[str, Any]:
    """The difference of a longer and a shorter run that cannot stop by their residual."""
    names = f"{solve}.max_iterations", f"{solve}.tolerance"
    dtypes = {port.name: numpy_dtype(port.type.dtype) for port in artifact.inputs}
    held = {**given, names[1]: dtypes[names[1]].type(0)}

    def run(most: int) -> dict[str, np.ndarray]:
        return artifact.run({**held, names[0]: np.int64(most)})

    few, many = _FEW, _FEW + max(1, iterations)
    counts = [int(np.max(run(most)[f"{solve}.iterations"])) for most in (few, many)]
    taken = max(1, counts[1] - counts[0])
    each = max(0.0, _least(lambda: run(many)) - _least(lambda: run(few))) / taken
    bytes = _bytes(step, sizes)
    floor = bytes / speed
    return {
        "solve": solve,
        "iteration_us": 1e6 * each,
        "bytes": bytes,
        "floor_us": 1e6 * floor,
        "ratio": each / floor if floor else None,
    }


def _solves(graph: Graph) -> Iterator[tuple[str, Graph]]:
    """The steps of the solves whose limits an input sets."""
    limits = {port.name.removesuffix(".max_iterations") for port in graph.inputs}
    for op in graph.ops:
        name = op.regions[0].name.removesuffix(".step") if op.name == "fix" else ""
        if name in limits:
            yield name, op.regions[0]


def _bytes(step: Graph, sizes: Mapping[str, int]) -> int:
    """What an iteration reads of weights and captures, and reads and writes of states."""
    weights = {
        op.attribute("value").digest: op.attribute("value").array for op in step.ops if op.name == "constant"
    }
    states = sum(_size(type, sizes) for type in step.output_types)
    read = sum(_size(port.type, sizes) for port in step.inputs[1:])
    return sum(array.nbytes for array in weights.values()) + read + states


def _size(type: TensorType, sizes: Mapping[str, int]) -> int:
    entries = np.prod(
        [n if isinstance(n, int) else dims.bind(n, _filled(n, sizes)) for n in type.shape], initial=1
    )
    return int(entries) * numpy_dtype(type.dtype).itemsize


def _filled(size: dims.Size, sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: sizes.get(name, _SIZE) for name in dims.names(size)}


def _sizes(given: list[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if not value.isdecimal() or not 0 < int(value) < 2**31:
            raise SpecError([Diagnostic(USAGE, f"`{text}` is no size", fix="write --size NAME=512")])
        found[name] = int(value)
    return found


def _drawn(port: Port, sizes: Mapping[str, int]) -> np.ndarray:
    """Normal numbers, or zeros where whole numbers are asked for."""
    shape = [n if isinstance(n, int) else dims.bind(n, _filled(n, sizes)) for n in port.type.shape]
    random = np.random.default_rng(sum(port.name.encode()))
    array = random.standard_normal(shape) if port.type.is_float else np.zeros(shape)
    return np.asarray(array, numpy_dtype(port.type.dtype))


def _learnt(type: TensorType, shape: tuple[int, ...] | None, sizes: dict[str, int]) -> None:
    """Takes sizes from an array that was given."""
    for wanted, actual in zip(type.shape, shape or ()):
        if not isinstance(wanted, int):
            try:
                dims.learn(wanted, actual, sizes)
            except ValueError:  # the run itself tells
                return


def _least(work: Callable[[], Any]) -> float:
    work()
    taken = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def bandwidth() -> float:
    """Bytes that a second moves, read and written, by numpy's copy."""
    source, target = np.ones(_COPIED // 8), np.empty(_COPIED // 8)
    return 2 * _COPIED / _least(lambda: np.copyto(target, source))
