"""
What of a world an observer is told.

The world says when a process has said, heard or done something; whatever else
happens (somebody ends or stands still, a path is cut, a connection breaks, a
call is made) is looked for after every step of the agenda, so that nobody
else need know that somebody looks on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.sim.checker_clerks import OPEN, Call
from tests.sim.chronicle import Violation
from tests.sim.clerk import ClerkProcess
from tests.sim.model import Answer
from tests.sim.observer import Observer, State
from tests.sim.portraits import portrait
from tests.sim.process import Process
from tests.sim.server import ServerProcess
from tests.sim.sockets import End
from tests.sim.views import ViewsProcess
from tests.sim.wording import command_text, shortened, value_text
from wire.messages import Message

if TYPE_CHECKING:
    from tests.sim.world import World

#: How violations name calls: "call 3 of c1 ... write 2", "called=17".
_CALLS: Final = re.compile(
    r"(?:call|read) (\d+) of (\w+)(?:.*? its (?:write|call) (\d+))?"
)
_STARTS: Final = re.compile(r"^\w+ start(s as \w+)?$|^\w+: listening")
_OPERATIONS: Final = re.compile(r"\(Operation\(.*\)", re.DOTALL)
_MOMENTS: Final = re.compile(r"called=(\d+)")


class Onlooker:
    """Tells an observer what happens in a world."""

    def __init__(self, world: World, observer: Observer) -> None:
        self._world = world
        self._observer = observer
        self._processes: dict[str, Process] = {}
        self._paused: set[str] = set()
        self._states: dict[str, State] = {}
        self._calls: dict[tuple[str, int], Call] = {}
        self._cut: set[tuple[str, str]] = set()
        self._slow: dict[tuple[str, str], int] = {}
        #: Every end that ever said something, by its number; and those of them
        #: that are not gone.
        self._ends: dict[int, End] = {}
        self._open: dict[int, End] = {}
        self._rests = False
        world.agenda.after = self.look

    @property
    def _now(self) -> int:
        return self._world.agenda.now_us

    # -- what the world says --------------------------------------------------

    def said(self, end: End, message: Message) -> None:
        """*end* sends *message*."""
        self.turned(end.process)
        if end.id not in self._ends:
            self._ends[end.id] = self._open[end.id] = end
        names = (end.process.name, end.other.process.name)
        self._observer.said(self._now, *names, end.id, message)

    def heard(self, end: End, message: Message) -> None:
        """*message* has come to *end*."""
        self.look()
        self._observer.heard(self._now, end.process.name, end.other.id, message)

    def note(self, text: str) -> None:
        """Somebody remarks something: a process, in its log, or whoever makes
        things go wrong.  That somebody starts is seen anyway."""
        self.look()
        name, _, words = text.partition(": ")
        process = self._processes.get(name)
        if process is not None and process.is_alive:
            self._observer.did(self._now, name, "log", shortened(words))
        elif not _STARTS.search(text):
            self._observer.befell(self._now, "note", (), shortened(text))

    def turned(self, process: Process) -> None:
        """*process* has done something."""
        self.look()
        if self._processes.get(process.name) is not process and not self._rests:
            # It is about to start.
            self._look_at_start(process)
        name, new = process.name, portrait(process)
        old = self._states.get(name, {})
        if new != old:
            self._states[name] = new
            for kind, text in _changes(process, old, new):
                self._observer.did(self._now, name, kind, text)
        if isinstance(process, ClerkProcess):
            self._look_at_calls(process)
        self._observer.turned(self._now, name, new)

    def rest(self) -> None:
        """Look a last time: what follows is the judge's doing."""
        for process in list(self._processes.values()):
            if process.is_alive and not self._rests:
                self.turned(process)
        self._rests = True

    def finish(self, violation: Violation | None) -> None:
        """It is over, and judged."""
        self.rest()
        world = self._world
        open_ends = world.network.ends
        for end in self._ends.values():
            other = end.other
            if other.id not in open_ends or other.is_torn or end.is_torn:
                self._observer.lost(end.id)
        if violation is not None:
            text = violation.text
            calls = self._accused(text)
            if calls:
                # They are shown; their representation is for programmers.
                text = _OPERATIONS.sub("these calls", text)
            self._observer.violated(self._now, violation.rule, text, calls)
        figures = {"calls": len(self._calls), **world.chronicle.counts}
        trace = f"{world.network.trace:08x}"
        self._observer.finished(self._now, {**figures, "trace": trace})

    def _accused(self, text: str) -> list[tuple[str, int]]:
        """The calls that a violation speaks of."""
        found = []
        for number, clerk, other in _CALLS.findall(text):
            found += [(clerk, int(each)) for each in (number, other) if each]
        moments = {int(moment) for moment in _MOMENTS.findall(text)}
        found += [each for each, call in self._calls.items() if call.called in moments]
        return found

    # -- what is looked for ---------------------------------------------------

    def look(self) -> None:
        """Tell what has changed since the last look."""
        if self._rests:
            return
        world = self._world
        processes = [*world.servers.values(), *world.clerks]
        if hasattr(world, "views_process"):
            processes.append(world.views_process)
        for process in processes:
            if self._processes.get(process.name) is not process:
                self._look_at_start(process)
        for process in self._processes.values():
            self._look_at_life(process)
        self._look_at_paths()
        self._look_at_connections()

    def _look_at_start(self, process: Process) -> None:
        world, name = self._world, process.name
        before = self._processes.get(name)
        if before is not None:
            self._look_at_life(before)
        self._processes[name] = process
        self._states.pop(name, None)
        kind = process.kind
        remembers = kind == "views" and bool(world.disk)
        self._observer.began(self._now, name, kind, remembers=remembers)

    def _look_at_life(self, process: Process) -> None:
        name = process.name
        if not process.is_alive:
            if self._states.get(name) is not _GONE:
                self._states[name] = _GONE
                self._paused.discard(name)
                how = process.stopped if isinstance(process, ServerProcess) else ""
                self._observer.ended(self._now, name, how or "crash")
        elif process.is_paused != (name in self._paused):
            if process.is_paused:
                self._paused.add(name)
                self._observer.paused(self._now, name)
            else:
                self._paused.remove(name)
                self._observer.woke(self._now, name)

    def _look_at_paths(self) -> None:
        network, observer, now = self._world.network, self._observer, self._now
        if network.cut != self._cut:
            for path in sorted(network.cut - self._cut):
                text = f"what {path[0]} sends to {path[1]} stands still"
                observer.begins(now, "cut", path, text)
            for path in sorted(self._cut - network.cut):
                observer.passes(now, "cut", path)
            self._cut = set(network.cut)
        if network.slow != self._slow:
            for path in sorted(self._slow):
                if path not in network.slow:
                    observer.passes(now, "slow", path)
            for path, late_us in sorted(network.slow.items()):
                if path not in self._slow:
                    text = f"{path[0]} to {path[1]} takes {late_us / 1000:.0f} ms more"
                    observer.begins(now, "slow", path, text)
            self._slow = dict(network.slow)

    def _look_at_connections(self) -> None:
        gone = [end for end in self._open.values() if end.is_gone or end.is_torn]
        for end in gone:
            del self._open[end.id]
            if end.is_torn and end.process.is_alive and end.other.process.is_alive:
                where = (end.process.name, end.other.process.name)
                text = f"the connection of {where[0]} and {where[1]} breaks"
                self._observer.befell(self._now, "broken", where, text)

    def _look_at_calls(self, clerk: ClerkProcess) -> None:
        for number, call in clerk.calls.items():
            place = (clerk.name, number)
            before = self._calls.get(place)
            if before == call:
                continue
            self._calls[place] = call
            if before is None:
                text = command_text(call.command)
                self._observer.called(self._now, clerk.name, number, text)
            if call.outcome != OPEN:
                text = _answer_text(call.answer)
                self._observer.answered(
                    self._now, clerk.name, number, call.outcome, text
                )


