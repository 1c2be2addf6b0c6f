"""
Where the primary is: what the clerk knows of the view, whom it dials, and when
it asks the view service.

Pure: time arrives as milliseconds of any clock that does not go back, and what
to do is read off the state.  The laws here: never back to an older view; the
view service is asked at the start, after a refusal and after silence, paced by
time and never by operations (``docs/design.md``, section 7).

The owner keeps a connection to the view service on which it has said `Watch`,
and compares: `asks` has grown -> say `Watch` again; `views_redials` has grown
-> that connection is dead, dial anew; `reports` has grown -> send `Unreachable`
with the name of the view's primary; `dial` differs from what is dialled ->
drop that, and dial this.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Final
from zlib import crc32

from attrs import define, field

from client.reasons import plain
from wire.addresses import confined, host_of, parse_address
from wire.messages import NO_VIEW, Goodbye, Hello, Member, View

#: So long may calls wait without any answer before the view service is asked;
#: doubles with each time it is asked in vain, up to the maximum.
SILENCE_MS: Final = 500
SILENCE_MS_MAX: Final = 5_000

#: So long may the view service take to answer before it is dialled anew.
ASK_MS: Final = 1_000

#: How long calls may wait on an open connection on which nothing arrives before
#: it is made anew, although the view still names its other end; doubles likewise.
HANG_MS: Final = 5_000
HANG_MS_MAX: Final = 40_000

#: The same where half of the time of a waiting call is over: a connection that
#: died silently must leave that call enough time on another one.
HALF_MS_MIN: Final = 1_000

#: How long the primary of the newest view must be out of reach before the view
#: service is told, and how long until it is told again while that lasts.
REPORT_MS: Final = 2_000
REPORT_AGAIN_MS: Final = 10_000

#: Pause before the second attempt in a row that came to nothing; doubles, and
#: each is drawn between its half and its whole.
PAUSE_MS: Final = 20
PAUSE_MS_MAX: Final = 1_000

#: A connection to make: what tells it from every other one, and to whom.
Dial = tuple[int, Member]


@define(eq=False)
class PrimaryLocator:
    """The newest view that the clerk knows, and its connection to the primary."""

    #: For the jitter of pauses; different in different clerks.
    seed: int

    #: Where the view service may be, for people.
    views: tuple[str, ...] = ()

    #: Only ever replaced by a newer one.
    view: View = field(default=NO_VIEW, init=False)

    #: The first cluster that was seen; empty before.
    cluster: bytes = field(default=b"", init=False)

    #: How often the view service was to be asked, and to be dialled anew.
    asks: int = field(default=0, init=False)
    views_redials: int = field(default=0, init=False)

    #: How often the view service was to be told that the primary is out of reach.
    reports: int = field(default=0, init=False)

    #: Whom to be connected to now.  The number is a new one for every
    #: connection, and news of any other is no news.
    dial: Dial | None = field(default=None, init=False)

    #: Is that connection open?
    is_open: bool = field(default=False, init=False)

    #: Why the clerk gets no answer from the primary, for people; empty before the
    #: view service has answered.
    trouble: str = field(default="", init=False)

    #: Why there is no connection to the view service, by address.  Replaced and
    #: never changed, since copies share it.
    _views_troubles: dict[str, str] = field(factory=dict, init=False)

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

    #: Since when calls wait and nothing has arrived from the primary.
    quiet_ms: int = field(default=0, init=False)

    #: Since when there has been no connection to the view's primary, although it
    #: was dialled; None: there is one, or the first attempt is under way.
    _away_ms: int | None = field(default=None, init=False)

    #: Not before then is it reported again.
    _report_ms: int = field(default=0, init=False)

    #: When half of the time of some waiting call is over, or earlier; None: no
    #: waiting call has a deadline.
    _half_ms: int | None = field(default=None, init=False)

    # -- for people ----------------------------------------------------------------

    @property
    def obstacle(self) -> str:
        """Why the clerk gets no answer, with address and reason."""
        found = [why for why in (self.conflict, self.trouble) if why]
        if troubles := self._views_troubles:
            where = " or ".join(f"at {at} ({why})" for at, why in troubles.items())
            found.append(f"no connection to the view service {where}")
        elif not found:
            where = f" at {' or '.join(self.views)}" if self.views else ""
            found.append(f"the view service{where} has not answered yet")
        return "; ".join(found)

    # -- calls -------------------------------------------------------------------

    def expect(self, now_ms: int, half_ms: int | None = None) -> None:
        """From now on calls wait for an answer; *half_ms* is when half of the
        time of the latest one is over, if it has a deadline."""
        if self._silent_ms is None:
            self._listen(now_ms)
            if not self.asks:
                self._ask(now_ms)
        if half_ms is not None and (self._half_ms is None or half_ms < self._half_ms):
            self._half_ms = half_ms

    def heard(self, now_ms: int) -> None:
        """The primary answered a batch or a query."""
        self._failures = 0
        self._listen(now_ms)

    def rest(self) -> None:
        """Nothing waits for an answer any more."""
        self._silent_ms = self._half_ms = None

    def arrived(self, now_ms: int) -> None:
        """Something that answers no call came from the primary: the connection
        is alive."""
        self.quiet_ms = now_ms

    def _listen(self, now_ms: int) -> None:
        self._silent_ms = self.quiet_ms = now_ms
        self._silences = self._hangs = 0
        self._next_ask_ms = now_ms + SILENCE_MS

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
            return
        before, self.view = self.view.primary, view
        if view.primary is None:
            self.hang_up()
            self.trouble = f"view {view.counter} has no primary"
        elif self.dial is None or view.primary != before:
            self._failures = 0
            if view.primary != before:
                self._away_ms, self._report_ms = None, 0
            self.trouble = _unanswering(view.primary)
            self._connect()
        if self._silent_ms is not None:
            self._listen(now_ms)

    def views_opened(self) -> None:
        """There is a connection to the view service."""
        self._views_troubles = {}

    def views_failed(self, address: str, reason: str) -> None:
        """The connection to the view service at *address* is lost, or an attempt
        to make one failed."""
        self._views_troubles = self._views_troubles | {address: plain(reason)}

    def views_answered(self) -> None:
        """The view service has said what it knows."""
        self._asked_ms = None
        if self.view.primary is None:
            self.trouble = "the view service knows of no primary yet"

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
                f"where {_who(hello.member)} answered"
                f"{_why_another(member, hello.member)}",
            )
        else:
            self.is_open = True
            self.quiet_ms = now_ms
            self._away_ms = None
            self.trouble = _unanswering(member)
            return None
        self.distrust(refusal.text, now_ms)
        return refusal

    def link_closed(self, attempt: int, reason: str, now_ms: int) -> None:
        """That connection is gone."""
        if self.dial is not None and self.dial[0] == attempt:
            self._fail(_unconnected(self.dial[1], reason), now_ms)

    def dial_failed(self, attempt: int, reason: str, now_ms: int) -> None:
        """An attempt to make that connection failed; the next one follows."""
        if self.dial is not None and self.dial[0] == attempt and not self.is_open:
            self.trouble = _unconnected(self.dial[1], reason)
            if self._away_ms is None:
                self._away_ms = now_ms
            if now_ms >= self._away_ms + REPORT_MS:
                self._report(now_ms)

    def _report(self, now_ms: int) -> None:
        if now_ms >= self._report_ms:
            self._report_ms = now_ms + REPORT_AGAIN_MS
            self.reports += 1

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
        self.trouble = obstacle
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
            self.trouble = f"{member.name} cannot be dialled: {error}"
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
        if self.is_open and now_ms >= self.quiet_ms + REPORT_MS:
            self._report(now_ms)
        if self.is_open and now_ms >= self._hung_ms:
            self._hangs += 1
            self._connect()

    @property
    def _hung_ms(self) -> int:
        return self.quiet_ms + _doubled(HANG_MS, self._hangs, HANG_MS_MAX)

    @property
    def _doubt_ms(self) -> int | None:
        if self._half_ms is None:
            return None
        quiet_ms = _doubled(HALF_MS_MIN, self._hangs, HANG_MS_MAX)
        return max(self._half_ms, self.quiet_ms + quiet_ms)

    def is_in_doubt(self, now_ms: int) -> bool:
        """Whether half of a call's time may be over on a silent connection, so
        that `half_over` is to be called."""
        doubt_ms = self._doubt_ms
        return self.is_open and doubt_ms is not None and now_ms >= doubt_ms

    def half_over(self, half_ms: int | None, now_ms: int) -> None:
        """*half_ms* is when the first of the calls that wait now has waited for
        half of its time without a sign of life of the primary."""
        self._half_ms = half_ms
        if self.is_in_doubt(now_ms):
            self._hangs += 1
            self._ask(now_ms)
            self._connect()

    def wake_ms(self) -> int | None:
        """When to tick next at the latest; None: nothing is waited for."""
        wake: int | None = None
        if self._silent_ms is not None:
            wake = self._next_ask_ms
            if self.is_open:
                report_ms = max(self._report_ms, self.quiet_ms + REPORT_MS)
                wake = min(wake, self._hung_ms, report_ms)
                doubt_ms = self._doubt_ms
                wake = wake if doubt_ms is None else min(wake, doubt_ms)
        if self._dial_ms is not None and (wake is None or self._dial_ms < wake):
            wake = self._dial_ms
        if self._asked_ms is not None:
            answer_ms = self._asked_ms + ASK_MS
            wake = answer_ms if wake is None else min(wake, answer_ms)
        return wake

    # -- for simulators ----------------------------------------------------------

    def copy(self) -> PrimaryLocator:
        """Another one that goes its own way from here."""
        return copy.copy(self)

    def fingerprint(self, now_ms: int) -> Hashable:
        """Equal for those that behave equally from *now_ms* on."""
        times = (
            *(self._dial_ms, self._asked_ms, self._silent_ms, self._half_ms),
            self._away_ms,
        )
        return (
            *(self.view.number, self.cluster, self.asks, self.views_redials),
            *(self.dial, self.is_open, self._attempts, self._failures),
            *(self._silences, self._hangs, self.reports, self._report_ms - now_ms),
            *(self._next_ask_ms - now_ms, self.quiet_ms - now_ms),
            *(None if at is None else at - now_ms for at in times),
        )


def _unanswering(primary: Member) -> str:
    return f"the primary {primary.name} at {primary.address} has not answered"


def _why_another(member: Member, found: Member | None) -> str:
    """Why *found* may answer at the address of *member*, if that shows."""
    if found is not None and found.name == member.name:
        return (
            ": the server was restarted and is empty now; its data is in another "
            "server, or lost: see `understudy status`"
        )
    why = confined(host_of(member.address))
    if not why:
        return ""
    return (
        f": {why}, which on another host leads to another process; {member.name} "
        "needs --advertise, an address that leads to it from there, too"
    )


def _unconnected(primary: Member, reason: str) -> str:
    who = f"the primary {primary.name} at {primary.address}"
    return f"no connection to {who} ({plain(reason)})"


def _who(member: Member | None) -> str:
    return (
        "nobody"
        if member is None
        else f"{member.name} (incarnation {member.incarnation:016x})"
    )


def _doubled(base_ms: int, times: int, bound_ms: int) -> int:
    return min(base_ms << min(times, 16), bound_ms)
