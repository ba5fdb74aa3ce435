"""`banach run`: runs a spec or a compiled model, on this machine's processor or its GPU."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from banach.compiler import arguments
from banach.compiler.arguments import USAGE
from banach.compiler.report import FINE, NOT_CONVERGED
from banach.compiler.speaking import document, load, refused
from banach.ir.diagnostic import Diagnostic, SpecError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Tells the command line."""
    run = command("run", _run, "runs a spec or a compiled model")
    run.add_argument("model", help="a spec or a .onnx file")
    inputs(run)
    run.add_argument("-o", "--output", help="a folder for the outputs")
    run.add_argument("--json", action="store_true")


def inputs(command: argparse.ArgumentParser) -> None:
    """What every command that runs a model takes."""
    command.add_argument("--input", action="append", default=[], metavar="NAME=FILE-or-NUMBER")
    command.add_argument("--backend", choices=("onnx", "fx", "oracle"), default="onnx")
    command.add_argument(
        "--device", choices=tuple(PROVIDERS), default="cpu", help="where onnx and fx compute"
    )
    arguments.weights(command)


class Runnable:
    """A spec or a model file that can be run: its artifact and certificates, and the spec's model if any."""

    def __init__(self, options: Any, texts: dict[str, str]):
        from banach.backends import arrays

        self.model: Any = None
        self.refusal = FINE
        if options.model.endswith(".onnx"):
            from banach.backends.onnx.run import load as load_file

            if options.weights:
                fix = "give weights with a spec"
                raise SpecError([Diagnostic(USAGE, "a compiled model has its weights in itself", fix=fix)])
            self.artifact: Any = load_file(options.model, _providers(options))
            self.certificates: Sequence[dict[str, Any]] = arrays.certificates(self.artifact.metadata)
            self.text = self.artifact.metadata.get("banach.spec", "")
            return
        self.model = load(options.model, texts, options.weights)
        self.text = texts[options.model]
        self.certificates = [c.to_json() for c in self.model.report.certificates.values()]
        self.refusal = refused(self.model, texts)
        if self.refusal == FINE:
            self.artifact = placed(self.model.compile(to=options.backend), options)


def placed(artifact: Any, options: Any) -> Any:
    """The artifact on the device that is asked for. SpecError, RunError B614: it is not there."""
    if options.device == "cpu":
        return artifact
    if options.backend == "oracle":
        fix = "write --backend onnx or --backend fx"
        raise SpecError([Diagnostic(USAGE, "the oracle computes in numpy, on the CPU", fix=fix)])
    if options.backend == "fx":
        from banach.backends.fx.run import moved

        return moved(artifact, options.device)
    from banach.backends.onnx.run import OnnxArtifact

    return OnnxArtifact(artifact.model, _providers(options), {p.name: p.place for p in artifact.inputs})


def _providers(options: Any) -> tuple[str, ...]:
    return () if options.device == "cpu" else (PROVIDERS[options.device],)


def _run(options: Any, texts: dict[str, str]) -> int:
    from banach.backends import arrays

    found = Runnable(options, texts)
    if found.refusal != FINE:
        return found.refusal
    given = arrays.read_inputs(options.input, found.artifact.inputs)
    outputs = found.artifact.run(given)
    summary = arrays.summary(outputs, found.certificates)
    files = arrays.write(outputs, Path(options.output)) if options.output else []
    if options.json:
        document({"outputs": arrays.as_json(outputs), "solves": summary, "files": [str(f) for f in files]})
    else:
        print(arrays.table(outputs, summary))
        for file in files:
            print(f"wrote {file}")
    return FINE if all(row["status"] == "converged" for row in summary) else NOT_CONVERGED
