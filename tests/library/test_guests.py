"""Pages of a folder beside the spec, and of installed packages: found, refused at their place, trusted."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import banach
from banach.compiler.elaboration import guests

SPEC = """\
banach: 1
precision: float64
library: pages
inputs: {b: "real[3]"}
operators:
  f: half_square(b)
solve:
  x:
    method: damped(f)
    start: zeros(3)
    stop: {residual: 1e-9, most: 500}
outputs: {x: x}
require: {x: converges}
"""
FUNCTION = """\
banach: 1
library: functions
function half_square(b):
  doc: ½‖x − b‖².
  source: "textbook"
  value(x): 0.5 * sum((x - b)**2)
  gradient(x): x - b
  facts: {smoothness: 1, convex: true, strong_convexity: 1}
"""
SOLVER = """\
banach: 1
library: solvers
solver damped(f):
  doc: x ← x − step ∇f(x).
  source: "textbook"
  options: {step: 0.5}
  state: {x: start}
  next: {x: x - step * grad(f)(x)}
  residual: norm(x' - x)
  returns: x
  theorems:
    - name: damped-descent
      doc: The distance falls by a fixed factor.
      if: [convex(f), strong_convexity(f) > 0, step > 0, step < 1 / lipschitz(grad(f))]
      then: {quantity: distance, rate: linear, factor: 1 - step * strong_convexity(f), norm: l2}
      source: "textbook"
"""
Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Writes a spec with the pages beside it."""

    def write(spec: str = SPEC, **pages: str) -> Path:
        for name, text in {"functions/half_square": FUNCTION, "solvers/damped": SOLVER, **pages}.items():
            path = tmp_path / "pages" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (tmp_path / "spec.yaml").write_text(spec, encoding="utf-8")
        return tmp_path / "spec.yaml"

    return write


def certificate(path: Path) -> Any:
    return banach.load(path).check().certificates["x"]


def test_pages_of_a_folder_are_found_and_run(place: Place) -> None:
    model, b = banach.load(place()), np.array([1.0, -2.0, 3.0])
    for backend in ("oracle", "onnx", "fx"):
        np.testing.assert_allclose(model.compile(to=backend).run(b=b)["x"], b, atol=1e-8)


def test_a_verdict_names_the_pages_that_it_trusts(place: Place, banach_command: Any, tmp_path: Path) -> None:
    path = place()
    found = certificate(path)
    assert found.verdict == "proved" and found.theorem == "damped-descent"
    trusted = {"the page pages/functions/half_square.yaml", "the page pages/solvers/damped.yaml"}
    assert set(found.assumptions) == trusted
    assert "proved (assuming the page pages/" in banach_command("check", path).out
    assert banach_command("compile", path, "-o", tmp_path / "x.onnx").code == 0
    told = json.loads(banach_command("verify", "--json", tmp_path / "x.onnx").out)
    assert told["ok"] and all(any(page in line for line in told["trusted"]) for page in trusted)


@pytest.mark.parametrize(
    ("method", "f", "trusts"),
    [
        ("gradient_descent(f)", "half_square(b)", ["half_square"]),
        ("damped(f)", "sq_l2(b)", ["damped"]),
        ("gradient_descent(f)", "sq_l2(b)", []),
        ("picard(T)", "half_square(b)", ["half_square"]),
    ],
)
def test_what_is_not_used_is_not_named(place: Place, method: str, f: str, trusts: list[str]) -> None:
    text = SPEC.replace("damped(f)", method).replace("half_square(b)", f)
    found = certificate(place(text.replace("solve:", "  T: I - 0.5 * grad(f)\nsolve:", 1)))
    assert found.verdict == "proved"
    assert [Path(text).stem for text in found.assumptions] == trusts


def test_an_iteration_that_is_written_out_names_the_function_page(place: Place) -> None:
    text = """\
banach: 1
precision: float64
library: pages
inputs: {b: "real[3]"}
operators: {f: half_square(b)}
solve:
  x:
    state: {x: zeros(3)}
    next: {x: x - 0.5 * grad(f)(x)}
    stop: {residual: norm(x' - x) <= 1e-9, most: 500}
outputs: {x: x}
"""
    found = certificate(place(text))
    assert found.verdict == "proved" and found.assumptions == ("the page pages/functions/half_square.yaml",)


def test_pages_use_each_other(place: Place) -> None:
    twice = FUNCTION.replace("half_square(b)", "double(b)").replace(
        "facts", "where: {f: half_square(b)}\n  facts"
    )
    twice = twice.replace("0.5 * sum((x - b)**2)", "2 * f(x)").replace("x - b", "2 * grad(f)(x)")
    path = place(SPEC.replace("f: half_square", "f: double"), **{"functions/double": twice})
    b = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(banach.load(path).compile(to="oracle").run(b=b)["x"], b, atol=1e-8)


OPERATOR = "banach: 1\noperator damped(A):\n  doc: d\n  source: s\n  returns(x): x\n"
INCLUDING = """\
banach: 1
precision: float64
inputs: {b: "real[3]"}
operators:
  part: include(file=spec.yaml)
outputs: {x: part(b)}
"""


def test_a_spec_that_is_included_brings_its_own_pages(place: Place) -> None:
    path = place().with_name("outer.yaml")
    path.write_text(INCLUDING)
    model, b = banach.load(path), np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(model.compile(to="oracle").run(b=b)["x"], b, atol=1e-8)
    found = model.check().certificates["spec.x"]
    assert found.verdict == "proved" and "the page pages/solvers/damped.yaml" in found.assumptions


CLASHES = {
    "l1": ("functions/l1", FUNCTION.replace("half_square", "l1"), "specs/functions/l1.yaml"),
    "two kinds": ("operators/damped", OPERATOR,
                  "pages/operators/damped.yaml"),
    "word": ("functions/exp", FUNCTION.replace("half_square", "exp"), "a word of the language"),
}  # fmt: skip


@pytest.mark.parametrize("key", CLASHES)
def test_a_clash_shows_both_places(place: Place, banach_command: Any, key: str) -> None:
    name, text, other = CLASHES[key]
    said = banach_command("check", place(**{name: text}))
    assert said.code == 2 and "error[B208]" in said.err and other in said.err
    assert f"pages/{name}.yaml" in said.err or "pages/solvers/damped.yaml" in said.err


def test_a_name_of_the_spec_clashes_with_a_page(place: Place, banach_command: Any) -> None:
    said = banach_command("check", place(SPEC.replace("  f: half", "  damped: I\n  f: half")))
    assert said.code == 2 and "error[B208]" in said.err and "spec.yaml:6:3" in said.err
    assert "pages/solvers/damped.yaml:3:1" in said.err


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("doc: ½", "dok: ½", "B131", 4),
        ("half_square(b):", "other(b):", "B140", 3),
        ("x - b\n", "x - \n", "B124", 7),
        ("banach: 1", "banach: [", "B105", 1),
    ],
)
def test_a_bad_page_is_refused_at_its_place(
    place: Place, banach_command: Any, old: str, new: str, code: str, line: int
) -> None:
    said = banach_command("check", place(**{"functions/half_square": FUNCTION.replace(old, new, 1)}))
    assert said.code == 2 and f"error[{code}]" in said.err and "Traceback" not in said.err
    assert f"pages/functions/half_square.yaml:{line}:" in said.err and f"{line} | " in said.err


