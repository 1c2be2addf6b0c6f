"""What every run of the tests tells about itself."""

from __future__ import annotations

from itertools import chain
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which worlds were simulated, so that they can be seen again."""
    reports = chain.from_iterable(terminalreporter.stats.values())
    names = [getattr(report, "nodeid", "") for report in reports]
    if any(name.startswith("tests/test_sim.py") for name in names):
        from tests.test_sim import FIRST, WORLDS

        last = FIRST + WORLDS - 1
        terminalreporter.write_line(
            f"simulated: python -m tests.sim --seeds {FIRST}..{last}"
        )
