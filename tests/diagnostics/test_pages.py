"""Every page of a diagnostic shows what is printed, to the letter, and no diagnostic lacks a page.

`python tests/diagnostics/literate.py [B201 ...]` prints anew; what it changes is to be read.
"""

import re
from functools import cache
from pathlib import Path

import pytest
from literate import FOLDER, cases, run

from banach.compiler import telling

PAGES = sorted(FOLDER.glob("*.md"))
RANGES = ("B1", "B2", "B3", "B4")
# There is no text that a place could be in.
NO_PLACE = {
    "B101",
    "B102",
    "B150",
    "B151",
    "B152",
    "B346",
    "B347",
    "B401",
    "B701",
    "B702",
    "B703",
    "B704",
    "B706",
    "B612",
    "B616",
    "B617",
    "B705",
    "B711",
    "B712",
    "B721",
    "B722",
    "B723",
    "B724",
}


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_what_is_printed(path: Path) -> None:
    for case in cases(read(path)):
        printed, ends = run(case)
        assert printed == case.printed
        assert all(ends) if "error[" in printed else "warning[" in printed


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_its_code_and_is_named_after_it(path: Path) -> None:
    page = read(path)
    code = next(code for code in telling.codes() if code.id == path.stem[:4])
    assert path.stem == f"{code.id}-{code.name}"
    assert page.startswith(f"# {code.id} {code.name}\n\n")
    assert re.search(rf"^(error|warning)\[{code.id}\]", page, re.MULTILINE)


def test_every_diagnostic_of_a_spec_has_a_page() -> None:
    wanted = {code.id for code in telling.codes() if code.id.startswith(RANGES)}
    assert not wanted - {path.stem[:4] for path in PAGES}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_whatever_is_printed_has_a_place_and_a_cure(path: Path) -> None:
    for case in cases(read(path)):
        for block in re.split(r"\n\n|^\$.*\n", case.printed, flags=re.MULTILINE):
            head = re.match(r"(error|warning)\[(B\d+)\] \S+: (.*)", block)
            if head is None:
                continue
            assert "help: " in block, block
            assert (" --> spec.yaml:" in block or "--> " in block) or head[2] in NO_PLACE, block
            assert not re.search(r"/tmp/|Traceback|object at 0x|NoneType", block), block
