"""
`docs/benchmarks.md`, made of what is kept in `bench/results/` and nothing else.

Each part of the bench has a section of its own; whoever adds a part adds it to
`SECTIONS`.  What a single run says on a terminal is here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from bench import page_failover, page_growth, page_load, page_transfer
from bench.results import Report
from bench.rows import Load
from bench.section import Section

PAGE: Final = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PICTURES: Final = PAGE.with_suffix("")

#: By part, in the order of the page.
SECTIONS: Final[dict[str, Callable[[Report], Section]]] = {
    "load": page_load.section,
    "growth": page_growth.section,
    "failover": page_failover.section,
    "transfer": page_transfer.section,
}

_HEAD: Final = """\
# Benchmarks

<!-- Written by `python -m bench --write-docs`; edit bench/page*.py instead. -->

Understudy and what its users would otherwise pick, measured on one machine, each
fresh, replicated and on loopback. Absolute figures of a small shared machine mean
little; what counts is the ratio of two systems in the same row of the same run.

```
apt-get install gcc redis-server etcd-server zookeeper
make bench-peers   # the Python packages
make bench         # the core rows; OPTIONS=--all: all of `python -m bench --list`
```

`make bench` installs nothing; it says whom it found, how to get who is missing, and
goes on without them.
"""


def render(kept: Mapping[str, Report]) -> tuple[str, dict[str, str]]:
    """-> the page, and its pictures by name.  Raises KeyError of a part that has
    no section."""
    unknown = kept.keys() - SECTIONS.keys()
    if unknown:
        raise KeyError(f"no section for {', '.join(sorted(unknown))}")
    sections = [make(kept[part]) for part, make in SECTIONS.items() if part in kept]
    text = "\n".join([_HEAD, *(section.text.strip() + "\n" for section in sections)])
    pictures = {
        name: svg for section in sections for name, svg in section.pictures.items()
    }
    return text, pictures


def write(kept: Mapping[str, Report]) -> Iterator[Path]:
    """-> the files, as they are written; pictures of an earlier run go."""
    text, pictures = render(kept)
    PICTURES.mkdir(exist_ok=True)
    for left in PICTURES.glob("*.svg"):
        if left.stem not in pictures:
            left.unlink()
    for name, svg in pictures.items():
        path = PICTURES / f"{name}.svg"
        path.write_text(svg, encoding="utf-8")
        yield path
    PAGE.write_text(text, encoding="utf-8")
    yield PAGE


# -- on a terminal -------------------------------------------------------------------


def summary(report: Report) -> Iterator[str]:
    """Medians of each row, and how Understudy compares."""
    yield f"{'medians, op/s':<24}{'system':<11}{'op/s':>10}{'p50 us':>9}{'p99 us':>9}"
    for name in report.names():
        rows = report.of(name)
        for system, row in rows.items():
            words = f"{name:<24}{system:<11}{row.median('ops_per_s'):>10,.0f}"
            for figure in ("p50_us", "p99_us"):
                found = row.values(figure)
                words += f"{row.median(figure):>9,.0f}" if found else f"{'-':>9}"
            if system != "understudy" and "understudy" in rows:
                ratio = report.ratio(name, "ops_per_s", over=system, of="understudy")
                words += f"   understudy is at {ratio:.2f} x"
            yield words
    for skip in report.skipped:
        what = "all rows" if skip.row == "*" else skip.row
        yield f"not measured: {what} of {skip.system}: {skip.why}"


def told(load: Load) -> str:
    """A load in words."""
    kind = {0: "puts", 100: "gets"}.get(load.reads, f"{load.reads} % gets, else puts")
    if load.is_native:
        where = f"{load.connections} connections, {load.outstanding} outstanding each"
    else:
        how = "collected" if load.is_collected else "outstanding"
        where = f"one Python program, {load.outstanding} {how}"
    return f"{where}: {kind} of {load.value_bytes} bytes"
