"""
The rare places of a primary: clerks, backups, the commit rule, transfers.
"""

from __future__ import annotations

from tests.sim.places.place import at, places, wrong

_PRIMARY = {
    "a founder founds again": at(
        "self.may_complete = not view.founding", when="view.founding"
    ),
    "a holder is followed before a newcomer": at(
        "for member in sorted(", when="0 < len(view.holders) < len(view.backups)"
    ),
    "a view of a backup that nobody has reached yet": at(
        "if link is None:", when="link is None"
    ),
    "a transfer goes on in a newer view": at(
        "follower.transfer = before.transfer", when="before.transfer is not None"
    ),
    "a connection goes on in a newer view": at("del known[member.name]"),
    "a transfer ends with a view": at(
        "gone.drop_transfer()", when="gone.transfer is not None"
    ),
    "a primary resigns in a transfer": at(
        "for follower in self.followers.values():",
        "follower.drop_transfer()",
        when="follower.transfer is not None",
    ),
    "a primary resigns, and somebody waits": at("self.out.send(link, Redirect(view))"),
    "a primary resigns, and a read waits": at(
        "for link in dict.fromkeys((*self.door.askers(), *self._askers())):",
        when="self.waiters",
    ),
    "a session is opened again": at(
        '"""Opening is an entry like any other."""',
        "self.door.ask(self.history.append(self.view.number, request).index, link)",
        when="request.id in self.history.state.table",
    ),
    "a session is closed": at(
        '"""So is closing."""',
        "self.door.ask(self.history.append(self.view.number, request).index, link)",
    ),
    "a batch lacks what it cannot": wrong(
        'text = f"batch {batch.sequence} cannot lack {batch.first_unanswered}"'
    ),
    "a batch that is too large": at(
        "self.out.send(link, BatchRefused(batch.sequence, TOO_LARGE))"
    ),
    "a batch of an unknown session": at(
        "if session is None or session.opened_index < batch.opened_index:",
        "return False",
    ),
    "a batch of a session whose opening anew is not applied here": at(
        "if session is None or session.opened_index < batch.opened_index:",
        "return False",
        when="session is not None",
    ),
    "a batch of a session that was opened anew": at(
        "# Applied, so committed: that session ended, whoever is primary now.",
        "self.out.send(link, BatchRefused(batch.sequence, EVICTED))",
    ),
    "a batch that was executed is answered again": at(
        "repeats[batch.session, sequence] = answer"
    ),
    "a batch whose clerk had the answer": at(
        'self.out.ignore(link, batch, "its clerk said that it had the answer")'
    ),
    "a batch is behind one of its session in the tail": at(
        "if ahead == len(tail):", when="0 < ahead == len(tail)"
    ),
    "a batch in the tail gets a second asker": at("self.door.ask(tail[ahead], link)"),
    "a gap between batches": at(
        'text = f"batch {sequence} came, {session.next + len(tail)} is due"'
    ),
    "a connection to no backup of this view": at(
        "if follower is not None and follower.member.is_same_copy(member):",
        when="follower is None or not follower.member.is_same_copy(member)",
    ),
    "the connection to one in the rule is lost": at(
        "follower.link_lost()", when="follower.joined"
    ),
    "the connection to a newcomer is lost in a transfer": at(
        "follower.link_lost()", when="follower.transfer is not None"
    ),
    "a position that the log does not have": at(
        "elif follower.transfer is None:", "follower.next = None"
    ),
    "a position beyond the primary's log": at(
        "elif follower.transfer is None:",
        "follower.next = None",
        when="position.index > self.history.log.end",
    ),
    "a position that the log has with another view": at(
        "elif follower.transfer is None:",
        "follower.next = None",
        when="self.history.log.view_at(position.index) is not None",
    ),
    "a position in the log ends a transfer": at(
        "follower.stands_at(position.index)", when="follower.transfer is not None"
    ),
    "a position during a transfer": at(
        "if self.history.log.view_at(position.index) == position.entry_view:",
        when="follower.transfer is not None",
    ),
    "a backup has accepted what was never sent": wrong(
        'text = f"verified {accepted.verified} of {end}, round {accepted.round} of"'
    ),
    "a part of a transfer that was dropped is confirmed": at(
        'self.out.ignore(link, have, "of a transfer that was dropped")'
    ),
    "a transfer is through": at("follower.next = transfer.index + 1"),
    "somebody who is no backup of this view answers": at(
        'self.out.ignore(link, message, "from no backup of this view")'
    ),
    "a backup answers for an older view": at(
        "elif view != self.view.number:",
        'self.out.ignore(link, message, "of an older view")',
    ),
    "a founder holds its answers back": at(
        "if not self.may_complete:", "return", when="log.end > history.commit"
    ),
    "committed with nobody in the rule": at(
        "self._commit(verified)",
        when="self.followers and not any(f.joined for f in self.followers.values())",
    ),
    "an inherited entry is committed": at(
        "answer = apply(entry)", when="entry.view != self.view.number"
    ),
    "an inherited batch has an asker": at(
        "if answer is not None:", when="entry.view != self.view.number"
    ),
    "two askers of one batch": at(
        "for link in door.applied(entry):",
        when="len(door._asked.get(entry.index, ())) > 1",
    ),
    "a stranger is known by now": at(
        "if self._admit(question.link, batch):", "continue"
    ),
    "a stranger is refused as evicted": at(
        "refused = BatchRefused(batch.sequence, EVICTED)"
    ),
    "a stranger waits on": at("waiting.append(question)"),
    "a read of a session that is gone": at(
        "return self._read(link, query)", when="session is None and query.after"
    ),
    "a turn is too short to execute what is committed": at(
        "if entry.index < upto:", "self.is_behind = True"
    ),
    "a turn is too short to answer all reads": at(
        "if room <= 0 or state.work >= stop:", "self.is_behind = True"
    ),
    "too much to send in one turn": at(
        "room -= len(part.body)", "if room <= 0:", "self.is_behind = True"
    ),
    "an early read": at("self.waiters.too_early(question)"),
    "a gap before a read": at(
        'text = f"a read comes after batch {query.after}, which did not come"'
    ),
    "a query that the machine refuses": wrong(
        'self.out.send(link, Goodbye("protocol", str(error)))'
    ),
    "a backup is not connected": at(
        "if follower.link is not None:", when="follower.link is None"
    ),
    "a newcomer waits for another's transfer": at(
        "if any(each.transfer is not None for each in self.followers.values()):",
        "return",
    ),
    "a transfer to a holder": at(
        "follower.transfer = Outgoing.of(self.history.state)", when="follower.joined"
    ),
    "clerks wait, for too much is unanswered": at(
        "if unanswered > limits.unanswered_bytes_max:", "return False"
    ),
    "clerks wait, for a transfer pins too much": at(
        "return log.weight_between(pinned, log.end) <= limits.tail_bytes_max",
        when="log.weight_between(pinned, log.end) > limits.tail_bytes_max",
    ),
    "the tail is long, and nothing pins it": at(
        "return log.weight_between(pinned, log.end) <= limits.tail_bytes_max",
        when="log.weight_between(pinned, log.end) <= limits.tail_bytes_max",
    ),
    "a primary waits for a read's round": at(
        'return Wait(late, "backup", self._told(f"to accept {what}"))',
        when="end == commit",
    ),
}

