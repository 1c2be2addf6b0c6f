"""More of the servers: log, sessions, commit, transfer."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    # -- log and history
    Mutant(
        "log-last",
        "5",
        "the log cannot tell the identity of its last entry",
        (
            put(
                "pbserver.log",
                "if 0 < at <= len(self.entries):",
                "if 0 < at < len(self.entries):",
            ),
        ),
    ),
    Mutant(
        "log-reach",
        "5 primary 2",
        "an entry that is longer than a Forward should be is never sent",
        (
            put(
                "pbserver.log",
                "return min(max(upto, after + 1), self.end)",
                "return min(upto, self.end)",
            ),
        ),
    ),
    Mutant(
        "log-weight",
        "bounds",
        "what was forgotten still weighs",
        (
            put(
                "pbserver.log",
                """
        self._base_weight = self._weights[count - 1]
        del""",
                """
        del""",
            ),
        ),
    ),
    Mutant(
        "log-stamp",
        "5 time",
        "a log that begins after a snapshot has lost the time",
        (
            put(
                "pbserver.log",
                "self.base_view, self.base_index, self.base_stamp_ms = "
                "view, index, stamp_ms",
                "self.base_view, self.base_index, self.base_stamp_ms = view, index, 0",
            ),
        ),
    ),
    Mutant(
        "history-accept",
        "5 time",
        "a promoted server counts time from when it last logged anything itself",
        (
            put(
                "pbserver.history",
                """
        log.append(entry)
        self._got_ms = self.now_ms

    def apply""",
                """
        log.append(entry)

    def apply""",
            ),
        ),
    ),
    Mutant(
        "history-install",
        "5 time",
        "who installs a snapshot counts time from the last entry that it got before",
        (
            put(
                "pbserver.history",
                """
            self.log.restart(state.view, state.index, state.stamp_ms)
            self._got_ms = self.now_ms
""",
                """
            self.log.restart(state.view, state.index, state.stamp_ms)
""",
            ),
        ),
    ),
    Mutant(
        "history-tail",
        "5 transfer 4",
        "a snapshot empties the log, though it has what follows",
        (
            put(
                "pbserver.history",
                "if self.log.view_at(state.index) == state.view:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "history-digest",
        "bounds",
        "who waits for the digest at the index of a snapshot waits for ever",
        (
            put(
                "pbserver.history",
                "in self.digests if index <= state.index]:",
                "in self.digests if index < state.index]:",
            ),
        ),
    ),
    # -- sessions
    Mutant(
        "session-close",
        "6",
        "a late close of an earlier session ends the one that stands",
        (
            put(
                "pbserver.sessions",
                "if session is not None and session.birth == request.birth:",
                "if session is not None:",
            ),
        ),
    ),
    Mutant(
        "session-again",
        "6",
        "to open a session again gives it another birth",
        (
            put(
                "pbserver.sessions",
                "session = msgspec.structs.replace(session, stamp_ms=entry.stamp_ms)",
                "session = msgspec.structs.replace(\n"
                "                session, stamp_ms=entry.stamp_ms, birth=entry.index\n"
                "            )",
            ),
        ),
    ),
    Mutant(
        "session-dropped",
        "S7",
        "who asks for an answer that was dropped gets another one",
        (
            put(
                "pbserver.sessions",
                "return self.answers[at] if at >= 0 else None",
                "return self.answers[at] if self.answers else None",
            ),
        ),
    ),
    Mutant(
        "session-lacking",
        "6",
        "one answer too many is dropped",
        (
            put(
                "pbserver.sessions",
                "lacking, answers = batch.lacking, answers[dropped:]",
                "lacking, answers = batch.lacking, answers[dropped + 1 :]",
            ),
        ),
    ),
    Mutant(
        "session-weight",
        "bounds",
        "the answers of an evicted session still weigh",
        (
            put(
                "pbserver.sessions",
                """
        session = self.table.pop(session_id)
        for answer in session.answers:
            self.answer_bytes -= _weight(answer)
""",
                """
        self.table.pop(session_id)
""",
            ),
        ),
    ),
    Mutant(
        "session-loaded",
        "S7",
        "answers that came in a snapshot weigh nothing",
        (
            put(
                "pbserver.sessions",
                """
        self.table[session_id] = msgspec.structs.replace(session, answers=answers)
        self.answer_bytes += _weight(answer)
""",
                """
        self.table[session_id] = msgspec.structs.replace(session, answers=answers)
""",
            ),
        ),
    ),
    Mutant(
        "session-order",
        "6",
        "a session that is used keeps its place among those to be evicted",
        (
            put(
                "pbserver.sessions",
                """
        self.table.move_to_end(session_id)
""",
                "",
            ),
        ),
    ),
    Mutant(
        "session-cut",
        "5 transfer 3",
        "the sessions in a snapshot are those of when it is sent",
        (
            put(
                "pbserver.sessions",
                "return SessionsCut(list(self.table.items()))",
                "return SessionsCut(self.table.items())",
            ),
        ),
    ),
    Mutant(
        "session-digest",
        "S7",
        "the sessions are not in the digest",
        (
            put(
                "pbserver.sessions",
                """
        for item in self.table.items():
            digest.update(_encode(item))
