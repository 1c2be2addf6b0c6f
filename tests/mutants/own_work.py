"""Bounded work, and liveness that follows it: bugs of our own."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "work-refusal",
        "9",
        "what comes when the budget is used up is executed",
        (put("pbserver.budget", "if self.work < 0:", "if False:"),),
        tests=("budget",),
    ),
    Mutant(
        "work-scan",
        "9",
        "the pairs that a scan returns cost nothing",
        (put("pbserver.operations", "    budget.found(len(found))\n", ""),),
        tests=("budget",),
    ),
    Mutant(
        "work-leaf",
        "9",
        "a leaf may have any number of long keys",
        (put("pbserver.pairs", "_width(leaf) > LEAF_KEY_BYTES_MAX", "False"),),
        tests=("budget",),
    ),
    Mutant(
        "work-row",
        "9",
        "a leaf joins only the one before it, so scans cross leaves of one pair",
        (put("pbserver.pairs", "and at < len(self._fences):", "and not at:"),),
        tests=("budget",),
    ),
    Mutant(
        "work-halves",
        "9",
        "keys that come in order leave leaves behind that are half full",
        (put("pbserver.pairs", "half = len(keys) - 1", "pass"),),
        tests=("pairs",),
    ),
    Mutant(
        "work-long-grown",
        "9",
        "a value that grows long in place is not counted as a long one",
        (
            put(
                "pbserver.pairs", "if before <= FREED_BYTES_FREE < len(value):", "if 0:"
            ),
        ),
        tests=("budget",),
    ),
    Mutant(
        "work-long-deleted",
        "9",
        "a long value that was deleted is counted for ever, and puts are slow",
        (
            put(
                "pbserver.pairs",
                """
        if len(value) > FREED_BYTES_FREE:
            self.long_values -= 1
""",
                "",
            ),
        ),
        tests=("budget",),
    ),
    Mutant(
        "work-long-before",
        "9",
        "a put that drops a long value is free after another command of its body",
        (
            put(
                "pbserver.operations",
                """
        if pairs.long_values:
            quick = None
""",
                "",
            ),
        ),
        tests=("budget",),
    ),
    Mutant(
        "work-long-alone",
        "9",
        "a put that drops a long value is free if it comes alone",
        (put("pbserver.operations", " or pairs.long_values:", ":"),),
        tests=("budget",),
    ),
    Mutant(
        "work-quick-read",
        "9",
        "a put in a query is executed",
        (put("pbserver.operations", "if operations is WRITES and not", "if not"),),
        tests=("budget", "store"),
    ),
    Mutant(
        "work-moved",
        "bounds",
        "a turn does not count what it costs to split a leaf",
        (put("pbserver.store", "MOVED_WORK * self._pairs.moved", "0"),),
        tests=("budget",),
    ),
    Mutant(
        "work-copied",
        "9",
        "what an append costs depends on how the value came to be",
        (
            put(
                "pbserver.operations",
                "    if before > COPIED_BYTES_FREE:",
                "    if before > COPIED_BYTES_FREE and type(pairs.get(key)) is bytes:",
            ),
        ),
        tests=("budget",),
    ),
    Mutant(
        "work-items",
        "9",
        "a body may have any number of items",
        (put("pbserver.msgpack_array", "if room < 0:", "if False:"),),
        tests=("budget",),
    ),
    Mutant(
        "turn-commit",
        "bounds",
        "a primary executes in one turn all that is committed",
        (
            put(
                "pbserver.primary",
                "            if state.work >= stop:\n                # Everybody",
                "            if False:\n                # Everybody",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-forgotten",
        "5 primary 3",
        "what a turn leaves to be executed waits for the next message",
        (
            put(
                "pbserver.primary",
                "                if entry.index < upto:\n"
                "                    self.is_behind = True\n",
                "",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-backup",
        "bounds",
        "a backup applies in one turn all that is committed",
        (put("pbserver.backup", "if state.work >= stop:", "if False:"),),
        tests=("turns",),
    ),
    Mutant(
        "turn-holds",
        "5 backup 2",
        "a backup that lags goes on reporting what it accepts",
        (
            put(
                "pbserver.backup",
                "            if self._lags:\n                self._accepted =",
                "            if False:\n                self._accepted =",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-applied",
        "5 backup 2",
        "a backup that lags reports less as accepted than it has applied",
        (
            put(
                "pbserver.backup",
                "self._accepted = max(self._accepted, self.history.commit)",
                "pass",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-caught-up",
        "5 backup 2",
        "a backup that has caught up waits for the next Forward to report it",
        (
            put(
                "pbserver.backup",
                """
            if self.verified > self._accepted and self.link is not None:
                self._echo = self._round
