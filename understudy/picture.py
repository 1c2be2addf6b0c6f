"""
A run of the demo as one picture: a self-contained SVG.

Pure.  Above, answers per second; marked in it, what was done to the servers, and
what the clerks noticed of it.  Below, who was primary and who backup, in the
colour of each server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import ceil, log10
from typing import Final

from attrs import frozen

from understudy.moments import Moment

_WIDTH: Final = 1080
_LEFT: Final = 84
_RIGHT: Final = 1048
_TOP: Final = 104
_BOTTOM: Final = 330
_BAND: Final = 26
_LEGEND_TOP: Final = 476
_LEGEND_LINE: Final = 26

#: Plain colours and no variables: whatever shows pictures shows this one.
_PAPER: Final = "#ffffff"
_AREA: Final = "#3b6fd9"
_STYLE: Final = """
  text { font-family: "Inter", "Segoe UI", "Helvetica Neue", Helvetica, Arial,
         "DejaVu Sans", sans-serif; fill: #1b2330; font-size: 13px; }
  .title { font-size: 21px; font-weight: 600; }
  .soft { fill: #6b7686; } .small { font-size: 11.5px; }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .grid { stroke: #e4e8ee; stroke-width: 1; }
  .curve { fill: none; stroke: #3b6fd9; stroke-width: 1.8; stroke-linejoin: round; }
  .strike { stroke: #d6344b; stroke-width: 1.5; }
  .badge { fill: #d6344b; }
  .number { fill: #ffffff; font-weight: 700; font-size: 12px; text-anchor: middle; }
  .note { stroke: #6b7686; stroke-width: 1.2; stroke-dasharray: 2 4; }
  .dot { fill: #ffffff; stroke: #6b7686; stroke-width: 1.4; }
  .gap { fill: #d6344b; font-weight: 600; font-size: 12px; }
  .name { fill: #ffffff; font-weight: 600; font-size: 12px; text-anchor: middle; }
"""

#: A colour for each server, in the order of their names.
_COLOURS: Final = ("#2a9d8f", "#6c5ce7", "#e08e2b", "#c2527f", "#4f7f3a", "#4a78a8")
_ABSENT: Final = "#9aa4b2"


def _text(x: float, y: float, css: str, text: str) -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _line(css: str, x: tuple[float, float], y: tuple[float, float]) -> str:
    return (
        f'<line class="{css}" x1="{x[0]:.1f}" x2="{x[1]:.1f}" '
        f'y1="{y[0]:.1f}" y2="{y[1]:.1f}"/>'
    )


def _badge(x: float, y: float, number: int) -> str:
    """A strike's number."""
    circle = f'<circle class="badge" cx="{x:.1f}" cy="{y:.1f}" r="10"/>'
    return circle + _text(x, y + 4, "number", str(number))


def _dot(x: float, y: float, at: int) -> str:
    """A note's letter."""
    circle = f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
    return circle + _text(x, y + 4, "soft small middle", chr(ord("a") + at % 26))


@frozen
class _Scale:
    """From seconds and rates to places."""

    seconds: float
    rate_max: float

    def x(self, seconds: float) -> float:
        share = min(max(seconds / self.seconds, 0.0), 1.0)
        return _LEFT + (_RIGHT - _LEFT) * share

    def y(self, rate: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * min(rate / self.rate_max, 1.0)


def draw(bins: Sequence[int], bin_s: float, moments: Sequence[Moment]) -> str:
    """The SVG.  *bins* are the answers in each *bin_s* seconds."""
    # The last bin was not lived to its end, and would look like a fall.
    rates = [count / bin_s for count in bins[:-1]] or [0.0]
    scale = _Scale(len(rates) * bin_s, _ceiling(max(rates)))
    strikes = [moment for moment in moments if moment.kind == "strike"]
    notes = [moment for moment in moments if moment.kind == "note"]
    lines = max(len(strikes), len(notes))
    height = _LEGEND_TOP + _LEGEND_LINE * lines + 22
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Answers per second while servers are killed and paused</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" rx="14" fill="{_PAPER}"/>',
        *_title(strikes),
        *_grid(scale),
        *_curve(scale, rates, bin_s),
        *_bands(scale, [moment for moment in moments if moment.kind == "view"]),
        *(part for at, each in enumerate(notes) for part in _note(scale, at, each)),
        *(
            part
            for at, each in enumerate(strikes, 1)
            for part in _strike(scale, at, each)
        ),
        *_legend(strikes, notes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(strikes: Sequence[Moment]) -> Iterator[str]:
    gaps = [moment.gap_ms for moment in strikes if moment.gap_ms is not None]
    worst = f"; the unluckiest clerk waited {max(gaps)} ms" if gaps else ""
    yield _text(32, 44, "title", "Killed, paused, woken: and it answers")
    yield _text(
        *(32, 68, "soft"),
        "answers per second of a replicated service under load, "
        f"{len(strikes)} strikes{worst}",
    )


def _grid(scale: _Scale) -> Iterator[str]:
    for step in range(5):
        rate = scale.rate_max * step / 4
        y = scale.y(rate)
        yield _line("grid", (_LEFT, _RIGHT), (y, y))
        yield _text(_LEFT - 10, y + 4, "soft small end", f"{rate:,.0f}")
    every = max(1, ceil(scale.seconds / 14))
    for second in range(0, int(scale.seconds) + 1, every):
        yield _text(scale.x(second), _BOTTOM + 20, "soft small middle", f"{second} s")


def _curve(scale: _Scale, rates: Sequence[float], bin_s: float) -> Iterator[str]:
    points = [
        f"{scale.x((at + 0.5) * bin_s):.1f},{scale.y(rate):.1f}"
        for at, rate in enumerate(rates)
    ]
    first = scale.x(0.5 * bin_s)
    last = scale.x((len(rates) - 0.5) * bin_s)
    yield (
        '<defs><linearGradient id="fade" x1="0" x2="0" y1="0" y2="1">'
        f'<stop offset="0" stop-color="{_AREA}" stop-opacity="0.34"/>'
        f'<stop offset="1" stop-color="{_AREA}" stop-opacity="0.04"/>'
        "</linearGradient></defs>"
    )
    yield (
        f'<polygon fill="url(#fade)" points="{first:.1f},{_BOTTOM} '
        f'{" ".join(points)} {last:.1f},{_BOTTOM}"/>'
    )
    yield f'<polyline class="curve" points="{" ".join(points)}"/>'


def _bands(scale: _Scale, views: Sequence[Moment]) -> Iterator[str]:
    names = sorted({name for view in views for name in (view.who, *view.backups)})
    colours = dict(
        zip(names, _COLOURS * (len(names) // len(_COLOURS) + 1), strict=False)
    )
    top = _BOTTOM + 40
    ends = [*(view.at_s for view in views[1:]), scale.seconds][: len(views)]
    for row, title in enumerate(("primary", "backup")):
        y = top + row * (_BAND + 6)
        yield _text(_LEFT - 10, y + 17, "soft small end", title)
        spans = (
            ((view.who,) if row == 0 else view.backups, view.at_s, end)
            for view, end in zip(views, ends, strict=True)
        )
        for who, start, end in _joined(spans):
            yield from _span(scale, y, ", ".join(who), start, end, colours)
    for view in views[1:]:
        x, y = scale.x(view.at_s), top + 2 * _BAND + 22
        yield _text(x, y, "soft small middle", f"view {view.number}")


def _joined(
    spans: Iterable[tuple[tuple[str, ...], float, float]],
) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """Neighbours of the same name as one."""
    held: tuple[tuple[str, ...], float, float] | None = None
    for who, start, end in spans:
        if held is not None and held[0] == who:
            held = (who, held[1], end)
            continue
        if held is not None:
            yield held
        held = (who, start, end)
    if held is not None:
        yield held


def _span(  # noqa: PLR0917 -- a rectangle and what it says
    scale: _Scale,
    y: float,
    name: str,
    start: float,
    end: float,
    colours: dict[str, str],
) -> Iterator[str]:
    left, width = scale.x(start), max(scale.x(end) - scale.x(start) - 2, 1)
    colour = colours.get(name, _ABSENT)
    yield (
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{_BAND}" rx="5" '
        f'fill="{colour}"/>'
    )
    if width > 8 * len(name) + 8:
        yield _text(left + width / 2, y + 17, "name", name or "none")


def _strike(scale: _Scale, number: int, strike: Moment) -> Iterator[str]:
    x = scale.x(strike.at_s)
    yield _line("strike", (x, x), (_TOP - 6, _BOTTOM))
    yield _badge(x, _TOP - 14, number)
    if strike.gap_ms is not None:
        yield _text(x + 15, _TOP - 10, "gap", f"{strike.gap_ms} ms")


def _note(scale: _Scale, at: int, note: Moment) -> Iterator[str]:
    x = scale.x(note.at_s)
    yield _line("note", (x, x), (_TOP + 6, _BOTTOM))
    yield _dot(x, _TOP - 2, at)


def _legend(strikes: Sequence[Moment], notes: Sequence[Moment]) -> Iterator[str]:
    for at, strike in enumerate(strikes):
        y = _LEGEND_TOP + at * _LEGEND_LINE
        yield _badge(42, y, at + 1)
        yield _text(62, y + 4, "", strike.text)
    for at, note in enumerate(notes):
        y = _LEGEND_TOP + at * _LEGEND_LINE
        yield _dot(552, y, at)
        yield _text(572, y + 4, "soft", note.text)


def _ceiling(rate: float) -> float:
    """A round number at or above *rate*."""
    unit = 10.0 ** max(0, int(log10(rate)) if rate >= 1 else 0)
    for factor in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10):
        if rate <= factor * unit:
            return factor * unit
    return 10 * unit
