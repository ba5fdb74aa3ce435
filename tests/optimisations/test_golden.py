"""Every pass does to its example what its golden page says. `golden.py`, run as a script, writes them."""

import pytest
from golden import EXAMPLES, FOLDER, page

from banach.compiler.optimise import PASSES
from banach.ir.shelf import pages


def test_every_pass_has_an_example() -> None:
    assert set(EXAMPLES) == set(pages(PASSES))
    assert {path.stem for path in FOLDER.iterdir()} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_is_what_the_pass_does(name: str) -> None:
    assert page(name) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
