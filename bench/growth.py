"""
What an operation costs as one thing after the other grows.

    python -m bench.growth [--axes keys connections value-bytes sessions backups]
        [--to N] [--seconds 3] [--repeats 1] [--json FILE]

One thing grows, everything else stays: keys that are there (1e4 to 1e7),
connections (1 to 10 000), bytes of a value (100 to 1 MiB), sessions that are open
(1 to 100 000), backups (0 to 3).  The native load generator writes; what is measured
is its throughput and latency, how much processor time the primary spends on an
operation, which a busy machine does not change, and the memory that it occupies.
Keys are also put into a Redis, for the memory that it takes.  --to leaves out what
is beyond.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import nan
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from attrs import frozen

from bench.__main__ import busy_cores
from bench.loadgen import fill, loadgen
from bench.peers import versions
from bench.results import Report, Skip, machine
from bench.systems import Missing, System
from bench.transfer import RedisGrowing
from tests.chaos.overload import resident
from tests.processes import Found, ask_status
from understudy import daemons
from understudy.daemons import Daemon
from wire.codec import Decoder, encode
from wire.messages import (
    CLERK,
    SERVER,
    VERSION,
    Hello,
    Message,
    OpenSession,
    SessionOpened,
)
from wire.output import piped

VALUE_BYTES: Final = 100
#: How long the load is that only tells what connecting costs.
SHORT_S: Final = 0.2
#: Sessions asked for at a time.
OPENINGS: Final = 1000


class Grown(System):
    """A view service, a primary, and so many backups."""

    name = "understudy"
    primary: Daemon

    def __init__(self, backups: int = 1) -> None:
        super().__init__()
        self._backups = backups

    def start(self) -> None:
        options = ["--volatile", "--dead-pings", "100"]
        options += ["--backups", str(self._backups)]
        service = self.run(daemons.view_service(self.directory, options=options))
        views = self.wait_for("no view service", lambda: service.endpoint)
        all_may_call = ["--connections", "20000", "--connections-per-address", "20000"]
        servers = {
            name: self.run(
                daemons.server(self.directory, name, views, options=all_may_call)
            )
            for name in (f"s{number}" for number in range(1, self._backups + 2))
        }

        def complete() -> Found | None:
            found = ask_status(views)
            if found is None or len(found["view"]["backups"]) < self._backups:
                return None
            return found if found["view"]["acknowledged"] else None

        found = self.wait_for("no acknowledged view with all backups", complete)
        name = found["view"]["primary"]
        addresses = {each["name"]: each["address"] for each in found["servers"]}
        self.port = int(addresses[name].rpartition(":")[2])
        self.primary = servers[name]

    @contextmanager
    def caller(self) -> Iterator[tuple[socket.socket, Iterator[Message]]]:
        """A connection to the primary, and what it says on it."""
        with socket.create_connection(("127.0.0.1", self.port), 120) as connection:
            connection.sendall(encode(Hello(VERSION, CLERK)))
            yield connection, _messages(connection)

    def open_sessions(self, count: int) -> None:
        """As many clerks as that have called, and are still remembered."""
        random = SystemRandom()
        with self.caller() as (connection, heard):
            opened = (each for each in heard if isinstance(each, SessionOpened))
            for first in range(0, count, OPENINGS):
                number = min(OPENINGS, count - first)
                openings = [OpenSession(random.randbytes(16)) for _ in range(number)]
                connection.sendall(b"".join(map(encode, openings)))
                for _ in range(number):
                    next(opened)


def _messages(connection: socket.socket) -> Iterator[Message]:
    decoder = Decoder(SERVER, CLERK)
    while data := connection.recv(1 << 16):
        yield from decoder.feed(data)
    raise RuntimeError("understudy: the primary has hung up")


@frozen
class Axis:
    """What grows, through which sizes, and how a system is made that large."""

    sizes: tuple[int, ...]
    #: Options of the load generator at a size.
    load: Callable[[int], Mapping[str, int]] = lambda _: {}
    prepare: Callable[[Grown, int], None] = lambda _, __: None
    backups: Callable[[int], int] = lambda _: 1


AXES: Final[Mapping[str, Axis]] = {
    "keys": Axis(
        (10_000, 100_000, 1_000_000, 10_000_000),
        lambda size: {"keys": size},
        lambda system, size: fill(system, size, VALUE_BYTES),
    ),
    "connections": Axis(
        (1, 16, 64, 256, 1000, 4000, 10_000), lambda size: {"connections": size}
    ),
    "value-bytes": Axis(
        (100, 1024, 16_384, 65_536, 1_048_576),
        lambda size: {"value-bytes": size, "keys": 100, "connections": 16},
    ),
    "sessions": Axis(
        (1, 100, 10_000, 99_000),
        prepare=lambda system, size: system.open_sessions(size),
    ),
    "backups": Axis((0, 1, 2, 3), backups=lambda size: size),
}

LOAD: Final[Mapping[str, int]] = {"connections": 64, "keys": 10_000}


def measure(axis: Axis, size: int, seconds: float) -> dict[str, float]:
    """One system of that size under load -> the figures."""
    with Grown(axis.backups(size)) as system:
        empty = resident(system.primary.pid)
        axis.prepare(system, size)
        filled = resident(system.primary.pid)
        load = {**LOAD, "value-bytes": VALUE_BYTES, **axis.load(size)}
        words = [word for name, at in load.items() for word in (f"--{name}", str(at))]
        # What it takes to connect and to part is in both, and so in neither.
        short, less_s = _loaded(system, words, SHORT_S)
        row, more_s = _loaded(system, words, SHORT_S + seconds)
        ops = row["ops_all"] - short["ops_all"]
        # On a busy machine a short run can be all noise, and then tells nothing.
        cpu = (
            {"cpu_us": 1e6 * (more_s - less_s) / ops}
            if ops > 0 < more_s - less_s
            else {}
        )
        return {
            **cpu,
            "ops_per_s": row["ops_per_s"],
            "p50_us": row["p50_us"],
            "p99_us": row["p99_us"],
            "empty_bytes": empty,
            "filled_bytes": filled,
            "resident_bytes": resident(system.primary.pid),
        }


def _loaded(
    system: Grown, words: Sequence[str], seconds: float
) -> tuple[dict[str, Any], float]:
    """-> what the load generator says, and the primary's processor time."""
    before = spent_s(system.primary.pid)
    row = loadgen(system, *words, "--seconds", str(seconds), "--warmup", "0.1")
    return row, spent_s(system.primary.pid) - before


