"""A spec as an operator of another, against the same model in one piece, and numpy."""

from pathlib import Path

import numpy as np
import pytest

import banach

LAYER = """
banach: 1
name: layer
precision: float64
sizes: {batch: any, n: any}
inputs: {u: "real[batch, n]", q: real}
parameters:
  shift: {file: shift.npy}
operators:
  F(z): q * tanh(z) + u
solve:
  z:
    method: picard(F)
    start: zeros(n)
    stop: {residual: 1e-10, most: 200}
outputs: {z: z, size: norm(z) + shift}
require: {z: converges}
"""
MODEL = """
banach: 1
name: whole
precision: float64
sizes: {batch: any, p: 4}
inputs: {x: "real[batch, p]"}
operators:
  layer: include(file=parts/layer.yaml, output=z)
  both: include(file=parts/layer.yaml)
outputs:
  twice: layer(layer(x, 0.5), 0.8)
  slope: vjp(layer(_, 0.5), x)(ones(p))
  pair: both(x, 0.25)[1]
"""
SHIFT = 2.5


@pytest.fixture
def folder(tmp_path):
    """Writes the model and its part into a folder: texts -> the model's path."""

    def make(model: str = MODEL, layer: str = LAYER) -> Path:
        (tmp_path / "parts").mkdir(exist_ok=True)
        (tmp_path / "parts" / "layer.yaml").write_text(layer)
        np.save(tmp_path / "parts" / "shift.npy", SHIFT)
        (tmp_path / "model.yaml").write_text(model)
        return tmp_path / "model.yaml"

    return make


def fixed_point(u, q):
    z = np.zeros_like(u)
    for _ in range(400):
        z = q * np.tanh(z) + u
    return z


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_spec_is_a_map_for_every_sample(folder, backend):
    x = np.random.default_rng(0).standard_normal((3, 4))
    found = banach.load(folder()).compile(to=backend).run(x=x)
    np.testing.assert_allclose(found["twice"], fixed_point(fixed_point(x, 0.5), 0.8), atol=1e-9)
    z = fixed_point(x, 0.5)
    np.testing.assert_allclose(found["slope"], 1 / (1 - 0.5 / np.cosh(z) ** 2), atol=1e-8)
    wanted = np.linalg.norm(fixed_point(x, 0.25), axis=1) + SHIFT
    np.testing.assert_allclose(found["pair"], wanted, atol=1e-9)
    assert found["layer.z.status"].tolist() == [0, 0, 0]


def test_what_it_solves_is_certified_at_its_worst_place_and_held_to_what_it_requires(folder):
    report = banach.load(folder()).check()
    assert report.ok and report.certificates["layer.z"].verdict == "proved"
    assert 0.8 <= report.certificates["layer.z"].upper_factor < 0.81
    loose = banach.load(folder(MODEL.replace("0.8)", "1.25)"))).check()
    assert not loose.ok and loose.certificates["layer.z"].verdict == "unknown"
    (found,) = (d for d in loose.diagnostics if d.code.id == "B331")
    assert found.span.line == 8 and "layer.z" in found.message
    (where, _) = found.notes[0]
    assert where.file.endswith("layer.yaml") and where.line == 17


