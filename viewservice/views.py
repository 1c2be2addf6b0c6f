"""
The rules for moving from one view to the next.

Pure: time arrives as a tick, news arrives as a ping, and nothing here knows a
clock, a socket or a logger.  Every rule about views lives in this file; if one
seems to be missing, it is missing.  They are numbered as in
``docs/design.md``, section 4; those about who is alive are in
`viewservice.roster`.

The law: a view is made only in answer to a ping of the server that is primary
in it, only an eligible server is made primary, and eligible is only who surely
holds everything that was ever answered.  So detection may be wrong at any
time, about anybody, and nothing is lost but a little time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import define, field
from attrs.validators import ge, instance_of
from msgspec.structs import replace

from viewservice import causes, waits
from viewservice.memory import Known, Memory
from viewservice.roster import Roster
from viewservice.server import Server
from wire.messages import (
    NO_VIEW,
    OBSERVER,
    Change,
    Goodbye,
    Hello,
    Member,
    Ping,
    View,
    ViewIs,
    Wait,
)

#: Changes that are remembered, and shown by `status`.
HISTORY_MAX: Final = 100

#: Ticks for which a primary's word against its eligible backups is weighed if
#: there are two or more, so that theirs against it can arrive: both sides notice
#: a broken link within an interval or two of each other.
WEIGH_TICKS: Final = 2


@define
class Views:
    """The current view, and who might serve in the next."""

    #: 128 random bits: which cluster this is the view service of.
    cluster: bytes = field(validator=instance_of(bytes))
    #: Who has called, and who is alive; its grace is how long a first view
    #: waits for callers who know of an earlier one.
    roster: Roster
    backups_max: int = field(default=1, validator=ge(0))
    #: While a view is unacknowledged, not even a dead backup leaves it.
    strict: bool = False
    #: Started by an operator who knows that callers of another cluster exist.
    new_cluster: bool = False

    view: View = field(default=NO_VIEW, init=False)
    #: Has the primary of this view said that it works in it, with all its
    #: backups in step?  Until then it may know nothing of the view, and its
    #: new backups may hold nothing.
    acknowledged: bool = field(default=False, init=False)
    #: Members of this view who surely hold everything that was ever answered.
    #: The primary always does.
    eligible: frozenset[str] = field(default=frozenset(), init=False)
    #: Backups that the primary named unreachable in its last ping, and for how
    #: many ticks it has named any.
    unreachable: frozenset[str] = field(default=frozenset(), init=False)
    weighed: int = field(default=0, init=False)
    #: Backups that named the primary unreachable in their last ping.
    cut_off: frozenset[str] = field(default=frozenset(), init=False)
    history: tuple[Change, ...] = field(default=(), init=False)
    #: How it was found out that this view service has forgotten something, or
    #: "".  Then it makes no view any more: the one it made could exist already.
    lost: str = field(default="", init=False)

    # -- news ------------------------------------------------------------------

    def greeted(self, hello: Hello) -> Goodbye | None:
        """Somebody calls.  -> why it is turned away, or None (rules 1, 13).

        Observers are always let in: when all else is refused, `status` says why.
        """
        if hello.role == OBSERVER:
            return None
        who = hello.role if hello.member is None else hello.member.name
        if hello.cluster and hello.cluster != self.cluster:
            if not self.lost and (self.view.number or self.new_cluster):
                return Goodbye(
                    "cluster",
                    f"{who} belongs to cluster {hello.cluster.hex()}, "
                    f"this view service to {self.cluster.hex()}",
                )
            self._lose(f"{who} called from cluster {hello.cluster.hex()}")
        elif hello.number > self.view.number:
            self._lose(f"{who} knows view {hello.number}")
        return Goodbye("memory lost", self.lost) if self.lost else None

    def ping(self, link: int, ping: Ping) -> ViewIs | Goodbye:
        """A server is alive, and says what it knows.  -> the answer.

        *link* names the connection; newer ones compare greater.
        """
        if ping.number > self.view.number:
            self._lose(f"{ping.member.name} knows view {ping.number}")
        if self.lost:
            return Goodbye("memory lost", self.lost)
        server = self.roster.heard(link, ping, self._serving())
        if isinstance(server, Goodbye):
            return server
        if server is not None:
            self._believe(ping)
            proposed = self._due(server)
            if proposed is not None:
                self._advance(proposed)
        return self.view_is(ping.serial)

    def disconnected(self, link: int) -> None:
        """A connection is gone: a hint that its server is (rule 6)."""
        self.roster.disconnected(link)

    def tick(self) -> None:
        """One ping interval has passed.

        Whoever ticks has read all pings that were waiting before, and makes up
        for no tick that it missed (rule 4).
        """
        self.roster.tick()
        if self.unreachable:
            self.weighed = min(WEIGH_TICKS, self.weighed + 1)

    def paused(self) -> None:
        """This view service itself stood still for a while (rule 4)."""
        self.roster.paused()

    # -- what is so --------------------------------------------------------------

    def view_is(self, answers: int = 0) -> ViewIs:
        """The view, as an answer to the ping *answers*, or unasked."""
        change = self.history[-1] if self.history else None
        return ViewIs(answers, self.cluster, self.view, self.acknowledged, change)

    def due(self) -> Iterator[Server]:
        """Those whose next ping makes a view (rule 7)."""
        return (
            server
            for server in self.servers.values()
            if server.connected and self._due(server) is not None
        )

    def waiting(self) -> Wait | None:
        """What the view service waits for; None if for nothing at all."""
        return waits.waiting(self)

    @property
    def servers(self) -> Mapping[str, Server]:
        """Every server that is known, by name."""
        return self.roster.servers

    def is_unfounded(self) -> bool:
        """Whether nothing can ever have been answered (rule 1)."""
        return not self.view.number or (self.view.founding and not self.acknowledged)

    def primary_is_gone(self) -> bool:
        """Dead, or cut off from all of its eligible backups, who are at least
        two; one alone could as well be the one who is cut off (rule 10)."""
        primary = self.view.primary
        if primary is None or self.roster.is_dead(primary):
            return True
        heirs = self.heirs()
        return len(heirs) >= 2 and heirs <= self.cut_off

    def heirs(self) -> frozenset[str]:
        """The eligible backups that are alive."""
        return frozenset(
            backup.name
            for backup in self.view.backups
            if backup.name in self.eligible and not self.roster.is_dead(backup)
        )

    # -- what members say of their view -----------------------------------------------

    def _believe(self, ping: Ping) -> None:
        """A ping with the number of this view speaks about this view; any other
        was sent by somebody who does not know it yet (rules 2, 3, 10)."""
        view, member = self.view, ping.member
        if ping.number != view.number or view.primary is None:
            return
        if member.is_same_copy(view.primary):
            backups = frozenset(backup.name for backup in view.backups)
            synced = backups.intersection(ping.synced)
            for name in synced - self.eligible:
                self.roster.trusted(name)
            self.eligible |= synced
            self.acknowledged = self.acknowledged or synced == backups
            self.unreachable = backups.intersection(ping.unreachable)
            self.weighed = self.weighed if self.unreachable else 0
        elif member.is_same_copy(view.backup(member.name)):
            accuser = frozenset((member.name,))
            if view.primary.name in ping.unreachable:
                self.cut_off |= accuser
            else:
                self.cut_off -= accuser

    def _lose(self, evidence: str) -> None:
        self.lost = self.lost or (
            f"this view service has lost its memory: {evidence}, but it knows only "
            f"view {self.view.number} of cluster {self.cluster.hex()}. It makes no "
            "view. Restore its state file, or give the data up and start it with "
            "--new-cluster"
        )

    # -- the next view --------------------------------------------------------------

    def _due(self, leader: Server) -> View | None:
        """The view that a ping of *leader* makes now, if it makes one."""
        if self.lost or not self._may_lead(leader):
            return None
        proposed = self._proposed(leader.member)
        return proposed if self._may_move(proposed) else None

    def _may_lead(self, leader: Server) -> bool:
        """Whether *leader* may be primary in the next view (rules 1, 3, 7)."""
        view, member = self.view, leader.member
        if self.roster.is_dead(member):
            return False
        if not view.number:
            return not self.roster.grace
        if member.is_same_copy(view.primary):
            return not self.primary_is_gone()
        if not self.primary_is_gone():
            return False
        backup = view.backup(member.name)
        return self.is_unfounded() or (
            member.name in self.eligible and member.is_same_copy(backup)
        )

    def _proposed(self, leader: Member) -> View:
        """The view that would be right with *leader* as its primary: promotion,
        removal and recruitment in one step (rule 9)."""
        view, number = self.view, self.view.number + 1
        stays = leader.is_same_copy(view.primary)
        if self.is_unfounded() and not stays:
            return View(number, leader, founding=True)
        # What a primary said of its backups is no matter to its successor.
        gone = self._unreachable() if stays else frozenset()
        kept = [
            self.roster.latest(backup)
            for backup in view.backups
            if backup.name != leader.name
            and backup.name not in gone
            and not self.roster.is_dead(backup)
        ]
        # A place that was free before an acknowledgement stays so until then.
        places = self.backups_max if self.acknowledged else len(view.backups)
        kept = kept[:places]
        return View(
            number,
            leader,
            (*kept, *self.roster.idle(view.members())[: places - len(kept)]),
            tuple(backup.name for backup in kept if backup.name in self.eligible),
        )

    def _may_move(self, proposed: View) -> bool:
        """The gate (rule 8)."""
        view = self.view
        if proposed.members() == view.members():
            return False
        if self.acknowledged or not has(proposed, view.primary, as_primary=True):
            return True
        return not self.strict and not all(has(proposed, each) for each in view.backups)

    def _unreachable(self) -> frozenset[str]:
        """Backups that lose their place by their primary's word (rule 10).

        One that is itself cut off accuses its backups one after the other, in
        the same few intervals in which they accuse it.  So where two or more
        could outvote it, its word against them is weighed for a while.
        """
        heirs = self.heirs()
        if len(heirs) >= 2 and self.weighed < WEIGH_TICKS:
            return self.unreachable - heirs
        return self.unreachable

    # -- the one place where the view changes ----------------------------------------

    def _advance(self, proposed: View) -> None:
        self._assert_well_formed(proposed)
        assert proposed.primary is not None
        why = tuple(causes.of_change(self, proposed))
        for member in self.view.members():
            if not self.roster.is_dead(member) and not has(proposed, member):
                doubted = any(
                    cause.server == member.name and cause.code in causes.DOUBTS
                    for cause in why
                )
                self.roster.retired(member.name, doubted=doubted)
        primary = proposed.primary.name
        backups = tuple(backup.name for backup in proposed.backups)
        change = Change(proposed.number, primary, backups, why)
        self.history = (*self.history, change)[-HISTORY_MAX:]
        self.view = proposed
        self.acknowledged = False
        self.eligible = frozenset((primary, *proposed.holders))
        self.unreachable = self.cut_off = frozenset()
        self.weighed = 0

    def _assert_well_formed(self, proposed: View) -> None:
        old, primary = self.view, proposed.primary
        names = [member.name for member in proposed.members()]
        assert not self.lost
        assert primary is not None
        assert proposed.number == old.number + 1
        assert proposed.members() != old.members()
        assert len(set(names)) == len(names)
        assert not any(self.roster.is_dead(each) for each in proposed.members())
        assert set(proposed.holders) <= set(names[1:])
        for name in proposed.holders:
            assert name in self.eligible
            assert has(old, proposed.backup(name))
        if proposed.founding:
            assert self.is_unfounded()
            assert not proposed.backups
        else:
            assert primary.name in self.eligible
            assert has(old, primary)

    # -- memory, and copies ------------------------------------------------------------

    def stamp(self, time: str) -> None:
        """Say when the newest change was made, by a clock that is not known here."""
        if self.history and not self.history[-1].time:
            last = replace(self.history[-1], time=time)
            self.history = (*self.history[:-1], last)

    def memory(self) -> Memory:
        """What must be on disk before anybody hears of it (rule 12)."""
        return Memory(
            cluster=self.cluster,
            view=self.view,
            acknowledged=self.acknowledged,
            eligible=tuple(sorted(self.eligible)),
            servers=tuple(
                Known(server.member, server.superseded)
                for server in self.servers.values()
            ),
            history=self.history,
            lost=self.lost,
            new_cluster=self.new_cluster,
        )

    @classmethod
    def recalled(cls, memory: Memory, roster: Roster, **settings: Any) -> Views:
        """The same after a restart: everyone known has the roster's time to
        call, and is not believed to be there until then (rule 12).

        *settings* are `backups_max` and `strict`.
        """
        views = cls(memory.cluster, roster, new_cluster=memory.new_cluster, **settings)
        views.view = memory.view
        views.acknowledged = memory.acknowledged
        views.eligible = frozenset(memory.eligible)
        views.history = memory.history
        views.lost = memory.lost
        for known in memory.servers:
            server = Server(known.member, superseded=known.superseded)
            roster.servers[known.member.name] = server
        return views

    def copy(self) -> Views:
        """An independent copy."""
        twin = object.__new__(Views)
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        twin.roster = self.roster.copy()
        return twin

    def fingerprint(self) -> tuple[object, ...]:
        """Hashable, and equal for two that answer alike for ever."""
        return (
            self.view,
            self.acknowledged,
            self.eligible,
            self.unreachable,
            self.weighed,
            self.cut_off,
            bool(self.lost),
            self.roster.fingerprint(self._serving()),
        )

    def _serving(self) -> set[str]:
        return {member.name for member in self.view.members()}


_FIELDS: Final = tuple(name for name in Views.__slots__ if name != "__weakref__")


def has(view: View, member: Member | None, *, as_primary: bool = False) -> bool:
    """Whether that copy of the data serves in *view*."""
    members = (view.primary,) if as_primary else view.members()
    return any(each is not None and each.is_same_copy(member) for each in members)
