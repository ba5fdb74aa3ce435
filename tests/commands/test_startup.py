"""What a command brings in, and how it speaks as a process of its own."""

import json

import numpy as np
import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "safetensors", "scipy", "sklearn", "PIL")
SHOW = "import sys; from banach.compiler.cli import main; code = main(sys.argv[1:])"
LIST = f"{SHOW}; print('LOADED', code, *[name for name in {HEAVY} if name in sys.modules])"

CLOSED = """
import subprocess, sys
command = [sys.executable, "-m", "banach.compiler", "graph", sys.argv[1]]
running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
running.stdout.close()
print(running.stderr.read())
sys.exit(running.wait())
"""


def loaded(said):
    mark, code, *names = said.out.splitlines()[-1].split()
    assert mark == "LOADED", said.err
    return int(code), set(names)


@pytest.mark.parametrize("name", ["lasso", "deblur", "deq"])
def test_check_brings_in_no_backend(name, process, model_file):
    assert loaded(process("-c", LIST, "check", model_file(name))) == (0, set())


def test_a_refutation_brings_in_no_backend(process, model_file):
    assert loaded(process("-c", LIST, "check", model_file("too_fast"))) == (3, set())


def test_compile_to_onnx_brings_in_no_torch(process, model_file, tmp_path):
    code, names = loaded(process("-c", LIST, "compile", model_file("lasso"), "-o", tmp_path / "lasso.onnx"))
    assert code == 0 and names == {"onnx"}


def test_run_by_the_oracle_brings_in_no_torch(process, model_file):
    code, names = loaded(process("-c", LIST, "run", model_file("lasso"), "--backend", "oracle"))
    assert code == 0 and not names & {"torch", "onnxruntime"}


@pytest.mark.parametrize("missing", ["torch", "onnxruntime"])
def test_what_is_missing_is_said(missing, process, model_file):
    """Without the extra, the backend that needs it is refused in words; check and compile do not notice."""
    hide = f"import sys; sys.modules[{missing!r}] = None; {SHOW[11:]}; sys.exit(code)"
    backend = {"torch": "fx", "onnxruntime": "onnx"}[missing]
    said = process("-c", hide, "run", model_file("lasso"), "--backend", backend)
    assert (
        said.code == 2
        and f'pip install "banach[{ {"torch": "torch", "onnxruntime": "cpu"}[missing] }]"' in said.err
    )
    assert "Traceback" not in said.err and not said.out
    assert process("-c", hide, "check", model_file("lasso")).code == 0


def test_a_process_of_its_own(process, model_file, tmp_path):
    """The whole way once: check, compile, verify and run, as `python -m banach.compiler`."""
    target, inputs, answers = tmp_path / "deq.onnx", tmp_path / "x.npy", tmp_path / "answers"
    np.save(inputs, np.ones((2, 64)))
    banach = ("-m", "banach.compiler")
    assert process(*banach, "compile", model_file("deq"), "-o", target).code == 0
    said = process(*banach, "run", target, "--input", f"x={inputs}", "-o", answers, "--json", cwd=tmp_path)
    assert said.code == 0 and not said.err
    document = json.loads(said.out)
    assert document["solves"][0]["status"] == "converged" and document["solves"][0]["samples"] == 2
    assert np.load(answers / "z.npy").shape == (2, 48)


def test_colour_is_for_terminals(process, model_file):
    said = process("-m", "banach.compiler", "check", model_file("too_fast"))
    assert said.code == 3 and "\x1b" not in said.err + said.out


def test_a_closed_pipe_is_no_bug(process, model_file):
    """`banach graph lasso.yaml | head -0`: no traceback, no B900."""
    said = process("-c", CLOSED, model_file("lasso"))
    assert said.code == 0 and said.out.strip() == "", said.out
