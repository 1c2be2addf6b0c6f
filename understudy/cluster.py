"""
A view service and its servers on this machine, as one thing.

Used by ``understudy up`` and ``understudy demo``, and by the tests of real
processes.  Like `understudy.daemons` nothing here waits: `started` starts what
can be started by now, and says whether that is all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from understudy.daemons import Daemon, server, view_service


class DidNotStart(Exception):  # noqa: N818 -- what happened, in its own words
    """A daemon ended before it listened; the text says which and why."""


class Cluster:
    """Daemons in *directory*, one per name of *names* and the view service.

    *ports* are by name, ``views`` being the view service's; 0 or missing: any.
    """

    def __init__(
        self,
        directory: Path,
        names: Iterable[str],
        ports: Mapping[str, int] | None = None,
        view_options: Iterable[str] = (),
        server_options: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        self._names = tuple(names)
        self._ports = dict(ports or {})
        self._server_options = tuple(server_options)
        port = self._ports.get("views", 0)
        self.views = view_service(directory, port, view_options)
        self.servers: dict[str, Daemon] = {}
        #: The view service's address, once it has one.
        self.address = ""

    def all(self) -> list[Daemon]:
        """Everybody there is, the view service first."""
        return [self.views, *self.servers.values()]

    def started(self) -> bool:
        """Go on starting -> whether all listen.  Raises `DidNotStart`."""
        if self.views.process is None:
            # Its servers are new, so there is nothing to wait for.  A later life
            # goes on with the state of this one.
            self.views.start("--new-cluster")
        for daemon in self.all():
            if not daemon.is_running() and daemon.endpoint is None:
                why = daemon.complaint().rstrip(".")
                raise DidNotStart(f"{daemon.name} did not start: {why}")
        if not self.address:
            self.address = self.views.endpoint or ""
            if not self.address:
                return False
            for name in self._names:
                self.add(name)
        return all(daemon.endpoint for daemon in self.all())

    def add(self, name: str) -> Daemon:
        """Start a server that was not there before."""
        daemon = server(
            self.directory,
            name,
            self.address,
            self._ports.get(name, 0),
            self._server_options,
        )
        self.servers[name] = daemon
        daemon.start()
        return daemon

    def stop(self) -> None:
        """End everybody, servers first, and all at once."""
        for daemon in reversed(self.all()):
            daemon.terminate()
        for daemon in reversed(self.all()):
            daemon.stop()
