"""
``python -m tests.sim.examples`` writes the two example pages of the docs, and a
picture of each if there is a browser.

One is a failover as it should be: the primary crashes while two clerks call,
its backup takes over, and the one that crashed comes back.  The other is what
comes of a primary that answers reads without asking its backup whether it still
is primary: cut off together with a clerk, it answers what another one has
overwritten.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.logger import globalLogBeginner

from tests.patching import ROOT, Patch

if TYPE_CHECKING:
    from tests.sim.recording import Recording
    from tests.sim.world import World

DOCS: Final = ROOT / "docs"
FAILOVER: Final = DOCS / "trace-failover.html"
VIOLATION: Final = DOCS / "trace-violation.html"

#: What is to be seen on the pictures.
SIGHTS: Final = {FAILOVER: "", VIOLATION: "causal=1"}
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

COMMAND: Final = "python -m tests.sim.examples"

#: Waits for no echo of a round that was sent after the read came.
STALE: Final = Patch(
    "pbserver.primary",
    "self._answer(min([each.echoed for each in rule], default=self.round + 1))",
    "self._answer(self.round + 1)",
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


def main() -> int:
    """Write them; the first before any code is patched, which lasts."""
    from tests.sim import trace_page

    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    if sys.argv[1:] == ["mistaken"]:
        trace_page.write(VIOLATION, stale_read())
        return 0
    trace_page.write(FAILOVER, failover())
    mistaken = (
        "from tests import patching; from tests.sim import examples;"
        " patching.install([examples.STALE]); examples.main()"
    )
    command = [sys.executable, "-c", mistaken, "mistaken"]
    subprocess.run(command, cwd=ROOT, check=True)
    for path, sight in SIGHTS.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if not picture(path, sight):
            sys.stdout.write("no browser: the picture stays as it is\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
