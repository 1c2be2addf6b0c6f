"""What no course asks for, and every operator does."""

from __future__ import annotations

from tests.lab.grading import rule
from tests.lab.registry import DEAD, Registry
from tests.lab.service import Service
from tests.replicas import Table, batch, view
from tests.sim.run import run
from wire.commands import Append
from wire.messages import BatchAnswer, SnapshotPart

PART = "beyond the courses"


@rule(4, PART, "a backup that is back under a new incarnation holds nothing")
def test_a_backup_that_restarts_at_once_is_brought_up_anew() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before, primary, backup = lab.view.counter, lab.primary, lab.backup
    lab.kill(backup)
    lab.start(backup)
    lab.until(lambda: lab.view.counter > before and lab.is_whole(), 10, "a new view")
    lab.kill(primary)
    assert clerk.get("a") == "1"
    assert lab.primary == backup


@rule(3, PART, "a lone primary that restarts has lost everything: nobody may serve")
def test_a_lone_primary_that_restarts_does_not_serve() -> None:
    lab = Service(servers=1)
    clerk = lab.clerk()
    clerk.put("a", "1")
    lab.kill("s1")
    lab.start("s1")
    number = clerk.begin(Append(b"a", b"2"))
    lab.run(10)
    assert clerk.ended(number) is None
    assert lab.waiting is not None
    assert lab.waiting.code == "lost"
    assert "--new-cluster" in lab.waiting.text


@rule(3, PART, "what was decided is on disk before anybody hears of it")
def test_a_restarted_view_service_remembers_everything() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.view
    lab.restart_views(down_s=2.0)
    clerk.put("a", "2")
    lab.run(3)
    assert lab.view == before, "nobody has died"
    lab.kill(lab.primary)
    assert clerk.get("a") == "2"
    assert lab.view.counter == before.counter + 1


@rule(4, PART, "who has forgotten must not decide: views it made may still be served")
def test_a_view_service_that_lost_its_memory_makes_no_view() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.server(lab.primary).replica.view
    lab.world.disk = b""
    lab.restart_views()
    lab.start("s4")
    for _ in range(50):
        clerk.append("a", "x")
        lab.run(0.1)
    assert lab.view.number == 0
    assert lab.waiting is not None
    assert lab.waiting.code == "memory lost"
    assert clerk.get("a") == "1" + 50 * "x", "the old view goes on"
    assert lab.server("s4").replica.view.number == 0
    assert before.number > 0


@rule(3, PART, "a view service that was away is nobody's death")
def test_a_paused_view_service_declares_nobody_dead() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.view
    lab.pause("views")
    lab.run(5)
    clerk.put("a", "2")
    lab.wake("views")
    lab.run(3)
    assert lab.view == before


@rule(3, PART, "a slow view service delays changes, not operations")
def test_a_slow_view_service_holds_up_no_operation() -> None:
    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "1")
    for host in ("s1", "s2", "s3"):
        lab.slow("views", host, 150)
        lab.slow(host, "views", 150)
    before = lab.view
    for _ in range(20):
        clerk.append("a", "x")
        lab.run(0.1)
    assert lab.view == before


@rule(4, PART, "a primary that wakes up believes what it believed: it must ask")
def test_a_primary_that_was_paused_completes_nothing_on_waking() -> None:
    lab = Service(servers=3)
    clerk, other = lab.clerk(), lab.clerk()
    clerk.put("r", "1")
    primary = lab.primary
    number = clerk.begin(Append(b"r", b"2"))
    lab.run(0.0005)
    lab.pause(primary)
    assert other.append("r", "3") in {2, 3}
    lab.wake(primary)
    clerk.ends(number)
    lab.run(1)
    assert not lab.server(primary).is_leading()
    assert clerk.get("r") in {"123", "132"}
    lab.judge("r")


@rule(2, PART, "a backup that wakes up says where it stands")
def test_a_backup_that_was_paused_catches_up() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    primary, backup = lab.primary, lab.backup
    lab.pause(backup)
    clerk.append("a", "2")
    lab.wake(backup)
    lab.whole()
    lab.kill(primary)
    assert clerk.get("a") == "12"


