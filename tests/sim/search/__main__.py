"""
``python -m tests.sim.search`` looks at every state there is, of some worlds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from math import ceil
from pathlib import Path
from typing import Any, Final

from tests.patching import ROOT
from tests.sim import trace_page
from tests.sim.options import writable
from tests.sim.recording import Recording
from tests.sim.search.breadth import Breadth, Found
from tests.sim.search.page import ToldModel
from tests.sim.search.stages import ALL, BY_NAME
from tests.sim.search.walk import walk
from tests.sim.search.words import NoAction, actions_of, line_of, replay
from wire.output import piped

TESTING: Final = ROOT / "docs" / "testing.md"
BEGIN: Final = "<!-- search:begin -->"
END: Final = "<!-- search:end -->"
HEAD: Final = "| configuration | begins where | states | depth |"


def main() -> int:
    """Say what was found -> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.search")
    parser.add_argument("--config", metavar="NAME,...", help="which; default: all")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--seconds", type=_positive, help="for each, at most")
    parser.add_argument("--states", type=_positive, help="for each, at most")
    parser.add_argument("--walk", action="store_true", help="random ways instead")
    parser.add_argument("--seed", type=int, default=1, help="for random ways")
    parser.add_argument("--jobs", type=_positive, default=1, help="at the same time")
    parser.add_argument("--replay", metavar="ACTIONS", help="do just this")
    parser.add_argument(
        "--trace", metavar="FILE", type=writable, help="write a way as a page"
    )
    parser.add_argument("--write", action="store_true", help="the docs' table, too")
    parser.add_argument("--json", action="store_true", help="print a document")
    options = parser.parse_args()
    if options.list:
        for named in ALL:
            say(f"{named.config.name:16} {named.text}")
        return 0
    names = options.config.split(",") if options.config else list(BY_NAME)
    for name in names:
        if name not in BY_NAME:
            parser.error(f"no configuration {name!r}; there are {', '.join(BY_NAME)}")
    if options.replay is not None:
        if len(names) != 1:
            parser.error("--replay needs one --config NAME")
        try:
            return _replay(names[0], options.replay, options.trace)
        except NoAction as error:
            parser.error(f"--replay: {error}")
    if options.trace is not None and options.json:
        parser.error("--trace and --json do not go together")
    if options.walk and not options.seconds:
        parser.error("--walk needs --seconds")
    return _search(names, options)


def _search(names: list[str], options: argparse.Namespace) -> int:
    if options.seconds and not options.json:
        say(announcement(len(names), options.jobs, options.seconds))
    arguments = [(name, options) for name in names]
    founds: list[Found] = []
    with multiprocessing.Pool(min(options.jobs, len(names))) as pool:
        for found in pool.imap_unordered(_one, arguments):
            founds.append(found)
            if not options.json:
                _tell(found, options.trace)
    wrong = [found for found in founds if found.rule]
    if options.json:
        say(json.dumps([_document(found) for found in founds], indent=2))
    else:
        states, steps = (
            sum(each) for each in zip(*(f[1:3] for f in founds), strict=True)
        )
        say(f"{states} states, {steps} steps, {len(wrong)} violations")
    if options.write:
        _write(founds)
    return 1 if wrong else 0


def announcement(count: int, jobs: int, seconds: float) -> str:
    """How long a search of so many configurations can last."""
    jobs = min(jobs, count)
    at_most = ceil(count / jobs) * seconds
    each = f"{count} configurations" if count > 1 else "one configuration"
    together = f", {jobs} at a time" if jobs > 1 else ""
    return f"{each}, up to {seconds:g} s for each{together}: up to {at_most:g} s"


def _write(founds: list[Found]) -> None:
    """Put what was found into the table of docs/testing.md."""
    by_name = {found.config: found for found in founds}
    rows = [
        f"| `{name}` | {named.text} | {_counted(by_name[name])} |"
        for name, named in BY_NAME.items()
        if name in by_name
    ]
    text = TESTING.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    table = "\n".join(("", HEAD, "|---|---|---|---|", *rows, ""))
    TESTING.write_text(before + begin + table + end + after, encoding="utf-8")


def _counted(found: Found) -> str:
    count = f"{found.states:,}".replace(",", " ")
    more = "" if found.is_exhausted else "more than "
    return f"{more}{count} | {more}{found.depth}"


def _one(arguments: tuple[str, argparse.Namespace]) -> Found:
    name, options = arguments
    model, start = BY_NAME[name].start()
    seconds = options.seconds or float("inf")
    if options.walk:
        return walk(model, start, seconds=seconds, seed=options.seed)
    states_max = options.states or float("inf")
    return Breadth(model, start).run(seconds=seconds, states_max=states_max)


def _tell(found: Found, page: Path | None) -> None:
    how = "exhausted" if found.is_exhausted else "not exhausted"
    say(
        f"{found.config:16} {found.states:9} states, {found.steps:9} steps, depth"
        f" {found.depth}, {how}; {found.futures} futures, {found.asked} steps of a"
        f" server ({found.repeated} done twice); {found.seconds:.1f} s"
    )
    if found.rule:
        _replay(found.config, line_of(found.actions), page)


def _replay(name: str, line: str, page: Path | None) -> int:
    model, start = BY_NAME[name].start()
    lines, violation = replay(model, start, actions_of(line))
    command = f"python -m tests.sim.search --config {name} --replay '{line}'"
    if page is not None:
        recording = Recording(BY_NAME[name].text, command, "step")
        told = ToldModel(BY_NAME[name].config, recording)
        told.tell(BY_NAME[name].start(told)[1], actions_of(line))
        trace_page.write(page, recording)
    say(f"begin: {BY_NAME[name].text}")
    for number, text in enumerate(lines, 1):
        say(f"{number:4}  {text}")
    if violation is None:
        say("no rule was violated")
        return 0
    say(f"violation: {violation}")
    say(f"replay: {command}")
    return 1


def _document(found: Found) -> dict[str, Any]:
    return {**found._asdict(), "actions": line_of(found.actions)}


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(piped(main))
