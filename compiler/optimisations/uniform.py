"""Tables of one number."""

from typing import final

import numpy as np

from banach.compiler.optimisation import Copy, Options, Pass, inside_out, note
from banach.ir.graph import Graph, Op
from banach.ir.rewrite import Journal
from banach.ir.tensor import Tensor

_WORTH_A_NUMBER = 4096  # entries: smaller tables are held as they are


@final
class Uniform(Pass):
    """Hold a large table whose entries are all the same as that one number, and stretch it.

    Maths      the table is the number, broadcast to its shape
    Why        a start of zeros would take as much room in a file as a matrix
    Preserves  every number, bit for bit: zeros of two signs are two numbers. A table that a certificate
               speaks of stays, since `verify` looks for it
    """

    after = ("products", "sums", "direct", "invariants", "dead_code")

    def run(self, graph: Graph, options: Options, journal: Journal) -> Graph:
        return inside_out(graph, lambda part: _stretched(part, journal))


def _stretched(graph: Graph, journal: Journal) -> Graph:
    if not any(_one_number(op) for op in graph.ops):
        return graph
    copy = Copy(graph)
    for op in graph.ops:
        if not _one_number(op):
            copy.keep(op)
            continue
        array = op.attribute("value").array
        number = Tensor(array.flat[0])
        held = Op("constant", (), (("value", number),), (), (number.type,), 0, op.place)
        (value,) = copy.add(held, ())
        whole = Op("broadcast", (value,), (("shape", array.shape),), (), op.types, 0, op.place)
        copy.at.extend(copy.add(whole, (value,)))
        journal.fired.append(note("one number", op, graph))
    return copy.finish()


def _one_number(op: Op) -> bool:
    if op.name != "constant" or op.attribute("value").array.size <= _WORTH_A_NUMBER:
        return False
    array = op.attribute("value").array
    bits = array.view(f"u{array.itemsize}")  # equal numbers may differ in them, as 0.0 and -0.0 do
    return bool(np.all(bits == bits.flat[0]))
