"""The pages of the models: each is made by a run, and says what the run showed."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("lasso", "pagerank", "appnp", "inpainting", "too_fast", "mystery")


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery_of_docs", ROOT / "docs" / "gallery.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_model_has_a_page(gallery):
    assert {path.stem for path in gallery.MODELS.glob("*.yaml")} - set(gallery.ENTRIES) <= {
        "deq"
    }  # the demo's


def made(gallery, name, model_folder, tmp_path):
    gallery.MODELS = model_folder
    return gallery.page(name, model_folder, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in (*QUICK, "logistic", "tv", "deblur", "darcy", "digits", "fno_darcy")
    ],
)
def test_a_page_tells_what_its_run_showed(name, gallery, model_folder, tmp_path):
    text = made(gallery, name, model_folder, tmp_path)
    assert text.count("```yaml\n") == 1
    verdict = {"too_fast": "refuted", "mystery": "unknown", "fno_darcy": ""}.get(name, "proved")
    assert re.search(rf"^\w+: {verdict}", text, re.MULTILINE) or not verdict
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in re.findall(r"^\| (?:oracle|onnx|fx) .*$", text, re.MULTILINE)
    ]
    runs = [row for row in rows if len(row) == 5]
    if verdict == "proved":
        assert len(runs) == 3 and {row[4] for row in runs} == {"converged"}
        assert all(row[2] == "—" or int(row[3]) <= int(row[2]) for row in runs)
        assert len({row[3] for row in runs}) == 1
        assert all(float(row[5]) <= 1e-5 for row in rows if len(row) == 6)
        assert any(len(row) == 6 for row in rows)
    if name == "too_fast":
        assert not rows and "nothing is compiled" in text and "witness" in text
    if name == "mystery":
        assert "missing" in text and {row[4] for row in runs} != {"converged"}
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (tmp_path / picture).stat().st_size > 1000
