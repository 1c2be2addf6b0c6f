"""
``python -m tests.sim.examples`` writes the example pages of the docs, and a
picture of each if there is a browser.

One is a failover as it should be: the primary crashes while two clerks call,
its backup takes over, and the one that crashed comes back.  The other is what
comes of a primary that answers reads without asking its backup whether it still
is primary: cut off together with a clerk, it answers what another one has
overwritten.  The third is the shortest way in which a backup that forgets what
it has not committed loses an answer, as the searcher finds it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.logger import globalLogBeginner

from tests.patching import ROOT, Patch, install
from wire.output import piped

if TYPE_CHECKING:
    from tests.sim.recording import Recording
    from tests.sim.world import World

DOCS: Final = ROOT / "docs"
FAILOVER: Final = DOCS / "trace-failover.html"
VIOLATION: Final = DOCS / "trace-violation.html"

SEARCH: Final = DOCS / "trace-search.html"

#: What is to be seen on the pictures.
SIGHTS: Final = {FAILOVER: "", VIOLATION: "causal=1", SEARCH: "filter=0"}
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

COMMAND: Final = "python -m tests.sim.examples"

#: Waits for no echo of a round that was sent after the read came.
STALE: Final = Patch(
    "pbserver.primary",
    "self._answer(echoed)",
    "self._answer(self.round + 1)",
)


#: Drops what is not committed when a view comes.
FORGETFUL: Final = Patch(
    "pbserver.replica",
    "            backup = self.role = Backup(",
    "            if self.history.log.end > self.history.commit:\n"
    "                self.history.log.truncate(self.history.commit + 1)\n"
    "            backup = self.role = Backup(",
)


def failover() -> Recording:
    """A primary crashes, and nobody notices but by the delay."""
    from tests.sim.agenda import MS
    from tests.sim.recording import Recording
    from tests.sim.run import Life

    recording = Recording("A failover: the primary crashes under load", COMMAND)
    world = _world(recording)
    life = Life(world)
    for clerk in world.clerks:
        life.workload.begin(clerk)
    world.run(800 * MS)
    primary = world.chronicle.view.members()[0].name
    world.note(f"{primary} crashes")
    world.servers[primary].end()
    world.run(400 * MS)
    world.start_server(primary)
    world.run(300 * MS)
    life.recover()
    assert world.onlooker is not None
    world.onlooker.rest()
    life.judge()
    world.onlooker.finish(None)
    return recording


def stale_read() -> Recording:
    """A primary is cut off with one clerk, and another one takes over."""
    from tests.sim.agenda import MS
    from tests.sim.chronicle import Violation
    from tests.sim.recording import Recording
    from wire.commands import Get, Put

    title = "A mistake: a primary that answers reads from its own copy alone"
    recording = Recording(title, COMMAND)
    world = _world(recording)
    one, other = world.clerks
    one.soon(lambda: one.call(Put(b"x", b"old")) and None)
    other.soon(lambda: other.call(Get(b"x")) and None)
    world.run(100 * MS)
    view = world.chronicle.view
    alone = [view.members()[0].name, one.name]
    rest = [host for host in world.hosts() if host not in alone]
    paths = [(here, there) for here in alone for there in rest]
    world.note(f"{' and '.join(alone)} are cut off from everybody else")
    world.network.cut_off([*paths, *((there, here) for here, there in paths)])
    world.until(lambda: world.chronicle.view.number > view.number, 2000 * MS)
    world.run(50 * MS)
    other.soon(lambda: other.call(Put(b"x", b"new")) and None)
    world.run(50 * MS)
    violation = None
    try:
        one.soon(lambda: one.call(Get(b"x")) and None)
        world.run(100 * MS)
    except Violation as found:
        violation = found
    assert world.onlooker is not None
    world.onlooker.finish(violation)
    return recording


def shortest() -> Recording:
    """What a breadth-first search comes to first."""
    from tests.sim.recording import Recording
    from tests.sim.search.breadth import Breadth
    from tests.sim.search.page import ToldModel
    from tests.sim.search.stages import BY_NAME

    named = BY_NAME["divergent"]
    found = Breadth(*named.start()).run()
    title = "A mistake: a backup that drops what it has not committed"
    recording = Recording(title, COMMAND, "step")
    told = ToldModel(named.config, recording)
    told.tell(named.start(told)[1], found.actions)
    return recording


def _world(recording: Recording) -> World:
    """Three servers and two clerks, all well, and nothing goes wrong by itself."""
    from tests.sim.agenda import MS
    from tests.sim.world import Settings, World

    world = World(1, Settings(), observer=recording)
    world.misfortune.is_over = True
    world.start_views()
    for number in range(world.settings.servers):
        world.start_server(f"s{number + 1}")
    for _ in range(world.settings.clerks):
        world.start_clerk()
    world.run(600 * MS)
    return world


def picture(path: Path, sight: str) -> bool:
    """A picture of that page, beside it -> whether there is a browser for it."""
    browser = next((each for each in BROWSERS if shutil.which(each)), None)
    if browser is None:
        return False
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", "--window-size=1280,800"),
            f"--user-data-dir={profile}",
            f"--screenshot={path.with_suffix('.png')}",
            f"{path.as_uri()}#{sight}",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return True


#: Mistake -> the page, what is wrong with the code, and what comes of it.
MISTAKES: Final = {
    "stale": (VIOLATION, STALE, stale_read),
    "forgetful": (SEARCH, FORGETFUL, shortest),
}


def main() -> int:
    """Write them; the mistaken ones in processes of their own."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    if sys.argv[1:]:
        page, patch, record = MISTAKES[sys.argv[1]]
        install([patch])
        _write(page, record())
        return 0
    _write(FAILOVER, failover())
    for mistake in MISTAKES:
        command = [sys.executable, "-m", "tests.sim.examples", mistake]
        subprocess.run(command, cwd=ROOT, check=True)
    for path, sight in SIGHTS.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if not picture(path, sight):
            sys.stdout.write("no browser: the picture stays as it is\n")
    return 0


def _write(path: Path, recording: Recording) -> None:
    from tests.sim import trace_page

    trace_page.write(path, recording)


if __name__ == "__main__":
    sys.exit(piped(main))
