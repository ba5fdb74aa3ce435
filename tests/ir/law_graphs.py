"""Graphs on which the laws are tried: every page's own samples, and hand-written ones that hold regions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from banach.ir.dims import Size
from banach.ir.graph import PRIMITIVES, Builder, Graph, Value
from banach.ir.primitive import Sample, page
from banach.ir.primitives.regions import RegionOp
from banach.ir.shelf import pages
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import TensorType

TOLERANCE, MOST = 1e-13, 400


@dataclass(frozen=True)
class Case:
    """A graph and arguments for it: a smooth point, away from every kink."""

    graph: Graph
    arguments: list[np.ndarray]

    @property
    def floats(self) -> list[int]:
        """The inputs that have tangents."""
        return [i for i, port in enumerate(self.graph.inputs) if port.type.is_float]


def array_type(array: np.ndarray) -> TensorType:
    return TensorType(str(array.dtype), array.shape)


def random(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- the shelf's own samples ---------------------------------------------------------------------------


def plain_pages() -> list[str]:
    return [name for name, found in pages(PRIMITIVES).items() if not isinstance(found, RegionOp)]


def page_case(name: str, sample: Sample) -> Case:
    build = Builder(name)
    operands = [build.input(f"x{i}", array_type(x)) for i, x in enumerate(sample.operands)]
    return Case(build.finish({"y": build.op(name, *operands, **sample.attributes)}), list(sample.operands))


def page_cases() -> Iterator[tuple[str, Case]]:
    for name in plain_pages():
        for i, sample in enumerate(page(name).samples()):
            yield f"{name}-{i}", page_case(name, sample)


# --- graphs with regions -------------------------------------------------------------------------------


def closed(name: str, body: Callable[..., dict[str, Value]], **types: TensorType) -> Graph:
    """A graph with these inputs."""
    build = Builder(name)
    return build.finish(body(*(build.input(key, type) for key, type in types.items())))


def real(*shape: Size) -> TensorType:
    return TensorType("float64", shape)


INT, BOOL = TensorType("int64"), TensorType("bool")


def total(value: Value) -> Value:
    return value.builder.op("sum", value, axes=tuple(range(-value.type.rank, 0)))


def apply(matrix: Value, x: Value) -> Value:
    return matrix.builder.op("matvec", matrix, x)


def fn(name: str, x: Value) -> Value:
    return x.builder.op(name, x)


def layer() -> Graph:
    return closed("layer", lambda w, x: {"y": fn("tanh", apply(w, x)) * x}, w=real(2, 2), x=real(2))


def call_case() -> Case:
    def body(w: Value, x: Value) -> dict[str, Value]:
        (y,) = w.builder.emit("call", [w, x], {}, [layer()])
        (z,) = w.builder.emit("call", [w, y], {}, [layer()])
        return {"z": z, "sum": total(y * x)}

    return Case(closed("calls", body, w=real(2, 2), x=real(2)), [*draws((2, 2), (2,))])


def draws(*shapes: tuple[int, ...], seed: int = 1) -> list[np.ndarray]:
    source = random(seed)
    return [np.asarray(source.standard_normal(shape)) for shape in shapes]


def cond_case(chosen: bool) -> Case:
    f = closed("f", lambda x, y: {"z": fn("sin", x) * y}, x=real(2), y=real())
    g = closed("g", lambda x, y: {"z": x * x + y}, x=real(2), y=real())

    def body(c: Value, x: Value, y: Value) -> dict[str, Value]:
        return {"z": c.builder.emit("cond", [c, x, y], {}, [f, g])[0] * y}

    return Case(closed("choice", body, c=BOOL, x=real(2), y=real()), [np.asarray(chosen), *draws((2,), ())])


def recurrence(a: Value, s: Value, x: Value, b: Value) -> dict[str, Value]:
    """s' = x·(A s) + b, whose Jacobians diag(x_k) A do not commute; y = sin(s')·s."""
    fresh = x * apply(a, s) + b
    return {"s": fresh, "y": fn("sin", fresh) * s}


def scan(s: Value, x: Value, a: Value, b: Value, length: Size, backwards: bool) -> tuple[Value, ...]:
    step = closed(
        "step",
        lambda s, x, a, b: recurrence(a, s, x, b),
        s=s.type,
        x=x.type.with_shape(x.type.shape[1:]),
        a=a.type,
        b=b.type,
    )
    attributes = {"states": 1, "sequences": 1, "length": length, "reverse": backwards}
    return s.builder.emit("scan", [s, x, a, b], attributes, [step])


def scan_case(backwards: bool) -> Case:
    def body(s: Value, x: Value, a: Value, b: Value) -> dict[str, Value]:
        last, stacked = scan(s, x, a, b, 4, backwards)
        return {"last": last, "stacked": stacked}

    graph = closed("recurrence", body, s=real(2), x=real(4, 2), a=real(2, 2), b=real())
    return Case(graph, draws((2,), (4, 2), (2, 2), ()))


def equation(x: Value, y: Value, w: Value, b: Value) -> dict[str, Value]:
    """x = 0.5·tanh(0.4 W x + b·y), y = 0.3·sin(Σx + 1) + 0.2·y: a contraction for the W, b used here."""
    x_next = 0.5 * fn("tanh", 0.4 * apply(w, x) + b * y)
    return {"x": x_next, "y": 0.3 * fn("sin", total(x) + 1.0) + 0.2 * y}


def distance(*pairs: tuple[Value, Value]) -> dict[str, Value]:
    """The Euclidean distance of two states, against 1."""
    squares = [total((a - b) * (a - b)) for a, b in pairs]
    size = fn("sqrt", sum(squares[1:], squares[0]))
    return {"size": size, "scale": size.builder.zeros(size.type) + 1.0}


def solve(
    x: Value,
    y: Value,
    w: Value,
    b: Value,
    damped: bool = False,
    every: int = 1,
    most: int = MOST,
    **derivative: Any,
) -> tuple[Value, ...]:
    """The `fix` of `equation`: by Picard's iteration, or damped, with the last y kept as a third state."""
    own = {"x": x.type, "y": y.type}
    held = {"w": w.type, "b": b.type}

    def picard(k: Value, x: Value, y: Value, w: Value, b: Value) -> dict[str, Value]:
        return equation(x, y, w, b)

    def damp(k: Value, x: Value, y: Value, z: Value, w: Value, b: Value) -> dict[str, Value]:
        fresh = equation(x, y, w, b)
        return {"x": 0.7 * fresh["x"] + 0.3 * x, "y": 0.6 * fresh["y"] + 0.4 * y, "z": y}

    build = x.builder
    given = [build.scalar(TOLERANCE, "float64"), build.scalar(most, "int64"), x, y]
    if damped:
        given.append(y)
        step = closed("damped", damp, k=INT, **own, z=y.type, **held)
        keys = ("x", "y", "z")
    else:
        step = closed("picard", picard, k=INT, **own, **held)
        keys = ("x", "y")
    states = {**own, "z": y.type}
    measured = closed(
        "residual",
        lambda *all: distance((all[0], all[len(keys)]), (all[1], all[len(keys) + 1])),
        **{f"old_{key}": states[key] for key in keys},
        **{f"new_{key}": states[key] for key in keys},
        **held,
    )
    stated = closed("equation", equation, **own, **held)
    attributes = {"states": len(keys), "solution": 2, "lanes": False, "every": every, **derivative}
    return build.emit("fix", [*given, w, b], attributes, [step, measured, stated])


