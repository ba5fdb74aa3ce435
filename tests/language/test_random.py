"""Random formulas mean what numpy means; mutations of valid specs are models, or refused at a place."""

import random
import time
from pathlib import Path

import numpy as np
import pytest

import banach

FOLDER = Path(__file__).parent / "papers"
LONG = [40, pytest.param(2000, marks=pytest.mark.slow)]
TOGETHER = 40  # formulas in one spec
GIVEN = {
    "s": np.asarray(0.7),
    "x": np.array([0.3, -1.2, 2.0]),
    "y": np.array([1.5, 0.4, -0.8]),
    "A": np.array([[0.4, 1.0, -0.5], [0.3, -0.7, 0.2], [0.1, 0.9, 1.1]]),
}
TYPES = {"s": "real", "x": "real[3]", "y": "real[3]", "A": "real[3, 3]"}
UNARY = {
    "sin({})": np.sin,
    "tanh({})": np.tanh,
    "abs({})": np.abs,
    "-{}": np.negative,
    "exp(-abs({}))": lambda v: np.exp(-np.abs(v)),
    "sqrt(1 + {}**2)": lambda v: np.sqrt(1 + v**2),
}
BINARY = {
    "({} + {})": np.add,
    "({} - {})": np.subtract,
    "{} * {}": np.multiply,
    "{} / (2 + cos({}))": lambda a, b: a / (2 + np.cos(b)),
    "max({}, {})": np.maximum,
    "min({}, {})": np.minimum,
}
REDUCE = {"sum({})": np.sum, "mean({})": np.mean, "max({})": np.max, "norm({})": np.linalg.norm}

Typed = tuple[str, np.ndarray]


def formula(pick: random.Random, rank: int, depth: int) -> Typed:
    """A formula of a rank from 0 to 2 with all sizes 3, in brackets, and its value by numpy."""
    if depth == 0 or pick.random() < 0.1:
        if rank == 0 and pick.random() < 0.4:
            number = pick.choice(["0.5", "2", "1e-1", "3.25"])
            return number, np.asarray(float(number))
        name = pick.choice([name for name, value in GIVEN.items() if value.ndim == rank])
        return name, GIVEN[name]
    text, value = _made(pick, rank, depth - 1)
    return f"({text})", np.asarray(value)


def _made(pick: random.Random, rank: int, depth: int) -> Typed:
    part = lambda rank: formula(pick, rank, depth)  # noqa: E731
    way = pick.randrange(6)
    if way == 0:
        text, work = pick.choice(list(UNARY.items()))
        a, u = part(rank)
        return text.format(a), work(u)
    if way == 1:
        (c, w), (d, z), (a, u), (b, v) = part(0), part(0), part(rank), part(rank)
        return f"{a} if {c} < {d} else {b}", np.where(w < z, u, v)
    if way == 2 and rank == 0:
        text, work = pick.choice(list(REDUCE.items()))
        a, u = part(pick.choice([1, 2]) if text != "norm({})" else 1)
        return text.format(a), work(u)
    if way == 3 and rank == 0:
        (a, u), (b, v), i = part(1), part(1), pick.randrange(3)
        return (f"dot({a}, {b})", u @ v) if pick.random() < 0.5 else (f"{a}[{i}]", u[i])
    if way == 4 and rank > 0:
        (a, u), (b, v) = part(2), part(rank)
        return f"{a} @ {b}", u @ v
    if way == 5 and rank == 2:
        a, u = part(2)
        return f"transpose({a})", u.T
    text, work = pick.choice(list(BINARY.items()))
    (a, u), (b, v) = part(rank), part(pick.choice([0, rank]))
    return text.format(a, b), work(u, v)


@pytest.mark.parametrize("count", LONG)
def test_a_random_formula_means_what_numpy_means(count: int) -> None:
    pick = random.Random(17)
    for _ in range(count // TOGETHER):
        made = [formula(pick, pick.randrange(3), 4) for _ in range(TOGETHER)]
        lines = ["banach: 1", "precision: float64", "inputs:"]
        lines += [f"  {name}: {type}" for name, type in TYPES.items()]
        lines += ["outputs:", *(f"  f{i}: {text}" for i, (text, _) in enumerate(made))]
        found = banach.loads("\n".join(lines)).compile(to="oracle").run(GIVEN)
        for i, (text, wanted) in enumerate(made):
            np.testing.assert_allclose(found[f"f{i}"], wanted, rtol=1e-9, atol=1e-9, err_msg=text)


# --- mutations --------------------------------------------------------------------------------------------

SPECS = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.yaml"))]
CHARACTERS = "()[]{}:,'\"#&*!|>-+/@=<_.09aZλ\t \n"


def mutated(pick: random.Random, text: str) -> str:
    """The text with one to three small changes, of characters, words or lines."""
    for _ in range(pick.randint(1, 3)):
        i = pick.randrange(len(text))
        lines = text.split("\n")
        j, k = pick.randrange(len(lines)), pick.randrange(len(lines))
        way = pick.randrange(7)
        if way == 0:
            text = text[:i] + text[i + 1 :]
        elif way == 1:
            text = text[:i] + pick.choice(CHARACTERS) + text[i:]
        elif way == 2:
            text = text[:i] + pick.choice(CHARACTERS) + text[i + 1 :]
        elif way == 3:
            text = "\n".join([*lines[:j], *lines[j + 1 :]])
        elif way == 4:
            text = "\n".join([*lines[:j], lines[k], *lines[j:]])
        elif way == 5:
            words = text.split(" ")
            a, b = pick.randrange(len(words)), pick.randrange(len(words))
            words[a], words[b] = words[b], words[a]
            text = " ".join(words)
        else:
            text = text[:i] + text[i : i + 20] + text[i:]
    return text


@pytest.mark.parametrize("count", LONG)
def test_a_mutation_is_a_model_or_refused_at_a_place(count: int) -> None:
    pick, refused, slowest = random.Random(23), 0, 0.0
    for _ in range(count):
        text, start = mutated(pick, pick.choice(SPECS)), time.process_time()
        try:
            banach.loads(text, folder=FOLDER).check()
        except banach.SpecError as wrong:
            refused += 1
            assert wrong.diagnostics, text
            for found in wrong.diagnostics:
                assert found.span is not None and found.message, (found, text)
                assert 1 <= found.span.line <= text.count("\n") + 2, (found, text)
        slowest = max(slowest, time.process_time() - start)
    assert count // 3 < refused < count
    assert slowest < 1
