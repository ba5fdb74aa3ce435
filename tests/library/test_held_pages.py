"""Pages of solvers whose equations hold work between steps, or read old values, against loops in numpy."""

from pathlib import Path

import numpy as np
import pytest

import banach
from banach.compiler import library

SPEC = """\
banach: 1
precision: float64
library: pages
parameters:
  A: [[2, 0.3, 0], [0.3, 1, 0.1], [0, 0.1, 1.5]]
inputs: {b: "real[3]"}
operators:
  f: quadratic(A, b)
solve:
  x:
    method: lazy(f)
    start: zeros(3)
    stop: {residual: 1e-9, most: 20}
outputs: {x: x}
"""
PAGE = """\
banach: 1
library: solvers
solver lazy(f):
  doc: x ← x − step g, with a gradient g that is renewed in every third step, and a pull to old values.
  source: "textbook"
  options: {step: 0.25, period: 3}
  state: {x: start, g: "0 * start"}
  where: {old: "history(x, 3)"}
  next:
    x: x - step * g' + 0.05 * (old[2] - x)
    every(period):
      g: grad(f)(x)
  residual: norm(x' - x)
  returns: x
"""
THEOREM = """\
  theorems:
    - name: lazy-descent
      doc: The distance falls.
      if: [convex(f), step > 0]
      then: {quantity: distance, rate: linear, norm: l2}
      source: "textbook"
"""
A = np.array([[2, 0.3, 0], [0.3, 1, 0.1], [0, 0.1, 1.5]])


def spec_beside(folder: Path, page: str, spec: str = SPEC) -> Path:
    (folder / "pages" / "solvers").mkdir(parents=True)
    (folder / "pages" / "solvers" / "lazy.yaml").write_text(page, encoding="utf-8")
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    return folder / "spec.yaml"


@pytest.mark.parametrize("backend", ["oracle", "onnx", "fx"])
def test_a_page_holds_work_and_reads_old_values(backend: str, tmp_path: Path) -> None:
    b = np.array([1.0, -2.0, 0.5])
    seen, g = [np.zeros(3)] * 3, np.zeros(3)
    for k in range(20):
        if k % 3 == 0:
            g = A @ seen[-1] + b
        seen.append(seen[-1] - 0.25 * g + 0.05 * (seen[-3] - seen[-1]))
    found = banach.load(spec_beside(tmp_path, PAGE)).compile(to=backend).run(b=b)
    assert found["x.iterations"] == 20
    np.testing.assert_allclose(found["x"], seen[-1], rtol=1e-12)


def test_only_its_own_theorem_speaks_of_such_a_page(tmp_path: Path) -> None:
    without = banach.load(spec_beside(tmp_path / "a", PAGE)).check().certificates["x"]
    assert (without.verdict, without.missing) == ("unknown", "no theorem is known for lazy")
    within = banach.load(spec_beside(tmp_path / "b", PAGE + THEOREM)).check().certificates["x"]
    assert (within.verdict, within.theorem) == ("proved", "lazy-descent")
    assert "the page pages/solvers/lazy.yaml" in within.assumptions


@pytest.mark.parametrize("held", [True, False])
def test_a_page_that_holds_work_is_recognised_in_no_iteration(
    held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_method = "method: lazy(f)\n    start: zeros(3)"
    spelt = "state: {x: zeros(3), g: 0 * zeros(3)}\n    next: {g: grad(f)(x), x: x - 0.25 * g'}"
    eager = SPEC.replace(by_method, spelt).replace("residual: 1e-9", "residual: norm(x' - x) <= 1e-9")
    plain = PAGE.replace(" + 0.05 * (old[2] - x)", "").replace('  where: {old: "history(x, 3)"}\n', "")
    plain = plain.replace("every(period):\n      g:", "every(3):\n      g:" if held else "g:")
    plain = plain.replace(", period: 3", "")
    page = library.read_page(plain + THEOREM, "lazy.yaml", "solver", "lazy")
    monkeypatch.setattr(library, "pages", lambda kind: [page])
    found = banach.load(spec_beside(tmp_path, plain, eager)).check().certificates["x"]
    assert (found.theorem == "lazy-descent") is not held
