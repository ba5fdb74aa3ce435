"""Parameters that say `stored: int8`: from here on they are the numbers that the file will stand for."""

from typing import Any

import numpy as np

from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.problem import WRONG_KIND, refuse
from banach.compiler.elaboration.things import Table, describe
from banach.compiler.text.section import WRONG_FORM
from banach.compiler.text.source import Mapping, Node, Scalar
from banach.ir.quantised import KEPT, quantise
from banach.ir.tensor import Tensor
from banach.ir.tensor_type import numpy_dtype


def as_stored(key: Scalar, node: Node, thing: Any, context: Context) -> Any:
    """The parameter as it is stored: what is proved, and what runs, has the numbers that eight bits keep.

    SpecError: it asks for what there is not, or it is no matrix of reals.
    """
    told = node.get("stored") if isinstance(node, Mapping) else None
    if told is None:
        return thing
    if not isinstance(told, Scalar) or told.text not in KEPT:
        raise refuse(WRONG_FORM, f"a weight is stored as {', '.join(KEPT)}", told.span, fix="write `int8`")
    if not isinstance(thing, Table) or thing.array.dtype.kind != "f" or thing.array.ndim < 2:
        fix = "drop `stored`, or give it two axes"
        shown = f"real{list(thing.array.shape)}" if isinstance(thing, Table) else describe(thing)
        raise refuse(
            WRONG_KIND, f"only matrices of reals are stored in int8, not {shown}", told.span, fix=fix
        )
    found = quantise(thing.array)
    weights = found.weights()
    held = weights.astype(numpy_dtype(context.scope.precision))
    for array in (weights, held):  # as the file writes them, and as the graph holds them
        context.scope.quantised[Tensor(array).digest] = found
        if array.ndim == 2:  # a product may hold its transpose, whose rows it reads in order
            context.scope.quantised[Tensor(array.T).digest] = found.transposed()
    return Table(held.astype(np.float64), thing.label)
