"""The scenarios that matter most, over real daemons, killed and paused.

One service of four servers is used by most of them; each finds it whole, and
leaves it to be made whole again.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from client import NotExecuted
from tests.chaos import rounds, transfer
from tests.processes import Service, members, service, wait_for
from understudy.daemons import Daemon
from understudy.status import is_safe, state
from wire.addresses import parse_address
from wire.codec import Decoder, encode
from wire.commands import Get
from wire.messages import (
    CLERK,
    NO_SESSION,
    SERVER,
    VERSION,
    Hello,
    Message,
    Query,
    QueryAnswer,
    Redirect,
)

pytestmark = pytest.mark.processes

NAMES = ("s1", "s2", "s3", "s4")


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("lab"), NAMES) as running:
        yield running


@pytest.fixture
def whole(four: Service) -> Service:
    """Everybody awake and in their part: one primary, one backup, two idle."""
    for daemon in four.cluster.all():
        if not daemon.is_running():
            daemon.start()
        elif daemon.is_paused:
            daemon.wake()
    four.until(
        lambda found: is_safe(found) and _idle(found) == 2,
        "a primary, a backup and two idle servers",
    )
    return four


def _idle(found) -> int:
    return sum(server["state"] == "idle" for server in found["servers"])


def number(running: Service) -> int:
    return running.status()["view"]["number"]


# -- the view service ---------------------------------------------------------------


def test_takeover_and_recruitment_are_one_step(whole: Service):
    before = whole.safe()["view"]
    whole[before["primary"]].pause()
    after = whole.safe(without=before["primary"])["view"]
    assert after["primary"] == before["backups"][0]
    assert after["number"] == before["number"] + 1
    assert len(after["backups"]) == 1


def test_a_dead_backup_is_replaced_in_one_step(whole: Service):
    before = whole.safe()["view"]
    whole[before["backups"][0]].kill()
    after = whole.safe(without=before["backups"][0])["view"]
    assert after["primary"] == before["primary"]
    assert after["number"] == before["number"] + 1


def test_a_pause_that_is_no_death_changes_nothing(whole: Service):
    before = number(whole)
    primary = whole.primary()
    primary.pause()
    # Far less than the five intervals that mean death.
    time.sleep(0.15)
    primary.wake()
    with whole.clerk() as clerk:
        clerk.put("pause", "over")
    assert number(whole) == before


def test_the_view_services_own_pause_is_nobodys_death(whole: Service):
    before = number(whole)
    whole.views.pause()
    with whole.clerk(10) as clerk:
        with pytest.raises(NotExecuted, match="view service"):
            clerk.get("pause", timeout=1.0)
        whole.views.wake()
        clerk.put("pause", "noticed by nobody")
    whole.safe()
    assert number(whole) == before


def test_a_restarted_view_service_remembers(whole: Service):
    before = whole.status()
    with whole.clerk() as clerk:
        clerk.put("memory", "1")
        whole.views.kill()
        clerk.put("memory", "2")
        whole.views.start()
        after = whole.safe()
        assert clerk.get("memory") == b"2"
    assert after["view"] == before["view"]
    assert after["cluster"] == before["cluster"]


def test_an_idle_server_never_leads(tmp_path: Path):
    with service(tmp_path, ("s1", "s2")) as running:
        running.safe()
        with running.clerk() as clerk:
            clerk.put("k", "v")
            for name in ("s1", "s2"):
                running[name].kill()
            running.cluster.add("s3")
            found = running.until(
                lambda found: state(found, "s3") == "idle" and not _leads(found),
                "s3 to be idle while nobody leads",
            )
            assert "s3" not in members(found)
            done = running.command("get", "k", "--timeout", "1")
            assert done.returncode == 4, "a fresh server must not answer"
            # Back without its data, the primary holds nothing either.
            for name in ("s1", "s2"):
                running[name].start()
            lost = running.until(
                lambda found: (found["waiting"] or {}).get("code") == "lost",
                "the loss to be said",
            )
            assert "--new-cluster" in lost["waiting"]["text"]


def _leads(found) -> bool:
    return state(found, found["view"]["primary"]) == "primary"


# -- replication and clients -----------------------------------------------------------


@pytest.mark.parametrize("whom", ["primary", "backup"])
def test_a_put_at_once_after_a_failure(whole: Service, whom: str):
    victim: Daemon = getattr(whole, whom)()
    with whole.clerk() as clerk:
        clerk.put("at once", "before")
        victim.kill()
        began = time.monotonic()
        clerk.put("at once", whom)
        assert time.monotonic() - began < 5
        assert clerk.get("at once") == whom.encode()
    whole.safe(without=victim.name)
    with whole.clerk() as another:
        assert another.get("at once") == whom.encode()


def test_concurrent_appends_over_a_failure(whole: Service):
    """Three clerks, one key: each append once, in its clerk's order."""
    key, count = f"appends-{time.monotonic_ns()}", 60
    reached = threading.Semaphore(0)

    def appends(name: int) -> None:
        with whole.clerk() as clerk:
            for at in range(count):
                clerk.append(key, f"{name}.{at};")
                if at == count // 3:
                    reached.release()

    threads = [threading.Thread(target=appends, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert reached.acquire(timeout=20)
    whole.primary().kill()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    with whole.clerk() as clerk:
        found = (clerk.get(key) or b"").decode().split(";")[:-1]
    assert len(found) == 3 * count
    for name in range(3):
        mine = [each for each in found if each.startswith(f"{name}.")]
        assert mine == [f"{name}.{at}" for at in range(count)]


def test_replicas_are_the_same_after_a_failover(whole: Service):
    with whole.clerk() as clerk:
        for at in range(50):
            clerk.put(f"same-{at % 7}", f"value {at}")
        victim = whole.primary()
        victim.kill()
        for at in range(50):
            clerk.put(f"same-{at % 5}", f"other {at}")
    whole.safe(without=victim.name)
    done = whole.command("verify")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(b"ok: ")


def test_a_returning_backup_has_what_it_missed(tmp_path: Path):
    """(1, 2), (1, -), a write, (1, 2), (2, -): the write is there."""
    with service(tmp_path, ("s1", "s2")) as running:
        primary, backup = running.primary(), running.backup()
        with running.clerk() as clerk:
            clerk.put("k", "before")
            backup.pause()
            running.until(
                lambda found: (
                    not found["view"]["backups"] and found["view"]["acknowledged"]
                ),
                "the backup to be let go",
            )
            clerk.put("k", "missed")
            backup.wake()
            running.safe()
            primary.kill()
            assert clerk.get("k") == b"missed"
        assert running.status()["view"]["primary"] == backup.name


class Line:
    """A clerk's connection to one server, held open by hand."""

    def __init__(self, endpoint: str) -> None:
        self._socket = socket.create_connection(parse_address(endpoint), 10)
        self._decoder = Decoder(SERVER, CLERK)
        self._next: list[Message] = []
        self.say(Hello(VERSION, CLERK))
        assert isinstance(self.hear(), Hello)

    def say(self, message: Message) -> None:
        self._socket.sendall(encode(message))

    def hear(self) -> Message | None:
        """The next message; None: the other end has closed."""
        while not self._next:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._next = self._decoder.feed(data)
        return self._next.pop(0)

    def get(self, key: bytes) -> None:
        body = msgspec.msgpack.encode([Get(key)])
        self.say(Query(1, NO_SESSION, 0, body))


@pytest.mark.parametrize("backup_dies_too", [False, True])
def test_a_woken_primary_answers_no_read(whole: Service, backup_dies_too: bool):
    old = whole.primary()
    assert old.endpoint is not None
    with whole.clerk() as clerk:
        clerk.put("fenced", "old")
        line = Line(old.endpoint)
        old.pause()
        successor = whole.safe(without=old.name)["view"]["primary"]
        clerk.put("fenced", "new")
        if backup_dies_too:
            # The old primary's backup was the successor: nobody is left whom it
            # could ask, and it must not take that for a yes.
            whole[successor].kill()
            whole.safe(without=successor)
        # It lies in the old primary's socket when that wakes.
        line.get(b"fenced")
        old.wake()
        answer = line.hear()
        assert not isinstance(answer, QueryAnswer), "an answer of the past"
        assert answer is None or isinstance(answer, Redirect)
        assert clerk.get("fenced") == b"new"
    wait_for(
        lambda: state(whole.status(), old.name) == "idle", "the old primary to be idle"
    )


def test_repeated_crashes(tmp_path: Path, capsys):
    """Ten strikes drawn at random; every promise kept, nobody waits over 5 s."""
    assert rounds.run(tmp_path, seed=11, rounds=10, backups=1), capsys.readouterr().out


def test_the_successor_dies_too(tmp_path: Path, capsys):
    """Two backups: the primary dies, and whoever follows it dies at once."""
    assert rounds.run(tmp_path, seed=3, rounds=6, backups=2), capsys.readouterr().out


def test_a_large_state_moves_while_writes_go_on(tmp_path: Path, capsys):
    assert transfer.run(tmp_path, seed=5, keys=50_000), capsys.readouterr().out
