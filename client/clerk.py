"""
The clerk: calls on a replicated service, for Twisted programs.

    clerk = Clerk(reactor, "tcp:127.0.0.1:7400")
    await clerk.put("greeting", "hello")
    await clerk.get("greeting")          # b"hello"
    await clerk.close()

Thin: `client.clerk_core` decides what is said and how each call ends.  Here
is when it is said, once per reactor turn and not once per call, and how a call
looks to the caller (``docs/design.md``, sections 7 and 10).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from client.arguments import (
    Octets,
    as_addresses,
    as_key,
    as_scan,
    as_step,
    as_timeout_ms,
    as_value,
    as_window,
    encode_command,
)
from client.bodies import Ended, Outcome
from client.clerk_core import ClerkCore
from client.errors import ClerkError, InDoubt, NotExecuted, command_error
from client.lines import Lines, Surroundings
from client.primary_locator import PrimaryLocator
from wire.commands import (
    DOUBTFUL,
    TOO_LARGE,
    AnyAnswer,
    Append,
    Cas,
    Delete,
    Failed,
    Get,
    Incr,
    Ok,
    Put,
)
from wire.fail_stop import guard

T = TypeVar("T")

_of_store: Final = msgspec.msgpack.Decoder(AnyAnswer).decode


@functools.cache
def _decoder(answer: Any) -> Callable[[Raw], Any]:
    return msgspec.msgpack.Decoder(answer).decode


class Reply(Deferred[T]):
    """A call that was made; fires with its result or a `ClerkError`.

    Cancelling gives the call up: it ends as InDoubt if it may have been
    executed, as NotExecuted if not.
    """

    #: The call's number in the conversation.
    number: int = 0
    decode: Callable[[Raw], Any]
    is_read: bool = False
    deadline_ms: int | None = None
    #: Of a read that shares its answer with others: what was asked.
    shared: bytes | None = None


class Clerk:
    """Calls on the service whose view service is at *views*.

    *views* is an address ``tcp:HOST:PORT`` or several of one view service,
    *timeout* the seconds that a call may take (None: for ever), *window* how
    many batches may be outstanding, 1 to 64.  Keys and values are bytes, or str
    for its UTF-8.

    Every call starts when it is made and returns a Deferred, which fires with
    the result, with `InDoubt`, `NotExecuted`, or a `CommandError`.  *timeout*
    of a call is in seconds too, None: as the clerk's, `math.inf`: for ever.
    A call raises TypeError, ValueError or TooLarge at once, and sends nothing,
    if it makes no sense or is over a limit.

    Writes take effect in the order of the calls; a read sees every write that
    was called before it.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        views: str | Sequence[str],
        timeout: float | None = None,
        window: int = 8,
        *,
        random: Random | None = None,
    ) -> None:
        addresses = as_addresses(views)
        self._timeout_ms = as_timeout_ms(timeout)
        self._reactor = reactor
        self._random = SystemRandom() if random is None else random
        seed = self._random.getrandbits(32)
        where = PrimaryLocator(seed, tuple(addresses))
        self._core = ClerkCore(where, as_window(window))
        around = Surroundings(self._core, reactor, self._random, self._happened)
        self._now_ms = around.now_ms
        self._lines = Lines(around, addresses)
        #: Calls that have not ended, by number.
        self._replies: dict[int, Reply[Any]] = {}
        #: Answers are being handed out; what is called meanwhile goes after.
        self._is_handing_out = False
        #: The end of this reactor turn, if something waits for it.
        self._turn: IDelayedCall | None = None
        #: When something becomes due, or earlier.
        self._timer: IDelayedCall | None = None
        self._timer_ms = 0
        #: Those who wait for the end.
        self._closing: list[Deferred[None]] = []
        self._is_going = False
        self._is_gone = False

    # -- the store ---------------------------------------------------------------

    def get(
        self, key: Octets, *, timeout: float | None = None
    ) -> Deferred[bytes | None]:
        """The value of *key*, or None if there is no such key."""
        command = encode_command(Get(as_key(key)))
        reply = self._call(command, timeout, _of_store, is_read=True)
        reply.shared = command
        return reply

    def put(
        self, key: Octets, value: Octets, *, timeout: float | None = None
    ) -> Deferred[None]:
        """Set *key* to *value*."""
        command = encode_command(Put(as_key(key), as_value(value)))
        return self._call(command, timeout, _of_store)

    def append(
        self, key: Octets, suffix: Octets, *, timeout: float | None = None
    ) -> Deferred[int]:
        """Append to the value, an absent key counting as empty -> the new
        length in bytes.  TooLarge if that is over the limit for values."""
        command = encode_command(Append(as_key(key), as_value(suffix, "suffix")))
        return self._call(command, timeout, _of_store)

    def delete(self, key: Octets, *, timeout: float | None = None) -> Deferred[bool]:
        """Remove *key* -> whether it was there."""
        return self._call(encode_command(Delete(as_key(key))), timeout, _of_store)

    def cas(
        self,
        key: Octets,
        expected: Octets | None,
        value: Octets,
        *,
        timeout: float | None = None,
    ) -> Deferred[bool]:
        """Compare and set -> whether the value was *expected* (None: the key
        was absent) and is now *value*."""
        before = None if expected is None else as_value(expected, "expected value")
        command = encode_command(Cas(as_key(key), before, as_value(value)))
        return self._call(command, timeout, _of_store)

    def incr(
        self, key: Octets, by: int = 1, *, timeout: float | None = None
    ) -> Deferred[int]:
        """Add *by*, an absent key counting as 0 -> the new number.

        Numbers are decimal ASCII, signed 64 bit; NotANumber if what is there is
        none, or the sum would be none.
        """
        command = encode_command(Incr(as_key(key), as_step(by)))
        return self._call(command, timeout, _of_store)

    def scan(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Deferred[list[tuple[bytes, bytes]]]:
        """Keys with their values, in order of keys: those that begin with
        *prefix*, or start <= key < end, or all; at most *limit* of them, and
        fewer if they would not fit into one answer (16 MiB).  For what follows
        scan again with *start* = the last key + b"\\x00", until nothing comes.
        """
        command = encode_command(as_scan(prefix, start, end, limit))
        return self._call(command, timeout, _pairs, is_read=True, is_alone=True)

    # -- any machine -------------------------------------------------------------

    def execute(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Deferred[Any]:
        """Execute any machine's command, in order and at most once -> its
        answer.

        Machines answer as the store does: a `wire.commands.Ok` is returned as
        its value, a `Failed` raised as `CommandError`.  For one that answers in
        another way, *answer* is the type as which msgspec decodes it; `Any`: as
        it comes.
        """
        return self._call(encode_command(command), timeout, _decoder(answer))

    def ask(
        self, command: Any, *, answer: Any = AnyAnswer, timeout: float | None = None
    ) -> Deferred[Any]:
        """The same for a command that only reads."""
        return self._call(
            encode_command(command), timeout, _decoder(answer), is_read=True
        )

    # -- the end -----------------------------------------------------------------

    def close(self, *, timeout: float | None = None) -> Deferred[None]:
        """Take no more calls, finish those that were made, forget the session,
        and hang up; fires when all connections are gone.  Calls that have not
        ended after *timeout* seconds end as InDoubt or NotExecuted."""
        closed: Deferred[None] = Deferred()
        if self._is_gone:
            closed.callback(None)
            return closed
        self._closing.append(closed)
        now_ms = self._now_ms()
        self._happened(self._core.close(now_ms, self._due_ms(timeout, now_ms)))
        return closed

    def obstacle(self) -> str:
        """Why this clerk gets no answer, for people."""
        return self._core.locator.obstacle

    # -- how a call is made ------------------------------------------------------

    def _call(
        self,
        command: bytes,
        timeout: float | None,
        decode: Callable[[Raw], Any],
        *,
        is_read: bool = False,
        is_alone: bool = False,
    ) -> Reply[Any]:
        now_ms = self._now_ms()
        deadline_ms = self._due_ms(timeout, now_ms)
        reply: Reply[Any] = Reply(self._cancelled)
        reply.decode = decode
        reply.is_read = is_read
        reply.deadline_ms = deadline_ms
        if deadline_ms is not None and deadline_ms <= now_ms:
            reply.errback(NotExecuted("its time was up when it was called"))
        else:
            self._begin(reply, command, now_ms, is_alone=is_alone)
        return reply

    def _due_ms(self, timeout: float | None, now_ms: int) -> int | None:
        timeout_ms = self._timeout_ms if timeout is None else as_timeout_ms(timeout)
        return None if timeout_ms is None else now_ms + timeout_ms

    def _begin(
        self, reply: Reply[Any], command: bytes, now_ms: int, *, is_alone: bool
    ) -> None:
        core, due_ms = self._core, reply.deadline_ms
        try:
            if reply.is_read:
                number = core.read(command, now_ms, due_ms, alone=is_alone)
            else:
                number = core.write(command, now_ms, due_ms)
        except NotExecuted as error:
            reply.errback(error)
            return
        reply.number = number
        self._replies[number] = reply
        if self._turn is None and not self._is_handing_out:
            if core.locator.is_open and not core.is_outstanding:
                self._carry_on()
            else:
                self._turn = self._reactor.callLater(0, self._turn_ended)

    def _cancelled(self, reply: Deferred[Any]) -> None:
        assert isinstance(reply, Reply), "only replies are cancelled here"
        ended = self._core.give_up(reply.number, self._now_ms())
        if not ended and self._replies.pop(reply.number, None) is not None:
            # Its answer is there, and is being handed out to others first.
            why = "cancelled just before its answer"
            reply.errback(NotExecuted(why) if reply.is_read else InDoubt(why))
        self._happened(ended)

    # -- how a call ends ---------------------------------------------------------

    def _hand_out(self, ended: Ended) -> None:
        was_handing_out, self._is_handing_out = self._is_handing_out, True
        try:
            for number, outcome in ended:
                self._end(number, outcome)
        finally:
            self._is_handing_out = was_handing_out

    def _end(self, number: int, outcome: Outcome) -> None:
        reply = self._replies.pop(number, None)
        if reply is None:
            return  # Cancelled by whoever got an answer before it.
        if isinstance(outcome, ClerkError):
            reply.errback(outcome)
            return
        try:
            answer = reply.decode(outcome)
        except Exception as error:  # noqa: BLE001 -- the type may be the caller's
            why = f"its answer makes no sense: {error}"
            reply.errback(NotExecuted(why) if reply.is_read else InDoubt(why))
            return
        if type(answer) is Ok:
            reply.callback(answer.value)
        elif type(answer) is not Failed:
            reply.callback(answer)
        elif answer.code == TOO_LARGE and reply.shared is not None:
            # Alone it has a whole answer to itself.
            command, reply.shared = reply.shared, None
            self._begin(reply, command, self._now_ms(), is_alone=True)
        elif answer.code in DOUBTFUL and not reply.is_read:
            reply.errback(InDoubt(f"{answer.code}: {answer.text}"))
        else:
            reply.errback(command_error(answer.code, answer.text))

    # -- turns -------------------------------------------------------------------

    def _happened(self, ended: Ended) -> None:
        """After every event."""
        if ended:
            self._hand_out(ended)
        if not self._is_handing_out:
            self._carry_on()

    def _carry_on(self) -> None:
        """See to everything that follows from what has happened."""
        if self._core.needs_session:
            self._core.open_session(self._random.randbytes(16))
        self._lines.adjust()
        if not self._core.is_outstanding:
            self._say()
        elif self._turn is None and self._core.has_more_to_say:
            self._turn = self._reactor.callLater(0, self._turn_ended)
        if self._core.is_finished:
            self._go()
        else:
            self._set_timer()

    def _say(self) -> None:
        if messages := self._core.flush():
            self._lines.say(messages)

    @guard
    def _turn_ended(self) -> None:
        self._turn = None
        self._say()
        self._carry_on()

    def _set_timer(self) -> None:
        wake_ms = self._core.wake_ms()
        if wake_ms is None:
            return
        if self._timer is not None:
            if wake_ms >= self._timer_ms:
                return  # It comes early, finds nothing due, and is set anew.
            self._timer.cancel()
        self._timer_ms = wake_ms
        delay_s = max(0, wake_ms - self._now_ms()) / 1000
        self._timer = self._reactor.callLater(delay_s, self._became_due)

    @guard
    def _became_due(self) -> None:
        self._timer = None
        self._happened(self._core.tick(self._now_ms()))

    def _go(self) -> None:
        """Nothing is left to do but to hang up."""
        if self._is_going:
            return
        self._is_going = True
        for call in (self._turn, self._timer):
            if call is not None:
                call.cancel()
        self._turn = self._timer = None
        self._lines.stop().addCallback(self._gone)

    def _gone(self, _: None) -> None:
        self._is_gone = True
        closing, self._closing = self._closing, []
        for closed in closing:
            closed.callback(None)


def _pairs(raw: Raw) -> Any:
    """A scan's answer: pairs as tuples."""
    answer = _of_store(raw)
    if type(answer) is not Ok:
        return answer
    return Ok(msgspec.convert(answer.value, list[tuple[bytes, bytes]]))
