"""Every diagnostic has a page, every page of the library loads, and no two things share a name."""

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

from banach.compiler import library, systems, telling
from banach.compiler.elaboration.words import vocabulary, word
from banach.compiler.pipeline import load
from banach.ir.diagnostic import Code
from banach.ir.shelf import pages as shelf

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"
LIBRARY = sorted(p for folder in library.FOLDERS.values() for p in (SPECS / folder).glob("*.yaml"))
LONGEST, LONGEST_TEST = 400, 520


@cache
def codes() -> tuple[tuple[str, Code], ...]:
    """Every `Code` of every module, with the module, duplicates and all."""
    found: dict[int, tuple[str, Code]] = {}
    for package in ("banach.ir", "banach.compiler", "banach.backends"):
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if info.name.endswith("__main__"):
                continue
            for thing in vars(importlib.import_module(info.name)).values():
                if isinstance(thing, Code):
                    found.setdefault(id(thing), (info.name, thing))
    return tuple(found.values())


def test_codes_are_unique():
    ids = [code.id for _, code in codes()]
    assert sorted(ids) == sorted(set(ids)), [i for i in ids if ids.count(i) > 1]
    assert len(ids) > 40


def test_a_code_is_well_formed():
    for _, code in codes():
        assert re.fullmatch(r"B[1-79]\d\d", code.id), code
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code.name), code
        assert len(code.page.strip()) > 30, code
        assert telling.explain(code.id) == f"{code.id} {code.name}\n\n{code.page.strip()}"


def test_a_code_is_found_by_its_name():
    names = [code.name for _, code in codes()]
    assert not {name for name in names if names.count(name) > 1}
    assert telling.explain("duplicate-key") == telling.explain("B111")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_page_of_the_library_loads_and_is_told(path):
    page = library.find(path.stem)
    assert page is not None and page.name == path.stem
    text = telling.explain(path.stem)
    assert text.startswith(f"{page.kind} {page.name}(") and page.doc in text
    assert page.section.source.text in text
    for theorem in page.theorems:
        assert theorem.name in text and theorem.source in text
        # A theorem that bears its solver's name stands on the solver's page.
        told = telling.explain(theorem.name)
        assert f"theorem {theorem.name} (of {page.name})" in told and theorem.doc in told


@pytest.mark.parametrize("name", sorted(path.stem for path in (SPECS / "models").glob("*.yaml")))
def test_a_model_of_the_library_loads(name, model_file):
    assert load(model_file(name)).name == name


def test_every_yaml_is_seen():
    """Nothing stands in a folder that nothing reads."""
    read = {*LIBRARY, *(SPECS / "models").glob("*.yaml"), *(SPECS / "systems").glob("*.yaml"), systems.RECORD}
    assert set(SPECS.rglob("*.yaml")) == read


def test_names_do_not_clash():
    owners = {
        "page": [path.stem for path in LIBRARY],
        "word": list(vocabulary.FUNCTIONS),
        "constant": list(word.CONSTANTS),
    }
    flat = [name for names in owners.values() for name in names]
    assert not {name for name in flat if flat.count(name) > 1}
    # A word may wear the name of its own primitive (sum, dot, where); a page may not.
    assert not set(owners["page"]) & set(shelf("banach.ir.primitives"))
    elementwise = {n for n, p in shelf("banach.ir.primitives").items() if "elementwise" in type(p).__module__}
    assert elementwise and not elementwise & {*owners["page"], *owners["word"], *owners["constant"]}


def test_files_are_short():
    long = []
    for package in ("api", "backends", "compiler", "ir", "specs", "tests"):
        for path in (ROOT / package).rglob("*.py"):
            count = len(path.read_text(encoding="utf-8").splitlines())
            if count > (LONGEST_TEST if package == "tests" else LONGEST):
                long.append(f"{path.relative_to(ROOT)}: {count} lines")
    assert not long