def redis_memory(keys: int) -> dict[str, float]:
    """The same for a Redis that holds as many pairs.  Raises `Missing`."""
    with RedisGrowing() as system:
        empty = resident(system.source.pid)
        system.fill(keys)
        return {"empty_bytes": empty, "filled_bytes": resident(system.source.pid)}


def spent_s(process: int) -> float:
    """Seconds of processor time that a process has used."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    options = _options()
    # A terminated run ends its children as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report("growth", " ".join(["python -m bench.growth", *sys.argv[1:]]))
    report.machine = machine(busy_cores())
    report.versions = versions(["understudy", "redis"])
    try:
        for _ in range(options.repeats):
            for name in options.axes:
                _grow(report, name, options)
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json is not None:
        report.save(options.json)
    return 0


def _grow(report: Report, name: str, options: argparse.Namespace) -> None:
    axis = AXES[name]
    for size in axis.sizes:
        if options.to is not None and size > options.to:
            continue
        figures = measure(axis, size, options.seconds)
        shape = {"axis": name, "size": size}
        report.add(f"{size} {name}", Grown.name, shape, figures)
        print(_line(size, name, figures), flush=True)
        if name != "keys":
            continue
        try:
            memory = redis_memory(size)
        except Missing as missing:
            report.skipped.append(Skip(f"{size} {name}", "redis", str(missing)))
            continue
        report.add(f"{size} {name}", "redis", shape, memory)
        per_key = [
            (each["filled_bytes"] - each["empty_bytes"]) / size
            for each in (figures, memory)
        ]
        print(f"  bytes per pair: {per_key[0]:.0f}; of redis {per_key[1]:.0f}")


def _line(size: int, name: str, figures: Mapping[str, float]) -> str:
    return (
        f"{size:>10,} {name:<12}{figures['ops_per_s']:>9,.0f} op/s"
        f"   {figures['p99_us']:>9,.0f} us p99"
        f"   {figures.get('cpu_us', nan):>7.1f} us of the primary's processor each"
        f"   {figures['resident_bytes'] / 1e6:,.0f} MB"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axes", choices=AXES, nargs="*", default=list(AXES))
    parser.add_argument("--to", type=int, help="the greatest size")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.repeats < 1 or options.seconds <= 0:
        parser.error("--repeats and --seconds must be more than 0")
    return options


if __name__ == "__main__":
    sys.exit(piped(main))
