"""
The rare places of what is replicated: log, history, sessions, pairs.
"""

from __future__ import annotations

from tests.sim.places.place import at, places

_HISTORY = {
    "a backup keeps an entry": at(
        "if log.view_at(entry.index) == entry.view:", "return"
    ),
    "a tail is replaced at a backup": at("log.truncate(entry.index)"),
    "identity kept by an install": at("self.log.forget(state.index)"),
    "entries after a snapshot are kept by its install": at(
        "self.log.forget(state.index)", when="self.log.end > state.index"
    ),
    "log restarted by an install": at(
        "self.log.restart(state.view, state.index, state.stamp_ms)"
    ),
    "uncommitted entries dropped by an install": at(
        "self.log.restart(state.view, state.index, state.stamp_ms)",
        when="self.log.end > self.commit",
    ),
    "trimmed": at("log.forget(min(upto, floor))"),
    "a trim stops at what is pinned": at(
        "log.forget(min(upto, floor))", when="floor < min(upto, self.commit)"
    ),
    "a trim may forget nothing": at(
        "if over > 0 and (floor := min(floor, self.commit)) > log.base_index:",
        when="over > 0 and min(floor, self.commit) <= log.base_index",
    ),
    "a snapshot passes a digest that is waited for": at(
        "self.digests.leaving(state)",
        when="any(index <= state.index for index in self.digests.waiting)",
    ),
}

_DIGESTS = {
    "a digest of now": at(
        "self.waiting.setdefault(index, []).append(link)", when="index == state.index"
    ),
    "a digest at a later index": at(
        "self.waiting.setdefault(index, []).append(link)", when="index > state.index"
    ),
    "a digest that is being computed": at("self._links.append(link)"),
    "a digest waits for another": at(
        "self.waiting.setdefault(index, []).append(link)",
        when="index == state.index and self.cut is not None",
    ),
    "a digest begins after another": at(
        "self._drop()", "self.reached(state)", when="state.index in self.waiting"
    ),
    "a digest that was waited for": at("self._links = links"),
    "a digest is overtaken while another is computed": at(
        "for link in self.waiting.pop(index):", when="self.cut is not None"
    ),
    "entries are applied beside a digest": at(
        "digest = cut.step(bytes_max)", when="cut.index < state.index"
    ),
    "a digest of what is past": at(
        "self._refuse(link, state)", "return", when="0 < index < state.index"
    ),
    "too many wait for digests": at(
        "self._refuse(link, state)", "return", when="index >= state.index > 0"
    ),
    "who waits for a digest is gone": at(
        "left = [each for each in links if each != link]", when="link in links"
    ),
    "the last who waits for a digest is gone": at(
        "if not self._links:", "self._drop()"
    ),
}

_LOG = {
    "an entry longer than the room": at(
        "return min(max(upto, after + 1), self.end)", when="upto < after + 1"
    ),
    "a snapshot's last entry is in the log with another view": at(
        "self.entries = []", when="self.base_index < index <= self.end"
    ),
}

_SESSIONS = {
    "a batch in the log of a session that is gone": at(
        "return BatchRefused(batch.sequence, EVICTED)"
    ),
    "a batch in the log of a session that was opened anew": at(
        "return BatchRefused(batch.sequence, EVICTED)", when="session is not None"
    ),
    "a batch is twice in the log": at(
        "# Executed before: the same bytes again, or nothing.",
        "self.work += ENTRY_WORK",
    ),
    "an open session is opened": at(
        "session = msgspec.structs.replace(session, stamp_ms=entry.stamp_ms)"
    ),
    "evicted by number": at(
        "self._evict_over(self.sessions_max - 1)",
        when="len(self.table) >= self.sessions_max",
    ),
    "evicted by idle time": at(
        "if session.stamp_ms < oldest_ms:", "self._evict(session_id)"
    ),
    "evicted by answer bytes": at("self._evict_over(self.sessions_max)"),
    "a batch evicts its own session": at(
        "self._evict_over(self.sessions_max)",
        when="len(self.table) == 1",
    ),
    "evicted with answers": at(
        "session = self.table.pop(session_id)",
        "for answer in session.answers:",
        when="session.answers",
    ),
    "a session is ended by its clerk": at(
        "if session is not None and session.opened_index == request.opened_index:",
        "self._evict(request.id)",
    ),
    "a session that is gone is closed": at(
        "return SessionClosed(request.id)",
        when="session is None or session.opened_index != request.opened_index",
    ),
    "several answers are dropped at once": at(
        "first_unanswered, answers = batch.first_unanswered, answers[dropped:]",
        when="dropped > 1",
    ),
    "several answers are kept": at(
        "answer = BatchAnswer(sequence, body)",
        when="len(session.answers) > 1",
    ),
    "a snapshot brings an answer": at(
        "session_id, session = next(reversed(self.table.items()))",
        "answers = (*session.answers, answer)",
    ),
    "a piece of a snapshot ends within a session": at(
        "for item in items:", when="self._answers_due"
    ),
}

_PAIRS = {
    "a leaf is left to a cut": at("leaf = self._leaves[at] = self._leaves[at].copy()"),
    "a leaf is split": at("half = len(keys) // 2"),
    "two leaves are joined": at("joined = one | other"),
    "an empty leaf is joined": at("joined = one or other"),
    "two leaves are too large to be joined": at(
        "_width(one) + _width(other) > LEAF_KEY_BYTES_MAX // 2",
        "):",
        "return False",
    ),
    "a value grows in place": at("value += suffix"),
    "a value grows in place during a cut": at("value += suffix", when="self._cuts"),
    "a value grows that a cut has": at("self._grown.add(key)"),
    "a cut is closed before its end": at(
        "self._waiting, self._leaf, self._keys = [], None, []",
        when="self._waiting or self._keys",
    ),
}

STATE = places(
    {
        "pbserver.history": _HISTORY,
        "pbserver.digests": _DIGESTS,
        "pbserver.log": _LOG,
        "pbserver.sessions": _SESSIONS,
        "pbserver.pairs": _PAIRS,
    }
)
