"""
Who was turned away of late, and why.

Pure: a list for `status`, and no rule.  A server that calls in vain is not
among the servers, and whoever started it looks for it there.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from wire.messages import Goodbye, Member

#: So long is a refusal shown, seconds; whoever was refused calls again sooner.
SHOWN_S: Final = 5.0

#: How many are shown.
REFUSALS_MAX: Final = 32


@frozen
class Refusal:
    """One server, and what it was told when it last called."""

    at_s: float
    member: Member
    goodbye: Goodbye
    #: The IP address that it called from.
    caller: str


@define
class Refusals:
    """The newest refusal of each server.  Times are seconds of one clock."""

    _newest: dict[tuple[str, int], Refusal] = field(factory=dict, init=False)

    def add(
        self, now_s: float, member: Member | None, goodbye: Goodbye, caller: str
    ) -> None:
        """*member*, which connected from *caller*, was refused with *goodbye*; None:
        it was not a server, and is not shown."""
        if member is None:
            return
        key = member.name, member.incarnation
        self._newest.pop(key, None)
        self._newest[key] = Refusal(now_s, member, goodbye, caller)
        if len(self._newest) > REFUSALS_MAX:
            del self._newest[next(iter(self._newest))]

    def drop(self, member: Member) -> None:
        """It was let in."""
        self._newest.pop((member.name, member.incarnation), None)

    def lately(self, now_s: float) -> list[Refusal]:
        """Those of the last `SHOWN_S`, by name."""
        found = [each for each in self._newest.values() if now_s - each.at_s <= SHOWN_S]
        return sorted(found, key=lambda each: (each.member.name, each.at_s))
