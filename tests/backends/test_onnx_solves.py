"""Solves through ONNX Runtime and the reference evaluator against the oracle."""

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto
from onnx_agreement import agree

from banach.backends.onnx.lower import lower
from banach.backends.onnx.run import OnnxArtifact
from banach.ir.dims import Size, named
from banach.ir.graph import Builder, Graph, Value
from banach.ir.reverse import reverse
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

WHOLE, TRUTH = TensorType("int64"), TensorType("bool")
N = 5
NEVER = -1.0  # a tolerance that no residual meets


def matrix(rate: float, seed: int = 0) -> np.ndarray:
    w = np.random.default_rng(seed).standard_normal((N, N))
    return w / np.linalg.norm(w, 2) * rate


def solve(
    *,
    every: int = 1,
    lane: Size | None = None,
    rate: float = 0.7,
    fixed: tuple[float, int] | None = None,
    counted: bool = False,
    relative: bool = True,
    dtype: str = "float64",
    results: int = 4,
) -> Graph:
    """x = soft(W x + c), by Picard's iteration; `fixed` holds tolerance and most, else they are inputs."""
    state = TensorType(dtype, (N,) if lane is None else (lane, N))
    weights = matrix(rate).astype(dtype)

    def once(inner: Builder, x: Value, c: Value) -> Value:
        u = inner.op("matvec", inner.constant(weights), x) + c
        return inner.op("soft_threshold", u, inner.scalar(0.05, dtype))

    inner = Builder("step")
    k, x, c = inner.input("k", WHOLE), inner.input("x", state), inner.input("c", state)
    y = once(inner, x, c)
    shrinking = inner.scalar(1, dtype) / (inner.op("cast", k, dtype=dtype) + 1.0)
    step = inner.finish({"x": y + shrinking * shrinking * 0.01 if counted else y})
    inner = Builder("residual")
    old, new, c = inner.input("old", state), inner.input("new", state), inner.input("c", state)
    scale = (
        inner.op("norm", c, axes=(-1,)) if relative else inner.zeros(state.with_shape(state.shape[:-1])) + 1.0
    )
    residual = inner.finish({"size": inner.op("norm", new - old, axes=(-1,)), "scale": scale})
    inner = Builder("equation")
    x, c = inner.input("x", state), inner.input("c", state)
    equation = inner.finish({"x": once(inner, x, c)})
    build = Builder("solve")
    x, c = build.input("x0", state), build.input("c", state)
    if fixed is None:
        tolerance = build.input("x.tolerance", TensorType(dtype), Tensor(np.asarray(1e-6, dtype)))
        most = build.input("x.max_iterations", WHOLE, Tensor(np.asarray(100)))
    else:
        tolerance, most = build.scalar(fixed[0], dtype), build.scalar(fixed[1], "int64")
    shape = {"states": 1, "solution": 1, "lanes": lane is not None, "every": every}
    found = build.emit("fix", [tolerance, most, x, c], shape, [step, residual, equation])
    names = ["x", "x.iterations", "x.residual", "x.status"][:results]
    return build.finish(dict(zip(names, found)))


def data(rows: int | None = None, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (N,) if rows is None else (rows, N)
    return random.standard_normal(shape), random.standard_normal(shape)


def loops(graph: GraphProto) -> list[NodeProto]:
    return [node for node in graph.node if node.op_type == "Loop"]


def body(node: NodeProto) -> GraphProto:
    return next(a.g for a in node.attribute if a.name == "body")


@pytest.mark.parametrize("every", [1, 5, 10])
@pytest.mark.parametrize("most", [-2, 0, 1, 7, 23, 100])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6, NEVER])
@pytest.mark.parametrize("start", [0.0, np.nan, 1e308])
def test_a_solve_counts_and_ends_as_the_oracle(every: int, most: int, tolerance: float, start: float) -> None:
    _, c = data()
    x = np.full(N, start)
    agree(solve(every=every), [x, c, tolerance, most])
    if start == 0.0:
        agree(solve(every=every, fixed=(tolerance, most)), [x, c])


@pytest.mark.parametrize("every", [1, 5, 10])
def test_the_three_endings(every: int) -> None:
    x, c = data()
    reached = agree(solve(every=every), [x, c, 1e-6, 101])
    assert reached["x.status"] == 0 and reached["x.residual"] <= 1e-6 * np.linalg.norm(c)
    short = agree(solve(every=every), [x, c, NEVER, 23])
    assert (short["x.status"], short["x.iterations"]) == (1, 23)
    lost = agree(solve(every=every, rate=9.0), [x, c, 1e-6, 1000])
    assert lost["x.status"] == 2 and not np.isfinite(lost["x.residual"]) and lost["x.iterations"] < 400
    nothing = agree(solve(every=every), [x, c, 1e-6, 0])
    assert (nothing["x.status"], nothing["x.iterations"], nothing["x.residual"]) == (1, 0, np.inf)


