"""
A newcomer is given everything while writes go on: how long that takes, and who notices.

    python -m bench.transfer [--keys 1000000 5000000] [--repeats 3]
        [--only understudy redis] [--json FILE]

One server is filled with pairs of 13 and 100 bytes, four clients begin to write, one
call after another, and a second server is started.  What is measured: the time until
it is in step (Understudy: it may take over; Redis: the link of its full resync is
up), pairs per second in megabytes, the longest that a write took meanwhile, and the
most that either process occupied.  Starting the second process is part of the time.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from random import SystemRandom
from typing import Final

from bench.__main__ import busy_cores
from bench.failover import Stream
from bench.fleets import ClerkWriter, RedisWriter, Writer, redis_says
from bench.peers import program, versions
from bench.results import Report, Skip, machine
from bench.systems import Missing, System
from tests.chaos.bulk import pair
from tests.processes import ROOT, ask_status
from understudy import daemons
from understudy.daemons import Daemon
from understudy.status import is_safe
from wire.output import piped

STREAMS: Final = 4
#: The longest that filling or moving may take, seconds.
S_MAX: Final = 600.0


class Growing(System):
    """One server, and then another."""

    source: Daemon
    newcomer: Daemon

    @abstractmethod
    def fill(self, keys: int) -> None:
        """Write that many pairs."""

    @abstractmethod
    def writer(self) -> Writer:
        """A client of its own kind, connected to the server."""

    @abstractmethod
    def join(self) -> None:
        """Start the newcomer."""

    @abstractmethod
    def is_joined(self) -> bool:
        """Has it everything?"""


class UnderstudyGrowing(Growing):
    name = "understudy"

    def start(self) -> None:
        service = self.run(daemons.view_service(self.directory))
        self.views: str = self.wait_for("no view service", lambda: service.endpoint)
        self.source = self.run(daemons.server(self.directory, "s1", self.views))
        self.wait_for("no primary", self._serves)

    def _serves(self) -> bool:
        found = ask_status(self.views)
        return found is not None and bool(found["view"]["acknowledged"])

    def fill(self, keys: int) -> None:
        subprocess.run(
            (
                *(sys.executable, "-m", "tests.chaos.bulk", "fill"),
                *("--views", self.views, "--count", str(keys)),
            ),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            timeout=S_MAX,
            check=True,
        )

    def writer(self) -> Writer:
        return ClerkWriter(self.views)

    def join(self) -> None:
        self.newcomer = self.run(daemons.server(self.directory, "s2", self.views))

    def is_joined(self) -> bool:
        found = ask_status(self.views)
        return found is not None and is_safe(found)


class RedisGrowing(Growing):
    """Without persistence, so that a full resync goes from memory to memory."""

    name = "redis"

    def start(self) -> None:
        self.port = daemons.free_port(SystemRandom())
        self.source = self._server("primary", self.port)
        self.wait_for("no answer", lambda: redis_says(self.port, "PING"))

    def _server(self, name: str, port: int, more: str = "") -> Daemon:
        options = f"--port {port} --bind 127.0.0.1 --appendonly no {more}".split()
        options += ["--save", "", "--repl-diskless-sync-delay", "0"]
        # Or its loading would block it, and the link be given up.
        options += ["--repl-diskless-load", "on-empty-db"]
        # All that is written meanwhile is to fit, or the resync begins anew.
        options += ["--client-output-buffer-limit", "replica 0 0 0"]
        arguments = [program("redis-server"), *options, "--dir", str(self.directory)]
        return self.run(Daemon(name, arguments, self.directory / f"{name}.log"))

    def fill(self, keys: int) -> None:
        with socket.create_connection(("127.0.0.1", self.port), S_MAX) as connection:
            answers = connection.makefile("rb")
            for first in range(0, keys, 5000):
                numbers = range(first, min(first + 5000, keys))
                pairs = [pair(number) for number in numbers]
                connection.sendall(
                    b"".join(
                        b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$100\r\n%s\r\n"
                        % (len(key), key, value)
                        for key, value in pairs
                    )
                )
                for _ in pairs:
                    answers.readline()

    def writer(self) -> Writer:
        return RedisWriter(lambda: self.port)

    def join(self) -> None:
        self.replica = daemons.free_port(SystemRandom())
        more = f"--replicaof 127.0.0.1 {self.port}"
        self.newcomer = self._server("replica", self.replica, more)

    def is_joined(self) -> bool:
        told = redis_says(self.replica, "INFO", "replication") or b""
        return b"master_link_status:up" in told


SYSTEMS: Final[Mapping[str, type[Growing]]] = {
    system.name: system for system in (UnderstudyGrowing, RedisGrowing)
}


def measure(system: Growing, keys: int) -> dict[str, float]:
    """Fill, write, let a second one in -> the figures."""
    system.fill(keys)
    streams = [Stream(system.writer()) for _ in range(STREAMS)]
    try:
        for stream in streams:
            stream.wait_for_answers(time.monotonic())
        began = time.monotonic()
        system.join()
        while not system.is_joined():
            if time.monotonic() - began > S_MAX:
                raise RuntimeError(f"{system.name}: nothing moved in {S_MAX:g} s")
            time.sleep(0.02)
        ended = time.monotonic()
        for stream in streams:
            stream.wait_for_answers(ended)
    finally:
        for stream in streams:
            stream.end()
    size = sum(map(len, pair(0)))
    return {
        "seconds": ended - began,
        "mb_per_s": keys * size / (ended - began) / 1e6,
        "longest_ms": 1e3 * max(stream.longest_s(began, ended) for stream in streams),
        "source_bytes": most_resident(system.source.pid),
        "newcomer_bytes": most_resident(system.newcomer.pid),
    }


def most_resident(process: int) -> int:
    """The most memory that it has occupied so far."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(
        next(line for line in lines if line.startswith("VmHWM")).split()[1]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=SYSTEMS, nargs="*", default=list(SYSTEMS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if min(*options.keys, options.repeats) < 1:
        parser.error("--keys and --repeats must be 1 or more")
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report("transfer", " ".join(["python -m bench.transfer", *sys.argv[1:]]))
    report.machine = machine(busy_cores())
    report.versions = versions(options.only)
    try:
        for _ in range(options.repeats):
            for keys in options.keys:
                for name in options.only:
                    _add(report, name, keys)
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json is not None:
        report.save(options.json)
    return 0


def _add(report: Report, name: str, keys: int) -> None:
    row = f"{keys} keys"
    try:
        with SYSTEMS[name]() as system:
            figures = measure(system, keys)
    except Missing as missing:
        if not any(skip.system == name for skip in report.skipped):
            report.skipped.append(Skip(row, name, str(missing)))
            print(f"bench: {missing}; going on without it", file=sys.stderr)
        return
    report.add(row, name, {"keys": keys, "streams": STREAMS}, figures)
    print(
        f"{name:<11}{row}: {figures['seconds']:.2f} s, {figures['mb_per_s']:.0f} MB/s,"
        f" longest write {figures['longest_ms']:.0f} ms, at most"
        f" {figures['source_bytes'] / 1e6:.0f} and"
        f" {figures['newcomer_bytes'] / 1e6:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(piped(main))
