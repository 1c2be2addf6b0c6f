"""
What is measured: each system fresh, on loopback, with one replica that has
everything before a write is answered.

Each system is a context manager: entering starts it and waits until it is
complete, leaving ends it.  No process outlives this one, see
`understudy.daemons`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

from understudy import daemons
from understudy.daemons import Daemon

WAIT_S = 30.0
LOADGEN_C = Path(__file__).with_name("loadgen.c")
LOADGEN = Path(__file__).with_name("loadgen")


class Missing(Exception):  # noqa: N818 (it says what is missing)
    """Something that has to be installed is not; the text says what."""


class System:
    """Something to put under load: daemons in a directory of their own."""

    #: What it is called, here and in `loadgen --proto`.
    name = ""

    def __init__(self) -> None:
        #: Where the primary listens.
        self.port = 0
        self.daemons: list[Daemon] = []
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):
            daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        raise NotImplementedError

    def run(self, daemon: Daemon) -> Daemon:
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def wait_for(self, what: str, ready: Any) -> Any:
        """What *ready* returns, as soon as that is true."""
        end = time.monotonic() + WAIT_S
        while not (found := ready()):
            words = [d.last_words() for d in self.daemons if not d.is_running()]
            if words or time.monotonic() > end:
                said = "\n".join(words or [d.last_words(5) for d in self.daemons])
                raise RuntimeError(f"{self.name} is not ready: {what}\n{said}")
            time.sleep(0.02)
        return found


class Understudy(System):
    """A view service, a primary and its backup."""

    name = "understudy"
    #: The view service's address.
    views = ""

    def start(self) -> None:
        directory = self.directory
        # A row is about speed: whatever else keeps the machine busy for a moment
        # must not cause a failover in the middle of it.
        options = ["--volatile", "--dead-pings", "30"]
        service = self.run(daemons.view_service(directory, options=options))
        self.views = self.wait_for("no view service", lambda: service.endpoint)
        for name in ("s1", "s2"):
            server = self.run(daemons.server(directory, name, self.views))
            self.wait_for(f"{name} does not listen", lambda: server.endpoint)  # noqa: B023
        status = self.wait_for("no acknowledged view of two", self._complete)
        primary = status["view"]["primary"]
        addresses = {each["name"]: each["address"] for each in status["servers"]}
        self.port = int(addresses[primary].rpartition(":")[2])

    def _complete(self) -> dict[str, Any] | None:
        ask = [sys.executable, "-m", "understudy", "status", "--json"]
        done = subprocess.run(
            [*ask, "--views", self.views],
            capture_output=True,
            check=False,
            timeout=WAIT_S,
        )
        if done.returncode:
            return None
        status: dict[str, Any] = json.loads(done.stdout)
        view = status["view"]
        return status if view["acknowledged"] and view["backups"] else None


class Redis(System):
    """A primary and its replica, in memory only; `SET` is followed by `WAIT 1 0`."""

    name = "redis"

    def start(self) -> None:
        random = SystemRandom()
        self.port = daemons.free_port(random)
        replica_port = daemons.free_port(random)
        self._server("primary", self.port)
        self._server("replica", replica_port, f"--replicaof 127.0.0.1 {self.port}")
        self.wait_for(
            "the replica has no link to its primary",
            lambda: b"master_link_status:up" in _ask_redis(replica_port),
        )

    def _server(self, name: str, port: int, more: str = "") -> None:
        options = f"--port {port} --bind 127.0.0.1 --appendonly no {more}".split()
        # Without the delay, replication does not begin with five idle seconds.
        options += ["--save", "", "--repl-diskless-sync-delay", "0"]
        arguments = [redis_server(), *options, "--dir", str(self.directory)]
        self.run(Daemon(name, arguments, self.directory / f"{name}.log"))


def _ask_redis(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO replication\r\n")
            return connection.recv(65536)
    except OSError:
        return b""


def redis_server() -> str:
    """The program.  Raises `Missing`."""
    if (found := shutil.which("redis-server")) is None:
        raise Missing(
            "redis-server is not installed; try: apt-get install redis-server"
        )
    return found


def loadgen(system: System, *options: str) -> dict[str, Any]:
    """Put *system* under load -> what was measured; see ``loadgen.c``.

    Raises `Missing` if there is no C compiler, and RuntimeError if any request
    failed.
    """
    where = ["--proto", system.name, "--host", "127.0.0.1", "--port", str(system.port)]
    done = subprocess.run(
        [compiled(), *where, *options], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"{system.name}: {done.stderr.strip()} {done.stdout.strip()}"
        )
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def compiled() -> Path:
    """The load generator, compiled if its source is newer.  Raises `Missing`."""
    if LOADGEN.exists() and LOADGEN.stat().st_mtime >= LOADGEN_C.stat().st_mtime:
        return LOADGEN
    if (compiler := shutil.which("cc")) is None:
        raise Missing("there is no C compiler (cc); try: apt-get install gcc libc6-dev")
    new = LOADGEN.with_suffix(".new")
    subprocess.run([compiler, "-O2", "-o", new, LOADGEN_C], check=True)
    new.replace(LOADGEN)
    return LOADGEN


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
