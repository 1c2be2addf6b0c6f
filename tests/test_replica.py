"""
The replica's rules, one by one; docs/design.md, section 5.

Who says what to whom is written out; what all of them do together in a thousand
ways is the simulator's business.
"""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from pbserver.log import ENTRY_BYTES
from pbserver.replica import HANGING_DEATHS
from tests.replicas import (
    Table,
    batch,
    body,
    founding,
    member,
    query,
    session,
    view,
)
from wire.commands import Put
from wire.messages import (
    BODY_BYTES_MAX,
    EVICTED,
    TOO_LARGE,
    WINDOW_MAX,
    Attach,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    DigestAt,
    DigestIs,
    Entry,
    Forward,
    ForwardOk,
    Goodbye,
    LogPosition,
    OpenSession,
    QueryAnswer,
    Redirect,
    SessionClosed,
    SessionOpened,
    SnapshotPart,
    View,
    Wait,
    view_number,
)


def lengths(*values: int) -> bytes:
    """The answer to appends."""
    return msgspec.msgpack.encode([[0, value] for value in values])


def read(value: bytes | None) -> bytes:
    """The answer to a get."""
    return msgspec.msgpack.encode([[0, value]])


def pair(**limits: int) -> Table:
    """A leads B, who holds everything; a session is open at 1."""
    table = Table("A B C", **limits)
    table.found()
    table.lead(view(2, "A", "B"))
    assert table["A"].synced == ("B",)
    table.opened("A")
    return table


def three(**limits: int) -> Table:
    """A leads B and C, who both hold everything; a session is open at 1."""
    table = Table("A B C D", **limits)
    table.found()
    table.lead(view(2, "A", "B C"))
    assert table["A"].synced == ("B", "C")
    table.opened("A")
    return table


# -- the commit rule ----------------------------------------------------------


def test_alone_a_primary_answers_in_the_turn_in_which_it_was_asked() -> None:
    table = Table("A")
    table.found()
    table.ask("A", OpenSession(session()))
    assert [SessionOpened(session(), 1)] == table.told()
    table.ask("A", batch(1), query(7, after=1))
    assert [
        BatchAnswer(1, lengths(1)),
        QueryAnswer(7, read(b"1")),
    ] == table.told()


def test_nothing_is_answered_before_the_backup_has_accepted() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.turn()
    assert table.told() == []
    assert table.value("A") is None, "what is not committed is visible to nobody"
    table.carry("A", "B")
    assert table.told() == []
    table.carry("B", "A")
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_a_holder_is_waited_for_before_it_has_said_a_word() -> None:
    table = three()
    table.tell(view(3, "B", "C", holders="C"), "B")  # F1: B does not know C yet
    table.ask("B", batch(1))
    assert table.told() == []
    table.tick(times=20)
    assert table.told() == []
    table.connect("B", "C")
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_a_holder_is_waited_for_when_its_primary_goes_on_in_a_newer_view() -> None:
    table = three()
    table.cut("A", "C")
    table.ask("A", batch(1))
    table.settle()
    assert table.told() == []
    table.tell(view(3, "A", "C", holders="C"), "A")  # F2
    table.settle()
    assert table.told() == []
    table.connect("A", "C")
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()
    assert table.log("C") == "2|2"


def test_a_lost_connection_takes_nobody_out_of_the_rule() -> None:
    table = pair()
    table.cut("A", "B")
    table.ask("A", batch(1))
    table.tick(times=20)
    assert table.told() == []  # F7, P2
    table.connect("A", "B")
    table.turn()
    assert table.told() == []
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_a_backup_that_is_gone_is_waited_for_until_a_view_says_otherwise() -> None:
    table = pair()
    table.cut("A", "B")
    table.ask("A", batch(1))
    table.tell(view(3, "A"), "A")
    assert [BatchAnswer(1, lengths(1))] == table.told()  # P14: once


def test_a_newcomer_does_not_hold_up_anything_before_it_joins() -> None:
    table = pair(join_entries_max=0)
    table.tell(view(3, "A", "B C", holders="B"), "A B C")
    table.ask("A", batch(1))
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_a_newcomer_that_has_joined_is_waited_for() -> None:
    table = pair()
    table.lead(view(3, "A", "B C", holders="B"))
    table.ask("A", batch(1))
    table.settle(but="C")
    assert table.told() == []
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_nobody_waits_for_what_a_newcomer_lacks_while_it_comes_nearer() -> None:
    table = Table("A B", near_entries_max=2, forward_bytes_max=1)
    table.found()
    table.opened("A")
    for sequence in range(1, 20):
        table.ask("A", batch(sequence))
    table.told()
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    table.turn()
    table.carry("B", "A")
    sequence = 20
    while not table.leads("A").followers["B"].joined:
        if sequence < 25:
            table.ask("A", batch(sequence))
            assert [type(told) for told in table.told()] == [BatchAnswer]
            sequence += 1
        table.carry("A", "B", 5)
        table.carry("B", "A")
    assert table["A"].history.log.end - table.leads("A").followers["B"].verified <= 2
    table.settle()
    assert table["A"].synced == ("B",)


def test_a_newcomer_that_will_never_come_nearer_joins_all_the_same() -> None:
    table = Table("A B", near_entries_max=0, forward_bytes_max=1)
    table.found()
    table.opened("A")
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    sequence = 1
    while not table.leads("A").followers["B"].joined:
        for _ in range(3):
            table.ask("A", batch(sequence, first_unanswered=sequence))
            sequence += 1
        table.turn()
        table.carry("B", "A")
        table.carry("A", "B", 3)
        table.carry("B", "A")
        assert sequence < 60
    table.settle()
    assert table["A"].synced == ("B",)


