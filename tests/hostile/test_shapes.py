"""Shapes that do not fit: the exact text, with the place that each side comes from."""

import ast
from pathlib import Path

import pytest

import banach
from banach.compiler import elaborate
from banach.ir.diagnostic import render

SPEC = """\
banach: 1
sizes: {n: 3}
parameters:
  W: [[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]]
inputs: {c: "real[n]", d: "real[4]", f: "bool[2]"}
operators:
  F(z): tanh(W @ z) + c
solve:
  z: {method: picard(F), start: zeros(n), stop: {residual: 1e-5, most: 100}}
outputs: {z: z}
"""
CASES = {"start": ("start: zeros(n)", "start: zeros(4)"), "matmul": ("W @ z", "W @ (W @ d)"),
         "concatenate": ("{z: z}", '{z: "concatenate(W, c)"}'),
         "select": ("{z: z}", "{z: c if f else d}")}  # fmt: skip
GOLDEN = Path(__file__).parent / "shapes"


def told(key: str) -> str:
    text = SPEC.replace(*CASES[key])
    with pytest.raises(banach.SpecError) as refusal:
        banach.loads(text)
    return render(refusal.value.diagnostics, {"spec.yaml": text}) + "\n"


@pytest.mark.parametrize("key", CASES)
def test_the_text(key: str) -> None:
    """Regenerate by `python tests/hostile/test_shapes.py`, and read what changed."""
    assert told(key) == (GOLDEN / f"{key}.txt").read_text()


def test_every_refusal_has_a_fix() -> None:
    """B202 and B203 are raised by `refuse` with fix=, or as a Diagnostic with fix=."""
    folder = Path(elaborate.__file__).parent
    for path in [folder / "elaborate.py", *sorted((folder / "elaboration").glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Name)):
                continue
            if node.args[0].id in ("WRONG_SHAPE", "WRONG_KIND"):
                fixes = [k.value for k in node.keywords if k.arg == "fix"]
                assert fixes and ast.unparse(fixes[0]) != "''", f"{path}:{node.lineno}"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in CASES:
        (GOLDEN / f"{name}.txt").write_text(told(name))
