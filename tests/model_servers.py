"""The model service behind real listeners on loopback, with faults at hand."""

from __future__ import annotations

from attrs import define, field
from twisted.internet import reactor

from pbserver.store import Store
from tests.model_service import CLUSTER, ModelService
from wire.links import Link, Listener
from wire.messages import (
    NO_VIEW,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Goodbye,
    Hello,
    Member,
    Message,
    Unreachable,
    ViewIs,
    Watch,
)

ANYWHERE = "tcp:0:interface=127.0.0.1"


@define(eq=False)
class ModelViews:
    """A view service that says what it is told to say."""

    said: ViewIs
    cluster: bytes = CLUSTER
    is_mute: bool = False
    asked: int = 0
    #: Which primaries clerks could not reach.
    unreachable: list[str] = field(factory=list)
    links: list[Link] = field(factory=list)
    listener: Listener = field(init=False)
    address: str = field(default="", init=False)

    async def up(self, endpoint: str = ANYWHERE) -> None:
        self.listener = Listener(self, VIEW_SERVICE, reactor)
        self.address = await self.listener.listen(endpoint)

    def push(self, said: ViewIs) -> None:
        self.said = said
        for link in self.links:
            link.send(said)

    def hello(self) -> Hello:
        return Hello(VERSION, VIEW_SERVICE, self.cluster)

    def link_opened(self, link: Link) -> Goodbye | None:
        self.links.append(link)
        return None

    def received(self, link: Link, message: Message) -> None:
        if isinstance(message, Watch):
            self.asked += 1
            if not self.is_mute:
                link.send(self.said)
        elif isinstance(message, Unreachable):
            self.unreachable.append(message.name)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        self.links.remove(link)


@define(eq=False)
class ModelServer:
    """One server of the model service."""

    name: str
    service: ModelService
    incarnation: int = 1
    #: Takes everything and does nothing with it, as a paused process.
    is_paused: bool = False
    #: Executes, but keeps the answers to itself.
    is_deaf: bool = False
    #: Closes the connection in place of the next so many answers.
    cuts: int = 0
    received_count: int = 0
    opened_count: int = 0
    links: list[Link] = field(factory=list)
    listener: Listener = field(init=False)
    member: Member = field(init=False)
    _waiting: list[tuple[Link, Message]] = field(factory=list)

    async def up(self, endpoint: str = ANYWHERE) -> None:
        self.listener = Listener(self, SERVER, reactor)
        address = await self.listener.listen(endpoint)
        self.member = Member(self.name, self.incarnation, address)

    def hello(self) -> Hello:
        return Hello(VERSION, SERVER, CLUSTER, self.service.number, self.member)

    def link_opened(self, link: Link) -> Goodbye | None:
        self.opened_count += 1
        self.links.append(link)
        return None

    def received(self, link: Link, message: Message) -> None:
        self.received_count += 1
        self._waiting.append((link, message))
        self.work()

    def work(self) -> None:
        """Take what waits, unless paused."""
        if self.is_paused:
            return
        waiting, self._waiting = self._waiting, []
        for link, message in waiting:
            if isinstance(message, Goodbye) or not link.is_open:
                continue
            replies = self.service.receive(self.member, message)
            if replies is None:
                self._waiting.append((link, message))
                continue
            if self.cuts and replies:
                self.cuts -= 1
                link.abort()
                continue
            for reply in [] if self.is_deaf else replies:
                if isinstance(reply, Goodbye):
                    link.goodbye(reply.reason, reply.text)
                else:
                    link.send(reply)

    def link_closed(self, link: Link, reason: str) -> None:  # noqa: ARG002
        self.links.remove(link)


@define(eq=False)
class ModelCluster:
    """A view service, two servers, and the store that they replicate."""

    service: ModelService = field(init=False)
    views: ModelViews = field(init=False)
    s1: ModelServer = field(init=False)
    s2: ModelServer = field(init=False)

    async def up(self) -> ModelCluster:
        self.service = ModelService(machine=Store())
        self.s1 = ModelServer("s1", self.service)
        self.s2 = ModelServer("s2", self.service)
        await self.s1.up()
        await self.s2.up()
        self.service.primary = self.s1.member
        self.views = ModelViews(self.service.view_is())
        await self.views.up()
        return self

    def fail_over(self, *, push: bool = True) -> None:
        self.service.move(self.s2.member)
        if push:
            self.views.push(self.service.view_is())
        else:
            self.views.said = self.service.view_is()

    async def down(self) -> None:
        for each in (self.views, self.s1, self.s2):
            await each.listener.close()


def nobody() -> ViewIs:
    """What a view service says that has seen no server."""
    return ViewIs(0, CLUSTER, NO_VIEW, False)