def test_synced_is_who_has_all_that_the_log_held_when_it_joined() -> None:
    # F6: all of the log is an inherited, uncommitted tail.
    table = three(forward_bytes_max=1)
    table.ask("A", batch(1))
    table.settle(but="A")
    assert table.log("B") == "2|2"
    table.cut("A", "B")
    table.cut("A", "C")
    table.tell(view(3, "B", "C D", holders="C"), "B C D")
    table.connect("B", "D")
    while table.log("D") != "2|2":
        assert table["B"].synced == ()
        assert table.carry("B", "D", 1)
        assert table["B"].synced == ()
        table.carry("D", "B")
        table.turn("B")
    assert table["B"].synced == ("D",)


def test_who_is_far_behind_does_not_join_the_rule() -> None:
    table = pair(join_entries_max=0)
    table.tell(view(3, "A", "B C", holders="B"), "A B C")
    table.connect("A", "C")
    table.carry("A", "C")
    table.carry("C", "A", 1)  # where it stands
    table.ask("A", batch(1))
    table.settle(but="C")
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_constant_writes_keep_nobody_from_being_synced() -> None:
    table = pair()
    table.tell(view(3, "A", "B C", holders="B"), "A B C")
    table.connect("A", "C")
    table.carry("A", "C")
    table.carry("C", "A", 1)
    for sequence in range(1, 5):
        # Whatever C says, it has not the newest.
        table.ask("A", batch(sequence, first_unanswered=1))
        table.settle(but="C")
        table.carry("A", "C", 1)
        table.ask("A", batch(sequence + 1, first_unanswered=1))
        table.carry("C", "A")
    assert "C" in table["A"].synced


def test_news_that_a_backup_is_synced_is_told_once() -> None:
    table = pair()
    assert table["A"].take_news()
    assert not table["A"].take_news()


def test_the_founder_completes_nothing_before_it_is_acknowledged() -> None:
    table = Table("A")
    table.tell(founding(1, "A"), "A")
    table.ask("A", OpenSession(session()), query(1, of=9))
    assert table.told() == []
    waiting = table["A"].report.waiting
    assert waiting is not None
    assert waiting.code == "acknowledgement"
    table.tell(founding(1, "A"), "A", acknowledged=True)
    assert [SessionOpened(session(), 1), QueryAnswer(1, read(None))] == table.told()


def test_who_founds_again_waits_to_be_acknowledged_again() -> None:
    # Another founded meanwhile, was not acknowledged either, and is gone.
    table = Table("A")
    table.tell(founding(1, "A"), "A")
    table.ask("A", OpenSession(session()))
    table.tell(founding(3, "A"), "A")
    assert table.told() == []
    table.tell(founding(3, "A"), "A", acknowledged=True)
    assert [SessionOpened(session(), 1)] == table.told()


def test_a_view_after_the_founding_one_needs_no_acknowledgement() -> None:
    table = Table("A B")
    table.tell(founding(1, "A"), "A")
    table.ask("A", OpenSession(session()))
    table.tell(view(2, "A", "B"), "A B")
    assert [SessionOpened(session(), 1)] == table.told()


# -- reads --------------------------------------------------------------------


def test_one_turn_answers_no_more_reads_than_fit_into_it() -> None:
    table = Table("A", answers_bytes_max=100)
    table.found()
    table.opened("A")
    table.ask("A", batch(1, b"x" * 60))
    table.told()
    table.ask("A", *(query(number) for number in range(1, 6)))
    assert not table["A"].is_behind
    turns = [[answer.id for answer in table.told()]]
    while table["A"].is_behind:
        turns.append([answer.id for answer in table.told()])
    assert turns == [[1, 2], [3, 4], [5]]


def test_nobody_is_read_for_who_is_gone() -> None:
    table = Table("A", answers_bytes_max=1)
    table.found()
    table.opened("A")
    table.ask("A", query(1), query(2), query(3))
    table.ask("A", query(4), clerk="d")
    assert [QueryAnswer(1, read(None))] == table.told()
    table["A"].link_lost("c")
    table.turn()
    assert [QueryAnswer(4, read(None))] == table.told("d")
    assert table.told() == []
    assert not table.leads("A").waiters


def test_a_read_waits_for_a_round_that_was_sent_after_it() -> None:
    table = pair()
    table.tick("A")
    table.turn("A")  # a round is on its way when the read comes
    table.ask("A", query(1))
    table.carry("A", "B", 1)
    table.carry("B", "A")
    assert table.told() == []  # R1
    table.carry("A", "B")
    assert table.told() == []
    table.carry("B", "A")
    assert [QueryAnswer(1, read(None))] == table.told()


def test_a_read_waits_for_everybody_in_the_rule() -> None:
    table = three()
    table.ask("A", query(1))
    table.settle(but="C")
    assert table.told() == []
    table.settle()
    assert [QueryAnswer(1, read(None))] == table.told()


def test_a_read_waits_for_what_was_logged_before_it() -> None:
    table = three()
    table.ask("A", batch(1))
    table.settle(but="A")
    table.cut("A", "B")
    # B leads and has the batch, uncommitted; it was perhaps answered.
    table.tell(view(3, "B", "C", holders="C"), "B C")
    table.ask("B", query(1, of=9), clerk="d")
    table.connect("B", "C")
    assert [type(m) for m in table.carry("B", "C", 2)] == [Attach, Forward]
    assert [type(m) for m in table.carry("C", "B")] == [LogPosition, ForwardOk]
    assert table.told("d") == []  # C follows, and the batch is not committed yet
    table.settle()
    assert [QueryAnswer(1, read(b"1"))] == table.told("d")


