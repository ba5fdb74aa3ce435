"""A solve as a Loop that stops by its residual; the same numbers, counts and status as the oracle's.

Per iteration the body pays for the step, the residual and four nodes on numbers, five where the scale is no
constant. The loop goes on while the residual has not passed and residual and scale are smaller than infinity,
which NaN is not. (A Where for Not and And would be one node fewer, and slower by a tenth of an iteration at
n = 64.) The status waits until after the loop.

With `every` steps per check the body holds that many steps. A remainder of `most` gets its own small Loop in
an If after the main one, run at most once: masking it would cost every iteration a comparison and a
selection per state, and rounding `most` up would give iterations that nobody asked for.

With `lanes` a row that has stopped is held by a Where, or left out of the next round (see compaction); the
loop ends when every row has. A state that nobody reads behind the loop runs on instead, where it cannot do
harm (`ir.primitives.fixpoint.held`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from banach.backends.onnx.compaction import CHECKS, renamed, separate
from banach.backends.onnx.emit import ELEMENTS, Ref
from banach.backends.onnx.plain import choose
from banach.backends.onnx.sizes import SizedEmitter
from banach.ir.dims import Size, named
from banach.ir.graph import Graph, Op
from banach.ir.primitives.fixpoint import held
from banach.ir.primitives.regions import AT_MOST, CONVERGED, DIVERGED
from banach.ir.tensor_type import TensorType

Inline = Callable[[Graph, Sequence[Ref]], list[Ref]]

TRUTH, WHOLE = TensorType("bool"), TensorType("int64")


@dataclass(frozen=True, slots=True)
class _Carried:
    """What one iteration hands to the next; `iterations` is kept for lanes only."""

    states: list[Ref]
    k: Ref
    measured: Ref
    small: Ref
    finite: Ref
    iterations: Ref | None = None

    def refs(self) -> list[Ref]:
        lanes = [] if self.iterations is None else [self.iterations]
        return [*self.states, self.k, self.measured, self.small, self.finite, *lanes]

    def like(self, refs: Sequence[Ref]) -> "_Carried":
        count = len(self.states)
        return _Carried(list(refs[:count]), *refs[count:])


@dataclass(frozen=True, slots=True)
class _Solve:
    """One fixed point under construction."""

    emit: SizedEmitter
    inline: Inline
    step: Graph
    residual: Graph
    tolerance: Ref
    captures: Sequence[Ref]
    lane: tuple[Size, ...] | None
    held: Sequence[bool]  # the states that a lane keeps when it has stopped

    @property
    def truth(self) -> TensorType:
        return TensorType("bool", self.lane or ())

    def start(self, states: Sequence[Ref]) -> _Carried:
        """Nothing is known of the residual yet; every lane is going."""
        measured = self.filled(np.inf, self.tolerance.type.dtype)
        no, yes = self.filled(False, "bool"), self.filled(True, "bool")
        iterations = None if self.lane is None else self.filled(0, "int64")
        return _Carried(list(states), self.whole(0), measured, no, yes, iterations)

    def steps(self, carried: _Carried, count: int) -> tuple[list[Ref], list[Ref], Ref]:
        """The states before and after the last of `count` steps, and the number of steps so far."""
        before = fresh = carried.states
        for i in range(count):
            k = self.add(carried.k, i) if i and 0 in read_inputs(self.step) else carried.k
            before, fresh = fresh, self.inline(self.step, [k, *fresh, *self.captures])
        return before, fresh, self.add(carried.k, count)

    def check(
        self, carried: _Carried, before: Sequence[Ref], fresh: Sequence[Ref], k: Ref
    ) -> tuple[Ref, _Carried]:
        """Whether to go on, and what is then known."""
        emit = self.emit
        size, scale = self.inline(self.residual, [*before, *fresh, *self.captures])
        bound = emit.node("Mul", [self.tolerance, scale], scale.type)
        small = emit.node("LessOrEqual", [size, bound], self.truth)
        fixed = scale.constant is not None and np.all(np.isfinite(scale.constant.array))
        finite = self.finite(size if fixed else emit.node("Add", [size, scale], size.type))
        if carried.iterations is None:
            found = _Carried(list(fresh), k, size, small, finite)
            return self.going(found), found
        return self.frozen(carried, fresh, k, size, small, finite)

    def frozen(
        self, carried: _Carried, fresh: Sequence[Ref], k: Ref, size: Ref, small: Ref, finite: Ref
    ) -> tuple[Ref, _Carried]:
        """The same for lanes: those that had stopped before keep all they have."""
        emit, old = self.emit, self.going(carried)
        assert carried.iterations is not None
        states = [
            choose(emit, new.type, self.widened(old, new.type), new, was) if kept else new
            for new, was, kept in zip(fresh, carried.states, self.held, strict=True)
        ]
        measured = choose(emit, size.type, old, size, carried.measured)
        small = choose(emit, self.truth, old, small, carried.small)
        finite = choose(emit, self.truth, old, finite, carried.finite)
        iterations = choose(emit, carried.iterations.type, old, k, carried.iterations)
        found = _Carried(states, k, measured, small, finite, iterations)
        return self.some(self.going(found)), found

    def going(self, carried: _Carried) -> Ref:
        """Whether the residual was too large and finite, lane by lane."""
        return self.emit.node("And", [self.negated(carried.small), carried.finite], self.truth)

    def loop(self, carried: _Carried, trips: Ref, every: int) -> _Carried:
        """Chunks of `every` steps with a check after each, at most `trips` of them."""

        def body(inputs: list[Ref]) -> list[Ref]:
            inside = carried.like(inputs[2:])
            going, found = self.check(inside, *self.steps(inside, every))
            return [going, *found.refs()]

        refs = carried.refs()
        types = [ref.type for ref in refs]
        made = self.emit.body("solve", [WHOLE, TRUTH, *types], body)
        found = self.emit.regions(
            "Loop", [trips, self.emit.constant(True, "bool"), *refs], types, {"body": made}
        )
        return carried.like(found)

    def rounds(self, carried: _Carried, trips: Ref, every: int) -> _Carried:
        """The same for lanes, a few checks at a time, of those rows alone that are still going."""
        emit = self.emit

        def body(inputs: list[Ref]) -> list[Ref]:
            number, _, *refs = inputs
            inside = carried.like(refs)
            rows, inner, own = self.gathered(inside)
            done = emit.node("Mul", [number, self.whole(CHECKS)], WHOLE)
            left = emit.node("Min", [emit.node("Sub", [trips, done], WHOLE), self.whole(CHECKS)], WHOLE)
            found = own.loop(inner, left, every)
            places = emit.node(
                "Unsqueeze", [rows, emit.vector([1])], rows.type.with_shape((*rows.type.shape, 1))
            )
            kept = [
                ref if ref.type.rank == 0 else emit.node("ScatterND", [whole, places, ref], whole.type)
                for whole, ref in zip(inside.refs(), found.refs())
            ]
            new = carried.like(kept)
            return [self.some(self.going(new)), *new.refs()]

        refs = [emit.settle(ref) for ref in carried.refs()]
        types = [ref.type for ref in refs]
        made = emit.body("round", [WHOLE, TRUTH, *types], body)
        count = self.add(emit.node("Div", [trips, self.whole(CHECKS)], WHOLE), 1)  # the last may be empty
        found = emit.regions("Loop", [count, emit.constant(True, "bool"), *refs], types, {"body": made})
        return carried.like(found)

    def gathered(self, inside: _Carried) -> tuple[Ref, _Carried, "_Solve"]:
        """The rows that are still going, what is carried of them, and the solve that is theirs."""
        emit, fresh = self.emit, named(self.emit.fresh("going"))
        assert self.lane is not None
        lane = self.lane[0]
        found = emit.node("NonZero", [self.going(inside)], TensorType("int64", (1, fresh)))
        rows = emit.node("Squeeze", [found, emit.vector([0])], TensorType("int64", (fresh,)))
        emit.count(str(fresh), rows)

        def own(ref: Ref) -> Ref:
            shape = ref.type.shape
            if shape[:1] != (lane,):
                return ref
            return emit.node("Gather", [ref, rows], ref.type.with_shape((fresh, *shape[1:])), axis=0)

        step, residual = renamed(self.step, lane, fresh), renamed(self.residual, lane, fresh)
        captures = [own(ref) for ref in self.captures]
        solve = replace(self, step=step, residual=residual, captures=captures, lane=(fresh,))
        begun = solve.start([own(ref) for ref in inside.states])
        iterations = None if inside.iterations is None else own(inside.iterations)
        return rows, replace(begun, k=inside.k, measured=own(inside.measured), iterations=iterations), solve

    def remainder(self, carried: _Carried, rest: Ref) -> _Carried:
        """The last `rest` steps, fewer than a chunk, where the main loop stopped at its trip count."""
        emit = self.emit
        unfinished = self.unfinished(carried)
        wanted = emit.node("And", [emit.node("Less", [self.whole(0), rest], TRUTH), unfinished], TRUTH)
        types = [ref.type for ref in carried.refs()]

        def single(inputs: list[Ref]) -> list[Ref]:
            _, going, k, *states = inputs
            state = states[len(carried.states) :]
            fresh = self.inline(self.step, [k, *state, *self.captures])
            return [going, self.add(k, 1), *state, *fresh]

        def last(_: list[Ref]) -> list[Ref]:
            held = [carried.k, *carried.states, *carried.states]
            shapes = [ref.type for ref in held]
            made = emit.body("rest", [WHOLE, TRUTH, *shapes], single)
            k, *states = emit.regions(
                "Loop", [rest, emit.constant(True, "bool"), *held], shapes, {"body": made}
            )
            half = len(carried.states)
            return self.check(carried, states[:half], states[half:], k)[1].refs()

        bodies = {
            "then_branch": emit.body("then", (), last, branch=True),
            "else_branch": emit.body("else", (), lambda _: carried.refs(), branch=True),
        }
        return carried.like(emit.regions("If", [wanted], types, bodies))

    def unfinished(self, carried: _Carried) -> Ref:
        """Whether some iteration is still going."""
        going = self.going(carried)
        return going if carried.iterations is None else self.some(going)

    def results(self, carried: _Carried) -> list[Ref]:
        """States, iterations, residual and status."""
        emit, count = self.emit, TensorType("int64", self.lane or ())
        at_most, converged, diverged = self.whole(AT_MOST), self.whole(CONVERGED), self.whole(DIVERGED)
        ended = emit.node("Where", [carried.small, converged, at_most], count)
        status = emit.node("Where", [carried.finite, ended, diverged], count)
        iterations = carried.k if carried.iterations is None else carried.iterations
        return [*carried.states, iterations, carried.measured, status]

    def some(self, mask: Ref) -> Ref:
        """Whether it holds for some lane: by a count, which is defined without lanes too."""
        ones = self.emit.node("Cast", [mask], mask.type.with_dtype("int64"), to=ELEMENTS["int64"])
        total = self.emit.node("ReduceSum", [ones], WHOLE, keepdims=0)
        return self.emit.node("Cast", [total], TRUTH, to=ELEMENTS["bool"])

    def negated(self, truth: Ref) -> Ref:
        return self.emit.node("Not", [truth], truth.type)

    def finite(self, size: Ref) -> Ref:
        return self.emit.node("Less", [size, self.emit.constant(np.inf, size.type.dtype)], self.truth)

    def whole(self, number: int) -> Ref:
        return self.emit.constant(number, "int64")

    def add(self, k: Ref, number: int) -> Ref:
        return self.emit.node("Add", [k, self.whole(number)], WHOLE)

    def filled(self, value: float | bool, dtype: str) -> Ref:
        """One value for every lane, or just the value."""
        constant = self.emit.constant(value, dtype)
        if self.lane is None:
            return constant
        return Ref(TensorType(dtype, self.lane), stretched=constant)

    def widened(self, mask: Ref, type: TensorType) -> Ref:
        """The mask of lanes with as many axes as a state."""
        if type.rank == 1:
            return mask
        shape = (*mask.type.shape, *[1] * (type.rank - 1))
        return self.emit.node(
            "Unsqueeze", [mask, self.emit.vector(range(1, type.rank))], mask.type.with_shape(shape)
        )


def fix(
    emit: SizedEmitter, inline: Inline, op: Op, operands: Sequence[Ref], read: Sequence[bool]
) -> list[Ref]:
    """The final states, iterations, residual and status of a fixed point; `read` says which are needed."""
    tolerance, most, *given = operands
    count, every = op.attribute("states"), op.attribute("every")
    lane = given[0].type.shape[:1] if op.attribute("lanes") else None
    step, residual = op.regions[:2]
    solve = _Solve(emit, inline, step, residual, tolerance, given[count:], lane, held(op, read))
    trips, rest = _split(emit, most, every)
    apart = emit.compact and lane is not None and separate((step, residual), lane[0])
    run = solve.rounds if apart else solve.loop
    carried = run(solve.start(given[:count]), trips, every)
    if rest is not None:
        carried = solve.remainder(carried, rest)
    return solve.results(carried)


def _split(emit: SizedEmitter, most: Ref, every: int) -> tuple[Ref, Ref | None]:
    """The number of whole chunks in `most`, and the steps that are left over; None where there are none."""
    if every == 1:
        return most, None
    if most.constant is not None:
        trips, rest = divmod(max(int(most.constant.array), 0), every)
        return emit.constant(trips, "int64"), emit.constant(rest, "int64") if rest else None
    bounded = emit.node("Max", [most, emit.constant(0, "int64")], WHOLE)
    chunk = emit.constant(every, "int64")
    return emit.node("Div", [bounded, chunk], WHOLE), emit.node("Mod", [bounded, chunk], WHOLE)


def read_inputs(graph: Graph) -> set[int]:
    """The inputs of a region that some output needs."""
    needed = set(graph.outputs)
    for op in reversed(graph.ops):
        if any(result in needed for result in op.results):
            needed.update(_read(op))
    return {i for i in needed if i < len(graph.inputs)}


def _read(op: Op) -> Sequence[int]:
    """The operands that an operation reads: its regions may not look at all they are given."""
    first = {"cond": 1, "call": 0, "linear": 0, "ruled": 0}.get(op.name)  # where those of the regions begin
    if first is None:
        return op.operands
    told = op.regions[:1] if op.name == "ruled" else op.regions  # a rule is for derivatives, and has no run
    inner = {i for region in told for i in read_inputs(region)}
    return [v for i, v in enumerate(op.operands) if i < first or i - first in inner]
