"""
A part of `docs/benchmarks.md`: its text, and its pictures.

Pure.  Everything in it comes from a `bench.results.Report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen


@frozen
class Section:
    """Markdown from its heading (``## ...``) on; it shows a picture as
    ``![...](benchmarks/NAME.svg)``."""

    text: str
    #: SVGs by name.
    pictures: Mapping[str, str] = field(factory=dict)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def rounded(value: float) -> str:
    """Three digits; the rest is noise."""
    if value >= 1000:
        digits = len(f"{value:.0f}") - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