def test_the_compiled_file_holds_all_of_it(folder, tmp_path):
    path = folder()
    banach.load(path).compile(tmp_path / "one.onnx")
    (tmp_path / "parts" / "layer.yaml").unlink()
    x = np.ones((2, 4))
    from banach.backends.onnx.run import load

    found = load(tmp_path / "one.onnx").run(x=x)
    np.testing.assert_allclose(found["twice"], fixed_point(fixed_point(x, 0.5), 0.8), atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "told"),
    [
        ("parts/layer.yaml, output", "parts/later.yaml, output", "B210", 8, "no file"),
        ("parts/layer.yaml, output", "'../layer.yaml', output", "B210", 8, "outside"),
        ("output=z", "output=zz", "B201", 8, "no output `zz`"),
        ("output=z", "out='z'", "B204", 8, "out"),
        ("include(file=parts/layer.yaml, output=z)", "include()", "B204", 8, "name of a file"),
        ("layer(layer(x, 0.5), 0.8)", "layer(x)", "B204", 11, "2 arguments (u, q)"),
        ("layer(layer(x, 0.5), 0.8)", "layer(0.5, x)", "B202", 11, "as `u`"),
        ("precision: float64", "precision: float32", "B203", 11, "is in float64"),
    ],
)
def test_a_wrong_use_is_told_where_it_stands(folder, old, new, code, line, told):
    with pytest.raises(banach.SpecError) as wrong:
        banach.load(folder(MODEL.replace(old, new)))
    first = wrong.value.diagnostics[0]
    assert (first.code.id, first.span.line) == (code, line) and told in first.message


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("q * tanh(z) + u", "q * tanh(z) + v", "B201", "`v`"),
        ("precision: float64", "precison: float64", "B131", "precison"),
        ("n: any}", "n: {least: 5}}", "B202", "n >= 5"),
        ("n: any}", "n: any, m: any}", "B206", "size `m`"),
        ("outputs: {z: z, size: norm(z) + shift}", "", "B201", "no output"),
        (
            "F(z): q * tanh(z) + u",
            "F(z): q * tanh(z) + u\n  again: include(file=layer.yaml)",
            "B205",
            "itself",
        ),
    ],
)
def test_a_mistake_in_the_part_is_told_with_both_places(folder, old, new, code, told):
    with pytest.raises(banach.SpecError) as wrong:
        banach.load(folder(layer=LAYER.replace(old, new)))
    found = [d for d in wrong.value.diagnostics if d.code.id == code and told in d.message]
    assert found and all(d.span.file.endswith("model.yaml") for d in wrong.value.diagnostics)


def test_two_specs_in_a_circle_are_refused(folder, tmp_path):
    there, back = (
        LAYER.replace("operators:\n", f"operators:\n  part: include(file={name}.yaml)\n").replace(
            "+ u\n", "+ part(u, q)\n"
        )
        for name in ("other", "layer")
    )
    path = folder(layer=there)
    (tmp_path / "parts" / "other.yaml").write_text(back.replace("name: layer", "name: other"))
    with pytest.raises(banach.SpecError) as wrong:
        banach.load(path)
    assert any(d.code.id == "B205" for d in wrong.value.diagnostics)


def test_each_part_reads_the_files_beside_itself_alone(folder, tmp_path):
    """The part's own folder is its root: it may not read what lies beside the model."""
    np.save(tmp_path / "outer.npy", 1.0)
    with pytest.raises(banach.SpecError) as wrong:
        banach.load(folder(layer=LAYER.replace("shift.npy", "../outer.npy")))
    assert {d.code.id for d in wrong.value.diagnostics} == {"B210"}


def test_parts_that_double_with_every_floor_are_refused(tmp_path):
    for i in range(12):
        below = f"p{i - 1}(p{i - 1}(x))" if i else "sin(x)"
        parts = f"operators: {{p{i - 1}: include(file=p{i - 1}.yaml)}}\n" if i else ""
        text = f"banach: 1\nname: p{i}\ninputs: {{x: real}}\n{parts}outputs:\n  y: {below}\n"
        (tmp_path / f"p{i}.yaml").write_text(text)
    with pytest.raises(banach.SpecError) as wrong:
        banach.load(tmp_path / "p11.yaml")
    assert [d.code.id for d in wrong.value.diagnostics] == ["B214"]


def test_a_map_of_a_part_is_no_map_of_the_model(folder):
    """Both have an operator F with a solve z; each has its own certificate."""
    inner = """
banach: 1
name: layer
precision: float64
inputs: {u: real}
operators:
  F(y):
    solve:
      z: {state: {z: 0.0}, next: {z: 1.5 * z + y}, stop: {residual: abs(z' - z) <= 1e-9, most: 9}}
    returns: z
outputs: {v: F(u)}
"""
    outer = """
banach: 1
precision: float64
inputs: {b: real}
operators:
  layer: include(file=parts/layer.yaml)
  F(y):
    solve:
      z: {state: {z: 0.0}, next: {z: 0.5 * z + y}, stop: {residual: abs(z' - z) <= 1e-9, most: 99}}
    returns: z
outputs: {v: layer(F(b))}
"""
    found = banach.load(folder(outer, inner)).check().certificates
    assert {name: c.verdict for name, c in found.items()} == {"F.z": "proved", "layer.F.z": "refuted"}