def test_a_read_waits_for_the_batch_that_it_comes_after() -> None:
    table = pair()
    table.ask("A", batch(1), query(1, after=1))
    table.settle(but="B")
    assert table.told() == []
    table.settle()
    answers = [BatchAnswer(1, lengths(1)), QueryAnswer(1, read(b"1"))]
    assert answers == table.told()


def test_a_read_of_a_session_that_is_gone_waits_for_no_batch() -> None:
    table = pair()
    table.ask("A", query(1, after=1), CloseSession(session(), 1))
    table.settle()
    assert [SessionClosed(session()), QueryAnswer(1, read(None))] == table.told()


def test_one_round_serves_all_reads_of_a_turn() -> None:
    table = pair()
    table.ask("A", *(query(number) for number in range(50)))
    assert [Forward] == [type(message) for message in table.carry("A", "B")]
    table.carry("B", "A")
    assert len(table.told()) == 50


def test_the_round_never_goes_back() -> None:
    table = pair()
    for _ in range(5):
        table.tick("A")
        table.settle()
    before = table.leads("A").round
    table.lead(view(3, "B", "A", holders="A"))
    table.lead(view(4, "A", "B", holders="B"))
    assert table.leads("A").round > before


def test_a_deposed_primary_answers_no_read() -> None:
    table = pair()
    table.tell(view(3, "B"), "B")
    table.ask("A", query(1))
    table.settle()
    assert [Redirect(view(3, "B"))] == table.told()


# -- at most once -------------------------------------------------------------


def test_a_repeated_batch_has_the_bytes_of_its_first_answer() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.settle()
    first = table.told()
    table.ask("A", batch(1), clerk="d")
    assert first == table.told("d")
    assert table.value("A") == b"1"


def test_to_be_asked_again_changes_nothing() -> None:
    table = pair()
    table.opened("A", of=2)
    table.ask("A", batch(1), batch(1, opened_index=2, of=2))
    table.settle()
    before = table["A"].history.state.digest()
    table.ask("A", batch(1))  # C10: whose turn it is to be evicted is the log's matter
    assert len(table.told()) == 3
    assert table["A"].history.state.digest() == before


def test_a_batch_that_waits_is_logged_once_and_answers_everybody_who_asks() -> None:
    table = pair()
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    table.ask("A", batch(1), batch(2, first_unanswered=1), clerk="d")
    assert table.log("A") == "2|2 2"
    table.settle()
    answers = [BatchAnswer(1, lengths(1)), BatchAnswer(2, lengths(2))]
    assert answers == table.told()
    assert answers == table.told("d")


def test_a_batch_in_an_inherited_tail_is_not_logged_again() -> None:
    table = pair()
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    table.carry("A", "B")
    table.cut("A", "B")
    table.tell(view(3, "B"), "B")
    table.ask(
        "B",
        batch(1),
        batch(2, first_unanswered=1),
        batch(3, first_unanswered=1),
        clerk="d",
    )
    assert [
        BatchAnswer(1, lengths(1)),
        BatchAnswer(2, lengths(2)),
        BatchAnswer(3, lengths(3)),
    ] == table.told("d")
    assert table.value("B") == b"123"


def test_a_gap_ends_the_connection_and_is_not_logged() -> None:
    table = pair()
    table.ask("A", batch(2, first_unanswered=1))
    [goodbye] = table.told()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason == "gap"
    assert "2 came, 1 is due" in goodbye.text
    assert table.log("A") == "2|"


@pytest.mark.parametrize(
    ("sequence", "first_unanswered"), [(1, 2), (WINDOW_MAX + 1, 1)]
)
def test_a_window_that_cannot_be_ends_the_connection(
    sequence: int, first_unanswered: int
) -> None:
    table = pair()
    table.ask("A", Batch(session(), 1, sequence, first_unanswered, b"\x90"))
    [goodbye] = table.told()
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason == "protocol"


def test_a_batch_that_fits_no_frame_is_refused_and_uses_up_no_number() -> None:
    table = pair()
    table.ask("A", Batch(session(), 1, 1, 1, bytes(BODY_BYTES_MAX + 1)))
    assert [BatchRefused(1, TOO_LARGE)] == table.told()
    table.ask("A", batch(1))
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()


def test_evicted_is_said_when_it_is_certain() -> None:
    # F10: the opening is in B's tail, and was answered by A.
    table = three()
    table.ask("A", OpenSession(session(2)))
    table.settle(but="A")
    table.cut("A", "B")
    table.tell(view(3, "B", "C", holders="C"), "B C")
    table.ask("B", batch(1, opened_index=2, of=2), clerk="d")
    assert table.told("d") == []
    table.connect("B", "C")
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told("d")


def test_a_session_that_nobody_knows_is_refused_by_who_surely_leads() -> None:
    table = pair()
    table.ask("A", batch(1, of=7))
    table.carry("A", "B")
    assert table.told() == []
    table.carry("B", "A")
    assert [BatchRefused(1, EVICTED)] == table.told()


