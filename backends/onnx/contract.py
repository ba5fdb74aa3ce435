"""What a file's sizes must keep to: in its metadata, as JSON, so that it holds without the spec.

    banach.sizes = {"n": {"least": 4, "multiple": 2}}

Every name that the inputs' shapes hold is there; a file of another origin has no such entry, and no contract.
"""

import json
from collections.abc import Mapping

from banach.ir.dims import Assumptions, Size, assume, names
from banach.ir.graph import Graph
from banach.ir.reader import BadText, Reader

SIZES = "banach.sizes"


class BadContract(Exception):
    """An entry that is none; the message says why."""


def write(graph: Graph) -> dict[str, str]:
    """The entry of a graph; nothing where its inputs have no named sizes."""
    shown = {name for port in graph.inputs for size in port.type.shape for name in names(size)}
    bounds = graph.contract
    told = {n: {"least": bounds.least(n), "multiple": bounds.multiple(n)} for n in sorted(shown)}
    return {SIZES: json.dumps(told, ensure_ascii=False, sort_keys=True)} if told else {}


def read(metadata: Mapping[str, str]) -> Assumptions | None:
    """The contract of a file; None where it has none. BadContract: the entry is malformed."""
    if SIZES not in metadata:
        return None
    try:
        told = json.loads(metadata[SIZES])
        bounds = {name: (_whole(entry["least"]), _whole(entry["multiple"])) for name, entry in told.items()}
        return assume(bounds)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadContract(f"its entry `{SIZES}` is no table of least values and divisors") from None


def axis(text: str) -> Size | None:
    """The size that a file's axis is called by, `2*n + 1` say; None where it is none that shows its names."""
    try:
        reader = Reader(text, {})
        size = reader.size()
    except (BadText, RecursionError):
        return None
    return size if reader.tokens[reader.at][0] == "end" else None


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError
    return number
