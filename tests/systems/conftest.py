"""A page of a published system, run on every backend at once, and the record of which claims held.

`pytest tests/systems --record` writes specs/claims.yaml, which `banach list systems` reads.
"""

import math
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import banach
from banach.compiler import systems

BACKENDS = ("onnx", "fx")


class Page:
    """A page and its text. `run` answers with the oracle's values, after every backend has given the same."""

    def __init__(self, path: Path, text: str):
        self.path, self.text = path, text
        self.made: dict[Any, Any] = {}
        self.known: dict[Any, dict[str, np.ndarray]] = {}  # answers that were compared before

    @cached_property
    def model(self) -> banach.Model:
        return banach.loads(self.text, name=self.path.name, folder=self.path.parent)

    @property
    def certificates(self) -> Mapping[str, Any]:
        return self.model.check().certificates

    def changed(self, *pairs: tuple[str, str]) -> "Page":
        """The page with pieces of its text exchanged; `expects` is left out, since that is the page's own."""
        text = re.sub(r"\nsystem:\n(  .*\n?)+", "\n", self.text)
        for old, new in pairs:
            assert old in text, f"{self.path.name} does not hold {old!r}"
            text = text.replace(old, new)
        return Page(self.path, text)

    def run(self, close: float = 1e-9, **inputs: Any) -> dict[str, np.ndarray]:
        """Every output, by the oracle; all backends agree on values, and exactly on counts and statuses."""
        return self._compare("model", self.model, inputs, close)

    def reverse(self, output: str, wrt: str, close: float = 1e-9, **inputs: Any) -> dict[str, np.ndarray]:
        """The reverse derivative of an output at `d.OUTPUT`, likewise."""
        key = f"{output}:{wrt}"
        if key not in self.made:
            self.made[key] = self.model.reverse(output=output, wrt=wrt.split(","))
        return self._compare(key, self.made[key], inputs, close)

    def _compare(self, key: str, model: Any, inputs: Any, close: float) -> dict[str, np.ndarray]:
        asked = key, close, *((name, np.asarray(value).tobytes()) for name, value in sorted(inputs.items()))
        if asked in self.known:
            return dict(self.known[asked])
        with np.errstate(all="ignore"):
            expected = self._artifact(key, model, "oracle").run(inputs)
        for backend in BACKENDS:
            found = self._artifact(key, model, backend).run(inputs)
            assert set(found) == set(expected), backend
            for name, value in expected.items():
                told = f"{name} on {backend}"
                assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), told
                if value.dtype.kind in "ib":
                    np.testing.assert_array_equal(found[name], value, err_msg=told)
                else:
                    np.testing.assert_allclose(found[name], value, rtol=close, atol=close, err_msg=told)
        self.known[asked] = dict(expected)
        return dict(expected)

    def _artifact(self, key: str, model: Any, to: str) -> Any:
        if (key, to) not in self.made:
            self.made[key, to] = model.compile(to=to)
        return self.made[key, to]

    def drawn(self, name: str, dtype: Any = np.float64) -> np.ndarray:
        """`init: normal(0, s)` or `uniform(a, b)` as documented: from Philox's bits, by Box and Muller."""
        spec = yaml.safe_load(self.text)
        given = spec["parameters"][name]
        shape = tuple(spec["sizes"].get(s) or int(s) for s in re.findall(r"\w+", given["type"])[1:])
        word, first, second = re.fullmatch(r"(\w+)\((.*), (.*)\)", given["init"]).groups()
        count = math.prod(shape) * (2 if word == "normal" else 1)
        bits = np.random.Philox(key=given["seed"]).random_raw(count)
        flat = (bits >> np.uint64(11)) * 2.0**-53
        if word == "uniform":
            made = float(first) + (float(second) - float(first)) * flat
        else:
            one, two = flat.reshape(2, -1)
            made = float(first) + float(second) * np.sqrt(-2 * np.log1p(-one)) * np.cos(2 * np.pi * two)
        return made.reshape(shape).astype(dtype)


@cache
def _page(name: str) -> Page:
    path = systems.FOLDER / f"{name}.yaml"
    return Page(path, path.read_text("utf-8"))


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Page:
    """The page that a test module is about: test_NAME.py is about specs/systems/NAME.yaml."""
    return _page(Path(request.node.path).stem.removeprefix("test_"))


# --- the record -------------------------------------------------------------------------------------------

_outcomes: dict[str, list[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    stem = Path(report.nodeid.split("::")[0]).stem.removeprefix("test_")
    if "tests/systems" in report.nodeid and (report.when == "call" or report.outcome != "passed"):
        _outcomes.setdefault(stem, []).append(report.outcome)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not session.config.getoption("--record", default=False):
        return
    found = {}
    for path in sorted(systems.FOLDER.glob("*.yaml")):
        outcomes = _outcomes.get(path.stem, [])
        if outcomes:
            held = systems.HOLDS if set(outcomes) == {"passed"} else systems.FAILS
            found[path.stem] = {"page": systems.digest(path), "claim": held}
        elif path.stem in systems.record():
            found[path.stem] = dict(systems.record()[path.stem])
    told = "# What the tests last found of each page's claim. Written by `pytest tests/systems --record`.\n"
    systems.RECORD.write_text(told + yaml.safe_dump(found, sort_keys=True), encoding="utf-8")