def test_a_late_copy_of_the_opening_revives_no_batch() -> None:
    # F9: executed, closed, and then all of it comes once more.
    table = pair()
    table.ask("A", batch(1), CloseSession(session(), 1))
    table.settle()
    table.told()
    table.ask("A", OpenSession(session()))
    table.settle()
    [opened] = table.told()
    assert isinstance(opened, SessionOpened)
    assert opened.opened_index > 1
    table.ask("A", batch(1))
    table.settle()
    assert [BatchRefused(1, EVICTED)] == table.told()
    assert table.value("A") == b"1"


def test_opening_an_open_session_has_the_same_birth() -> None:
    table = pair()
    table.ask("A", OpenSession(session()))
    table.settle()
    assert [SessionOpened(session(), 1)] == table.told()


# -- views --------------------------------------------------------------------


def test_who_waits_at_a_primary_that_resigns_is_told_the_view() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.ask("A", query(1), clerk="d")
    table.ask("A", batch(1, of=7), clerk="e")
    table.tell(view(3, "B"), "A")
    for clerk in "cde":
        assert [Redirect(view(3, "B"))] == table.told(clerk)


def test_nobody_but_the_primary_listens_to_clerks() -> None:
    table = pair()
    table.ask("B", batch(1), query(1), OpenSession(session(3)))
    assert [Redirect(view(2, "A", "B"))] == table.told()
    table.ask("C", batch(1), clerk="d")
    assert [Redirect(table["C"].view)] == table.told("d")
    assert table.log("B") == "2|"


def test_an_older_view_is_never_adopted() -> None:
    table = pair()
    table.tell(view(1, "B"), "A B")
    assert table["A"].view.number == 2
    assert table["B"].view.number == 2


def test_a_newer_view_is_adopted_whoever_tells_of_it() -> None:
    table = pair()
    table["A"].receive("x", member("C"), Redirect(view(5, "B", "A", holders="A")))
    assert table["A"].view.number == 5
    assert table["A"].take_news()


def test_a_newer_view_is_adopted_from_a_primary_of_the_view_that_is_known() -> None:
    table = pair()
    table.tell(view(2, "A", "B"), "C")
    table["C"].receive("x", member("B"), Attach(view(6, "B", "C")))
    assert table["C"].view.number == 6


@pytest.mark.parametrize(
    ("sender", "greeted"),
    [
        ("D", view(6, "D", "C")),  # unknown here
        ("B'", view(6, "B'", "C")),  # another copy under a known name
        ("A", view(6, "B", "C")),  # not the primary of the view
        ("B", view(6, "B", "A")),  # C has no part in it
        ("B", view(6, "B", "C'")),
        ("D", view(2**29, "D")),
    ],
)
def test_f1_any_other_view_is_for_the_view_service_to_name(
    sender: str, greeted: View
) -> None:
    """A stranger's greeting must not make a server contradict its view service."""
    table = pair()
    table.tell(view(2, "A", "B"), "C")
    table["C"].take_news()
    table["C"].receive("x", member(sender), Attach(greeted))
    assert table["C"].view.number == 2
    assert table["C"].take_news()  # it pings, and is told what is so
    table["C"].receive("x", member(sender), Forward(greeted.number, 1, 0, 0))
    assert table.told("x") == []


def test_and_greets_again_once_it_has_been_named() -> None:
    table = pair()
    table.tell(view(2, "A", "B"), "C")
    table["C"].receive("x", member("D"), Attach(view(6, "D", "C")))
    table.tell(view(6, "D", "C"), "C")
    table["C"].receive("x", member("D"), Forward(6, 1, 0, 0))
    assert [type(each) for each in table.told("x")] == [Goodbye]
    table["C"].receive("y", member("D"), Attach(view(6, "D", "C")))
    assert [LogPosition(6, 0, 0)] == table.told("y")


def test_m1_each_step_of_a_distant_backup_is_a_sign_of_life() -> None:
    """Connecting, Hello and greeting take a round trip each, of 4 ticks here; the
    backup answers all the time, and more than 5 silent ticks mean death."""
    table = Table("A B")
    table.found("A")
    table.tell(view(2, "A", "B"), "A B")
    steps = (
        lambda: table["A"].answered(member("B")),
        lambda: table["B"].called(member("A")),
        lambda: table.connect("A", "B"),
        table.settle,
    )
    for step in steps:
        table.tick("A B", times=2)
        assert table["A"].unreachable == table["B"].unreachable == ()
        step()
    table["A"].answered(member("B'"))  # another copy at its address is no sign
    table["B"].called(member("A'"))
    table.tick("A B", times=6)
    assert table["A"].unreachable == ("B",)
    assert table["B"].unreachable == ("A",)


def test_connections_that_come_to_nothing_are_one_sign_of_life() -> None:
    """At a backup's published address another server answers, again and again."""
    table = Table("A B")
    table.found("A")
    table.tell(view(2, "A", "B"), "A B")
    for _ in range(4):
        table.tick("A")
        table["A"].answered(member("B"))
        table["A"].failed(
            member("B"), "goodbye: member: tcp:b:1 is to be B, but it is A"
        )
    assert table["A"].unreachable == ()
    for _ in range(2):
        table.tick("A")
        table["A"].answered(member("B"))
    assert table["A"].unreachable == ("B",)
    waiting = table["A"].report.waiting
    assert waiting is not None
    assert waiting.text == (
        "to be brought up; B: no connection: "
        "goodbye: member: tcp:b:1 is to be B, but it is A"
    )


