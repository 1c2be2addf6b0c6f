"""More of the clerk, and of the wire."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    # -- where the primary is
    Mutant(
        "clerk-older",
        "7",
        "a clerk goes back to an older view",
        (
            put(
                "client.primary_locator",
                "if view.number == self.view.number "
                "or view.counter < self.view.counter:",
                "if view.number == self.view.number:",
            ),
        ),
    ),
    Mutant(
        "clerk-member",
        "8",
        "a clerk speaks to whoever answers at the primary's address",
        (
            put(
                "client.primary_locator",
                "elif not member.is_same_copy(hello.member):",
                "elif False:",
            ),
        ),
    ),
    Mutant(
        "clerk-pause",
        "7",
        "attempts that came to nothing are not forgotten with an answer",
        (
            put(
                "client.primary_locator",
                """
        self._failures = 0
        self._listen(now_ms)
""",
                """
        self._listen(now_ms)
""",
            ),
        ),
    ),
    Mutant(
        "clerk-refused",
        "7",
        "a clerk does not look at the view that comes with a refusal",
        (
            put(
                "client.primary_locator",
                """
        self.learn(view, now_ms)
        if self.dial == before:
""",
                """
        if self.dial == before:
""",
            ),
        ),
    ),
    Mutant(
        "clerk-hangs",
        "7",
        "a connection that gives no answer is kept for ever",
        (
            put(
                "client.primary_locator",
                """
        if self.is_open and now_ms >= self._hung_ms:
            self._hangs += 1
            self._connect()
""",
                """
        if self.is_open and now_ms >= self._hung_ms:
            self._hangs += 1
            self.quiet_ms = now_ms
""",
            ),
        ),
    ),
    # -- calls
    Mutant(
        "clerk-overtakes",
        "7",
        "a read is sent before a write that was called earlier",
        (
            put(
                "client.calls",
                """
            if first_write is not None and number > first_write:
                break
""",
                "",
            ),
            put(
                "client.calls",
                """
            first_write is None
            and not""",
                """
            not""",
            ),
        ),
    ),
    Mutant(
        "clerk-behind",
        "S6",
        "writes that have to be said again are put behind the others",
        (
            put(
                "client.calls",
                "self.writes = writes | self.writes",
                "self.writes = self.writes | writes",
            ),
        ),
    ),
    Mutant(
        "clerk-queue",
        "bounds",
        "calls that were taken to be sent still count as waiting",
        (
            put(
                "client.calls",
                "taken, self.writes, self._write_bytes = self.writes, {}, 0",
                "taken, self.writes = self.writes, {}",
            ),
        ),
    ),
    Mutant(
        "clerk-early",
        "7",
        "a read is answered although a write before it may be missing",
        (
            put(
                "client.queries",
                "if write is None or max(self.outstanding[query]) < write",
                "if True",
            ),
        ),
    ),
    Mutant(
        "clerk-after",
        "7",
        "a read comes after the last batch but one",
        (
            put(
                "client.clerk_core",
                "return self.queries.ask(reads, session.id, session.last)",
                "return self.queries.ask(reads, session.id, max(0, session.last - 1))",
            ),
            put(
                "client.queries",
                "if write is None or max(self.outstanding[query]) < write",
                "if True",
            ),
        ),
    ),
    Mutant(
        "clerk-forgotten",
        "7",
        "reads without an answer are not asked again on a new connection",
        (
            put(
                "client.clerk_core",
                """
            self._said_opening = self._said_again = self._said_closing = False
            self._put_back({})
""",
                """
            self._said_opening = self._said_again = self._said_closing = False
""",
            ),
        ),
    ),
    # -- sessions
    Mutant(
        "clerk-lacking",
        "6",
        "a batch says that its clerk lacks no earlier answer",
        (
            put(
                "client.session",
                "self.next, first_unanswered, body)",
                "self.next, self.next, body)",
            ),
        ),
    ),
    Mutant(
        "clerk-window",
        "6",
        "batches may span more numbers than a replica keeps answers for",
        (
            put(
                "client.session",
                """
            and self.next - first_unanswered < WINDOW_MAX
""",
                "",
            ),
        ),
    ),
    Mutant(
        "clerk-birth",
        "6",
        "the last word on a session's birth counts",
        (
            put(
                "client.session",
                """
        if self.opened_index is None:
            self.opened_index = opened_index
""",
                """
        self.opened_index = opened_index
