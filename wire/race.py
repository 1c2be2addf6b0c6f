"""
A connection to one of several IP addresses of a host, whichever is made first.

The next address is dialled when the one before has failed, or has not connected
within `NEXT_ADDRESS_S` (the shape of RFC 8305), so that an address that answers
nothing delays the others by no more than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.python.failure import Failure

#: How long the next address of a name waits for the one before it.
NEXT_ADDRESS_S: Final = 0.05


class ConnectFailed(Exception):  # noqa: N818 -- what happened, and not whose fault
    """No address of a host gave a connection; the text has a reason for each."""


class Race:
    """Connects to addresses as they are added; *dial* makes one attempt.

    `over` fires with the protocol of the first connection, or fails with
    `ConnectFailed` once every attempt has failed; cancelling it ends the race.
    """

    def __init__(
        self, dial: Callable[[str], Deferred[IProtocol]], reactor: IReactorTime
    ) -> None:
        self._dial = dial
        self._reactor = reactor
        #: Every address that was added.
        self._added: set[str] = set()
        self._waiting: deque[str] = deque()
        self._pending: dict[str, Deferred[None]] = {}
        self._reasons: dict[str, str] = {}
        self._timer: IDelayedCall | None = None
        self._is_over = False
        #: The address of the connection, once there is one.
        self.winner = ""
        self.over: Deferred[IProtocol] = Deferred(lambda _: self._end())

    def add(self, ips: Iterable[str]) -> None:
        """Dial these, too.  Without effect once the race is over."""
        for ip in ips:
            if ip not in self._added:
                self._added.add(ip)
                self._waiting.append(ip)
        if self._timer is None:
            self._dial_next()

    def _dial_next(self) -> None:
        if self._is_over or not self._waiting:
            return
        ip = self._waiting.popleft()
        dialled = self._dial(ip)
        connecting: Deferred[None] = dialled.addCallback(self._connected, ip)
        self._pending[ip] = connecting
        connecting.addErrback(self._failed, ip)
        if self._pending and self._timer is None and not self._is_over:
            self._timer = self._reactor.callLater(NEXT_ADDRESS_S, self._stagger)

    def _stagger(self) -> None:
        self._timer = None
        self._dial_next()

    def _connected(self, protocol: IProtocol, ip: str) -> None:
        self._pending.pop(ip, None)
        self.winner = ip
        self._end()
        self.over.callback(protocol)

    def _failed(self, failure: Failure, ip: str) -> None:
        self._pending.pop(ip, None)
        if self._is_over:
            return
        self._reasons[ip] = failure.getErrorMessage()
        if self._waiting:
            self._stop_timer()
            self._dial_next()
        elif not self._pending:
            self._end()
            reasons = (f"{ip}: {text}" for ip, text in self._reasons.items())
            self.over.errback(Failure(ConnectFailed("; ".join(reasons))))

    def _end(self) -> None:
        """Nothing more is dialled; what is pending is given up."""
        self._is_over = True
        self._stop_timer()
        for connecting in list(self._pending.values()):
            connecting.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