""",
                "",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-alive",
        "5 backup 2",
        "a backup that lags gives no sign of life",
        (
            put(
                "pbserver.backup",
                "        if self._lags and self.link is not None:\n            # What",
                "        if False:\n            # What",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "digest-moved",
        "S7",
        "a digest that waited for another is of a later state",
        (
            put(
                "pbserver.history",
                "        digests.leaving(state)\n        answer",
                "        answer",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "digest-cut",
        "S7",
        "a digest shows what was put while it was computed",
        (
            put(
                "pbserver.pairs",
                "needed[id(leaf)] = needed.get(id(leaf), 0) + 1",
                "needed[id(leaf)] = 1",
            ),
        ),
        tests=("pairs",),
    ),
    Mutant(
        "digest-left",
        "bounds",
        "a digest that nobody waits for any more is computed to its end",
        (
            put(
                "pbserver.digests",
                "            if not self._links:\n                self._drop()\n",
                "",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "job-late",
        "5 transfer 4",
        "a machine is installed before it is restored",
        (put("pbserver.backup", "elif incoming.job is not None:", "elif False:"),),
        tests=("turns",),
    ),
    Mutant(
        "job-stale",
        "5 transfer 4",
        "what was restored for a transfer that has ended is installed",
        (
            put(
                "pbserver.backup",
                "if incoming is None or incoming.job is not job:",
                "if incoming is None:",
            ),
            put(
                "pbserver.backup",
                "self._drop_incoming()\n            self.link = self._echo = None",
                "self.link = self._echo = None",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "progress-late",
        "4.4",
        "ticks that are late are progress",
        (put("pbserver.progress", "late_share <= 0.5 and ", ""),),
        tests=("progress",),
    ),
    Mutant(
        "progress-idle",
        "4.4",
        "work that stands still is progress",
        (put("pbserver.progress", " and not is_idle", ""),),
        tests=("progress",),
    ),
    Mutant(
        "progress-early",
        "4.4",
        "a ping goes out before the work that it reports",
        (
            put(
                "pbserver.pinger",
                "        self.is_due = True\n        self._server.changed()",
                "        self.send()\n        self._server.changed()",
            ),
        ),
        tests=("progress",),
    ),
    Mutant(
        "evict-all",
        "bounds",
        "one entry evicts all sessions that are due",
        (
            put(
                "pbserver.sessions",
                "for _ in range(EVICTIONS_MAX):\n            if self._first_ms",
                "while True:\n            if self._first_ms",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "repeats-unbounded",
        "bounds",
        "answers that are asked for again all go out in one turn",
        (
            put(
                "pbserver.primary",
                "while self._repeats and room > 0:",
                "while self._repeats:",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "repeats-behind",
        "bounds",
        "answers that did not fit into a turn wait for the next message",
        (
            put(
                "pbserver.primary",
                "        if self._repeats:\n            self.is_behind = True\n",
                "        if self._repeats:\n",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "dump-fatal",
        "9",
        "a state machine that cannot dump its state ends the primary",
        (
            put(
                "pbserver.primary",
                "                self._cannot_cut(follower, error)\n        transfer",
                "                raise\n        transfer",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "load-silent",
        "9",
        "a backup whose state machine cannot load the state goes on trying",
        (put("pbserver.backup", "if isinstance(error, CannotLoad):", "if False:"),),
        tests=("turns",),
    ),
    Mutant(
        "digest-asks",
        "8",
        "a link may have any number of questions for a digest that wait",
        (put("pbserver.digests", "if asked is not None or not", "if not"),),
        tests=("turns",),
    ),
    Mutant(
        "digest-refusals",
        "8",
        "each question that is answered without a digest has an answer of its own",
        (
            put(
                "pbserver.digests",
                "self._refused[link] = state.index, state.chain",
                'self._told.append((link, DigestIs(state.index, state.chain, b"")))',
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "digest-once",
        "8",
        "a link that had its digest may not ask for another",
        (
            put(
                "pbserver.digests",
                "            del self._asked[link]\n            self._told",
                "            self._told",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "refusal-each",
        "8",
        "each request that is refused in a turn is answered with the view",
        (put("pbserver.replica", "if self._refused.get(link) != number:", "if True:"),),
        tests=("turns",),
    ),
    Mutant(
        "refusal-never",
        "5",
        "a sender that was refused once is never told the view again",
        (
            put(
                "pbserver.replica",
                "            self._refused.clear()\n",
                "            pass\n",
            ),
        ),
        tests=("turns",),
    ),
    Mutant(
        "turn-endless",
        "bounds",
        "a turn takes in all events, however long that takes",
        (put("wire.daemon", "if clock() > stop_s:", "if False:"),),
        tests=("daemon",),
    ),
    Mutant(
        "turn-order",
        "bounds",
        "a turn begins with the same connections each time",
        (
            put(
                "wire.daemon",
                "key=lambda each: (self._is_patient(each), late.get(each[0], last)),",
                "key=self._is_patient,",
            ),
        ),
        tests=("daemon",),
    ),
    Mutant(
        "turn-urgent",
        "bounds",
        "servers wait until all clerks had their turn",
        (
            put(
                "wire.daemon",
                "(self._is_patient(each), late.get(each[0], last))",
                "late.get(each[0], last)",
            ),
        ),
        tests=("daemon",),
    ),
    Mutant(
        "turn-patient",
        "bounds",
        "clerks are not heard while servers have something to say",
        (
            put(
                "wire.daemon",
                "owed = next(filter(self._is_patient, rest), None)",
                "pass",
            ),
        ),
        tests=("daemon",),
    ),
    Mutant(
        "turn-role",
        "8",
        "clerks come before servers in a turn",
        (put("wire.listener", "is_patient = role != SERVER", "is_patient = False"),),
        tests=("listener",),
    ),
    Mutant(
        "turn-reads",
        "8",
        "64 KiB of short messages are decoded without a look at the time",
        (
            put(
                "wire.link",
                "min(Connection.bufferSize, longest)",
                "Connection.bufferSize",
            ),
        ),
        tests=("sockets",),
    ),
    Mutant(
        "turn-accepts",
        "8",
        "callers are taken in as long as there are more",
        (
            put(
                "wire.listener",
                "min(port.numberAccepts, ACCEPTS_MAX)",
                "port.numberAccepts",
            ),
        ),
        tests=("sockets",),
    ),
    Mutant(
        "hello-late",
        "8",
        "who is silent is waited for as long as this process stood still",
        (put("wire.link", "min(late_s, self._hello_s)", "late_s"),),
        tests=("links",),
    ),
)
