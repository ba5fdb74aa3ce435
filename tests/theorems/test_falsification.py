"""No promise of any theorem is broken by any instance: nightly by many, always by a few."""

from collections.abc import Iterator

import fixed_points  # noqa: F401
import krylov  # noqa: F401
import minimisation  # noqa: F401
import on_simplices  # noqa: F401
import proximal  # noqa: F401
import pytest
import rules_in_general  # noqa: F401
import splittings  # noqa: F401
import sweeps  # noqa: F401
import variational  # noqa: F401
from harness import CASES, Told, attack, certified, drawn

from banach.compiler import library
from banach.compiler.inference.rule import rules

# A theorem that no case attacks, and why.
NOT_COVERED = {
    "fresh-noise": "it proves nothing; certificates/test_structure.py runs what it refutes",
    "no-fixed-point-by-squares": "it proves nothing; tests/certificates/test_pieces.py replays it",
    "no-fixed-point": "it proves nothing; tests/certificates/test_pieces.py replays its refutations",
}
DEAR = {"quadratic-lyapunov"}  # a second for each certificate


def theorems() -> Iterator[str]:
    for page in library.pages("solver"):
        for theorem in page.theorems:
            yield theorem.name
    for rule in rules().values():
        yield rule.theorem


def test_every_theorem_is_attacked() -> None:
    known = set(theorems())
    assert known == set(CASES) | set(NOT_COVERED), "write a case in this folder, beside those of its kind"
    assert not set(CASES) & set(NOT_COVERED)


@pytest.mark.parametrize("theorem", sorted(CASES))
def test_no_claim_is_broken(theorem: str) -> None:
    for seed in range(1 if theorem in DEAR else 3):
        attack(theorem, seed, 100)


@pytest.mark.slow
@pytest.mark.parametrize("theorem", sorted(CASES))
def test_no_claim_is_broken_by_many(theorem: str) -> None:
    for seed in range(200):
        attack(theorem, seed, 1000)


@pytest.mark.parametrize("theorem", ["gradient-descent-strongly-convex", "fista", "banach", "gmres-positive"])
def test_a_claim_that_is_too_strong_is_found(theorem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness itself: a bound that is smaller by a third, or a factor by a tenth, does not pass."""
    limit = Told.limit
    monkeypatch.setattr(Told, "limit", lambda self, k, first, names: 0.05 * limit(self, k, first, names))
    with pytest.raises(AssertionError):
        for seed in range(12):
            attack(theorem, seed, 100)


def test_an_instance_that_is_not_certified_fails() -> None:
    assert certified(drawn("fista", 0)).theorem == "fista"
    CASES["no-such-theorem"] = CASES["fista"]
    try:
        with pytest.raises(AssertionError):
            attack("no-such-theorem", 0, 1)
    finally:
        del CASES["no-such-theorem"]
