"""Pages of other packages: put on the shelf by entry points, tried as they come, refused with the reason."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from banach.ir import shelf
from banach.ir.evaluate import evaluate
from banach.ir.graph import PRIMITIVES, Builder
from banach.ir.reverse import reverse
from banach.ir.shelf import BadPage, pages
from banach.ir.tensor_type import TensorType

GOOD = '''
    import numpy as np
    from banach.ir.exact import Interval
    from banach.ir.primitive import Primitive, Sample, draw


    class Cube(Primitive):
        """The third power.

        Maths    y = x³
        Types    x: [*s] -> y: [*s]
        Reverse  R(x, dy) = 3x²·dy
        Facts    none
        Source   textbook
        """

        core = (0,)

        def types(self, operands, regions):
            return operands

        def evaluate(self, x):
            return x**3

        def reverse(self, build, operands, results, cotangents):
            (x,), (dy,) = operands, cotangents
            return (3.0 * (x * x) * dy,)

        def samples(self):
            yield Sample(draw((2, 3)))
'''

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Writes a distribution whose entry points name its modules, and puts it on the path."""
    before = dict(shelf._shelves)
    written: list[str] = []

    def write(points: str = "", **modules: str) -> None:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
            written.append(name)
        about = tmp_path / "guest-1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
        lines = points or "".join(f"{name} = {name}\n" for name in modules)
        (about / "entry_points.txt").write_text(f"[banach.primitives]\n{lines}")
        monkeypatch.syspath_prepend(str(tmp_path))
        shelf._shelves.clear()

    yield write
    shelf._shelves.clear()
    shelf._shelves.update(before)
    for name in written:
        sys.modules.pop(name, None)


def test_a_page_from_outside_is_like_one_of_ours(install: Install) -> None:
    install(guest_cube=GOOD)
    assert "cube" in pages(PRIMITIVES)
    build = Builder("f")
    graph = build.finish({"y": build.op("cube", build.input("x", TensorType("float64", (2,))))})
    x, dy = np.array([1.0, -2.0]), np.array([1.0, 0.5])
    np.testing.assert_allclose(evaluate(graph, [x])[0], x**3)
    np.testing.assert_allclose(evaluate(reverse(graph), [x, dy])[0], 3 * x**2 * dy)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def claiming(claim: str, value: str) -> str:
    """The page with one fact more."""
    return changed(
        "def samples(self):", f"def {claim}:\n            return {value}\n\n        def samples(self):"
    )


BAD: dict[str, tuple[str, str]] = {
    "a heading is missing": (changed("Facts    none", ""), "its page has no heading `Facts`"),
    "a method is missing": (changed("def evaluate", "def evaluated"), "its page does not say evaluate"),
    "a clash of names": (
        changed("class Cube", "class Tanh"),
        "two pages are called tanh: banach.ir.primitives",
    ),
    "a wrong factor": (changed("3.0 *", "2.0 *"), "`reverse` says a slope of .*differences of `evaluate`"),
    "not linear": (changed("* dy,", "* dy * dy,"), "`reverse` says a slope|not linear in the cotangent"),
    "affine": (changed("* dy,", "* dy + (dy - dy + 1.0),"), "`reverse` says a slope"),
    "too few cotangents": (
        changed("return (3.0 * (x * x) * dy,)", "return ()"),
        "0 cotangents for 1 operands",
    ),
    "another shape": (
        changed("return (3.0 * (x * x) * dy,)", "return (build.op('sum', dy, axes=(-1,)),)"),
        r"a cotangent of shape \[2\] for an operand \[2, 3\]",
    ),
    "a wrong type": (
        changed("return x**3", "return (x**3).astype(np.float32)"),
        r"`types` says float64\[2, 3\], and `evaluate` gives float32\[2, 3\]",
    ),
    "no samples": (changed("yield Sample(draw((2, 3)))", "return ()"), "no samples"),
    "a rule that raises": (
        changed("return x**3", "return x**'3'"),
        "guest_page.Cube, from the entry point guest_page: ",
    ),
    "a module that does not load": ("import nothing_of_that_name", "does not load: ModuleNotFoundError"),
    "a gain that is too small": (
        claiming("gain(self, index, operands)", "Interval.between(0, 1)"),
        "`gain` says at most 1 in operand 0, a step grows by",
    ),
    "a range that is too small": (
        claiming("range(self, operands)", "Interval.between(0, 1)"),
        r"`range` says \[0, 1\], and `evaluate` gives",
    ),
    "not linear, as it says": (
        changed("core = (0,)", "core = (0,)\n        linear = True"),
        r"linear in operands \[0\], and `evaluate` is not",
    ),
    "a slope of nan": (changed("3.0 *", "float('nan') *"), "a slope of nan"),
}


@pytest.mark.parametrize("key", BAD)
def test_a_bad_page_is_refused_with_the_reason(install: Install, key: str) -> None:
    text, reason = BAD[key]
    install(guest_page=text)
    for _ in range(2):  # a second look finds it refused again, and no half of a shelf
        with pytest.raises(BadPage, match=reason):
            pages(PRIMITIVES)
    assert PRIMITIVES not in shelf._shelves


def test_an_entry_point_that_is_no_module_is_refused(install: Install) -> None:
    install("cube = guest_cube:Cube\n", guest_cube=GOOD)
    with pytest.raises(BadPage, match="guest_cube:Cube is no module"):
        pages(PRIMITIVES)


def test_two_guests_of_one_name_are_refused(install: Install) -> None:
    install(guest_a=GOOD, guest_b=GOOD)
    with pytest.raises(BadPage, match="two pages are called cube: guest_a and guest_b"):
        pages(PRIMITIVES)


def test_a_page_without_a_derivative_is_no_mistake(install: Install) -> None:
    text = changed("import Primitive,", "import NotDifferentiable, Primitive,").replace(
        "return (3.0 * (x * x) * dy,)", "raise NotDifferentiable('none here')"
    )
    install(guest_page=text)
    assert "cube" in pages(PRIMITIVES)


def test_a_derived_page_of_a_guest_may_use_another(install: Install) -> None:
    """Each is tried when all stand on the shelf."""
    second = GOOD.replace("class Cube", "class Also").replace(
        "return (3.0 * (x * x) * dy,)", "return (3.0 * build.op('cube', x) / x * dy,)"
    )
    install(guest_also=second, guest_cube=GOOD)
    assert {"cube", "also"} <= set(pages(PRIMITIVES))


def test_our_own_pages_would_be_accepted() -> None:
    """The check at load asks nothing that a right page does not give."""
    exempt = {"stop_gradient"}  # its derivative is 0 by definition
    for name, found in pages(PRIMITIVES).items():
        accept: Any = found.accept
        if name not in exempt and list(found.samples()):
            accept()
