"""
Bodies: how encoded commands become one, and how an answer's are taken apart.

Pure.  What a command or an answer is, the machine knows; here is only that a
body is a msgpack array of them, and that the two have the same length.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Raw

from client.errors import ClerkError

#: How a call has ended: its encoded answer, or why there is none.
Outcome = Raw | ClerkError

#: Calls that have ended, by number, and how.
Ended = list[tuple[int, Outcome]]

_split = msgspec.msgpack.Decoder(list[Raw]).decode


def join(commands: Collection[bytes]) -> bytes:
    """The body of commands that are encoded already."""
    count = len(commands)
    # As short as can be, since what travels together has at most 1024.
    head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(commands)


def split(body: bytes) -> list[bytes]:
    """The commands of a body that `join` made."""
    return [bytes(command) for command in _split(body)]


def outcomes(
    body: bytes, count: int, unreadable: type[ClerkError]
) -> Sequence[Outcome]:
    """The answers to *count* commands; if they cannot be read, as many errors of
    the type *unreadable*."""
    try:
        answers: Sequence[Outcome] = _split(body)
    except (msgspec.DecodeError, RecursionError):
        answers = ()
    if len(answers) == count:
        return answers
    text = (
        f"{len(answers)} answers came to {count} commands: "
        "this machine does not speak as a machine should"
    )
    return [unreadable(text) for _ in range(count)]
