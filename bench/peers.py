"""
What others would pick: Redis, etcd, ZooKeeper and PySyncObj, each replicated and
set up as its documentation says, with no option that makes it slower.

None of them makes the promises of the others; `promise` says what an answer of
each means, and stands beside every figure in `docs/benchmarks.md`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import sys
import urllib.request
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from bench.rows import Load
from bench.systems import WAIT_S, Loaded, Missing, Understudy, ended
from understudy.daemons import free_port

NODES: Final = 3
#: Where Debian has them.
_JARS: Final = Path("/usr/share/java")


class Redis(Loaded):
    """A primary and its replica, in memory only; `SET` is followed by `WAIT 1 0`."""

    name = "redis"
    title = "Redis, one replica, `WAIT 1 0` after each write"
    promise = (
        "A write is answered when the replica has it too, but `WAIT` is no consensus:"
        " in a failover (Sentinel) an acknowledged write can be lost, and a primary"
        " that was cut off goes on answering. Reads come from the primary without"
        " asking anyone, and may be stale after a failover: weaker than linearizable."
    )
    batches = True
    spoken_with = "redis"

    @classmethod
    def version(cls) -> str:
        return said([program("redis-server"), "--version"], r"v=([\d.]+)")

    def start(self) -> None:
        self.port, replica_port = ports(2)
        self._server("primary", self.port)
        self._server("replica", replica_port, f"--replicaof 127.0.0.1 {self.port}")
        self.wait_for(
            "the replica has no link to its primary",
            lambda: b"master_link_status:up" in tell(replica_port, "INFO replication"),
        )

    def _server(self, name: str, port: int, more: str = "") -> None:
        options = f"--port {port} --bind 127.0.0.1 --appendonly no {more}".split()
        # Without the delay, replication does not begin with five idle seconds.
        options += ["--save", "", "--repl-diskless-sync-delay", "0"]
        directory = ("--dir", str(self.directory))
        self.daemon(name, program("redis-server"), *options, *directory)


class Bare(Loaded):
    """Not a peer but a measure: two Twisted processes that pass puts on, and do
    nothing else; see `bench.programs.bare`."""

    name = "bare"
    proto = "understudy"
    title = "A bare reactor, twice"
    promise = (
        "None. Two Twisted processes that pass batches on as Understudy does, and do"
        " nothing else: no log, no session, no view, no store. What it reaches is what"
        " the reactor and the kernel leave to anything that is built on them."
    )
    batches = True
    is_slow = True
    writes_only = True

    @classmethod
    def takes(cls, load: Load) -> bool:
        return load.is_native and load.value_bytes == 100 and super().takes(load)

    @classmethod
    def version(cls) -> str:
        return f"Twisted {metadata.version('twisted')}"

    def start(self) -> None:
        self.port, second = ports(2)
        for name, where in (("second", (second,)), ("first", (self.port, second))):
            arguments = (sys.executable, "-m", "bench.programs.bare", *map(str, where))
            self.daemon(name, *arguments)
            self.wait_for("it does not listen", lambda: listens(where[0]))  # noqa: B023


class Etcd(Loaded):
    """Three members; the load goes to the leader."""

    name = "etcd"
    title = "etcd, three members, data on tmpfs"
    promise = (
        "Linearizable writes and reads, by consensus (Raft): survives any one of"
        " three, without a view service. Writes are synced to a log before they are"
        " answered; here the log is on tmpfs, where that costs nothing, so a power"
        " cut would lose what a disk would keep."
    )
    is_slow = True
    spoken_with = "grpcio"

    @classmethod
    def version(cls) -> str:
        return said([program("etcd"), "--version"], r"etcd Version: ([\d.]+)")

    def start(self) -> None:
        found = ports(2 * NODES)
        clients, peers = found[:NODES], found[NODES:]
        urls = [f"http://127.0.0.1:{port}" for port in peers]
        members = ",".join(f"n{at}={url}" for at, url in enumerate(urls))
        for at, port in enumerate(clients):
            client = f"http://127.0.0.1:{port}"
            self.daemon(
                *(f"n{at}", program("etcd"), "--name", f"n{at}"),
                *("--data-dir", str(self.directory / f"n{at}")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", urls[at]),
                *("--initial-advertise-peer-urls", urls[at]),
                *("--initial-cluster", members, "--initial-cluster-state", "new"),
                # A row of large values writes more than the default of 2 GiB.
                *("--quota-backend-bytes", str(8 << 30), "--log-level", "error"),
            )
        self.port = self.wait_for("no leader", lambda: self._leader(clients))

    @staticmethod
    def _leader(clients: Sequence[int]) -> int | None:
        for port in clients:
            try:
                status = ask_gateway(port, "maintenance/status")
            except OSError:
                return None
            if status.get("leader", "0") == status["header"]["member_id"]:
                return port
        return None


class ZooKeeper(Loaded):
    """Three servers; the load goes to the leader."""

    name = "zookeeper"
    title = "ZooKeeper, three servers, data on tmpfs"
    promise = (
        "Linearizable writes by consensus (Zab), synced to a log that here is on"
        " tmpfs. Reads come from whichever server is asked, from its own state: they"
        " are ordered but may be stale, which is weaker than linearizable."
    )
    is_slow = True
    spoken_with = "kazoo"

    @classmethod
    def version(cls) -> str:
        found = _zookeeper_jar().parent.glob("zookeeper-[0-9]*.jar")
        names = [each.stem.removeprefix("zookeeper-") for each in found]
        return min(names, default="unknown")

    def start(self) -> None:
        found = ports(3 * NODES)
        clients, quorum = found[:NODES], found[NODES:]
        servers = "\n".join(
            f"server.{at + 1}=127.0.0.1:{quorum[2 * at]}:{quorum[2 * at + 1]}"
            for at in range(NODES)
        )
        for at, port in enumerate(clients):
            directory = self.directory / f"n{at}"
            directory.mkdir()
            (directory / "myid").write_text(f"{at + 1}\n")
            configuration = directory / "zoo.cfg"
            configuration.write_text(
                f"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={directory}\n"
                f"clientPortAddress=127.0.0.1\nclientPort={port}\nmaxClientCnxns=0\n"
                f"admin.enableServer=false\n4lw.commands.whitelist=srvr\n{servers}\n"
            )
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            # So that it says what is wrong, and nothing else.
            log = _JARS / "slf4j-simple.jar"
            quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
            java = (
                program("java"),
                "-Xmx1g",
                quiet,
                "-cp",
                f"{_zookeeper_jar()}:{log}",
            )
            self.daemon(f"n{at}", *java, main, str(configuration))
        self.port = self.wait_for("no leader", lambda: self._leader(clients))

    @staticmethod
    def _leader(clients: Sequence[int]) -> int | None:
        modes = {port: tell(port, "srvr", until_closed=True) for port in clients}
        if not all(b"Mode: " in mode for mode in modes.values()):
            return None
        return next(p for p, mode in modes.items() if b"Mode: leader" in mode)


class PySyncObj(Loaded):
    """Three nodes, of which the program that is measured is one, as its users
    have it: the object lives in the application.  It is the leader."""

    name = "pysyncobj"
    title = "PySyncObj, three nodes, in memory"
    promise = (
        "Writes by consensus (Raft), in memory only. The program itself is a node,"
        " so there is no client to put under a native load, and a read is a look into"
        " its own memory: weaker than linearizable, and not measured. Its batching"
        " is off, which makes it several times faster here than its defaults."
    )
    is_native = False
    writes_only = True
    is_slow = True

    @classmethod
    def version(cls) -> str:
        return package("pysyncobj")

    def start(self) -> None:
        self._nodes = [f"127.0.0.1:{port}" for port in ports(NODES)]
        for at in range(1, NODES):
            nodes = [self._nodes[at], *(n for n in self._nodes if n != self._nodes[at])]
            module = "bench.programs.with_pysyncobj"
            where = ("--node", *nodes)
            self.daemon(f"n{at}", sys.executable, "-m", module, *where)
        others = [int(node.partition(":")[2]) for node in self._nodes[1:]]
        self.wait_for("no node listens", lambda: all(map(listens, others)))

    def program(self) -> Sequence[str]:
        return self._nodes


_ALL: Final = (Understudy, Redis, Etcd, ZooKeeper, PySyncObj, Bare)
SYSTEMS: Final[dict[str, type[Loaded]]] = {system.name: system for system in _ALL}

_PACKAGES: Final = {
    "redis-server": "redis-server",
    "etcd": "etcd-server",
    "java": "default-jre-headless",
    "zookeeper": "zookeeper",
}


def program(name: str) -> str:
    """Where it is.  Raises `Missing`."""
    if (found := shutil.which(name)) is None:
        raise Missing(f"{name} is missing: apt-get install {_PACKAGES[name]}")
    return found


def package(name: str) -> str:
    """Its version.  Raises `Missing`."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        why = f"{name}, a Python package, is missing: make bench-peers"
        raise Missing(why) from None


