"""Connections that died silently: a call with a deadline is moved to a new one
while it has time left (docs/design.md, section 7)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from client.errors import InDoubt, NotExecuted
from client.primary_locator import (
    ASK_MS,
    HALF_MS_MIN,
    HANG_MS,
    REPORT_AGAIN_MS,
    REPORT_MS,
    SILENCE_MS,
)
from tests.model_service import answers
from tests.test_conversation import FIRST, S1, SECOND, Table, in_session, session_id
from wire.messages import VERSION, BatchAnswer, Hello, QueryAnswer, SessionOpened, View


def attempt(table: Table) -> int:
    dial = table.talk.locator.dial
    assert dial is not None
    return dial[0]


def moment_of_reconnect(table: Table, limit_ms: int = 100_000) -> int:
    """Milliseconds until the connection to the primary is made anew."""
    before, began = attempt(table), table.now_ms
    while attempt(table) == before:
        assert table.now_ms < began + limit_ms, "the connection is kept"
        table.wait(1)
    return table.now_ms - began


# -- to the primary ------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout_ms", "after_ms"), [(5_000, 2_500), (3_001, 1_500), (9_000, 4_500)]
)
def test_after_half_of_a_calls_time_the_connection_is_made_anew(
    timeout_ms: int, after_ms: int
):
    table = in_session()
    write = table.write("a", timeout_ms)
    (batch,) = table.said()
    assert moment_of_reconnect(table) == after_ms
    assert table.dialled == "s1"
    table.open()
    assert table.said() == [batch]
    table.hear(BatchAnswer(2, answers([1])))
    assert table.outcome(write) == 1


def test_a_read_is_asked_again():
    table = in_session()
    read = table.read("r", 4_000)
    table.said()
    assert moment_of_reconnect(table) == 2_000
    table.open()
    table.said()
    table.hear(QueryAnswer(2, answers([7])))
    assert table.outcome(read) == 7


def test_not_before_a_second_however_short_the_time():
    table = in_session()
    table.write("a", 1_300)
    table.said()
    assert moment_of_reconnect(table) == HALF_MS_MIN
    table = in_session()
    write = table.write("a", 900)
    table.said()
    before = attempt(table)
    table.wait(900)
    assert (attempt(table), table.outcome(write)) == (before, InDoubt)


def test_calls_that_are_made_again_and_again_come_to_it_together():
    """Each alone has too little time for it."""
    table = in_session()
    outcomes = []
    for _ in range(3):
        call = table.write("a", HALF_MS_MIN)
        table.said()
        before = attempt(table)
        table.wait(HALF_MS_MIN // 2)
        if attempt(table) != before:
            table.open()
            count = len(table.said())
            table.hear(*(BatchAnswer(2 + n, answers([n])) for n in range(count)))
        table.wait(HALF_MS_MIN // 2)
        outcomes.append(table.outcome(call))
    assert outcomes[0] is InDoubt
    assert outcomes[1] == 1


def test_a_call_without_a_deadline_is_in_no_hurry():
    table = in_session()
    table.write("a")
    table.said()
    assert moment_of_reconnect(table) == HANG_MS


def test_the_call_that_has_least_time_decides():
    table = in_session()
    table.write("a", 8_000)
    table.said()
    table.wait(500)
    table.write("b", 3_000)
    table.said()
    assert moment_of_reconnect(table) == 1_500


def test_a_call_that_has_ended_decides_nothing():
    table = in_session()
    short = table.write("a", 3_000)
    table.write("b", 8_000)
    table.said()
    table.wait(100)
    table.take(table.talk.give_up(short, table.now_ms))
    assert moment_of_reconnect(table) == 3_900


def test_what_arrives_meanwhile_shows_that_the_connection_is_alive():
    table = in_session()
    table.write("a", 5_000)
    table.said()
    table.write("b", 5_000)
    table.said()
    table.wait(2_000)
    table.hear(BatchAnswer(2, answers([1])))
    assert moment_of_reconnect(table) == 2_500


def test_the_answer_that_opens_a_session_is_a_sign_of_life_too():
    table = Table()
    table.learn(FIRST)
    table.take(table.talk.give_up(table.read("r"), 0))
    table.learn(FIRST)
    table.open()
    table.write("a", 4_000)
    table.said()
    table.wait(1_500)
    table.hear(SessionOpened(session_id(1), 7))
    table.said()
    assert moment_of_reconnect(table) == 2_000


def test_in_a_stream_of_answers_no_connection_is_made_anew():
    table = in_session()
    before = attempt(table)
    for n in range(2, 60):
        table.write("a", 2_000)
        table.said()
        table.wait(900)
        table.hear(BatchAnswer(n, answers([n])))
        table.learn(FIRST)
    assert attempt(table) == before
    table.wait(100_000)
    assert attempt(table) == before
    assert table.talk.wake_ms() is None


def test_in_vain_it_takes_longer_each_time():
    table = in_session()
    moments: list[int] = []
    before = attempt(table)
    while len(moments) < 5:
        assert table.now_ms < 100_000, f"no more than {moments}"
        table.write("a", 2_000)
        table.said()
        table.wait(100)
        if attempt(table) != before:
            moments.append(table.now_ms)
            table.open()
            before = attempt(table)
    pauses = [after - since for since, after in pairwise([0, *moments])]
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000]
    table.said()
    table.hear(BatchAnswer(2, answers([1])))
    assert moment_of_reconnect(table) == HALF_MS_MIN


def test_an_attempt_that_takes_long_is_not_begun_again():
    """A slow name would be looked up from the beginning each time."""
    table = Table()
    table.read("r", 60_000)
    table.learn(FIRST)
    before = attempt(table)
    table.wait(50_000)
    assert attempt(table) == before
    table.open()
    table.said()
    table.hear(QueryAnswer(1, answers([1])))


def test_the_time_of_a_new_connection_counts_from_its_hello():
    table = Table()
    table.read("r", 60_000)
    table.learn(FIRST)
    table.wait(50_000)
    table.open()
    table.said()
    assert moment_of_reconnect(table) == HANG_MS


# -- to the view service -------------------------------------------------------


def test_both_connections_are_made_anew_in_time():
    """The primary is replaced, and nobody can say so on the old connection."""
    table = in_session()
    where = table.talk.locator
    write = table.write("a", 5_000)
    (batch,) = table.said()
    table.wait(SILENCE_MS + ASK_MS)
    assert where.views_redials == 1
    table.learn(SECOND)
    assert table.dialled == "s2"
    table.open()
    assert table.said() == [batch]
    table.hear(BatchAnswer(2, answers([1])))
    assert table.outcome(write) == 1


# -- what stood in the way -------------------------------------------------------

REFUSED = "Connection was refused by other side: 111: Connection refused."


def why(table: Table, timeout_ms: int = 10) -> str:
    read = table.read("r", timeout_ms)
    table.said()
    table.wait(timeout_ms)
    error = table.ended[read]
    assert isinstance(error, NotExecuted)
    return str(error)


def test_no_view_service():
    table = Table(views=("tcp:v:1", "tcp:w:1"))
    assert "the view service at tcp:v:1 or tcp:w:1 has not answered yet" in why(table)
    table.talk.views_failed("tcp:v:1", REFUSED)
    said = "no connection to the view service at tcp:v:1 (connection refused)"
    assert why(table).endswith(said)
    full = "goodbye: full: 1024 connections come from 127.0.0.1"
    table.talk.views_failed("tcp:w:1", full)
    assert why(table).endswith(f"{said} or at tcp:w:1 ({full})")
    table.talk.views_failed("tcp:v:1", "DNS lookup failed: no results")
    assert "at tcp:v:1 (DNS lookup failed: no results) or" in why(table)


def test_no_connection_to_the_primary():
    table = Table(views=("tcp:v:1",))
    table.learn(FIRST)
    table.talk.dial_failed(attempt(table), REFUSED, 0)
    said = f"no connection to the primary s1 at {S1.address} (connection refused)"
    assert why(table).endswith(said)
    table.talk.views_failed("tcp:v:1", REFUSED)
    views = "no connection to the view service at tcp:v:1 (connection refused)"
    assert why(table).endswith(f"{said}; {views}")
    table.talk.dial_failed(attempt(table) - 1, "of a former connection", 0)
    assert said in why(table)


def test_a_connection_that_stands_is_no_obstacle():
    table = Table(views=("tcp:v:1",))
    table.talk.views_failed("tcp:v:1", REFUSED)
    table.learn(FIRST)
    table.talk.dial_failed(attempt(table), REFUSED, 0)
    table.take(table.talk.views_opened(Hello(VERSION, "view service")))
    table.open()
    said = f"the primary s1 at {S1.address} has not answered"
    assert why(table).endswith(said)


def test_a_reason_of_any_length_is_cut():
    table = Table(views=("tcp:v:1",))
    table.talk.views_failed("tcp:v:1", "goodbye: full: " + "x" * 4096)
    assert len(why(table)) < 600


# -- reports of a primary that is out of reach -------------------------------------


def fail_dials(table: Table, ms: int) -> list[int]:
    """For *ms* every attempt to reach the primary fails -> when it is reported."""
    where, moments = table.talk.locator, []
    for _ in range(ms // 100):
        before = where.reports
        if where.dial is not None:
            table.talk.dial_failed(attempt(table), REFUSED, table.now_ms)
        if where.reports > before:
            moments.append(table.now_ms)
        table.wait(100)
    return moments


def test_a_primary_that_cannot_be_dialled_is_reported_now_and_then():
    table = Table()
    table.learn(FIRST)
    moments = fail_dials(table, 30_000)
    assert moments == [REPORT_MS + n * REPORT_AGAIN_MS for n in range(3)]


def test_one_that_comes_soon_is_not_reported():
    table = in_session()
    for _ in range(5):
        table.cut()
        assert fail_dials(table, REPORT_MS - 500) == []
        table.open()
    assert table.talk.locator.reports == 0


def test_another_primary_has_its_own_time():
    table = Table()
    table.learn(FIRST)
    assert fail_dials(table, 5_000) == [REPORT_MS]
    table.learn(SECOND)
    began = table.now_ms
    assert fail_dials(table, 5_000) == [began + REPORT_MS]


def test_a_further_view_with_the_same_primary_is_no_reason_for_another_report():
    table = Table()
    table.learn(FIRST)
    assert fail_dials(table, 5_000) == [REPORT_MS]
    table.learn(View(SECOND.number, S1))
    assert fail_dials(table, 5_000) == []


def test_a_primary_that_is_silent_is_reported_while_calls_wait():
    table = in_session()
    where = table.talk.locator
    table.wait(60_000)
    assert where.reports == 0, "nothing waits"
    table.write("a")
    table.said()
    table.wait(REPORT_MS - 1)
    assert where.reports == 0
    table.wait(1)
    assert where.reports == 1
    table.hear(BatchAnswer(2, answers([1])))
    table.wait(60_000)
    assert where.reports == 1
