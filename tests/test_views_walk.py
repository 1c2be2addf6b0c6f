"""
All stories, up to a size.

Two walks over the real rules.  In the first, time passes: servers ping, fall
silent, lose connections and restart, and after every move what must hold of
any step is looked at; and from every state that can be reached, the service
comes back if everybody does.  In the second, servers are replicas that commit,
sync and lag behind, and detection is as wrong as it likes: nobody who may
become primary ever lacks an answer that was given.

The numbers of states are pinned: a rule that lets less or more happen shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from tests.stories import CLUSTER, member
from viewservice.roster import Roster
from viewservice.views import Views
from wire.messages import Goodbye, Member, Ping, View, ViewIs

DEAD_PINGS = 3

Copy = tuple[str, int]


def copies(members: tuple[Member, ...]) -> frozenset[Copy]:
    return frozenset((each.name, each.incarnation) for each in members)


def fresh(**settings: int) -> Views:
    return Views(CLUSTER, Roster(DEAD_PINGS, 0), **settings)


def check_step(before: Views, after: Views, pinged: Member | None) -> None:
    """What holds of any single step, whatever it was."""
    old, new = before.view, after.view
    assert after.copy().fingerprint() == after.fingerprint()
    assert after.waiting() is not None or after.acknowledged
    if new == old:
        assert after.eligible >= before.eligible
        assert after.acknowledged >= before.acknowledged
        return
    assert pinged is not None
    assert pinged == new.primary
    assert new.number == old.number + 1
    assert not after.acknowledged
    names = [each.name for each in new.members()]
    assert len(names) == len(set(names))
    assert new.members() != old.members()
    assert len(new.backups) <= after.backups_max
    assert not any(after.roster.is_dead(each) for each in new.members())
    assert after.history[-1].number == new.number
    assert {cause.server for cause in after.history[-1].causes} >= {
        name for name, _ in copies(old.members()) ^ copies(new.members())
    }
    if new.founding:
        assert not before.acknowledged
        assert old.founding or not old.number
    else:
        assert pinged.name in before.eligible
        assert copies((pinged,)) <= copies(old.members())


# -- the first walk: time passes ---------------------------------------------------


class Process(NamedTuple):
    """A server that is only a pinger."""

    incarnation: int = 0
    #: Its connection, or 0.
    link: int = 0
    known: int = 0


class Timed:
    """A view service, three pingers, and what has really been reported."""

    def __init__(self, views: Views, names: str) -> None:
        self.views = views
        self.processes = {name: Process() for name in names}
        self.link_count = 0
        #: Copies that every primary since has reported, written down apart.
        self.full: frozenset[Copy] = frozenset()

    def copy(self) -> Timed:
        twin = Timed(self.views.copy(), "")
        twin.processes = self.processes.copy()
        twin.link_count = self.link_count
        twin.full = self.full
        return twin

    def key(self) -> object:
        """Only the order of links counts, and each is newer than those before."""
        views = self.views.copy()
        for name, server in views.roster.servers.items():
            views.roster.servers[name] = replace(server, link=0)
        processes = tuple(
            (process.incarnation, bool(process.link), process.known)
            for process in self.processes.values()
        )
        return views.fingerprint(), processes

    def moves(self, restarts_max: int) -> Iterator[Callable[[Timed], None]]:
        yield Timed.tick
        restarts = sum(process.incarnation for process in self.processes.values())
        for name, process in self.processes.items():
            yield lambda world, name=name: world.ping(name)
            if self.behind(name):
                yield lambda world, name=name: world.ping(name, synced=True)
            if process.link:
                yield lambda world, name=name: world.drop(name)
            if process.link and restarts < restarts_max:
                yield lambda world, name=name: world.restart(name)

    def behind(self, name: str) -> tuple[str, ...]:
        """Whom *name* could report, if it knew the view and were its primary."""
        view, process = self.views.view, self.processes[name]
        if process.known != view.number or not view.backups:
            return ()
        if copies(view.members()[:1]) != {(name, process.incarnation)}:
            return ()
        return tuple(backup.name for backup in view.backups)

    def tick(self) -> None:
        self.views.tick()

    def ping(self, name: str, *, synced: bool = False) -> None:
        process = self.processes[name]
        if not process.link:
            self.link_count += 1
            process = process._replace(link=self.link_count)
        who = Member(name, process.incarnation, member(name).address)
        named = self.behind(name) if synced else ()
        before, old = self.views.copy(), self.views.view
        due = {server.member for server in self.views.due()}
        answer = self.views.ping(
            process.link, Ping(1, who, process.known, synced=named)
        )
        check_step(before, self.views, who)
        if isinstance(answer, Goodbye):
            assert before.fingerprint() == self.views.fingerprint()
            assert answer.reason in {"name in use", "superseded"}
            process = process._replace(link=0)
        else:
            assert self.views.view.number > old.number or who not in due
            self.full |= {copy for copy in copies(old.backups) if copy[0] in named}
            process = process._replace(known=answer.view.number)
        self.processes[name] = process
        self.check_eligible(old)

    def check_eligible(self, old: View) -> None:
        new, views = self.views.view, self.views
        if new.founding and new != old:
            self.full = copies(new.members())
        elif new != old:
            assert copies(new.members()[:1]) <= self.full
            self.full &= copies(new.members())
            holders = tuple(b for b in new.backups if b.name in new.holders)
            assert copies(holders) == self.full - copies(new.members()[:1])
        eligible = tuple(m for m in new.members() if m.name in views.eligible)
        assert copies(eligible) == self.full
        assert {each.name for each in eligible} == views.eligible

    def drop(self, name: str) -> None:
        before = self.views.copy()
        self.views.disconnected(self.processes[name].link)
        check_step(before, self.views, None)
        self.processes[name] = self.processes[name]._replace(link=0)

    def restart(self, name: str) -> None:
        """It comes back when it has been gone for the dead time; before that its
        name is in use."""
        self.drop(name)
        servers = self.views.roster.servers
        if name in servers:
            servers[name] = replace(servers[name], silent=DEAD_PINGS)
        self.processes[name] = Process(self.processes[name].incarnation + 1)

    def heal(self) -> None:
        """Everybody calls, and every backup is brought up; names of those that are
        gone are free by then."""
        for _ in range(DEAD_PINGS):
            self.views.tick()
        for _ in range(4):
            for name, process in self.processes.items():
                self.link_count += not process.link
                link = process.link or self.link_count
                who = Member(name, process.incarnation, member(name).address)
                synced = self.behind(name)
                answer = self.views.ping(link, Ping(1, who, process.known, synced))
                assert isinstance(answer, ViewIs), answer
                known = answer.view.number
                self.processes[name] = process._replace(link=link, known=known)

    def can_serve(self) -> bool:
        """Whether anybody who runs has all that was ever answered."""
        running = {(name, each.incarnation) for name, each in self.processes.items()}
        return self.views.is_unfounded() or bool(self.full & running)

    def check_healed(self) -> None:
        views = self.views
        assert views.acknowledged, views.waiting()
        wanted = min(views.backups_max, len(self.processes) - 1)
        assert len(views.view.backups) == wanted
        for each in views.view.members():
            assert each.incarnation == self.processes[each.name].incarnation


def walk(start: Timed, depth: int, restarts_max: int) -> Iterator[Timed]:
    """Every state that *depth* moves can reach, once."""
    seen, rim = {start.key()}, [start]
    yield start
    for _ in range(depth):
        inner, rim = rim, []
        for world in inner:
            for move in world.moves(restarts_max):
                after = world.copy()
                move(after)
                key = after.key()
                if key not in seen:
                    seen.add(key)
                    rim.append(after)
                    yield after


def nothing(backups_max: int) -> Timed:
    """Nobody has called."""
    return Timed(fresh(backups_max=backups_max), "ABC")


def settled(backups_max: int) -> Timed:
    """Everybody has called, and is in step."""
    world = nothing(backups_max)
    world.heal()
    world.full = copies(world.views.view.members())
    world.check_healed()
    return world


#: From nothing or from where everybody is in step; backups; moves; how many
#: states that is, and in how many of all but the last move the data is lost.
TIMED = [
    (False, 1, 6, 6127, 108),
    (True, 1, 6, 5373, 147),
    (True, 2, 5, 2533, 0),
]


@pytest.mark.parametrize("size", TIMED)
def test_walk_in_time(size: tuple[bool, int, int, int, int]) -> None:
    is_settled, backups_max, depth, count, _ = size
    start = settled(backups_max) if is_settled else nothing(backups_max)
    assert count == sum(1 for _ in walk(start, depth, restarts_max=2))


@pytest.mark.parametrize("size", TIMED)
def test_from_everywhere_it_comes_back(size: tuple[bool, int, int, int, int]) -> None:
    is_settled, backups_max, depth, _, lost_count = size
    start = settled(backups_max) if is_settled else nothing(backups_max)
    lost = 0
    for world in walk(start, depth - 1, restarts_max=2):
        healed = world.copy()
        healed.heal()
        if world.can_serve():
            healed.check_healed()
        else:
            wait = healed.views.waiting()
            assert wait is not None
            assert wait.code == "lost"
            lost += 1
    assert lost_count == lost
