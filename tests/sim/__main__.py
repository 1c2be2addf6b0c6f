"""
``python -m tests.sim --seed N`` lets one world live, ``--seeds A..B`` many, and
``--for SECONDS`` new ones for as long as that.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.sim import probes
from tests.sim.options import parse
from wire.output import piped


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what was found -> the exit code."""
    options = parse(arguments)
    if options.probes:
        probes.install()
    # Late: what is imported before cannot be probed.
    from tests.sim.command import live

    return live(options)


if __name__ == "__main__":
    sys.exit(piped(main))
