"""Witnesses are replayed: the oracle runs the iteration from the start that a refutation names."""

from typing import Any

import numpy as np

from banach.compiler import library
from banach.compiler.certificate import Witness
from banach.compiler.elaboration import arithmetic, maps
from banach.compiler.elaboration.analysis import measure
from banach.compiler.elaboration.scope import stored
from banach.compiler.elaboration.things import Environment, Matrix, Table
from banach.compiler.facts.norms import top_direction
from banach.ir.evaluate import evaluate
from banach.ir.graph import prune
from banach.ir.tensor_type import numpy_dtype

_STEPS = 60
_ENOUGH = 1e6  # growth by this factor shows that an orbit runs away
_FAR = 64  # how far out, in units of the longest move of the prox


def witness(rule: library.Refutation, names: Environment, claim: Any) -> Witness | None:
    """The orbit of a far start along the rule's direction; None if there is none that runs away."""
    context, unknown = claim.context, claim.solved.unknown
    direction = _direction(rule, names, claim)
    if direction is None or unknown.shape != direction.shape:
        return None
    length = measure.quantity(rule.scale, names, context).interval.to_floats()[1]
    inputs = _captured(claim)
    start = direction * _FAR * max(1.0, length)
    growth = _orbit(claim, start, inputs)
    if growth[-1] < _ENOUGH * growth[0]:
        return None
    note = f"from ‖x‖ = {growth[0]:.3g} the norm is {growth[-1]:.3g} after {len(growth) - 1} iterations"
    return Witness("far start", tuple(map(float, start.ravel())), start.shape, tuple(growth), note)


def _direction(rule: library.Refutation, names: Environment, claim: Any) -> np.ndarray | None:
    """The steepest direction of a function: the top singular vector of the matrix that its page names."""
    thing = measure.thing(rule.direction, names, claim.context)
    if thing is None or not arithmetic.is_map(thing):
        return None
    map = maps.as_map(thing, None)
    if not (isinstance(map, Matrix) and isinstance(map.matrix, Table)):
        return None
    vector, _ = top_direction(stored(map.matrix, claim.context.scope.precision))
    array = np.asarray(vector)
    return array / np.linalg.norm(array)


def _captured(claim: Any) -> list[np.ndarray]:
    """The values that the step reads from outside; inputs of the model are taken as zero."""
    graph = prune(claim.context.scope.build.finish({str(i): v for i, v in enumerate(claim.solved.captures)}))
    given = [
        port.default.array
        if port.default is not None
        else np.zeros([size if isinstance(size, int) else 1 for size in port.type.shape])
        for port in graph.inputs
    ]
    return evaluate(graph, given)


def _orbit(claim: Any, start: np.ndarray, captures: list[np.ndarray]) -> list[float]:
    """The norms of the unknown along the iteration."""
    graph = prune(claim.context.scope.build.finish({str(i): v for i, v in enumerate(claim.solved.start)}))
    given = [
        port.default.array
        if port.default is not None
        else np.zeros([size if isinstance(size, int) else 1 for size in port.type.shape])
        for port in graph.inputs
    ]
    own = evaluate(graph, given)
    # Every state of the unknown's own type starts at the witness: the point, and its extrapolation.
    state = [
        start.astype(numpy_dtype(claim.context.scope.precision)) if a.shape == start.shape else a for a in own
    ]
    norms = [float(np.linalg.norm(state[0]))]
    for k in range(_STEPS):
        state = evaluate(claim.solved.step, [np.asarray(k), *state, *captures])
        norms.append(float(np.linalg.norm(state[0].astype(np.float64))))
        if not np.isfinite(norms[-1]) or norms[-1] > _ENOUGH * norms[0]:
            break
    return norms
