"""Links over real loopback sockets: what virtual transports cannot show."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor, tcp
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from tests.recorder import Recorder
from tests.until import until
from wire import link as link_module
from wire import listener as listener_module
from wire.bounds import HELLO_BYTES_MAX
from wire.codec import Decoder, encode
from wire.link import LINGER_S
from wire.links import Dialler, Link, Listener
from wire.listener import ACCEPTS_MAX, Places
from wire.messages import (
    CLERK,
    NO_SESSION,
    OBSERVER,
    SERVER,
    VERSION,
    DigestAt,
    Goodbye,
    Hello,
    Member,
    Message,
    Query,
    QueryAnswer,
)

CLERK_HELLO = Hello(VERSION, CLERK)
SERVER_HELLO = Hello(VERSION, SERVER, member=Member("s1", 7, "tcp:127.0.0.1:7401"))


def query(number: int, size: int = 0) -> Query:
    return Query(number, NO_SESSION, 0, bytes(size))


def echo(link: Link, message: Message) -> None:
    if isinstance(message, Query):
        link.send(QueryAnswer(message.id, message.body))


class Server:
    """A listener whose owner answers each query with its own body."""

    def __init__(self, **options: Any) -> None:
        self.owner = Recorder(SERVER_HELLO, echo)
        self.listener = Listener(self.owner, SERVER, reactor, **options)

    async def up(self, endpoint: str = "tcp:0:interface=127.0.0.1") -> str:
        self.address: str = await self.listener.listen(endpoint)
        return self.address

    @property
    def endpoint(self) -> str:
        return f"tcp:{self.address.rsplit(':', 1)[1]}:interface=127.0.0.1"

    def raw(self) -> socket.socket:
        """A caller that is not ours, and blocks: to be used in a thread."""
        return socket.create_connection(
            ("127.0.0.1", int(self.address.rsplit(":", 1)[1])), timeout=5
        )


class Client:
    """A dialler and all that its owner has heard."""

    def __init__(self, address: str, **options: float) -> None:
        self.owner = Recorder(CLERK_HELLO)
        self.dialler = Dialler(
            self.owner, CLERK, SERVER, [address], reactor, Random(1), **options
        )
        self.dialler.start()

    async def open(self) -> Link:
        await until(lambda: self.dialler.link, "a link")
        return self.dialler.link


@pytest.fixture
def ends() -> Iterator[list]:
    """What is put here is stopped or closed at the end, and nothing is left."""
    before = set(reactor.getDelayedCalls())
    things: list = []
    yield things
    for thing in reversed(things):
        stop = thing.dialler.stop if isinstance(thing, Client) else thing.listener.close
        pytest_twisted.blockon(stop())
    assert set(reactor.getDelayedCalls()) <= before


def all_of(sock: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def there(sock: socket.socket) -> bytes:
    """All that has come so far."""
    sock.setblocking(False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := sock.recv(65536):
            data += piece
    return data


def heard(data: bytes) -> list[Message]:
    return Decoder(SERVER, CLERK).feed(data)


@pytest_twisted.ensureDeferred
async def test_there_and_back(ends):
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    for number in range(100):
        link.send(query(number, number))
    await until(lambda: len(client.owner.heard) == 101, "100 answers")
    expected = [QueryAnswer(number, bytes(number)) for number in range(100)]
    assert expected == client.owner.heard[1:]
    assert link.peer == server.address.removeprefix("tcp:")
    assert link.hello == SERVER_HELLO


@pytest_twisted.ensureDeferred
async def test_of_short_messages_only_a_few_are_taken_in_at_a_time(ends, monkeypatch):
    server = Server()
    await server.up()
    ends += [server]
    sizes: list[int] = []
    feed = Decoder.feed
    monkeypatch.setattr(
        Decoder, "feed", lambda self, data: sizes.append(len(data)) or feed(self, data)
    )
    caller = server.raw()
    caller.sendall(encode(Hello(VERSION, OBSERVER)) + encode(DigestAt(0)) * 5000)
    await until(lambda: len(server.owner.heard) > 5000, "all of them")
    caller.close()
    assert max(sizes) <= 4 + HELLO_BYTES_MAX


@pytest_twisted.ensureDeferred
async def test_callers_are_taken_in_a_few_at_a_time(ends, monkeypatch):
    """Also after there were always more than that, which Twisted counts."""
    server = Server()
    await server.up()
    ends += [server]
    callers = [server.raw() for _ in range(10 * ACCEPTS_MAX)]
    taken: list[int] = []
    accept = tcp._accept

    def counted(*args):
        taken.append(0)
        for each in accept(*args):
            taken[-1] += 1
            yield each

    monkeypatch.setattr(tcp, "_accept", counted)
    await until(lambda: len(server.listener._strangers) == len(callers), "all of them")
    for each in callers:
        each.close()
    assert sum(taken) == len(callers)
    assert max(taken) <= ACCEPTS_MAX


@pytest_twisted.ensureDeferred
async def test_small_frames_are_not_held_back(ends):
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    for end in link, server.owner.links[0]:
        assert end.transport.getTcpNoDelay()
        assert end.transport.getTcpKeepAlive()
        sock = end.transport.getHandle()
        unsent_ms = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert unsent_ms == 60_000


@pytest_twisted.ensureDeferred
async def test_order_holds_when_the_socket_is_full(ends):
    """Small and great messages, sent and queued, more than any socket takes."""
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    sizes = [3_000_000, 10, 200_000, 0, 5_000_000, 1, 70_000] * 3
    for number, size in enumerate(sizes):
        if number % 3 == 2:
            link.queue(query(number, size))
        else:
            link.send(query(number, size))
    link.flush()
    assert link.unsent_bytes > 0
    await until(lambda: len(client.owner.heard) == 22, "21 answers", 20)
    expected = list(enumerate(sizes))
    assert expected == [(each.id, len(each.body)) for each in client.owner.heard[1:]]
    await until(lambda: link.unsent_bytes == 0, "all is sent")


@pytest_twisted.ensureDeferred
async def test_nothing_overtakes_what_waits(ends):
    """The socket has room again before the reactor has noticed: what is sent now
    must still go behind what was sent before."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        client = Client(f"tcp:127.0.0.1:{door.getsockname()[1]}")
        ends += [client]
        await until(lambda: client.dialler._connection, "a connection")
        far = door.accept()[0]
        far.sendall(encode(SERVER_HELLO))
        link = await client.open()
        link.send(query(1, 8_000_000))
        stream = there(far)
        link.send(query(2))
        plain = link.transport
        await until(lambda: plain.dataBuffer and not plain._tempDataLen, "one buffer")
        stream += there(far)
        link.send(query(3))

        expected = [encode(each) for each in (CLERK_HELLO, query(1, 8_000_000))]
        expected += [encode(query(2)), encode(query(3))]
        size = len(b"".join(expected))
        far.settimeout(5)
        while len(stream) < size:
            stream += await deferToThread(far.recv, 65536)
        assert b"".join(expected) == stream
        far.close()


