"""Texts that are no spec: refused with their place, exit code 2, in little time, and with nothing written."""

import json
import time

import pytest

GOOD = """\
banach: 1
name: small
sizes: {n: 3}
parameters:
  W: [[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]]
inputs:
  c: real[n]
operators:
  F(z): tanh(W @ z) + c
solve:
  z:
    method: picard(F)
    start: zeros(n)
    stop: {residual: 1e-5, most: 100}
outputs: {z: z}
require: {z: converges}
"""

ENDS = 60  # seconds in which a command must end; how fast it is, is for benchmarks/


def test_the_pattern_is_good(banach_command, write):
    assert banach_command("check", write(GOOD)).code == 0


# What replaces what; the code that says so, and the line and column of the fault.
MISTAKES = [
    ("banach: 1", "banach: [1", "B105", 2, 5),
    ("banach: 1", "banach: 2", "B130", 1, 9),
    ("name: small", "name: small\nname: large", "B111", 3, 1),
    ("  F(z): tanh", "\tF(z): tanh", "B106", 9, 1),
    ("  z:\n    method", "  z:\n    most: 4\n    method", "B131", 12, 5),
    ("sizes: {n: 3}", "size: {n: 3}", "B131", 3, 1),
    ("most: 100", "max_iter: 100", "B131", 14, 28),
    ("sizes: {n: 3}", "sizes: 3", "B133", 3, 8),
    ("sizes: {n: 3}", "sizes: {n: 0}", "B209", 3, 12),
    ("sizes: {n: 3}", "sizes: {n: 3.5}", "B209", 3, 12),
    ("residual: 1e-5", "residual: -1", "B209", 14, 22),
    ("most: 100", "most: 1.5", "B209", 14, 34),
    ("most: 100", "", "B132", 14, 12),
    ("real[n]", "float[n]", "B207", 7, 6),
    ("picard(F)", "picrad(F)", "B201", 12, 13),
    ("picard(F)", "picard(F, F)", "B204", 12, 13),
    ("picard(F)", "picard", "B203", 12, 13),
    ("picard(F)", "F", "B203", 12, 13),
    ("W @ z", "W @ q", "B201", 9, 18),
    ("outputs: {z: z}", "outputs: {z: y}", "B201", 15, 14),
    ("outputs: {z: z}\n", "", "B201", 1, 1),
    ("outputs: {z: z}", "outputs: {z: F}", "B203", 15, 14),
    ("require: {z: converges}", "require: {y: converges}", "B314", 16, 11),
    ("require: {z: converges}", "require: {z: explodes}", "B314", 16, 14),
    ("tanh(W @ z) + c", "tanh(W @ z) + F(c)", "B205", 9, 3),
    ("tanh(W @ z) + c", "G(z)\n  G(z): F(z)", "B205", 9, 3),
    ("W: [[0.1", "a: b\n  b: a\n  W: [[0.1", "B205", 5, 3),
    ("inputs:", "  W: 1\ninputs:", "B111", 6, 3),
    ("  c: real[n]", "  c: real[n]\n  W: real[n]", "B208", None, None),
    ("tanh(W @ z) + c", "tanh(W @ z +", "B12", 9, None),
    ("tanh(W @ z) + c", "__import__('os').system('id')", "B", 9, None),
    ("[0, 0, 0.3]]", "[0, 0]]", "B202", 5, 6),
    ("[0, 0, 0.3]]", "[0, 0, .nan]]", "B", 5, None),
    ("[0, 0, 0.3]]", "[0, 0, .inf]]", "B", 5, None),
    ("[0, 0, 0.3]]", "[0, 0, 1e999]]", "B", 5, None),
    ("parameters:", "parameters: &p", "B107", 4, 13),
    ("outputs: {z: z}", "outputs: *p", "B107", 15, 10),
    ("name: small", "name: !!python/object/apply:os.system [id]", "B108", 2, 7),
    ("name: small", "---\nname: small", "B109", 2, 1),
    ("name: small", "<<: {name: small}", "B114", 2, 1),
    ("name: small", "name: sm\x07all", "B104", 2, 9),
    ("name: small", "name: sm\u202eall", "B104", 2, 9),
]


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "column"), MISTAKES, ids=[f"{i}-{m[2]}" for i, m in enumerate(MISTAKES)]
)
def test_a_mistake(old, new, code, line, column, banach_command, write, tmp_path):
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    said = banach_command("check", path)
    assert said.code == 2 and (not said.out or code == "B314"), said
    assert f"error[{code}" in said.err and "Traceback" not in said.err
    assert line is None or f"model.yaml:{line}:{column or ''}" in said.err, said.err
    document = json.loads(banach_command("check", "--json", path).out)
    assert document["ok"] is False and {d["file"] for d in document["diagnostics"]} == {str(path)}
    assert any(d["code"].startswith(code) for d in document["diagnostics"])
    assert banach_command("compile", path, "-o", tmp_path / "model.onnx").code == 2
    assert banach_command("compile", path, "-o", tmp_path / "folder", "--to", "fx").code == 2
    assert banach_command("run", path, "-o", tmp_path / "out").code == 2
    assert [found.name for found in tmp_path.iterdir()] == ["spec"]


