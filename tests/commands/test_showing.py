"""Commands that show: report, bench, graph as a picture, and the device of a run."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import banach
from banach.compiler import pictures
from banach.compiler.commands import benchmark

BARE = "{http://www.w3.org/2000/svg}"
INPUTS = """\
banach: 1
sizes: {n: 3, m: 5}
inputs: {A: "real[m, n]", b: "real[m]"}
operators: {f: "least_squares(A, b)"}
solve:
  x:
    method: gradient_descent(f)
    start: zeros(n)
    stop: {residual: 1e-5, most: 4000}
outputs: {x: x}
"""
KNOWN = INPUTS.replace(
    'inputs: {A: "real[m, n]", b: "real[m]"}',
    "parameters: {A: [[2, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 1], [1, 0, 0]], b: [1, 2, 3, 4, 5]}",
)


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "known.yaml"
    path.write_text(KNOWN)
    return path


class Elements(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags, self.words, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


# --- report -----------------------------------------------------------------------------------------------


def test_a_report_of_a_spec_stands_alone(banach_command, known, tmp_path):
    target = tmp_path / "report.html"
    said = banach_command("report", known, "-o", target)
    assert said.code == 0 and str(target) in said.out
    page = Elements(target.read_text())
    words = "".join(page.words)
    assert page.tags.count("svg") >= 2 and not page.links and "script" not in page.tags
    assert (
        "proved" in words and "the certified rate" in words and "converged" in words and "banach: 1" in words
    )


def test_a_report_of_a_file_needs_no_spec(banach_command, known, tmp_path):
    banach.load(known).compile(tmp_path / "known.onnx")
    target = tmp_path / "report.html"
    assert banach_command("report", tmp_path / "known.onnx", "-o", target).code == 0
    words = "".join(Elements(target.read_text()).words)
    assert "proved" in words and "converged" in words and "banach: 1" in words


def test_a_report_without_inputs_says_what_is_missing_and_escapes(banach_command, tmp_path):
    spec = tmp_path / "a<b>.yaml"
    spec.write_text(INPUTS + "# <script>alert(1)</script>\n")
    target = tmp_path / "report.html"
    assert banach_command("report", spec, "-o", target).code == 0
    page = Elements(target.read_text())
    assert "script" not in page.tags and "b" not in page.tags
    assert "--input NAME=FILE" in "".join(page.words)


def test_a_report_of_a_refuted_spec_is_written_too(banach_command, model_file, tmp_path):
    target = tmp_path / "report.html"
    assert banach_command("report", model_file("too_fast"), "-o", target).code == 3
    assert "refuted" in "".join(Elements(target.read_text()).words)


def test_the_curve_is_that_of_the_residual():
    """Every circle at its place on the logarithmic axis; the envelope is left out where there is none."""
    points = [(k, 10.0**-k) for k in range(1, 9)]
    root = ElementTree.fromstring(pictures.residuals(points, {"rate": (1.0, 0.1)}))
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{BARE}circle")]
    steps = np.diff(np.array(circles), axis=0)
    assert len(circles) == 8 and np.ptp(steps, axis=0).max() <= 0.2 and (steps > 0).all()
    assert len(list(root.iter(f"{BARE}polyline"))) == 2
    assert pictures.residuals([(1, 0.0), (2, float("nan"))], {}) == ""


# --- graph ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lasso", "deq"])
def test_a_graph_is_drawn(name, banach_command, model_file, tmp_path):
    assert banach_command("graph", model_file(name), "-o", tmp_path / "g.svg").code == 0
    root = ElementTree.parse(tmp_path / "g.svg").getroot()
    whole = banach.load(model_file(name)).graph
    boxes = len(list(root.iter(f"{BARE}rect")))
    assert boxes == sum(len(g.inputs) + len(g.ops) + len(g.outputs) for g in whole.walk())
    wide, high = float(root.get("width")), float(root.get("height"))
    for box in root.iter(f"{BARE}rect"):
        assert 0 <= float(box.get("x")) <= wide and 0 <= float(box.get("y")) <= high
    assert banach_command("graph", model_file(name), "-o", tmp_path / "g.dot").code == 0
    assert (tmp_path / "g.dot").read_text().startswith("digraph")


# --- bench ------------------------------------------------------------------------------------------------


def test_bench_counts_bytes_and_times(banach_command, tmp_path):
    """A of 40 by 30 float32, its gradient step: A twice at least, b, and x."""
    spec = tmp_path / "ls.yaml"
    spec.write_text(
        INPUTS.replace("n: 3, m: 5", "n: any, m: any").replace("start: zeros(n)", "start: zeros(n)")
    )
    said = banach_command("bench", spec, "--size", "n=30", "--size", "m=40", "--json", "--iterations", "50")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    (row,) = told["solves"]
    assert told["drawn"] == ["A", "b"] and row["solve"] == "x" and row["iteration_us"] > 0
    assert row["bytes"] >= 4 * 40 * 30 and row["floor_us"] > 0 and told["copied_gb_per_s"] > 0
    text = banach_command("bench", spec, "--iterations", "50").out
    assert re.search(r"an iteration +[\d.e+]+ µs", text) and "drawn" in text


def test_bench_takes_what_is_given(banach_command, tmp_path):
    np.save(tmp_path / "A.npy", np.eye(5, 3, dtype=np.float32))
    (tmp_path / "s.yaml").write_text(INPUTS)
    told = banach_command("bench", tmp_path / "s.yaml", "--input", f"A={tmp_path / 'A.npy'}", "--json")
    assert json.loads(told.out)["drawn"] == ["b"]
    assert banach_command("bench", tmp_path / "s.yaml", "--size", "n=many").code == 2
    assert banach_command("bench", "model.onnx").code == 2


def test_sizes_of_what_is_drawn():
    graph = banach.loads(INPUTS.replace("n: 3, m: 5", "n: any, m: any")).graph
    port = next(p for p in graph.inputs if p.name == "A")
    assert benchmark._drawn(port, {"m": 7}).shape == (7, 64)
    assert np.array_equal(benchmark._drawn(port, {}), benchmark._drawn(port, {}))


# --- device -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "code"), [("onnx", "B614"), ("fx", "B609"), ("oracle", "B150")])
def test_a_gpu_that_is_not_there(backend, code, banach_command, model_file, monkeypatch):
    """Also where there is one."""
    monkeypatch.setattr(pytest.importorskip("torch").cuda, "is_available", lambda: False)
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    said = banach_command("run", model_file("lasso"), "--backend", backend, "--device", "cuda")
    assert said.code == 2 and code in said.err


@pytest.mark.parametrize("backend", ["onnx", "fx"])
def test_the_cpu_is_asked_for(backend, banach_command, model_file):
    said = banach_command("run", model_file("lasso"), "--backend", backend, "--device", "cpu", "--json")
    assert said.code == 0 and json.loads(said.out)["solves"][0]["status"] == "converged"
