"""
Ten times as much as the service can take, for a minute.

Clients that pipeline without bound each saturate the primary alone; ten of them
write, and a few more ask for large values and never read an answer.  Meanwhile
ordinary clerks go on: each of their calls ends as done or with a typed error, the
servers' memory stays bounded, and within five seconds of the end the service is as
fast as before.  The machine itself is not equally fast all the time, so this is
measured against a second service beside it, which is not flooded.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import median
from typing import Final

from client.blocking import BlockingClerk
from tests.chaos.crew import Crew
from tests.chaos.figures import RECOVERY_S_MAX, finals_of, judge, say
from tests.chaos.flood import LARGE_BYTES, LARGE_KEY
from tests.processes import Service, service
from understudy.daemons import Daemon

#: Clients that write without bound: each alone offers more than is taken.
WRITERS: Final = 10
#: Clients that never read what they are told.
MUTES: Final = 4

#: What a server may occupy, in bytes: all of the bounds of docs/operations.md that
#: an overload can reach, once (the log that is kept, what is unanswered, unaccepted,
#: and unsent to all callers), what decoding and joining them takes on top, and the
#: process itself.
RESIDENT_MAX: Final = (64 + 32 + 16 + 512 + 192 + 128) << 20

#: How fast, of its speed before, the service must be again.
SPEED_SHARE: Final = 0.8
#: A speed is measured in so many slices of so many seconds, in turns with the other
#: service.
SLICES: Final = 8
SLICE_S: Final = 0.0625


def run(directory: Path, seed: int, seconds: float) -> bool:
    """Once -> whether all promises were kept."""
    (directory / "calm").mkdir(parents=True)
    with service(directory) as running, service(directory / "calm") as calm:
        calm.safe()
        before_view = running.safe()["view"]["number"]
        with running.clerk() as clerk:
            clerk.put(LARGE_KEY, b"v" * LARGE_BYTES)
        crew = Crew(directory, running.address, seed)
        flood = _flood(directory, running.address)
        try:
            crew.wait_until_all_answered()
            before = median(_speed(running, calm) for _ in range(9))
            say(f"before: {before:.2f} of the speed of a service without other clerks")
            worst = _overload(running, flood, seconds)
            again_s = _recover(running, calm, SPEED_SHARE * before)
            say(f"as fast as before after {again_s:.1f} s")
            crew.wait_until_all_answered()
            crew.stop()
        except BaseException as error:
            error.add_note(crew.last_words())
            raise
        finally:
            for each in (*flood, crew):
                each.kill()
        is_bounded = max(worst.values()) <= RESIDENT_MAX
        for name, resident in sorted(worst.items()):
            say(f"{name}: {resident >> 20} MiB at most, of {RESIDENT_MAX >> 20} MiB")
        number = running.status()["view"]["number"]
        say(f"view {before_view} before, {number} after")
        verdict = judge(crew.records, finals_of(running, crew.records))
    return verdict.is_right and is_bounded and again_s <= RECOVERY_S_MAX


def _flood(directory: Path, views: str) -> list[Daemon]:
    return [
        Daemon(
            f"{kind}{number}",
            (sys.executable, "-m", "tests.chaos.flood", kind, "--views", views),
            directory / f"{kind}{number}.log",
        )
        for kind, count in (("writes", WRITERS), ("mute", MUTES))
        for number in range(count)
    ]


def _overload(running: Service, flood: list[Daemon], seconds: float) -> dict[str, int]:
    """Let them loose -> the most that each process occupied, in bytes."""
    worst: dict[str, int] = {}
    began = time.monotonic()
    commit = _commit(running)
    for each in flood:
        each.start()
    while (passed := time.monotonic() - began) < seconds:
        for daemon in running.cluster.all():
            worst[daemon.name] = max(worst.get(daemon.name, 0), resident(daemon.pid))
        time.sleep(0.1)
    for each in flood:
        assert each.is_running(), each.last_words()
    batches = _commit(running) - commit
    for each in flood:
        each.kill()
    say(f"overload: {batches / passed:,.0f} batches/s for {passed:.0f} s")
    return worst


def _commit(running: Service) -> int:
    return max(
        (each["position"]["commit"] for each in running.status()["servers"]
         if each["position"]), default=0,
    )  # fmt: skip


def _recover(running: Service, calm: Service, wanted: float) -> float:
    """Until one clerk is so fast again -> after how many seconds."""
    began = time.monotonic()
    while _speed(running, calm) < wanted:
        if time.monotonic() - began > 10 * RECOVERY_S_MAX:
            break
    return time.monotonic() - began


def _speed(running: Service, calm: Service) -> float:
    """How many calls a clerk gets through, one after the other, for each one of a
    clerk of the *calm* service."""
    calls, calm_calls = 0, 0
    with running.clerk() as clerk, calm.clerk() as calm_clerk:
        # Their connections and sessions are no part of it.
        clerk.put(b"speed", b"")
        calm_clerk.put(b"speed", b"")
        for _ in range(SLICES):
            calls += _calls(clerk)
            calm_calls += _calls(calm_clerk)
    return calls / calm_calls


def _calls(clerk: BlockingClerk) -> int:
    calls = 0
    end = time.monotonic() + SLICE_S
    while time.monotonic() < end:
        clerk.put(b"speed", b"%d" % calls)
        calls += 1
    return calls


def resident(process: int) -> int:
    """Bytes of memory that a process occupies."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    words = next(line for line in lines if line.startswith("VmRSS:")).split()
    return int(words[1]) * 1024
