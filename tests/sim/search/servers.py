"""
What one server does with one event: the real replica, asked once.

A search comes to the same server in the same state with the same event again
and again, while something elsewhere differs.  So every distinct pair is put to
the real code once, and its outcome is remembered: states and messages are
numbers from then on.  That it is an outcome and not a chance is checked: of
some, the real code is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import chain
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from pbserver.limits import Limits
from pbserver.outbox import Link
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.sessions import Sessions
from pbserver.store import Store
from tests.sim.chronicle import Violation
from tests.sim.search.frozen import freeze, thaw
from wire.commands import AnyCommand, Append, Get
from wire.messages import Batch, Member, Message, View

#: Nobody counts as unreachable by silence; whom a server cannot reach is left to
#: the search.
NEVER_SILENT: Final = 10**6

#: Of so many steps one is done again on another copy, and compared.
REPEAT_EVERY: Final = 100

#: The one key that everybody appends to.
KEY: Final = b"k"

#: The name of what happens to a server, and what with.
Event = tuple[Any, ...]
#: What a server sends: (connection, number of the message), in order.
Sent = tuple[tuple[Any, int], ...]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[AnyCommand]).decode
READ: Final = _encode([Get(KEY)])


def write(token: bytes) -> bytes:
    """The body that appends *token*, and reads what came of it."""
    return _encode([Append(KEY, token), Get(KEY)])


@lru_cache(100_000)
def told(answer: bytes) -> bytes:
    """The value that the answer to a read or a write shows."""
    value = msgspec.msgpack.decode(answer)[-1][1]
    assert value is None or isinstance(value, bytes)
    return value or b""


class Facts(NamedTuple):
    """What others need to know of a server in some state."""

    view: View
    is_primary: bool
    synced: tuple[str, ...]
    #: Whom it wants to be connected to.
    peers: tuple[tuple[str, int], ...]
    #: Who waits for the answer to a question.
    asking: tuple[Any, ...]
    #: What it has applied, and what its log holds beyond that.
    commit: int
    chain: int
    value: bytes
    tail: tuple[bytes, ...]
    #: View, index and request of every entry in its log.
    entries: tuple[tuple[int, int, bytes], ...]
    diverged: str | None


class Messages:
    """Every message that was ever sent, by number."""

    def __init__(self) -> None:
        self.all: list[Message] = []
        self._numbers: dict[tuple[type, Message], int] = {}

    def number(self, message: Message) -> int:
        """The number of that message."""
        key = (type(message), message)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.all)
            self.all.append(message)
        return found


class Servers:
    """All states that any server was ever in, by number."""

    def __init__(
        self, limits: Limits, sessions: dict[str, int], *, lazy: bool = False
    ) -> None:
        self.messages = Messages()
        self.facts: list[Facts] = []
        self._limits = limits
        self._fresh = partial(_fresh, tuple(sessions.items()))
        #: Does a turn end only when the search says so?
        self._lazy = lazy
        self._frozen: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._outcomes: dict[tuple[int, Event], tuple[int, Sent]] = {}
        self._random = Random(1)
        #: How often the real code was asked, and how often asked again.
        self.asked = self.repeated = 0

    def begin(self, member: Member) -> int:
        """A server that has just started."""
        return self._number(Replica(member, self._fresh, self._limits, NEVER_SILENT))

    def step(self, state: int, event: Event) -> tuple[int, Sent]:
        """That server gets that event -> its next state, and what it sends."""
        key = (state, event)
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._outcomes[key] = self._ask(state, event)
            if not self._random.randrange(REPEAT_EVERY):
                self.repeated += 1
                if self._ask(state, event) != outcome:
                    raise Violation("determinism", f"{event} has two outcomes")
        return outcome

    def replica(self, state: int) -> Replica:
        """A copy of that server."""
        return thaw(self._frozen[state])

    def _ask(self, state: int, event: Event) -> tuple[int, Sent]:
        self.asked += 1
        replica = thaw(self._frozen[state])
        what, *arguments = event
        sent: Sent = ()
        try:
            if what == "receive":
                link, sender, number = arguments
                replica.receive(link, sender, self.messages.all[number])
            elif what == "link lost":
                replica.link_lost(*arguments)
            elif what == "link made":
                replica.link_made(*arguments)
            elif what == "view":
                view, acknowledged = arguments
                replica.on_view(view, acknowledged=acknowledged)
            elif what == "tick":
                replica.tick()
            elif what == "clock":
                replica.clock(replica.history.now_ms + arguments[0])
            elif what == "forget rounds":
                forget_rounds(replica)
            else:
                assert what == "flush", what
            if what == "flush" or not self._lazy:
                number_of = self.messages.number
                said = said_by(replica)
                sent = tuple((link, number_of(message)) for link, message in said)
        except Exception as error:
            raise Violation("assertion", f"{replica.me.name}: {error!r}") from error
        return self._number(replica), sent

    def _number(self, replica: Replica) -> int:
        frozen = freeze(replica)
        found = self._numbers.get(frozen)
        if found is None:
            found = self._numbers[frozen] = len(self._frozen)
            self._frozen.append(frozen)
            self.facts.append(_facts(replica))
        return found


def said_by(replica: Replica) -> Iterator[tuple[Link, Message]]:
    """What it says, in as many turns as it wants."""
    while True:
        yield from chain.from_iterable(replica.flush())
        if not replica.is_behind:
            return


def forget_rounds(replica: Replica) -> None:
    """Begin to count rounds anew.  Sound while no question waits and no round
    above the first is on its way: then nothing compares them."""
    replica._round = 1
    if isinstance(replica.role, Primary):
        replica.role.round = 1
        for follower in replica.role.followers.values():
            follower.echoed = min(follower.echoed, 1)


def _fresh(sessions: tuple[tuple[str, int], ...]) -> Sessions:
    return Sessions(Store(), **dict(sessions))


def _facts(replica: Replica) -> Facts:
    history, role = replica.history, replica.role
    log = history.log
    entries = log.between(max(history.commit, log.base_index), log.end)
    return Facts(
        replica.view,
        isinstance(role, Primary),
        replica.synced,
        tuple((member.name, member.incarnation) for member in replica.peers),
        tuple(role.waiters.askers()) if isinstance(role, Primary) else (),
        history.commit,
        history.state.chain,
        told(history.state.query(READ)),
        tuple(
            _decode(entry.request.body)[0].suffix  # type: ignore[union-attr]
            for entry in entries
            if type(entry.request) is Batch
        ),
        tuple(
            (entry.view, entry.index, _encode(entry.request)) for entry in log.entries
        ),
        replica.diverged,
    )
