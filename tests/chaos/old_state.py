"""
A view service with an old state, no state, or none on disk, beside living servers.

Each try runs real processes: a cluster serves a key through some views; its view
service is killed, and started again with its state file rolled back, lost, or never
written (`--volatile`).  The servers call late and in any order, and fresh, empty
ones call as well.  Then no counter may name two views, no empty service may be
founded beside the data, and no clerk may read anything but what was written.  With
the newest file in its place all goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from client import BlockingClerk, ClerkError
from tests.chaos.figures import say
from tests.processes import Found, Service, service, wait_for
from understudy.daemons import Daemon
from viewservice.options import Settings

KEY: Final = "precious"
KINDS: Final = ("rolled back", "lost", "volatile")
INTERVALS_MS: Final = (20, 50, 100)
DEAD_PINGS: Final = (3, 5)

#: Of the margin: when the last server is let go on.  What is left is for one
#: failed attempt of it, the pause after that, and a busy machine.
LATEST: Final = 0.3


def run(directory: Path, seed: int, tries: int) -> bool:
    """So many tries -> whether all promises were kept."""
    found: Counter[str] = Counter()
    for number in range(1, tries + 1):
        random = Random(f"{seed} {number}")
        inside = directory / str(number)
        inside.mkdir()
        problems = list(_try(inside, random, found))
        for problem in problems:
            say(f"try {number}: {problem}")
        if problems:
            found["wrong"] += 1
        else:
            for path in inside.iterdir():
                path.unlink()
            inside.rmdir()
    told = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
    say(f"{tries} tries: {told}")
    return not found["wrong"]


def _try(directory: Path, random: Random, found: Counter[str]) -> Iterator[str]:
    """One try -> what was wrong in it."""
    kind = random.choice(KINDS)
    interval_ms, dead_pings = random.choice(INTERVALS_MS), random.choice(DEAD_PINGS)
    options = ["--ping-interval-ms", str(interval_ms), "--dead-pings", str(dead_pings)]
    if kind == "volatile":
        options.append("--volatile")
    settings = Settings(ping_interval_ms=interval_ms, dead_pings=dead_pings)
    margin_s = settings.margin_ticks * interval_ms / 1000
    with service(directory, ("s1", "s2"), options) as running:
        state = directory / "viewservice.json"
        copies = list(_live(running, state, random))
        newest = state.read_bytes() if state.exists() else b""
        before = running.status()
        running.views.kill()
        if kind == "rolled back":
            state.write_bytes(random.choice(copies))
        elif kind == "lost":
            state.unlink()
        fresh = [running.cluster.add(f"new{n}") for n in range(random.randrange(3))]
        late = random.sample(
            list(running.cluster.servers.values()), random.randrange(3)
        )
        for daemon in late:
            daemon.pause()
        running.views.start()
        begun_s = time.monotonic()
        for daemon in late:
            time.sleep(margin_s * LATEST / len(late) * random.random())
            daemon.wake()
        yield from _look_on(running, begun_s + margin_s + 1.0)
        after = running.status()
        what = "memory lost" if after["memory_lost"] else after["waiting"]
        code = what["code"] if isinstance(what, dict) else what or "went on"
        found[f"{kind}: {code}"] += 1
        yield from _views(running, before, after)
        if newest and kind != "volatile":
            running.views.kill()
            state.write_bytes(newest)
            running.views.start()
            yield from _goes_on(running)
        for daemon in fresh:
            daemon.kill()


def _live(running: Service, state: Path, random: Random) -> Iterator[bytes]:
    """Serve through some views -> what the state file was in the meantime."""
    _whole(running)
    with running.clerk() as clerk:
        clerk.put(KEY, "0")
        for turn in range(1, random.randrange(2, 4)):
            if state.exists():
                yield state.read_bytes()
            primary = running.status()["view"]["primary"]
            victim = running.cluster.servers[primary]
            victim.kill()
            clerk.put(KEY, str(turn))
            victim.start()
            _whole(running)
    if state.exists() and random.randrange(2):
        yield state.read_bytes()


def _whole(running: Service) -> None:
    def is_whole(status: Found) -> bool:
        view = status["view"]
        return bool(view["acknowledged"] and len(view["backups"]) == 1)

    running.until(is_whole, "two servers in step")


def _look_on(running: Service, until_s: float) -> Iterator[str]:
    """Until then no clerk reads anything but what was written."""
    written = {str(turn).encode() for turn in range(9)}
    while time.monotonic() < until_s:
        clerk = BlockingClerk(running.address)
        try:
            value = clerk.get(KEY, timeout=0.3)
            if value not in written:
                yield f"a clerk reads {value!r}"
                return
        except ClerkError:
            time.sleep(0.02)
        finally:
            clerk.close(timeout=0.1)


def _views(running: Service, before: Found, after: Found) -> Iterator[str]:
    """What the view services have created, and what this one says now."""
    made: dict[tuple[str, int], set[str]] = {}
    for daemon in running.cluster.all():
        for event in _all_events(daemon):
            if event["event"] in {"view.made", "view.adopted"}:
                key = event["cluster"], event["number"]
                made.setdefault(key, set()).add(event["id"])
    for (_, number), ids in made.items():
        if len(ids) > 1:
            yield f"counter {number} names the views {sorted(ids)}"
    is_other = after["cluster"] != before["cluster"]
    if is_other and after["view"]["acknowledged"]:
        yield f"an empty service was founded beside the data: {after['view']}"


def _all_events(daemon: Daemon) -> list[Found]:
    """What it has logged in all its lives."""
    daemon._at, daemon._events = 0, []
    return daemon.events()


def _goes_on(running: Service) -> Iterator[str]:
    """With the newest state all goes on."""

    def reads() -> bytes | None:
        with running.clerk(1) as clerk:
            try:
                return clerk.get(KEY)
            except ClerkError:
                return None

    wait_for(reads, "a clerk to read again with the newest state")
    if running.status()["memory_lost"]:
        yield "the newest state is taken for an old one"
