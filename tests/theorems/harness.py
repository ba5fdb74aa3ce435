"""Theorems under attack: a certificate of the compiler against runs that share no code with it.

A case makes random instances of one theorem, with parameters inside its region and on its boundary. The
compiler certifies the spec; plain numpy iterates from the paper's equations; what the certificate promises,
read from its own text, is held against every iterate, and what the literature says beside it.

Arithmetic  float64. Every claim has a slack of 1e-9 of itself and 1e-12 of the problem's size, far above what
            rounding does in a few thousand steps of well scaled numbers, and far below the margin by which a
            wrong constant would show. Krylov methods, which amplify rounding, run with 256 bits.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

import banach
from banach.compiler.certificate import Certificate

Pair = tuple[float, float]  # what is measured, and what it may be at most
Measured = tuple[float, Mapping[str, Any]]  # what is measured, and what the text of the bound speaks of
TOLERANCE = 1e-6
_SPEC = """\
banach: 1
precision: float64
{parts}
solve:
  x: {{{how}, stop: {{residual: {tolerance}, most: 100000}}}}
outputs: {{x: x}}
"""


@dataclass(frozen=True)
class Instance:
    """One problem for one theorem.

    states    the independent run: the state after 0, 1, 2, ... steps, of any form
    measure   (k, state) -> values of the theorem's quantity, each with the names that its bound's text reads
    by        certificate -> measure, where the quantity is one that the certificate defines, as a norm
    names     further names of that text, the same for every k
    beside    (k, state) -> pairs of a value and its limit by the literature, beside what the certificate says
    residual  (state before, state) -> what the solve stops by, over its scale: for trip bounds
    stepwise  whether the factor bounds every single step, as for contractions
    """

    method: str
    start: np.ndarray
    states: Iterator[Any]
    parts: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    measure: Callable[[int, Any], Iterable[Measured]] | None = None
    by: Callable[[Certificate], Callable[[int, Any], Iterable[Measured]]] | None = None
    names: Mapping[str, Any] = field(default_factory=dict)
    beside: Callable[[int, Any], Iterable[Pair]] = lambda k, state: ()
    residual: Callable[[Any, Any], float] | None = None
    stepwise: bool = False
    size: float = 1.0
    spec: str = ""  # the whole text, where no method of the library is used

    @property
    def text(self) -> str:
        told = [f'method: "{self.method}"', f'start: "{listed(self.start)}"']
        told += [f'{name}: "{value}"' for name, value in self.options.items()]
        how = ", ".join(told)
        return self.spec or _SPEC.format(parts=self.parts, how=how, tolerance=TOLERANCE)


Case = Callable[["Draw"], Instance]
CASES: dict[str, list[Case]] = {}


def case(theorem: str) -> Callable[[Case], Case]:
    """Registers a maker of instances for a theorem."""

    def register(make: Case) -> Case:
        CASES.setdefault(theorem, []).append(make)
        return make

    return register


class Draw(np.random.Generator):
    """A random generator with the draws that cases share."""

    def __init__(self, *seed: int):
        super().__init__(np.random.PCG64(seed))

    def part(self, edge: bool = True) -> float:
        """A part of a region's width: often its very end (where that belongs to it), or close to it."""
        kind = self.integers(4)
        if kind == 0:
            return 1.0 if edge else 0.999
        return float((self.uniform(0.05, 1), 0.99, 10 ** self.uniform(-2, 0))[kind - 1])

    def point(self, n: int, scale: float = 1.0) -> np.ndarray:
        return np.round(scale * self.standard_normal(n), 6)

    def turn(self, n: int) -> np.ndarray:
        """An orthogonal matrix, up to rounding."""
        return np.linalg.qr(self.standard_normal((n, n)))[0]


def drawn(theorem: str, seed: int) -> Instance:
    makers = CASES[theorem]
    draw = Draw(seed, zlib.crc32(theorem.encode()))
    return makers[seed % len(makers)](draw)


