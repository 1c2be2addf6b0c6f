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

The state that this builds on may be older than the cluster: a file that was
rolled back, or none.  So after a start no view is created for a margin in which
every living server calls, and the views that callers know are compared with
those that this view service has created (rules 1, 14).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import is_
from typing import Any, Final

from attrs import define, field
from attrs.validators import ge, instance_of
from msgspec.structs import replace

from viewservice import causes, waits
from viewservice.lineage import Lineage, Verdict
from viewservice.memory import Memory
from viewservice.roster import Roster
from viewservice.server import Server, recalled
from wire.messages import (
    NO_VIEW,
    OBSERVER,
    SERVER,
    Change,
    Goodbye,
    Hello,
    Member,
    Ping,
    View,
    ViewIs,
    ViewNumber,
    Wait,
    counter_of,
    view_number,
)

#: Changes that are remembered, and shown by `status`.
HISTORY_MAX: Final = 100

#: Strangers with a view of their own that are named in `status`.
CLAIMS_MAX: Final = 16

#: Ticks for which a primary's word against its eligible backups is weighed if
#: there are two or more, so that theirs against it can arrive: both sides notice
#: a broken link within an interval or two of each other.
WEIGH_TICKS: Final = 2


@define
class Views:
    """The current view, and who might serve in the next."""

    #: 128 random bits: which cluster this is the view service of.
    cluster: bytes = field(validator=instance_of(bytes))
    #: Who has called, and who is alive.
    roster: Roster
    backups_max: int = field(default=1, validator=ge(0))
    #: While a view is unacknowledged, not even a dead backup leaves it.
    strict: bool = False
    #: Started by an operator who knows that callers of another cluster exist.
    new_cluster: bool = False
    #: Ticks after a start, and after a call of a stranger that knows another view,
    #: in which no view is created: every living server calls within them.
    margin_ticks: int = field(default=0, validator=ge(0))

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
    #: The identities of all views so far.
    lineage: Lineage = field(default=Lineage(), init=False)
    #: The state machine of this cluster; "" while none is known.
    machine: str = field(default="", init=False)
    #: Ticks left in which no view is created.
    settling: int = field(init=False)
    #: While it is above 0: those that have called with a view that is not known
    #: here, and have never served here, with what they know.
    claims: dict[tuple[str, int], str] = field(factory=dict, init=False)
    #: How it was found out that this view service has forgotten something, or
    #: "".  Then it makes no view any more: the one it made could exist already.
    lost: str = field(default="", init=False)
    #: Was it a server that has served here that proved this?  Only then it is
    #: remembered; the claim of any other process could be false.
    is_lost_for_good: bool = field(default=False, init=False)

    #: What `memory` was made of, and what it was.
    _kept: tuple[tuple[object, ...], Memory] | None = field(default=None, init=False)

    @settling.default
    def _settling(self) -> int:
        return 0 if self.new_cluster else self.margin_ticks

    # -- news ------------------------------------------------------------------

    def greeted(self, hello: Hello) -> Goodbye | None:
        """A process connects.  -> why it is refused, or None (rules 1, 13, 14, 16).

        Observers are always let in: when all else is refused, `status` says why.
        What clerks know of views is no evidence.
        """
        if hello.role == OBSERVER:
            return None
        if self.lost:
            return Goodbye("memory lost", self.lost)
        if hello.cluster and hello.cluster != self.cluster:
            return self._other_cluster(hello)
        if hello.role == SERVER and hello.member is not None:
            return self._wrong_machine(
                hello.member, hello.machine
            ) or self._contradiction(hello.member, hello.number)
        return None

    def ping(
        self, link: int, ping: Ping, bits: int = 0, machine: str = ""
    ) -> ViewIs | Goodbye:
        """A server is alive, and says what it knows.  -> the answer.

        *link* names the connection; newer ones compare greater.  *bits* are 32
        random bits, for the view that this ping may create; *machine* is the state
        machine that the server named when it called.
        """
        if self.lost:
            return Goodbye("memory lost", self.lost)
        refusal = self._contradiction(ping.member, ping.number) or self._wrong_machine(
            ping.member, machine
        )
        if refusal is not None:
            return refusal
        server = self.roster.heard(link, ping, self._serving(), machine)
        if isinstance(server, Goodbye):
            return server
        if server is not None:
            self._believe(ping)
            proposed = self._due(server)
            if proposed is not None:
                number = view_number(proposed.counter, bits)
                self._advance(replace(proposed, number=number))
        return self.view_is(ping.serial)

    def knows(self, number: ViewNumber) -> bool:
        """Whether this view service has created that view."""
        return self.lineage.verdict(number) is Verdict.KNOWN

    def disconnected(self, link: int, *, stopped: bool = False) -> None:
        """A connection is gone: a hint that its server is (rule 6); *stopped* if its
        Goodbye said so."""
        self.roster.disconnected(link, stopped=stopped)

    def tick(self) -> None:
        """One ping interval has passed.

        Whoever ticks has read all pings that were waiting before, and makes up
        for no tick that it missed (rule 4).
        """
        self.roster.tick()
        self.settling = max(0, self.settling - 1)
        if not self.settling:
            self.claims.clear()
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
        candidates: Iterable[Server] = self.servers.values()
        if not self.is_unfounded():
            # Only a member can lead: however many servers there are, few are asked.
            serving = (self.servers.get(each.name) for each in self.view.members())
            candidates = [each for each in serving if each is not None]
        return (
            server
            for server in candidates
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
        """Dead; or stuck, if one that is not can lead (rule 17); or cut off
        from all of its eligible backups, which must be at least two: a single one
        could itself be the one that is cut off (rule 10)."""
        primary = self.view.primary
        if primary is None or self.roster.is_dead(primary):
            return True
        if self.roster.is_stuck(primary) and self._heirs_at_work():
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

    def _heirs_at_work(self) -> frozenset[str]:
        """The eligible backups that are alive and not stuck."""
        dead_pings = self.roster.dead_pings
        return frozenset(
            name for name in self.heirs() if not self.servers[name].is_stuck(dead_pings)
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
            # Without news it stays the same object: `memory` then need not look at it.
            if not synced <= self.eligible:
                self.eligible |= synced
            if not self.acknowledged and not (view.founding and self.settling):
                # In an old state that was a founding view, and others serve in a
                # newer one: what it answered would be answered twice.
                self.acknowledged = synced == backups
            self.unreachable = backups.intersection(ping.unreachable)
            self.weighed = self.weighed if self.unreachable else 0
        elif member.is_same_copy(view.backup(member.name)):
            accuser = frozenset((member.name,))
            if view.primary.name in ping.unreachable:
                self.cut_off |= accuser
            else:
                self.cut_off -= accuser

    # -- what callers know that this view service does not (rules 1, 14, 16) ----------

    def _other_cluster(self, hello: Hello) -> Goodbye:
        """The caller belongs to another cluster than this one."""
        theirs, name = hello.cluster.hex(), hello.role
        if hello.member is not None:
            name = f"{hello.member.name} ({hello.member.incarnation:016x})"
        if self.new_cluster or not self.is_unfounded():
            return Goodbye(
                "cluster",
                f"{name} belongs to cluster {theirs}, "
                f"this view service to {self.cluster.hex()}",
            )
        text = f"{name} belongs to cluster {theirs}"
        if hello.role == SERVER:
            # It may hold all that was ever answered, and nothing was answered here:
            # an empty service must not begin beside it.
            self._lose(text, for_good=False)
            return Goodbye("memory lost", self.lost)
        return Goodbye("memory lost", f"{text}, and this view service has no view yet")

    def _contradiction(self, member: Member, number: ViewNumber) -> Goodbye | None:
        """A server knows a view -> why it is turned away, if this view service has
        not created that view: then this state may be old."""
        verdict = self.lineage.verdict(number)
        if verdict is Verdict.KNOWN:
            return None
        name = f"{member.name} ({member.incarnation:016x})"
        evidence = f"{name} knows view {counter_of(number)}"
        if verdict is Verdict.FORGOTTEN:
            return Goodbye(
                "superseded",
                f"{evidence}, which is older than all that this view service can "
                "tell apart; the server starts again without its data",
            )
        if verdict is Verdict.OTHER:
            evidence += f", but another one ({number:016x}) than was created here"
        if self.roster.has_served(member):
            self._lose(evidence, for_good=True)
            return Goodbye("memory lost", self.lost)
        # The claim could be false, so nothing is remembered; but no view is created
        # as long as the server calls, and a margin longer.
        self.settling = max(self.settling, self.margin_ticks, self.roster.dead_pings)
        if len(self.claims) < CLAIMS_MAX:
            self.claims[member.name, member.incarnation] = evidence
        return Goodbye(
            "memory lost",
            f"{evidence}, and has never served in a view that is known here; "
            "no view is created while it calls",
        )

    def _wrong_machine(self, member: Member, machine: str) -> Goodbye | None:
        """Why a server with another state machine is refused: it could not take
        over, which would be noticed only when it is needed."""
        if not self.machine or machine == self.machine or self.is_unfounded():
            return None
        return Goodbye(
            "machine",
            f"this cluster replicates {self.machine}, and {member.name} replicates "
            f"{machine or 'nothing'}; start it with --machine {self.machine}",
        )

    def _lose(self, evidence: str, *, for_good: bool) -> None:
        self.is_lost_for_good = self.is_lost_for_good or for_good
        self.lost = self.lost or (
            f"this view service has lost its memory: {evidence}, but it knows only "
            f"view {self.view.counter} of cluster {self.cluster.hex()}. It makes no "
            "view. Restore its newest state file; its servers go on with their data "
            "meanwhile. --new-cluster gives that data up"
        )

    # -- the next view --------------------------------------------------------------

    def _due(self, leader: Server) -> View | None:
        """The view that a ping of *leader* makes now, if it makes one, with its
        counter for a number."""
        if self.lost or self.settling or not self._may_lead(leader):
            return None
        proposed = self._proposed(leader.member)
        return proposed if self._may_move(proposed) else None

    def _may_lead(self, leader: Server) -> bool:
        """Whether *leader* may be primary in the next view (rules 1, 3, 7, 17)."""
        view, member = self.view, leader.member
        if self.roster.is_dead(member):
            return False
        if not view.number:
            return True
        if member.is_same_copy(view.primary):
            return not self.primary_is_gone()
        if not self.primary_is_gone():
            return False
        if self.is_unfounded():
            return True
        backup = view.backup(member.name)
        if member.name not in self.eligible or not member.is_same_copy(backup):
            return False
        at_work = self._heirs_at_work()
        return not at_work or member.name in at_work

    def _proposed(self, leader: Member) -> View:
        """The view that would be right with *leader* as its primary: promotion,
        removal and recruitment in one step (rule 9)."""
        view, counter = self.view, self.view.counter + 1
        stays = leader.is_same_copy(view.primary)
        if self.is_unfounded() and not stays:
            return View(counter, leader, founding=True)
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
            counter,
            leader,
            (*kept, *self.roster.idle(view.members(), places - len(kept))),
            tuple(backup.name for backup in kept if backup.name in self.eligible),
            recoveries=view.recoveries,
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
        codes = {cause.server: cause.code for cause in reversed(why)}
        # No copy is made of what a founder holds, so to replace it costs no transfer.
        counts = not self.is_unfounded()
        for member in self.view.members():
            if not has(proposed, member):
                code = codes[member.name]
                self.roster.retired(member.name, code, counts=counts)
        for member in proposed.members():
            self.roster.recruited(member.name)
        if self.is_unfounded():
            self.machine = self.servers[proposed.primary.name].machine
        primary = proposed.primary.name
        backups = tuple(backup.name for backup in proposed.backups)
        change = Change(proposed.counter, primary, backups, why)
        self.history = (*self.history, change)[-HISTORY_MAX:]
        self.view = proposed
        self.lineage = self.lineage.after(proposed.number)
        self.acknowledged = False
        self.eligible = frozenset((primary, *proposed.holders))
        self.unreachable = self.cut_off = frozenset()
        self.weighed = 0

    def _assert_well_formed(self, proposed: View) -> None:
        old, primary = self.view, proposed.primary
        names = [member.name for member in proposed.members()]
        assert not self.lost
        assert not self.settling
        assert primary is not None
        assert proposed.counter == old.counter + 1
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
        """What must be on disk before it is sent to any process (rule 12); the same
        object as before if nothing of it has changed."""
        known = self.roster.known()
        parts = (self.view, self.acknowledged, self.eligible, known, self.history)
        kept = self._kept
        if kept is not None and all(map(is_, parts, kept[0])):
            lost = self.lost if self.is_lost_for_good else ""
            if kept[1].lost == lost:
                return kept[1]
        memory = Memory(
            cluster=self.cluster,
            view=self.view,
            acknowledged=self.acknowledged,
            eligible=tuple(sorted(self.eligible)),
            servers=known,
            history=self.history,
            lineage=self.lineage,
            machine=self.machine,
            lost=self.lost if self.is_lost_for_good else "",
            new_cluster=self.new_cluster,
        )
        self._kept = parts, memory
        return memory

    @classmethod
    def recalled(cls, memory: Memory, roster: Roster, **settings: Any) -> Views:
        """The same after a restart: everyone known has the roster's time to
        call, and is not believed to be there until then (rule 12); and no view is
        created for the margin, since *memory* may be old (rule 14).

        *settings* are `backups_max`, `strict` and `margin_ticks`.
        """
        views = cls(memory.cluster, roster, new_cluster=memory.new_cluster, **settings)
        views.view = memory.view
        views.acknowledged = memory.acknowledged
        views.eligible = frozenset(memory.eligible)
        views.history = memory.history
        views.lineage = memory.lineage
        views.machine = memory.machine
        views.lost, views.is_lost_for_good = memory.lost, bool(memory.lost)
        views.settling = views.margin_ticks
        for known in memory.servers:
            roster.servers[known.member.name] = recalled(known, roster.dead_pings)
        return views

    def copy(self) -> Views:
        """An independent copy."""
        twin = object.__new__(Views)
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        twin.roster = self.roster.copy()
        twin.claims = self.claims.copy()
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
            self.settling,
            bool(self.lost),
            self.is_lost_for_good,
            self.lineage,
            self.roster.fingerprint(self._serving()),
        )

    def _serving(self) -> set[str]:
        return {member.name for member in self.view.members()}


_FIELDS: Final = tuple(name for name in Views.__slots__ if name != "__weakref__")


def has(view: View, member: Member | None, *, as_primary: bool = False) -> bool:
    """Whether that copy of the data serves in *view*."""
    members = (view.primary,) if as_primary else view.members()
    return any(each is not None and each.is_same_copy(member) for each in members)
