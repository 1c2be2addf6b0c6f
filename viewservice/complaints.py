"""
Servers that clerks cannot reach.

Pure: a list for `status`, and no rule.  A firewall between clerks and a primary
is seen by clerks alone; the primary pings as ever, and keeps its place
(``docs/design.md``, section 4, rule 17).
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from wire.seldom import Seldom

#: How long a report is shown, seconds; a clerk repeats it sooner while it lasts.
SHOWN_S: Final = 15.0

#: How long it is shown after its clerk is gone, seconds: a command that failed is
#: followed by a look at `status`.
GONE_S: Final = 10.0

#: Clerks whose reports are kept.
COMPLAINTS_MAX: Final = 1024


@define
class Complaints:
    """The newest report of each clerk.  Times are seconds of one clock."""

    #: The clerk's connection -> until when it is shown, and which server.
    _newest: dict[int, tuple[float, str]] = field(factory=dict, init=False)
    #: The servers that the log has named lately.
    _logged: Seldom = field(factory=Seldom, init=False)

    def add(self, now_s: float, link: int, name: str) -> bool:
        """The clerk on connection *link* cannot reach the server *name*, which must be
        known -> whether that is to be logged."""
        self._newest.pop(link, None)
        self._newest[link] = now_s + SHOWN_S, name
        if len(self._newest) > COMPLAINTS_MAX:
            del self._newest[next(iter(self._newest))]
        return self._logged.is_due(name, now_s)

    def gone(self, now_s: float, link: int) -> None:
        """That clerk is gone.  What it reported may still be true: a clerk that has
        given up is gone at once, and its user looks for the reason then."""
        until_s, name = self._newest.get(link, (now_s, ""))
        if until_s > now_s:
            self._newest[link] = now_s + GONE_S, name
        else:
            self._newest.pop(link, None)

    def counts(self, now_s: float) -> dict[str, int]:
        """Server -> how many clerks cannot reach it, or could not until recently."""
        found: dict[str, int] = {}
        for until_s, name in self._newest.values():
            if now_s <= until_s:
                found[name] = found.get(name, 0) + 1
        return found
