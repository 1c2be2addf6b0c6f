"""Copies that are the same, whoever dies: the rules of every course."""

from __future__ import annotations

from tests.lab.grading import rule
from tests.lab.service import Caller, Service
from tests.sim.checker_clerks import tokens
from wire.commands import Append, Put

PART = "replication"


def appends(clerks: list[Caller], count: int, key: str = "a") -> None:
    """Each clerk appends so many times, without waiting."""
    for number in range(1, count + 1):
        for clerk in clerks:
            text = f"{clerk.process.name}.{number};"
            clerk.begin(Append(key.encode(), text.encode()))


def in_order(value: str | None, clerks: list[Caller], count: int) -> bool:
    """Is everything there once, each clerk's in its order?"""
    held = tokens((value or "").encode())
    return len(held) == len(clerks) * count and all(
        [number for name, number in held if name == clerk.process.name]
        == [*range(1, count + 1)]
        for clerk in clerks
    )


@rule(2, PART, "one server is a service, too")
def test_a_single_server_serves() -> None:
    lab = Service(servers=1)
    clerk = lab.clerk()
    clerk.put("a", "1")
    assert clerk.get("a") == "1"
    assert clerk.append("a", "2") == 2
    assert clerk.get("a") == "12"


@rule(1, PART, "a missing key is missing, and is where an append begins")
def test_a_missing_key_is_missing() -> None:
    clerk = Service(servers=1).clerk()
    assert clerk.get("a") is None
    assert clerk.append("a", "x") == 1
    clerk.put("a", "")
    assert clerk.get("a") == "", "an empty value is a value"
    assert clerk.delete("a")
    assert clerk.get("a") is None


@rule(2, PART, "the view service is asked per interval, not per operation")
def test_the_view_service_is_not_asked_for_each_operation() -> None:
    lab = Service()
    clerk = lab.clerk()
    clerk.put("a", "")
    asked = lab.said.get("Watch", 0)
    for _ in range(300):
        clerk.append("a", "x")
    assert lab.said.get("Watch", 0) == asked


@rule(3, PART, "a newcomer gets everything that was there before it came")
def test_a_backup_has_what_was_there_before_it_joined() -> None:
    lab = Service(servers=1)
    clerk = lab.clerk()
    clerk.put("old", "1")
    lab.start("s2")
    lab.whole()
    clerk.put("new", "2")
    lab.kill("s1")
    assert clerk.get("old") == "1"
    assert clerk.get("new") == "2"
    assert lab.primary == "s2"


@rule(3, PART, "a server that never held the data must not serve")
def test_after_the_last_server_a_fresh_one_does_not_serve() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.kill("s1", "s2")
    lab.start("s3")
    number = clerk.begin(Put(b"a", b"2"))
    lab.run(20)
    assert clerk.ended(number) is None
    assert lab.waiting is not None
    assert lab.waiting.code in {"primary", "lost"}


def write_right_after(victim: str) -> None:
    """The primary or the backup dies, and a clerk does not even notice much."""
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.kill(getattr(lab, victim))
    clerk.ends(clerk.begin(Put(b"a", b"2")), within_s=1.0)
    lab.whole()
    assert lab.value(lab.primary, "a") == "2"
    lab.kill(lab.primary)
    assert clerk.get("a") == "2"


@rule(2, PART, "who is gone must not hold up a write for long")
def test_a_write_right_after_the_primarys_death_is_done() -> None:
    write_right_after("primary")


@rule(2, PART, "a primary waits for a dead backup only until the view says so")
def test_a_write_right_after_the_backups_death_is_done() -> None:
    write_right_after("backup")


@rule(3, PART, "every copy executes in the primary's order")
def test_writes_to_the_same_keys_leave_the_same_values_everywhere() -> None:
    lab = Service(servers=2)
    clerks = [lab.clerk() for _ in range(3)]
    for number in range(40):
        for clerk in clerks:
            key = b"%d" % (number % 2)
            clerk.begin(Put(key, f"{clerk.process.name} {number}".encode()))
        lab.run(0.002)
    for clerk in clerks:
        clerk.all_end()
    before = [clerks[0].get(key) for key in "01"]
    lab.kill(lab.primary)
    assert [clerks[0].get(key) for key in "01"] == before


def appends_at_once(count: int, times: int) -> None:
    """So many clerks append so many times, all at once."""
    lab = Service(servers=2)
    clerks = [lab.clerk() for _ in range(count)]
    appends(clerks, times)
    for clerk in clerks:
        clerk.all_end(10)
    assert in_order(clerks[0].get("a"), clerks, times)
    lab.run(0.5)
    assert lab.value("s1", "a") == lab.value("s2", "a")
    lab.judge("a")


@rule(2, PART, "appends at once: each once, each clerk's in order")
def test_appends_of_three_clerks_are_there_once_and_in_order() -> None:
    appends_at_once(3, 50)


@rule(2, PART, "the same with more clerks and more appends")
def test_appends_of_ten_clerks_are_there_once_and_in_order() -> None:
    appends_at_once(10, 100)


