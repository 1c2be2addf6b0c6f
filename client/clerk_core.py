"""
A clerk's conversation with the service: which calls are said to the primary
when, what their answers mean, and how each call ends.

Pure.  Events go in as method calls with the time in milliseconds; what has
ended comes back as values; what to say comes from `flush`, whom to be connected
to and when to ask the view service is read off `locator`, and `wake_ms`
says when to call `tick` at the latest.

The laws here: every call ends exactly once, and with the truth; writes take
effect in the order of the calls, each at most once; a read sees every write
called before it (``docs/design.md``, sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define, field, setters
from attrs.validators import and_, ge, le

from client.bodies import Ended, join, outcomes
from client.calls import Calls, Commands
from client.closing import Closing
from client.errors import ClerkError, InDoubt, NotExecuted, WrongCluster
from client.primary_locator import PrimaryLocator
from client.queries import Queries
from client.session import Session
from wire.messages import (
    CLERK,
    EVICTED,
    NO_SESSION,
    TOO_LARGE,
    VERSION,
    WINDOW_MAX,
    BatchAnswer,
    BatchRefused,
    Goodbye,
    Hello,
    Message,
    Query,
    QueryAnswer,
    Redirect,
    SessionClosed,
    SessionOpened,
    ViewIs,
)


@define(eq=False, on_setattr=setters.NO_OP)
class ClerkCore:
    """Everything that one clerk knows."""

    locator: PrimaryLocator

    #: How many batches, and how many queries, may be outstanding.
    window: int = field(default=8, validator=and_(ge(1), le(WINDOW_MAX)))

    calls: Calls = field(factory=Calls)

    #: None until something is to be written, and after an eviction.
    session: Session | None = field(default=None, init=False)

    queries: Queries = field(factory=Queries, init=False)

    #: Calls that have ended although their batch or query is outstanding: what
    #: becomes of it interests nobody, but it keeps its place.
    given_up: set[int] = field(factory=set, init=False)

    closing: Closing = field(factory=Closing, init=False)

    #: What was said on this connection to the primary.
    _said_opening: bool = field(default=False, init=False)
    _said_again: bool = field(default=False, init=False)
    _said_closing: bool = field(default=False, init=False)

    #: Why this conversation cannot go on, if it met another cluster.
    _wrong_cluster: str = field(default="", init=False)

    # -- what to do, read off the state ------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether any answer is waited for, or anything waits to be said."""
        return self.is_outstanding or bool(self.calls.writes or self.calls.reads)

    @property
    def is_outstanding(self) -> bool:
        """Whether anything was said that has no answer yet."""
        return bool(self.queries.outstanding) or (
            self.session is not None and bool(self.session.outstanding)
        )

    @property
    def is_finished(self) -> bool:
        """Whether nothing will ever happen here any more."""
        return self.closing.is_over

    @property
    def has_more_to_say(self) -> bool:
        """Whether `flush` may have something to say."""
        return self.locator.is_open and (
            bool(self.calls.writes or self.calls.reads)
            or not self._said_again
            or self.closing.is_last_word
        )

    @property
    def needs_session(self) -> bool:
        """Whether `open_session` must be called for writes to go on."""
        return self.session is None and bool(self.calls.writes)

    def hello(self) -> Hello:
        """How a clerk introduces itself."""
        view = self.locator.view.number
        return Hello(VERSION, CLERK, self.locator.cluster, view)

    def wake_ms(self) -> int | None:
        """When to tick next at the latest; None: nothing is waited for."""
        if self.is_finished:
            return None
        times = (
            self.locator.wake_ms(),
            self.calls.deadline_ms(),
            self.closing.wake_ms(),
        )
        return min((at for at in times if at is not None), default=None)

    def flush(self) -> list[Message]:
        """All that is to be said to the primary now, in order."""
        messages: list[Message] = []
        if not self.locator.is_open:
            return messages
        if (session := self.session) is not None:
            if session.opened_index is not None:
                if not self._said_again:
                    self._said_again = True
                    messages += session.again()
                while self.calls.writes and session.has_room(self.window):
                    writes = self.calls.take_writes()
                    messages.append(session.batch(tuple(writes), join(writes.values())))
            elif not self._said_opening:
                self._said_opening = True
                messages.append(session.opening())
        while self.calls.reads and self.queries.has_room(self.window):
            if not (reads := self.calls.take_reads()):
                break
            messages.append(self._ask(reads))
        if self.closing.is_last_word and not self._said_closing:
            self._said_closing = True
            if session is not None and (last_word := session.closing()) is not None:
                messages.append(last_word)
        return messages

    def _ask(self, reads: Commands) -> Query:
        session = self.session
        if session is None or not session.outstanding:
            # What was answered is committed, so whoever answers has it.  To name
            # the session all the same could be to wait for ever: evicted, and
            # opened again by a late copy of its opening, it is empty.
            return self.queries.ask(reads, NO_SESSION, 0)
        # What was sent is sent again before any query, so to name the last is
        # never to wait for longer; and it holds for every read in here.
        return self.queries.ask(reads, session.id, session.last)

    # -- calls -------------------------------------------------------------------

    def write(self, command: bytes, now_ms: int, deadline_ms: int | None = None) -> int:
        """A write was called -> its number.  Raises NotExecuted."""
        self._admit(command)
        number = self.calls.write(command)
        self._expect(number, now_ms, deadline_ms)
        return number

    def read(
        self,
        command: bytes,
        now_ms: int,
        deadline_ms: int | None = None,
        *,
        alone: bool = False,
    ) -> int:
        """A read was called -> its number.  Raises NotExecuted.

        *alone*: it is to share its answer, which has a limit, with no other.
        """
        self._admit(command)
        number = self.calls.read(command, alone=alone)
        self._expect(number, now_ms, deadline_ms)
        return number

    def _expect(self, number: int, now_ms: int, deadline_ms: int | None) -> None:
        if deadline_ms is None:
            self.locator.expect(now_ms)
        else:
            self.calls.set_deadline(number, deadline_ms, now_ms)
            self.locator.expect(now_ms, (now_ms + deadline_ms) // 2)

    def _admit(self, command: bytes) -> None:
        if self._wrong_cluster:
            raise WrongCluster(self._wrong_cluster)
        if self.closing.is_begun:
            raise NotExecuted("the clerk is closed")
        if self.calls.is_full(len(command)):
            raise NotExecuted(
                f"{len(self.calls.writes) + len(self.calls.reads)} calls wait to be "
                f"sent, which is the limit; {self.locator.obstacle}"
            )

    def open_session(self, session_id: bytes) -> None:
        """128 random bits for the next session; see `needs_session`."""
        assert self.session is None, "a session is replaced only when it has ended"
        self.session = Session(session_id)

    def give_up(self, number: int, now_ms: int, why: str = "cancelled") -> Ended:
        """Nobody waits for that call any more."""
        outcome = self._abandon(number, why)
        if outcome is None:
            return []
        self.calls.ended((number,))
        return [(number, outcome), *self._settle(now_ms)]

    def _abandon(self, number: int, why: str) -> ClerkError | None:
        """How a call ends that gets no answer; None: it has ended before."""
        obstacle = self.locator.obstacle
        if self.calls.drop(number):
            return NotExecuted(f"{why} before it was sent: {obstacle}")
        if number in self.given_up:
            return None
        if self.queries.has(number):
            self.given_up.add(number)
            return NotExecuted(f"{why} before this read was answered: {obstacle}")
        if self.session is not None and self.session.has(number):
            self.given_up.add(number)
            return InDoubt(f"{why} after it was sent, before its answer: {obstacle}")
        return None

    def close(self, now_ms: int, deadline_ms: int | None = None) -> Ended:
        """No more calls.  Those that were made go on until *deadline_ms*."""
        self.closing.begin(deadline_ms)
        return self._settle(now_ms)

    # -- the view service --------------------------------------------------------

    def views_opened(self, hello: Hello) -> Ended:
        """A view service has introduced itself."""
        self.locator.views_opened()
        return self._check_cluster(hello.cluster) if hello.cluster else []

    def views_said(self, message: ViewIs, now_ms: int) -> Ended:
        """The view service says what the newest view is."""
        ended: Ended = []
        if self.is_finished:
            return ended
        if message.view.number > 0:
            # Nothing belongs to a cluster before its first view.
            ended = self._check_cluster(message.cluster)
            if self.is_finished:
                return ended
            self.locator.cluster = message.cluster
        self.locator.learn(message.view, now_ms)
        self.locator.views_answered()
        return ended

    def views_surveyed(self, address: str, cluster: bytes) -> Ended:
        """A view service was found at another of the addresses that were given."""
        mine = self.locator.cluster
        if cluster == mine or not mine:
            return []
        return self._leave(
            f"the addresses of the view service are of two clusters: {address} is of "
            f"{cluster.hex()}, this clerk of {mine.hex()}; make a new clerk with "
            "addresses of one cluster only"
        )

    def views_refused(self, goodbye: Goodbye) -> Ended:
        """The view service has closed the connection, and says why."""
        if goodbye.reason == "cluster":
            return self._leave(f"the view service says: {goodbye.text}")
        return []

    def views_failed(self, address: str, reason: str) -> None:
        """The connection to the view service at *address* is lost, or could not
        be made; the next attempt follows."""
        self.locator.views_failed(address, reason)

    def _check_cluster(self, cluster: bytes) -> Ended:
        mine = self.locator.cluster
        if not mine or cluster == mine:
            return []
        return self._leave(
            f"the view service belongs to cluster {cluster.hex()}, "
            f"this clerk to {mine.hex()}; make a new clerk to go on with the other"
        )

    def _leave(self, text: str) -> Ended:
        """There is nothing here that this clerk belongs to."""
        if self.is_finished:
            return []
        self._wrong_cluster = text
        ended: Ended = []
        for number, how in self._abandon_all("another cluster was met"):
            is_doubt = type(how) is InDoubt
            ended.append((number, how if is_doubt else WrongCluster(text)))
        self._finish()
        return ended

    # -- the primary -------------------------------------------------------------

    def link_opened(self, attempt: int, hello: Hello, now_ms: int) -> Goodbye | None:
        """The connection of that number stands; a `Goodbye` refuses it."""
        refusal = self.locator.link_opened(attempt, hello, now_ms)
        if refusal is None:
            self._said_opening = self._said_again = self._said_closing = False
            self._put_back({})
        return refusal

    def link_closed(self, attempt: int, reason: str, now_ms: int) -> Ended:
        """The connection of that number is gone."""
        self.locator.link_closed(attempt, reason, now_ms)
        return self._settle(now_ms)

    def dial_failed(self, attempt: int, reason: str, now_ms: int) -> None:
        """An attempt to make the connection of that number failed; the next one
        follows."""
        self.locator.dial_failed(attempt, reason, now_ms)

    def received(self, attempt: int, message: Message, now_ms: int) -> Ended:
        """The server at the other end of that connection said something."""
        where = self.locator
        if not where.is_open or where.dial is None or where.dial[0] != attempt:
            return []
        ended: Ended = []
        match message:
            case BatchAnswer(sequence, body):
                where.heard(now_ms)
                ended = self._batch_answered(sequence, body)
            case QueryAnswer(query, body):
                where.heard(now_ms)
                ended = self._query_answered(query, body)
            case SessionOpened(session_id, opened_index):
                where.arrived(now_ms)
                if self.session is not None and self.session.id == session_id:
                    self.session.opened(opened_index)
            case SessionClosed():
                if self.closing.is_last_word:
                    self._finish()
            case BatchRefused(sequence, reason):
                ended = self._refused(sequence, reason, now_ms)
            case Redirect(view):
                where.refused(view, now_ms)
        return ended + self._settle(now_ms)

    def _batch_answered(self, sequence: int, body: bytes) -> Ended:
        if self.session is None or (calls := self.session.answered(sequence)) is None:
            return []  # It had its answer before.
        return self._answered(calls, body, InDoubt) + self._read_out()

    def _query_answered(self, query: int, body: bytes) -> Ended:
        self.queries.answered(query, body)
        return self._read_out()

    def _read_out(self) -> Ended:
        write = None if self.session is None else self.session.first_call()
        ended: Ended = []
        for reads, body in self.queries.take_answers(write):
            ended += self._answered(tuple(reads), body, NotExecuted)
        return ended

    def _answered(
        self, numbers: tuple[int, ...], body: bytes, unreadable: type[ClerkError]
    ) -> Ended:
        """The answers of a batch or a query, command by command."""
        self.calls.ended(numbers)
        answers = outcomes(body, len(numbers), unreadable)
        ended = list(zip(numbers, answers, strict=True))
        if self.given_up:
            ended = [pair for pair in ended if pair[0] not in self.given_up]
            self.given_up.difference_update(numbers)
        return ended

    def _refused(self, sequence: int, reason: str, now_ms: int) -> Ended:
        """The session is at its end.  What can go on goes on in a new one, and
        on a new connection, where no late answer of the old session can be
        taken for one of the new."""
        session = self.session
        if session is None or sequence not in session.outstanding:
            return []
        if reason not in {EVICTED, TOO_LARGE}:
            self.locator.distrust(f"it refused a batch: {reason!r}", now_ms)
            return []
        told, again = session.refused(sequence, reason)
        numbers = [number for number, _ in told]
        ended = [pair for pair in told if pair[0] not in self.given_up]
        self.given_up.difference_update(numbers)
        self.calls.ended(numbers)
        self.session = None
        self._put_back(again)
        self.locator.reconnect(f"the session was refused: {reason}", now_ms)
        return ended

    def _put_back(self, writes: Commands) -> None:
        """*writes* and all outstanding reads are to be said anew, but for those
        that nobody waits for any more."""
        reads = self.queries.take_back()
        if self.given_up:
            dropped = self.given_up.intersection((*reads, *writes))
            self.given_up -= dropped
            self.calls.ended(dropped)
            reads = {n: c for n, c in reads.items() if n not in dropped}
            writes = {n: c for n, c in writes.items() if n not in dropped}
        self.calls.put_back(writes, reads)

    # -- time --------------------------------------------------------------------

    def tick(self, now_ms: int) -> Ended:
        """See what has become due; harmless at any moment."""
        if self.is_finished:
            return []
        self.locator.tick(now_ms)
        ended: Ended = []
        for number in self.calls.due(now_ms):
            outcome = self._abandon(number, "its time was up")
            if outcome is not None:
                ended.append((number, outcome))
        if self.locator.is_in_doubt(now_ms):
            half_ms = self.calls.half_ms(self.locator.quiet_ms)
            self.locator.half_over(half_ms, now_ms)
        return ended + self._settle(now_ms)

    def _settle(self, now_ms: int) -> Ended:
        """What follows from an event, whatever it was."""
        if not self.is_waiting:
            self.locator.rest()
        if not self.closing.is_begun or self.is_finished:
            return []
        if self.closing.is_due(now_ms):
            ended = self._abandon_all("the clerk was closed")
            self._finish()
            return ended
        if not self._live():
            has_session = (
                self.session is not None and self.session.opened_index is not None
            )
            self.closing.nobody_waits(now_ms, has_session=has_session)
            if self.is_finished:
                self._finish()
        return []

    def _abandon_all(self, why: str) -> Ended:
        outcomes = [(number, self._abandon(number, why)) for number in self._live()]
        return [(number, how) for number, how in outcomes if how is not None]

    def _finish(self) -> None:
        self.closing.end()
        self.locator.hang_up()

    def _live(self) -> list[int]:
        """The calls that somebody waits for, in no particular order."""
        sent = [] if self.session is None else self.session.calls()
        sent += self.queries.calls()
        live = [number for number in sent if number not in self.given_up]
        return [*live, *self.calls.writes, *self.calls.reads]

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> ClerkCore:
        """Another one that goes its own way from here."""
        twin = ClerkCore(self.locator.copy(), self.window, self.calls.copy())
        twin.session = None if self.session is None else self.session.copy()
        twin.queries = self.queries.copy()
        twin.given_up, twin.closing = self.given_up.copy(), self.closing.copy()
        twin._said_opening, twin._said_again = self._said_opening, self._said_again
        twin._said_closing, twin._wrong_cluster = (
            self._said_closing,
            self._wrong_cluster,
        )
        return twin

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        return (
            self.locator.fingerprint(now_ms),
            self.calls.fingerprint(now_ms),
            None if self.session is None else self.session.fingerprint(),
            self.queries.fingerprint(),
            frozenset(self.given_up),
            self.closing.fingerprint(now_ms),
            self._wrong_cluster,
            *(self._said_opening, self._said_again, self._said_closing),
        )
