"""
One row of the comparison: the same writes, from the same load generator, on this
machine, in this run, to Understudy and to Redis with WAIT.

    python -m bench.row [--repeats 5] [--seconds 3] [--connections 64]
        [--outstanding 1] [--batch 1] [--value-bytes 100] [--keys 100000]
        [--only understudy|redis] [--json]

Both answer a write when one replica has it.  They take turns, on fresh processes
every time, so that whatever else the machine does falls on both alike.  What is
told in the end are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from statistics import median
from typing import Any

from bench.systems import (
    Missing,
    Redis,
    System,
    Understudy,
    busy_cores,
    compiled,
    loadgen,
    redis_server,
)

SYSTEMS: dict[str, type[System]] = {
    system.name: system for system in (Understudy, Redis)
}
FIGURES = ("ops_per_s", "p50_us", "p99_us", "p999_us", "max_us")
#: The options of loadgen, with what they are if nobody says otherwise.
SHAPE = {"connections": 64, "outstanding": 1, "batch": 1, "value-bytes": 100}
AROUND = {"seconds": 3.0, "keys": 100_000}

Row = dict[str, Any]


def main() -> int:
    options = _options()
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        names = _present(options.only)
        if (busy := busy_cores()) > 0.2:
            print(
                f"bench: others keep {busy:.1f} of {os.cpu_count()} cores busy;"
                " the figures will be low, and mostly show who yields",
                file=sys.stderr,
            )
        rows = _measure(options, names)
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    medians = {
        name: {figure: median(row[figure] for row in found) for figure in FIGURES}
        for name, found in rows.items()
    }
    shape = {word: getattr(options, word.replace("-", "_")) for word in SHAPE}
    if options.json:
        print(
            json.dumps({"shape": shape, "busy": busy, "medians": medians, "rows": rows})
        )
        return 0
    print(", ".join(f"{value} {word}" for word, value in shape.items()))
    for name, figures in medians.items():
        print(_line(name, figures))
    if len(names) == 2:
        ratio = medians["understudy"]["ops_per_s"] / medians["redis"]["ops_per_s"]
        print(f"understudy / redis: {ratio:.2f}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Understudy and Redis with WAIT under the same load, in turns."
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=SYSTEMS)
    parser.add_argument("--json", action="store_true")
    for word, value in (SHAPE | AROUND).items():
        parser.add_argument(f"--{word}", type=type(value), default=value)
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error(f"--repeats must be 1 or more, not {options.repeats}")
    return options


def _present(only: str | None) -> list[str]:
    """The systems that can be measured here.  Raises `Missing`."""
    compiled()
    if only == "redis":
        redis_server()
    if only is not None:
        return [only]
    try:
        redis_server()
    except Missing as missing:
        print(f"bench: {missing}; measuring Understudy alone", file=sys.stderr)
        return ["understudy"]
    return list(SYSTEMS)


def _measure(options: argparse.Namespace, names: list[str]) -> dict[str, list[Row]]:
    words = [
        text
        for word in SHAPE | AROUND
        for text in (f"--{word}", str(getattr(options, word.replace("-", "_"))))
    ]
    rows: dict[str, list[Row]] = {name: [] for name in names}
    for repeat in range(options.repeats):
        # Who goes first changes, too.
        for name in names if repeat % 2 == 0 else names[::-1]:
            with SYSTEMS[name]() as system:
                row = loadgen(system, *words)
            rows[name].append(row)
            print(f"{repeat + 1}: {_line(name, row)}", file=sys.stderr, flush=True)
    return rows


def _line(name: str, row: Row) -> str:
    return (
        f"{name:<11}{row['ops_per_s']:>9,.0f} op/s   latency us:"
        f" {row['p50_us']:,.0f} median, {row['p99_us']:,.0f} p99,"
        f" {row['p999_us']:,.0f} p99.9, {row['max_us']:,.0f} longest"
    )


if __name__ == "__main__":
    sys.exit(main())
