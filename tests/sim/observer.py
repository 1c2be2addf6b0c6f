"""
Somebody who looks on while processes run, and what he is told.

Values only, so that a simulator, a searcher or a test by hand may tell the same
things.  *at* is a time in microseconds, or the number of a step; it never goes
back.  Who looks on changes nothing in what he sees.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Protocol

#: What is to be seen of a process: words and values, in the order of display.
#: "role", "view", "commit" and "acknowledged" mean the same everywhere.
State = Mapping[str, object]


#: What a process can be, in the order of display.
KINDS: Final = ("views", "server", "clerk", "verifier")


class Observer(Protocol):
    """What can be told of a run, in the order in which it happens."""

    # -- processes ------------------------------------------------------------

    def began(
        self, at: int, process: str, kind: str, *, remembers: bool = False
    ) -> None:
        """A process of that kind, one of `KINDS`, has started, or
        started again; whether it remembers what it knew when it ended."""

    def ended(self, at: int, process: str, how: str) -> None:
        """It is gone."""

    def paused(self, at: int, process: str) -> None:
        """It stands still."""

    def woke(self, at: int, process: str) -> None:
        """It goes on."""

    def did(self, at: int, process: str, kind: str, text: str) -> None:
        """It did something by itself ("role", "view", "commit", ...)."""

    def turned(self, at: int, process: str, state: State) -> None:
        """What it told last (a message that came, what it did then, what it
        said) has left it in that state."""

    # -- messages -------------------------------------------------------------

    def said(
        self, at: int, process: str, to: str, link: Hashable, message: object
    ) -> None:
        """It sends a message; *link* is one direction of one connection."""

    def heard(self, at: int, process: str, link: Hashable, message: object) -> None:
        """That message, the oldest that is its equal on that link, has come."""

    def lost(self, link: Hashable) -> None:
        """What is still on its way there comes to nobody."""

    # -- calls ----------------------------------------------------------------

    def called(self, at: int, process: str, number: int, text: str) -> None:
        """A clerk is asked for something."""

    def answered(
        self, at: int, process: str, number: int, outcome: str, text: str
    ) -> None:
        """That call has ended: "done", "in doubt" or "not executed"."""

    # -- what befalls them ----------------------------------------------------

    def befell(self, at: int, kind: str, where: tuple[str, ...], text: str) -> None:
        """Something happens there at that moment; nowhere in particular: ()."""

    def begins(self, at: int, kind: str, where: tuple[str, ...], text: str) -> None:
        """Something goes wrong there ("cut" or "slow", from one to another)."""

    def passes(self, at: int, kind: str, where: tuple[str, ...]) -> None:
        """It is over."""

    def violated(
        self, at: int, rule: str, text: str, calls: Iterable[tuple[str, int]] = ()
    ) -> None:
        """A rule is broken; by which calls (clerk and number), if by any."""

    def finished(self, at: int, figures: Mapping[str, object]) -> None:
        """That was all, and this is what there is to count."""
