"""The golden pages of the passes: small graphs before and after. Run as a script, it writes them."""

import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "ir")]

import numpy as np  # noqa: E402
from law_graphs import BOOL, INT, closed, fn, real  # noqa: E402

from banach.compiler.optimisation import Options  # noqa: E402
from banach.compiler.optimise import PASSES  # noqa: E402
from banach.ir.graph import Graph, Value  # noqa: E402
from banach.ir.rewrite import Journal  # noqa: E402
from banach.ir.shelf import pages  # noqa: E402
from banach.ir.text import print_graph  # noqa: E402

FOLDER = HERE / "golden"


def const(like: Value, *entries: object) -> Value:
    return like.builder.constant(np.asarray(entries, float))


def inlining() -> Graph:
    layer = closed("layer", lambda x: {"y": fn("tanh", x) + x}, x=real(2))

    def large(x: Value) -> dict[str, Value]:
        for _ in range(17):
            x = fn("sin", x)
        return {"y": x}

    def body(x: Value) -> dict[str, Value]:
        (y,) = x.builder.emit("call", [x], {}, [layer])
        (z,) = x.builder.emit("call", [y], {}, [closed("large", large, x=real(2))])
        return {"y": z}

    return closed("calls", body, x=real(2))


def simplification() -> Graph:
    def body(x: Value) -> dict[str, Value]:
        turned = x.builder.op("transpose", const(x, [1, 2], [3, 4]), permutation=(-1, -2))
        y = x.builder.op("matvec", turned, x * 1.0) + (-x)
        return {"y": -(y - fn("sin", x)) + x.builder.zeros(x.type)}

    return closed("rules", body, x=real(2))


def branches() -> Graph:
    yes = closed("yes", lambda x: {"y": fn("sin", x)}, x=real(2))
    no = closed("no", lambda x: {"y": fn("cos", x)}, x=real(2))

    def body(c: Value, x: Value) -> dict[str, Value]:
        (y,) = c.builder.emit("cond", [c.builder.scalar(False, "bool"), x], {}, [yes, no])
        (z,) = c.builder.emit("cond", [c, y], {}, [yes, no])
        return {"z": z}

    return closed("choices", body, c=BOOL, x=real(2))


def sharing() -> Graph:
    def step(name: str) -> Graph:
        return closed(name, lambda s, c: {"s": fn("sin", s) * fn("sin", s) + c}, s=real(), c=real())

    def body(x: Value, c: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 0, "length": 5, "reverse": False}
        (y,) = x.builder.emit("scan", [x, c], shape, [step("one")])
        (z,) = x.builder.emit("scan", [x, c], shape, [step("another")])
        return {"sum": y + z}

    return closed("twice", body, x=real(), c=real())


def _solve(x: Value, a: Value, b: Value, spare: bool) -> tuple[Value, ...]:
    """x = 0.5·tanh(x) + sin(a)·b; with `spare`, two states that nobody asks for, one is in the residual."""
    extra = {"t": real(2), "u": real(2)} if spare else {}
    held = {"a": real(2), "b": real(2)}

    def step(k: Value, x: Value, *rest: Value) -> dict[str, Value]:
        a, b = rest[-2:]
        fresh = {"x": 0.5 * fn("tanh", x) + fn("sin", a) * b}
        return fresh | ({"t": rest[0] + x, "u": x} if spare else {})

    def residual(*all: Value) -> dict[str, Value]:
        count = 3 if spare else 1
        gap = all[count] - all[2 if spare else 0]
        norm = gap.builder.op("norm", gap, axes=(-1,))
        return {"size": norm, "scale": gap.builder.op("norm", all[-1], axes=(-1,))}

    old = {f"old_{name}": real(2) for name in ("x", *extra)}
    new = {f"new_{name}": real(2) for name in ("x", *extra)}
    regions = [
        closed("step", step, k=INT, x=real(2), **extra, **held),
        closed("residual", residual, **old, **new, **held),
        closed("equation", lambda x, a, b: {"x": 0.5 * fn("tanh", x) + fn("sin", a) * b}, x=real(2), **held),
    ]
    build = x.builder
    given = [build.scalar(1e-6, "float64"), build.scalar(100, "int64"), x, *([x, x] if spare else []), a, b]
    shape = {"states": 3 if spare else 1, "solution": 1, "lanes": False, "every": 1}
    return build.emit("fix", given, shape, regions)


def invariants() -> Graph:
    return closed("solve", lambda x, a, b: {"x": _solve(x, a, b, False)[0]}, x=real(2), a=real(2), b=real(2))


def dead_code() -> Graph:
    def body(x: Value, a: Value, b: Value) -> dict[str, Value]:
        fn("sin", a)
        shape = {"states": 1, "sequences": 0, "length": 3, "reverse": False}
        step = closed("step", lambda s, c, d: {"s": s + c, "y": s, "z": c}, s=real(2), c=real(2), d=real(2))
        s, _, z = x.builder.emit("scan", [x, a, b], shape, [step])
        return {"x": _solve(s, a, b, True)[0], "z": z}

    return closed("spare", body, x=real(2), a=real(2), b=real(2))


def projections() -> Graph:
    def body(x: Value) -> dict[str, Value]:
        box = x.builder.op("clip", fn("abs", fn("abs", x)), low=-1.0, high=1.0)
        same = x.builder.op("clip", box, low=-1.0, high=1.0)
        return {"y": x.builder.op("clip", fn("relu", fn("relu", same)), low=0.0, high=1.0), "z": box}

    def other(x: Value) -> dict[str, Value]:
        wide = x.builder.op("clip", x, low=-2.0, high=2.0)
        (y,) = x.builder.emit("call", [wide], {}, [closed("inner", body, x=real(2))])[:1]
        return {"y": x.builder.op("clip", wide, low=-1.0, high=1.0) + y}

    return closed("twice", other, x=real(2))


