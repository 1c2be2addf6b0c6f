"""
Host names, and the IP addresses that they have.

A resolver may take half a minute, and nothing can stop it.  So it is asked in a
thread that neither a deadline nor the end of the process waits for, at most
once at a time for one name: an attempt that gives up leaves the lookup running,
and the next attempt uses it.  What was found stays known, so that a host whose
name resolved once is dialled without a resolver (``docs/design.md``, section 8).
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

#: How many lookups run at one time; more wait for one of these to end.
LOOKUPS_MAX: Final = 32

#: How many IP addresses of one name are dialled.
IPS_MAX: Final = 16

#: How many names, and how many places, are remembered; the oldest is forgotten.
REMEMBERED_MAX: Final = 256


class LookupFailed(Exception):  # noqa: N818 -- what happened, and not whose fault
    """A name has no address, or none can be found out; the text says which name."""


#: What a lookup gives: the addresses, or why there are none.
Found = tuple[str, ...] | LookupFailed

#: Begins to look a name up, and calls back in the reactor's thread.
Begin = Callable[[str, Callable[[Found], None]], None]


@define
class _Place:
    """Which IP addresses have worked for one port of one host."""

    #: The IP address that worked last, or "".
    worked: str = ""
    #: Those that were connected, and were of no use since.
    useless: set[str] = field(factory=set)


class Names:
    """The names that the processes dialled from here have.

    *begin* starts one lookup; by default in a thread of its own.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        #: Lookups that run, and those that wait for their turn -> who waits.
        self._running: dict[str, list[Deferred[tuple[str, ...]]]] = {}
        self._queued: deque[str] = deque()
        self._found: dict[str, tuple[str, ...]] = {}
        #: Why the last lookup of a name failed, if it did.
        self._troubles: dict[str, str] = {}
        self._places: dict[tuple[str, int], _Place] = {}

    def lookup(self, host: str) -> Deferred[tuple[str, ...]]:
        """Look *host* up -> its IP addresses; fails with `LookupFailed`.

        A lookup of *host* that runs already is the one that is waited for.
        Cancelling ends the wait; a lookup that has begun goes on, and what it
        finds is `known`.
        """
        waiting: Deferred[tuple[str, ...]] = Deferred(
            functools.partial(self._cancelled, host)
        )
        if host in self._running:
            self._running[host].append(waiting)
        else:
            self._running[host] = [waiting]
            self._queued.append(host)
            self._start()
        return waiting

    def known(self, host: str, port: int) -> tuple[str, ...]:
        """The IP addresses to dial for *port* of *host*, in this order: the one
        that worked last, others, and then those that were of no use."""
        place = self._places.get((host, port), _Place())
        ips = dict.fromkeys((*filter(None, [place.worked]), *self._found.get(host, ())))
        return tuple(sorted(ips, key=lambda ip: ip in place.useless))

    def trouble(self, host: str) -> str:
        """Why the last lookup of *host* found nothing; "" if it found something."""
        return self._troubles.get(host, "")

    def worked(self, host: str, port: int, ip: str) -> None:
        """The right process has answered at *ip*."""
        place = self._place(host, port)
        place.worked = ip
        place.useless.discard(ip)

    def useless(self, host: str, port: int, ip: str) -> None:
        """A connection to *ip* was made, and what answered was not the right
        process, or nothing answered."""
        self._place(host, port).useless.add(ip)

    def _place(self, host: str, port: int) -> _Place:
        place = self._places.pop((host, port), None) or _Place()
        _remember(self._places, (host, port), place)
        return place

    # -- lookups ------------------------------------------------------------------

    def _start(self) -> None:
        while self._queued and len(self._running) - len(self._queued) < LOOKUPS_MAX:
            host = self._queued.popleft()
            self._begin(host, functools.partial(self._ended, host))

    def _ended(self, host: str, found: Found) -> None:
        waiting = self._running.pop(host)
        self._troubles.pop(host, None)
        if isinstance(found, LookupFailed):
            _remember(self._troubles, host, str(found))
        else:
            _remember(self._found, host, found[:IPS_MAX])
            for (name, _), place in self._places.items():
                if name == host:
                    place.useless.intersection_update((place.worked, *found))
        self._start()
        for each in waiting:
            if each.called:
                continue  # Cancelled by what one before it did.
            if isinstance(found, LookupFailed):
                each.errback(Failure(found))
            else:
                each.callback(found[:IPS_MAX])

    def _cancelled(self, host: str, waiting: Deferred[tuple[str, ...]]) -> None:
        others = self._running.get(host)
        if others is not None and waiting in others:
            others.remove(waiting)
            if not others and host in self._queued:
                self._queued.remove(host)
                del self._running[host]


def _remember(table: dict[Any, Any], key: object, value: object) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > REMEMBERED_MAX:
        del table[next(iter(table))]


def names_of(reactor: Any) -> Names:
    """The names that all who use *reactor* share."""
    names: Names | None = getattr(reactor, "understudy_names", None)
    if names is None:
        names = Names(functools.partial(_in_thread, reactor))
        reactor.understudy_names = names
    return names


def _in_thread(reactor: Any, host: str, ended: Callable[[Found], None]) -> None:
    # Not in the reactor's pool: its threads are joined when the reactor stops,
    # so that a resolver that does not answer would keep the process alive.
    def look_up() -> None:
        found = resolve(host)
        # Nothing is left to call if the process is ending meanwhile.
        with contextlib.suppress(Exception):
            reactor.callFromThread(ended, found)

    thread = threading.Thread(target=look_up, name=f"lookup of {host}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        why = LookupFailed(f"the name {host} cannot be looked up: {error}")
        reactor.callLater(0, ended, why)


def resolve(host: str) -> Found:
    """Ask the system's resolver; blocks for as long as that takes."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        text = getattr(error, "strerror", None) or error
        return LookupFailed(f"the name {host} was not found: {text}")
    return _ips(answers) or LookupFailed(f"the name {host} has no IP address")


def _ips(answers: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    families = (socket.AF_INET, socket.AF_INET6)
    return tuple(
        dict.fromkeys(
            str(where[0]) for kind, _, _, _, where in answers if kind in families
        )
    )
