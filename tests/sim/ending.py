"""
How a world stands when all is well again, and whether that is how it should.

Healing ends when everybody has been answered and the view service has all the
backups it wants, in step.  Three states are as good as that, because no health
gets a service out of them (docs/design.md, section 2 and section 4, rules 7
and 8); whoever claims to be in one is made to prove it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tests.sim.agenda import S

if TYPE_CHECKING:
    from tests.sim.world import World

#: For how long a claim must stay true.
PROOF_US = 2 * S


class Ending(enum.StrEnum):
    """What has become of a world."""

    HEALED = "healed"
    #: Every process that held everything that was answered is gone.
    LOST = "lost"
    #: A backup died before the view was acknowledged, and the strict gate lets
    #: no view change before that.
    SHUT = "shut by the strict gate"
    #: None of these, and time is up.
    WAITING = "waiting"


def ending(world: World) -> Ending:
    """How that world stands now."""
    if any(server.stopped for server in world.running()):
        # It will be gone soon, and what it was needed for with it.
        return Ending.WAITING
    views = world.views_process.views
    wait = views.waiting()
    if wait is not None and wait.code == "lost":
        return Ending.LOST
    if _is_shut(world):
        return Ending.SHUT
    if any(clerk.open for clerk in world.clerks) or not views.acknowledged:
        return Ending.WAITING
    backups = min(world.settings.backups, len(world.running()) - 1)
    if len(views.view.backups) < backups:
        return Ending.WAITING
    members = [world.process_of(member) for member in views.view.members()]
    ends = {member.history.commit for member in members if member is not None}
    is_even = None not in members and len(ends) == 1
    return Ending.HEALED if is_even else Ending.WAITING


def _is_shut(world: World) -> bool:
    """Does the view wait for a backup that cannot come, led by a primary that
    does nothing but wait, if it waits at all, for one of those?"""
    views = world.views_process.views
    view = views.view
    leader = world.process_of(view.primary) if view.primary is not None else None
    if not views.strict or views.acknowledged or leader is None:
        return False
    missing = {
        backup.name for backup in view.backups if world.process_of(backup) is None
    }
    wait = leader.replica.report.waiting
    if any(clerk.open for clerk in world.clerks):
        return wait is not None and not missing.isdisjoint(wait.names)
    return bool(missing)


def explain(world: World, how: Ending) -> str:
    """Why it ended like that, with names."""
    views = world.views_process.views
    wait = views.waiting()
    if how in {Ending.LOST, Ending.SHUT}:
        return "" if wait is None else wait.text
    if how is Ending.HEALED:
        return ""
    waiting = [
        f"{clerk.name} for {clerk.open} ({clerk.core.locator.obstacle})"
        for clerk in world.clerks
        if clerk.open
    ]
    reports = [f"{server.name}: {server.replica.report}" for server in world.running()]
    return f"{waiting} wait; {wait}; {views.view}; {reports}"


def prove(world: World, how: Ending) -> None:
    """What is claimed must be true, and stay so."""
    if how is Ending.LOST:
        _prove_loss(world)
    elif how is Ending.SHUT:
        view = world.views_process.views.view
        world.run(PROOF_US)
        world.require(
            ending(world) is Ending.SHUT and world.views_process.views.view == view,
            "shut is shut",
            f"it was {view}, and now there is {world.views_process.views.view}",
        )


def _prove_loss(world: World) -> None:
    heirs = [server.name for server in world.chronicle.heirs()]
    world.require(not heirs, "lost is lost", f"{heirs} are eligible, and alive")
    committed = world.chronicle.commit
    world.run(PROOF_US)
    world.require(world.chronicle.commit == committed, "lost is lost", "and goes on")
