"""The page of a run: nothing is missing on it, and it needs nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.patching import Patch, patched, path_of
from tests.sim import examples, faults, trace_page, wording
from tests.sim.chronicle import Violation
from tests.sim.excerpt import Excerpt
from tests.sim.misfortune import Misfortune
from tests.sim.observer import KINDS
from tests.sim.onlooker import Onlooker
from tests.sim.process import Process
from tests.sim.recording import Recording, is_before
from tests.sim.run import run
from tests.sim.world import Settings, World
from wire.messages import SAYS, Forward, ForwardOk, Hello, Message, Query

ROOT = Path(__file__).parent.parent
SEEDS = (1, 8, 13)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def recorded(seed: int) -> Recording:
    recording = Recording(f"seed {seed}", f"python -m tests.sim --seed {seed}")
    run(seed, observer=recording)
    return recording


@pytest.fixture(scope="module", params=SEEDS)
def recording(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json".*?>(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


# -- who looks on changes nothing -----------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_is_the_same_with_an_observer(seed: int) -> None:
    assert run(seed) == run(seed, observer=Recording())


@pytest.mark.parametrize("seed", [2, 5])
def test_a_world_with_a_verifier_is_drawn(seed: int) -> None:
    recording = recorded(seed)
    assert recording.processes["verifier"] == "verifier"
    names = [name for name, _ in trace_page.contents(recording)["processes"]]
    assert names[-1] == "verifier", "it takes no part, and comes last"


# -- tables over kinds: none is missing in any -----------------------------------------


def test_every_process_has_a_kind_that_can_be_drawn() -> None:
    kinds = [each.kind for each in Process.__subclasses__()]
    assert sorted(kinds) == sorted(KINDS)


def messages() -> set[type[Message]]:
    return {Hello, *(each for said in SAYS.values() for each in said)}


@pytest.mark.parametrize("patch", [examples.STALE, examples.FORGETFUL])
def test_the_bugs_of_the_example_pages_fit_the_code(patch: Patch) -> None:
    source = path_of(patch.module).read_text()
    assert patched(source, [patch]) != source


def test_every_message_has_words() -> None:
    assert messages() <= wording._WORDS.keys()


def test_every_message_has_a_colour() -> None:
    script = (trace_page.PARTS / "run.js").read_text(encoding="utf-8")
    table = re.search(r"FAMILIES = \{(.*?)\}", script, re.DOTALL)
    assert table is not None
    told = dict(re.findall(r"(\w+): \"(\w+)\"", table[1]))
    assert told.keys() == {each.__name__ for each in messages()}
    style = (trace_page.PARTS / "style.css").read_text(encoding="utf-8")
    assert all(f"--say-{family}:" in style for family in told.values())


def test_every_fault_can_strike() -> None:
    world = World(1, Settings())
    misfortune = Misfortune(world, 1, Excerpt())
    assert misfortune._does.keys() >= faults.SCHEDULED.keys()


# -- what happens before what -----------------------------------------------------


def story() -> Recording:
    """a tells b, b tells c; d tells nobody, and what it tells a is lost."""
    told = Recording()
    for name in "abcd":
        told.began(0, name, "server")
    told.said(1, "a", "b", "ab", "x")
    told.said(2, "d", "a", "da", "lost")
    told.heard(3, "b", "ab", "x")
    told.said(4, "b", "c", "bc", "y")
    told.said(5, "a", "b", "ab", "z")
    told.heard(6, "c", "bc", "y")
    told.lost("da")
    return told


def test_clocks_count_what_an_event_can_know() -> None:
    clocks = [event.clock for event in story().events]
    starts = [(1,), (0, 1), (0, 0, 1), (0, 0, 0, 1)]
    a_says, d_says, b_hears, b_says = (2,), (0, 0, 0, 2), (2, 2), (2, 3)
    a_again, c_hears = (3,), (2, 3, 2)
    assert [*starts, a_says, d_says, b_hears, b_says, a_again, c_hears] == clocks


@pytest.mark.parametrize(
    ("one", "other", "before"),
    [
        (4, 6, True),  # sending and receipt
        (4, 9, True),  # by way of b
        (0, 9, True),
        (9, 4, False),
        (8, 9, False),  # what a said later
        (9, 8, False),
        (5, 8, False),  # what was lost
        (4, 4, False),
        (2, 9, True),  # the order of one process
    ],
)
def test_before_is_by_process_and_by_message(
    one: int, other: int, *, before: bool
) -> None:
    events = story().events
    assert is_before(events[one], events[other]) == before


def test_a_restarted_server_knows_nothing_and_the_view_service_remembers() -> None:
    told = Recording()
    for name, kind in (("s1", "server"), ("views", "views")):
        told.began(0, name, kind)
        told.ended(1, name, "crash")
        told.began(2, name, kind, remembers=kind == "views")
    events = told.events
    assert not is_before(events[0], events[2])
    assert is_before(events[3], events[5])
    assert [n for n, _ in enumerate(told.lives)] == [0, 1, 2, 3]


def test_a_message_is_the_oldest_of_its_equals_and_none_twice() -> None:
    told = Recording()
    for name in "ab":
        told.began(0, name, "server")
    for at, message in enumerate(("x", "x", "y")):
        told.said(at, "a", "b", 1, message)
    told.heard(4, "b", 1, "x")
    told.heard(5, "b", 1, "y")
    assert [message.heard for message in told.messages] == [5, None, 6]
    assert [message.is_lost for message in told.messages] == [False, True, False]
    with pytest.raises(ValueError, match="hears on 1 what was not said: y"):
        told.heard(6, "b", 1, "y")


# -- a whole run --------------------------------------------------------------------


def test_every_message_is_matched(recording: Recording) -> None:
    events, messages = recording.events, recording.messages
    heard = {n: event for n, event in enumerate(events) if event.kind == "heard"}
    assert {told.heard for told in messages if told.heard is not None} == set(heard)
    for number, told in enumerate(messages):
        said = events[told.said]
        assert (said.kind, said.message) == ("said", number)
        if told.heard is None:
            continue
        assert not told.is_lost
        receipt = events[told.heard]
        assert (receipt.process, receipt.message) == (told.to, number)
        assert said.at < receipt.at
        assert is_before(said, receipt)
    # Nothing is on its way for ever, but for the last of what was said.
    late = [told for told in messages if told.heard is None and not told.is_lost]
    assert all(recording.ended_at - events[told.said].at < 400_000 for told in late)


def test_every_process_call_and_fault_is_there(recording: Recording) -> None:
    assert {"views", "s1", "s2", "c1"} <= set(recording.processes)
    assert recording.figures["calls"] == len(recording.calls)
    assert all(call.outcome != "open" for call in recording.calls.values())
    kinds = {event.kind for event in recording.events}
    assert {"began", "said", "heard", "view", "role", "commit", "called"} <= kinds
    for life in recording.lives:
        assert recording.events[life.began].kind == "began"
    leaders = [event for event in recording.events if " leads view " in event.text]
    assert {"primary"} == {
        recording.state(event.process, recording.events.index(event))["role"]
        for event in leaders
    }


def test_states_follow_commits(recording: Recording) -> None:
    for number, event in enumerate(recording.events):
        if event.kind == "commit":
            commit = int(event.text.split(" ")[-1].split("..")[-1])
            assert recording.state(event.process, number)["commit"] == commit


def test_what_is_routine_says_nothing_new(recording: Recording) -> None:
    routine = [told for told in recording.messages if told.is_routine]
    kinds = {told.kind for told in routine}
    assert {"Ping", "ViewIs", "Hello"} <= kinds
    assert kinds <= {"Ping", "ViewIs", "Hello", "Watch", "Forward", "ForwardOk"}
    assert not any(m.message.entries for m in routine if m.kind == "Forward")  # type: ignore[attr-defined]


def test_a_round_for_a_read_is_no_routine() -> None:
    told = Recording()
    for name in ("s1", "s2", "c1"):
        told.began(0, name, "server")
    query = Query(1, bytes(16), 0, b"\x90")
    beats = [Forward(1, number, 0, 0) for number in (1, 2, 3)]
    told.said(1, "s1", "s2", 1, beats[0])
    told.said(2, "c1", "s1", 2, query)
    told.heard(3, "s1", 2, query)
    told.said(4, "s1", "s2", 1, beats[1])
    told.said(5, "s2", "s1", 3, ForwardOk(1, 1, 0, 0))
    told.said(6, "s2", "s1", 3, ForwardOk(1, 2, 0, 0))
    told.said(7, "s1", "s2", 1, beats[2])
    told.said(8, "s2", "s1", 3, ForwardOk(1, 3, 0, 0))
    routine = [message.is_routine for message in told.messages]
    assert routine == [False, False, False, False, False, True, True]


# -- what is wrong ------------------------------------------------------------------


def test_the_accused_calls_are_named_and_the_page_opens_there() -> None:
    recording = Recording()
    world = World(1, Settings(), observer=recording)
    clerk = world.start_clerk()
    world.start_views()
    onlooker = world.onlooker
    assert isinstance(onlooker, Onlooker)
    onlooker.look()
    for text in ("a", "b", "c"):
        recording.called(1, "c1", ord(text) - 96, text)
        recording.answered(2, "c1", ord(text) - 96, "done", "")
    world.end_clerk(clerk)
    onlooker.finish(Violation("the truth", "a0: read 3 of c1 does not see its write 2"))
    violation = recording.violation
    assert violation is not None
    assert violation.calls == (("c1", 3), ("c1", 2))
    assert recording.events[trace_page.start(recording)].text.startswith("call 3 ends")
    assert recording.events[violation.event].process == "c1"


# -- the page -----------------------------------------------------------------------


class Tags(HTMLParser):
    """What is opened and what is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_needs_no_other(recording: Recording) -> None:
    page = trace_page.page(recording)
    assert len(page) < 3_000_000
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    assert not {"link", "img", "iframe"} & {tag for tag, _ in tags.seen}
    assert not any({"src", "href"} & set(attributes) for _, attributes in tags.seen)
    without_data = page.replace(json.dumps(data_of(page)), "")
    for outside in ("http:", "https:", "//cdn", "url(", "@import", "import(", "fetch("):
        assert outside not in without_data, outside


