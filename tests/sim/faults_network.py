"""
What befalls connections, and the ways between hosts.

Each fault says what it struck, and "" if there was nothing to strike.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS, S
from tests.sim.network import NEVER_US
from tests.sim.sockets import End

if TYPE_CHECKING:
    from tests.sim.world import World

Undo = Callable[..., None]
Path = tuple[str, str]

VIEWS: Final = "views"


class NetworkFaults:
    """Connections that break or lag, and hosts that are cut off."""

    #: Of the fault that strikes now.
    random: Random

    def __init__(self, world: World, later: Undo) -> None:
        self._world = world
        self._network = world.network
        self._later = later
        self.does: dict[str, Callable[[], str]] = {
            "break": lambda: self.tear(self._end(), late=False),
            "half-break": lambda: self.tear(self._end(), late=True),
            "half-open": self._half_open,
            "late-copies": self._copy_late,
            "lag": self._lag,
            "slow": lambda: self._slow_down(self._pair()),
            "cut": lambda: self._cut([self._pair()], both=True),
            "cut-one-way": lambda: self._cut([self._pair()], both=False),
            "cut-views": lambda: self._cut_views(self._server()),
            "cut-backup": self._cut_backup,
            "cut-clerks": self._cut_clerks,
            "isolate": self._isolate,
            "split": self._split,
            "ring": self._ring,
        }

    def befall(self, host: str, what: str) -> str:
        """Something happens to that server's connections."""
        others = [each for each in self._world.hosts() if each != host]
        other = self.random.choice(others)
        if what == "cut":
            return self._cut([(host, other)], both=True)
        if what == "cut views":
            return self._cut_views(host)
        if what == "slow":
            return self._slow_down((host, other))
        assert what == "break", what
        ends = [end for end in self._ends() if end.process.host == host]
        return self.tear(self.random.choice(ends) if ends else None, late=False)

    # -- connections ----------------------------------------------------------

    def _ends(self) -> list[End]:
        return [end for end in self._network.ends.values() if not end.is_torn]

    def _end(self) -> End | None:
        """One end of a connection; half the time of one between servers."""
        ends = self._ends()
        if self.random.randrange(2):
            servers = self._world.servers
            between = [
                end
                for end in ends
                if end.process.host in servers and end.other.process.host in servers
            ]
            ends = between or ends
        return self.random.choice(ends) if ends else None

    def tear(self, end: End | None, *, late: bool) -> str:
        """Break it; the other end learns of it now, or late."""
        if end is None or end.is_gone or end.is_torn:
            return ""
        found = f"{end} to {end.other}"
        self._network.tear(end, self.random.randrange(3 * S) if late else 0)
        return found

    def _half_open(self) -> str:
        """One end learns of it now or late, the other one never."""
        end = self._end()
        if end is None:
            return ""
        found = f"{end} to {end.other}"
        self._network.tear(end, NEVER_US, self.random.choice((0, 0, 500 * MS, 3 * S)))
        return found

    def _copy_late(self) -> str:
        """A connection on which much is under way: all of it comes, late."""
        ends = [end for end in self._ends() if end.other.flight]
        if not ends:
            return ""
        end = self.random.choice(ends)
        found = f"{end} to {end.other}, {len(end.other.flight)} pieces"
        late_us = self.random.choice((100 * MS, S, 3 * S))
        self._network.tear(end, self.random.randrange(late_us) + 1, keep=True)
        return found

    def _lag(self) -> str:
        end = self._end()
        if end is None:
            return ""
        end.lag_us = self.random.choice((5, 50, 300)) * MS

        def undo() -> None:
            end.lag_us = 0

        self._later(undo)
        return f"{end} to {end.other} by {end.lag_us // MS} ms"

    # -- ways between hosts ---------------------------------------------------

    def _server(self) -> str:
        """A server's host; half the time one of those who serve."""
        serving = [member.name for member in self._world.chronicle.view.members()]
        if not serving or self.random.randrange(2):
            serving = list(self._world.servers)
        return self.random.choice(serving)

    def _pair(self) -> Path:
        """Two hosts; half the time two of those who serve."""
        hosts = self._world.hosts()
        serving = [member.name for member in self._world.chronicle.view.members()]
        if len(serving) > 1 and self.random.randrange(2):
            hosts = serving
        one, other = self.random.sample(hosts, 2)
        return one, other

    def _cut(self, paths: list[Path], *, both: bool) -> str:
        if not paths:
            return ""
        if both:
            paths = paths + [(other, one) for one, other in paths]
        self._later(self._network.cut_off(paths))
        return " ".join(f"{one}>{other}" for one, other in paths)

    def _either(self, paths: list[Path]) -> str:
        """In both directions, or in one of them."""
        kind = self.random.randrange(4)
        if kind == 0:
            paths = [(other, one) for one, other in paths]
        return self._cut(paths, both=kind > 1)

    def _cut_views(self, host: str) -> str:
        return self._either([(host, VIEWS)])

    def _cut_backup(self) -> str:
        view = self._world.chronicle.view
        if view.primary is None or not view.backups:
            return ""
        return self._either(
            [(view.primary.name, self.random.choice(view.backups).name)]
        )

    def _cut_clerks(self) -> str:
        server = self._server()
        return self._either([(server, clerk.host) for clerk in self._world.clerks])

    def _isolate(self) -> str:
        server = self._server()
        return self._either(
            [(server, host) for host in self._world.hosts() if host != server]
        )

    def _split(self) -> str:
        hosts = self._world.hosts()
        group = self.random.sample(hosts, self.random.randint(1, len(hosts) // 2))
        rest = [host for host in hosts if host not in group]
        return self._either([(one, other) for one in group for other in rest])

    def _ring(self) -> str:
        hosts = self._world.hosts()
        self.random.shuffle(hosts)
        count = len(hosts)
        paths = [
            (hosts[one], hosts[other])
            for one in range(count)
            for other in range(one + 2, count)
            if other - one < count - 1
        ]
        return self._cut(paths, both=True)

    def _slow_down(self, path: Path, most_us: int = 300 * MS) -> str:
        slow = self._network.slow
        slow[path] = self.random.randrange(most_us)
        found = f"{path[0]}>{path[1]} by {slow[path] // MS} ms"
        self._later(lambda: slow.pop(path, None))
        return found

    def slow_transfer(self, end: End) -> str:
        """The way of a snapshot, or that of the word that it has come."""
        path = end.process.host, end.other.process.host
        if not self.random.randrange(3):
            path = path[1], path[0]
        return self._slow_down(path, 800 * MS)
