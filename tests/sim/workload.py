"""
What clerks ask in a simulated world, drawn from its seed.

Three kinds of keys: ``a..`` are only appended to, so that they tell who wrote
what in which order; ``n..`` are counters; ``r..`` see everything.
"""

from __future__ import annotations

import functools
from random import Random
from typing import TYPE_CHECKING, Final

from client.errors import NotExecuted
from tests.sim.agenda import MS
from tests.sim.checker_clerks import suffix
from tests.sim.clerk import ClerkProcess
from tests.sim.excerpt import Excerpt
from tests.sim.streams import stream
from wire.commands import AnyCommand, Append, Cas, Delete, Get, Incr, Put, Scan

if TYPE_CHECKING:
    from tests.sim.world import World

KEYS: Final = (b"a0", b"a1", b"n0", b"r0", b"r1")


class Workload:
    """Everybody's calls, until it is told to stop."""

    def __init__(self, world: World, excerpt: Excerpt) -> None:
        self._world = world
        random = stream(world.seed, "workload")
        self._think_us = random.choice((10, 60, 250)) * MS
        self._reads = random.choice((10, 40, 70))
        self._deadlines = random.choice((0, 0, 20))
        self._outstanding_max = random.choice((1, 2, 3, 5))
        #: How many calls are still to be made; None: no end of them.
        self._left = excerpt.calls
        self._from_us = excerpt.from_us
        self.made = 0
        #: Of whoever calls now.
        self._random = random
        self._randoms: dict[str, Random] = {}
        self._last: dict[bytes, bytes] = {}

    def begin(self, clerk: ClerkProcess) -> None:
        """That clerk calls from now on."""
        name = clerk.name
        self._random = self._randoms[name] = stream(self._world.seed, f"calls {name}")
        self._later(clerk)

    def end(self) -> None:
        """Nobody calls any more."""
        self._left = 0

    def _later(self, clerk: ClerkProcess) -> None:
        delay_us = self._random.randrange(2 * self._think_us)
        clerk.later(delay_us, functools.partial(self._call, clerk))

    def _call(self, clerk: ClerkProcess) -> None:
        if self._left == 0 or clerk.is_closed:
            return
        self._random = self._randoms[clerk.name]
        self._later(clerk)
        if self._world.agenda.now_us < self._from_us:
            return
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            if clerk.open < self._outstanding_max:
                self.call(clerk)
        if self._deadlines and clerk.calls and not self._random.randrange(25):
            clerk.give_up(self._random.choice(list(clerk.calls)))

    def call(self, clerk: ClerkProcess) -> None:
        """One call of any kind, if there are calls left."""
        if self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        self.made += 1
        timeout_ms = None
        if self._random.randrange(100) < self._deadlines:
            timeout_ms = self._random.randrange(20, 800)
        number = clerk.core.calls.last + 1
        try:
            clerk.call(self._command(clerk.name, number), timeout_ms)
        except NotExecuted:
            self._world.require(False, "bounds", f"{clerk.name} has no room")

    def _command(self, clerk: str, number: int) -> AnyCommand:
        random = self._random
        key = random.choice(KEYS)
        if random.randrange(100) < self._reads:
            if random.randrange(8):
                return Get(key)
            return Scan(b"", None, 100)
        value = suffix(clerk, number)
        if key.startswith(b"a"):
            return Append(key, value)
        if key.startswith(b"n"):
            return Incr(key, random.randrange(-3, 1000))
        kind = random.randrange(10)
        before = self._last.get(key)
        if kind == 0:
            self._last.pop(key, None)
            return Delete(key)
        if kind <= 3:
            return Append(key, value)
        if kind == 4:
            return Incr(key)
        self._last[key] = value
        return Cas(key, before, value) if kind <= 7 else Put(key, value)