def linear_case() -> Case:
    """x ↦ W x·c beside a scan that is linear in its start, on x², so that the derivative has a point."""
    types = {"w": real(2, 2), "c": real(2), "rows": real(3, 2)}
    step = closed("step", lambda s, r, w: {"s": r * apply(w, s)}, s=real(2), r=real(2), w=real(2, 2))

    def map(x: Value, w: Value, c: Value, rows: Value) -> dict[str, Value]:
        shape = {"states": 1, "sequences": 1, "length": 3, "reverse": False}
        (last,) = x.builder.emit("scan", [x, rows, w], shape, [step])
        return {"y": apply(w, x) * c - x, "last": last + x.builder.zeros(x.type)}

    region = closed("map", map, x=real(2), **types)

    def body(x: Value, w: Value, c: Value, rows: Value) -> dict[str, Value]:
        y, last = x.builder.emit("linear", [x * x, w, c, rows], {"inputs": 1}, [region])
        return {"y": y, "last": last * last}

    return Case(closed("mapped", body, x=real(2), **types), draws((2,), (2, 2), (2,), (3, 2)))


def ruled_case() -> Case:
    """(x, i, u) ↦ u tanh(W x) i with its derivative told in x and u, on x², so that it has a point."""
    types = {"i": INT, "u": real(), "w": real(2, 2)}

    def map(x: Value, i: Value, u: Value, w: Value) -> Value:
        return u * fn("tanh", apply(w, x)) * x.builder.op("cast", i, dtype="float64")

    def rule(x: Value, i: Value, u: Value, dx: Value, du: Value, w: Value) -> dict[str, Value]:
        h, count = fn("tanh", apply(w, x)), x.builder.op("cast", i, dtype="float64")
        return {"dy": (du * h + u * ((1.0 - h * h) * apply(w, dx))) * count}

    regions = [
        closed("map", lambda *given: {"y": map(*given)}, x=real(2), **types),
        closed("rule", rule, x=real(2), i=INT, u=real(), dx=real(2), du=real(), w=real(2, 2)),
    ]

    def body(x: Value, i: Value, u: Value, w: Value) -> dict[str, Value]:
        (y,) = x.builder.emit("ruled", [x * x, i, u, w], {"inputs": 3}, regions)
        return {"y": y, "sum": total(y * y * x)}

    x, u, w = draws((2,), (), (2, 2))
    return Case(closed("told", body, x=real(2), **types), [x, np.asarray(3), u, w])


