"""
Somebody who compares the states of servers while they work.

It asks every server again and again for its digest, as ``understudy verify``
does: at the index where it is, at one to come, at one that is past.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS
from tests.sim.process import Process
from tests.sim.server import PORT
from tests.sim.streams import stream
from wire.addresses import format_address
from wire.links import Dialler, Link
from wire.messages import (
    OBSERVER,
    SERVER,
    VERSION,
    DigestAt,
    DigestIs,
    Goodbye,
    Hello,
    Message,
)

if TYPE_CHECKING:
    from tests.sim.world import World

#: How far before and after what is committed it asks.
REACH: Final = 6


class VerifierProcess(Process):
    """One observer, of all servers."""

    kind = "verifier"

    def __init__(self, world: World, servers: list[str]) -> None:
        super().__init__(world, "verifier")
        self._random = stream(world.seed, "verifier")
        self._gap_us = self._random.choice((5, 50, 200)) * MS
        for name in servers:
            self.soon(functools.partial(self._watch, name))

    def _watch(self, name: str) -> None:
        address = format_address(self.world.network.ip(name), PORT)
        questioned = _Questioned(self, name)
        Dialler(
            *(questioned, OBSERVER, SERVER, [address]),
            *(self.reactor, self._random),
        ).start()

    def ask(self, link: Link) -> None:
        """Ask once, and again a little later, as long as it is there."""
        if link.is_open:
            near = self.world.chronicle.commit + self._random.randint(-REACH, REACH)
            for _ in range(self._random.choice((1, 1, 3))):
                link.send(DigestAt(self._random.choice((0, max(0, near)))))
            delay_us = self._random.randrange(2 * self._gap_us)
            self.later(delay_us, functools.partial(self.ask, link))


class _Questioned:
    """The owner of the connection to one server."""

    def __init__(self, verifier: VerifierProcess, name: str) -> None:
        self._verifier = verifier
        self._name = name

    def hello(self) -> Hello:
        return Hello(VERSION, OBSERVER)

    def link_opened(self, link: Link) -> Goodbye | None:
        self._verifier.ask(link)
        return None

    def received(self, link: Link, message: Message) -> None:  # noqa: ARG002
        assert isinstance(message, DigestIs)
        self._verifier.world.chronicle.verified(self._name, message)

    def link_closed(self, link: Link, reason: str) -> None:
        """It is dialled again."""
