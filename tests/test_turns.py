"""A turn does a bounded part of the work, and everybody else gets theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pbserver import digests, round_waiters, sessions
from pbserver.discard import STEP_OBJECTS, Discard
from pbserver.sessions import Sessions
from pbserver.store import Store
from tests.replicas import Table, batch, body, query, session, view
from tests.stores import filled
from wire.commands import Put
from wire.messages import (
    Batch,
    BatchAnswer,
    DigestAt,
    DigestIs,
    Entry,
    Forward,
    ForwardOk,
    Goodbye,
    OpenSession,
    QueryAnswer,
    Redirect,
    SnapshotPartOk,
    Wait,
)


def pair(**limits: Any) -> Table:
    table = Table("A B C", **limits)
    table.found()
    table.lead(view(2, "A", "B"))
    table.opened("A")
    table.told()
    return table


# -- the primary -----------------------------------------------------------------


def test_one_turn_executes_a_bounded_part_of_what_is_committed() -> None:
    table = pair(turn_work_max=1)
    table.ask("A", *(batch(number, first_unanswered=1) for number in range(1, 6)))
    table.carry("A", "B")
    table.carry("B", "A")
    turns = [[answer.sequence for answer in table.told()] for _ in range(5)]
    assert turns == [[1], [2], [3], [4], [5]]
    assert not table["A"].is_behind


def test_what_is_not_executed_yet_is_not_read() -> None:
    table = pair(turn_work_max=1)
    table.ask("A", batch(1), batch(2, first_unanswered=1), query(1))
    table.carry("A", "B")
    table.carry("B", "A")
    assert [type(each) for each in table.told()] == [BatchAnswer]
    [_, answer] = table.told()
    assert b"12" in answer.body


def test_one_turn_answers_a_bounded_part_of_the_reads() -> None:
    table = Table("A", turn_work_max=1)
    table.found()
    table.ask("A", *(query(number) for number in range(1, 4)))
    turns = [[answer.id for answer in table.told()]]
    while table["A"].is_behind:
        turns.append([answer.id for answer in table.told()])
    assert turns == [[1], [2], [3], []]


def test_reads_are_answered_beside_a_long_tail() -> None:
    """One of each in a turn: neither starves the other."""
    table = Table("A", turn_work_max=1)
    table.found()
    table.opened("A")
    table.told()
    table.ask("A", query(1), query(2))
    table.ask("A", *(batch(number, first_unanswered=1) for number in range(1, 4)))
    first = [type(each) for each in table.told()]
    assert first == [BatchAnswer, QueryAnswer]


def test_a_turn_sends_a_backup_a_bounded_part() -> None:
    table = pair(turn_bytes_max=1, forward_bytes_max=1)
    table.ask("A", *(batch(number, first_unanswered=1) for number in range(1, 5)))
    table.turn("A")
    [forward] = table.carry("A", "B", count=1)
    assert isinstance(forward, Forward)
    assert len(forward.entries) <= 1
    assert table["A"].is_behind
    table.settle()
    assert table.value("A") == b"1234"


def test_batches_of_unknown_sessions_are_looked_at_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(round_waiters, "STRANGERS_MAX", 2)
    table = Table("A")
    table.found()
    table.ask("A", *(batch(1, of=number) for number in range(2, 9)))
    counts = []
    while True:
        counts.append(len(table.told()))
        if not table["A"].is_behind:
            break
    assert max(counts) == 2
    assert sum(counts) == 7


def test_early_reads_are_tried_again_only_after_a_commit() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.carry("A", "B")
    leader = table.leads("A")
    table.lose("B", "A")
    table.ask("A", query(1, after=1))
    before = table["A"].work
    for _ in range(3):
        table.turn("A")
    assert table["A"].work == before
    table.tick()
    table.settle()
    assert [type(each) for each in table.told()] == [BatchAnswer, QueryAnswer]
    assert not leader.waiters


def test_links_that_are_lost_together_cost_one_look() -> None:
    table = pair()
    for clerk in "xyz":
        table.ask("A", query(1), clerk=clerk)
    waiting = table.leads("A").waiters
    for clerk in "xz":
        table["A"].link_lost(clerk)
    assert waiting.lost == {"x", "z"}
    table.turn("A")
    assert [each.link for each in waiting._reads] == ["y"]
    assert not waiting.lost


# -- the backup ------------------------------------------------------------------


def lagging() -> Table:
    """B knows that five batches are committed, and has had one turn for them."""
    table = pair(turn_work_max=1)
    table.ask("A", *(batch(number, first_unanswered=1) for number in range(1, 6)))
    table.carry("A", "B")
    table.carry("B", "A")
    for _ in range(5):
        table.turn("A")
    table.tick("A")
    table.carry("A", "B")
    table.turn("B")
    return table


def test_a_backup_applies_a_bounded_part_in_a_turn() -> None:
    table = lagging()
    commits = [table["B"].history.commit]
    while table["B"].is_behind:
        table.turn("B")
        commits.append(table["B"].history.commit)
    assert commits[:5] == [2, 3, 4, 5, 6]
    assert table.value("B") == b"12345"
    assert table["B"].diverged is None


def test_a_backup_that_lags_reports_nothing_more_as_accepted() -> None:
    """Who executes slower than its primary would fall behind without end."""
    table = lagging()
    table.carry("B", "A")
    table.ask("A", batch(6, first_unanswered=1))
    table.carry("A", "B")
    [echo] = table.carry("B", "A")
    assert isinstance(echo, ForwardOk)
    assert echo.verified == 6
    assert table["B"].history.log.end == 7
    table.settle()
    assert table.leads("A").followers["B"].verified == 7
    assert table.value("A") == b"123456"


def test_what_a_backup_that_lags_has_executed_is_accepted() -> None:
    """A newcomer gets what was committed without it, and executes it slowly."""
    table = Table("A B", turn_work_max=1, forward_bytes_max=700)
    table.found()
    table.opened("A")
    table.ask("A", *(batch(number, first_unanswered=1) for number in range(1, 9)))
    table.settle()
    assert table["A"].history.commit == 9
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    echoes: list[Any] = []
    for _ in range(20):
        table.tick("A")
        table.carry("A", "B", count=1)
        echoes += table.carry("B", "A")
    assert not any(isinstance(echo, Goodbye) for echo in echoes)
    echoes = [echo for echo in echoes if isinstance(echo, ForwardOk)]
    assert any(0 < echo.commit < 9 for echo in echoes)
    assert all(echo.commit <= echo.verified for echo in echoes)


def test_a_backup_that_has_caught_up_reports_it_unasked() -> None:
    table = lagging()
    table.ask("A", batch(6, first_unanswered=1))
    table.carry("A", "B")
    echoes: list[Any] = []
    while table["B"].is_behind:
        echoes += table.carry("B", "A")
    assert [echo.verified for echo in echoes if isinstance(echo, ForwardOk)][-1] == 7


def test_a_backup_that_lags_shows_that_it_lives() -> None:
    """What it reads meanwhile may be long, and come in between its work only."""
    table = lagging()
    table.carry("B", "A")
    table["B"].tick()
    [echo] = table.carry("B", "A")
    assert isinstance(echo, ForwardOk)
    while table["B"].is_behind:
        table.turn("B")
    table.carry("B", "A")
    table["B"].tick()
    assert table.carry("B", "A") == []


def test_a_backup_that_lags_and_lost_its_primary_reports_to_nobody() -> None:
    table = lagging()
    table.ask("A", batch(6, first_unanswered=1))
    table.carry("A", "B")
    table.cut("A", "B")
    table["B"].tick()
    assert table["B"].is_behind
    while table["B"].is_behind:
        for messages in table["B"].flush():
            assert messages == []
    assert table.value("B") == b"12345"


def test_a_backup_that_lags_takes_over_and_loses_nothing() -> None:
    table = lagging()
    table.tell(view(3, "B", "", ""), "B")
    table.settle()
    assert table.value("B") == b"12345"
    assert table["B"].history.commit == 6


# -- digests ---------------------------------------------------------------------


def stored(table: Table, who: str, count: int) -> None:
    for number in range(count):
        put = Put(b"%04d" % number, bytes(100))
        table.ask(who, Batch(session(), 1, number + 1, number + 1, body(put)))
    table.settle()
    table.told()


def asked(table: Table, who: str, index: int, link: str = "o") -> None:
    table[who].receive(link, None, DigestAt(index))


def test_a_digest_is_computed_beside_what_goes_on() -> None:
    table = Table("A", part_bytes=200)
    table.found()
    table.opened("A")
    stored(table, "A", 50)
    expected = table["A"].history.state.digest()
    asked(table, "A", 51)
    turns = 0
    while not (answers := table.told("o")):
        turns += 1
        table.ask("A", Batch(session(), 1, 50 + turns, 50 + turns, body()))
        [answer] = table.told()
        assert isinstance(answer, BatchAnswer)
    assert turns > 3
    [answer] = answers
    assert isinstance(answer, DigestIs)
    assert (answer.index, answer.digest) == (51, expected)
    assert table["A"].history.state.digest() != expected
    assert not table["A"].history.state.machine._pairs._needed


def test_questions_about_the_same_index_share_a_digest() -> None:
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    for link in "opo":
        asked(table, "A", 21, link)
    table.turn()
    asked(table, "A", 21, "q")
    table.settle()
    answers = [table.told(link) for link in "opq"]
    assert [len(each) for each in answers] == [1, 1, 1]
    assert answers[0] == answers[1] == answers[2]


def test_a_digest_of_now_waits_for_another_and_no_longer_than_now_lasts() -> None:
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    asked(table, "A", 21)
    table.ask("A", Batch(session(), 1, 21, 21, body()))
    asked(table, "A", 22, "waits")
    asked(table, "A", 22, "too late")
    table["A"].link_lost("waits")
    table.turn()
    assert table.told("too late") == []
    table.settle()
    [first], [second] = table.told("o"), table.told("too late")
    assert (first.index, second.index) == (21, 22)
    assert first.digest
    assert second.digest == table["A"].history.state.digest()
    asked(table, "A", 22)
    table.ask("A", Batch(session(), 1, 22, 22, body()))
    asked(table, "A", 23, "late")
    table.ask("A", Batch(session(), 1, 23, 23, body()))
    [late] = table.told("late")
    assert (late.index, late.digest) == (23, b"")


def test_a_digest_that_nobody_waits_for_is_not_computed() -> None:
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    asked(table, "A", 21)
    table.turn()
    assert table["A"].is_behind
    table["A"].link_lost("o")
    table.turn("A")
    assert not table["A"].is_behind
    assert not table["A"].history.state.machine._pairs._needed


def test_a_digest_runs_beside_a_transfer() -> None:
    table = pair(part_bytes=200, tail_bytes_kept=0)
    stored(table, "A", 30)
    table.tell(view(3, "A", "B C", "B"), "A B C")
    table.connect("A", "C")
    table.carry("A", "C")
    table.carry("C", "A")
    table.carry("A", "C", count=2)
    index = table["A"].history.commit
    asked(table, "A", index)
    table.settle()
    [answer] = table.told("o")
    assert answer.digest == table["A"].history.state.digest()
    table.tick()
    table.settle()
    assert table["C"].history.state.digest() == answer.digest


def test_too_many_questions_are_answered_without_a_digest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "DIGESTS_MAX", 2)
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    for link in ("o", "p", "q"):
        asked(table, "A", 21, link)
    table.turn()
    [refused] = table.told("q")
    assert refused.digest == b""


def test_f7_questions_of_one_link_are_answered_once_a_turn() -> None:
    """One read brings thousands of them; one may wait, and those that are answered
    without a digest are answered together."""
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    for _ in range(100):
        for index in (0, 1, 2**62, 21, 0):
            asked(table, "A", index)
            asked(table, "A", index, "p")
    assert sum(map(len, table["A"].history.digests.waiting.values())) == 2
    table.turn()
    for link in "op":
        [refused] = table.told(link)
        assert (refused.index, refused.digest) == (21, b"")  # type: ignore[attr-defined]
    asked(table, "A", 21, "verify")
    table.settle()
    [answer] = table.told("verify")
    assert answer.digest == table["A"].history.state.digest()  # type: ignore[attr-defined]


def test_a_question_that_waits_is_neither_replaced_nor_forgotten() -> None:
    table = Table("A", part_bytes=100)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    for index in (22, 23, 0, 22):
        asked(table, "A", index)
    table.turn()
    assert [each.digest for each in table.told("o")] == [b""]  # type: ignore[attr-defined]
    table.ask("A", Batch(session(), 1, 21, 21, body()))
    table.settle()
    [answer] = table.told("o")
    assert (answer.index, len(answer.digest)) == (22, 16)  # type: ignore[attr-defined]
    # And then its link may ask for the next.
    asked(table, "A", 22)
    table.settle()
    assert [each.index for each in table.told("o")] == [22]  # type: ignore[attr-defined]


def test_f7_whoever_is_refused_is_told_the_view_once_a_turn() -> None:
    table = pair()
    for _ in range(100):
        table.ask("B", batch(1), query(1), clerk="c")
        table.ask("B", query(1), clerk="d")
    for clerk in "cd":
        assert table.told(clerk) == [Redirect(view(2, "A", "B"))]
    table.ask("B", query(1), clerk="c")
    assert table.told("c") == [Redirect(view(2, "A", "B"))]
    # A view that comes between two questions of a turn is told as well.
    table["B"].receive("c", None, query(1))
    table.tell(view(3, "A", "B"), "B")
    table["B"].receive("c", None, query(1))
    table.turn()
    assert table.told("c")[-1] == Redirect(view(3, "A", "B"))


def test_a_machine_with_a_digest_in_one_piece_is_as_good() -> None:
    class Plain(Store):
        digest_cut = None  # type: ignore[assignment]

        def digest(self) -> bytes:
            return b"%d keys" % len(self)

    one, other = Sessions(Plain()), Sessions(Plain())
    assert one.digest() == other.digest()
    other.machine.apply(body(Put(b"k", b"v")), 0)
    assert one.digest() != other.digest()


# -- sessions, and what is freed ---------------------------------------------------


def test_one_entry_evicts_a_bounded_number_of_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "EVICTIONS_MAX", 3)
    state = Sessions(Store(), idle_ms_max=100)
    for index in range(1, 11):
        state.apply(Entry(1, index, 0, OpenSession(bytes([index]) * 16)))
    counts = []
    for index in range(11, 16):
        state.apply(Entry(1, index, 1000, OpenSession(bytes([index]) * 16)))
        counts.append(len(state.table))
    assert counts == [8, 6, 4, 4, 5]


def test_what_a_snapshot_replaces_is_freed_a_little_at_a_time() -> None:
    table = pair(tail_bytes_kept=0)
    table.cut("A", "B")
    table.tell(view(3, "A"), "A")
    stored(table, "A", 10)
    old = table["B"].history.state
    keys = filled(9000)
    old.machine._pairs = keys._pairs  # type: ignore[attr-defined]
    table.lead(view(4, "A", "B"))
    assert table["B"].history.state is not old
    assert not table["B"].history.discard.steps
    assert old.machine._pairs._leaves == []  # type: ignore[attr-defined]
    assert old.table == {}
    assert len(table["B"].history.state.machine) == 10


@pytest.mark.parametrize(
    ("make", "put"),
    [
        (lambda count: list(range(count)), Discard.items),
        (lambda count: dict.fromkeys(range(count)), Discard.table),
    ],
)
def test_every_step_frees_a_part(
    make: Callable[[int], Any], put: Callable[[Discard, Any], None]
) -> None:
    discard = Discard()
    put(discard, make(0))
    assert not discard.steps
    found = make(2 * STEP_OBJECTS + 1)
    put(discard, found)
    sizes = []
    while discard.steps:
        discard.step()
        sizes.append(len(found))
    assert sizes == [STEP_OBJECTS + 1, 1, 0]


# -- answers that are given again ----------------------------------------------------


def test_answers_that_are_asked_for_again_are_bounded_in_a_turn() -> None:
    """They are as long as an answer may be, and a frame that asks for one is not."""
    table = Table("A", answers_bytes_max=300)
    table.found()
    table.opened("A")
    for number in (1, 2, 3):
        table.ask("A", batch(number, bytes(200), first_unanswered=1))
    table.settle()
    table.told()
    for _ in range(100):
        for number in (1, 2, 3):
            table.ask("A", batch(number, first_unanswered=1))
    turns = []
    while not turns or table["A"].is_behind:
        turn = [message for part in table["A"].flush() for _, message in part]
        turns.append([each.sequence for each in turn if isinstance(each, BatchAnswer)])
    assert turns == [[1, 2], [3]]


def test_nobody_is_answered_again_on_a_lost_connection_or_by_a_backup() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.settle()
    table.told()
    table.ask("A", batch(1), clerk="x")
    table["A"].link_lost("x")
    table.ask("A", batch(1), clerk="y")
    table.tell(view(3, "B", "A", "A"), "A")
    assert table.told("x") == []
    assert [type(each) for each in table.told("y")] == [Redirect]


# -- what is done in a thread ------------------------------------------------------


class Finishing(Store):
    """Notes when it is restored."""

    finished = 0
    error: str | None = None

    def finish(self) -> None:
        if self.error is not None:
            raise RuntimeError(self.error)
        self.finished += 1


class FinishingTable(Table):
    def _fresh(self) -> Sessions:
        return Sessions(Finishing(), **self.sessions)


def brought() -> FinishingTable:
    """All parts of a snapshot have come to C, and its last step is to be done."""
    table = FinishingTable("A B C", tail_bytes_kept=0)
    table.found()
    table.opened("A")
    stored(table, "A", 3)
    table.lead(view(2, "A", "C"))
    return table


def test_a_machine_is_restored_before_it_is_used() -> None:
    table = brought()
    job = table["C"].take_job()
    assert job is not None
    assert table["C"].take_job() is None
    assert table["C"].history.commit == 0
    table.tick()
    table.settle()
    assert table.leads("A").followers["C"].silent_ticks == 0
    assert table.leads("A").synced == ()
    assert job.run() is None
    table["C"].finished(job, None)
    table.settle()
    assert table.leads("A").synced == ("C",)
    machine = table["C"].history.state.machine
    assert isinstance(machine, Finishing)
    assert machine.finished == 1


def test_a_machine_that_cannot_be_restored_is_not_used() -> None:
    table = brought()
    job = table["C"].take_job()
    assert job is not None
    incoming = table["C"].role.incoming  # type: ignore[union-attr]
    incoming.state.machine.error = "no"
    error = job.run()
    text = "the state machine cannot load it: RuntimeError('no')"
    assert str(error) == text
    table["C"].finished(job, error)
    [said] = [m for m in table.carry("C", "A") if isinstance(m, Goodbye)]
    assert said == Goodbye("protocol", f"snapshot: {text}")
    assert table["C"].history.commit == 0
    assert table["C"].unable == f"the primary's snapshot is of no use here: {text}"
    assert table["C"].report.waiting == Wait((), "failed", table["C"].unable)


class SealedCut:
    """A part of it cannot be encoded."""

    def take(self, bytes_max: int) -> bytes:  # noqa: ARG002
        raise TypeError("a set is no plain value")

    def close(self) -> None:
        pass


class Sealed(Store):
    """Does not give out its state: at once, or only when the first part is taken."""

    late = False

    def cut(self) -> Any:
        if not self.late:
            raise TypeError("a set is no plain value")
        return SealedCut()

    def digest_cut(self) -> Any:
        raise TypeError("a set is no plain value")


class SealedTable(Table):
    def _fresh(self) -> Sessions:
        return Sessions(Sealed(), **self.sessions)


@pytest.mark.parametrize("late", [False, True])
def test_a_primary_whose_state_cannot_be_dumped_goes_on(late: bool) -> None:
    table = SealedTable("A B", tail_bytes_kept=0)
    table.found()
    table.opened("A")
    stored(table, "A", 3)
    machine = table["A"].history.state.machine
    assert isinstance(machine, Sealed)
    machine.late = late
    table.lead(view(2, "A", "B"))
    fault = "the state machine raised when its state was dumped: "
    fault += "TypeError('a set is no plain value')"
    assert table["A"].faults == [f"B cannot be brought up: {fault}"]
    waiting = table["A"].report.waiting
    assert waiting is not None
    assert (waiting.names, waiting.code) == (("B",), "transfer")
    assert waiting.text == f"to be brought up; B: {fault}"
    assert table.leads("A").followers["B"].transfer is None
    # It goes on alone, for whoever it has told that it holds everything.
    table.ask("A", batch(4))
    table.settle()
    assert table["A"].history.commit == 5
    # Once for each connection.
    table.tick("A", times=3)
    table.settle()
    assert len(table["A"].faults) == 1
    table.connect("A", "B")
    table.settle()
    assert len(table["A"].faults) == 2


def test_a_digest_that_waits_is_computed_when_the_other_is_not_wanted() -> None:
    table = Table("A", part_bytes=1)
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    asked(table, "A", 21, "first")
    table.ask("A", Batch(session(), 1, 21, 21, body()))
    asked(table, "A", 22, "second")
    table.turn()
    assert table["A"].history.commit == 22
    table["A"].link_lost("first")
    for _ in range(50):
        table.turn()
    [told] = table.told("second")
    assert told.digest  # type: ignore[attr-defined]


def test_those_who_wait_for_what_never_comes_give_way() -> None:
    table = Table("A")
    table.found()
    table.opened("A")
    stored(table, "A", 20)
    for number in range(digests.DIGESTS_MAX):
        asked(table, "A", 2**62, f"stranger {number}")
    asked(table, "A", 21, "verify")
    for _ in range(5):
        table.turn()
    [told] = table.told("verify")
    assert told.digest  # type: ignore[attr-defined]
    for number in range(digests.DIGESTS_MAX):
        [told] = table.told(f"stranger {number}")
        assert not told.digest  # type: ignore[attr-defined]


def test_a_digest_that_cannot_be_computed_is_logged() -> None:
    table = SealedTable("A")
    table.found()
    table.opened("A")
    asked(table, "A", table["A"].history.commit)
    table.turn()
    assert table.told("o") == [DigestIs(1, table["A"].history.state.chain, b"")]
    text = "the state machine raised in its digest: "
    assert table["A"].faults == [f"{text}TypeError('a set is no plain value')"]


@pytest.mark.parametrize("how", ["connection", "view", "newer view, same primary"])
def test_what_comes_of_a_transfer_that_has_ended_is_dropped(how: str) -> None:
    table = brought()
    job = table["C"].take_job()
    assert job is not None
    kept = how.startswith("newer")
    if how == "connection":
        table.cut("A", "C")
    elif kept:
        table.tell(view(3, "A", "C"), "A C")
    else:
        table.tell(view(3, "B", "C"), "C")
    table["C"].finished(job, job.run())
    haves = [m for m in table.carry("C", "A") if isinstance(m, SnapshotPartOk)]
    assert bool(haves) == kept
    assert (table["C"].history.commit > 0) == kept


# -- machines that count nothing ---------------------------------------------------


class Echo:
    """A machine with nothing but what it must have."""

    def apply(self, body: bytes, stamp_ms: int) -> bytes:  # noqa: ARG002
        return body * 2

    query = None


def test_a_machine_that_does_not_count_its_work_is_paced_by_bytes() -> None:
    state = Sessions(Echo())  # type: ignore[arg-type]
    state.apply(Entry(1, 1, 0, OpenSession(session())))
    before = state.work
    state.apply(Entry(1, 2, 0, Batch(session(), 1, 1, 1, bytes(1000))))
    assert state.work - before == sessions.ENTRY_WORK + 3000
