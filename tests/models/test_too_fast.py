"""A step beyond 2/L: refused before it runs, with a witness that anyone can replay."""

import json
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import banach


@pytest.fixture(scope="module")
def report(model_file):
    return banach.load(model_file("too_fast")).check()


def test_refused_with_place_number_reason_and_fix(report, model_file):
    (found,) = [d for d in report.diagnostics if d.severity == "error"]
    line = model_file("too_fast").read_text().splitlines()[found.span.line - 1]
    assert (found.code.id, found.code.name) == ("B312", "step-too-large")
    assert line[found.span.column - 1 :] == "3 / lipschitz(grad(f))"
    assert found.span.end_column == len(line) + 1
    assert "0.745488" in found.message and "0.248495" in found.message
    assert "4.02421" in found.label and "runs away" in found.why
    assert "1 / lipschitz(grad(f))" in found.fix
    assert report.exit_code() == 3 and not report.ok


def test_the_fix_is_accepted(model_file, tmp_path):
    """What it says to write, written, is proved; so is the number that it names."""
    text = model_file("too_fast").read_text()
    for step in ("1 / lipschitz(grad(f))", "0.248495"):
        mended = text.replace("3 / lipschitz(grad(f))", step)
        assert mended != text
        report = banach.loads(mended, folder=model_file("too_fast").parent).check()
        assert report.certificates["x"].verdict == "proved", step


@pytest.mark.parametrize(
    ("step", "verdict"),
    [
        ("1", "proved"),
        ("1.000001", "unknown"),
        ("1.5", "unknown"),
        ("2", "unknown"),
        ("2.5", "refuted"),
        ("-1", "unknown"),
    ],
)
def test_refuted_is_more_than_not_proved(step, verdict, model_file):
    """Between 1/L and 2/L nothing is known of FISTA: that is `unknown`, and a `require` then exits with 4."""
    text = model_file("too_fast").read_text().replace("3 / lipschitz", f"{step} / lipschitz")
    report = banach.loads(text, folder=model_file("too_fast").parent).check()
    assert report.certificates["x"].verdict == verdict
    assert report.exit_code() == {"proved": 0, "unknown": 4, "refuted": 3}[verdict]


def test_the_witness_diverges_when_replayed(report):
    """FISTA in numpy with a step of 3/L, from the witness: by its definition, and with none of our code."""
    witness = report.certificates["x"].to_json()["witness"]
    assert len(witness["start"]) == 10 and witness["shape"] == [10]
    A, target = load_diabetes(return_X_y=True)
    b = target - target.mean()
    step = 3 / np.linalg.norm(A, 2) ** 2
    start = np.array(witness["start"])
    x, y, s, norms = start, start, 1.0, [np.linalg.norm(start)]
    for _ in range(len(witness["growth"]) - 1):
        v = y - step * A.T @ (A @ y - b)
        new = np.sign(v) * np.maximum(np.abs(v) - step * 94.943526, 0)
        following = (1 + np.sqrt(1 + 4 * s * s)) / 2
        y, x, s = new + (s - 1) / following * (new - x), new, following
        norms.append(np.linalg.norm(x))
    assert norms[-1] > 1e5 * norms[0]
    assert all(later > earlier for earlier, later in pairwise(norms))
    np.testing.assert_allclose(norms, witness["growth"], rtol=1e-3)


def test_nothing_is_compiled(model_file, tmp_path, banach_command):
    target = tmp_path / "out.onnx"
    said = banach_command("compile", model_file("too_fast"), "-o", target)
    assert said.code == 3 and "B312" in said.err and not said.out
    assert not list(tmp_path.iterdir())
    for to in ("onnx", "fx", "oracle"):
        with pytest.raises(banach.SpecError, match="B312"):
            banach.load(model_file("too_fast")).compile(to=to)
    assert banach_command("run", model_file("too_fast")).code == 3


def test_json(model_file, banach_command):
    said = banach_command("check", "--json", model_file("too_fast"))
    document = json.loads(said.out)
    assert said.code == 3 and document["ok"] is False and document["spec"] == "too_fast"
    (diagnostic,) = document["diagnostics"]
    assert (diagnostic["code"], diagnostic["line"], diagnostic["column"]) == ("B312", 21, 11)
    (certificate,) = document["certificates"]
    assert (certificate["verdict"], certificate["scope"]) == ("refuted", "instance")
    assert certificate["nearest"] == "step <= 0.248495"
