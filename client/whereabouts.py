"""
Where the primary is: what the clerk knows of the view, whom it dials, and when
it asks the view service.

Pure: time arrives as milliseconds of any clock that does not go back, and what
to do is read off the state.  The laws here: never back to an older view; the
view service is asked at the start, after a refusal and after silence, paced by
time and never by operations (``docs/design.md``, section 7).

The owner keeps a connection to the view service on which it has said `Watch`,
and compares: `asks` has grown -> say `Watch` again; `views_redials` has grown
-> that connection is dead, dial anew; `dial` differs from what is dialled ->
drop that, and dial this.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Final
from zlib import crc32

from attrs import define, field

from wire.addresses import confined, host_of, parse_address
from wire.messages import NO_VIEW, Goodbye, Hello, Member, View

#: So long may calls wait without any answer before the view service is asked;
#: doubles with each time it is asked in vain, up to the maximum.
SILENCE_MS: Final = 500
SILENCE_MS_MAX: Final = 5_000

#: So long may the view service take to answer before it is dialled anew.
ASK_MS: Final = 1_000

#: So long may calls wait on an open connection before it is taken to be dead
#: although the view still names its other end; doubles likewise.
HANG_MS: Final = 5_000
HANG_MS_MAX: Final = 40_000

#: Pause before the second attempt in a row that came to nothing; doubles, and
#: each is drawn between its half and its whole.
PAUSE_MS: Final = 20
PAUSE_MS_MAX: Final = 1_000

#: A connection to make: what tells it from every other one, and to whom.
Dial = tuple[int, Member]


@define(eq=False)
class Whereabouts:
    """The newest view that the clerk knows, and its connection to the primary."""

    #: For the jitter of pauses; different in different clerks.
    seed: int

    #: Only ever replaced by a newer one.
    view: View = field(default=NO_VIEW, init=False)

    #: The first cluster that was seen; empty before.
    cluster: bytes = field(default=b"", init=False)

    #: How often the view service was to be asked, and to be dialled anew.
    asks: int = field(default=0, init=False)
    views_redials: int = field(default=0, init=False)

    #: Whom to be connected to now.  The number is a new one for every
    #: connection, and news of any other is no news.
    dial: Dial | None = field(default=None, init=False)

    #: Is that connection open?
    is_open: bool = field(default=False, init=False)

    #: What stands between the clerk and an answer, for people.
    obstacle: str = field(default="no view service has answered yet", init=False)

    #: Why the view that the clerk keeps may be of a lost history, or "".
    conflict: str = field(default="", init=False)

    _attempts: int = field(default=0, init=False)

    #: Attempts in a row that brought no answer to anything.
    _failures: int = field(default=0, init=False)

    #: When the pause before the next attempt ends, if there is one.
    _dial_ms: int | None = field(default=None, init=False)

    #: When the view service was asked, unless it has answered since.
    _asked_ms: int | None = field(default=None, init=False)

    #: Since when calls have been waiting without an answer; None: none wait.
    _silent_ms: int | None = field(default=None, init=False)
    _silences: int = field(default=0, init=False)
    _next_ask_ms: int = field(default=0, init=False)
    _hangs: int = field(default=0, init=False)
    _hung_ms: int = field(default=0, init=False)

    # -- calls -------------------------------------------------------------------

    def expect(self, now_ms: int) -> None:
        """From now on calls wait for an answer."""
        if self._silent_ms is None:
            self._listen(now_ms)
            if not self.asks:
                self._ask(now_ms)

    def heard(self, now_ms: int) -> None:
        """The primary answered a batch or a query."""
        self._failures = 0
        self._listen(now_ms)

    def rest(self) -> None:
        """Nothing waits for an answer any more."""
        self._silent_ms = None

    def _listen(self, now_ms: int) -> None:
        self._silent_ms = now_ms
        self._silences = self._hangs = 0
        self._next_ask_ms = now_ms + SILENCE_MS
        self._hung_ms = now_ms + HANG_MS

    # -- the view ----------------------------------------------------------------

    def learn(self, view: View, now_ms: int) -> None:
        """Take note of a view, from whomever, if it is newer."""
        if view.number == self.view.number or view.counter < self.view.counter:
            return
        if view.counter == self.view.counter:
            self.conflict = (
                f"two different views have the counter {view.counter}: the view "
                "service has an old state; this clerk keeps the first of them"
            )
            self.obstacle = self.conflict
            return
        before, self.view = self.view.primary, view
        if view.primary is None:
            self.hang_up()
            self.obstacle = f"view {view.counter} has no primary"
        elif self.dial is None or view.primary != before:
            self._failures = 0
            self.obstacle = _unanswering(view.primary)
            self._connect()
        if self._silent_ms is not None:
            self._listen(now_ms)

    def views_answered(self) -> None:
        """The view service has said what it knows."""
        self._asked_ms = None
        if self.view.primary is None:
            self.obstacle = "the view service knows of no primary yet"

    def _ask(self, now_ms: int) -> None:
        if self._asked_ms is None:
            self._asked_ms = now_ms
            self.asks += 1

    # -- the connection to the primary -------------------------------------------

    def link_opened(self, attempt: int, hello: Hello, now_ms: int) -> Goodbye | None:
        """A connection stands; a `Goodbye` refuses it."""
        if self.dial is None or self.dial[0] != attempt:
            return Goodbye("stopping", "the clerk has turned elsewhere since")
        member = self.dial[1]
        if self.cluster and hello.cluster and hello.cluster != self.cluster:
            refusal = Goodbye(
                "cluster",
                f"{member.address} belongs to cluster {hello.cluster.hex()}, "
                f"this clerk to {self.cluster.hex()}",
            )
        elif not member.is_same_copy(hello.member):
            refusal = Goodbye(
                "member",
                f"view {self.view.counter} names {_who(member)} at {member.address}, "
                f"where {_who(hello.member)} answered{_why_another(member)}",
            )
        else:
            self.is_open = True
            self.obstacle = _unanswering(member)
            return None
        self.distrust(refusal.text, now_ms)
        return refusal

    def link_closed(self, attempt: int, reason: str, now_ms: int) -> None:
        """That connection is gone, or could not be made."""
        if self.dial is not None and self.dial[0] == attempt:
            member = self.dial[1]
            why = reason.removeprefix("said goodbye: silent: ")
            self._fail(f"{member.name} at {member.address}: {why}", now_ms)

    def refused(self, view: View, now_ms: int) -> None:
        """The server says that it is not primary.  Unless it knows better, it
        has yet to learn its part: a little patience, and a look at the view."""
        before = self.dial
        self.learn(view, now_ms)
        if self.dial == before:
            self.distrust("the primary says that it is not primary", now_ms)

    def reconnect(self, reason: str, now_ms: int) -> None:
        """The same server, on a new connection; at once, unless the last one
        brought no answer either."""
        self._fail(reason, now_ms)

    def distrust(self, reason: str, now_ms: int) -> None:
        """What is there cannot be what the view means: drop the connection, and
        ask before dialling again."""
        self._failures = max(self._failures, 1)
        self._fail(reason, now_ms)

    def _fail(self, obstacle: str, now_ms: int) -> None:
        """One more attempt came to nothing; the first after an answer is made
        good at once, later ones after a pause and with a question."""
        self.obstacle = obstacle
        self.hang_up()
        self._failures += 1
        if self._failures == 1:
            self._connect()
            return
        self._dial_ms = now_ms + self._pause_ms()
        self._ask(now_ms)

    def _pause_ms(self) -> int:
        bound = min(PAUSE_MS << min(self._failures - 2, 10), PAUSE_MS_MAX)
        half = bound // 2
        drawn = crc32(b"%d %d" % (self.seed, self._attempts))
        return half + drawn % (bound - half + 1)

    def hang_up(self) -> None:
        """Be connected to nobody."""
        self.dial = self._dial_ms = None
        self.is_open = False

    def _connect(self) -> None:
        self.hang_up()
        if (member := self.view.primary) is None:
            return
        try:
            parse_address(member.address)
        except ValueError as error:
            self.obstacle = f"{member.name} cannot be dialled: {error}"
            return
        self._attempts += 1
        self.dial = self._attempts, member

    # -- time --------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """See what has become due; harmless at any moment."""
        if self._dial_ms is not None and now_ms >= self._dial_ms:
            self._connect()
        if self._asked_ms is not None and now_ms >= self._asked_ms + ASK_MS:
            self._asked_ms = now_ms
            self.views_redials += 1
        if self._silent_ms is None:
            return
        if now_ms >= self._next_ask_ms:
            self._silences += 1
            self._next_ask_ms = now_ms + _doubled(
                SILENCE_MS, self._silences, SILENCE_MS_MAX
            )
            self._ask(now_ms)
        if now_ms >= self._hung_ms:
            self._hangs += 1
            self._hung_ms = now_ms + _doubled(HANG_MS, self._hangs, HANG_MS_MAX)
            self._connect()

    def wake_ms(self) -> int | None:
        """When to tick next at the latest; None: nothing is waited for."""
        wake: int | None = None
        if self._silent_ms is not None:
            wake = min(self._next_ask_ms, self._hung_ms)
        if self._dial_ms is not None and (wake is None or self._dial_ms < wake):
            wake = self._dial_ms
        if self._asked_ms is not None:
            answer_ms = self._asked_ms + ASK_MS
            wake = answer_ms if wake is None else min(wake, answer_ms)
        return wake

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> Whereabouts:
        """Another one that goes its own way from here."""
        return copy.copy(self)

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        times = (self._dial_ms, self._asked_ms, self._silent_ms)
        return (
            *(self.view.number, self.cluster, self.asks, self.views_redials),
            *(self.dial, self.is_open, self._attempts, self._failures),
            *(self._silences, self._hangs),
            *(self._next_ask_ms - now_ms, self._hung_ms - now_ms),
            *(None if at is None else at - now_ms for at in times),
        )


def _unanswering(primary: Member) -> str:
    return f"the primary {primary.name} at {primary.address} has not answered"


def _why_another(member: Member) -> str:
    """Why another process may answer at a member's address, if that shows."""
    why = confined(host_of(member.address))
    if not why:
        return ""
    return (
        f": {why}, which on another host leads to another process; {member.name} "
        "needs --advertise, an address that leads to it from there, too"
    )


def _who(member: Member | None) -> str:
    return (
        "nobody"
        if member is None
        else f"{member.name} (incarnation {member.incarnation:016x})"
    )


def _doubled(base_ms: int, times: int, bound_ms: int) -> int:
    return min(base_ms << min(times, 16), bound_ms)
