"""
Sessions: every operation at most once, and the same answer for ever after.

Pure.  `Sessions.apply` is the one thing that a replica applies entries to.  It
holds the state machine and, beside it, what is known of every clerk; both
change with the same entry, travel in the same snapshot and are compared in the
same digest, so a replica can never know of an operation without knowing that
it was executed (docs/design.md, section 6).

Whatever is decided here, is decided alike on every replica: time is the
entry's stamp, order is the log's, and the bounds are constants of the protocol
version rather than options.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final
from zlib import crc32

import msgspec
from attrs import define, field

from pbserver import msgpack_array
from pbserver.machine import DigestCut, StateMachine
from wire.messages import (
    BODY_BYTES_MAX,
    EVICTED,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Count,
    Entry,
    OpenSession,
    Ordinal,
    Place,
    SessionClosed,
    SessionId,
    SessionOpened,
)

SESSIONS_MAX: Final = 100_000
IDLE_MS_MAX: Final = 3_600_000
#: Stored answers of all sessions together; past it the sessions that were
#: unused for longest go.
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024

#: How many sessions one entry evicts at most, 5 ms: after an hour of silence all
#: of them are due at once.  What is left goes with the next entries; a table may
#: be over its bounds until then.
EVICTIONS_MAX: Final = 4096

#: What a stored answer is taken to weigh beside its body.
ANSWER_BYTES: Final = 128

#: What an entry costs beside the machine's part, in units of `pbserver.budget`:
#: 4 us with the answer's way out.
ENTRY_WORK: Final = 4096

Answer = SessionOpened | SessionClosed | BatchAnswer | BatchRefused


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of one clerk.  Frozen, so that a copy of the table is a
    copy of everything: a cut costs one shallow copy."""

    #: The index of the entry that opened it.  A batch with another one
    #: belongs to a session that has ended, whatever its id.
    opened_index: Count
    #: The sequence of the batch that may be executed next.
    next: Ordinal
    #: The first sequence whose answer is kept.
    first_unanswered: Ordinal
    #: The answers of first_unanswered .. next - 1.
    answers: tuple[BatchAnswer, ...]
    #: The stamp of the last entry that used the session.
    stamp_ms: Place

    def answer(self, sequence: int) -> BatchAnswer | None:
        """The answer of an executed batch; None: dropped, the clerk had it."""
        at = sequence - self.first_unanswered
        return self.answers[at] if at >= 0 else None


class _Opened(msgspec.Struct, frozen=True, array_like=True, tag=0, gc=False):
    """A session as a snapshot carries it; its answers follow, one by one, so
    that no piece of a snapshot is much longer than one answer."""

    id: SessionId
    session: Session
    #: How many answers follow.
    answers: Count


