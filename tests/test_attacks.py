"""
What an adversary found: each of these ended in somebody who waited for ever, with
every process alive and every connection standing; docs/design.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.replicas import Table, batch, member, query, session, view
from wire.messages import (
    Attach,
    BatchAnswer,
    Goodbye,
    Message,
    OpenSession,
    QueryAnswer,
)


def hangs_up(messages: Iterable[Message]) -> bool:
    """Whether the connection is closed by one who has said these."""
    return any(type(message) is Goodbye for message in messages)


def led(backups: str, **limits: int) -> Table:
    """A leads these; a session is open at 1."""
    table = Table("A B C", **limits)
    table.found()
    if backups:
        table.lead(view(2, "A", backups))
    table.opened("A")
    return table


def answered(table: Table) -> list[int]:
    """The batches to which the clerk was told the answers."""
    return [each.sequence for each in table.told() if type(each) is BatchAnswer]


def test_a_greeting_that_comes_late_on_an_older_connection_stops_nothing() -> None:
    table = led("B")
    old = table.links["A", "B"]
    table.cut("A", "B", told="A")
    table.connect("A", "B")
    table.settle()
    # Of two connections either can be read first, whichever is the newer.
    table["B"].receive(old, member("A"), Attach(view(2, "A", "B")))
    table["B"].link_lost(old)

    table.ask("A", batch(1))
    table.carry("A", "B")
    assert hangs_up(table.carry("B", "A"))
    table.connect("A", "B")
    table.settle()
    assert answered(table) == [1]


def test_parts_that_came_while_in_no_view_end_the_connection() -> None:
    table = led("", tail_bytes_kept=0, part_bytes=1)
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    table.carry("A", "B")
    table.carry("B", "A")
    table.turn("A")  # the first parts of a snapshot are on their way
    table.tell(view(3, "A", "C"), "B")  # of which A never hears
    table.tell(view(4, "A", "B"), "A")
    table.carry("A", "B")
    assert hangs_up(table.carry("B", "A"))
    table.connect("A", "B")
    table.settle()
    assert table["A"].synced == ("B",)


def test_a_snapshot_is_begun_anew_by_who_left_and_came_back() -> None:
    table = led("", tail_bytes_kept=0, part_bytes=1, parts_unconfirmed_max=1)
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    for _ in range(2):
        table.carry("A", "B")
        table.carry("B", "A")
    table.tell(view(3, "A", "C"), "B")
    table.tell(view(4, "A", "B"), "A")
    table.carry("A", "B")
    assert hangs_up(table.carry("B", "A"))
    table.connect("A", "B")
    table.settle()
    assert table["A"].synced == ("B",)


def test_who_leaves_and_comes_back_within_a_turn_is_greeted() -> None:
    # Nobody is dialled anew: the connection that stood still does.
    table = led("B")
    table.tell(view(3, "A", "C"), "A")
    table.tell(view(4, "A", "B"), "A")
    table.settle()
    assert table["A"].synced == ("B",)
    table.ask("A", batch(1))
    table.settle()
    assert answered(table) == [1]


def test_who_leads_again_within_a_turn_greets_on_what_stands() -> None:
    table = led("B")
    table.tell(view(3, "B", "A"), "A")
    table.tell(view(4, "A", "B"), "A")
    table.settle()
    assert table["A"].synced == ("B",)


def test_reads_after_batches_that_never_come_do_not_stop_everybody() -> None:
    table = led("B", unanswered_bytes_max=2000)
    for number in range(8):
        table.ask("A", query(number, after=1), clerk="bad")
    table.settle()
    assert hangs_up(table.told("bad"))
    assert table["A"].accepting


def test_a_read_waits_for_a_batch_whose_session_is_not_applied_yet() -> None:
    # The opening is committed with the first round of the one who is promoted.
    table = led("B C")
    table.ask("A", OpenSession(session(2)))
    table.settle(but="BC")
    table.carry("A", "B")
    table.carry("A", "C")
    table.tell(view(3, "B", "C", "C"), "B C")
    table.connect("B", "C")
    table.ask("B", batch(1, of=2, opened_index=2), query(1, after=1, of=2))
    table.settle()
    told = table.told()
    assert [type(each) for each in told] == [BatchAnswer, QueryAnswer]
