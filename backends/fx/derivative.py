"""The reverse derivative of one operation that holds regions, as a graph of its own.

Its inputs are the operation's operands, its results, and the cotangents that arrive; so the backward of a
loop starts from the solution that the forward pass has found, and does not look for it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from banach.ir.graph import Builder, Graph, Op, prune
from banach.ir.primitive import NotDifferentiable, page
from banach.ir.reverse import NoDerivative, reverse
from banach.ir.tensor_type import TensorType


class Refusal(Exception):
    """The operation has no derivative; the message says why."""


@dataclass(frozen=True, slots=True)
class Backward:
    """`graph` turns operands, results and arriving cotangents into the cotangents that are needed; `used` are
    the numbers of the operands and results that it reads."""

    graph: Graph
    used: frozenset[int]


class Differentiated:
    """An operation on operands of given types, with what its derivative wants the forward pass to keep."""

    def __init__(self, op: Op, types: Sequence[TensorType]):
        self.op, self.types = op, tuple(types)
        self._made: dict[tuple[tuple[bool, ...], tuple[bool, ...]], Backward] = {}

    @cached_property
    def recorded(self) -> Op:
        """The operation as the forward pass runs it: what it keeps are further results."""
        build = Builder(self.op.name)
        operands = [build.input(f"x.{i}", type) for i, type in enumerate(self.types)]
        page(self.op.name).record(build, operands, self.op.regions, **dict(self.op.attributes))
        return build.finish({}).ops[-1]

    def backward(self, needed: tuple[bool, ...], arriving: tuple[bool, ...]) -> Backward:
        """The reverse derivative for the operands that need one and the results whose cotangents arrive.

        Refusal: there is none.
        """
        if (needed, arriving) not in self._made:
            self._made[needed, arriving] = self._derive(needed, arriving)
        return self._made[needed, arriving]

    def _derive(self, needed: Sequence[bool], arriving: Sequence[bool]) -> Backward:
        own = len(self.op.types)
        # Second derivatives also reach what was kept; then the recorded operation is differentiated.
        op = self.recorded if any(arriving[own:]) else self.op
        build = Builder(f"reverse_{op.name}")
        operands = [build.input(f"x.{i}", type) for i, type in enumerate(self.types)]
        results = [build.input(f"y.{i}", type) for i, type in enumerate(self.recorded.types)]
        cotangents = [build.input(f"d.{y.id}", y.type) if has else None for y, has in zip(results, arriving)]
        shown, given = len(op.types), dict(op.attributes)
        try:
            found = page(op.name).reverse(
                build,
                operands,
                results[:shown],
                cotangents[:shown],
                op.regions,
                reverse,
                results[own:],
                **given,
            )
        except (NotDifferentiable, NoDerivative) as refusal:
            raise Refusal(str(refusal)) from None
        outputs = {
            f"dx.{i}": build.zeros(operand.type) if dx is None else dx
            for i, (operand, dx, wanted) in enumerate(zip(operands, found, needed))
            if wanted
        }
        graph = prune(build.finish(outputs))
        read = {v for inner in graph.ops for v in inner.operands} | set(graph.outputs)
        return Backward(graph, frozenset(v for v in read if v < len(operands) + len(results)))
