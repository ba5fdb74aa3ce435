"""`new`, `render` and `schema`: what they write is what the loader reads."""

import json
from pathlib import Path

import pytest
import yaml

import banach
from banach.compiler import library
from banach.compiler.cli import main

MODELS = Path(__file__).resolve().parents[2] / "specs" / "models"
SOLVERS = {page.name: page for page in library.pages("solver") if page.section.example}


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_new_spec_is_proved_where_there_is_a_theorem(
    solver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine", "--like", solver]) == 0
    text = (tmp_path / "mine.yaml").read_text("utf-8")
    assert ("# what must be proved" in text) == bool(SOLVERS[solver].theorems)
    assert banach.load(tmp_path / "mine.yaml").check().ok
    assert main(["new", "mine"]) == 2  # it does not write over a file
    assert (tmp_path / "mine.yaml").read_text("utf-8") == text


def test_new_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mine", "--like", "fsta"]) == 2
    assert "--like fista" in capsys.readouterr().err


def test_render_fills_in_defaults_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = library.find("nesterov").section.example.text
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    assert main(["render", str(tmp_path / "spec.yaml")]) == 0
    rendered = capsys.readouterr().out
    assert "step: 1 / lipschitz(grad(f))  # the default of nesterov" in rendered
    assert "mu: strong_convexity(f)  # the default of nesterov" in rendered
    before, after = (banach.loads(t).compile(to="oracle").run()["x"] for t in (text, rendered))
    assert (before == after).all()


def test_the_schema_accepts_the_models_and_refuses_a_misspelling(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert main(["schema"]) == 0
    checker = jsonschema.Draft202012Validator(json.loads(capsys.readouterr().out))
    for path in MODELS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text("utf-8"))
        spec = json.loads(json.dumps(spec).replace('"1e-6"', "1e-6"))
        assert not list(checker.iter_errors(spec)), path
        section = next(iter(spec["solve"].values()))["stop"] if "solve" in spec else spec
        section["max_iter"] = 3
        assert list(checker.iter_errors(spec))
