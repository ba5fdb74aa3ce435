"""Every published system loads, gets the verdict that it expects, and has a claim that its own tests hold."""

import ast
import re
from pathlib import Path

import pytest
import yaml

import banach
from banach.compiler import systems
from banach.compiler.schema import schema

PAGES = sorted(systems.FOLDER.glob("*.yaml"))
HERE = Path(__file__).parent


def test_there_are_pages():
    assert len(PAGES) >= 22
    rows = [page.paper for page in systems.systems()]
    assert len(rows) == len(set(rows)) == len(PAGES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_gets_the_verdict_that_it_expects(path):
    model = banach.load(path)
    assert model.name == path.stem
    report = model.check()
    wrong = [d for d in report.diagnostics if d.severity == "error" and d.code.id not in ("B312", "B313")]
    assert not wrong, str(report)
    expected = yaml.safe_load(path.read_text("utf-8"))["system"].get("expects", {})
    assert expected == {solve: found.verdict for solve, found in report.certificates.items()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_what_it_is(path):
    page = systems.find(path.stem)
    assert len(page.doc) > 80 and len(page.claim) > 30
    left_out = any(word in page.doc for word in ("Left out", "left out"))
    assert page.covers == "whole" or left_out, "its doc does not say what it leaves out"


def test_the_schema_accepts_every_page():
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(schema())
    for path in PAGES:
        text = re.sub(r"(residual): (\d+)e", r"\1: \2.0e", path.read_text("utf-8"))  # PyYAML's 1e-6 is a text
        assert not list(checker.iter_errors(yaml.safe_load(text))), path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_tests_of_its_claim(path):
    module = HERE / f"test_{path.stem}.py"
    tests = [n.name for n in ast.parse(module.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)]
    assert any(name.startswith("test_") for name in tests)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_record_is_of_this_page(path, request):
    """`pytest tests/systems --record` writes it anew."""
    if request.config.getoption("--record"):
        pytest.skip("it is being written")
    assert systems.find(path.stem).held == systems.HOLDS
