"""
Nobody who may become primary lacks an answer that was given.

An exhaustive walk over the real rules, with servers that are replicas in
outline: each follows the newest view that it has heard of, a primary brings
newcomers up, and commits with everyone in its commit rule.  All that matters of
a log is whether it holds everything that was ever answered.  Detection is as
wrong as it likes: any server may be found dead, or named unreachable, at any
moment; any answer may be lost; the view service may restart.

The numbers of states are pinned: a rule that lets less or more happen shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from tests.stories import CLUSTER, member
from viewservice import views as rules
from viewservice.damping import NO_LOSS
from viewservice.roster import Roster
from viewservice.server import Server
from viewservice.views import Views
from wire.messages import NO_VIEW, Member, Ping, View, ViewIs

DEAD_PINGS = 3


class Copy(NamedTuple):
    """A server's process, and what matters of its log."""

    member: Member
    known: View = NO_VIEW
    #: As primary: those it has brought up in this view.
    synced: frozenset[str] = frozenset()
    #: Was it told that its founding view is acknowledged?
    is_told: bool = False
    #: Does it hold everything that was ever answered?
    has_all: bool = True

    def follows(self, view: View) -> Copy:
        if view.number <= self.known.number:
            return self
        return self._replace(known=view, synced=frozenset(), is_told=not view.founding)

    def is_primary(self) -> bool:
        return self.member.is_same_copy(self.known.primary)

    def rule(self) -> frozenset[str]:
        return self.synced.union(self.known.holders)


class World:
    """A view service and its servers."""

    def __init__(self, views: Views, names: str) -> None:
        self.views = views
        self.copies = {name: Copy(member(name)) for name in names}
        self.is_answered = False

    def copy(self) -> World:
        twin = World(self.views.copy(), "")
        twin.copies = self.copies.copy()
        twin.is_answered = self.is_answered
        return twin

    def key(self) -> object:
        return self.views.fingerprint(), tuple(self.copies.values()), self.is_answered

    def check(self) -> None:
        """An eligible copy that runs has everything."""
        for each in self.views.view.members():
            if each.name in self.views.eligible:
                copy = self.copies[each.name]
                assert copy.has_all or not copy.member.is_same_copy(each)

    def link(self, name: str) -> int:
        """Each process has one connection, and later ones have newer ones."""
        index = tuple(self.copies).index(name)
        return 10 * self.copies[name].member.incarnation + index

    def listens(self, backup: str, view: View) -> bool:
        """Whether the server *backup* runs, and takes what *view*'s primary sends."""
        copy = self.copies[backup]
        return (
            copy.member.is_same_copy(view.backup(backup))
            and copy.known.number <= view.number
        )

    # -- moves ---------------------------------------------------------------------

    def ping(self, name: str, accused: tuple[str, ...] = (), *, heard: bool) -> None:
        copy = self.copies[name]
        synced = tuple(copy.synced) if copy.is_primary() else ()
        ping = Ping(1, copy.member, copy.known.number, synced, accused)
        answer = self.views.ping(self.link(name), ping)
        if heard and isinstance(answer, ViewIs):
            copy = copy.follows(answer.view)
            if answer.acknowledged and copy.known == answer.view:
                copy = copy._replace(is_told=True)
            self.copies[name] = copy

    def doubt(self, name: str) -> None:
        servers = self.views.roster.servers
        servers[name] = replace(servers[name], silent=DEAD_PINGS)

    def bring_up(self, name: str, backup: str) -> None:
        """The primary *name* gives *backup* all that it has, or learns from it
        that it is primary no more."""
        copy, other = self.copies[name], self.copies[backup]
        if other.known.number > copy.known.number:
            self.copies[name] = copy.follows(other.known)
            return
        other = other.follows(copy.known)
        self.copies[backup] = other._replace(has_all=copy.has_all)
        self.copies[name] = copy._replace(synced=copy.synced | {backup})

    def commit(self, name: str) -> None:
        """Something is answered: all that is not in the rule lacks it."""
        copy = self.copies[name]
        assert copy.has_all, f"{name} answers without what was answered before"
        holders = copy.rule() | {name}
        self.is_answered = True
        for each, other in self.copies.items():
            if each in holders:
                self.copies[each] = other.follows(copy.known)._replace(has_all=True)
            else:
                self.copies[each] = other._replace(has_all=False)

    def restart(self, name: str) -> None:
        """It comes back when it has been gone for the dead time; before that its
        name is in use."""
        self.views.disconnected(self.link(name))
        if name in self.views.servers:
            self.doubt(name)
        old = self.copies[name].member
        new = replace(old, incarnation=old.incarnation + 1)
        self.copies[name] = Copy(new, has_all=not self.is_answered)

    def forget(self) -> None:
        """The view service restarts."""
        views, roster = self.views, Roster(DEAD_PINGS, 0)
        limits = {"backups_max": views.backups_max, "strict": views.strict}
        self.views = Views.recalled(views.memory(), roster, **limits)

    def weigh(self) -> None:
        self.views.weighed = rules.WEIGH_TICKS

    def forgive(self, name: str) -> None:
        servers = self.views.roster.servers
        servers[name] = replace(servers[name], damping=NO_LOSS)


Move = Callable[[World], None]


class Size(NamedTuple):
    """How far a walk goes: views, restarts, moves."""

    backups: int
    numbers: int
    restarts: int
    depth: int
    accusations: bool = False
    strict: bool = False


