"""Waiting for a condition over real sockets, with a limit that says what for."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater


async def until(
    condition: Callable[[], object], what: str, limit_s: float = 5.0
) -> None:
    """Come back when *condition* is true; AssertionError, with *what*, if it is
    not within *limit_s* seconds."""
    end = reactor.seconds() + limit_s
    while not condition():
        assert reactor.seconds() < end, f"not within {limit_s:g} s: {what}"
        await deferLater(reactor, 0.002, lambda: None)
