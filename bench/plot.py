"""
Curves as one picture: a self-contained SVG.

Pure.  Axes are logarithmic unless they are told to be plain, since what is drawn
here differs by factors; every point is marked, and what a colour and a dash mean
stands beside the curve.  An empty picture is a ValueError: it would say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

from attrs import field, frozen

_WIDTH: Final = 860
_HEIGHT: Final = 440
_LEFT: Final = 84
_RIGHT: Final = 640
_TOP: Final = 76
_BOTTOM: Final = 380

#: Each system has the same colour in every picture.
COLOURS: Final[Mapping[str, str]] = {
    "understudy": "#1f5fd6",
    "redis": "#d6344b",
    "etcd": "#2a9d8f",
    "zookeeper": "#e08e2b",
    "pysyncobj": "#6c5ce7",
    "bare": "#9aa4b2",
}
_OTHERS: Final = ("#4a78a8", "#c2527f", "#4f7f3a", "#8a6d3b", "#1b2330")

_STYLE: Final = """
  text { font-family: "Inter", "Segoe UI", "Helvetica Neue", Helvetica, Arial,
         "DejaVu Sans", sans-serif; fill: #1b2330; font-size: 12.5px; }
  .title { font-size: 18px; font-weight: 600; }
  .soft { fill: #6b7686; } .small { font-size: 11.5px; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .grid { stroke: #e4e8ee; stroke-width: 1; }
  .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
"""


@frozen
class Curve:
    """Points of one system; *dash* tells its curves apart (SVG's dasharray)."""

    name: str
    system: str
    points: Sequence[tuple[float, float]]
    dash: str = ""


@frozen
class Axis:
    """What is along it, and whether equal steps are equal factors."""

    label: str
    is_log: bool = field(default=True, kw_only=True)


@frozen
class _Scale:
    """From values to places between *start* and *end*."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool

    def at(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.is_log:
            low, high, here = log10(low), log10(high), log10(max(value, self.low))
        return self.start + (self.end - self.start) * (here - low) / (high - low)


def draw(title: str, x: Axis, y: Axis, curves: Sequence[Curve]) -> str:
    """The SVG.  On a logarithmic axis, points at or below 0 are left out."""
    curves = [Curve(c.name, c.system, _drawable(c, x, y), c.dash) for c in curves]
    curves = [curve for curve in curves if curve.points]
    if not curves:
        raise ValueError(f"nothing to draw: {title}")
    xs = sorted({point[0] for curve in curves for point in curve.points})
    ys = sorted({point[1] for curve in curves for point in curve.points})
    across = _scale(xs, x.is_log, _LEFT, _RIGHT, fits=True)
    up = _scale(ys, y.is_log, _BOTTOM, _TOP, fits=False)
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="12" fill="#ffffff"/>',
        _text(28, 36, "title", title),
        _text(_LEFT - 56, _TOP - 16, "soft small", y.label),
        _text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "soft small middle", x.label),
        *_grid(up),
        *_ticks(across, xs),
        *_curves(across, up, curves),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _drawable(curve: Curve, x: Axis, y: Axis) -> list[tuple[float, float]]:
    return sorted(
        (a, b)
        for a, b in curve.points
        if (a > 0 or not x.is_log) and (b > 0 or not y.is_log)
    )


def _scale(
    values: Sequence[float], is_log: bool, start: float, end: float, *, fits: bool
) -> _Scale:
    """*fits*: from the least to the greatest; else to round numbers around them."""
    low, high = values[0], values[-1]
    if not fits and is_log:
        low, high = 10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high))
    elif not fits:
        low, high = min(low, 0.0), _round(high)
    if low == high:
        low, high = (low / 2, high * 2) if is_log else (low - 1, high + 1)
    return _Scale(low, high, start, end, is_log)


def _round(value: float) -> float:
    """A round number at or above *value*."""
    unit = 10.0 ** floor(log10(value)) if value > 0 else 1.0
    return next(f * unit for f in (1, 2, 3, 4, 5, 6, 8, 10) if value <= f * unit)


def _grid(up: _Scale) -> Iterator[str]:
    if up.is_log:
        exponents = range(floor(log10(up.low)), ceil(log10(up.high)) + 1)
        values = [10.0**exponent for exponent in exponents]
    else:
        values = [up.low + (up.high - up.low) * step / 4 for step in range(5)]
    for value in values:
        y = up.at(value)
        yield (
            f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        yield _text(_LEFT - 10, y + 4, "soft small end", _number(value))


def _ticks(across: _Scale, values: Sequence[float]) -> Iterator[str]:
    free = float("-inf")
    for value in values:
        x = across.at(value)
        if x - free > 34:
            free = x
            yield _text(x, _BOTTOM + 20, "soft small middle", _number(value))


def _curves(across: _Scale, up: _Scale, curves: Sequence[Curve]) -> Iterator[str]:
    names = [curve.system for curve in curves if curve.system not in COLOURS]
    others = dict(zip(dict.fromkeys(names), _OTHERS * len(names), strict=False))
    labels = _apart([up.at(curve.points[-1][1]) for curve in curves])
    for curve, label_y in zip(curves, labels, strict=True):
        colour = COLOURS.get(curve.system) or others[curve.system]
        places = [(across.at(x), up.at(y)) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = f' stroke-dasharray="{curve.dash}"' if curve.dash else ""
        yield f'<polyline class="curve" stroke="{colour}"{dash} points="{path}"/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        x, y = places[-1]
        yield (
            f'<line x1="{x + 6:.1f}" x2="{_RIGHT + 14}" y1="{y:.1f}" '
            f'y2="{label_y:.1f}" stroke="{colour}" stroke-width="0.7"/>'
        )
        yield _text(_RIGHT + 18, label_y + 4, "small", curve.name)


def _apart(places: Sequence[float], least: float = 15.0) -> list[float]:
    """*places* moved down until no two are nearer than *least*, and up again
    where that left the picture."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [places[at] for at in order]
    for at in range(1, len(moved)):
        moved[at] = max(moved[at], moved[at - 1] + least)
    surplus = max(moved[-1] - _BOTTOM, 0.0) if moved else 0.0
    found = dict(zip(order, (y - surplus for y in moved), strict=True))
    return [found[at] for at in range(len(places))]


def _number(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


def _text(x: float, y: float, css: str, text: str) -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
