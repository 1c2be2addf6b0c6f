"""What a clerk may rely on when requests and answers get lost."""

from __future__ import annotations

from tests.lab.grading import rule
from tests.lab.service import Service
from tests.lab.test_replication import appends, in_order
from tests.sim.checker_clerks import DONE, IN_DOUBT, NOT_EXECUTED, tokens
from wire.commands import Append, Get, Put
from wire.messages import BatchAnswer

PART = "clients"


def hundred_appends(servers: int, *, seed: int) -> None:
    """100 appends of one clerk, one after the other, over a lossy network."""
    lab = Service(servers=servers, seed=seed)
    clerk = lab.clerk()
    lab.lossy(10, 20)
    for number in range(1, 101):
        call = clerk.ends(
            clerk.begin(Append(b"a", f"{clerk.process.name}.{number};".encode())), 30
        )
        assert call.outcome == DONE
    lab.heal()
    assert in_order(clerk.get("a"), [clerk], 100)


@rule(3, PART, "a retry is not a second operation")
def test_at_most_once_with_one_server() -> None:
    hundred_appends(1, seed=1)


@rule(4, PART, "a retry is not a second operation, on the backup either")
def test_at_most_once_with_two_servers() -> None:
    hundred_appends(2, seed=2)


@rule(4, PART, "the answers to retries survive a failover with the data")
def test_at_most_once_through_a_lossy_failover() -> None:
    lab = Service(servers=3, seed=3)
    clerks = [lab.clerk() for _ in range(3)]
    lab.lossy(10, 20)
    for number in range(1, 31):
        for clerk in clerks:
            clerk.begin(Append(b"a", f"{clerk.process.name}.{number};".encode()))
        lab.run(0.05)
        if number in {10, 20}:
            lab.kill(lab.primary)
            lab.start(f"s{number}")
    for clerk in clerks:
        clerk.all_end(60)
    lab.heal()
    assert in_order(clerks[0].get("a"), clerks, 30)
    lab.judge("a")


@rule(4, PART, "an answer that was lost with its server is given by the next one")
def test_a_retry_after_a_failover_gets_the_first_answer() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.append("a", "1")
    primary = lab.primary
    # The primary is heard by nobody but its backup: it executes, the clerk waits.
    lab.cut_one_way(primary, clerk.process.host)
    lab.cut_one_way(primary, "views")
    number = clerk.begin(Append(b"a", b"2"))
    lab.until(lambda: lab.value(primary, "a") == "12", 3, "it is executed")
    assert clerk.ended(number) is None
    lab.until(lambda: lab.primary != primary, 3, "a failover")
    call = clerk.ends(number)
    assert call.answer.value == 2
    assert clerk.get("a") == "12"


@rule(3, PART, "what a clerk read stays read: its later reads begin with it")
def test_an_earlier_read_is_a_prefix_of_a_later_one() -> None:
    lab = Service(servers=3, seed=5)
    writer, reader = lab.clerk(), lab.clerk()
    lab.lossy(10, 20)
    seen: list[tuple[str, int]] = []
    for number in range(1, 41):
        writer.begin(Append(b"a", f"{writer.process.name}.{number};".encode()))
        if number % 13 == 0:
            lab.kill(lab.primary)
            lab.start(f"s{number}")
        call = reader.ends(reader.begin(Get(b"a")), 30)
        now = tokens(call.answer.value or b"")
        assert now[: len(seen)] == seen
        seen = now
    writer.all_end(30)


@rule(3, PART, "crashes and loss together, restarted servers included")
def test_repeated_crashes_over_a_lossy_network() -> None:
    lab = Service(servers=3, seed=6)
    clerks = [lab.clerk() for _ in range(2)]
    lab.lossy(10, 20)
    for number in range(1, 25):
        for clerk in clerks:
            clerk.begin(Append(b"a", f"{clerk.process.name}.{number};".encode()))
        if number % 6 == 0:
            lab.whole()
            victim = lab.world.random.choice([lab.primary, lab.backup])
            lab.kill(victim)
            lab.start(victim)
        lab.run(0.3)
    for clerk in clerks:
        clerk.all_end(60)
    lab.heal()
    assert in_order(clerks[0].get("a"), clerks, 24)
    lab.judge("a")


@rule(3, PART, "several outstanding calls take effect in the order of the calls")
def test_several_calls_are_outstanding_and_in_order() -> None:
    lab = Service(servers=2, seed=7, window=8)
    clerk = lab.clerk()
    clerk.put("a", "")
    lab.lossy(5, 10)
    for number in range(1, 61):
        clerk.begin(Append(b"a", f"{clerk.process.name}.{number};".encode()))
        lab.run(0.001)
    clerk.all_end(30)
    lab.heal()
    assert in_order(clerk.get("a"), [clerk], 60)


@rule(3, PART, "never call failed what may have happened")
def test_a_deadline_after_sending_leaves_a_call_in_doubt() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.cut_one_way(lab.primary, clerk.process.host)
    call = clerk.ends(clerk.begin(Append(b"a", b"2"), timeout_s=0.2))
    assert call.outcome == IN_DOUBT
    assert lab.value(lab.primary, "a") == "12", "and so it was right to doubt"


@rule(2, PART, "what was never sent was never executed, and the clerk says so")
def test_a_deadline_before_sending_is_no_doubt() -> None:
    lab = Service(servers=1)
    lab.kill("s1")
    clerk = lab.clerk()
    call = clerk.ends(clerk.begin(Put(b"a", b"1"), timeout_s=0.5))
    assert call.outcome == NOT_EXECUTED


@rule(2, PART, "a read that did not end changed nothing: it may be asked again")
def test_a_read_is_never_in_doubt() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.cut_one_way(lab.primary, clerk.process.host)
    call = clerk.ends(clerk.begin(Get(b"a"), timeout_s=0.2))
    assert call.outcome == NOT_EXECUTED


@rule(3, PART, "one call given up must not hold up those after it")
def test_a_call_that_is_given_up_leaves_no_hole() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "")
    lab.cut(clerk.process.host, lab.primary)
    given_up = clerk.begin(Append(b"a", b"1"), timeout_s=0.2)
    kept = clerk.begin(Append(b"a", b"2"))
    assert clerk.ends(given_up).outcome in {IN_DOUBT, NOT_EXECUTED}
    lab.heal()
    assert clerk.ends(kept, 10).outcome == DONE
    assert clerk.get("a") in {"12", "2"}


@rule(2, PART, "a hanging primary is noticed by its silence")
def test_a_primary_that_hangs_without_closing_is_left() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.pause(lab.primary)
    call = clerk.ends(clerk.begin(Append(b"a", b"2")), within_s=1.5)
    assert call.answer.value == 2


@rule(2, PART, "one message answers all that was called together")
def test_calls_made_together_travel_together() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "")
    before = lab.said[BatchAnswer.__name__]
    appends([clerk], 100)
    clerk.all_end()
    assert lab.said[BatchAnswer.__name__] - before <= 10
