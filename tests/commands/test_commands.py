"""Commands, their exit codes, and their JSON: INTERFACE.md holds what must not change."""

import json
from importlib.metadata import version

import numpy as np
import pytest

import banach
from banach.compiler import library, telling

OPEN = """\
banach: 1
name: open
sizes: {n: 3}
inputs: {c: "real[n]"}
operators:
  F(z): 2 * cos(z) + c
solve:
  z:
    method: picard(F)
    start: zeros(n)
    stop: {residual: 1e-3, most: 50}
outputs: {z: z}
"""
REQUIRED = OPEN + "require: {z: converges}\n"
CERTIFICATE_KEYS = {
    "solve", "verdict", "scope", "theorem", "source", "claim", "hypotheses", "assumptions", "norm",
    "lipschitz", "factor", "iterations", "reachable_tolerance", "witness", "missing", "nearest", "adjoint",
}  # fmt: skip
HYPOTHESIS_KEYS = {"text", "holds", "value", "bound", "margin", "origin", "line", "column"}
DIAGNOSTIC_KEYS = {"code", "name", "severity", "message", "file", "line", "column", "why", "fix"}


def one_document(said):
    """The JSON on standard output: exactly one document, with nothing before or after."""
    value, end = json.JSONDecoder(parse_constant=pytest.fail).raw_decode(said.out)
    assert not said.out[end:].strip()
    return value


# --- check ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_check(name, banach_command, model_file):
    said = banach_command("check", model_file(name))
    assert said.code == 0 and not said.err
    assert said.out.splitlines()[0].endswith(": proved") and "theorem" in said.out


def test_check_verbose_shows_hypotheses(banach_command, model_file):
    said = banach_command("check", "-v", model_file("lasso"))
    assert "step <= 1 / lipschitz(grad(f))" in said.out and "convex(g)" in said.out


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq", "too_fast"])
def test_check_json(name, banach_command, model_file):
    document = one_document(banach_command("check", "--json", model_file(name)))
    assert set(document) >= {"spec", "ok", "diagnostics", "certificates"}
    assert document["spec"] == name and document["ok"] is (name != "too_fast")
    assert all(set(d) >= DIAGNOSTIC_KEYS for d in document["diagnostics"])
    for certificate in document["certificates"]:
        assert set(certificate) >= CERTIFICATE_KEYS
        assert set(certificate["claim"]) == {"quantity", "rate", "factor", "bound"}
        assert all(set(hypothesis) >= HYPOTHESIS_KEYS for hypothesis in certificate["hypotheses"])


def test_a_hypothesis_has_its_place(banach_command, model_file):
    document = one_document(banach_command("check", "--json", model_file("lasso")))
    places = {h["text"]: (h["line"], h["column"]) for h in document["certificates"][0]["hypotheses"]}
    assert places["step <= 1 / lipschitz(grad(f))"] == (21, 11)


def test_unknown_is_fine_unless_it_is_asked_for(banach_command, write):
    path = write(OPEN)
    said = banach_command("check", path)
    assert said.code == 0 and said.out.startswith("z: unknown") and "lipschitz(T) < 1" in said.out
    assert banach_command("check", "--strict", path).code == 4
    said = banach_command("check", write(REQUIRED))
    assert said.code == 4 and "B331" in said.err and "model.yaml:13:" in said.err


@pytest.mark.parametrize("name", ["lasso", "deq"])
def test_strict_is_content_with_what_is_proved(name, banach_command, model_file):
    assert banach_command("check", "--strict", model_file(name)).code == 0


def test_json_of_exit_code_4(banach_command, write):
    said = banach_command("check", "--json", write(REQUIRED))
    document = one_document(said)
    assert said.code == 4 and document["ok"] is False
    assert document["certificates"][0]["verdict"] == "unknown" and document["certificates"][0]["missing"]


# --- compile and run --------------------------------------------------------------------------------------


def test_compile_and_run(banach_command, model_file, tmp_path):
    target = tmp_path / "lasso.onnx"
    said = banach_command("compile", model_file("lasso"), "-o", target)
    assert said.code == 0 and f"wrote {target}" in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["lasso.onnx"]
    said = banach_command("run", target, "-o", tmp_path / "out")
    assert said.code == 0 and "x: converged" in said.out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        f"{n}.npy" for n in ("coefficients", "objective", "x.iterations", "x.residual", "x.status")
    }
    assert float(np.load(tmp_path / "out" / "objective.npy")) == pytest.approx(798767.044659, rel=1e-6)


def test_compile_to_fx(banach_command, model_file, tmp_path):
    said = banach_command("compile", "--to", "fx", model_file("deq"), "-o", tmp_path / "deq")
    assert said.code == 0
    assert {path.name for path in (tmp_path / "deq").iterdir()} == {
        "weights.safetensors",
        "code.py",
        "model.json",
    }


