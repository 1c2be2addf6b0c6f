"""
What connections had to say, kept for when a command has to explain itself.

A command prints answers, not logs.  But the reason why nobody answers is only
known to the link layer, which logs it; so the log ends here, and what matters
of it is remembered: for each address, why it was last of no use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    globalLogBeginner,
)
from zope.interface import implementer

#: Keys of the events of `wire.logs`.
_NAME, _VALUES = "understudy_event", "understudy_values"


@implementer(ILogObserver)
class Notes:
    """The last trouble with each address."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}

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
        if "address" in values and "reason" in values:
            self.take(str(values["address"]), _plain(str(values["reason"])))
        elif event.get("log_level") is LogLevel.critical:
            # A mistake of ours, which nobody else would hear of.
            sys.stderr.write(eventAsText(event) + "\n")


def _plain(reason: str) -> str:
    """Twisted says a refused connection three times over."""
    return "connection refused" if "Connection refused" in reason else reason


#: There is one log in a process, and so one of these.
NOTES = Notes()


def begin() -> None:
    """From now on the log of this process ends here."""
    globalLogBeginner.beginLoggingTo(
        [NOTES], redirectStandardIO=False, discardBuffer=True
    )
