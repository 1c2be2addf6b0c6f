"""
What a connection held is freed when it ends, without the garbage collector: a
decoder may hold a frame of 16 MiB, and the collector counts objects, not bytes.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import pytest_twisted

from tests.test_sockets import CLERK_HELLO, Client, Server, ends, query
from tests.until import until
from wire import dialler, listener
from wire.codec import Decoder, encode
from wire.link import Link
from wire.listener import Places

__all__ = ["ends"]


@pytest.fixture
def alive(monkeypatch) -> Iterator[Callable[[], list[object]]]:
    """The decoders and links of this test that exist; none is collected."""
    made: list[weakref.ref[object]] = []

    class Weak(Decoder):
        __slots__ = ("__weakref__",)

        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            made.append(weakref.ref(self))

    class Tracked(Link):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)
            made.append(weakref.ref(self))

    for module in (listener, dialler):
        monkeypatch.setattr(module, "Decoder", Weak)
        monkeypatch.setattr(module, "Link", Tracked)
    gc.collect()
    gc.disable()
    yield lambda: [each for ref in made if (each := ref()) is not None]
    gc.enable()


PARTIAL = encode(query(1, 1000))[:-1]
CALLS = {
    "nothing": b"",
    "half a Hello": encode(CLERK_HELLO)[:-1],
    "a Hello": encode(CLERK_HELLO),
    "half a frame": encode(CLERK_HELLO) + PARTIAL,
    "a query": encode(CLERK_HELLO) + encode(query(1)),
    "nonsense": encode(CLERK_HELLO) + b"\0\0\0\1\xc1",
    "too long a frame": b"\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", CALLS)
@pytest_twisted.ensureDeferred
async def test_a_caller_that_hangs_up_leaves_nothing(ends, alive, name):
    server = Server()
    await server.up()
    ends += [server]
    sock = server.raw()
    sock.sendall(CALLS[name])
    await until(alive, "a link is made")
    if name in {"a Hello", "half a frame", "a query"}:
        await until(lambda: server.owner.heard, "it opens")
    sock.close()
    server.owner.links.clear()
    await until(lambda: not alive(), "the link and its decoder are freed")


@pytest_twisted.ensureDeferred
async def test_a_caller_that_is_sent_away_leaves_nothing(ends, alive):
    server = Server(places=Places(clerks=0))
    await server.up()
    ends += [server]
    with server.raw() as sock:
        sock.sendall(encode(CLERK_HELLO))
        await until(lambda: server.listener._refused, "it is refused")
    await until(lambda: not alive(), "the link and its decoder are freed")


@pytest_twisted.ensureDeferred
async def test_of_what_was_dialled_only_the_last_is_kept(ends, alive):
    # Twisted's ClientService keeps it until there is another, without a frame.
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    for ends_heard in (2, 4, 6):
        link = await client.open()
        link.dataReceived((1000).to_bytes(4, "big") + bytes(500))
        link.abort()
        assert link._decoder.unfinished_bytes == 0
        del link
        for owner in (server.owner, client.owner):
            owner.links.clear()
        await until(lambda: client.dialler._connection is None, "it is lost")
        await until(lambda n=ends_heard: len(server.owner.heard) >= n, "its end")
        await until(lambda: client.dialler.link, "another")
        client.owner.links.clear()
        await until(lambda: len(alive()) <= 6, "links and decoders are freed")
