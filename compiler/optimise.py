"""From a graph to a cheaper one of the same meaning: every pass of compiler/optimisations, in their order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from time import perf_counter

from banach.compiler.certificate import Certificate
from banach.compiler.optimisation import Options, Pass, count
from banach.ir.graph import Graph, Port
from banach.ir.rewrite import Effect, Entry, Journal
from banach.ir.shelf import BadPage, pages
from banach.ir.tensor import Tensor
from banach.ir.verify import verify

PASSES = "banach.compiler.optimisations"
ROUNDS = 12  # times the whole order is gone through; on the graphs seen so far three were enough
DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pass: operations before and after (regions included), and what its rules did.

    `skipped` says why it did not run, or why what it made was not taken. `lost` counts the certified weights
    that are no longer in the graph: facts of those must be looked up again.
    """

    name: str
    effect: Effect
    before: int
    after: int
    seconds: float = field(compare=False)
    fired: tuple[Entry, ...] = ()
    refused: tuple[Entry, ...] = ()
    shared: int = 0
    skipped: str = ""
    lost: int = 0

    @property
    def certificate(self) -> str:
        """What becomes of the certificate: `preserved`, or what must be looked at again."""
        if self.lost:
            return f"recheck: {self.lost} certified weights are gone"
        if self.skipped or not (self.fired or self.shared or self.before != self.after):
            return "preserved"
        if Effect.REPLACES_ITERATION in self.effect:
            return "of the same solution; the iteration it speaks of is replaced"
        if Effect.CHANGES_ITERATES in self.effect:
            return "preserved, but for the number of steps"
        return "preserved, up to rounding" if Effect.REASSOCIATES in self.effect else "preserved"


@dataclass(frozen=True, slots=True)
class Optimised:
    """A graph, and what was done to it."""

    graph: Graph
    journal: tuple[Run, ...]

    def bounded(self, certificate: Certificate) -> Certificate:
        """A certificate whose bound on the steps counts those after the last check too."""
        if certificate.iterations is None:
            return certificate
        every = self.every(certificate.solve)
        return replace(certificate, iterations=-(-certificate.iterations // every) * every)

    def every(self, solve: str) -> int:
        """How many steps a solve takes for one check."""
        ports = self.graph.inputs
        for op in self.graph.ops:
            tolerance = op.operands[0] if op.name == "fix" else len(ports)
            if tolerance < len(ports) and ports[tolerance].name == f"{solve}.tolerance":
                return op.attribute("every")
        return 1


def optimise(
    graph: Graph, options: Options = DEFAULT, weights: Collection[str] = (), checked: bool = False
) -> Optimised:
    """The graph after all passes, each run again until none changes anything.

    `weights` are the digests of the constants that certificates speak of. What would lose one is not done,
    unless an option asked for it. `checked` verifies the graph after every pass. IllFormed: a pass is wrong.
    """
    journal: list[Run] = []
    pending = dict.fromkeys(order())
    watched = frozenset(weights)
    watched -= _missing(watched, graph)
    for _ in range(ROUNDS):
        if not any(name in pending for name in order()):
            break
        for name in order():
            if name not in pending:
                continue
            del pending[name]
            fresh, run = _run(pages(PASSES)[name], graph, options, watched)
            journal.append(run)
            if fresh is graph or fresh == graph:
                continue
            if checked:
                verify(fresh)
            graph = fresh
            pending = {other: None for other in order() if other != name}
    return Optimised(graph, tuple(journal))


@cache
def order() -> tuple[str, ...]:
    """The passes, each after those that its page names; else by name. BadPage: they go in a circle."""
    shelf = pages(PASSES)
    found: list[str] = []
    while len(found) < len(shelf):
        ready = (n for n in sorted(shelf) if n not in found and all(m in found for m in shelf[n].after))
        name = next(ready, None)
        if name is None:
            raise BadPage(f"these passes wait for each other: {', '.join(sorted(set(shelf) - set(found)))}")
        found.append(name)
    return tuple(found)


def _run(page: Pass, graph: Graph, options: Options, weights: frozenset[str]) -> tuple[Graph, Run]:
    before = count(graph)
    refusal = options.refusal(page.effect)
    if refusal:
        return graph, Run(page.name, page.effect, before, before, 0.0, skipped=refusal)
    begun, journal = perf_counter(), Journal()
    fresh = page.run(graph, options, journal)
    lost = len(_missing(weights, fresh))
    skipped = ""
    if lost and page.effect is Effect.EXACT:
        fresh, skipped = graph, f"it would lose {lost} weights that a certificate speaks of"
        lost = 0
    seconds = perf_counter() - begun
    fired, refused = tuple(journal.fired), tuple(journal.refused)
    after = count(fresh)
    return fresh, Run(
        page.name, page.effect, before, after, seconds, fired, refused, journal.shared, skipped, lost
    )


def _missing(weights: frozenset[str], graph: Graph) -> frozenset[str]:
    """The digests that no constant has. A verifier knows a matrix in either orientation, and so do we."""
    if not weights:
        return weights
    tensors = {
        t.digest: t for part in graph.walk() for t in (*part.constants().values(), *_defaults(part.inputs))
    }
    missing = weights - tensors.keys()
    if not missing:
        return missing
    return missing - {Tensor(t.array.T).digest for t in tensors.values() if t.array.ndim == 2}


def _defaults(ports: Sequence[Port]) -> list[Tensor]:
    return [port.default for port in ports if port.default is not None]


def explain(journal: Sequence[Run]) -> str:
    """The journal as text: a line for every run, and below it what its rules did and refused."""
    lines = [f"{'pass':16}{'ops':>14}{'ms':>9}  certificate"]
    for run in journal:
        ops = f"{run.before} -> {run.after}" if run.before != run.after else str(run.before)
        told = f"not run: {run.skipped}" if run.skipped else run.certificate
        lines.append(f"{run.name:16}{ops:>14}{1000 * run.seconds:9.2f}  {told}")
        lines += [f"    {times} × {rule} in {graph}" for (rule, graph), times in _tally(run.fired).items()]
        if run.shared:
            lines.append(f"    {run.shared} × common subexpression")
        for (rule, graph, reason), times in _reasons(run.refused).items():
            lines.append(f"    {times} × {rule} refused in {graph}: {reason}")
    return "\n".join(lines)


def _tally(fired: Sequence[Entry]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for entry in fired:
        found[entry.rule, entry.graph] = found.get((entry.rule, entry.graph), 0) + 1
    return found


def _reasons(refused: Sequence[Entry]) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], int] = {}
    for entry in refused:
        line = (entry.rule, entry.graph, entry.reason)
        found[line] = found.get(line, 0) + 1
    return found
