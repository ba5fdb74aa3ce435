"""Convolutions and pooling over any number of axes of places; samples and channels stand before them."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np

from banach.backends.onnx.network.node import Node
from banach.backends.onnx.network.operators.elementwise import Rule
from banach.backends.onnx.network.operators.indexing import around, cut, joined
from banach.backends.onnx.network.refusal import Uncovered
from banach.backends.onnx.network.tracing import Thing, Trace, fixed, rank_of, shape_of
from banach.ir.dims import Size

_LARGEST_WINDOW = 256  # places of a window along one axis
_LARGEST_KERNEL = 1 << 22  # entries of a kernel with zeros between groups of channels
_MOST_GROUPS = 1 << 10
Steps = tuple[int, ...]


def _steps(node: Node, name: str, space: int) -> Steps:
    found = node.numbers(name) or (1,) * space
    if len(found) != space or min(found) < 1:
        raise Uncovered(f"`{name}` is {list(found)}; the kernel has {space} axes of places")
    return found


def _pads(
    node: Node, shape: Sequence[Size], window: Steps, strides: Steps, dilations: Steps
) -> list[tuple[int, int]]:
    """(before, after) for every axis of places."""
    space, mode = len(window), node.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        given = node.numbers("pads") or (0,) * (2 * space)
        if len(given) != 2 * space:
            raise Uncovered(f"`pads` is {list(given)}; the kernel has {space} axes of places")
        return list(zip(given[:space], given[space:]))
    if mode == "VALID":
        return [(0, 0)] * space
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise Uncovered(f"`auto_pad` is {mode!r}")
    found = []
    for size, own, step, apart in zip(fixed(shape, "places"), window, strides, dilations):
        missing = max((-(-size // step) - 1) * step + (own - 1) * apart + 1 - size, 0)
        less, more = missing // 2, missing - missing // 2
        found.append((less, more) if mode == "SAME_UPPER" else (more, less))
    return found


def _spread(trace: Trace, kernel: Thing, dilations: Steps) -> Thing:
    """The kernel with zeros between its places."""
    for i, step in enumerate(dilations):
        axis = i - len(dilations)
        if step != 1:
            (own,) = fixed(shape_of(kernel)[axis:][:1], "kernel")
            kernel = trace.op("dilate", kernel, axis=axis, step=step, size=(own - 1) * step + 1)
    return kernel


def _apart(kernel: np.ndarray, groups: int) -> np.ndarray:
    """A kernel of groups as one over all channels, with zeros where they do not meet.

    The sum of sizes that bounds its gain is then the largest of any group, not their sum.
    """
    rows, columns, *places = kernel.shape
    each = rows // groups
    whole = np.zeros((rows, columns * groups, *places), kernel.dtype)
    for g in range(groups):
        whole[g * each : (g + 1) * each, g * columns : (g + 1) * columns] = kernel[g * each : (g + 1) * each]
    return whole


def _grouped(trace: Trace, node: Node, x: Thing, kernel: Thing, apply) -> Thing:
    """A convolution for every group of channels: with one kernel where that is known and small."""
    groups, space = node.get("group", 1), rank_of(kernel) - 2
    rows, channels = shape_of(kernel)[0], shape_of(x)[1]
    if not 1 <= groups <= _MOST_GROUPS or not isinstance(rows, int) or not isinstance(channels, int):
        raise Uncovered(f"`group` is {groups}")
    if rows % groups or channels % groups:
        raise Uncovered(f"{channels} channels and {rows} kernels do not make {groups} groups")
    if groups == 1:
        return apply(x, kernel)
    if isinstance(kernel, np.ndarray) and kernel.size * groups <= _LARGEST_KERNEL:
        return apply(x, _apart(kernel, groups))
    parts = []
    for g in range(groups):
        signal, own = (
            cut(trace, thing, axis, g * size // groups, (g + 1) * size // groups)
            for thing, axis, size in ((x, -space - 1, channels), (kernel, -space - 2, rows))
        )
        parts.append(apply(signal, own))
    return joined(trace, parts, -space - 1)


def _kernel_of(node: Node, x: Thing, kernel: Thing) -> int:
    space = rank_of(kernel) - 2
    if space < 1 or rank_of(x) != space + 2:
        raise Uncovered(f"a kernel of {rank_of(kernel)} axes cannot be laid on a tensor of {rank_of(x)}")
    if node.numbers("kernel_shape") not in (None, shape_of(kernel)[2:]):
        raise Uncovered("`kernel_shape` is not that of its kernel")
    return space


def _biased(trace: Trace, y: Thing, bias: Thing | None, space: int) -> Thing:
    if bias is None:
        return y
    return trace.op("add", y, trace.op("reshape", bias, shape=(*shape_of(bias)[:1], *[1] * space)))


def _conv(trace: Trace, node: Node, x: Thing, kernel: Thing, bias: Thing | None = None) -> Thing:
    space = _kernel_of(node, x, kernel)
    strides, dilations = _steps(node, "strides", space), _steps(node, "dilations", space)
    window = fixed(shape_of(kernel)[2:], "kernel")
    for i, (before, after) in enumerate(_pads(node, shape_of(x)[2:], window, strides, dilations)):
        x = around(trace, x, i - space, before, after, "constant")
    kernel = _spread(trace, kernel, dilations)
    y = _grouped(trace, node, x, kernel, lambda s, k: trace.op("convolve", s, k, stride=strides))
    return _biased(trace, y, bias, space)


def _conv_transpose(trace: Trace, node: Node, x: Thing, kernel: Thing, bias: Thing | None = None) -> Thing:
    """The adjoint of a convolution, of which padding then takes the ends away."""
    space = _kernel_of(node, x, kernel)
    node.only(auto_pad="NOTSET")
    if "output_shape" in node.attributes:
        raise Uncovered("`output_shape` is given; covered is `pads`")
    strides, dilations = _steps(node, "strides", space), _steps(node, "dilations", space)
    more = node.numbers("output_padding") or (0,) * space
    if len(more) != space or any(not 0 <= extra < step for extra, step in zip(more, strides)):
        raise Uncovered(f"`output_padding` is {list(more)}, and `strides` {list(strides)}")
    kernel = _spread(trace, kernel, dilations)
    own = fixed(shape_of(kernel)[2:], "kernel")
    full = tuple((n - 1) * step + m for n, step, m in zip(shape_of(x)[2:], strides, own))
    y = _grouped(
        trace, node, x, kernel, lambda s, k: trace.op("convolve_transpose", s, k, stride=strides, size=full)
    )
    pads = _pads(node, shape_of(x)[2:], own, strides, dilations)
    for i, ((before, after), extra) in enumerate(zip(pads, more)):
        y = around(trace, y, i - space, -before, extra - after, "constant")
    return _biased(trace, y, bias, space)


# --- pooling, axis by axis ----------------------------------------------------------------------------------


def _window(node: Node, x: Thing) -> tuple[Steps, Steps, Steps]:
    window = node.numbers("kernel_shape") or ()
    if not window or rank_of(x) != len(window) + 2 or min(window) < 1:
        raise Uncovered(f"a window {list(window)} cannot be laid on a tensor of {rank_of(x)} axes")
    if max(window) > _LARGEST_WINDOW:
        raise Uncovered(f"a window of {max(window)} places, more than {_LARGEST_WINDOW}")
    return window, _steps(node, "strides", len(window)), _steps(node, "dilations", len(window))


def _places(node: Node, size: int, reach: int, step: int, before: int, after: int) -> tuple[int, int]:
    """How many windows there are, and how far behind the padding the last one ends."""
    room = size + before + after - reach
    if room < 0:
        raise Uncovered(f"a window of {reach} places does not fit into an axis of {size}")
    count = room // step + 1
    if node.get("ceil_mode", 0):
        count = -(-room // step) + 1
        if (count - 1) * step >= size + before:  # it would start in the padding behind
            count -= 1
    return count, max((count - 1) * step + reach - (size + before + after), 0)


def _parts(trace: Trace, x: Thing, axis: int, own: int, apart: int, step: int, count: int) -> list[Thing]:
    """For every place of the window, what it meets: one entry for each window."""
    found = []
    for start in range(0, own * apart, apart):
        part = cut(trace, x, axis, start, start + (count - 1) * step + 1)
        found.append(part if step == 1 else trace.op("stride", part, axis=axis, step=step))
    return found


def _average_pool(trace: Trace, node: Node, x: Thing) -> Thing:
    window, strides, dilations = _window(node, x)
    space, sizes = len(window), fixed(shape_of(x)[2:], "places")
    pads = _pads(node, sizes, window, strides, dilations)
    for i, (own, step, apart, (before, after)) in enumerate(zip(window, strides, dilations, pads)):
        axis, reach = i - space, (own - 1) * apart + 1
        count, beyond = _places(node, sizes[i], reach, step, before, after)
        # An entry of the padding counts where it says so; what `ceil_mode` adds behind it never does.
        inside = np.zeros(before + sizes[i] + after + beyond)
        counted = (0, before + sizes[i] + after) if node.get("count_include_pad", 0) else None
        start, stop = counted or (before, before + sizes[i])
        inside[start:stop] = 1
        windows = np.arange(count)[:, None] * step + np.arange(own) * apart
        number = inside[windows].sum(axis=1)
        padded = around(trace, x, axis, before, after + beyond, "constant")
        total = reduce(partial(trace.op, "add"), _parts(trace, padded, axis, own, apart, step, count))
        weights = (1 / np.maximum(number, 1)).reshape(count, *[1] * (space - 1 - i))
        alike = np.all(number == number[:1])
        x = trace.op("multiply", total, float(weights.flat[0]) if alike else weights)
    return x


def _max_pool(trace: Trace, node: Node, x: Thing) -> Thing:
    window, strides, dilations = _window(node, x)
    space, sizes = len(window), fixed(shape_of(x)[2:], "places")
    pads = _pads(node, sizes, window, strides, dilations)
    for i, (own, step, apart, (before, after)) in enumerate(zip(window, strides, dilations, pads)):
        axis, reach = i - space, (own - 1) * apart + 1
        count, beyond = _places(node, sizes[i], reach, step, before, after)
        if before >= reach or after + beyond >= reach or (apart > 1 and (before or after or beyond)):
            raise Uncovered("a window may lie in the padding alone, or skip the entry beside it")
        # A window that reaches into the padding holds the entry at the edge, so that may be repeated.
        padded = around(trace, x, axis, before, after + beyond, "edge")
        x = reduce(partial(trace.op, "maximum"), _parts(trace, padded, axis, own, apart, step, count))
    return x


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
}
