"""
What an operator types, checked before anything is begun.
"""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from twisted.python import usage

from wire.bounds import BACKUPS_MAX, DEAD_PINGS_MAX, PING_INTERVAL_MS_MAX
from wire.daemon import (
    CONNECTIONS_LIMIT,
    DaemonOptions,
    check_endpoint,
    whole_number,
)
from wire.listener import CONNECTIONS_MAX, CONNECTIONS_PER_PEER_MAX, Places
from wire.margin import margin_ticks

DEFAULT_LISTEN: Final = "tcp:7400:interface=127.0.0.1"
DEFAULT_STATE: Final = "viewservice.state"


#: Whole numbers, and the least and the most that each may be.
_RANGES: Final = {
    "ping-interval-ms": (5, PING_INTERVAL_MS_MAX),
    "dead-pings": (3, DEAD_PINGS_MAX),
    "backups": (0, BACKUPS_MAX),
    "connections": (1, CONNECTIONS_LIMIT),
    "connections-per-address": (1, CONNECTIONS_LIMIT),
}


class Options(DaemonOptions):
    """What an operator types after ``twistd viewservice``."""

    daemon = "viewservice"
    synopsis = "[options]"
    longdesc = (
        "The view service decides which server is primary and which are backups. "
        "There is one for each cluster; servers and clerks are given its address."
    )
    optParameters = [  # noqa: RUF012 -- as Twisted reads it
        ["listen", "l", DEFAULT_LISTEN, "where to listen, a server endpoint"],
        ["ping-interval-ms", None, 100, "how often servers ping, and a tick"],
        ["dead-pings", None, 5, "silent intervals that mean death"],
        ["backups", "b", 1, "how many backups a primary should have"],
        ["ack-gate", None, "narrow", ("narrow, or strict (for classrooms): not even a"
          " dead backup leaves a view that is not acknowledged")],
        ["state", "s", None, ("the file in which views are remembered"
          f" [default: {DEFAULT_STATE}]")],
        ["connections", None, CONNECTIONS_MAX, "how many clerks may be connected"],
        ["connections-per-address", None, CONNECTIONS_PER_PEER_MAX,
          "connections of each role per address"],
    ]  # fmt: skip
    optFlags = [  # noqa: RUF012 -- as Twisted reads it
        ["volatile", None, "remember nothing beyond this process"],
        ["new-cluster", None, ("give up all that the cluster holds: set an old state"
          " file aside, dated, and begin anew")],
    ]  # fmt: skip

    def postOptions(self) -> None:
        """Check what was typed, before anything is begun."""
        check_endpoint("--listen", self["listen"])
        for option, (least, most) in _RANGES.items():
            self[option] = whole_number(option, str(self[option]), least, most)
        if self["ack-gate"] not in {"narrow", "strict"}:
            raise usage.UsageError(
                f"--ack-gate: {self['ack-gate']!r} is neither narrow nor strict"
            )
        if self["volatile"] and self["state"] is not None:
            raise usage.UsageError("--state and --volatile exclude each other")
        if self["state"] == "":
            raise usage.UsageError("--state: a file name is needed")


@frozen
class Settings:
    """What a view service is told at its start."""

    listen: str = DEFAULT_LISTEN
    ping_interval_ms: int = 100
    dead_pings: int = 5
    backups_max: int = 1
    strict: bool = False
    new_cluster: bool = False
    places: Places = field(factory=Places)

    @property
    def margin_ticks(self) -> int:
        """Ticks after its start in which it creates no view."""
        return margin_ticks(self.ping_interval_ms, self.dead_pings)
