"""What a run of chaos came to, counted and said."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from attrs import define, field

from tests.processes import PATIENCE_S, Service
from understudy.history import Record, Verdict, check

#: Within this every clerk must have been answered after a strike, seconds.
RECOVERY_S_MAX = 5.0


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@define
class Figures:
    """Recoveries by kind of strike, milliseconds."""

    recoveries_ms: dict[str, list[float]] = field(
        factory=lambda: defaultdict(list), init=False
    )

    def add(self, kind: str, recovery_ns: int) -> None:
        """One strike, and when the last clerk was answered after it."""
        self.recoveries_ms[kind].append(recovery_ns / 1e6)

    def tell(self) -> None:
        """The table."""
        say(f"{'strike':<16}{'rounds':>8}{'median ms':>12}{'longest ms':>12}")
        for kind, those in sorted(self.recoveries_ms.items()):
            _row(kind, those)
        everything = [each for those in self.recoveries_ms.values() for each in those]
        if everything:
            _row("all", everything)


def _row(kind: str, those: Sequence[float]) -> None:
    say(f"{kind:<16}{len(those):>8}{median(those):>12.0f}{max(those):>12.0f}")


def finals_of(service: Service, records: Iterable[Record]) -> dict[str, bytes]:
    """The values of all keys that were written, as they are in the end."""
    finals: dict[str, bytes] = {}
    with service.clerk(PATIENCE_S) as clerk:
        for key in {record.key for record in records}:
            finals[key] = clerk.get(key) or b""
    return finals


def judge(records: Sequence[Record], finals: dict[str, bytes] | None) -> Verdict:
    """Check, and say what came of it."""
    verdict = check(records, finals)
    for finding in verdict.findings:
        say(f"  {finding}")
    say(
        f"{len(records)} operations: {verdict.acknowledged} acknowledged, "
        f"{verdict.lost} lost, {verdict.duplicated} duplicated, "
        f"{verdict.reads_back} reads back, {verdict.disorder} in disorder; "
        f"{verdict.reads} reads, {verdict.in_doubt} in doubt"
    )
    return verdict