class _Answered(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """An answer of the session that came last."""

    answer: BatchAnswer


_encode = msgspec.msgpack.Encoder().encode
_decode_items = msgspec.msgpack.Decoder(list[_Opened | _Answered]).decode


@define
class Sessions:
    """The replicated state: machine, sessions, and where in history it stands."""

    machine: StateMachine
    sessions_max: int = SESSIONS_MAX
    idle_ms_max: int = IDLE_MS_MAX
    answer_bytes_max: int = ANSWER_BYTES_MAX

    #: The identity and stamp of the last applied entry.
    view: int = field(default=0, init=False)
    index: int = field(default=0, init=False)
    stamp_ms: int = field(default=0, init=False)
    #: CRC-32 over every (index, answer) so far: replicas that differ in it
    #: have answered differently somewhere.
    chain: int = field(default=0, init=False)

    #: In order of last use, so that what is evicted next comes first.  (A plain
    #: dict keeps order too, but looks for its first key past all deleted ones.)
    table: OrderedDict[bytes, Session] = field(factory=OrderedDict, init=False)
    #: The weight of all stored answers.
    answer_bytes: int = field(default=0, init=False)
    #: What all that was executed and read here has cost, in units of
    #: `pbserver.budget`.  No part of the state: it is for those who pace it.
    work: int = field(default=0, init=False)
    #: Does the machine count what a body costs?  For one that does not, one byte of
    #: body and answer counts as one unit.
    _counts: bool = field(init=False)
    #: No session was used before this.  Spares looking at the first each time.
    _first_ms: int = field(default=0, init=False)
    #: While a cut is loaded: how many answers of the last session are to come.
    _answers_due: int = field(default=0, init=False)

    @_counts.default
    def _does_it_count(self) -> bool:
        return hasattr(self.machine, "spent")

    def apply(self, entry: Entry) -> Answer | None:
        """Execute the next entry of history -> what to answer whoever asked.

        None: the answer was dropped because the clerk said that it had it.
        """
        index, stamp_ms, request = entry.index, entry.stamp_ms, entry.request
        assert index == self.index + 1, (index, self.index)
        assert stamp_ms >= self.stamp_ms, (stamp_ms, self.stamp_ms)
        self.view, self.index, self.stamp_ms = entry.view, index, stamp_ms
        if self._first_ms < (oldest_ms := stamp_ms - self.idle_ms_max):
            self._evict_idle(oldest_ms)
        answer: Answer | None
        if type(request) is Batch:
            answer = self._execute(request, stamp_ms)
            told = answer.body if type(answer) is BatchAnswer else b"refused"
        elif type(request) is OpenSession:
            answer = self._open(request, entry)
            told = b"opened %d" % answer.opened_index
        else:
            assert type(request) is CloseSession
            answer = self._close(request)
            told = b"closed"
        self.chain = crc32(told, self.chain ^ (index & 0xFFFFFFFF))
        return answer

    def query(self, body: bytes) -> bytes:
        """Ask the machine; changes nothing.  Raises `ValueError` if the machine
        raises or answers too much: only whoever asked is harmed by that."""
        machine: Any = self.machine
        try:
            answer: bytes = machine.query(body)
        except Exception as error:
            raise ValueError(f"the state machine raised in query: {error!r}") from error
        spent = machine.spent if self._counts else len(body) + len(answer)
        self.work += ENTRY_WORK + spent
        if len(answer) > BODY_BYTES_MAX:
            raise ValueError(f"the state machine answered {len(answer)} bytes")
        return answer

    def digest(self) -> bytes:
        """Equal for equal states in every process: machine and sessions.  A pass
        over both."""
        cut = self.digest_cut()
        while (digest := cut.step(bytes_max=1 << 20)) is None:
            pass
        return digest

    def digest_cut(self) -> SessionsDigest:
        """The digest of the state at this moment, to be computed piece by piece
        while it goes on.  Raises what the machine raises."""
        return SessionsDigest(self)

    # -- what each request does ------------------------------------------------

    def _open(self, request: OpenSession, entry: Entry) -> SessionOpened:
        self.work += ENTRY_WORK
        session = self.table.get(request.id)
        if session is None:
            self._evict_over(self.sessions_max - 1)
            session = Session(entry.index, 1, 1, (), entry.stamp_ms)
        else:
            session = msgspec.structs.replace(session, stamp_ms=entry.stamp_ms)
        self._use(request.id, session)
        return SessionOpened(request.id, session.opened_index)

    def _close(self, request: CloseSession) -> SessionClosed:
        self.work += ENTRY_WORK
        session = self.table.get(request.id)
        if session is not None and session.opened_index == request.opened_index:
            self._evict(request.id)
        return SessionClosed(request.id)

    def _execute(
        self, batch: Batch, stamp_ms: int
    ) -> BatchAnswer | BatchRefused | None:
        session_id, sequence = batch.session, batch.sequence
        session = self.table.get(session_id)
        if session is None or session.opened_index != batch.opened_index:
            self.work += ENTRY_WORK
            return BatchRefused(batch.sequence, EVICTED)
        if sequence < session.next:
            # Executed before: the same bytes again, or nothing.
            self.work += ENTRY_WORK
            return session.answer(sequence)
        if sequence != session.next or batch.first_unanswered > sequence:
            # No primary logs that (`Primary.on_batch`); only a forged entry has it,
            # and it must not end every replica that has it in its log.
            return BatchRefused(sequence, EVICTED)
        machine: Any = self.machine
        try:
            body = machine.apply(batch.body, stamp_ms)
        except Exception as error:
            raise _broken("apply", error) from error
        assert len(body) <= BODY_BYTES_MAX, len(body)
        spent = machine.spent if self._counts else len(batch.body) + len(body)
        self.work += ENTRY_WORK + spent
        answer = BatchAnswer(sequence, body)

        first_unanswered, answers = session.first_unanswered, session.answers
        answer_bytes = self.answer_bytes + ANSWER_BYTES + len(body)
        if batch.first_unanswered > first_unanswered:
            dropped = batch.first_unanswered - first_unanswered
            for old in answers[:dropped]:
                answer_bytes -= ANSWER_BYTES + len(old.body)
            first_unanswered, answers = batch.first_unanswered, answers[dropped:]
        self.answer_bytes = answer_bytes
        answers = (*answers, answer) if answers else (answer,)
        # As `_use` does, without its call.
        self.table[session_id] = Session(
            session.opened_index, sequence + 1, first_unanswered, answers, stamp_ms
        )
        self.table.move_to_end(session_id)
        if self.answer_bytes > self.answer_bytes_max:
            self._evict_over(self.sessions_max)
        return answer

    def _use(self, session_id: bytes, session: Session) -> None:
        self.table[session_id] = session
        self.table.move_to_end(session_id)

    # -- eviction: by stamp and order of use, never by anything else --------------

    def _evict_idle(self, oldest_ms: int) -> None:
        for _ in range(EVICTIONS_MAX):
            if self._first_ms >= oldest_ms or not self.table:
                break
            session_id, session = next(iter(self.table.items()))
            self._first_ms = session.stamp_ms
            if session.stamp_ms < oldest_ms:
                self._evict(session_id)

    def _evict_over(self, sessions_max: int) -> None:
        for _ in range(EVICTIONS_MAX):
            is_over = len(self.table) > sessions_max
            if not is_over and self.answer_bytes <= self.answer_bytes_max:
                break
            self._evict(next(iter(self.table)))

    def _evict(self, session_id: bytes) -> None:
        session = self.table.pop(session_id)
        for answer in session.answers:
            self.answer_bytes -= _weight(answer)

    # -- cuts ---------------------------------------------------------------------

    def cut(self) -> SessionsCut:
        """The table at this moment, to be taken out piece by piece."""
        return SessionsCut(list(self.table.items()))

    def load(self, chunk: bytes) -> None:
        """Take in one piece of a cut; ValueError if it makes no sense."""
        try:
            items = _decode_items(chunk)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no chunk of sessions: {error}") from None
        for item in items:
            if type(item) is _Opened:
                self.check_whole()
                self._load_session(item)
            else:
                assert type(item) is _Answered
                self._load_answer(item.answer)

    def _load_session(self, item: _Opened) -> None:
        session = item.session
        if item.id in self.table:
            raise ValueError(f"session {item.id.hex()} comes twice")
        if session.answers or item.answers != session.next - session.first_unanswered:
            raise ValueError(f"session {item.id.hex()} has another count of answers")
        self.table[item.id] = session
        self._answers_due = item.answers

    def _load_answer(self, answer: BatchAnswer) -> None:
        if not self._answers_due:
            raise ValueError(f"answer {answer.sequence} belongs to no session")
        self._answers_due -= 1
        session_id, session = next(reversed(self.table.items()))
        answers = (*session.answers, answer)
        if answer.sequence != session.first_unanswered + len(session.answers):
            raise ValueError(f"answer {answer.sequence} is out of turn")
        self.table[session_id] = msgspec.structs.replace(session, answers=answers)
        self.answer_bytes += _weight(answer)

    def check_whole(self) -> None:
        """ValueError if a cut that was loaded so far ends within a session."""
        if self._answers_due:
            session_id = next(reversed(self.table))
            text = f"session {session_id.hex()} lacks {self._answers_due} answers"
            raise ValueError(text)


class SessionsCut:
    """An exact copy of the sessions' table, taken out piece by piece."""

    def __init__(self, items: list[tuple[bytes, Session]]) -> None:
        #: The next session last, and how many of its answers were taken out;
        #: -1: it was not itself.
        self._items = items[::-1]
        self._taken = -1

    def take(self, bytes_max: int) -> bytes:
        """The next piece, about *bytes_max* long, or as long as a single answer
        that is longer; b"" when there is no more."""
        chunk = self.items(bytes_max)
        return _encode(chunk) if chunk else b""

    def items(self, bytes_max: int) -> list[_Opened | _Answered]:
        """The same, not encoded yet."""
        chunk: list[_Opened | _Answered] = []
        size = 0
        while self._items and size < bytes_max:
            length = self._weight_of_next()
            # A long answer goes alone: with others before it, it fits no frame.
            if chunk and size + length > bytes_max:
                break
            chunk.append(self._next())
            size += length
        return chunk

    def _weight_of_next(self) -> int:
        answers = self._items[-1][1].answers
        return ANSWER_BYTES if self._taken < 0 else _weight(answers[self._taken])

    def _next(self) -> _Opened | _Answered:
        session_id, session = self._items[-1]
        answers = session.answers
        item: _Opened | _Answered
        if self._taken < 0:
            alone = msgspec.structs.replace(session, answers=())
            item = _Opened(session_id, alone, len(answers))
        else:
            item = _Answered(answers[self._taken])
        self._taken += 1
        if self._taken == len(answers):
            self._items.pop()
            self._taken = -1
        return item


class SessionsDigest:
    """The digest of machine and sessions at one moment."""

    def __init__(self, state: Sessions) -> None:
        self.index, self.chain = state.index, state.chain
        self._head = b"%d %d %d" % (state.view, state.index, state.chain)
        self._sessions = state.cut()
        #: The machine's part, until it is complete; then what grows from it.
        self._machine: DigestCut | None = None
        self._digest = hashlib.blake2b(digest_size=16)
        make = getattr(state.machine, "digest_cut", None)
        if make is None:
            self._begin(state.machine.digest())
        else:
            self._machine = make()

    def step(self, bytes_max: int) -> bytes | None:
        """Compute on, for about that many bytes of the state -> the digest if it
        is complete."""
        if self._machine is not None:
            machine = self._machine.step(bytes_max)
            if machine is not None:
                self.close()
                self._begin(machine)
            return None
        items = self._sessions.items(bytes_max)
        if not items:
            return self._digest.digest()
        # What makes a piece is how it is computed and no part of the state, so
        # the array's own header is left out.
        self._digest.update(_encode(items)[len(msgpack_array.header(len(items))) :])
        return None

    def close(self) -> None:
        """Free what the machine keeps for it.  Closing twice is closing once."""
        if self._machine is not None:
            self._machine.close()
            self._machine = None

    def _begin(self, machine: bytes) -> None:
        self._digest.update(machine)
        self._digest.update(self._head)


def _weight(answer: BatchAnswer) -> int:
    return ANSWER_BYTES + len(answer.body)


def _broken(what: str, error: Exception) -> AssertionError:
    """A machine that raises has left its state unknown: nobody may go on."""
    return AssertionError(f"the state machine raised in {what}: {error!r}")
