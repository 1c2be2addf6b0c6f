"""
What a replicated state machine must be able to do.

Pure: an interface.  The promise that makes everything else work is that a
machine is *deterministic*: the same bodies with the same stamps in the same
order give the same state and the same answers on every computer, in every
process.  No clock, no randomness, no set order, no `hash`, no floats that
differ: time comes in as the stamp, and nothing else comes in.
"""

from __future__ import annotations

from typing import Protocol


class Cut(Protocol):
    """One exact copy of a machine's state, taken out piece by piece while the
    machine goes on."""

    def take(self, bytes_max: int) -> bytes:
        """The next piece, about *bytes_max* long at most (a single item that
        is longer comes whole); b"" when there is no more."""

    def close(self) -> None:
        """Free what the cut kept.  Closing twice is closing once."""


class StateMachine(Protocol):
    """The thing that is kept the same on every replica."""

    def apply(self, body: bytes, stamp_ms: int) -> bytes:
        """Execute a batch: a msgpack array of commands -> an array of answers
        of the same length, at most `wire.messages.BODY_BYTES_MAX` bytes.

        Total: it never raises for anything that a client can send; a command
        that makes no sense is an error answer for that command alone.
        *stamp_ms* is the log's own clock in milliseconds, equal on all replicas.
        It never goes back and begins anywhere, so use the difference of two
        stamps, a duration.  It is no time of day; a command that needs the date
        brings it along.
        """

    def query(self, body: bytes) -> bytes:
        """The same for commands that only read.  Changes nothing."""

    def cut(self) -> Cut:
        """One exact cut of the state at this moment.  At most one is open."""

    def load(self, chunk: bytes) -> None:
        """Take in one piece of a cut, in order, into a machine that is fresh
        from the same factory.  Raises ValueError if it makes no sense."""

    def digest(self) -> bytes:
        """Equal for equal states, in every process.  May cost a pass."""
