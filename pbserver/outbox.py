"""
What a replica has to say, until its owner comes for it.

Pure.  Messages leave in the order in which they were put in.  What was ignored
is kept beside them with the reason, so that a log can tell; nothing else reads
it.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from wire.messages import Message

#: The name of a connection.  Opaque: it is only compared and handed back.
Link = object


#: How many ignored messages are kept for the log to tell.
IGNORED_MAX: Final = 64


@define
class Outbox:
    """Messages, each with the connection that it goes out on."""

    _messages: list[tuple[Link, Message]] = field(factory=list, init=False)
    #: See `pbserver.replica.Replica.faults`.
    faults: list[str] = field(factory=list, init=False)
    #: What came on which connection, and why nothing was done about it.
    _ignored: list[tuple[Link, Message, str]] = field(factory=list, init=False)

    def send(self, link: Link, message: Message) -> None:
        """Put in a message."""
        self._messages.append((link, message))

    def ignore(self, link: Link, message: Message, reason: str) -> None:
        """Note that a message was dropped, or answered with a refusal."""
        if len(self._ignored) < IGNORED_MAX:
            self._ignored.append((link, message, reason))

    def take(self) -> list[tuple[Link, Message]]:
        """All that is to be sent."""
        messages, self._messages = self._messages, []
        return messages

    def take_ignored(self) -> list[tuple[Link, Message, str]]:
        """All that was ignored."""
        ignored, self._ignored = self._ignored, []
        return ignored
