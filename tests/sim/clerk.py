"""
A clerk process: the real clerk, and somebody who calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.python.failure import Failure

from client.clerk import Clerk, Reply
from client.clerk_core import ClerkCore
from client.errors import CommandError, InDoubt, NotExecuted
from tests.sim.agenda import MS
from tests.sim.checker_clerks import DONE, IN_DOUBT, NOT_EXECUTED, OPEN, Call
from tests.sim.model import Answer
from tests.sim.process import Process
from tests.sim.sockets import End
from tests.sim.views import addresses
from wire.commands import (
    AnyCommand,
    Append,
    Cas,
    Delete,
    Get,
    Incr,
    Put,
    Scan,
)
from wire.messages import Batch, Message

if TYPE_CHECKING:
    from tests.sim.world import World

#: How long after its deadline a call may end.
LATE_US: Final = 5 * MS


class ClerkProcess(Process):
    """One clerk; its calls outlive it."""

    kind = "clerk"

    def __init__(self, world: World, name: str, window: int = 4) -> None:
        super().__init__(world, name)
        self._clerk = Clerk(
            self.reactor, addresses(self), window=window, random=self.random
        )
        #: Was it closed, and is it done with everything?
        self.has_hung_up = False
        self.calls: dict[int, Call] = {}
        #: Of the calls that have not ended.
        self._replies: dict[int, Reply[Any]] = {}
        #: Does it take no more calls?
        self.is_closed = False
        #: Called with each call that has ended.
        self.on_ended: Callable[[Call], None] = lambda _: None

    @property
    def core(self) -> ClerkCore:
        """What it knows, and wants."""
        return self._clerk._core

    @property
    def open(self) -> int:
        """How many calls have not ended."""
        return len(self._replies)

    # -- calling --------------------------------------------------------------

    def call(self, command: AnyCommand, timeout_ms: int | None = None) -> int:
        """Make a call -> its number."""
        called = self.world.moment()
        reply = self._begin(command, None if timeout_ms is None else timeout_ms / 1000)
        number = reply.number
        self.world.require(bool(number), "bounds", f"{self.name} has no room")
        self.calls[number] = Call(self.name, number, command, called, None, OPEN)
        self._replies[number] = reply
        reply.addCallbacks(
            *(self._answered, self._failed), (number,), None, (number,), None
        )
        reply.addErrback(self._broke)
        if timeout_ms is not None and self.rate == 1000:
            delay_us = timeout_ms * MS + LATE_US
            due_us = self.now_us() + delay_us
            self.later(delay_us, lambda: self._due(number, due_us))
        return number

    def _due(self, number: int, due_us: int) -> None:
        """By now that call must have ended, unless the clock was changed."""
        if self.world.agenda.now_us < self.woke_us + LATE_US:
            # It has only just gone on, and all that waited comes at once.
            self.later(LATE_US, lambda: self._due(number, due_us))
            return
        is_late = self.now_us() >= due_us and self.rate == 1000
        text = f"{self.name} still waits for call {number}"
        late = is_late and number in self._replies
        self.world.require(not late, "deadlines are kept", text)

    def _begin(self, command: AnyCommand, timeout: float | None) -> Reply[Any]:
        clerk = self._clerk
        match command:
            case Get(key):
                return clerk.get(key, timeout=timeout)
            case Put(key, value):
                return clerk.put(key, value, timeout=timeout)
            case Append(key, suffix):
                return clerk.append(key, suffix, timeout=timeout)
            case Delete(key):
                return clerk.delete(key, timeout=timeout)
            case Cas(key, expected, value):
                return clerk.cas(key, expected, value, timeout=timeout)
            case Incr(key, by):
                return clerk.incr(key, by, timeout=timeout)
            case Scan(start, end, limit):
                return clerk.scan(start=start, end=end, limit=limit, timeout=timeout)
        raise AssertionError(command)

    def give_up(self, number: int) -> None:
        """Wait for that call no more."""
        if number in self._replies:
            self._replies[number].cancel()

    def close(self) -> None:
        """Finish, and hang up."""
        self.is_closed = True
        self._clerk.close().addCallback(self._hung_up)

    def _hung_up(self, _: None) -> None:
        self.has_hung_up = True

    def give_up_all(self) -> None:
        """Wait for nothing that was asked."""
        for number in list(self._replies):
            self.give_up(number)

    def end(self) -> None:
        """The process is gone; what it waited for is in doubt."""
        super().end()
        for number in self._replies:
            self.calls[number] = self.calls[number]._replace(outcome=IN_DOUBT)
        self._replies.clear()

    # -- how a call ends ------------------------------------------------------

    def _answered(self, value: Any, number: int) -> None:
        is_scan = isinstance(self.calls[number].command, Scan)
        self._note(number, DONE, value if is_scan else Answer(value))

    def _failed(self, failure: Failure, number: int) -> None:
        if failure.check(InDoubt):
            self._note(number, IN_DOUBT)
        elif failure.check(NotExecuted):
            self._note(number, NOT_EXECUTED)
        else:
            failure.trap(CommandError)
            self._note(number, DONE, Answer(None, failure.value.code))

    def _note(self, number: int, outcome: str, answer: Any = None) -> None:
        del self._replies[number]
        call = self.calls[number]._replace(
            ended=self.world.moment(), outcome=outcome, answer=answer
        )
        self.calls[number] = call
        self.world.ended(self, call)
        self.on_ended(call)

    def _broke(self, failure: Failure) -> None:
        """A Deferred would keep it for itself."""
        self.breaks(failure.value)

    # -- who looks on ---------------------------------------------------------

    def said(self, end: End, message: Message) -> None:
        if isinstance(message, Batch):
            session = self.core.session
            assert session is not None
            sent = session.outstanding[message.sequence]
            self.world.chronicle.sent(self.name, message, sent.calls)
        super().said(end, message)

    def turned(self) -> None:
        self.world.chronicle.called(self.name, self.core)
