"""The part of the page on the longest gap when the leader is struck."""

from __future__ import annotations

from typing import Final

from bench.results import Report, percentiles
from bench.section import Section, rounded, table

_HOW: Final = """\
Every system runs as three processes that may lead, their files on tmpfs. One client
writes, one call after another; whoever leads is killed (SIGKILL) or stopped (SIGSTOP)
at a random moment while all is well. The gap is the longest time between two answers
around that. Our clerk finds the new primary by itself. For Redis the client asks its
three sentinels whenever a connection comes to nothing, and does not `WAIT`: the gap
ends with the first `SET` that a new primary takes. For etcd it asks the next of the
three nodes after 100 ms without an answer.
"""


def section(report: Report) -> Section:
    rows = []
    for name in report.names():
        for row in report.of(name).values():
            gaps = percentiles(row.values("gap_ms"), "ms")
            how, _, settings = name.partition(": ")
            cells = [f"{how} {row.system}, {settings}", str(len(row.repeats))]
            cells += [rounded(gaps[f"{which}_ms"]) for which in ("p50", "p99", "max")]
            rows.append(cells)
    head = ["strike", "times", "p50, ms", "p99, ms", "longest, ms"]
    parts = ["## Failover", _HOW.strip(), table(head, rows)]
    parts += [f"Not measured: {skip.system}: {skip.why}" for skip in report.skipped]
    return Section("\n\n".join(parts))
