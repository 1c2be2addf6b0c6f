"""
Looking on: a standing connection that asks and listens, and takes no part.

An observer has no vote and no session; it keeps nobody alive, so it may come
and go.  All that it asks is a question that may be asked again, and is, on every
new connection, until it is answered (``docs/design.md``, sections 4 and 8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from understudy.notes import NOTES
from understudy.outcome import UNAVAILABLE, Ended
from wire.links import Dialler, Link
from wire.messages import (
    OBSERVER,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Member,
    Message,
    ViewIs,
    Watch,
)

M = TypeVar("M", bound=Message)

_WHAT = {VIEW_SERVICE: "the view service", SERVER: "the server"}


class Observer:
    """A connection to the view service, or to a server, at *addresses*.

    One question is asked at a time.  `stop` it when done.
    """

    def __init__(
        self,
        reactor: Any,
        listener_role: str,
        addresses: Sequence[str],
        *,
        expected: Member | None = None,
    ) -> None:
        self._reactor = reactor
        self._addresses = tuple(addresses)
        self._what = _WHAT[listener_role] if expected is None else expected.name
        #: The server that must answer there; another is turned away.
        self._expected = expected
        self._question: Message | None = None
        self._take: Callable[[Message], None] | None = None
        #: Told of each connection that ends, with the reason.
        self.on_lost: Callable[[str], None] | None = None
        #: Whether the other end is there.
        self.is_open = False
        #: Whether anybody ever took the connection, whoever that is.
        self._was_accepted = False
        self._dialler = Dialler(
            self, OBSERVER, listener_role, addresses, reactor, SystemRandom()
        )
        self._dialler.start()

    def watch(self, take: Callable[[ViewIs], None]) -> None:
        """Give *take* the view now, after each reconnection, and each new one."""
        self._ask(Watch(), take)

    async def ask(
        self,
        question: Message,
        answer: type[M],
        seconds: float,
        fits: Callable[[M], bool] = lambda _: True,
    ) -> M:
        """Ask -> the answer, the first that *fits* if an older question may be
        answered too.  Raises `Ended`, not available, after *seconds*."""
        waiting: Deferred[M] = Deferred()

        def take(message: Message) -> None:
            if isinstance(message, answer) and fits(message) and not waiting.called:
                self._question = self._take = None
                waiting.callback(message)

        self._ask(question, take)
        waiting.addTimeout(max(seconds, 0.0), self._reactor)
        try:
            return await waiting
        except DeferredTimeoutError:
            raise Ended(UNAVAILABLE, self.why_silent(seconds)) from None
        finally:
            self._question = self._take = None

    def why_silent(self, seconds: float) -> str:
        """Why nothing was heard for so long, and what to do."""
        where, seconds = " or ".join(self._addresses), round(seconds, 2)
        if self.is_open:
            return f"{self._what} at {where} has not answered for {seconds:g} s"
        reasons = NOTES.about(self._addresses)
        if not reasons and self._was_accepted:
            return (
                f"whoever listens at {where} accepted the connection but said no Hello "
                f"for {seconds:g} s: {self._what} is stopped, or it is something else"
            )
        reasons = reasons or "no connection was made"
        return f"{self._what} at {where} cannot be reached: {reasons}"

    def stop(self) -> Deferred[None]:
        """Say goodbye; fires when the connection is gone."""
        self._question = self._take = self.on_lost = None
        return self._dialler.stop()

    def _ask(self, question: Message, take: Callable[[Any], None]) -> None:
        self._question, self._take = question, take
        if self._dialler.link is not None:
            self._dialler.link.send(question)

    # -- what the link calls ----------------------------------------------------------

    def hello(self) -> Hello:
        """Introduce this observer, now that a connection is made."""
        self._was_accepted = True
        return Hello(VERSION, OBSERVER)

    def link_opened(self, link: Link) -> Goodbye | None:
        """The other end is there."""
        found = link.hello.member
        if self._expected is not None and not self._expected.is_same_copy(found):
            text = _another(self._expected, found)
            NOTES.take(self._addresses[0], text)
            return Goodbye("member", text)
        self.is_open = True
        if self._question is not None:
            link.send(self._question)
        return None

    def received(self, link: Link, message: Message) -> None:  # noqa: ARG002
        """Something was said."""
        if self._take is not None:
            self._take(message)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        """The connection is gone; it is made again."""
        self.is_open = False
        if self.on_lost is not None:
            self.on_lost(reason)


def _another(expected: Member, found: Member | None) -> str:
    """That *found* has answered, and not *expected*."""
    if found is None:
        return f"looking for {expected.name}, found no server"
    text = f"looking for {_called(expected)}, found {_called(found)}"
    return f"{text}: it was restarted since" if found.name == expected.name else text


def _called(member: Member) -> str:
    return f"{member.name} (incarnation {member.incarnation:016x})"