@pytest.mark.parametrize("every", [1, 5])
def test_the_number_of_the_step_reaches_the_step(every: int) -> None:
    x, c = data()
    agree(solve(every=every, counted=True), [x, c, NEVER, 13])
    agree(solve(every=every, counted=True, lane=2), [*data(2), NEVER, 13])


@pytest.mark.parametrize("every", [1, 4])
def test_a_solve_in_float32(every: int) -> None:
    x, c = data()
    agree(solve(every=every, dtype="float32"), [x.astype(np.float32), c.astype(np.float32), 1e-3, 50], 1e-4)


def test_tolerance_and_most_by_default_and_overridden() -> None:
    x, c = data()
    artifact = OnnxArtifact(lower(solve()))
    usual = artifact.run({"x0": x, "c": c})
    tight = artifact.run({"x0": x, "c": c, "x.tolerance": 1e-12})
    short = artifact.run({"x0": x, "c": c, "x.max_iterations": 2})
    assert usual["x.status"] == tight["x.status"] == 0
    assert usual["x.iterations"] < tight["x.iterations"]
    assert (short["x.iterations"], short["x.status"]) == (2, 1)


@pytest.mark.parametrize("every", [1, 5, 10])
@pytest.mark.parametrize("rows", [0, 1, 3, 64])
@pytest.mark.parametrize("most", [0, 33, 100])
def test_lanes_stop_one_by_one(every: int, rows: int, most: int) -> None:
    x, c = data(rows)
    x = x * 10.0 ** np.random.default_rng(0).integers(-5, 6, (rows, 1))
    if rows == 64:
        x[3], x[7], c[9] = np.nan, 1e308, 0.0
    found = agree(solve(every=every, lane=named("batch")), [x, c, 1e-6, most])
    if rows == 64 and most == 100:
        assert len(set(found["x.iterations"])) > 1 and set(found["x.status"]) == {0, 2}


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sample_in_a_batch_is_the_sample_alone_to_the_bit(every: int, dtype: str) -> None:
    tolerance = 1e-6 if dtype == "float64" else 1e-3
    x, c = (a.astype(dtype) for a in data(64))
    x = x * 10.0 ** np.arange(64)[:, None] ** 0.3
    artifact = OnnxArtifact(lower(solve(every=every, lane=named("batch"), dtype=dtype)))
    given = {"x.tolerance": tolerance, "x.max_iterations": 43}
    together = artifact.run({"x0": x, "c": c, **given})
    assert len(set(together["x.iterations"].tolist())) > 1
    for i in range(64):
        alone = artifact.run({"x0": x[i : i + 1], "c": c[i : i + 1], **given})
        for name, value in alone.items():
            assert value.tobytes() == together[name][i : i + 1].tobytes(), (i, name)


@pytest.mark.parametrize("every", [1, 3])
def test_a_lane_that_has_stopped_stays_so_when_its_residual_would_grow_again(every: int) -> None:
    """x moves by (k - c)²: not at all in step c, and ever more from then on."""
    state = TensorType("float64", (2,))
    inner = Builder("step")
    k, x, c = inner.input("k", WHOLE), inner.input("x", state), inner.input("c", state)
    away = inner.op("cast", k, dtype="float64") - c
    step = inner.finish({"x": x + away * away})
    inner = Builder("residual")
    old, new, _ = (inner.input(name, state) for name in ("old", "new", "c"))
    residual = inner.finish({"size": inner.op("abs", new - old), "scale": inner.zeros(state) + 1.0})
    build = Builder("growing")
    c, most = build.input("c", state), build.input("most", WHOLE)
    given = [build.scalar(1e-3, "float64"), most, build.zeros(state), c]
    shape = {"states": 1, "solution": 1, "lanes": True, "every": every}
    found = build.emit("fix", given, shape, [step, residual])
    graph = build.finish({f"o{i}": v for i, v in enumerate(found)})
    out = agree(graph, [np.array([2.0, 99.0]), 7])
    assert out["o1"].tolist() == [3, 7] and out["o3"].tolist() == [0, 1]


