"""
The part of the page on systems under the same loads: promises, figures to reach,
tables, pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import shorten
from typing import Final

from bench.peers import SYSTEMS
from bench.plot import Axis, Curve, draw
from bench.results import Report, Row
from bench.rows import EVERY, GOALS, READS, Goal
from bench.section import Section, rounded, table

_PERCENTILES: Final = {"p50_us": "", "p99_us": "6 3", "p999_us": "2 3"}
_WORDS: Final = {"put": "puts", "get": "gets", "mix": "90 % gets, 10 % puts"}

_HOW: Final = """\
Every figure is the median of the repeats, each on fresh processes, one system alive at
a time, the systems in turn. The generator and all processes of a system share the
machine's cores, so a system is also charged for what the generator spends on it.

- *Native* rows are of one closed-loop generator in C,
  [loop.c](../bench/native/loop.c), that speaks our frames, RESP, etcd's gRPC and
  ZooKeeper's own protocol. `64x1` is 64 connections with one request outstanding on
  each. At 32 outstanding, ours are batches of 32, those of Redis pipelines of 32 with
  one `WAIT` behind them, those of etcd and ZooKeeper 32 requests on their way. A
  latency is that of a request, so of all 32 where they are one.
- *Python* rows are of one program: our clerk on Twisted, redis-py on asyncio with
  hiredis and a pipeline of `SET` and `WAIT` for each put, gRPC on asyncio for etcd,
  kazoo's asynchronous calls, PySyncObj's callbacks. `collected` is a program that
  gathers 64 puts by itself: one pipeline with one `WAIT` for Redis; for us nothing
  changes, the clerk does that anyway.
- etcd and ZooKeeper sync a log before they answer; their data is on tmpfs, where that
  costs nothing. The load goes to the leader, which spares them a hop. PySyncObj's
  program is itself the leader. All of them take part in every other round only.
- Redis, ZooKeeper and PySyncObj answer a read from one process's memory and ask
  nobody. Ours, and etcd's, are linearizable: they wait for word from another server
  that no newer one has taken over.
- *bare* is no peer but a measure: two Twisted processes that pass puts on and do
  nothing else. What Understudy lacks to it is its own work; what it lacks itself to a
  figure above is the reactor's and the kernel's.
