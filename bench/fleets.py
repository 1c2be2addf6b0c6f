"""
Systems of three processes, of which the leader may be struck at any time: who leads,
how to write to them, and how each is made whole again.

A *writer* is a blocking client in this process, used as the system's documentation
recommends; it raises `Unanswered` when a write was not answered, and is simply
called again.  What each answers means: Understudy, that every server which may take
over holds the write; etcd, that two of three do; Redis, that the primary does.  Redis
is not asked to WAIT here: so its gap ends at the first SET that a new primary takes.
"""

from __future__ import annotations

import http.client
import json
import socket
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any, Final, Protocol

from bench.peers import program
from bench.systems import System
from client import BlockingClerk, ClerkError
from tests.processes import ask_status
from understudy import daemons
from understudy.daemons import Daemon
from understudy.status import is_safe

#: So long a writer waits for an answer before it asks elsewhere, where the client
#: library leaves that to its user.
ANSWER_S: Final = 0.1

VALUE: Final = b"v" * 100


class Unanswered(Exception):  # noqa: N818 -- what happened
    """That write was not answered; it may have happened."""


class Writer(Protocol):
    """One blocking client."""

    def write(self, key: bytes) -> None:
        """One write.  Raises `Unanswered`."""

    def close(self) -> None:
        """Let go of what it holds."""


class Fleet(System):
    """Three processes that may lead, and whatever watches them."""

    #: What is said of how it was set up.
    settings: dict[str, Any]

    @abstractmethod
    def leader(self) -> Daemon | None:
        """Whoever leads, if all is well: everybody is there and in step."""

    @abstractmethod
    def writer(self) -> Writer:
        """A client of its own kind, connected."""

    def revive(self, struck: Daemon) -> None:
        """Start it again."""
        struck.start()


# -- Understudy --------------------------------------------------------------------


class UnderstudyFleet(Fleet):
    """A view service, a primary, its backup and a server to spare."""

    name = "understudy"

    def __init__(self, ping_interval_ms: int = 100, dead_pings: int = 5) -> None:
        super().__init__()
        self.settings = {"ping_interval_ms": ping_interval_ms, "dead_pings": dead_pings}
        self.views = ""
        self._servers: dict[str, Daemon] = {}

    def start(self) -> None:
        options = [
            word
            for name, value in self.settings.items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        service = self.run(daemons.view_service(self.directory, options=options))
        self.views = self.wait_for("no view service", lambda: service.endpoint)
        random = SystemRandom()
        for name in ("s1", "s2", "s3"):
            # A port that stays its own over restarts.
            port = daemons.free_port(random)
            server = daemons.server(self.directory, name, self.views, port)
            self._servers[name] = self.run(server)
        self.wait_for("no acknowledged view of two", self.leader)

    def leader(self) -> Daemon | None:
        found = ask_status(self.views)
        if found is None or not is_safe(found):
            return None
        dead = [each for each in found["servers"] if each["state"] == "dead"]
        if dead or len(found["servers"]) < len(self._servers):
            return None
        return self._servers[found["view"]["primary"]]

    def writer(self) -> Writer:
        return ClerkWriter(self.views)


class ClerkWriter:
    """Our own; it looks for the primary itself."""

    def __init__(self, views: str) -> None:
        self._clerk = BlockingClerk(views)

    def write(self, key: bytes) -> None:
        try:
            self._clerk.put(key, VALUE)
        except ClerkError as error:
            raise Unanswered(str(error)) from error

    def close(self) -> None:
        self._clerk.close(timeout=1)


# -- Redis Sentinel ----------------------------------------------------------------


class SentinelFleet(Fleet):
    """A primary with two replicas, and three sentinels that watch it."""

    name = "sentinel"

    def __init__(
        self, down_after_ms: int = 500, failover_timeout_ms: int = 2000
    ) -> None:
        super().__init__()
        self.settings = {
            "down_after_ms": down_after_ms,
            "failover_timeout_ms": failover_timeout_ms,
        }
        self.sentinels: list[int] = []
        self._servers: dict[int, Daemon] = {}

    def start(self) -> None:
        random = SystemRandom()
        ports = [daemons.free_port(random) for _ in range(3)]
        for port in ports:
            self._servers[port] = self._server(port, ports[0])
        for port in ports[1:]:
            self.wait_for("no replica", lambda: redis_says(port, "INFO", "replication"))  # noqa: B023
        self.sentinels = [daemons.free_port(random) for _ in range(3)]
        for port in self.sentinels:
            self._sentinel(port, ports[0])
        self.wait_for("three sentinels that agree", self.leader)

    def _server(self, port: int, primary: int) -> Daemon:
        options = f"--port {port} --bind 127.0.0.1 --appendonly no".split()
        options += ["--save", "", "--repl-diskless-sync-delay", "0"]
        if port != primary:
            options += ["--replicaof", f"127.0.0.1 {primary}"]
        arguments = [program("redis-server"), *options, "--dir", str(self.directory)]
        return self.run(Daemon(f"r{port}", arguments, self.directory / f"r{port}.log"))

    def _sentinel(self, port: int, primary: int) -> None:
        file = self.directory / f"sentinel-{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor main 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds main {self.settings['down_after_ms']}\n"
            f"sentinel failover-timeout main {self.settings['failover_timeout_ms']}\n"
            "sentinel parallel-syncs main 2\n"
        )
        arguments = [program("redis-server"), str(file), "--sentinel"]
        self.run(Daemon(f"w{port}", arguments, self.directory / f"w{port}.log"))

    def leader(self) -> Daemon | None:
        ports = {_leader_of(port) for port in self.sentinels}
        if len(ports) != 1 or (port := ports.pop()) is None:
            return None
        told = redis_says(port, "INFO", "replication") or b""
        if b"role:master" not in told or told.count(b"state=online") != 2:
            return None
        for sentinel in self.sentinels:
            words = _words(redis_says(sentinel, "SENTINEL", "MASTER", "main"))
            if (words.get(b"num-slaves"), words.get(b"flags")) != (b"2", b"master"):
                return None
            if words.get(b"num-other-sentinels") != b"2":
                return None
        return self._servers[port]

    def revive(self, struck: Daemon) -> None:
        port = next(port for port, each in self._servers.items() if each is struck)
        primary = self.wait_for("no primary", lambda: _leader_of(self.sentinels[0]))
        self.daemons.remove(struck)
        self._servers[port] = self._server(port, primary)

    def writer(self) -> Writer:
        return RedisWriter(
            lambda: next(filter(None, map(_leader_of, self.sentinels)), None)
        )


