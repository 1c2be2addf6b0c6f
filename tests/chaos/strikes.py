"""
What can be done to a service: to whom, and how it is made good again.

A strike is drawn from a seeded random; what it hits depends on who serves just
then, and the moment at which it hits on the machine, as in life.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import frozen

from tests.processes import Found, Service, wait_for
from understudy.daemons import Daemon
from understudy.status import state

#: Whom, how.  Those that hurt most come most often.
KINDS = {
    ("primary", "kill"): 5,
    ("primary", "stop"): 4,
    ("primary", "blink"): 2,
    ("primary", "term"): 1,
    ("backup", "kill"): 4,
    ("backup", "stop"): 3,
    ("backup", "blink"): 2,
    ("idle", "kill"): 1,
    ("idle", "stop"): 1,
    ("views", "kill"): 3,
    ("views", "stop"): 2,
    ("views", "term"): 1,
}


@frozen
class Strike:
    """One strike: *how* is done to *who*, which was *whom* at that time."""

    whom: str
    how: str
    daemon: Daemon

    def __str__(self) -> str:
        return f"{self.how} {self.whom} ({self.daemon.name})"

    @property
    def kind(self) -> str:
        return f"{self.how} {self.whom}"

    def hit(self) -> None:
        """Do it."""
        if self.how == "kill":
            self.daemon.kill()
        elif self.how == "term":
            self.daemon.terminate()
        else:
            self.daemon.pause()

    def heal(self) -> None:
        """Start it again, or wake it."""
        if self.how in {"stop", "blink"}:
            self.daemon.wake()
            return
        wait_for(lambda: self.daemon.exit_code() is not None, f"{self} to end")
        self.daemon.start()


def draw(random: Random, service: Service, found: Found) -> Strike:
    """A strike on *service*, whose status is *found*."""
    while True:
        whom, how = random.choices(list(KINDS), list(KINDS.values()))[0]
        if whom == "views":
            return Strike(whom, how, service.views)
        names = [name for name in service.cluster.servers if state(found, name) == whom]
        if names:
            return Strike(whom, how, service[random.choice(names)])


def gone(strike: Strike) -> Callable[[Found], bool]:
    """Whether whoever was struck serves no more."""
    view_members = {"primary", "backup"}

    def holds(found: Found) -> bool:
        return state(found, strike.daemon.name) not in view_members

    return holds
