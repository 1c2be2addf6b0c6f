"""
What a run of the bench has found: rows, and the file that they are kept in.

A file holds one `Report`, of one part of the bench (`load`, `growth`, `failover`,
`transfer`), as JSON.  A `Row` is one system under one load: everything that was
asked for is in *shape*, and every repeat has its figures, so that nothing which a
page or a picture says has to be believed.  Medians and ratios are computed from
the repeats wherever they are shown, and stored nowhere.

A figure's name ends in its unit: ``ops_per_s``, ``p99_us``, ``gap_ms``,
``resident_bytes``.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

from attrs import asdict, define, field, frozen

#: Where the results are that `docs/benchmarks.md` is made of.
DIRECTORY: Final = Path(__file__).with_name("results")
FORMAT: Final = 1

Figures = Mapping[str, float]
Shape = Mapping[str, Any]


@frozen
class Row:
    """One system under one load."""

    #: What load this is; the same for every system that can be compared in it.
    name: str
    system: str
    #: What was asked for: ``{"connections": 64, "value_bytes": 100, ...}``.
    shape: Shape
    #: What came out, once for each repeat.
    repeats: list[Figures] = field(factory=list)

    def median(self, figure: str) -> float:
        """Of the repeats that have this figure.  Raises KeyError if none has."""
        found = self.values(figure)
        if not found:
            raise KeyError(f"{self.name} of {self.system} has no {figure}")
        return median(found)

    def values(self, figure: str) -> list[float]:
        return [each[figure] for each in self.repeats if figure in each]


@frozen
class Skip:
    """A row, or all of a system's, that was not measured, and why."""

    row: str
    system: str
    why: str


@define
class Report:
    """What one run has found."""

    part: str
    #: What the run was asked for, for whoever wants to repeat it.
    command: str = ""
    machine: Mapping[str, Any] = field(factory=dict)
    #: By system, as it calls itself: ``{"redis": "7.0.15"}``.
    versions: dict[str, str] = field(factory=dict)
    rows: list[Row] = field(factory=list)
    skipped: list[Skip] = field(factory=list)

    def row(self, name: str, system: str, shape: Shape | None = None) -> Row:
        """That row; if there is none yet, it is begun with *shape*.
        Raises KeyError if there is none, and no shape."""
        for row in self.rows:
            if (row.name, row.system) == (name, system):
                return row
        if shape is None:
            raise KeyError(f"no row {name} of {system}")
        self.rows.append(Row(name, system, dict(shape)))
        return self.rows[-1]

    def add(self, name: str, system: str, shape: Shape, figures: Figures) -> Row:
        """One more repeat of that row."""
        row = self.row(name, system, shape)
        row.repeats.append(dict(figures))
        return row

    def of(self, name: str) -> dict[str, Row]:
        """The rows of that name by system."""
        return {row.system: row for row in self.rows if row.name == name}

    def names(self) -> list[str]:
        """Of the rows, each once, in the order in which they were begun."""
        return list(dict.fromkeys(row.name for row in self.rows))

    def ratio(self, name: str, figure: str, over: str, of: str) -> float:
        """How *of*'s median compares with *over*'s.  Raises KeyError."""
        rows = self.of(name)
        least = rows[over].median(figure)
        return rows[of].median(figure) / least if least else inf

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ValueError if that is no report."""
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise ValueError(f"{path.name} is no report of format {FORMAT}")
        found["rows"] = [Row(**row) for row in found["rows"]]
        found["skipped"] = [Skip(**skip) for skip in found["skipped"]]
        return cls(**found)


def reports(directory: Path = DIRECTORY) -> dict[str, Report]:
    """Those that are kept in *directory*, by part."""
    found = [Report.load(path) for path in sorted(directory.glob("*.json"))]
    return {report.part: report for report in found}


def machine(busy_cores: float | None = None) -> dict[str, Any]:
    """What this runs on, as far as it matters; *busy_cores* are those that
    something else kept busy when the run began."""
    return {
        "processor": next(_lines("/proc/cpuinfo", "model name"), platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _commit(),
        "busy_cores": busy_cores,
    }


def percentiles(values: Iterable[float], unit: str) -> dict[str, float]:
    """p50, p99, p999 and max of *values*, named with *unit*; empty of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {
        f"{name}_{unit}": ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        for name, share in shares.items()
    }


def _lines(path: str, word: str) -> Iterator[str]:
    for line in Path(path).read_text().splitlines():
        if line.startswith(word):
            yield line.partition(":")[2].strip()


def _commit() -> str:
    """Of the code that was measured; empty outside of a clone."""
    if (git := shutil.which("git")) is None:
        return ""
    done = subprocess.run(
        [git, "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
