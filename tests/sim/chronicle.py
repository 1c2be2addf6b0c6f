"""
What really happened, written down by somebody who sees every process at once.

The chronicle holds the one true history, and raises a `Violation` the moment
that a process contradicts it: another entry or another answer at an index,
another state at the same index, two logs that differ before the same identity,
somebody eligible who lacks what is committed, somebody who commits or answers a
read after his successor did, a read that misses what was committed before it
was asked, a view that may not be, somebody who keeps more than its limits.
What can only be judged in the end (the order of operations, the truth that
clerks were told) is the business of the checkers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from client.clerk_core import ClerkCore
from pbserver.log import Log
from pbserver.sessions import Answer, Sessions
from tests.sim import checker_bounds
from tests.sim.checker_bounds import Excess
from tests.sim.checker_logs import Logs
from tests.sim.network import End
from viewservice.views import Views
from wire.messages import (
    EVICTED,
    NO_VIEW,
    Batch,
    BatchAnswer,
    BatchRefused,
    DigestIs,
    Entry,
    Forward,
    ForwardOk,
    Member,
    Message,
    Ping,
    Query,
    QueryAnswer,
    View,
    counter_of,
)

if TYPE_CHECKING:
    from tests.sim.server import ServerProcess
    from tests.sim.world import World

#: Every so many entries the whole state is compared, too.
DIGEST_EVERY = 4


class Violation(Exception):  # noqa: N818 -- of a promise, in whoever is watched
    """A promise was broken: *rule* says which, *text* by what."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.rule = rule
        self.text = text

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


