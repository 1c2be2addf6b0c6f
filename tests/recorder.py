"""An owner of links that writes down what it is told."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.testing import StringTransport

from wire.codec import Decoder
from wire.link import Link
from wire.messages import Goodbye, Hello, Message


class Recorder:
    """Says *greeting* first, and *answer*, if given, to each message.

    It must not assert: the code under test stops the process when it does.
    """

    def __init__(
        self,
        greeting: Hello,
        answer: Callable[[Link, Message], object] = lambda *_: None,
    ) -> None:
        self.greeting = greeting
        self.answer = answer
        self.refusal: Goodbye | None = None
        #: What happened, in order: "opened", a message, or the reason of an end.
        self.heard: list[object] = []
        self.links: list[Link] = []

    def hello(self) -> Hello:
        return self.greeting

    def link_opened(self, link: Link) -> Goodbye | None:
        self.links.append(link)
        self.heard.append("opened")
        return self.refusal

    def received(self, link: Link, message: Message) -> None:
        self.heard.append(message)
        self.answer(link, message)

    def link_closed(self, _: Link, reason: str) -> None:
        self.heard.append(reason)


def said(transport: StringTransport, speaker: str, listener: str) -> list[Message]:
    """What was written to a transport in memory so far."""
    return Decoder(speaker, listener).feed(transport.value())
