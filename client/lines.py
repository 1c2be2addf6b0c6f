"""
A clerk's two connections: a standing one to the view service, and one to
whoever is primary.

Thin: whom to be connected to, and when to ask, is read off the conversation;
what comes in is handed to it, and what that has ended to `happened`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from client.bodies import Ended
from client.clerk_core import ClerkCore
from client.primary_locator import Dial
from wire.links import Dialler, Link
from wire.messages import (
    CLERK,
    SERVER,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Message,
    Unreachable,
    ViewIs,
    Watch,
)
from wire.survey import Survey


@frozen(eq=False)
class Surroundings:
    """What a clerk's connections need around them."""

    core: ClerkCore
    reactor: IReactorTime
    random: Random
    #: Called after every event, with the calls that it ended.
    happened: Callable[[Ended], None]

    def now_ms(self) -> int:
        """The reactor's time in whole milliseconds."""
        return int(self.reactor.seconds() * 1000)

    def dialler(self, owner: ViewsLine | PrimaryLine, role: str, *at: str) -> Dialler:
        """A dialler that calls a process of *role* for *owner*."""
        return Dialler(
            owner,
            CLERK,
            role,
            at,
            self.reactor,
            self.random,
            failed=owner.dial_failed,
        )


class ViewsLine:
    """The owner of the connection to the view service."""

    def __init__(self, around: Surroundings, addresses: Sequence[str]) -> None:
        self._around = around
        self._dialler = around.dialler(self, VIEW_SERVICE, *addresses)
        self._survey = Survey(addresses, around.reactor, around.random, self._surveyed)
        #: What of the conversation's counts was carried out.
        self._asks = 0
        self._redials = 0
        self._reports = 0

    def adjust(self) -> None:
        """Ask, or dial anew, if that is wanted."""
        where = self._around.core.locator
        if where.asks != self._asks:
            self._asks = where.asks
            self._dialler.start()
            if (link := self._dialler.link) is not None:
                link.send(Watch())
        if where.reports != self._reports:
            self._reports = where.reports
            # Without a link the report is lost; another follows while it lasts.
            if (primary := where.view.primary) is not None and (
                link := self._dialler.link
            ) is not None:
                link.send(Unreachable(primary.name))
        if where.views_redials != self._redials:
            self._redials = where.views_redials
            self._dialler.redial()

    def stop(self) -> Deferred[None]:
        """Be connected no more; fires when that is so."""
        stopping = DeferredList([self._survey.stop(), self._dialler.stop()])
        return stopping.addCallback(lambda _: None)

    def _surveyed(self, address: str, cluster: bytes) -> None:
        core = self._around.core
        self._around.happened(core.views_surveyed(address, cluster))

    def hello(self) -> Hello:
        """Introduce the clerk."""
        return self._around.core.hello()

    def link_opened(self, link: Link) -> Goodbye | None:
        """The view service is there; whatever it is for, ask."""
        core = self._around.core
        ended = core.views_opened(link.hello)
        if not core.is_finished:
            link.send(Watch())
        self._around.happened(ended)
        return None

    def received(self, link: Link, message: Message) -> None:  # noqa: ARG002
        """It says what the view is."""
        if isinstance(message, ViewIs):
            core = self._around.core
            now_ms = self._around.now_ms()
            self._around.happened(core.views_said(message, now_ms))
            if core.locator.cluster and not core.is_finished:
                self._survey.begin(self._dialler.address)

    def dial_failed(self, address: str, reason: str) -> None:
        """There is no connection to *address*; the dialler tries again."""
        self._around.core.views_failed(address, reason)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """The dialler makes it again; but it may have been refused."""
        if link.farewell is not None:
            core = self._around.core
            self._around.happened(core.views_refused(link.farewell))


class PrimaryLine:
    """The owner of one connection to one primary."""

    def __init__(self, around: Surroundings, dial: Dial) -> None:
        self.dial = dial
        self._around = around
        self._attempt, member = dial
        self._dialler = around.dialler(self, SERVER, member.address)
        self._dialler.start()

    def say(self, messages: list[Message]) -> None:
        """Send them in one write."""
        # Without a link it is just closing, and all is said again on the next.
        if (link := self._dialler.link) is not None:
            for message in messages:
                link.queue(message)
            link.flush()

    def stop(self) -> Deferred[None]:
        """Be connected no more; fires when that is so."""
        return self._dialler.stop()

    def hello(self) -> Hello:
        """Introduce the clerk."""
        return self._around.core.hello()

    def link_opened(self, link: Link) -> Goodbye | None:
        """The server is there, if it is the right one."""
        now_ms = self._around.now_ms()
        refusal = self._around.core.link_opened(self._attempt, link.hello, now_ms)
        if refusal is not None:
            # Before this line is dropped, which would give another reason.
            link.goodbye(refusal.reason, refusal.text)
        self._around.happened([])
        return refusal

    def received(self, link: Link, message: Message) -> None:  # noqa: ARG002
        """It answers, or refuses."""
        now_ms = self._around.now_ms()
        ended = self._around.core.received(self._attempt, message, now_ms)
        self._around.happened(ended)

    def dial_failed(self, address: str, reason: str) -> None:  # noqa: ARG002
        """There is no connection; the dialler tries again."""
        now_ms = self._around.now_ms()
        self._around.core.dial_failed(self._attempt, reason, now_ms)
        self._around.happened([])

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """The connection is gone."""
        now_ms = self._around.now_ms()
        ended = self._around.core.link_closed(self._attempt, reason, now_ms)
        self._around.happened(ended)


class Lines:
    """The connections that the conversation wants, made so."""

    def __init__(self, around: Surroundings, views: Sequence[str]) -> None:
        self._around = around
        self._views = ViewsLine(around, views)
        self._primary: PrimaryLine | None = None
        #: Connections that are wanted no more, until they are gone.
        self._going: set[Deferred[None]] = set()

    def adjust(self) -> None:
        """Carry out what the conversation wants by now."""
        self._views.adjust()
        dial = self._around.core.locator.dial
        if (None if self._primary is None else self._primary.dial) is not dial:
            self._hang_up()
            if dial is not None:
                self._primary = PrimaryLine(self._around, dial)

    def say(self, messages: list[Message]) -> None:
        """Send to the primary."""
        if self._primary is not None:
            self._primary.say(messages)

    def stop(self) -> Deferred[None]:
        """Be connected to nobody; fires when all connections are gone."""
        self._hang_up()
        self._see_off(self._views.stop())
        gone = DeferredList(list(self._going), consumeErrors=True)
        return gone.addCallback(lambda _: None)

    def _hang_up(self) -> None:
        if self._primary is not None:
            line, self._primary = self._primary, None
            self._see_off(line.stop())

    def _see_off(self, going: Deferred[None]) -> None:
        self._going.add(going)
        going.addBoth(lambda _: self._going.discard(going))