class Chronicle:
    """Everything that was committed, and who might carry it on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.entries: list[Entry] = []
        #: When each of them was committed; see `tests.sim.world.World.moment`.
        self.moments: list[int] = []
        self._answers: list[Answer | None] = []
        self._chains: list[int] = []
        self._digests: dict[int, bytes] = {}
        #: (session, opened_index, sequence) -> the answer's bytes, once given.
        self._told: dict[tuple[bytes, int, int], bytes] = {}
        #: (session, opened_index, sequence) -> the clerk, and its calls.
        self.batches: dict[tuple[bytes, int, int], tuple[str, tuple[int, ...]]] = {}
        #: The newest view in which anything was committed, or a read answered.
        self._completed_view = 0
        #: The entries that its primary inherited, and that were not committed then:
        #: index -> view.
        self._inherited: dict[int, int] = {}
        self._logs = Logs()
        #: How a server stood when its last turn was over.
        self._before: dict[ServerProcess, checker_bounds.Measures] = {}
        self.view: View = NO_VIEW
        #: The numbers of all views so far.
        self._numbers: set[int] = set()
        self.eligible: frozenset[str] = frozenset()
        #: Was any view ever acknowledged?
        self._is_founded = False
        #: The last view of which the primary has said that all are in step.
        self._in_step = 0
        #: Whose ping the view service looks at.
        self._pinging: Member | None = None
        #: (link, query) -> what was committed when it was asked, and the newest
        #: view in which anything had been completed.
        self._asked: dict[tuple[int, int], tuple[int, int]] = {}
        #: (link, sequence) -> the last batch that came.
        self._came: dict[tuple[int, int], Batch] = {}
        #: (session, opened_index, sequence) -> what was committed when it was refused.
        self._refused: dict[tuple[bytes, int, int], int] = {}
        #: How many views were made, entries committed, snapshots installed, ...
        self.counts: dict[str, int] = {}

    @property
    def commit(self) -> int:
        """How far anybody has ever committed."""
        return len(self.entries)

    def count(self, what: str) -> None:
        """One more of those."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- one history ----------------------------------------------------------

    def applied(
        self,
        server: ServerProcess,
        state: Sessions,
        entry: Entry,
        answer: Answer | None,
    ) -> None:
        """*server* has applied *entry*."""
        index = entry.index
        if index > self.commit:
            self._committed(server, entry, answer, state.chain)
        at = index - 1
        self._require(
            entry == self.entries[at],
            "one history",
            f"{server.name} applies {entry}, and {index} is {self.entries[at]}",
        )
        self._require(
            answer == self._answers[at] and state.chain == self._chains[at],
            "same answers",
            f"{server.name} answers {answer} at {index}, not {self._answers[at]}",
        )
        if index % DIGEST_EVERY == 0:
            self._compare(server, state)

    def _committed(
        self, server: ServerProcess, entry: Entry, answer: Answer | None, chain: int
    ) -> None:
        """Somebody is the first to apply an entry, which commits it."""
        replica = server.replica
        number = replica.view.counter
        self._require(
            server.is_leading(),
            "output rule",
            f"{server.name} applies {entry.index} first, and is no primary",
        )
        # What its successor has inherited is completed there in any case.
        self._require(
            number >= self._completed_view
            or self._inherited.get(entry.index) == entry.view,
            "one voice",
            f"{server.name} commits {entry.index} in view {number}, after others"
            f" completed something in view {self._completed_view}",
        )
        self._require(
            entry.index == self.commit + 1, "one history", f"{entry.index} skips some"
        )
        self._completed_in(number, replica.history.log)
        self.entries.append(entry)
        self.moments.append(self._world.moment())
        self._answers.append(answer)
        self._chains.append(chain)
        self.count("entries")
        for member in self.heirs():
            self._holds(member)

    def _completed_in(self, number: int, log: Log) -> None:
        """Something is completed in that view, by a primary with that log."""
        if number <= self._completed_view:
            return
        self._completed_view = number
        self._inherited = {
            entry.index: entry.view
            for entry in log.between(max(self.commit, log.base_index), log.end)
            if counter_of(entry.view) < number
        }

    def installed(self, server: ServerProcess, state: Sessions) -> None:
        """*server* has installed a snapshot."""
        self.count("snapshots")
        self._require(
            state.index <= self.commit and state.chain == self._chains[state.index - 1],
            "one history",
            f"{server.name} installs another history at {state.index}",
        )
        self._compare(server, state)

    def _compare(self, server: ServerProcess, state: Sessions) -> None:
        digest = state.digest()
        known = self._digests.setdefault(state.index, digest)
        self._require(
            known == digest,
            "same bytes",
            f"{server.name} has another state at {state.index}",
        )

    def verified(self, name: str, told: DigestIs) -> None:
        """A server has told an observer what its state is."""
        self.count("digests" if told.digest else "positions")
        if not told.index:
            return
        self._require(
            told.index <= self.commit and told.chain == self._chains[told.index - 1],
            "same answers",
            f"{name} is at {told.index}, having answered otherwise",
        )
        if told.digest:
            known = self._digests.setdefault(told.index, told.digest)
            self._require(
                known == told.digest,
                "same bytes",
                f"{name} says that it has another state at {told.index}",
            )

    # -- who may lead ---------------------------------------------------------

    def heirs(self) -> list[ServerProcess]:
        """The processes that are eligible now."""
        found = []
        for member in self.view.members():
            process = self._world.process_of(member)
            if member.name in self.eligible and process is not None:
                found.append(process)
        return found

    def _holds(self, server: ServerProcess) -> None:
        """Whoever may become primary holds everything that was committed."""
        last, history = self.commit, server.history
        if last and history.commit < last:
            self._require(
                history.log.view_at(last) == self.entries[-1].view,
                "no empty promotion",
                f"{server.name} is eligible in view {self.view.counter} and lacks entry"
                f" {last}: its log is {history.log.base_index}..{history.log.end}",
            )

    def pinged(self, ping: Ping) -> None:
        """The view service is about to look at a ping: a primary's word for its
        backups makes them eligible, also for the view that this ping makes."""
        view = self.view
        self._pinging = ping.member
        if ping.number == view.number and ping.member.is_same_copy(view.primary):
            backups = {member.name for member in view.backups}
            self.eligible |= backups.intersection(ping.synced)
            if backups <= set(ping.synced):
                self._in_step = view.number
            for server in self.heirs():
                self._holds(server)

    def views(self, views: Views) -> None:
        """The view service has decided something, and is about to tell it."""
        self._bounded("views", checker_bounds.of_views(views))
        view = views.view
        if not view.number:
            return  # Nothing was decided; whoever has lost its memory, too.
        if self._world.is_state_old and view.number in self._numbers:
            return  # In its old state that was so.
        if view.number != self.view.number:
            self._moved(views)
        elif self.view.number:
            self._require(view == self.view, "one voice", f"two views {view.counter}")
        self._require(
            views.eligible <= self.eligible,
            "views are well formed",
            f"eligible {set(views.eligible)}, and not just {set(self.eligible)}",
        )
        self._require(
            not views.acknowledged or self._in_step == view.number,
            "views are well formed",
            f"view {view.counter} is acknowledged, and its primary never said so",
        )
        self.view, self.eligible = view, views.eligible
        self._numbers.add(view.number)
        self._is_founded = self._is_founded or views.acknowledged
        self._pinging = None

    def _moved(self, views: Views) -> None:
        old, new = self.view, views.view
        self.count("views")
        names = [member.name for member in new.members()]
        problem = ""
        if new.counter != old.counter + 1:
            problem = f"view {new.counter} follows view {old.counter}"
        elif new.primary is None or len(set(names)) != len(names):
            problem = f"view {new.counter} has members {names}"
        elif new.members() == old.members():
            problem = f"view {new.counter} is view {old.counter}"
        elif new.founding and (self._is_founded or self.commit):
            problem = f"view {new.counter} is founding, and something may be answered"
        elif not new.founding and not self._was_eligible(new.primary):
            problem = f"{new.primary.name} leads view {new.counter}, not being eligible"
        elif not all(self._was_eligible(new.backup(name)) for name in new.holders):
            problem = f"view {new.counter} has holders {new.holders}"
        elif not new.primary.is_same_copy(self._pinging):
            problem = f"{new.primary.name} leads view {new.counter}, and did not ping"
        elif not self._may_move(old, new):
            problem = f"view {new.counter} came, and {old.counter} was unacknowledged"
        self._require(not problem, "views are well formed", problem)
        self._world.misfortune.moved(names, founding=new.founding)
        # Those who leave are eligible no more, whoever comes under their names.
        self.eligible = frozenset(
            member.name
            for member in new.members()
            if self._was_eligible(member) or new.founding
        )

    def _may_move(self, old: View, new: View) -> bool:
        """The gate: while a view is unacknowledged its primary may be replaced,
        and backups may leave, but no place is filled that was free."""
        if self._in_step == old.number or not old.number or new.primary is None:
            return True
        if not new.primary.is_same_copy(old.primary):
            return True
        stay = [each for each in old.backups if each in new.backups]
        return len(stay) < len(old.backups) >= len(new.backups)

    def _was_eligible(self, member: Member | None) -> bool:
        return (
            member is not None
            and member.name in self.eligible
            and any(member.is_same_copy(each) for each in self.view.members())
        )

    # -- what is told ---------------------------------------------------------

    def sent(self, clerk: str, batch: Batch, calls: tuple[int, ...]) -> None:
        """A clerk sends those calls together."""
        self.batches[batch.session, batch.opened_index, batch.sequence] = clerk, calls

    def heard(self, link: End, message: Message) -> None:
        """A server has got a message."""
        if isinstance(message, Query):
            self._asked[link.id, message.id] = self.commit, self._completed_view
        elif isinstance(message, Batch):
            self._came[link.id, message.sequence] = message

    def turned(self, server: ServerProcess) -> None:
        """A server has done something."""
        replica, log = server.replica, server.history.log
        problem = self._logs.look(replica.me, log, leads=server.is_leading())
        self._require(not problem, "logs agree", f"{server.name}: {problem}")
        before = self._before.get(server)
        if server.is_flushed:
            now = checker_bounds.measured(replica)
            self._bounded(server.name, checker_bounds.of_server(replica, now, before))
            self._before[server] = now
        elif before is not None and server.reads_clerks:
            # A turn's end may have begun the next one, and let clerks speak in it.
            self._before[server] = before._replace(is_accepting=True)
        if server.name in self.eligible and server in self.heirs():
            self._holds(server)

    def called(self, clerk: str, core: ClerkCore) -> None:
        """A clerk has done something."""
        self._bounded(clerk, checker_bounds.of_clerk(core))

    def _bounded(self, who: str, found: Iterable[Excess]) -> None:
        for rule, text in found:
            raise Violation(rule, f"{who}: {text}")

    def saying(self, server: ServerProcess, link: End, message: Message) -> None:
        """A server is about to send a message."""
        if isinstance(message, QueryAnswer):
            asked, completed = self._asked.pop((link.id, message.id), (0, 0))
            applied, number = server.history.commit, server.replica.view.counter
            self._require(
                applied >= asked,
                "reads are fresh",
                f"{server.name} answers a query from {applied}, and {asked} was"
                " committed when it was asked",
            )
            if server.is_leading():
                self._require(
                    number >= completed,
                    "one voice",
                    f"{server.name} answers a query in view {number}, and before it"
                    f" was asked others completed something in view {completed}",
                )
                self._completed_in(number, server.history.log)
        elif isinstance(message, ForwardOk):
            self._require(
                message.commit <= message.verified <= server.history.log.end,
                "logs agree",
                f"{server.name} says that it has applied {message.commit} and accepted"
                f" {message.verified} of {server.history.log.end}",
            )
        elif isinstance(message, Forward):
            found = checker_bounds.of_forward(server.replica, link, message)
            self._bounded(server.name, found)
        elif isinstance(message, BatchAnswer):
            self.count("answers")
        elif isinstance(message, BatchRefused) and message.reason == EVICTED:
            self.count("evicted")
            batch = self._came[link.id, message.sequence]
            self._require(
                server.history.commit >= batch.opened_index,
                "refusals are final",
                f"{server.name} refuses a batch of a session that was opened at"
                f" {batch.opened_index}, from {server.history.commit}",
            )
            key = (batch.session, batch.opened_index, batch.sequence)
            self._refused.setdefault(key, self.commit)

    def executed(self) -> dict[tuple[str, int], int]:
        """(clerk, call) -> the index at which it was executed."""
        found: dict[tuple[str, int], int] = {}
        last: dict[tuple[bytes, int], int] = {}
        for entry, answer in zip(self.entries, self._answers, strict=True):
            batch = entry.request
            if isinstance(batch, Batch) and isinstance(answer, BatchAnswer):
                key = (batch.session, batch.opened_index, batch.sequence)
                if key not in self._told:
                    self._first_executed(entry.index, key, found, last)
                told = self._told.setdefault(key, answer.body)
                self._require(
                    told == answer.body, "same bytes", f"two answers to {key}"
                )
        return found

    def _first_executed(
        self,
        index: int,
        key: tuple[bytes, int, int],
        found: dict[tuple[str, int], int],
        last: dict[tuple[bytes, int], int],
    ) -> None:
        session, opened_index, sequence = key
        self._require(
            key in self.batches, "one history", f"nobody has sent what {index} has"
        )
        clerk, calls = self.batches[key]
        self._require(
            index <= self._refused.get(key, index),
            "refusals are final",
            f"batch {sequence} of {clerk} is executed at {index}, and was refused"
            f" when {self._refused.get(key)} was committed",
        )
        due = last.get((session, opened_index), 0) + 1
        self._require(
            sequence == due,
            "session order",
            f"batch {sequence} of {clerk} is executed at {index}, {due} was due",
        )
        last[session, opened_index] = sequence
        for call in calls:
            before = found.setdefault((clerk, call), index)
            self._require(
                before == index,
                "at most once",
                f"call {call} of {clerk} is executed at {before} and at {index}",
            )

    def _require(self, truth: bool, rule: str, text: str) -> None:
        if not truth:
            raise Violation(rule, text)
