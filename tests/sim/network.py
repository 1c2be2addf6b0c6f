"""
The network: connections that are reliable and in order while they last, and
that last only as long as it pleases.

What a connection carries are the real frames, through the real codec.  It may
be slow, it may carry nothing for a while (and then everything, late), it may
break with what was on its way; one end may learn of that long after the other,
and still get what had been sent to it before.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from tests.sim.agenda import MS, Agenda, S
from wire.addresses import parse_address
from wire.codec import Decoder, ProtocolError, encode
from wire.messages import Goodbye, Hello, Message

if TYPE_CHECKING:
    from tests.sim.process import Process

#: As in `wire.link` and `wire.dialler`.
LINGER_US: Final = 2 * S
CONNECT_TIMEOUT_US: Final = 1 * S


class Owner(Protocol):
    """As `wire.link.Owner`."""

    def hello(self) -> Hello: ...
    def link_opened(self, link: End) -> Goodbye | None: ...
    def received(self, link: End, message: Message) -> None: ...
    def link_closed(self, link: End, reason: str) -> None: ...


@functools.total_ordering
class End:
    """One end of a connection; to its owner what `wire.link.Link` is."""

    hello: Hello
    other: End

    def __init__(
        self, network: Network, process: Process, owner: Owner, decoder: Decoder
    ) -> None:
        self.id = network.next_id()
        self.network = network
        self.process = process
        self.owner = owner
        self.decoder = decoder
        self.dialled = False
        self.farewell: Goodbye | None = None
        #: Called when the connection is gone, opened or not, before the owner.
        self.on_end: Callable[[End], None] | None = None
        self.is_open = False
        self.is_ending = False
        self.is_gone = False
        #: Broken, whether or not its process knows by now.
        self.is_torn = False
        self.is_paused = False
        #: What is on its way to this end, and when it can be there; None is
        #: the end of the stream.
        self.flight: deque[tuple[int, bytes | None]] = deque()
        self.is_due = False
        #: What has arrived and is not read, since the owner reads nothing.
        self.unread: list[bytes | None] = []
        self._queued: list[bytes] = []

    def __lt__(self, other: End) -> bool:
        return self.id < other.id

    def __repr__(self) -> str:
        return f"{self.process.name}#{self.id}"

    # -- sending --------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Now, in a write of its own unless something waits."""
        self.queue(message)
        self.flush()

    def queue(self, message: Message) -> None:
        """With the next flush."""
        if not self.is_ending:
            self.process.world.said(self, message)
            self._queued.append(encode(message))

    def flush(self) -> None:
        """All that was queued, in one write."""
        if self._queued:
            data = b"".join(self._queued)
            self._queued.clear()
            self.network.carry(self, data)

    # -- ending ---------------------------------------------------------------

    def goodbye(self, reason: str, text: str) -> None:
        """Say so, send nothing more, take nothing more."""
        if self.is_ending:
            return
        self.queue(Goodbye(reason, text))
        self.flush()
        self.is_ending = True
        self.network.carry(self, None)
        self.network.agenda.later(LINGER_US, self._lingered)

    def _lingered(self) -> None:
        if not self.is_gone:
            self.network.tear(self, 0)

    def abort(self) -> None:
        """Close, whatever is on its way."""
        if not self.is_gone:
            self.is_ending = True
            self._queued.clear()
            self.network.tear(self, 0)

    def pause(self) -> None:
        """Read nothing more."""
        self.is_paused = True

    def resume(self) -> None:
        """Read again."""
        if self.is_paused:
            self.is_paused = False
            self.process.later(0, self._read_on)

    def _read_on(self) -> None:
        while self.unread and not self.is_paused and not self.is_gone:
            self._read(self.unread.pop(0))

    # -- what the network calls -----------------------------------------------

    def read(self, data: bytes | None) -> None:
        """These bytes have come, or the stream is at its end."""
        if self.is_paused or self.unread:
            self.unread.append(data)
        elif not self.is_gone:
            self._read(data)

    def _read(self, data: bytes | None) -> None:
        if data is None:
            self.network.carry(self, None)
            self.gone("connection closed")
        elif not self.is_ending:
            self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            messages = self.decoder.feed(data)
        except ProtocolError as error:
            self.process.world.broken(self, error)
            return
        for message in messages:
            if isinstance(message, Goodbye):
                self.farewell = message
                self.is_ending = True
                self.network.carry(self, None)
                self.gone(f"goodbye: {message.reason}: {message.text}")
            elif not self.is_open:
                self._open(message)
            else:
                self.process.world.heard(self, message)
                self.owner.received(self, message)
            if self.is_ending:
                return

    def _open(self, message: Message) -> None:
        assert isinstance(message, Hello)
        self.hello = message
        if not self.dialled:
            self.send(self.owner.hello())
        self.is_open = True
        if (refusal := self.owner.link_opened(self)) is not None:
            self.is_open = False
            self.goodbye(refusal.reason, refusal.text)

    def gone(self, reason: str) -> None:
        """The connection is over at this end."""
        if self.is_gone:
            return
        self.is_gone = self.is_ending = True
        self.flight.clear()
        self.network.ends.pop(self.id, None)
        if self.on_end is not None:
            self.on_end(self)
        if self.is_open:
            self.is_open = False
            self.owner.link_closed(self, reason)