def test_a_wrong_shape_shows_both_and_where_each_comes_from(banach_command, write):
    said = banach_command("check", write(GOOD.replace("  c: real[n]", "  c: real[n + 1]")))
    assert said.code == 2 and "[3]" in said.err and "[4]" in said.err
    assert "model.yaml:9:" in said.err
    assert (
        "model.yaml:7:3" in said.err and "`c` is float32[4]" in said.err and "this is float32[3]" in said.err
    )
    wide = GOOD.replace("[0.1, 0, 0], [0, 0.2, 0]", "[0.1, 0], [0, 0.2]").replace("[0, 0, 0.3]", "[0, 0.3]")
    said = banach_command("check", write(wide))
    assert said.code == 2 and "model.yaml:9:14" in said.err and "model.yaml:5:3" in said.err
    assert "`W` is float32[3, 2]" in said.err and "[3]" in said.err


def test_a_declared_shape_that_the_value_has_not(banach_command, write):
    text = GOOD.replace(
        "W: [[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3]]", 'W: {value: [[1, 2]], type: "real[n, n]"}'
    )
    said = banach_command("check", write(text))
    assert said.code == 2 and "[1, 2]" in said.err and "[3, 3]" in said.err and "model.yaml:5:" in said.err


def test_several_mistakes_are_told_at_once(banach_command, write):
    text = GOOD.replace("W @ z", "W @ q").replace("{z: z}", "{z: y}").replace("real[n]", "float[n]")
    said = banach_command("check", write(text))
    assert said.code == 2 and said.err.count("error[") == 3
    assert [said.err.index(f"model.yaml:{line}:") for line in (7, 9, 15)] == sorted(
        said.err.index(f"model.yaml:{line}:") for line in (7, 9, 15)
    )


def test_an_unused_formula_is_read_too(banach_command, write):
    said = banach_command("check", write(GOOD.replace("solve:", "  G(z): z + nonsense\nsolve:", 1)))
    assert said.code == 2 and "`nonsense`" in said.err and "model.yaml:10:13" in said.err
    shadowed = GOOD.replace("solve:", "  G(q): q + sin(q) * c + F(q) + z\nsolve:", 1)
    assert banach_command("check", write(shadowed)).code == 0


