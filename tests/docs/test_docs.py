"""Every spec in the README and in docs/ is checked, and proved where it requires that."""

import re
import shutil
import sys
from pathlib import Path

import pytest

import banach
from banach.backends.onnx.network.network import OPERATORS
from banach.ir.shelf import modules

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "networks"))

from networks import mlp, save  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SPECS = [
    pytest.param(block, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"```yaml\n(banach: 1\n.*?)```", page.read_text("utf-8"), re.DOTALL))
    if "\nlibrary:" not in block
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    made = tmp_path_factory.mktemp("docs")
    for path in (ROOT / "specs" / "models").glob("*.csv"):
        shutil.copy(path, made)
    save(mlp(norm=0.9), made, "denoiser.onnx")
    return made


def test_there_are_specs() -> None:
    assert len(SPECS) >= 4


@pytest.mark.parametrize("text", SPECS)
def test_a_spec_of_the_documentation_is_proved(text: str, folder: Path) -> None:
    model = banach.loads(text, folder=folder)
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


def test_the_table_of_operators_is_that_of_the_code() -> None:
    """A row for each family, with exactly its operators."""
    text = (ROOT / "docs" / "language.md").read_text("utf-8").split("| operators |")[1].split("\n\n")[0]
    rows = {frozenset(row.split("|")[2].strip().split(", ")) for row in text.splitlines()[2:]}
    assert rows == {frozenset(module.RULES) for module in modules(OPERATORS)}
