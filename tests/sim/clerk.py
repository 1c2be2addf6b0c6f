"""
A clerk process: the real conversation, and somebody who calls.

What `client.lines` and `client.clerk` do with sockets is said again here for
the simulated network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from client.bodies import Ended
from client.conversation import Conversation
from client.errors import ClerkError, InDoubt, NotExecuted
from client.whereabouts import Dial, Whereabouts
from tests.sim.agenda import MS
from tests.sim.checker_clerks import DONE, IN_DOUBT, NOT_EXECUTED, OPEN, Call
from tests.sim.model import Answer
from tests.sim.network import End
from tests.sim.process import Line, Process
from tests.sim.server import VIEWS_ADDRESS
from wire.commands import READS, AnyAnswer, AnyCommand, Scan
from wire.messages import (
    CLERK,
    SERVER,
    VIEW_SERVICE,
    Batch,
    Goodbye,
    Hello,
    Message,
    ViewIs,
    Watch,
)

if TYPE_CHECKING:
    from tests.sim.world import World

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyAnswer).decode


class ClerkProcess(Process):
    """One clerk; its calls outlive it."""

    role = CLERK

    def __init__(self, world: World, name: str, window: int = 4) -> None:
        super().__init__(world, name)
        seed = world.random.getrandbits(32)
        self.conversation = Conversation(Whereabouts(seed), window)
        self.calls: dict[int, Call] = {}
        #: Called with each call that has ended.
        self.on_ended: Callable[[Call], None] = lambda _: None
        self._asks = self._views_redials = 0
        self._views = Line(self, _ViewsLine(self), VIEW_SERVICE, VIEWS_ADDRESS)
        self._primary: _PrimaryLine | None = None
        self._flush_due = False
        self._wakes_us: int | None = None

    @property
    def open(self) -> int:
        """How many calls have not ended."""
        return sum(call.outcome == OPEN for call in self.calls.values())

    # -- calling --------------------------------------------------------------

    def call(self, command: AnyCommand, timeout_ms: int | None = None) -> int:
        """Make a call -> its number."""
        now_ms = self.now_ms()
        deadline_ms = None if timeout_ms is None else now_ms + timeout_ms
        is_read = isinstance(command, READS)
        do = self.conversation.read if is_read else self.conversation.write
        number = do(_encode(command), now_ms, deadline_ms)
        called = self.world.moment()
        self.calls[number] = Call(self.name, number, command, called, None, OPEN)
        self.happened([])
        return number

    def give_up(self, number: int) -> None:
        """Wait for that call no more."""
        self.happened(self.conversation.give_up(number, self.now_ms()))

    def end(self) -> None:
        """The process is gone; what it waited for is in doubt."""
        super().end()
        for number, call in self.calls.items():
            if call.outcome == OPEN:
                self.calls[number] = call._replace(outcome=IN_DOUBT)

    # -- after every event ----------------------------------------------------

    def happened(self, ended: Ended) -> None:
        """Note what has ended, and do what the conversation wants by now."""
        for number, outcome in ended:
            self._note(number, outcome)
        conversation = self.conversation
        if conversation.needs_session:
            conversation.open_session(self.world.random.randbytes(16))
        self._adjust()
        if not self._flush_due:
            self._flush_due = True
            self.later(self.world.random.choice((0, 0, 100)), self._flush)
        wake_ms = conversation.wake_ms()
        if wake_ms is not None:
            wakes_us = self.world.agenda.now_us + (wake_ms - self.now_ms()) * MS
            if self._wakes_us is None or wakes_us < self._wakes_us:
                self._wakes_us = wakes_us
                self.later((wake_ms - self.now_ms() + 1) * MS, self._wake)

    def _note(self, number: int, outcome: msgspec.Raw | ClerkError) -> None:
        call = self.calls[number]
        self.world.require(
            call.outcome == OPEN, "once", f"{self.name}: call {number} ends twice"
        )
        how, answer = DONE, None
        if isinstance(outcome, InDoubt):
            how = IN_DOUBT
        elif isinstance(outcome, ClerkError):
            assert isinstance(outcome, NotExecuted), outcome
            how = NOT_EXECUTED
        else:
            answer = Answer.of(_decode(outcome))
            if isinstance(call.command, Scan):
                assert isinstance(answer.value, list)
                answer = [(key, value) for key, value in answer.value]
        call = call._replace(ended=self.world.moment(), outcome=how, answer=answer)
        self.calls[number] = call
        self.world.ended(self, call)
        self.on_ended(call)

    def _flush(self) -> None:
        self._flush_due = False
        messages = self.conversation.flush()
        link = None if self._primary is None else self._primary.line.link
        for message in messages:
            if isinstance(message, Batch):
                session = self.conversation.session
                assert session is not None
                sent = session.outstanding[message.sequence]
                self.world.chronicle.sent(self.name, message, sent.calls)
            if link is not None:
                link.queue(message)
        if link is not None:
            link.flush()

    def _wake(self) -> None:
        self._wakes_us = None
        self.happened(self.conversation.tick(self.now_ms()))

    def _adjust(self) -> None:
        where = self.conversation.whereabouts
        if where.asks != self._asks:
            self._asks = where.asks
            self._views.start()
            if (link := self._views.link) is not None:
                link.send(Watch())
        if where.views_redials != self._views_redials:
            self._views_redials = where.views_redials
            self._views.redial()
        dialled = None if self._primary is None else self._primary.dial
        if where.dial is not dialled:
            if self._primary is not None:
                self._primary.line.stop()
                self._primary = None
            if where.dial is not None:
                self._primary = _PrimaryLine(self, where.dial)
                self._primary.line.start()


class _ViewsLine:
    """The owner of the connection to the view service."""

    def __init__(self, clerk: ClerkProcess) -> None:
        self._clerk = clerk

    def hello(self) -> Hello:
        return self._clerk.conversation.hello()

    def link_opened(self, link: End) -> Goodbye | None:
        self._clerk.happened(self._clerk.conversation.views_opened(link.hello))
        link.send(Watch())
        return None

    def received(self, link: End, message: Message) -> None:  # noqa: ARG002
        if isinstance(message, ViewIs):
            clerk = self._clerk
            clerk.happened(clerk.conversation.views_said(message, clerk.now_ms()))

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        if link.farewell is not None:
            clerk = self._clerk
            clerk.happened(clerk.conversation.views_refused(link.farewell))


class _PrimaryLine:
    """The owner of the connection to one primary."""

    def __init__(self, clerk: ClerkProcess, dial: Dial) -> None:
        self._clerk = clerk
        self.dial = dial
        self._attempt, member = dial
        self.line = Line(clerk, self, SERVER, member.address)

    def hello(self) -> Hello:
        return self._clerk.conversation.hello()

    def link_opened(self, link: End) -> Goodbye | None:
        clerk = self._clerk
        opened = clerk.conversation.link_opened
        refusal = opened(self._attempt, link.hello, clerk.now_ms())
        clerk.happened([])
        return refusal

    def received(self, link: End, message: Message) -> None:  # noqa: ARG002
        clerk = self._clerk
        received = clerk.conversation.received
        clerk.happened(received(self._attempt, message, clerk.now_ms()))

    def link_closed(self, link: End, reason: str) -> None:  # noqa: ARG002
        clerk = self._clerk
        closed = clerk.conversation.link_closed
        clerk.happened(closed(self._attempt, reason, clerk.now_ms()))
