"""
What a search is about: how many of everything, and how much may go wrong.

Pure: values.  The named ones, and where each begins, are in
`tests.sim.search.stages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from pbserver.limits import Limits

#: Every newcomer is sent a snapshot, in as many parts as there can be, and
#: joins the commit rule late: what is rare in life is the rule here.
TINY: Final = Limits(
    join_entries_max=0, tail_bytes_kept=0, part_bytes=1, parts_unconfirmed_max=2
)

NAMES: Final = "ABCDE"

#: What can go wrong, each so many times at most on the way to a state.
KINDS: Final = (
    "dead",  # the view service takes a server for dead
    "crash",  # a server ends, and its memory with it
    "restart",  # it comes back under its name, empty
    "break",  # one end of a connection closes it
    "doubt",  # a server cannot reach another one of its view
    "late",  # what a clerk sent once comes once more
    "tick",  # a primary says something to every backup
    "views crash",  # the view service starts again from what it remembers
    "forget",  # it starts again from nothing
    "roll back",  # it starts again from a state that was saved before
    "idle",  # time passes until every session is too old
)


@frozen
class Config:
    """One search."""

    name: str
    servers: int = 3
    backups: int = 1
    strict: bool = False
    clerks: int = 1
    #: Of each clerk; and how many of its writes may be outstanding.
    writes: int = 1
    window: int = 1
    reads: int = 0
    #: Ends a turn only the search (true), or every event is a turn (false)?
    lazy: bool = False
    #: Are messages that only say where somebody stands delivered at once?  A
    #: bound: fewer orders are looked at.
    prompt: bool = True
    #: May servers call a view service that has started again later than it waits for
    #: them?  Then two histories can come about, and only what must hold in each of
    #: them is looked at.
    late: bool = False
    #: Does nobody look who it is that answers at an address?
    strangers: bool = False
    limits: Limits = TINY
    sessions: Mapping[str, int] = field(factory=dict)
    #: Connections that exist at the same time.
    links: int = 4
    budget: Mapping[str, int] = field(factory=dict)

    def allowance(self) -> tuple[int, ...]:
        """The budget, by place in `KINDS`."""
        return tuple(self.budget.get(kind, 0) for kind in KINDS)
