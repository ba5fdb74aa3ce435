"""Iterations that solve what has a closed form."""

from dataclasses import replace
from typing import final

import numpy as np

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note, reads
from banach.compiler.optimisations import affine
from banach.compiler.optimisations.affine import NotDirect
from banach.ir.graph import Builder, Graph, Op, Value, prune
from banach.ir.primitives.regions import AT_MOST, CONVERGED, DIVERGED
from banach.ir.rewrite import Effect, Journal
from banach.ir.tensor_type import TensorType, numpy_dtype

CLOSE = 1e-8  # relative, in float64: two vectors that are parallel; in float32 the root of its precision


@final
class Direct(Pass):
    """Write the solution of an affine equation down, in place of the iteration that solves it.

    Maths      x = J x + d(c) with a constant J: x = (I - J)⁻¹ d(c). Of J X = Σ Lᵢ X Rᵢ, with symmetric Lᵢ
               that commute and Rᵢ too: X = Q ((Qᵀ d P) / (1 - Σ λᵢ μᵢᵀ)) Pᵀ, eigenvectors in float64
    Why        Poisson's equation on 256 × 256 points is four products of matrices: 97 times faster than
               conjugate gradients
    Preserves  the solution, as far as its residual says: the page's own residual is measured at the solution
               that was written down, and the status follows from it. Steps are 0, or 1 where the residual is
               about a step. Nothing is replaced on doubt: J is held against the oracle at random points
    """

    after = ("dead_code", "products", "sums")
    effect = Effect.REPLACES_ITERATION

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _replaced(part, journal))


def _replaced(graph: Graph, journal: Journal) -> Graph:
    if not any(op.name == "fix" for op in graph.ops):
        return graph
    copy, counts, done = Copy(graph), reads(graph), 0
    for op in graph.ops:
        if op.name != "fix":
            copy.keep(op)
            continue
        try:
            closed, kind = _closed_form(graph, op, counts)
        except NotDirect as doubt:
            journal.refused.append(note("solve directly", op, graph, str(doubt)))
            copy.keep(op)
            continue
        journal.fired.append(note(f"solve directly, by {kind}", op, graph))
        found = copy.inline(closed, copy.moved(op.operands))
        solution, *reports = found
        states = op.attribute("states")
        copy.at += [solution] * states + reports  # nothing reads the other states
        done += 1
    return copy.finish() if done else graph


def _closed_form(graph: Graph, op: Op, counts: list[int]) -> tuple[Graph, str]:
    """The operands of a `fix` ↦ solution, iterations, residual, status; and how. NotDirect."""
    states = op.attribute("states")
    if len(op.regions) < 3:
        raise NotDirect("it states no equation")
    if op.attribute("lanes") or op.attribute("solution") != 1:
        raise NotDirect("it has several unknowns, or samples that stop one by one")
    if op.attribute("gradient", "implicit") != "implicit":
        raise NotDirect("its derivative is asked to be that of its steps")
    if any(counts[v] for v in op.results[1:states]):
        raise NotDirect("its other states are read")
    step, residual, equation = op.regions
    found = affine.solve(equation)
    affine.agrees(equation, found)
    factors = {} if states == 1 else _factors(graph, op)
    build = Builder("direct")
    types = graph.types()
    given = [build.input(f"x.{i}", types[v]) for i, v in enumerate(op.operands)]
    tolerance, captures = given[0], given[2 + states :]
    (d,) = build.inline(affine.offset(equation), captures)
    (x,) = build.inline(found.graph, [d])
    if states == 1:
        count = build.scalar(0, "int64")
        (fresh,) = build.inline(step, [count, x, *captures])
        size, scale = build.inline(residual, [x, fresh, *captures])
        return _finished(build, fresh, 1, size, scale, tolerance), found.kind
    (gap,) = build.inline(affine.gap(equation), [x, *captures])
    fresh = [x, *(build.zeros(types[v]) for v in op.results[1:states])]
    for state, factor in factors.items():
        fresh[state] = gap if factor == 1 else gap * factor
    old = [build.zeros(v.type) for v in fresh]  # the residual does not read them
    size, scale = build.inline(residual, [*old, *fresh, *captures])
    return _finished(build, x, 0, size, scale, tolerance), found.kind