def moves(world: World, size: Size) -> Iterator[Move]:
    restarts = sum(copy.member.incarnation for copy in world.copies.values())
    for name in world.copies:
        yield lambda world, name=name: world.ping(name, heard=True)
        yield lambda world, name=name: world.ping(name, heard=False)
        server = world.views.servers.get(name)
        if server is not None and not server.is_dead(DEAD_PINGS):
            yield lambda world, name=name: world.doubt(name)
        if restarts < size.restarts:
            yield lambda world, name=name: world.restart(name)
        yield from of_primary(world, name)
    if size.accusations:
        yield from accusations(world)


def of_primary(world: World, name: str) -> Iterator[Move]:
    copy = world.copies[name]
    if not copy.is_primary():
        return
    view = copy.known
    for backup in view.backups:
        other = world.copies[backup.name]
        if other.member.is_same_copy(backup) and backup.name not in copy.synced:
            yield lambda world, backup=backup.name: world.bring_up(name, backup)
    if copy.is_told and all(world.listens(each, view) for each in copy.rule()):
        yield lambda world: world.commit(name)


def accusations(world: World) -> Iterator[Move]:
    for name, copy in world.copies.items():
        if copy.is_primary():
            for backup in copy.known.backups:
                accused = (backup.name,)
                yield lambda world, name=name, accused=accused: world.ping(
                    name, accused, heard=True
                )
        elif copy.known.backup(name) and copy.known.primary:
            accused = (copy.known.primary.name,)
            yield lambda world, name=name, accused=accused: world.ping(
                name, accused, heard=True
            )
        server = world.views.servers.get(name)
        if server is not None and server.damping.losses:
            yield lambda world, name=name: world.forgive(name)
    if world.views.unreachable and not world.views.weighed:
        yield World.weigh


def nothing(size: Size) -> World:
    """Three servers, of whom none has called."""
    roster = Roster(DEAD_PINGS, 0)
    limits = {"backups_max": size.backups, "strict": size.strict}
    return World(Views(CLUSTER, roster, **limits), "ABC")


def in_step(size: Size) -> World:
    """A view that is acknowledged and in use; the others are idle."""
    world = nothing(size)
    for _ in range(3):
        for name in "ABC":
            world.ping(name, heard=True)
        for backup in world.copies["A"].known.backups:
            world.bring_up("A", backup.name)
    world.ping("A", heard=True)
    world.commit("A")
    assert world.views.acknowledged
    return world


def walk(start: World, size: Size) -> Iterator[World]:
    """Every state within *size*, once, the nearest first."""
    seen, rim = {start.key()}, [start]
    yield start
    for _ in range(size.depth):
        inner, rim = rim, []
        for world in inner:
            for move in moves(world, size):
                after = world.copy()
                move(after)
                key = after.key()
                if key in seen or after.views.view.number > size.numbers:
                    continue
                seen.add(key)
                after.check()
                rim.append(after)
                yield after


SIZES = {
    Size(1, 9, 1, 5): (nothing, 7180),
    Size(1, 9, 1, 7): (in_step, 9386),
    Size(2, 9, 1, 5, accusations=True): (in_step, 7938),
    Size(2, 9, 1, 6): (in_step, 8959),
}


@pytest.mark.parametrize("size", SIZES)
def test_nobody_eligible_lacks_an_answer(size: Size) -> None:
    start, count = SIZES[size]
    assert count == sum(1 for _ in walk(start(size), size))


# -- the walk is tested for rejecting ------------------------------------------------

ADVANCE, BELIEVE, MAY_LEAD = Views._advance, Views._believe, Views._may_lead


def eligible_once_is_eligible_for_ever(views: Views, proposed: View) -> None:
    eligible = views.eligible
    ADVANCE(views, proposed)
    views.eligible |= eligible


def nobody_is_a_holder(views: Views, proposed: View) -> None:
    ADVANCE(views, proposed)
    views.view = replace(views.view, holders=())


def any_number_will_do(views: Views, ping: Ping) -> None:
    BELIEVE(views, replace(ping, number=views.view.number))


def to_know_the_number_is_to_be_in_step(views: Views, ping: Ping) -> None:
    BELIEVE(views, replace(ping, synced=tuple(b.name for b in views.view.backups)))


def any_backup_will_do(views: Views, leader: Server) -> bool:
    name = leader.member.name
    if views.primary_is_gone() and views.view.backup(name):
        views.eligible |= {name}
    return MAY_LEAD(views, leader)


def anybody_will_do(views: Views, leader: Server) -> bool:
    return views.primary_is_gone() or MAY_LEAD(views, leader)


def a_name_is_enough(one: Member, other: Member | None) -> bool:
    return other is not None and one.name == other.name


def founding_again(views: Views) -> bool:
    return not views.view.number or views.view.founding


#: What is replaced, by what; R3, F1 and so on name the mistakes that they are.
MUTANTS: list[tuple[type, str, Callable[..., object]]] = [
    (Views, "_advance", eligible_once_is_eligible_for_ever),  # R3
    (Views, "_advance", nobody_is_a_holder),  # F1, F2
    (Views, "_believe", any_number_will_do),  # V4
    (Views, "_believe", to_know_the_number_is_to_be_in_step),  # V1
    (Views, "_may_lead", any_backup_will_do),  # V2, T1
    (Views, "_may_lead", anybody_will_do),  # V10
    (Member, "is_same_copy", a_name_is_enough),  # V7
    (Views, "is_unfounded", founding_again),  # V18
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant[2].__name__)
def test_a_wrong_rule_is_found_out(
    mutant: tuple[type, str, Callable[..., object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def search() -> None:
        for start, size in (in_step, Size(2, 9, 1, 6)), (nothing, Size(1, 9, 0, 5)):
            for world in walk(start(size), size):
                world.check()

    monkeypatch.setattr(*mutant)
    with pytest.raises(AssertionError):
        search()
