"""Operations that hold regions, as modules of their own.

A region is a GraphModule, so a loop shows what it repeats: `model.fix.step.code`. A loop tapes nothing.
Where a derivative is asked for, it is one node for torch's autograd, which keeps the solution and what that
depends on; its backward is our reverse derivative, lowered by the same backend. So the memory of a solve does
not grow with its iterations, and its gradient is the implicit one. The backward is made of the same parts, so
it can be differentiated again.

The host waits for the device only in `_synchronise`, which counts how often.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch

from banach.backends.fx import exported
from banach.backends.fx.derivative import Backward, Differentiated, Refusal
from banach.backends.fx.module import Conversion, Lowered, float_changes
from banach.backends.fx.operations import DTYPES
from banach.ir.diagnostic import Code, Diagnostic, RunError
from banach.ir.dims import bind
from banach.ir.graph import Graph, Op
from banach.ir.primitives.fixpoint import held
from banach.ir.primitives.regions import AT_MOST
from banach.ir.tensor_type import TensorType

NO_GRADIENT = Code(
    "B605",
    "no-gradient",
    """A gradient was asked for that does not exist.

Only the solution of an iteration has a derivative, and only if the iteration states its equation: residual,
other states and a `while` have none. Use `.detach()` on what is not to be differentiated.
""",
)

Tensors = Sequence[torch.Tensor]
Operand = Any  # a tensor, or a number where the host reads it
Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Region:
    """A lowered region: its module, and the named sizes that it takes behind its inputs."""

    module: Lowered
    sizes: tuple[str, ...]


Lower = Callable[[Graph], Region]


def loop(op: Op, types: Sequence[TensorType], lower: Lower, read: Sequence[bool]) -> "_Loop":
    """The module of an operation that holds regions; `lower` makes those of its regions.

    `read` says which of its results something reads.
    """
    if op.name == "fix":
        return Fix(op, types, lower, held(op, read))
    kinds: dict[str, type[_Loop]] = {"cond": Cond, "scan": Scan, "while": While}
    return kinds[op.name](op, types, lower)


class _Loop(torch.nn.Module):
    """Takes the operation's operands, then the named sizes by name; gives its results."""

    roles: ClassVar[tuple[str, ...]] = ()

    def __init__(self, op: Op, types: Sequence[TensorType], lower: Lower):
        super().__init__()
        self.op, self.lower = op, lower
        self.differentiated = Differentiated(op, types)
        self.synchronisations = 0
        self._sizes: dict[str, tuple[str, ...]] = {}
        self._changes: dict[torch.dtype, torch.dtype] = {}
        self._backwards: dict[Any, Region] = {}
        for role, graph in zip(self.roles, op.regions):
            region = lower(graph)
            self.add_module(role, region.module)
            self._sizes[role] = region.sizes

    def forward(self, *operands: Operand, **sizes: int) -> Tensors:
        return (
            self.export(operands, sizes) if torch.compiler.is_exporting() else _eagerly(self, operands, sizes)
        )

    def eager(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        """The results, as a node of autograd where something needs a gradient."""
        needed = tuple(isinstance(x, torch.Tensor) and x.requires_grad for x in operands)
        if torch.is_grad_enabled() and any(needed):
            return _Differentiable.apply(self, needed, sizes, *operands)[: len(self.op.types)]
        with torch.no_grad():
            return self.solve(operands, sizes, record=False)

    @abstractmethod
    def solve(self, operands: Sequence[Operand], sizes: Sizes, record: bool) -> Tensors:
        """The results, and behind them what the derivative wants to keep, if `record`."""

    @abstractmethod
    def export(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        """The results as torch.export can follow them."""

    def differentiable(self) -> Sequence[bool]:
        """Which results have a derivative."""
        return [type.is_float for type in self.op.types]

    def region(self, role: str, sizes: Sizes) -> Callable[..., Tensors]:
        """A region with its sizes. Straight to its code, where nothing was put in between."""
        module: Any = self._modules[role]
        between = module._compiled_call_impl or module._forward_hooks or module._forward_pre_hooks
        call, handed = module if between else module.forward, [sizes[name] for name in self._sizes[role]]
        return (lambda *arguments: call(*arguments, *handed)) if handed else call

    def run(self, role: str, arguments: Sequence[Operand], sizes: Sizes) -> Tensors:
        return self.region(role, sizes)(*arguments)

    def backward(self, backward: Backward, key: Any, device: torch.device) -> Region:
        """The lowered reverse derivative, made when it is first needed."""
        if (key, device) not in self._backwards:
            region, changes = self.lower(backward.graph), self._changes
            region.module._apply(lambda t: t.to(device, changes.get(t.dtype, t.dtype)))
            self._backwards[key, device] = region
        return self._backwards[key, device]

    def _apply(self, fn: Conversion, recurse: bool = True) -> "_Loop":
        super()._apply(fn, recurse)
        changes = float_changes(fn)
        self._changes = {old: changes.get(new, new) for old, new in {**_SAME, **self._changes}.items()}
        self._backwards.clear()
        return self

    def _synchronise(self, flags: torch.Tensor) -> Any:
        """The one place where the host waits for the device: a truth, or a list of them for a vector."""
        self.synchronisations += 1
        return flags.tolist() if flags.ndim else bool(flags)

    def _trip_cap(self, most: Operand) -> int:
        """The largest number of iterations; a number, or a tensor on the host, costs no waiting."""
        if isinstance(most, torch.Tensor) and most.device.type != "cpu":
            self.synchronisations += 1
        return int(most)


_SAME = {dtype: dtype for dtype in DTYPES.values() if dtype.is_floating_point}


# torch.compile goes around a loop: the host decides how often its regions run.
_eagerly: Any = torch.compiler.disable(lambda loop, operands, sizes: loop.eager(operands, sizes))


class _Differentiable(torch.autograd.Function):
    """A loop as one node of torch's autograd."""

    @staticmethod
    def forward(
        loop: _Loop, needed: tuple[bool, ...], sizes: Sizes, *operands: Operand
    ) -> tuple[torch.Tensor, ...]:
        found = loop.solve(operands, sizes, record=True)
        # A loop without a step gives its operands back; autograd wants results of their own.
        return tuple(y.clone() if any(y is x for x in operands) else y for y in found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        ctx.loop, ctx.needed, ctx.sizes, *operands = inputs
        ctx.set_materialize_grads(False)
        ctx.refusal, ctx.device = "", output[0].device
        pool = [*operands, *output]
        ctx.plain = [x if isinstance(x, int) else None for x in pool]
        has = (*ctx.loop.differentiable(), *[False] * (len(output) - len(ctx.loop.op.types)))
        try:
            ctx.used = sorted(ctx.loop.differentiated.backward(ctx.needed, has).used)
        except Refusal as refusal:
            ctx.used, ctx.refusal = [], str(refusal)
        ctx.used = [i for i in ctx.used if ctx.plain[i] is None]
        ctx.save_for_backward(*(pool[i] for i in ctx.used))

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        arriving = tuple(dy is not None for dy in cotangents)
        if not any(arriving):
            return (None, None, None, *[None] * len(ctx.needed))
        if ctx.refusal:
            raise RunError(Diagnostic(NO_GRADIENT, ctx.refusal, span=ctx.loop.op.place))
        try:
            derivative = ctx.loop.differentiated.backward(ctx.needed, arriving)
        except Refusal as refusal:
            raise RunError(Diagnostic(NO_GRADIENT, str(refusal), span=ctx.loop.op.place)) from None
        region = ctx.loop.backward(derivative, (ctx.needed, arriving), ctx.device)
        pool = list(ctx.plain)
        for i, tensor in zip(ctx.used, ctx.saved_tensors):
            pool[i] = tensor
        flow = [dy for dy in cotangents if dy is not None]
        found = iter(region.module(*pool, *flow, *(ctx.sizes[name] for name in region.sizes)))
        return (None, None, None, *(next(found) if wanted else None for wanted in ctx.needed))


@final
class Cond(_Loop):
    """One of two maps; the host asks which. Both are left to torch's autograd, which tapes the chosen one."""

    roles = ("yes", "no")

    def eager(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        return self.solve(operands, sizes, record=False)

    def export(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        return exported.cond(self.run, operands, sizes)

    def solve(self, operands: Sequence[Operand], sizes: Sizes, record: bool) -> Tensors:
        chosen, *arguments = operands
        return self.run("yes" if self._synchronise(chosen) else "no", arguments, sizes)


@final
class Scan(_Loop):
    """A state carried along sequences. For the derivative it keeps every state before its step."""

    roles = ("step",)

    def solve(self, operands: Sequence[Operand], sizes: Sizes, record: bool) -> Tensors:
        states, sequences = self.op.attribute("states"), self.op.attribute("sequences")
        state, captures = list(operands[:states]), operands[states + sequences :]
        given = operands[states : states + sequences]
        order = range(bind(self.op.attribute("length"), sizes))
        backwards = self.op.attribute("reverse")
        rows: list[Tensors] = []
        for k in reversed(order) if backwards else order:
            found = self.run("step", [*state, *(x[k] for x in given), *captures], sizes)
            rows.append([*found[states:], *state] if record else found[states:])
            state = list(found[:states])
        if backwards:
            rows.reverse()
        columns = list(zip(*rows)) if rows else [() for _ in self._stacked(record)]
        stacks = [
            _stack(column, t, sizes, operands)
            for column, t in zip(columns, self._stacked(record), strict=True)
        ]
        return (*state, *stacks)

    def export(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        return self.solve(operands, sizes, record=False)

    def _stacked(self, record: bool) -> Sequence[TensorType]:
        op = self.differentiated.recorded if record else self.op
        return op.types[self.op.attribute("states") :]


@final
class While(_Loop):
    """Repeat while a condition holds: the host asks before every step."""

    roles = ("condition", "step")

    def solve(self, operands: Sequence[Operand], sizes: Sizes, record: bool) -> Tensors:
        most, split = self._trip_cap(operands[0]), 1 + self.op.attribute("states")
        state, captures = list(operands[1:split]), operands[split:]
        steps = 0
        while steps < most and self._synchronise(self.run("condition", [*state, *captures], sizes)[0]):
            state = list(self.run("step", [*state, *captures], sizes))
            steps += 1
        return (*state, torch.tensor(steps, device=_home(operands)))

    def export(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        return exported.repeat(self.op, self.run, operands, sizes, _home(operands))


@final
class Fix(_Loop):
    """Iterate until the residual is small; looks at it once every `every` steps."""

    roles = ("step", "residual")
    ahead: int | None = None  # looks that the host may fall behind, if not by `_ahead`

    def __init__(self, op: Op, types: Sequence[TensorType], lower: Lower, held: Sequence[bool]):
        super().__init__(op, types, lower)
        step, self.held = op.regions[0], held
        self.counts = 0 in step.outputs or any(0 in inner.operands for inner in step.ops)

    def differentiable(self) -> Sequence[bool]:
        solution = self.op.attribute("solution")
        return [i < solution and type.is_float for i, type in enumerate(self.op.types)]

    def solve(self, operands: Sequence[Operand], sizes: Sizes, record: bool) -> Tensors:
        states, lanes, every = (self.op.attribute(name) for name in ("states", "lanes", "every"))
        tolerance, most = operands[0], self._trip_cap(operands[1])
        state, captures = list(operands[2 : 2 + states]), operands[2 + states :]
        step, residual = self.region("step", sizes), self.region("residual", sizes)
        start = ending = self._begin(operands)
        checked: Tensors = ()
        counter = torch.zeros((), dtype=torch.int64, device=ending[2].device)
        looks: list[_Look] = []  # those that the host has not seen
        burst, k = 1, 0
        while k < most:
            before = fresh = state
            for _ in range(min(every, most - k)):
                before, fresh = fresh, step(counter, *fresh, *captures)
                counter = counter + 1 if self.counts else counter
                k += 1
            size, scale = checked = residual(*before, *fresh, *captures)
            if lanes:  # a lane that has ended keeps what is read
                state = exported.choose(ending[2] == AT_MOST, fresh, state, self.held)
                ending = exported.judge(ending, k, size, scale, tolerance)
                going = (ending[2] == AT_MOST).any()
            else:  # the loop ends there, so nothing is masked, and it is judged once
                state = fresh
                going = torch.logical_not(size <= tolerance * scale) & (size + scale < torch.inf)
            looks.append(_Look(going, k, state, checked))
            if k < most and len(looks) == burst:
                ended = self._first_ended(looks)
                if ended is not None:
                    k, state, checked = ended.k, ended.state, ended.checked
                    break
                burst, looks = min(2 * burst, self._ahead(state)), []
        else:  # the last look is no reason to wait; those before it may have ended the loop
            ended = self._first_ended(looks[:-1]) if len(looks) > 1 else None
            if ended is not None:
                k, state, checked = ended.k, ended.state, ended.checked
        if checked and not lanes:
            ending = exported.judge(start, k, checked[0], checked[1], tolerance)
        return (*state, *ending)

    def _first_ended(self, looks: "Sequence[_Look]") -> "_Look | None":
        """The first look after which the loop has ended; the host waits once for all of them."""
        if len(looks) == 1:
            return None if self._synchronise(looks[0].going) else looks[0]
        going = self._synchronise(torch.stack([look.going for look in looks]))
        return next((look for look, goes in zip(looks, going) if not goes), None)

    def _ahead(self, state: Tensors) -> int:
        """How many looks the host may fall behind: none on a CPU, which never waits.

        An accelerator works on while the host waits for nothing. What it did too much is thrown away, so
        iterations and results are those of a host that looks every time. States are kept for as long.
        """
        if self.ahead is not None:
            return self.ahead
        if all(x.device.type == "cpu" for x in state):
            return 1
        size = sum(x.numel() * x.element_size() for x in state)
        return max(1, min(_MOST_AHEAD, _KEPT // max(size, 1)))

    def export(self, operands: Sequence[Operand], sizes: Sizes) -> Tensors:
        return exported.fix(self.op, self.run, operands, sizes, self._begin(operands), self.held)

    def _begin(self, operands: Sequence[Operand]) -> exported.Record:
        lane = operands[2].shape[:1] if self.op.attribute("lanes") else ()
        return exported.begin(lane, operands[0], _home(operands[2:]))


_MOST_AHEAD, _KEPT = 16, 1 << 28  # looks, and bytes of states that are kept for them


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at the residual: whether the loop goes on, as the device will know, and what there was then."""

    going: torch.Tensor
    k: int
    state: Tensors
    checked: Tensors


def _home(operands: Sequence[Operand]) -> torch.device:
    """Where a loop lives: with its first tensor that has axes, since those without may stay on the host."""
    tensors = [x for x in operands if isinstance(x, torch.Tensor)]
    return next((x.device for x in tensors if x.ndim), tensors[0].device if tensors else torch.device("cpu"))


def _stack(column: Tensors, type: TensorType, sizes: Sizes, operands: Sequence[Operand]) -> torch.Tensor:
    if column:
        return torch.stack(list(column))
    shape = [bind(size, sizes) for size in type.shape]
    return torch.empty(shape, dtype=DTYPES[type.dtype], device=_home(operands))
