"""
What both daemons share: checking what was typed, and ending with a reason.

Twisted, and thin.  twistd ends with exit code 0 whatever happened; a daemon
that could not do its work says why in one line and ends with 1.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import resource
import sys
import time
from collections.abc import Callable
from select import EPOLLIN
from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ReactorNotRunning
from twisted.python import log
from twisted.python.usage import UsageError

from wire.invariants import own_process
from wire.logs import get_logger
from wire.spin import spinning

EXIT_CODE: Final = 1

_log = get_logger("wire.daemon")
#: Why this process cannot go on; told once.
_failures: list[str] = []


def check_endpoint(option: str, endpoint: str) -> None:
    """Raise UsageError, with the value, if *endpoint* is no server endpoint."""
    from twisted.internet import reactor  # noqa: PLC0415 -- parsing needs one

    try:
        serverFromString(reactor, endpoint)
    except Exception as error:  # noqa: BLE001 -- endpoint plugins raise anything
        raise UsageError(
            f"{option}: not an endpoint: {endpoint!r} ({error});"
            " write for example tcp:7400:interface=127.0.0.1"
        ) from None


def begin(reactor: Any, spin_us: int = 0) -> None:
    """What every daemon wants of its process, before anything is scheduled;
    *spin_us* is for `wire.spin`."""
    own_process()
    steady(reactor)
    lean(reactor, spin_us)
    many_files()


def steady(reactor: Any) -> None:
    """Have *reactor* count seconds by a clock that nobody sets.

    Twisted's own is the wall clock: set back by an hour, no timer of a running
    process fires for an hour; set forward, all of them do.  To be called before
    anything is scheduled.
    """
    assert not reactor.getDelayedCalls(), "timers by the other clock are set"
    reactor.seconds = time.monotonic


def many_files() -> None:
    """Let this process have as many connections as the system allows it; the
    usual limit of 1024 is less than `wire.listener.CONNECTIONS_MAX`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lean(reactor: Any, spin_us: int = 0) -> None:
    """Spare *reactor* the log context that Twisted makes around every event, for
    nothing here logs by it, and sleep between events that come fast.  Only the
    epoll reactor knows how; any other is left as it is."""
    kind: object = type(reactor)
    if kind is not EPollReactor:
        return
    poll, selectables = spinning(reactor._poller.poll, spin_us), reactor._selectables
    act = reactor._doReadOrWrite
    due: list[Callable[[], None]] = []

    def iterate(timeout_s: float | None) -> None:
        if due:
            # Timers have asked for it, when it was counted how long to wait.
            end_turn()
            timeout_s = 0
        timeout_s = -1 if timeout_s is None else timeout_s
        for fd, event in poll(timeout_s, len(selectables)):
            # One event may have closed the connection of a later one.
            if (selectable := selectables.get(fd)) is None:
                continue
            if event != EPOLLIN:
                act(selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:  # noqa: BLE001 -- as Twisted does
                why = error
                log.err()
            if why:
                reactor._disconnectSelectable(selectable, why, True)
        if due:
            end_turn()

    def end_turn() -> None:
        calls = due.copy()
        due.clear()
        for call in calls:
            call()

    reactor.doIteration = iterate
    reactor.at_turn_end = due.append


def turn_end(reactor: Any) -> Callable[[Callable[[], None]], object]:
    """How to have something done once when this turn of *reactor* has told all
    that has happened."""
    lean_way: Callable[[Callable[[], None]], object] | None
    lean_way = getattr(reactor, "at_turn_end", None)
    return lean_way or functools.partial(reactor.callLater, 0)


def fail(reactor: Any, text: str) -> None:
    """Say why this process cannot go on, and end it in order, with exit code 1."""
    if _failures:
        return
    _failures.append(text)
    _log.critical("daemon.failed", text=text)
    atexit.register(_exit)
    reactor.callWhenRunning(_stop, reactor)


def _stop(reactor: Any) -> None:
    with contextlib.suppress(ReactorNotRunning):  # It is stopping already.
        reactor.stop()


def _exit() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)
