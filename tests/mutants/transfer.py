"""Taking up views, and transfers (T)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "T1",
        "4.3",
        "a backup is promoted that was never said to be synced",
        (
            put(
                "viewservice.views",
                "member.name not in self.eligible or not member.is_same_copy(backup)",
                "not member.is_same_copy(backup)",
            ),
            put(
                "viewservice.views",
                """
            assert primary.name in self.eligible
            assert has(old, primary)
""",
                """
            assert has(old, primary)
""",
            ),
        ),
    ),
    Mutant(
        "T2",
        "5 transfer 4",
        "a transfer is over when its first part is confirmed",
        (
            put(
                "pbserver.transfer",
                "return self.ended and self.confirmed == self.part",
                "return self.confirmed > 0",
            ),
        ),
    ),
    Mutant(
        "T3",
        "4.8",
        "a backup that dies while it comes up is waited for",
        (
            put(
                "viewservice.views",
                """
        return not self.strict and not all("""
                """has(proposed, each) for each in view.backups)
""",
                """
        return False
""",
            ),
        ),
    ),
    Mutant(
        "T4",
        "6",
        "the sessions are not in the snapshot",
        (
            put(
                "pbserver.sessions",
                "return SessionsCut(list(self.table.items()))",
                "return SessionsCut([])",
            ),
        ),
    ),
    Mutant(
        "T5",
        "5 transfer 3",
        "a snapshot shows what was put after it was taken",
        (
            put(
                "pbserver.pairs",
                """
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        before = len(leaf)
""",
                """
        before = len(leaf)
""",
            ),
        ),
    ),
    Mutant(
        "T6",
        "5 transfer 2",
        "what is logged while a snapshot is sent may be forgotten before it is sent",
        (
            put(
                "pbserver.follower",
                """
        if self.transfer is not None:
            return self.transfer.index
        if self.next""",
                """
        if self.next""",
            ),
        ),
    ),
    Mutant(
        "T8",
        "5 backup 1",
        "a part of a snapshot is taken from whoever sends it",
        (
            put(
                "pbserver.replica",
                """
        if isinstance(role, Backup) and role.link == link:
            role.on_snapshot_part(part)
""",
                """
        if isinstance(role, Backup):
            role.on_snapshot_part(part)
""",
            ),
        ),
    ),
    Mutant(
        "T9",
        "5 backup 2",
        "a backup that comes back takes all that it has for verified",
        (
            put(
                "pbserver.backup",
                """
        return self.history.commit

    @_accepted""",
                """
        return self.history.log.end

    @_accepted""",
            ),
        ),
    ),
    Mutant(
        "T12",
        "5 transfer 3",
        "all parts of a snapshot are sent at once",
        (
            put(
                "pbserver.transfer",
                "if self.ended or "
                "self.part - self.confirmed >= limits.parts_unconfirmed_max:",
                "if self.ended:",
            ),
        ),
    ),
    Mutant(
        "T13",
        "5 transfer 3",
        "the whole state is one part",
        (
            put(
                "pbserver.transfer",
                "body = self._take(limits.part_bytes)",
                "body = self._take(1 << 60)",
            ),
        ),
    ),
    Mutant(
        "T15",
        "5 backup 2",
        "what was verified in an older view counts, if the primary is the same",
        (
            put(
                "pbserver.backup",
                """
        self.link = before.link
        self.incoming, self.job = before.incoming, before.job
""",
                """
        self.link = before.link
        self.incoming, self.job = before.incoming, before.job
        self.verified = max(self.verified, before.verified)
""",
            ),
        ),
    ),
    Mutant(
        "T16",
        "5 primary 3",
        "what a primary knew of a name in an older view counts in the next",
        (
            put(
                "pbserver.primary",
                """
            self.followers[member.name] = follower
            link = """,
                """
            self.followers[member.name] = follower
            if member.name in known:
                follower.verified = known[member.name].verified
            link = """,
            ),
        ),
    ),
    Mutant(
        "T17",
        "5 transfer 4",
        "a transfer is kept for a backup that is gone, and nobody else gets one",
        (
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
)

ABSENT: Final[dict[str, str]] = {}
