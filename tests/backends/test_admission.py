"""What a run is given, against what its model takes: every mistake is told, in one answer, with its place."""

import numpy as np
import pytest

import banach

SPEC = """\
banach: 1
sizes: {batch: any, n: 3, m: any}
inputs:
  picture: real[n, m]
  weights: real[m]
  chosen: int[n]
  mask: bool[n]
  wave: complex[n]
outputs:
  y: sum(picture @ weights) + norm(wave)
  places: chosen
  seen: mask
"""
GOOD = {
    "picture": np.ones((3, 4)),
    "weights": np.ones(4),
    "chosen": np.array([1, 2, 3]),
    "mask": np.array([True, False, True]),
    "wave": np.array([1j, 2, 3]),
}


@pytest.fixture(scope="module", params=["oracle", "onnx", "fx"])
def artifact(request):
    return banach.loads(SPEC).compile(to=request.param)


def mistakes(artifact, **changed):
    with pytest.raises(banach.RunError) as refused:
        artifact.run({k: v for k, v in {**GOOD, **changed}.items() if v is not None})
    return refused.value.diagnostics


def test_what_fits_runs(artifact):
    assert float(artifact.run(GOOD)["y"]) == pytest.approx(12 + np.sqrt(14))


def test_every_mistake_is_told(artifact):
    found = mistakes(
        artifact,
        pictur=GOOD["picture"],
        picture=None,
        weights=np.ones((4, 1)),
        chosen=np.array([0.5, 1, 2]),
        mask=None,
        wave=np.array(["a", "b", "c"]),
    )
    assert [d.code.id for d in found] == ["B701", "B701", "B702", "B703", "B703"]
    assert "`pictur`" in found[0].message and found[0].fix == "write `picture`"
    assert "`mask` is missing" in found[1].message and found[1].span.line == 7
    assert [d.span.line for d in found[2:]] == [5, 6, 8]


def test_a_size_of_two_values_names_the_first(artifact):
    (found,) = mistakes(artifact, weights=np.ones(5))
    assert (found.code.id == "B702" and "with n = 3, m = 4" in found.message) or "m = 4" in found.message


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("weights", [1, 2, 1e300, 4], "1e+300 at [2]"),
        ("picture", np.full((3, 4), -1e39), "-1e+39 at [0, 0]"),
        ("chosen", [1, 2**70, 3], "int"),
        ("weights", [[1, 2], [3]], "different lengths"),
    ],
)
def test_numbers_that_do_not_fit(name, value, told, artifact):
    (found,) = mistakes(artifact, **{name: value})
    assert told in found.message and found.span is not None and found.fix


def test_infinities_and_nan_pass(artifact):
    assert np.isnan(artifact.run({**GOOD, "weights": [np.nan, 1, 1, 1]})["y"])
    assert np.isinf(artifact.run({**GOOD, "weights": [np.inf, 1, 1, 1]})["y"])


@pytest.mark.parametrize("limit", [{"x.tolerance": -1e-3}, {"x.tolerance": np.nan}, {"x.max_iterations": -1}])
@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_limits(backend, limit):
    text = (
        "banach: 1\noperators: {T(x): 0.5 * x + 1}\nsolve:\n  x: {method: picard(T), start: zeros(2), HOW}\n"
    )
    spec = banach.loads(text.replace("HOW", "stop: {residual: 1e-5, most: 99}") + "outputs: {x: x}\n")
    with pytest.raises(banach.RunError, match="B707"):
        spec.compile(to=backend).run(limit)
    assert spec.compile(to=backend).run({"x.max_iterations": 0})["x.iterations"] == 0


def test_the_command_tells_all(banach_command, tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    np.save(tmp_path / "w.npy", np.ones((4, 1)))
    said = banach_command(
        "run", tmp_path / "s.yaml", "--backend", "oracle", "--input", f"weights={tmp_path / 'w.npy'}"
    )
    assert said.code == 2
    assert said.err.count("[B701]") == 4 and said.err.count("[B702]") == 1 and "weights: real[m]" in said.err
