"""More of what is replicated: log, sessions, store."""

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

    @property
    def applier""",
                """
        log.append(entry)

    @property
    def applier""",
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
                "pbserver.digests",
                "in self.waiting if index <= state.index]:",
                "in self.waiting if index < state.index]:",
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
                " and session.opened_index == request.opened_index:",
                ":",
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
                "(session, stamp_ms=entry.stamp_ms)",
                "(session, stamp_ms=entry.stamp_ms, opened_index=entry.index)",
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
                "= batch.first_unanswered, answers[dropped:]",
                "= batch.first_unanswered, answers[dropped + 1 :]",
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
        if self.answer_bytes""",
                """
        if self.answer_bytes""",
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
        self._digest.update(_encode(items)[len(msgpack_array.header(len(items))) :])
""",
                "",
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
        value = leaf.pop(key)
""",
                """
        value = leaf.pop(key)
""",
            ),
        ),
    ),
    Mutant(
        "store-append",
        "5 transfer 3",
        "a snapshot shows what was appended after it was taken",
        (
            put(
                "pbserver.pairs",
                """
        if self._needed and id(leaf) in self._needed:
            leaf = self._own(at)
        before = leaf.get(key)
""",
                """
        before = leaf.get(key)
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
                "(not self._cuts or key in self._grown):",
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