@pytest.mark.parametrize("name", ["../pages", "/etc", ".", "missing", "spec.yaml", "[a, b]", "a\\0b"])
def test_the_folder_lies_below_the_spec(place: Place, banach_command: Any, name: str) -> None:
    said = banach_command("check", place(SPEC.replace("library: pages", f'library: "{name}"')))
    assert said.code == 2 and "error[B210]" in said.err and "spec.yaml:3:10" in said.err, said.err


def test_a_link_out_of_the_folder_is_not_read(place: Place, banach_command: Any, tmp_path: Path) -> None:
    path = place()
    outside = tmp_path.parent / f"{tmp_path.name}-secret.yaml"
    outside.write_text(FUNCTION.replace("half_square", "secret"))
    (tmp_path / "pages" / "functions" / "secret.yaml").symlink_to(outside)
    said = banach_command("check", path)
    assert said.code == 2 and "pages/functions/secret.yaml lies outside" in said.err
    (tmp_path / "pages" / "functions" / "secret.yaml").unlink()
    (tmp_path / "linked").symlink_to(tmp_path.parent)
    said = banach_command("check", place(SPEC.replace("library: pages", "library: linked")))
    assert said.code == 2 and "outside the spec's folder" in said.err


def test_a_page_in_no_folder_of_a_kind_is_refused(place: Place, banach_command: Any) -> None:
    said = banach_command("check", place(**{"funktions/g": FUNCTION}))
    assert said.code == 2 and "pages/funktions/g.yaml stands in no folder of a kind" in said.err


