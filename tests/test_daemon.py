"""A daemon's process: its loop over events, its clock, its files.

Of the loop: what is told together, what comes after, what breaks.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import resource
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock, LoopingCall
from twisted.logger import Logger, LogPublisher, capturedLogs

from wire.daemon import (
    FILES_RESERVED,
    TURN_S,
    RefusedAccepts,
    begin,
    install_fast_epoll_loop,
    places,
    turn_end,
)
from wire.listener import (
    OBSERVER_CONNECTIONS_MAX,
    SERVER_CONNECTIONS_MAX,
    STRANGERS_MAX,
)
from wire.logs import Lines

Act = Callable[[], object]


class Mailbox:
    """One readable end of a pair of sockets, as a reactor sees it."""

    def __init__(self, act: Act) -> None:
        self.near, self.far = socket.socketpair()
        self.act = act
        self.lost: object = None

    def fileno(self) -> int:
        return self.near.fileno()

    def logPrefix(self) -> str:  # noqa: N802 -- as Twisted calls it
        return "mailbox"

    def doRead(self) -> object:  # noqa: N802
        self.near.recv(100)
        return self.act()

    def connectionLost(self, reason: object) -> None:
        self.lost = reason


@pytest.fixture(params=[0, 100])
def reactor(request):
    reactor = EPollReactor()
    install_fast_epoll_loop(reactor, request.param)
    yield reactor
    for reader in reactor.removeAll():
        reader.near.close()
        reader.far.close()


def run(reactor: EPollReactor) -> None:
    """Until somebody stops it, or for 5 s, which is a failure."""
    late: list[object] = []
    reactor.callLater(5, lambda: (late.append(1), reactor.stop()))
    reactor.run(installSignalHandlers=False)
    assert not late, "nobody has stopped the reactor"


def test_the_end_of_a_turn_comes_after_all_its_events_and_once(reactor):
    told: list[object] = []
    at_end = turn_end(reactor)

    def end() -> None:
        told.append("end")
        reactor.stop()

    def first() -> None:
        told.append("first")
        at_end(end)

    boxes = [Mailbox(first), Mailbox(lambda: told.append("second"))]
    for box in boxes:
        reactor.addReader(box)
        box.far.send(b"x")
    run(reactor)
    assert sorted(told[:2]) == ["first", "second"]
    assert told[2:] == ["end"]


def test_what_a_timer_wants_done_does_not_wait_for_an_event(reactor):
    done: list[float] = []
    at_end = turn_end(reactor)
    begun = reactor.seconds()

    def end() -> None:
        done.append(reactor.seconds() - begun)
        reactor.stop()

    reactor.callLater(0.01, lambda: at_end(end))
    run(reactor)
    assert done[0] < 4


def test_a_timer_that_is_set_at_the_end_of_a_turn_is_in_time(reactor):
    at_end = turn_end(reactor)
    end = lambda: reactor.callLater(0.01, reactor.stop)  # noqa: E731
    reactor.callLater(0.01, lambda: at_end(end))
    run(reactor)


def test_what_is_wanted_at_the_end_of_a_turn_is_done_in_the_next(reactor):
    told: list[str] = []
    at_end = turn_end(reactor)

    def second() -> None:
        told.append("second")
        reactor.stop()

    def first() -> None:
        told.append("first")
        at_end(second)

    reactor.callLater(0, lambda: at_end(first))
    run(reactor)
    assert told == ["first", "second"]


def test_a_turn_takes_no_longer_than_its_time_and_one_read(reactor):
    """However many connections have something to say; timers come in between, and
    nobody is forgotten."""
    told: list[str] = []
    at_end = turn_end(reactor)

    def work(name: str) -> None:
        told.append(name)
        at_end(lambda: told.append("end"))
        stop = time.monotonic() + 2 * TURN_S
        while time.monotonic() < stop:
            pass
        if len({each for each in told if each.isdecimal()}) == len(boxes):
            reactor.stop()

    boxes = [Mailbox(lambda name=str(n): work(name)) for n in range(6)]
    for box in boxes:
        reactor.addReader(box)
        box.far.send(b"x")
    timer = LoopingCall(lambda: told.append("timer"))
    timer.clock = reactor
    timer.start(TURN_S / 2, now=False)
    run(reactor)
    reads = [each for each in told if each.isdecimal()]
    assert sorted(reads) == [str(n) for n in range(6)]
    for one, other in itertools.pairwise(reads):
        between = told[told.index(one) : told.index(other)]
        assert "end" in between
        assert "timer" in between


def test_those_who_always_have_something_to_say_keep_nobody_out(reactor):
    """epoll reports them in the same order each time, the same ones first."""
    told: list[str] = []

    def work(name: str) -> None:
        told.append(name)
        stop = time.monotonic() + 2 * TURN_S
        while time.monotonic() < stop:
            pass
        if len(told) == 4 * len(boxes):
            reactor.stop()

    boxes = [Mailbox(lambda name=name: work(name)) for name in "abcd"]
    for box in boxes:
        reactor.addReader(box)
        box.far.send(bytes(100 * 100))
    run(reactor)
    # Each in its turn, in whatever order that is.
    turns = ["".join(told[at : at + 4]) for at in range(0, len(told), 4)]
    assert turns == [turns[0]] * 4
    assert sorted(turns[0]) == ["a", "b", "c", "d"]


def test_where_there_is_no_time_for_all_those_come_first_who_are_not_patient(reactor):
    """A server is heard in each turn, however many clerks always have something to
    say; and of these, one at least."""
    turns = turns_of(reactor, slow="abcdef", quick="S")
    assert all("S" in turn for turn in turns)
    assert {turn.replace("S", "") for turn in turns} == set("abcdef")


def test_those_who_are_patient_are_heard_whoever_else_has_something_to_say(reactor):
    turns = turns_of(reactor, slow="abcST")
    patient = [each for turn in turns for each in turn if each in "abc"]
    assert len(patient) == len(turns)
    assert set(patient) == set("abc")
    assert "S" in "".join(turns)
    assert "T" in "".join(turns)


def turns_of(reactor: Any, slow: str, quick: str = "") -> list[str]:
    """Who is heard in each turn but the first, where all have always something to
    say; small letters are patient.  Those who are *slow* take two turns' time each."""
    told: list[str] = []

    def work(name: str) -> None:
        told.append(name)
        at_end(lambda: told.append("|"))
        stop = time.monotonic() + 2 * TURN_S
        while name in slow and time.monotonic() < stop:
            pass
        if len(told) >= 80 and reactor.running:
            told.append("end")
            reactor.stop()

    at_end = turn_end(reactor)
    boxes = {name: Mailbox(lambda name=name: work(name)) for name in slow + quick}
    for name, box in boxes.items():
        box.protocol = SimpleNamespace(is_patient=name.islower())
        reactor.addReader(box)
        box.far.send(bytes(100 * 100))
    run(reactor)
    turns = [turn for turn in "".join(told[: told.index("end")]).split("|") if turn]
    return turns[1:-1]


