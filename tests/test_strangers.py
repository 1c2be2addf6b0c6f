"""
Whatever is sent, by whatever sends it: a message is answered, refused or ignored,
and no rule of ours breaks.  Messages are well-typed, since no others are decoded,
and made of values that lie near those in use, so that they get far.

What a core sends in turn is decoded again: it never exceeds a bound either.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from client.calls import Calls
from client.clerk_core import ClerkCore
from client.primary_locator import PrimaryLocator
from pbserver.backup import Backup
from pbserver.limits import Limits
from pbserver.primary import Primary
from pbserver.sessions import Session, Sessions
from pbserver.store import Store
from pbserver.transfer import Incoming, Outgoing
from tests.replicas import Table, batch, body, member, query, session, view
from viewservice import status
from viewservice.roster import Roster
from viewservice.views import Views
from wire import messages
from wire.bounds import FRAME_BYTES_MAX, POSITION_MAX
from wire.commands import Get, Put
from wire.messages import (
    BACKUP,
    BODY_BYTES_MAX,
    CLERK,
    OBSERVER,
    PRIMARY,
    SAYS,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Batch,
    BatchAnswer,
    BatchRefused,
    Entry,
    Goodbye,
    Hello,
    Member,
    Message,
    OpenSession,
    Ping,
    View,
    ViewIs,
)

CLUSTER = b"c" * 16
MEMBERS = [member(who) for who in ("A", "B", "C", "B'", "X")]
NAMES = sorted({each.name for each in MEMBERS})
BODIES = [b"", b"\x90", b"\xc1", body(Put(b"k", b"v")), body(Get(b"k")), b"\x91" * 9]


def numbers(low: int, high: int | None) -> st.SearchStrategy[int]:
    """Those that are in use, and the last ones that are allowed."""
    top = 2**64 - 1 if high is None else high
    few = [each for each in (*range(10), top - 1, top) if low <= each <= top]
    return st.sampled_from(few)


def near(info: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901
    """Values of a type, most of which mean something."""
    match info:
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return numbers(low, high)
        case inspect.StrType():
            return st.sampled_from([*NAMES, messages.EVICTED, messages.TOO_LARGE])
        case inspect.BytesType(min_length=16):
            return st.sampled_from([session(1), session(2), CLUSTER])
        case inspect.BytesType(max_length=16):
            return st.sampled_from([b"", CLUSTER, b"d" * 16])
        case inspect.BytesType():
            return st.sampled_from(BODIES)
        case inspect.VarTupleType(item_type=item):
            return st.lists(near(item), max_size=3).map(tuple)
        case inspect.UnionType(types=types):
            return st.one_of([near(each) for each in types])
        case inspect.StructType(cls=messages.View):
            return VIEWS
        case inspect.StructType(cls=messages.Member):
            return st.sampled_from(MEMBERS)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{each.name: near(each.type) for each in fields})
    raise AssertionError(info)


@st.composite
def _views(draw: st.DrawFn) -> View:
    count = draw(st.integers(0, 3))
    if not count:
        return View()
    primary, *backups = draw(
        st.lists(
            st.sampled_from(MEMBERS),
            min_size=count,
            max_size=count,
            unique_by=lambda each: each.name,
        )
    )
    holders = tuple(each.name for each in backups if draw(st.booleans()))
    counter = draw(st.sampled_from([1, 2, 3, 4, 5, messages.COUNTER_MAX]))
    number = messages.view_number(counter, draw(st.sampled_from([0, 0, 0, 1])))
    founding = not backups and draw(st.booleans())
    return View(number, primary, tuple(backups), holders, founding)


VIEWS = _views()


def said(*pairs: tuple[str, str]) -> st.SearchStrategy[Message]:
    """What may be said between these, but Goodbye, which no core is handed."""
    kinds = {kind for pair in pairs for kind in SAYS[pair] if kind is not Goodbye}
    kinds -= {messages.Watch, messages.Status}
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    return st.one_of([near(inspect.type_info(kind)) for kind in ordered])


ANY = msgspec.msgpack.Decoder(
    messages.Forward
    | messages.Attach
    | messages.SnapshotPart
    | messages.LogPosition
    | messages.ForwardOk
    | messages.Redirect
    | messages.SnapshotPartOk
    | messages.SessionOpened
    | messages.SessionClosed
    | messages.BatchAnswer
    | messages.BatchRefused
    | messages.QueryAnswer
    | messages.DigestIs
    | messages.OpenSession
    | messages.CloseSession
    | messages.Batch
    | messages.Query
    | messages.Goodbye
    | messages.ViewIs
    | messages.Ping
)


def check_sendable(message: Message) -> None:
    """It is within every bound; what a Goodbye says is shortened by its link."""
    if type(message) is not Goodbye:
        assert ANY.decode(msgspec.msgpack.encode(message)) == message


# -- a replica ---------------------------------------------------------------------

SPOKEN = said((PRIMARY, BACKUP), (BACKUP, PRIMARY), (CLERK, SERVER), (OBSERVER, SERVER))
FORWARDS = near(inspect.type_info(messages.Forward))
PARTS = near(inspect.type_info(messages.SnapshotPart))
ENTRIES = near(inspect.type_info(messages.Entry))
STEPS = st.lists(
    st.tuples(
        st.sampled_from("AAABBBC"),
        st.sampled_from(["there", "there", "other", "clerk"]),
        st.sampled_from([*MEMBERS, None]),
        st.one_of(SPOKEN, FORWARDS, PARTS, st.none(), VIEWS),
    ),
    max_size=25,
)


def pair() -> Table:
    """A leads B, both with a session and two batches; C is idle."""
    table = Table("A B C", part_bytes=64)
    table.found()
    table.lead(view(2, "A", "B"))
    table.opened("A")
    table.ask("A", batch(1), batch(2, first_unanswered=1), query(1))
    table.settle()
    table.tick("A")
    table.settle()
    return table


def flush(table: Table, who: str) -> None:
    replica = table[who]
    replica.tick()
    for _, message in chain.from_iterable(replica.flush()):
        check_sendable(message)
    check_sendable(Ping(1, replica.me, 1, replica.synced, replica.unreachable))
    assert replica.report.commit == replica.history.commit
    assert replica.accepting in {True, False}
    replica.take_ignored()


def tell(table: Table, step: tuple[Any, ...]) -> None:
    who, where, sender, message = step
    replica = table[who]
    link: object = f"{where} {who}"
    if where == "there":
        link = table.links.get(("A", "B"), link)
    if message is None:
        replica.link_lost(link)
    elif isinstance(message, View):
        replica.on_view(message, acknowledged=sender is None)
    else:
        replica.receive(link, sender, message)


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_a_replica(steps: list[tuple[Any, ...]]) -> None:
    table = pair()
    for step in steps:
        tell(table, step)
        flush(table, step[0])


@st.composite
def plausible(draw: st.DrawFn) -> list[Message]:
    """Forwards as a primary sends them, but for some fields: they get in."""
    found: list[Message] = []
    index, stamp_ms = 4, 0
    for _ in range(draw(st.integers(1, 6))):
        entries = []
        for _ in range(draw(st.integers(0, 3))):
            entry = draw(ENTRIES)
            index += draw(st.sampled_from([1, 1, 1, 1, 1, 0, 2, -2]))
            stamp_ms += draw(st.sampled_from([0, 0, 0, 1, -1, 2**62 - 1]))
            entry = msgspec.structs.replace(
                entry,
                index=max(1, index),
                stamp_ms=min(max(0, stamp_ms), 2**62 - 1),
                view=draw(st.sampled_from([2, 2, 2, 1, 3])),
            )
            if type(entry.request) is Batch and draw(st.booleans()):
                request = msgspec.structs.replace(
                    entry.request,
                    session=session(1),
                    opened_index=1,
                    sequence=draw(st.integers(1, 9)),
                    first_unanswered=draw(st.integers(1, 9)),
                )
                entry = msgspec.structs.replace(entry, request=request)
            entries.append(entry)
        commit = draw(st.sampled_from([0, 3, index, index, 2**63 - 1]))
        found.append(messages.Forward(2, 1, commit, 0, tuple(entries)))
    return found


@given(plausible(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_backup_and_who_takes_over_from_it(
    forwards: list[Message], is_promoted: bool
) -> None:
    table = pair()
    link = table.links["A", "B"]
    for forward in forwards:
        table["B"].receive(link, member("A"), forward)
        flush(table, "B")
    assert isinstance(table["B"].role, Backup)
    if is_promoted:
        # What is in its log must commit, whatever it is.
        table["B"].diverged  # noqa: B018 -- a service looks, and stops it
        table.tell(view(3, "B"), "B")
        assert isinstance(table["B"].role, Primary)
        for asked in (OpenSession(session(2)), batch(3, first_unanswered=1), query(7)):
            table.ask("B", asked)
            flush(table, "B")
        history = table["B"].history
        assert history.commit == history.log.end
        assert history.state.digest() == loaded(history.state).digest()


def loaded(state: Sessions) -> Sessions:
    """The same, as a newcomer gets it."""
    outgoing, fresh = Outgoing.of(state), Incoming(Sessions(Store()))
    while part := outgoing.next_part(2, Limits(part_bytes=64)):
        check_sendable(part)
        outgoing.confirm(part.part)
        fresh.load(part)
    return fresh.state


# -- what is refused, and changes nothing ---------------------------------------------

OPEN = OpenSession(session(3))


def entry(index: int, *, view: int = 2, stamp_ms: int = 0) -> Entry:
    return Entry(view, index, stamp_ms, OPEN)


#: The log of B has entries 1 to 5 of view 2, all at 0 ms; 4 and 5 are not committed.
CONTRADICTIONS = {
    "a view that goes back": [entry(6, view=1)],
    "a later view than its own": [entry(6, view=3)],
    "another view with the counter of this one": [
        entry(6, view=messages.view_number(2, 5))
    ],
    "a stamp that goes back": [entry(6, stamp_ms=9), entry(7, stamp_ms=8)],
    "an older view in the place of what is there": [entry(5, view=1)],
}


def tail() -> Table:
    """B has accepted what A has not committed yet."""
    table = pair()
    table.ask("A", batch(3, first_unanswered=3), batch(4, first_unanswered=3))
    table.carry("A", "B")
    assert table.log("B") == "2 2 2|2 2"
    # As if a newer view had just begun; what there was to say has been said.
    list(table["B"].flush())
    table["B"].role.verified = 3
    return table


@pytest.mark.parametrize("entries", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_cannot_follow_is_not_accepted(entries: list[Entry]) -> None:
    table = tail()
    backup, link = table["B"], table.links["A", "B"]
    before = list(backup.history.log.entries)
    known = [each for each in before[3:] if each.index < entries[0].index]
    forward = messages.Forward(2, 9, 0, 0, (*known, *entries))
    backup.receive(link, member("A"), forward)
    sent = [message for _, message in chain.from_iterable(backup.flush())]
    assert [(type(each), each.reason) for each in sent] == [(Goodbye, "protocol")]
    assert [*before, *entries[:-1]] == backup.history.log.entries


def test_a_batch_that_no_primary_logs_is_answered_and_changes_nothing() -> None:
    state = pair()["A"].history.state
    before = state.table[session(1)]
    assert before.next == 3
    forged = Batch(session(1), 1, 4, 3, b"\x90")
    too_far = msgspec.structs.replace(forged, sequence=3, first_unanswered=4)
    for index, batch_ in enumerate((forged, too_far), state.index + 1):
        answer = state.apply(Entry(2, index, state.stamp_ms, batch_))
        assert answer == BatchRefused(batch_.sequence, messages.EVICTED)
        assert state.table[session(1)] == before
    fine = msgspec.structs.replace(forged, sequence=3)
    answer = state.apply(Entry(2, index + 1, state.stamp_ms, fine))
    assert answer == BatchAnswer(3, b"\x90")
    assert loaded(state).digest() == state.digest()


@pytest.mark.parametrize(
    "fields",
    [
        {"entry_view": 3},
        {"entry_view": messages.view_number(2, 5)},
        {"index": 5, "stamp_ms": 5},
    ],
    ids=["a later view", "another view", "another stamp"],
)
def test_a_snapshot_of_another_history_is_refused(fields: dict[str, int]) -> None:
    table = tail()
    backup, link = table["B"], table.links["A", "B"]
    part = messages.SnapshotPart(2, 0, 2, 99, 0, 0, messages.END_PART, 0, b"")
    part = msgspec.structs.replace(part, **fields)
    backup.receive(link, member("A"), part)
    sent = [message for _, message in chain.from_iterable(backup.flush())]
    assert [(type(each), each.reason) for each in sent] == [(Goodbye, "protocol")]
    assert table.log("B") == "2 2 2|2 2"


def test_a_machine_that_cannot_load_ends_the_transfer_alone() -> None:
    class Fragile(Store):
        def load(self, chunk: bytes) -> None:
            raise KeyError(chunk)

    part = messages.SnapshotPart(2, 0, 2, 9, 0, 0, messages.MACHINE_PART, 0, b"")
    with pytest.raises(ValueError, match="cannot load it: KeyError"):
        Incoming(Sessions(Fragile())).load(part)


def test_a_backup_that_has_applied_what_it_lacks_is_sent_away() -> None:
    table = pair()
    end = table["A"].history.log.end
    link = table.links["A", "B"]
    lie = messages.ForwardOk(2, 1, end, end + 5)
    table["A"].receive(link, member("B"), lie)
    sent = [message for _, message in chain.from_iterable(table["A"].flush())]
    assert Goodbye in map(type, sent)
    assert table["A"].accepting


def test_time_stands_still_before_it_leaves_its_bound() -> None:
    table = pair()
    history = table["A"].history
    history.log.restart(2, history.log.end, POSITION_MAX - 3)
    history.state.stamp_ms = POSITION_MAX - 3
    for now_ms in (1, 2, 50, 90):
        history.now_ms = now_ms
        check_sendable(messages.Forward(2, 1, 0, 0, (history.append(2, OPEN),)))
    assert history.log.end_stamp_ms == POSITION_MAX


def test_a_long_answer_travels_alone() -> None:
    """With others before it, a piece would not fit into a frame."""
    state = Sessions(Store())
    state.apply(Entry(1, 1, 0, OpenSession(session(1))))
    long = bytes(BODY_BYTES_MAX - 8)
    answers = (BatchAnswer(1, bytes(200_000)), BatchAnswer(2, long))
    state.table[session(1)] = Session(1, 3, 1, answers, 0)
    cut = state.cut()
    pieces = []
    while piece := cut.take(Limits().part_bytes):
        pieces.append(piece)
    assert max(map(len, pieces)) < FRAME_BYTES_MAX - 1024
    fresh = Sessions(Store())
    for piece in pieces:
        fresh.load(piece)
    assert fresh.table == state.table


# -- a view service ------------------------------------------------------------------

PINGS = near(inspect.type_info(Ping))
HELLOS = near(inspect.type_info(Hello))


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.one_of(PINGS, HELLOS, st.none())), max_size=30
    ),
    st.integers(0, 2),
)
@settings(max_examples=300, deadline=None)
def test_a_view_service(news: list[tuple[int, Any]], backups: int) -> None:
    views = Views(CLUSTER, Roster(3, 0), backups_max=backups)
    for number, who in enumerate("ABC"):
        views.ping(number, Ping(1, member(who), 0))
    reports: dict[str, messages.Report] = {}
    for link, what in news:
        if what is None:
            views.disconnected(link)
            views.tick()
        elif isinstance(what, Hello):
            views.greeted(what)
        elif isinstance(views.ping(link, what), ViewIs):
            reports[what.member.name] = what.report
        check_sendable(views.view_is(1))
        assert status.document(views, reports, 100)


# -- a clerk ---------------------------------------------------------------------------

HEARD = said((SERVER, CLERK))
TOLD = said((VIEW_SERVICE, CLERK))


@given(
    st.lists(st.tuples(st.sampled_from("rrrwoc"), st.one_of(HEARD, TOLD)), max_size=30)
)
@settings(max_examples=300, deadline=None)
def test_a_clerk(news: list[tuple[str, Any]]) -> None:
    talk = ClerkCore(PrimaryLocator(seed=1), 8, Calls())
    leader = Member("A", 0, "tcp:a:1")
    talk.views_said(ViewIs(0, CLUSTER, View(1, leader), True), 0)
    calls: set[int] = set()
    ended: list[int] = []
    for now_ms, (what, message) in enumerate(news):
        if talk.is_finished:
            break
        if what == "w":
            calls.add(talk.write(b"\x90", now_ms))
            calls.add(talk.read(b"\x91\x00", now_ms))
        dial = talk.locator.dial
        outcomes = []
        if dial is not None and what == "o":
            talk.link_opened(
                dial[0], Hello(VERSION, SERVER, CLUSTER, 1, dial[1]), now_ms
            )
        elif dial is not None and what == "c":
            outcomes = talk.link_closed(dial[0], "lost", now_ms)
        elif isinstance(message, ViewIs):
            outcomes = talk.views_said(message, now_ms)
        elif dial is not None and not isinstance(message, messages.StatusIs):
            outcomes = talk.received(dial[0], message, now_ms)
        ended += [number for number, _ in outcomes]
        if talk.needs_session:
            talk.open_session(session(1))
        for each in talk.flush():
            check_sendable(each)
        ended += [number for number, _ in talk.tick(now_ms)]
    assert len(set(ended)) == len(ended)
    assert set(ended) <= calls
