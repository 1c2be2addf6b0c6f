"""
Asks each further address of a view service once for its cluster.

A list with addresses of two clusters works like any other until the first
address cannot be reached; then it leads to other data.  So a process that dials
a list asks all its addresses once, beside the connection that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from wire.dialler import Dialler
from wire.link import Link
from wire.messages import OBSERVER, VERSION, VIEW_SERVICE, Goodbye, Hello, Message

#: How long an address that does not answer is dialled for this.
SURVEY_S: Final = 5.0


class Survey:
    """Calls *met* with an address and the cluster that was found there, for each
    of *addresses* that answers and belongs to a cluster."""

    def __init__(
        self,
        addresses: Sequence[str],
        reactor: IReactorTime,
        random: Random,
        met: Callable[[str, bytes], None],
    ) -> None:
        self._addresses = tuple(addresses)
        self._reactor = reactor
        self._random = random
        self._met = met
        self._probes: list[_Probe] = []

    def begin(self, used: str) -> None:
        """Ask all but *used*, which is connected; once, later calls do nothing."""
        others = [address for address in self._addresses if address != used]
        if not self._probes:
            self._probes = [
                _Probe(each, self._reactor, self._random, self._met) for each in others
            ]

    def stop(self) -> Deferred[None]:
        """Ask no more; fires when all connections are gone."""
        gone = DeferredList([probe.stop() for probe in self._probes])
        return gone.addCallback(lambda _: None)


class _Probe:
    """One address that is asked; an owner of links."""

    def __init__(
        self,
        address: str,
        reactor: IReactorTime,
        random: Random,
        met: Callable[[str, bytes], None],
    ) -> None:
        self._address = address
        self._met = met
        self._dialler = Dialler(
            self, OBSERVER, VIEW_SERVICE, [address], reactor, random, is_quiet=True
        )
        self._dialler.start()
        self._end = reactor.callLater(SURVEY_S, self._dialler.stop)

    def stop(self) -> Deferred[None]:
        """Ask no more."""
        if self._end.active():
            self._end.cancel()
        return self._dialler.stop()

    def hello(self) -> Hello:
        """Introduce an observer, which changes nothing."""
        return Hello(VERSION, OBSERVER)

    def link_opened(self, link: Link) -> Goodbye | None:
        """A view service has answered, and its Hello says all."""
        self.stop()
        if link.hello.cluster:
            self._met(self._address, link.hello.cluster)
        return None

    def received(self, link: Link, message: Message) -> None:
        """Nothing was asked."""

    def link_closed(self, link: Link, reason: str) -> None:
        """That was all."""
