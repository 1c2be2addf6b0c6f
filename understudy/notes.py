"""
What connections had to say, kept for when a command has to explain itself.

A command prints answers, not logs.  But the reason why nobody answers is only
known to the link layer, which logs it; so the log ends here, and what matters
of it is remembered: for each address, why it was last of no use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    globalLogBeginner,
)
from zope.interface import implementer

from client.reasons import plain

#: Keys of the events of `wire.logs`.
_NAME, _VALUES = "understudy_event", "understudy_values"

#: How a reason begins if we closed the connection because we were done.
_OURS: Final = "said goodbye: stopping:"


@implementer(ILogObserver)
class Notes:
    """The last trouble with each address, and where somebody has answered."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}
        self._reached: set[str] = set()

    def has_reached(self, addresses: Iterable[str]) -> bool:
        """Whether a connection to one of these ever stood."""
        return not self._reached.isdisjoint(addresses)

    def stands(self, addresses: Iterable[str]) -> bool:
        """Whether one still does, or did until we were done with it."""
        return any(
            address in self._reached and address not in self._troubles
            for address in addresses
        )

    def take(self, address: str, trouble: str) -> None:
        """Remember why *address* was of no use."""
        self._troubles[address] = trouble

    def about(self, addresses: Iterable[str]) -> str:
        """Why these were of no use, or ""; told apart if they are several."""
        troubles = {
            address: self._troubles[address]
            for address in addresses
            if address in self._troubles
        }
        if len(set(troubles.values())) == 1:
            return next(iter(troubles.values()))
        return "; ".join(f"{address}: {text}" for address, text in troubles.items())

    def __call__(self, event: LogEvent) -> None:
        """One event of Twisted's publisher."""
        values = event.get(_VALUES, {})
        if event.get(_NAME) == "link.made":
            self._reached.add(str(values["address"]))
            self._troubles.pop(str(values["address"]), None)
        elif "address" in values and "reason" in values:
            # That we hung up when all was said is nobody's trouble.
            if not str(values["reason"]).startswith(_OURS):
                self.take(str(values["address"]), plain(str(values["reason"])))
        elif event.get("log_level") is LogLevel.critical:
            # A mistake of ours, which nobody else would hear of.
            sys.stderr.write(eventAsText(event) + "\n")


#: There is one log in a process, and so one of these.
NOTES = Notes()


def begin() -> None:
    """From now on the log of this process ends here."""
    globalLogBeginner.beginLoggingTo(
        [NOTES], redirectStandardIO=False, discardBuffer=True
    )