@rule(3, PART, "the same through a failover")
def test_appends_through_a_failover_are_there_once_and_in_order() -> None:
    lab = Service(servers=3)
    clerks = [lab.clerk() for _ in range(10)]
    for number in range(1, 21):
        for clerk in clerks:
            clerk.begin(Append(b"a", f"{clerk.process.name}.{number};".encode()))
        lab.run(0.02)
        if number == 10:
            lab.kill(lab.primary)
    for clerk in clerks:
        clerk.all_end(10)
    assert in_order(clerks[0].get("a"), clerks, 20)
    lab.judge("a")


@rule(4, PART, "who was away comes back with nothing that counts")
def test_a_backup_that_was_away_has_what_it_missed() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    one, other = lab.primary, lab.backup
    lab.cut_off(other)
    lab.until(lambda: not lab.view.backups, 5, f"{other} leaves")
    clerk.put("a", "2")
    lab.heal()
    lab.whole()
    lab.kill(one)
    assert clerk.get("a") == "2"
    assert lab.primary == other


def crash_again_and_again(*, same_names: bool) -> None:
    """Kill somebody who serves, start somebody, ten times."""
    lab = Service(servers=3)
    clerk = lab.clerk()
    longest_us = 0
    for number in range(1, 61):
        if number % 6 == 0:
            victim = lab.world.random.choice([lab.primary, lab.backup])
            lab.kill(victim)
            lab.start(victim if same_names else f"s{number}")
        began_us = lab.world.agenda.now_us
        clerk.append("a", f"{clerk.process.name}.{number};")
        longest_us = max(longest_us, lab.world.agenda.now_us - began_us)
        assert in_order(clerk.get("a"), [clerk], number)
        if number % 6 == 5:
            lab.whole()
    assert longest_us < 1_000_000, f"a clerk waited {longest_us} us"


@rule(4, PART, "kill and restart for ever: nothing is lost, nobody waits long")
def test_repeated_crashes_lose_nothing_and_nobody_waits_long() -> None:
    crash_again_and_again(same_names=True)


@rule(2, PART, "the same, under new names")
def test_repeated_crashes_under_new_names() -> None:
    crash_again_and_again(same_names=False)


@rule(3, PART, "with two backups any two of three may die, one after the other")
def test_with_two_backups_two_may_die() -> None:
    lab = Service(servers=3, backups=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.kill(lab.primary)
    clerk.put("b", "2")
    lab.whole()
    lab.kill(lab.primary)
    assert clerk.get("a") == "1"
    assert clerk.get("b") == "2"


@rule(3, PART, "two of three at the same moment, too: who is left has everything")
def test_with_two_backups_two_may_die_at_once() -> None:
    lab = Service(servers=3, backups=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    survivor = lab.view.backups[1].name
    lab.kill(lab.primary, lab.backup)
    assert clerk.get("a") == "1"
    assert lab.primary == survivor


@rule(2, PART, "what is forwarded out of turn is answered in turn")
def test_several_writes_are_on_their_way_and_stay_in_order() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "")
    lab.slow(lab.primary, lab.backup, 30)
    appends([clerk], 20)
    lab.run(0.01)
    lab.slow(lab.primary, lab.backup, 0)
    clerk.all_end()
    assert in_order(clerk.get("a"), [clerk], 20)


@rule(3, PART, "emptied keys and closed sessions leave nothing behind")
def test_memory_is_returned() -> None:
    lab = Service(servers=2, limits={"tail_bytes_kept": 100_000})
    for _ in range(5):
        clerk = lab.clerk()
        for key in "abc":
            clerk.append(key, "x" * 300_000)
            clerk.delete(key)
        clerk.process.close()
        lab.run(1.5)
    for name in ("s1", "s2"):
        history = lab.server(name).history
        assert not history.state.table
        assert history.state.answer_bytes == 0
        assert len(history.state.machine) == 0  # type: ignore[arg-type]
        log = history.log
        kept = log.weight_between(log.base_index, log.end)
        assert kept < 500_000, f"{name} keeps {kept} bytes of log"


@rule(2, PART, "who says that it leaves is replaced at once")
def test_who_leaves_is_replaced_at_once() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.view.counter
    lab.server(lab.primary).leave()
    began_us = lab.world.agenda.now_us
    clerk.put("a", "2")
    assert lab.world.agenda.now_us - began_us < 150_000
    assert lab.view.counter == before + 1


@rule(3, PART, "a large state is brought over while writes go on")
def test_writes_go_on_while_a_backup_is_brought_up() -> None:
    lab = Service(servers=1, limits={"part_bytes": 5_000, "tail_bytes_kept": 0})
    clerk = lab.clerk()
    for number in range(400):
        clerk.begin(Put(b"k%d" % number, b"x" * 5_000))
    clerk.all_end()
    lab.start("s2")
    lab.until(lambda: lab.server("s1").replica.report.transfer_bytes, 5, "a transfer")
    during = 0
    while lab.server("s1").replica.report.transfer_bytes is not None:
        clerk.put("during", str(during))
        during += 1
    assert during > 10, "writes waited for the transfer"
    lab.whole()
    lab.kill("s1")
    assert clerk.get("during") == str(during - 1)
    assert clerk.get("k399") == "x" * 5_000
