"""How much relative changes of positive states change what is made of them.

The elasticity of a positive value is its Lipschitz constant in logarithms: where every entry of a state moves
by a factor between 1/r and r, the value moves by one between r^-e and r^e. Products add elasticities, sums
and matrices that are not negative take the greatest, powers multiply; of a function of one number it is the
bound of |u φ'(u)/φ(u)|. A value may also be 0 for all states: it stays so, and a sum leaves it out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from banach.compiler.elaboration.analysis.entrywise import NotRead, kept_states, only
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.words.spoken import trusted
from banach.ir.graph import Graph, Op, Value, prune
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp
from banach.ir.primitives.shape import Rearrangement
from banach.ir.tensor_type import TensorType

ANY, NONNEGATIVE, POSITIVE = range(3)  # what is known of the sign of all entries
_KNOWN = 1 << 18  # entries of a value that is worked out

# |u φ'(u)/φ(u)| for u > 0, and whether φ(0) > 0. Of the logistic function: u (1 - σ(u)), at most 0.278465.
_CURVES = {
    **dict.fromkeys(("tanh", "arctan", "erf", "softsign", "log1p", "relu", "abs"), (Fraction(1), False)),
    "softplus": (Fraction(1), True),
    "sigmoid": (Fraction(27847, 100000), True),
    "square": (Fraction(2), False),
    "sqrt": (Fraction(1, 2), False),
}
_SIGNS = {  # of any number
    **dict.fromkeys(("exp", "softplus", "sigmoid"), POSITIVE),
    **dict.fromkeys(("relu", "abs", "square", "norm", "sqrt", "cosh"), NONNEGATIVE),
}
_ADDING = ("sum", "norm", "cumsum", "reduce_max", "reduce_min")
_SAME = ("cast", "stop_gradient", "broadcast", "reshape", "transpose", "take")


@dataclass(frozen=True, slots=True)
class Size:
    """The sign of all entries of a value, its elasticity by each state, and its entries, if known."""

    sign: int
    by: tuple[Fraction, ...]
    known: np.ndarray | None = None

    @property
    def moves(self) -> bool:
        return any(self.by)


@dataclass(frozen=True, slots=True)
class Elasticities:
    """`rows[i][j]` bounds that of state i's new value by state j; `begins` is whether the states are positive
    from the start, or from the first step on: else that is a matter of the inputs."""

    states: tuple[str, ...]
    rows: tuple[tuple[Fraction, ...], ...]
    begins: bool


def elasticities(claim: Claim) -> Elasticities:
    """Of a step that maps positive states to positive ones. NotRead: it is not known to."""
    if not claim.recipe.plain:
        raise NotRead("it holds states for some steps, or reads old ones")
    graph = claim.solved.step
    kept = kept_states(claim, graph)
    given = _outer(claim, claim.solved.captures, len(kept))
    step = only(graph, kept)
    names = [port.name for port in graph.inputs[: len(graph.inputs) - len(given)]]

    def after(sign: int) -> list[Size]:
        units = [tuple(Fraction(int(name == other)) for other in kept) for name in names]
        return _run(step, [*(Size(sign if any(unit) else ANY, unit) for unit in units), *given], len(kept))

    found = after(POSITIVE)
    for name, size in zip(kept, found):
        if size.sign != POSITIVE:
            raise NotRead(f"the new `{name}` may not be positive")
    starts = dict(zip(names[1:], _outer(claim, claim.solved.start, len(kept))))
    signs = {name: starts[name].sign for name in kept}
    if min(signs.values()) == NONNEGATIVE and all(size.sign == POSITIVE for size in _attempt(after)):
        signs = dict.fromkeys(kept, POSITIVE)  # after the first step
    if any(starts[name].known is not None and sign != POSITIVE for name, sign in signs.items()):
        raise NotRead("it does not start from positive numbers")
    positive = min(signs.values()) == POSITIVE
    return Elasticities(tuple(kept), tuple(size.by for size in found), positive)


def _attempt(after: Callable[[int], list[Size]]) -> list[Size]:
    try:
        return after(NONNEGATIVE)
    except NotRead:
        return [Size(ANY, ())]


def _outer(claim: Claim, values: Sequence[Value], states: int) -> list[Size]:
    """What is known of values of the graph around the step."""
    graph = prune(claim.context.scope.build.finish({str(i): v for i, v in enumerate(values)}))
    return _run(graph, [Size(ANY, (Fraction(0),) * states)] * len(graph.inputs), states)


def _run(graph: Graph, inputs: Sequence[Size], states: int) -> list[Size]:
    known, types, none = list(inputs), [port.type for port in graph.inputs], (Fraction(0),) * states
    for op in graph.ops:
        operands = [known[v] for v in op.operands]
        if any(size.moves for size in operands):
            if isinstance(page(op.name), RegionOp) or op.types[1:] or trusted(op.name):
                raise NotRead(f"`{op.name}` is not taken apart")
            known.append(_made(op, operands, [types[v] for v in op.operands]))
        else:
            known += [_still(op, operands, [types[v] for v in op.operands], none)] * len(op.types)
        types += op.types
    return [known[v] for v in graph.outputs]


def _still(op: Op, operands: Sequence[Size], types: Sequence[TensorType], none: tuple[Fraction, ...]) -> Size:
    """Of a value that no state moves: its entries where they are known, else what can be said of its sign."""
    if op.name == "constant":
        return _of(np.asarray(op.attribute("value").array), none)
    if isinstance(page(op.name), RegionOp) or op.types[1:] or trusted(op.name):
        return Size(ANY, none)
    if all(size.known is not None for size in operands) and _is_small(op.types[0]):
        try:
            with np.errstate(all="ignore"):
                given = (size.known for size in operands)
                return _of(np.asarray(page(op.name).evaluate(*given, **dict(op.attributes))), none)
        except (KeyError, IndexError):  # a size that only the run knows, or a place outside
            return Size(ANY, none)
    try:
        sign = _made(op, operands, types).sign
    except NotRead:
        sign = ANY
    return Size(max(sign, _SIGNS.get(op.name, ANY)), none)


def _is_small(type: TensorType) -> bool:
    return math.prod(size if isinstance(size, int) else _KNOWN + 1 for size in type.shape) <= _KNOWN


def _of(array: np.ndarray, none: tuple[Fraction, ...]) -> Size:
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        return Size(ANY, none, array)
    return Size(POSITIVE if (array > 0).all() else NONNEGATIVE if (array >= 0).all() else ANY, none, array)


def _made(op: Op, operands: Sequence[Size], types: Sequence[TensorType]) -> Size:
    """What an operation makes of values that are not negative. NotRead: nothing is known of it."""
    signs = [size.sign for size in operands]
    if not signs:
        raise NotRead(f"nothing is known of `{op.name}`")
    if op.name in ("take", "mask"):  # places, and truths, have no sign
        if operands[1].moves:
            raise NotRead(f"`{op.name}` chooses by the states")
        signs, operands = signs[:1], operands[:1]
    elif op.name == "select":
        if operands[0].moves:
            raise NotRead("`select` chooses by the states")
        signs, operands = signs[1:], operands[1:]
    if min(signs) == ANY and not (op.name == "power" and signs[0] != ANY):
        raise NotRead(f"`{op.name}` takes what may be negative")
    most = tuple(max(own) for own in zip(*(size.by for size in operands)))
    match op.name:
        case "add" | "maximum":
            return Size(max(signs), most)
        case "minimum" | "select" | "concatenate":
            return Size(min(signs), most)
        case "multiply":
            return Size(min(signs), _sum(operands))
        case "divide" if signs[1] == POSITIVE:
            return Size(min(signs), _sum(operands))
        case "matvec" | "matmul":
            some = types[0].shape[-1] != 0 and isinstance(types[0].shape[-1], int)
            return Size(_product_sign(op.name, operands) if some else NONNEGATIVE, _sum(operands))
        case "convolve":
            return Size(NONNEGATIVE, _sum(operands))
        case "power":
            return _power(*operands)
        case "pad" | "dilate" | "mask":
            return Size(NONNEGATIVE, most)
        case name if name in _CURVES:
            slope, lifted = _CURVES[name]
            return Size(POSITIVE if lifted else signs[0], tuple(slope * e for e in most))
        case name if name in _ADDING:
            some = all(isinstance(size, int) and size for size in types[0].shape)
            return Size(signs[0] if some else NONNEGATIVE, most)  # of no entries at all it is 0
        case name if name in _SAME or isinstance(page(name), Rearrangement):
            return Size(min(signs), most)
    raise NotRead(f"nothing is known of `{op.name}`")


def _sum(operands: Sequence[Size]) -> tuple[Fraction, ...]:
    return tuple(sum(own, Fraction(0)) for own in zip(*(size.by for size in operands)))


def _power(base: Size, exponent: Size) -> Size:
    if exponent.moves or exponent.known is None or not np.isfinite(exponent.known).all():
        raise NotRead("`power` has an exponent that is not known")
    if base.sign != POSITIVE and not (exponent.known > 0).all():
        raise NotRead("`power` may divide by 0")
    largest = max((abs(Fraction(float(e))) for e in exponent.known.ravel()), default=Fraction(0))
    return replace(base, by=tuple(largest * e for e in base.by), known=None)


def _product_sign(name: str, operands: Sequence[Size]) -> int:
    """Positive where every row of one factor meets something positive."""
    left, right = operands
    reached: Any = left.sign == POSITIVE or (left.known is not None and (left.known > 0).any(axis=-1).all())
    if right.sign == POSITIVE and reached:
        return POSITIVE
    axis = -1 if name == "matvec" else -2
    reached = right.known is not None and (right.known > 0).any(axis=axis).all()
    return POSITIVE if left.sign == POSITIVE and reached else NONNEGATIVE
