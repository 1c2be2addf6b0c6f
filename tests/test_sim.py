"""
Worlds that live, are healed and are judged; and what keeps them honest.

The seeds follow the commit, so that every commit sees other worlds, and a run
can be repeated: whatever fails here prints the command that shows it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sim.__main__ import replay
from tests.sim.chronicle import Violation
from tests.sim.run import run
from tests.sim.world import Settings, World

ROOT = Path(__file__).parent.parent

WORLDS = 300
TOGETHER = 20

#: Seeds of worlds that once went wrong, and how.  A seed means another world
#: as soon as the simulator draws something else; it costs nothing to keep.
ONCE_FAILED = {
    895: "a founder that was cut off founded again, after another one had founded"
    " and gone: it took that for impossible, and stopped",
    14: "a read did not see its own clerk's write: the session was evicted, the"
    " read was answered, and the write went into the next session",
}


def first_seed() -> int:
    """From the commit; a fixed one where there is none."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return 20_240_601
    return int(found.stdout[:8], 16)


FIRST = first_seed()


def blame(seeds: range) -> tuple[list[str], Counter[str]]:
    """Let them live -> what went wrong, and what all of them saw."""
    wrong, seen = [], Counter[str]()
    for seed in seeds:
        result = run(seed)
        seen.update(result.counts)
        seen.update(lost=result.is_lost, unknown=result.unknown, calls=result.calls)
        if result.violation is not None:
            wrong.append(f"{result.violation}\n  {replay(seed)}")
    return wrong, seen


@pytest.mark.parametrize("block", range(WORLDS // TOGETHER))
def test_no_world_of_this_commit_breaks_a_promise(block: int) -> None:
    begin = FIRST + block * TOGETHER
    seeds = range(begin, begin + TOGETHER)
    wrong, seen = blame(seeds)
    assert not wrong, "\n".join(wrong)
    # Worlds in which nothing happens prove nothing.
    again = f"python -m tests.sim --seeds {seeds[0]}..{seeds[-1]}"
    assert seen["views"] > 2 * TOGETHER, again
    assert seen["answers"] > 20 * TOGETHER, again
    assert seen["snapshots"], again
    assert seen["unknown"] <= 1, f"{seen['unknown']} histories were not judged: {again}"


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_what_once_went_wrong_does_not_any_more(seed: int) -> None:
    assert run(seed).violation is None, replay(seed)


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_the_same_seed_is_the_same_world(hash_seed: str) -> None:
    seed = FIRST
    here = run(seed)
    found = subprocess.run(
        [sys.executable, "-m", "tests.sim", "--seed", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.splitlines()[0] == f"trace {here.trace:08x}", found.stderr
    assert run(seed) == here


def test_another_seed_is_another_world() -> None:
    assert len({run(seed).trace for seed in range(FIRST, FIRST + 5)}) == 5


def test_what_is_found_names_the_rule_and_how_to_see_it_again() -> None:
    found = subprocess.run(
        [sys.executable, "-c", BROKEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    said = found.stdout.splitlines()
    assert said[0].startswith("seed 1: "), said
    assert said[1] == "  replay: python -m tests.sim --seed 1 --story", said


#: A primary that commits alone: the oldest mistake of all.
BROKEN = """
import sys
from pbserver.follower import Follower
Follower.joined = property(lambda self: False, lambda self, joined: None)
sys.argv = ["tests.sim", "--seeds", "1..3", "--first"]
from tests.sim.__main__ import main
sys.exit(main())
"""


def test_an_assertion_in_a_process_is_a_violation() -> None:
    world = World(1, Settings())
    world.start_views()

    def broken() -> None:
        raise AssertionError("17 > 4")

    with pytest.raises(Violation, match=r"assertion: views: .*17 > 4"):
        world.views_process.soon(broken)
