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
                "client.clerk_core",
                "self.locator.expect(now_ms, (now_ms + deadline_ms) // 2)",
                "self.locator.expect(now_ms)",
            ),
        ),
    ),
    Mutant(
        "clerk-half-early",
        "7",
        "a connection is made again however short a call's time is",
        (
            put(
                "client.primary_locator",
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
                "client.primary_locator",
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
                "client.primary_locator",
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
                "client.primary_locator",
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
                "client.primary_locator",
                """
            if self.is_open:
                report_ms""",
                """
            wake = min(wake, self._hung_ms)
            if self.is_open:
                report_ms""",
            ),
        ),
    ),
    Mutant(
        "clerk-reason",
        "7",
        "an error does not name why the view service is out of reach",
        (
            put(
                "client.primary_locator",
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
                "client.clerk_core",
                """
        self.locator.views_opened()
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
    Mutant(
        "clerk-report",
        "7",
        "a primary that is out of reach is reported with every attempt",
        (
            put(
                "client.primary_locator",
                "self._report_ms = now_ms + REPORT_AGAIN_MS",
                "self._report_ms = now_ms + 1",
            ),
        ),
    ),
    Mutant(
        "clerk-report-early",
        "7",
        "one failed attempt counts as a primary that is out of reach",
        (
            put(
                "client.primary_locator",
                "if now_ms >= self._away_ms + REPORT_MS:",
                "if now_ms >= self._away_ms:",
            ),
        ),
    ),
    # -- the blocking clerk
    Mutant(
        "blocking-gone",
        "7",
        "a caller waits for a thread that has ended",
        (
            put(
                "client.background",
                """
            if not self.is_usable:
                return""",
                """
            if False:
                return""",
            ),
        ),
        tests=("blocking_endings",),
    ),
    Mutant(
        "blocking-stuck",
        "7",
        "the time of a call is kept by the background thread alone",
        (
            put(
                "client.background",
                "elif passed_s >= limit_s + LATE_S:",
                "elif passed_s >= limit_s + 3600:",
            ),
            put(
                "client.background",
                "left_s = LOOK_S if limit_s is None else limit_s + LATE_S - passed_s",
                "left_s = LOOK_S",
            ),
        ),
        tests=("blocking_endings",),
    ),
    Mutant(
        "blocking-claim",
        "S3",
        "a call that ended as not executed is begun after all",
        (
            put(
                "client.background",
                """
        if self.claim():
            self._deferred""",
                """
        if self.claim() or True:
            self._deferred""",
            ),
        ),
        tests=("blocking_endings",),
    ),
    Mutant(
        "blocking-doubt",
        "S3",
        "a write that was begun ends as not executed when its thread is gone",
        (
            put(
                "client.blocking",
                "return self._run(self._begun(), InDoubt, call, *args, **more)",
                "return self._run(self._begun(), NotExecuted, call, *args, **more)",
            ),
        ),
        tests=("blocking_endings",),
    ),
    Mutant(
        "blocking-fork",
        "7",
        "a child keeps the connections of its parent open",
        (
            put(
                "client.background",
                """
        _shared.let_go()
""",
                "",
            ),
        ),
        tests=("blocking_endings",),
    ),
    Mutant(
        "blocking-garbage",
        "bounds",
        "a clerk that is garbage keeps its connections",
        (
            put(
                "client.blocking",
                """
        here.background.close(here.clerk)
""",
                "",
            ),
        ),
        tests=("blocking_endings",),
    ),
)