def fix_case(damped: bool = False, every: int = 1, report: bool = False, **options: Any) -> Case:
    """`report` adds iterations, residual and status, which have no derivative."""

    def body(x: Value, y: Value, w: Value, b: Value) -> dict[str, Value]:
        found = solve(x, y, w, b, damped, every, **options)
        told = dict(zip(("iterations", "residual", "status"), found[-3:])) if report else {}
        return {"x": found[0], "y": found[1], **told}

    graph = closed("equilibrium", body, x=real(2), y=real(), w=real(2, 2), b=real())
    return Case(graph, draws((2,), (), (2, 2), ()))


def fix_in_scan_case() -> Case:
    """A recurrence each of whose steps solves an equation."""

    def step(s: Value, b: Value, w: Value) -> dict[str, Value]:
        x, y, *_ = solve(s, total(s) * 0.1, w, b)
        return {"s": s * y + x * x, "y": y}

    region = closed("inner", step, s=real(2), b=real(), w=real(2, 2))

    def body(s: Value, b: Value, w: Value) -> dict[str, Value]:
        attributes = {"states": 1, "sequences": 1, "length": 3, "reverse": False}
        last, stacked = s.builder.emit("scan", [s, b, w], attributes, [region])
        return {"last": last, "stacked": stacked}

    return Case(closed("solves", body, s=real(2), b=real(3), w=real(2, 2)), draws((2,), (3,), (2, 2)))


def scan_in_call_case() -> Case:
    region = scan_case(False).graph

    def body(s: Value, x: Value, a: Value, b: Value) -> dict[str, Value]:
        last, stacked = s.builder.emit("call", [s, x, a, b], {}, [region])
        return {"last": last * last, "sum": total(stacked)}

    return Case(
        closed("called", body, s=real(2), x=real(4, 2), a=real(2, 2), b=real()), scan_case(False).arguments
    )


def scan_in_fix_case() -> Case:
    """x = 0.2·(the last state of a recurrence from x), by Picard's iteration."""

    def once(s: Value, x: Value, a: Value, b: Value) -> dict[str, Value]:
        return {"s": 0.2 * fn("tanh", scan(s, x, a, b, 2, False)[0])}

    types = {"s": real(2), "x": real(2, 2), "a": real(2, 2), "b": real()}
    old_new = {"old": real(2), "new": real(2), "x": real(2, 2), "a": real(2, 2), "b": real()}
    regions = [
        closed("picard", lambda k, *rest: once(*rest), k=INT, **types),
        closed("residual", lambda old, new, *_: distance((old, new)), **old_new),
        closed("equation", once, **types),
    ]

    def body(s: Value, x: Value, a: Value, b: Value) -> dict[str, Value]:
        build = s.builder
        given = [build.scalar(TOLERANCE, "float64"), build.scalar(MOST, "int64"), s, x, a, b]
        attributes = {"states": 1, "solution": 1, "lanes": False, "every": 1}
        return {"s": build.emit("fix", given, attributes, regions)[0]}

    return Case(closed("rooted", body, **types), draws((2,), (2, 2), (2, 2), ()))


def while_case() -> Case:
    """Doubles x until it passes a limit."""
    condition = closed(
        "below", lambda x, limit: {"go": x.builder.op("less", x, limit)}, x=real(), limit=real()
    )
    body = closed("twice", lambda x, limit: {"x": x + x}, x=real(), limit=real())

    def outer(x: Value, limit: Value) -> dict[str, Value]:
        most = x.builder.scalar(50, "int64")
        y, steps = x.builder.emit("while", [most, x, limit], {"states": 1}, [condition, body])
        return {"y": y, "steps": steps}

    return Case(closed("doubling", outer, x=real(), limit=real()), [np.asarray(0.3), np.asarray(20.0)])


def region_cases() -> dict[str, Case]:
    """The cases that have derivatives, without lanes."""
    return {
        "call": call_case(),
        "cond-true": cond_case(True),
        "cond-false": cond_case(False),
        "scan": scan_case(False),
        "scan-reversed": scan_case(True),
        "fix": fix_case(),
        "fix-damped": fix_case(damped=True, every=3),
        "fix-unrolled": fix_case(damped=True, every=3, most=7, gradient="unrolled"),
        "fix-in-scan": fix_in_scan_case(),
        "scan-in-call": scan_in_call_case(),
        "linear": linear_case(),
        "ruled": ruled_case(),
        "scan-in-fix": scan_in_fix_case(),
    }


def tensor(*entries: float) -> Tensor:
    return Tensor(np.asarray(entries))
