"""
The story of the demo: what is done to whom, and what is waited for.

Each strike is made while all is well, and the next only when all is well again:
the view is acknowledged, its backup could take over, and every clerk has been
answered since.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import SystemRandom
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList

from understudy import status
from understudy.cluster import Cluster
from understudy.daemons import Daemon
from understudy.history import Record
from understudy.load import Worker, now_ns
from understudy.moments import Moment
from understudy.observer import Observer
from understudy.outcome import UNAVAILABLE, Ended
from understudy.pulse import BIN_S, Pulse
from understudy.running import pause
from understudy.screen import Screen
from understudy.table import cause_text
from understudy.watch import change_document
from wire.messages import VIEW_SERVICE, ViewIs

CLERKS: Final = 6

#: The longest that anything may take, seconds; then the demo has failed.
PATIENCE_S: Final = 15.0

#: Calm between two strikes, seconds.
CALM_S: Final = 1.6

_LOOK_S: Final = 0.03

Found = dict[str, Any]


class Play:
    """One run, and what was seen of it."""

    def __init__(
        self, cluster: Cluster, screen: Screen, calm_s: float = CALM_S
    ) -> None:
        self._calm_s = calm_s
        self.cluster = cluster
        self.screen = screen
        self.records: list[Record] = []
        self.pulse = Pulse(now_ns())
        self.moments: list[Moment] = []
        self._reactor: Any = None
        self._observer: Observer | None = None
        self._view: Found = {"number": 0, "primary": None, "backups": []}

    # -- the story ------------------------------------------------------------------

    async def run(self, reactor: Any) -> None:
        """From the start of the first process to the end of the last call."""
        self._reactor = reactor
        while not self.cluster.started():
            await pause(reactor, _LOOK_S)
        views = [self.cluster.address]
        self._observer = Observer(reactor, VIEW_SERVICE, views)
        watcher = Observer(reactor, VIEW_SERVICE, views)
        workers: list[Worker] = []
        patience_s = 1.0
        try:
            await self._until(status.is_safe, "a view with a backup that is up to date")
            self.pulse = Pulse(now_ns())
            watcher.watch(self._viewed)
            workers = [
                Worker(reactor, f"c{at}", views, SystemRandom(), self._record)
                for at in range(CLERKS)
            ]
            self.say(
                "news",
                f"a view service and {len(self.cluster.servers)} servers are up; "
                f"{CLERKS} clerks append and read without pause",
            )
            await self._calm()
            await self._strikes()
            patience_s = PATIENCE_S
        finally:
            self.screen.close()
            watcher.stop()
            self._observer.stop()
            stopping = [Deferred.fromCoroutine(each.stop()) for each in workers]
            ended = DeferredList(stopping, consumeErrors=True)
            # Calls that do not end by then are given up, and are in doubt.
            results: list[tuple[bool, Any]] = await ended.addTimeout(
                patience_s, reactor, lambda those, _: those
            )
        for is_done, result in results:
            if not is_done:
                result.raiseException()

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
        await self._recovered(status.is_safe)
        self.say("news", "the view service is back, and remembers")
        await self._calm()

    async def _restart(self, victim: Daemon) -> None:
        await self._calm()
        self._note(victim, f"{victim.name} is started again, empty")
        victim.start()
        await self._idles(victim)
        await self._calm()

    # -- what the story is made of --------------------------------------------------

    def _server(self, state: str) -> Daemon:
        names = [self._view["primary"], *self._view["backups"]]
        return self.cluster.servers[names[0] if state == "primary" else names[1]]

    def _seconds(self) -> float:
        return (now_ns() - self.pulse.began_ns) / 1e9

    def say(self, kind: str, text: str) -> None:
        """A line, with the time."""
        self.screen.line(kind, self._seconds(), text)

    def _note(self, who: Daemon, text: str) -> None:
        self.moments.append(Moment(self._seconds(), "note", who.name, text))
        self.say("news", text)

    def _strike(self, who: Daemon, text: str) -> None:
        self.pulse.mark()
        self.moments.append(Moment(self._seconds(), "strike", who.name, text))
        self.say("strike", text)

    async def _recovered(self, is_over: Callable[[Found], bool]) -> None:
        """Until it is over and every clerk has been answered after that."""
        struck = next(m for m in reversed(self.moments) if m.kind == "strike")
        await self._until(is_over, f"the service to get over: {struck.text}")
        since = now_ns()
        await self._until(
            lambda _: self.pulse.all_answered(since), "an answer for every clerk"
        )
        struck.gap_ms = round(self.pulse.gap_ms())
        self.say("good", f"all is well; nobody waited longer than {struck.gap_ms} ms")

    async def _idles(self, who: Daemon) -> None:
        await self._until(
            lambda found: status.state(found, who.name) == "idle",
            f"{who.name} to be idle",
        )
        self.say("detail", f"{who.name} is back, and waits as a replacement")

    async def _calm(self) -> None:
        end = self._reactor.seconds() + self._calm_s
        while self._reactor.seconds() < end:
            await pause(self._reactor, BIN_S)
            self._show()

    async def _until(self, holds: Callable[[Found], bool], what: str) -> None:
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
                    UNAVAILABLE,
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
        self.say("view", text)
        for cause in moment.causes:
            self.screen.line("detail", 0, f"  {cause}")


# -- what a status document says ----------------------------------------------------


def _is_safe_without(found: Found, name: str) -> bool:
    view = found["view"]
    return status.is_safe(found) and name not in {view["primary"], *view["backups"]}
