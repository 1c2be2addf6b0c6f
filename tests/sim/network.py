"""
The network: connections that are reliable and in order while they last, and
that last only as long as it pleases.

What a connection carries are the real frames, through the real codec.  It may
be slow, it may carry nothing for a while (and then everything, late), it may
break with what was on its way; one end may learn of that long after the other,
and still get what had been sent to it before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError

from tests.sim.agenda import MS, Agenda
from tests.sim.sockets import End, Port
from tests.sim.streams import stream

if TYPE_CHECKING:
    from tests.sim.process import Process


#: So late that it never is.
NEVER_US: Final = 10**12


class Network:
    """All connections, and how things stand between the hosts."""

    def __init__(self, agenda: Agenda, seed: int) -> None:
        self.agenda = agenda
        self._seed = seed
        #: (from, to) -> the randomness of that way.
        self._ways: dict[tuple[str, str], Random] = {}
        #: Who answers, by address and port; and the addresses of the hosts.
        self.ports: dict[tuple[str, int], Port] = {}
        self._ips: dict[str, str] = {}
        #: Every end that is not gone, by number.
        self.ends: dict[int, End] = {}
        #: (from, to): what is sent from one host to the other stands still.
        self.cut: set[tuple[str, str]] = set()
        #: (from, to) -> how much longer things take, in microseconds.
        self.slow: dict[tuple[str, str], int] = {}
        self.delay_us = (50, 2 * MS)
        #: How much of what was sent on a connection may be unread before the
        #: sender is asked to wait.
        self.unread_bytes_max = stream(seed, "network").choice((100, 1000, 1 << 16))
        #: A checksum over everything that was ever delivered, and when.
        self.trace = 0
        self._ids = 0

    def next_id(self) -> int:
        """Newer connections have greater numbers, whosever they are."""
        self._ids += 1
        return self._ids

    def ip(self, host: str) -> str:
        """The address of a host."""
        if host not in self._ips:
            count = len(self._ips) + 1
            self._ips[host] = f"10.0.{count // 256}.{count % 256}"
        return self._ips[host]

    def listen(self, process: Process, number: int, factory: Any) -> Port:
        """*process* is called at that port from now on."""
        port = Port(process, number, factory)
        key = self.ip(process.host), number
        if key in self.ports:
            raise CannotListenError(*key, OSError("in use"))
        self.ports[key] = port
        factory.doStart()
        return port

    def close(self, port: Port) -> None:
        """Nobody is called there any more."""
        key = port.getHost().host, port.number
        if self.ports.get(key) is port:
            del self.ports[key]
            port.factory.doStop()

    def dial(
        self,
        process: Process,
        address: IPv4Address,
        done: Callable[[End | None], None],
    ) -> None:
        """Connect; *done* gets the new end, or None if nobody answers there.
        From where nothing passes nothing is heard."""
        host = next((h for h, ip in self._ips.items() if ip == address.host), "nowhere")

        def arrive() -> None:
            there, back = (process.host, host), (host, process.host)
            if there in self.cut or back in self.cut:
                return
            port = self.ports.get((address.host, address.port))
            delay_us = self._delay_us(back)
            if port is None:
                self.agenda.later(delay_us, lambda: process.soon(lambda: done(None)))
                return
            other = End(self, port.process, address.port, dialled=False)
            end = End(self, process, 32768 + other.id % 32768, dialled=True)
            end.other, other.other = other, end
            self.ends[end.id], self.ends[other.id] = end, other
            port.process.soon(lambda: port.accept(other))
            self.agenda.later(delay_us, lambda: process.soon(lambda: made(end)))

        def made(end: End) -> None:
            done(None if end.is_gone or end.is_torn else end)

        self.agenda.later(self._delay_us((process.host, host)), arrive)

    # -- carrying -------------------------------------------------------------

    def carry(self, sender: End, data: bytes | None) -> None:
        """Bring that to the other end, after all that was sent before."""
        end = sender.other
        if end.is_gone or end.is_torn or sender.is_torn:
            return
        path = (sender.process.host, end.process.host)
        ready_us = self.agenda.now_us + self._delay_us(path) + sender.lag_us
        if end.flight:
            ready_us = max(ready_us, end.flight[-1][0])
        end.flight.append((ready_us, data))
        self._await(end)

    def acknowledge(self, end: End) -> None:
        """Let whoever waits at the other end know how much was read here."""
        path = (end.process.host, end.other.process.host)

        def arrive() -> None:
            if path not in self.cut:  # `mend` does it again.
                end.other.process.soon(end.other.drained)

        self.agenda.later(self._delay_us(path), arrive)

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
            random = self._way((end.other.process.host, end.process.host))
            if len(data) > 1 and not random.randrange(16):
                # A stream knows no frames: the rest comes a little later.
                middle = random.randrange(1, len(data))
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
        return self._way(path).randint(least, most) + self.slow.get(path, 0)

    def _way(self, path: tuple[str, str]) -> Random:
        random = self._ways.get(path)
        if random is None:
            random = self._ways[path] = stream(self._seed, f"way {path[0]} {path[1]}")
        return random

    # -- misfortune -----------------------------------------------------------

    def tear(
        self, end: End, late_us: int, own_late_us: int = 0, *, keep: bool = False
    ) -> None:
        """Break the connection.  *end* learns of it after *own_late_us*, the other
        end after *late_us*; until then it still gets what was sent to it: some
        of it, or all if *keep*."""
        if end.is_gone:
            return
        if end.is_torn:
            end.process.soon(lambda: end.gone("connection lost"))
            return
        end.is_torn = True
        other = end.other
        kept = len(other.flight)
        path = (end.process.host, other.process.host)
        random = self._way(path)
        if not keep:
            kept = random.randint(0, kept)
        while len(other.flight) > kept:
            other.flight.pop()
        if 0 < late_us < NEVER_US:
            # It comes, but late: after what is said on the next connection.
            other.flight = deque(
                (ready_us + random.randrange(late_us), data)
                for ready_us, data in other.flight
            )
        self._learn(end, own_late_us)
        end.flight.clear()
        # What the other end sends from now on comes to nobody.
        ready_us = self.agenda.now_us + self._delay_us(path) + late_us
        if other.flight:
            ready_us = max(ready_us, other.flight[-1][0])
        self._learn(other, ready_us - self.agenda.now_us)

    def _learn(self, end: End, delay_us: int) -> None:
        """That end learns that the connection is broken, unless that is never."""

        def learn() -> None:
            end.process.soon(lambda: end.gone("connection lost"))

        if not delay_us:
            learn()
        elif delay_us < NEVER_US:
            self.agenda.later(delay_us, learn)

    def cut_off(self, paths: Iterable[tuple[str, str]]) -> Callable[[], None]:
        """Nothing gets from one to the other -> what undoes it."""
        paths = list(paths)
        self.cut.update(paths)

        def mend() -> None:
            self.cut.difference_update(paths)
            self.mend()

        return mend

    def heal(self) -> None:
        """Everybody reaches everybody, at the usual speed."""
        self.cut.clear()
        self.slow.clear()
        self.mend()

    def mend(self) -> None:
        """What stood still goes on where it may."""
        for end in list(self.ends.values()):
            self._await(end)
            if end.is_clogged:
                self.acknowledge(end.other)