_FOLLOWER = {
    "a newer connection to a backup, the older not yet lost": at(
        "self.link_lost()", when="self.link is not None"
    ),
    "enough is on its way to a backup": at("if room <= 0:", "return ()"),
    "a Forward that does not hold all": at(
        "self.next = upto + 1", when="upto < log.end"
    ),
    "entries are sent beyond what the log still has before": at(
        "room = limits.unaccepted_bytes_max - log.weight_between(known, sent)",
        when="min(self.verified, sent) < log.base_index",
    ),
    "a transfer pins the log": at("return self.transfer.index"),
    "one in the rule whose position is unknown pins the log": at(
        "return self.commit if self.joined else None", when="self.joined"
    ),
    "a newcomer joins the rule at the log's end": at(
        "self.mark = log.end", when="self.joined and self.verified == log.end"
    ),
    "a newcomer joins the rule before the log's end": at(
        "self.mark = log.end", when="self.joined and self.verified < log.end"
    ),
    "a newcomer is too far behind to join": at(
        "self.mark = log.end",
        when="not self.joined and self.verified >= log.base_index",
    ),
    "one in the rule is not yet synced": at(
        "return self.synced", when="self.joined and not self.synced"
    ),
}

_DOOR = {
    "a batch is inherited": at("door._tails.setdefault(key, []).append(entry.index)"),
    "one clerk asks twice for one entry": at(
        "if link not in links:", when="link in links"
    ),
    "a session has several batches in the tail": at("del tail[0]"),
}

_QUESTIONS = {
    "an early read is tried again": at("reads.extendleft(reversed(self._early))"),
    "a read waits for a commit": at(
        "while reads and reads[0].end <= commit and reads[0].round <= echoed:",
        "question = reads.popleft()",
        when="reads and reads[0].end > commit",
    ),
    "a read waits for its round alone": at(
        "while reads and reads[0].end <= commit and reads[0].round <= echoed:",
        "question = reads.popleft()",
        when="reads and reads[0].end <= commit",
    ),
    "who waits is gone": at("waiting.extend(kept)"),
}

PRIMARY = places(
    {
        "pbserver.primary": _PRIMARY,
        "pbserver.follower": _FOLLOWER,
        "pbserver.pending_requests": _DOOR,
        "pbserver.round_waiters": _QUESTIONS,
    }
)
