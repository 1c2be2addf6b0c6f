"""
``understudy demo``: does it hold what it promises?

Real processes on this machine: a view service and three servers.  Clerks append
and read without pause, and meanwhile the primary is killed, another is paused
until it has been replaced and then woken, a backup is killed, and so is the view
service (`understudy.play`).  In the end the whole history is checked, every
append and every read (`understudy.history`), and the states of the members are
compared.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from client.errors import NotExecuted
from understudy import history, verify
from understudy.cluster import Cluster, DidNotStart
from understudy.daemons import free_port
from understudy.history import Verdict
from understudy.load import read_all
from understudy.outcome import DONE, REFUSED, UNAVAILABLE, USAGE, Ended, Interrupted
from understudy.picture import draw
from understudy.play import PATIENCE_S, Play
from understudy.pulse import BIN_S
from understudy.running import run
from understudy.screen import Lines, Nothing, Screen
from understudy.text import say, say_json

NAMES: Final = ("s1", "s2", "s3")


def main(options: Namespace) -> int:
    """Run it -> the exit code.  Raises `Ended`."""
    picture = Path(options.picture).resolve() if options.picture else None
    if picture is not None:
        _check_picture(picture)
    directory = Path(tempfile.mkdtemp(prefix="understudy-demo-"))
    # A port of its own, so that it is found again after a restart.
    cluster = Cluster(directory, NAMES, {"views": free_port(SystemRandom())})
    screen: Screen = Nothing() if options.json else Lines()
    demo = Demo(Play(cluster, screen))
    try:
        run(demo.run)
    except (DidNotStart, NotExecuted) as error:
        raise Ended(UNAVAILABLE, f"{error}. Logs are in {directory}") from error
    except Ended as ended:
        text = f"{ended.text}. Logs are in {directory}"
        raise Ended(ended.exit_code, text) from ended
    except Interrupted as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise Ended(UNAVAILABLE, "interrupted; nothing was checked") from error
    finally:
        screen.close()
        cluster.stop()
    if picture is not None:
        picture.write_text(
            draw(demo.play.pulse.bins, BIN_S, demo.play.moments), encoding="utf-8"
        )
    _conclude(demo, directory, as_json=options.json)
    return DONE if demo.is_right else REFUSED


def _check_picture(path: Path) -> None:
    """Before the demo, not after it.  Raises `Ended`."""
    if not path.parent.is_dir():
        raise Ended(USAGE, f"--picture: there is no directory {path.parent}")
    if path.is_dir():
        raise Ended(USAGE, f"--picture: {path} is a directory; name a file in it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Ended(USAGE, f"--picture: {path} cannot be written")


def _conclude(demo: Demo, directory: Path, *, as_json: bool) -> None:
    if demo.is_right:
        shutil.rmtree(directory, ignore_errors=True)
    if as_json:
        say_json(demo.document())
        return
    for finding in demo.verdict.findings:
        say(f"  {finding}")
    if not demo.is_right:
        say(f"Logs are in {directory}")
    say(demo.last_line())


class Demo:
    """A play, and what the check of it came to."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.verdict = Verdict()
        #: Whether the members hold the same state in the end; None: not compared.
        self.is_same: bool | None = None

    async def run(self, reactor: Any) -> None:
        """Play it, then check it."""
        await self.play.run(reactor)
        views = [self.play.cluster.address]
        keys = {record.key for record in self.play.records}
        finals = await read_all(reactor, views, keys, PATIENCE_S)
        self.verdict = history.check(self.play.records, finals)
        comparison = await verify.compare(reactor, views, PATIENCE_S)
        self.is_same = comparison.is_same
        self._tell(" and ".join(comparison.answers))

    def _tell(self, names: str) -> None:
        say_so = self.play.say
        what = "hold the same state" if self.is_same else "hold DIFFERENT states"
        say_so("good" if self.is_same else "bad", f"{names} {what}, byte for byte")
        is_right = self.verdict.is_right
        say_so(
            "good" if is_right else "bad",
            f"checked {len(self.play.records)} operations ({self.rate}/s), one by one: "
            + ("all is as it was promised" if is_right else "NOT as it was promised"),
        )

    @property
    def is_right(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.is_right and self.is_same is True

    @property
    def gap_ms(self) -> int:
        """The longest time that any clerk got no answer."""
        return round(self.play.pulse.longest_ns / 1e6)

    @property
    def rate(self) -> int:
        """Answers per second, the gaps included."""
        seconds = len(self.play.pulse.bins) * BIN_S
        return round(self.play.pulse.answers / seconds) if seconds else 0

    def last_line(self) -> str:
        """The figures."""
        found = self.verdict
        return (
            f"demo: {found.acknowledged} acknowledged, {found.lost} lost, "
            f"{found.duplicated} duplicated, {found.reads_back} reads back, "
            f"longest gap {self.gap_ms} ms"
        )

    def document(self) -> dict[str, Any]:
        """The same and more for programs."""
        found = self.verdict
        return {
            "acknowledged": found.acknowledged,
            "lost": found.lost,
            "duplicated": found.duplicated,
            "reads_back": found.reads_back,
            "disorder": found.disorder,
            "in_doubt": found.in_doubt,
            "reads": found.reads,
            "same_state": self.is_same,
            "longest_gap_ms": self.gap_ms,
            "operations_per_s": self.rate,
            "moments": [moment.document() for moment in self.play.moments],
            "findings": found.findings,
            "bin_s": BIN_S,
            "answers_per_bin": self.play.pulse.bins,
        }


def demo(arguments: Sequence[str] = ()) -> int:
    """The whole command, for a script of one line -> the exit code."""
    from understudy.main import main as command  # noqa: PLC0415 -- it imports us

    return command(["demo", *arguments])
