"""
One reactor in one thread of its own, for whoever blocks.

Thin.  It is a reactor apart from the program's own, so it is in nobody's way: a
script needs none, and a Twisted program may block in worker threads.  All
clerks of a process share it; it starts with the first call and ends with the
process.

The law here: no caller waits for it longer than its call may take.  The thread can
be gone (the process is ending, or was forked) or stuck; so a caller uses
its own clock, and checks from time to time whether the thread is running.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure

from client.errors import ClerkError, NotExecuted

try:
    from twisted.internet.epollreactor import EPollReactor as _Reactor
except ImportError:  # not on Linux
    from twisted.internet.selectreactor import SelectReactor as _Reactor

T = TypeVar("T")

#: How long the end of the process waits for clerks that nobody has closed.
EXIT_S: Final = 1.0

#: How much later than its deadline a call may end.  The reactor ends it in time;
#: only if it does not, the caller does.
LATE_S: Final = 0.25

#: How often a caller that waits checks whether the thread is running.
LOOK_S: Final = 0.5

#: After how long, and then how often, a call without a deadline is logged.
WARN_S: Final = 5.0
WARN_AGAIN_S: Final = 60.0

ENDING: Final = (
    "this program is ending, and its clerks are closed; an exit handler that is "
    "registered after the import of `BlockingClerk` may still use them"
)

_log: Final = logging.getLogger("client")


class _Daemon(threading.Thread):
    """A thread that the end of the process does not wait for."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more, daemon=True)


class Closable(Protocol):
    """What is open until it is closed, within so many seconds."""

    def close(self, *, timeout: float | None) -> Deferred[None]:
        """End it."""


