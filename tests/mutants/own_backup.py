"""More of the backup, and of transfers."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
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
        history, view = self.history, self.view.number
""",
                """
        history, view = self.history, self.view.number
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
)