""",
                "",
            ),
        ),
    ),
    # -- the primary
    Mutant(
        "primary-rule",
        "5 primary 3",
        "in the rule are those who are synced, not those who have joined",
        (
            put(
                "pbserver.primary",
                "rule = [each for each in self.followers.values() if each.joined]",
                "rule = [each for each in self.followers.values() if each.synced]",
            ),
        ),
    ),
    Mutant(
        "primary-founding",
        "4.1",
        "the primary of a founding view answers before it is acknowledged",
        (
            put(
                "pbserver.replica",
                """
                not view.founding,
""",
                """
                True,
""",
            ),
        ),
    ),
    Mutant(
        "primary-founds-again",
        "4.1",
        "a founder that founds again goes on answering",
        (
            put(
                "pbserver.primary",
                """
        self.may_complete = not view.founding
""",
                "",
            ),
        ),
    ),
    Mutant(
        "primary-older-yes",
        "5 primary 3",
        "what a backup has verified in an older view counts in this one",
        (
            put(
                "pbserver.primary",
                """
        elif view != self.view.number:
            self.out.ignore(link, message, "of an older view")
""",
                "",
            ),
        ),
    ),
    Mutant(
        "primary-belief",
        "8",
        "a backup is believed that says it has verified what does not exist",
        (
            put(
                "pbserver.primary",
                "if accepted.verified > end or accepted.round > self.round:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "primary-round",
        "5 primary 2",
        "a waiting read is nothing to send",
        (
            put(
                "pbserver.primary",
                """
        self.questions.add(Question(link, asked, end, self.round + 1))
        self._round_wanted = True
""",
                """
        self.questions.add(Question(link, asked, end, self.round + 1))
""",
            ),
        ),
    ),
    Mutant(
        "primary-after",
        "6",
        "a read is answered without the batch that it comes after",
        (
            put(
                "pbserver.primary",
                "if session is None or query.after < session.next:",
                "if session is None or query.after <= session.next:",
            ),
        ),
    ),
    Mutant(
        "primary-resigns",
        "5 transfer 4",
        "a primary that is replaced leaves its transfer open",
        (
            put(
                "pbserver.primary",
                """
        for follower in self.followers.values():
            follower.drop_transfer()
        for link""",
                """
        for link""",
            ),
        ),
    ),
    Mutant(
        "primary-gone",
        "5 transfer 4",
        "the transfer to a backup that has left the view stays open",
        (
            put(
                "pbserver.primary",
                """
        for gone in known.values():
            gone.drop_transfer()
""",
                "",
            ),
        ),
    ),
    Mutant(
        "primary-transfer",
        "5 transfer 4",
        "a transfer goes on over another connection",
        (
            put(
                "pbserver.primary",
                "if before is not None and before.link == link:",
                "if before is not None:",
            ),
            put(
                "pbserver.follower",
                """
        self.link = self.next = None
        self.drop_transfer()
""",
                """
        self.link = self.next = None
""",
            ),
        ),
    ),
    Mutant(
        "primary-pinned",
        "5 transfer 2",
        "the log may be forgotten that a holder without a connection needs",
        (
            put(
                "pbserver.follower",
                "return self.commit if self.joined else None",
                "return None",
            ),
        ),
    ),
    Mutant(
        "primary-questions",
        "bounds",
        "reads that wait are not counted against what clerks may ask",
        (
            put(
                "pbserver.primary",
                "unanswered = log.weight_between(history.commit, log.end) "
                "+ self.questions.bytes",
                "unanswered = log.weight_between(history.commit, log.end)",
            ),
        ),
    ),
    Mutant(
        "primary-lost-clerk",
        "bounds",
        "questions of a clerk that is gone are kept",
        (
            put(
                "pbserver.primary",
                """
        else:
            self.questions.link_lost(link)
""",
                "",
            ),
        ),
    ),
    Mutant(
        "follower-mark",
        "5 transfer 5",
        "a newcomer must have all that the log holds now, under constant writes",
        (
            put(
                "pbserver.follower",
                """
            self.mark = log.end
        self.synced""",
                """
        self.mark = log.end
        self.synced""",
            ),
        ),
    ),
    Mutant(
        "follower-near",
        "5 transfer 5",
        "a newcomer joins the rule however far it is behind",
        (
            put(
                "pbserver.follower",
                """
                and log.end - self.verified <= limits.join_entries_max
                and log.weight_between(self.verified, log.end) <= """
                """limits.join_bytes_max
""",
                "",
            ),
        ),
    ),
    Mutant(
        "door-askers",
        "5 primary 1",
        "who asks again for a batch in the tail takes the place of who asked first",
        (
            put(
                "pbserver.door",
                """
        if link not in links:
            links.append(link)
""",
                """
        links[:] = [link]
