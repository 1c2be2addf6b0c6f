"""
``python -m tests.sim --seed N`` replays a world, ``--seeds A..B`` lets many live.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.sim.run import run


def main() -> int:
    """Say what was found -> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seed", type=int, help="one world")
    parser.add_argument("--seeds", help="many: FIRST..LAST")
    parser.add_argument("--story", action="store_true", help="print what happens")
    parser.add_argument("--first", action="store_true", help="stop at a violation")
    options = parser.parse_args()
    if options.seed is not None:
        first = last = options.seed
    elif options.seeds:
        first, last = (int(part) for part in options.seeds.split(".."))
    else:
        parser.error("--seed N or --seeds FIRST..LAST is needed")
    began = time.monotonic()
    wrong = longest_us = 0
    totals: Counter[str] = Counter()
    for seed in range(first, last + 1):
        result = run(seed, story=say if options.story else None)
        totals.update(result.counts)
        totals.update(
            worlds=1,
            calls=result.calls,
            events=result.events,
            lost=result.is_lost,
            unknown=result.unknown,
        )
        longest_us = max(longest_us, result.healed_us)
        if first == last:
            say(f"trace {result.trace:08x}")
        if result.violation is not None:
            wrong += 1
            say(f"seed {seed}: {result.violation}\n  replay: {replay(seed)}")
            if options.first:
                break
    took_s = time.monotonic() - began
    say(", ".join(f"{count} {what}" for what, count in sorted(totals.items())))
    say(f"healed within {longest_us / 1_000_000:.1f} s, the slowest of them")
    say(f"{wrong} violations; {took_s:.1f} s, {took_s / totals['worlds']:.3f} each")
    return 1 if wrong else 0


def say(text: str) -> None:
    """One line, or several."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def replay(seed: int) -> str:
    """The command that shows it again."""
    return f"python -m tests.sim --seed {seed} --story"


if __name__ == "__main__":
    sys.exit(main())
