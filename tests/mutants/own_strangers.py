"""What strangers may do: bounds, places, forged messages, and what is freed."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "stranger-long-hello",
        "8",
        "before its Hello a caller may send a frame of any length",
        (
            put(
                "wire.codec",
                "self._limit = 4 + HELLO_BYTES_MAX",
                "self._limit = self._quick_limit = 4 + FRAME_BYTES_MAX",
            ),
        ),
    ),
    Mutant(
        "stranger-long-frames",
        "8",
        "after its Hello every caller may send frames of 16 MiB",
        (
            put(
                "wire.codec",
                "self._limit = self._quick_limit = 4 + longest",
                "self._limit = self._quick_limit = 4 + FRAME_BYTES_MAX",
            ),
        ),
        tests=("bounds",),
    ),
    Mutant(
        "stranger-cycle",
        "8",
        "a decoder holds a bound method of its own, and with it what it holds",
        (
            put(
                "wire.codec",
                "self._decode: Callable[[Any], Message] | None = None",
                "self._decode: Callable[[Any], Message] | None = self._decode_first",
            ),
        ),
        tests=("release",),
    ),
    Mutant(
        "stranger-view",
        "8",
        "a view may name a holder that is no backup",
        (
            put(
                "wire.messages",
                "if not names.issuperset(self.holders) or (",
                "if (",
            ),
        ),
        tests=("bounds",),
    ),
    Mutant(
        "stranger-places",
        "8",
        "a role that is full gives away the place of its busiest caller",
        (
            put(
                "wire.listener",
                "idlest = min(rivals, key=lambda each: each.heard_s, default=None)",
                "idlest = max(rivals, key=lambda each: each.heard_s, default=None)",
            ),
        ),
    ),
    Mutant(
        "stranger-roles",
        "8",
        "the places of all roles are counted together",
        (
            put(
                "wire.listener",
                "elif len(callers) >= places:",
                "elif sum(map(len, self._callers.values())) >= places:",
            ),
        ),
    ),
    Mutant(
        "stranger-nat",
        "8",
        "the callers of all roles behind one address are counted together",
        (
            put(
                "wire.listener",
                "callers, key = self._callers[role], (role, host)",
                'callers, key = self._callers[role], ("", host)',
            ),
            put(
                "wire.listener",
                "key = role, self._callers[role].pop(link)",
                'key = "", self._callers[role].pop(link)',
            ),
        ),
    ),
    Mutant(
        "stranger-churn",
        "8",
        "who has lost a place takes the next one at once, and so on",
        (put("wire.listener", "< REPLACED_EVERY_S", "< 0"),),
    ),
    Mutant(
        "stranger-unfinished",
        "8",
        "the newest unfinished frame is blamed, not the oldest",
        (
            put(
                "wire.listener",
                "oldest = next(large, None) or next(iter(held))",
                "oldest = [*large, *([] if len(held) > 1 else held)][-1]",
            ),
        ),
    ),
    Mutant(
        "stranger-unfinished-sum",
        "8",
        "what a caller has finished counts as unfinished for ever",
        (
            put(
                "wire.listener",
                "self._unfinished_bytes -= self._unfinished.pop(link, 0)",
                "self._unfinished.pop(link, 0)",
            ),
        ),
    ),
    Mutant(
        "stranger-gap",
        "8",
        "a gap in a session is an invariant, though an entry may be forged",
        (
            put(
                "pbserver.sessions",
                "if sequence != session.next or batch.first_unanswered > sequence:",
                "assert sequence == session.next\n"
                "        if batch.first_unanswered > sequence:",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-lacking",
        "8",
        "a batch may say that it lacks only what comes after it",
        (
            put(
                "pbserver.sessions",
                "if sequence != session.next or batch.first_unanswered > sequence:",
                "if sequence != session.next:",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-stamp",
        "8",
        "the stamp of an entry may go back",
        (
            put(
                "pbserver.log",
                """
            or stamp_ms < self.end_stamp_ms
            or (""",
                """
            or (""",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-later",
        "8",
        "a primary may send entries of views after its own",
        (
            put(
                "pbserver.backup",
                "if entry.view != view and not is_later(view, entry.view):",
                "if False:",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-truncate",
        "8",
        "the tail is dropped before it is known whether the new entry fits",
        (put("pbserver.history", "            log.check_place(entry)\n", ""),),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-accepted",
        "8",
        "a backup may say that it has applied what its primary has not logged",
        (
            put(
                "pbserver.primary",
                "not accepted.commit <= accepted.verified <= end",
                "not accepted.verified <= end",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-snapshot",
        "8",
        "a snapshot may contradict the log that it is installed over",
        (put("pbserver.backup", "            self._check(part)\n", ""),),
        tests=("strangers",),
    ),
    Mutant(
        "transfer-long-answer",
        "5",
        "a long answer is put into the same piece as what came before it",
        (
            put(
                "pbserver.sessions",
                "if chunk and size + length > bytes_max:",
                "if False:",
            ),
        ),
        tests=("strangers",),
    ),
    Mutant(
        "stranger-status",
        "8",
        "a status document has whatever length it has",
        (
            put(
                "viewservice.status",
                "if len(encoded) <= DOCUMENT_BYTES_MAX:",
                "if True:",
            ),
        ),
        tests=("status_document",),
    ),
    Mutant(
        "stranger-evidence",
        "8",
        "the evidence of a change is as long as the names in it",
        (
            put(
                "viewservice.causes",
                "shortened(evidence, EVIDENCE_MAX)",
                "evidence",
            ),
        ),
        tests=("status_document",),
    ),
    Mutant(
        "stranger-steps",
        "5 primary 6",
        "every connection at a backup's address is a sign of its life",
        (put("pbserver.follower", "if self._steps < step:", "if True:"),),
        tests=("replica",),
    ),
    Mutant(
        "stranger-moves",
        "8",
        "a ping may name another address than its Hello",
        (put("viewservice.service", "if ping.member != member:", "if False:"),),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-known",
        "4.12",
        "a server that was in no view is persisted",
        (
            put(
                "viewservice.roster",
                "each.member if each.served else each.past",
                "each.member",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-first",
        "8",
        "a process that only says that it is a server comes before clerks in a turn",
        (
            put(
                "viewservice.service",
                "link.is_patient = not self.views.roster.has_served(ping.member)",
                "",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-late",
        "8",
        "who waits while this process stands still is sent away as silent",
        (put("wire.link", "if late_s > LATE_S:", "if False:"),),
        tests=("links",),
    ),
    Mutant(
        "stranger-takes",
        "4.5",
        "an incarnation that was in no view supersedes those that were, in the end",
        (put("viewservice.server", "if not old.served:", "if False:"),),
        tests=("views", "views_memory"),
    ),
    Mutant(
        "stranger-free",
        "4.12",
        "after a restart a name that was lost is kept for the one that lost it",
        (put("viewservice.server", "stopped=True, silent=dead_pings", "silent=0"),),
        tests=("views_memory",),
    ),
    Mutant(
        "id-stuck-silent",
        "4.17",
        "a primary that does not ping is stuck before it is dead",
        (
            put(
                "viewservice.roster",
                "(server.progress > 0 and not server.silent)",
                "(server.progress > 0)",
            ),
        ),
        tests=("views",),
    ),
    Mutant(
        "stranger-asks",
        "8",
        "each Status of one read is answered with a document of its own",
        (
            put(
                "viewservice.service",
                "        elif isinstance(message, Status):\n            self._ask(",
                "        elif isinstance(message, Status):\n"
                "            link.send(StatusIs(self._document()))\n"
                "            self._ask(",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-pings",
        "8",
        "each ping of one read is taken in and answered",
        (put("viewservice.service", "if link in self._pinged:", "if False:"),),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-ping-first",
        "8",
        "of the pings of one turn the first counts, and the newest is dropped",
        (
            put(
                "viewservice.service",
                "self._pinged[link] = message",
                "pass",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-ping-last",
        "8",
        "a ping that waits for the end of its turn is dropped with its connection",
        (
            put(
                "viewservice.service",
                "if (ping := self._pinged.pop(link, None)) is not None and",
                "if (ping := self._pinged.pop(link, None)) is not None and False and",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-garbage",
        "8",
        "each connection that breaks the protocol has a line in the log",
        (
            put(
                "wire.listener",
                "log = _log.warning if is_due else _log.debug",
                "log = _log.warning",
            ),
        ),
        tests=("listener",),
    ),
    Mutant(
        "stranger-passing",
        "8",
        "each server of a new name has a line in the log",
        (
            put(
                "viewservice.service",
                "is_told = served or self._passing.is_due(self._reactor.seconds())",
                "is_told = self._passing.is_due(self._reactor.seconds()) or True",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-members",
        "8",
        "strangers keep the death of a member out of the log",
        (
            put(
                "viewservice.service",
                "is_told = served or self",
                "is_told = self",
            ),
        ),
        tests=("viewservice",),
    ),
    Mutant(
        "stranger-no-memory",
        "8",
        "a frame for which there is no memory ends the process",
        (
            put(
                "wire.codec",
                "except OSError as error:",
                "except ZeroDivisionError as error:",
            ),
        ),
        tests=("links",),
    ),
)
