"""
Misfortune: what befalls a world, drawn from its seed.

Each seed draws which kinds of misfortune it knows and how often they come, so
that some worlds are all crashes and others all slow links; what is rare in one
mixture is common in another.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS, S

if TYPE_CHECKING:
    from tests.sim.server import ServerProcess
    from tests.sim.world import World

#: Kind -> how likely a seed knows it, in percent.
KINDS: Final = {
    "crash": 70,
    "crash without mercy": 8,
    "pause": 50,
    "break": 60,
    "half break": 50,
    "cut": 50,
    "cut one way": 50,
    "isolate": 40,
    "slow": 50,
    "views crash": 40,
    "views pause": 30,
    "views crash before writing": 30,
    "views crash after writing": 30,
    "jump": 30,
    "leave": 30,
    "clerk crash": 20,
    "just then": 50,
    "founders": 15,
}

#: What happens to a member of a view that was just made.
JUST_THEN: Final = ("crash", "pause", "break", "cut", "cut from views", "slow")


class Misfortune:
    """What can happen, and does."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self.is_over = False
        self.kinds = [
            kind for kind, percent in KINDS.items() if random.randrange(100) < percent
        ]
        self._gap_max_us = random.choice((150, 400, 1000)) * MS
        self._does: dict[str, Callable[[], str]] = {
            "crash": self._crash,
            "crash without mercy": self._crash_anybody,
            "pause": self._pause,
            "break": self._break,
            "half break": self._half_break,
            "cut": self._cut,
            "cut one way": self._cut_one_way,
            "isolate": self._isolate,
            "slow": self._slow,
            "views crash": self._views_crash,
            "views pause": self._views_pause,
            "jump": self._jump,
            "leave": self._leave,
            "clerk crash": self._clerk_crash,
        }

    def begin(self) -> None:
        """From now on things go wrong."""
        self._world.agenda.later(self._gap_us(), self._strike)

    def strikes(self, kind: str) -> bool:
        """Does a misfortune of that kind, for which this is the moment, happen?"""
        return (
            not self.is_over and kind in self.kinds and self._random.randrange(12) == 0
        )

    def moved(self, members: list[str], *, founding: bool) -> None:
        """A view was just made: the most delicate moment that there is."""
        if self.is_over:
            return
        if founding and "founders" in self.kinds:
            self._stop_founder(members[0])
        elif "just then" in self.kinds and self._random.randrange(2):
            host = self._random.choice(members)
            self._world.agenda.later(
                self._random.randrange(20 * MS), lambda: self._just_then(host)
            )

    def _stop_founder(self, host: str) -> None:
        """Keep it from acknowledging its view until it counts as dead."""
        settings = self._world.settings
        dead_us = (settings.dead_pings + 2) * settings.interval_us
        undo = self._random.choice((self._pause_one, self._cut_from_views))(host)
        self._world.note(f"founder {host} is stopped")
        self._world.agenda.later(dead_us + self._random.randrange(dead_us), undo)

    def _pause_one(self, host: str) -> Callable[[], None]:
        server = self._world.servers[host]
        server.pause()
        return server.wake

    def _cut_from_views(self, host: str) -> Callable[[], None]:
        network = self._world.network
        paths = {(host, "views"), ("views", host)}
        network.cut |= paths

        def mend() -> None:
            network.cut -= paths
            network.mend()

        return mend

    def _just_then(self, host: str) -> None:
        if self.is_over:
            return
        world, network = self._world, self._world.network
        kind = self._random.choice(JUST_THEN)
        server = world.servers[host]
        if kind == "crash" and server in self._spared():
            self._end([server], lambda server: server.end())
        elif kind == "pause":
            server.pause()
            self._for_a_while(server.wake)
        elif kind == "break":
            ends = [end for end in network.ends.values() if end.process is server]
            if ends:
                late_us = self._random.choice((0, self._random.randrange(3 * S)))
                network.tear(self._random.choice(ends), late_us)
        elif kind == "cut":
            others = [each for each in self._hosts() if each != host]
            other = self._random.choice(others)
            self._cut_between([(host, other), (other, host)])
        elif kind == "cut from views":
            self._cut_between(
                self._random.choice(
                    ([(host, "views"), ("views", host)], [(host, "views")])
                )
            )
        elif kind == "slow":
            others = [each for each in self._hosts() if each != host]
            self._slow_down((host, self._random.choice(others)))
        world.note(f"just then: {kind} {host}")

    def lateness_us(self) -> int:
        """How long until the other end learns that a process is gone."""
        if self.is_over or self._random.randrange(4):
            return 0
        return self._random.randrange(2 * S)

    def _gap_us(self) -> int:
        return self._random.randrange(self._gap_max_us)

    def _strike(self) -> None:
        if self.is_over:
            return
        kinds = [kind for kind in self.kinds if kind in self._does]
        if kinds:
            kind = self._random.choice(kinds)
            self._world.note(f"{kind}: {self._does[kind]()}")
        self._world.agenda.later(self._gap_us(), self._strike)

    def _for_a_while(self, what: Callable[[], None], most_us: int = 2 * S) -> None:
        """Undo something later."""
        delay_us = self._random.choice((20 * MS, 200 * MS, most_us))
        self._world.agenda.later(self._random.randrange(delay_us), what)

    # -- processes ------------------------------------------------------------

    def _crash(self) -> str:
        return self._end(self._spared(), lambda server: server.end())

    def _crash_anybody(self) -> str:
        return self._end(self._world.running(), lambda server: server.end())

    def _leave(self) -> str:
        return self._end(self._spared(), lambda server: server.leave())

    def _spared(self) -> list[ServerProcess]:
        """Those without whom nothing is lost."""
        world = self._world
        heirs = world.chronicle.heirs()
        if len(heirs) > 1 or not world.chronicle.commit:
            return world.running()
        return [server for server in world.running() if server not in heirs]

    def _end(
        self, servers: list[ServerProcess], end: Callable[[ServerProcess], None]
    ) -> str:
        if not servers:
            return "nobody"
        server = self._random.choice(servers)
        end(server)
        self._for_a_while(lambda: self._world.start_server(server.name))
        return server.name

    def _pause(self) -> str:
        process = self._random.choice([*self._world.running(), *self._world.clerks])
        process.pause()
        self._for_a_while(process.wake)
        return process.name

    def _views_crash(self) -> str:
        self._world.crash_views()
        return ""

    def _views_pause(self) -> str:
        process = self._world.views_process
        process.pause()
        self._for_a_while(process.wake)
        return ""

    def _jump(self) -> str:
        process = self._random.choice([*self._world.running(), *self._world.clerks])
        process.jump(self._random.choice((50 * MS, S, 3600 * S)))
        return process.name

    def _clerk_crash(self) -> str:
        return self._world.replace_clerk()

    def crashed_views(self) -> None:
        """The view service is gone; somebody starts it again."""
        self._for_a_while(self._world.start_views)

    # -- the network ----------------------------------------------------------

    def _break(self) -> str:
        return self._tear(0)

    def _half_break(self) -> str:
        return self._tear(self._random.randrange(3 * S))

    def _tear(self, late_us: int) -> str:
        network = self._world.network
        if not network.ends:
            return "nothing"
        ends = list(network.ends.values())
        servers = self._world.servers
        if self._random.randrange(2):
            between = [
                end
                for end in ends
                if end.process.host in servers and end.other.process.host in servers
            ]
            ends = between or ends
        end = self._random.choice(ends)
        network.tear(end, late_us)
        return repr(end)

    def _hosts(self) -> list[str]:
        return self._world.hosts()

    def _pair(self) -> tuple[str, str]:
        """Two places; half the time two of those who serve."""
        hosts = self._hosts()
        serving = [member.name for member in self._world.chronicle.view.members()]
        if len(serving) > 1 and self._random.randrange(2):
            hosts = serving
        one, other = self._random.sample(hosts, 2)
        return one, other

    def _cut(self) -> str:
        one, other = self._pair()
        return self._cut_between([(one, other), (other, one)])

    def _cut_one_way(self) -> str:
        one, other = self._pair()
        return self._cut_between([(one, other)])

    def _isolate(self) -> str:
        hosts = self._hosts()
        group = self._random.sample(hosts, self._random.randint(1, len(hosts) // 2))
        rest = [host for host in hosts if host not in group]
        both = self._random.randrange(2)
        paths = [(one, other) for one in group for other in rest]
        if both:
            paths += [(other, one) for one, other in paths]
        return self._cut_between(paths)

    def _cut_between(self, paths: list[tuple[str, str]]) -> str:
        network = self._world.network
        network.cut.update(paths)

        def mend() -> None:
            network.cut.difference_update(paths)
            network.mend()

        self._for_a_while(mend)
        return " ".join(f"{one}>{other}" for one, other in paths)

    def _slow(self) -> str:
        return self._slow_down(self._pair())

    def _slow_down(self, path: tuple[str, str]) -> str:
        slow = self._world.network.slow
        slow[path] = self._random.randrange(300 * MS)
        self._for_a_while(lambda: slow.pop(path, None))
        return " > ".join(path)