def test_nor_are_connections_on_which_nothing_is_said() -> None:
    table = Table("A B")
    table.found("A")
    table.tell(view(2, "A", "B"), "A B")
    for _ in range(6):
        table["A"].answered(member("B"))
        table.connect("A", "B")
        table.tick("A")
    assert table["A"].unreachable == ("B",)
    # Once it speaks, a later connection is a sign of life again.
    table.settle()
    table.tick("A", times=4)
    table.connect("A", "B")
    table.tick("A", times=4)
    assert table["A"].unreachable == ()


# -- two views with one counter


def other(told: View, bits: int = 5) -> View:
    """A view with that counter, of another history."""
    return replace(told, number=view_number(told.counter, bits))


def test_f2_a_second_view_with_a_counter_is_refused() -> None:
    table = pair()
    theirs = other(view(2, "B", "A"))
    refusal = table["A"].on_view(theirs, acknowledged=True)
    assert refusal is not None
    assert refusal.reason == "other view"
    assert table["A"].view == view(2, "A", "B")
    table["B"].receive("x", member("A"), Attach(other(view(2, "A", "B"))))
    (goodbye,) = table.told("x")
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason == "other view"
    table["A"].receive("y", member("B"), Redirect(theirs))
    assert [each.reason for each in table.told("y")] == ["other view"]  # type: ignore[attr-defined]
    assert table["A"].view == view(2, "A", "B")


def test_f2_the_order_of_the_bits_means_nothing() -> None:
    table = pair()
    newer, older = other(view(3, "A", "B"), 0), other(view(1, "B", "A"), 2**32 - 1)
    assert table["A"].on_view(older, acknowledged=True) is None
    assert table["A"].view.counter == 2
    table.tell(newer, "A")
    assert table["A"].view == newer
    table["B"].receive("x", member("A"), Attach(older))
    assert [Redirect(view(2, "A", "B"))] == table.told("x")


def test_f2_an_entry_names_which_view_it_is_of() -> None:
    """A backup of another history acknowledges no entry that it does not hold."""
    table = Table("A B")
    mine, theirs = view(2, "A", "B"), other(view(2, "B", "C", "C"))
    table.tell(theirs, "B")
    table.ask("B", OpenSession(session(1)))
    table.tell(mine, "A")
    table.ask("A", OpenSession(session(2)))
    assert table["B"].history.log.view_at(1) == theirs.number
    third = view(3, "A", "B")
    table.tell(third, "A B")
    table.connect("A", "B")
    table.settle()
    assert table["A"].history.log.entries == table["B"].history.log.entries
    assert table["B"].history.log.view_at(1) == mine.number


def test_v3_only_descendants_of_a_recovery_are_adopted() -> None:
    table = pair()
    recovered = replace(view(4, "A", "B"), recoveries=(4,))
    table.tell(recovered, "A")
    lost = view(9, "B", "A")
    refusal = table["A"].on_view(lost, acknowledged=True)
    assert refusal is not None
    assert refusal.reason == "other view"
    assert table["A"].view == recovered
    later = replace(view(9, "B", "A"), recoveries=(4, 7))
    assert table["A"].on_view(later, acknowledged=True) is None
    assert table["A"].view == later


def test_another_incarnation_of_the_primary_is_not_the_primary() -> None:
    table = Table("A A'")
    table.tell(view(2, "A"), "A A'")
    assert table["A"].role is not None
    assert table["A'"].role is None


def test_a_backup_that_is_promoted_carries_on_what_was_not_committed() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.carry("A", "B")
    table.tell(view(3, "B"), "B")
    table.ask("B", batch(1), clerk="d")
    assert [BatchAnswer(1, lengths(1))] == table.told("d")
    assert table.log("B") == "2 2|", "the entry keeps its identity"


def test_a_new_view_by_itself_drops_nothing() -> None:
    # F3: C holds x, answered, and follows B, who dies before it says anything.
    table = three()
    table.ask("A", batch(1))
    table.settle()
    assert [BatchAnswer(1, lengths(1))] == table.told()
    assert table.log("C") == "2|2"
    table.tell(view(3, "B", "C", holders="C"), "C")
    table.tell(view(4, "C"), "C")
    table.ask("C", query(1))
    assert [QueryAnswer(1, read(b"1"))] == table.told()


def test_a_primary_that_goes_on_does_nothing_twice() -> None:
    table = pair()
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    table.carry("A", "B")
    table.ask("A", query(7, after=2))
    table.lead(view(3, "A", "B C", holders="B"))
    assert [
        BatchAnswer(1, lengths(1)),
        BatchAnswer(2, lengths(2)),
        QueryAnswer(7, read(b"12")),
    ] == table.told()
    assert table.value("A") == b"12"
    table.tick("A")
    table.settle()
    for who in "BC":
        assert table.value(who) == b"12"


def test_what_a_newcomer_had_in_an_older_view_does_not_count() -> None:
    table = pair()
    table.tell(view(3, "A", "B C", holders="B"), "A B C")
    table.connect("A", "C")
    table.settle()
    assert table["A"].synced == ("B", "C")
    table.tell(view(4, "A", "C"), "A")
    assert table["A"].synced == ()
    end, link = table["A"].history.log.end, table.links["A", "C"]
    table["A"].receive(link, member("C"), LogPosition(3, 2, end))
    table["A"].receive(link, member("C"), ForwardOk(3, 1, end, end))
    table.turn("A")
    assert table["A"].synced == ()
    table.settle(but="A")
    assert table["A"].synced == ()
    table.settle()
    assert table["A"].synced == ("C",)


