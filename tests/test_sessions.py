"""Every operation at most once, alike everywhere; docs/design.md, section 6."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pbserver.sessions import ANSWER_BYTES, Answer, Sessions
from pbserver.store import Store
from tests.replicas import batch, body, session
from wire.commands import Append, Get, Put
from wire.messages import (
    EVICTED,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Entry,
    OpenSession,
    Request,
    SessionClosed,
    SessionOpened,
)


class Applied:
    """A state, and the entries that are applied to it, one by one."""

    def __init__(self, **limits: Any) -> None:
        self.state = Sessions(Store(), **limits)
        self.stamp_ms = 0

    def __call__(self, request: Request, after_ms: int = 0) -> Answer | None:
        self.stamp_ms += after_ms
        entry = Entry(1, self.state.index + 1, self.stamp_ms, request)
        return self.state.apply(entry)

    def open(self, of: int = 1, after_ms: int = 0) -> int:
        """-> the index of its entry."""
        answer = self(OpenSession(session(of)), after_ms)
        assert isinstance(answer, SessionOpened)
        return answer.opened_index

    def value(self) -> bytes | None:
        answer = msgspec.msgpack.decode(self.state.query(body(Get(b"k"))))
        value = answer[0][1]
        assert value is None or isinstance(value, bytes)
        return value


def lengths(*values: int) -> bytes:
    return msgspec.msgpack.encode([[0, value] for value in values])


# -- at most once ----------------------------------------------------------------


def test_batches_are_executed_in_order_and_once() -> None:
    applied = Applied()
    applied.open()
    assert applied(batch(1)) == BatchAnswer(1, lengths(1))
    assert applied(batch(2)) == BatchAnswer(2, lengths(2))
    assert applied.value() == b"12"


def test_a_repeated_batch_has_its_first_answer_however_late() -> None:
    applied = Applied()
    applied.open()
    first = applied(batch(1))
    for sequence in range(2, 6):
        applied(batch(sequence, first_unanswered=1))
    assert applied(batch(1)) == first  # C3: not only the last one
    assert applied.value() == b"12345"


def test_what_the_clerk_has_is_dropped_and_never_executed_again() -> None:
    applied = Applied()
    applied.open()
    for sequence in range(1, 5):
        applied(batch(sequence, first_unanswered=1))
    kept = applied.state.answer_bytes
    applied(batch(5, first_unanswered=4))
    assert applied(batch(3, first_unanswered=1)) is None
    assert applied(batch(4)) == BatchAnswer(4, lengths(4))
    assert applied.value() == b"12345"
    assert applied.state.answer_bytes < kept


def test_two_clerks_on_one_key_do_not_disturb_each_other() -> None:
    applied = Applied()
    births = applied.open(1), applied.open(2)
    first = applied(batch(1, b"x", opened_index=births[0]))
    applied(batch(1, b"y", opened_index=births[1], of=2))
    assert applied(batch(1, b"x", opened_index=births[0])) == first  # C4
    assert applied.value() == b"xy"


def test_an_unknown_session_is_refused() -> None:
    applied = Applied()
    assert applied(batch(1)) == BatchRefused(1, EVICTED)
    assert applied.value() is None


def test_another_birth_is_another_session() -> None:
    applied = Applied()
    old = applied.open()
    applied(batch(1, opened_index=old))
    applied(CloseSession(session(), old))
    new = applied.open()
    assert new > old
    assert applied(batch(1, opened_index=old)) == BatchRefused(1, EVICTED)  # F9
    assert applied(batch(1, b"new", opened_index=new)) == BatchAnswer(1, lengths(4))


def test_opening_an_open_session_changes_nothing() -> None:
    applied = Applied()
    opened_index = applied.open()
    applied(batch(1))
    assert applied.open() == opened_index
    assert applied(batch(1)) == BatchAnswer(1, lengths(1))


def test_closing_names_the_birth_and_is_answered_whatever_was() -> None:
    applied = Applied()
    opened_index = applied.open()
    assert applied(CloseSession(session(), opened_index + 7)) == SessionClosed(
        session()
    )
    assert applied(batch(1)) == BatchAnswer(1, lengths(1))
    assert applied(CloseSession(session(), opened_index)) == SessionClosed(session())
    assert applied(CloseSession(session(), opened_index)) == SessionClosed(session())
    assert applied.state.answer_bytes == 0
    assert not applied.state.table


# -- bounds ----------------------------------------------------------------------


def test_who_was_idle_for_too_long_is_evicted_by_the_logs_own_time() -> None:
    applied = Applied(idle_ms_max=1000)
    opened_index = applied.open(1)
    applied.open(2, after_ms=600)
    assert applied(batch(1, opened_index=opened_index), after_ms=400) == BatchAnswer(
        1, lengths(1)
    )
    # The second is 1001 ms old now, the first is not.
    applied.open(3, after_ms=601)
    assert [*applied.state.table] == [session(1), session(3)]


def test_at_most_so_many_sessions_the_longest_unused_go() -> None:
    applied = Applied(sessions_max=2)
    opened_index = applied.open(1)
    applied.open(2)
    applied(batch(1, opened_index=opened_index))
    applied.open(3)
    assert [*applied.state.table] == [session(1), session(3)]
    for of in range(4, 300):
        applied.open(of % 256)  # C8
    assert len(applied.state.table) == 2


def test_stored_answers_are_bounded_together() -> None:
    applied = Applied(answer_bytes_max=3 * (ANSWER_BYTES + 10))
    for of in range(1, 6):
        applied(batch(1, opened_index=applied.open(of), of=of))
    assert [*applied.state.table] == [session(3), session(4), session(5)]
    assert applied.state.answer_bytes == sum(
        ANSWER_BYTES + len(answer.body)
        for each in applied.state.table.values()
        for answer in each.answers
    )


# -- alike everywhere ---------------------------------------------------------------


def twin(state: Sessions, bytes_max: int) -> Sessions:
    """The same by way of a cut."""
    copy = Sessions(Store(), state.sessions_max, state.idle_ms_max)
    cut = state.cut()
    while chunk := cut.take(bytes_max):
        copy.load(chunk)
    machine = state.machine.cut()
    while chunk := machine.take(bytes_max):
        copy.machine.load(chunk)
    machine.close()
    copy.view, copy.index = state.view, state.index
    copy.stamp_ms, copy.chain = state.stamp_ms, state.chain
    return copy


@pytest.mark.parametrize("bytes_max", [1, 200, 1 << 20])
def test_a_cut_holds_everything_and_goes_on_alike(bytes_max: int) -> None:
    applied = Applied(sessions_max=3, idle_ms_max=500)
    births = {of: applied.open(of) for of in (1, 2, 3)}
    for sequence in (1, 2, 3):
        applied(
            batch(sequence, opened_index=births[2], of=2, first_unanswered=1),
            after_ms=50,
        )
    applied(batch(1, opened_index=births[1], of=1))
    copy = twin(applied.state, bytes_max)
    assert copy.digest() == applied.state.digest()
    assert [*copy.table] == [*applied.state.table], "who goes next, too"
    for request in (
        batch(
            2, opened_index=births[2], of=2, first_unanswered=1
        ),  # T4: an old one again
        OpenSession(session(9)),
        batch(1, opened_index=births[3], of=3),
        batch(4, opened_index=births[2], of=2, first_unanswered=3),
    ):
        stamp_ms = applied.state.stamp_ms + 200
        entry = Entry(1, copy.index + 1, stamp_ms, request)
        assert copy.apply(entry) == applied.state.apply(entry)
        assert copy.chain == applied.state.chain
        assert copy.digest() == applied.state.digest()
        assert copy.answer_bytes == applied.state.answer_bytes


def test_a_cut_is_of_the_moment_when_it_was_made() -> None:
    applied = Applied()
    applied.open()
    applied(batch(1))
    cut, machine = applied.state.cut(), applied.state.machine.cut()
    applied(batch(2))
    copy = Sessions(Store())
    while chunk := cut.take(1):
        copy.load(chunk)
    while chunk := machine.take(1):
        copy.machine.load(chunk)
    assert copy.table[session()].next == 2
    assert msgspec.msgpack.decode(copy.query(body(Get(b"k")))) == [[0, b"1"]]


def test_the_chain_tells_histories_with_other_answers_apart() -> None:
    chains = set()
    for suffix in (b"x", b"xy"):
        applied = Applied()
        applied.open()
        applied(batch(1, suffix))
        chains.add(applied.state.chain)
    assert len(chains) == 2


def test_the_digest_tells_states_apart_that_answer_alike() -> None:
    digests = set()
    for value in (b"x", b"y"):
        applied = Applied()
        applied.open()
        applied(Batch(session(), 1, 1, 1, body(Put(b"k", value))))
        digests.add(applied.state.digest())
    assert len(digests) == 2


def test_the_digest_tells_states_apart_that_would_evict_another_session() -> None:
    applied = Applied()
    for of in (1, 2):
        applied.open(of)
    before = applied.state.digest()
    applied.state.table.move_to_end(session(1))
    assert applied.state.digest() != before


@pytest.mark.parametrize(
    "chunk", [b"", b"\xc1", b"\x91\x01", msgspec.msgpack.encode([[b"x" * 16, 5]])]
)
def test_a_chunk_that_makes_no_sense_is_refused(chunk: bytes) -> None:
    with pytest.raises(ValueError, match="sessions"):
        Sessions(Store()).load(chunk)


def piece(of: int, *, next: int = 2, answers: int = 1, given: int = 1) -> bytes:  # noqa: A002
    """A piece of a cut: one session, and what it was answered."""
    head = [0, session(of), [1, next, 1, [], 0], answers]
    tail = [[1, [35, 1 + at, b"\x90"]] for at in range(given)]
    return msgspec.msgpack.encode([head, *tail])


def test_a_session_that_comes_twice_or_with_other_answers_is_refused() -> None:
    state = Sessions(Store())
    state.load(piece(1))
    state.check_whole()
    assert state.answer_bytes == ANSWER_BYTES + 1
    for chunk, why in (
        (piece(1), "comes twice"),
        (piece(2, next=3), "another count"),
        (piece(3, given=2), "belongs to no session"),
    ):
        with pytest.raises(ValueError, match=why):
            state.load(chunk)


def test_a_session_may_come_in_pieces_and_must_come_whole() -> None:
    state = Sessions(Store())
    state.load(piece(1, next=3, answers=2))
    with pytest.raises(ValueError, match="lacks 1 answers"):
        state.check_whole()
    with pytest.raises(ValueError, match="lacks 1 answers"):
        state.load(piece(2))
    state.load(msgspec.msgpack.encode([[1, [35, 2, b"\x90"]]]))
    state.check_whole()
    assert len(state.table[session(1)].answers) == 2


def test_a_machine_that_raises_stops_the_server() -> None:
    class Broken(Store):
        def apply(self, body: bytes, stamp_ms: int) -> bytes:  # noqa: ARG002
            raise KeyError(body)

        def query(self, body: bytes) -> bytes:
            raise KeyError(body)

    state = Sessions(Broken())
    state.apply(Entry(1, 1, 0, OpenSession(session())))
    with pytest.raises(AssertionError, match="raised in apply: KeyError"):
        state.apply(Entry(1, 2, 0, batch(1)))
    # A read harms nobody but who asked.
    with pytest.raises(ValueError, match="raised in query: KeyError"):
        state.query(b"")


@pytest.mark.parametrize(("index", "stamp_ms"), [(1, 10), (3, 10), (2, 9)])
def test_history_has_no_holes_and_its_time_does_not_go_back(
    index: int, stamp_ms: int
) -> None:
    state = Sessions(Store())
    state.apply(Entry(1, 1, 10, OpenSession(session())))
    with pytest.raises(AssertionError):
        state.apply(Entry(1, index, stamp_ms, OpenSession(session())))


def test_an_empty_batch_is_a_batch() -> None:
    applied = Applied()
    applied.open()
    assert applied(Batch(session(), 1, 1, 1, b"\x90")) == BatchAnswer(1, b"\x90")
    assert applied(
        Batch(session(), 1, 2, 2, body(Append(b"k", b""), Get(b"k")))
    ) == BatchAnswer(2, msgspec.msgpack.encode([[0, 0], [0, b""]]))
