"""At most once, and the clerk (C)."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "C1",
        "7",
        "what is said again on a new connection gets new numbers",
        (
            put(
                "client.session",
                """
        return [sent.message for sent in self.outstanding.values()]
""",
                """
        said, self.outstanding = list(self.outstanding.values()), {}
        self.outstanding_bytes = 0
        return [self.batch(sent.calls, sent.message.body) for sent in said]
""",
            ),
        ),
    ),
    Mutant(
        "C3",
        "6",
        "a batch is known again only if it was the last",
        (
            put(
                "pbserver.sessions",
                """
        if sequence < session.next:
""",
                """
        if sequence == session.next - 1:
""",
            ),
            put(
                "pbserver.sessions",
                "if sequence != session.next or batch.first_unanswered > sequence:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "C8",
        "6",
        "sessions are never too many",
        (
            put(
                "pbserver.sessions",
                """
            self._evict_over(self.sessions_max - 1)
""",
                "",
            ),
        ),
    ),
    Mutant(
        "C8b",
        "6",
        "a session may be idle for ever",
        (
            put(
                "pbserver.sessions",
                """
            self._evict_idle(oldest_ms)
""",
                """
            pass
""",
            ),
        ),
    ),
    Mutant(
        "C9",
        "6",
        "answers are dropped as soon as there are four",
        (
            put(
                "pbserver.sessions",
                """
        if batch.first_unanswered > first_unanswered:
            dropped = batch.first_unanswered - first_unanswered
""",
                """
        if batch.first_unanswered > first_unanswered or len(answers) > 3:
            dropped = max(batch.first_unanswered - first_unanswered, len(answers) - 3)
""",
            ),
            put(
                "pbserver.sessions",
                "= batch.first_unanswered, answers[dropped:]",
                "= first_unanswered + dropped, answers[dropped:]",
            ),
        ),
    ),
    Mutant(
        "C10",
        "6",
        "to be asked again renews a session, at the primary alone",
        (
            put(
                "pbserver.primary",
                """
            answer = session.answer(sequence)
            if""",
                """
            answer = session.answer(sequence)
            self.history.state.table.move_to_end(batch.session)
            if""",
            ),
        ),
    ),
    Mutant(
        "C12",
        "6",
        "only the last answer of a session is kept",
        (
            put(
                "pbserver.sessions",
                """
        if batch.first_unanswered > first_unanswered:
            dropped = batch.first_unanswered - first_unanswered
            for old in answers[:dropped]:
                answer_bytes -= ANSWER_BYTES + len(old.body)
            first_unanswered, answers = batch.first_unanswered, answers[dropped:]
""",
                """
        for old in answers:
            answer_bytes -= ANSWER_BYTES + len(old.body)
        first_unanswered, answers = sequence, ()
""",
            ),
        ),
    ),
    Mutant(
        "C14",
        "7",
        "the view service is asked for every call",
        (
            put(
                "client.primary_locator",
                """
            if not self.asks:
                self._ask(now_ms)
""",
                """
            self._ask(now_ms)
""",
            ),
        ),
    ),
    Mutant(
        "C15",
        "7",
        "silence is no reason to ask the view service",
        (
            put(
                "client.primary_locator",
                """
                SILENCE_MS, self._silences, SILENCE_MS_MAX
            )
            self._ask(now_ms)
""",
                """
                SILENCE_MS, self._silences, SILENCE_MS_MAX
            )
""",
            ),
        ),
    ),
    Mutant(
        "C17",
        "S3",
        "a write that was sent and has no answer in time is said not to be executed",
        (
            put(
                "client.clerk_core",
                'return InDoubt(f"{why} after it was sent',
                'return NotExecuted(f"{why} after it was sent',
            ),
        ),
    ),
)

ABSENT: Final = {
    "C2": "there is no table but the one in the state that every replica applies"
    " entries to (that it is not in a snapshot is T4)",
    "C4": "what is stored is found by session, and the core knows no keys",
    "C6": "no answer to a query is stored anywhere",
}