class RedisWriter:
    """To wherever *primary* says; asked anew whenever a connection comes to nothing
    (as https://redis.io/docs/latest/develop/reference/sentinel-clients has it)."""

    def __init__(self, primary: Callable[[], int | None]) -> None:
        self._primary = primary
        self._connection: socket.socket | None = None

    def write(self, key: bytes) -> None:
        try:
            if self._connection is None:
                if (port := self._primary()) is None:
                    raise Unanswered("nobody knows a primary")
                self._connection = _dialled(port)
            if (said := _ask(self._connection, "SET", key, VALUE)) != b"+OK\r\n":
                raise OSError(said.decode(errors="replace"))
        except OSError as error:
            self.close()
            raise Unanswered(str(error)) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _dialled(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), ANSWER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket, *words: str | bytes) -> bytes:
    """One command -> all of the answer that is there at once; here each is short."""
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    bulk = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    connection.sendall(b"*%d\r\n%s" % (len(encoded), bulk))
    return connection.recv(65536)


def redis_says(port: int, *words: str) -> bytes | None:
    try:
        with _dialled(port) as connection:
            return _ask(connection, *words)
    except OSError:
        return None


def _words(told: bytes | None) -> dict[bytes, bytes]:
    """A flat array of pairs."""
    words = (told or b"").split(b"\r\n")[2::2]
    return dict(zip(words[::2], words[1::2], strict=False))


def _leader_of(sentinel: int) -> int | None:
    told = redis_says(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main") or b""
    words = told.split(b"\r\n")
    return int(words[4]) if told.startswith(b"*2") else None


# -- etcd --------------------------------------------------------------------------


class EtcdFleet(Fleet):
    """Three nodes; whatever it syncs goes where this machine keeps temporary files."""

    name = "etcd"

    def __init__(self, heartbeat_ms: int = 100, election_ms: int = 1000) -> None:
        super().__init__()
        self.settings = {"heartbeat_ms": heartbeat_ms, "election_ms": election_ms}
        self._nodes: dict[int, Daemon] = {}

    def start(self) -> None:
        random = SystemRandom()
        ports = [daemons.free_port(random) for _ in range(6)]
        clients, peers = ports[:3], ports[3:]
        names = [f"e{number}" for number in (1, 2, 3)]
        url = "http://127.0.0.1:{}".format
        everybody = ",".join(
            f"{name}={url(port)}" for name, port in zip(names, peers, strict=True)
        )
        for name, client, peer in zip(names, clients, peers, strict=True):
            words = {
                "name": name,
                "data-dir": self.directory / name,
                "listen-client-urls": url(client),
                "advertise-client-urls": url(client),
                "listen-peer-urls": url(peer),
                "initial-advertise-peer-urls": url(peer),
                "initial-cluster": everybody,
                "heartbeat-interval": self.settings["heartbeat_ms"],
                "election-timeout": self.settings["election_ms"],
                "logger": "zap",
            }
            arguments = [
                program("etcd"),
                *(f"--{word}={value}" for word, value in words.items()),
            ]
            log = self.directory / f"{name}.log"
            self._nodes[client] = self.run(Daemon(name, arguments, log))
        self.wait_for("no leader that all agree on", self.leader)

    def leader(self) -> Daemon | None:
        leaders, members = set(), {}
        for port, node in self._nodes.items():
            try:
                told = _post(port, "maintenance/status", {}, 1.0)
            except Unanswered:
                return None
            leaders.add(told.get("leader"))
            members[told["header"]["member_id"]] = node
        return members.get(leaders.pop()) if len(leaders) == 1 else None

    def writer(self) -> Writer:
        return _EtcdWriter(list(self._nodes))


class _EtcdWriter:
    """Through the gateway of one node, and of the next when that says nothing."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turn = 0
        self._connection: http.client.HTTPConnection | None = None

    def write(self, key: bytes) -> None:
        body = {"key": b64encode(key).decode(), "value": b64encode(VALUE).decode()}
        if self._connection is None:
            port = self._ports[self._turn % len(self._ports)]
            self._connection = http.client.HTTPConnection("127.0.0.1", port)
            self._connection.timeout = ANSWER_S
        try:
            _posted(self._connection, "kv/put", body)
        except Unanswered:
            self._turn += 1
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _post(port: int, what: str, body: Any, seconds: float) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        return _posted(connection, what, body)
    finally:
        connection.close()


def _posted(
    connection: http.client.HTTPConnection, what: str, body: Any
) -> dict[str, Any]:
    try:
        connection.request("POST", f"/v3/{what}", json.dumps(body))
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unanswered(str(error)) from error
    if answer.status != http.client.OK:
        raise Unanswered(str(found))
    return found
