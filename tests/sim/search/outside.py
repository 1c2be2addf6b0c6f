"""
Everybody who asks, and what they were told.

Pure values.  These clerks are worse than real ones: what they send can reach
any server that takes itself for primary, at any time, again and again, and what
was sent once can come late, on a connection that is long forgotten.  A real
clerk does nothing that these cannot.

Every write appends a token of its own and reads what came of it, so an answer
tells which writes took effect before, in what order, and how often.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.sim.chronicle import Violation
from tests.sim.search.servers import told
from wire.messages import (
    EVICTED,
    BatchAnswer,
    BatchRefused,
    Message,
    QueryAnswer,
    SessionOpened,
)


class Waiting(NamedTuple):
    """A write without an answer."""

    sequence: int
    token: bytes
    #: What had been told to anybody when it was called.
    known: bytes
    #: The number of the message.
    number: int


class Clerk(NamedTuple):
    """One clerk: its session, and its writes."""

    #: 1, 2, ...; a clerk whose session was evicted opens another one.
    session: int = 1
    #: 0: it is not open yet, though it may have been asked for.
    opened_index: int = 0
    is_opening: bool = False
    #: The sequence of the next write, and how many were made in all sessions.
    next: int = 1
    made: int = 0
    waiting: tuple[Waiting, ...] = ()
    #: (session, sequence, answer), as it was first told.
    answers: tuple[tuple[int, int, bytes], ...] = ()
    #: The numbers of all messages that it ever sent, and may come again.
    sent: tuple[int, ...] = ()

    @property
    def first_unanswered(self) -> int:
        """The first sequence without an answer."""
        return self.waiting[0].sequence if self.waiting else self.next


class Read(NamedTuple):
    """A read without an answer."""

    id: int
    known: bytes


class Outside(NamedTuple):
    """All of them."""

    clerks: tuple[Clerk, ...] = ()
    reads: tuple[Read, ...] = ()
    reads_made: int = 0
    #: The longest value that anybody was told.
    known: bytes = b""
    #: Tokens whose clerk was told that they are refused, when nobody had
    #: executed them.
    refused: tuple[bytes, ...] = ()

    def with_clerk(self, at: int, clerk: Clerk) -> Outside:
        """The same with another clerk there."""
        clerks = (*self.clerks[:at], clerk, *self.clerks[at + 1 :])
        return self._replace(clerks=clerks)


def answered(
    outside: Outside, link: tuple[str, int, int], message: Message, executed: bytes
) -> Outside:
    """A message has come to a clerk or a reader -> everybody after that.

    *link* is ("clerk", which one, its session) or ("reader", 0, 0); *executed*
    is the longest value that any server has.  Raises `Violation`.
    """
    if type(message) is QueryAnswer:
        return _read(outside, message)
    if link[0] != "clerk":
        return outside
    _, at, session = link
    clerk = outside.clerks[at]
    if type(message) is BatchAnswer:
        return _written(outside, at, session, message)
    if session != clerk.session:
        return outside
    if type(message) is SessionOpened and not clerk.opened_index:
        clerk = clerk._replace(opened_index=message.opened_index, is_opening=False)
        return outside.with_clerk(at, clerk)
    if type(message) is BatchRefused:
        return _refused(outside, at, message, executed)
    return outside


def _read(outside: Outside, message: QueryAnswer) -> Outside:
    for read in outside.reads:
        if read.id == message.id:
            value = told(message.body)
            _require(
                value.startswith(read.known),
                "reads are fresh",
                f"read {read.id} sees {value!r}, and {read.known!r} was known",
            )
            reads = tuple(each for each in outside.reads if each is not read)
            return _known(outside._replace(reads=reads), value)
    return outside


def _written(outside: Outside, at: int, session: int, message: BatchAnswer) -> Outside:
    clerk = outside.clerks[at]
    for known_session, sequence, body in clerk.answers:
        if (known_session, sequence) == (session, message.sequence):
            _require(
                body == message.body,
                "same bytes",
                f"write {sequence} is answered {told(message.body)!r}, and was"
                f" answered {told(body)!r}",
            )
            return outside
    for waiting in clerk.waiting:
        if session == clerk.session and waiting.sequence == message.sequence:
            value = told(message.body)
            _require(
                value.endswith(waiting.token) and value.startswith(waiting.known),
                "linearizable",
                f"write {waiting.token!r} gives {value!r}, and {waiting.known!r}"
                " was known",
            )
            left = tuple(each for each in clerk.waiting if each is not waiting)
            answer = (session, message.sequence, message.body)
            clerk = clerk._replace(waiting=left, answers=(*clerk.answers, answer))
            return _known(outside.with_clerk(at, clerk), value)
    return outside


def _refused(
    outside: Outside, at: int, message: BatchRefused, executed: bytes
) -> Outside:
    clerk = outside.clerks[at]
    sequences = {waiting.sequence for waiting in clerk.waiting}
    if message.reason != EVICTED or message.sequence not in sequences:
        return outside
    never = tuple(
        waiting.token
        for waiting in clerk.waiting
        if waiting.sequence == message.sequence and waiting.token not in executed
    )
    clerk = clerk._replace(
        session=clerk.session + 1, opened_index=0, is_opening=False, next=1, waiting=()
    )
    refused = (*outside.refused, *never)
    return outside.with_clerk(at, clerk)._replace(refused=refused)


def _known(outside: Outside, value: bytes) -> Outside:
    known = outside.known
    longer, shorter = (value, known) if len(value) > len(known) else (known, value)
    _require(
        longer.startswith(shorter),
        "linearizable",
        f"somebody is told {value!r}, and somebody was told {known!r}",
    )
    return outside._replace(known=longer) if longer is not known else outside


def _require(truth: bool, rule: str, text: str) -> None:
    if not truth:
        raise Violation(rule, text)