# --- installed packages -----------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Writes a distribution with entry points, and puts it on the path."""
    root = tmp_path / "site"
    written: list[str] = []

    def write(points: str, **files: str) -> None:
        about = root / "guest-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(points)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
            written.append(name.split("/")[0].removesuffix(".py"))
        monkeypatch.syspath_prepend(str(root))
        guests.installed.cache_clear()

    yield write
    guests.installed.cache_clear()
    for name in written:
        sys.modules.pop(name, None)


def test_a_package_adds_pages(install: Any, banach_command: Any) -> None:
    files = {"guest_pages/__init__.py": "", "guest_pages/functions/half_square.yaml": FUNCTION}
    install("[banach.specs]\nguest = guest_pages\n", **files)
    text = SPEC.replace("library: pages\n", "").replace("damped", "gradient_descent")
    found = banach.loads(text).check().certificates["x"]
    assert found.verdict == "proved"
    assert found.assumptions == ("the page guest_pages/functions/half_square.yaml",)
    assert "function half_square(b)" in banach_command("explain", "half_square").out


def test_a_package_that_does_not_load_is_refused(install: Any, banach_command: Any, place: Place) -> None:
    install("[banach.specs]\nguest = no_such_module\n")
    said = banach_command("check", place())
    assert said.code == 2 and "error[B140]" in said.err and "guest = no_such_module" in said.err


def test_a_package_and_a_folder_may_not_name_one_thing(
    install: Any, place: Place, banach_command: Any
) -> None:
    files = {"guest_pages/__init__.py": "", "guest_pages/functions/half_square.yaml": FUNCTION}
    install("[banach.specs]\nguest = guest_pages\n", **files)
    said = banach_command("check", place())
    assert said.code == 2 and "error[B208]" in said.err
    assert (
        "guest_pages/functions/half_square.yaml" in said.err
        and "pages/functions/half_square.yaml" in said.err
    )


PRIMITIVE = '''
import numpy as np
from banach.ir.exact import Interval
from banach.ir.primitive import Primitive, Sample, draw


class Squash(Primitive):
    """A bounded, increasing function of slope at most 1/2.

    Maths    y = tanh(x) / 2
    Types    x: [*s] -> y: [*s]
    Reverse  R(x, dy) = dy * (1 - tanh(x)**2) / 2
    Facts    Lipschitz with 1/2
    Source   textbook
    """

    core = (0,)

    def types(self, operands, regions):
        return operands

    def evaluate(self, x):
        return np.tanh(x) / 2

    def reverse(self, build, operands, results, cotangents):
        (y,), (dy,) = results, cotangents
        return (dy * (0.5 - 2.0 * (y * y)),)

    def range(self, operands):
        return Interval.between(-0.5, 0.5)

    def gain(self, index, operands):
        return Interval.between(0, 0.5)

    def samples(self):
        yield Sample(draw((2, 3)))
'''


def test_a_primitive_of_another_package_is_named(tmp_path: Path, process: Any) -> None:
    about = tmp_path / "guest-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[banach.primitives]\nguest = guest_squash\n")
    (tmp_path / "guest_squash.py").write_text(PRIMITIVE, encoding="utf-8")
    spec = """\
banach: 1
inputs: {b: "real[3]"}
operators:
  c: squash(b)
  T(x): FORMULA
solve:
  x:
    method: picard(T)
    start: zeros(3)
    stop: {residual: 1e-5, most: 100}
outputs: {x: x}
"""
    root = Path(str(banach.__file__)).parent.parent
    for formula, named in (("squash(x) + b", True), ("0.5 * sin(x) + c", True), ("0.5 * sin(x) + b", False)):
        path = tmp_path / "spec.yaml"
        path.write_text(spec.replace("FORMULA", formula))
        said = process("-m", "banach.compiler", "check", path, PYTHONPATH=f"{tmp_path}:{root}")
        assert said.code == 0 and said.out.startswith("x: proved"), said
        assert ("assuming the page of the primitive squash in guest_squash" in said.out) == named
