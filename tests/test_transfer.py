"""Bringing a backup up: one exact cut, whole or not at all; docs/design.md, 5."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pbserver.history import History
from pbserver.limits import Limits
from pbserver.sessions import Sessions
from pbserver.simple_machine import SimpleMachine
from pbserver.store import Store
from pbserver.transfer import Incoming, Outgoing
from tests.replicas import Table, batch, body, founding, member, session, view
from tests.stores import everything
from wire.commands import Delete, Put
from wire.messages import (
    END_PART,
    MACHINE_PART,
    SESSIONS_PART,
    Attach,
    Batch,
    BatchAnswer,
    DigestAt,
    DigestIs,
    Entry,
    Forward,
    Goodbye,
    LogPosition,
    OpenSession,
    SnapshotPart,
    SnapshotPartOk,
)

SMALL = Limits(part_bytes=1, parts_unconfirmed_max=2)


def state(keys: int = 5) -> Sessions:
    """Two sessions and some keys."""
    made = Sessions(Store())
    requests = [OpenSession(session(1)), OpenSession(session(2))]
    for sequence in range(1, keys + 1):
        put = body(Put(b"%d" % sequence, b"value"))
        requests.append(Batch(session(1), 1, sequence, 1, put))
    for index, request in enumerate(requests, start=1):
        made.apply(Entry(3, index, index, request))
    return made


def parts(of: Sessions, limits: Limits = SMALL) -> list[SnapshotPart]:
    """All parts, each confirmed when it comes."""
    outgoing, found = Outgoing.of(of), []
    while part := outgoing.next_part(9, limits):
        found.append(part)
        outgoing.confirm(part.part)
    outgoing.close()
    return found


def test_a_state_arrives_whole_in_small_parts() -> None:
    sent = state()
    incoming = Incoming(Sessions(Store()))
    wholes = [incoming.load(part) for part in parts(sent)]
    assert wholes == [False] * (len(wholes) - 1) + [True]
    assert incoming.state.digest() == sent.digest()
    assert (incoming.state.index, incoming.state.view) == (7, 3)
    assert (incoming.state.stamp_ms, incoming.state.chain) == (7, sent.chain)


def history(of: Sessions) -> History:
    """One copy that has applied all of *of* and has nothing in its log."""
    found = History(lambda: Sessions(Store()), Limits().tail_bytes_kept)
    found.state = of
    found.log.restart(of.view, of.index, of.stamp_ms)
    return found


def test_a_snapshot_takes_the_place_of_all_that_was_there() -> None:
    """Keys, values and sessions that the snapshot has not are gone, also those
    before its first key and after its last."""
    sent = Sessions(Store())
    old = Sessions(Store())
    keys = (b"k", b"m")
    for made, puts, which in (
        (old, [(key, b"old") for key in (b"a", *keys, b"l", b"z")], (1, 2)),
        (sent, [(key, b"new") for key in keys], (2, 3)),
    ):
        opened = [OpenSession(session(number)) for number in which]
        opened_index = len(opened)
        put = body(*(Put(key, value) for key, value in puts))
        batch = Batch(session(which[-1]), opened_index, 1, 1, put)
        for index, request in enumerate((*opened, batch), start=1):
            made.apply(Entry(3, index, index, request))
    drop = Batch(session(3), 2, 2, 2, body(Put(b"gone", b"x"), Delete(b"gone")))
    sent.apply(Entry(3, 4, 4, drop))
    copy = history(old)
    incoming = Incoming(copy.fresh())
    for part in parts(sent):
        incoming.load(part)
    copy.install(incoming.state)
    machine = copy.state.machine
    assert isinstance(machine, Store)
    assert everything(machine) == {b"k": b"new", b"m": b"new"}
    assert set(copy.state.table) == {session(2), session(3)}
    assert copy.state.digest() == sent.digest()


def test_a_machine_of_ones_own_is_replaced_too() -> None:
    """Each snapshot is restored into a machine that is new."""

    class Names:
        def __init__(self) -> None:
            self.names: dict[str, int] = {}

        def apply_one(self, command: Any, stamp_ms: int) -> Any:
            self.names[command] = stamp_ms

        def query_one(self, command: Any) -> Any:
            return self.names.get(command)

        def dump(self) -> Any:
            return self.names

        def restore(self, state: Any) -> None:
            # Written as if there had been nothing before, as most are.
            self.names.update(state)

    def made(*names: str) -> Sessions:
        found = Sessions(SimpleMachine(Names()))
        found.apply(Entry(3, 1, 1, OpenSession(session(1))))
        for index, name in enumerate(names, start=2):
            put = msgspec.msgpack.encode([name])
            batch = Batch(session(1), 1, index - 1, index - 1, put)
            found.apply(Entry(3, index, index, batch))
        return found

    copy = history(made("old"))
    copy.fresh = lambda: Sessions(SimpleMachine(Names()))
    incoming = Incoming(copy.fresh())
    for part in parts(made("new", "newer")):
        incoming.load(part)
    assert incoming.job is not None
    assert incoming.job.run() is None
    copy.install(incoming.state)
    machine = copy.state.machine
    assert isinstance(machine, SimpleMachine)
    assert machine.machine.dump().keys() == {"new", "newer"}


def test_sessions_come_before_the_machine_and_the_end_is_empty() -> None:
    kinds = [part.kind for part in parts(state())]
    assert kinds == sorted(kinds)
    assert {*kinds} == {SESSIONS_PART, MACHINE_PART, END_PART}
    assert parts(state())[-1].body == b""


def test_an_empty_state_is_an_end() -> None:
    made = Sessions(Store())
    assert [part.kind for part in parts(made)] == [END_PART]


def test_few_parts_are_on_their_way() -> None:
    outgoing = Outgoing.of(state())
    assert outgoing.next_part(9, SMALL)
    assert outgoing.next_part(9, SMALL)
    assert outgoing.next_part(9, SMALL) is None
    outgoing.confirm(0)
    assert outgoing.next_part(9, SMALL)
    assert outgoing.next_part(9, SMALL) is None
    outgoing.close()


def test_it_is_over_when_every_part_is_confirmed() -> None:
    outgoing = Outgoing.of(state(0))
    limits = Limits()
    sent = [part for _ in range(3) if (part := outgoing.next_part(9, limits))]
    assert sent[-1].kind == END_PART
    assert not outgoing.confirm(sent[-1].part + 5), "that was never sent"
    assert not outgoing.confirm(0)
    assert outgoing.confirm(sent[-1].part)
    outgoing.close()


def test_what_happens_after_the_cut_is_not_in_it() -> None:
    made = state()
    before = made.digest()
    outgoing, incoming = Outgoing.of(made), Incoming(Sessions(Store()))
    put = body(Put(b"1", b"later"), Put(b"0", b"new"))
    made.apply(Entry(3, 8, 8, Batch(session(1), 1, 6, 1, put)))  # T5
    while part := outgoing.next_part(9, SMALL):
        incoming.load(part)
        outgoing.confirm(part.part)
    assert incoming.state.digest() == before


@pytest.mark.parametrize("spoil", ["hole", "repeated", "bit"])
def test_what_is_not_the_next_part_or_was_changed_is_refused(spoil: str) -> None:
    first, second, third, *_ = parts(state())
    incoming = Incoming(Sessions(Store()))
    incoming.load(first)
    wrong = {
        "hole": third,
        "repeated": first,
        "bit": msgspec.structs.replace(second, body=b"\x80" + second.body[1:]),
    }[spoil]
    with pytest.raises(ValueError, match=r"was due|does not fit"):
        incoming.load(wrong)


# -- between two replicas ----------------------------------------------------------


def grown(**limits: int) -> Table:
    """A leads alone, has ten batches and eight sessions behind it, and forgets
    what is applied."""
    table = Table("A B C", tail_bytes_kept=0, part_bytes=1, **limits)
    table.found()
    for of in range(1, 9):
        table.opened("A", of)
    for sequence in range(1, 11):
        table.ask("A", batch(sequence))
        table.settle()
    table.told()
    assert table["A"].history.log.base_index > 0
    return table


def begin(table: Table, number: int = 2) -> None:
    """B is to be brought up."""
    table.tell(view(number, "A", "B"), "A B")
    table.connect("A", "B")


def test_who_lacks_what_the_log_has_not_any_more_gets_a_snapshot() -> None:
    table = grown()
    begin(table)
    table.settle()
    assert table["A"].synced == ("B",)
    assert table.value("B") == table.value("A") == b"12345678910"
    digests = {table[who].history.state.digest() for who in "AB"}
    assert len(digests) == 1


def test_writes_go_on_while_a_snapshot_is_sent() -> None:
    table = grown(parts_unconfirmed_max=1)
    begin(table)
    sequence = 10
    while not table.leads("A").followers["B"].joined:
        sequence += 1
        table.ask("A", batch(sequence))  # T6
        assert [type(told) for told in table.told()] == [BatchAnswer]
        table.carry("A", "B")
        table.carry("B", "A")
        table.turn("A")
    assert sequence > 15
    table.settle()
    table.tick()
    table.settle()
    assert table["A"].synced == ("B",)
    assert table.value("B") == table.value("A")


def test_half_a_snapshot_changes_nothing() -> None:
    table = grown()
    begin(table)
    for _ in range(3):
        table.carry("A", "B")
        table.carry("B", "A")
    assert table["A"].report.transfer_bytes
    assert table["B"].history.commit == 0  # T1
    assert table.log("B") == "|"
    assert table["A"].synced == ()


def test_a_broken_connection_begins_it_anew() -> None:
    table = grown()
    begin(table)
    for _ in range(3):
        table.carry("A", "B")
        table.carry("B", "A")
    table.ask("A", batch(11))
    assert [type(told) for told in table.told()] == [BatchAnswer]
    table.connect("A", "B")
    table.settle()
    assert table["A"].synced == ("B",)
    assert table.value("B") == b"1234567891011"


def test_a_view_in_which_both_keep_their_parts_does_not() -> None:
    table = grown(parts_unconfirmed_max=1)
    begin(table)
    for _ in range(6):
        table.carry("A", "B")
        table.carry("B", "A")
    sent = table["A"].report.transfer_bytes
    assert sent
    table.tell(view(3, "A", "B C"), "A B C")
    seen: list[int] = []
    for _ in range(60):
        carried = table.carry("A", "B")
        seen += [m.part for m in carried if isinstance(m, SnapshotPart)]
        table.carry("B", "A")
    assert seen == sorted(set(seen)), "no part comes twice"
    assert seen[0] > 0
    assert "B" in table["A"].synced


def test_a_machine_has_one_cut_at_a_time() -> None:
    table = grown(parts_unconfirmed_max=1)
    table.tell(view(2, "A", "B C"), "A B C")
    table.connect("A", "B")
    table.connect("A", "C")
    for _ in range(5):
        for who in "BC":
            table.carry("A", who)
            table.carry(who, "A")
        running = [each.transfer for each in table.leads("A").followers.values()]
        assert sum(each is not None for each in running) <= 1
    table.settle()
    assert table["A"].synced == ("B", "C")
    assert table.value("C") == table.value("B") == table.value("A")


def test_who_steps_down_lets_go_of_the_cut() -> None:
    table = grown()
    begin(table)
    for _ in range(3):
        table.carry("A", "B")
        table.carry("B", "A")
    assert open_cuts(table, "A") == 1
    table.tell(view(3, "C"), "A")
    assert open_cuts(table, "A") == 0


def open_cuts(table: Table, who: str) -> int:
    machine = table[who].history.state.machine
    assert isinstance(machine, Store)
    return len(machine._pairs._cuts)


def test_who_has_left_the_view_keeps_no_cut_open() -> None:
    table = grown(parts_unconfirmed_max=1)
    begin(table)
    for _ in range(3):
        table.carry("A", "B")
        table.carry("B", "A")
    assert table["A"].report.transfer_bytes
    assert open_cuts(table, "A") == 1
    table.lead(view(3, "A", "C"))
    assert table["A"].synced == ("C",)
    assert open_cuts(table, "A") == 0


def test_what_a_holder_may_lack_is_kept_until_it_says_where_it_stands() -> None:
    table = Table("A B", tail_bytes_kept=1000, part_bytes=1)
    table.found()
    table.lead(view(2, "A", "B"))
    table.opened("A")
    table.ask("A", batch(1))
    table.settle(but="B")
    table.carry("A", "B")
    table.carry("B", "A")
    table.turn("A")
    assert (table["A"].history.commit, table["B"].history.commit) == (2, 1)
    table.cut("A", "B")
    table.tell(view(3, "A", "B", holders="B"), "A B")
    table.ask("A", *(batch(n, first_unanswered=1) for n in range(2, 6)))
    table.turn("A")
    assert table["A"].history.is_long
    table.connect("A", "B")
    table.carry("A", "B")
    table.carry("B", "A")
    sent = table.carry("A", "B")
    assert [
        each.index for m in sent if isinstance(m, Forward) for each in m.entries
    ] == [2, 3, 4, 5, 6]


# -- what a backup does with parts that it cannot use --------------------------------


def backup(accepted: int) -> Table:
    """B follows A in view 2 and has accepted so many entries, 1 committed."""
    table = Table("B", part_bytes=1)
    table.tell(view(2, "A", "B"), "B")
    table["B"].receive("A!", member("A"), Attach(view(2, "A", "B")))
    entries = [Entry(2, n, n, OpenSession(session(n))) for n in range(1, accepted + 1)]
    table["B"].receive("A!", member("A"), Forward(2, 1, 0, 0, tuple(entries)))
    table.told("A!")
    return table


def snapshot(upto: int, number: int) -> list[SnapshotPart]:
    """Of a history whose entries are all of that view."""
    made = Sessions(Store())
    for index in range(1, upto + 1):
        opening = OpenSession(session(index))
        made.apply(Entry(number, index, index, opening))
    return parts(made, Limits())


def hand(table: Table, sent: list[SnapshotPart]) -> list[object]:
    for part in sent:
        table["B"].receive("A!", member("A"), part)
    return list(table.told("A!"))


def test_a_snapshot_does_not_erase_what_was_accepted_since() -> None:
    table = backup(accepted=3)
    answers = hand(table, snapshot(2, number=2))
    assert answers[0] == LogPosition(2, 2, 3)  # F5
    assert not any(isinstance(each, SnapshotPartOk) for each in answers)
    assert table.log("B") == "|2 2 2"


def test_what_follows_the_snapshots_last_entry_stays() -> None:
    table = backup(accepted=3)
    table.tell(view(3, "D", "B"), "B")  # nothing is verified in view 3 yet
    table["B"].receive("A!", member("D"), Attach(view(3, "D", "B")))
    table.told("A!")
    hand(table, snapshot(2, number=2))
    assert table["B"].history.commit == 2
    assert table.log("B") == "|2"  # F5: perhaps it was answered


def test_what_follows_another_history_goes() -> None:
    table = backup(accepted=3)
    table.tell(view(4, "D", "B"), "B")
    table["B"].receive("A!", member("D"), Attach(view(4, "D", "B")))
    hand(table, snapshot(2, number=3))
    assert table["B"].history.commit == 2
    assert table.log("B") == "|"
    assert table["B"].history.log.base_view == 3


def test_time_goes_on_from_when_a_snapshot_came() -> None:
    table = backup(accepted=0)
    table["B"].clock(5_000)
    hand(table, snapshot(2, number=2))
    table.tell(view(3, "B"), "B")
    table["B"].clock(5_100)
    table.ask("B", OpenSession(session(9)))
    assert table["B"].history.log.end_stamp_ms == 102  # L11


def test_who_waits_for_a_digest_that_a_snapshot_skips_is_told() -> None:
    table = backup(accepted=0)
    for index in (1, 2, 3):
        table["B"].receive(f"o{index}", None, DigestAt(index))
    hand(table, snapshot(2, number=2))
    chain = table["B"].history.state.chain
    assert [DigestIs(2, chain, b"")] == table.told("o1") == table.told("o2")
    assert table.told("o3") == []


def test_a_part_of_what_was_dropped_ends_the_connection() -> None:
    table = backup(accepted=0)
    _, second, *_ = snapshot(2, number=2)
    [goodbye] = hand(table, [second])
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason == "protocol"
    assert table["B"].history.commit == 0


def test_part_zero_begins_a_new_snapshot() -> None:
    table = backup(accepted=0)
    first, *rest = snapshot(2, number=2)
    answers = hand(table, [first, first, *rest])
    assert [SnapshotPartOk] * len(answers) == [type(each) for each in answers]
    assert table["B"].history.commit == 2


def test_a_snapshot_of_somebody_else_is_not_taken() -> None:
    table = backup(accepted=0)
    for part in snapshot(2, number=2):
        table["B"].receive("D!", member("D"), part)  # T8
    assert table["B"].history.commit == 0


def test_who_is_promoted_half_way_was_no_newcomer() -> None:
    """A holder that is being sent a snapshot is promoted with what it has."""
    table = Table("B", part_bytes=1)
    table.tell(view(2, "A", "B", holders="B"), "B")
    table["B"].receive("A!", member("A"), Attach(view(2, "A", "B")))
    table["B"].receive("A!", member("A"), snapshot(2, number=1)[0])
    table.tell(view(3, "B"), "B")
    assert table.leads("B").synced == ()
    assert table["B"].history.commit == 0
    table.tell(founding(4, "B"), "B")