def cancellation() -> Graph:
    def body(x: Value, z: Value, a: Value, b: Value, r: Value) -> dict[str, Value]:
        op = x.builder.op
        low = op("dft_adjoint", op("dft", z, modes=2), size=3)  # a projection: it stays
        back = op("dft_adjoint", op("dft", z, modes=3), size=3)
        turned = [op("transpose", m, permutation=(-1, -2)) for m in (a, b)]
        weighed = const(x, 1, 2) * (const(x, 3, 4) * op("dct", op("dct_inverse", x)))
        ball = op("project_ball", op("project_ball", x, r), r)
        thin = op("soft_threshold", x, x.builder.scalar(0.0, "float64"))
        return {
            "z": low + back,
            "p": op("matmul", *turned),
            "x": weighed + ball + thin,
            "tiny": const(x, 1e-200, 1) * (const(x, 1e-200, 1) * x),
        }

    return closed("undone", body, x=real(2), z=real(3, 2), a=real(2, 3), b=real(4, 2), r=real())


def products() -> Graph:
    def body(x: Value, y: Value, z: Value, v: Value) -> dict[str, Value]:
        op, turn, double = x.builder.op, const(x, [0, 1], [1, 0]), const(x, [2, 0], [0, 1])
        sides = op("matmul", op("matmul", double, op("matmul", op("matmul", turn, z), double)), turn)
        stepped = z - 0.5 * (sides - v)

        def times(m: Value, v: Value) -> Value:
            return x.builder.op("matvec", m, v)

        tall = const(x, *([1.0, float(i)] for i in range(4)))
        flat = x.builder.constant(np.array([[1.0] * 4, list(range(4))]))
        gradient = times(flat, times(tall, x) - const(x, 1, 2, 3, 4))
        dear = times(tall, times(flat, y))  # 4·4 is no less than 2·(4·2)
        return {"x": x - 0.125 * gradient, "y": dear, "z": stepped}

    return closed("least_squares", body, x=real(2), y=real(4), z=real(2, 2), v=real(2, 2))


def sums() -> Graph:
    def body(x: Value, y: Value) -> dict[str, Value]:
        return {"a": (x + 1.0) - (y - (x + 2.0)), "b": (x + y) - x}

    return closed("terms", body, x=real(2), y=real(2))


def checks() -> Graph:
    return closed("solve", lambda x, a, b: {"x": _solve(x, a, b, False)[0]}, x=real(2), a=real(2), b=real(2))


def direct() -> Graph:
    """x = x - (A x - b)/4, one of them with a map that is not linear."""

    def solve(b: Value, bent: bool) -> tuple[Value, ...]:
        def step(x: Value, b: Value) -> dict[str, Value]:
            y = fn("tanh", x) if bent else x
            return {"x": x - (x.builder.op("matvec", const(x, [2, 1], [1, 3]), y) - b) / 4.0}

        def residual(old: Value, x: Value, b: Value) -> dict[str, Value]:
            gap = x.builder.op("norm", x - old, axes=(-1,))
            return {"size": gap, "scale": x.builder.op("norm", b, axes=(-1,))}

        held = {"x": real(2), "b": real(2)}
        regions = [
            closed("step", lambda k, x, b: step(x, b), k=INT, **held),
            closed("residual", residual, old=real(2), **held),
            closed("equation", step, **held),
        ]
        build = b.builder
        given = [build.scalar(1e-6, "float64"), build.scalar(100, "int64"), build.zeros(b.type), b]
        return build.emit("fix", given, {"states": 1, "solution": 1, "lanes": False, "every": 1}, regions)

    def body(b: Value) -> dict[str, Value]:
        x, iterations, residual, status = solve(b, False)
        return {
            "x": x,
            "iterations": iterations,
            "residual": residual,
            "status": status,
            "y": solve(b, True)[0],
        }

    return closed("systems", body, b=real(2))


def uniform() -> Graph:
    def body(x: Value) -> dict[str, Value]:
        ones, mixed = np.ones(5000), np.where(np.arange(5000) % 2, 0.0, -0.0)
        build = x.builder
        return {"y": x + build.constant(ones), "z": x * build.constant(mixed)}

    return closed("tables", body, x=real(5000))


EXAMPLES: dict[str, Callable[[], Graph]] = {
    f.__name__: f
    for f in (
        inlining,
        simplification,
        branches,
        sharing,
        invariants,
        dead_code,
        projections,
        cancellation,
        products,
        sums,
        checks,
        direct,
        uniform,
    )
}


def page(name: str) -> str:
    """Graph before, graph after, and the journal."""
    before, journal = EXAMPLES[name](), Journal()
    after = pages(PASSES)[name].run(before, Options(True, "auto", True), journal)
    lines = [f"fired    {e.rule} at {e.op} in {e.graph}" for e in journal.fired]
    lines += [f"refused  {e.rule} at {e.op} in {e.graph}: {e.reason}" for e in journal.refused]
    lines += [f"shared   {journal.shared}"] if journal.shared else []
    return "\n".join(
        [f"# before\n{print_graph(before)}", f"# after\n{print_graph(after)}", "# journal", *lines, ""]
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in EXAMPLES:
        (FOLDER / f"{name}.txt").write_text(page(name), encoding="utf-8")