def test_a_near_miss_is_guessed(banach_command, write):
    assert "did you mean `picard`?" in banach_command("check", write(GOOD.replace("picard(", "picrad("))).err
    assert "`most`" in banach_command("check", write(GOOD.replace("most: 100", "max_iter: 100"))).err


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "B112"),
        (b"\n\n# nothing\n", "B112"),
        (b"- a\n- b\n", "B112"),
        (b"just words", "B112"),
        (b"\xff\xfe" + "banach: 1".encode("utf-16-le"), "B103"),
        (b"banach: 1\nname: caf\xe9\n", "B103"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "B10"),
        (b"\x00" * 1000, "B104"),
        (b"%YAML 1.1\n---\nbanach: 1\n", ""),
        (b"{" * 5000, "B1"),
        (b"[" * 100_000, "B1"),
        (b"a: " * 10_000, "B1"),
        (b"? a\n: b\n", "B1"),
        (b"banach: 1\nname: " + b"x" * 999_999, "B102"),
        (("banach: 1\noperators:\n  F: " + "(" * 5000 + "1" + ")" * 5000).encode(), "B1"),
        (("banach: 1\noperators:\n  F: " + "-" * 50_000 + "1").encode(), "B1"),
        (("banach: 1\noperators:\n  F: " + "1 + " * 50_000 + "1\noutputs: {F: F}").encode(), ""),
        (("banach: 1\nparameters:\n  F: " + "9**" * 50 + "9\noutputs: {F: F}").encode(), ""),
        (b"banach: 1\nparameters:\n  F: 2**99999999999\noutputs: {F: F}\n", ""),
        (b"banach: 1\nparameters:\n  F: 1e99999999\noutputs: {F: F}\n", ""),
        (b"banach: 1\nsizes: {n: 99999999999999}\nparameters:\n  F: zeros(n)\noutputs: {F: F}\n", ""),
        (b"banach: 1\nsizes: {n: 1000000}\nparameters:\n  F: zeros(n, n)\noutputs: {F: F}\n", ""),
        (b"banach: 1\nsizes: {n: 1000000}\nparameters:\n  F: circulant(zeros(n))\noutputs: {F: F}\n", ""),
        (b"banach: 1\nsizes: {n: 1000000}\nparameters:\n  F: eye(n)\noutputs: {F: F}\n", ""),
    ],
)
def test_no_spec_at_all(content, code, banach_command, write):
    start = time.monotonic()
    said = banach_command("check", write(content))
    assert said.code == 2 and f"error[{code}" in said.err and "Traceback" not in said.err, said.err[:500]
    assert len(said.err) < 20_000 and time.monotonic() - start < ENDS


def test_a_hundred_megabytes(banach_command, write):
    """By its size alone: it is not read."""
    path = write("banach: 1\n")
    with path.open("r+b") as file:
        file.truncate(100_000_000)
    start = time.monotonic()
    said = banach_command("check", path)
    assert said.code == 2 and "B102" in said.err and "100,000,000" in said.err
    assert time.monotonic() - start < ENDS


def test_an_alias_bomb(banach_command, write):
    """A billion laughs: refused at the first anchor."""
    lines = ["banach: 1", "a0: &a0 [lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.monotonic()
    said = banach_command("check", write("\n".join(lines)))
    assert said.code == 2 and "B107" in said.err and "model.yaml:2:5" in said.err
    assert time.monotonic() - start < ENDS and len(said.err) < 20_000


@pytest.mark.parametrize(
    "name", ["", ".", "/", "missing.yaml", "/dev/null/x.yaml", "no\0name.yaml", "a" * 5000]
)
def test_a_path_that_is_no_file(name, banach_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = banach_command("check", name)
    assert said.code == 2 and "B101" in said.err and "Traceback" not in said.err


def test_a_pipe_and_a_device_do_not_hang(banach_command, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", "/dev/zero"):
        assert banach_command("check", path).code == 2


def test_what_a_terminal_would_obey_is_shown_escaped(banach_command, write):
    said = banach_command("check", write(GOOD.replace("{z: z}", '{z: "\\e[2Jy"}')))
    assert said.code == 2 and "\x1b" not in said.err


def test_maps_that_double_with_every_floor_are_refused(banach_command, write):
    floors = "".join(f"  f{i}(x): f{i - 1}(x) + f{i - 1}(x)\n" for i in range(1, 60))
    text = f"banach: 1\ninputs: {{x: real}}\noperators:\n  f0(x): sin(x)\n{floors}outputs: {{y: f59(x)}}\n"
    start = time.monotonic()
    said = banach_command("check", write(text))
    assert said.code == 2 and "B214" in said.err + said.out and "f1(x)" in said.err + said.out
    assert time.monotonic() - start < ENDS
