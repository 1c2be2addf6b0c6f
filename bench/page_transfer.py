"""The part of the page on a newcomer that is given everything."""

from __future__ import annotations

from typing import Final

from bench.results import Report
from bench.section import Section, rounded, table

_HOW: Final = """\
One server holds pairs of 13 and 100 bytes; four clients write, one call after another;
a second server is started, and the time runs until it is in step, its own start
included. For Redis that is a full resync, without a file and without a delay. Medians,
but for the longest write, which is the longest of all repeats. Memory is the most that
the process has occupied; the child that Redis forks to send is not in it.
"""


def section(report: Report) -> Section:
    rows = []
    for name in report.names():
        found = report.of(name)
        for system, row in found.items():
            cells = [f"{name}, {system}"]
            cells += [rounded(row.median(each)) for each in ("seconds", "mb_per_s")]
            cells.append(rounded(max(row.values("longest_ms"))))
            for each in ("source_bytes", "newcomer_bytes"):
                cells.append(rounded(row.median(each) / 1e6))
            rows.append(cells)
    head = ["", "s", "MB/s", "longest write, ms", "source, MB", "newcomer, MB"]
    parts = ["## Transfer", _HOW.strip(), table(head, rows)]
    for name in report.names():
        if {"understudy", "redis"} <= report.of(name).keys():
            ratio = report.ratio(name, "seconds", over="redis", of="understudy")
            parts.append(f"{name}: {ratio:.2f} times as long as Redis.")
    parts += [f"Not measured: {skip.system}: {skip.why}" for skip in report.skipped]
    return Section("\n\n".join(parts))
