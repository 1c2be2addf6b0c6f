"""Who keeps more than its limits is found, by the name of the limit's row."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs
import msgspec
import pytest
from msgspec.structs import replace

from client import calls, queries, session
from client.bodies import join
from client.clerk_core import ClerkCore
from client.primary_locator import PrimaryLocator
from client.session import Session
from pbserver.outbox import IGNORED_MAX
from pbserver.sessions import Sessions
from pbserver.transfer import Outgoing
from tests.documents import read, section, table
from tests.replicas import Table, batch, query, view
from tests.sim import checker_bounds
from tests.sim.checker_bounds import (
    NO_ROWS,
    Measures,
    measured,
    of_clerk,
    of_forward,
    of_server,
    of_views,
)
from viewservice import roster, server, views
from wire.commands import Get
from wire.messages import WINDOW_MAX, BatchAnswer, Forward, Member, Ping, Report

LONG = "batches outstanding in a session, and answers kept for it"


def test_every_rule_has_its_row() -> None:
    found, before = set(NO_ROWS), ""
    for row in table(section(read("docs/operations.md"), "Limits")):
        name = row[0].rstrip(" †")
        found.add(f"{name} ({before})" if name == "bytes of them" else name)
        before = name
    source = Path(checker_bounds.__file__).read_text()
    rules = set(re.findall(r'(?:Excess\(|rule = )"([^"]+)"', source))
    assert len(rules) > 15
    assert rules - found == set()


# -- servers -------------------------------------------------------------------------


@pytest.fixture
def tables() -> Table:
    """A leads, B has all but accepted only three of five entries, and a read
    waits."""
    tables = Table("A B")
    tables.found()
    tables.lead(view(2, "A", "B"))
    tables.opened("A")
    tables.ask("A", batch(1), batch(2))
    tables.settle()
    tables.tick("A")
    tables.settle()
    tables.ask("A", batch(3), batch(4), query(1))
    tables.turn("A")
    return tables


def found(tables: Table, who: str = "A", before: Measures | None = None) -> set[str]:
    replica = tables[who]
    return {rule for rule, _ in of_server(replica, measured(replica), before)}


def limit(tables: Table, **changes: int) -> None:
    role = tables.leads("A")
    role.limits = attrs.evolve(role.limits, **changes)


def test_who_stays_within_its_limits_is_let_be(tables: Table) -> None:
    for who in "AB":
        assert found(tables, who) == set()
        assert found(tables, who, measured(tables[who])) == set()


def state(tables: Table) -> Sessions:
    return tables["A"].history.state


def wait_for_too_many_digests(tables: Table) -> None:
    tables["A"].history.digests.waiting[9] = list(range(65))


def wait_for_a_digest_that_is_past(tables: Table) -> None:
    tables["A"].history.digests.waiting[1] = [1]


def have_too_many_sessions(tables: Table) -> None:
    state(tables).sessions_max = 0


def keep_too_many_answer_bytes(tables: Table) -> None:
    state(tables).answer_bytes_max = state(tables).answer_bytes - 1


def count_answer_bytes_wrongly(tables: Table) -> None:
    state(tables).answer_bytes -= 1


def keep_an_idle_session(tables: Table) -> None:
    state(tables).stamp_ms += state(tables).idle_ms_max + 1


def keep_too_many_answers(tables: Table) -> None:
    of, answers = state(tables), (BatchAnswer(1, b""),) * (WINDOW_MAX + 1)
    for each, kept in of.table.items():
        of.table[each] = replace(kept, answers=answers)


def ignore_too_much(tables: Table) -> None:
    tables["A"]._out._ignored = [(None, query(1), "")] * (IGNORED_MAX + 1)


def leave_too_many_parts_unconfirmed(tables: Table) -> None:
    transfer = Outgoing.of(state(tables))
    transfer.part = tables.leads("A").limits.parts_unconfirmed_max + 1
    tables.leads("A").followers["B"].transfer = transfer


def know_a_batch_that_is_applied(tables: Table) -> None:
    (indexes,) = tables.leads("A").door._tails.values()
    indexes.insert(0, 3)


def know_a_session_without_batches(tables: Table) -> None:
    tables.leads("A").door._tails[b"", 0] = []


def forget_a_batch_of_the_tail(tables: Table) -> None:
    tables.leads("A").door._tails.clear()


def wait_for_what_is_applied(tables: Table) -> None:
    tables.leads("A").door._asked[3] = ["c"]


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [
        (wait_for_too_many_digests, "questions for a digest at a later index"),
        (wait_for_a_digest_that_is_past, "questions for a digest at a later index"),
        (have_too_many_sessions, "sessions"),
        (keep_too_many_answer_bytes, "answers kept for all sessions"),
        (count_answer_bytes_wrongly, "answers kept for all sessions"),
        (keep_an_idle_session, "idleness of a session"),
        (keep_too_many_answers, LONG),
        (ignore_too_much, "ignored messages remembered for the log in one turn"),
        (leave_too_many_parts_unconfirmed, "parts unconfirmed"),
        (know_a_batch_that_is_applied, "what waits at the door"),
        (know_a_session_without_batches, "what waits at the door"),
        (forget_a_batch_of_the_tail, "what waits at the door"),
        (wait_for_what_is_applied, "what waits at the door"),
    ],
)
def test_a_server_with_too_much(
    tables: Table, tamper: Callable[[Table], None], rule: str
) -> None:
    tamper(tables)
    assert rule in found(tables)


def test_a_primary_keeps_what_it_may_forget(tables: Table) -> None:
    before = measured(tables["A"])
    assert before.floor == 3
    limit(tables, tail_bytes_kept=0)
    rule = "log kept behind the commit index"
    assert found(tables, before=before) == {rule}
    assert found(tables, before=before._replace(floor=0)) == set(), "it was pinned"


UNANSWERED = "what clerks have asked and is unanswered, at a primary"
PINNED = "log that a transfer may pin"


@pytest.mark.parametrize(
    ("name", "rule"),
    [("unanswered_bytes_max", UNANSWERED), ("tail_bytes_max", PINNED)],
)
def test_clerks_are_read_from_although_there_is_too_much(
    tables: Table, name: str, rule: str
) -> None:
    limit(tables, **{name: 1}, tail_bytes_kept=1)
    replica = tables["A"]
    now = measured(replica)
    assert not now.is_accepting
    deaf = now._replace(is_accepting=True)
    assert rule not in {each.rule for each in of_server(replica, now, None)}
    assert rule in {each.rule for each in of_server(replica, deaf, None)}


def test_more_is_taken_in_while_clerks_are_not_read_from(tables: Table) -> None:
    now = measured(tables["A"])
    less = now._replace(is_accepting=False, unanswered=now.unanswered - 1)
    assert found(tables, before=less) == {UNANSWERED}
    shorter = now._replace(is_accepting=False, end=now.end - 1)
    assert found(tables, before=shorter) == {PINNED}
    assert found(tables, before=now._replace(is_accepting=False)) == set()
    # Another part is another measure.
    assert found(tables, before=less._replace(role=None)) == set()


def test_a_backup_keeps_more_of_what_is_applied(tables: Table) -> None:
    now = measured(tables["B"])
    rule = "log kept behind the commit index"
    assert found(tables, "B", now._replace(applied=now.applied - 1)) == {rule}
    earlier = now._replace(commit=now.commit - 1)
    assert found(tables, "B", earlier) == set()
    tables["B"].history.tail_bytes_kept = 0
    assert found(tables, "B", earlier) == {rule}


@pytest.mark.parametrize(
    # An eighth more than needed goes, so what is left without the oldest entry is
    # less than seven eighths: 640 < 735 - 91, and not 640 < 731 - 91.
    ("kept_max", "is_within"),
    [(960, True), (735, True), (731, False), (0, False)],
)
def test_one_entry_more_than_is_kept(kept_max: int, is_within: bool) -> None:
    tables = Table("A")
    tables.found()
    for number in (1, 2, 3):
        tables.opened("A", number)
    assert tables["A"].history.log.weight == 3 * 320
    before = measured(tables["A"])
    limit(tables, tail_bytes_kept=kept_max)
    assert (found(tables, before=before) == set()) == is_within


# -- what is sent --------------------------------------------------------------------


def sent(tables: Table, count: int, **changes: int) -> set[str]:
    replica, role = tables["A"], tables.leads("A")
    limit(tables, **changes)
    replica.limits = role.limits
    tail = replica.history.log.entries[-count:]
    link = role.followers["B"].link
    forward = Forward(2, role.round, 0, 0, tuple(tail))
    return {rule for rule, _ in of_forward(replica, link, forward)}


def test_one_message_holds_too_much(tables: Table) -> None:
    size = sum(checker_bounds.weight(each.request) for each in tail(tables, 2))
    assert sent(tables, 2, forward_bytes_max=size) == set()
    assert sent(tables, 2, forward_bytes_max=size - 1) == {"entries of one Forward"}
    assert sent(tables, 1, forward_bytes_max=1) == set(), "one entry always fits"


def test_too_much_is_on_its_way_to_a_backup(tables: Table) -> None:
    first, last = (checker_bounds.weight(each.request) for each in tail(tables, 2))
    rule = {"unaccepted bytes per backup"}
    assert sent(tables, 2, unaccepted_bytes_max=first + last) == set()
    assert sent(tables, 2, unaccepted_bytes_max=first + 1) == set(), "one more"
    assert sent(tables, 2, unaccepted_bytes_max=first) == rule


def tail(tables: Table, count: int) -> list:
    return tables["A"].history.log.entries[-count:]


# -- the view service ----------------------------------------------------------------


def known() -> views.Views:
    found = views.Views(b"c" * 16, roster.Roster(grace=0))
    report = Report(0, 0, None, None)
    found.ping(1, Ping(1, Member("A", 1, "tcp:a:1"), 0, (), (), report))
    assert len(found.history) == len(found.servers) == 1
    return found


def test_the_view_service_remembers_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(of_views(known())) == []
    full = known()
    (name,) = full.servers
    many = tuple(range(server.SUPERSEDED_MAX + 1))
    full.roster.servers[name] = replace(full.servers[name], superseded=many)
    monkeypatch.setattr(views, "HISTORY_MAX", 0)
    monkeypatch.setattr(roster, "SERVERS_MAX", 0)
    assert [rule for rule, _ in of_views(full)] == [
        "changes in its history",
        "servers that a view service remembers",
        "incarnations of a name that it remembers as superseded",
    ]


# -- clerks --------------------------------------------------------------------------


def clerk() -> ClerkCore:
    """Two batches and a query are under way; a write, and a read that goes alone,
    wait; all have a deadline."""
    core = ClerkCore(PrimaryLocator(1), window=2)
    core.session = Session(b"s" * 16)
    core.session.opened(1)
    command = msgspec.msgpack.encode(Get(b"k"))
    for _ in range(2):
        number = core.write(command, 0, 99)
        core.calls.take_writes()
        core.session.batch((number,), join([command]))
    core.read(command, 0, 99)
    core.queries.ask(core.calls.take_reads(), b"", 0)
    core.write(command, 0, 99)
    core.read(command, 0, 99, alone=True)
    return core


def test_a_clerk_within_its_limits_is_let_be() -> None:
    assert list(of_clerk(clerk())) == []


def have_too_many_batches(core: ClerkCore) -> None:
    core.window = 1


def lack_too_old_an_answer(core: ClerkCore) -> None:
    opened = core.session
    assert opened is not None
    opened.next += WINDOW_MAX


def count_bytes_wrongly(core: ClerkCore) -> None:
    opened = core.session
    assert opened is not None
    opened.outstanding_bytes += 1


def ask_too_much(core: ClerkCore) -> None:
    core.queries.outstanding |= {5: {3: b""}, 6: {3: b""}}


def queue_too_much(core: ClerkCore) -> None:
    back = (core.window + queries.QUERIES_MAX) * calls.TOGETHER_MAX
    core.calls.count_max = 1 - back


def queue_too_many_bytes(core: ClerkCore) -> None:
    core.calls.bytes_max = -(1 << 40)


def count_queued_bytes_wrongly(core: ClerkCore) -> None:
    core.calls._read_bytes += 1


def keep_what_was_given_up(core: ClerkCore) -> None:
    core.given_up.add(4)  # It was never sent.


def keep_a_deadline(core: ClerkCore) -> None:
    core.calls.set_deadline(99, 1, 0)


def keep_what_went_alone(core: ClerkCore) -> None:
    core.calls.alone.add(99)


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [
        (have_too_many_batches, "a clerk's batches under way"),
        (lack_too_old_an_answer, LONG),
        (count_bytes_wrongly, "bytes of them (a clerk's batches under way)"),
        (ask_too_much, "a clerk's queries under way"),
        (queue_too_much, "calls queued in a clerk"),
        (queue_too_many_bytes, "bytes of them (calls queued in a clerk)"),
        (count_queued_bytes_wrongly, "bytes of them (calls queued in a clerk)"),
        (keep_what_was_given_up, "calls that have ended"),
        (keep_a_deadline, "calls that have ended"),
        (keep_what_went_alone, "calls that have ended"),
    ],
)
def test_a_clerk_with_too_much(tamper: Callable[[ClerkCore], None], rule: str) -> None:
    core = clerk()
    tamper(core)
    assert rule in {each.rule for each in of_clerk(core)}


def test_one_batch_more_than_the_bytes_of_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = clerk()
    assert core.session is not None
    one = core.session.outstanding_bytes // 2
    monkeypatch.setattr(session, "OUTSTANDING_BYTES_MAX", one + 1)
    assert list(of_clerk(core)) == []
    monkeypatch.setattr(session, "OUTSTANDING_BYTES_MAX", one)
    rules = [rule for rule, _ in of_clerk(core)]
    assert rules == ["bytes of them (a clerk's batches under way)"]
