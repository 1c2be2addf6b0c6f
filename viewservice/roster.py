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

from viewservice.server import NEVER, Server, superseding
from wire.messages import Goodbye, Member, Ping

#: Servers that are remembered.  Past it one that is dead and not needed is
#: forgotten; if there is none, a new server is turned away.
SERVERS_MAX: Final = 1000

#: Dead times that must pass before a server that could not be reached is tried
#: again: often enough to come back by itself, seldom enough not to flap.
DOUBT_FACTOR: Final = 8


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

    def heard(
        self, link: int, ping: Ping, needed: Container[str]
    ) -> Server | Goodbye | None:
        """A sign of life.  -> the server, why it is turned away, or None if it
        does not count.  The names *needed* are not forgotten to make room."""
        name, incarnation = ping.member.name, ping.member.incarnation
        known = self.servers.get(name)
        if known is None:
            if not self._make_room(needed):
                return Goodbye(
                    "full", f"{SERVERS_MAX} servers are known, and none is to spare"
                )
            return self._note(Server(ping.member), link, ping)
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
            return self._note(superseding(known, ping.member), link, ping)
        if link < known.link or (link == known.link and not known.connected):
            return None
        return self._note(known, link, ping)

    def disconnected(self, link: int) -> None:
        """A connection is gone.  A hint, not a proof: two more silent ticks mean
        death, so at least one full interval is left for calling again."""
        for name, server in self.servers.items():
            if server.link == link and server.connected:
                hint = 0 if self.grace else self.dead_pings - 2 - server.silent
                self.servers[name] = replace(server, connected=False, hint=max(0, hint))

    def tick(self) -> None:
        """One ping interval has passed."""
        self.grace = max(0, self.grace - 1)
        for name, server in self.servers.items():
            doubted = server.doubted
            if doubted != NEVER:
                doubted = min(self.doubt_ticks, doubted + 1)
            self.servers[name] = replace(
                server, silent=server.silent + 1, doubted=doubted
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
            or not member.is_same_copy(server.member)
            or server.is_dead(self.dead_pings)
        )

    def latest(self, member: Member) -> Member:
        """The same copy of the data, at the address where it is now."""
        server = self.servers.get(member.name)
        same = server is not None and member.is_same_copy(server.member)
        return server.member if server is not None and same else member

    def idle(self, serving: tuple[Member, ...]) -> list[Member]:
        """Who may be recruited: connected, alive, not *serving*, and not doubted
        of late; the one that waited longest first, but the doubted last."""
        idle = [
            server
            for server in self.servers.values()
            if server.connected
            and not server.is_dead(self.dead_pings)
            and (server.doubted == NEVER or server.doubted >= self.doubt_ticks)
            and not any(server.member.is_same_copy(member) for member in serving)
        ]
        idle.sort(key=lambda server: server.doubted != NEVER)
        return [server.member for server in idle]

    def retired(self, name: str, *, doubted: bool) -> None:
        """A living server has lost its place: it begins to wait now, and if it
        is *doubted* that it can be reached, for long (rule 10)."""
        server = self.servers.pop(name)
        self.servers[name] = replace(server, doubted=0) if doubted else server

    def trusted(self, name: str) -> None:
        """It has been reached after all."""
        server = self.servers.get(name)
        if server is not None and server.doubted != NEVER:
            self.servers[name] = replace(server, doubted=NEVER)

    @property
    def doubt_ticks(self) -> int:
        """How long a server that could not be reached is not tried again."""
        return DOUBT_FACTOR * self.dead_pings

    def copy(self) -> Roster:
        """An independent copy."""
        twin = object.__new__(Roster)
        twin.dead_pings = self.dead_pings
        twin.grace = self.grace
        twin.servers = self.servers.copy()
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
        if old is not None and self.is_dead(ping.member):
            del self.servers[name]
        server = self.servers[name] = Server(
            ping.member,
            link,
            connected=True,
            leaving=ping.leaving,
            doubted=known.doubted,
            superseded=known.superseded,
        )
        return server

    def _make_room(self, needed: Container[str]) -> bool:
        """Forget a server if there are too many; False if none can be spared."""
        if len(self.servers) < SERVERS_MAX:
            return True
        for name, server in self.servers.items():
            if name not in needed and server.is_dead(self.dead_pings):
                del self.servers[name]
                return True
        return False
