"""What a clerk does about connections that died silently, and what it reports."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "clerk-half",
        "7",
        "a silent connection is kept for the whole time of a call",
        (
            put(
                "client.conversation",
                "self.whereabouts.expect(now_ms, (now_ms + deadline_ms) // 2)",
                "self.whereabouts.expect(now_ms)",
            ),
        ),
    ),
    Mutant(
        "clerk-half-early",
        "7",
        "a connection is made again however short a call's time is",
        (
            put(
                "client.whereabouts",
                "return max(self._half_ms, self.quiet_ms + quiet_ms)",
                "return self._half_ms",
            ),
        ),
    ),
    Mutant(
        "clerk-half-alive",
        "7",
        "a connection on which something arrived counts as silent",
        (
            put(
                "client.calls",
                "max(at - had, quiet_ms) + had // 2 for at",
                "at - had + had // 2 for at",
            ),
        ),
    ),
    Mutant(
        "clerk-half-ended",
        "7",
        "a call that has ended still asks for another connection",
        (
            put(
                "client.whereabouts",
                """
        self._half_ms = half_ms
        if self.is_in_doubt(now_ms):
""",
                """
        if self.is_in_doubt(now_ms):
            self._half_ms = half_ms
""",
            ),
        ),
    ),
    Mutant(
        "clerk-half-pace",
        "7",
        "a connection is made again as soon the second time as the first",
        (
            put(
                "client.whereabouts",
                "quiet_ms = _doubled(HALF_MS_MIN, self._hangs, HANG_MS_MAX)",
                "quiet_ms = HALF_MS_MIN",
            ),
        ),
    ),
    Mutant(
        "clerk-hangs-closed",
        "7",
        "an attempt in progress is thrown away for another one",
        (
            put(
                "client.whereabouts",
                """
        if self.is_open and now_ms >= self._hung_ms:
            self._hangs += 1
""",
                """
        if now_ms >= self._hung_ms:
            self._hangs += 1
            self.quiet_ms = now_ms
""",
            ),
            put(
                "client.whereabouts",
                """
            if self.is_open:
                wake = min(wake, self._hung_ms)
                doubt_ms""",
                """
            wake = min(wake, self._hung_ms)
            if self.is_open:
                doubt_ms""",
            ),
        ),
    ),
    Mutant(
        "clerk-reason",
        "7",
        "an error does not name why the view service is out of reach",
        (
            put(
                "client.whereabouts",
                "self._views_troubles | {address: plain(reason)}",
                "self._views_troubles",
            ),
        ),
    ),
    Mutant(
        "clerk-reason-stays",
        "7",
        "a reason of an earlier connection is named although another one stands",
        (
            put(
                "client.conversation",
                """
        self.whereabouts.views_opened()
""",
                "",
            ),
        ),
    ),
    Mutant(
        "dialler-silent",
        "7",
        "the owner of a dialler does not learn why an attempt failed",
        (
            put(
                "wire.dialler",
                """
            self._report(failure.getErrorMessage())
""",
                "",
            ),
        ),
    ),
    Mutant(
        "error-pickle",
        "10",
        "an error cannot be sent to another process",
        (
            put(
                "client.errors",
                "return _restored, (type(self), self.args), self.__dict__",
                "return type(self), self.args, self.__dict__",
            ),
        ),
    ),
)