class Background:
    """A running reactor, and how to have something done in it.

    Raises RuntimeError if no thread can be started.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        #: Held until there is a reactor to run.
        self._gate = threading.Lock()
        self._gate.acquire()
        self._thread = threading.Thread(
            target=self._work, name="understudy", daemon=True
        )
        # First of all: if this fails, nothing is left open.
        self._thread.start()
        if not self._thread.is_alive():
            raise RuntimeError("it was started and does not run")
        self.reactor: PosixReactorBase = _Reactor()
        #: The program's own reactor may say of itself that it is the one for IO.
        self.reactor._registerAsIOThread = False
        #: Threads that resolve names; the process must not wait for them.
        self.reactor.getThreadPool().threadFactory = _Daemon
        #: What is to be ended before the process ends.
        self.open: WeakSet[Closable] = WeakSet()
        self._gate.release()

    def _work(self) -> None:
        self._gate.acquire()
        self.reactor.run(installSignalHandlers=False)

    @property
    def is_usable(self) -> bool:
        """Whether its thread runs in this process; a thread is not forked."""
        return self._pid == os.getpid() and self._thread.is_alive()

    def run(
        self,
        function: Callable[[], Deferred[T]],
        limit_s: float | None,
        unanswered: type[ClerkError],
        obstacle: Callable[[], str],
    ) -> T:
        """Call in the reactor's thread, wait for the Deferred -> its result.

        If there is no result after *limit_s* seconds, or the thread is gone, this
        raises NotExecuted if the call was not begun, else *unanswered*.
        *obstacle* says what a call without a limit waits for.  Whatever
        interrupts the wait (Ctrl-C) cancels the Deferred.
        """
        if threading.get_ident() == self._thread.ident:
            raise RuntimeError(
                "this would wait for itself; use Clerk, not BlockingClerk"
            )
        waiting: _Waiting[T] = _Waiting(function)
        self.reactor.callFromThread(waiting.begin)
        try:
            why = self._wait(waiting.done, limit_s, obstacle)
        except BaseException:
            self._drop(waiting)
            raise
        if why:
            is_begun = self._drop(waiting)
            if not waiting.done.acquire(blocking=False):
                raise (unanswered if is_begun else NotExecuted)(why)
        return waiting.result()

    def _wait(
        self, done: threading.Lock, limit_s: float | None, obstacle: Callable[[], str]
    ) -> str:
        """Wait for *done* -> "", or why that is of no use any more."""
        began_s = time.monotonic()
        warn_s = WARN_S
        passed_s = 0.0
        while True:
            left_s = LOOK_S if limit_s is None else limit_s + LATE_S - passed_s
            if done.acquire(timeout=max(0.0, min(left_s, LOOK_S))):
                return ""
            passed_s = time.monotonic() - began_s
            if sys.is_finalizing():
                return ENDING
            if not self.is_usable:
                return ENDING if _is_ending else "the clerk's background thread ended"
            if limit_s is None:
                if passed_s >= warn_s:
                    _log.warning(
                        "a call has been waiting for %.0f s: %s", passed_s, obstacle()
                    )
                    warn_s = passed_s + WARN_AGAIN_S
            elif passed_s >= limit_s + LATE_S:
                return "its time was up, and the clerk's background thread is stuck"

    def _drop(self, waiting: _Waiting[Any]) -> bool:
        """The caller has stopped waiting -> whether the call was begun."""
        if waiting.claim():
            return False
        self.reactor.callFromThread(waiting.cancel)
        return True

    def close(self, clerk: Closable) -> None:
        """Close *clerk* and do not wait for it.  May be called at any moment in
        any thread, also by the garbage collector."""
        self.reactor.callFromThread(clerk.close, timeout=EXIT_S)

    def end(self) -> None:
        """Close what is open, and stop; takes no longer than `EXIT_S` or so."""
        with suppress(Exception):
            self.run(self._close_all, EXIT_S, NotExecuted, str)
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(EXIT_S)

    def _close_all(self) -> Deferred[Any]:
        closing = [each.close(timeout=EXIT_S) for each in self.open]
        gone = DeferredList(closing, consumeErrors=True)
        return gone.addTimeout(EXIT_S, self.reactor)

    def let_go(self) -> None:
        """In a child that was forked: close its copies of the sockets, which ends
        no connection of the parent.  As long as they are open here, a connection
        would outlive its owner."""
        each: Any
        for each in {*self.reactor.getReaders(), *self.reactor.getWriters()}:
            # The reactor itself is not told: its epoll is also the parent's.
            with suppress(Exception):
                each.socket.close()


class _Waiting(Generic[T]):
    """A thread waits for what is done in the reactor's."""

    def __init__(self, function: Callable[[], Deferred[T]]) -> None:
        self._function = function
        #: Held until the end; the cheapest thing to wait for, and Ctrl-C ends
        #: the wait.
        self.done = threading.Lock()
        self.done.acquire()
        #: Held once it is begun, or will never be.
        self._claimed = threading.Lock()
        self._deferred: Deferred[T] | None = None
        self._outcome: T | Failure

    def claim(self) -> bool:
        """Decide that it is begun, or never will be; False: this was decided before."""
        return self._claimed.acquire(blocking=False)

    def begin(self) -> None:
        """Do it; in the reactor's thread."""
        if self.claim():
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


#: The one of this process, and what guards it; a fork may happen while another
#: thread holds the lock, so a child has its own.
_shared: Background | None = None
_lock = threading.RLock()
_is_ending = False

#: Those of processes that this one was forked from.  They are kept: to collect
#: them would change nothing but show sockets that were never closed.
_inherited: list[Background] = []


def exclusive() -> AbstractContextManager[bool]:
    """Keeps the other threads of this process from beginning anything."""
    return _lock


def background() -> Background:
    """The one of this process.  Raises NotExecuted if there can be none."""
    global _shared  # noqa: PLW0603 -- one thread for all is what it is for
    with _lock:
        if _is_ending:
            raise NotExecuted(ENDING)
        if _shared is None or not _shared.is_usable:
            try:
                _shared = Background()
            except RuntimeError as error:
                raise NotExecuted(f"no thread can be started: {error}") from error
        return _shared


def _exit() -> None:
    global _is_ending  # noqa: PLW0603
    _is_ending = True
    if _shared is not None and _shared.is_usable:
        _shared.end()


def _forked() -> None:
    global _shared, _lock  # noqa: PLW0603
    _lock = threading.RLock()
    if _shared is not None:
        _inherited.append(_shared)
        _shared.let_go()
        _shared = None


# At import and not with the first clerk: the last that is registered runs first,
# and most exit handlers that use a clerk are registered in between.
atexit.register(_exit)
os.register_at_fork(after_in_child=_forked)
