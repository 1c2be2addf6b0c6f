"""What stops a service for good, or makes it run in circles (L)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "L1",
        "4.7",
        "views move by ticks, whoever has pinged or not",
        (
            put(
                "viewservice.views",
                """
            self.weighed = min(WEIGH_TICKS, self.weighed + 1)
""",
                """
            self.weighed = min(WEIGH_TICKS, self.weighed + 1)
        for server in list(self.servers.values()):
            proposed = self._due(server)
            if proposed is not None:
                self._advance(proposed)
                break
""",
            ),
        ),
    ),
    Mutant(
        "L2",
        "4.4",
        "ticks that were missed are made up",
        (
            put(
                "viewservice.ticker",
                """
        if late_s >= PAUSE_INTERVALS * self._interval_s:
            self._paused(late_s)
""",
                """
        for _ in range(int(late_s / self._interval_s)):
            self._tick()
""",
            ),
        ),
    ),
    Mutant(
        "L2b",
        "4.4",
        "connections that callers gave up while the view service stood still count",
        (
            put(
                "viewservice.roster",
                """
        self.grace = max(self.grace, self.dead_pings)
        for name, server in self.servers.items():
            if server.hint and not server.is_dead(self.dead_pings):
                self.servers[name] = replace(server, hint=0)
""",
                """
        return
""",
            ),
        ),
    ),
    Mutant(
        "L3",
        "4.6",
        "a lost connection leaves less than one interval to call again",
        (
            put(
                "viewservice.roster",
                "hint = 0 if self.grace else self.dead_pings - 2 - server.silent",
                "hint = 0 if self.grace else self.dead_pings - 1 - server.silent",
            ),
        ),
    ),
    Mutant(
        "L4",
        "4.1",
        "a founding primary that dies unacknowledged is waited for",
        (
            put(
                "viewservice.views",
                """
        if self.is_unfounded():
            return True
        backup = view.backup(member.name)
""",
                """
        backup = view.backup(member.name)
""",
            ),
        ),
    ),
    Mutant(
        "L5",
        "4.3",
        "backups become eligible all together or not at all",
        (
            put(
                "viewservice.views",
                "if not synced <= self.eligible:",
                "if synced == backups:",
            ),
        ),
    ),
    Mutant(
        "L6",
        "5 views",
        "who is promoted asserts that it was in step with the primary before",
        (
            put(
                "pbserver.replica",
                """
        if leads:
            # All that lies in this log is history now.""",
                """
        if leads:
            assert (
                not isinstance(before, Backup)
                or before.verified == self.history.log.end
            )
            # All that lies in this log is history now.""",
            ),
        ),
    ),
    Mutant(
        "L7",
        "4.5",
        "a ping of any other incarnation takes the name over",
        (
            put(
                "viewservice.roster",
                "if incarnation in known.superseded:",
                "if False:",
            ),
            put(
                "viewservice.roster",
                "if known.holds_its_name(self.dead_pings) or link < known.link:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "L7b",
        "4.5",
        "late bytes of a connection that is gone are a ping",
        (
            put(
                "viewservice.roster",
                """
        if link < known.link or (link == known.link and not known.connected):
            return None
""",
                "",
            ),
        ),
    ),
    Mutant(
        "L8",
        "5 primary 2",
        "nothing is sent to a backup while nothing happens",
        (
            put(
                "pbserver.primary",
                """
            follower.silent_ticks += 1
        self._round_wanted = True
""",
                """
            follower.silent_ticks += 1
""",
            ),
        ),
    ),
    Mutant(
        "L9",
        "5 primary 1",
        "each batch behind a gap is refused by itself",
        (
            put(
                "pbserver.primary",
                """
            text = f"batch {sequence} came, {session.next + len(tail)} is due"
            self.out.send(link, Goodbye("gap", text))
""",
                """
            self.out.send(link, BatchRefused(sequence, "gap"))
""",
            ),
        ),
    ),
    Mutant(
        "L10",
        "7",
        "a batch whose only call was given up is not sent again",
        (
            put(
                "client.clerk_core",
                """
            self.given_up.add(number)
            return InDoubt(""",
                """
            for sequence, sent in list(self.session.outstanding.items()):
                if sent.calls == (number,):
                    self.session.answered(sequence)
                    self.given_up.discard(number)
                    break
            else:
                self.given_up.add(number)
            return InDoubt(""",
            ),
        ),
    ),
    Mutant(
        "L11",
        "5 time",
        "stamps are what this server's clock says",
        (
            put(
                "pbserver.history",
                "stamp_ms += self.now_ms - self._got_ms",
                "stamp_ms = max(stamp_ms, self.now_ms)",
            ),
        ),
    ),
    Mutant(
        "L12",
        "8",
        "a value is put into an answer that is full",
        (
            put(
                "pbserver.operations",
                """
    if len(value) + AROUND_BYTES > budget.fit:
        return _NO_ROOM
    return budget.carried(_encode(Ok(value)))
""",
                """
    return budget.carried(_encode(Ok(value)))
""",
            ),
        ),
    ),
    Mutant(
        "L12b",
        "8",
        "a batch is let in that fits into no Forward",
        (
            put(
                "pbserver.primary",
                "elif len(batch.body) > BODY_BYTES_MAX:",
                "elif len(batch.body) > 2 * BODY_BYTES_MAX:",
            ),
        ),
    ),
    Mutant(
        "L13",
        "4.10",
        "a primary is believed against all of its backups",
        (
            put(
                "viewservice.views",
                "return len(heirs) >= 2 and heirs <= self.cut_off",
                "return False",
            ),
        ),
    ),
    Mutant(
        "L13b",
        "4.10",
        "a primary's word against its backups is not weighed",
        (
            put(
                "viewservice.views",
                "if len(heirs) >= 2 and self.weighed < WEIGH_TICKS:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "L14",
        "6",
        "a read names the last batch of its session though that was answered",
        (
            put(
                "client.clerk_core",
                "if session is None or not session.outstanding:",
                "if session is None or session.opened_index is None:",
            ),
        ),
    ),
)

ABSENT: Final[dict[str, str]] = {}