@pytest.mark.parametrize("backend", ["onnx", "fx", "oracle"])
def test_run_json(backend, banach_command, model_file):
    said = banach_command("run", model_file("lasso"), "--backend", backend, "--json")
    document = one_document(said)
    assert said.code == 0
    assert document["outputs"]["objective"] == pytest.approx(798767.044659, rel=1e-6)
    (row,) = document["solves"]
    assert row["solve"] == "x" and row["status"] == "converged" and row["verdict"] == "proved"


def test_predicted_beside_observed(banach_command, model_file, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 64)))
    said = banach_command("run", model_file("deq"), "--input", f"x={tmp_path / 'x.npy'}", "--json")
    (row,) = one_document(said)["solves"]
    assert row["fewest"] <= row["iterations"] <= row["bound"] and row["samples"] == 3


def test_a_picture_is_read_and_written(banach_command, model_file, tmp_path):
    from PIL import Image

    levels = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "y.png")
    said = banach_command(
        "run", model_file("deblur"), "--input", f"y={tmp_path / 'y.png'}", "-o", tmp_path / "out"
    )
    assert said.code == 0
    with Image.open(tmp_path / "out" / "x.png") as picture:
        shown = np.asarray(picture)
    x = np.load(tmp_path / "out" / "x.npy")
    np.testing.assert_array_equal(shown, np.clip(np.round(x * 255), 0, 255).astype(np.uint8))


def test_stopping_at_most_is_exit_5(banach_command, model_file, tmp_path):
    said = banach_command("run", model_file("lasso"), "--input", "x.max_iterations=3", "-o", tmp_path / "out")
    assert said.code == 5 and "x: stopped at most after 3 iterations" in said.out
    assert (
        np.load(tmp_path / "out" / "x.status.npy") == 1 and (tmp_path / "out" / "coefficients.npy").exists()
    )


def test_gradient(banach_command, model_file, tmp_path):
    target = tmp_path / "gradient.onnx"
    assert banach_command("compile", model_file("deq"), "-o", target, "--gradient", "z:x").code == 0
    np.save(tmp_path / "x.npy", np.ones((2, 64)))
    np.save(tmp_path / "g.npy", np.ones((2, 48)))
    words = ("run", target, "--input", f"x={tmp_path / 'x.npy'}", "--input", f"d.z={tmp_path / 'g.npy'}")
    said = banach_command(*words, "-o", tmp_path / "out")
    assert said.code == 0 and np.load(tmp_path / "out" / "d.x.npy").shape == (2, 64)
    assert np.load(tmp_path / "out" / "z.npy").shape == (2, 48)  # the model's own outputs are there too


def test_the_gradient_of_a_number_needs_no_cotangent(tmp_path):
    text = 'banach: 1\nprecision: float64\ninputs: {u: "real[3]"}\noutputs: {y: sum(u**2)}\n'
    model = banach.loads(text)
    u = np.array([1.0, -2.0, 3.0])
    found = model.reverse("y", "u").beside_model().compile(tmp_path / "g.onnx").run(u=u)
    assert found["y"] == 14
    np.testing.assert_allclose(found["d.u"], 2 * u)


# --- the others -------------------------------------------------------------------------------------------


def test_explain_everything(banach_command):
    """Every name that `list` shows has a page."""
    for kind, rows in telling.listing(None).items():
        for usage, _ in rows:
            said = banach_command("explain", usage.split("(")[0])
            assert said.code == 0 and len(said.out) > 20, (kind, usage)


@pytest.mark.parametrize("name", ["B312", "step-too-large", "fista", "l1", "banach", "lipschitz", "B900"])
def test_explain(name, banach_command):
    said = banach_command("explain", name)
    assert said.code == 0 and not said.err and name in said.out


def test_explain_guesses(banach_command):
    said = banach_command("explain", "fitsa")
    assert said.code == 2 and "explain fista" in said.err and "B151" in said.err


def test_list(banach_command):
    said = banach_command("list")
    assert said.code == 0 and "fista" in said.out and "least_squares" in said.out
    document = one_document(banach_command("list", "--json"))
    assert {"operators", "functions", "solvers", "schedules", "theorems"} <= set(document)
    assert "picard" in {row["name"] for row in document["solvers"]}
    assert all(row["doc"] for rows in document.values() for row in rows)
    assert list(one_document(banach_command("list", "solvers", "--json"))) == ["solvers"]
    assert banach_command("list", "solvres").code == 2


