"""
One server's part in keeping copies the same.

Pure.  News arrives as messages and ticks; what is to be sent accumulates and is
fetched by `Replica.flush`, once per turn.  Nothing here knows a clock, a socket
or a logger.  This file holds what is common to all roles: which view this
server is in, and what it plays there.

- A view is newer by its counter.  A newer one is adopted only from the view
  service and from a server of the view that this server is in; an older one never
  is.
- A view with the counter of this server's view and another identity, or one that
  does not descend from the same recovery, belongs to another history.  It is
  refused with a Goodbye, and the view service finds the conflict in the pings.
- Roles change in `_become` alone.
- Whoever speaks for an older view is told the newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from pbserver.backup import Backup
from pbserver.history import History
from pbserver.limits import Limits
from pbserver.outbox import Link, Outbox
from pbserver.primary import Primary
from pbserver.sessions import Sessions
from pbserver.transfer import Job
from wire.bounds import TEXT_MAX, shortened
from wire.messages import (
    NO_VIEW,
    Attach,
    Batch,
    CloseSession,
    DigestAt,
    Forward,
    ForwardOk,
    Goodbye,
    LogPosition,
    Member,
    Message,
    OpenSession,
    Query,
    Redirect,
    Report,
    SnapshotPart,
    SnapshotPartOk,
    View,
    Wait,
    counter_of,
)

#: A connection to a backup that has said nothing for so many times as long as
#: means death is given up, and dialled anew.  Long, because what is sent at once
#: may take a slow link seconds.
HANGING_DEATHS: Final = 10


@define
class Replica:
    """A server: its copy of history, the newest view, and its role there."""

    me: Member
    #: Makes the state before the first entry.
    fresh: Callable[[], Sessions]
    limits: Limits = field(factory=Limits)
    #: Silent intervals after which a peer is reported as unreachable; the view
    #: service says how many.
    dead_pings: int = 5

    view: View = field(default=NO_VIEW, init=False)
    history: History = field(init=False)
    #: None: idle, in no view.
    role: Primary | Backup | None = field(default=None, init=False)
    #: The last round ever sent, in whatever view.
    _round: int = field(default=0, init=False)
    #: The connections that stand to backups, by their name and incarnation.  They
    #: can outlive a part: who leaves and comes back within one turn is not
    #: dialled anew.
    _links: dict[tuple[str, int], Link] = field(factory=dict, init=False)
    _out: Outbox = field(factory=Outbox, init=False)
    #: Who was refused something in this turn, and told which view.
    _refused: dict[Link, int] = field(factory=dict, init=False)
    #: What an author's state machine has raised where that can be survived, until
    #: its reader has logged it and emptied this list.
    faults: list[str] = field(init=False)
    #: Is there more to say, which `flush` has left for the next turn?
    is_behind: bool = field(default=False, init=False)
    #: Has a view been adopted since the service last pinged, or must the view
    #: service confirm one?
    _adopted: bool = field(default=False, init=False)

    @faults.default
    def _faults_of_outbox(self) -> list[str]:
        return self._out.faults

    @history.default
    def _empty_history(self) -> History:
        return History(self.fresh, self.limits.tail_bytes_kept)

    # -- views ---------------------------------------------------------------

    def on_view(self, view: View, *, acknowledged: bool) -> Goodbye | None:
        """The view service has told the newest view that it knows -> how to end
        that connection, if the view is of another history."""
        refusal = self._learn(view)
        if (
            acknowledged
            and view.number == self.view.number
            and isinstance(self.role, Primary)
        ):
            self.role.acknowledged()
        return refusal

    def _learn(self, view: View) -> Goodbye | None:
        """Adopt the view if it is newer -> why it is refused for good, if so."""
        mine = self.view
        if view.number == mine.number or view.counter < mine.counter:
            return None
        if view.counter == mine.counter:
            return Goodbye(
                "other view",
                f"view {view.counter} is {view.number:016x} there and "
                f"{mine.number:016x} here: two histories; see understudy status",
            )
        if mine.recoveries and mine.recoveries[-1] not in view.recoveries:
            return Goodbye(
                "other view",
                f"view {view.counter} does not descend from the recovery in view "
                f"{counter_of(mine.recoveries[-1])} that this server follows",
            )
        self._become(view)
        return None

    def _may_adopt(self, view: View, sender: Member | None) -> bool:
        """Whether to adopt the newer view of an Attach: it comes from that view's
        primary, which is a member of the view that is known here, and names this
        server.  Any other view must be confirmed by the view service."""
        return (
            sender is not None
            and sender.is_same_copy(view.primary)
            and self.me.is_same_copy(view.backup(self.me.name))
            and any(sender.is_same_copy(each) for each in self.view.members())
        )

    def _become(self, view: View) -> None:
        """Play the part that a newer view has for this server."""
        assert view.counter > self.view.counter
        before, self.view, self._adopted = self.role, view, True
        leads = self.me.is_same_copy(view.primary)
        if isinstance(before, Primary):
            if leads:
                before.continue_in(view)
                return
            self._round = before.round
            before.resign(view)
        follows = isinstance(before, Backup) and self._follows_on(before, view)
        if isinstance(before, Backup) and not follows:
            before.resign()
        if leads:
            # All that lies in this log is history now.  A snapshot that was on
            # its way is of no use any more: who is promoted holds everything.
            primary = self.role = Primary(
                view,
                self.history,
                self.limits,
                self._out,
                self._round,
                not view.founding,
                self._links,
            )
            primary.begin()
        elif self.me.is_same_copy(view.backup(self.me.name)):
            assert view.primary is not None
            backup = self.role = Backup(view, self.history, self.limits, self._out)
            if isinstance(before, Backup) and follows:
                backup.continue_from(before)
        else:
            self.role = None

    def _follows_on(self, before: Backup, view: View) -> bool:
        """Does a backup stay one of the same primary?"""
        primary, backup = view.primary, view.backup(self.me.name)
        return (
            primary is not None
            and primary.is_same_copy(before.view.primary)
            and self.me.is_same_copy(backup)
        )

    # -- messages ------------------------------------------------------------

    def receive(self, link: Link, sender: Member | None, message: Message) -> None:
        """A message has come on *link*; *sender* is the server at its other
        end, None if that is no server."""
        _RECEIVERS[type(message)](self, link, sender, message)

    def _on_batch(self, link: Link, _: Member | None, batch: Batch) -> None:
        # As `_on_clerk`: of all messages, this one comes most often.
        role = self.role
        if isinstance(role, Primary):
            role.on_batch(link, batch)
        else:
            self._refuse(link, batch, "not primary")

    def _on_clerk(self, link: Link, _: Member | None, message: Message) -> None:
        role = self.role
        if not isinstance(role, Primary):
            self._refuse(link, message, "not primary")
        elif type(message) is Query:
            role.on_query(link, message)
        elif type(message) is OpenSession:
            role.on_open_session(link, message)
        else:
            assert type(message) is CloseSession
            role.on_close_session(link, message)

    def _on_attach(self, link: Link, sender: Member | None, greet: Attach) -> None:
        view = greet.view
        if view.counter > self.view.counter and not self._may_adopt(view, sender):
            # The answer to a ping has the view, if there is such a view.
            self._out.ignore(link, greet, "of a view that the view service must name")
            self._adopted = True
            return
        if (refusal := self._learn(view)) is not None:
            self._out.send(link, refusal)
            return
        role = self.role
        if view.number != self.view.number:
            self._refuse(link, greet, "of an older view")
        elif not isinstance(role, Backup):
            self._refuse(link, greet, "not a backup of that view")
        elif role.view.primary is None or not role.view.primary.is_same_copy(sender):
            self._refuse(link, greet, "not from that view's primary")
        else:
            role.on_attach(link)

    def _on_forward(self, link: Link, _: Member | None, forward: Forward) -> None:
        role = self.role
        if forward.view != self.view.number:
            if counter_of(forward.view) < self.view.counter:
                self._refuse(link, forward, "of an older view")
                return
            # When the view service has named that view, the next one is answered
            # with a Goodbye, and the primary greets on a new connection.
            self._out.ignore(link, forward, "of a view that was not introduced")
        elif not isinstance(role, Backup) or role.link != link:
            self._out.ignore(link, forward, "not from the primary that greeted")
            self._hang_up(link)
        else:
            role.on_forward(forward)

    def _on_part(self, link: Link, _: Member | None, part: SnapshotPart) -> None:
        # Its view may be older than ours, if its sender is still our primary:
        # a committed state is right in every view.
        role = self.role
        if isinstance(role, Backup) and role.link == link:
            role.on_snapshot_part(part)
        else:
            self._refuse(link, part, "not from the primary that greeted")
            self._hang_up(link)

    def _hang_up(self, link: Link) -> None:
        """Whoever speaks here takes itself for greeted, and is not, or sends a
        transfer of which parts are lost now: a greeting that was late on an
        older connection has come last, or a view that its sender never saw came
        between.  On a new connection both begin anew; on this one they would
        wait for each other for ever."""
        self._out.send(link, Goodbye("protocol", "not greeted here; connect anew"))

    def _refuse(self, link: Link, message: Message, reason: str) -> None:
        """Do nothing, and tell the sender the view that is known here: once in this
        turn, since one read brings thousands of requests."""
        self._out.ignore(link, message, reason)
        number = self.view.number
        if self._refused.get(link) != number:
            self._refused[link] = number
            self._out.send(link, Redirect(self.view))

    def _on_redirect(self, link: Link, _: Member | None, message: Redirect) -> None:
        if (refusal := self._learn(message.view)) is not None:
            self._out.send(link, refusal)

    def _on_backup(self, link: Link, _: Member | None, message: Message) -> None:
        role = self.role
        if not isinstance(role, Primary):
            self._out.ignore(link, message, "not primary any more")
        elif type(message) is ForwardOk:
            role.on_forward_ok(link, message)
        elif type(message) is LogPosition:
            role.on_log_position(link, message)
        else:
            assert type(message) is SnapshotPartOk
            role.on_snapshot_part_ok(link, message)

    def _on_digest_at(self, link: Link, _: Member | None, wanted: DigestAt) -> None:
        self.history.digests.ask(link, wanted.index, self.history.state)

    # -- connections and time ------------------------------------------------

    @property
    def peers(self) -> tuple[Member, ...]:
        """The servers to be connected to."""
        return self.view.backups if isinstance(self.role, Primary) else ()

    def answered(self, member: Member) -> None:
        """One of `peers` has taken a connection, and has yet to say Hello."""
        if isinstance(self.role, Primary):
            self.role.answered(member)

    def failed(self, member: Member, reason: str) -> None:
        """A connection to one of `peers` has ended, or an attempt to make one."""
        if isinstance(self.role, Primary):
            self.role.failed(member, reason)

    def called(self, member: Member) -> None:
        """The server *member* has called, and has yet to greet this one."""
        role = self.role
        if isinstance(role, Backup) and member.is_same_copy(role.view.primary):
            role.silent_ticks = 0

    def link_made(self, member: Member, link: Link) -> None:
        """A connection to one of `peers` stands: *member* is who answered."""
        self._links[member.name, member.incarnation] = link
        if isinstance(self.role, Primary):
            self.role.link_made(member, link)

    def link_lost(self, link: Link) -> None:
        """A connection has ended, whoever was at its other end."""
        self.history.link_lost(link)
        for copy in [copy for copy, each in self._links.items() if each == link]:
            del self._links[copy]
        if self.role is not None:
            self.role.link_lost(link)

    def clock(self, now_ms: int) -> None:
        """What a monotonic clock says, in milliseconds; to be told before what
        happens at that time."""
        self.history.now_ms = now_ms

    def tick(self) -> None:
        """A ping interval has passed."""
        role = self.role
        if role is not None:
            role.tick()
        if isinstance(role, Primary):
            role.hang_up(HANGING_DEATHS * self.dead_pings)

    def flush(self) -> Iterator[list[tuple[Link, Message]]]:
        """What is to be sent, in order, on each connection; once per turn.

        First what other servers wait for.  Then, once that has been sent, what
        is committed is applied, which they can do at the same time, and what
        came of it is to be sent.
        """
        role, history, is_behind = self.role, self.history, False
        if self._refused:
            self._refused.clear()
        if role is not None:
            role.flush()
        yield self._out.take()
        if role is not None:
            role.settle()
            is_behind = role.is_behind
        if history.is_behind:
            history.work_on(self.limits.part_bytes)
            is_behind = is_behind or history.is_behind
        self.is_behind = is_behind
        if history.digests.has_told:
            for link, digest in history.digests.take_told():
                self._out.send(link, digest)
            self.faults += history.digests.faults
            history.digests.faults.clear()
        yield self._out.take()

    def take_ignored(self) -> list[tuple[Link, Message, str]]:
        """What was dropped or refused since this was last asked, with reasons."""
        return self._out.take_ignored()

    # -- what the service looks at -------------------------------------------

    @property
    def accepting(self) -> bool:
        """May clerks be read from?"""
        return not isinstance(self.role, Primary) or self.role.accepting

    @property
    def work(self) -> int:
        """Differs from before if any work was done that waited for its turn."""
        return self.history.state.work + self.history.steps

    def take_job(self) -> Job | None:
        """What is to be done in a thread; `finished` must be called after it."""
        role = self.role
        if not isinstance(role, Backup) or role.job is None:
            return None
        job, role.job = role.job, None
        return job

    def finished(self, job: Job, error: ValueError | None) -> None:
        """*job* is done; nothing came of it if *error* says why."""
        if isinstance(self.role, Backup):
            self.role.finished(job, error)

    @property
    def diverged(self) -> str | None:
        """Why this copy must stop: it differs from its primary's."""
        return self.role.diverged if isinstance(self.role, Backup) else None

    @property
    def unable(self) -> str | None:
        """Why this process can be no backup."""
        return self.role.unable if isinstance(self.role, Backup) else None

    @property
    def _failure(self) -> str | None:
        if self.diverged is not None:
            return f"diverged: {self.diverged}"
        return self.unable

    def take_news(self) -> bool:
        """Is there something that the view service should hear at once?"""
        news, self._adopted = self._adopted, False
        if isinstance(self.role, Primary) and self.role.news:
            self.role.news = False
            return True
        return news

    @property
    def synced(self) -> tuple[str, ...]:
        """For a ping: this view's synced backups, if we are its primary."""
        return self.role.synced if isinstance(self.role, Primary) else ()

    @property
    def unreachable(self) -> tuple[str, ...]:
        """For a ping: the members of this view that we cannot reach."""
        role = self.role
        if isinstance(role, Primary):
            return role.unreachable(self.dead_pings)
        if isinstance(role, Backup) and role.silent_ticks >= self.dead_pings:
            assert role.view.primary is not None
            return (role.view.primary.name,)
        return ()

    @property
    def report(self) -> Report:
        """For a ping: what people want to know."""
        role, history = self.role, self.history
        waiting: Wait | None = None
        transfer_bytes = None
        if isinstance(role, Primary):
            waiting, transfer_bytes = role.waiting(), role.transfer_bytes
        elif (failure := self._failure) is not None:
            # This process ends, and its last ping says why.
            waiting = Wait((), "failed", shortened(failure, TEXT_MAX))
        elif isinstance(role, Backup) and role.link is None:
            assert role.view.primary is not None
            waiting = Wait((role.view.primary.name,), "primary", "to greet this backup")
        return Report(history.commit, history.log.end, waiting, transfer_bytes)


_RECEIVERS: dict[type[Message], Callable[..., None]] = {
    OpenSession: Replica._on_clerk,
    CloseSession: Replica._on_clerk,
    Batch: Replica._on_batch,
    Query: Replica._on_clerk,
    Attach: Replica._on_attach,
    Forward: Replica._on_forward,
    SnapshotPart: Replica._on_part,
    Redirect: Replica._on_redirect,
    LogPosition: Replica._on_backup,
    ForwardOk: Replica._on_backup,
    SnapshotPartOk: Replica._on_backup,
    DigestAt: Replica._on_digest_at,
}
