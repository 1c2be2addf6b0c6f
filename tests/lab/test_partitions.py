"""Who may speak when not everybody hears everybody."""

from __future__ import annotations

from tests.lab.grading import rule
from tests.lab.service import Caller, Service
from tests.sim.checker_clerks import DONE
from wire.commands import Append, Get, Put
from wire.messages import Query

PART = "partitions"


def replaced(servers: int = 3) -> tuple[Service, Caller, str]:
    """The first primary is cut off from the view service only, and replaced
    without knowing it; a clerk that asked it before still does."""
    lab = Service(servers=servers)
    clerk = lab.clerk()
    clerk.put("a", "old")
    primary = lab.primary
    lab.cut(primary, "views")
    lab.cut(clerk.process.host, "views")
    lab.cut(primary, lab.backup)
    lab.until(lambda: lab.primary != primary, 5, "a new primary")
    return lab, clerk, primary


@rule(4, PART, "before answering a read, make sure that you still lead")
def test_a_replaced_primary_answers_no_read_and_the_read_ends() -> None:
    lab, clerk, primary = replaced()
    other = lab.clerk()
    other.put("a", "new")
    assert lab.server(primary).is_leading(), "it does not know"
    number = clerk.begin(Get(b"a"))
    lab.run(3)
    assert lab.server(primary).is_leading()
    assert clerk.ended(number) is None, "nobody could have answered truly"
    lab.heal()
    assert clerk.ends(number).answer.value == b"new"


@rule(4, PART, "with its old backup gone it must not go on alone")
def test_a_replaced_primary_completes_nothing_when_its_backup_is_dead() -> None:
    lab, clerk, primary = replaced()
    other = lab.clerk()
    other.put("a", "new")
    lab.whole()
    lab.kill(lab.primary)
    read, write = clerk.begin(Get(b"a")), clerk.begin(Append(b"a", b"!"))
    lab.run(3)
    assert lab.server(primary).is_leading()
    assert clerk.ended(read) is None
    assert clerk.ended(write) is None
    lab.heal()
    assert clerk.ends(read, 10).answer.value in {b"new", b"new!"}
    assert clerk.ends(write, 10).answer.value == 4


@rule(4, PART, "a read that was sent long ago is answered by who leads now, or not")
def test_a_delayed_read_reaches_a_replaced_primary() -> None:
    lab = Service(servers=3)
    clerk, other = lab.clerk(), lab.clerk()
    clerk.put("a", "old")
    primary = lab.primary
    lab.slow(clerk.process.host, primary, 1500)
    number = clerk.begin(Get(b"a"))
    lab.run(0.01)
    lab.cut("views", primary, clerk.process.host)
    lab.until(lambda: lab.primary != primary, 5, "a new primary")
    other.put("a", "new")
    assert clerk.ends(number, 10).answer.value == b"new"


@rule(3, PART, "whoever speaks for an older view is told the newer one")
def test_the_old_backup_tells_the_old_primary() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary = lab.primary
    lab.cut(primary, "views")
    lab.until(lambda: lab.primary != primary, 5, "a new primary")
    lab.run(0.5)
    assert not lab.server(primary).is_leading(), "its own backup told it"


@rule(4, PART, "both ping, and do not reach each other: the primary's word decides")
def test_a_backup_that_the_primary_cannot_reach_is_replaced() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary, backup, idle = lab.primary, lab.backup, lab.idle
    lab.cut(primary, backup)
    call = clerk.ends(clerk.begin(Append(b"a", b"2")), 5)
    assert call.outcome == DONE
    assert (lab.primary, lab.backup) == (primary, idle)


@rule(3, PART, "the same when only one direction is cut")
def test_a_backup_that_hears_and_is_not_heard_is_replaced() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary, backup, idle = lab.primary, lab.backup, lab.idle
    lab.cut_one_way(backup, primary)
    clerk.ends(clerk.begin(Append(b"a", b"2")), 5)
    assert (lab.primary, lab.backup) == (primary, idle)
    lab.whole()
    lab.cut_off(primary)
    assert clerk.ends(clerk.begin(Get(b"a")), 5).answer.value == b"12"


@rule(3, PART, "without a third server the primary goes on alone, and says so")
def test_a_primary_whose_only_backup_is_unreachable_goes_on() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary = lab.primary
    lab.cut("s1", "s2")
    clerk.ends(clerk.begin(Append(b"a", b"2")), 5)
    assert lab.primary == primary
    assert lab.view.backups == ()
    assert lab.waiting is not None
    assert lab.waiting.code == "backup"
    lab.heal()
    lab.whole()
    lab.kill(primary)
    assert clerk.get("a") == "12"


@rule(3, PART, "two backups against one: the primary is the one who is cut off")
def test_a_primary_that_none_of_two_backups_hears_is_replaced() -> None:
    lab = Service(servers=3, backups=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary = lab.primary
    lab.cut(primary, *(member.name for member in lab.view.backups))
    clerk.ends(clerk.begin(Append(b"a", b"2")), 10)
    assert lab.primary != primary
    assert clerk.get("a") == "12"


@rule(3, PART, "who is cut off from everybody is replaced, and catches up")
def test_an_isolated_primary_is_replaced_and_comes_back() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary = lab.primary
    lab.cut_off(primary)
    assert clerk.append("a", "2") == 2
    lab.heal()
    lab.until(lambda: lab.server(primary).replica.role is None, 5, "it steps down")
    lab.whole()
    lab.kill(lab.primary)
    lab.whole()
    lab.kill(lab.primary)
    assert clerk.get("a") == "12"


@rule(3, PART, "a write that only the old primary has is not undone, nor done twice")
def test_a_write_at_an_isolated_primary_happens_once() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary = lab.primary
    lab.cut_off(primary, but=[clerk.process.host])
    lab.cut(clerk.process.host, "views")
    number = clerk.begin(Append(b"a", b"2"))
    lab.until(lambda: lab.primary != primary, 5, "a new primary")
    assert clerk.ended(number) is None
    lab.heal()
    assert clerk.ends(number, 10).answer.value == 2
    assert clerk.get("a") == "12"


@rule(3, PART, "a connection that is dead at one end only is given up")
def test_a_half_open_connection_is_noticed() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    network = lab.world.network
    backup = lab.server(lab.backup)
    for end in list(network.ends.values()):
        if end.process is backup and end.other.process is lab.server(lab.primary):
            network.tear(end, 10_000_000)  # the primary learns of it in 10 s
    call = clerk.ends(clerk.begin(Append(b"a", b"2")), 5)
    assert call.answer.value == 2


@rule(3, PART, "clerks cut off from the view service go on while the view stands")
def test_without_the_view_service_the_view_serves_on() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.cut_off("views")
    for _ in range(50):
        clerk.append("a", "x")
        lab.run(0.1)
    assert clerk.get("a") == "1" + 50 * "x"


@rule(2, PART, "one round serves all reads that came together")
def test_reads_cost_rounds_and_no_entries() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    end = lab.server(lab.primary).history.log.end
    for _ in range(100):
        clerk.begin(Get(b"a"))
    clerk.all_end()
    assert lab.server(lab.primary).history.log.end == end
    assert lab.said[Query.__name__] < 20


@rule(2, PART, "the second of two deaths is survived once the first is made good")
def test_a_chain_of_failovers_keeps_everything() -> None:
    lab = Service(servers=4)
    clerk = lab.clerk()
    for number in range(3):
        clerk.ends(clerk.begin(Put(b"%d" % number, b"x")), 5)
        lab.whole()
        lab.kill(lab.primary)
    assert [clerk.get(str(number)) for number in range(3)] == ["x"] * 3