@pytest.mark.parametrize("lane", [None, 3])
def test_the_gradient_of_a_solve_is_a_solve(lane: int | None) -> None:
    graph = reverse(solve(lane=lane, results=1, relative=False))
    (x, c), (seed, _) = data(lane), data(lane, seed=9)
    found = agree(graph, [x, c, 1e-12, 500, seed], 1e-8)
    assert np.abs(found["d.c"]).max() > 0.1
    agree(graph, [x, c, 1e-12, 0, seed], 1e-8)  # no steps: the adjoint fails, and says so by NaN


def momentum(lane: int | None, every: int) -> Graph:
    """Two states beside a number, a truth value and a count, some handed on unchanged or exchanged."""
    lead = () if lane is None else (lane,)
    state, number, truth = (
        TensorType(d, (*lead, *s)) for d, s in [("float64", (N,)), ("float64", ()), ("bool", ())]
    )
    count = TensorType("int64", lead)
    inner = Builder("step")
    inner.input("k", WHOLE)
    x, z = inner.input("x", state), inner.input("z", state)
    t, even, n = inner.input("t", number), inner.input("even", truth), inner.input("n", count)
    c = inner.input("c", state)
    y = inner.op("matvec", inner.constant(matrix(0.6)), z) + c
    fresh = inner.op("sqrt", t * t * 4.0 + 1.0) * 0.5 + 0.5
    weight = inner.op("reshape", (t - 1.0) / fresh, shape=(*lead, 1))
    pushed = y + weight * (y - x) * 0.3
    flipped = inner.op("not", even)
    one = inner.op("broadcast", inner.scalar(1, "int64"), shape=lead)
    step = inner.finish({"x": y, "z": pushed, "t": fresh, "even": flipped, "n": n + one})
    inner = Builder("residual")
    old, new = (
        [inner.input(f"{w}{i}", t) for i, t in enumerate([state, state, number, truth, count])] for w in "ab"
    )
    inner.input("c", state)
    scale = inner.op("norm", new[1], axes=(-1,)) + 1.0
    residual = inner.finish({"size": inner.op("norm", new[0] - old[0], axes=(-1,)), "scale": scale})
    build = Builder("momentum")
    c, t, most = (
        build.input("c", state),
        build.input("tolerance", TensorType("float64")),
        build.input("most", WHOLE),
    )
    even = build.input("even", truth)
    start = [c, c, build.zeros(number) + 1.0, even, build.zeros(count)]
    shape = {"states": 5, "solution": 1, "lanes": lane is not None, "every": every}
    found = build.emit("fix", [t, most, *start, c], shape, [step, residual])
    return build.finish({f"o{i}": v for i, v in enumerate(found)})


@pytest.mark.parametrize("lane", [None, 4])
@pytest.mark.parametrize("every", [1, 3])
def test_several_states_of_several_dtypes(lane: int | None, every: int) -> None:
    lead = () if lane is None else (lane,)
    c = data(lane)[0] * (1.0 if lane is None else 10.0 ** np.arange(lane)[:, None])
    for tolerance, most in [(1e-7, 100), (1e-7, 10), (NEVER, 7)]:
        agree(momentum(lane, every), [c, tolerance, most, np.ones(lead, bool)])


def exchange(every: int) -> Graph:
    """(x, y) <- (y, x): outputs of a body that are its inputs."""
    state = TensorType("float64", (2,))
    inner = Builder("step")
    inner.input("k", WHOLE)
    x, y, z = (inner.input(n, state) for n in "xyz")
    step = inner.finish({"x": y, "y": x, "z": z})
    inner = Builder("residual")
    old, new = ([inner.input(f"{w}{i}", state) for i in range(3)] for w in "ab")
    residual = inner.finish(
        {"size": inner.op("norm", new[0] - old[0], axes=(-1,)), "scale": inner.scalar(1, "float64")}
    )
    build = Builder("exchange")
    x, y, most = build.input("x", state), build.input("y", state), build.input("most", WHOLE)
    shape = {"states": 3, "solution": 1, "lanes": False, "every": every}
    found = build.emit("fix", [build.scalar(0, "float64"), most, x, y, x], shape, [step, residual])
    return build.finish({f"o{i}": v for i, v in enumerate(found)})


@pytest.mark.parametrize("every", [1, 2, 3])
def test_states_that_change_places(every: int) -> None:
    for most in (4, 5):
        agree(exchange(every), [np.array([1.0, 2.0]), np.array([3.0, 4.0]), most])


