"""The command line: one function for each command of `banach`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from banach.compiler import arguments, systems, telling, writing
from banach.compiler.arguments import USAGE
from banach.compiler.commands import benchmark, drawing, reporting, running
from banach.compiler.report import FINE, NOT_CONVERGED, OURS, WRONG, diagnostic_json
from banach.compiler.speaking import coloured, document, load, passes, refused, say, size
from banach.ir import whole_file
from banach.ir.diagnostic import Code, Diagnostic, RunError, SpecError, render

BUG = Code(
    "B900",
    "bug",
    """Something that must not happen has happened: it is our mistake, not yours. Please report the command,
the spec, and what `banach doctor` prints.
""",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SpecError([arguments.mistaken(message, self.prog)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; the answer is its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    texts: dict[str, str] = {}
    try:
        options = _parser().parse_args(given)
        code = options.work(options, texts)
        sys.stdout.flush()  # a pipe that is closed by now says so here, and not when Python ends
        return code
    except SpecError as wrong:
        return _fail(wrong.diagnostics, wrong.texts | texts, "--json" in given, WRONG)
    except RunError as wrong:
        return _fail(wrong.diagnostics, texts, "--json" in given, WRONG)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as bug:  # whatever reaches this line is ours
        if os.environ.get("BANACH_TRACEBACK"):
            raise
        place = bug.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
        message = f"{type(bug).__name__} at {where}: {str(bug)[:300]}"
        fix = "report it, with the command and the spec; BANACH_TRACEBACK=1 shows the whole trace"
        return _fail([Diagnostic(BUG, message, fix=fix)], texts, "--json" in given, OURS)


def _parser() -> _Parser:
    parser = _Parser(prog="banach", description="Checks, compiles and runs iterative models written in YAML.")
    parser.add_argument("--version", action="version", version=f"banach {telling.version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, work: Callable[..., int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(work=work)
        return made

    check = command("check", _check, "reads, types and certifies a spec")
    check.add_argument("spec")
    check.add_argument("--strict", action="store_true", help="exit 4 if anything is unknown")
    check.add_argument("-v", "--verbose", action="store_true", help="show every hypothesis")
    check.add_argument("--json", action="store_true", help="one JSON document on standard output")
    arguments.weights(check)

    compile_ = command("compile", _compile, "checks a spec and writes one file")
    compile_.add_argument("spec")
    compile_.add_argument("-o", "--output", required=True, help="the .onnx file, or the folder with --to fx")
    compile_.add_argument("--to", choices=("onnx", "fx"), default="onnx")
    arguments.passes(compile_)
    targets = "unrolled: no loops, for runtimes without them; portable and ort are one file"
    compile_.add_argument(
        "--target", choices=("portable", "ort", "unrolled"), default="portable", help=targets
    )
    apart = "leave samples that have stopped out of further steps: faster where they differ much"
    compile_.add_argument("--compact", action="store_true", help=apart)
    compile_.add_argument(
        "--explain-passes", action="store_true", help="what the passes did, and why not more"
    )
    compile_.add_argument(
        "--gradient", metavar="OUTPUT:INPUT,...", help="add this reverse derivative to the outputs"
    )
    step = "write one step of the training: (parameters, state, batch) to (parameters', state', loss)"
    compile_.add_argument("--train-step", action="store_true", help=step)
    compile_.add_argument(
        "--phase", type=arguments.count, metavar="N", help="of which phase of `train:`, from 1 on"
    )
    arguments.weights(compile_)

    train = command("train", _train, "trains the parameters of a spec, as its section `train:` says")
    train.add_argument("spec")
    train.add_argument("-o", "--output", required=True, help="a folder for weights and checkpoints")
    train.add_argument(
        "--steps", type=arguments.count, metavar="N", help="steps in total, in place of the spec's"
    )
    train.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    train.add_argument(
        "--every", type=arguments.count, default=100, metavar="N", help="steps between checkpoints"
    )
    train.add_argument("--backend", choices=("onnx", "fx", "oracle"), help="fx if torch is there, else onnx")
    arguments.weights(train)

    running.add(command)

    verify = command("verify", _verify, "checks the certificate inside a compiled model again")
    verify.add_argument("model")
    verify.add_argument("--json", action="store_true")

    explain = command("explain", _explain, "the page of a diagnostic, or of a name of the library")
    explain.add_argument("name")

    list_ = command("list", _list, "what there is, one line each")
    list_.add_argument("kind", nargs="?", choices=telling.KINDS)
    arguments.library(list_)
    list_.add_argument("--json", action="store_true")

    drawing.add(command)
    reporting.add(command)
    benchmark.add(command)

    render_ = command("render", _render, "the spec with the options that it leaves to their defaults")
    render_.add_argument("spec")

    new = command("new", _new, "a commented spec that compiles")
    new.add_argument("name")
    new.add_argument("--like", default="fista", metavar="SOLVER", help="whose example to start from")

    schema = command("schema", _schema, "the JSON Schema of a spec, for editors")
    arguments.library(schema)

    command("lsp", _lsp, "the language server, on standard input and output")

    doctor = command("doctor", _doctor, "what is installed, and what works")
    doctor.add_argument("--json", action="store_true")
    return parser


# --- commands ---------------------------------------------------------------------------------------------


def _check(options: Any, texts: dict[str, str]) -> int:
    report = load(options.spec, texts, options.weights).check()
    say(render(report.diagnostics, texts, coloured()))
    if options.json:
        document(report.to_json())
    else:
        for certificate in report.certificates.values():
            print(telling.certificate(certificate, options.verbose))
    return report.exit_code(options.strict)


def _compile(options: Any, texts: dict[str, str]) -> int:
    if options.train_step and options.gradient:
        raise SpecError([Diagnostic(USAGE, "--train-step and --gradient exclude each other", fix="drop one")])
    if options.phase is not None and not options.train_step:
        raise SpecError([Diagnostic(USAGE, "--phase is one of a training", fix="add --train-step")])
    model = load(options.spec, texts, options.weights)
    code = FINE if options.train_step else refused(model, texts)
    if code != FINE:
        return code
    target: Any = model.train_step(options.phase or 1) if options.train_step else model
    if options.gradient:
        output, colon, inputs = options.gradient.partition(":")
        if not colon or not inputs:
            raise SpecError(
                [Diagnostic(USAGE, "a gradient is named OUTPUT:INPUT", fix="--gradient x:b, say")]
            )
        target = model.reverse(output, inputs.split(",")).beside_model()
    target.compile(options.output, to=options.to, options=passes(options))
    if options.explain_passes:
        from banach.compiler.optimise import explain

        print(explain(target.optimised(passes(options)).journal))
    for certificate in () if options.train_step else model.report.certificates.values():
        print(telling.certificate(certificate, False))
    print(f"wrote {options.output}{size(Path(options.output))}")
    return FINE


def _train(options: Any, texts: dict[str, str]) -> int:
    model = load(options.spec, texts, options.weights)
    limits = {"steps": options.steps, "resume": options.resume, "every": options.every}
    shown = sys.stderr.isatty()

    def watch(step: int, steps: int, loss: float) -> None:
        if shown:
            print(f"\rstep {step:,} of {steps:,}, loss {loss:<12.6g}", end="", file=sys.stderr, flush=True)

    found = model.train(options.output, to=options.backend, watch=watch, **limits)
    if shown:
        print(file=sys.stderr)
    loss = f", loss {found.losses[-1]:.6g}" if found.losses else ""
    print(f"{found.status} after {found.steps:,} steps{loss}")
    print(f"{'wrote' if found.ok else 'the last good checkpoint is in'} {options.output}")
    return FINE if found.ok else NOT_CONVERGED


def _verify(options: Any, texts: dict[str, str]) -> int:
    from banach.backends.onnx.run import load
    from banach.backends.onnx.verifier import verify

    found = verify(load(options.model).model)
    if options.json:
        document({"ok": found.ok, "checked": found.checked, "failed": found.failed, "trusted": found.trusted})
    else:
        for mark, lines in (("checked", found.checked), ("trusted", found.trusted), ("FAILED", found.failed)):
            for line in lines:
                print(f"{mark:8} {line}")
        print("the certificate holds" if found.ok else "the certificate does not hold for this file")
    return FINE if found.ok else WRONG


def _explain(options: Any, texts: dict[str, str]) -> int:
    print(telling.explain(options.name))
    return FINE


def _list(options: Any, texts: dict[str, str]) -> int:
    rows = telling.listing(options.kind, options.library)
    if options.json:
        told = {kind: [{"name": name, "doc": doc} for name, doc in found] for kind, found in rows.items()}
        if "systems" in told:
            told["systems"] = [page.to_json() for page in systems.systems()]
        document(told)
        return FINE
    for kind, found in rows.items():
        print(f"{kind}:")
        width = max((len(name) for name, _ in found), default=0)
        for name, doc in found:
            print(f"  {name:{width}}  {doc}")
    return FINE


def _render(options: Any, texts: dict[str, str]) -> int:
    print(writing.render(load(options.spec, texts)), end="")
    return FINE


def _new(options: Any, texts: dict[str, str]) -> int:
    name = options.name.removesuffix(".yaml")
    target = Path(f"{name}.yaml")
    text = writing.new(Path(name).name, options.like)
    if target.exists():
        raise SpecError([Diagnostic(USAGE, f"`{target}` is there already", fix="choose another name")])
    whole_file.write({target: text.encode()})
    print(f"wrote {target}; now: banach check {target}")
    return FINE


def _schema(options: Any, texts: dict[str, str]) -> int:
    from banach.compiler.schema import schema

    document(schema(telling.guests_of(options.library).values()))
    return FINE


def _lsp(options: Any, texts: dict[str, str]) -> int:
    try:
        from banach.compiler.lsp import server  # pygls is an extra
    except ModuleNotFoundError:
        fix = 'pip install "banach[editor]"'
        raise SpecError([Diagnostic(USAGE, "the language server needs pygls", fix=fix)]) from None
    server().start_io()
    return FINE


def _doctor(options: Any, texts: dict[str, str]) -> int:
    found = telling.doctor()
    if options.json:
        document(found)
    else:
        for name, told in found.items():
            print(f"{name:12} {told}")
    return FINE


# --- speaking ---------------------------------------------------------------------------------------------


def _fail(diagnostics: Sequence[Diagnostic], texts: dict[str, str], as_json: bool, code: int) -> int:
    say(render(diagnostics, texts, coloured()))
    if as_json:
        document({"ok": False, "diagnostics": [diagnostic_json(d) for d in diagnostics], "certificates": []})
    return code
