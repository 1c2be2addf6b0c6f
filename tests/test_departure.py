"""
When a server that was told to stop may go: the decision as tables, and whole
services on virtual time whose servers are stopped in every order.
"""

from __future__ import annotations

import functools
from random import Random

import pytest
from attrs import evolve
from twisted.logger import capturedLogs

from pbserver.departure import (
    ALONE_PINGS,
    BACKUP_S_MAX,
    IDLE,
    STOP_S_MAX,
    Act,
    BackupState,
    Departure,
    Registration,
    Standing,
    Step,
    act,
    awaited,
    lost,
)
from tests.lab.service import Service
from wire.messages import BACKUP, PRIMARY

PING_S, DEAD_PINGS = 0.1, 5

SYNCED = BackupState("b", synced=True, connected=True, stopped=False, verified=9)
COMING = BackupState("c", synced=False, connected=True, stopped=False, verified=4)
DIALLED = evolve(COMING, connected=False)
#: Synced and lost: it may have crashed, or its connection may be made again.
CUT = evolve(SYNCED, connected=False)
STOPPED = evolve(SYNCED, connected=False, stopped=True)
STOPPED_COMING = evolve(COMING, connected=False, stopped=True)


def primary(*backups: BackupState, **values: object) -> Standing:
    return evolve(Standing(PRIMARY, 9, backups), **values)


def backup(*, is_followed: bool = True, **values: object) -> Standing:
    return evolve(Standing(BACKUP, 9, is_followed=is_followed), **values)


LOST = {"registration": Registration.LOST}
GONE = {"registration": Registration.STOPPED}
MARGIN = {"is_in_margin": True}
ALONE_S, TWO_DEATHS_S = ALONE_PINGS * PING_S, 2 * DEAD_PINGS * PING_S

