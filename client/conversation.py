"""
A clerk's conversation with the service: which calls are said to the primary
when, what their answers mean, and how each call ends.

Pure.  Events go in as method calls with the time in milliseconds; what has
ended comes back as values; what to say comes from `flush`, whom to be connected
to and when to ask the view service is read off `whereabouts`, and `wake_ms`
says when to call `tick` at the latest.

The laws here: every call ends exactly once, and with the truth; writes take
effect in the order of the calls, each at most once; a read sees every write
called before it (``docs/design.md``, sections 6 and 7).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final

import msgspec
from attrs import define, field, setters
from attrs.validators import and_, ge, le
from msgspec import Raw

from client.calls import Calls, Commands
from client.errors import ClerkError, InDoubt, NotExecuted, TooLarge, WrongCluster
from client.session import Sent, Session
from client.whereabouts import Whereabouts
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
    NotYours,
    Query,
    QueryAnswer,
    SessionClosed,
    SessionOpened,
    ViewIs,
)

#: How long a clerk that closes waits for the service to forget its session.
FAREWELL_MS: Final = 1_000

#: How many queries are outstanding at most: answers may be 16 MiB long each, and
#: a server that has more than a dozen of those unsent cuts the connection.
QUERIES_MAX: Final = 8

#: Calls that have ended: the encoded answer, or why there is none.
Outcome = Raw | ClerkError
Ended = list[tuple[int, Outcome]]

_split = msgspec.msgpack.Decoder(list[Raw]).decode


@define(eq=False, on_setattr=setters.NO_OP)
class Conversation:
    """Everything that one clerk knows."""

    whereabouts: Whereabouts

    #: How many batches, and how many queries, may be outstanding.
    window: int = field(default=8, validator=and_(ge(1), le(WINDOW_MAX)))

    calls: Calls = field(factory=Calls)

    #: None until something is to be written, and after an eviction.
    session: Session | None = field(default=None, init=False)

    #: What was asked, by the query's number, on this connection or the last.
    queries: dict[int, Commands] = field(factory=dict, init=False)

    #: Answers to some of them, while a batch is unanswered that comes before.
    _early: dict[int, bytes] = field(factory=dict, init=False)

    #: Calls that have ended although their batch or query is outstanding: what
    #: becomes of it interests nobody, but it keeps its place.
    given_up: set[int] = field(factory=set, init=False)

    #: Nothing will ever happen here again.
    is_finished: bool = field(default=False, init=False)

    _query: int = field(default=0, init=False)

    #: What was said on this connection to the primary.
    _said_opening: bool = field(default=False, init=False)
    _said_again: bool = field(default=False, init=False)
    _said_closing: bool = field(default=False, init=False)

    _is_closing: bool = field(default=False, init=False)
    #: By when to be finished, whatever is outstanding.
    _close_ms: int | None = field(default=None, init=False)
    #: By when to be finished, now that nobody waits for anything.
    _farewell_ms: int | None = field(default=None, init=False)

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
        return bool(self.queries) or (
            self.session is not None and bool(self.session.outstanding)
        )

    @property
    def has_more_to_say(self) -> bool:
        """Whether `flush` may have something to say."""
        return self.whereabouts.is_open and (
            bool(self.calls.writes or self.calls.reads)
            or not self._said_again
            or self._farewell_ms is not None
        )

    @property
    def needs_session(self) -> bool:
        """Whether `open_session` must be called for writes to go on."""
        return self.session is None and bool(self.calls.writes)

    def hello(self) -> Hello:
        """How a clerk introduces itself."""
        view = self.whereabouts.view.number
        return Hello(VERSION, CLERK, self.whereabouts.cluster, view)

    def wake_ms(self) -> int | None:
        """When to tick next at the latest; None: nothing is waited for."""
        if self.is_finished:
            return None
        times = (
            self.whereabouts.wake_ms(),
            self.calls.deadline_ms(),
            self._close_ms,
            self._farewell_ms,
        )
        return min((at for at in times if at is not None), default=None)

    def flush(self) -> list[Message]:
        """All that is to be said to the primary now, in order."""
        messages: list[Message] = []
        if not self.whereabouts.is_open:
            return messages
        if (session := self.session) is not None:
            if session.birth is not None:
                if not self._said_again:
                    self._said_again = True
                    messages += session.again()
                while self.calls.writes and session.has_room(self.window):
                    writes = self.calls.take_writes()
                    messages.append(session.batch(tuple(writes), _join(writes)))
            elif not self._said_opening:
                self._said_opening = True
                messages.append(session.opening())
        while self.calls.reads and len(self.queries) < min(self.window, QUERIES_MAX):
            if not (reads := self.calls.take_reads()):
                break
            messages.append(self._ask(reads))
        if self._farewell_ms is not None and not self._said_closing:
            self._said_closing = True
            if session is not None and (closing := session.closing()) is not None:
                messages.append(closing)
        return messages

    def _ask(self, reads: Commands) -> Query:
        self._query += 1
        self.queries[self._query] = reads
        # What was sent is sent again before any query, so to name the last is
        # never to wait for longer; and it holds for every read in here.
        if self.session is None or self.session.birth is None:
            return Query(self._query, NO_SESSION, 0, _join(reads))
        return Query(self._query, self.session.id, self.session.last, _join(reads))

    # -- calls -------------------------------------------------------------------

    def write(self, command: bytes, now_ms: int, deadline_ms: int | None = None) -> int:
        """A write was called -> its number.  Raises NotExecuted."""
        self._admit(command)
        number = self.calls.write(command)
        if deadline_ms is not None:
            self.calls.set_deadline(number, deadline_ms)
        self.whereabouts.expect(now_ms)
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
        if deadline_ms is not None:
            self.calls.set_deadline(number, deadline_ms)
        self.whereabouts.expect(now_ms)
        return number

    def _admit(self, command: bytes) -> None:
        if self._wrong_cluster:
            raise WrongCluster(self._wrong_cluster)
        if self._is_closing:
            raise NotExecuted("the clerk is closed")
        if self.calls.is_full(len(command)):
            raise NotExecuted(
                f"{len(self.calls.writes) + len(self.calls.reads)} calls wait to be "
                f"sent, which is the limit; {self.whereabouts.obstacle}"
            )

    def open_session(self, session_id: bytes) -> None:
        """128 random bits for the next session; see `needs_session`."""
        assert self.session is None, "a session is replaced only when it has ended"
        self.session = Session(session_id)
        self._said_opening = False

    def give_up(self, number: int, now_ms: int, why: str = "cancelled") -> Ended:
        """Nobody waits for that call any more."""
        outcome = self._abandon(number, why)
        if outcome is None:
            return []
        self.calls.ended((number,))
        return [(number, outcome), *self._settle(now_ms)]

    def _abandon(self, number: int, why: str) -> ClerkError | None:
        """How a call ends that gets no answer; None: it has ended before."""
        obstacle = self.whereabouts.obstacle
        if self.calls.drop(number):
            return NotExecuted(f"{why} before it was sent: {obstacle}")
        if number in self.given_up:
            return None
        if any(number in reads for reads in self.queries.values()):
            self.given_up.add(number)
            return NotExecuted(f"{why} before this read was answered: {obstacle}")
        outstanding = () if self.session is None else self.session.outstanding.values()
        for sent in outstanding:
            if sent.calls[0] <= number <= sent.calls[-1] and number in sent.calls:
                self.given_up.add(number)
                return InDoubt(
                    f"{why} after it was sent, before its answer: {obstacle}"
                )
        return None

    def close(self, now_ms: int, deadline_ms: int | None = None) -> Ended:
        """No more calls.  Those that were made go on until *deadline_ms*."""
        if not self._is_closing:
            self._is_closing = True
            self._close_ms = deadline_ms
        return self._settle(now_ms)

    # -- the view service --------------------------------------------------------

    def views_opened(self, hello: Hello) -> Ended:
        """A view service has introduced itself."""
        return self._check_cluster(hello.cluster) if hello.cluster else []

    def views_said(self, message: ViewIs, now_ms: int) -> Ended:
        """The view service says what the newest view is."""
        ended = self._check_cluster(message.cluster)
        if not self._wrong_cluster:
            if message.view.number > 0:
                # Nothing belongs to a cluster before its first view.
                self.whereabouts.cluster = message.cluster
            self.whereabouts.learn(message.view, now_ms)
            self.whereabouts.views_answered()
        return ended

    def views_refused(self, goodbye: Goodbye) -> Ended:
        """The view service has closed the connection, and says why."""
        if goodbye.reason == "cluster":
            return self._leave(f"the view service says: {goodbye.text}")
        if self.whereabouts.dial is None:
            self.whereabouts.obstacle = f"the view service says: {goodbye.text}"
        return []

    def _check_cluster(self, cluster: bytes) -> Ended:
        mine = self.whereabouts.cluster
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
        for number in self._live():
            outcome = self._abandon(number, "another cluster was met")
            if outcome is not None:
                is_doubt = type(outcome) is InDoubt
                ended.append((number, outcome if is_doubt else WrongCluster(text)))
        self._finish()
        return ended

    # -- the primary -------------------------------------------------------------

    def link_opened(self, attempt: int, hello: Hello, now_ms: int) -> Goodbye | None:
        """The connection of that number stands; a `Goodbye` refuses it."""
        refusal = self.whereabouts.link_opened(attempt, hello, now_ms)
        if refusal is None:
            self._said_opening = self._said_again = self._said_closing = False
            self._put_back({})
        return refusal

    def link_closed(self, attempt: int, reason: str, now_ms: int) -> Ended:
        """The connection of that number is gone, or could not be made."""
        self.whereabouts.link_closed(attempt, reason, now_ms)
        return self._settle(now_ms)

    def received(self, attempt: int, message: Message, now_ms: int) -> Ended:
        """The server at the other end of that connection said something."""
        where = self.whereabouts
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
            case SessionOpened(session_id, birth):
                where.expect(now_ms)
                if self.session is not None and self.session.id == session_id:
                    self.session.opened(birth)
            case SessionClosed():
                if self._farewell_ms is not None:
                    self._finish()
            case BatchRefused(sequence, reason):
                ended = self._refused(sequence, reason, now_ms)
            case NotYours(view):
                where.refused(view, now_ms)
        return ended + self._settle(now_ms)

    def _batch_answered(self, sequence: int, body: bytes) -> Ended:
        if self.session is None or (calls := self.session.answered(sequence)) is None:
            return []  # It had its answer before.
        ended = self._answered(calls, body)
        return ended + self._read_out() if self._early else ended

    def _query_answered(self, query: int, body: bytes) -> Ended:
        if query not in self.queries:
            return []
        self._early[query] = body
        return self._read_out()

    def _read_out(self) -> Ended:
        """The answers of queries, but for those that may have missed a write.

        A query is answered without the batch that it comes after if the session
        is gone.  Then that batch is refused next, and both are said again.
        """
        outstanding = () if self.session is None else self.session.outstanding.values()
        unanswered = next((sent.calls[0] for sent in outstanding), None)
        ended: Ended = []
        for query in list(self._early):
            reads = self.queries[query]
            if unanswered is None or max(reads) < unanswered:
                body = self._early.pop(query)
                del self.queries[query]
                ended += self._answered(tuple(reads), body)
        return ended

    def _answered(self, numbers: Sequence[int], body: bytes) -> Ended:
        """The answers of a batch or a query, command by command."""
        self.calls.ended(numbers)
        try:
            answers: Sequence[Outcome] = _split(body)
        except (msgspec.DecodeError, RecursionError):
            answers = ()
        if len(answers) != len(numbers):
            text = (
                f"executed, but {len(answers)} answers came for {len(numbers)} "
                "commands: this machine does not speak as a machine should"
            )
            answers = [InDoubt(text) for _ in numbers]
        if not self.given_up:
            return list(zip(numbers, answers, strict=True))
        ended = [
            (number, answer)
            for number, answer in zip(numbers, answers, strict=True)
            if number not in self.given_up
        ]
        self.given_up.difference_update(numbers)
        return ended

    def _refused(self, sequence: int, reason: str, now_ms: int) -> Ended:
        """A batch will not be executed any more, and with it its session is at
        an end: for its numbers a server could still hold copies of what comes
        after the refused one, so they are not given to anything else.

        In doubt is only what may have been executed before the refusal.  What
        goes on goes on in a new session, on a new connection, where no late
        answer of the old one can be taken for its own.
        """
        session = self.session
        if session is None or sequence not in session.outstanding:
            return []
        if reason not in {EVICTED, TOO_LARGE}:
            self.whereabouts.distrust(f"it refused a batch: {reason!r}", now_ms)
            return []
        before, refused, after = session.split(sequence)
        outcomes: Ended = []
        again: list[Sent] = []
        doubtful = before
        if not refused.is_only_copy:
            doubtful = [*before, refused, *after]
        elif reason == EVICTED:
            again = [refused, *after]
        else:
            again = after
            outcomes = [
                (number, TooLarge("the service refused it: the batch is too large"))
                for number in refused.calls
            ]
        outcomes += [
            (number, InDoubt("its session was evicted before its answer came"))
            for sent in doubtful
            for number in sent.calls
        ]
        ended = [pair for pair in outcomes if pair[0] not in self.given_up]
        self.given_up.difference_update(number for number, _ in outcomes)
        self.calls.ended([number for number, _ in outcomes])
        self.session = None
        self._put_back(
            {
                n: bytes(c)
                for s in again
                for n, c in zip(s.calls, _split(s.message.body), strict=True)
            }
        )
        self.whereabouts.reconnect(f"the session was refused: {reason}", now_ms)
        return ended

    def _put_back(self, writes: Commands) -> None:
        """*writes* and all outstanding reads are to be said anew, but for those
        that nobody waits for any more."""
        reads = {n: c for asked in self.queries.values() for n, c in asked.items()}
        self.queries, self._early = {}, {}
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
        self.whereabouts.tick(now_ms)
        ended: Ended = []
        for number in self.calls.due(now_ms):
            outcome = self._abandon(number, "its time was up")
            if outcome is not None:
                ended.append((number, outcome))
        return ended + self._settle(now_ms)

    def _settle(self, now_ms: int) -> Ended:
        """What follows from an event, whatever it was."""
        if not self.is_waiting:
            self.whereabouts.rest()
        if not self._is_closing or self.is_finished:
            return []
        if self._close_ms is not None and now_ms >= self._close_ms:
            return self._break_off()
        if not self._live():
            if self.session is None or self.session.birth is None:
                self._finish()
            elif self._farewell_ms is None:
                self._farewell_ms = now_ms + FAREWELL_MS
            elif now_ms >= self._farewell_ms:
                self._finish()
        return []

    def _break_off(self) -> Ended:
        ended: Ended = []
        for number in self._live():
            outcome = self._abandon(number, "the clerk was closed")
            if outcome is not None:
                ended.append((number, outcome))
        self._finish()
        return ended

    def _finish(self) -> None:
        self.is_finished = self._is_closing = True
        self.whereabouts.hang_up()

    def _live(self) -> list[int]:
        """The calls that somebody waits for, in no particular order."""
        outstanding = () if self.session is None else self.session.outstanding.values()
        numbers: Iterable[int] = (
            *(number for sent in outstanding for number in sent.calls),
            *(number for asked in self.queries.values() for number in asked),
        )
        live = [number for number in numbers if number not in self.given_up]
        return [*live, *self.calls.writes, *self.calls.reads]

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Conversation:
        """Another one that goes its own way from here."""
        twin = Conversation(self.whereabouts.copy(), self.window, self.calls.copy())
        twin.session = None if self.session is None else self.session.copy()
        twin.queries, twin._early = self.queries.copy(), self._early.copy()
        twin.given_up = self.given_up.copy()
        twin.is_finished, twin._query = self.is_finished, self._query
        twin._said_opening, twin._said_again = self._said_opening, self._said_again
        twin._said_closing, twin._is_closing = self._said_closing, self._is_closing
        twin._close_ms, twin._farewell_ms = self._close_ms, self._farewell_ms
        twin._wrong_cluster = self._wrong_cluster
        return twin

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        times = (self._close_ms, self._farewell_ms)
        return (
            self.whereabouts.fingerprint(now_ms),
            self.calls.fingerprint(now_ms),
            None if self.session is None else self.session.fingerprint(),
            tuple((n, tuple(asked)) for n, asked in self.queries.items()),
            tuple(self._early.items()),
            frozenset(self.given_up),
            *(self.is_finished, self._query, self._is_closing, self._wrong_cluster),
            *(self._said_opening, self._said_again, self._said_closing),
            *(None if at is None else at - now_ms for at in times),
        )


def _join(commands: Commands) -> bytes:
    """A body: the msgpack array of commands that are encoded already."""
    count = len(commands)
    head = b"\xdc" + count.to_bytes(2, "big")
    if count < 16:
        head = bytes((0x90 | count,))
    return head + b"".join(commands.values())
