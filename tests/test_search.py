"""The searcher: what it finds, what it must find, and that it counts alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patching import ROOT, Patch
from tests.sim.search.__main__ import announcement
from tests.sim.search.breadth import Breadth
from tests.sim.search.frozen import freeze, thaw
from tests.sim.search.stages import ALL, BY_NAME
from tests.sim.search.walk import walk
from tests.sim.search.words import NoAction, actions_of, line_of, replay

#: Everything that can come of these was looked at.  Another number means that
#: the rules, or what is searched, have changed: see what, then put it here.
PINNED = {
    "small": (3864, 26120, 21),
    "joining": (1643, 13605, 15),
    "reconnect": (1223, 10166, 19),
}

#: A bug -> where it is found, by which rule, and in how many steps.
FOUND = {
    "newcomers count before they have accepted anything": (
        Patch(
            "pbserver.follower",
            "self.synced = self.joined and self.verified >= self.mark",
            "self.synced = self.joined",
        ),
        ("joining-alone", "no empty promotion"),
    ),
    "reads wait for no round": (
        Patch(
            "pbserver.round_waiters",
            "while reads and reads[0].end <= commit and reads[0].round <= echoed:",
            "while reads and reads[0].end <= commit:",
        ),
        ("reads", "reads are fresh"),
    ),
    "evicted is said by who may have been replaced": (
        Patch(
            "pbserver.primary",
            "if question.end <= commit and question.round <= echoed:",
            "if question.end <= commit:",
        ),
        ("evicted", "refusals are final"),
    ),
    "a position is never answered": (
        Patch(
            "pbserver.follower",
            "        self.next = index + 1\n        self.verified = max",
            "        self.verified = max",
        ),
        ("transfer", "everything ends"),
    ),
}

#: Runs the command with a patch, in a process of its own.
CHILD = """
import sys
from tests.patching import Patch, install
install([Patch(*sys.argv[1:4])])
del sys.argv[1:4]
from tests.sim.search.__main__ import main
sys.exit(main())
"""


def command(
    *arguments: str, code: tuple[str, ...] = ("-m", "tests.sim.search"), seed: str = "0"
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", PINNED)
def test_small_worlds_are_exhausted(name: str) -> None:
    found = Breadth(*BY_NAME[name].start()).run()
    assert found.is_exhausted
    assert found.rule == ""
    assert PINNED[name] == (found.states, found.steps, found.depth)
    assert found.futures == found.states
    assert found.repeated > 0


@pytest.mark.parametrize("named", ALL, ids=lambda named: named.config.name)
def test_every_situation_is_searched_a_little(named: object) -> None:
    model, start = BY_NAME[named.config.name].start()  # type: ignore[attr-defined]
    found = Breadth(model, start).run(states_max=600)
    assert found.rule == "", found
    assert found.states > 100
    found = walk(model, start, seconds=0.2, seed=1)
    assert found.rule == "", found


def test_the_same_is_counted_in_every_process() -> None:
    counts = []
    for seed in ("1", "2"):
        _, out, _ = command("--config", "reconnect", "--json", seed=seed)
        (found,) = json.loads(out)
        counts.append([found["states"], found["steps"], found["depth"]])
    assert list(PINNED["reconnect"]) == counts[0] == counts[1]


@pytest.mark.parametrize("bug", FOUND)
def test_a_bug_is_found_and_shown_again(bug: str) -> None:
    patch, (name, rule) = FOUND[bug]
    child = ("-c", CHILD, *patch)
    code, out, err = command("--config", name, "--seconds", "60", code=child)
    assert code == 1, err
    (shown,) = [line for line in out.splitlines() if line.startswith("violation: ")]
    assert shown.startswith(f"violation: {rule}: ")
    (again,) = [line for line in out.splitlines() if line.startswith("replay: ")]
    line = again.split("'")[1]
    code, out, err = command("--config", name, "--replay", line, code=child)
    assert code == 1, err
    assert shown in out.splitlines()
    # Without the bug, the same steps harm nobody, if they can be taken at all.
    code, out, err = command("--config", name, "--replay", line)
    assert "no rule was violated" in out or "cannot happen" in err


def test_a_replica_is_the_same_after_freezing() -> None:
    model, start = BY_NAME["transfer"].start()
    transfers = 0
    for number in start[:3]:
        replica = model.servers.replica(number)
        transfers += replica.report.transfer_bytes is not None
        frozen = freeze(replica)
        assert frozen == freeze(thaw(frozen))
        assert freeze(thaw(frozen)) == frozen
    assert transfers == 1


def test_a_cut_does_not_see_what_comes_after_it() -> None:
    """Freezing keeps the promise of the pairs: a leaf that a cut needs is
    replaced, not changed."""
    model, start = BY_NAME["transfer"].start()
    replica = thaw(freeze(model.servers.replica(start[0])))
    (follower,) = replica.role.followers.values()  # type: ignore[union-attr]
    assert follower.transfer is not None
    store = replica.history.state.machine
    store._pairs.put(b"k", b"later")  # type: ignore[attr-defined]
    pieces = b""
    while piece := follower.transfer.machine.take(100):
        pieces += piece
    assert b"later" not in pieces


def test_actions_can_be_written_down() -> None:
    model, start = BY_NAME["doubt"].start()
    line = "ping 2; doubt 0 B; there 0 2 0"
    assert line_of(actions_of(line)) == line
    assert actions_of("end-there 0 1 0") == [("end there", 0, 1, 0)]
    with pytest.raises(NoAction, match="'there 0 2 0' cannot happen as step 3"):
        replay(model, start, actions_of(line))


def test_a_way_can_be_seen_as_a_page(tmp_path: Path) -> None:
    page = tmp_path / "way.html"
    line = "ping 2; doubt 0 B; dial 0 2"
    code, _, err = command("--config", "doubt", "--replay", line, "--trace", str(page))
    assert code == 0, err
    text = page.read_text(encoding="utf-8")
    assert "A leads, B is its backup" in text
    assert "--replay 'ping 2; doubt 0 B; dial 0 2'" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--config", "smal"], "no configuration 'smal'; there are small, "),
        (["--config", "small", "--seconds", "no"], "'no' is no number above 0"),
        (["--config", "small", "--replay", "dance 1"], "'dance 1' cannot happen"),
        (["--replay", "ping 1"], "--replay needs one --config NAME"),
        (["--config", "small", "--walk"], "--walk needs --seconds"),
        (
            ["--config", "small", "--trace", "/no/where"],
            "'/no/where' cannot be written",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], text: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("count", "jobs", "expected"),
    [
        (28, 2, "28 configurations, up to 5 s for each, 2 at a time: up to 70 s"),
        (3, 2, "3 configurations, up to 5 s for each, 2 at a time: up to 10 s"),
        (3, 1, "3 configurations, up to 5 s for each: up to 15 s"),
        (1, 2, "one configuration, up to 5 s for each: up to 5 s"),
    ],
)
def test_a_search_says_first_how_long_it_may_last(count, jobs, expected):
    assert announcement(count, jobs, 5) == expected
