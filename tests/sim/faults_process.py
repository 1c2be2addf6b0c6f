"""
What befalls processes: servers, clerks and the view service.

Each fault says whom it struck, and "" if there was nobody to strike.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS, S
from tests.sim.faults_network import NetworkFaults
from tests.sim.process import Process
from tests.sim.server import ServerProcess
from tests.sim.sockets import End

if TYPE_CHECKING:
    from tests.sim.world import World

Undo = Callable[..., None]

#: What happens to a member of a view that was just made, or to one end of a
#: transfer.
JUST_THEN: Final = ("crash", "pause", "break", "cut", "cut views", "slow")
BREAKING: Final = ("crash", "break", "break", "pause")


class ProcessFaults:
    """Those who end, stand still, or read the wrong time."""

    #: Of the fault that strikes now.
    random: Random

    def __init__(self, world: World, later: Undo) -> None:
        self._world = world
        self._later = later
        self.does: dict[str, Callable[[], str]] = {
            "crash": lambda: self._crash(self._spared(), 1),
            "crash-two": lambda: self._crash(self._spared(), 2),
            "crash-last": lambda: self._crash(world.running(), 1),
            "leave": self._leave,
            "pause": lambda: self._stop(self._anybody(), frozen=False),
            "freeze": lambda: self._stop(self._anybody(), frozen=True),
            "jump": self._jump,
            "drift": self._drift,
            "views-crash": self.crash_views,
            "views-pause": self._pause_views,
            "views-amnesia": self._forget,
            "views-rollback": self._roll_back,
            "clerk-crash": self._crash_clerk,
            "clerk-leave": self._close_clerk,
            "clerk-away": self._send_away,
            "give-up": self._give_up,
        }

    # -- servers --------------------------------------------------------------

    def _spared(self) -> list[ServerProcess]:
        """Those without whom nothing is lost, in random order; of those who
        hold everything, one is left out."""
        world = self._world
        servers = world.running()
        heirs = world.chronicle.heirs()
        if heirs and world.chronicle.commit:
            servers.remove(self.random.choice(heirs))
        return servers

    def _crash(self, servers: list[ServerProcess], count: int) -> str:
        if len(servers) < count:
            return ""
        struck = self.random.sample(servers, count)
        for server in struck:
            server.end()
            self._restart(server)
        return _names(struck)

    def _restart(self, server: ServerProcess) -> None:
        self._later(lambda: self._world.start_server(server.name))

    def _leave(self) -> str:
        servers = self._spared()
        if not servers:
            return ""
        server = self.random.choice(servers)
        server.leave()
        self._restart(server)
        return server.name

    def _anybody(self) -> Process | None:
        """A server or a clerk that does not stand still already."""
        everybody = [*self._world.running(), *self._world.clerks]
        moving = [each for each in everybody if not each.is_paused]
        return self.random.choice(moving) if moving else None

    def _stop(
        self, process: Process | None, *, frozen: bool, most_us: int = 2 * S
    ) -> str:
        if process is None:
            return ""
        process.pause(frozen=frozen)
        self._later(process.wake, most_us)
        return process.name

    def _jump(self) -> str:
        process = self._anybody()
        if process is None:
            return ""
        by_us = self.random.choice((50 * MS, S, 3600 * S))
        # Servers read a monotonic clock.  A clerk reads whatever its program
        # does, which may be set back.
        if process in self._world.clerks and self.random.randrange(2):
            by_us = -self.random.choice((50 * MS, S))
        process.jump(by_us)
        return f"{process.name} by {by_us / S:g} s"

    def _drift(self) -> str:
        process = self._anybody()
        if process is None:
            return ""
        drift = self._world.drift
        process.run_at(self.random.randint(1000 - drift, 1000 + drift))
        return f"{process.name} to {process.rate / 1000:g}"

    def stop_founder(self, host: str) -> str:
        """Keep it from acknowledging its view until it counts as dead."""
        world, settings = self._world, self._world.settings
        dead_us = (settings.dead_pings + 2) * settings.interval_us
        until_us = dead_us + self.random.randrange(dead_us)
        if self.random.randrange(2):
            server = world.servers[host]
            server.pause()
            undo: Callable[[], None] = server.wake
        else:
            undo = world.network.cut_off([(host, "views"), ("views", host)])
        world.agenda.later(until_us, undo)
        return host

    def just_then(self, members: list[str], network: NetworkFaults) -> str:
        """Something happens to a member of a new view."""
        server = self._world.servers[self.random.choice(members)]
        return self._befall(server, self.random.choice(JUST_THEN), network)

    def break_transfer(self, end: End, network: NetworkFaults) -> str:
        """Something happens to a transfer, or to one who takes part in it."""
        what = self.random.choice(BREAKING)
        if what == "break":
            return network.tear(end, late=False)
        process = self.random.choice((end, end.other)).process
        assert isinstance(process, ServerProcess)
        return self._befall(process, what, network)

    def just_said(self, end: End, network: NetworkFaults) -> str:
        """Something happens to what was said, or to whoever has said it."""
        what = self.random.choice(("break", "late", "slow", "sender"))
        if what == "slow":
            return network.slow_transfer(end)
        process = end.process
        if what == "sender" and isinstance(process, ServerProcess):
            return self._befall(process, self.random.choice(JUST_THEN), network)
        return network.tear(end, late=what == "late")

    def _befall(self, server: ServerProcess, what: str, network: NetworkFaults) -> str:
        found = ""
        if not server.is_alive:
            return ""
        if what == "crash":
            found = self._crash([server] if server in self._spared() else [], 1)
        elif what == "pause":
            found = self._stop(server, frozen=self.random.randrange(2) == 0)
        else:
            found = network.befall(server.name, what)
        return found and f"{what} {found}"

    # -- the view service -----------------------------------------------------

    def crash_views(self) -> str:
        """It ends, and is started again by somebody."""
        world = self._world
        if not world.views_process.is_alive:
            return ""
        world.crash_views()
        self._later(world.start_views)
        return "views"

    def _pause_views(self) -> str:
        views = self._world.views_process
        if views.is_paused or not views.is_alive:
            return ""
        return self._stop(views, frozen=self.random.randrange(4) == 0)

    def _forget(self) -> str:
        """Its state file is gone, it is started without, and an operator who
        reads that its memory is lost puts the file back."""
        world = self._world
        if not world.lose_disk():
            return ""
        self._later(world.restore_disk, 4 * S)
        return "views"

    def _roll_back(self) -> str:
        """Its state file is one of an earlier time, until the operator who reads
        that its memory is lost puts the newest one in its place."""
        world = self._world
        if not world.roll_disk_back(self.random):
            return ""
        self._later(world.restore_disk, 4 * S)
        return "views"

    # -- clerks ---------------------------------------------------------------

    def _crash_clerk(self) -> str:
        if not self._world.clerks:
            return ""
        clerk = self.random.choice(self._world.clerks)
        self._world.replace_clerk(clerk)
        return clerk.name

    def _close_clerk(self) -> str:
        clerks = [
            clerk
            for clerk in self._world.clerks
            if not clerk.is_closed and not clerk.is_paused
        ]
        if not clerks:
            return ""
        clerk = self.random.choice(clerks)
        clerk.soon(clerk.close)
        self._world.on_clerk(self._world.start_clerk())
        return clerk.name

    def _send_away(self) -> str:
        clerks = [clerk for clerk in self._world.clerks if not clerk.is_paused]
        clerk = self.random.choice(clerks) if clerks else None
        return self._stop(clerk, frozen=self.random.randrange(2) == 0, most_us=8 * S)

    def _give_up(self) -> str:
        if not self._world.clerks:
            return ""
        clerk = self.random.choice(self._world.clerks)
        clerk.soon(clerk.give_up_all)
        return clerk.name


def _names(processes: list[ServerProcess]) -> str:
    return " ".join(process.name for process in processes)
