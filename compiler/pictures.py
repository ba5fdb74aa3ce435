"""Pictures for reports, as SVG: graphs in layers, and residuals on a logarithmic axis."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from banach.ir.graph import Graph, Op

_MOST = 600  # operations that are drawn
_ROW, _CELL, _HIGH = 44, 150, 26
_WIDE, _TALL, _LEFT, _BELOW = 640, 300, 64, 40
_COLOURS = {"input": "#e8f0fe", "op": "#ffffff", "output": "#e6f4ea", "fix": "#fef7e0"}


def graph(whole: Graph) -> str:
    """A graph and its regions below each other: every operation in a row below those that it reads."""
    parts, top, wide, left = [], 10, 200, _MOST
    for part in whole.walk():
        left -= len(part.ops) + 2
        if left < 0:
            parts.append(f'<text x="10" y="{top + 16}">…</text>')
            top += 30
            break
        drawn, height, width = _layers(part, top)
        parts += drawn
        top, wide = top + height, max(wide, width)
    return _svg(wide, top + 10, parts)


def _layers(part: Graph, top: int) -> tuple[list[str], int, int]:
    """The elements of one graph, its height and its width."""
    levels: list[int] = [0] * len(part.inputs)
    boxes: list[list[tuple[str, str, tuple[int, ...], tuple[int, ...]]]] = [[]]
    for i, port in enumerate(part.inputs):
        boxes[0].append(("input", f"{port.name}: {port.type}", (), (i,)))
    for op in part.ops:
        level = 1 + max((levels[v] for v in op.operands), default=-1)
        levels += [level] * len(op.types)
        boxes += [[] for _ in range(level + 1 - len(boxes))]
        boxes[level].append(("fix" if op.regions else "op", _label(op), op.operands, tuple(op.results)))
    boxes.append([("output", name, (v,), ()) for name, v in zip(part.output_names, part.outputs)])
    place: dict[int, tuple[float, float]] = {}
    edges, shapes = [], [f'<text x="10" y="{top + 16}" class="title">{escape(part.name)}</text>']
    for row, cells in enumerate(boxes):
        y = top + 30 + row * _ROW
        for column, (kind, label, reads, makes) in enumerate(cells):
            x = 10 + column * _CELL
            wide, colour = _CELL - 14, _COLOURS[kind]
            box = f'<rect x="{x}" y="{y}" width="{wide}" height="{_HIGH}" rx="5" fill="{colour}"/>'
            whole = f"<title>{escape(label)}</title>"
            shapes.append(f'{box}<text x="{x + 6}" y="{y + 17}">{escape(_short(label))}{whole}</text>')
            for v in reads:
                a, b = place[v]
                edges.append(f'<path d="M{a:g} {b:g} L{x + _CELL / 2 - 7:g} {y}" class="edge"/>')
            place.update({v: (x + _CELL / 2 - 7, float(y + _HIGH)) for v in makes})
    width = 20 + _CELL * max(len(cells) for cells in boxes)
    return [*edges, *shapes], 40 + _ROW * len(boxes), width


def _label(op: Op) -> str:
    told = ", ".join(f"{key}={value}" for key, value in op.attributes if isinstance(value, int | str | tuple))
    return f"{op.name}({told}): {', '.join(map(str, op.types))}"


def _short(label: str) -> str:
    return label if len(label) <= 22 else label[:21] + "…"


def residuals(points: Sequence[tuple[int, float]], lines: Mapping[str, tuple[float, float]]) -> str:
    """Residuals by iteration; `lines` are envelopes by name, a first value and a factor for each step."""
    seen = [(k, r) for k, r in points if r > 0 and math.isfinite(r)]
    if len(seen) < 2:
        return ""
    last = max(k for k, _ in seen)
    ends = [r for _, r in seen]
    low, high = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends)) + 1e-9)
    high = max(high, low + 1)

    def at(k: float, r: float) -> str:
        x = _LEFT + (_WIDE - _LEFT - 10) * k / max(last, 1)
        y = 10 + (_TALL - _BELOW - 10) * (high - math.log10(r)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = []
    for decade in range(low, high + 1, max(1, (high - low) // 6)):
        x, y = at(0, 10.0**decade).split(",")
        parts.append(f'<path d="M{x} {y} H{_WIDE - 10}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{float(y) + 4:g}" text-anchor="end">1e{decade}</text>')
    for i, (name, (first, factor)) in enumerate(lines.items()):
        reach = [
            k for k in (last * j / 100 for j in range(101)) if 10.0**low <= first * factor**k <= 10.0**high
        ]
        if len(reach) > 1:
            track = " ".join(at(k, first * factor**k) for k in reach)
            parts.append(f'<polyline points="{track}" class="envelope"/>')
            parts.append(
                f'<text x="{_WIDE - 16}" y="{24 + 16 * i}" text-anchor="end">- - {escape(name)}</text>'
            )
    parts.append(f'<polyline points="{" ".join(at(k, r) for k, r in seen)}" class="seen"/>')
    parts += [
        f'<circle cx="{p.split(",")[0]}" cy="{p.split(",")[1]}" r="2.5"/>' for p in (at(*s) for s in seen)
    ]
    parts.append(f'<text x="{_LEFT}" y="{_TALL - 14}">0</text>')
    parts.append(f'<text x="{_WIDE - 10}" y="{_TALL - 14}" text-anchor="end">{last} iterations</text>')
    return _svg(_WIDE, _TALL, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    style = (
        "text{font:11px sans-serif;fill:#202124}.title{font-weight:bold}rect{stroke:#5f6368;stroke-width:.7}"
        ".edge{stroke:#9aa0a6;fill:none;stroke-width:.8}.grid{stroke:#dadce0}.seen{fill:none;stroke:#1a73e8;"
        "stroke-width:1.6}circle{fill:#1a73e8}.envelope{fill:none;stroke:#d93025;stroke-dasharray:5 4}"
    )
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>\n{body}\n</svg>\n'
