"""`banach report`: one page that explains a model to others, with nothing to load from elsewhere."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from banach.compiler import pictures, telling
from banach.compiler.commands.running import Runnable, inputs
from banach.compiler.report import FINE
from banach.ir import whole_file
from banach.ir.diagnostic import RunError

_LOOKS = 40  # runs that are cut short, to see the residual on its way
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#202124}"
    "pre{background:#f8f9fa;padding:.8rem;overflow:auto;font-size:13px}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #dadce0;padding:.25rem .8rem;text-align:left}"
    ".proved{color:#137333}.refuted{color:#c5221f}.unknown{color:#b06000}svg{max-width:100%;height:auto}"
)


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Tells the command line."""
    report = command("report", _report, "one page: certificate, graph, residuals beside what is certified")
    report.add_argument("model", help="a spec or a .onnx file")
    inputs(report)
    report.add_argument("-o", "--output", required=True, help="the .html file")


def _report(options: Any, texts: dict[str, str]) -> int:
    found = Runnable(options, texts)
    name = Path(options.model).stem
    sections = [f"<h1>{escape(name)}</h1>", *_certificates(found)]
    if found.refusal == FINE:
        sections += _run(found, options)
    sections += _source(found)
    body = "\n".join(sections)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)} · banach</title>'
        f"<style>{_STYLE}</style><body>\n{body}\n<p>banach {telling.version()}</p></body></html>\n"
    )
    whole_file.write({Path(options.output): page.encode()})
    print(f"wrote {options.output}")
    return found.refusal


def _certificates(found: Runnable) -> Iterator[str]:
    yield "<h2>Certificate</h2>"
    if found.model is not None:
        for certificate in found.model.report.certificates.values():
            yield f'<h3 class="{certificate.verdict}">{escape(certificate.solve)}: {certificate.verdict}</h3>'
            yield f"<pre>{escape(telling.certificate(certificate, True))}</pre>"
        return
    for told in found.certificates:
        solve, verdict = escape(str(told["solve"])), escape(str(told["verdict"]))
        yield f'<h3 class="{verdict}">{solve}: {verdict}</h3>'
        rows = [
            (key, told.get(key)) for key in ("theorem", "source", "factor", "iterations", "norm", "proviso")
        ]
        yield _table(("", ""), [(key, str(value)) for key, value in rows if value is not None])
    if not found.certificates:
        yield "<p>The file carries none.</p>"


def _run(found: Runnable, options: Any) -> Iterator[str]:
    from banach.backends import arrays

    yield "<h2>A run</h2>"
    try:
        given = arrays.read_inputs(options.input, found.artifact.inputs)
        begun = time.perf_counter()
        outputs = found.artifact.run(given)
        first = time.perf_counter() - begun
    except RunError as wrong:
        told = "; ".join(str(d.message) for d in wrong.diagnostics)
        yield f"<p>It was not run: {escape(told)}. Give its inputs by --input NAME=FILE.</p>"
        return
    begun = time.perf_counter()
    found.artifact.run(given)
    again = time.perf_counter() - begun
    yield f"<p>{1000 * again:.3g} ms ({1000 * first:.3g} ms the first time), {escape(options.backend)}.</p>"
    rows = arrays.summary(outputs, found.certificates)
    head = ("solve", "status", "iterations", "at most", "residual")
    yield _table(head, [_row(row) for row in rows])
    by_solve = {told["solve"]: told for told in found.certificates}
    for row in rows:
        points = _residuals(found.artifact, given, row)
        picture = pictures.residuals(points, _envelope(points, by_solve.get(row["solve"], {})))
        if picture:
            yield f"<h3>Residual of {escape(row['solve'])}</h3>\n{picture}"


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    bound = "" if row["bound"] is None else str(row["bound"])
    return row["solve"], row["status"], str(row["iterations"]), bound, f"{row['residual']:.3g}"


def _residuals(artifact: Any, given: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[int, float]]:
    """The residual after so many iterations, by runs that stop there; none where no input sets the limit."""
    solve, last = row["solve"], row["iterations"]
    limit = f"{solve}.max_iterations"
    if limit not in [port.name for port in artifact.inputs] or last < 2:
        return []
    looks = sorted({int(k) for k in np.geomspace(1, last, _LOOKS)})
    found = []
    for k in looks:
        outputs = artifact.run({**given, limit: np.int64(k)})
        found.append((k, float(np.max(outputs[f"{solve}.residual"]))))
    return found


def _envelope(
    points: Sequence[tuple[int, float]], certificate: Mapping[str, Any]
) -> dict[str, tuple[float, float]]:
    """The certified rate, from where the residual was first seen."""
    factor = certificate.get("factor")
    if not points or not isinstance(factor, float | int) or not 0 < factor < 1:
        return {}
    k, first = points[0]
    return {f"the certified rate, {factor:.4g} a step": (first / factor**k, float(factor))}


def _source(found: Runnable) -> Iterator[str]:
    if found.text:
        yield f"<h2>Spec</h2>\n<pre>{escape(found.text)}</pre>"
    if found.model is not None:
        yield f"<h2>Graph</h2>\n{pictures.graph(found.model.graph)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<table><tr>{top}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