""",
            ),
        ),
    ),
    Mutant(
        "clerk-copies",
        "S3",
        "a batch that was sent twice counts as sent once",
        (
            put(
                "client.session",
                "self.outstanding[sequence] = Sent(sent.message, sent.calls, False)",
                "self.outstanding[sequence] = Sent(sent.message, sent.calls, True)",
            ),
        ),
    ),
    Mutant(
        "clerk-before",
        "S3",
        "what was sent before a refused batch is said again",
        (
            put(
                "client.session",
                """
            again = [batch, *after]
        else:
""",
                """
            doubtful, again = [], [*before, batch, *after]
        else:
""",
            ),
        ),
    ),
    Mutant(
        "clerk-too-large",
        "S3",
        "what was sent after a batch that is too large is not sent again",
        (
            put(
                "client.session",
                """
            ended = [(number, TooLarge(text)) for number in batch.calls]
""",
                """
            ended = [(number, TooLarge(text)) for number in batch.calls]
            again = []
""",
            ),
        ),
    ),
    Mutant(
        "clerk-reconnect",
        "6",
        "a new session begins on the connection of the old one",
        (
            put(
                "client.clerk_core",
                """
        self._put_back(again)
        self.locator.reconnect(f"the session was refused: {reason}", now_ms)
""",
                """
        self._put_back(again)
        self._said_opening = False
""",
            ),
        ),
    ),
    # -- how calls end
    Mutant(
        "clerk-twice",
        "S3",
        "a call that was given up ends once more with its answer",
        (
            put(
                "client.clerk_core",
                """
            ended = [pair for pair in ended if pair[0] not in self.given_up]
            self.given_up.difference_update(numbers)
        return ended
""",
                """
            self.given_up.difference_update(numbers)
        return ended
""",
            ),
        ),
    ),
    Mutant(
        "clerk-late",
        "7",
        "a message from a connection that was left is heard",
        (
            put(
                "client.clerk_core",
                "if not where.is_open or where.dial is None or "
                "where.dial[0] != attempt:",
                "if not where.is_open or where.dial is None:",
            ),
        ),
    ),
    Mutant(
        "clerk-closing",
        "7",
        "a clerk that is closed does not wait for its calls",
        (
            put(
                "client.clerk_core",
                """
        if not self._live():
            has_session""",
                """
        if not self.calls.writes:
            has_session""",
            ),
        ),
    ),
    Mutant(
        "clerk-cluster",
        "4.13",
        "a clerk takes the cluster that it met last",
        (
            put(
                "client.clerk_core",
                "if not mine or cluster == mine:",
                "if True:",
            ),
        ),
    ),
    # -- the wire
    Mutant(
        "wire-frame",
        "8",
        "a frame is read however long it says that it is",
        (
            put(
                "wire.codec",
                "if stop - at > self._limit:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "wire-role",
        "8",
        "who has answered is not compared with who was called",
        (put("wire.codec", "if role != expected:", "if False:"),),
    ),
    Mutant(
        "wire-version",
        "8",
        "any version is spoken",
        (
            put("wire.codec", "if opening.version < OLDEST_VERSION:", "if False:"),
            put("wire.codec", "if not spoken_version(hello):", "if False:"),
        ),
    ),
    Mutant(
        "wire-rest",
        "8",
        "what comes behind the last whole frame is dropped",
        (
            put(
                "wire.codec",
                """
            self.rest += pending[at:]
""",
                """
            self.rest = bytearray()
""",
            ),
        ),
    ),
    Mutant(
        "wire-unsent",
        "bounds",
        "what is not read by the other end piles up",
        (
            put(
                "wire.link",
                "if unsent > UNSENT_BYTES_MAX or (",
                "if (",
            ),
        ),
    ),
    Mutant(
        "wire-unsent-turn",
        "bounds",
        "what is queued in one turn for one link piles up before anybody looks",
        (
            put(
                "wire.link",
                "if self._queued_bytes > FRAME_BYTES_MAX:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "wire-unsent-all",
        "bounds",
        "what is not read piles up, with little for each of many",
        (
            put(
                "wire.link",
                "unsent > UNSENT_BYTES_FAIR and self._origin.is_choking()",
                "False",
            ),
        ),
    ),
    Mutant(
        "wire-peers",
        "bounds",
        "one host may take all connections",
        (
            put(
                "wire.listener",
                "if have >= self._per_peer_max:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "wire-silent",
        "8",
        "who never says Hello stays connected",
        (
            put(
                "wire.link",
                """
        self._wait_for_hello(self._hello_s)
""",
                "",
            ),
        ),
    ),
)