def test_what_a_backup_had_before_it_was_restarted_does_not_count() -> None:
    table = pair()
    table.start("B'")
    table.tell(view(3, "A", "B'"), "A B'")
    table.connect("A", "B'")
    table.settle(but="A")
    table.carry("B'", "A", 1)  # T16: where it stands, which is at the beginning
    table.turn("A")
    assert table["A"].synced == ()
    table.settle()
    assert table["A"].synced == ("B",)
    assert table.log("B'").startswith("2|")


def test_a_deposed_primary_is_told_by_its_backup_and_resigns() -> None:
    table = pair()
    table.tell(view(3, "B"), "B")
    table.ask("A", batch(1))
    table.settle()
    assert [Redirect(view(3, "B"))] == table.told()
    assert table["A"].role is None
    assert table["A"].peers == ()
    assert table.value("A") is None


def test_the_logs_time_goes_on_whatever_clocks_say() -> None:
    # L11: B's clock began two hours later, and nobody's tells the time of day.
    table = pair()
    before_ms = table["A"].history.log.end_stamp_ms
    table["A"].clock(7_300_000)
    table["B"].clock(100_000)
    table.ask("A", batch(1))
    table.carry("A", "B")
    table.tell(view(3, "B"), "B")
    table["B"].clock(100_250)
    table.ask("B", batch(2, first_unanswered=1), clerk="d")
    table["B"].clock(90_000)
    table.ask("B", batch(3, first_unanswered=1), clerk="d")
    stamps = [each.stamp_ms for each in table["B"].history.log.entries]
    assert stamps[0] == before_ms
    assert stamps[2] - stamps[1] == 250
    assert stamps[3] == stamps[2], "time stands still for a clock that goes back"


# -- the backup ---------------------------------------------------------------


def follower() -> Table:
    """B, alone at the table, follows A; messages are written by hand."""
    table = Table("B")
    table.tell(view(2, "A", "B"), "B")
    greet(table, 2)
    return table


def greet(table: Table, number: int, primary: str = "A") -> None:
    """The primary of that view greets B, on a connection named after both."""
    message = Attach(view(number, primary, "B"))
    table["B"].receive(primary + "!", member(primary), message)


def entry(index: int, number: int, of: int = 1) -> Entry:
    return Entry(number, index, 10 * index, OpenSession(session(of)))


def forward(
    table: Table, number: int, round_: int, *entries: Entry, **rest: int
) -> None:
    """The primary of that view sends entries to B."""
    primary = "A" if number == 2 else "D"
    message = Forward(number, round_, rest.get("commit", 0), 0, entries)
    table["B"].receive(primary + "!", member(primary), message)


def said(table: Table, to: str = "A") -> list[object]:
    """What B says on that connection."""
    return list(table.told(to + "!"))


def test_a_greeting_is_answered_with_a_position() -> None:
    assert [LogPosition(2, 0, 0)] == said(follower())


def test_several_rounds_of_a_turn_are_answered_by_one_echo() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2))
    forward(table, 2, 2, entry(2, 2))
    forward(table, 2, 3)
    assert [LogPosition(2, 0, 0), ForwardOk(2, 3, 2, 0)] == said(table)


def test_what_comes_again_is_accepted_again_and_kept_once() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(2, 2))
    forward(table, 2, 2, entry(1, 2), entry(2, 2), entry(3, 2), commit=1)
    table.turn("B")
    assert table.log("B") == "2|2 2"


def test_what_comes_again_takes_nothing_back() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(2, 2), entry(3, 2))
    forward(table, 2, 2, entry(1, 2), entry(2, 2))
    assert [LogPosition(2, 0, 0), ForwardOk(2, 2, 3, 0)] == said(table)  # P6


def test_what_was_verified_for_the_same_primary_in_an_older_view_does_not_count() -> (
    None
):
    # T15: in view 3, of which B never heard, A lost entry 2 to another primary.
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(2, 2))
    said(table)
    greet(table, 4)
    assert [LogPosition(4, 0, 0)] == said(table)
    again = Forward(4, 2, 0, 0, (entry(1, 2), entry(2, 3)))
    table["B"].receive("A!", member("A"), again)
    assert table.log("B") == "|2 3"


def test_a_view_is_introduced_before_anything_is_taken_in_it() -> None:
    table = follower()
    said(table)
    table["B"].receive("A!", member("A"), Forward(3, 1, 0, 0, (entry(1, 3),)))
    assert said(table) == []  # P10
    assert table.log("B") == "|"


def test_entries_that_leave_a_hole_are_answered_with_a_position() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(3, 2))
    assert [LogPosition(2, 0, 0), LogPosition(2, 2, 1)] == said(table)
    assert table.log("B") == "|2"


def after_another_primary() -> Table:
    """B has 1, 2 and 3 of view 2, not committed, and follows D in view 3."""
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(2, 2, of=2), entry(3, 2))
    table.tell(view(3, "D", "B"), "B")
    greet(table, 3, "D")
    said(table, "D")
    return table


def test_what_another_primary_sent_is_no_echo_to_the_next() -> None:
    table = after_another_primary()
    forward(table, 3, 1)
    assert [ForwardOk(3, 1, 0, 0)] == said(table, "D")  # F4


def test_what_is_not_verified_is_not_applied() -> None:
    table = after_another_primary()
    forward(table, 3, 1, entry(1, 2), commit=3)
    assert [ForwardOk(3, 1, 1, 0)] == said(table, "D")  # F4
    assert table.log("B") == "2|2 2"


