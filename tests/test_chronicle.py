"""The chronicle, told by servers that lie: each lie is found, by its own rule.

Servers here are the real replicas, but nobody carries their messages: what they
do is done to them by the test, and told to the chronicle as the simulator does.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import force_setattr

from client.clerk_core import ClerkCore
from client.primary_locator import PrimaryLocator
from pbserver.limits import Limits
from pbserver.pending_requests import PendingRequests
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.sessions import Answer, Sessions
from pbserver.store import Store
from tests.replicas import batch, body, founding, member, query, session, view
from tests.sim import chronicle
from tests.sim.chronicle import Chronicle, Violation
from tests.sim.network import End
from viewservice.views import HISTORY_MAX
from wire.commands import Put
from wire.messages import (
    EVICTED,
    NO_VIEW,
    BatchAnswer,
    BatchRefused,
    DigestIs,
    Entry,
    Forward,
    ForwardOk,
    OpenSession,
    Ping,
    QueryAnswer,
    Report,
    Request,
    View,
)

LINK = cast("End", SimpleNamespace(id=7))


class Server:
    """As `tests.sim.server.ServerProcess`: what the chronicle looks at."""

    def __init__(self, who: str) -> None:
        self.name = member(who).name
        self.member = member(who)
        self.replica = Replica(self.member, lambda: Sessions(Store()))
        self.history = self.replica.history

    is_flushed = True

    def is_leading(self) -> bool:
        return isinstance(self.replica.role, Primary)


class Court:
    """As `tests.sim.world.World`: some servers, and the chronicle."""

    def __init__(self, names: str = "A B C") -> None:
        self.servers = {who: Server(who) for who in names.split()}
        self.misfortune = self
        self.is_state_old = False
        self.chronicle = Chronicle(cast("Any", self))

    def __getitem__(self, who: str) -> Any:
        return self.servers[who]

    def process_of(self, wanted: object) -> Server | None:
        found = (each for each in self.servers.values() if each.member == wanted)
        return next(found, None)

    def moment(self) -> int:
        return self.chronicle.commit

    def moved(self, names: list[str], *, founding: bool) -> None:
        """Nothing befalls anybody here."""

    # -- what is told ---------------------------------------------------------

    def ping(self, who: str, number: int, synced: str = "") -> None:
        """The view service gets that."""
        report = Report(0, 0, None, None)
        ping = Ping(1, member(who), number, tuple(synced.split()), (), report)
        self.chronicle.pinged(ping)

    def decide(
        self,
        decided: View,
        eligible: str = "",
        *,
        acknowledged: bool = False,
        changes: int = 0,
    ) -> None:
        """The view service has that in mind."""
        views: Any = SimpleNamespace(
            view=decided,
            eligible=frozenset(eligible.split()),
            acknowledged=acknowledged,
            history=(None,) * changes,
            servers={},
        )
        self.chronicle.views(views)

    def found(self) -> None:
        """A founds the service, takes B in, and both know it."""
        self.ping("A", 0)
        self.decide(founding(1, "A"), "A")
        self.ping("A", 1)
        self.decide(founding(1, "A"), "A", acknowledged=True)
        self.ping("A", 1)
        self.move(view(2, "A", "B"), "A")
        self.ping("A", 2, "B")
        self.decide(view(2, "A", "B"), "A B", acknowledged=True)

    def move(self, new: View, eligible: str) -> None:
        """It moves to that view, which all members adopt."""
        assert new.primary is not None
        self.ping(new.primary.name, new.number - 1)
        self.decide(new, eligible)
        for each in new.members():
            self[each.name].replica.on_view(new, acknowledged=False)

    def log(self, who: str, *entries: Entry) -> None:
        """It takes these in."""
        for entry in entries:
            self[who].history.accept(entry)
        self.turn(who)

    def turn(self, who: str) -> None:
        """A turn of it is over; at its door stands what its tail has."""
        role, history = self[who].replica.role, self[who].history
        if isinstance(role, Primary):
            tail = history.log.between(history.commit, history.log.end)
            role.door = PendingRequests.of_tail(tail)
        self.chronicle.turned(self[who])

    def apply(self, who: str, entry: Entry) -> None:
        """It applies that, and answers what the rules say."""
        history = self[who].history
        answer = history.applier(entry)
        self.tell(who, entry, answer)

    def tell(self, who: str, entry: Entry, answer: Answer | None) -> None:
        """It says that it has applied that, and what it has answered."""
        server = self[who]
        self.chronicle.applied(server, server.history.state, entry, answer)

    def commit(self, leader: str, *entries: Entry, backups: str = "B") -> None:
        """Everybody has these, and then they are applied."""
        for who in (*backups.split(), leader):
            self.log(who, *entries)
        for who in (leader, *backups.split()):
            for entry in entries:
                self.apply(who, entry)
            self.turn(who)


def entry(index: int, request: Request | None = None, *, of: int = 2) -> Entry:
    return Entry(of, index, 0, request or batch(index - 1))


OPENED = entry(1, OpenSession(session()))


@pytest.fixture
def court() -> Court:
    """A leads view 2, B follows, and session 1 is open."""
    court = Court()
    court.found()
    court.commit("A", OPENED)
    return court


def refuses(rule: str, text: str) -> Any:
    return pytest.raises(Violation, match=f"^{rule}: .*{text}")


def test_every_rule_of_the_chronicle_is_broken_here() -> None:
    said = ast.parse(Path(chronicle.__file__).read_text())
    rules = {
        node.args[1].value
        for node in ast.walk(said)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "_require"
        and isinstance(node.args[1], ast.Constant)
    }
    broken = set(re.findall(r'refuses\(\s*"([^"]+)"', Path(__file__).read_text()))
    assert len(rules) >= 11
    assert rules - broken == set()


def test_the_truth_is_accepted(court: Court) -> None:
    court.commit("A", entry(2), entry(3))
    court.chronicle.heard(LINK, query(1))
    court.chronicle.saying(court["A"], LINK, QueryAnswer(1, b""))
    court.move(view(3, "B", "C", ""), "B")
    court.log("C", OPENED, entry(2), entry(3))
    court.log("B", entry(4, of=3))
    court.log("C", entry(4, of=3))
    for each in (OPENED, entry(2), entry(3)):
        court.apply("C", each)
    court.apply("B", entry(4, of=3))
    court.turn("B")
    for sequence in (1, 2, 3):
        sent = batch(sequence)
        court.chronicle.sent("c", sent, (sequence,))
    assert court.chronicle.executed() == {("c", 1): 2, ("c", 2): 3, ("c", 3): 4}
    assert court.chronicle.counts["entries"] == 4


# -- one history ---------------------------------------------------------------------


def test_another_entry_at_an_index(court: Court) -> None:
    court.commit("A", entry(2))
    other = entry(2, batch(1, b"other"))
    with refuses("one history", "B applies .*other.*and 2 is"):
        court.tell("B", other, None)


def test_an_entry_is_skipped(court: Court) -> None:
    with refuses("one history", "3 skips some"):
        court.tell("A", entry(3), None)


def test_another_answer_at_an_index(court: Court) -> None:
    court.log("B", entry(2))
    court.log("A", entry(2))
    court.apply("A", entry(2))
    court["B"].history.applier(entry(2))
    with refuses("same answers", "B answers .*other"):
        court.tell("B", entry(2), BatchAnswer(1, b"other"))


def test_another_chain_of_answers(court: Court) -> None:
    court.log("B", entry(2))
    court.log("A", entry(2))
    court.apply("A", entry(2))
    court["B"].history.state.chain ^= 1
    with refuses("same answers", "B answers"):
        court.apply("B", entry(2))


def test_another_state_at_an_index(court: Court) -> None:
    entries = [entry(2), entry(3), entry(4)]
    court.log("B", *entries)
    court.log("A", *entries)
    for each in entries:
        court.apply("A", each)
    # Nobody reads it, so no answer differs.
    court["B"].history.state.machine.apply(body(Put(b"unread", b"!")), 0)
    with refuses("same bytes", "B has another state at 4"):
        for each in entries:
            court.apply("B", each)


def test_another_history_is_installed(court: Court) -> None:
    state = Sessions(Store())
    state.apply(entry(1, OpenSession(session(9))))
    state.chain ^= 1
    with refuses("one history", "C installs another history at 1"):
        court.chronicle.installed(court["C"], state)


def test_a_state_is_installed_that_nobody_has_committed(court: Court) -> None:
    state = Sessions(Store())
    for each in (OPENED, entry(2)):
        state.apply(each)
    with refuses("one history", "C installs another history at 2"):
        court.chronicle.installed(court["C"], state)


def test_another_state_is_installed(court: Court) -> None:
    entries = [entry(2), entry(3), entry(4)]
    court.commit("A", *entries)
    state = Sessions(Store())
    for each in (OPENED, *entries):
        state.apply(each)
    state.machine.apply(body(Put(b"unread", b"!")), 0)
    with refuses("same bytes", "C has another state at 4"):
        court.chronicle.installed(court["C"], state)


def test_a_server_tells_an_observer_another_state(court: Court) -> None:
    court.commit("A", entry(2))
    state = court["A"].history.state
    court.chronicle.verified("A", DigestIs(0, 0, b""))
    court.chronicle.verified("A", DigestIs(2, state.chain, b""))
    court.chronicle.verified("A", DigestIs(2, state.chain, state.digest()))
    with refuses("same bytes", "B says that it has another state at 2"):
        court.chronicle.verified("B", DigestIs(2, state.chain, b"other"))
    with refuses("same answers", "B is at 2, having answered otherwise"):
        court.chronicle.verified("B", DigestIs(2, state.chain ^ 1, b""))
    with refuses("same answers", "B is at 3, having answered otherwise"):
        court.chronicle.verified("B", DigestIs(3, state.chain, b""))


def test_two_logs_differ_under_one_identity(court: Court) -> None:
    court.log("A", entry(2))
    with refuses("logs agree", "B: it has .*other"):
        court.log("B", entry(2, batch(1, b"other")))


def test_two_logs_differ_before_one_identity(court: Court) -> None:
    last = entry(3, of=4)
    court.log("A", entry(2, of=2), last)
    with refuses("logs agree", "C: it has"):
        court.log("C", OPENED, entry(2, of=3), last)


def test_a_primary_drops_what_it_has_logged(court: Court) -> None:
    court.log("A", entry(2), entry(3))
    court["A"].history.log.truncate(3)
    with refuses("logs agree", "A: a primary has dropped 1 entries"):
        court.turn("A")


def test_a_primary_replaces_what_it_has_logged(court: Court) -> None:
    court.log("A", entry(2), entry(3))
    court["A"].history.log.truncate(3)
    with refuses("logs agree", "A: a primary has dropped 1 entries"):
        court.log("A", entry(3, of=4), entry(4, of=4))


def test_a_backup_may_replace_its_tail(court: Court) -> None:
    court.log("B", entry(2), entry(3))
    court.log("B", entry(2, of=3))


@pytest.mark.parametrize(("verified", "commit"), [(1, 2), (3, 0)])
def test_a_backup_accepts_what_cannot_be(
    court: Court, verified: int, commit: int
) -> None:
    accepted = ForwardOk(2, 1, verified, commit)
    with refuses("logs agree", f"B says that it has applied {commit} and accepted"):
        court.chronicle.saying(court["B"], LINK, accepted)


# -- one voice -----------------------------------------------------------------------


def test_a_backup_commits_first(court: Court) -> None:
    court.log("B", entry(2))
    court.log("A", entry(2))
    with refuses("output rule", "B applies 2 first, and is no primary"):
        court.apply("B", entry(2))


def test_a_deposed_primary_commits(court: Court) -> None:
    court.log("B", entry(2))
    court.log("A", entry(2), entry(3))
    court.ping("B", 2)
    court.decide(view(3, "B"), "B")
    court["B"].replica.on_view(view(3, "B"), acknowledged=False)
    court.apply("B", entry(2))
    court.apply("A", entry(2))
    with refuses("one voice", "A commits 3 in view 2, after .* in view 3"):
        court.apply("A", entry(3))


def test_a_deposed_primary_commits_what_its_successor_has(court: Court) -> None:
    """Its successor executes what it has inherited over several turns."""
    for name in "BA":
        court.log(name, entry(2), entry(3))
    court.ping("B", 2)
    court.decide(view(3, "B"), "B")
    court["B"].replica.on_view(view(3, "B"), acknowledged=False)
    court.apply("B", entry(2))
    court.apply("A", entry(2))
    court.apply("A", entry(3))
    court.apply("B", entry(3))


def test_and_not_what_its_successor_has_logged_itself(court: Court) -> None:
    court.log("A", entry(2), entry(3))
    court.log("B", entry(2))
    court.ping("B", 2)
    court.decide(view(3, "B"), "B")
    court["B"].replica.on_view(view(3, "B"), acknowledged=False)
    court.log("B", entry(3, of=3))
    court.apply("B", entry(2))
    court.apply("A", entry(2))
    with refuses("one voice", "A commits 3 in view 2, after .* in view 3"):
        court.apply("A", entry(3))


def test_a_deposed_primary_commits_after_a_read_was_answered(court: Court) -> None:
    court.log("A", entry(2))
    successor_reads(court)
    with refuses("one voice", "A commits 2 in view 2, after .* in view 3"):
        court.apply("A", entry(2))


def test_a_deposed_primary_answers_a_read(court: Court) -> None:
    # Nothing was written since, so what it says is even true.
    successor_reads(court)
    court.chronicle.heard(LINK, query(2))
    with refuses("one voice", "A answers a query in view 2, .* in view 3"):
        court.chronicle.saying(court["A"], LINK, QueryAnswer(2, b""))


def test_a_read_that_was_asked_before_may_be_answered(court: Court) -> None:
    court.chronicle.heard(LINK, query(2))
    successor_reads(court)
    court.chronicle.saying(court["A"], LINK, QueryAnswer(2, b""))


def successor_reads(court: Court) -> None:
    """B takes over, A never hears of it, and B answers a read."""
    court.ping("B", 2)
    court.decide(view(3, "B"), "B")
    court["B"].replica.on_view(view(3, "B"), acknowledged=False)
    court.chronicle.heard(LINK, query(1))
    court.chronicle.saying(court["B"], LINK, QueryAnswer(1, b""))


def test_a_read_misses_what_was_committed_before_it_was_asked(court: Court) -> None:
    court.log("B", entry(2))
    court.log("A", entry(2))
    court.apply("A", entry(2))
    court.chronicle.heard(LINK, query(1))
    with refuses("reads are fresh", "B answers a query from 1, and 2 was committed"):
        court.chronicle.saying(court["B"], LINK, QueryAnswer(1, b""))


# -- who may lead --------------------------------------------------------------------


def test_who_is_eligible_lacks_what_is_committed(court: Court) -> None:
    court.log("A", entry(2))
    with refuses("no empty promotion", "B is eligible in view 2 and lacks entry 2"):
        court.apply("A", entry(2))


def test_who_is_eligible_has_another_entry_there(court: Court) -> None:
    court.log("A", entry(2))
    court.log("B", entry(2, of=3))
    with refuses("no empty promotion", "B is eligible in view 2 and lacks entry 2"):
        court.apply("A", entry(2))


def test_who_is_eligible_drops_what_is_committed(court: Court) -> None:
    court.log("A", entry(2))
    court.log("B", entry(2))
    court.apply("A", entry(2))
    court["B"].history.log.truncate(2)
    with refuses("no empty promotion", "B is eligible in view 2 and lacks entry 2"):
        court.turn("B")


def test_a_newcomer_is_called_synced_and_lacks_something(court: Court) -> None:
    court.move(view(3, "A", "C"), "A")
    with refuses("no empty promotion", "C is eligible in view 3 and lacks entry 1"):
        court.ping("A", 3, "C")


def ill_formed(**fields: object) -> View:
    """View 3 with A as its primary, but for these fields; nothing else can make it."""
    made = view(3, "A")
    for name, value in fields.items():
        force_setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("decided", "eligible", "pings", "text"),
    [
        (view(4, "A"), "A", "A", "view 4 follows view 2"),
        (view(1, "A"), "A", "A", "view 1 follows view 2"),
        (ill_formed(backups=(member("A"),)), "A", "A", "has members"),
        (ill_formed(backups=(member("C"),) * 2), "A", "A", "has members"),
        (ill_formed(primary=None), "", "A", "has members"),
        (view(3, "A", "B"), "A", "A", "view 3 is view 2"),
        (founding(3, "A"), "A", "A", "is founding, and something may be answered"),
        (view(3, "C", "A"), "C", "C", "C leads view 3, not being eligible"),
        (view(3, "B'"), "B", "B'", "B leads view 3, not being eligible"),
        (view(3, "A", "C", "C"), "A C", "A", "has holders"),
        (view(3, "A", "B'", "B"), "A B", "A", "has holders"),
        (view(3, "B", "C"), "B", "A", "B leads view 3, and did not ping"),
        (view(3, "B", "C"), "B C", "B", "eligible .*and not just"),
    ],
)
def test_a_view_that_may_not_be(
    court: Court, decided: View, eligible: str, pings: str, text: str
) -> None:
    court.ping(pings, 2)
    with refuses("views are well formed", text):
        court.decide(decided, eligible)


def test_a_view_that_nobody_asked_for(court: Court) -> None:
    with refuses("views are well formed", "A leads view 3, and did not ping"):
        court.decide(view(3, "A", "C"), "A")


def test_two_views_of_one_number(court: Court) -> None:
    with refuses("one voice", "two views 2"):
        court.decide(view(2, "A", "C"), "A")


def test_somebody_becomes_eligible_without_his_primarys_word(court: Court) -> None:
    court.move(view(3, "A", "C"), "A")
    with refuses("views are well formed", "eligible .*and not just"):
        court.decide(view(3, "A", "C"), "A C")


@pytest.mark.parametrize(("who", "number"), [("C", 3), ("A", 2), ("A'", 3)])
def test_a_view_is_acknowledged_by_somebody_else(
    court: Court, who: str, number: int
) -> None:
    court.move(view(3, "A", "C"), "A")
    court.log("C", OPENED)
    court.ping(who, number, "C")
    with refuses("views are well formed", "view 3 is acknowledged, and its primary"):
        court.decide(view(3, "A", "C"), "A", acknowledged=True)


def test_a_view_is_acknowledged_before_all_are_in_step(court: Court) -> None:
    court.move(view(3, "A", "B C", "B"), "A B")
    court.ping("A", 3, "B")
    with refuses("views are well formed", "view 3 is acknowledged, and its primary"):
        court.decide(view(3, "A", "B C", "B"), "A B", acknowledged=True)


@pytest.mark.parametrize("backups", ["B C", "C B"])
def test_a_place_is_filled_before_the_acknowledgement(
    court: Court, backups: str
) -> None:
    court.move(view(3, "A", "C"), "A")
    with refuses("views are well formed", "view 4 came, and 3 was unacknowledged"):
        court.move(view(4, "A", backups), "A")


def test_backups_may_leave_an_unacknowledged_view(court: Court) -> None:
    court.move(view(3, "A", "C"), "A")
    court.move(view(4, "A", "B"), "A")
    court.move(view(5, "A"), "A")


# -- what is told --------------------------------------------------------------------


def test_a_batch_is_refused_and_executed_later(court: Court) -> None:
    court.chronicle.sent("c", batch(1), (1,))
    court.chronicle.heard(LINK, batch(1))
    court.chronicle.saying(court["A"], LINK, BatchRefused(1, EVICTED))
    court.commit("A", entry(2))
    with refuses("refusals are final", "batch 1 of c is executed at 2, .* 1 was"):
        court.chronicle.executed()


def test_a_refusal_comes_from_somebody_who_cannot_know(court: Court) -> None:
    court.chronicle.heard(LINK, batch(1, opened_index=1))
    with refuses("refusals are final", "C refuses a batch .* opened at 1, from 0"):
        court.chronicle.saying(court["C"], LINK, BatchRefused(1, EVICTED))


def executes(court: Court, *requests: tuple[Request, Answer]) -> None:
    """These answers are given, whatever the rules say."""
    for index, (request, answer) in enumerate(requests, 2):
        each = entry(index, request)
        for who in "BA":
            court.log(who, each)
        court.tell("A", each, answer)


def test_one_batch_gets_two_answers(court: Court) -> None:
    court.chronicle.sent("c", batch(1), (1,))
    one, other = BatchAnswer(1, b"1"), BatchAnswer(1, b"2")
    executes(court, (batch(1), one), (batch(1), other))
    with refuses("same bytes", "two answers"):
        court.chronicle.executed()


def test_a_batch_overtakes_another_of_its_session(court: Court) -> None:
    for sequence in (1, 2):
        court.chronicle.sent("c", batch(sequence), (sequence,))
    executes(court, (batch(2), BatchAnswer(2, b"")), (batch(1), BatchAnswer(1, b"")))
    with refuses("session order", "batch 2 of c is executed at 2, 1 was due"):
        court.chronicle.executed()


def test_a_call_is_executed_in_two_sessions(court: Court) -> None:
    again = batch(1, of=2)
    court.chronicle.sent("c", batch(1), (1, 2))
    court.chronicle.sent("c", again, (2,))
    executes(court, (batch(1), BatchAnswer(1, b"")), (again, BatchAnswer(1, b"")))
    with refuses("at most once", "call 2 of c is executed at 2 and at 3"):
        court.chronicle.executed()


def test_a_batch_is_executed_that_nobody_sent(court: Court) -> None:
    executes(court, (batch(1), BatchAnswer(1, b"")))
    with refuses("one history", "nobody has sent what 2 has"):
        court.chronicle.executed()


# -- limits --------------------------------------------------------------------------


def test_a_server_keeps_too_much(court: Court) -> None:
    court["B"].history.state.sessions_max = 0
    court.log("A", entry(2))
    court.log("B", entry(2))
    court.apply("A", entry(2))
    court.apply("B", entry(2))
    with refuses("sessions", "B: 1, and 0 may be"):
        court.turn("B")


def test_a_primary_sends_too_much_at_once(court: Court) -> None:
    court["A"].replica.limits = Limits(forward_bytes_max=1)
    alone, together = (entry(2),), (entry(2), entry(3))
    court.chronicle.saying(court["A"], LINK, Forward(2, 1, 0, 0, alone))
    with refuses("entries of one Forward", "A: .* in 2 entries"):
        court.chronicle.saying(court["A"], LINK, Forward(2, 1, 0, 0, together))


def test_a_clerk_keeps_what_has_ended(court: Court) -> None:
    core = ClerkCore(PrimaryLocator(1))
    court.chronicle.called("c", core)
    core.given_up.add(3)
    with refuses("calls that have ended", r"c: \[3\] are kept as given up"):
        court.chronicle.called("c", core)


def test_the_view_service_remembers_too_much(court: Court) -> None:
    with refuses("changes in its history", "views: 101"):
        court.decide(view(2, "A", "B"), "A B", changes=HISTORY_MAX + 1)


def test_before_the_first_view_nothing_is_decided() -> None:
    Court().decide(NO_VIEW)
