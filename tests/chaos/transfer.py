"""
A large state moves to a newcomer while writes go on; then the source is killed.

Everything is there, and nothing noticed the move: no view changes but the one
that let the newcomer in, and no clerk waits long.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.chaos.crew import Crew
from tests.chaos.figures import RECOVERY_S_MAX, finals_of, judge, say
from tests.processes import ROOT, Found, Service, service, wait_for
from understudy.history import Record
from understudy.load import now_ns
from understudy.status import is_safe

#: The longest that filling, moving or comparing may take, seconds.
BULK_S_MAX = 180.0


def run(directory: Path, seed: int, keys: int) -> bool:
    """Once -> whether all promises were kept."""
    with service(directory, ("s1",)) as running:
        running.until(lambda found: found["view"]["acknowledged"], "s1 to serve")
        say(f"{keys} keys of 100 bytes written in {_bulk(running, 'fill', keys):.1f} s")
        crew = Crew(directory, running.address, seed, think_ms=1.0)
        try:
            crew.wait_until_all_answered()
            before = running.status()["view"]["number"]
            moved_s = _move(running, crew)
            found = running.status()
            _same(before + 1, found["view"]["number"], "no view change by the transfer")
            recovery_ns = _kill_source(running, crew)
            say(f"source killed: every clerk answered in {recovery_ns / 1e6:.0f} ms")
            crew.wait_until_all_answered()
            crew.stop()
        except BaseException as error:
            error.add_note(crew.last_words())
            raise
        finally:
            crew.kill()
        say(f"moved in {moved_s:.1f} s; longest gap of a clerk {_gap_ms(crew)} ms")
        say(f"all {keys} keys compared in {_bulk(running, 'compare', keys):.1f} s")
        verdict = judge(crew.records, finals_of(running, crew.records))
        return verdict.is_right


def _bulk(running: Service, what: str, keys: int) -> float:
    began = time.monotonic()
    done = subprocess.run(
        (
            *(sys.executable, "-m", "tests.chaos.bulk", what),
            *("--views", running.address, "--count", str(keys)),
        ),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        timeout=BULK_S_MAX,
        check=True,
    )
    _same(keys, int(done.stdout), f"keys to {what}")
    return time.monotonic() - began


def _move(running: Service, crew: Crew) -> float:
    began = time.monotonic()
    running.cluster.add("s2")

    def is_there(found: Found) -> bool:
        crew.look()
        return is_safe(found)

    running.until(is_there, "s2 to have everything", BULK_S_MAX)
    return time.monotonic() - began


def _kill_source(running: Service, crew: Crew) -> int:
    crew.forget()
    running["s1"].kill()
    struck_ns = now_ns()
    return wait_for(
        lambda: crew.recovery_ns(struck_ns),
        "every clerk to be answered by s2",
        RECOVERY_S_MAX,
    )


def _gap_ms(crew: Crew) -> int:
    """The longest that an operation took, of those that were answered."""
    durations = [_duration_ns(record) for record in crew.records]
    return round(max(durations) / 1e6)


def _duration_ns(record: Record) -> int:
    return record.ended_ns - record.began_ns


def _same(expected: object, found: object, what: str) -> None:
    assert expected == found, f"{what}: expected {expected}, found {found}"