DECISIONS = {
    "idle": (Standing(IDLE, 9), Act.GO),
    "nothing was ever written": (Standing(PRIMARY, 0, (COMING,)), Act.GO),
    "a backup without a single entry": (Standing(BACKUP, 0), Act.GO),
    "a primary with a synced backup": (primary(SYNCED), Act.OFFER),
    "with one of two synced": (primary(COMING, SYNCED), Act.OFFER),
    "with a synced one, the other one stopped": (
        primary(STOPPED_COMING, SYNCED),
        Act.OFFER,
    ),
    "with a synced one, the view service away": (primary(SYNCED, **LOST), Act.OFFER),
    "with a synced one, the view service stopped": (
        primary(SYNCED, **GONE),
        Act.OFFER,
    ),
    "with a newcomer": (primary(COMING), Act.BRING_UP),
    "with a newcomer, the view service away": (primary(COMING, **LOST), Act.BRING_UP),
    "with a newcomer that is still dialled": (primary(DIALLED), Act.BRING_UP),
    "with a newcomer, the view service stopped": (
        primary(COMING, **GONE),
        Act.BRING_UP,
    ),
    "with a newcomer out of reach, the view service away": (
        primary(DIALLED, **LOST),
        Act.BRING_UP,
    ),
    "with a newcomer out of reach, the view service stopped": (
        primary(DIALLED, **GONE),
        Act.SETTLE,
    ),
    "with a synced one that is out of reach": (primary(CUT), Act.BRING_UP),
    "with a synced one that is stopping": (primary(STOPPED), Act.SETTLE),
    "with a newcomer that is stopping": (primary(STOPPED_COMING), Act.SETTLE),
    "with one that is stopping, and a newcomer": (
        primary(STOPPED, COMING),
        Act.BRING_UP,
    ),
    "a primary alone": (primary(), Act.SETTLE),
    "a primary that has announced it, alone": (
        primary(is_confirmed=True),
        Act.SETTLE,
    ),
    "a primary that has announced it, with a synced one": (
        primary(SYNCED, is_confirmed=True),
        Act.OFFER,
    ),
    "a backup of a living primary": (backup(), Act.OFFER),
    "a backup that the view service let go": (backup(is_confirmed=True), Act.GO),
    "a backup, the view service away": (backup(**LOST), Act.OFFER),
    "a backup that was let go, the view service away": (
        backup(is_confirmed=True, **LOST),
        Act.GO,
    ),
    "a backup, the view service stopped": (backup(**GONE), Act.GO),
    "a backup without its primary": (backup(is_followed=False), Act.SETTLE),
    "a backup without its primary, let go": (
        backup(is_followed=False, is_confirmed=True),
        Act.SETTLE,
    ),
    "a backup without its primary, the view service away": (
        backup(is_followed=False, **LOST),
        Act.SETTLE,
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decision(name):
    standing, expected = DECISIONS[name]
    assert act(standing) is expected


#: What it does all along, for how long, and whether it abandons data then.
BOUNDS = {
    "a newcomer": (primary(COMING), STOP_S_MAX, True),
    "a synced backup that does not take over": (primary(SYNCED), STOP_S_MAX, False),
    "a synced backup that does not take over, in a margin": (
        primary(SYNCED, **MARGIN),
        STOP_S_MAX,
        False,
    ),
    "a synced backup, the view service away": (
        primary(SYNCED, **LOST),
        STOP_S_MAX,
        False,
    ),
    "a synced backup that says nothing, the view service stopped": (
        primary(SYNCED, **GONE),
        ALONE_S,
        False,
    ),
    "a newcomer, the view service stopped": (
        primary(COMING, **GONE),
        STOP_S_MAX,
        True,
    ),
    "alone": (primary(), ALONE_S, True),
    "alone in a margin": (primary(**MARGIN), STOP_S_MAX, True),
    "alone, the view service away": (primary(**LOST), STOP_S_MAX, True),
    "alone, the view service stopped": (primary(**GONE), 0, True),
    "all are stopping": (primary(STOPPED), ALONE_S, True),
    "all are stopping in a margin": (primary(STOPPED, **MARGIN), STOP_S_MAX, True),
    "all are stopping, the view service too": (primary(STOPPED, **GONE), 0, True),
    "all are stopping, the view service too, in what was its margin": (
        primary(STOPPED, **GONE, **MARGIN),
        0,
        True,
    ),
    "no primary": (backup(is_followed=False, is_eligible=True), STOP_S_MAX, True),
    "no primary, and not eligible": (backup(is_followed=False), TWO_DEATHS_S, True),
    "no primary, not eligible, and the view service away": (
        backup(is_followed=False, **LOST),
        TWO_DEATHS_S,
        True,
    ),
    "no primary and no view service": (
        backup(is_followed=False, is_eligible=True, **GONE),
        0,
        True,
    ),
    "no answer to the last ping": (backup(), BACKUP_S_MAX, False),
    "nobody to answer the last ping": (backup(**LOST), BACKUP_S_MAX, False),
    "nothing depends on it": (Standing(IDLE, 9), 0, False),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bound(name):
    standing, seconds, abandons = BOUNDS[name]
    departure = Departure(100.0)
    step = functools.partial(
        departure.step, standing=standing, ping_s=PING_S, dead_pings=DEAD_PINGS
    )
    if seconds:
        assert step(100.0) == Step(act(standing))
        assert step(100.0 + seconds - 0.001) == Step(act(standing))
    assert step(100.001 + seconds) == Step(Act.GO, abandons)


@pytest.mark.parametrize(
    ("standing", "abandons"),
    [
        (primary(COMING), True),
        (primary(SYNCED), False),
        (primary(), True),
        (backup(), False),
        (backup(is_followed=False), True),
        (Standing(IDLE, 9), False),
    ],
)
def test_a_second_signal_ends_the_wait(standing, abandons):
    departure = Departure(0.0)
    departure.step(0.0, standing, PING_S, DEAD_PINGS)
    departure.is_urgent = True
    assert departure.step(0.0, standing, PING_S, DEAD_PINGS) == Step(Act.GO, abandons)


def test_long_intervals_do_not_prolong_the_stop():
    departure = Departure(0.0)
    assert departure.step(0.0, primary(), 60.0, 5).act is Act.SETTLE
    assert departure.step(STOP_S_MAX, primary(), 60.0, 5) == Step(Act.GO, True)


def test_each_wait_has_its_own_patience_and_all_share_one():
    departure = Departure(0.0)
    alone_s = ALONE_PINGS * PING_S
    assert departure.step(0.0, primary(), PING_S, 5).act is Act.SETTLE
    assert departure.step(alone_s / 2, primary(COMING), PING_S, 5).act is Act.BRING_UP
    assert departure.step(5.0, primary(STOPPED), PING_S, 5).act is Act.SETTLE
    late_s = 5.0 + alone_s - 0.01
    assert departure.step(late_s, primary(STOPPED), PING_S, 5).act is Act.SETTLE
    assert departure.step(late_s, primary(COMING), PING_S, 5).act is Act.BRING_UP
    assert departure.step(7.99, primary(SYNCED), PING_S, 5).act is Act.OFFER
    assert departure.step(STOP_S_MAX, primary(COMING), PING_S, 5).act is Act.GO


def test_a_primary_alone_waits_a_little_longer_than_a_margin():
    """A tick of the view service may be late."""
    departure = Departure(0.0)
    delayed, after = primary(**MARGIN), primary()
    assert departure.step(0.0, delayed, PING_S, 5).act is Act.SETTLE
    assert departure.step(2.2, after, PING_S, 5).act is Act.SETTLE
    assert departure.step(2.2 + ALONE_S - 0.01, after, PING_S, 5).act is Act.SETTLE
    assert departure.step(2.21 + ALONE_S, after, PING_S, 5) == Step(Act.GO, True)


def test_a_backup_that_hears_its_primary_now_and_then_waits_no_longer():
    departure = Departure(0.0)
    silent = backup(is_followed=False, is_eligible=True, **LOST)
    assert departure.step(0.0, backup(**LOST), PING_S, 5).act is Act.OFFER
    assert departure.step(3.9, silent, PING_S, 5).act is Act.SETTLE
    assert departure.step(3.95, backup(**LOST), PING_S, 5).act is Act.OFFER
    assert departure.step(BACKUP_S_MAX, backup(**LOST), PING_S, 5).act is Act.OFFER
    assert departure.step(3.96 + ALONE_S, backup(**LOST), PING_S, 5) == Step(Act.GO)


def test_of_two_that_stop_without_a_view_service_the_last_says_what_is_lost():
    first, last = Departure(0.0), Departure(0.0)
    follower = backup(**LOST)
    assert first.step(0.0, follower, PING_S, 5).act is Act.OFFER
    assert last.step(0.0, primary(SYNCED, **LOST), PING_S, 5).act is Act.OFFER
    assert first.step(BACKUP_S_MAX, follower, PING_S, 5) == Step(Act.GO)
    alone = primary(STOPPED, **LOST)
    assert last.step(BACKUP_S_MAX, alone, PING_S, 5).act is Act.SETTLE
    assert last.step(STOP_S_MAX, alone, PING_S, 5) == Step(Act.GO, True)


def test_the_log_names_what_is_awaited_and_what_is_lost():
    assert awaited(primary(COMING, STOPPED)) == "c to be synced"
    assert awaited(primary(SYNCED, COMING)) == "b to become primary"
    assert awaited(primary(STOPPED)) == "a backup to come"
    assert awaited(backup()) == "its primary to be heard, or a view without it"
    assert awaited(primary(SYNCED, **LOST)) == (
        "the view service, and then b to become primary"
    )
    assert lost(primary(COMING, STOPPED)) == (
        "the keys and sessions of 9 entries: no other server is known to hold them"
        " (c has 4 of them)"
    )
    assert lost(primary()).endswith("to hold them")


# -- whole services -------------------------------------------------------------------


def leave(lab: Service, *names: str) -> None:
    for name in names:
        lab.server(name).leave()


@pytest.fixture
def filled():
    """Three servers of which one is idle, and something to lose."""
    lab = Service(servers=3)
    lab.clerk().put("a", "1")
    return lab


def slowed(servers: int = 2) -> tuple[Service, str, str]:
    """A primary that brings up a newcomer, slowly -> service, primary, newcomer."""
    lab = Service(servers=servers, limits={"part_bytes": 100, "tail_bytes_kept": 0})
    clerk = lab.clerk()
    for number in range(40):
        clerk.put(f"key{number}", "v" * 100)
    newcomer = lab.backup
    lab.kill(newcomer)
    lab.until(lambda: not lab.view.backups, 3, "a view without a backup")
    lab.slow(lab.primary, newcomer, 100)
    lab.start(newcomer)
    lab.until(lambda: lab.view.backups, 3, "a view with the newcomer")
    return lab, lab.primary, newcomer


def test_a_primary_is_replaced_before_it_goes(filled):
    old, heir = filled.primary, filled.backup
    process = filled.server(old)
    leave(filled, old)
    filled.until(lambda: not process.is_alive, 0.1, "an end at once")
    assert filled.primary == heir
    assert filled.clerk().get("a") == "1"


@pytest.mark.parametrize("which", ["backup", "idle"])
def test_who_is_not_needed_goes_at_once(filled, which):
    name = getattr(filled, which)
    process = filled.server(name)
    leave(filled, name)
    filled.until(lambda: not process.is_alive, 0.1, "an end at once")


def test_a_primary_brings_its_newcomer_up_before_it_goes():
    lab, old, newcomer = slowed()
    process = lab.server(old)
    leave(lab, old)
    clerk = lab.clerk()
    clerk.put("meanwhile", "served")
    assert process.is_alive, "the newcomer cannot have everything yet"
    lab.until(lambda: not process.is_alive, STOP_S_MAX, "the end of the primary")
    assert lab.primary == newcomer
    assert clerk.get("key7") == "v" * 100
    assert clerk.get("meanwhile") == "served"


def test_a_newcomer_that_leaves_is_not_waited_for():
    lab, old, newcomer = slowed()
    process = lab.server(old)
    leave(lab, old)
    lab.run(0.5)
    assert process.is_alive
    leave(lab, newcomer)
    lab.until(lambda: not process.is_alive, 1, "the end of the primary")


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_a_whole_cluster_that_stops_during_a_transfer_waits_for_nothing(seconds):
    """The view service is gone, so no view shows that the newcomer is gone, too."""
    lab, old, newcomer = slowed()
    lab.run(seconds)
    processes = [lab.server(old), lab.server(newcomer)]
    assert not processes[0].replica.synced
    lab.world.views_process.leave()
    leave(lab, old, newcomer)
    lab.until(lambda: not any(each.is_alive for each in processes), 1, "the end of all")


def test_a_newcomer_that_leaves_while_the_view_service_is_away():
    """It is not waited for, but the view service is."""
    lab, old, newcomer = slowed()
    lab.run(0.5)
    process = lab.server(old)
    assert not process.replica.synced
    lab.world.views_process.end()
    leave(lab, newcomer, old)
    lab.run(STOP_S_MAX - 0.2)
    assert process.is_alive
    standing = process._service._standing()
    assert awaited(standing) == "the view service, and then a backup to come"
    lab.until(lambda: not process.is_alive, 0.4, "the end of the primary")


def test_a_second_signal_ends_a_wait():
    lab, old, _ = slowed()
    process = lab.server(old)
    leave(lab, old)
    lab.run(0.5)
    assert process.is_alive
    process.soon(process._service._hurry)
    lab.until(lambda: not process.is_alive, 0.3, "the end of the primary")


def test_a_server_that_must_stop_does_not_wait():
    lab, old, _ = slowed()
    process = lab.server(old)
    leave(lab, old)
    lab.run(0.5)
    process.soon(lambda: process._service.stop("superseded: by another one"))
    lab.until(lambda: not process.is_alive, 0.3, "the end of the primary")


@pytest.mark.parametrize("order", ["primary backup", "backup primary"])
def test_primary_and_backup_leave_together_and_a_third_gets_everything(filled, order):
    names = [getattr(filled, which) for which in order.split()]
    third = filled.idle
    processes = [filled.server(name) for name in names]
    leave(filled, *names)
    filled.until(
        lambda: not any(each.is_alive for each in processes), 2, "the end of both"
    )
    assert filled.primary == third
    assert filled.clerk().get("a") == "1"


def test_all_leave_together_and_none_waits_for_long(filled):
    processes = filled.world.running()
    leave(filled, *filled.world.servers)
    filled.until(
        lambda: not any(each.is_alive for each in processes), 1, "the end of all"
    )


def test_a_backup_whose_primary_has_just_died_passes_everything_on(filled):
    old, heir, third = filled.primary, filled.backup, filled.idle
    process = filled.server(heir)
    filled.kill(old)
    leave(filled, heir)
    filled.until(lambda: not process.is_alive, 3, "the end of the heir")
    assert filled.primary == third
    assert filled.clerk().get("a") == "1"


def test_a_backup_whose_primary_stands_still_passes_everything_on(filled):
    old, heir, third = filled.primary, filled.backup, filled.idle
    process = filled.server(heir)
    filled.pause(old)
    filled.run(0.35)
    leave(filled, heir)
    filled.until(lambda: not process.is_alive, 3, "the end of the heir")
    assert filled.primary == third
    assert filled.clerk().get("a") == "1"


def test_a_primary_whose_backup_has_just_died_waits_for_another(filled):
    old, heir, third = filled.primary, filled.backup, filled.idle
    process = filled.server(old)
    filled.kill(heir)
    leave(filled, old)
    filled.until(lambda: not process.is_alive, 3, "the end of the primary")
    assert filled.primary == third
    assert filled.clerk().get("a") == "1"


def test_a_view_service_that_was_stopped_keeps_nobody_who_has_a_synced_backup(filled):
    process = filled.server(filled.primary)
    filled.stop_views()
    leave(filled, filled.primary)
    filled.until(lambda: not process.is_alive, 0.5, "an end after a moment")
    filled.world.start_views()
    assert filled.clerk().get("a") == "1"


def test_a_view_service_that_is_away_is_waited_for(filled):
    old, heir = filled.primary, filled.backup
    process = filled.server(old)
    filled.world.views_process.end()
    leave(filled, old)
    filled.run(1)
    assert process.is_alive
    filled.world.start_views()
    filled.until(lambda: not process.is_alive, 4, "the end of the primary")
    assert filled.primary == heir
    assert filled.clerk().get("a") == "1"


def test_a_backup_whose_view_service_is_away_leaves_its_primary_the_time(filled):
    process = filled.server(filled.backup)
    filled.world.views_process.end()
    leave(filled, filled.backup)
    filled.until(lambda: not process.is_alive, BACKUP_S_MAX + 0.2, "its end")


@pytest.mark.parametrize("after_s", [0.1, 0.3, 1, 2])
def test_primary_and_backup_leave_while_no_view_can_be_created(filled, after_s):
    """The view service has just started, and is in its margin."""
    third = filled.idle
    filled.restart_views()
    filled.run(after_s)
    leave(filled, filled.primary, filled.backup)
    filled.until(lambda: filled.primary == third, 4, "a view with the third")
    assert filled.clerk().get("a") == "1"


@pytest.mark.parametrize("down_s", [0, 0.7, 3])
def test_primary_and_backup_leave_while_the_view_service_is_away(filled, down_s):
    third = filled.idle
    filled.world.views_process.end()
    filled.run(0.1)
    leave(filled, filled.primary, filled.backup)
    filled.run(down_s)
    filled.world.start_views()
    filled.until(lambda: filled.primary == third, 5, "a view with the third")
    assert filled.clerk().get("a") == "1"


@pytest.mark.parametrize("paused_s", [0.3, 1, 2, 3])
def test_primary_and_backup_leave_while_the_view_service_is_paused(filled, paused_s):
    third = filled.idle
    filled.pause("views")
    filled.run(0.05)
    leave(filled, filled.primary, filled.backup)
    filled.run(paused_s)
    filled.wake("views")
    filled.until(lambda: filled.primary == third, 5, "a view with the third")
    assert filled.clerk().get("a") == "1"


def test_the_last_of_a_pair_waits_for_the_server_that_was_restarted_in_a_margin():
    """A rolling restart of two, in which the view service was restarted first."""
    lab = Service()
    lab.clerk().put("a", "1")
    first, last = lab.backup, lab.primary
    old = lab.server(first)
    lab.restart_views()
    lab.run(0.3)
    leave(lab, first)
    lab.until(lambda: not old.is_alive, 0.5, "the end of the first")
    lab.start(first)
    lab.run(0.2)
    leave(lab, last)
    lab.until(lambda: lab.primary == first, 5, "a view with the first")
    assert lab.clerk().get("a") == "1"


def test_a_backup_whose_primary_died_in_a_margin_passes_everything_on(filled):
    heir, third = filled.backup, filled.idle
    process = filled.server(heir)
    filled.restart_views()
    filled.run(0.3)
    filled.kill(filled.primary)
    leave(filled, heir)
    filled.until(lambda: not process.is_alive, 5, "the end of the heir")
    assert filled.primary == third
    assert filled.clerk().get("a") == "1"


@pytest.mark.parametrize("order", ["views first", "views last"])
@pytest.mark.parametrize("backups", [1, 2])
def test_a_whole_service_that_stops_says_once_what_is_lost(backups, order):
    lab = Service(servers=3, backups=backups)
    lab.clerk().put("a", "1")
    processes = lab.world.running()
    with capturedLogs() as logs:
        if order == "views first":
            lab.world.views_process.leave()
        leave(lab, *lab.world.servers)
        if order == "views last":
            lab.world.views_process.leave()
        lab.until(
            lambda: not any(each.is_alive for each in processes), 0.5, "the end of all"
        )
    told = [each for each in logs if "data.abandoned" in each.get("words", "")]
    assert len(told) == 1


@pytest.mark.parametrize("servers", [2, 3, 4])
@pytest.mark.parametrize("seed", range(1, 9))
def test_stops_in_any_order_lose_nothing_while_one_server_stays(seed, servers):
    random = Random(seed)
    lab = Service(servers=servers, backups=1 + seed % 2, seed=seed)
    clerk = lab.clerk()
    told: dict[str, object] = {}
    for number in range(25):
        clerk.put("count", str(number))
        staying = [
            each.name for each in lab.world.running() if told.get(each.name) is not each
        ]
        leaving = random.sample(staying, random.randint(0, max(0, len(staying) - 1)))
        for name in leaving:
            told[name] = lab.server(name)
            leave(lab, name)
            lab.run(random.choice((0, 0, 0, 0.001, 0.002, 0.1)))
        lab.run(random.choice((0, 0, 0.002, 0.1, 0.5, 1)))
        assert lab.waiting is None or lab.waiting.code != "lost", lab.waiting
        assert clerk.get("count") == str(number)
    lab.run(STOP_S_MAX)
    lab.whole()
    lab.judge("count")
