"""
The longest time without an answer that one client sees when the leader is struck.

    python -m bench.failover [--kills 100] [--stops 30] [--ping-interval-ms 100 20]
        [--against sentinel etcd] [--peer-kills 20] [--peer-stops 5] [--json FILE]

Every system runs as three processes that may lead (`bench.fleets`), fresh.  One
client writes, one call after another; the leader is killed (SIGKILL) or stopped
(SIGSTOP) at any moment while all is well; the gap is the longest time between two
answers around that.  Then whoever was struck is started again, or goes on, and the
next strike waits until all is well again.  After six strikes the system is started
afresh: a server that loses its place a third time waits for the next one.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from bench.__main__ import busy_cores
from bench.fleets import (
    EtcdFleet,
    Fleet,
    SentinelFleet,
    Unanswered,
    UnderstudyFleet,
    Writer,
)
from bench.peers import versions
from bench.results import Report, Row, Skip, machine, percentiles
from bench.systems import Missing
from wire.output import piped

#: Between two writes, so that what is measured has a core to itself.
PAUSE_S: Final = 0.001

#: The longest that a gap may be, and that all may take to be well again, seconds.
GAP_S_MAX: Final = 60.0

#: Answers to writes that were begun after the strike, before the gap counts as over.
ANSWERS: Final = 10

#: Strikes before the system is started afresh: of three servers each may be struck
#: twice before one has to wait for its place (``docs/design.md``, section 4, rule 15).
STRIKES_MAX: Final = 6

COUNTS: Final = {"kills": 100, "stops": 30, "peer-kills": 20, "peer-stops": 5}

#: Per peer: its fleets, the documented defaults or what is usual, and then tuned.
PEERS: Final[dict[str, tuple[Callable[[], Fleet], ...]]] = {
    # 500 ms is the least that its users speak of; 100 ms is what it still stands.
    "sentinel": (lambda: SentinelFleet(500), lambda: SentinelFleet(100)),
    # The election timeout is to be ten heartbeats, and no less than 10 round trips.
    "etcd": (lambda: EtcdFleet(100, 1000), lambda: EtcdFleet(10, 100)),
}


class Stream(threading.Thread):
    """Writes without end; when each was begun and answered."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(daemon=True)
        self.answered: list[tuple[float, float]] = []
        self._writer = writer
        self._is_ending = False
        self.start()

    def run(self) -> None:
        number = 0
        while not self._is_ending:
            number += 1
            begun = time.monotonic()
            try:
                self._writer.write(b"key:%08d" % (number % 1000))
            except Unanswered:
                pass
            else:
                self.answered.append((begun, time.monotonic()))
            time.sleep(PAUSE_S)

    def end(self) -> None:
        self._is_ending = True
        self.join(GAP_S_MAX)
        self._writer.close()

    def wait_for_answers(self, moment: float) -> None:
        """To as many writes as will do that were begun after *moment*."""
        end = time.monotonic() + GAP_S_MAX
        while [begun > moment for begun, _ in self.answered[-ANSWERS:]].count(
            True
        ) < ANSWERS:
            if time.monotonic() > end:
                raise RuntimeError(f"no answer within {GAP_S_MAX:g} s")
            time.sleep(0.005)

    def longest_s(self, begin: float, end: float) -> float:
        """The longest that a write took which was under way between these."""
        return max(
            answered - begun
            for begun, answered in self.answered
            if answered > begin and begun < end
        )

    def gap_s(self, moment: float) -> float:
        """The longest time between two answers since the last before *moment*."""
        ends = [end for _, end in self.answered]
        first = next((at for at, end in enumerate(ends) if end > moment), len(ends))
        around = ends[max(first - 1, 0) :]
        return max(b - a for a, b in itertools.pairwise(around))


def strikes(
    make: Callable[[], Fleet], random: Random, kills: int, stops: int
) -> Iterator[tuple[str, float]]:
    """Strike so often -> each strike, and its gap in milliseconds."""
    hows = ("kill",) * kills + ("stop",) * stops
    for first in range(0, len(hows), STRIKES_MAX):
        with make() as fleet:
            yield from _strikes(fleet, random, hows[first : first + STRIKES_MAX])


def _strikes(
    fleet: Fleet, random: Random, hows: Sequence[str]
) -> Iterator[tuple[str, float]]:
    stream = Stream(fleet.writer())
    try:
        for how in hows:
            stream.wait_for_answers(time.monotonic())
            yield how, 1000 * _strike(fleet, stream, random, how)
    finally:
        stream.end()


def _strike(fleet: Fleet, stream: Stream, random: Random, how: str) -> float:
    struck = fleet.wait_for("not all is well", fleet.leader)
    # Between two looks of whoever looks, or at one: the moment is any.
    time.sleep(random.random() * 0.2)
    moment = time.monotonic()
    if how == "kill":
        struck.kill()
    else:
        struck.pause()
    gone = time.monotonic()
    stream.wait_for_answers(gone)
    gap_s = stream.gap_s(moment)
    if how == "kill":
        fleet.revive(struck)
    else:
        struck.wake()
    return gap_s


def main() -> int:
    options = _options()
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report("failover", " ".join(["python -m bench.failover", *sys.argv[1:]]))
    report.machine = machine(busy_cores())
    report.versions = versions(["understudy", *options.against])
    random = Random(options.seed)
    try:
        for interval_ms in options.ping_interval_ms:
            make = partial(UnderstudyFleet, interval_ms)
            _measure(report, make, random, options.kills, options.stops)
        for peer in options.against:
            for make in PEERS[peer]:
                try:
                    kills, stops = options.peer_kills, options.peer_stops
                    _measure(report, make, random, kills, stops)
                except Missing as missing:
                    report.skipped.append(Skip("failover", peer, str(missing)))
                    print(f"bench: {missing}; going on without it", file=sys.stderr)
                    break
                except RuntimeError as error:
                    # What was found before it stands.
                    why = str(error).splitlines()[0]
                    report.skipped.append(Skip("failover", peer, why))
                    print(f"bench: {error}", file=sys.stderr)
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json is not None:
        report.save(options.json)
    return 0


def _measure(
    report: Report, make: Callable[[], Fleet], random: Random, kills: int, stops: int
) -> None:
    fleet = make()
    said = ", ".join(f"{word} {value}" for word, value in fleet.settings.items())
    for how, gap_ms in strikes(make, random, kills, stops):
        # The same settings are one row, so that all of it can be repeated.
        row = f"{how}: {said}"
        report.add(row, fleet.name, fleet.settings, {"gap_ms": gap_ms})
    for how in ("kill", "stop"):
        for row in report.of(f"{how}: {said}").values():
            print(_line(row), flush=True)


def _line(row: Row) -> str:
    gaps = percentiles(row.values("gap_ms"), "ms")
    return (
        f"{row.system:<11}{row.name:<58}{len(row.repeats):>4} times   longest gap ms:"
        f" {gaps['p50_ms']:,.0f} median, {gaps['p99_ms']:,.0f} p99,"
        f" {gaps['max_ms']:,.0f} longest"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for word, value in COUNTS.items():
        parser.add_argument(f"--{word}", type=int, default=value)
    parser.add_argument("--ping-interval-ms", type=int, nargs="*", default=[100, 20])
    parser.add_argument("--against", choices=PEERS, nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    for word in COUNTS:
        if (value := getattr(options, word.replace("-", "_"))) < 0:
            parser.error(f"--{word} must be 0 or more, not {value}")
    if any(interval_ms < 1 for interval_ms in options.ping_interval_ms):
        parser.error("--ping-interval-ms must be 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(piped(main))
