"""
The primary's part: order what clerks ask, have it held, then answer.

Pure.  The commit rule: an entry is committed when everyone in the rule has
accepted it.  The rule holds, from the first moment of a view, the holders that
the view names, and every newcomer from the moment it joins; nobody leaves it
but by a newer view.  Everyone eligible to take over is in it, so what is
committed survives any one of them taking over (docs/design.md, section 5).

A read needs no entry: it waits until all that was logged before it is
committed, and until everyone in the rule has echoed a round that was sent after
it came, which proves that at that moment nobody had taken over.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from pbserver.follower import Follower
from pbserver.history import History
from pbserver.limits import Limits
from pbserver.outbox import Link, Outbox
from pbserver.pending_requests import PendingRequests
from pbserver.round_waiters import QUESTION_BYTES, RoundWaiter, RoundWaiters
from pbserver.sessions import ENTRY_WORK
from pbserver.transfer import Outgoing
from wire.bounds import EVIDENCE_MAX, TEXT_MAX, shortened
from wire.messages import (
    BODY_BYTES_MAX,
    EVICTED,
    TOO_LARGE,
    WINDOW_MAX,
    Attach,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    Forward,
    ForwardOk,
    Goodbye,
    LogPosition,
    Member,
    Message,
    OpenSession,
    Query,
    QueryAnswer,
    Redirect,
    SnapshotPart,
    SnapshotPartOk,
    View,
    Wait,
)


@define
class Primary:
    """What exists only while a server is primary."""

    view: View
    history: History
    limits: Limits
    out: Outbox
    #: The last round that was sent.  Never goes back in one process's life.
    round: int
    #: May anything be completed?  Not by the primary of a founding view before
    #: it has heard that the view is acknowledged: it could be replaced by
    #: another founder until then, that has nothing of what it answered.
    may_complete: bool
    #: The connections that stand to backups, by their name and incarnation; who
    #: made this part keeps them up to date.
    links: dict[tuple[str, int], Link] = field(factory=dict)

    followers: dict[str, Follower] = field(factory=dict, init=False)
    door: PendingRequests = field(init=False)
    waiters: RoundWaiters = field(factory=RoundWaiters, init=False)
    #: Answers of executed batches that were asked for again: connection -> (session,
    #: sequence) -> answer.  Each goes out once, however often it was asked for.
    _repeats: dict[Link, dict[tuple[bytes, int], BatchAnswer]] = field(
        factory=dict, init=False
    )
    #: Must every backup be sent something, be it an empty Forward?
    _round_wanted: bool = field(default=True, init=False)
    #: Is there more to send, to execute or to answer, which waits for nothing but
    #: the next turn?
    is_behind: bool = field(default=False, init=False)
    #: Has the list of synced backups grown since the service last looked?
    news: bool = field(default=False, init=False)

    @door.default
    def _rebuilt_door(self) -> PendingRequests:
        history = self.history
        log = history.log
        return PendingRequests.of_tail(log.between(history.commit, log.end))

    def begin(self) -> None:
        """Everything in the log is history now, the uncommitted tail included:
        it commits under this view's rule."""
        self._follow({})

    # -- views ---------------------------------------------------------------

    def continue_in(self, view: View) -> None:
        """A newer view has the same primary.  Nothing is lost or done twice;
        the rule starts anew from the holders that the view names."""
        assert view.counter > self.view.counter
        self.view = view
        # A founder can found again: another one did so meanwhile, was not
        # acknowledged either, and is gone.
        self.may_complete = not view.founding
        self._follow(self.followers)

    def _follow(self, known: dict[str, Follower]) -> None:
        view, end = self.view, self.history.log.end
        self.followers = {}
        # Holders first: nothing is committed without them, so if one of them needs
        # a snapshot no newcomer is sent one before it.
        for member in sorted(
            view.backups, key=lambda each: each.name not in view.holders
        ):
            follower = Follower(member, member.name in view.holders, end)
            self.followers[member.name] = follower
            link = self.links.get((member.name, member.incarnation))
            if link is None:
                continue
            follower.link_made(link)
            before = known.get(member.name)
            if before is not None and before.link == link:
                # A transfer goes on while both keep their parts.
                del known[member.name]
                follower.transfer = before.transfer
            self.out.send(link, Attach(view))
        for gone in known.values():
            gone.drop_transfer()
        self._round_wanted = True

    def acknowledged(self) -> None:
        """The view service has said that this view is acknowledged."""
        self.may_complete = True

    def resign(self, view: View) -> None:
        """A newer view has another primary: whoever waits here asks there."""
        for follower in self.followers.values():
            follower.drop_transfer()
        for link in dict.fromkeys((*self.door.askers(), *self._askers())):
            self.out.send(link, Redirect(view))

    def _askers(self) -> Iterator[Link]:
        """The connections that wait for something that is not logged."""
        yield from self.waiters.askers()
        yield from self._repeats

    # -- clerks --------------------------------------------------------------

    def on_open_session(self, link: Link, request: OpenSession) -> None:
        """Opening is an entry like any other."""
        self.door.ask(self.history.append(self.view.number, request).index, link)

    def on_close_session(self, link: Link, request: CloseSession) -> None:
        """So is closing."""
        self.door.ask(self.history.append(self.view.number, request).index, link)

    def on_batch(self, link: Link, batch: Batch) -> None:
        """Log it, or answer what has been executed already.

        This is a filter: the verdict is given by `Sessions.apply`, alike on
        every replica, and is final.
        """
        if (
            not batch.first_unanswered
            <= batch.sequence
            < batch.first_unanswered + WINDOW_MAX
        ):
            text = f"batch {batch.sequence} cannot lack {batch.first_unanswered}"
            self.out.send(link, Goodbye("protocol", text))
        elif len(batch.body) > BODY_BYTES_MAX:
            self.out.send(link, BatchRefused(batch.sequence, TOO_LARGE))
        elif not self._admit(link, batch):
            self._ask(link, batch)

    def _admit(self, link: Link, batch: Batch) -> bool:
        """Deal with a batch of a known session -> False: it is unknown here."""
        session = self.history.state.table.get(batch.session)
        if session is None or session.opened_index < batch.opened_index:
            return False
        if session.opened_index > batch.opened_index:
            # Applied, so committed: that session ended, whoever is primary now.
            self.out.send(link, BatchRefused(batch.sequence, EVICTED))
            return True
        sequence = batch.sequence
        ahead = sequence - session.next
        if ahead < 0:
            answer = session.answer(sequence)
            if answer is None:
                self.out.ignore(link, batch, "its clerk said that it had the answer")
            else:
                repeats = self._repeats.setdefault(link, {})
                repeats[batch.session, sequence] = answer
            return True
        tail = self.door.tail(batch.session, batch.opened_index)
        if ahead == len(tail):
            index = self.history.append(self.view.number, batch).index
            self.door.log(batch, index, link)
        elif ahead < len(tail):
            self.door.ask(tail[ahead], link)
        else:
            text = f"batch {sequence} came, {session.next + len(tail)} is due"
            self.out.send(link, Goodbye("gap", text))
        return True

    def on_query(self, link: Link, query: Query) -> None:
        """Answered once it is certain that nobody has taken over."""
        self._ask(link, query)

    def _ask(self, link: Link, asked: Query | Batch) -> None:
        end = self.history.log.end
        self.waiters.add(RoundWaiter(link, asked, end, self.round + 1))
        self._round_wanted = True

    # -- backups -------------------------------------------------------------

    def link_made(self, member: Member, link: Link) -> None:
        """A connection to a backup of this view stands."""
        follower = self._backup(member)
        if follower is not None:
            follower.link_made(link)
            self.out.send(link, Attach(self.view))
            self._round_wanted = True

    def answered(self, member: Member) -> None:
        """A backup of this view has taken a connection: a sign of life, so that far
        away the steps until it follows are not counted as one silence."""
        follower = self._backup(member)
        if follower is not None:
            follower.answered()

    def failed(self, member: Member, reason: str) -> None:
        """A connection to a backup of this view has ended, or was not made."""
        follower = self._backup(member)
        if follower is not None:
            text = f"no connection: {reason}"
            follower.trouble = shortened(text, EVIDENCE_MAX)

    def link_lost(self, link: Link) -> None:
        """A connection has ended.  That alone takes nobody out of the rule."""
        follower = self._follower(link)
        if follower is not None:
            follower.link_lost()
        else:
            self.waiters.link_lost(link)
            self._repeats.pop(link, None)

    def on_log_position(self, link: Link, position: LogPosition) -> None:
        """A backup has said where it stands."""
        follower = self._listened(link, position, position.view)
        if follower is None:
            return
        if self.history.log.view_at(position.index) == position.entry_view:
            follower.stands_at(position.index)
        elif follower.transfer is None:
            follower.next = None
            follower.needs_snapshot = True

    def on_forward_ok(self, link: Link, accepted: ForwardOk) -> None:
        """A backup has echoed a round."""
        follower = self._listened(link, accepted, accepted.view)
        if follower is None:
            return
        end = self.history.log.end
        if (
            not accepted.commit <= accepted.verified <= end
            or accepted.round > self.round
        ):
            text = f"verified {accepted.verified} of {end}, round {accepted.round} of"
            self.out.send(link, Goodbye("protocol", f"{text} {self.round}"))
            return
        follower.verified = max(follower.verified, accepted.verified)
        follower.commit = max(follower.commit, accepted.commit)
        follower.echoed = max(follower.echoed, accepted.round)

    def on_snapshot_part_ok(self, link: Link, have: SnapshotPartOk) -> None:
        """A part of a snapshot has arrived."""
        follower = self._listened(link, have, self.view.number)
        if follower is None or follower.transfer is None:
            self.out.ignore(link, have, "of a transfer that was dropped")
            return
        transfer = follower.transfer
        if transfer.confirm(have.part):
            # What it has verified it says itself; until then it counts for
            # nothing that it has everything up to the cut.
            follower.drop_transfer()
            follower.next = transfer.index + 1
            self._round_wanted = True

    def _listened(self, link: Link, message: Message, view: int) -> Follower | None:
        """The backup that a message is from, if it is of this view."""
        follower = self._follower(link)
        if follower is None:
            self.out.ignore(link, message, "from no backup of this view")
        elif view != self.view.number:
            self.out.ignore(link, message, "of an older view")
        else:
            follower.heard()
            return follower
        return None

    def _backup(self, member: Member) -> Follower | None:
        follower = self.followers.get(member.name)
        if follower is not None and follower.member.is_same_copy(member):
            return follower
        return None

    def _follower(self, link: Link) -> Follower | None:
        for follower in self.followers.values():
            if follower.link == link:
                return follower
        return None

    # -- the commit rule -----------------------------------------------------

    def _advance(self) -> None:
        """Commit, apply and answer whatever the rule allows."""
        history = self.history
        log = history.log
        # With nobody in the rule, what is logged is committed.
        verified, echoed = log.end, self.round + 1
        for follower in self.followers.values():
            if follower.progress(log, self.limits):
                self.news = True
            if follower.joined:
                verified = min(verified, follower.verified)
                echoed = min(echoed, follower.echoed)
        if not self.may_complete:
            return
        if verified > history.commit:
            self._commit(verified)
        if self.waiters:
            self._answer(echoed)

    def _commit(self, upto: int) -> None:
        history, out, door = self.history, self.out, self.door
        # A primary installs no snapshot, so this is one object all its life.
        state = history.state
        stop = state.work + self.limits.turn_work_max
        apply = history.applier
        for entry in history.log.between(history.commit, upto):
            answer = apply(entry)
            for link in door.applied(entry):
                if answer is not None:
                    out.send(link, answer)
            if state.work >= stop:
                # Everybody else gets their turn before the rest.
                if entry.index < upto:
                    self.is_behind = True
                break

    def _answer(self, echoed: int) -> None:
        """Answer the questions whose moment has come."""
        commit, waiters = self.history.commit, self.waiters
        if waiters.has_unknown_sessions:
            self._answer_unknown_sessions(commit, echoed)
        state, room = self.history.state, self.limits.answers_bytes_max
        stop = state.work + self.limits.turn_work_max
        for question in waiters.take_reads(commit, echoed):
            room -= self._try(question)
            if room <= 0 or state.work >= stop:
                self.is_behind = True
                break

    def _answer_unknown_sessions(self, commit: int, echoed: int) -> None:
        waiting: list[RoundWaiter] = []
        for question in self.waiters.take_unknown_sessions():
            batch = question.asked
            assert type(batch) is Batch
            self.history.state.work += QUESTION_BYTES
            if self._admit(question.link, batch):
                continue
            if question.end <= commit and question.round <= echoed:
                refused = BatchRefused(batch.sequence, EVICTED)
                self.out.send(question.link, refused)
            else:
                waiting.append(question)
        if not waiting and self.waiters.has_unknown_sessions:
            self.is_behind = True
        self.waiters.put_back(waiting)

    def _try(self, question: RoundWaiter) -> int:
        """Answer a read, unless the batch that it comes after is on its way -> the
        length of the answer."""
        link, query = question.link, question.asked
        assert type(query) is Query
        session = self.history.state.table.get(query.session)
        if session is None or query.after < session.next:
            return self._read(link, query)
        if query.after - session.next < len(
            self.door.tail(query.session, session.opened_index)
        ):
            self.waiters.too_early(question)
            self.history.state.work += ENTRY_WORK
        else:
            # It was not sent before, so it may never come, and what waits here
            # counts against everybody.
            text = f"a read comes after batch {query.after}, which did not come"
            self.out.send(link, Goodbye("gap", text))
        return 0

    def _read(self, link: Link, query: Query) -> int:
        try:
            answer = self.history.state.query(query.body)
        except ValueError as error:
            self.out.send(link, Goodbye("protocol", str(error)))
            return 0
        self.out.send(link, QueryAnswer(query.id, answer))
        return len(answer)

    # -- what goes out -------------------------------------------------------

    def tick(self) -> None:
        """An interval has passed: say something to every backup."""
        for follower in self.followers.values():
            follower.silent_ticks += 1
        self._round_wanted = True

    def hang_up(self, silent_ticks: int) -> None:
        """Give up each connection on which nothing came for that many intervals,
        and once more as many: what looks whole here may be lost on the way, and
        is only found out by dialling anew."""
        for follower in self.followers.values():
            silent = follower.silent_ticks
            if follower.link is not None and silent and silent % silent_ticks == 0:
                text = f"nothing came for {silent} intervals"
                self.out.send(follower.link, Goodbye("silent", text))

    def flush(self) -> None:
        """Send each backup, once per turn, what it lacks."""
        self.is_behind = False
        before = self.round
        for follower in self.followers.values():
            if follower.link is not None:
                self._send_entries(follower, before + 1)
                self._send_snapshot(follower)
        self._round_wanted = False

    def settle(self) -> None:
        """Commit and answer, while backups work on what they were sent."""
        if self.waiters.lost:
            self.waiters.forget_lost()
        if self._repeats:
            self._repeat()
        log = self.history.log
        end = log.end
        self._advance()
        if log.end > end:
            # A batch was logged that had waited for its session.
            self.is_behind = True
        # Now it is certain what is still needed for whom.
        if self.history.is_long:
            self.history.trim(self._pinned())

    def _repeat(self) -> None:
        """Send answers that were given before; the rest follows in the next turn."""
        room = self.limits.answers_bytes_max
        while self._repeats and room > 0:
            link, repeats = next(iter(self._repeats.items()))
            answer = repeats.pop(next(iter(repeats)))
            self.out.send(link, answer)
            room -= QUESTION_BYTES + len(answer.body)
            # Others come before the next one of this connection.
            del self._repeats[link]
            if repeats:
                self._repeats[link] = repeats
        if self._repeats:
            self.is_behind = True
            self.history.steps += 1

    def _send_entries(self, follower: Follower, round_number: int) -> None:
        state, log = self.history.state, self.history.log
        view, wanted = self.view.number, self._round_wanted
        room = self.limits.turn_bytes_max
        while (entries := follower.take(log, self.limits)) or wanted:
            self.round, wanted = round_number, False
            forward = Forward(view, round_number, state.index, state.chain, entries)
            self.out.send(follower.link, forward)
            if not entries or entries[-1].index == log.end:
                break
            room -= log.weight_between(entries[0].index - 1, entries[-1].index)
            if room <= 0:
                self.is_behind = True
                self.history.steps += 1
                break

    def _send_snapshot(self, follower: Follower) -> None:
        if follower.needs_snapshot:
            # A machine has one cut at a time; another newcomer waits.
            if any(each.transfer is not None for each in self.followers.values()):
                return
            follower.needs_snapshot = False
            try:
                follower.transfer = Outgoing.of(self.history.state)
            except Exception as error:  # noqa: BLE001 - an author's code
                self._cannot_cut(follower, error)
        transfer = follower.transfer
        if transfer is not None:
            room = self.limits.turn_bytes_max
            while part := self._next_part(follower, transfer):
                self.out.send(follower.link, part)
                room -= len(part.body)
                if room <= 0:
                    self.is_behind = True
                    self.history.steps += 1
                    break

    def _next_part(self, follower: Follower, transfer: Outgoing) -> SnapshotPart | None:
        try:
            return transfer.next_part(self.view.number, self.limits)
        except Exception as error:  # noqa: BLE001 - an author's code
            follower.drop_transfer()
            self._cannot_cut(follower, error)
            return None

    def _cannot_cut(self, follower: Follower, error: Exception) -> None:
        """The state machine cannot give out its state.  This primary goes on, since
        it may be the only one that has it; that backup stays without it, until its
        next connection."""
        text = f"the state machine raised when its state was dumped: {error!r}"
        follower.trouble = shortened(text, EVIDENCE_MAX)
        follower.is_unsendable = True
        self.out.faults.append(f"{follower.member.name} cannot be brought up: {text}")

    # -- what the service looks at -------------------------------------------

    @property
    def synced(self) -> tuple[str, ...]:
        """The backups that hold everything that was ever answered."""
        return tuple(name for name, each in self.followers.items() if each.synced)

    def unreachable(self, dead_pings: int) -> tuple[str, ...]:
        """The backups that have said nothing for that many intervals."""
        return tuple(
            name
            for name, each in self.followers.items()
            if each.silent_ticks >= dead_pings
        )

    @property
    def accepting(self) -> bool:
        """May clerks be read from?"""
        history, limits = self.history, self.limits
        log = history.log
        unanswered = log.weight_between(history.commit, log.end) + self.waiters.bytes
        if self._repeats:
            unanswered += QUESTION_BYTES * sum(map(len, self._repeats.values()))
        if unanswered > limits.unanswered_bytes_max:
            return False
        if log.weight <= limits.tail_bytes_max:
            return True
        pinned = max(self._pinned(), log.base_index)
        return log.weight_between(pinned, log.end) <= limits.tail_bytes_max

    def _pinned(self) -> int:
        """The index after which the log must keep everything."""
        pins = [each.pins() for each in self.followers.values()]
        return min([self.history.commit, *(pin for pin in pins if pin is not None)])

    def waiting(self) -> Wait | None:
        """Whom this primary waits for, and why."""
        if not self.may_complete:
            text = "the view service to acknowledge the founding view"
            return Wait((), "acknowledgement", text)
        commit, end = self.history.commit, self.history.log.end
        late = tuple(
            name
            for name, each in self.followers.items()
            if each.joined and (each.verified < end or each.link is None)
        )
        if late and (end > commit or self.waiters):
            what = (
                f"entries {commit + 1} to {end}" if end > commit else "a read's round"
            )
            return Wait(late, "backup", self._told(f"to accept {what}"))
        coming = tuple(name for name, each in self.followers.items() if not each.synced)
        if coming:
            return Wait(coming, "transfer", self._told("to be brought up"))
        return None

    def _told(self, text: str) -> str:
        """With what is known of backups that cannot be reached, for people."""
        troubles = [
            f"; {name}: {each.trouble}"
            for name, each in self.followers.items()
            if each.trouble
        ]
        return shortened(text + "".join(troubles), TEXT_MAX)

    @property
    def transfer_bytes(self) -> int | None:
        """Bytes sent of the running transfer; None: none runs."""
        for follower in self.followers.values():
            if follower.transfer is not None:
                return follower.transfer.bytes_sent
        return None
