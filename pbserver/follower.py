"""
What a primary knows of one of its backups, in one view.

Pure: state, and the few questions that it answers by itself.  A backup of the
view is either in the **commit rule** (nothing is committed without it) or a
newcomer that is still being brought up.  The way into the rule is one-way:
only a newer view takes a backup out of it (docs/design.md, section 5).
"""

from __future__ import annotations

from attrs import define, field

from pbserver.limits import Limits
from pbserver.log import Log
from pbserver.outbox import Link
from pbserver.transfer import Outgoing
from wire.messages import Entry, Member


@define
class Follower:
    """One backup, as its primary sees it."""

    member: Member
    #: In the commit rule?  The holders that the view names are, from the first
    #: moment, before they have said a word.
    joined: bool
    #: The end of the primary's log when this backup joined the rule; it is
    #: synced once it has accepted all of that.
    mark: int

    link: Link | None = field(default=None, init=False)
    #: While it comes nearer: the end of the primary's log when it was last looked
    #: at, and how many entries it lacked then.
    _aim: int = field(default=0, init=False)
    _lacked: int | None = field(default=None, init=False)
    #: The index of the entry to send next; None until its position is known,
    #: and while it is sent a snapshot.
    next: int | None = field(default=None, init=False)
    #: Its log is ours up to here.  Only news of this view counts.
    verified: int = field(default=0, init=False)
    #: It has applied everything up to here.
    commit: int = field(default=0, init=False)
    #: The greatest round that it has echoed.
    echoed: int = field(default=0, init=False)
    #: Ticks since the last sign of life.
    silent_ticks: int = field(default=0, init=False)
    #: How many steps towards a connection were made since it last said anything:
    #: 1, somebody took one; 2, it answered there.  Each is a sign of life only once,
    #: since another process may answer at its address, or answer and then stop.
    _steps: int = field(default=0, init=False)
    #: Why the last connection to it ended, or none was made, until it speaks; or why
    #: it cannot be sent the state.
    trouble: str = field(default="", init=False)
    #: Was it found on this connection that it cannot be sent the state?
    is_unsendable: bool = field(default=False, init=False)
    synced: bool = field(default=False, init=False)

    #: Does it lack what our log no longer holds?
    needs_snapshot: bool = field(default=False, init=False)
    transfer: Outgoing | None = field(default=None, init=False)

    def answered(self) -> None:
        """Somebody has taken a connection at its address."""
        self._step(1)

    def link_made(self, link: Link) -> None:
        """A new connection: what it had been sent on another one is forgotten;
        what it has accepted is not."""
        self._step(2)
        self.link_lost()
        self.link = link

    def heard(self) -> None:
        """It has said something, on the connection that stands."""
        self.silent_ticks = self._steps = 0
        if not self.is_unsendable:
            self.trouble = ""

    def _step(self, step: int) -> None:
        if self._steps < step:
            self._steps = step
            self.silent_ticks = 0

    def link_lost(self) -> None:
        """Nothing can be sent until there is a new connection."""
        self.is_unsendable = False
        self.link = self.next = None
        self.drop_transfer()

    def stands_at(self, index: int) -> None:
        """Its log is ours up to *index*: go on from there."""
        self.next = index + 1
        self.verified = max(self.verified, index)
        self.drop_transfer()

    def drop_transfer(self) -> None:
        """No snapshot is on its way any more, nor needed."""
        self.needs_snapshot = False
        if self.transfer is not None:
            self.transfer.close()
            self.transfer = None

    def take(self, log: Log, limits: Limits) -> tuple[Entry, ...]:
        """The entries to send it now; none while enough is on its way."""
        if self.next is None or self.next > log.end:
            return ()
        sent = self.next - 1
        known = max(min(self.verified, sent), log.base_index)
        room = limits.unaccepted_bytes_max - log.weight_between(known, sent)
        if room <= 0:
            return ()
        upto = log.reach(sent, min(room, limits.forward_bytes_max))
        self.next = upto + 1
        return tuple(log.between(sent, upto))

    def pins(self) -> int | None:
        """The index after which our log must keep everything for it."""
        if self.transfer is not None:
            return self.transfer.index
        if self.next is not None:
            return min(self.next - 1, self.verified)
        return self.commit if self.joined else None

    def progress(self, log: Log, limits: Limits) -> bool:
        """Join the rule, or be synced, when that is due -> whether it is newly
        synced.

        A newcomer that is synced has accepted what the log held when it joined,
        the inherited, uncommitted tail included, and every commit since waited
        for it: it holds everything that was ever answered.
        """
        if self.next is None or self.synced:
            return False
        if not self.joined:
            self.joined = (
                not self._comes_nearer(log, limits)
                and self.verified >= log.base_index
                and log.end - self.verified <= limits.join_entries_max
                and log.weight_between(self.verified, log.end) <= limits.join_bytes_max
            )
            self.mark = log.end
        self.synced = self.joined and self.verified >= self.mark
        return self.synced

    def _comes_nearer(self, log: Log, limits: Limits) -> bool:
        """Whether it pays to let it catch up before everybody waits for it.

        Looked at in rounds, each to where the log ended when it began (after
        Ongaro's thesis, 4.2.1): under load what it lacks halves and halves, down
        to what comes while a round takes.
        """
        lacks = log.end - self.verified
        if lacks <= limits.near_entries_max:
            return False
        if self._lacked is not None and self.verified < self._aim:
            return True
        before, self._lacked, self._aim = self._lacked, lacks, log.end
        return before is None or 2 * lacks < before