@pytest_twisted.ensureDeferred
async def test_a_goodbye_follows_what_was_not_read_yet(ends):
    server = Server()
    await server.up()
    ends += [server]

    def flood(link: Link, _: Message) -> None:
        link.send(QueryAnswer(1, bytes(9_000_000)))
        link.goodbye("stopping", "enough")

    server.owner.answer = flood

    def listen() -> bytes:
        with server.raw() as sock:
            sock.sendall(encode(CLERK_HELLO) + encode(query(1)))
            return all_of(sock)

    *_, answer, farewell = heard(await deferToThread(listen))
    assert len(answer.body) == 9_000_000
    assert Goodbye("stopping", "enough") == farewell


@pytest_twisted.ensureDeferred
async def test_a_paused_link_ends_as_soon_as_the_other_end_closes(ends):
    server = Server()
    await server.up()
    ends += [server]
    with server.raw() as sock:
        sock.sendall(encode(CLERK_HELLO))
        await until(lambda: server.owner.links, "it opens")
        server.owner.links[0].pause()
        server.owner.links[0].goodbye("stopping", "text")
        await deferToThread(all_of, sock)
    await until(lambda: len(server.owner.heard) == 2, "the end", LINGER_S / 2)


@pytest_twisted.ensureDeferred
async def test_two_clogged_ends_do_not_wait_for_each_other(ends):
    """Great requests with great answers, a whole window of them at once: each
    end has more to send than the other has read."""
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    for number in range(8):
        link.send(query(number, 4_000_000))
    await until(lambda: len(client.owner.heard) == 9, "8 answers", 20)


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_is_asked_for_no_more(ends):
    """A caller asks and asks and never reads: its link stops reading, and what
    waits for it stays small, while another caller is served."""
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    deaf = server.raw()
    try:
        deaf.sendall(encode(CLERK_HELLO))
        deaf.settimeout(0)
        request = encode(query(1, 100_000))
        sent = 0

        def push() -> bool:
            nonlocal sent
            try:
                sent += deaf.send(request[sent % len(request) :])
            except BlockingIOError:
                return (
                    len(server.owner.links) == 2
                    and server.owner.links[1].transport.producerPaused
                )
            return False

        await until(push, "the deaf caller's link is paused", 20)
        assert server.owner.links[1].unsent_bytes < 10 * len(request)
        assert sent < 50_000_000
        link.send(query(7))
        await until(lambda: client.owner.heard[-1] == QueryAnswer(7, b""), "an answer")
    finally:
        deaf.close()


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_at_all_is_cut_off(ends, monkeypatch):
    monkeypatch.setattr(link_module, "UNSENT_BYTES_MAX", 8_000_000)
    server = Server()
    await server.up()
    ends += [server]
    answers = 0

    def flood(link: Link, _: Message) -> None:
        nonlocal answers
        while link.is_open and answers < 1000:
            link.send(QueryAnswer(1, bytes(1_000_000)))
            answers += 1

    server.owner.answer = flood
    deaf = server.raw()
    try:
        with capturedLogs() as logs:
            deaf.sendall(encode(CLERK_HELLO) + encode(query(1)))
            await until(lambda: len(server.owner.heard) == 3, "the link is cut", 20)
        assert answers < 100
        assert server.owner.heard[-1].startswith("does not read: ")
        assert "link.aborted" in [event.get("understudy_event") for event in logs]
    finally:
        deaf.close()