#: What there is to see of a process that has ended.
_GONE: Final[State] = {}


def _changes(process: Process, old: State, new: State) -> list[tuple[str, str]]:
    """What a process did, if that is how its state has changed."""
    if isinstance(process, ServerProcess):
        return _of_server(process.name, old, new)
    return _of_views(old, new) if isinstance(process, ViewsProcess) else []


def _of_server(name: str, old: State, new: State) -> list[tuple[str, str]]:
    found = []
    number, role = new["view"], new["role"]
    if (role, number) != (old.get("role", "idle"), old.get("view", 0)):
        part = {"primary": "leads", "backup": "is a backup in"}.get(
            str(role), "idles in"
        )
        found.append(("role", f"{name} {part} view {number}"))
    before, commit = old.get("commit", 0), new["commit"]
    if commit != before:
        verb = "commits" if role == "primary" else "applies"
        if old.get("receiving") and not new.get("receiving"):
            verb = "installs a snapshot:"
        found.append(("commit", f"{name} {verb} {_upto(before, commit)}"))
    return found


def _of_views(old: State, new: State) -> list[tuple[str, str]]:
    if not new["view"]:
        return []
    number, backups = new["view"], new["backups"] or "nobody"
    if number != old.get("view", 0):
        return [("view", f"view {number}: {new['primary']} with {backups}")]
    if new["acknowledged"] and not old.get("acknowledged", False):
        return [("acknowledged", f"view {number} is acknowledged")]
    if new["eligible"] != old.get("eligible"):
        return [("eligible", f"eligible: {new['eligible'] or 'nobody'}")]
    return []


def _upto(before: object, after: object) -> str:
    assert isinstance(before, int)
    assert isinstance(after, int)
    return f"{after}" if after == before + 1 else f"{before + 1}..{after}"


def _answer_text(answer: object) -> str:
    if isinstance(answer, Answer):
        return answer.code or value_text(answer.value)
    return "" if answer is None else value_text(answer)
