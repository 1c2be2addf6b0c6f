"""The part of the page on what an operation costs as things grow."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan
from typing import Final

from bench.plot import Axis, Curve, draw
from bench.results import Report, Row
from bench.section import Section, rounded, table

_HOW: Final = """\
One thing grows, everything else stays: puts of 100 bytes by 64 native connections into
10 000 keys, one backup. The processor time is the primary's, for one operation. Its
memory includes what it keeps of the log, 64 MiB at most, which is most of it while
there are few keys.
"""

#: What grows, in the order of the page.
_TOLD: Final = {
    "keys": "keys that are there",
    "connections": "connections",
    "value-bytes": "bytes of a value",
    "sessions": "sessions that are open",
    "backups": "backups",
}


def section(report: Report) -> Section:
    parts, pictures = ["## Growth", _HOW.strip()], {}
    for axis, told in _TOLD.items():
        rows = list(_rows(report, axis))
        if not rows:
            continue
        name = f"growth-{axis}"
        parts += [f"### {told.capitalize()}", _sentence(told, rows)]
        parts += [_table(report, axis, told, rows), f"![{told}](benchmarks/{name}.svg)"]
        pictures[name] = _picture(axis, told, rows)
    return Section("\n\n".join(parts), pictures)


def _rows(report: Report, axis: str) -> Iterator[Row]:
    for row in report.rows:
        if row.shape["axis"] == axis and row.system == "understudy":
            yield row


def _sentence(told: str, rows: list[Row]) -> str:
    first, last = rows[0], rows[-1]
    before, after = _median(first, "cpu_us"), _median(last, "cpu_us")
    least = min(rows, key=lambda row: _median(row, "cpu_us"))
    text = (
        f"From {first.shape['size']:,} to {last.shape['size']:,} {told}, an operation"
        f" goes from {rounded(before)} to {rounded(after)} us of the primary's"
        f" processor time: {after / before:.2f} times."
    )
    if least not in (first, last):
        text += (
            f" The least is {rounded(_median(least, 'cpu_us'))} us, with"
            f" {least.shape['size']:,}."
        )
    return text


def _table(report: Report, axis: str, told: str, rows: list[Row]) -> str:
    head = [told, "op/s", "p99, us", "processor, us", "memory, MB"]
    if axis == "keys":
        head += ["bytes a pair", "of Redis"]
    body = []
    for row in rows:
        cells = [f"{row.shape['size']:,}"]
        cells += [rounded(_median(row, f)) for f in ("ops_per_s", "p99_us", "cpu_us")]
        cells.append(rounded(row.median("resident_bytes") / 1e6))
        if axis == "keys":
            cells += [
                _bytes_per_pair(report, row.name, "understudy"),
                _bytes_per_pair(report, row.name, "redis"),
            ]
        body.append(cells)
    return table(head, body)


def _median(row: Row, figure: str) -> float:
    """Of a row in which it may be missing."""
    return row.median(figure) if row.values(figure) else nan


def _bytes_per_pair(report: Report, name: str, system: str) -> str:
    """What the process grew by for each pair that was put in."""
    if (row := report.of(name).get(system)) is None:
        return "-"
    grown = row.median("filled_bytes") - row.median("empty_bytes")
    return rounded(grown / row.shape["size"])


def _picture(axis: str, told: str, rows: list[Row]) -> str:
    is_log = axis != "backups"
    curves = [
        Curve(
            name,
            "understudy",
            [(row.shape["size"], _median(row, figure)) for row in rows],
            dash,
        )
        for figure, name, dash in (
            ("ops_per_s", "operations a second", ""),
            ("p99_us", "p99, us", "6 3"),
            ("cpu_us", "processor time each, us", "2 3"),
        )
    ]
    x, y = Axis(told, is_log=is_log), Axis("operations a second; microseconds")
    return draw(f"As {told} grow", x, y, curves)
