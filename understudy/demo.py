"""
``understudy demo``: does it hold what it promises?

Real processes on this machine: a view service and three servers.  Clerks append
and read without pause, and meanwhile the primary is killed, another is paused
until it has been replaced and then woken, a backup is killed, and so is the view
service.  In the end the whole history is checked, every append and every read
(`understudy.history`), and the states of the members are compared.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults

from client.errors import NotExecuted
from understudy import history, status, verify
from understudy.cluster import Cluster, DidNotStart
from understudy.daemons import Daemon, free_port
from understudy.history import Record, Verdict
from understudy.load import Worker, now_ns, read_all
from understudy.observer import Observer
from understudy.options import parse
from understudy.outcome import DONE, REFUSED, UNAVAILABLE, Ended, Interrupted
from understudy.moments import Moment
from understudy.picture import draw
from understudy.pulse import BIN_S, Pulse
from understudy.running import pause, run
from understudy.screen import Lines, Nothing, Screen
from understudy.table import cause_text
from understudy.text import say, say_json
from understudy.watch import change_document
from wire.messages import VIEW_SERVICE, ViewIs

NAMES: Final = ("s1", "s2", "s3")
CLERKS: Final = 6

#: The longest that anything may take, seconds; then the demo has failed.
PATIENCE_S: Final = 15.0

#: Calm between two strikes, seconds.
CALM_S: Final = 1.6

_LOOK_S: Final = 0.03


def main(options: Namespace) -> int:
    """Run it -> the exit code.  Raises `Ended`."""
    picture = Path(options.picture) if options.picture else None
    if picture is not None and not picture.resolve().parent.is_dir():
        raise Ended(
            UNAVAILABLE, f"--picture: there is no directory {picture.resolve().parent}"
        )
    directory = Path(tempfile.mkdtemp(prefix="understudy-demo-"))
    screen: Screen = Nothing() if options.json else Lines()
    demo = Demo(directory, screen)
    try:
        run(demo.play)
    except (DidNotStart, NotExecuted) as error:
        raise Ended(UNAVAILABLE, f"{error}. Logs are in {directory}") from error
    except Ended as ended:
        raise Ended(ended.exit_code, f"{ended.text}. Logs: {directory}") from ended
    except Interrupted as error:
        raise Ended(REFUSED, "interrupted; nothing was checked") from error
    finally:
        screen.close()
        demo.cluster.stop()
    if demo.is_right:
        shutil.rmtree(directory, ignore_errors=True)
    if picture is not None:
        picture.write_text(draw(demo.pulse.bins, BIN_S, demo.moments), "utf-8")
    if options.json:
        say_json(demo.document())
    else:
        for finding in demo.verdict.findings:
            say(f"  {finding}")
        if not demo.is_right:
            say(f"Logs are in {directory}")
        say(demo.last_line())
    return DONE if demo.is_right else REFUSED


class Demo:
    """The story, and what came of it."""

    def __init__(self, directory: Path, screen: Screen) -> None:
        random = Random()
        # A port of its own, so that it is found again after a restart.
        ports = {"views": free_port(random)}
        self.cluster = Cluster(directory, NAMES, ports)
        self.screen = screen
        self.records: list[Record] = []
        self.pulse = Pulse(now_ns())
        self.moments: list[Moment] = []
        self.verdict = Verdict()
        #: Whether the members hold the same state in the end; None: not compared.
        self.is_same: bool | None = None
        self._random = random
        self._reactor: Any = None
        self._observer: Observer | None = None
        self._view: dict[str, Any] = {"number": 0, "primary": None, "backups": []}

    # -- what came of it -------------------------------------------------------------

    @property
    def is_right(self) -> bool:
        """Whether every promise was kept."""
        return self.verdict.is_right and self.is_same is True

    @property
    def gap_ms(self) -> int:
        """The longest time that any clerk got no answer."""
        return round(self.pulse.longest_ns / 1e6)

    def last_line(self) -> str:
        """The figures."""
        found = self.verdict
        return (
            f"demo: {found.acknowledged} acknowledged, {found.lost} lost, "
            f"{found.duplicated} duplicated, {found.reads_back} reads back, "
            f"longest gap {self.gap_ms} ms"
        )

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        found = self.verdict
        seconds = len(self.pulse.bins) * BIN_S
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
            "operations_per_s": round(self.pulse.answers / seconds) if seconds else 0,
            "moments": [moment.document() for moment in self.moments],
            "findings": found.findings,
        }

    # -- the story ------------------------------------------------------------------

    async def play(self, reactor: Any) -> None:
        """From the start of the first process to the end of the check."""
        self._reactor = reactor
        while not self.cluster.started():
            await pause(reactor, _LOOK_S)
        views = [self.cluster.address]
        self._observer = Observer(reactor, VIEW_SERVICE, views)
        watcher = Observer(reactor, VIEW_SERVICE, views)
        workers: list[Worker] = []
        try:
            await self._until(_is_safe, "a view with a backup that is up to date")
            self.pulse = Pulse(now_ns())
            watcher.watch(self._viewed)
            workers = [
                Worker(reactor, f"c{at}", views, Random(at), self._record)
                for at in range(CLERKS)
            ]
            self._say(
                "news",
                f"a view service and {len(NAMES)} servers are up; {CLERKS} clerks "
                "append and read without pause",
            )
            await self._calm()
            await self._strikes()
        finally:
            watcher.stop()
            self._observer.stop()
            if reactor.running:
                stopping = [Deferred.fromCoroutine(each.stop()) for each in workers]
                ended = gatherResults(stopping, consumeErrors=True)
                ended.addTimeout(PATIENCE_S, reactor)
                await ended
        await self._check(views)

    async def _strikes(self) -> None:
        await self._kill_primary()
        await self._pause_primary()
        await self._kill_backup()
        await self._kill_view_service()

    async def _kill_primary(self) -> None:
        victim = self._server("primary")
        self._strike(victim, f"kill -9 {victim.name}, the primary")
        victim.kill()
        await self._recovered(lambda found: _is_safe_without(found, victim.name))
        await self._restart(victim)

    async def _pause_primary(self) -> None:
        victim = self._server("primary")
        self._strike(victim, f"kill -STOP {victim.name}, the primary: it hangs")
        victim.pause()
        await self._recovered(lambda found: _is_safe_without(found, victim.name))
        await self._calm()
        self._note(victim, f"kill -CONT {victim.name}: it wakes, and knows nothing")
        victim.wake()
        await self._idles(victim)
        await self._calm()

    async def _kill_backup(self) -> None:
        victim = self._server("backup")
        self._strike(victim, f"kill -9 {victim.name}, the backup")
        victim.kill()
        await self._recovered(lambda found: _is_safe_without(found, victim.name))
        await self._restart(victim)

    async def _kill_view_service(self) -> None:
        victim = self.cluster.views
        self._strike(victim, "kill -9 the view service")
        victim.kill()
        await self._calm()
        victim.start()
        await self._recovered(_is_safe)
        self._say("news", "the view service is back, and remembers")
        await self._calm()

    async def _restart(self, victim: Daemon) -> None:
        await self._calm()
        self._note(victim, f"{victim.name} is started again, empty")
        victim.start()
        await self._idles(victim)
        await self._calm()

    # -- what the story is made of ------------------------------------------------------

    def _server(self, state: str) -> Daemon:
        names = [self._view["primary"], *self._view["backups"]]
        return self.cluster.servers[names[0] if state == "primary" else names[1]]

    def _seconds(self) -> float:
        return (now_ns() - self.pulse.began_ns) / 1e9

    def _say(self, kind: str, text: str) -> None:
        self.screen.line(kind, self._seconds(), text)

    def _note(self, who: Daemon, text: str) -> None:
        self.moments.append(Moment(self._seconds(), "note", who.name, text))
        self._say("news", text)

    def _strike(self, who: Daemon, text: str) -> None:
        self.pulse.mark()
        self.moments.append(Moment(self._seconds(), "strike", who.name, text))
        self._say("strike", text)

    async def _recovered(self, is_over: Any) -> None:
        """Until it is over and every clerk has been answered after that."""
        struck = next(m for m in reversed(self.moments) if m.kind == "strike")
        await self._until(is_over, f"the service to get over: {struck.text}")
        since = now_ns()
        await self._until(
            lambda _: self.pulse.all_answered(since), "an answer for every clerk"
        )
        struck.gap_ms = round(self.pulse.gap_ms())
        self._say("good", f"all is well; nobody waited longer than {struck.gap_ms} ms")

    async def _idles(self, who: Daemon) -> None:
        await self._until(
            lambda found: _state(found, who.name) == "idle", f"{who.name} to be idle"
        )
        self._say("detail", f"{who.name} is back, and waits as a replacement")

    async def _calm(self) -> None:
        end = self._reactor.seconds() + CALM_S
        while self._reactor.seconds() < end:
            await pause(self._reactor, BIN_S)
            self._show()

    async def _until(self, holds: Any, what: str) -> None:
        """Look at the status until it *holds*."""
        assert self._observer is not None
        end = self._reactor.seconds() + PATIENCE_S
        while True:
            found = await status.ask(self._observer, end - self._reactor.seconds())
            self._view = found["view"]
            self._show()
            if holds(found):
                return
            if self._reactor.seconds() > end:
                raise Ended(
                    REFUSED,
                    f"waited {PATIENCE_S:g} s in vain for {what}; "
                    f"status: {json.dumps(found['view'])}",
                )
            await pause(self._reactor, _LOOK_S)

    def _show(self) -> None:
        view = self._view
        self.screen.live(
            f"view {view['number']}  primary {view['primary'] or '-'}  "
            f"backup {', '.join(view['backups']) or '-'}  "
            f"{self.pulse.rate(now_ns()):6.0f}/s",
            self.pulse.bins[:-1],
        )

    # -- what is heard ---------------------------------------------------------------

    def _record(self, record: Record) -> None:
        self.records.append(record)
        self.pulse.beat(record.clerk, record.began_ns, record.ended_ns)

    def _viewed(self, message: ViewIs) -> None:
        found = change_document(message)
        is_first = not any(moment.kind == "view" for moment in self.moments)
        shown = next((m for m in reversed(self.moments) if m.kind == "view"), None)
        if shown is not None and shown.number == found["number"]:
            return
        self._view = {**self._view, **found}
        backup = ", ".join(found["backups"]) or "none"
        text = f"view {found['number']}: primary {found['primary']}, backup {backup}"
        at = 0.0 if is_first else self._seconds()
        moment = Moment(
            at,
            "view",
            found["primary"] or "",
            text,
            found["number"],
            tuple(found["backups"]),
            () if is_first else tuple(map(cause_text, found["causes"])),
        )
        self.moments.append(moment)
        self._say("view", text)
        for cause in moment.causes:
            self.screen.line("detail", 0, f"  {cause}")

    # -- the check ---------------------------------------------------------------------

    async def _check(self, views: Sequence[str]) -> None:
        self.screen.close()
        keys = {record.key for record in self.records}
        finals = await read_all(self._reactor, views, keys, PATIENCE_S)
        self.verdict = history.check(self.records, finals)
        comparison = await verify.compare(self._reactor, views, PATIENCE_S)
        self.is_same = comparison.is_same
        names = " and ".join(comparison.answers)
        what = "hold the same state" if self.is_same else "hold DIFFERENT states"
        self._say("good" if self.is_same else "bad", f"{names} {what}, byte for byte")
        rate = self.pulse.answers / (len(self.pulse.bins) * BIN_S)
        is_right = self.verdict.is_right
        self._say(
            "good" if is_right else "bad",
            f"checked {len(self.records)} operations ({rate:.0f}/s), one by one: "
            + ("all is as it was promised" if is_right else "NOT as it was promised"),
        )


# -- what a status document says ----------------------------------------------------


def _is_safe(found: dict[str, Any]) -> bool:
    """The view works, and its backup could take over."""
    view = found["view"]
    return bool(view["acknowledged"] and view["backups"])


def _is_safe_without(found: dict[str, Any], name: str) -> bool:
    view = found["view"]
    return _is_safe(found) and name not in {view["primary"], *view["backups"]}


def _state(found: dict[str, Any], name: str) -> str | None:
    for server in found["servers"]:
        if server["name"] == name:
            return str(server["state"])
    return None


def demo(arguments: Sequence[str] = ()) -> int:
    """The demo for a script of one line -> the exit code."""
    from understudy.main import main as command  # noqa: PLC0415 -- it imports us

    parse(["demo", *arguments])
    return command(["demo", *arguments])
