"""Whether what a solve returns goes where its states go: whether it is a continuous formula of them."""

from banach.compiler.elaboration import derivation
from banach.compiler.elaboration.claims import Claim
from banach.compiler.elaboration.things import Formula
from banach.compiler.elaboration.words.spoken import trusted
from banach.ir.diagnostic import SpecError
from banach.ir.graph import Op
from banach.ir.primitive import page
from banach.ir.primitives.regions import RegionOp

# Of these the operands that may not move: a jump, or a place where the result is not finite.
LEAPS = {
    *("floor", "round", "sign", "sqrt", "log", "log1p", "power"),
    *("inverse", "log_det", "cholesky", "qr", "eigh", "svd"),
}
_LEAPS_IN = {
    "divide": (1,),
    "modulo": (0, 1),
    "solve": (0,),
    "solve_positive": (0,),
    "solve_triangular": (0,),
}


def continuous(claim: Claim) -> bool:
    """Whether the returned formula is made of operations that are continuous in the states."""
    recipe, types = claim.recipe, claim.solved.types
    states = tuple(name for name, _ in recipe.state)
    formula = Formula(recipe.name, states, recipe.returns, recipe.names, recipe.where)
    try:
        graph, _ = derivation.graph_of(formula, [types[name] for name in states], claim.context, None)
    except SpecError:
        return False
    moves = [i < len(states) for i in range(len(graph.inputs))]
    for op in graph.ops:
        moving = [i for i, v in enumerate(op.operands) if moves[v]]
        if moving and not _is_continuous(op, moving):
            return False
        moves += [bool(moving)] * len(op.types)
    return True


def _is_continuous(op: Op, moving: list[int]) -> bool:
    if isinstance(page(op.name), RegionOp) or trusted(op.name):
        return False  # what it holds is not looked into; of a guest nothing is known
    if op.name in LEAPS or any(i in moving for i in _LEAPS_IN.get(op.name, ())):
        return False
    return all(type.is_float for type in op.types)  # what is compared, counted or chosen leaps
