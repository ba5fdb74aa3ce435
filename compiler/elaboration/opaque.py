"""Maps whose inside is not looked into: `opaque(F, lipschitz=0.9)`.

Such a map runs, and has derivatives, as F does; but of its facts the checker knows only what is declared, as
by `assume:`, and every verdict that rests on it says so. What a declaration says is tried at points that are
drawn, where the map reads nothing that is known only at run time.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from banach.compiler.elaboration import arithmetic
from banach.compiler.elaboration.analysis.assumption import CONTRADICTION, Assumption
from banach.compiler.elaboration.analysis.tables import ANYTHING
from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_ARGUMENTS, WRONG_KIND, refuse
from banach.compiler.elaboration.region import captures_of, close
from banach.compiler.elaboration.samples import points, sizes
from banach.compiler.elaboration.things import Opaque, Tensor, describe
from banach.compiler.facts.quantity import Quantity
from banach.ir.evaluate import evaluate
from banach.ir.graph import Graph
from banach.ir.span import Span
from banach.ir.widen import widen

_SLACK = 1e-6  # relative; more than rounding in float64 moves what is tried

Run = Callable[[np.ndarray], np.ndarray]


def apply(map: Opaque, arguments: Sequence[Any], context: Context, span: Span | None) -> Any:
    """The map applied, in one piece: a `call` of its name. SpecError: what is declared does not hold."""
    if len(arguments) != 1:
        raise refuse(WRONG_ARGUMENTS, f"this map takes one argument, not {len(arguments)}", span)
    if arithmetic.is_known(arguments[0]):
        return context.apply(map.map, arguments, context, span)
    scope = context.scope
    value, inner = scope.value(arguments[0], place=span), scope.inner(map.name)
    x = inner.build.input("x", value.type)
    thing = context.apply(map.map, [Tensor(x, "x")], context.within(inner), span)
    if not arithmetic.is_tensor(thing):
        fix = "give each tensor a map of its own"
        raise refuse(WRONG_KIND, f"an opaque map gives one tensor, not {describe(thing)}", span, fix=fix)
    region = inner, [x], {"y": inner.value(thing, place=span), **inner.reports}
    captures = captures_of([region])
    graph = close(region, captures)
    key = map, value.type
    if key not in scope.tried and not captures:
        _try(map, graph, context)
    scope.tried.add(key)
    result, *reports = scope.build.emit("call", [value, *(v for _, v in captures)], {}, [graph], span)
    for name, report in zip(inner.reports, reports):
        scope.report(name, report)
    return Tensor(result)


def declared(graph: Graph, context: Context) -> dict[str, Quantity]:
    """The Lipschitz constants that are declared of the opaque maps in a graph, by the pieces' names."""
    names = {region.name for op in graph.ops if op.name == "call" for region in op.regions}
    known = context.assumed.opaque
    return {
        name: context.assumed.narrow("lipschitz", known[name], ANYTHING)
        for name in sorted(names & known.keys())
    }


# --- at points that are drawn -----------------------------------------------------------------------------


def _try(map: Opaque, graph: Graph, context: Context) -> None:
    """SpecError: a declaration fails at some points."""
    if not graph.inputs[0].type.is_float or not graph.output_types[0].is_float:
        return
    wide, known = widen(graph), sizes(graph, context.scope.contract)

    def run(x: np.ndarray) -> np.ndarray:
        return evaluate(wide, [x], known)[0]

    drawn = [point[0] for point in points(wide, known)]
    near = [x + 1e-3 * drawn[0] for x in drawn]
    pairs = [*pairwise([*drawn, drawn[0]]), *zip(drawn, near)]
    for assumption in context.assumed.known:
        if assumption.thing is not map:
            continue
        for said, seen in (found for pair in pairs for found in _contradictions(assumption, run, *pair)):
            message = f"`{assumption.text}` is declared, and at points that are drawn {said} is {seen:.6g}"
            fix = "correct what is declared, or drop it"
            raise refuse(CONTRADICTION, message, assumption.span, fix=fix)


def _contradictions(
    assumption: Assumption, f: Run, x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[str, float]]:
    """What contradicts a declaration at two points, and by how much."""
    fx, fy, middle = f(x), f(y), f((x + y) / 2)
    if not all(np.all(np.isfinite(value)) for value in (fx, fy, middle)):
        return
    far = float(np.linalg.norm(x - y))
    low, high = (0.0, 0.0) if assumption.interval is None else assumption.interval.to_floats()
    match assumption.word:
        case "lipschitz" | "smallest_singular":
            ratio = float(np.linalg.norm(fx - fy)) / far
            if not low * (1 - _SLACK) <= ratio <= high * (1 + _SLACK) + 1e-9:
                yield "‖F(x) - F(y)‖/‖x - y‖", ratio
        case "convex" | "strong_convexity" | "smoothness" if fx.shape == ():
            noise = 1e-9 * (abs(fx) + abs(fy) + 1) / far**2
            bend = float((fx + fy) / 2 - middle) * 8 / far**2  # between μ and L
            top = high if assumption.word == "smoothness" else np.inf
            bottom = low if assumption.word != "smoothness" else -np.inf
            if not bottom * (1 - _SLACK) - noise <= bend <= top * (1 + _SLACK) + noise:
                yield "the curvature between two of them", bend
        case "linear":
            off = float(np.linalg.norm(middle - (fx + fy) / 2) + np.linalg.norm(f(2 * x) - 2 * fx))
            if off > _SLACK * float(np.linalg.norm(fx) + np.linalg.norm(fy) + 1):
                yield "‖F((x + y)/2) - (F(x) + F(y))/2‖ + ‖F(2x) - 2F(x)‖", off
        case "symmetric" if fx.shape == x.shape:
            off = float(abs(np.sum(fx * y) - np.sum(x * fy)))
            if off > _SLACK * float(np.linalg.norm(fx) * np.linalg.norm(y) + 1):
                yield "|⟨F(x), y⟩ - ⟨x, F(y)⟩|", off
        case "spectrum" if fx.shape == x.shape:
            quotient = float(np.sum(x * fx) / np.sum(x * x))
            if not low - _SLACK * (1 + abs(low)) <= quotient <= high + _SLACK * (1 + abs(high)):
                yield "⟨x, F(x)⟩/‖x‖²", quotient
