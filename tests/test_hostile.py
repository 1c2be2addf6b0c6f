"""
Whoever calls can harm nothing but his own connection: a thousand callers that say
nonsense, say what is not theirs to say, stop in the middle or vanish.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from pbserver.service import DEFAULT_MACHINE
from tests.processes import service, wait_for
from understudy.daemons import Daemon
from wire.codec import encode
from wire.messages import (
    CLERK,
    NO_SESSION,
    OBSERVER,
    SERVER,
    VERSION,
    Attach,
    Batch,
    CloseSession,
    DigestAt,
    Forward,
    ForwardOk,
    Goodbye,
    Hello,
    LogPosition,
    Member,
    Message,
    OpenSession,
    Ping,
    Query,
    Redirect,
    SnapshotPart,
    SnapshotPartOk,
    Status,
    View,
    Watch,
)

CALLERS = 1000
STRANGER = Member("s9", 5, "tcp:127.0.0.1:1")
SESSION = b"x" * 16

HELLOS: list[Message] = [
    Hello(VERSION, CLERK),
    Hello(VERSION, OBSERVER),
    Hello(VERSION, SERVER, member=STRANGER, machine=DEFAULT_MACHINE),
    Hello(VERSION, SERVER),
    Hello(VERSION + 1, CLERK),
]
MESSAGES: list[Message] = [
    OpenSession(SESSION),
    Batch(SESSION, 1, 1, 1, b"\x91\xc0"),
    Batch(SESSION, 99, 5, 1, b""),
    Batch(SESSION, 1, 99, 1, b"\x90"),
    Query(1, NO_SESSION, 0, b"nonsense"),
    Query(1, SESSION, 9, b"\x90"),
    CloseSession(SESSION, 1),
    DigestAt(0),
    DigestAt(10**12),
    Watch(),
    Status(),
    Attach(View(7, STRANGER)),
    Forward(10**9, 1, 1, 1, ()),
    SnapshotPart(1, 0, 0, 5, 0, 0, 0, 0, b"x"),
    SnapshotPartOk(0),
    ForwardOk(1, 1, 10**9, 1),
    LogPosition(1, 1, 1),
    Redirect(View(7, STRANGER)),
    Ping(1, STRANGER, 0),
    Ping(1, Member("s1", 5, "tcp:127.0.0.1:1"), 0),
    Goodbye("stopping", "nothing is wanted"),
]


def call(port: int, random: Random) -> None:
    """One caller, who is up to no good."""
    hello = random.choice(HELLOS)
    said = [encode(random.choice(MESSAGES)) for _ in range(random.randrange(4))]
    data = b"".join([encode(hello), *said])
    if random.random() < 0.2:
        data = random.randbytes(random.randrange(40))
    elif random.random() < 0.3:
        data = data[: random.randrange(len(data))]
    # The other end may have hung up before all was said.
    with socket.socket() as caller, contextlib.suppress(OSError):
        caller.connect(("127.0.0.1", port))
        caller.sendall(data)
        if random.random() < 0.5:
            linger = struct.pack("ii", 1, 0)  # close by a reset
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.mark.processes
def test_hostile_callers_harm_nobody(tmp_path: Path) -> None:
    random = Random(7)
    with service(tmp_path, ("s1", "s2")) as running:
        running.safe()
        view = running.status()["view"]
        daemons = [running.cluster.views, running["s1"], running["s2"]]
        ports = [int(each.endpoint.rpartition(":")[2]) for each in daemons]
        with running.clerk() as clerk:
            for number in range(CALLERS):
                call(random.choice(ports), random)
                if number % 100 == 0:
                    clerk.append("log", "x")
            assert clerk.get("log") == b"x" * (CALLERS // 100)
        assert running.status()["view"] == view
        for daemon in daemons:
            assert daemon.is_running()
            assert [e for e in daemon.events() if e["level"] == "critical"] == []


@pytest.mark.processes
def test_who_claims_to_be_the_primary_with_another_machine_is_refused(
    tmp_path: Path,
) -> None:
    with service(tmp_path, ("s1", "s2")) as running:
        status = running.safe()
        primary, backup = running.primary(), running["s2"]
        if primary is backup:
            backup = running["s1"]
        (shown,) = (each for each in status["servers"] if each["name"] == primary.name)
        claimed = Member(primary.name, int(shown["incarnation"], 16), shown["address"])
        number = int(status["view"]["id"], 16)
        cluster = bytes.fromhex(status["cluster"])
        hello = Hello(VERSION, SERVER, cluster, number, claimed, machine="no:Machine")
        with connected(
            int(backup.endpoint.rpartition(":")[2]), encode(hello)
        ) as caller:
            heard = caller.makefile("rb").read()
        assert b"machine" in heard
        with running.clerk() as clerk:
            clerk.put("k", "v")
        assert backup.is_running()
        assert running.status()["view"] == status["view"]


def rss_mib(daemon: Daemon) -> int:
    """How much memory it has."""
    text = Path(f"/proc/{daemon.pid}/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def connected(port: int, data: bytes) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", port))
    caller.sendall(data)
    return caller


@pytest.mark.processes
def test_idle_clerks_keep_out_neither_servers_nor_status(tmp_path: Path) -> None:
    places = ("--connections", "30", "--connections-per-address", "20")
    idle = encode(Hello(VERSION, CLERK)) + encode(Watch())
    with service(tmp_path, ("s1", "s2"), places) as running, ExitStack() as callers:
        running.safe()
        port = int(running.cluster.views.endpoint.rpartition(":")[2])
        for _ in range(50):
            callers.enter_context(connected(port, idle))
        wait_for(lambda: running.cluster.views.event("listener.filled"), "it is full")
        running.backup().kill()
        for daemon in running.cluster.servers.values():
            if not daemon.is_running():
                daemon.start()
        running.safe()
        running.cluster.views.kill()
        running.cluster.views.start()
        for _ in range(50):
            with contextlib.suppress(OSError):
                callers.enter_context(connected(port, idle))
        running.safe()
        with running.clerk() as clerk:
            clerk.put("a", "1")


@pytest.mark.processes
def test_unfinished_frames_leave_no_memory_behind(tmp_path: Path) -> None:
    blob, hello = bytes(15 << 20), encode(Hello(VERSION, CLERK))
    with service(tmp_path, ("s1", "s2")) as running:
        primary = running.primary()
        before = rss_mib(primary)
        port = int(primary.endpoint.rpartition(":")[2])
        with ExitStack() as callers, running.clerk() as clerk:
            for number in range(20):
                begun = hello if number % 2 else b""
                with contextlib.suppress(OSError):
                    caller = callers.enter_context(connected(port, begun))
                    caller.sendall((16 << 20).to_bytes(4, "big") + blob)
                clerk.append("log", "x")
            assert rss_mib(primary) < before + 128 + 30
        wait_for(lambda: rss_mib(primary) < before + 25, "the memory is given back")
        assert [e for e in primary.events() if e["level"] == "critical"] == []
