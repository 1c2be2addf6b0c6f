"""
The backup's part: hold what the primary orders, and say so.

Pure.  **Verified** is how far this log is known to be the primary's, in this
view, by identity.  It begins at the commit index, since what is committed is in
every primary's log; it grows with what this view's primary sends, and never
goes back.  Beyond it, the log may hold entries of older views: they stay until
the primary replaces them, because they may have been answered and this server
may be the one that must carry them on (docs/design.md, section 5).
"""

from __future__ import annotations

from attrs import define, field

from pbserver.history import History
from pbserver.limits import Limits
from pbserver.log import is_later
from pbserver.outbox import Link, Outbox
from pbserver.transfer import CannotLoad, Incoming, Job
from wire.messages import (
    Forward,
    ForwardOk,
    Goodbye,
    LogPosition,
    SnapshotPart,
    SnapshotPartOk,
    View,
)


@define
class Backup:
    """What exists only while a server is a backup in one view."""

    view: View
    history: History
    limits: Limits
    out: Outbox

    verified: int = field(init=False)
    #: The connection on which this view's primary has greeted us.  Nobody else
    #: is listened to.
    link: Link | None = field(default=None, init=False)
    #: Ticks since the primary last said anything.
    silent_ticks: int = field(default=0, init=False)
    #: A snapshot that is not whole yet; until it is, the old log stands.
    incoming: Incoming | None = field(default=None, init=False)
    #: What is to be done in a thread before it can be installed, until the
    #: service has come for it.
    job: Job | None = field(default=None, init=False)
    #: The round that is to be echoed with the next flush.
    _echo: int | None = field(default=None, init=False)
    #: The last round that came.
    _round: int = field(default=0, init=False)
    #: The last Forward, until all is applied that it says is committed.
    _told: Forward | None = field(default=None, init=False)
    #: Was a turn too short to apply all of it?  Until it is done, nothing more is
    #: reported as accepted than `_accepted`, or than is applied: a backup that
    #: executes more slowly than its primary would fall behind without end, and have
    #: all that to do when it becomes primary.
    _lags: bool = field(default=False, init=False)
    _accepted: int = field(init=False)
    #: Why this copy must not go on, if so.
    diverged: str | None = field(default=None, init=False)
    #: Why this process can be no backup, if so: its state machine cannot load the
    #: primary's state, and would not the next time either.
    unable: str | None = field(default=None, init=False)

    @verified.default
    def _committed(self) -> int:
        return self.history.commit

    @_accepted.default
    def _nothing_yet(self) -> int:
        return self.history.commit

    def continue_from(self, before: Backup) -> None:
        """A newer view has the same primary and this backup: a transfer goes
        on; how far the log is verified does not count any more."""
        self.link = before.link
        self.incoming, self.job = before.incoming, before.job

    def resign(self) -> None:
        """A newer view has another primary, or another part for this server."""
        self._drop_incoming()

    def on_attach(self, link: Link) -> None:
        """This view's primary asks where we stand."""
        if link != self.link:
            # A transfer lives on one connection.
            self._drop_incoming()
            self.link = link
        self.silent_ticks = 0
        self._echo = None
        self._tell_position()

    def on_forward(self, forward: Forward) -> None:
        """Take in what the primary has logged; what is committed is applied when
        this turn's echo is on its way."""
        self.silent_ticks = 0
        history, view = self.history, self.view.number
        verified = self.verified
        for entry in forward.entries:
            if entry.index <= verified:
                continue
            if entry.index > verified + 1:
                self.verified = verified
                self._tell_position()
                return
            try:
                if entry.view != view and not is_later(view, entry.view):
                    raise ValueError(f"entry {entry.index} is of another view")
                history.accept(entry)
            except ValueError as error:
                self.verified = verified
                self.out.send(self.link, Goodbye("protocol", f"a Forward: {error}"))
                return
            verified = entry.index
        self.verified = verified
        self._echo = self._round = forward.round
        self._told = forward

    def on_snapshot_part(self, part: SnapshotPart) -> None:
        """Take in a part of a snapshot; install it when it is whole.

        It is somebody's applied state, a prefix of the one true history, so it
        is right whatever view it was sent in; it is only useful if it is ahead.
        """
        self.silent_ticks = 0
        if part.index <= self.verified:
            # It must not replace what was accepted after it.
            self._drop_incoming()
            self._tell_position()
            return
        if part.part == 0:
            self._drop_incoming()
            self.incoming = Incoming(self.history.fresh())
        incoming = self.incoming
        try:
            if incoming is None:
                raise ValueError(f"part {part.part} came of what was dropped")
            self._check(part)
            whole = incoming.load(part)
        except ValueError as error:
            self._fail(error)
            return
        if not whole:
            self.out.send(self.link, SnapshotPartOk(part.part))
        elif incoming.job is not None:
            self.job = incoming.job
        else:
            self._install(incoming)

    def finished(self, job: Job, error: ValueError | None) -> None:
        """*job* is done; it has failed if there is an *error*."""
        incoming = self.incoming
        if incoming is None or incoming.job is not job:
            return  # The transfer that it was for has ended meanwhile.
        if error is not None:
            self._fail(error)
        elif incoming.state.index <= self.verified:
            self._drop_incoming()
            self._tell_position()
        else:
            self._install(incoming)

    def _install(self, incoming: Incoming) -> None:
        self.incoming = self.job = None
        self.history.install(incoming.state)
        self.verified = self.history.commit
        self.out.send(self.link, SnapshotPartOk(incoming.next_part - 1))

    def _fail(self, error: ValueError) -> None:
        # On a new connection the transfer starts again.
        self._drop_incoming()
        if isinstance(error, CannotLoad):
            self.unable = f"the primary's snapshot is of no use here: {error}"
        self.out.send(self.link, Goodbye("protocol", f"snapshot: {error}"))

    def _drop_incoming(self) -> None:
        incoming, self.incoming, self.job = self.incoming, None, None
        if incoming is not None and incoming.job is None:
            # A thread may be at work on the other.
            self.history.drop(incoming.state)

    def _check(self, part: SnapshotPart) -> None:
        """ValueError if the snapshot cannot be of this view's history."""
        log, view = self.history.log, self.view.number
        if part.entry_view != view and not is_later(view, part.entry_view):
            raise ValueError(f"it ends with an entry of another view than {view}")
        if log.view_at(part.index) == part.entry_view and (
            log.stamp_at(part.index) != part.stamp_ms
        ):
            raise ValueError(f"entry {part.index} has another stamp here")

    def link_lost(self, link: Link) -> None:
        """A connection has ended."""
        if link == self.link:
            self._drop_incoming()
            self.link = self._echo = None

    def tick(self) -> None:
        """An interval has passed."""
        self.silent_ticks += 1
        if self._lags and self.link is not None:
            # What it reads may be a long message that arrives slowly, between the
            # parts of its work.  The echo shows its primary that it is alive.
            self._echo = self._round

    def flush(self) -> None:
        """Echo the last round of this turn."""
        if self._echo is not None:
            if self._lags:
                self._accepted = max(self._accepted, self.history.commit)
            else:
                self._accepted = self.verified
            accepted = ForwardOk(
                self.view.number, self._echo, self._accepted, self.history.commit
            )
            self._echo = None
            self.out.send(self.link, accepted)

    def settle(self) -> None:
        """Apply what is committed: the primary waits for an echo, and for this
        nobody does."""
        forward = self._told
        if forward is None:
            return
        history = self.history
        upto = min(forward.commit, self.verified)
        if upto > history.commit:
            state = history.state
            stop = state.work + self.limits.turn_work_max
            apply = history.applier
            for entry in history.log.between(history.commit, upto):
                apply(entry)
                if state.work >= stop:
                    break
            if history.is_long:
                history.trim(history.commit)
            if history.commit < upto:
                # Other work gets its turn before the rest.
                self._lags = True
                return
        self._told = None
        if self._lags:
            self._lags = False
            if self.verified > self._accepted and self.link is not None:
                self._echo = self._round
        chain = history.state.chain
        if forward.commit == history.commit and forward.chain != chain:
            self.diverged = (
                f"the answers up to entry {forward.commit} give {chain:08x} here,"
                f" and {forward.chain:08x} at the primary"
            )

    @property
    def is_behind(self) -> bool:
        """Is there more to apply or to send, which waits for nothing but the
        next turn?"""
        return self._lags or self._echo is not None

    def _tell_position(self) -> None:
        log = self.history.log
        entry_view = log.view_at(self.verified)
        assert entry_view is not None, (log.base_index, self.verified, log.end)
        position = LogPosition(self.view.number, entry_view, self.verified)
        self.out.send(self.link, position)
