"""
The view service's process: the real service, and a disk that outlives it.

Remembered before told: a crash may come before what was decided is written, and
also after, and before anybody hears of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.sim.agenda import MS
from tests.sim.process import Gone, Process
from viewservice.memory import Memory
from viewservice.options import Settings
from viewservice.service import ViewService
from viewservice.state_file import decode, encode
from viewservice.views import Views
from wire.addresses import format_address
from wire.links import Link
from wire.messages import Ping

if TYPE_CHECKING:
    from tests.sim.world import World

PORT: Final = 7400
#: Where nobody is.
NOWHERE: Final = "tcp:10.255.255.1:7400"


def addresses(process: Process) -> tuple[str, ...]:
    """Where the view service is, as an operator may have written it down: with
    another address before it that is no good any more."""
    world = process.world
    address = format_address(world.network.ip("views"), PORT)
    if world.misfortune.is_over or process.random.randrange(4):
        return (address,)
    return NOWHERE, address


class WatchedViews(ViewService):
    """The real thing, with somebody who looks on."""

    process: ViewsProcess

    def _on_ping(self, link: Link, ping: Ping) -> None:
        self.process.world.chronicle.pinged(ping)
        super()._on_ping(link, ping)


class ViewsProcess(Process):
    """One life of the view service."""

    kind = "views"

    def __init__(self, world: World) -> None:
        super().__init__(world, "views")
        settings = Settings(
            listen=f"tcp:{PORT}",
            ping_interval_ms=world.settings.interval_us // MS,
            dead_pings=world.settings.dead_pings,
            backups_max=world.settings.backups,
            strict=world.settings.strict,
            # Its first life is started with the cluster.
            new_cluster=not world.disk and world.is_new,
        )
        world.is_new = False
        self._service = WatchedViews(
            *(settings, Disk(self), self.reactor, self.random, self._fails),
            now=self._now,
        )
        self._service.process = self
        self.soon(self._service.startService)

    @property
    def views(self) -> Views:
        """All that it knows."""
        return self._service.views

    def leave(self) -> None:
        """Stop as an operator stops it."""
        self.world.note("views leave")
        self.soon(lambda: self.shut_down(self._service, self.end))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.reactor.seconds(), UTC)

    def _fails(self, reason: str) -> None:
        self.world.require(False, "everything ends", f"the view service: {reason}")


class Disk:
    """What is written there stays; to the view service, its state file."""

    path: Path | None = None

    def __init__(self, process: ViewsProcess) -> None:
        self._process = process
        self._world = process.world
        self._saved: Memory | None = None

    def open(self) -> None:
        """There is never more than one view service."""

    def load(self) -> Memory | None:
        """What was saved, in this life or an earlier one."""
        if self._world.disk:
            self._saved = decode(self._world.disk)
        return self._saved

    def save(self, memory: Memory) -> bool:
        """Write it down, perhaps as the last thing that was done; or not even
        that."""
        is_first, is_news = self._saved is None, memory != self._saved
        if is_news and not is_first:
            self._perhaps_end(before=True)
        self._world.chronicle.views(self._process.views)
        if not is_news:
            return False
        self._saved = memory
        self._world.write_disk(encode(memory))
        if not is_first:
            self._perhaps_end(before=False)
        return True

    def _perhaps_end(self, *, before: bool) -> None:
        if self._world.misfortune.writes(before=before):
            raise Gone

    def set_aside(self, now: datetime) -> Path | None:
        """There is nothing yet when a cluster is new."""
        assert not self._world.disk, now
        return None

    def close(self) -> None:
        """It is written already."""
