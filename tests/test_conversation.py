"""The clerk's rules, alone, in virtual time: what they say to whom, and that
whatever happens each call ends once and with the truth."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from client.bodies import Ended, Outcome
from client.calls import COMMAND_BYTES_MAX, TOGETHER_BYTES_MAX, TOGETHER_MAX, Calls
from client.clerk_core import ClerkCore
from client.errors import ClerkError, InDoubt, NotExecuted, TooLarge, WrongCluster
from client.primary_locator import (
    ASK_MS,
    HANG_MS,
    PAUSE_MS_MAX,
    SILENCE_MS,
    SILENCE_MS_MAX,
    PrimaryLocator,
)
from tests.model_service import CLUSTER, answers, encode, member
from wire.messages import (
    EVICTED,
    NO_SESSION,
    TOO_LARGE,
    VERSION,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Goodbye,
    Hello,
    Member,
    Message,
    OpenSession,
    Query,
    QueryAnswer,
    Redirect,
    SessionClosed,
    SessionOpened,
    View,
    ViewIs,
)

S1, S2 = member("s1"), member("s2")
FIRST, SECOND = View(1, S1), View(2, S2)
BIRTH = 7


def session_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Table:
    """A conversation, and a hand that plays everybody else."""

    def __init__(
        self, window: int = 8, calls: Calls | None = None, views: tuple[str, ...] = ()
    ) -> None:
        where = PrimaryLocator(seed=1, views=views)
        self.talk = ClerkCore(where, window, calls or Calls())
        self.now_ms = 0
        self.ended: dict[int, Outcome] = {}
        self.sessions = 0

    # -- what the clerk does ---------------------------------------------------

    def write(self, command: object = 0, timeout_ms: int | None = None) -> int:
        return self.talk.write(encode(command), self.now_ms, self._at(timeout_ms))

    def read(
        self, command: object = 0, timeout_ms: int | None = None, *, alone: bool = False
    ) -> int:
        due = self._at(timeout_ms)
        return self.talk.read(encode(command), self.now_ms, due, alone=alone)

    def _at(self, timeout_ms: int | None) -> int | None:
        return None if timeout_ms is None else self.now_ms + timeout_ms

    def said(self) -> list[Message]:
        if self.talk.needs_session:
            self.sessions += 1
            self.talk.open_session(session_id(self.sessions))
        return self.talk.flush()

    # -- what others do --------------------------------------------------------

    def take(self, ended: Ended) -> None:
        for number, outcome in ended:
            assert number not in self.ended, "a call ended twice"
            self.ended[number] = outcome

    def learn(self, view: View, cluster: bytes = CLUSTER) -> None:
        message = ViewIs(0, cluster, view, True)
        self.take(self.talk.views_said(message, self.now_ms))

    def open(self, hello: Hello | None = None) -> Goodbye | None:
        dial = self.talk.locator.dial
        assert dial is not None, "nobody is to be dialled"
        hello = hello or Hello(VERSION, "server", CLUSTER, 1, dial[1])
        return self.talk.link_opened(dial[0], hello, self.now_ms)

    def cut(self, reason: str = "connection lost") -> None:
        dial = self.talk.locator.dial
        assert dial is not None, "nobody is dialled"
        self.take(self.talk.link_closed(dial[0], reason, self.now_ms))

    def hear(self, *messages: Message) -> None:
        for message in messages:
            dial = self.talk.locator.dial
            assert dial is not None, "nobody is dialled"
            self.take(self.talk.received(dial[0], message, self.now_ms))

    def wait(self, ms: int) -> None:
        """Time passes, and `tick` is called exactly when `wake_ms` asks for it."""
        until = self.now_ms + ms
        while (wake := self.talk.wake_ms()) is not None and wake <= until:
            self.now_ms = max(self.now_ms, wake)
            self.take(self.talk.tick(self.now_ms))
        self.now_ms = until

    def outcome(self, number: int) -> object:
        """A result, or the class of an error; None while there is neither."""
        outcome = self.ended.get(number)
        if outcome is None or isinstance(outcome, ClerkError):
            return None if outcome is None else type(outcome)
        return msgspec.msgpack.decode(outcome)

    @property
    def dialled(self) -> str | None:
        dial = self.talk.locator.dial
        return None if dial is None else dial[1].name


def connected(window: int = 8) -> Table:
    """A clerk that knows the view and is connected to the primary."""
    table = Table(window)
    table.take(table.talk.give_up(table.read("who is it?"), 0))
    table.ended.clear()
    table.learn(FIRST)
    assert table.open() is None
    return table


def in_session(window: int = 8) -> Table:
    """The same with an open session, and nothing written yet."""
    table = connected(window)
    number = table.write("warm up")
    table.said()
    table.hear(SessionOpened(session_id(1), BIRTH))
    table.said()
    table.hear(BatchAnswer(1, answers([0])))
    assert table.outcome(number) == 0
    return table


def body(*commands: object) -> bytes:
    return encode(list(commands))


# -- saying --------------------------------------------------------------------


def test_the_first_write_opens_a_session_and_follows_it() -> None:
    table = connected()
    number = table.write("a")
    assert table.said() == [OpenSession(session_id(1))]
    assert table.said() == []
    table.hear(SessionOpened(session_id(1), BIRTH))
    assert table.said() == [Batch(session_id(1), BIRTH, 1, 1, body("a"))]
    table.hear(BatchAnswer(1, answers([41])))
    assert table.outcome(number) == 41


def test_who_only_reads_needs_no_session() -> None:
    table = connected()
    number = table.read("r")
    assert table.said() == [Query(1, NO_SESSION, 0, body("r"))]
    table.hear(QueryAnswer(1, answers([3])))
    assert table.outcome(number) == 3


def test_what_is_called_together_travels_together() -> None:
    table = in_session()
    for command in ("a", "b"):
        table.write(command)
    table.read("r")
    table.write("c")
    table.read("q")
    assert table.said() == [
        Batch(session_id(1), BIRTH, 2, 2, body("a", "b", "c")),
        Query(1, session_id(1), 2, body("r", "q")),
    ]


def test_the_window_bounds_what_is_outstanding() -> None:
    table = in_session(window=2)
    for command in range(5):
        table.write(command)
        table.said()
    assert list(table.talk.session.outstanding) == [2, 3]
    table.hear(BatchAnswer(2, answers([1])))
    assert table.said() == [Batch(session_id(1), BIRTH, 4, 3, body(2, 3, 4))]


def test_numbers_span_fewer_than_64_whatever_is_answered() -> None:
    table = in_session(window=64)
    for command in range(70):
        table.write(command)
        table.said()
    assert max(table.talk.session.outstanding) == 65
    table.hear(*(BatchAnswer(n, answers([n])) for n in range(3, 66)))
    table.write("more")
    assert table.said() == []
    table.hear(BatchAnswer(2, answers([2])))
    (batch,) = table.said()
    assert (batch.sequence, batch.first_unanswered) == (66, 66)


def test_a_batch_is_bounded_in_commands_and_in_bytes() -> None:
    table = in_session()
    for command in range(TOGETHER_MAX + 1):
        table.write(command)
    first, second = table.said()
    assert [len(msgspec.msgpack.decode(b.body)) for b in (first, second)] == [
        TOGETHER_MAX,
        1,
    ]
    table = in_session()
    half = bytes(TOGETHER_BYTES_MAX // 2)
    huge = bytes(2 * TOGETHER_BYTES_MAX)
    for command in (half, half, huge, b"", b""):
        table.write(command)
    assert [body(half), body(half), body(huge), body(b"", b"")] == [
        message.body for message in table.said()
    ]


def test_little_is_sent_ahead_of_answers_when_values_are_huge() -> None:
    table = in_session(window=64)
    for _ in range(30):
        table.write(bytes(2 * TOGETHER_BYTES_MAX))
    assert len(table.said()) == 16  # 32 MiB
    table.hear(BatchAnswer(2, answers([1])))
    assert len(table.said()) == 1


def test_the_longest_command_fits_into_a_body() -> None:
    table = in_session()
    table.talk.write(b"\xc0" * COMMAND_BYTES_MAX, 0)
    (batch,) = table.said()
    assert len(batch.body) <= 16 * 1024 * 1024 - 64 * 1024


def test_a_read_waits_for_the_writes_that_were_called_before_it() -> None:
    table = in_session(window=1)
    table.write("a")
    before = table.read("before b")
    table.said()
    write = table.write("b")
    after = table.read("after b")
    assert table.said() == []
    table.hear(BatchAnswer(2, answers([1])), QueryAnswer(1, answers([1])))
    assert table.outcome(before) == 1
    assert table.said() == [
        Batch(session_id(1), BIRTH, 3, 3, body("b")),
        Query(2, session_id(1), 3, body("after b")),
    ]
    table.hear(BatchAnswer(3, answers([2])), QueryAnswer(2, answers([3])))
    assert [table.outcome(write), table.outcome(after)] == [2, 3]


def test_a_read_is_answered_after_the_writes_that_were_called_before_it() -> None:
    table = in_session()
    write = table.write("a")
    read = table.read("r")
    later = table.write("b")
    table.said()
    table.hear(QueryAnswer(1, answers([2])))
    assert table.outcome(read) is None
    table.hear(BatchAnswer(2, answers([1, 2])))
    assert [table.outcome(n) for n in (write, read, later)] == [1, 2, 2]


def test_a_read_that_an_eviction_made_blind_is_asked_again() -> None:
    table = in_session()
    write = table.write("a")
    read = table.read("r")
    table.said()
    # The session is gone, so the server did not wait for the batch.
    table.hear(QueryAnswer(1, answers([0])), BatchRefused(2, EVICTED))
    table.open()
    table.said()
    table.hear(SessionOpened(session_id(2), 99))
    assert table.said() == [
        Batch(session_id(2), 99, 1, 1, body("a")),
        Query(2, session_id(2), 1, body("r")),
    ]
    table.hear(BatchAnswer(1, answers([1])), QueryAnswer(2, answers([2])))
    assert [table.outcome(write), table.outcome(read)] == [1, 2]


def test_a_read_does_not_wait_for_a_write_that_was_given_up() -> None:
    table = in_session(window=1)
    table.write("a")
    table.said()
    write = table.write("b")
    table.read("after b")
    assert table.said() == []
    table.take(table.talk.give_up(write, 0))
    assert table.outcome(write) is NotExecuted
    assert table.said() == [Query(1, session_id(1), 2, body("after b"))]


def test_a_read_names_no_session_that_could_have_begun_anew() -> None:
    # Evicted, and opened again by a late copy of its opening, it would never
    # have the batch that is named, and the read would be asked for ever.
    table = in_session()
    table.read("r")
    assert table.said() == [Query(1, NO_SESSION, 0, body("r"))]


def test_a_read_that_goes_alone_shares_its_query_with_nobody() -> None:
    table = connected()
    for number in range(5):
        table.read(number, alone=number in {2, 3})
    assert [body(0, 1), body(2), body(3), body(4)] == [m.body for m in table.said()]


# -- failures ------------------------------------------------------------------


def test_after_a_lost_connection_all_that_is_unanswered_is_sent_again() -> None:
    table = in_session()
    writes, sent = [], []
    for command in range(3):
        writes.append(table.write(command))
        sent += table.said()
    read = table.read("r")
    table.said()
    table.hear(BatchAnswer(2, answers([1])))
    table.cut()
    assert table.dialled == "s1"
    table.write("new")
    assert table.said() == []
    table.open()
    assert table.said() == [
        *sent[1:],
        Batch(session_id(1), BIRTH, 5, 3, body("new")),
        Query(2, session_id(1), 5, body("r")),
    ]
    table.hear(BatchAnswer(3, answers([2])), BatchAnswer(4, answers([3])))
    table.hear(QueryAnswer(2, answers([9])))
    assert [table.outcome(n) for n in (*writes, read)] == [1, 2, 3, 9]


def test_an_answer_that_comes_twice_counts_once() -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    table.hear(BatchAnswer(2, answers([1])), BatchAnswer(2, answers([1])))
    assert table.outcome(number) == 1


def test_what_a_former_connection_says_is_not_heard() -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    attempt = table.talk.locator.dial[0]
    table.cut()
    table.open()
    table.take(table.talk.received(attempt, BatchAnswer(2, answers([1])), 0))
    assert table.outcome(number) is None


def test_the_end_of_a_former_connection_is_no_news() -> None:
    table = in_session()
    attempt = table.talk.locator.dial[0]
    table.learn(SECOND)
    dial = table.talk.locator.dial
    table.take(table.talk.link_closed(attempt, "connection lost", 0))
    assert table.talk.locator.dial is dial
    assert table.talk.link_opened(attempt, Hello(VERSION, "server"), 0) is not None
    assert table.open() is None


def test_a_new_view_is_followed_at_once_and_never_an_older_one() -> None:
    table = in_session()
    table.write("a")
    (batch,) = table.said()
    table.learn(SECOND)
    assert table.dialled == "s2"
    table.learn(FIRST)
    assert table.dialled == "s2"
    table.open()
    assert table.said() == [batch]


def test_a_new_view_with_the_same_primary_keeps_the_connection() -> None:
    table = in_session()
    table.write("a")
    table.said()
    dial = table.talk.locator.dial
    table.learn(View(2, S1, (S2,), ("s2",)))
    assert table.talk.locator.dial is dial
    table.hear(BatchAnswer(2, answers([1])))


def test_a_server_that_knows_better_is_believed() -> None:
    table = in_session()
    table.write("a")
    (batch,) = table.said()
    asks = table.talk.locator.asks
    table.hear(Redirect(SECOND))
    assert (table.dialled, table.talk.locator.asks) == ("s2", asks)
    table.open()
    assert table.said() == [batch]


@pytest.mark.parametrize("view", [View(), FIRST, View(2, S1)])
def test_a_server_that_knows_no_better_is_given_time(view: View) -> None:
    table = in_session()
    table.write("a")
    (batch,) = table.said()
    asks = table.talk.locator.asks
    table.hear(Redirect(view))
    assert table.dialled is None
    assert table.talk.locator.asks == asks + 1
    table.wait(100)
    assert table.dialled == "s1"
    table.open()
    assert table.said() == [batch]


def test_attempts_in_vain_are_paused_ever_longer_and_with_jitter() -> None:
    table = in_session()
    table.write("a")
    pauses = []
    for _ in range(12):
        before = table.now_ms
        table.cut()
        while table.dialled is None:
            table.wait(1)
        pauses.append(table.now_ms - before)
        table.open()
        table.said()
    assert pauses[0] == 0
    assert 10 <= pauses[1] <= 20
    assert all(PAUSE_MS_MAX // 2 <= pause <= PAUSE_MS_MAX for pause in pauses[8:])
    assert len(set(pauses[8:])) > 1
    table.hear(BatchAnswer(2, answers([1])))
    table.cut()
    assert table.dialled == "s1"


def test_another_incarnation_than_the_views_is_not_talked_to() -> None:
    table = in_session()
    table.write("a")
    table.cut()
    asks = table.talk.locator.asks
    refusal = table.open(
        Hello(VERSION, "server", CLUSTER, 1, member("s1", incarnation=2))
    )
    assert refusal is not None
    assert refusal.reason == "member"
    assert table.said() == []
    assert table.talk.locator.asks == asks + 1
    table.wait(100)
    assert table.open() is None


def test_a_server_of_another_cluster_is_not_talked_to() -> None:
    table = Table()
    table.read("r")
    table.learn(FIRST)
    refusal = table.open(Hello(VERSION, "server", bytes(16), 1, S1))
    assert refusal is not None
    assert refusal.reason == "cluster"


@pytest.mark.parametrize("address", ["unix:/tmp/x", "tcp:127.0.0.1", "tls:a:1"])
def test_only_tcp_addresses_are_dialled(address: str) -> None:
    table = Table()
    number = table.read("r", timeout_ms=10)
    bad = msgspec.structs.replace(S1, address=address)
    table.learn(View(1, bad))
    assert table.dialled is None
    table.wait(10)
    assert address in str(table.ended[number])


def test_a_silent_primary_makes_the_clerk_ask_ever_more_rarely() -> None:
    table = in_session()
    table.write("a")
    table.said()
    times = []
    asks = table.talk.locator.asks
    for _ in range(40_000):
        table.wait(1)
        if table.talk.locator.asks > asks:
            asks = table.talk.locator.asks
            times.append(table.now_ms)
            table.learn(FIRST)
    assert times[0] == SILENCE_MS
    assert times[1] == 3 * SILENCE_MS
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[-1] == SILENCE_MS_MAX


def test_a_connection_that_stays_silent_is_made_anew() -> None:
    table = in_session()
    table.write("a")
    (batch,) = table.said()
    first = table.talk.locator.dial
    table.wait(HANG_MS - 1)
    assert table.talk.locator.dial == first
    table.wait(1)
    assert table.talk.locator.dial != first
    assert table.dialled == "s1"
    table.open()
    assert table.said() == [batch]


def test_nobody_is_asked_while_answers_come_or_nothing_waits() -> None:
    table = in_session()
    asks = table.talk.locator.asks
    for n in range(2, 200):
        table.write("a")
        table.said()
        table.wait(SILENCE_MS - 1)
        table.hear(BatchAnswer(n, answers([n])))
    table.wait(100_000)
    assert table.talk.locator.asks == asks
    assert table.talk.wake_ms() is None


def test_a_view_service_that_does_not_answer_is_dialled_anew() -> None:
    table = Table()
    table.read("r")
    where = table.talk.locator
    assert (where.asks, where.views_redials) == (1, 0)
    table.wait(ASK_MS)
    assert where.views_redials == 1
    table.wait(ASK_MS)
    assert where.views_redials == 2
    table.learn(FIRST)
    table.open()
    table.said()
    table.hear(QueryAnswer(1, answers([1])))
    table.wait(100_000)
    assert where.views_redials == 2


# -- refusals ------------------------------------------------------------------


def test_an_eviction_with_nothing_outstanding_before_is_not_noticed() -> None:
    table = in_session()
    first = table.write("a")
    (sent,) = table.said()
    second = table.write("b")
    table.said()
    read = table.read("r")
    table.said()
    link = table.talk.locator.dial
    table.hear(BatchRefused(sent.sequence, EVICTED))
    assert table.talk.locator.dial != link, "late answers could be mistaken"
    table.open()
    assert table.said() == [OpenSession(session_id(2))]
    table.hear(SessionOpened(session_id(2), 99))
    assert table.said() == [
        Batch(session_id(2), 99, 1, 1, body("a", "b")),
        Query(2, session_id(2), 1, body("r")),
    ]
    table.hear(BatchAnswer(1, answers([5, 6])), QueryAnswer(2, answers([7])))
    assert [table.outcome(n) for n in (first, second, read)] == [5, 6, 7]


def test_an_eviction_leaves_in_doubt_what_was_sent_twice() -> None:
    table = in_session()
    numbers = [table.write("a")]
    table.said()
    table.cut()
    table.open()
    table.said()
    numbers.append(table.write("b"))
    table.said()
    unsent = table.write("c")
    table.hear(BatchRefused(2, EVICTED))
    assert [InDoubt, InDoubt] == [table.outcome(n) for n in numbers]
    table.wait(100)
    table.open()
    assert table.said() == [OpenSession(session_id(2))]
    table.hear(SessionOpened(session_id(2), 99))
    assert table.said() == [Batch(session_id(2), 99, 1, 1, body("c"))]
    table.hear(BatchAnswer(1, answers([5])))
    assert table.outcome(unsent) == 5


def test_what_was_sent_before_an_evicted_batch_is_in_doubt() -> None:
    table = in_session()
    before = table.write("a")
    table.said()
    refused = table.write("b")
    table.said()
    table.hear(BatchRefused(3, EVICTED))
    assert [InDoubt, None] == [table.outcome(before), table.outcome(refused)]


def test_an_eviction_of_calls_that_were_given_up_is_nobodys_business() -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    table.take(table.talk.give_up(number, 0))
    table.hear(BatchRefused(2, EVICTED))
    table.open()
    assert table.said() == []
    assert table.talk.is_waiting is False
    assert table.talk.given_up == set()


def test_a_batch_refused_at_the_door_ends_its_calls_and_no_others() -> None:
    table = in_session()
    refused = table.write("a")
    table.said()
    after = table.write("b")
    table.said()
    table.hear(BatchRefused(2, TOO_LARGE))
    assert table.outcome(refused) is TooLarge
    table.open()
    assert table.said() == [OpenSession(session_id(2))]
    table.hear(SessionOpened(session_id(2), 99))
    assert table.said() == [Batch(session_id(2), 99, 1, 1, body("b"))]
    table.hear(BatchAnswer(1, answers([5])))
    assert table.outcome(after) == 5


def test_refused_at_the_door_after_it_was_sent_elsewhere_is_in_doubt() -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    table.learn(SECOND)
    table.open()
    table.said()
    table.hear(BatchRefused(2, TOO_LARGE))
    assert table.outcome(number) is InDoubt


def test_evictions_in_a_row_are_paused() -> None:
    table = in_session()
    table.write("a")
    dials = 0
    while table.now_ms < 3000:
        if table.dialled is None:
            table.wait(1)
            continue
        dials += 1
        table.open()
        while messages := table.said():
            if isinstance(messages[0], OpenSession):
                table.hear(SessionOpened(messages[0].id, 9))
            else:
                table.hear(BatchRefused(messages[0].sequence, EVICTED))
    assert 5 < dials < 15


def test_a_late_word_on_another_session_changes_nothing() -> None:
    table = in_session()
    table.write("a")
    table.said()
    table.hear(SessionOpened(session_id(1), 999), SessionOpened(session_id(9), 5))
    table.hear(BatchRefused(1, EVICTED), BatchAnswer(99, answers([1])))
    table.hear(QueryAnswer(55, answers([1])), SessionClosed(session_id(1)))
    table.write("b")
    (batch,) = table.said()
    assert (batch.session, batch.opened_index, batch.sequence) == (
        session_id(1),
        BIRTH,
        3,
    )


@pytest.mark.parametrize("nonsense", [b"", b"\xc1", b"\x01", answers([1, 2])])
def test_an_answer_that_makes_no_sense_leaves_its_calls_in_doubt(
    nonsense: bytes,
) -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    table.hear(BatchAnswer(2, nonsense))
    assert table.outcome(number) is InDoubt
    number = table.read("r")
    table.said()
    table.hear(QueryAnswer(1, nonsense))
    assert table.outcome(number) is NotExecuted
    number = table.write("b")
    assert [m.sequence for m in table.said()] == [3]
    table.hear(BatchAnswer(3, answers([4])))
    assert table.outcome(number) == 4


# -- deadlines -----------------------------------------------------------------


def test_a_deadline_tells_what_was_sent_from_what_was_not() -> None:
    table = in_session(window=1)
    sent = table.write("sent", timeout_ms=50)
    asked = table.read("asked", timeout_ms=50)
    (batch, _) = table.said()
    queued = table.write("queued", timeout_ms=50)
    waiting = table.read("waiting", timeout_ms=50)
    later = table.write("later", timeout_ms=5000)
    assert table.said() == []
    table.wait(49)
    assert len(table.ended) == 1
    table.wait(1)
    assert table.outcome(sent) is InDoubt
    assert {NotExecuted} == {table.outcome(n) for n in (asked, queued, waiting)}
    table.cut()
    table.open()
    assert table.said() == [batch], "no number may be left out"
    table.hear(BatchAnswer(2, answers([1])))
    assert table.said() == [Batch(session_id(1), BIRTH, 3, 3, body("later"))]
    table.hear(BatchAnswer(3, answers([2])))
    assert table.outcome(later) == 2


def test_deadlines_of_ended_calls_are_forgotten() -> None:
    table = in_session()
    for n in range(2, 1000):
        table.write("a", timeout_ms=1_000_000)
        table.said()
        table.hear(BatchAnswer(n, answers([n])))
    assert table.talk.calls.deadline_ms() is None
    outstanding = table.write("a", timeout_ms=1000)
    table.said()
    for _ in range(1000):
        number = table.read("r", timeout_ms=1_000_000)
        table.take(table.talk.give_up(number, 0))
    assert len(table.talk.calls._next_deadlines) < 100
    table.wait(1000)
    assert table.outcome(outstanding) is InDoubt


def test_a_call_ends_once_whatever_is_done_to_it() -> None:
    table = in_session()
    number = table.write("a", timeout_ms=10)
    table.said()
    table.take(table.talk.give_up(number, 0))
    table.take(table.talk.give_up(number, 0))
    table.wait(20)
    table.hear(BatchAnswer(2, answers([1])))
    table.take(table.talk.give_up(number, 0))
    assert table.outcome(number) is InDoubt
    assert table.talk.given_up == set()


def test_the_queue_is_bounded_in_calls_and_in_bytes() -> None:
    table = Table(calls=Calls(count_max=3, bytes_max=100))
    kept = [table.write("a"), table.read("b")]
    with pytest.raises(NotExecuted):
        table.write("c" * 100)
    kept.append(table.write("d"))
    with pytest.raises(NotExecuted, match="3 calls wait"):
        table.read("e")
    table.take(table.talk.give_up(kept.pop(), 0))
    kept.append(table.read("f"))
    table.learn(FIRST)
    table.open()
    table.said()
    table.hear(SessionOpened(session_id(1), BIRTH))
    table.said()
    table.write("there is room again")


def test_what_was_given_up_makes_room_in_the_queue() -> None:
    table = Table(calls=Calls(bytes_max=100))
    for call in (table.write, table.read) * 10:
        number = call(bytes(60))
        with pytest.raises(NotExecuted):
            call(bytes(60))
        table.take(table.talk.give_up(number, 0))


def test_what_was_said_makes_room_in_the_queue() -> None:
    table = in_session()
    table.talk.calls.bytes_max = 100
    for call in (table.write, table.read) * 3:
        call(bytes(60))
        table.said()


def test_reads_that_are_said_again_keep_their_order() -> None:
    table = connected(window=1)
    for command in ("a", "b"):
        table.read(command)
        table.said()
    table.cut()
    table.open()
    assert table.said() == [Query(2, NO_SESSION, 0, body("a", "b"))]


def test_calls_that_time_out_while_nobody_is_there_leave_nothing_behind() -> None:
    table = Table(calls=Calls(count_max=10))
    table.write("for ever")
    for _ in range(1000):
        table.write("a", timeout_ms=10)
        table.read("b", timeout_ms=10)
        table.wait(10)
    assert len(table.talk.calls.writes) == 1
    assert not table.talk.calls.reads


# -- clusters ------------------------------------------------------------------


def test_another_cluster_ends_everything_with_the_truth() -> None:
    table = in_session(window=1)
    sent = table.write("sent")
    asked = table.read("asked")
    table.said()
    queued = table.write("queued")
    table.learn(View(9, S2), cluster=bytes(16))
    assert table.outcome(sent) is InDoubt
    assert [WrongCluster, WrongCluster] == [table.outcome(asked), table.outcome(queued)]
    assert table.talk.is_finished
    assert table.dialled is None
    with pytest.raises(WrongCluster, match=CLUSTER.hex()):
        table.write("more")


def test_addresses_of_two_clusters_end_everything_with_the_truth() -> None:
    table = in_session()
    sent = table.write("sent")
    table.said()
    asked = table.read("asked")
    table.take(table.talk.views_surveyed("tcp:b:1", CLUSTER))
    assert not table.talk.is_finished
    table.take(table.talk.views_surveyed("tcp:b:1", bytes(16)))
    assert [InDoubt, WrongCluster] == [table.outcome(sent), table.outcome(asked)]
    with pytest.raises(WrongCluster, match="tcp:b:1 is of 0000") as mixed:
        table.write("more")
    assert "two clusters" in str(mixed.value)
    assert CLUSTER.hex() in str(mixed.value)


def test_a_clerk_that_knows_no_cluster_yet_has_met_no_other() -> None:
    table = Table()
    table.take(table.talk.views_surveyed("tcp:b:1", bytes(16)))
    assert not table.talk.is_finished


@pytest.mark.parametrize(
    ("address", "is_named"),
    [("tcp:127.0.0.1:7401", True), ("tcp:10.0.0.1:7401", False)],
)
def test_another_process_at_a_loopback_address_has_a_likely_cause(
    address: str, is_named: bool
) -> None:
    table = Table()
    number = table.read("r", timeout_ms=100)
    named = Member("s1", 1, address)
    table.learn(View(1, named))
    found = Member("s2", 2, address)
    refusal = table.open(Hello(1, "server", CLUSTER, 1, found))
    assert refusal is not None
    table.wait(1000)
    for text in (refusal.text, str(table.ended[number])):
        assert f"at {address}, where s2" in text
        assert ("a loopback address" in text) == is_named
        assert ("s1 needs --advertise" in text) == is_named


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:7401", "tcp:10.0.0.1:7401"])
def test_another_incarnation_of_the_primary_is_a_restart(address: str) -> None:
    table = Table()
    number = table.read("r", timeout_ms=100)
    table.learn(View(1, Member("s1", 1, address)))
    refusal = table.open(Hello(1, "server", CLUSTER, 1, Member("s1", 2, "tcp:a:1")))
    assert refusal is not None
    table.wait(1000)
    for text in (refusal.text, str(table.ended[number])):
        assert "the server was restarted and is empty now" in text
        assert "`understudy status`" in text
        assert "--advertise" not in text


def test_a_view_service_that_refuses_the_cluster_is_believed() -> None:
    table = in_session()
    number = table.read("r")
    table.take(table.talk.views_refused(Goodbye("cluster", "not yours")))
    assert table.outcome(number) is WrongCluster
    table = in_session()
    table.read("r")
    table.take(table.talk.views_refused(Goodbye("full", "too many")))
    assert not table.talk.is_finished


def test_after_the_end_nothing_moves_a_clerk() -> None:
    table = connected()
    table.take(table.talk.close(0))
    table.learn(SECOND)
    assert table.talk.is_finished
    assert table.dialled is None
    assert table.said() == []
    assert table.talk.wake_ms() is None


def test_a_view_service_that_knows_nobody_is_of_no_cluster_yet() -> None:
    table = in_session()
    table.learn(View(), cluster=bytes(16))
    assert not table.talk.is_finished
    table = Table()
    table.learn(View(), cluster=bytes(16))
    table.learn(FIRST)
    assert table.talk.hello().cluster == CLUSTER


def test_the_clerk_says_the_cluster_and_the_view_that_it_knows() -> None:
    table = Table()
    assert (table.talk.hello().cluster, table.talk.hello().number) == (b"", 0)
    table.learn(SECOND)
    assert (table.talk.hello().cluster, table.talk.hello().number) == (CLUSTER, 2)


# -- closing -------------------------------------------------------------------


def test_closing_finishes_what_was_called_and_forgets_the_session() -> None:
    table = in_session(window=1)
    numbers = [table.write("a")]
    table.said()
    numbers.append(table.write("b"))
    table.take(table.talk.close(0))
    with pytest.raises(NotExecuted, match="closed"):
        table.write("c")
    table.hear(BatchAnswer(2, answers([1])))
    table.said()
    assert not table.talk.is_finished
    table.hear(BatchAnswer(3, answers([2])))
    assert table.said() == [CloseSession(session_id(1), BIRTH)]
    assert [table.outcome(n) for n in numbers] == [1, 2]
    assert not table.talk.is_finished
    table.hear(SessionClosed(session_id(1)))
    assert table.talk.is_finished


def test_closing_takes_the_time_that_the_calls_take() -> None:
    table = in_session()
    numbers = [table.write("a"), table.read("b")]
    _, asked = table.said()
    assert isinstance(asked, Query)
    table.take(table.talk.close(table.now_ms))
    table.wait(3000)
    assert not table.talk.is_finished
    table.hear(BatchAnswer(2, answers([1])), QueryAnswer(asked.id, answers([0])))
    assert [table.outcome(n) for n in numbers] == [1, 0]
    assert table.said() == [CloseSession(session_id(1), BIRTH)]


def test_closing_does_not_wait_for_ever_for_a_last_word() -> None:
    table = in_session()
    table.cut()
    table.take(table.talk.close(table.now_ms))
    table.wait(1000)
    assert table.talk.is_finished


def test_closing_without_a_session_is_done_at_once() -> None:
    table = connected()
    table.take(table.talk.close(0))
    assert table.talk.is_finished


def test_closing_has_an_end_when_calls_have_none() -> None:
    table = in_session(window=1)
    sent = table.write("a")
    table.said()
    queued = table.write("b")
    table.take(table.talk.close(table.now_ms, table.now_ms + 300))
    table.take(table.talk.close(table.now_ms))
    table.wait(299)
    assert not table.talk.is_finished
    table.wait(1)
    assert [InDoubt, NotExecuted] == [table.outcome(sent), table.outcome(queued)]
    assert table.talk.is_finished


def test_closing_does_not_wait_for_calls_that_were_given_up() -> None:
    table = in_session()
    number = table.write("a")
    table.said()
    table.take(table.talk.give_up(number, 0))
    table.take(table.talk.close(0))
    assert table.said() == [CloseSession(session_id(1), BIRTH)]
