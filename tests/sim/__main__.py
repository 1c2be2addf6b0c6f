"""
``python -m tests.sim --seed N`` replays a world, ``--seeds A..B`` lets many live.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.sim.run import Result, run


def main() -> int:
    """Say what was found."""
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
    found: list[Result] = []
    totals: Counter[str] = Counter()
    began = time.monotonic()
    for seed in range(first, last + 1):
        result = run(seed, story=print if options.story else None)
        totals.update(result.counts)
        totals.update(
            worlds=1,
            calls=result.calls,
            events=result.events,
            lost=result.is_lost,
            unknown=result.unknown,
        )
        if result.violation is not None:
            found.append(result)
            print(f"seed {seed}: {result.violation}\n  replay: {replay(seed)}")
            if options.first:
                break
    took = time.monotonic() - began
    print(", ".join(f"{count} {what}" for what, count in sorted(totals.items())))
    print(f"{len(found)} violations; {took:.1f} s, {took / totals['worlds']:.3f} each")
    return 1 if found else 0


def replay(seed: int) -> str:
    """The command that shows it again."""
    return f"python -m tests.sim --seed {seed} --story"


if __name__ == "__main__":
    sys.exit(main())