"""

_MISSED: Final = """\
Nearest to us come those rows in which a peer is asked for less: a read of ZooKeeper
asks no other server, and PySyncObj's program, which is itself the leader, has no client
that would have to reach it.
"""


def section(report: Report) -> Section:
    pictures = dict(_pictures(report))
    parts = [
        "## The same loads",
        _HOW,
        "### What an answer means",
        _promises(report),
        "### Figures to reach",
        _goals(report),
        f"{_left(report)}{_MISSED}",
        "### Operations per second",
        _rates(report),
        "### Latency",
        _latencies(report),
        "### Processor time",
        _costs(report),
        *_shown(pictures),
        "### Machine and versions",
        _machine(report),
    ]
    return Section("\n\n".join(part.strip() for part in parts), pictures)


def _systems(report: Report) -> list[str]:
    measured = {row.system for row in report.rows}
    return [name for name in SYSTEMS if name in measured]


def _promises(report: Report) -> str:
    rows = [[SYSTEMS[name].title, SYSTEMS[name].promise] for name in _systems(report)]
    return table(["system", "what it promises, and what not"], rows).replace(
        "---:", "---"
    )


# -- figures to reach ------------------------------------------------------------------


def _goals(report: Report) -> str:
    rows = []
    for goal in GOALS:
        found = reached(report, goal)
        told = "not measured"
        if found is not None:
            row, ratio = found
            told = f"{ratio:.2f}" + (f" in `{row}`" if goal.row == EVERY else "")
            told += "" if ratio >= goal.least else " (missed)"
        load = "every load" if goal.row == EVERY else f"`{goal.row}`"
        what = "median latency, inverse" if goal.figure == "p50_us" else "op/s"
        cells = [f"{load}, {what}", goal.over, told]
        rows.append([*cells, f"{goal.least:g}", f"{goal.aim:g}"])
    head = ["load", "against", "Understudy is at", "at least", "aim"]
    return table(head, rows)


def _left(report: Report) -> str:
    """How far the bare pair gets, where there is a figure to reach."""
    ratios = [
        f"{report.ratio(goal.row, goal.figure, over=goal.over, of='bare'):.2f} in"
        f" `{goal.row}`"
        for goal in GOALS
        if {goal.over, "bare"} <= report.of(goal.row).keys()
    ]
    if not ratios:
        return ""
    return (
        "What is possible at all on this reactor: the bare pair, which does nothing, is"
        f" at {', '.join(ratios)} of what Redis does.\n\n"
    )


def reached(report: Report, goal: Goal) -> tuple[str, float] | None:
    """The row, and how many times better it is there; None: it was not measured."""
    names = report.names() if goal.row == EVERY else [goal.row]
    of, over = "understudy", goal.over
    if goal.figure != "ops_per_s":
        of, over = over, of
    ratios = {
        name: report.ratio(name, goal.figure, over=over, of=of)
        for name in names
        if {of, over} <= report.of(name).keys()
    }
    return min(ratios.items(), key=lambda each: each[1], default=None)


# -- tables ----------------------------------------------------------------------------


def _rates(report: Report) -> str:
    systems = _systems(report)
    rows = []
    for name in report.names():
        found = report.of(name)
        rows.append([f"`{name}`", *(_rate(report, found, each) for each in systems)])
    return (
        table(["load", *systems], rows)
        + "\n\nIn brackets: Understudy's figure over this one. "
        + _spread(report)
    )


def _rate(report: Report, found: Mapping[str, Row], system: str) -> str:
    if system not in found:
        return "-"
    text = rounded(found[system].median("ops_per_s"))
    if system == "understudy" or "understudy" not in found:
        return text
    name = found[system].name
    ratio = report.ratio(name, "ops_per_s", over=system, of="understudy")
    return f"{text} ({ratio:.2f})"


def _spread(report: Report) -> str:
    spreads = {
        f"`{row.name}` of {row.system}": (max(rates) - min(rates)) / max(rates)
        for row in report.rows
        if len(rates := row.values("ops_per_s")) > 1 and max(rates) > 0
    }
    if not spreads:
        return "Each was measured once only."
    worst = max(spreads, key=spreads.__getitem__)
    middle = sorted(spreads.values())[len(spreads) // 2]
    return (
        f"The least of a row's repeats is {middle:.0%} below the greatest in the middle"
        f" row, and {spreads[worst]:.0%} in the worst, {worst}."
    )


def _latencies(report: Report) -> str:
    systems = _systems(report)
    rows = [
        [f"`{name}`", *(_three(report.of(name).get(each)) for each in systems)]
        for name in report.names()
    ]
    return table(["p50 / p99 / p99.9, microseconds", *systems], rows)


def _three(row: Row | None) -> str:
    if row is None or not row.values("p50_us"):
        return "-"
    return " / ".join(rounded(row.median(figure)) for figure in _PERCENTILES)


def _costs(report: Report) -> str:
    systems = _systems(report)
    rows = []
    for name in report.names():
        found = report.of(name)
        cells = []
        for each in systems:
            figures = ("server_cpu_us_per_op", "client_cpu_us_per_op")
            if each not in found:
                cells.append("-")
                continue
            cells.append(" + ".join(rounded(found[each].median(f)) for f in figures))
        rows.append([f"`{name}`", *cells])
    return (
        "Of all the system's processes together, and of the program that loads it:\n\n"
        + table(["microseconds per operation, servers + client", *systems], rows)
    )


# -- pictures --------------------------------------------------------------------------


def _pictures(report: Report) -> Iterator[tuple[str, str]]:
    native = [row for row in report.rows if row.shape["is_native"]]
    for kind, reads in READS.items():
        for outstanding in (1, 32):
            rows = [
                row
                for row in native
                if (row.shape["reads"], row.shape["outstanding"])
                == (reads, outstanding)
                and row.shape["value_bytes"] == 100
            ]
            if _lengths(rows, "connections") < 2:
                continue
            what = f"{_WORDS[kind]} of 100 bytes, {outstanding} outstanding"
            yield (
                f"{kind}-x{outstanding}-rate",
                draw(
                    f"Throughput: {what}",
                    Axis("connections"),
                    Axis("operations a second"),
                    list(_rate_curves(rows, "connections")),
                ),
            )
            yield (
                f"{kind}-x{outstanding}-latency",
                draw(
                    f"Latency: {what}",
                    Axis("connections"),
                    Axis("microseconds; plain: p50, dashed: p99, dotted: p99.9"),
                    list(_latency_curves(rows)),
                ),
            )
        rows = [
            row
            for row in native
            if (row.shape["reads"], row.shape["outstanding"]) == (reads, 1)
            and row.shape["connections"] == 64
        ]
        if _lengths(rows, "value_bytes") > 1:
            yield (
                f"{kind}-values",
                draw(
                    f"Values: {_WORDS[kind]}, 64 connections, 1 outstanding",
                    Axis("bytes of a value"),
                    Axis("operations a second"),
                    list(_rate_curves(rows, "value_bytes")),
                ),
            )


def _lengths(rows: Iterable[Row], along: str) -> int:
    return len({row.shape[along] for row in rows})


def _points(
    rows: Sequence[Row], system: str, along: str, figure: str
) -> list[tuple[float, float]]:
    return [
        (row.shape[along], row.median(figure))
        for row in rows
        if row.system == system and row.values(figure)
    ]


def _rate_curves(rows: Sequence[Row], along: str) -> Iterator[Curve]:
    for system in SYSTEMS:
        yield Curve(system, system, _points(rows, system, along, "ops_per_s"))


def _latency_curves(rows: Sequence[Row]) -> Iterator[Curve]:
    for system in SYSTEMS:
        for figure, dash in _PERCENTILES.items():
            name = f"{system} {figure.removesuffix('_us').replace('p999', 'p99.9')}"
            points = _points(rows, system, "connections", figure)
            yield Curve(name, system, points, dash)


def _shown(pictures: Mapping[str, str]) -> Iterator[str]:
    if pictures:
        yield "### Pictures"
    for name in pictures:
        yield f"![{name}](benchmarks/{name}.svg)"


# -- where and with what ---------------------------------------------------------------


def _machine(report: Report) -> str:
    machine = dict(report.machine)
    memory = machine.pop("memory_bytes", 0)
    lines = [f"- {word.replace('_', ' ')}: {machine[word]}" for word in machine]
    lines.append(f"- memory: {memory / (1 << 30):.0f} GiB")
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    lines += [f"- versions: {versions}", f"- repeat it: `{report.command}`"]
    for skip in report.skipped:
        row = "everything" if skip.row == "*" else f"`{skip.row}`"
        lines.append(
            f"- not measured: {row} of {skip.system}: {shorten(skip.why, 160)}"
        )
    return "\n".join(lines)
