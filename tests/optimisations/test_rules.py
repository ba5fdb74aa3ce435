"""What single passes do and refuse, and the options of the command line."""

from pathlib import Path

import numpy as np
import pytest
from law_graphs import INT, closed, draws, fix_case, fn, real

from banach.compiler.cli import main
from banach.compiler.optimisation import Options
from banach.compiler.optimise import PASSES, explain, optimise
from banach.compiler.pipeline import load
from banach.ir.dims import named
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Value
from banach.ir.rewrite import Journal
from banach.ir.shelf import pages
from banach.ir.verify import verify

LASSO = str(Path(__file__).parents[2] / "specs/models/lasso.yaml")
REGROUP = Options(reassociate=True)
RANDOM = np.random.default_rng(7)
TALL, FLAT = RANDOM.standard_normal((9, 3)), RANDOM.standard_normal((3, 9))
ROWS, COLUMNS = RANDOM.standard_normal((4, 4)), RANDOM.standard_normal((3, 3))


def run(name: str, graph: Graph, options: Options = REGROUP) -> tuple[Graph, Journal]:
    journal = Journal()
    return pages(PASSES)[name].run(graph, options, journal), journal


def names(graph: Graph) -> list[str]:
    return [op.name for op in graph.ops if op.name != "constant"]


def times(matrix: np.ndarray, x: Value) -> Value:
    return x.builder.op("matvec", x.builder.constant(matrix), x)


