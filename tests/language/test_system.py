"""The section `system:`: its mistakes have their places, and a verdict that is not found is an error."""

import json

import pytest
import yaml

import banach
from banach.compiler import systems

SPEC = """banach: 1
name: half
sizes: {n: 2}
inputs: {u: "real[n]"}
operators: {T(x): 0.5 * x + u}
solve:
  x: {method: picard(T), start: zeros(n), stop: {residual: 1e-5, most: 100}}
outputs: {x: x}
system:
  paper: 14
  covers: core
  expects: {x: proved}
  claim: it is half
"""


def wrong(old, new):
    assert old in SPEC
    return [d for d in banach.loads(SPEC.replace(old, new)).check().diagnostics if d.severity == "error"]


def test_a_system_that_is_as_expected():
    report = banach.loads(SPEC).check()
    assert report.ok and not report.diagnostics
    assert banach.loads(SPEC.replace("covers: core", 'covers: "part: its first half"')).check().ok
    assert banach.loads(SPEC.replace("  expects: {x: proved}\n", "")).check().ok


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "fix"),
    [
        ("x: proved", "x: unknown", "B332", 12, "x: proved"),
        ("x: proved", "x: refuted", "B332", 12, "x: proved"),
        ("0.5 * x", "1.5 * sin(x)", "B332", 12, "x: unknown"),
        ("x: proved", "y: proved", "B315", 12, "the solves are: x"),
        ("x: proved", "x: true", "B315", 12, "proved, refuted, unknown"),
        ("x: proved", "x: [proved]", "B315", 12, "proved, refuted, unknown"),
        ("paper: 14", "paper: fourteen", "B315", 10, "row"),
        ("paper: 14", "paper: 0", "B315", 10, "row"),
        ("covers: core", "covers: most", "B315", 11, "whole, core, part"),
    ],
)
def test_a_system_that_is_not(old, new, code, line, fix):
    (found,) = wrong(old, new)
    assert (found.code.id, found.span.line) == (code, line)
    assert fix in found.fix


def test_an_unexpected_verdict_is_not_compiled():
    with pytest.raises(banach.SpecError, match="B332"):
        banach.loads(SPEC.replace("x: proved", "x: unknown")).compile(to="oracle")


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("  claim: it is half\n", "", "B132"),
        ("  paper: 14\n", "", "B132"),
        ("claim: it", "claims: it", "B131"),
        ("covers: core", "covers: [core]", "B133"),
        ("expects: {x: proved}", "expects: proved", "B133"),
    ],
)
def test_its_form(old, new, code):
    with pytest.raises(banach.SpecError, match=code):
        banach.loads(SPEC.replace(old, new))


def test_exit_codes(write, banach_command):
    unexpected = write(SPEC.replace("x: proved", "x: unknown"))
    said = banach_command("check", unexpected)
    assert said.code == 4 and "`x` is expected unknown, and found proved" in said.err
    assert banach_command("check", write(SPEC.replace("paper: 14", "paper: 0"))).code == 2


def test_the_schema_knows_it(banach_command):
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(json.loads(banach_command("schema").out))
    assert not list(checker.iter_errors(yaml.safe_load(SPEC)))
    for old, new in (("paper: 14", "paper: 0"), ("x: proved", "x: perhaps"), ("claim:", "claims:")):
        assert list(checker.iter_errors(yaml.safe_load(SPEC.replace(old, new))))


# --- the list ---------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf of one page, and its record."""
    monkeypatch.setattr(systems, "FOLDER", tmp_path)
    monkeypatch.setattr(systems, "RECORD", tmp_path.parent / "claims.yaml")
    path = tmp_path / "half.yaml"
    path.write_text(SPEC.replace("name: half", "name: half\ndoc: Half of it."))

    def recorded(**told):
        systems.record.cache_clear()
        systems.RECORD.write_text(yaml.safe_dump({"half": {"page": systems.digest(path), **told}}))
        return systems.find("half")

    yield recorded
    systems.record.cache_clear()


def test_a_claim_holds_as_long_as_the_page_is_the_one_that_was_tested(shelf, tmp_path, banach_command):
    assert shelf(claim="holds").held == "holds" and shelf(claim="fails").held == "fails"
    document = json.loads(banach_command("list", "systems", "--json").out)
    (row,) = document["systems"]
    assert (row["name"], row["paper"], row["verdicts"], row["held"]) == ("half", 14, {"x": "proved"}, "fails")
    assert "row 14, core; x proved; claim fails" in banach_command("list", "systems").out
    shelf(claim="holds")
    path = tmp_path / "half.yaml"
    path.write_text(path.read_text() + "# changed since\n")
    assert systems.find("half").held == "not tested"
    assert systems.find("../half") is None and systems.find("other") is None


def test_no_record_vouches_for_nothing(shelf):
    shelf(claim="holds")
    systems.RECORD.unlink()
    systems.record.cache_clear()
    assert systems.find("half").held == "not tested"
