"""
Clerks that append and read without pause, and write down what they were told.

What comes of it is for `understudy.history` to judge.  Keys are taken in turn
before their values grow long, so that reading one stays cheap however long it
goes on; and all clerks share them, so that they meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Final
from zlib import crc32

from twisted.internet.defer import Deferred, gatherResults

from client.clerk import Clerk
from client.errors import InDoubt, NotExecuted
from understudy.history import (
    DONE,
    IN_DOUBT,
    NOT_EXECUTED,
    Append,
    Read,
    Record,
    mark,
)

#: A value that has become as long is left for the next, bytes.
LENGTH_MAX: Final = 4_000

#: How many values grow at a time.
LANES: Final = 4

#: One operation in so many is a read.
READS: Final = 4

#: A pause after a call that was not executed: what refuses it may do so at once.
_REFUSED_S: Final = 0.02

now_ns: Final = time.monotonic_ns


class Worker:
    """One clerk at work under *name*, which occurs once in the world.

    Each record goes to *take* as soon as its operation has ended.  With more
    than one *outstanding*, so many operations are under way at any time.  One
    in *hasty* calls (0: none) has a deadline that it may well miss.  Before the
    next one it thinks for *think_s* seconds.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        views: Sequence[str],
        random: Random,
        take: Callable[[Record], None],
        *,
        outstanding: int = 1,
        hasty: int = 0,
        think_s: float = 0.0,
    ) -> None:
        self.name = name
        self._reactor = reactor
        self._clerk = Clerk(reactor, views)
        self._random = random
        self._take = take
        self._hasty = hasty
        self._think_s = think_s
        self._number = 0
        self._epochs = [0] * LANES
        self._is_stopping = False
        self._ended = gatherResults(
            [Deferred.fromCoroutine(self._work()) for _ in range(outstanding)],
            consumeErrors=True,
        )

    async def stop(self) -> None:
        """Make no more calls; returns when those that were made have ended."""
        self._is_stopping = True
        try:
            await self._ended
        finally:
            await self._clerk.close(timeout=1.0)

    async def _work(self) -> None:
        while not self._is_stopping:
            lane = self._random.randrange(LANES)
            if self._random.randrange(READS):
                await self._append(lane)
            else:
                await self._read(lane)
            if self._think_s:
                await _pause(self._reactor, self._think_s)

    def _timeout(self) -> float | None:
        if self._hasty and not self._random.randrange(self._hasty):
            return self._random.choice((0.001, 0.003, 0.01))
        return None

    async def _append(self, lane: int) -> None:
        self._number = number = self._number + 1
        key, timeout = f"{lane}-{self._epochs[lane]}", self._timeout()
        outcome, length = DONE, 0
        began = now_ns()
        try:
            length = await self._clerk.append(
                key, mark(self.name, number), timeout=timeout
            )
        except InDoubt:
            outcome = IN_DOUBT
        except NotExecuted:
            outcome = NOT_EXECUTED
        ended = now_ns()
        self._take(Append(self.name, number, key, began, ended, outcome, length))
        if length > LENGTH_MAX and key == f"{lane}-{self._epochs[lane]}":
            self._epochs[lane] += 1
        if outcome == NOT_EXECUTED:
            await _pause(self._reactor, _REFUSED_S)

    async def _read(self, lane: int) -> None:
        key, timeout = f"{lane}-{self._epochs[lane]}", self._timeout()
        began = now_ns()
        try:
            value = await self._clerk.get(key, timeout=timeout) or b""
        except NotExecuted:
            await _pause(self._reactor, _REFUSED_S)
            return
        self._take(Read(self.name, key, began, now_ns(), len(value), crc32(value)))


def _pause(reactor: Any, seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting


async def read_all(
    reactor: Any, views: Sequence[str], keys: Iterable[str], seconds: float
) -> dict[str, bytes]:
    """The values of *keys* as they are now, seen by a clerk that knows nothing
    yet.  Raises `NotExecuted` after *seconds*."""
    clerk = Clerk(reactor, views, timeout=seconds)
    names = sorted(set(keys))
    try:
        values = await gatherResults(
            [clerk.get(name) for name in names], consumeErrors=True
        )
    finally:
        await clerk.close(timeout=1.0)
    return {name: value or b"" for name, value in zip(names, values, strict=True)}
