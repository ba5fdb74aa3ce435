"""Iterations that are replaced by a closed form: what is recognised, what is refused, what is measured."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from law_graphs import INT, Case, closed, fn, real
from laws import reversed_case
from scipy.linalg import solve_sylvester
from scipy.sparse import diags_array, eye_array, kron
from scipy.sparse.linalg import spsolve

from banach.compiler.cli import main
from banach.compiler.optimisation import Options
from banach.compiler.optimisations import affine
from banach.compiler.optimise import PASSES, explain, optimise
from banach.compiler.pipeline import load
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph, Value
from banach.ir.reverse import reverse
from banach.ir.rewrite import Journal
from banach.ir.shelf import pages
from banach.ir.verify import verify

HERE = Path(__file__).parent
POISSON, DEBLUR = HERE / "specs/poisson.yaml", HERE.parents[1] / "specs/models/deblur.yaml"
DIRECT = Options(direct=True)
RANDOM = np.random.default_rng(5)
Map = Callable[[Value], Value]


def norm(x: Value, axes: tuple[int, ...] = (-1,)) -> Value:
    return x.builder.op("norm", x, axes=axes)


def richardson(
    shape: tuple[int, ...], map: Map, step: float = 0.1, tolerance: float = 1e-10, **attributes: object
) -> Graph:
    """x ← x + step·(b - A x), for b that comes when it runs. The residual is ‖b - A x‖ against ‖b‖."""
    axes = tuple(range(-len(shape), 0))

    def advance(x: Value, b: Value) -> dict[str, Value]:
        return {"x": x + step * (b - map(x))}

    def residual(old: Value, x: Value, b: Value) -> dict[str, Value]:
        return {"size": norm(b - map(x), axes), "scale": norm(b, axes)}

    regions = [
        closed("step", lambda k, x, b: advance(x, b), k=INT, x=real(*shape), b=real(*shape)),
        closed("residual", residual, old=real(*shape), x=real(*shape), b=real(*shape)),
        closed("equation", advance, x=real(*shape), b=real(*shape)),
    ]

    def body(b: Value) -> dict[str, Value]:
        build = b.builder
        given = [build.scalar(tolerance, "float64"), build.scalar(5000, "int64"), build.zeros(b.type), b]
        kept = {"states": 1, "solution": 1, "lanes": False, "every": 1} | attributes
        found = build.emit("fix", given, kept, regions)
        return dict(zip(("x", "iterations", "residual", "status"), found))

    return closed("solve", body, b=real(*shape))


def run(graph: Graph) -> tuple[Graph, Journal]:
    journal = Journal()
    return pages(PASSES)["direct"].run(graph, DIRECT, journal), journal


def matvec(matrix: np.ndarray) -> Map:
    return lambda x: x.builder.op("matvec", x.builder.constant(matrix), x)


def sides(left: np.ndarray, x: Value, right: np.ndarray) -> Value:
    build = x.builder
    return build.op("matmul", build.op("matmul", build.constant(left), x), build.constant(right))


def symmetric(n: int) -> np.ndarray:
    """With eigenvalues between 1 and 4."""
    q = np.linalg.qr(RANDOM.standard_normal((n, n)))[0]
    return q @ np.diag(np.linspace(1, 4, n)) @ q.T


def circulant(column: np.ndarray) -> np.ndarray:
    places = np.arange(len(column))
    return column[(places[:, None] - places) % len(column)]


def rolled(x: Value) -> Value:
    return 3.0 * x - x.builder.op("roll", x, axis=-1, shift=1)


TALL, A, B = RANDOM.standard_normal((20, 9)) / 5, symmetric(9), symmetric(12)
DENSE = 2 * np.eye(5) + RANDOM.standard_normal((5, 5)) / 5
TURNED = circulant(np.concatenate([[3.0, -1.0, 0.5], np.zeros(97)]))
LONG = symmetric(100)


def kronecker_sum(x: Value) -> Value:
    return sides(A, x, np.eye(12)) + sides(np.eye(9), x, B)


def kronecker_sum_turned(x: Value) -> Value:
    """A X + (B Xᵀ)ᵀ."""
    build = x.builder
    inner = build.op("matmul", build.constant(B), build.op("transpose", x, permutation=(-1, -2)))
    return build.op("matmul", build.constant(A), x) + build.op("transpose", inner, permutation=(-1, -2))


def gram(x: Value) -> Value:
    """Hᵀ H X Cᵀ C + λ X."""
    return sides(TALL.T, sides(TALL, x, B), B) + 0.5 * x


def full(solve: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda b: np.linalg.solve(solve, b.ravel()).reshape(b.shape)


CASES: dict[str, tuple[tuple[int, ...], Map, float, str, Callable[[np.ndarray], np.ndarray]]] = {
    "dense": ((5,), matvec(DENSE), 0.2, "inverse matrix", full(DENSE)),
    "roll": ((8,), rolled, 0.2, "inverse matrix", full(3 * np.eye(8) - np.roll(np.eye(8), 1, axis=0))),
    "rows": ((3, 5), matvec(DENSE), 0.2, "inverse matrix", full(np.kron(np.eye(3), DENSE))),
    "symmetric": ((100,), matvec(LONG), 0.2, "eigenvectors", full(LONG)),
    "circulant": ((100,), matvec(TURNED), 0.2, "symbol of a circulant", full(TURNED)),
    "sum": ((9, 12), kronecker_sum, 0.1, "eigenvectors of both sides", lambda b: solve_sylvester(A, B, b)),
    "turned": (
        (9, 12),
        kronecker_sum_turned,
        0.1,
        "eigenvectors of both sides",
        lambda b: solve_sylvester(A, B, b),
    ),
    "gram": (
        (9, 12),
        gram,
        0.02,
        "eigenvectors of both sides",
        full(np.kron(TALL.T @ TALL, B @ B) + 0.5 * np.eye(108)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_solution_is_written_down(name: str) -> None:
    shape, map, step, kind, oracle = CASES[name]
    graph = richardson(shape, map, step)
    after, journal = run(graph)
    verify(after)
    assert journal.counts() == {f"solve directly, by {kind}": 1}
    assert not any(op.name == "fix" for op in after.ops)
    assert run(after)[0] is after
    b = RANDOM.standard_normal(shape)
    x, iterations, residual, status = evaluate(after, [b])
    np.testing.assert_allclose(x, oracle(b), rtol=1e-10, atol=1e-11)
    assert (iterations, status) == (1, 0)
    applied = evaluate(closed("A", lambda x: {"y": map(x)}, x=real(*shape)), [x])[0]
    np.testing.assert_allclose(residual, np.linalg.norm(b - applied), rtol=1e-6, atol=1e-15)
    slow, *_, converged = evaluate(graph, [b])
    assert converged == 0
    np.testing.assert_allclose(slow, x, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_the_derivative_is_that_of_the_fixed_point(name: str) -> None:
    shape, map, step, *_ = CASES[name]
    graph = richardson(shape, map, step, 1e-12)
    only = closed("x", lambda b: {"x": b.builder.inline(graph, [b])[0]}, b=real(*shape))
    back = reversed_case(Case(only, [RANDOM.standard_normal(shape)]))
    (wanted,) = evaluate(back.graph, back.arguments)
    for after in (reverse(optimise(only, DIRECT).graph), optimise(reverse(only), DIRECT).graph):
        (got,) = evaluate(after, back.arguments)
        np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_all_passes_keep_a_closed_form() -> None:
    graph = richardson((9, 12), kronecker_sum)
    free = Options(reassociate=True, check_every=3, direct=True)
    after = optimise(graph, free, checked=True).graph
    assert optimise(after, free).graph == after
    b = RANDOM.standard_normal((9, 12))
    np.testing.assert_allclose(evaluate(after, [b])[0], solve_sylvester(A, B, b), atol=1e-10)
    assert any(op.name == "fix" for op in optimise(graph, Options(True, 3)).graph.ops)


# --- refusals ----------------------------------------------------------------------------------------------


REFUSED: dict[str, Callable[[], Graph]] = {
    "its slope depends on x": lambda: richardson((5,), lambda x: x + fn("relu", x)),
    "not what the equation computes": lambda: richardson((5,), lambda x: x + fn("stop_gradient", x)),
    "close to singular": lambda: richardson((5,), matvec(np.diag([1.0, 1, 1, 1, 0]))),
    "a factor is not symmetric": lambda: richardson((9, 12), lambda x: sides(np.triu(A), x, np.eye(12)) + x),
    "its factors do not commute": lambda: richardson(
        (9, 12), lambda x: sides(A, x, np.eye(12)) + sides(symmetric(9), x, B)
    ),
    "roll is not a product with a constant matrix or number": lambda: richardson((100,), rolled),
    "only vectors and matrices are tried": lambda: richardson((5, 5, 5), lambda x: 2.0 * x),
    "its derivative is asked to be that of its steps": lambda: richardson(
        (5,), matvec(DENSE), gradient="one_step"
    ),
    "samples that stop one by one": lambda: lanes(),
    "it transposes its unknown": lambda: richardson(
        (9, 9), lambda x: x + 0.5 * x.builder.op("transpose", x, permutation=(-1, -2))
    ),
}


def lanes() -> Graph:
    regions = [
        closed("step", lambda k, x: {"x": 0.5 * x}, k=INT, x=real(3, 5)),
        closed("residual", lambda old, x: {"r": norm(x - old), "s": norm(x)}, old=real(3, 5), x=real(3, 5)),
        closed("equation", lambda x: {"x": 0.5 * x}, x=real(3, 5)),
    ]

    def body(x: Value) -> dict[str, Value]:
        given = [x.builder.scalar(1e-6, "float64"), x.builder.scalar(50, "int64"), x]
        shape = {"states": 1, "solution": 1, "lanes": True, "every": 1}
        return {"x": x.builder.emit("fix", given, shape, regions)[0]}

    return closed("f", body, x=real(3, 5))


@pytest.mark.parametrize("reason", REFUSED)
def test_nothing_is_replaced_on_doubt(reason: str) -> None:
    graph = REFUSED[reason]()
    after, journal = run(graph)
    assert after == graph
    assert reason in journal.refused[0].reason


def test_coefficients_that_are_data_are_refused() -> None:
    def map(x: Value, c: Value) -> dict[str, Value]:
        return {"x": 0.5 * fn("tanh", c) * x + c}

    with pytest.raises(affine.NotDirect, match="its slope depends on c"):
        affine.solve(closed("equation", map, x=real(5), c=real(5)))


# --- the state of a residual -------------------------------------------------------------------------------


def descent(kept: float = 1.0, start: float = 1.0, spare: bool = False) -> Graph:
    """x ← x + 0.1 r, r ← r - 0.1 A r, kept as by conjugate gradients. `kept`, `start`: 1 is right."""
    types = {"x": real(5), "r": real(5), "b": real(5)}
    map = matvec(DENSE)

    def step(k: Value, x: Value, r: Value, b: Value) -> dict[str, Value]:
        return {"x": x + 0.1 * r, "r": kept * r - 0.1 * map(r)}

    def residual(x: Value, r: Value, y: Value, s: Value, b: Value) -> dict[str, Value]:
        return {"size": norm(s), "scale": norm(b)}

    regions = [
        closed("step", step, k=INT, **types),
        closed("residual", residual, x=real(5), r=real(5), y=real(5), s=real(5), b=real(5)),
        closed("equation", lambda x, b: {"x": x - (map(x) - b) / 4.0}, x=real(5), b=real(5)),
    ]

    def body(b: Value) -> dict[str, Value]:
        build = b.builder
        given = [
            build.scalar(1e-10, "float64"),
            build.scalar(500, "int64"),
            build.zeros(b.type),
            start * b,
            b,
        ]
        shape = {"states": 2, "solution": 1, "lanes": False, "every": 1}
        x, r, iterations, size, status = build.emit("fix", given, shape, regions)
        return {"x": x, "iterations": iterations, "residual": size, "status": status} | (
            {"r": r} if spare else {}
        )

    return closed("solve", body, b=real(5))


def test_a_residual_that_is_a_state_is_worked_out() -> None:
    after, journal = run(descent())
    assert journal.counts() == {"solve directly, by inverse matrix": 1}
    b = RANDOM.standard_normal(5)
    x, iterations, residual, status = evaluate(after, [b])
    np.testing.assert_allclose(x, np.linalg.solve(DENSE, b), rtol=1e-12)
    assert (iterations, status) == (0, 0)
    np.testing.assert_allclose(residual, np.linalg.norm(b - DENSE @ x), rtol=1, atol=1e-15)
    assert 0 < residual < 1e-14 or np.array_equal(DENSE @ x, b)


@pytest.mark.parametrize(
    "graph, reason",
    [
        (lambda: descent(kept=0.5), "its residual reads r, which is not known of a solution"),
        (lambda: descent(start=0.5), "starts from something else than the residual"),
        (lambda: descent(spare=True), "its other states are read"),
    ],
)
def test_a_state_that_is_no_residual_is_refused(graph: Callable[[], Graph], reason: str) -> None:
    whole = graph()
    after, journal = run(whole)
    assert after == whole
    assert reason in journal.refused[0].reason


@pytest.mark.parametrize("tolerance, b, wanted", [(1e-10, 1.0, 0), (1e-30, 1.0, 1), (1e-10, np.inf, 2)])
def test_the_status_follows_from_the_residual(tolerance: float, b: float, wanted: int) -> None:
    after, _ = run(richardson((5,), matvec(DENSE), 0.2, tolerance))
    given = RANDOM.standard_normal(5)
    given[0] = b
    *_, residual, status = evaluate(after, [given])
    assert status == wanted
    assert np.isfinite(residual) == (wanted != 2)


# --- models ------------------------------------------------------------------------------------------------


def test_deblurring_directly_is_deblurring_by_conjugate_gradients(tmp_path: Path) -> None:
    from banach.backends.onnx.verifier import verify as check

    model = load(DEBLUR)
    y = RANDOM.standard_normal((256, 256))
    artifact = model.compile(options=DIRECT)
    found, slow = artifact.run({"y": y}), model.compile().run({"y": y})
    assert found["x.iterations"] == 0 and found["x.status"] == 0
    assert found["x.residual"] < 1e-4 * slow["x.residual"]
    assert np.linalg.norm(found["x"] - slow["x"]) <= 1e-8 * np.linalg.norm(slow["x"])
    verified = check(artifact.model)
    assert verified.ok, verified.failed


def test_the_stencil_of_poisson_is_solved_as_the_sparse_system() -> None:
    model, n = load(POISSON), 256
    f = RANDOM.standard_normal((n, n))
    found = model.compile(options=DIRECT).run({"f": f})
    line = (n + 1) ** 2 * diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    system = kron(line, eye_array(n)) + kron(eye_array(n), line)
    wanted = spsolve(system.tocsc(), f.ravel()).reshape(n, n)
    assert found["x.status"] == 0
    assert np.linalg.norm(found["x"] - wanted) <= 1e-8 * np.linalg.norm(wanted)
    residual = np.linalg.norm(system @ found["x"].ravel() - f.ravel())
    assert residual <= 1e-9 * np.linalg.norm(f)
    assert 0.1 < found["x.residual"] / residual < 10


def test_it_is_done_on_request_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = load(POISSON)
    assert any(op.name == "fix" for op in model.optimised(Options(True, "auto")).graph.ops)
    told = explain(model.optimised().journal)
    assert "not run: it replaces the iteration, and `direct` was not asked for" in told
    target = str(tmp_path / "poisson.onnx")
    assert main(["compile", str(POISSON), "-o", target, "--direct", "--explain-passes"]) == 0
    told = capsys.readouterr().out
    assert "1 × solve directly, by eigenvectors of both sides in poisson" in told
    assert "of the same solution; the iteration it speaks of is replaced" in told