@pytest_twisted.ensureDeferred
async def test_many_may_call_in_the_same_moment(ends):
    # As all clerks do after a failover: whoever found no room would try again
    # only after a second.
    server = Server()
    await server.up()
    ends += [server]
    callers = []
    try:
        # Nobody is taken in meanwhile.
        callers += (server.raw() for _ in range(300))
        await until(lambda: len(server.listener._strangers) == 300, "all are there")
    finally:
        for each in callers:
            each.close()


@pytest_twisted.ensureDeferred
async def test_what_is_queued_in_one_turn_for_one_link_is_bounded(ends, monkeypatch):
    monkeypatch.setattr(link_module, "UNSENT_BYTES_MAX", 20_000_000)
    server = Server()
    await server.up()
    ends += [server]
    queued = 0

    def flood(link: Link, _: Message) -> None:
        nonlocal queued
        while link.is_open and queued < 100:
            link.queue(QueryAnswer(1, bytes(5_000_000)))
            queued += 1
        link.flush()

    server.owner.answer = flood
    deaf = server.raw()
    try:
        deaf.sendall(encode(CLERK_HELLO) + encode(query(1)))
        await until(lambda: len(server.owner.heard) == 3, "the link is cut", 20)
        assert queued < 20
        assert server.owner.heard[-1].startswith("does not read: ")
    finally:
        deaf.close()


@pytest_twisted.ensureDeferred
async def test_those_who_do_not_read_are_bounded_together(ends, monkeypatch):
    monkeypatch.setattr(listener_module, "UNSENT_BYTES_ALL_MAX", 20_000_000)
    server = Server()
    await server.up()
    ends += [server]
    server.owner.answer = lambda link, _: link.send(QueryAnswer(1, bytes(15_000_000)))
    deaf = [server.raw() for _ in range(6)]

    def is_one_cut() -> bool:
        return any(str(each).startswith("does not read") for each in server.owner.heard)

    try:
        for each in deaf:
            each.sendall(encode(CLERK_HELLO) + encode(query(1)))
        await until(is_one_cut, "one of them is cut off", 20)
        assert sum(link.unsent_bytes for link in server.owner.links) <= 35_000_000
    finally:
        for each in deaf:
            each.close()


@pytest_twisted.ensureDeferred
async def test_a_goodbye_arrives_although_more_was_on_its_way(ends):
    """A socket that is closed with something unread in it is reset, and what
    was written to it last is lost; the Goodbye must not be."""
    server = Server()
    await server.up()
    ends += [server]

    def offend() -> bytes:
        with server.raw() as sock:
            sock.sendall(encode(CLERK_HELLO) + b"\xff\xff\xff\xff" + bytes(500_000))
            return all_of(sock)

    text = (
        "a frame of 4294967295 bytes is over 16777216, which is the limit for a clerk"
    )
    for _ in range(10):
        farewell = heard(await deferToThread(offend))[-1]
        expected = Goodbye("too long", text)
        assert expected == farewell


