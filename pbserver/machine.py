"""
What a replicated state machine must be able to do.

Pure: an interface.  The promise that makes everything else work is that a
machine is *deterministic*: the same bodies with the same stamps in the same
order give the same state and the same answers on every computer, in every
process.  No clock, no randomness, no set order, no `hash`, no floats that
differ: time comes in as the stamp, and nothing else comes in.

A server does one thing at a time.  While a machine works the server does not
ping, and after the dead time (half a second unless told otherwise) it is
replaced.  So a call should take a few milliseconds.  A machine whose calls may
take longer has more, each of it optional:

- `spent`, an attribute: what the last `apply` or `query` has cost, in units of
  about a nanosecond.  It decides how many bodies are executed in one turn, and
  no answer.  Without it a body counts as many units as it and its answer have
  bytes.
- `digest_cut()`: a `DigestCut`, instead of `digest` in one piece.
- `finish()`: called once when all pieces are loaded, in a thread, before
  anything else is asked of the machine.  Raises ValueError if what was loaded
  makes no sense.  What takes long in loading belongs there.
- `shed()`: called again and again on a machine that is no longer used, until it
  returns False; each call frees a part of the state.
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


class DigestCut(Protocol):
    """The digest of a machine's state at one moment, computed piece by piece
    while the machine goes on."""

    def step(self, bytes_max: int) -> bytes | None:
        """Compute on, for about *bytes_max* of the state -> the digest, equal to
        what `StateMachine.digest` would have returned at that moment; None
        while it is not complete."""

    def close(self) -> None:
        """Free what was kept.  Closing twice is closing once."""


class StateMachine(Protocol):
    """The thing that is kept the same on every replica."""

    def apply(self, body: bytes, stamp_ms: int) -> bytes:
        """Execute a batch: a msgpack array of commands -> an array of answers
        of the same length, at most `wire.messages.BODY_BYTES_MAX` bytes.

        Total: it never raises for anything that a client can send; a command
        that makes no sense is an error answer for that command alone.
        *stamp_ms* is the log's own clock in milliseconds, equal on all replicas.
        It never goes back and starts at an arbitrary value, so use the difference
        of two stamps, a duration.  It is not the time of day; a command that needs
        the date must contain it.
        """

    def query(self, body: bytes) -> bytes:
        """The same for commands that only read.  Changes nothing."""

    def cut(self) -> Cut:
        """One exact cut of the state at this moment.  At most one is open, a
        `DigestCut` not counted."""

    def load(self, chunk: bytes) -> None:
        """Take in one piece of a cut, in order, into a machine that is fresh
        from the same factory.  Raises ValueError if it makes no sense."""

    def digest(self) -> bytes:
        """Equal for equal states, in every process.

        The server does nothing else meanwhile, and is replaced if that takes
        the dead time (half a second unless told otherwise).  A machine whose
        state is greater than a pass of 20 ms offers `digest_cut`, too.
        """
