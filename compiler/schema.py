"""The JSON Schema of a spec, for editors: sections, keys, and what each is for."""

from collections.abc import Iterable
from typing import Any

from banach.compiler import library
from banach.compiler.elaborate import PRECISIONS
from banach.compiler.expectation import VERDICTS
from banach.compiler.spec import (
    Block,
    Data,
    Ending,
    Head,
    Iteration,
    Parameter,
    Recurrence,
    Stop,
    System,
    Training,
)
from banach.compiler.text.section import Section
from banach.compiler.text.source import Mapping, Scalar, Sequence

FORMULA = {"type": ["string", "number", "boolean"], "description": "a formula, a number, or a name"}
_ABOUT = {
    "banach": "the version of the language: 1",
    "name": "the model's name",
    "doc": "what it is, in words",
    "precision": "the dtype of the running program",
    "stored": "how the file keeps a matrix: `int8` is whole numbers of eight bits, and scales",
    "library": "a folder below the spec's own with pages beside those of the library",
    "sizes": "names for sizes: whole numbers, or for one that is known only at run time `any` or its bounds",
    "inputs": "tensors given at run time, by type: real[m, n], int[n], bool[n], real",
    "parameters": "what is known when the spec is compiled",
    "operators": "maps and functions: pages of the library, formulas, algebra of maps",
    "schedules": "formulas over the iteration count k",
    "scan": "a state carried along sequences, or for a number of steps",
    "solve": "iterations: by a method of the library, or written out",
    "outputs": "what the model returns",
    "require": "what must be proved: {x: converges}",
    "train": "how the trainable parameters are learnt from data",
    "learns": "the trainable parameters that change in this phase; all of them unless said",
    "follows": "a trainable parameter that this one is drawn to, after every step of a training",
    "decay": "how much of itself a parameter that follows another keeps in a step, from 0 to below 1",
    "assume": "what is to be trusted",
    "system": "what is known of a published system, and is held by the tests",
    "paper": "its row in the list of published systems",
    "covers": "how much of the paper it covers: whole, core, or part",
    "expects": "the verdict on each of its solves: proved, refuted or unknown",
    "claim": "the numerical claim that a test of its own holds, in words",
    "lacks": "what its row asks for and it does not have, in words",
    "residual": "the tolerance, or what to stop by: size <= tolerance * scale",
    "most": "the largest number of iterations",
    "method": "a solver of the library with its arguments",
    "start": "where the iteration starts",
    "stop": "when the iteration ends",
    "derivative": "the change of the map along dx, du, ...; derived from `returns` unless said",
    "gradient": "how to differentiate through the solve: implicit, unrolled, one_step or neumann(5)",
    "report": "`none` leaves iterations, residual and status out of the outputs",
}


def schema(beside: Iterable[library.Page] = ()) -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) that accepts what the loader accepts in form.

    `beside` are pages of other folders and packages, whose solvers a spec may name as well.
    """
    head = _section(Head)
    properties = head["properties"]
    properties["banach"] = {"const": 1, "description": _ABOUT["banach"]}
    properties["precision"] = {"enum": list(PRECISIONS), "description": _ABOUT["precision"]}
    whole = {"type": "integer", "minimum": 1}
    known = {"type": "object", "properties": {"least": whole, "multiple": whole}, "minProperties": 1}
    size = {"anyOf": [whole, {"const": "any"}, {**known, "additionalProperties": False}]}
    solvers = [page for page in (*library.pages("solver"), *beside) if page.kind == "solver"]
    solve = {"anyOf": [_method(solvers), _iteration()]}
    parts = {
        "sizes": size,
        "inputs": {"type": "string"},
        "parameters": {"anyOf": [FORMULA, {"type": "array"}, _section(Parameter)]},
        "operators": {"anyOf": [FORMULA, _block(solve)]},
        "schedules": FORMULA,
        "scan": _section(Recurrence),
        "solve": solve,
        "outputs": FORMULA,
        "require": {"enum": ["converges"]},
    }
    for name, entry in parts.items():
        properties[name] = {
            "type": "object",
            "additionalProperties": entry,
            "description": _ABOUT[name],
        }
    properties["train"] = _training()
    properties["system"] = _system()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A spec of Banach", **head}


def _method(solvers: list[library.Page]) -> dict[str, Any]:
    """A solve by a page: its options are formulas, each named by some page."""
    options: dict[str, Any] = {}
    for page in solvers:
        section = page.section
        assert isinstance(section, library.SolverPage)
        for key, value in section.options or ():
            default = value.text if isinstance(value, Scalar) else ""
            told = f"{page.name}: {default} unless said"
            if key.text in options:
                options[key.text]["description"] += f"; {told}"
            else:
                options[key.text] = {**FORMULA, "description": told}
    names = "|".join(page.name for page in solvers)
    method = {"type": "string", "pattern": rf"^\s*({names})\s*\(", "description": _ABOUT["method"]}
    fixed = {
        "method": method,
        "start": {**FORMULA, "description": _ABOUT["start"]},
        "stop": {**_section(Stop), "description": _ABOUT["stop"]},
        "report": {"enum": ["none"], "description": _ABOUT["report"]},
        "gradient": {"type": "string", "description": _ABOUT["gradient"]},
    }
    return {
        "type": "object",
        "properties": {**fixed, **options},
        "required": ["method", "start", "stop"],
        "additionalProperties": False,
    }


def _training() -> dict[str, Any]:
    made = _section(Training)
    entry = {"anyOf": [FORMULA, {"type": "array"}, _section(Data)]}
    made["properties"]["data"] = {"type": "object", "additionalProperties": entry}
    made["properties"]["stop"] = _section(Ending)
    # Keys that mean something else in a solve.
    made["properties"]["method"] = {"type": "string", "description": "an optimiser: adam(1e-3), say"}
    return {"anyOf": [made, {"type": "array", "items": made, "minItems": 1}], "description": _ABOUT["train"]}


def _system() -> dict[str, Any]:
    made = _section(System)
    verdicts = {"type": "object", "additionalProperties": {"enum": list(VERDICTS)}}
    made["properties"]["expects"] = {**verdicts, "description": _ABOUT["expects"]}
    made["properties"]["paper"] = {"type": "integer", "minimum": 1, "description": _ABOUT["paper"]}
    return {**made, "description": _ABOUT["system"]}


def _block(solve: dict[str, Any]) -> dict[str, Any]:
    """A map, which may hold scans and solves of its own."""
    made = _section(Block)
    for key, entry in (("scan", _section(Recurrence)), ("solve", solve)):
        made["properties"][key] |= {"type": "object", "additionalProperties": entry}
    return made


def _iteration() -> dict[str, Any]:
    made = _section(Iteration)
    made["properties"]["stop"] = {**_section(Stop), "description": _ABOUT["stop"]}
    return made


def _section(model: type[Section]) -> dict[str, Any]:
    """The keys of a section, as the loader reads them."""
    properties, required = {}, []
    for name, field in model.model_fields.items():
        key = field.alias or name
        properties[key] = _form(field.annotation)
        if key in _ABOUT:
            properties[key]["description"] = _ABOUT[key]
        if field.is_required():
            required.append(key)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _form(annotation: Any) -> dict[str, Any]:
    """The JSON form of a node type, or of a union of them."""
    text = str(annotation)
    forms = []
    if Scalar.__name__ in text:
        forms.append(dict(FORMULA))
    if Mapping.__name__ in text:
        forms.append({"type": "object"})
    if Sequence.__name__ in text:
        forms.append({"type": "array"})
    return forms[0] if len(forms) == 1 else {"anyOf": forms}
