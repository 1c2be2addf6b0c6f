"""
Replicas around a table: who says what to whom is in the test's hands.

Names are letters; ``A'`` is a later incarnation of A.  Every connection has a
direction, from a primary to a backup, and carries nothing by itself: `carry`
brings what is on it, one end's messages or both.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec

from pbserver.limits import Limits
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.sessions import Sessions
from pbserver.store import Store
from wire.commands import Append, Command, Get
from wire.messages import (
    Batch,
    CloseSession,
    Goodbye,
    Member,
    Message,
    OpenSession,
    Query,
    View,
)


def member(who: str) -> Member:
    """Primes count incarnations."""
    name = who.rstrip("'")
    return Member(name, who.count("'"), f"tcp:{name.lower()}:1")


def view(number: int, primary: str, backups: str = "", holders: str = "") -> View:
    """``view(3, "A", "B C", "B")``: A leads, B and C follow, B holds all."""
    return View(
        number,
        member(primary),
        tuple(member(who) for who in backups.split()),
        tuple(holders.split()),
    )


def founding(number: int, primary: str) -> View:
    """A view before which nothing was answered."""
    return View(number, member(primary), (), (), founding=True)


def body(*commands: Command) -> bytes:
    """What a clerk sends."""
    return msgspec.msgpack.encode(commands)


def session(number: int = 1) -> bytes:
    """The id of a session."""
    return bytes([number]) * 16


def batch(
    sequence: int,
    suffix: bytes = b"",
    *,
    opened_index: int = 1,
    first_unanswered: int = 0,
    of: int = 1,
) -> Batch:
    """Appends to ``k``; the suffix is the sequence unless it is given."""
    command = Append(b"k", suffix or b"%d" % sequence)
    return Batch(
        session(of), opened_index, sequence, first_unanswered or sequence, body(command)
    )


def query(number: int, *, after: int = 0, of: int = 1) -> Query:
    """Reads ``k``."""
    return Query(number, session(of), after, body(Get(b"k")))


class Table:
    """Some replicas, the clerks that they answer, and what is on its way."""

    def __init__(self, names: str = "A B C", **limits: Any) -> None:
        self.sessions: dict[str, Any] = {}
        self.limits = Limits(**limits)
        self.replicas: dict[str, Replica] = {}
        self.now_ms = 0
        #: (who, whom) -> the name of the connection from the one to the other.
        self.links: dict[tuple[str, str], str] = {}
        self._ends: dict[str, tuple[str, str]] = {}
        #: (connection, to whom) -> what is on its way.
        self.mail: dict[tuple[str, str], deque[Message]] = defaultdict(deque)
        #: What clerks and observers were told since they were last asked.
        self._told: dict[str, list[Message]] = defaultdict(list)
        for who in names.split():
            self.start(who)

    def __getitem__(self, who: str) -> Replica:
        return self.replicas[who]

    def start(self, who: str) -> None:
        """A server with nothing in it."""
        self.replicas[who] = Replica(member(who), self._fresh, self.limits)

    def _fresh(self) -> Sessions:
        return Sessions(Store(), **self.sessions)

    # -- views ----------------------------------------------------------------

    def tell(self, told: View, whom: str, *, acknowledged: bool = False) -> None:
        """The view service says so to these."""
        for who in whom.split():
            self.replicas[who].on_view(told, acknowledged=acknowledged)

    def found(self, who: str = "A") -> None:
        """That server founds the service, and it is acknowledged."""
        self.tell(founding(1, who), who)
        self.tell(founding(1, who), who, acknowledged=True)

    def lead(self, told: View) -> None:
        """Everybody in a view knows it; connected, and all settles."""
        names = [_who(each) for each in told.members()]
        self.tell(told, " ".join(names))
        for backup in names[1:]:
            if self.leads(names[0]).followers[backup].link is None:
                self.connect(names[0], backup)
        self.settle()
        # The backups hear of what was committed with the next heartbeat.
        self.tick(names[0])
        self.settle()

    # -- connections ----------------------------------------------------------

    def connect(self, one: str, other: str) -> str:
        """A connection from a primary to a backup, in the place of the last."""
        self.cut(one, other)
        link = f"{one}>{other} {len(self._ends)}"
        self.links[one, other] = link
        self._ends[link] = one, other
        self.replicas[one].link_made(member(other), link)
        return link

    def cut(self, one: str, other: str, *, told: str = "both") -> None:
        """The connection breaks; *told* learn of it."""
        link = self.links.pop((one, other), None)
        if link is not None:
            for who in (one, other):
                if told in {"both", who}:
                    self.replicas[who].link_lost(link)

    def turn(self, whom: str = "") -> None:
        """These flush, or all do."""
        for who in whom.split() or self.replicas:
            for link, message in chain.from_iterable(self.replicas[who].flush()):
                assert isinstance(link, str)
                if link in self._ends:
                    one, other = self._ends[link]
                    self.mail[link, other if who == one else one].append(message)
                else:
                    self._told[link].append(message)

    def carry(self, one: str, other: str, count: int = 1000) -> list[Message]:
        """Bring what *one* says to *other*, on whichever connection."""
        self.turn(one)
        carried: list[Message] = []
        for link, ends in self._ends.items():
            mail = self.mail[link, other]
            while set(ends) == {one, other} and mail and len(carried) < count:
                message = mail.popleft()
                carried.append(message)
                if isinstance(message, Goodbye):
                    continue
                self.replicas[other].receive(link, member(one), message)
        return carried

    def lose(self, one: str, other: str) -> list[Message]:
        """What *one* says to *other* comes to nobody."""
        self.turn(one)
        lost: list[Message] = []
        for link, ends in self._ends.items():
            if set(ends) == {one, other}:
                lost += self.mail[link, other]
                self.mail[link, other].clear()
        return lost

    def settle(self, *, but: Iterable[str] = ()) -> None:
        """Everything is carried until nobody has anything to say; what is for
        *but* stays where it is."""
        for _ in range(200):
            self.turn()
            busy = any(replica.is_behind for replica in self.replicas.values())
            for (link, to), mail in list(self.mail.items()):
                one, other = self._ends[link]
                while mail and to not in but:
                    busy = True
                    message = mail.popleft()
                    if not isinstance(message, Goodbye):
                        sender = member(one if to == other else other)
                        self.replicas[to].receive(link, sender, message)
            if not busy:
                return
        raise AssertionError("they never stop")

    def tick(self, whom: str = "", times: int = 1) -> None:
        """An interval passes for these, or for all."""
        for _ in range(times):
            for who in whom.split() or self.replicas:
                self.replicas[who].tick()

    # -- clerks ---------------------------------------------------------------

    def ask(
        self, who: str, *asked: Batch | Query | OpenSession | CloseSession,
        clerk: str = "c",
    ) -> None:  # fmt: skip
        """A clerk says that to a server."""
        for message in asked:
            self.replicas[who].receive(clerk, None, message)

    def told(self, clerk: str = "c") -> list[Message]:
        """What a clerk was told since the last time."""
        self.turn()
        return self._told.pop(clerk, [])

    def opened(self, who: str, of: int = 1) -> None:
        """A session is opened, and settled."""
        self.ask(who, OpenSession(session(of)))
        self.settle()
        self.tick(who)
        self.settle()
        self.told()

    # -- what is so -----------------------------------------------------------

    def leads(self, who: str) -> Primary:
        """The part of a primary."""
        role = self.replicas[who].role
        assert isinstance(role, Primary)
        return role

    def log(self, who: str) -> str:
        """Its log: the views of its entries, committed or not: ``1 1|2``."""
        history = self.replicas[who].history
        views = [str(entry.view) for entry in history.log.entries]
        committed = history.commit - history.log.base_index
        return " ".join(views[:committed]) + "|" + " ".join(views[committed:])

    def value(self, who: str, key: bytes = b"k") -> bytes | None:
        """What its applied state has there."""
        answer = self.replicas[who].history.state.query(body(Get(key)))
        value = msgspec.msgpack.decode(answer)[0][1]
        assert value is None or isinstance(value, bytes)
        return value


def _who(each: Member) -> str:
    return each.name + "'" * each.incarnation
