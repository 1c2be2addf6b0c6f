"""
The view service in a search: the real rules, each move asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from msgspec.structs import replace

from tests.sim.chronicle import Violation
from tests.sim.search.config import NAMES, Config
from viewservice.damping import NO_LOSS
from viewservice.roster import Roster
from viewservice.views import Views
from wire.messages import SERVER, VERSION, Hello, Member, Ping

DEAD_PINGS: Final = 3

CLUSTER: Final = bytes(range(16))


def member(i: int, incarnation: int) -> Member:
    """The *i*-th server, in one of its lives."""
    return Member(NAMES[i], incarnation, f"tcp:{NAMES[i].lower()}:1")


def link_of(i: int, incarnation: int) -> int:
    """The connection that it pings on; a later life has a newer one."""
    return 10 * incarnation + i


class ViewServices:
    """All states that the view service was ever in, by number; equal are those
    that no rule tells apart."""

    def __init__(self) -> None:
        self.all: list[Views] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._moves: dict[tuple[Hashable, ...], int] = {}

    def begin(self, config: Config) -> int:
        """One that has never made a view, and whose time to wait is over."""
        return self._number(
            Views(CLUSTER, _roster(), backups_max=config.backups, strict=config.strict)
        )

    def move(self, number: int, what: str, *arguments: Hashable) -> int:
        """The number of what comes of that one by *what*, a name in `_MOVES`."""
        key = (number, what, *arguments)
        found = self._moves.get(key)
        if found is None:
            try:
                views = _MOVES[what](self.all[number].copy(), *arguments)
            except Exception as error:
                raise Violation("assertion", f"the view service: {error!r}") from error
            found = self._moves[key] = self._number(views)
        return found

    def _number(self, views: Views) -> int:
        # What was is for people; no rule looks at it.  That a server waits for its
        # losses keeps views from being created, and only that.
        views.history = ()
        servers = views.roster.servers
        for name, server in servers.items():
            if server.damping != NO_LOSS:
                servers[name] = replace(server, damping=NO_LOSS)
        key = views.fingerprint()
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.all)
            self.all.append(views)
        return found


def _roster() -> Roster:
    roster = Roster(DEAD_PINGS)
    roster.grace = 0
    return roster


def _ping(
    views: Views,
    i: int,
    incarnation: int,
    number: int,
    bits: int,
    *said: tuple[str, ...],
) -> Views:
    synced, unreachable = said
    who = member(i, incarnation)
    # Who knows a view knows of which cluster; there is only this one.
    cluster = CLUSTER if number else b""
    if views.greeted(Hello(VERSION, SERVER, cluster, number, who)) is None:
        ping = Ping(1, who, number, synced, unreachable)
        views.ping(link_of(i, incarnation), ping, bits)
    return views


def _crashed(views: Views, i: int, incarnation: int) -> Views:
    views.disconnected(link_of(i, incarnation))
    return views


def _dead(views: Views, name: str) -> Views:
    known = views.roster.servers[name]
    views.roster.servers[name] = replace(known, silent=DEAD_PINGS, hint=0)
    return views


def _recalled(views: Views) -> Views:
    # If the state is the newest, the margin only keeps views from being created.
    after = Views.recalled(views.memory(), _roster(), **_settings(views))
    after.settling = int(not views.view.number)
    return after


def _rolled_back(views: Views) -> Views:
    after = Views.recalled(views.memory(), _roster(), **_settings(views))
    after.settling = 1
    return after


def _forgotten(views: Views) -> Views:
    after = Views(CLUSTER[::-1], _roster(), **_settings(views))
    after.settling = 1
    return after


def _ticked(views: Views) -> Views:
    settling = views.settling
    views.tick()
    views.settling = settling
    return views


def _waited(views: Views) -> Views:
    views.settling = 0
    views.claims.clear()
    return views


def _settings(views: Views) -> dict[str, Any]:
    return {"backups_max": views.backups_max, "strict": views.strict}


_MOVES: Final[dict[str, Callable[..., Views]]] = {
    "ping": _ping,
    "crashed": _crashed,
    "dead": _dead,
    "recalled": _recalled,
    "rolled back": _rolled_back,
    "forgotten": _forgotten,
    "ticked": _ticked,
    "waited": _waited,
}
