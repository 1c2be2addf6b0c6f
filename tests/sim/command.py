"""
What ``python -m tests.sim`` does, once it is known what was typed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from random import SystemRandom

from twisted.logger import globalLogBeginner

from tests.sim import trace_page
from tests.sim.crowd import fresh, results
from tests.sim.recording import Recording
from tests.sim.run import Result, run
from tests.sim.shrink import shrink
from tests.sim.tally import Finding, Tally

#: How long the least of a world may be looked for: unasked, and if asked for.
UNASKED_S = 20
ASKED_S = 300


def live(options: argparse.Namespace) -> int:
    """Let worlds live, and say what was found -> the exit code."""
    # What processes log is for the story; nothing of it is kept or printed here.
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    say = _silent if options.json else _say
    seeds: Iterable[int] = options.seeds or ()
    if options.seconds is not None:
        first = SystemRandom().randrange(10**9)
        say(f"from seed {first}")
        seeds = fresh(first, options.seconds)
    began_s = time.monotonic()
    kinds = options.excerpt.kinds
    tally = Tally() if kinds is None else Tally(kinds)
    if options.seed is not None:
        found: Iterable[Result] = [_one(options)]
    else:
        found = results(seeds, jobs=options.jobs, excerpt=options.excerpt)
    is_whole = True
    try:
        for result in found:
            _tell(result, options, tally, say)
            if tally.findings and options.first:
                break
    except KeyboardInterrupt:
        is_whole = False
        sys.stderr.write("interrupted; what there was by then:\n")
    if options.trace is not None:
        _show(options, tally)
    took_s = time.monotonic() - began_s
    if options.json:
        _say(json.dumps(tally.document(took_s), indent=2))
    else:
        _say("\n".join(tally.lines(took_s)))
    if tally.findings:
        return 1
    return 0 if is_whole else 130


def _tell(
    result: Result,
    options: argparse.Namespace,
    tally: Tally,
    say: Callable[[str], None],
) -> None:
    """How one world ended."""
    tally.add(result)
    if options.seed is not None:
        say(f"trace {result.trace:08x}")
        if result.why and result.violation is None:
            say(f"{result.ending}: {result.why}")
    if result.violation is not None:
        finding = _finding(result, options, is_first=not tally.findings)
        tally.findings.append(finding)
        say("\n".join(finding.lines()))


def _one(options: argparse.Namespace) -> Result:
    return run(
        options.seed,
        excerpt=options.excerpt,
        story=_say if options.story else None,
    )


def _show(options: argparse.Namespace, tally: Tally) -> None:
    """Write that world as a page; of one that fails, the least that still does."""
    excerpt = options.excerpt
    if tally.findings:
        excerpt = tally.findings[0].least or excerpt
    command = f"python -m tests.sim --seed {options.seed}{excerpt.options()}"
    recording = Recording(
        f"The world of seed {options.seed}", f"{command} --trace {options.trace}"
    )
    run(options.seed, excerpt=excerpt, observer=recording)
    trace_page.write(options.trace, recording)


def _finding(result: Result, options: argparse.Namespace, *, is_first: bool) -> Finding:
    """A violation; the first of many is made small, and one that is replayed
    as it was printed is not."""
    finding = Finding(result, options.excerpt)
    if options.shrink or (is_first and not options.story and options.only is None):
        seconds = ASKED_S if options.shrink else UNASKED_S
        finding.least, finding.shrunk = shrink(result, options.excerpt, seconds)
    return finding


def _say(text: str) -> None:
    """One line, or several."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _silent(text: str) -> None:
    """Nothing else is printed beside a document."""
