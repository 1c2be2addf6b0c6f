"""
The clerk for plain scripts: the same calls, with plain results.

    with BlockingClerk("tcp:127.0.0.1:7400", timeout=5) as clerk:
        clerk.put("greeting", "hello")

Thin: each call is made on a `Clerk` in a background thread, and waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from twisted.internet.defer import Deferred

from client.arguments import Octets
from client.background import background
from client.clerk import Clerk
from wire.commands import AnyAnswer

T = TypeVar("T")


class BlockingClerk:
    """Calls on the service whose view service is at *views*.

    Arguments, methods, results and errors are those of `client.Clerk`, but
    every call waits for its result, and Ctrl-C ends the wait.  May be used from
    several threads.  A script need not close it, but one that does leaves
    nothing behind at the service; ``with`` closes.
    """

    def __init__(
        self,
        views: str | Sequence[str],
        timeout: float | None = None,
        window: int = 8,
    ) -> None:
        self._background = background()
        self._clerk = Clerk(self._background.reactor, views, timeout, window)
        self._background.open.add(self._clerk)

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
        return self._wait(self._clerk.get, key, timeout=timeout)

    def put(self, key: Octets, value: Octets, *, timeout: float | None = None) -> None:
        """Set *key* to *value*."""
        return self._wait(self._clerk.put, key, value, timeout=timeout)

    def append(
        self, key: Octets, suffix: Octets, *, timeout: float | None = None
    ) -> int:
        """Append to the value, an absent key counting as empty -> the new
        length in bytes."""
        return self._wait(self._clerk.append, key, suffix, timeout=timeout)

    def delete(self, key: Octets, *, timeout: float | None = None) -> bool:
        """Remove *key* -> whether it was there."""
        return self._wait(self._clerk.delete, key, timeout=timeout)

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
        return self._wait(self._clerk.cas, key, expected, value, timeout=timeout)

    def incr(self, key: Octets, by: int = 1, *, timeout: float | None = None) -> int:
        """Add *by*, an absent key counting as 0 -> the new number."""
        return self._wait(self._clerk.incr, key, by, timeout=timeout)

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
        return self._wait(
            self._clerk.scan, prefix, start=start, end=end, limit=limit, timeout=timeout
        )

    def execute(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Any:
        """Execute any machine's command; see `Clerk.execute`."""
        return self._wait(self._clerk.execute, command, answer=answer, timeout=timeout)

    def ask(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Any:
        """The same for a command that only reads."""
        return self._wait(self._clerk.ask, command, answer=answer, timeout=timeout)

    def close(self, *, timeout: float | None = None) -> None:
        """Finish the calls of other threads, forget the session, hang up."""
        self._wait(self._clerk.close, timeout=timeout)
        self._background.open.discard(self._clerk)

    def _wait(self, call: Callable[..., Deferred[T]], *args: Any, **more: Any) -> T:
        return self._background.run(call, *args, **more)