def test_list_with_pages_of_ones_own(banach_command, tmp_path):
    (tmp_path / "pages/operators").mkdir(parents=True)
    page = "banach: 1\nlibrary: operators\noperator halve():\n  doc: Half of it.\n  source: textbook\n"
    page += "  returns(x): 0.5 * x\n  facts: {linear: true}\n  domain: real[3]\n  example: halve()\n"
    (tmp_path / "pages/operators/halve.yaml").write_text(page)
    said = banach_command("list", "operators", "--library", tmp_path / "pages")
    assert "halve" in said.out and "the page pages/operators/halve.yaml" in said.out
    (tmp_path / "pages/operators/halve.yaml").write_text(page.replace("source", "sauce"))
    assert "sauce" in banach_command("list", "operators", "--library", tmp_path / "pages").err
    assert banach_command("list", "--library", tmp_path / "nowhere").code == 2


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_graph_reads_back(name, banach_command, model_file, tmp_path):
    from banach.ir.text import parse_graph, tensors_of

    graph = banach.load(model_file(name)).graph

    said = banach_command("graph", model_file(name))
    assert said.code == 0
    assert parse_graph(said.out, tensors_of(graph)) == graph
    assert banach_command("graph", model_file(name), "-o", tmp_path / "g.txt").code == 0
    assert (tmp_path / "g.txt").read_text().strip() == said.out.strip()


def test_graph_of_the_derivative(banach_command, model_file):
    said = banach_command("graph", "--stage", "reverse", model_file("deq"))
    assert said.code == 0 and "d.x" in said.out and not said.err


def test_doctor(banach_command):
    said = banach_command("doctor")
    assert said.code == 0 and version("banach") in said.out and "CPUExecutionProvider" in said.out
    document = one_document(banach_command("doctor", "--json"))
    assert {"banach", "python", "onnx", "torch", "backends", "providers"} <= set(document)


def test_version(banach_command):
    assert banach_command("--version").out.strip() == f"banach {version('banach')}"


# --- wrong command lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("chekc", "lasso.yaml"),
        ("check",),
        ("check", "lasso.yaml", "--fast"),
        ("compile", "lasso.yaml"),
        ("run", "lasso.yaml", "--backend", "jax"),
        ("verify",),
    ],
)
def test_a_wrong_command_line(words, banach_command):
    said = banach_command(*words)
    assert said.code == 2 and "B150" in said.err and not said.out and "Traceback" not in said.err


def test_a_wrong_command_line_in_json(banach_command):
    said = banach_command("check", "--json")
    assert said.code == 2 and one_document(said)["diagnostics"][0]["code"] == "B150"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ((), "B701"),
        (("--input", "y"), "B701"),
        (("--input", "u=3"), "B701"),
        (("--input", "x=3"), "B702"),
        (("--input", "x=missing.npy"), "B704"),
        (("--input", "x=x.txt"), "B704"),
    ],
)
def test_wrong_inputs(given, code, banach_command, model_file):
    said = banach_command("run", model_file("deq"), "--backend", "oracle", *given)
    assert said.code == 2 and f"[{code}]" in said.err and not said.out


@pytest.mark.parametrize("given", ["z", "z:", ":x", "w:x", "z:w", "z.status:x"])
def test_a_wrong_gradient(given, banach_command, model_file, tmp_path):
    said = banach_command("compile", model_file("deq"), "-o", tmp_path / "g.onnx", "--gradient", given)
    assert said.code == 2 and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(banach_command, model_file, tmp_path):
    said = banach_command("compile", model_file("lasso"), "-o", tmp_path / "no" / "lasso.onnx")
    assert said.code == 2 and "B705" in said.err and not list(tmp_path.iterdir())
    said = banach_command("graph", model_file("lasso"), "-o", tmp_path / "no" / "g.txt")
    assert said.code == 2 and "Traceback" not in said.err


# --- Python -----------------------------------------------------------------------------------------------


def test_api_by_a_mapping(model_file):
    import yaml

    document = yaml.safe_load(model_file("deq").read_text())
    model = banach.loads(document)
    assert model.check().certificates["z"].verdict == "proved"
    assert set(banach.__all__) == {"Derivative", "Model", "Report", "RunError", "SpecError", "load", "loads"}


def test_api_errors_hold_every_diagnostic():
    with pytest.raises(banach.SpecError) as caught:
        banach.loads(OPEN.replace("cos(z) + c", "cos(z) + d").replace("zeros(n)", "zeros(m)"))
    assert {d.code.id for d in caught.value.diagnostics} == {"B201"} and len(caught.value.diagnostics) >= 2


def test_reverse_then_compile(model_file, tmp_path):
    artifact = banach.load(model_file("deq")).reverse(output="z", wrt="x").compile(tmp_path / "g.onnx")
    result = artifact.run({"x": np.ones((1, 64)), "d.z": np.ones((1, 48))})
    assert list(result) == ["d.x"] and (tmp_path / "g.onnx").exists()
    with pytest.raises(banach.SpecError, match="B60"):
        banach.load(model_file("deq")).compile(to="jax")


def test_the_schema_knows_solvers_of_ones_own(banach_command, tmp_path):
    (tmp_path / "pages/solvers").mkdir(parents=True)
    page = (library.ROOT / "solvers/picard.yaml").read_text()
    own = page.replace("picard", "own_picard")
    (tmp_path / "pages/solvers/own_picard.yaml").write_text(own)
    plain = banach_command("schema").out
    said = banach_command("schema", "--library", tmp_path / "pages")
    assert "own_picard" in said.out and "own_picard" not in plain, said.err
