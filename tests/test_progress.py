"""Liveness follows work: what counts as progress, and when a ping goes out."""

from __future__ import annotations

import threading
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pbserver.pinger import Pinger
from pbserver.progress import Progress
from pbserver.replica import Replica
from pbserver.thread import in_thread
from tests.replicas import Table, batch, member, query, view
from wire.messages import VERSION, VIEW_SERVICE, Hello, Member, Message, Ping

#: What is said at each tick after the first -> whether the counter grows then.
TICK: dict[str, Any] = {
    "late_share": 0.0,
    "unhandled": False,
    "turns": 5,
    "behind": False,
    "work": 7,
}

TICKS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "nothing is asked": ({}, {}, True),
    "late by half the dead time": ({}, {"late_share": 0.5}, True),
    "later than that": ({}, {"late_share": 0.51}, False),
    "early": ({}, {"late_share": -0.2}, True),
    "something was just read": ({}, {"unhandled": True}, True),
    "read before, and its turn has not ended": (
        {"unhandled": True},
        {"unhandled": True},
        False,
    ),
    "read before, and another turn has ended since": (
        {"unhandled": True},
        {"unhandled": True, "turns": 6},
        True,
    ),
    "there is work since now": ({}, {"behind": True}, True),
    "there is still work, and none was done": (
        {"behind": True},
        {"behind": True},
        False,
    ),
    "there is still work, and some was done": (
        {"behind": True},
        {"behind": True, "work": 8},
        True,
    ),
    "the work is done": ({"behind": True}, {}, True),
}


@pytest.mark.parametrize(("before", "now", "grows"), TICKS.values(), ids=TICKS)
def test_progress(before: dict[str, Any], now: dict[str, Any], grows: bool) -> None:
    progress = Progress()
    progress.tick(**TICK | before)
    count = progress.count
    progress.tick(**TICK | now)
    assert progress.count - count == grows


def test_what_counts_begins_above_what_means_that_nothing_is_counted() -> None:
    assert Progress().count > Ping(1, member("A"), 0).progress == 0


def test_a_primary_that_waits_for_a_backup_has_no_work_of_its_own() -> None:
    table = Table("A B")
    table.found()
    table.opened("A")
    table.tell(view(2, "A", "B", "B"), "A B")
    table.connect("A", "B")
    table.settle()
    table.ask("A", batch(1), query(1, after=1))
    table.lose("A", "B")
    assert not table["A"].is_behind


# -- pings ---------------------------------------------------------------------------


class FakeLink:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.hello = Hello(VERSION, VIEW_SERVICE, ping_interval_ms=100, dead_pings=5)

    far_host = "127.0.0.1"

    def send(self, message: Message) -> None:
        self.sent.append(message)


class Server:
    """What a pinger pings for; its turns end when a test says so."""

    cluster = b""
    turns = 0
    is_flush_due = False

    def __init__(self) -> None:
        self.replica = Replica(member("A"), Table("A")._fresh)

    def hello(self) -> Hello:
        return Hello(VERSION, "server")

    def member(self) -> Member:
        return member("A")

    def view_service_at(self, far: str) -> None:
        """It does not matter here."""

    def changed(self) -> None:
        self.is_flush_due = True

    def stop(self, reason: str) -> None:
        raise AssertionError(reason)


def pinging() -> tuple[Clock, Server, Pinger, FakeLink]:
    clock, server, link = Clock(), Server(), FakeLink()
    pinger = Pinger(server, ["tcp:127.0.0.1:1"], clock, Random(1))
    pinger._dialler = SimpleNamespace(link=link)  # type: ignore[assignment]
    pinger.link_opened(link)  # type: ignore[arg-type]
    return clock, server, pinger, link


def pass_time(clock: Clock, pinger: Pinger, seconds: float) -> None:
    """The view service answers meanwhile."""
    pinger._heard_s = clock.seconds() + seconds
    clock.advance(seconds)


def end_turn(server: Server, pinger: Pinger) -> None:
    server.is_flush_due = False
    server.turns += 1
    if pinger.is_due:
        pinger.send()


def test_a_ping_goes_out_when_its_turn_ends_and_not_before() -> None:
    clock, server, pinger, link = pinging()
    end_turn(server, pinger)
    counts = []
    for _ in range(3):
        before = len(link.sent)
        pass_time(clock, pinger, 0.1)
        assert len(link.sent) == before
        end_turn(server, pinger)
        [ping] = link.sent[before:]
        assert isinstance(ping, Ping)
        counts.append(ping.progress)
    assert counts == [2, 3, 4]


def test_a_server_whose_turns_do_not_end_does_not_ping() -> None:
    clock, server, pinger, link = pinging()
    end_turn(server, pinger)
    for _ in range(10):
        pass_time(clock, pinger, 0.1)
    assert len(link.sent) == 1
    # And should one end after all, that was no progress.
    end_turn(server, pinger)
    assert link.sent[-1].progress <= 3  # type: ignore[attr-defined]


def test_ticks_that_are_late_are_no_progress() -> None:
    clock, server, pinger, link = pinging()
    end_turn(server, pinger)
    for _ in range(4):
        pass_time(clock, pinger, 0.4)
        end_turn(server, pinger)
    assert link.sent[-1].progress == link.sent[0].progress  # type: ignore[attr-defined]


# -- threads -------------------------------------------------------------------------


def test_what_takes_long_is_done_in_a_thread_and_comes_back() -> None:
    came: list[Any] = []
    is_there = threading.Event()

    class Reactor:
        def callFromThread(self, do: Any, *arguments: Any) -> None:  # noqa: N802
            came.append((do, arguments, threading.current_thread()))
            is_there.set()

    done: Deferred[int] = in_thread(Reactor(), lambda: 7)
    assert is_there.wait(10), "the thread has not ended after 10 s"
    results: list[int] = []
    done.addCallback(results.append)
    [(do, arguments, thread)] = came
    assert thread is not threading.main_thread()
    assert thread.daemon
    assert results == []
    do(*arguments)
    assert results == [7]