def test_the_same_identity_is_kept_with_all_after_it() -> None:
    table = after_another_primary()
    forward(table, 3, 1, entry(1, 2), entry(2, 2, of=2))
    assert table.log("B") == "|2 2 2"


def test_another_identity_replaces_what_is_there_with_all_after_it() -> None:
    table = after_another_primary()
    forward(table, 3, 1, entry(1, 2), entry(2, 3))
    assert table.log("B") == "|2 3"  # F4
    assert [ForwardOk(3, 1, 2, 0)] == said(table, "D")


def test_a_greeting_in_a_view_already_followed_changes_nothing() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2), entry(2, 2))
    said(table)
    table["B"].receive("A!!", member("A"), Attach(view(2, "A", "B")))
    assert [LogPosition(2, 2, 2)] == table.told("A!!")  # F7
    assert table.log("B") == "|2 2"


def test_only_the_connection_that_greeted_is_listened_to() -> None:
    table = follower()
    said(table)
    table["B"].receive("A!!", member("A"), Attach(view(2, "A", "B")))
    table.told("A!!")
    forward(table, 2, 1, entry(1, 2))
    # Who spoke there would wait for an echo for ever.
    assert [type(each) for each in said(table)] == [Goodbye]
    assert table.log("B") == "|"


def test_only_the_views_own_primary_is_followed() -> None:
    table = follower()
    table["B"].receive("D!", member("D"), Attach(view(2, "A", "B")))
    table["B"].receive("A'!", member("A'"), Attach(view(2, "A", "B")))
    assert [Redirect(view(2, "A", "B"))] == said(table, "D")
    assert [Redirect(view(2, "A", "B"))] == said(table, "A'")


def test_an_older_primary_is_refused_and_told_of_the_newer_view() -> None:
    table = after_another_primary()
    refusal = Redirect(view(3, "D", "B"))
    forward(table, 2, 9, entry(4, 2))
    assert [LogPosition(2, 0, 0), refusal] == said(table)
    greet(table, 2)
    assert [refusal] == said(table)
    assert table.log("B") == "|2 2 2"


def test_names_do_not_make_a_backup() -> None:
    # F8: the view names another incarnation of B.
    table = Table("B'")
    table.tell(view(2, "A", "B"), "B'")
    table["B'"].receive("A!", member("A"), Attach(view(2, "A", "B")))
    assert [Redirect(view(2, "A", "B"))] == table.told("A!")
    table["B'"].receive("A!", member("A"), Forward(2, 1, 0, 0, (entry(1, 2),)))
    assert table.log("B'") == "|"


def test_a_backup_that_answers_differently_stops() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2), commit=1)  # the primary's chain is not 0
    table.turn("B")
    diverged = table["B"].diverged
    assert diverged is not None
    assert "entry 1" in diverged
    # The last ping reports it, for `status`.
    assert table["B"].report.waiting == Wait((), "failed", f"diverged: {diverged}")


def test_what_a_backup_holds_it_says_before_it_applies_anything() -> None:
    table = follower()
    said(table)
    forward(table, 2, 1, entry(1, 2), commit=1)
    flush = table["B"].flush()
    [[(_, accepted)]] = [next(flush)]
    assert accepted == ForwardOk(2, 1, 1, 0)
    assert table["B"].history.commit == 0
    assert next(flush) == []
    assert table["B"].history.commit == 1
    assert table["B"].diverged


def test_a_connection_outlives_a_part_in_which_it_was_not_needed() -> None:
    # B leaves and comes back before anybody has looked at whom to dial.
    table = pair()
    table.tell(view(3, "A"), "A")
    table.tell(view(4, "A", "B"), "A B")
    table.settle()
    assert table["A"].synced == ("B",)


def test_a_broken_connection_ends_no_membership() -> None:
    table = follower()
    forward(table, 2, 1, entry(1, 2))
    table["B"].link_lost("A!")
    assert table.log("B") == "|2"
    assert [each for each in said(table) if isinstance(each, ForwardOk)] == []


# -- what the primary believes ------------------------------------------------


def test_an_echo_counts_only_on_the_connection_in_use() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.turn("A")
    old = table.links["A", "B"]
    table.cut("A", "B", told="A")
    table["A"].receive(old, member("B"), ForwardOk(2, table.leads("A").round, 2, 1))
    assert table.told() == []


def test_an_echo_of_what_was_never_sent_ends_the_connection() -> None:
    table = pair()
    link = table.links["A", "B"]
    table["A"].receive(link, member("B"), ForwardOk(2, 1, 99, 0))
    table["A"].receive(link, member("B"), ForwardOk(2, 99, 1, 0))
    said_to_b = list(table.lose("A", "B"))
    assert [
        message.reason for message in said_to_b if isinstance(message, Goodbye)
    ] == ["protocol", "protocol"]


def test_after_a_reconnect_only_what_is_lacking_is_sent() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.carry("A", "B")
    table.cut("A", "B")
    table.ask("A", batch(2, first_unanswered=1))
    table.connect("A", "B")
    table.carry("A", "B")
    table.carry("B", "A")
    sent = [m for m in table.carry("A", "B") if isinstance(m, Forward)]
    assert [each.index for message in sent for each in message.entries] == [3]
    table.settle()
    assert table.value("A") == b"12"


def test_a_position_that_is_not_in_the_log_asks_for_a_snapshot() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.settle()
    link = table.links["A", "B"]
    # R2: the index is there, under another view.
    table["A"].receive(link, member("B"), LogPosition(2, 9, 2))
    assert any(isinstance(m, SnapshotPart) for m in table.lose("A", "B"))


