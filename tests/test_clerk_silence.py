"""The clerk over real sockets, when its connections die silently: what is sent
arrives nowhere, and no connection is closed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.protocols.portforward import ProxyFactory, ProxyServer

from client import Clerk, NotExecuted
from tests.model_servers import ANYWHERE, ModelCluster, ModelViews, nobody
from tests.until import until
from wire.links import Listener
from wire.listener import Places
from wire.messages import VIEW_SERVICE


class End(ProxyServer):
    """The clerk's end of a connection that a `Proxy` forwards."""

    #: Is what comes dropped, in both directions?
    is_dead = False

    def connectionMade(self) -> None:
        self.factory.ends.append(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if not self.is_dead:
            super().dataReceived(data)

    def connectionLost(self, reason: object) -> None:
        self.factory.ends.remove(self)
        super().connectionLost(reason)

    def die(self) -> None:
        """Forward nothing more, and close nothing."""
        self.is_dead = True
        self.peer.dataReceived = lambda _: None


class Proxy(ProxyFactory):
    """Forwards to a port on loopback what comes on its own."""

    protocol = End
    noisy = False

    def __init__(self, address: str) -> None:
        super().__init__("127.0.0.1", int(address.rsplit(":", 1)[1]))
        self.ends: list[End] = []
        self.listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.address = f"tcp:127.0.0.1:{self.listening.getHost().port}"

    def die(self) -> None:
        """What is connected is dead; what connects from now on is not."""
        assert self.ends, "nothing is connected"
        for end in self.ends:
            end.die()

    def close(self) -> None:
        self.listening.stopListening()
        for end in list(self.ends):
            end.transport.abortConnection()


@pytest_twisted.async_yield_fixture
async def cluster() -> AsyncIterator[ModelCluster]:
    cluster = await ModelCluster().up()
    yield cluster
    await cluster.down()


@pytest.fixture
def proxies(cluster: ModelCluster) -> Iterator[dict[str, Proxy]]:
    """One before the view service, and one before each server."""
    proxies = {"views": Proxy(cluster.views.address)}
    for server in (cluster.s1, cluster.s2):
        proxies[server.name] = proxy = Proxy(server.member.address)
        server.member = msgspec.structs.replace(server.member, address=proxy.address)
    cluster.service.primary = cluster.s1.member
    cluster.views.said = cluster.service.view_is()
    yield proxies
    for proxy in proxies.values():
        proxy.close()


@pytest.mark.parametrize("dead", [("s1",), ("views", "s1"), ("views",)])
@pytest_twisted.ensureDeferred
async def test_a_call_survives_connections_that_died_silently(
    proxies: dict[str, Proxy], dead: tuple[str, ...]
) -> None:
    clerk = Clerk(reactor, proxies["views"].address, timeout=5)
    assert await clerk.incr("n") == 1
    for name in dead:
        proxies[name].die()
    began = time.monotonic()
    assert await clerk.incr("n") == 2
    assert time.monotonic() - began < 4
    began = time.monotonic()
    assert await clerk.incr("n") == 3
    assert time.monotonic() - began < 1
    await clerk.close()


@pytest_twisted.ensureDeferred
async def test_one_that_died_with_its_primary_is_survived_too(
    cluster: ModelCluster, proxies: dict[str, Proxy]
) -> None:
    """Nobody can tell this clerk that there is another primary."""
    clerk = Clerk(reactor, proxies["views"].address, timeout=5)
    assert await clerk.incr("n") == 1
    for name in ("views", "s1"):
        proxies[name].die()
    cluster.s1.is_paused = True
    cluster.fail_over()
    began = time.monotonic()
    assert await clerk.incr("n") == 2
    assert time.monotonic() - began < 4
    assert cluster.s2.opened_count == 1
    await clerk.close()


@pytest_twisted.ensureDeferred
async def test_a_view_service_that_is_full_is_named() -> None:
    views = ModelViews(nobody())
    views.listener = Listener(
        views, VIEW_SERVICE, reactor, places=Places(per_address=1)
    )
    address = await views.listener.listen(ANYWHERE)
    first = Clerk(reactor, address)
    waiting = first.get("k")
    await until(lambda: views.links, "the first clerk is connected")
    second = Clerk(reactor, address, timeout=0.5)
    with pytest.raises(NotExecuted, match=rf"at {address} \(goodbye: full: "):
        await second.get("k")
    await second.close()
    waiting.addErrback(lambda failure: failure.trap(NotExecuted))
    await first.close(timeout=0)
    await views.listener.close()
