"""
One server's copy of the one true history: its log, and the state it stands for.

Pure.  A server applies an entry only when it is committed, so what is applied
is always a prefix of the one true history and never has to be undone.  What
lies in the log beyond it may still be replaced, as long as this server is a
backup; a primary never drops anything from the end of its log.

Time: an entry's stamp is the stamp of the entry before it, plus what this
server's monotonic clock has counted since it got that one.  No wall clock takes
part, so a clock that jumps can neither age a session nor revive it.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from pbserver.digests import Digests
from pbserver.discard import Discard
from pbserver.log import Log
from pbserver.outbox import Link
from pbserver.sessions import Answer, Sessions
from wire.bounds import POSITION_MAX
from wire.messages import Entry, Request


@define
class History:
    """The log, and the state as of its committed prefix."""

    #: Makes the state before the first entry.
    fresh: Callable[[], Sessions]
    tail_bytes_kept: int

    log: Log = field(factory=Log, init=False)
    state: Sessions = field(init=False)

    #: Milliseconds of a monotonic clock; its owner keeps it up to date.
    now_ms: int = field(default=0, init=False)
    #: When the last entry came.
    _got_ms: int = field(default=0, init=False)

    digests: Digests = field(factory=Digests, init=False)
    discard: Discard = field(factory=Discard, init=False)
    #: How often a part was done of work that is done in parts and is none of
    #: `Sessions.work`.
    steps: int = field(default=0, init=False)

    @state.default
    def _first_state(self) -> Sessions:
        return self.fresh()

    @property
    def commit(self) -> int:
        """The index up to which everything is committed, and applied."""
        return self.state.index

    def append(self, view_number: int, request: Request) -> Entry:
        """Log a request as the next entry; only a primary does."""
        log = self.log
        stamp_ms = log.end_stamp_ms
        if self.now_ms > self._got_ms:
            stamp_ms += self.now_ms - self._got_ms
            # A forged entry may have brought it near.
            stamp_ms = min(stamp_ms, POSITION_MAX)
        entry = Entry(view_number, log.end + 1, stamp_ms, request)
        log.append(entry)
        self._got_ms = self.now_ms
        return entry

    def accept(self, entry: Entry) -> None:
        """Take the next entry of a primary's log: kept if it is here already,
        else put in the place of what is here, with all after it.  ValueError if it
        cannot follow the entry before it."""
        log = self.log
        if entry.index <= log.end:
            if log.view_at(entry.index) == entry.view:
                return
            assert entry.index > self.commit, (entry.index, self.commit)
            log.check_place(entry)
            log.truncate(entry.index)
        log.append(entry)
        self._got_ms = self.now_ms

    @property
    def applier(self) -> Callable[[Entry], Answer | None]:
        """What applies the entry after the commit index, which commits it here.
        Good for this turn: it spares each entry a look at who waits for a digest."""
        return self._apply_and_look if self.digests.waiting else self.state.apply

    def _apply_and_look(self, entry: Entry) -> Answer | None:
        state, digests = self.state, self.digests
        digests.leaving(state)
        answer = state.apply(entry)
        digests.reached(state)
        return answer

    def install(self, state: Sessions) -> None:
        """Stand where *state* stands, which is further than this one."""
        assert state.index > self.commit, (state.index, self.commit)
        if self.log.view_at(state.index) == state.view:
            # The same identity: what follows it here is still worth keeping.
            self.log.forget(state.index)
        else:
            self.discard.items(self.log.entries)
            self.log.restart(state.view, state.index, state.stamp_ms)
            self._got_ms = self.now_ms
        self.drop(self.state)
        self.state = state
        self.digests.leaving(state)

    @property
    def is_long(self) -> bool:
        """Whether the log holds more than it has to keep."""
        return self.log.weight > self.tail_bytes_kept

    def trim(self, floor: int) -> None:
        """Forget the oldest entries that are over the bound, none after *floor*."""
        log = self.log
        over = log.weight - self.tail_bytes_kept
        # An eighth more than needed, so that this is rare.
        if over > 0 and (floor := min(floor, self.commit)) > log.base_index:
            upto = log.reach(log.base_index, over + self.tail_bytes_kept // 8)
            log.forget(min(upto, floor))

    def link_lost(self, link: Link) -> None:
        """Nobody listens there any more."""
        self.digests.link_lost(link)
        self.digests.reached(self.state)

    @property
    def is_behind(self) -> bool:
        """Is there work that waits for nothing but its turn?"""
        return self.digests.cut is not None or bool(self.discard.steps)

    def work_on(self, bytes_max: int) -> None:
        """Do a bounded part of the work that waits for its turn."""
        self.steps += 1
        self.digests.step(bytes_max, self.state)
        self.discard.step()

    def drop(self, state: Sessions) -> None:
        """Free a state, the whole of it, a little at a time."""
        self.discard.machine(state.machine)
        self.discard.table(state.table)
