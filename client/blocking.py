"""
The clerk for plain scripts: the same calls, with plain results.

    with BlockingClerk("tcp:127.0.0.1:7400", timeout=5) as clerk:
        clerk.put("greeting", "hello")

Thin: each call is made on a `Clerk` in a background thread, and waited for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

from twisted.internet.defer import Deferred

from client.arguments import Octets, as_addresses, as_timeout_ms, as_window
from client.background import Background, background, exclusive
from client.clerk import Clerk
from client.errors import ClerkError, InDoubt, NotExecuted
from wire.commands import AnyAnswer

T = TypeVar("T")


class _Core(NamedTuple):
    """A clerk, and the thread in which it lives."""

    background: Background
    clerk: Clerk


class BlockingClerk:
    """Calls on the service whose view service is at *views*.

    Arguments, methods, results and errors are those of `client.Clerk`, but
    every call waits for its result, and Ctrl-C ends the wait.  May be used from
    several threads.  Create one and reuse it: each opens its own connections,
    which are closed by `close`, at the end of a ``with`` block and at the end of
    the program; one that is garbage-collected closes them with a ResourceWarning.

    A call ends at its timeout at the latest, and does not wait when the program
    is ending: it ends as `NotExecuted`, or as `InDoubt` if it may have been
    executed.  A call without a timeout that waits is logged after 5 s and then
    every minute (Python's `logging`, ``client``).

    After a fork, parent and child are independent: the parent keeps the
    connections, and the first call in the child opens new ones, with a new
    session.  The order of its calls and the parent's is not defined.
    """

    def __init__(
        self,
        views: str | Sequence[str],
        timeout: float | None = None,
        window: int = 8,
    ) -> None:
        self._addresses = as_addresses(views)
        self._timeout = timeout
        self._timeout_ms = as_timeout_ms(timeout)
        self._window = as_window(window)
        #: Begun with the first call, and again in a child after a fork.
        self._core: _Core | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<BlockingClerk {' '.join(self._addresses)}>"

    def __reduce__(self) -> NoReturn:
        # A copy would share the connections, and close them when it is collected.
        raise TypeError(
            f"{self!r} has connections and cannot be pickled or copied; make another "
            "one where it is needed"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        here = getattr(self, "_core", None)
        if here is None or self._is_closed or not here.background.is_usable:
            return
        here.background.close(here.clerk)
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, key: Octets, *, timeout: float | None = None) -> bytes | None:
        """The value of *key*, or None if there is no such key."""
        return self._read(Clerk.get, key, timeout=timeout)

    def put(self, key: Octets, value: Octets, *, timeout: float | None = None) -> None:
        """Set *key* to *value*."""
        return self._write(Clerk.put, key, value, timeout=timeout)

    def append(
        self, key: Octets, suffix: Octets, *, timeout: float | None = None
    ) -> int:
        """Append to the value, an absent key counting as empty -> the new
        length in bytes."""
        return self._write(Clerk.append, key, suffix, timeout=timeout)

    def delete(self, key: Octets, *, timeout: float | None = None) -> bool:
        """Remove *key* -> whether it was there."""
        return self._write(Clerk.delete, key, timeout=timeout)

    def cas(
        self,
        key: Octets,
        expected: Octets | None,
        value: Octets,
        *,
        timeout: float | None = None,
    ) -> bool:
        """Compare and set -> whether the value was *expected* (None: the key
        was absent) and is now *value*."""
        return self._write(Clerk.cas, key, expected, value, timeout=timeout)

    def incr(self, key: Octets, by: int = 1, *, timeout: float | None = None) -> int:
        """Add *by*, an absent key counting as 0 -> the new number."""
        return self._write(Clerk.incr, key, by, timeout=timeout)

    def scan(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """Keys with their values, in order of keys; see `Clerk.scan`."""
        return self._read(
            Clerk.scan, prefix, start=start, end=end, limit=limit, timeout=timeout
        )

    def execute(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Any:
        """Execute any machine's command; see `Clerk.execute`."""
        return self._write(Clerk.execute, command, answer=answer, timeout=timeout)

    def ask(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Any:
        """The same for a command that only reads."""
        return self._read(Clerk.ask, command, answer=answer, timeout=timeout)

    def close(self, *, timeout: float | None = None) -> None:
        """Finish the calls of other threads, close the session, disconnect.

        In a child that was forked, the connections of the parent stay as they
        are."""
        here, self._is_closed = self._core, True
        if here is not None and here.background.is_usable:
            # It is closed whatever comes; and if the thread ends, that is all.
            with suppress(ClerkError):
                self._run(here, InDoubt, Clerk.close, timeout=timeout)
            here.background.open.discard(here.clerk)

    def _read(self, call: Callable[..., Deferred[T]], *args: Any, **more: Any) -> T:
        return self._run(self._begun(), NotExecuted, call, *args, **more)

    def _write(self, call: Callable[..., Deferred[T]], *args: Any, **more: Any) -> T:
        return self._run(self._begun(), InDoubt, call, *args, **more)

    def _begun(self) -> _Core:
        """The conversation of this process.  Raises NotExecuted."""
        here = self._core
        if here is None or not here.background.is_usable:
            with exclusive():
                here = self._core
                if here is None or not here.background.is_usable:
                    here = self._core = self._begin()
        return here

    def _begin(self) -> _Core:
        if self._is_closed:
            raise NotExecuted("the clerk is closed")
        ground = background()
        clerk = Clerk(ground.reactor, self._addresses, self._timeout, self._window)
        ground.open.add(clerk)
        return _Core(ground, clerk)

    def _run(
        self,
        here: _Core,
        unanswered: type[ClerkError],
        call: Callable[..., Deferred[T]],
        *args: Any,
        timeout: float | None,
        **more: Any,
    ) -> T:
        timeout_ms = self._timeout_ms if timeout is None else as_timeout_ms(timeout)
        return here.background.run(
            lambda: call(here.clerk, *args, timeout=timeout, **more),
            None if timeout_ms is None else timeout_ms / 1000,
            unanswered,
            here.clerk.obstacle,
        )