def same(after: Graph, before: Graph, *shapes: tuple[int, ...]) -> None:
    given = draws(*shapes)
    for got, wanted in zip(evaluate(after, given), evaluate(before, given), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


# --- products ----------------------------------------------------------------------------------------------

SHIFT = RANDOM.standard_normal(9)


@pytest.mark.parametrize(
    "residual",
    [
        lambda r, c: r - c,
        lambda r, c: r + c,
        lambda r, c: c - r,
        lambda r, c: c + r,
        lambda r, c: -(r - c),
        lambda r, c: (r - c) / 4.0,
        lambda r, c: 3.0 * (c - r),
    ],
)
def test_the_gradient_of_least_squares(residual) -> None:
    graph = closed(
        "f", lambda x: {"y": times(FLAT, residual(times(TALL, x), x.builder.constant(SHIFT)))}, x=real(3)
    )
    after, journal = run("products", graph)
    assert names(after) in (["matvec", "subtract"], ["matvec", "add"])
    assert "gradient of least squares" in journal.counts()
    same(after, graph, (3,))


def test_data_that_come_later_are_multiplied_once_before_the_loop() -> None:
    def step(s: Value, b: Value) -> dict[str, Value]:
        return {"s": s - 0.01 * times(TALL.T, times(TALL, s) - b)}

    region = closed("step", step, s=real(3), b=real(9))

    def body(s: Value, b: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 5, "reverse": False}
        return {"s": s.builder.emit("scan", [s, b], shape, [region])[0]}

    graph = closed("descent", body, s=real(3), b=real(9))
    after = optimise(graph, REGROUP, checked=True).graph
    assert names(after) == ["matvec", "scan"]
    assert names(after.ops[-1].regions[0]).count("matvec") == 1
    same(after, graph, (3,), (9,))


@pytest.mark.parametrize("late", [True, False], ids=["a capture", "a state"])
def test_the_gradient_of_a_blur_on_two_sides_has_two_products(late: bool) -> None:
    """KᵀK for K = B ⊗ C; a state is no capture: its products would be made in every step, so they stay."""

    def step(s: Value, t: Value) -> dict[str, Value]:
        there = s.builder.op(
            "matmul", s.builder.op("matmul", s.builder.constant(ROWS), s), s.builder.constant(COLUMNS)
        )
        back = s.builder.op("matmul", s.builder.constant(ROWS.T), there - t)
        fresh = {"s": s - 0.01 * s.builder.op("matmul", back, s.builder.constant(COLUMNS.T))}
        return fresh if late else fresh | {"t": 0.5 * t}

    region = closed("step", step, s=real(4, 3), t=real(4, 3))

    def body(s: Value, t: Value) -> dict[str, Value]:
        shape = {"states": 1 if late else 2, "sequences": 0, "length": 3, "reverse": False}
        return {"s": s.builder.emit("scan", [s, t], shape, [region])[0]}

    graph = closed("descent", body, s=real(4, 3), t=real(4, 3))
    after = optimise(graph, REGROUP, checked=True).graph
    assert names(after.ops[-1].regions[0]).count("matmul") == (2 if late else 4)
    same(after, graph, (4, 3), (4, 3))


def test_a_product_that_is_read_twice_stays() -> None:
    def body(x: Value) -> dict[str, Value]:
        inner = times(TALL, x)
        return {"y": times(FLAT, inner), "inner": inner}

    graph = closed("f", body, x=real(3))
    assert run("products", graph)[0] == graph


@pytest.mark.parametrize("scale", [lambda x: x / 4.0, lambda x: 4.0 * x, lambda x: x * 0.3, lambda x: -x])
def test_numbers_go_into_matrices(scale) -> None:
    graph = closed("f", lambda x: {"y": scale(times(TALL, x))}, x=real(3))
    after, journal = run("products", graph)
    assert names(after) == ["matvec"]
    assert journal.counts() == {"number into a matrix": 1}
    same(after, graph, (3,))


def test_products_from_both_sides() -> None:
    def body(x: Value) -> dict[str, Value]:
        build = x.builder
        p, q, r, s = (build.constant(RANDOM.standard_normal((4, 4))) for _ in range(4))
        inner = build.op("matmul", build.op("matmul", p, x), q)
        return {"y": build.op("matmul", r, build.op("matmul", inner, s))}

    graph = closed("f", body, x=real(4, 4))
    after, _ = run("products", graph)
    assert names(after) == ["matmul", "matmul"]
    same(after, graph, (4, 4))


def test_a_product_much_larger_than_its_factors_is_refused() -> None:
    """An outer product takes more multiplications; a long chain of growing ones, more memory."""
    column, row = RANDOM.standard_normal((50, 1)), RANDOM.standard_normal((1, 50))
    graph = closed("f", lambda x: {"y": times(column, times(row, x))}, x=real(50))
    after, journal = run("products", graph)
    assert after == graph
    assert [e.reason for e in journal.refused] == ["2500 multiplications are not fewer than 100"]


# --- sums --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_sums_keep_their_value(seed: int) -> None:
    """Random trees of sums, differences, negations and constants."""
    random = np.random.default_rng(seed)

    def body(x: Value, y: Value, z: Value) -> dict[str, Value]:
        parts = [x, y, z, x, y, z, x * 2.0]
        parts += [x.builder.constant(random.standard_normal(shape)) for shape in ((3,), (), (3,))]
        while len(parts) > 1:
            a, b = (parts.pop(int(random.integers(len(parts)))) for _ in range(2))
            made = (a - b) if random.random() < 0.5 else (b + a)
            parts.append(-made if random.random() < 0.5 else made)
        return {"y": parts[0]}

    graph = closed("f", body, x=real(3), y=real(3), z=real(3))
    after, journal = run("sums", graph)
    if not journal.refused:
        assert journal.counts() == {"collect terms": 1}
        assert len(names(after)) < len(names(graph))
    same(after, graph, (3,), (3,), (3,))


# --- sharing, invariants -----------------------------------------------------------------------------------


def test_maps_that_differ_in_their_outputs_only_are_two() -> None:
    def pair(turn: bool) -> Graph:
        def step(s: Value, t: Value) -> dict[str, Value]:
            a, b = fn("sin", s), fn("cos", t)
            return {"s": b, "t": a} if turn else {"s": a, "t": b}

        return closed("step", step, s=real(), t=real())

    def body(s: Value, t: Value) -> dict[str, Value]:
        shape = {"states": 2, "sequences": 0, "length": 3, "reverse": False}
        first = s.builder.emit("scan", [s, t], shape, [pair(False)])
        second = s.builder.emit("scan", [s, t], shape, [pair(True)])
        return {"y": first[0] - second[0]}

    graph = closed("f", body, s=real(), t=real())
    assert run("sharing", graph)[0] is graph


def looped(step) -> Graph:
    def body(s: Value, c: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 3, "reverse": False}
        return {"s": s.builder.emit("scan", [s, c], shape, [closed("step", step, s=s.type, c=c.type)])[0]}

    return closed("loop", body, s=real(3), c=real(3))


def test_what_costs_memory_only_stays_in_the_loop() -> None:
    def step(s: Value, c: Value) -> dict[str, Value]:
        wide = s.builder.op("broadcast", fn("sin", c), shape=(4, 3))
        return {"s": s + s.builder.op("sum", wide * s, axes=(-2,)) + s.builder.zeros(s.type)}

    after, journal = run("invariants", looped(step))
    assert names(after) == ["sin", "scan"]
    assert names(after.ops[-1].regions[0]).count("broadcast") == 2
    assert journal.counts() == {"hoist": 1}


def test_what_may_divide_by_zero_stays_in_the_loop() -> None:
    def body(s: Value, c: Value) -> dict[str, Value]:
        def step(s: Value, c: Value) -> dict[str, Value]:
            return {"s": s + c.builder.op("divide", c, c)}

        shape = {"states": 1, "sequences": 0, "length": 3, "reverse": False}
        return {"s": s.builder.emit("scan", [s, c], shape, [closed("step", step, s=INT, c=INT)])[0]}

    graph = closed("loop", body, s=INT, c=INT)
    after, journal = run("invariants", graph)
    assert after is graph
    assert [e.reason for e in journal.refused] == ["it may divide by zero, and the loop may not run at all"]


def test_a_loop_in_a_loop_goes_out_whole() -> None:
    def inner(s: Value, c: Value) -> dict[str, Value]:
        return {"s": fn("sin", s) * c}

    def step(s: Value, c: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 2, "reverse": False}
        region = closed("inner", inner, s=c.type, c=c.type)
        return {"s": s + s.builder.emit("scan", [c, c], shape, [region])[0]}

    graph = looped(step)
    after, _ = run("invariants", graph)
    assert names(after) == ["scan", "scan"]
    assert names(after.ops[-1].regions[0]) == ["add"]
    same(after, graph, (3,), (3,))


# --- dead code ---------------------------------------------------------------------------------------------


def test_a_sequence_that_no_step_reads_goes() -> None:
    def step(s: Value, x: Value, y: Value) -> dict[str, Value]:
        return {"s": s + y}

    def body(s: Value, x: Value, y: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 2, "length": 4, "reverse": False}
        region = closed("step", step, s=real(), x=real(), y=real())
        return {"s": s.builder.emit("scan", [s, x, y], shape, [region])[0]}

    graph = closed("f", body, s=real(), x=real(4), y=real(4))
    after, journal = run("dead_code", graph)
    verify(after)
    assert after.ops[0].operands == (0, 2)
    assert after.ops[0].attribute("sequences") == 1
    assert journal.counts() == {"unused capture": 1}
    same(after, graph, (), (4,), (4,))


def test_a_solution_stays_whole() -> None:
    """x = 0.5·x and y = b: nothing reads y, and the equation still speaks of it."""

    def both(x: Value, b: Value) -> dict[str, Value]:
        return {"x": 0.5 * x, "y": b * 1.0}

    def residual(*all: Value) -> dict[str, Value]:
        return {"size": fn("abs", all[2] - all[0]), "scale": all[0].builder.scalar(1.0, "float64")}

    names_ = ("x", "y", "x'", "y'", "b")
    regions = [
        closed("step", lambda k, x, y, b: both(x, b), k=INT, x=real(), y=real(), b=real()),
        closed("residual", residual, **dict.fromkeys(names_, real())),
        closed("equation", lambda x, y, b: both(x, b), x=real(), y=real(), b=real()),
    ]

    def body(x: Value, b: Value) -> dict[str, Value]:
        given = [x.builder.scalar(1e-6, "float64"), x.builder.scalar(50, "int64"), x, x, b]
        shape = {"states": 2, "solution": 2, "lanes": False, "every": 1}
        return {"x": x.builder.emit("fix", given, shape, regions)[0]}

    graph = closed("f", body, x=real(), b=real())
    assert run("dead_code", graph)[0] is graph


# --- checks ------------------------------------------------------------------------------------------------


def solve(size: object, most: int, factor: float, start: float) -> Graph:
    """x = factor·x + 1, by Picard's iteration."""
    build_type = real(size)

    def residual(old: Value, new: Value) -> dict[str, Value]:
        gap = new.builder.op("norm", new - old, axes=(-1,))
        return {"size": gap, "scale": new.builder.scalar(1.0, "float64")}

    regions = [
        closed("step", lambda k, x: {"x": x * factor + 1.0}, k=INT, x=build_type),
        closed("residual", residual, old=build_type, new=build_type),
        closed("equation", lambda x: {"x": x * factor + 1.0}, x=build_type),
    ]

    def body(x: Value) -> dict[str, Value]:
        given = [x.builder.scalar(1e-6, "float64"), x.builder.scalar(most, "int64"), x * start]
        shape = {"states": 1, "solution": 1, "lanes": False, "every": 1}
        found = x.builder.emit("fix", given, shape, regions)
        return dict(zip(("x", "iterations", "residual", "status"), found))

    return closed("solve", body, x=build_type)


@pytest.mark.parametrize(
    "most, factor, start", [(100, 0.5, 1.0), (7, 0.5, 1.0), (2000, 4.0, 1.0), (0, 0.5, 1.0)]
)
def test_the_status_means_what_it_meant(most: int, factor: float, start: float) -> None:
    graph = solve(2, most, factor, start)
    after = optimise(graph, Options(check_every=5)).graph
    with np.errstate(all="ignore"):
        x, iterations, _, status = evaluate(graph, [np.ones(2)])
        spaced, more, residual, outcome = evaluate(after, [np.ones(2)])
    assert outcome == status
    assert iterations <= more <= min(iterations + 4, most)
    assert more % 5 == 0 or more == most
    if status == 0:
        assert residual <= 1e-6
        np.testing.assert_allclose(spaced, x, atol=1e-5)


@pytest.mark.parametrize(
    "size, every, reason",
    [
        (2, 10, ""),
        (5_000, 5, ""),
        (1_000_000, 1, "a surplus one costs more than a check"),
        (named("n"), 1, "the size of a step is known only when it runs"),
    ],
)
def test_how_often_is_a_matter_of_cost(size: object, every: int, reason: str) -> None:
    after, journal = run("checks", solve(size, 100, 0.5, 1.0), Options(check_every="auto"))
    assert [op.attribute("every") for op in after.ops if op.name == "fix"] == [every]
    assert all(reason in e.reason for e in journal.refused)
    assert bool(journal.refused) == bool(reason)


def test_what_was_chosen_before_is_not_chosen_again() -> None:
    graph = fix_case(every=2).graph
    assert run("checks", graph, Options(check_every="auto"))[0] is graph
    assert run("checks", graph, Options(check_every=3))[0] != graph


# --- the command line --------------------------------------------------------------------------------------


def test_compile_explains_its_passes(tmp_path: Path, capsys) -> None:
    target = str(tmp_path / "lasso.onnx")
    assert (
        main(["compile", LASSO, "-o", target, "--reassociate", "--check-every", "auto", "--explain-passes"])
        == 0
    )
    told = capsys.readouterr().out
    assert "1 × gradient of least squares in x.step" in told
    assert "a check every 5 steps" in told
    assert "preserved, but for the number of steps" in told
    assert main(["verify", target]) == 0


def test_the_optimised_graph_is_shown(capsys) -> None:
    assert main(["graph", LASSO, "--stage", "optimised", "--reassociate"]) == 0
    assert "float32[442, 10]" not in capsys.readouterr().out.split("graph x.residual")[0].split("x.step")[1]


@pytest.mark.parametrize("text", ["0", "-1", "often"])
def test_an_impossible_spacing_is_refused(text: str, tmp_path: Path, capsys) -> None:
    assert main(["compile", LASSO, "-o", str(tmp_path / "x.onnx"), f"--check-every={text}"]) == 2
    assert "a whole number from 1 on, or auto" in capsys.readouterr().err


def test_a_lost_weight_is_told() -> None:
    model = load(LASSO)
    digests = {
        t.digest for part in model.graph.walk() for t in part.constants().values() if t.array.ndim == 2
    }
    step = next(op for op in model.graph.ops if op.name == "fix").regions[0]
    found = optimise(step, REGROUP, digests)
    assert "recheck: " in explain(found.journal)
