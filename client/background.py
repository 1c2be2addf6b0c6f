"""
One reactor in one thread of its own, for whoever blocks.

Thin.  It is a reactor apart from the program's own, so it is in nobody's way: a
script needs none, and a Twisted program may block in worker threads.  All
clerks of a process share it; it starts with the first and ends with the
process.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

try:
    from twisted.internet.epollreactor import EPollReactor as _Reactor
except ImportError:  # not on Linux
    from twisted.internet.selectreactor import SelectReactor as _Reactor

T = TypeVar("T")


class _Daemon(threading.Thread):
    """A thread that the end of the process does not wait for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more, daemon=True)


#: How long the end of the process waits for clerks that nobody has closed.
EXIT_S: Final = 1.0


class Closable(Protocol):
    """What is open until it is closed, within so many seconds."""

    def close(self, *, timeout: float | None) -> Deferred[None]:
        """End it."""


class Background:
    """A running reactor, and how to have something done in it."""

    def __init__(self) -> None:
        self.reactor: PosixReactorBase = _Reactor()
        #: The program's own reactor may say of itself that it is the one for IO.
        self.reactor._registerAsIOThread = False
        #: Threads that resolve names; the process must not wait for them.
        self.reactor.getThreadPool().threadFactory = _Daemon
        self._pid = os.getpid()
        #: What is to be ended before the process ends.
        self.open: WeakSet[Closable] = WeakSet()
        self._thread = threading.Thread(
            target=self.reactor.run,
            kwargs={"installSignalHandlers": False},
            name="understudy",
            daemon=True,
        )
        self._thread.start()
        atexit.register(self._exit)

    @property
    def is_here(self) -> bool:
        """Whether it runs in this process: a thread is not forked."""
        return self._pid == os.getpid()

    def run(self, function: Callable[..., Deferred[T]], *args: Any, **more: Any) -> T:
        """Call in the reactor's thread, wait for the Deferred -> its result.

        Whatever interrupts the wait (Ctrl-C) cancels the Deferred.
        """
        if not self.is_here:
            raise RuntimeError("this clerk was made before a fork; make a new one")
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError(
                "this would wait for itself; use Clerk, not BlockingClerk"
            )
        waiting: _Waiting[T] = _Waiting(partial(function, *args, **more))
        self.reactor.callFromThread(waiting.begin)
        try:
            waiting.done.acquire()
        except BaseException:
            self.reactor.callFromThread(waiting.cancel)
            raise
        return waiting.result()

    def _exit(self) -> None:
        if not self.is_here:
            return
        with suppress(Exception):
            self.run(self._close_all)
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(EXIT_S)

    def _close_all(self) -> Deferred[Any]:
        closing = DeferredList([each.close(timeout=EXIT_S) for each in self.open])
        return closing.addTimeout(EXIT_S, self.reactor)


class _Waiting(Generic[T]):
    """A thread waits for what is done in the reactor's."""

    def __init__(self, function: Callable[[], Deferred[T]]) -> None:
        self._function = function
        #: Held until the end; the cheapest thing to wait for, and Ctrl-C ends
        #: the wait.
        self.done = threading.Lock()
        self.done.acquire()
        self._deferred: Deferred[T] | None = None
        self._outcome: T | Failure

    def begin(self) -> None:
        """Do it; in the reactor's thread."""
        self._deferred = maybeDeferred(self._function)
        self._deferred.addBoth(self._end)

    def cancel(self) -> None:
        """Nobody waits any more; in the reactor's thread."""
        if self._deferred is not None:
            self._deferred.cancel()

    def result(self) -> T:
        """What came of it, once it is done."""
        outcome = self._outcome
        if isinstance(outcome, Failure):
            outcome.raiseException()
        return outcome

    def _end(self, outcome: T | Failure) -> None:
        self._outcome = outcome
        self.done.release()


_shared: Background | None = None
_lock = threading.Lock()


def background() -> Background:
    """The one of this process."""
    global _shared  # noqa: PLW0603 -- one thread for all is what it is for
    with _lock:
        if _shared is None or not _shared.is_here:
            _shared = Background()
        return _shared