@pytest.mark.parametrize(
    ("size", "scale", "status", "iterations"),
    [
        (np.inf, np.inf, 2, 1),  # ∞ <= ∞ is true, and proves nothing
        (np.inf, 1.0, 2, 1),
        (np.nan, 1.0, 2, 1),
        (1.0, np.nan, 2, 1),  # what the residual is measured against is lost
        (0.5, 1.0, 0, 1),
        (1.0, 0.5, 1, 6),
    ],
)
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("lane", [None, 2])
def test_residuals_at_the_edge(
    size: float, scale: float, status: int, iterations: int, every: int, lane: int | None
) -> None:
    lead = () if lane is None else (lane,)
    state = TensorType("float64", lead)
    inner = Builder("step")
    inner.input("k", WHOLE)
    x = inner.input("x", state)
    inner.input("r", state)
    inner.input("s", state)
    step = inner.finish({"x": x + 1.0})
    inner = Builder("residual")
    inner.input("a", state)
    inner.input("b", state)
    residual = inner.finish({"size": inner.input("r", state), "scale": inner.input("s", state)})
    build = Builder("edge")
    x, r, s = (build.input(n, state) for n in "xrs")
    given = [build.scalar(0.9, "float64"), build.scalar(6, "int64"), x, r, s]
    shape = {"states": 1, "solution": 1, "lanes": lane is not None, "every": every}
    found = build.emit("fix", given, shape, [step, residual])
    graph = build.finish({f"o{i}": v for i, v in enumerate(found)})
    out = agree(graph, [np.zeros(lead), np.full(lead, size), np.full(lead, scale)])
    assert np.all(out["o3"] == status)
    assert np.all(out["o1"] == (every if iterations == 1 else iterations))


def test_a_solve_in_a_scan_in_a_branch() -> None:
    inner = Builder("step")
    x, c = inner.input("x", TensorType("float64", (N,))), inner.input("c", TensorType("float64", (N,)))
    t, most = inner.scalar(1e-8, "float64"), inner.scalar(23, "int64")
    y, iterations, *_ = inner.inline(solve(every=5, results=4), [x, c, t, most])
    step = inner.finish({"x": y, "n": iterations})
    inner = Builder("then")
    x, c = inner.input("x", TensorType("float64", (N,))), inner.input("c", TensorType("float64", (3, N)))
    shape = {"states": 1, "sequences": 1, "length": 3, "reverse": True}
    first = inner.finish(dict(zip("xn", inner.emit("scan", [x, c], shape, [step]))))
    inner = Builder("else")
    x, c = inner.input("x", TensorType("float64", (N,))), inner.input("c", TensorType("float64", (3, N)))
    second = inner.finish({"x": x, "n": inner.constant(np.zeros(3, np.int64))})
    build = Builder("nested")
    chosen = build.input("chosen", TRUTH)
    x, c = build.input("x", TensorType("float64", (N,))), build.input("c", TensorType("float64", (3, N)))
    graph = build.finish(dict(zip("pq", build.emit("cond", [chosen, x, c], {}, [first, second]))))
    for chosen in (True, False):
        agree(graph, [chosen, data()[0], data(3)[1]])


def ops(model: ModelProto) -> list[str]:
    (loop,) = loops(model.graph)
    return [node.op_type for node in body(loop).node]


def test_the_body_of_a_solve_holds_only_what_changes() -> None:
    """The threshold's negative and tolerance · ‖c‖ do not change: they are computed before the loop."""
    state = TensorType("float64", (N,))
    step = ["MatMul", "Add", "Clip", "Sub"]
    stop = ["Add", "Sub", "ReduceL2", "LessOrEqual", "Add", "Less", "Not", "And"]
    assert ops(lower(solve(fixed=(1e-6, 100)))) == step + stop
    assert ops(lower(solve(fixed=(1e-6, 100), every=5))) == step * 5 + stop
    inner = Builder("condition")
    x, c = inner.input("x", state), inner.input("c", state)
    condition = inner.finish(
        {"go": inner.op("less", inner.op("norm", x, axes=(-1,)), inner.scalar(9, "float64"))}
    )
    inner = Builder("body")
    x, c = inner.input("x", state), inner.input("c", state)
    once = inner.op("matvec", inner.constant(matrix(1.0)), inner.op("exp", c))
    step_ = inner.finish({"x": x + once})
    build = Builder("while")
    x, c = build.input("x", state), build.input("c", state)
    found = build.emit("while", [build.scalar(9, "int64"), x, c], {"states": 1}, [condition, step_])
    assert ops(lower(build.finish({"y": found[0]}))) == ["Add", "ReduceL2", "Less", "Add"]
