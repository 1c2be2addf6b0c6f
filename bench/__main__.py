"""
Understudy and what others would pick, side by side, on this machine, in this run.

    python -m bench [--rows NAME,...] [--peers NAME,...] [--seconds S] [--repeats N]
        [--json FILE] [--quick | --all] [--keep] [--list] [--write-docs]

It installs nothing, says which peers it found and how to get the missing ones, and
goes on without them; one that was asked for by name must be there.  --keep writes
the results to `bench/results/`, and makes `docs/benchmarks.md` and its pictures of
all that is there, which --write-docs does alone.

Exit codes: 0 done, 1 something that was measured failed, 2 usage, or something that
was asked for is missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import page, run
from bench.loadgen import compiled
from bench.peers import SYSTEMS
from bench.results import DIRECTORY, Report, Skip, machine, reports
from bench.rows import CORE, LOADS, QUICK, Load
from bench.systems import Missing
from wire.output import piped


def main(arguments: Sequence[str] | None = None) -> int:
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options(arguments)
    try:
        if options.list:
            return _list()
        if options.write_docs:
            return _write_docs()
        return _measure(options)
    except Missing as missing:
        _say(f"bench: {missing}")
        return 2
    except KeyboardInterrupt:
        _say("bench: interrupted")
        return 130


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", type=_names(LOADS, "row"), help="see --list")
    which.add_argument("--quick", action="store_true", help="a few rows, for a moment")
    which.add_argument("--all", action="store_true", help="every row there is")
    parser.add_argument("--peers", type=_names(SYSTEMS, "peer"))
    parser.add_argument("--seconds", type=_above(float, 0.01), help="for each figure")
    parser.add_argument("--repeats", type=_above(int, 1), help="of everything")
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--keep", action="store_true", help="as what the page tells")
    parser.add_argument("--list", action="store_true", help="the rows and the systems")
    parser.add_argument("--write-docs", action="store_true", help="from what is kept")
    options = parser.parse_args(arguments)
    if options.keep and (options.rows or options.quick or options.peers):
        parser.error("--keep wants all systems, and the core rows or --all")
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json: there is no directory {options.json.parent}")
    return options


def _names(known: Iterable[str], what: str) -> Any:
    def parsed(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown {what} {name!r}; python -m bench --list shows them"
                )
        if not names:
            raise argparse.ArgumentTypeError(f"name a {what}")
        return names

    return parsed


def _above(kind: type[float], least: float) -> Any:
    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not least <= value <= 86_400:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {text}")
        return value

    return parsed


# -- measuring -----------------------------------------------------------------------


def _measure(options: argparse.Namespace) -> int:
    loads = _loads(options)
    compiled()
    names = [name for name in SYSTEMS if name in _asked(options)]
    versions, missing = run.found(names)
    _introduce(versions, missing)
    if options.peers and missing:
        return 2
    busy = busy_cores()
    if busy > 0.2:
        _say(
            f"bench: others keep {busy:.1f} of {os.cpu_count()} cores busy; the figures"
            " will be low, and mostly show who yields"
        )
    report = Report("load", _command(options), machine(busy), versions)
    report.skipped += [Skip("*", name, why) for name, why in missing.items()]
    seconds = options.seconds or (0.3 if options.quick else 1.5)
    rounds = options.repeats or (1 if options.quick else 4)
    is_whole = run.measure(report, loads, rounds, seconds, _say)
    for path in filter(None, (options.json, _kept(options))):
        report.save(path)
    print("\n".join(page.summary(report)))
    if options.keep:
        _write_docs()
    return 0 if is_whole else 1


def _loads(options: argparse.Namespace) -> list[Load]:
    if options.all:
        return list(LOADS.values())
    return [LOADS[n] for n in options.rows or (QUICK if options.quick else CORE)]


def _asked(options: argparse.Namespace) -> set[str]:
    return {"understudy", *(options.peers or SYSTEMS)}


def _kept(options: argparse.Namespace) -> Path | None:
    return DIRECTORY / "load.json" if options.keep else None


def _command(options: argparse.Namespace) -> str:
    words = ["python -m bench"]
    for word in ("rows", "peers", "seconds", "repeats"):
        if (value := getattr(options, word)) is not None:
            text = ",".join(value) if isinstance(value, list) else str(value)
            words.append(f"--{word} {text}")
    words += [f"--{word}" for word in ("quick", "all") if getattr(options, word)]
    return " ".join(words)


def _introduce(versions: dict[str, str], missing: dict[str, str]) -> None:
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    _say(f"found: {found}")
    for name, why in missing.items():
        _say(f"skipped: {name}: {why}")


def _list() -> int:
    for name, load in LOADS.items():
        print(f"{name:<26}{page.told(load)}{'  (core)' if name in CORE else ''}")
    print()
    for name, system in SYSTEMS.items():
        print(f"{name:<11}{system.title}")
    return 0


def _write_docs() -> int:
    try:
        kept = reports()
    except (ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise Missing(
            f"what is kept in bench/results makes no sense: {error}"
        ) from None
    if not kept:
        raise Missing("nothing is kept in bench/results yet; try: make bench")
    for path in page.write(kept):
        _say(f"written: {path}")
    return 0


def busy_cores(seconds: float = 0.5) -> float:
    """How many cores everything on this machine keeps busy at the moment."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    elapsed = sum(after) - sum(before)
    # Fields 3 and 4: idle, and idle with a disk awaited.
    idle = sum(after[3:5]) - sum(before[3:5])
    return (os.cpu_count() or 1) * (1 - idle / max(elapsed, 1))


def _ticks() -> list[int]:
    with Path("/proc/stat").open() as lines:
        # Behind the eighth, the fields are counted in others already.
        return [int(word) for word in lines.readline().split()[1:9]]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(piped(main))
