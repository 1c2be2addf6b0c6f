"""What every run of the tests tells about itself."""

from __future__ import annotations

import sys
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which worlds were simulated, so that they can be seen again."""
    worlds = sys.modules.get("tests.test_sim")
    if worlds is not None:
        last = worlds.FIRST + worlds.WORLDS - 1
        terminalreporter.write_line(
            f"simulated: python -m tests.sim --seeds {worlds.FIRST}..{last}"
        )
