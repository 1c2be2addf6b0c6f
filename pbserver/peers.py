"""
The connections of a primary to its backups.

Twisted, and thin: the replica says whom to be connected to, and hears of every
connection that stands and of every one that ends.  A server that answers under
another incarnation than the view's is not the one that was dialled.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList

from pbserver.replica import Replica
from wire.addresses import as_ip, parse_address
from wire.links import Dialler, Link
from wire.logs import get_logger
from wire.messages import SERVER, Goodbye, Hello, Member, Message
from wire.names import names_of

_log = get_logger("pbserver.peers")


class Server(Protocol):
    """What these connections need of the server they belong to."""

    replica: Replica

    def hello(self) -> Hello:
        """What to say first."""

    def received(self, link: Link, message: Message) -> None:
        """A message has come."""

    def changed(self) -> None:
        """The replica was told something."""

    def refusal(self, hello: Hello) -> Goodbye | None:
        """Why a server that says this is none of ours, if so."""


class _Peer:
    """One backup that is dialled; an owner of links."""

    def __init__(self, server: Server, member: Member, stopped: set[Member]) -> None:
        self._server = server
        self._member = member
        #: The backups that have sent Goodbye `stopping`, shared by all peers.
        self._stopped = stopped

    def hello(self) -> Hello:
        """What to say first; asked for when a connection has come about."""
        self._server.replica.answered(self._member)
        return self._server.hello()

    def link_opened(self, link: Link) -> Goodbye | None:
        """Somebody has answered at the backup's address."""
        hello, member = link.hello, self._member
        if not member.is_same_copy(hello.member):
            found = hello.member
            assert found is not None, "a link lets no server in that is nobody"
            text = (
                f"{member.address} is to be {member.name} ({member.incarnation:016x}),"
                f" but it is {found.name} ({found.incarnation:016x})"
            )
            return Goodbye("member", text)
        if (refusal := self._server.refusal(hello)) is not None:
            return refusal
        self._stopped.discard(member)
        self._server.replica.link_made(member, link)
        self._server.changed()
        return None

    def received(self, link: Link, message: Message) -> None:
        """The backup has answered."""
        self._server.received(link, message)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """The connection to the backup has ended; it is dialled again."""
        if link.farewell is not None and link.farewell.reason == "stopping":
            self._stopped.add(self._member)
        self._server.replica.link_lost(link)
        self._server.changed()


class Peers:
    """A standing connection to each server that the replica names."""

    def __init__(self, server: Server, reactor: Any, random: Random) -> None:
        self._server = server
        self._reactor = reactor
        self._random = random
        self._names = names_of(reactor)
        self._diallers: dict[Member, Dialler] = {}
        self._stopped: set[Member] = set()

    @property
    def stopped(self) -> frozenset[str]:
        """The names of the backups that have sent Goodbye `stopping`."""
        return frozenset(member.name for member in self._stopped)

    def look_up(self, members: Iterable[Member]) -> None:
        """Look the names of these up in advance: whichever server becomes primary
        has a dead time to connect to them, and a resolver may take longer."""
        for member in members:
            with suppress(ValueError):
                host, port = parse_address(member.address)
                if as_ip(host) is None and not self._names.known(host, port):
                    self._names.lookup(host).addErrback(lambda _: None)

    def follow(self, members: Iterable[Member]) -> None:
        """Be connected to these, and to nobody else."""
        wanted = dict.fromkeys(members)
        for member in [each for each in self._diallers if each not in wanted]:
            self._diallers.pop(member).stop()
            self._stopped.discard(member)
        for member in wanted:
            if member in self._diallers:
                continue
            try:
                parse_address(member.address)
            except ValueError as error:
                # It is reported as unreachable, and loses its place.
                _log.warning("peer.undiallable", name=member.name, text=str(error))
                continue
            dialler = Dialler(
                _Peer(self._server, member, self._stopped),
                SERVER,
                SERVER,
                [member.address],
                self._reactor,
                self._random,
                delay_max_s=0.25,
                failed=partial(self._failed, member),
            )
            self._diallers[member] = dialler
            dialler.start()

    def _failed(self, member: Member, _: str, reason: str) -> None:
        self._server.replica.failed(member, reason)

    def stop(self) -> Deferred[list[tuple[bool, None]]]:
        """Close them all."""
        diallers = list(self._diallers.values())
        self._diallers.clear()
        return DeferredList([dialler.stop() for dialler in diallers])
