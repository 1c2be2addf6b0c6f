"""Found by search in drafts of this design (F), and by what came of it (R)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "F1",
        "5 primary 3",
        "a new primary begins with nobody in its commit rule",
        (
            put(
                "pbserver.primary",
                """
        self._follow({})
""",
                """
        self._follow({})
        for follower in self.followers.values():
            follower.joined = False
""",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "F2",
        "5 primary 3",
        "a primary that goes on in a newer view begins with nobody in its rule",
        (
            put(
                "pbserver.primary",
                """
        self._follow(self.followers)
""",
                """
        self._follow(self.followers)
        for follower in self.followers.values():
            follower.joined = False
""",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "F3",
        "5 views",
        "a backup drops what it has not committed when a view comes",
        (
            put(
                "pbserver.replica",
                """
            backup = self.role = Backup(view, self.history, self.limits, self._out)
""",
                """
            if self.history.log.end > self.history.commit:
                self.history.log.truncate(self.history.commit + 1)
            backup = self.role = Backup(view, self.history, self.limits, self._out)
""",
            ),
        ),
        configs=("inherited",),
    ),
    Mutant(
        "F4",
        "5 backup 2",
        "an entry at an index that is there already is taken to be the same",
        (
            put(
                "pbserver.history",
                "if log.view_at(entry.index) == entry.view:",
                "if log.view_at(entry.index) is not None:",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "F4b",
        "5 backup 2",
        "a backup says that it has verified all that its log holds",
        (
            put(
                "pbserver.backup",
                "self._accepted = self.verified",
                "self._accepted = self.history.log.end",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "F4c",
        "5 backup 2",
        "a backup applies up to the commit index that came along, verified or not",
        (
            put(
                "pbserver.backup",
                "upto = min(forward.commit, self.verified)",
                "upto = min(forward.commit, history.log.end)",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "F5",
        "5 transfer 4",
        "a backup says where it has committed to; a snapshot replaces what it has"
        " accepted beyond that",
        (
            put(
                "pbserver.backup",
                """
        entry_view = log.view_at(self.verified)
        assert entry_view is not None, (log.base_index, self.verified, log.end)
        position = LogPosition(self.view.number, entry_view, self.verified)
""",
                """
        commit = self.history.commit
        position = LogPosition(self.view.number, log.view_at(commit) or 0, commit)
""",
            ),
            put(
                "pbserver.backup",
                "if part.index <= self.verified:",
                "if part.index <= self.history.commit:",
            ),
            put(
                "pbserver.history",
                "if self.log.view_at(state.index) == state.view:",
                "if False:",
            ),
        ),
        configs=("half-committed",),
    ),
    Mutant(
        "F6",
        "5 transfer 5",
        "synced is who has all that is committed, not all that the log held",
        (
            put(
                "pbserver.primary",
                "if follower.progress(log, self.limits):",
                "if follower.progress(log, self.limits, history.commit):",
            ),
            put(
                "pbserver.follower",
                "def progress(self, log: Log, limits: Limits) -> bool:",
                "def progress(self, log: Log, limits: Limits, commit: int) -> bool:",
            ),
            put("pbserver.follower", "self.mark = log.end", "self.mark = commit"),
        ),
        configs=("joining",),
    ),
    Mutant(
        "F7",
        "5 primary 5",
        "a broken connection takes a backup out of the commit rule",
        (
            put(
                "pbserver.follower",
                """
        self.link = self.next = None
        self.drop_transfer()
""",
                """
        self.link = self.next = None
        self.joined = False
        self.drop_transfer()
""",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "F7b",
        "5 backup 1",
        "a backup that is greeted on a new connection begins from its commit index",
        (
            put(
                "pbserver.backup",
                """
            self._drop_incoming()
            self.link = link
""",
                """
            self._drop_incoming()
            self.link = link
            self.verified = self.history.commit
            if self.history.log.end > self.verified:
                self.history.log.truncate(self.verified + 1)
""",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "F8",
        "5 backup 1",
        "a server knows itself and its primary by name, whatever the incarnation",
        (
            put(
                "pbserver.replica",
                "elif self.me.is_same_copy(view.backup(self.me.name)):",
                "elif view.backup(self.me.name) is not None:",
            ),
            put(
                "pbserver.replica",
                "elif role.view.primary is None or "
                "not role.view.primary.is_same_copy(sender):",
                "elif role.view.primary is None or sender is None or "
                "role.view.primary.name != sender.name:",
            ),
            put(
                "pbserver.primary",
                "if follower is not None and follower.member.is_same_copy(member):",
                "if follower is not None:",
            ),
        ),
        configs=("restarted",),
    ),
    Mutant(
        "F8b",
        "1",
        "two copies of the data are the same if they have one name",
        (
            put(
                "wire.messages",
                """
            and self.name == other.name
            and self.incarnation == other.incarnation
