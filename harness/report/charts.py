"""Charts of a story of many cycles: one small panel for each part and what it holds, as one SVG file.

Drawn by hand rather than by a plotting library: the same records must give the same bytes on every machine, and nothing
may be written outside the run directory (such a library keeps a cache of fonts in the user's home).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby

from harness import events as ev
from harness.checkers import Outcome, Slope

ZOMBIES = "charts/zombies.svg"
"""In the run directory."""
WIDTH, HEIGHT, GAP, TEXT = 250, 150, 14, 11
"""Of a panel, of the space between two, and of letters, in pixels."""
LEFT, TOP, BOTTOM = 44, 20, 40
"""Inside a panel: room for the numbers, the title, and the ticks with the slope's words below them."""
MARKS = ("#1f77b4", "#2ca02c", "#9467bd", "#d62728", "#8c564b", "#17becf")
COLOURS = {Outcome.HOLDS: "#2a7f3f", Outcome.BROKEN: "#c62828", Outcome.UNKNOWN: "#b26a00", None: "#777777"}
Point = tuple[float, float]


def chart(slopes: Sequence[Slope], cycles: Sequence[ev.CycleDone], title: str) -> str:
    """Return the SVG: a row of panels for each part, the system's first; faults are ticks below each panel."""
    faults = {fault: MARKS[number % len(MARKS)] for number, fault in enumerate(dict.fromkeys(c.fault for c in cycles))}
    ticks = [(cycle.number, faults[cycle.fault]) for cycle in cycles]
    top = 34.0 + 16 * len(faults)
    drawn, width = [], 720.0
    rows = groupby(sorted(slopes, key=lambda s: (s.ours, s.part)), key=lambda s: s.part)
    for row, (_, own) in enumerate(rows):
        for column, slope in enumerate(own):
            x, y = GAP + column * (WIDTH + GAP), top + row * (HEIGHT + GAP)
            drawn.append(f'<g transform="translate({x},{y:g})">{_panel(slope, ticks)}</g>')
            width = max(width, x + WIDTH + GAP)
    height = top + len({slope.part for slope in slopes}) * (HEIGHT + GAP)
    size = f'width="{width:g}" height="{height:g}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="{TEXT}">',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        _text(GAP, 20, f"{title}: what each part holds after each cycle", size=14),
    ]
    for number, (fault, colour) in enumerate(faults.items()):
        head.append(f'<rect x="{GAP}" y="{29 + 16 * number}" width="3" height="9" fill="{colour}"/>')
        head.append(_text(GAP + 8, 38 + 16 * number, fault))
    return "\n".join([*head, *drawn, "</svg>"]) + "\n"


def slope_words(slope: Slope) -> str:
    """Say the slope, its interval and what it may be, in one short line."""
    if not math.isfinite(slope.low) or not math.isfinite(slope.high):
        return "too few samples"
    limit = f", at most {slope.tolerance:g}" if slope.outcome is not None else ", not judged"
    return f"{slope.per_cycle:.2f} a cycle ({slope.low:.2f} to {slope.high:.2f}){limit}"


def _panel(slope: Slope, ticks: Sequence[tuple[int, str]]) -> str:
    """Draw one: samples as dots, each start joined by a line, the fitted slope, and the tolerance dashed."""
    points = [(float(cycle), value) for cycle, value, _ in slope.points]
    first, last = points[0], max(points[-1][0], points[0][0] + 1)
    limit = first[1] + slope.tolerance * (last - first[0])
    low, high = min(v for _, v in points), max(*(v for _, v in points), limit)
    spare = (high - low or 1.0) * 0.08
    low, high = low - spare, high + spare

    def place(x: float, y: float) -> Point:
        across = (x - first[0]) / (last - first[0]) * (WIDTH - LEFT - 6)
        return LEFT + across, TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM)

    colour = COLOURS[slope.outcome]
    base = HEIGHT - BOTTOM
    parts = [
        f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT}" height="{base - TOP}" fill="#f7f7f7" stroke="#cccccc"/>',
        _text(0, 13, f"{slope.part}: {slope.quantity.replace('_bytes', ', MB')}", bold=True),
        _line(place(*first), place(last, limit), "#c62828", dashed=True),
        _text(0, TOP + 9, f"{high - spare:.4g}"), _text(0, base, f"{low + spare:.4g}"),
        _text(0, HEIGHT - 8, f"{slope.outcome or ''} {slope_words(slope)}".strip(), colour=colour),
    ]  # fmt: skip
    for _, own in groupby(slope.points, key=lambda point: point[2]):
        placed = [place(float(cycle), value) for cycle, value, _ in own]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="#90a4ae"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.4" fill="#37474f"/>' for x, y in placed]
    if math.isfinite(slope.per_cycle):
        middle = sorted(value - slope.per_cycle * cycle for cycle, value in points)[len(points) // 2]
        ends = [place(x, min(high, max(low, middle + slope.per_cycle * x))) for x in (first[0], last)]
        parts.append(_line(ends[0], ends[1], colour))
    for number, mark in ticks:
        x, _ = place(number, low)
        parts.append(f'<line x1="{x:.1f}" y1="{base + 2}" x2="{x:.1f}" y2="{base + 9}" stroke="{mark}"/>')
    return "".join(parts)


def _line(one: Point, other: Point, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    ends = f'x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="1.2"{dash}/>'


def _text(x: float, y: float, words: str, *, size: int = TEXT, colour: str = "#222222", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{weight}>{escape(words)}</text>'
