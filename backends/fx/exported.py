"""Loops for torch.export: the device decides, by torch's own control flow; nothing is differentiated.

Also how a fixed point's iteration ends, which is the same in both forms.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._higher_order_ops.while_loop import while_loop

from banach.ir.graph import Op
from banach.ir.primitives.regions import AT_MOST, CONVERGED, DIVERGED

Tensors = Sequence[torch.Tensor]
Record = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # iterations, residual, status
Run = Callable[[str, Sequence[Any], Mapping[str, int]], Tensors]


def begin(lane: Sequence[int], tolerance: torch.Tensor, device: torch.device) -> Record:
    """The record of an iteration that has made no step."""
    status = torch.full(lane, AT_MOST, dtype=torch.int64, device=device)
    measured = torch.full(lane, torch.inf, dtype=tolerance.dtype, device=device)
    return torch.zeros_like(status), measured, status


def judge(
    record: Record, k: int | torch.Tensor, size: torch.Tensor, scale: torch.Tensor, tolerance: torch.Tensor
) -> Record:
    """The record after a check at step k; lanes that have ended keep theirs. NaN and ∞ have diverged."""
    iterations, measured, status = record
    going = status == AT_MOST
    small = torch.where(size <= tolerance * scale, CONVERGED, AT_MOST)
    outcome = torch.where(size + scale < torch.inf, small, DIVERGED)
    return (
        torch.where(going, k, iterations),
        torch.where(going, size, measured),
        torch.where(going, outcome, status),
    )


def choose(
    going: torch.Tensor, fresh: Tensors, kept: Tensors, held: Sequence[bool] | None = None
) -> list[torch.Tensor]:
    """The fresh states on the lanes that are going, the kept ones on the others; those not `held` run on."""
    return [
        torch.where(going.reshape(*going.shape, *[1] * (x.ndim - going.ndim)), x, y) if hold else x
        for x, y, hold in zip(fresh, kept, held or [True] * len(fresh), strict=True)
    ]


def fix(
    op: Op,
    run: Run,
    operands: Sequence[Any],
    sizes: Mapping[str, int],
    record: Record,
    held: Sequence[bool],
) -> Tensors:
    """The iteration as torch's while loop."""
    tolerance, most, *given = operands
    states, lanes, every = (op.attribute(name) for name in ("states", "lanes", "every"))
    captures = given[states:]

    def going(k: torch.Tensor, *carried: torch.Tensor) -> torch.Tensor:
        return (k < most) & (carried[-1] == AT_MOST).any()

    def body(k: torch.Tensor, *carried: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state, (iterations, measured, status) = list(carried[:states]), carried[states:]
        before = fresh = state
        for i in range(every):
            new = run("step", [k, *fresh, *captures], sizes)
            if i:  # the first step is permitted, or the loop had ended
                before, fresh = choose(k < most, fresh, before), choose(k < most, new, fresh)
            else:
                before, fresh = fresh, new
            k = k + (k < most)
        size, scale = run("residual", [*before, *fresh, *captures], sizes)
        state = choose(status == AT_MOST, fresh, state, held) if lanes else fresh
        return (
            k,
            *(x.clone() for x in state),
            *judge((iterations, measured, status), k, size, scale, tolerance),
        )

    start = torch.zeros((), dtype=torch.int64, device=record[2].device)
    carried = (start, *(x.clone(memory_format=torch.contiguous_format) for x in given[:states]), *record)
    return while_loop(going, body, carried)[1:]


def repeat(
    op: Op, run: Run, operands: Sequence[Any], sizes: Mapping[str, int], device: torch.device
) -> Tensors:
    """`while` as torch's while loop."""
    most, *given = operands
    states = op.attribute("states")

    def going(k: torch.Tensor, *state: torch.Tensor) -> torch.Tensor:
        return (k < most) & run("condition", [*state, *given[states:]], sizes)[0]

    def body(k: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (k + 1, *(x.clone() for x in run("step", [*state, *given[states:]], sizes)))

    start = torch.zeros((), dtype=torch.int64, device=device)
    carried = (start, *(x.clone(memory_format=torch.contiguous_format) for x in given[:states]))
    steps, *state = while_loop(going, body, carried)
    return (*state, steps)


def cond(run: Run, operands: Sequence[Any], sizes: Mapping[str, int]) -> Tensors:
    """One of two maps, by torch's own branch."""
    chosen, *given = operands

    def branch(role: str) -> Callable[..., Tensors]:
        return lambda *x: tuple(y.clone() for y in run(role, x, sizes))

    return torch.cond(chosen, branch("yes"), branch("no"), tuple(given))