def test_what_breaks_in_one_connection_ends_that_one(reactor):
    def break_() -> None:
        raise ZeroDivisionError

    def go_on() -> None:
        lost.extend((broken.lost, sound.lost))
        reactor.stop()

    lost: list[object] = []
    broken, sound = Mailbox(break_), Mailbox(go_on)
    for box in (broken, sound):
        reactor.addReader(box)
    broken.far.send(b"x")
    reactor.callLater(0.01, sound.far.send, b"x")
    with capturedLogs() as logs:
        run(reactor)
    assert lost[0].check(ZeroDivisionError)
    assert lost[1] is None
    assert [each for each in logs if each.get("isError")]


def test_on_another_reactor_the_end_of_a_turn_is_a_call_of_its_own():
    clock = Clock()
    done: list[int] = []
    turn_end(clock)(lambda: done.append(1))
    assert not done
    clock.advance(0)
    assert done == [1]


# -- a daemon's process ---------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch):
    """A reactor after `begin`, and nothing left of it in this process."""
    monkeypatch.setattr("wire.fail_stop._is_ours", False)
    monkeypatch.setattr("wire.daemon.globalLogPublisher", LogPublisher())
    reactor = EPollReactor()
    begin(reactor)
    yield reactor
    reactor.removeAll()


