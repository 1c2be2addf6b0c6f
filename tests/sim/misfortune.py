"""
Misfortune: what befalls a world, drawn from its seed.

Every fault has a name, and all that is drawn for it follows from the seed and
that name: 1, 2, 3, ... are those that come when they come; ``v4`` comes with
view 4, ``t2`` with the second transfer, ``s5`` with the fifth message of the one
kind that this world stumbles over, ``b7`` and ``w7`` before and after the
seventh time that the view service writes.  Leaving out some of them changes
nothing about the others, which is what makes a failing world small
(`tests.sim.shrink`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.sim.agenda import MS, S
from tests.sim.excerpt import Excerpt
from tests.sim.faults import IN_TRUCE, KINDS, SCHEDULED
from tests.sim.faults_network import NetworkFaults
from tests.sim.faults_process import ProcessFaults
from tests.sim.sockets import End
from tests.sim.streams import stream
from wire.messages import (
    Attach,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Forward,
    ForwardOk,
    LogPosition,
    Message,
    OpenSession,
    Ping,
    Query,
    QueryAnswer,
    Redirect,
    SessionOpened,
    SnapshotPart,
    SnapshotPartOk,
    ViewIs,
)

if TYPE_CHECKING:
    from tests.sim.world import World

#: One in so many views, writings and transfers is struck, where it can be.
ONE_IN: Final = {"v": 2, "b": 12, "w": 12, "t": 2, "s": 25}

#: What a world may stumble over: it makes a difference which message was the last
#: that came, or the first that did not.
STUMBLES: Final = (
    *(ForwardOk, Batch, BatchAnswer, BatchRefused, CloseSession, Forward, Attach),
    *(Redirect, OpenSession, Ping, LogPosition, Query, QueryAnswer, SessionOpened),
    *(SnapshotPartOk, SnapshotPart, ViewIs),
)


class Struck(NamedTuple):
    """A fault that has struck."""

    name: str
    kind: str
    at_us: int


class Misfortune:
    """What can happen, and does."""

    def __init__(self, world: World, seed: int, excerpt: Excerpt) -> None:
        self._world = world
        self._seed = seed
        self._excerpt = excerpt
        random = stream(seed, "misfortune")
        drawn = [kind for kind, part in KINDS.items() if random.randrange(100) < part]
        self.kinds = [kind for kind in KINDS if kind in (excerpt.kinds or ())]
        if excerpt.kinds is None:
            self.kinds = drawn
        self._gap_max_us = random.choice((150, 400, 1000)) * MS
        self.drift = random.choice((20, 250)) if "drift" in self.kinds else 0
        self._lateness = stream(seed, "lateness")
        self._stumbles = random.choice(STUMBLES) if "just-said" in self.kinds else None
        self._scheduled = [kind for kind in self.kinds if kind in SCHEDULED]
        self._counts: Counter[str] = Counter()
        self.has_begun = self.is_over = False
        self.struck: list[Struck] = []
        processes = ProcessFaults(world, self.later)
        network = NetworkFaults(world, self.later)
        self._does = {**processes.does, **network.does}
        self._processes, self._network = processes, network

    @property
    def counts(self) -> Counter[str]:
        """How often each kind has struck."""
        return Counter(fault.kind for fault in self.struck)

    # -- when it comes --------------------------------------------------------

    def begin(self) -> None:
        """From now on things go wrong."""
        self.has_begun = True
        if self._scheduled:
            self._await(1)

    def _await(self, number: int) -> None:
        gap_us = stream(self._seed, f"gap {number}").randrange(self._gap_max_us)
        self._world.agenda.later(gap_us, lambda: self._come(number))

    def _come(self, number: int) -> None:
        if not self.is_over:
            self._await(number + 1)
            self._strike(str(number), self._scheduled, self._does)

    def moved(self, members: list[str], *, founding: bool) -> None:
        """A view was just made: the most delicate moment that there is."""
        host = members[0]
        if founding and "founders" in self.kinds:
            does = {"founders": lambda: self._processes.stop_founder(host)}
            self._on("v", ["founders"], does, one_in=1)
            return

        def strike() -> str:
            return self._processes.just_then(members, self._network)

        self._on("v", ["just-then"], {"just-then": strike}, within_us=20 * MS)

    def writes(self, *, before: bool) -> bool:
        """The view service is about to write, or has written and told nobody
        -> whether it ends here."""
        when, letter = ("before", "b") if before else ("after", "w")
        kind = f"views-crash-{when}-writing"
        return self._on(letter, [kind], {kind: self._processes.crash_views})

    def transferring(self, end: End) -> None:
        """A snapshot begins to be sent."""
        does = {
            "slow-transfer": lambda: self._network.slow_transfer(end),
            "break-transfer": lambda: self._processes.break_transfer(
                end, self._network
            ),
        }
        self._on("t", list(does), does, within_us=10 * MS)

    def said(self, end: End, message: Message) -> None:
        """*end* has just sent that."""
        if self.has_begun and type(message) is self._stumbles:
            does = {"just-said": lambda: self._processes.just_said(end, self._network)}
            self._on("s", list(does), does, within_us=MS)

    def _on(
        self,
        letter: str,
        kinds: list[str],
        does: dict[str, Callable[[], str]],
        *,
        one_in: int = 0,
        within_us: int = 0,
    ) -> bool:
        """Something is the case for the nth time -> whether a fault comes now."""
        self._counts[letter] += 1
        name = f"{letter}{self._counts[letter]}"
        kinds = [kind for kind in kinds if kind in self.kinds]
        if self.is_over or not kinds:
            return False
        random = stream(self._seed, f"moment {name}")
        if random.randrange(one_in or ONE_IN[letter]):
            return False
        if not within_us:
            return self._strike(name, kinds, does)

        def come() -> None:
            if not self.is_over:
                self._strike(name, kinds, does)

        self._world.agenda.later(random.randrange(within_us), come)
        return True

    def _strike(
        self, name: str, kinds: list[str], does: dict[str, Callable[[], str]]
    ) -> bool:
        """Do one of *kinds*, unless that fault is left out, or finds nobody."""
        if not self._excerpt.has(name):
            return False
        random = stream(self._seed, f"fault {name}")
        kind = random.choice(kinds)
        if self._world.is_state_old and kind not in IN_TRUCE:
            return False
        self._processes.random = self._network.random = self.random = random
        found = does[kind]()
        if not found:
            return False
        self.struck.append(Struck(name, kind, self._world.agenda.now_us))
        self._world.note(f"fault {name}, {kind}: {found}")
        return True

    # -- and goes -------------------------------------------------------------

    def begin_truce(self) -> None:
        """Whoever lives reaches the view service from now on, in the usual time:
        what keeps a server from it for longer than the margin is not survived
        by a state file that was rolled back (docs/design.md, section 4, rule 14)."""
        world = self._world
        world.network.heal()
        for end in world.network.ends.values():
            end.lag_us = 0
        for process in (world.views_process, *world.running()):
            process.run_at(1000)
            process.wake()

    def later(self, undo: Callable[[], None], most_us: int = 2 * S) -> None:
        """Undo what was just done, some time later."""
        delay_us = self.random.choice((20 * MS, 200 * MS, most_us))
        self._world.agenda.later(self.random.randrange(delay_us), undo)

    def lateness_us(self) -> int:
        """How long until the other end learns that a process is gone."""
        if self.is_over or self._lateness.randrange(4):
            return 0
        return self._lateness.randrange(2 * S)
