"""Every spec in the README and in docs/ is checked, and proved where it requires that."""

import re
from pathlib import Path

import pytest

import banach

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SPECS = [
    pytest.param(block, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"```yaml\n(banach: 1\n.*?)```", page.read_text("utf-8"), re.DOTALL))
    if "\nlibrary:" not in block
]


def test_there_are_specs() -> None:
    assert len(SPECS) >= 4


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_of_the_documentation_is_proved(text: str) -> None:
    model = banach.loads(text, folder=ROOT / "specs" / "models")
    report = model.check()
    assert report.ok, str(report)
    required = {key.text for key, _ in model.elaborated.spec.head.require or ()}
    assert all(report.certificates[solve].verdict == "proved" for solve in required)
    assert required or all(c.verdict == "proved" for c in report.certificates.values())


def test_the_readme_shows_the_shipped_spec() -> None:
    assert (ROOT / "specs/models/lasso.yaml").read_text("utf-8") in (ROOT / "README.md").read_text("utf-8")


def test_the_readme_names_only_files_that_are_there() -> None:
    for name in re.findall(
        r"`((?:docs|specs|tests|benchmarks|api|ir|compiler|backends)/[\w./]*)`",
        (ROOT / "README.md").read_text("utf-8"),
    ):
        assert (ROOT / name).exists(), name
