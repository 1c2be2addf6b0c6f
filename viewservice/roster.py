"""
Who has called, and who is alive.

Pure: pings and ticks in, facts out.  The law here is one voice per name: of all
processes that call themselves by one name, at most one counts, and one that
has lost the name never gets it back (``docs/design.md``, section 4, rules 4
to 6).  Who serves is none of its business; that is `viewservice.views`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from attrs import Factory, define, field
from attrs.validators import ge
from msgspec.structs import replace

from viewservice.damping import FREE_LOSSES_MAX
from viewservice.memory import Known
from viewservice.server import Server, superseding
from wire.messages import Goodbye, Member, Ping

#: Servers that are remembered.  Past it one that is dead and not needed is
#: forgotten; if there is none, a new server is turned away.
SERVERS_MAX: Final = 1000

#: The causes of a lost place that count against a server, and those after which
#: it is no use to try it again at once.
LOSSES: Final = frozenset(
    {"silent", "disconnected", "restarted", "unreachable", "cut off", "stuck"}
)
UNREACHABLE: Final = frozenset({"unreachable", "cut off"})


@define
class Roster:
    """Every server that is known, and the signs of life that it gave."""

    #: Silent ticks that mean death.
    dead_pings: int = field(default=5, validator=ge(3))
    #: Ticks left in which everyone who is known, or knows better, may still
    #: call: until then a lost connection is no hint.
    grace: int = Factory(lambda self: self.dead_pings, takes_self=True)

    #: By name, in the order in which they began to wait for a place.
    servers: dict[str, Server] = field(factory=dict, init=False)
    #: `known`, while nothing of it has changed.
    _known: tuple[Known, ...] | None = field(default=None, init=False)
    #: The last search found no server to recruit, and nothing has changed since
    #: that could change its result.  Spares each ping that search.
    _is_nobody_idle: bool = field(default=False, init=False)

    def heard(
        self, link: int, ping: Ping, needed: Container[str], machine: str = ""
    ) -> Server | Goodbye | None:
        """A sign of life.  -> the server, why it is turned away, or None if it
        does not count.  The names *needed* are not forgotten to make room;
        *machine* is what the server replicates."""
        name, incarnation = ping.member.name, ping.member.incarnation
        known = self.servers.get(name)
        if known is None:
            if not self._make_room(needed):
                return Goodbye(
                    "full", f"{SERVERS_MAX} servers are known, and none is to spare"
                )
            return self._note(Server(ping.member, machine=machine), link, ping)
        if incarnation in known.superseded:
            return Goodbye(
                "superseded",
                f"{name} (incarnation {incarnation:016x}) has been superseded by "
                f"{known.member.incarnation:016x}",
            )
        if incarnation != known.member.incarnation:
            # An older connection cannot bring a newer incarnation: late bytes.
            if known.holds_its_name(self.dead_pings) or link < known.link:
                return Goodbye(
                    "name in use",
                    f"{name} is held by incarnation {known.member.incarnation:016x} "
                    f"at {known.member.address}; give this server another --name",
                )
            newer = replace(superseding(known, ping.member), machine=machine)
            return self._note(newer, link, ping)
        if link < known.link or (link == known.link and not known.connected):
            return None
        if machine and machine != known.machine:
            known = replace(known, machine=machine)
        return self._note(known, link, ping)

    def disconnected(self, link: int, *, stopped: bool = False) -> None:
        """A connection is gone.  A hint, not a proof: two more silent ticks mean
        death, so at least one full interval is left for calling again.  *stopped*:
        its Goodbye said that the process ends, so its name is free (rule 5)."""
        for name, server in self.servers.items():
            if server.link == link and server.connected:
                hint = 0 if self.grace else self.dead_pings - 2 - server.silent
                known = replace(server, stopped=stopped)
                self.servers[name] = replace(known, connected=False, hint=max(0, hint))
                if server.served and stopped != server.stopped:
                    self._known = None

    def tick(self) -> None:
        """One ping interval has passed."""
        self.grace = max(0, self.grace - 1)
        self._is_nobody_idle = False
        for name, server in self.servers.items():
            self.servers[name] = replace(
                server,
                silent=server.silent + 1,
                # In ticks without a ping it is silent, and not known to be stuck.
                stuck=server.stuck + (server.progress > 0 and not server.silent),
                damping=server.damping.ticked(self.dead_pings),
            )

    def paused(self) -> None:
        """The view service itself stood still: callers may have given up their
        connections meanwhile, which is no hint; only ticks count."""
        self.grace = max(self.grace, self.dead_pings)
        for name, server in self.servers.items():
            if server.hint and not server.is_dead(self.dead_pings):
                self.servers[name] = replace(server, hint=0)

    def is_dead(self, member: Member) -> bool:
        """Whether that copy of the data is gone, or counts as gone: silent for
        too long, leaving, or back under a new incarnation (rule 4)."""
        server = self.servers.get(member.name)
        return (
            server is None
            or not server.holds(member)
            or server.is_dead(self.dead_pings)
        )

    def latest(self, member: Member) -> Member:
        """The same copy of the data, at the address where it is now."""
        server = self.servers.get(member.name)
        same = server is not None and member.is_same_copy(server.member)
        return server.member if server is not None and same else member

    def idle(self, serving: tuple[Member, ...], count: int) -> list[Member]:
        """Up to *count* servers to recruit: connected, alive, at work, not *serving*,
        and not waiting for what they have lost.  The one that waited longest
        comes first, but those that keep losing their place come last."""
        if count <= 0 or self._is_nobody_idle:
            return []
        found: list[Member] = []
        doubtful: list[Member] = []
        dead_pings = self.dead_pings
        for server in self.servers.values():
            damping = server.damping
            if (
                server.connected
                and not server.is_dead(dead_pings)
                and not server.is_stuck(dead_pings)
                and not damping.is_waiting(dead_pings)
                and not any(server.member.is_same_copy(each) for each in serving)
            ):
                calm = damping.losses <= FREE_LOSSES_MAX
                (found if calm else doubtful).append(server.member)
                if len(found) == count:
                    return found
        self._is_nobody_idle = not found and not doubtful
        return (found + doubtful)[:count]

    def retired(self, name: str, code: str, *, counts: bool) -> None:
        """A server has lost its place for the reason *code*, and that *counts* as a
        loss or not; if it lives, it begins to wait for the next one now."""
        server = self.servers.pop(name, None)
        if server is None:
            return
        if counts and code in LOSSES:
            unreachable = code in UNREACHABLE
            damping = server.damping.lost(unreachable=unreachable)
            server = replace(server, damping=damping)
        self.servers[name] = server
        self._known = None
        self._is_nobody_idle = False

    def recruited(self, name: str) -> None:
        """A server is a member of a view from now on."""
        server = self.servers[name]
        if not server.served:
            self.servers[name] = replace(server, served=True)
            self._known = None

    def has_served(self, member: Member) -> bool:
        """Whether this very copy of the data has been a member of a view."""
        server = self.servers.get(member.name)
        return (
            server is not None and server.served and member.is_same_copy(server.member)
        )

    def is_stuck(self, member: Member) -> bool:
        """Whether that server pings and does no work."""
        server = self.servers.get(member.name)
        return server is not None and server.is_stuck(self.dead_pings)

    def known(self) -> tuple[Known, ...]:
        """What must be remembered of servers; the same object until that changes.
        Nothing of an incarnation that has never been in a view: its name is only a
        claim, and would have to be persisted for each caller."""
        if self._known is None:
            self._known = tuple(
                Known(last, each.superseded, each.served, each.served and each.stopped)
                for each in self.servers.values()
                if (last := each.member if each.served else each.past)
            )
        return self._known

    def copy(self) -> Roster:
        """An independent copy."""
        twin = object.__new__(Roster)
        twin.dead_pings = self.dead_pings
        twin.grace = self.grace
        twin.servers = self.servers.copy()
        twin._known = self._known
        twin._is_nobody_idle = self._is_nobody_idle
        return twin

    def fingerprint(self, serving: Container[str]) -> tuple[object, ...]:
        """Hashable, and equal for two that no rule tells apart.  Who began to
        wait first matters among those not *serving* only."""
        inside: list[object] = []
        idle: list[object] = []
        for name, server in self.servers.items():
            part = inside if name in serving else idle
            part.append(server.fingerprint(self.dead_pings))
        return self.grace, frozenset(inside), tuple(idle)

    def _note(self, known: Server, link: int, ping: Ping) -> Server:
        """Its silence ends here; if it was dead, it begins to wait anew."""
        name = ping.member.name
        old = self.servers.get(name)
        if old is None or old.link != link or old.is_stuck(self.dead_pings):
            self._is_nobody_idle = False
        if old is not None and self.is_dead(ping.member):
            del self.servers[name]
            self._is_nobody_idle = False
            if old.served:
                self._known = None
        server = self.servers[name] = Server(
            ping.member,
            link,
            connected=True,
            leaving=ping.leaving,
            progress=ping.progress,
            stuck=known.stuck if ping.progress == known.progress else 0,
            damping=known.damping,
            served=known.served,
            machine=known.machine,
            superseded=known.superseded,
            past=known.past,
        )
        if (
            old is not None
            and old.served
            and (old.stopped or old.member != ping.member)
        ):
            self._known = None
        return server

    def _make_room(self, needed: Container[str]) -> bool:
        """Forget a server if there are too many; False if none can be spared."""
        if len(self.servers) < SERVERS_MAX:
            return True
        for name, server in self.servers.items():
            if name not in needed and server.is_dead(self.dead_pings):
                del self.servers[name]
                self._known = None
                return True
        return False