def listed(a: Any) -> str:
    """An array as a spec writes it: the shortest decimals that are stored as these very floats."""
    return repr(np.asarray(a, float).tolist())


def certified(instance: Instance, name: str = "x") -> Certificate:
    return banach.loads(instance.text).check().certificates[name]


def attack(theorem: str, seed: int, steps: int) -> None:
    """AssertionError: a claim is broken, or the instance was not certified by the theorem."""
    instance = drawn(theorem, seed)
    found = certified(instance)
    assert (found.verdict, found.theorem) == ("proved", theorem), (found, instance.text)
    told = Told(found)
    measure = instance.by(found) if instance.by else instance.measure
    firsts: list[float] | None = None
    last: list[float] | None = None
    before: Any = None
    arrived = None
    for k, state in enumerate(islice(instance.states, steps + 1)):
        for value, limit in instance.beside(k, state):
            assert value <= slack(limit, instance.size), f"{theorem} {seed}: {value} > {limit} at {k}"
        if measure is not None:
            measured = list(measure(k, state))
            firsts = firsts or [value for value, _ in measured]
            for i, (value, names) in enumerate(measured):
                limit = told.limit(k, firsts[min(i, len(firsts) - 1)], {**instance.names, **names})
                assert value <= slack(limit, instance.size), f"{theorem} {seed}: {value} > {limit} at {k}"
                if instance.stepwise and last is not None:
                    assert value <= slack(told.factor * last[i], instance.size), f"{theorem} {seed} at {k}"
            last = [value for value, _ in measured]
        if instance.residual and arrived is None and k:
            arrived = k if instance.residual(before, state) <= TOLERANCE else None
        before = state
    if found.iterations is not None and found.iterations <= steps and instance.residual:
        assert arrived is not None and arrived <= found.iterations, f"{theorem} {seed}: {arrived} trips"


def slack(limit: float, size: float) -> float:
    return limit * (1 + 1e-9) + 1e-12 * size


class Told:
    """The bound of a certificate, read from its text."""

    def __init__(self, found: Certificate):
        q = found.upper_factor
        self.factor = math.inf if q is None else q
        text, first, _ = (found.bound or "inf").partition(" times its first value")
        text = f"({text}) * first" if first else text.partition(", with")[0]
        for phrase in (
            "the largest error at the start",
            "the objective gap at the start",
            "sqrt(V at the start)",
        ):
            text = text.replace(phrase, "first")
        text = text.replace("relative entropy of the solution to the start", "entropy")
        self.formula = compile(text, "bound", "eval")

    def limit(self, k: int, first: float, names: Mapping[str, Any]) -> float:
        """inf where the bound says nothing, as 1/k does at the start."""
        try:
            with np.errstate(divide="ignore"):
                known = {**_WORDS, "k": k, "q": self.factor, "first": first, **names}
                return float(eval(self.formula, known))
        except ZeroDivisionError:
            return math.inf


_PHRASES = {
    "the largest error at the start": "first",
    "the objective gap at the start": "first",
    "sqrt(V at the start)": "first",
    "relative entropy of the solution to the start": "entropy",
}
_WORDS = {
    "inf": math.inf,
    "norm": lambda x: float(np.linalg.norm(x)),
    "dot": lambda x, y: float(np.sum(x * y)),
    "sqrt": math.sqrt,
    "floor": math.floor,
    "upper": lambda x: x,
    "lower": lambda x: x,
    "grad": lambda f: f.L,
    "lipschitz": lambda L: L,
    "strong_convexity": lambda f: f.mu,
}


def repeated(step: Callable[[Any], Any], state: Any) -> Iterator[Any]:
    """state, step(state), step(step(state)), ..."""
    while True:
        yield state
        state = step(state)


def size_of(x: Any) -> float:
    return float(np.linalg.norm(x))