def test_the_page_has_everything_that_was_recorded(recording: Recording) -> None:
    data = data_of(trace_page.page(recording))
    assert {name for name, _ in data["processes"]} == set(recording.processes)
    assert len(data["events"]["after"]) == len(recording.events)
    assert len(data["messages"]) == len(recording.messages)
    assert len(data["calls"]) == len(recording.calls)
    assert sum(data["events"]["after"]) == recording.events[-1].at
    assert data["command"] == recording.command


def test_no_text_ends_the_element_that_it_stands_in() -> None:
    told = Recording("</script><b>", "a & b")
    told.began(0, "s1", "server")
    told.did(1, "s1", "role", "<!-- </script> /*script*/")
    page = trace_page.page(told)
    assert page.count("</script>") == 2
    assert "<!-- </script> /*script*/" in data_of(page)["texts"]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_equal_runs_give_equal_pages(tmp_path: Path, hash_seed: str) -> None:
    path = tmp_path / "trace.html"
    found = simulate("--seed", "1", "--trace", str(path), PYTHONHASHSEED=hash_seed)
    assert found.returncode == 0, found.stderr
    page = path.read_text(encoding="utf-8")
    here = Recording(data_of(page)["title"], data_of(page)["command"])
    run(1, observer=here)
    assert page == trace_page.page(here)


