"""More of the view service: rules, roster, memory, disk, ticks."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "view-holders",
        "4.3",
        "every backup that stays is called a holder",
        (
            put(
                "viewservice.views",
                "for backup in kept if backup.name in self.eligible),",
                "for backup in kept),",
            ),
            put(
                "viewservice.views",
                """
            assert name in self.eligible
            assert has(old, proposed""",
                """
            assert has(old, proposed""",
            ),
        ),
    ),
    Mutant(
        "view-no-holders",
        "4.3",
        "a view names no holders",
        (
            put(
                "viewservice.views",
                "for backup in kept if backup.name in self.eligible),",
                "for backup in kept if False),",
            ),
        ),
    ),
    Mutant(
        "view-places",
        "4.8",
        "a free place is filled before the view is acknowledged",
        (
            put(
                "viewservice.views",
                "places = self.backups_max if self.acknowledged else len(view.backups)",
                "places = self.backups_max",
            ),
            put(
                "viewservice.views",
                "return not self.strict and not all(",
                "return not self.strict or not all(",
            ),
        ),
    ),
    Mutant(
        "view-impostor",
        "4.2",
        "a ping under the primary's name is the primary's",
        (
            put(
                "viewservice.views",
                """
        if member.is_same_copy(view.primary):
            backups = frozenset""",
                """
        if member.name == view.primary.name:
            backups = frozenset""",
            ),
        ),
    ),
    Mutant(
        "view-dead-heirs",
        "4.10",
        "backups that are dead have a say in whether the primary is cut off",
        (
            put(
                "viewservice.views",
                "if backup.name in self.eligible and not self.roster.is_dead(backup)",
                "if backup.name in self.eligible",
            ),
        ),
    ),
    Mutant(
        "view-accusation",
        "4.10",
        "what a backup once said against its primary counts for the whole view",
        (
            put(
                "viewservice.views",
                """
                self.cut_off -= accuser
""",
                """
                pass
""",
            ),
        ),
    ),
    Mutant(
        "view-reset",
        "4.10",
        "accusations outlive their view",
        (
            put(
                "viewservice.views",
                """
        self.unreachable = self.cut_off = frozenset()
        self.weighed = 0
""",
                "",
            ),
        ),
    ),
    Mutant(
        "view-weight",
        "4.10",
        "an accusation that was taken back goes on being weighed",
        (
            put(
                "viewservice.views",
                """
            self.weighed = self.weighed if self.unreachable else 0
""",
                "",
            ),
        ),
    ),
    Mutant(
        "view-successor",
        "4.10",
        "whom a dead primary could not reach leaves with it",
        (
            put(
                "viewservice.views",
                "gone = self._unreachable() if stays else frozenset()",
                "gone = self._unreachable()",
            ),
        ),
    ),
    Mutant(
        "memory-superseded",
        "4.12",
        "incarnations that lost their name are not remembered",
        (
            put(
                "viewservice.roster",
                "Known(last, each.superseded, each.served, "
                "each.served and each.stopped)",
                "Known(last, (), each.served, each.served and each.stopped)",
            ),
        ),
    ),
    Mutant(
        "memory-lost",
        "4.13",
        "that memory was lost is forgotten with a restart",
        (
            put(
                "viewservice.views",
                "views.lost, views.is_lost_for_good = memory.lost, bool(memory.lost)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "memory-servers",
        "4.12",
        "who was there before a restart is not remembered",
        (
            put(
                "viewservice.views",
                """
            roster.servers[known.member.name] = recalled(known, roster.dead_pings)
""",
                """
            pass
""",
            ),
        ),
    ),
    Mutant(
        "memory-history",
        "4.11",
        "the causes of the view are forgotten with a restart",
        (
            put(
                "viewservice.views",
                """
        views.history = memory.history
""",
                "",
            ),
        ),
    ),
    Mutant(
        "roster-limit",
        "4.4",
        "death takes one tick more",
        (
            put(
                "viewservice.server",
                "return self.leaving or self.silent + self.hint >= dead_pings",
                "return self.leaving or self.silent + self.hint > dead_pings",
            ),
        ),
    ),
    Mutant(
        "roster-leaving",
        "4.11",
        "a server that says it is stopping is waited for",
        (
            put(
                "viewservice.server",
                "return self.leaving or self.silent + self.hint >= dead_pings",
                "return self.silent + self.hint >= dead_pings",
            ),
        ),
    ),
    Mutant(
        "roster-hint",
        "4.6",
        "a connection that is lost while another one stands is a hint",
        (
            put(
                "viewservice.roster",
                "if server.link == link and server.connected:",
                "if server.link >= link and server.connected:",
            ),
        ),
    ),
    Mutant(
        "roster-doubt",
        "4.10",
        "that a server could not be reached is forgotten with its next ping",
        (
            put(
                "viewservice.roster",
                """
            damping=known.damping,
""",
                "",
            ),
        ),
    ),
    Mutant(
        "roster-order",
        "4.10",
        "who could not be reached is not put behind the others",
        (
            put(
                "viewservice.roster",
                "(found if calm else doubtful).append(server.member)",
                "found.append(server.member)",
            ),
        ),
    ),
    Mutant(
        "roster-line",
        "4.7",
        "who was dead keeps its place in the line",
        (
            put(
                "viewservice.roster",
                "if old is not None and self.is_dead(ping.member):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "roster-superseded",
        "4.5",
        "only the last incarnation that lost a name is remembered",
        (
            put(
                "viewservice.server",
                "gone = (*old.superseded, old.member.incarnation)",
                "gone = (old.member.incarnation,)",
            ),
        ),
    ),
    Mutant(
        "roster-known",
        "4.5",
        "a name that is known from before a restart is free at once",
        (
            put(
                "viewservice.server",
                "return not self.stopped and self.silent < dead_pings",
                "return self.link != NO_LINK "
                "and not self.stopped and self.silent < dead_pings",
            ),
        ),
    ),
    Mutant(
        "disk-fsync",
        "4.12",
        "the state is written and not fsynced",
        (
            put(
                "viewservice.state_file",
                """
            os.fsync(file.fileno())
""",
                "",
            ),
        ),
    ),
    Mutant(
        "disk-in-place",
        "4.12",
        "the state is written over the old one",
        (
            put(
                "viewservice.state_file",
                'beside = self.path.with_name(self.path.name + ".new")',
                "beside = self.path",
            ),
        ),
    ),
    Mutant(
        "disk-checksum",
        "4.12",
        "a damaged state is read",
        (
            put(
                "viewservice.state_file",
                "if zlib.crc32(body) != int(header[2], 16):",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "disk-saved",
        "4.12",
        "a state counts as saved before it is",
        (
            put(
                "viewservice.state_file",
                """
            return False
        beside""",
                """
            return False
        self._saved = memory
        beside""",
            ),
        ),
    ),
    Mutant(
        "disk-lock",
        "4.12",
        "two view services may have one state file",
        (put("viewservice.state_file", "fcntl.LOCK_EX", "fcntl.LOCK_SH"),),
    ),
    Mutant(
        "tick-reading",
        "4.4",
        "a late tick comes before what waits in the sockets is read",
        (
            put(
                "viewservice.ticker",
                "self._read_first(READING_TURNS)",
                "self._read_first(0)",
            ),
        ),
    ),
    Mutant(
        "tick-drift",
        "4.4",
        "ticks are counted from when the last one came, late or not",
        (
            put(
                "viewservice.ticker",
                "self._next(self._due_s + self._interval_s)",
                "self._next(self._reactor.seconds() + self._interval_s)",
            ),
        ),
    ),
)