def _finished(build: Builder, x: Value, steps: int, size: Value, scale: Value, tolerance: Value) -> Graph:
    """With the status of `fix`: converged where size <= tolerance · scale, diverged where it is no number."""
    infinite = build.scalar(float("inf"), size.type.dtype)
    small = build.op("less_equal", size, tolerance * scale)
    finite = build.op("less", size + scale, infinite)
    outcomes = [build.scalar(status, "int64") for status in (CONVERGED, AT_MOST, DIVERGED)]
    status = build.op("select", finite, build.op("select", small, *outcomes[:2]), outcomes[2])
    count = build.scalar(steps, "int64")
    return prune(build.finish({"x": x, "iterations": count, "residual": size, "status": status}))


# --- what the residual reads --------------------------------------------------------------------------------


def _factors(graph: Graph, op: Op) -> dict[int, float]:
    """For every further state that the residual reads, f with state = f·(x - equation(x)) at every step.

    The r = b - A x of conjugate gradients is such a state, updated and never looked at: a step keeps
    r - f·(x - equation(x)), and at the start it is 0. Both are tried on random states and data.
    """
    states = op.attribute("states")
    step, residual, equation = op.regions
    read = {v for inner in residual.ops for v in inner.operands} | set(residual.outputs)
    old = [residual.inputs[i].name for i in range(states) if i in read]
    if old:
        raise NotDirect(f"its residual compares steps of {states} states: it reads {old[0]} and the next one")
    wanted = [i for i in range(1, states) if states + i in read]
    gap = affine.gap(equation)
    found = {}
    for state in wanted:
        if step.inputs[1 + state].type != equation.inputs[0].type:
            raise NotDirect(
                f"its residual reads {step.inputs[1 + state].name}, which is not known of a solution"
            )
        found[state] = _factor(step, gap, state, states)
        _starts(graph, op, gap, state, found[state])
    return found


def _factor(step: Graph, gap: Graph, state: int, states: int) -> float:
    """f with r' - r = f·(gap(x') - gap(x))."""
    name, factors = step.inputs[1 + state].name, []
    for seed in range(affine.PROBES):
        _, *own = affine.draw(step, seed)
        captures = own[states:]
        fresh = affine.oracle(step, [np.asarray(0), *own])
        moved = np.subtract(fresh[state], own[state], dtype=np.float64)
        slid = np.subtract(
            affine.oracle(gap, [fresh[0], *captures])[0],
            affine.oracle(gap, [own[0], *captures])[0],
            dtype=np.float64,
        )
        if not np.linalg.norm(slid) > 0:
            raise NotDirect("a step from a random point does not move")
        factors.append(float(np.sum(moved * slid) / np.sum(slid * slid)))
        if not _near(moved, factors[0] * slid, step.inputs[1 + state].type):
            raise NotDirect(f"its residual reads {name}, which is not known of a solution")
    return factors[0]


def _starts(graph: Graph, op: Op, gap: Graph, state: int, factor: float) -> None:
    """Holds r = f·gap(x) at the start. NotDirect: it is not so, or cannot be tried."""
    states = op.attribute("states")
    wanted = (op.operands[2], op.operands[2 + state], *op.operands[2 + states :])
    before = prune(replace(graph, outputs=wanted, output_names=tuple(map(str, range(len(wanted))))))
    if any(inner.regions for inner in before.ops):
        raise NotDirect("what it starts from comes of another iteration")
    for seed in range(affine.PROBES):
        arguments = affine.draw(before, seed)
        x, r, *captures = affine.oracle(before, arguments)
        expected = factor * affine.oracle(gap, [x, *captures])[0].astype(np.float64)
        if not _near(r, expected, graph.types()[op.operands[2]]):
            raise NotDirect("a state that its residual reads starts from something else than the residual")


def _near(a: np.ndarray, b: np.ndarray, type: TensorType) -> bool:
    loose = max(CLOSE, float(np.sqrt(np.finfo(numpy_dtype(type.dtype)).eps)))
    return bool(np.linalg.norm(a - b) <= loose * np.linalg.norm(b))