def _zookeeper_jar() -> Path:
    """Raises `Missing`."""
    program("java")
    jar = _JARS / "zookeeper.jar"
    if not jar.exists():
        raise Missing("zookeeper is missing: apt-get install zookeeper")
    return jar


def said(arguments: Sequence[str], pattern: str) -> str:
    """What a program says of its version."""
    match = re.search(pattern, ended(arguments, WAIT_S).stdout)
    return match[1] if match else "unknown"


def ports(count: int) -> list[int]:
    """So many different ports that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port(SystemRandom()))
    return list(found)


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def tell(port: int, line: str, *, until_closed: bool = False) -> bytes:
    """What is answered to one line of text; empty if nobody is there."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"{line}\r\n".encode())
            while received := connection.recv(65536):
                answer += received
                if not until_closed:
                    break
    except OSError:
        pass
    return answer


def ask_gateway(port: int, path: str) -> dict[str, Any]:
    """etcd's own JSON gateway.  Raises OSError."""
    url = f"http://127.0.0.1:{port}/v3/{path}"
    with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=2) as found:
        status: dict[str, Any] = json.load(found)
    return status


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of those that are there."""
    found = {}
    for name in names:
        with contextlib.suppress(Missing):
            found[name] = SYSTEMS[_SAME.get(name, name)].version()
    return found


#: Systems that are another under a name of their own.
_SAME: Final = {"sentinel": "redis"}
