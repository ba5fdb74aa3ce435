"""Random numbers as values: Threefry's words for the entries 0, 1, .. of a shape, made into numbers."""

from collections.abc import Sequence
from typing import Any

from banach.compiler.elaboration.context import Context
from banach.compiler.elaboration.things import Tensor
from banach.ir.dims import Size
from banach.ir.span import Span


def draw(name: str, parts: Sequence[Any], shape: tuple[Size, ...], context: Context, span: Span) -> Tensor:
    """Numbers of the primitive `name` (`uniform`, or `normal` in pairs), for a key of two parts."""
    scope, total = context.scope, 1
    words = [scope.build.op("cast", scope.value(part, place=span), dtype="int64") for part in parts]
    words = [scope.build.op("reshape", word, shape=(1,)) for word in words]
    pair = scope.build.op("concatenate", *words, axis=-1)
    for size in shape:
        total = total * size
    count = scope.build.op("reshape", scope.build.op("count", size=total, dtype="int64"), shape=(total, 1))
    counter = scope.build.op("pad", count, axis=-1, before=0, after=1)
    bits = scope.build.op("threefry", pair, counter)
    made = scope.build.op(name, bits, dtype=scope.precision, place=span)
    return Tensor(scope.build.op("reshape", made, shape=(*shape, *made.type.shape[1:])))
