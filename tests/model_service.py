"""A service as a clerk sees it, in two dozen rules: one state that is never lost,
several servers of which one is primary.  Pure; its faults are its user's choice.

A write is any msgpack value; its answer is its place in the log.  The answer of
a read is the length of the log.  With a machine, that gives the answers.
"""

from __future__ import annotations

import msgspec
from attrs import define, field

from pbserver.machine import StateMachine
from wire.messages import (
    EVICTED,
    TOO_LARGE,
    VERSION,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Goodbye,
    Hello,
    Member,
    Message,
    OpenSession,
    Query,
    QueryAnswer,
    Redirect,
    SessionClosed,
    SessionOpened,
    View,
    ViewIs,
)

CLUSTER = bytes(range(16))
encode = msgspec.msgpack.encode


def member(name: str, incarnation: int = 1) -> Member:
    return Member(name, incarnation, f"tcp:127.0.0.1:{7400 + int(name[1:])}")


def answers(values: list[int]) -> bytes:
    return encode(values)


@define
class ModelSession:
    opened_index: int
    next: int = 1
    answers: dict[int, bytes] = field(factory=dict)


@define
class ModelService:
    """What is replicated, and who is primary."""

    primary: Member = field(factory=lambda: member("s1"))
    number: int = 1
    index: int = 0
    log: list[object] = field(factory=list)
    sessions: dict[bytes, ModelSession] = field(factory=dict)
    #: By name of the server: the longest body that it takes.
    body_bytes_max: dict[str, int] = field(factory=dict)
    machine: StateMachine | None = None
    #: The newest view that a server knows, if it is not the newest of all.
    lagging: dict[str, View] = field(factory=dict)

    @property
    def view(self) -> View:
        return View(self.number, self.primary)

    def view_is(self) -> ViewIs:
        return ViewIs(0, CLUSTER, self.view, True)

    def hello(self, server: Member) -> Hello:
        return Hello(VERSION, "server", CLUSTER, self.number, server)

    def move(self, to: Member) -> None:
        """Another server becomes primary."""
        self.lagging.pop(to.name, None)
        self.primary = to
        self.number += 1

    def evict(self) -> None:
        self.sessions.clear()

    def receive(self, server: Member, message: Message) -> list[Message] | None:
        """What that server answers; None: it holds the message for later."""
        if server != self.primary or server.name in self.lagging:
            return [Redirect(self.lagging.get(server.name, self.view))]
        match message:
            case OpenSession(session_id):
                return [SessionOpened(session_id, self._open(session_id))]
            case CloseSession(session_id, opened_index):
                session = self.sessions.get(session_id)
                if session is not None and session.opened_index == opened_index:
                    del self.sessions[session_id]
                return [SessionClosed(session_id)]
            case Batch():
                return self._batch(server, message)
            case Query():
                return self._query(message)
        raise AssertionError(message)

    def _open(self, session_id: bytes) -> int:
        self.index += 1
        return self.sessions.setdefault(
            session_id, ModelSession(self.index)
        ).opened_index

    def _batch(self, server: Member, batch: Batch) -> list[Message]:
        if len(batch.body) > self.body_bytes_max.get(server.name, 1 << 30):
            return [BatchRefused(batch.sequence, TOO_LARGE)]
        session = self.sessions.get(batch.session)
        if session is None or session.opened_index != batch.opened_index:
            return [BatchRefused(batch.sequence, EVICTED)]
        if batch.sequence > session.next:
            return [Goodbye("gap", f"{session.next} is missing")]
        if batch.sequence < session.next:
            body = session.answers.get(batch.sequence)
            return [] if body is None else [BatchAnswer(batch.sequence, body)]
        for sequence in [n for n in session.answers if n < batch.first_unanswered]:
            del session.answers[sequence]
        self.index += 1
        session.next += 1
        commands = msgspec.msgpack.decode(batch.body)
        self.log += commands
        first = len(self.log) - len(commands)
        body = answers([first + n for n in range(len(commands))])
        if self.machine is not None:
            body = self.machine.apply(batch.body, 0)
        session.answers[batch.sequence] = body
        return [BatchAnswer(batch.sequence, body)]

    def _query(self, query: Query) -> list[Message] | None:
        session = self.sessions.get(query.session)
        if session is not None and session.next <= query.after:
            return None
        if self.machine is not None:
            return [QueryAnswer(query.id, self.machine.query(query.body))]
        count = len(msgspec.msgpack.decode(query.body))
        return [QueryAnswer(query.id, answers([len(self.log)] * count))]
