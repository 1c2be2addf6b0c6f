"""
How a conversation ends: no more calls, those that were made finish, and then a
last word is waited for, but not for long.

Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Final

from attrs import define, field

#: How long a clerk waits for the service to forget its session.
FAREWELL_MS: Final = 1_000


@define(eq=False)
class Closing:
    """Whether a conversation is being closed, and how far that is."""

    #: No more calls are taken.
    is_begun: bool = field(default=False, init=False)

    #: Nothing will ever happen any more.
    is_over: bool = field(default=False, init=False)

    #: By when it is over, whatever is outstanding.
    _deadline_ms: int | None = field(default=None, init=False)

    #: By when it is over now that nobody waits for a call.
    _farewell_ms: int | None = field(default=None, init=False)

    @property
    def is_last_word(self) -> bool:
        """Whether all that remains is to have the session forgotten."""
        return self._farewell_ms is not None

    def begin(self, deadline_ms: int | None) -> None:
        """Close, by then at the latest; the first to say so is heard."""
        if not self.is_begun:
            self.is_begun = True
            self._deadline_ms = deadline_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether what is outstanding has had all the time it gets."""
        return self._deadline_ms is not None and now_ms >= self._deadline_ms

    def nobody_waits(self, now_ms: int, *, has_session: bool) -> None:
        """No call that was made is waited for any more."""
        if not has_session:
            self.end()
        elif self._farewell_ms is None:
            self._farewell_ms = now_ms + FAREWELL_MS
        elif now_ms >= self._farewell_ms:
            self.end()

    def end(self) -> None:
        """It is over."""
        self.is_begun = self.is_over = True

    def wake_ms(self) -> int | None:
        """When something becomes due; None: nothing will."""
        times = (self._deadline_ms, self._farewell_ms)
        return min((at for at in times if at is not None), default=None)

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Closing:
        """Another one that goes its own way from here."""
        return copy.copy(self)

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        wake_ms = self.wake_ms()
        due_ms = None if wake_ms is None else wake_ms - now_ms
        return self.is_begun, self.is_over, self.is_last_word, due_ms