class Network:
    """All connections, and how things stand between the hosts."""

    def __init__(self, agenda: Agenda, random: Random) -> None:
        self.agenda = agenda
        self.random = random
        #: Who answers at a host.
        self.listeners: dict[str, Process] = {}
        #: Every end that is not gone, by number.
        self.ends: dict[int, End] = {}
        #: (from, to): what is sent from one host to the other stands still.
        self.cut: set[tuple[str, str]] = set()
        #: (from, to) -> how much longer things take, in microseconds.
        self.slow: dict[tuple[str, str], int] = {}
        self.delay_us = (50, 2 * MS)
        #: A checksum over everything that was ever delivered, and when.
        self.trace = 0
        self._ids = 0

    def next_id(self) -> int:
        """Newer connections have greater numbers, whosever they are."""
        self._ids += 1
        return self._ids

    def dial(
        self,
        process: Process,
        owner: Owner,
        address: str,
        decoder: Decoder,
        done: Callable[[End | None], None],
    ) -> None:
        """Connect; *done* gets the new end, or None."""
        host, _ = parse_address(address)

        def arrive() -> None:
            there, back = (process.host, host), (host, process.host)
            if there in self.cut or back in self.cut:
                self.agenda.later(CONNECT_TIMEOUT_US, lambda: process.soon(fail))
                return
            listener = self.listeners.get(host)
            if listener is None:
                self.agenda.later(self._delay_us(back), lambda: process.soon(fail))
                return
            other = End(self, listener, listener, listener.decoder())
            end = End(self, process, owner, decoder)
            end.dialled = True
            end.other, other.other = other, end
            self.ends[end.id], self.ends[other.id] = end, other
            self.agenda.later(
                self._delay_us(back), lambda: process.soon(lambda: made(end))
            )

        def fail() -> None:
            done(None)

        def made(end: End) -> None:
            if end.is_gone or end.is_torn:
                fail()
                return
            done(end)
            if not end.is_gone:
                end.send(owner.hello())

        self.agenda.later(self._delay_us((process.host, host)), arrive)

    # -- carrying -------------------------------------------------------------

    def carry(self, sender: End, data: bytes | None) -> None:
        """Bring that to the other end, after all that was sent before."""
        end = sender.other
        if end.is_gone or end.is_torn or sender.is_torn:
            return
        path = (sender.process.host, end.process.host)
        ready_us = self.agenda.now_us + self._delay_us(path)
        if end.flight:
            ready_us = max(ready_us, end.flight[-1][0])
        end.flight.append((ready_us, data))
        self._await(end)

    def _await(self, end: End) -> None:
        if not end.is_due and end.flight:
            end.is_due = True
            self.agenda.later(
                end.flight[0][0] - self.agenda.now_us, lambda: self._arrive(end)
            )

    def _arrive(self, end: End) -> None:
        end.is_due = False
        if end.is_gone:
            return
        if (end.other.process.host, end.process.host) in self.cut:
            return  # `heal` sends it on.
        chunks: list[bytes] = []
        is_end = False
        while end.flight and end.flight[0][0] <= self.agenda.now_us and not is_end:
            _, data = end.flight.popleft()
            if data is None:
                is_end = True
            else:
                chunks.append(data)
        if chunks:
            data = b"".join(chunks)
            if len(data) > 1 and not self.random.randrange(16):
                # A stream knows no frames: the rest comes a little later.
                middle = self.random.randrange(1, len(data))
                if is_end:
                    end.flight.appendleft((self.agenda.now_us + 30, None))
                    is_end = False
                end.flight.appendleft((self.agenda.now_us + 30, data[middle:]))
                data = data[:middle]
            stamp = b"%d %d " % (self.agenda.now_us, end.id)
            self.trace = crc32(data, crc32(stamp, self.trace))
            end.process.soon(lambda: end.read(data))
        if is_end:
            end.process.soon(lambda: end.read(None))
        self._await(end)

    def _delay_us(self, path: tuple[str, str]) -> int:
        least, most = self.delay_us
        return self.random.randint(least, most) + self.slow.get(path, 0)

    # -- misfortune -----------------------------------------------------------

    def tear(self, end: End, late_us: int) -> None:
        """Break the connection.  *end* learns of it now; the other end after
        *late_us*, and until then it still gets what was sent to it."""
        if end.is_gone or end.is_torn:
            return
        end.is_torn = True
        other = end.other
        kept = self.random.randint(0, len(other.flight))
        while len(other.flight) > kept:
            other.flight.pop()
        if late_us:
            # It comes, but late: after what is said on the next connection.
            other.flight = deque(
                (ready_us + self.random.randrange(late_us), data)
                for ready_us, data in other.flight
            )
        end.process.soon(lambda: end.gone("connection lost"))
        end.flight.clear()
        # What the other end sends from now on comes to nobody.
        path = (end.process.host, other.process.host)
        ready_us = self.agenda.now_us + self._delay_us(path) + late_us
        if other.flight:
            ready_us = max(ready_us, other.flight[-1][0])

        def learn() -> None:
            other.process.soon(lambda: other.gone("connection lost"))

        self.agenda.later(ready_us - self.agenda.now_us, learn)

    def heal(self) -> None:
        """Everybody reaches everybody, at the usual speed."""
        self.cut.clear()
        self.slow.clear()
        self.mend()

    def mend(self) -> None:
        """What stood still goes on where it may."""
        for end in list(self.ends.values()):
            self._await(end)