def test_a_world_that_fails_is_shown_with_its_rule(tmp_path: Path) -> None:
    path = tmp_path / "trace.html"
    script = (
        "import sys; from tests import patching;"
        f" patching.install([patching.Patch(*{tuple(ALONE)!r})]);"
        " from tests.sim.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    options = ["--seed", "1", "--only", "none", "--trace", str(path)]
    found = subprocess.run(
        [sys.executable, "-c", script, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    data = data_of(path.read_text(encoding="utf-8"))
    assert data["violation"]["rule"] == "no empty promotion"
    assert data["start"] == data["violation"]["event"]
    assert data["command"] == f"python -m tests.sim {' '.join(options)}"
    assert "  page: python -m tests.sim --seed 1 --only none --trace" in found.stdout


#: A primary that commits what nobody else holds.
ALONE = Patch(
    "pbserver.primary",
    "verified = min(verified, follower.verified)",
    "verified = log.end",
)


def simulate(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_examples_show_what_they_say() -> None:
    healthy = data_of(trace_page.page(examples.failover()))
    assert healthy["violation"] is None
    opened = healthy["texts"][healthy["events"]["text"][healthy["start"]]]
    assert opened.endswith("leads view 3")
    for path in (examples.FAILOVER, examples.VIOLATION, examples.SEARCH):
        assert path.stat().st_size < 500_000
    broken = data_of(examples.VIOLATION.read_text(encoding="utf-8"))
    assert broken["violation"]["rule"] == "reads are fresh"
    # It is the mistake that breaks the rule, not the partition.
    assert examples.stale_read().violation is None


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
def test_a_browser_shows_the_same_order_of_events(tmp_path: Path) -> None:
    recording = examples.failover()
    path = tmp_path / "trace.html"
    trace_page.write(path, recording)
    number = trace_page.start(recording)
    event = recording.events[number]
    others = [other for other in recording.events if other.process]
    past = sum(is_before(other, event) for other in others)
    future = sum(is_before(event, other) for other in others)
    assert past
    assert future
    dom = browse(tmp_path, f"{path.as_uri()}#event={number}&causal=1")
    assert event.text in dom
    assert f"{past} before</span>" in dom
    assert f"{future} after</span>" in dom


def browse(profile: Path, address: str) -> str:
    """What the browser has made of a page."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    found = subprocess.run(
        [str(BROWSER), *options, f"--user-data-dir={profile}", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return found.stdout