def test_timers_go_by_a_clock_that_is_never_set(begun, monkeypatch):
    """Twisted's own is the wall clock: set back by an hour, no tick would come."""
    assert begun.seconds is time.monotonic
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall - 3600)
    fired: list[float] = []
    begin_s = time.monotonic()
    begun.callLater(0.01, lambda: (fired.append(begun.seconds()), begun.stop()))
    run(begun)
    assert 0.01 <= fired[0] - begin_s < 4


def test_to_be_told_twice_to_stop_is_no_error(begun):
    ended: list[int] = []
    begun.addSystemEventTrigger("after", "shutdown", ended.append, 1)
    begun.callLater(0, lambda: [begun.stop() for _ in range(3)])
    run(begun)
    assert ended == [1]
    begun.stop()


def test_it_has_as_many_files_as_the_system_allows(begun):
    del begun
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


# -- as many callers as there are files ------------------------------------------------

#: Callers that are no clerks.
OTHERS = SERVER_CONNECTIONS_MAX + OBSERVER_CONNECTIONS_MAX + STRANGERS_MAX

FILES = [
    # clerks asked for, files, clerks possible
    (4096, 1_048_576, 4096),
    (4096, 4096 + OTHERS + FILES_RESERVED, 4096),
    (4096, 4096 + OTHERS + FILES_RESERVED - 1, 4095),
    (4096, 1024, 896 - 2 * 224 - 56),
    (4096, 64, 32 - 2 * 8 - 2),
    (14, 64, 14),
    (4096, resource.RLIM_INFINITY, 4096),
]


@pytest.mark.parametrize(("asked", "files", "possible"), FILES)
def test_callers_leave_files_for_everything_else(asked, files, possible, monkeypatch):
    limits = (files, files)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    with capturedLogs() as logs:
        found = places(asked, 7)
    assert (found.clerks, found.per_address) == (possible, 7)
    told = [each["understudy_values"] for each in logs]
    assert len(told) == (possible < asked)
    for values in told:
        assert (values["files"], values["connections"]) == (files, possible)
        assert str(asked) in values["text"]
        assert "ulimit -n" in values["text"]


class Exhausted:
    """A listening socket of a process that has no files left."""

    def __init__(self, error: int, calls: int = 1) -> None:
        self.errors = [error] * calls

    def accept(self):
        number = self.errors.pop() if self.errors else errno.EAGAIN
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"])
@pytest.mark.parametrize("is_reserved", [True, False])
def test_a_failing_accept_is_logged_once_a_minute(error, is_reserved):
    """Of what this Twisted reports, in its own words."""
    clock = Clock()
    observer = RefusedAccepts(clock)
    reserved = tcp._FileDescriptorReservation(lambda: open(os.devnull))  # noqa: PTH123, SIM115
    if is_reserved:
        reserved.reserve()

    def accept() -> int:
        lines = io.StringIO()
        whole = LogPublisher(observer, Lines(lines))
        logger = Logger(tcp.Port._logger.namespace, observer=whole)
        with capturedLogs() as logs:
            listener = Exhausted(getattr(errno, error))
            assert list(tcp._accept(logger, range(3), listener, reserved)) == []
        for each in logs:
            assert each["understudy_event"] == "accept.failed"
            assert each["understudy_values"]["error"] == error
        assert lines.getvalue() == "", "no line for each caller"
        return len(logs)

    assert accept() == 1
    clock.advance(59)
    assert accept() == 0
    clock.advance(1)
    assert accept() == 1


def test_other_events_of_twisted_are_no_failing_accept():
    observer = RefusedAccepts(Clock())
    with capturedLogs() as logs:
        Logger("twisted.internet.tcp", observer=observer).info("something else")
        Logger("elsewhere", observer=observer).info("EMFILE encountered; ...")
    assert logs == []
