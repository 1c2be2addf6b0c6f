"""Primary and backup at work (P)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "P1",
        "5 primary 4",
        "a read is answered from the primary's own copy, at once",
        (
            put(
                "pbserver.primary",
                "self._ask(link, query)",
                "self._read(link, query)",
            ),
        ),
    ),
    Mutant(
        "P2",
        "5 primary 5",
        "a backup without a connection is not waited for",
        (
            put(
                "pbserver.primary",
                "if follower.joined:",
                "if follower.joined and follower.link is not None:",
            ),
        ),
    ),
    Mutant(
        "P3",
        "S3",
        "a primary that is replaced says of what it has logged that it was refused",
        (
            put(
                "pbserver.primary",
                """
        for link in dict.fromkeys((""",
                """
        for index, links in self.door._asked.items():
            request = self.history.log.entry(index).request
            if type(request) is Batch:
                for link in links:
                    self.out.send(link, BatchRefused(request.sequence, EVICTED))
        for link in dict.fromkeys((""",
            ),
        ),
    ),
    Mutant(
        "P4",
        "5 primary 3",
        "committed is what was sent to all in the rule",
        (
            put(
                "pbserver.primary",
                "verified = min(verified, follower.verified)",
                "verified = min(verified, (follower.next or 1) - 1)",
            ),
        ),
    ),
    Mutant(
        "P6",
        "5 backup 2",
        "an entry that was verified is taken in again when it comes again",
        (
            put(
                "pbserver.backup",
                """
            if entry.index <= verified:
                continue
""",
                "",
            ),
        ),
    ),
    Mutant(
        "P7",
        "5 backup 2",
        "entries are taken in although some before them are missing",
        (
            put(
                "pbserver.backup",
                """
            if entry.index > verified + 1:
                self.verified = verified
                self._tell_position()
                return
            try:""",
                """
            try:""",
            ),
        ),
    ),
    Mutant(
        "P8",
        "5 backup 3",
        "a backup answers reads",
        (
            put(
                "pbserver.replica",
                """
        if not isinstance(role, Primary):
            self._refuse(link, message, "not primary")
""",
                """
        if type(message) is Query and isinstance(role, Backup):
            body = self.history.state.query(message.body)
            self._out.send(link, QueryAnswer(message.id, body))
        elif not isinstance(role, Primary):
            self._refuse(link, message, "not primary")
""",
            ),
            put(
                "pbserver.replica",
                "    Query,",
                "    Query,\n    QueryAnswer,",
            ),
        ),
    ),
    Mutant(
        "P10",
        "5 backup 1",
        "a Forward of a view that was not introduced is taken in",
        (
            put(
                "pbserver.replica",
                """
            self._out.ignore(link, forward, "of a view that was not introduced")
        elif not isinstance(role, Backup) or role.link != link:""",
                """
            if isinstance(role, Backup):
                role.on_forward(forward)
        elif not isinstance(role, Backup) or role.link != link:""",
            ),
        ),
    ),
    Mutant(
        "P11",
        "5",
        "any other view replaces the one that is known",
        (
            put(
                "pbserver.replica",
                """
        if view.number == mine.number or view.counter < mine.counter:
            return None
""",
                """
        if view.number == mine.number:
            return None
        self._become(view)
        return None
""",
            ),
            put(
                "pbserver.replica",
                """
        assert view.counter > self.view.counter
""",
                "",
            ),
            put(
                "pbserver.primary",
                """
        assert view.counter > self.view.counter
""",
                "",
            ),
        ),
    ),
    Mutant(
        "P14",
        "5 views",
        "a primary that goes on forgets who waits for what",
        (
            put(
                "pbserver.primary",
                """
        self._follow(self.followers)
""",
                """
        self.door = self._rebuilt_door()
        self._follow(self.followers)
""",
            ),
        ),
    ),
    Mutant(
        "P14b",
        "5 views",
        "a primary that goes on forgets the reads that wait",
        (
            put(
                "pbserver.primary",
                """
        self._follow(self.followers)
""",
                """
        self.waiters = RoundWaiters()
        self._follow(self.followers)
""",
            ),
        ),
    ),
    Mutant(
        "P17",
        "4.10",
        "what a primary says about backups that it cannot reach goes unheard",
        (
            put(
                "viewservice.views",
                "self.unreachable = backups.intersection(ping.unreachable)",
                "self.unreachable = frozenset()",
            ),
        ),
    ),
    Mutant(
        "P19",
        "S7",
        "a backup that answers differently goes on",
        (
            put(
                "pbserver.backup",
                "if forward.commit == history.commit and forward.chain != chain:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "P20",
        "S7",
        "which session goes when there are too many is up to the order of a set",
        (
            put(
                "pbserver.sessions",
                "self._evict(next(iter(self.table)))",
                "self._evict(next(iter(set(self.table))))",
            ),
        ),
    ),
    Mutant(
        "P21",
        "5 backup 2",
        "a backup says yes to entries that it keeps only once they are committed",
        (
            put(
                "pbserver.backup",
                """
                history.accept(entry)
""",
                """
                if entry.index <= forward.commit:
                    history.accept(entry)
""",
            ),
            put(
                "pbserver.backup",
                "upto = min(forward.commit, self.verified)",
                "upto = min(forward.commit, history.log.end)",
            ),
        ),
    ),
    Mutant(
        "P22",
        "5 backup 2",
        "a backup that lacks what is before says yes all the same",
        (
            put(
                "pbserver.backup",
                """
                self.verified = verified
                self._tell_position()
                return
""",
                """
                self.verified = entry.index
                self._echo = forward.round
                return
""",
            ),
        ),
    ),
    Mutant(
        "P23",
        "5 backup 3",
        "who asks the wrong server is not told the view",
        (
            put(
                "pbserver.replica",
                """
        self._out.send(link, Redirect(self.view))
""",
                "",
            ),
        ),
    ),
    Mutant(
        "P23b",
        "5 views",
        "a primary that is replaced says nothing to who waits",
        (
            put(
                "pbserver.primary",
                """
            self.out.send(link, Redirect(view))
""",
                """
            pass
""",
            ),
        ),
    ),
    Mutant(
        "P24",
        "9",
        "an empty value and an absent key are the same",
        (
            put(
                "pbserver.operations",
                """
    if value is None:
        return _DONE
""",
                """
    if not value:
        return _DONE
""",
            ),
        ),
    ),
    Mutant(
        "P24b",
        "9",
        "a comparison with an absent key succeeds for an empty value",
        (
            put(
                "pbserver.operations",
                "if fits and pairs.get(command.key) != command.expected:",
                'if fits and (pairs.get(command.key) or b"") != '
                '(command.expected or b""):',
            ),
        ),
    ),
    Mutant(
        "P25",
        "bounds",
        "to a slow backup everything is sent, however much is on its way",
        (
            put(
                "pbserver.follower",
                """
        if room <= 0:
            return ()
        upto = log.reach(sent, min(room, limits.forward_bytes_max))
""",
                """
        upto = log.reach(sent, limits.forward_bytes_max)
""",
            ),
        ),
    ),
)

ABSENT: Final = {
    "P5": "what is logged and forwarded is the request; there is no value to copy",
    "P13": "a newcomer is sent the log; there is no other list of what is under way"
    " (that its beginning is not in the log it must accept is F6)",
    "P18": "as P5",
}
