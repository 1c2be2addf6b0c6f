"""More of the primary."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "primary-rule",
        "5 primary 3",
        "in the rule are those who are synced, not those who have joined",
        (
            put(
                "pbserver.primary",
                "if follower.joined:",
                "if follower.synced:",
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
                """
            not accepted.commit <= accepted.verified <= end
            or accepted.round > self.round
""",
                """
            False
""",
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
        self.waiters.add(RoundWaiter(link, asked, end, self.round + 1))
        self._round_wanted = True
""",
                """
        self.waiters.add(RoundWaiter(link, asked, end, self.round + 1))
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
                "+ self.waiters.bytes",
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
            self.waiters.link_lost(link)
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
        "follower-haste",
        "5 transfer 5",
        "everybody waits for all that a newcomer lacks, as soon as that is bounded",
        (
            put(
                "pbserver.follower",
                "not self._comes_nearer(log, limits)",
                "True",
            ),
        ),
    ),
    Mutant(
        "primary-answers",
        "bounds",
        "one turn answers all reads, however much that is",
        (
            put(
                "pbserver.primary",
                "            if room <= 0 or state.work >= stop:\n"
                "                self.is_behind = True\n"
                "                break\n",
                "",
            ),
        ),
    ),
    Mutant(
        "questions-gone",
        "bounds",
        "reads are made for who is gone",
        (
            put(
                "pbserver.round_waiters",
                "for waiting in (self._reads, self._early, self._strangers):",
                "for waiting in (self._early, self._strangers):",
            ),
        ),
    ),
    Mutant(
        "door-askers",
        "5 primary 1",
        "who asks again for a batch in the tail takes the place of who asked first",
        (
            put(
                "pbserver.pending_requests",
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
                "pbserver.pending_requests",
                """
            if type(batch) is Batch:
                key = (batch.session, batch.opened_index)
                door""",
                """
            if type(batch) is Batch and door._asked:
                key = (batch.session, batch.opened_index)
                door""",
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
        ),
    ),
    Mutant(
        "primary-hangs",
        "5 primary 5",
        "a connection to a backup on which nothing comes is kept",
        (
            put(
                "pbserver.replica",
                """
            role.hang_up(HANGING_DEATHS * self.dead_pings)
""",
                """
            pass
""",
            ),
        ),
    ),
    Mutant(
        "primary-late-batch",
        "5 primary 2",
        "a batch that had waited for its session is not sent before something else is",
        (
            put(
                "pbserver.primary",
                """
            self.is_behind = True
        # Now it is certain""",
                """
            pass
        # Now it is certain""",
            ),
        ),
    ),
)
