"""
The rare places of a clerk: what is said again, given up, put back.
"""

from __future__ import annotations

from tests.sim.places.place import at, places, wrong

_CONVERSATION = {
    "batches are said again": at(
        "messages += session.again()", when="session.outstanding"
    ),
    "several batches are said again": at(
        "messages += session.again()", when="len(session.outstanding) > 1"
    ),
    "writes wait for the window": at(
        "while self.calls.reads and self.queries.has_room(self.window):",
        when="self.calls.writes and session and session.opened_index is not None",
    ),
    "reads wait for the window": at(
        "if self.closing.is_last_word and not self._said_closing:",
        when="self.calls.reads and not self.queries.has_room(self.window)",
    ),
    "a read before any session": at("return self.queries.ask(reads, NO_SESSION, 0)"),
    "a read after an unanswered batch": at(
        "return self.queries.ask(reads, session.id, session.last)",
        when="session.outstanding",
    ),
    "a clerk is full": at("if self.calls.is_full(len(command)):", "raise NotExecuted("),
    "a closed clerk is called": at('raise NotExecuted("the clerk is closed")'),
    "given up before it was sent": at(
        'return NotExecuted(f"{why} before it was sent: {obstacle}")'
    ),
    "given up twice": at("if number in self.given_up:", "return None"),
    "a read is given up": at(
        'return NotExecuted(f"{why} before this read was answered: {obstacle}")'
    ),
    "a write is given up": at(
        'return InDoubt(f"{why} after it was sent, before its answer: {obstacle}")'
    ),
    "the view service cannot be reached": at(
        "self.locator.views_failed(address, reason)"
    ),
    "another cluster": at("self._wrong_cluster = text"),
    "a message of an older connection": at(
        "if not where.is_open or where.dial is None or where.dial[0] != attempt:",
        "return []",
    ),
    "a session is opened that is not this one": at(
        "where.arrived(now_ms)",
        "if self.session is not None and self.session.id == session_id:",
        when="self.session is None or self.session.id != session_id",
    ),
    "a session is forgotten on leaving": at(
        "case SessionClosed():", "if self.closing.is_last_word:"
    ),
    "a batch is answered twice": at("return []  # It had its answer before."),
    "what was given up is answered": at(
        "ended = [pair for pair in ended if pair[0] not in self.given_up]"
    ),
    "a batch is refused that has its answer": at(
        "if session is None or sequence not in session.outstanding:", "return []"
    ),
    "a refusal without a rule": wrong(
        'self.locator.distrust(f"it refused a batch: {reason!r}", now_ms)'
    ),
    "a session has ended": at("told, again = session.refused(sequence, reason)"),
    "what was given up is not said again": at("self.given_up -= dropped"),
    "time is up for a call": at('outcome = self._abandon(number, "its time was up")'),
    "a clerk closes with calls open": at(
        'ended = self._abandon_all("the clerk was closed")'
    ),
    "a clerk says its last word": at("messages.append(last_word)"),
    "a clerk closes without a session": at(
        "self.closing.nobody_waits(now_ms, has_session=has_session)",
        when="not has_session",
    ),
}

_SESSION = {
    "evicted with a batch that was sent twice": at(
        "doubtful, again = [*before, batch, *after], []"
    ),
    "evicted with batches before it": at(
        "doubtful, again = before, after", when="before"
    ),
    "evicted, and all goes on": at("again = [batch, *after]"),
    "evicted, and more than one batch goes on": at(
        "again = [batch, *after]", when="after"
    ),
    "too large for the service": at(
        'text = "the service takes no batch of that length"'
    ),
    "a session is opened twice": at(
        "if self.opened_index is None:", when="self.opened_index is not None"
    ),
    "a session is opened twice, and has ended in between": at(
        "if self.opened_index is None:",
        when="self.opened_index not in (None, opened_index)",
    ),
    "the numbers span too much": at(
        "first_unanswered = next(iter(self.outstanding), self.next)",
        "return (",
        when="self.next - first_unanswered >= WINDOW_MAX",
    ),
}

_WHEREABOUTS = {
    "a newer view with the same primary": at(
        "self._connect()",
        "if self._silent_ms is not None:",
        when="view.primary == before",
    ),
    "a connection that was given up is made": at(
        'return Goodbye("stopping", "the clerk has turned elsewhere since")'
    ),
    "a server of another cluster": at(
        "if self.cluster and hello.cluster and hello.cluster != self.cluster:",
        "refusal = Goodbye(",
    ),
    "another copy answers there": at(
        "elif not member.is_same_copy(hello.member):", "refusal = Goodbye("
    ),
    "the primary does not know that it is": at(
        'self.distrust("the primary says that it is not primary", now_ms)'
    ),
    "a second failure in a row": at("self._dial_ms = now_ms + self._pause_ms()"),
    "the view service does not answer": at(
        "self._asked_ms = now_ms", "self.views_redials += 1"
    ),
    "a silence": at("self._silences += 1"),
    "a connection that hangs": at(
        "if self.is_open and now_ms >= self._hung_ms:", "self._hangs += 1"
    ),
    "half of a call's time is over": at(
        "if self.is_in_doubt(now_ms):", "self._hangs += 1"
    ),
    "the primary cannot be reached": at(
        "self.trouble = _unconnected(self.dial[1], reason)"
    ),
}

_CALLS = {
    "more writes than travel together": at(
        "taken = _first(self.writes, self.writes.keys())"
    ),
    "a read waits for a write": at(
        "if first_write is not None and number > first_write:", "break"
    ),
    "a read goes alone": at("return together or [number]"),
    "writes are put back": at("self.writes = writes | self.writes"),
    "reads are put back": at("self.reads = reads | self.reads"),
    "reads are put back before others": at(
        "self.reads = reads | self.reads", when="self.reads"
    ),
}

_QUERIES = {
    "an answer to a query that has one": at(
        "if query in self.outstanding:", when="query not in self.outstanding"
    ),
    "an answer that may have missed a write": at(
        "return [(self.outstanding.pop(n), self._early.pop(n)) for n in ripe]",
        when="len(ripe) < len(self._early)",
    ),
    "an answer that may have missed a write is thrown away": at(
        "asked, self.outstanding, self._early = self.outstanding, {}, {}",
        when="self._early",
    ),
}

CLERK = places(
    {
        "client.clerk_core": _CONVERSATION,
        "client.session": _SESSION,
        "client.primary_locator": _WHEREABOUTS,
        "client.calls": _CALLS,
        "client.queries": _QUERIES,
    }
)
