"""The lean loop over events: what is told together, what comes after, what breaks."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from wire.daemon import lean, turn_end

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
    lean(reactor, request.param)
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