@rule(3, PART, "time is the log's own: what clocks show makes no difference")
def test_clocks_are_hours_apart_and_nobody_is_evicted() -> None:
    lab = Service(servers=3, sessions={"idle_ms_max": 5_000})
    for hours, name in enumerate(("s1", "s2", "s3")):
        lab.server(name).jump(hours * 3_600_000_000)
    clerk = lab.clerk()
    clerk.append("a", "x")
    for _ in range(2):
        lab.kill(lab.primary)
        clerk.append("a", "x")
        lab.whole()
    assert clerk.get("a") == "xxx"
    [session] = lab.server(lab.primary).history.state.table.values()
    assert session.next == 4, "it is the session of the first append"


@rule(3, PART, "the table of answers is bounded, and evicts alike everywhere")
def test_a_thousand_clerks_leave_a_bounded_table() -> None:
    table = Table("A B")
    table.sessions = {"sessions_max": 20}
    table.start("A")
    table.start("B")
    table.found()
    table.lead(view(2, "A", "B"))
    for number in range(1, 250):
        table.opened("A", of=number)
        opened_index = table["A"].history.commit
        table.ask("A", batch(1, opened_index=opened_index, of=number))
        table.settle()
    table.tick()
    table.settle()
    assert len(table["A"].history.state.table) == 20
    states = {table[who].history.state.digest() for who in "AB"}
    assert len(states) == 1


@rule(3, PART, "the stored answer is given, byte for byte")
def test_a_repeated_request_has_the_same_bytes_after_a_failover() -> None:
    table = Table("A B")
    table.found()
    table.lead(view(2, "A", "B"))
    table.opened("A")
    table.ask("A", batch(1), batch(2, first_unanswered=1))
    table.settle()
    first = table.told()
    assert [type(message) for message in first] == [BatchAnswer] * 2
    table.cut("A", "B")
    table.tell(view(3, "B"), "B")
    table.ask("B", batch(1), batch(2, first_unanswered=1), clerk="d")
    assert table.told("d") == first


@rule(3, PART, "a whole snapshot that comes late changes nothing")
def test_a_late_copy_of_a_snapshot_is_not_installed() -> None:
    table = Table("A B", tail_bytes_kept=0, part_bytes=1)
    table.found()
    table.opened("A")
    for sequence in range(1, 6):
        table.ask("A", batch(sequence))
        table.settle()
    table.tell(view(2, "A", "B"), "A B")
    table.connect("A", "B")
    copies = []
    while table["A"].synced != ("B",):
        said = table.carry("A", "B")
        copies += [message for message in said if isinstance(message, SnapshotPart)]
        table.carry("B", "A")
    assert len(copies) > 1
    table.ask("A", batch(6))
    table.settle()
    link = table.links["A", "B"]
    before = table["B"].history.log.end
    for part in copies:
        table["B"].receive(link, table["A"].me, part)
    table.settle()
    table.tick()
    table.settle()
    assert table["B"].history.log.end == before
    assert table.value("B") == b"123456"


@rule(2, PART, "the strict gate stops for good where the narrow one goes on")
def test_the_strict_gate_is_worth_seeing_once() -> None:
    for strict, backups in ((False, ()), (True, ("s2",))):
        lab = Registry(strict=strict)
        lab.start("s1")
        lab.servers["s1"].is_lagging = True
        lab.start("s2")
        lab.tick()
        lab.silence("s2", ticks=2 * DEAD)  # it dies while it is brought up
        assert lab.seen[1:] == ("s1", backups)


@rule(3, PART, "an unacknowledged primary may be replaced by who holds everything")
def test_promoted_before_the_old_view_was_acknowledged() -> None:
    lab = Registry(backups=2)
    lab.start("s1", "s2", "s3")
    lab.tick()
    lab.silence("s3", ticks=DEAD)
    number = lab.seen[0]
    lab.servers["s1"].is_lagging = True
    lab.start("s4")
    lab.tick()
    assert lab.seen == (number + 1, "s1", ("s2", "s4"))
    lab.silence("s1", ticks=DEAD)
    assert lab.seen[1] == "s2", "s2 has held everything all along; s4 has not"


@rule(4, PART, "crashes, cuts, pauses, late messages: one order explains all answers")
def test_random_worlds_are_linearizable() -> None:
    for seed in range(20):
        result = run(seed)
        assert result.violation is None, f"{result.violation}; seed {seed}"


@rule(2, PART, "the same seed is the same run")
def test_a_run_replays_from_its_seed() -> None:
    assert run(7) == run(7)
    assert run(7).trace != run(8).trace