@pytest_twisted.ensureDeferred
async def test_a_silent_caller_hears_why(ends):
    server = Server(hello_s=0.05)
    await server.up()
    ends += [server]

    def listen() -> bytes:
        with server.raw() as sock:
            return all_of(sock)

    expected = [Goodbye("silent", "no Hello within 0.05 s")]
    assert expected == heard(await deferToThread(listen))
    assert server.owner.heard == []


@pytest_twisted.ensureDeferred
async def test_one_too_many_hears_why(ends):
    server = Server(places=Places(clerks=1))
    client = Client(await server.up())
    ends += [server, client]
    await client.open()

    def call() -> bytes:
        with server.raw() as sock:
            sock.sendall(encode(CLERK_HELLO))
            return all_of(sock)

    expected = [Goodbye("full", "there are 1 connections of clerks already")]
    assert expected == heard(await deferToThread(call))
    assert client.dialler.link.is_open


@pytest_twisted.ensureDeferred
async def test_cut_off_in_the_middle_of_a_frame(ends):
    server = Server()
    await server.up()
    ends += [server]
    sock = server.raw()
    sock.sendall(encode(CLERK_HELLO) + encode(query(1))[:-1])
    await until(lambda: server.owner.heard, "it opens")
    sock.shutdown(socket.SHUT_WR)
    await until(lambda: len(server.owner.heard) == 2, "it ends")
    sock.close()
    expected = ["opened", "connection closed in the middle of a frame"]
    assert expected == server.owner.heard


@pytest_twisted.ensureDeferred
async def test_a_listener_that_comes_back_is_found(ends):
    server = Server()
    client = Client(await server.up())
    ends += [client]
    first = await client.open()
    await server.listener.close()
    await until(lambda: client.dialler.link is None, "the link is gone")
    assert client.owner.heard[-1] == "goodbye: stopping: this process is stopping"
    await until(lambda: client.dialler._failures > 3, "some attempts have failed")
    again = Server()
    ends.insert(0, again)
    await again.up(server.endpoint)
    second = await client.open()
    assert second > first
    assert client.owner.heard[-1] == "opened"


@pytest_twisted.ensureDeferred
async def test_redial_is_quick(ends):
    server = Server()
    client = Client(await server.up(), first_delay_s=60, delay_max_s=60)
    ends += [server, client]
    first = await client.open()
    client.dialler.redial()
    await until(lambda: client.dialler.link not in {None, first}, "another link")
    await until(lambda: len(server.owner.heard) == 3, "the server knows of both")
    assert server.owner.heard[0] == server.owner.heard[-1] == "opened"


@pytest_twisted.ensureDeferred
async def test_one_bad_caller_disturbs_nobody(ends):
    server = Server()
    client = Client(await server.up())
    ends += [server, client]
    link = await client.open()
    bad = [b"GET / HTTP/1.0\r\n\r\n", b"\0\0\0\1\xc1", b"\0\0\0\2\x92\x01", b""] * 10

    def call_badly() -> None:
        for data in bad:
            with server.raw() as sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                all_of(sock)

    calling: Deferred[None] = deferToThread(call_badly)
    number = 0
    while not calling.called:
        number += 1
        link.send(query(number))
        await until(
            lambda: client.owner.heard[-1] == QueryAnswer(number, b""),  # noqa: B023
            f"answer {number}",
        )
    await calling
    assert number > 3
    assert [each for each in server.owner.heard if type(each) is str] == ["opened"]


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_will_do_for_those_who_call_by_hand(ends, tmp_path):
    server = Server()
    await server.up(f"unix:{tmp_path}/door")
    ends += [server]

    def call() -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(f"{tmp_path}/door")
            sock.sendall(encode(CLERK_HELLO) + encode(query(3, 5)))
            decoder, messages = Decoder(SERVER, CLERK), []
            while len(messages) < 2:
                messages += decoder.feed(sock.recv(65536))
            return messages

    assert [SERVER_HELLO, QueryAnswer(3, bytes(5))] == await deferToThread(call)
