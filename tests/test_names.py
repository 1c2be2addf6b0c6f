"""Lookups, played by hand: shared, never repeated meanwhile, and remembered."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from twisted.internet import threads
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock

from tests.patching import ROOT
from wire.names import (
    IPS_MAX,
    LOOKUPS_MAX,
    REMEMBERED_MAX,
    Found,
    LookupFailed,
    Names,
    names_of,
    resolve,
)

NOT_FOUND = LookupFailed("the name a was not found")


class Resolver:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._ended: dict[str, Callable[[Found], None]] = {}
        self.names = Names(self._begin)

    def _begin(self, host: str, ended: Callable[[Found], None]) -> None:
        assert host not in self._ended, "one lookup of a name at a time"
        self.asked.append(host)
        self._ended[host] = ended

    def answer(self, host: str, *ips: str) -> None:
        self._ended.pop(host)(ips or NOT_FOUND)


def outcome(waiting: Deferred[tuple[str, ...]]) -> list[object]:
    """What it has come to; empty: nothing yet."""
    outcomes: list[object] = []
    waiting.addBoth(lambda found: outcomes.append(getattr(found, "value", found)))
    return outcomes


def test_a_lookup_is_shared_by_all_that_ask_meanwhile() -> None:
    resolver = Resolver()
    first, second = (outcome(resolver.names.lookup("a")) for _ in range(2))
    assert resolver.asked == ["a"]
    resolver.answer("a", "10.0.0.1", "10.0.0.2")
    assert first == second == [("10.0.0.1", "10.0.0.2")]
    resolver.names.lookup("a")
    assert resolver.asked == ["a", "a"], "it is looked up again later"


def test_a_lookup_that_is_given_up_goes_on_and_its_answer_is_known() -> None:
    resolver = Resolver()
    waiting = resolver.names.lookup("a")
    given_up = outcome(waiting)
    waiting.cancel()
    assert [type(each) for each in given_up] == [CancelledError]
    later = outcome(resolver.names.lookup("a"))
    assert resolver.asked == ["a"], "the next one uses the lookup that runs"
    resolver.answer("a", "10.0.0.1")
    assert later == [("10.0.0.1",)]
    assert resolver.names.known("a", 1) == ("10.0.0.1",)


def test_a_failure_is_told_to_all_and_keeps_what_is_known() -> None:
    resolver = Resolver()
    resolver.names.lookup("a")
    resolver.answer("a", "10.0.0.1")
    assert resolver.names.trouble("a") == ""
    failed = [outcome(resolver.names.lookup("a")) for _ in range(2)]
    resolver.answer("a")
    assert failed == [[NOT_FOUND], [NOT_FOUND]]
    assert resolver.names.known("a", 1) == ("10.0.0.1",)
    assert resolver.names.trouble("a") == str(NOT_FOUND)
    resolver.names.lookup("a")
    resolver.answer("a", "10.0.0.2")
    assert resolver.names.known("a", 1) == ("10.0.0.2",)
    assert resolver.names.trouble("a") == ""


def test_one_that_is_told_may_give_up_another() -> None:
    resolver = Resolver()
    first, second = resolver.names.lookup("a"), resolver.names.lookup("a")
    first.addCallback(lambda _: second.cancel())
    told = outcome(second)
    resolver.answer("a", "10.0.0.1")
    assert [type(each) for each in told] == [CancelledError]


def test_so_many_lookups_run_and_more_wait() -> None:
    resolver = Resolver()
    hosts = [f"host-{number}" for number in range(LOOKUPS_MAX + 3)]
    waiting = {host: resolver.names.lookup(host) for host in hosts}
    for each in waiting.values():
        each.addErrback(lambda _: None)
    assert resolver.asked == hosts[:LOOKUPS_MAX]
    waiting[hosts[LOOKUPS_MAX]].cancel()
    resolver.answer(hosts[0])
    assert resolver.asked[LOOKUPS_MAX:] == [hosts[LOOKUPS_MAX + 1]]
    resolver.answer(hosts[1])
    assert resolver.asked[LOOKUPS_MAX:] == hosts[LOOKUPS_MAX + 1 :]


def test_what_worked_comes_first_and_what_was_useless_last() -> None:
    resolver = Resolver()
    names = resolver.names
    names.lookup("a")
    resolver.answer("a", "10.0.0.1", "10.0.0.2", "10.0.0.3")
    names.worked("a", 7400, "10.0.0.2")
    names.useless("a", 7400, "10.0.0.1")
    assert names.known("a", 7400) == ("10.0.0.2", "10.0.0.3", "10.0.0.1")
    assert names.known("a", 7401) == ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    names.useless("a", 7400, "10.0.0.2")
    assert names.known("a", 7400) == ("10.0.0.3", "10.0.0.2", "10.0.0.1")
    names.worked("a", 7400, "10.0.0.1")
    assert names.known("a", 7400) == ("10.0.0.1", "10.0.0.3", "10.0.0.2")


def test_what_worked_stays_known_when_the_name_leads_elsewhere() -> None:
    resolver = Resolver()
    names = resolver.names
    names.worked("a", 7400, "10.0.0.1")
    names.lookup("a")
    resolver.answer("a", "10.0.0.9")
    assert names.known("a", 7400) == ("10.0.0.1", "10.0.0.9")
    names.worked("a", 7400, "10.0.0.9")
    assert names.known("a", 7400) == ("10.0.0.9",)


def test_what_is_remembered_is_bounded() -> None:
    resolver = Resolver()
    names = resolver.names
    for number in range(REMEMBERED_MAX + 1):
        names.lookup(f"h{number}")
        resolver.answer(f"h{number}", *(f"10.0.0.{each}" for each in range(40)))
        names.worked(f"h{number}", 1, "10.0.0.1")
    assert names.known("h0", 1) == ()
    assert len(names.known(f"h{REMEMBERED_MAX}", 2)) == IPS_MAX


# -- threads ------------------------------------------------------------------------


def test_all_that_use_a_reactor_share_its_names() -> None:
    reactor = MemoryReactorClock()
    assert names_of(reactor) is names_of(reactor)
    assert names_of(MemoryReactorClock()) is not names_of(reactor)


def test_a_name_that_does_not_exist() -> None:
    found = resolve("no-such-host.invalid")
    assert isinstance(found, LookupFailed)
    assert "the name no-such-host.invalid was not found" in str(found)


@pytest.mark.parametrize("host", ["a..b", "x" * 200])
def test_a_name_that_cannot_be_one(host: str) -> None:
    found = resolve(host)
    assert isinstance(found, LookupFailed)
    assert host in str(found)


def test_a_name_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 0, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("10.0.0.1", 0)),
        (socket.AF_INET, 1, 6, "", ("10.0.0.1", 0)),
        (socket.AF_UNIX, 1, 6, "", ("nonsense",)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert resolve("a") == ("2001:db8::1", "10.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    assert "has no IP address" in str(resolve("a"))


def test_without_a_thread_the_lookup_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    reactor = MemoryReactorClock()
    found = outcome(names_of(reactor).lookup("a"))
    reactor.advance(0)
    assert "the name a cannot be looked up: can't start" in str(found[0])


HANGING = """
import socket, sys, threading
never = threading.Event()
asked = threading.Event()
socket.getaddrinfo = lambda *_, **__: (asked.set(), never.wait())
from twisted.internet import reactor
from wire.names import names_of
names_of(reactor).lookup("a")
reactor.callWhenRunning(lambda: (asked.wait(), reactor.stop()))
reactor.run()
"""


def test_a_process_ends_although_a_lookup_hangs() -> None:
    command = [sys.executable, "-c", HANGING]
    subprocess.run(command, timeout=20, check=True, cwd=ROOT)


def test_the_end_of_the_process_waits_for_no_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, enough, ended = (threading.Event() for _ in range(3))
    answer = lambda *_, **__: (asked.set(), enough.wait(10), [])[-1]  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    reactor = MemoryReactorClock()
    reactor.callFromThread = lambda *_: ended.set()
    names_of(reactor).lookup("waited.test")
    assert asked.wait(10), "it was looked up"
    [thread] = [each for each in threading.enumerate() if "waited.test" in each.name]
    assert thread.daemon
    enough.set()
    assert ended.wait(10), "it has ended"


def test_no_thread_of_the_reactor_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("its threads are joined at the end")

    monkeypatch.setattr(threads, "deferToThreadPool", fail)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    ended = threading.Event()
    reactor = MemoryReactorClock()
    reactor.callFromThread = lambda *_: ended.set()
    names_of(reactor).lookup("a")
    assert ended.wait(10), "a thread has looked the name up"


def test_a_lookup_leaves_no_cycle() -> None:
    resolver = Resolver()
    gc.collect()
    gc.disable()
    try:
        waiting = resolver.names.lookup("a")
        resolver.answer("a", "10.0.0.1")
        del waiting
        assert gc.collect() == 0
    finally:
        gc.enable()
