"""
``python -m tests.chaos``: real processes, struck at random, and nothing lost.

    python -m tests.chaos --rounds 100 --seed 7   one strike a round, while all is well,
                                                  and then an overload
    python -m tests.chaos --free --rounds 20      bursts of strikes, at any time
    python -m tests.chaos --backups 2             the primary, and at once its successor
    python -m tests.chaos --transfer              a million keys move under load
    python -m tests.chaos --overload              far too much, for a minute
    python -m tests.chaos --old-state --rounds 200  the view service has an old state

In the end the whole history is checked: 0 lost, 0 duplicated, 0 reads back.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

from tests.chaos import free, old_state, overload, rounds, transfer
from wire.output import piped


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="as printed by a run")
    parser.add_argument("--backups", type=int, default=1, choices=(1, 2))
    parser.add_argument("--free", action="store_true", help="strike at any time")
    parser.add_argument("--transfer", action="store_true", help="move a large state")
    parser.add_argument("--keys", type=int, default=1_000_000, help="for --transfer")
    parser.add_argument("--overload", action="store_true", help="offer far too much")
    parser.add_argument("--old-state", action="store_true", help="or none")
    parser.add_argument("--seconds", type=float, default=60.0, help="for --overload")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if options.seconds <= 0:
        parser.error("--seconds: more than 0")
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="understudy-chaos-"))
    say(f"seed {seed}, logs in {directory}")
    if options.transfer:
        is_right = transfer.run(directory, seed, options.keys)
    elif options.overload:
        is_right = overload.run(directory, seed, options.seconds)
    elif options.old_state:
        is_right = old_state.run(directory, seed, options.rounds)
    elif options.free:
        is_right = free.run(directory, seed, options.rounds, options.backups)
    else:
        after = directory / "overload"
        after.mkdir()
        is_right = rounds.run(directory, seed, options.rounds, options.backups)
        is_right = overload.run(after, seed, options.seconds) and is_right
    if is_right:
        shutil.rmtree(directory)
        return 0
    say(f"FAILED; logs are in {directory}")
    return 1


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(piped(main))