""",
                """
            and self.name == other.name
""",
            ),
        ),
        configs=("restarted",),
        tests=("views", "replica"),
    ),
    Mutant(
        "F9",
        "6",
        "all sessions have one birth: to open one twice is taken to be harmless",
        (
            put(
                "pbserver.sessions",
                "session = Session(entry.index, 1, 1, (), entry.stamp_ms)",
                "session = Session(1, 1, 1, (), entry.stamp_ms)",
            ),
        ),
        configs=("evicted",),
    ),
    Mutant(
        "F10",
        "5 primary 1",
        "evicted is said as soon as the session is not found",
        (
            put(
                "pbserver.primary",
                """
        elif not self._admit(link, batch):
            self._ask(link, batch)
""",
                """
        elif not self._admit(link, batch):
            self.out.send(link, BatchRefused(batch.sequence, EVICTED))
""",
            ),
        ),
        configs=("evicted",),
    ),
    Mutant(
        "F10b",
        "5 primary 1",
        "evicted is said from what is committed, by who may have been replaced",
        (
            put(
                "pbserver.primary",
                "if question.end <= commit and question.round <= echoed:",
                "if question.end <= commit:",
            ),
        ),
        configs=("evicted",),
    ),
    Mutant(
        "F11",
        "5 primary 1",
        "a batch is compared with the applied table when it comes, and never again",
        (
            put(
                "pbserver.primary",
                """
            self.door.ask(tail[ahead], link)
""",
                """
            index = self.history.append(self.view.number, batch).index
            self.door.ask(index, link)
""",
            ),
            put(
                "pbserver.pending_requests",
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
            put(
                "pbserver.sessions",
                """
        if sequence < session.next:
            # Executed before: the same bytes again, or nothing.
            self.work += ENTRY_WORK
            return session.answer(sequence)
        if sequence != session.next or batch.first_unanswered > sequence:
""",
                """
        if False:
""",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "F12",
        "4.1",
        "a view service without its memory begins at view 1",
        (
            put(
                "viewservice.views",
                """
        if hello.role == SERVER:
            # It may hold""",
                """
        if False:
            # It may hold""",
            ),
            put(
                "viewservice.views",
                """
        return Goodbye("memory lost", f"{text}, and this view service has no view yet")
""",
                """
        return None
""",
            ),
        ),
        configs=("memory",),
    ),
    Mutant(
        "F13",
        "4.12",
        "a view is told first, and written down then",
        (
            put(
                "viewservice.service",
                """
        if not self._remember():
            return
        self._tell_log()
""",
                """
        self._tell_log()
""",
            ),
            put(
                "viewservice.service",
                """
        self._asked = set(due)
""",
                """
        self._asked = set(due)
        self._remember()
""",
            ),
        ),
    ),
    Mutant(
        "R1",
        "5 primary 4",
        "a read waits until what was logged before it is committed, for no round",
        (
            put(
                "pbserver.round_waiters",
                "while reads and reads[0].end <= commit and reads[0].round <= echoed:",
                "while reads and reads[0].end <= commit:",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "R1b",
        "5 primary 4",
        "the echo of a round that was sent before the read came is enough",
        (
            put(
                "pbserver.primary",
                "self.waiters.add(RoundWaiter(link, asked, end, self.round + 1))",
                "self.waiters.add(RoundWaiter(link, asked, end, self.round))",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "R2",
        "5",
        "a backup's position is the index at which its log ends, in whatever view",
        (
            put(
                "pbserver.backup",
                "position = LogPosition(self.view.number, entry_view, self.verified)",
                "position = LogPosition(self.view.number, log.end_view, log.end)",
            ),
            put(
                "pbserver.primary",
                "if self.history.log.view_at(position.index) == position.entry_view:",
                "if self.history.log.view_at(position.index) is not None:",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "R2b",
        "5 transfer 4",
        "what follows a snapshot's last index stays, whatever history it is of",
        (
            put(
                "pbserver.history",
                "if self.log.view_at(state.index) == state.view:",
                "if self.log.view_at(state.index) is not None:",
            ),
        ),
        configs=("divergent",),
    ),
    Mutant(
        "R3",
        "4.3",
        "who was eligible once stays so",
        (
            put(
                "viewservice.views",
                "self.eligible = frozenset((primary, *proposed.holders))",
                "self.eligible |= {primary}",
            ),
        ),
        configs=("small",),
    ),
    Mutant(
        "R4",
        "5 transfer 5",
        "a newcomer is synced as soon as it joins the rule",
        (
            put(
                "pbserver.follower",
                "self.synced = self.joined and self.verified >= self.mark",
                "self.synced = self.joined",
            ),
        ),
        configs=("joining-alone",),
    ),
)

#: Which cannot be written against this code, and why.
ABSENT: Final[dict[str, str]] = {}
