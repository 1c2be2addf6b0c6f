"""
Worlds that live, are healed and are judged; and what keeps them honest.

The seeds follow the commit, so that every commit sees other worlds, and a run
can be repeated: whatever fails here prints the command that shows it again.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pbserver.replica import Replica
from tests.patching import Patch
from tests.sim.agenda import S
from tests.sim.chronicle import Violation
from tests.sim.ending import Ending, ending, explain, prove
from tests.sim.excerpt import Excerpt, replay
from tests.sim.faults import KINDS
from tests.sim.run import run
from tests.sim.settings import Settings
from tests.sim.world import World

ROOT = Path(__file__).parent.parent

WORLDS = 500
JOBS = os.cpu_count() or 1

FAILED = [
    line.split(" ", 2)
    for line in (ROOT / "tests/sim/failed_seeds.txt").read_text().splitlines()
    if not line.startswith("#")
]


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


def simulate(
    *arguments: str, patches: tuple[Patch, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python -m tests.sim`` with that, the code patched."""
    return subprocess.run(
        [sys.executable, "-c", PATCHED, repr(list(map(tuple, patches))), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


PATCHED = """
import ast, sys
from tests.patching import Patch, install
install(Patch(*each) for each in ast.literal_eval(sys.argv.pop(1)))
from tests.sim.__main__ import main
sys.exit(main())
"""


def document(found: subprocess.CompletedProcess[str]) -> Any:
    assert not found.stderr, found.stderr
    return json.loads(found.stdout)


# -- worlds -------------------------------------------------------------------


def test_no_world_of_this_commit_breaks_a_promise() -> None:
    seeds = f"{FIRST}..{FIRST + WORLDS - 1}"
    found = simulate("--seeds", seeds, "--jobs", str(JOBS), "--json")
    seen = document(found)
    assert not seen["violations"], json.dumps(seen["violations"], indent=2)
    assert found.returncode == 0
    # Worlds in which nothing happens prove nothing.
    assert seen["worlds"] == WORLDS
    assert seen["counts"]["views"] > 2 * WORLDS
    assert seen["counts"]["answers"] > 20 * WORLDS
    assert seen["counts"]["snapshots"] > WORLDS / 2
    assert set(KINDS) == {kind for kind, count in seen["faults"].items() if count}
    assert seen["endings"]["healed"] > 0.9 * WORLDS
    assert seen["endings"]["lost"]
    assert seen["unknown"] <= WORLDS / 100, (
        f"{seen['unknown']} were not judged: {seeds}"
    )


@pytest.mark.parametrize("seed", [int(seed) for seed, _, _ in FAILED])
def test_what_once_went_wrong_does_not_any_more(seed: int) -> None:
    assert run(seed).violation is None, replay(seed)


# -- how they end -------------------------------------------------------------


def newcomer_dies(*, strict: bool) -> World:
    """The first backup ends as soon as it is in a view, and comes back empty."""
    world = World(1, Settings(servers=2, strict=strict), excerpt=Excerpt(frozenset()))
    world.start_views()
    for name in ("s1", "s2"):
        world.start_server(name)
    assert world.until(lambda: bool(world.chronicle.view.backups), 5 * S)
    (backup,) = world.chronicle.view.backups
    world.servers[backup.name].end()
    world.start_server(backup.name)
    world.run(5 * S)
    return world


def test_what_the_strict_gate_has_shut_is_told_from_what_heals() -> None:
    world = newcomer_dies(strict=True)
    assert ending(world) is Ending.SHUT
    assert "strict lets no backup go" in explain(world, Ending.SHUT)
    prove(world, Ending.SHUT)
    assert ending(newcomer_dies(strict=False)) is Ending.HEALED


@pytest.mark.parametrize("claim", [Ending.LOST, Ending.SHUT])
def test_whoever_claims_to_be_beyond_help_must_prove_it(claim: Ending) -> None:
    with pytest.raises(Violation):
        prove(newcomer_dies(strict=False), claim)


def test_all_is_lost_with_the_last_who_was_eligible() -> None:
    world = newcomer_dies(strict=False)
    for name in ("s1", "s2"):
        world.servers[name].end()
        world.start_server(name)
    world.run(5 * S)
    assert ending(world) is Ending.LOST
    prove(world, Ending.LOST)


# -- what keeps them honest ---------------------------------------------------


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_the_same_seed_is_the_same_world(hash_seed: str) -> None:
    seed = FIRST
    here = run(seed)
    found = simulate("--seed", str(seed), PYTHONHASHSEED=hash_seed)
    assert found.stdout.splitlines()[0] == f"trace {here.trace:08x}", found.stderr
    assert run(seed) == here


def test_on_several_processors_seeds_are_the_same_worlds() -> None:
    seeds = f"{FIRST}..{FIRST + 9}"
    one, two = (
        document(simulate("--seeds", seeds, "--jobs", jobs, "--json"))
        for jobs in ("1", "3")
    )
    for seen in (one, two):
        del seen["took_s"], seen["events_per_s"]
    assert one == two


def test_another_seed_is_another_world() -> None:
    assert len({run(seed).trace for seed in range(FIRST, FIRST + 5)}) == 5


def test_leaving_out_what_does_not_strike_changes_nothing() -> None:
    whole = run(FIRST)
    names = tuple(fault.name for fault in whole.struck)
    excerpt = Excerpt(
        only=names, until_us=whole.until_us, clerks=whole.clerks, calls=whole.calls + 1
    )
    assert run(FIRST, excerpt=excerpt) == whole


def test_leaving_out_one_fault_redraws_no_other() -> None:
    found = (run(seed) for seed in range(FIRST, FIRST + 100))
    whole = next(result for result in found if len(result.struck) > 10)
    some = tuple(fault.name for fault in whole.struck[1:])
    without = run(whole.seed, excerpt=Excerpt(only=some)).struck
    # Whom it meets may have changed, and so whether it meets anybody.
    assert {fault.name for fault in without} <= set(some)
    before = {fault for fault in whole.struck if fault.name.isdigit()}
    after = {fault for fault in without if fault.name.isdigit()}
    assert after
    assert after <= before


def test_an_excerpt_has_no_more_than_it_says() -> None:
    # A world can be over before a clerk has made all its calls; not three of them.
    excerpt = Excerpt(clerks=1, calls=7, only=())
    found = [run(seed, excerpt=excerpt) for seed in range(FIRST, FIRST + 3)]
    assert {(each.clerks, each.struck) for each in found} == {(1, ())}
    assert max(each.calls for each in found) == 7
    said: list[str] = []
    kinds = frozenset({"crash", "cut"})
    struck = [
        fault.kind
        for seed in range(FIRST, FIRST + 5)
        for fault in run(seed, excerpt=Excerpt(kinds=kinds)).struck
    ]
    assert set(struck) == kinds
    # In some worlds nothing is answered after that.
    for seed in range(FIRST, FIRST + 10):
        said.clear()
        late = run(seed, excerpt=Excerpt(from_us=600_000), story=said.append)
        assert late.calls
        if firsts := [line for line in said if "outcome='" in line]:
            break
    assert float(firsts[0].split()[0]) >= 0.6
    early = run(FIRST, excerpt=Excerpt(until_us=500_000))
    assert all(fault.at_us < 500_000 for fault in early.struck)


def broken(_: object = None) -> None:
    raise AssertionError("17 > 4")


def test_an_assertion_in_a_process_is_a_violation() -> None:
    world = World(1, Settings())
    world.start_views()
    with pytest.raises(Violation, match=r"assertion: views: .*17 > 4"):
        world.views_process.soon(broken)


def test_an_assertion_that_twisted_would_keep_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(1, Settings())
    world.start_views()
    world.start_server("s1")
    world.run(1_000_000)
    monkeypatch.setattr(Replica, "tick", broken)  # which a LoopingCall calls
    with pytest.raises(Violation, match=r"assertion: s1: .*17 > 4"):
        world.run(1_000_000)


def test_nonsense_on_a_connection_is_a_violation() -> None:
    world = World(1, Settings(), excerpt=Excerpt(frozenset()))
    world.start_views()
    world.start_server("s1")
    world.run(1_000_000)
    end = next(end for end in world.network.ends.values() if end.process.name == "s1")
    world.network.carry(end, b"\0\0\0\1\xc1")
    with pytest.raises(Violation, match=r"protocol: views: link\.broken"):
        world.run(1_000_000)


@pytest.mark.parametrize("before", [True, False])
def test_the_view_service_can_end_around_its_writing(before: bool) -> None:
    world = World(1, Settings(), excerpt=Excerpt(frozenset()))
    world.start_views()
    server = world.start_server("s1")
    life = world.views_process
    assert world.until(lambda: life.views.acknowledged, 1_000_000)
    written = [world.disk]

    def writes(*, before: bool, then: bool = before) -> bool:
        if life.views.view.counter == 1:
            written[:] = [world.disk]
        ends = before == then and life.views.view.counter == 2
        if ends:
            world.crash_views()
        return ends

    world.misfortune.writes = writes
    world.start_server("s2")
    assert world.until(lambda: not life.is_alive, 1_000_000)
    assert ([world.disk] == written) is before
    # Whatever it had decided, nobody has heard of it.
    world.run(1_000_000)
    assert server.replica.view.counter == 1


def test_a_server_that_cannot_go_on_stops_in_order_and_is_started_again() -> None:
    world = World(1, Settings())
    world.start_views()
    old = world.start_server("s1")
    world.run(1_000_000)
    old._service.stop("superseded: so it says")
    assert old.stopped == "superseded: so it says"
    assert world.until(lambda: world.servers["s1"] is not old, 3_000_000)
    assert not old.is_alive
    # It has said that it leaves, and its name is free at once.
    assert world.until(lambda: world.servers["s1"].replica.view.number > 0, 300_000)


# -- finding, and making small ------------------------------------------------

#: A primary that takes a backup out of the rule as soon as its connection breaks.
FORGETFUL = Patch(
    "pbserver.follower",
    "        self.link = self.next = None\n        self.drop_transfer()\n\n"
    "    def stands_at",
    "        self.link = self.next = None\n        self.drop_transfer()\n"
    "        self.joined = False\n\n    def stands_at",
)

#: A primary that commits what one backup of several has.
HASTY = Patch(
    "pbserver.primary",
    "verified = min(verified, follower.verified)",
    "verified = max(follower.verified, history.commit)",
)


@pytest.mark.parametrize("patch", [FORGETFUL, HASTY])
def test_a_mistake_is_found_made_small_and_played_again(patch: Patch) -> None:
    found = simulate("--seeds", "1..300", "--first", "--json", patches=(patch,))
    assert found.returncode == 1, found.stderr
    (violation,) = document(found)["violations"]
    assert violation["rule"] in {"no empty promotion", "one history"}
    least = violation["least"]
    assert len(least["faults"]) <= 6, least
    assert least["calls"] <= 30, least
    arguments = shlex.split(least["replay"])[3:]
    again = simulate(*arguments, patches=(patch,))
    assert again.returncode == 1
    told = [line for line in again.stdout.splitlines() if line.startswith("seed ")]
    assert told == [f"seed {violation['seed']}: {least['text']}"]
    # Without the mistake the same excerpt is nothing special.
    assert simulate(*arguments).returncode == 0


def test_what_is_found_names_the_rule_and_how_to_see_it_again() -> None:
    found = simulate("--seeds", "1..300", "--first", patches=(HASTY,))
    assert found.returncode == 1, found.stderr
    said = found.stdout.splitlines()
    seed = said[0].split()[1].rstrip(":")
    assert said[0].startswith(f"seed {seed}: no empty promotion: "), said
    assert said[1] == f"  replay: python -m tests.sim --seed {seed} --story", said
    assert said[2].startswith(f"  least: python -m tests.sim --seed {seed} --only "), (
        said
    )


# -- what one types -----------------------------------------------------------

REFUSED = {
    "": "which worlds? Give --seed N for one",
    "--seed x": "'x' is no seed; give a whole number",
    "--seed -1": "'-1' is no seed; give a whole number",
    "--seed 1_000": "'1_000' is no seed",
    "--seeds 1-9": "'1-9' is no range; give two seeds, as in --seeds 1..100",
    "--seeds 9..1": "'9..1' is empty; --seeds 1..9 is not",
    "--seeds 1..2..3": "'1..2..3' is no range",
    "--for 0": "'0' is no time; give seconds above 0",
    "--for nan": "'nan' is no time",
    "--seed 1 --seeds 1..9": "--seed and --seeds contradict each other",
    "--seeds 1..9 --for 3": "--seeds and --for contradict each other",
    "--seed 1 --faults crash,rain": "'rain' is no kind of fault; there are crash, ",
    "--seed 1 --faults ": "'' is no kind of fault",
    "--seed 1 --only 3,x9": "'x9' is no fault's name",
    "--seed 1 --until soon": "'soon' is no moment",
    "--seed 1 --clerks 0": "'0' is not a number from 1 up",
    "--seed 1 --jobs many": "'many' is not a number from 1 up",
    "--seeds 1..9 --only 3": "--only is about one world; give --seed N, not --seeds",
    "--seeds 1..9 --calls 0": "--calls is about one world",
    "--for 9 --trace page.html": "--trace is about one world",
    "--for 9 --story": "--story is about one world",
    "--seed 1 --trace /nowhere/page.html": "'/nowhere/page.html' cannot be written (no",
    "--seed 1 --trace tests": "'tests' cannot be written (is a directory)",
    "--seed 1 --json --story": "--json prints one document and --story prints lines",
    "--seed 1 --shrink --story": "--shrink lives through many worlds",
    "--seed 1 --sometimes": "unrecognized arguments: --sometimes",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.sim.__main__ import main

    with pytest.raises(SystemExit) as exit_:
        main(typed.split(" ") if typed else [])
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    assert REFUSED[typed] in said.err
    assert said.err.count("\n") == 1


def test_new_worlds_are_lived_for_as_long_as_asked() -> None:
    found = simulate("--for", "0.5")
    assert found.returncode == 0, found.stdout
    first = int(found.stdout.splitlines()[0].removeprefix("from seed "))
    worlds = int(found.stdout.splitlines()[1].split()[0])
    assert worlds >= 1
    again = document(simulate("--seeds", f"{first}..{first + worlds - 1}", "--json"))
    assert again["worlds"] == worlds
    assert f"{again['events']} events" in found.stdout


def test_without_faults_nothing_goes_wrong() -> None:
    seen = document(simulate("--seeds", "1..20", "--faults", "none", "--json"))
    assert sum(seen["faults"].values()) == 0
    assert seen["endings"]["healed"] == 20
