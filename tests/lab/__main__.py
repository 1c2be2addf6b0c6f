"""``python -m tests.lab``: the rules on virtual time, with points."""

from __future__ import annotations

import sys

from twisted.logger import globalLogBeginner

from tests.lab import (
    test_beyond,
    test_clients,
    test_partitions,
    test_replication,
    test_view_service,
)
from tests.lab.grading import grade, graded, sheet
from wire.output import piped

MODULES = (
    test_view_service,
    test_replication,
    test_clients,
    test_partitions,
    test_beyond,
)


def main() -> int:
    """Grade everything -> 0 for full marks, else 1."""
    # The scenarios lose memories on purpose; without an observer Twisted would
    # print what is critical as if something were wrong here.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    marks = [grade(test) for test in graded(MODULES)]
    sys.stdout.write(sheet(marks) + "\n")
    return 1 if any(mark.failure for mark in marks) else 0


if __name__ == "__main__":
    sys.exit(piped(main))