""",
            ),
        ),
    ),
    Mutant(
        "door-tail",
        "5 views",
        "a promoted server does not look for batches in the tail that it inherits",
        (
            put(
                "pbserver.door",
                """
            if type(batch) is Batch:
                key = (batch.session, batch.birth)
                door""",
                """
            if type(batch) is Batch and door._asked:
                key = (batch.session, batch.birth)
                door""",
            ),
            put(
                "pbserver.door",
                """
            tail = self._tails[key]
            assert tail[0] == entry.index, (tail[0], entry.index)
            if len(tail) == 1:
                del self._tails[key]
            else:
                del tail[0]
""",
                """
            tail = self._tails.get(key, [])
            if entry.index in tail:
                tail.remove(entry.index)
""",
            ),
        ),
    ),
    # -- the backup
    Mutant(
        "backup-silence",
        "4.10",
        "a backup does not notice that its primary speaks",
        (
            put(
                "pbserver.backup",
                """
        self.silent_ticks = 0
        history = self.history
""",
                """
        history = self.history
""",
            ),
        ),
    ),
    Mutant(
        "backup-installed",
        "5 backup 2",
        "a backup that has installed a snapshot does not count it as verified",
        (
            put(
                "pbserver.backup",
                """
            self.verified = self.history.commit
        self.out""",
                """
        self.out""",
            ),
        ),
    ),
    Mutant(
        "backup-unseen",
        "5 backup 1",
        "a Forward is taken from any connection",
        (
            put(
                "pbserver.replica",
                "elif not isinstance(role, Backup) or role.link != link:",
                "elif not isinstance(role, Backup):",
            ),
        ),
    ),
    Mutant(
        "backup-greeted",
        "5 backup 1",
        "a greeting is taken from anybody who knows the view",
        (
            put(
                "pbserver.replica",
                "elif role.view.primary is None or "
                "not role.view.primary.is_same_copy(sender):",
                "elif role.view.primary is None:",
            ),
        ),
    ),
    # -- transfers
    Mutant(
        "transfer-crc",
        "5 transfer 4",
        "the checksum of a part is not compared",
        (put("pbserver.transfer", "if part.crc != self.crc:", "if False:"),),
    ),
    Mutant(
        "transfer-order",
        "5 transfer 4",
        "parts are loaded in any order",
        (put("pbserver.transfer", "if part.part != self.next_part:", "if False:"),),
    ),
    Mutant(
        "transfer-confirm",
        "5 transfer 4",
        "a part is confirmed that was never sent",
        (
            put(
                "pbserver.transfer",
                """
        if part < self.part:
            self.confirmed = max(self.confirmed, part + 1)
""",
                """
        self.confirmed = max(self.confirmed, part + 1)
""",
            ),
        ),
    ),
    Mutant(
        "transfer-view",
        "5 transfer 4",
        "a snapshot's last entry has an index and no view",
        (
            put(
                "pbserver.transfer",
                "state.view, state.index = part.entry_view, part.index",
                "state.index = part.index",
            ),
        ),
    ),
    Mutant(
        "transfer-stamp",
        "5 time",
        "a snapshot does not say what time it is",
        (
            put(
                "pbserver.transfer",
                "state.stamp_ms, state.chain = part.stamp_ms, part.chain",
                "state.chain = part.chain",
            ),
        ),
    ),
    Mutant(
        "transfer-chain",
        "S7",
        "a snapshot does not carry the chain of answers",
        (
            put(
                "pbserver.transfer",
                "state.stamp_ms, state.chain = part.stamp_ms, part.chain",
                "state.stamp_ms = part.stamp_ms",
            ),
        ),
    ),
    # -- the store
    Mutant(
        "store-delete",
        "5 transfer 3",
        "a snapshot lacks what was deleted after it was taken",
        (
            put(
                "pbserver.pairs",
                """
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        del leaf[key]
""",
                """
        del leaf[key]
""",
            ),
        ),
    ),
    Mutant(
        "store-grown",
        "5 transfer 3",
        "a long value in a snapshot grows with what is appended later",
        (
            put(
                "pbserver.pairs",
                "if type(value) is bytearray and "
                "(self._cut is None or key in self._grown):",
                "if type(value) is bytearray:",
            ),
        ),
    ),
    Mutant(
        "store-loaded",
        "5 transfer 4",
        "pieces of a snapshot are loaded in any order of keys",
        (put("pbserver.store", "if last is not None and key <= last:", "if False:"),),
    ),
    Mutant(
        "store-length",
        "9",
        "a value may grow without limit",
        (
            put(
                "pbserver.operations",
                """
    if length > VALUE_BYTES_MAX:
        return _long_value(length)
""",
                "",
            ),
        ),
    ),
    Mutant(
        "store-counter",
        "9",
        "a counter may leave 64 bits",
        (
            put(
                "pbserver.operations",
                """
    if not COUNTER_MIN <= after <= COUNTER_MAX:
        return _OUT_OF_RANGE
""",
                "",
            ),
        ),
    ),
)
