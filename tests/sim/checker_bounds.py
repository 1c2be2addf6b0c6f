"""
Does everybody stay within the limits of docs/operations.md?

Looks at a process after every turn.  A rule has the name of its row in that
table.  Each says what the bound really is: where the table has "one more entry
always fits", one more entry is allowed here and no second one.

What clerks have asked is bounded by not reading from them, which takes effect
at the end of a turn; so what one turn brings in is allowed, and from then on
nothing may be added.  The applied part of a log that is too long is bounded
when its server applies the next entry, and until then must not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from client import calls as client_calls
from client import queries as client_queries
from client import session as client_session
from client.clerk_core import ClerkCore
from pbserver import digests
from pbserver.backup import Backup
from pbserver.follower import Follower
from pbserver.history import History
from pbserver.limits import Limits
from pbserver.log import Log, weight
from pbserver.outbox import IGNORED_MAX
from pbserver.pending_requests import PendingRequests
from pbserver.primary import Primary
from pbserver.replica import Replica
from pbserver.round_waiters import QUESTION_BYTES
from pbserver.sessions import ANSWER_BYTES, Sessions
from viewservice import roster, server, views
from wire.messages import BODY_BYTES_MAX, WINDOW_MAX, Batch, Forward

#: Rules without a row: what is kept for each entry of a tail that is bounded,
#: and what must be gone when nobody waits for it.
NO_ROWS: Final = frozenset({"what waits at the door", "calls that have ended"})


class Excess(NamedTuple):
    """Somebody keeps more than it may."""

    rule: str
    text: str


class Measures(NamedTuple):
    """What a server has when a turn is over, to be compared with the next."""

    role: Primary | Backup | None
    is_accepting: bool
    unanswered: int
    #: Batches of sessions that are unknown; they are logged when they become known.
    strangers: int
    end: int
    commit: int
    #: The weight of the part of its log that is applied.
    applied: int
    #: As primary, the index after which it must keep everything.
    floor: int


# -- a server, after a turn --------------------------------------------------------


def measured(replica: Replica) -> Measures:
    """How things stand."""
    role, history = replica.role, replica.history
    leads = isinstance(role, Primary)
    return Measures(
        role,
        replica.accepting,
        _unanswered(role) if leads else 0,
        len(role.waiters._strangers) if leads else 0,
        *(history.log.end, history.commit, _applied(history)),
        min(role._pinned(), history.commit) if leads else 0,
    )


def of_server(
    replica: Replica, now: Measures, before: Measures | None
) -> Iterator[Excess]:
    """What *replica* has too much of, when a turn is over."""
    history = replica.history
    if before is not None and before.role is not now.role:
        before = None
    yield from _of_history(history)
    if before is None or before.commit != now.commit:
        yield from _of_sessions(history.state)
    if len(replica._out._ignored) > IGNORED_MAX:
        rule = "ignored messages remembered for the log in one turn"
        yield Excess(rule, f"{len(replica._out._ignored)}")
    if isinstance(now.role, Primary):
        yield from _of_primary(now.role, now, before)
        if before is None or (before.commit, before.end) != (now.commit, now.end):
            yield from _of_door(now.role.door, history)
        for follower in now.role.followers.values():
            yield from _of_transfer(follower, now.role.limits)
    elif before is not None:
        yield from _of_applied(history, now, before)


def _of_history(history: History) -> Iterator[Excess]:
    waiting = history.digests.waiting
    count = sum(map(len, waiting.values())) + len(history.digests._links)
    if count > digests.DIGESTS_MAX:
        yield Excess("questions for a digest at a later index", f"{count} wait")
    # A question about now waits only while another digest is being computed.
    now = history.commit - (history.digests.cut is not None)
    past = [index for index in waiting if index <= now]
    if past:
        text = f"somebody waits for {past}, and {history.commit} is applied"
        yield Excess("questions for a digest at a later index", text)


def _of_sessions(state: Sessions) -> Iterator[Excess]:
    table = state.table
    if len(table) > state.sessions_max:
        yield Excess("sessions", f"{len(table)}, and {state.sessions_max} may be")
    kept = sum(
        ANSWER_BYTES + len(answer.body)
        for session in table.values()
        for answer in session.answers
    )
    if kept != state.answer_bytes or kept > state.answer_bytes_max:
        rule = "answers kept for all sessions"
        text = f"{kept} bytes, counted as {state.answer_bytes}"
        yield Excess(rule, f"{text}, and {state.answer_bytes_max} may be")
    oldest_ms = state.stamp_ms - state.idle_ms_max
    for session in table.values():
        if len(session.answers) > WINDOW_MAX:
            rule = "batches outstanding in a session, and answers kept for it"
            yield Excess(rule, f"{len(session.answers)} answers are kept")
        if session.stamp_ms < oldest_ms:
            text = f"last used at {session.stamp_ms} ms, and it is {state.stamp_ms} ms"
            yield Excess("idleness of a session", text)


def _of_primary(
    role: Primary, now: Measures, before: Measures | None
) -> Iterator[Excess]:
    history, limits = role.history, role.limits
    log, unanswered = history.log, now.unanswered
    pinned = log.weight_between(max(now.floor, log.base_index), log.end)
    if now.is_accepting and unanswered > limits.unanswered_bytes_max:
        rule = "what clerks have asked and is unanswered, at a primary"
        yield Excess(rule, f"{unanswered} bytes, and clerks are read from")
    if now.is_accepting and pinned > limits.tail_bytes_max:
        rule = "log that a transfer may pin"
        yield Excess(rule, f"{pinned} bytes are pinned, and clerks are read from")
    if before is None:
        return
    # What a transfer frees that has just begun goes with the next turn.
    spare = min(now.floor, before.floor) - log.base_index
    if spare > 0 and not _is_short(log, limits.tail_bytes_kept):
        rule = "log kept behind the commit index"
        yield Excess(rule, f"{log.weight} bytes, of which {spare} entries may go")
    if not before.is_accepting:
        text = f"{before.unanswered} bytes were too much or pinned, and now there are"
        if unanswered > before.unanswered:
            rule = "what clerks have asked and is unanswered, at a primary"
            yield Excess(rule, f"{text} {unanswered}")
        if log.end > before.end + before.strangers:
            rule = "log that a transfer may pin"
            yield Excess(rule, f"it has grown from {before.end} to {log.end}")


def _of_transfer(follower: Follower, limits: Limits) -> Iterator[Excess]:
    transfer = follower.transfer
    if transfer is not None:
        unconfirmed = transfer.part - transfer.confirmed
        if unconfirmed > limits.parts_unconfirmed_max:
            name = follower.member.name
            yield Excess("parts unconfirmed", f"{unconfirmed} to {name}")


def _of_door(door: PendingRequests, history: History) -> Iterator[Excess]:
    """Its tables are about the uncommitted tail, and nothing else."""
    tail = history.log.between(history.commit, history.log.end)
    batches = [entry.index for entry in tail if type(entry.request) is Batch]
    known = sorted(index for indexes in door._tails.values() for index in indexes)
    if known != batches or not all(door._tails.values()):
        text = f"{known} are known, and the tail has {batches}"
        yield Excess("what waits at the door", text)
    strange = door._asked.keys() - {entry.index for entry in tail}
    if strange:
        text = f"somebody waits for {sorted(strange)}, which are not in the tail"
        yield Excess("what waits at the door", text)


def _of_applied(history: History, now: Measures, before: Measures) -> Iterator[Excess]:
    """Nobody but a primary may be told to keep more than is kept anyway."""
    if now.commit == before.commit:
        is_within = now.applied <= before.applied
    else:
        held, kept_max = now.applied, history.tail_bytes_kept
        is_within = not held or _is_short(history.log, kept_max, held)
    if not is_within:
        text = f"{now.applied} bytes are applied, after {before.applied}"
        yield Excess("log kept behind the commit index", text)


def _is_short(log: Log, kept_max: int, held: int | None = None) -> bool:
    """Is it within its bound but for its oldest entry?"""
    held = log.weight if held is None else held
    oldest = log.weight_between(log.base_index, log.base_index + 1)
    return held <= kept_max or held - oldest < kept_max - kept_max // 8


def _applied(history: History) -> int:
    log = history.log
    return log.weight_between(log.base_index, history.commit)


def _unanswered(role: Primary) -> int:
    log, waiters = role.history.log, role.waiters
    waiting = (*waiters._reads, *waiters._early, *waiters._strangers)
    asked = sum(QUESTION_BYTES + len(each.asked.body) for each in waiting)
    return log.weight_between(role.history.commit, log.end) + asked


def of_forward(replica: Replica, link: object, forward: Forward) -> Iterator[Excess]:
    """What is too much in a message, and with it on its way to that backup."""
    role, limits = replica.role, replica.limits
    size = sum(weight(entry.request) for entry in forward.entries)
    if size > limits.forward_bytes_max and len(forward.entries) > 1:
        text = f"{size} bytes in {len(forward.entries)} entries"
        yield Excess("entries of one Forward", text)
    if isinstance(role, Primary) and forward.entries:
        for follower in role.followers.values():
            if follower.link == link:
                yield from _of_follower(follower, role.history.log, limits)


def _of_follower(follower: Follower, log: Log, limits: Limits) -> Iterator[Excess]:
    if follower.next is None:
        return
    sent = follower.next - 1
    known = max(min(follower.verified, sent), log.base_index)
    size = log.weight_between(known, sent)
    last = log.weight_between(sent - 1, sent) if sent > known else 0
    if size > limits.unaccepted_bytes_max <= size - last:
        text = f"{size} are on their way to {follower.member.name}, the last {last}"
        yield Excess("unaccepted bytes per backup", text)


# -- the view service, and clerks --------------------------------------------------


def of_views(known: views.Views) -> Iterator[Excess]:
    """What the view service has too much of."""
    if len(known.history) > views.HISTORY_MAX:
        yield Excess("changes in its history", f"{len(known.history)}")
    if len(known.servers) > roster.SERVERS_MAX:
        yield Excess("servers that a view service remembers", f"{len(known.servers)}")
    for name, each in known.servers.items():
        if len(each.superseded) > server.SUPERSEDED_MAX:
            rule = "incarnations of a name that it remembers as superseded"
            yield Excess(rule, f"{len(each.superseded)} of {name}")


def of_clerk(clerk: ClerkCore) -> Iterator[Excess]:
    """What a clerk has too much of."""
    yield from _of_window(clerk)
    yield from _of_queue(clerk)
    calls, queries, session = clerk.calls, clerk.queries, clerk.session
    sent = {n for reads in queries.outstanding.values() for n in reads}
    if session is not None:
        sent |= set(session.calls())
    waiting = calls.writes.keys() | calls.reads.keys()
    for what, kept, live in (
        ("given up", clerk.given_up, sent),
        ("with a deadline", calls.deadlines_ms.keys(), sent | waiting),
        ("to go alone", calls.alone, sent | waiting),
    ):
        if not kept <= live:
            text = f"{sorted(kept - live)} are kept as {what}"
            yield Excess("calls that have ended", text)


def _of_window(clerk: ClerkCore) -> Iterator[Excess]:
    session, queries = clerk.session, clerk.queries.outstanding
    queries_max = min(clerk.window, client_queries.QUERIES_MAX)
    if len(queries) > queries_max:
        yield Excess("a clerk's queries under way", f"{len(queries)}")
    if session is None or not session.outstanding:
        return
    numbers = list(session.outstanding)
    if len(numbers) > clerk.window:
        yield Excess("a clerk's batches under way", f"{len(numbers)}")
    if session.next - numbers[0] > WINDOW_MAX:
        rule = "batches outstanding in a session, and answers kept for it"
        yield Excess(rule, f"{numbers[0]} is unanswered, and {session.last} is sent")
    sizes = [len(sent.message.body) for sent in session.outstanding.values()]
    size, size_max = sum(sizes), client_session.OUTSTANDING_BYTES_MAX
    if size != session.outstanding_bytes or size > size_max <= size - sizes[-1]:
        text = f"{size} bytes, counted as {session.outstanding_bytes}"
        yield Excess("bytes of them (a clerk's batches under way)", text)


def _of_queue(clerk: ClerkCore) -> Iterator[Excess]:
    """What was sent and comes back, on a new connection or in a new session, is
    not turned away: it was let in before."""
    calls = clerk.calls
    back = (clerk.window + client_queries.QUERIES_MAX) * client_calls.TOGETHER_MAX
    count = len(calls.writes) + len(calls.reads)
    if count > calls.count_max + back:
        yield Excess("calls queued in a clerk", f"{count} wait")
    sizes = [sum(map(len, each.values())) for each in (calls.writes, calls.reads)]
    back = client_session.OUTSTANDING_BYTES_MAX
    back += (1 + client_queries.QUERIES_MAX) * BODY_BYTES_MAX
    counted = [calls._write_bytes, calls._read_bytes]
    if sizes != counted or sum(sizes) > calls.bytes_max + back:
        text = f"{sizes}, counted as {counted}"
        yield Excess("bytes of them (calls queued in a clerk)", text)