def test_silence_is_reported_by_both_sides() -> None:
    table = pair()
    table.tick(times=4)
    assert (table["A"].unreachable, table["B"].unreachable) == ((), ())
    table.tick()
    assert (table["A"].unreachable, table["B"].unreachable) == (("B",), ("A",))
    table.settle()
    assert (table["A"].unreachable, table["B"].unreachable) == ((), ())


def test_a_connection_that_stays_silent_is_given_up_and_made_anew() -> None:
    table = pair()
    table.tick(times=HANGING_DEATHS * 5 - 1)
    assert not [m for m in table.lose("A", "B") if isinstance(m, Goodbye)]
    table.tick()
    [goodbye] = [m for m in table.lose("A", "B") if isinstance(m, Goodbye)]
    assert goodbye.reason == "silent"
    table.cut("A", "B")
    table.connect("A", "B")
    table.tick()
    table.settle()
    assert table["A"].unreachable == ()
    assert not [m for m in table.lose("A", "B") if isinstance(m, Goodbye)]


def test_who_is_waited_for_is_told_and_why() -> None:
    table = pair()
    assert table["A"].report.waiting is None
    table.cut("A", "B")
    table.ask("A", query(1))
    waiting = table["A"].report.waiting
    assert waiting is not None
    assert (waiting.names, waiting.text) == (("B",), "to accept a read's round")
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    waiting = table["A"].report.waiting
    assert waiting is not None
    assert waiting.text == "to accept entries 2 to 3"


def test_every_interval_every_backup_hears_something() -> None:
    table = pair()
    for _ in range(3):
        table.tick()
        [heartbeat] = table.carry("A", "B")
        assert isinstance(heartbeat, Forward)  # L8
        table.carry("B", "A")


def test_the_commit_index_reaches_an_idle_backup() -> None:
    table = pair()
    table.ask("A", batch(1))
    table.settle()
    table.tick("A")
    table.settle()
    assert table.value("B") == b"1"


# -- limits -------------------------------------------------------------------


def test_what_is_sent_is_split_below_the_bound() -> None:
    table = pair(forward_bytes_max=2 * ENTRY_BYTES + 100)
    table.ask("A", *(batch(n, first_unanswered=1) for n in range(1, 8)))
    counts = [len(m.entries) for m in table.carry("A", "B") if isinstance(m, Forward)]
    assert counts == [2, 2, 2, 1]


def test_no_more_is_on_its_way_than_the_bound_allows() -> None:
    table = pair(unaccepted_bytes_max=2 * ENTRY_BYTES)
    table.ask("A", *(batch(n, first_unanswered=1) for n in range(1, 8)))
    sent = [m for m in table.carry("A", "B") if isinstance(m, Forward)]
    assert sum(len(m.entries) for m in sent) == 2
    table.settle()
    assert table.value("A") == b"1234567"


def test_clerks_are_not_read_from_while_too_much_is_unanswered() -> None:
    table = pair(unanswered_bytes_max=2 * ENTRY_BYTES + 100)
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    assert table["A"].accepting
    table.ask("A", batch(3, first_unanswered=1))
    assert not table["A"].accepting
    table.settle()
    assert table["A"].accepting


def test_what_waits_for_a_round_counts_as_unanswered() -> None:
    table = pair(unanswered_bytes_max=1000)
    table.ask("A", *(query(number) for number in range(4)))
    assert not table["A"].accepting
    table.settle()
    assert table["A"].accepting
    table.ask("A", *(batch(1, of=number) for number in range(2, 6)), clerk="d")
    assert not table["A"].accepting
    table["A"].link_lost("d")
    table.turn()
    assert table["A"].accepting, "nobody waits there any more"


def test_a_running_transfer_keeps_the_log_behind_its_cut() -> None:
    table = pair(
        tail_bytes_kept=0,
        tail_bytes_max=5 * ENTRY_BYTES,
        part_bytes=1,
        parts_unconfirmed_max=1,
    )
    table.ask("A", *(batch(n, first_unanswered=1) for n in range(1, 3)))
    table.settle()
    table.tell(view(3, "A", "B C", holders="B"), "A B C")
    table.connect("A", "C")
    for _ in range(2):  # greeted, and sent the first parts
        table.carry("A", "C")
        table.carry("C", "A")
    assert table["A"].report.transfer_bytes is not None
    cut = table["A"].history.commit
    for sequence in range(3, 10):
        table.ask("A", batch(sequence))
        table.settle(but="C")
    assert table["A"].history.log.base_index == cut
    assert not table["A"].accepting
    table.settle()
    assert table["A"].accepting
    table.tick()
    table.settle()
    assert table.value("C") == table.value("A") == b"123456789"
    assert table["A"].history.log.base_index > cut


def test_digests_are_told_at_the_index_that_was_asked_for() -> None:
    table = pair()
    for who in "AB":
        table[who].receive("o" + who, None, DigestAt(2))
    table.ask("A", Batch(session(), 1, 1, 1, body(Put(b"k", b"v"))))
    table.settle()
    table.tick()
    table.settle()
    [one], [other] = table.told("oA"), table.told("oB")
    assert isinstance(one, DigestIs)
    assert one == other
    assert one.index == 2
    assert len(one.digest) == 16
    table["A"].receive("oA", None, DigestAt(1))
    assert [DigestIs(2, one.chain, b"")] == table.told("oA")
