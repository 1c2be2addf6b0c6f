"""
A whole service on virtual time: real rules, simulated network, and verbs.

    lab = Service(servers=3)
    clerk = lab.clerk()
    clerk.put("a", "aa")
    lab.kill(lab.primary)
    assert clerk.get("a") == "aa"

A call that does not end within its patience fails the test, and so does
whatever contradicts the one true history, at the moment when it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.sim.agenda import MS, S
from tests.sim.checker_clerks import DONE, Call
from tests.sim.clerk import ClerkProcess
from tests.sim.network import End
from tests.sim.run import Life
from tests.sim.server import ServerProcess
from tests.sim.world import Settings, World
from wire.commands import AnyCommand, Append, Cas, Delete, Get, Incr, Put
from wire.messages import Message, View, Wait

#: How long a call may take, and how long the service may take to be whole.
PATIENCE_S = 5.0
WHOLE_S = 20.0


class Service:
    """A view service, servers s1, s2, ... and whoever asks."""

    def __init__(
        self,
        servers: int = 2,
        *,
        backups: int = 1,
        seed: int = 1,
        limits: dict[str, int] | None = None,
        sessions: dict[str, int] | None = None,
        window: int = 8,
    ) -> None:
        settings = Settings(
            servers=servers, backups=backups, dead_pings=5, window=window
        )
        world = self.world = World(seed, settings)
        world.misfortune.is_over = True
        world.limits = dict(limits or {})
        world.session_limits = dict(sessions or {})
        world.on_said = self._lose
        self._lost = (0, 0)
        #: What was said, by type, to and by the view service included.
        self.said: dict[str, int] = {}
        world.start_views()
        for number in range(servers):
            world.start_server(f"s{number + 1}")
        self.whole()

    # -- what is so ------------------------------------------------------------

    @property
    def view(self) -> View:
        """The newest view."""
        return self.world.views_process.views.view

    @property
    def primary(self) -> str:
        """Who leads."""
        assert self.view.primary is not None
        return self.view.primary.name

    @property
    def backup(self) -> str:
        """Who follows, first of them."""
        return self.view.backups[0].name

    @property
    def idle(self) -> str:
        """Somebody alive in no view."""
        members = {member.name for member in self.view.members()}
        return next(s.name for s in self.world.running() if s.name not in members)

    @property
    def waiting(self) -> Wait | None:
        """What the view service waits for."""
        return self.world.views_process.views.waiting()

    def server(self, name: str) -> ServerProcess:
        """The process of that name."""
        return self.world.servers[name]

    def value(self, name: str, key: str) -> str | None:
        """What that server's applied state has there."""
        pairs = self.server(name).history.state.machine._pairs  # type: ignore[attr-defined]
        value = pairs.get(key.encode())
        return None if value is None else bytes(value).decode()

    # -- time --------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(int(seconds * S))

    def until(self, condition: Any, seconds: float, what: str) -> None:
        """Wait for something."""
        met = self.world.until(condition, int(seconds * S))
        assert met, f"not within {seconds} s: {what}; {self.view}; {self.waiting}"

    def whole(self) -> None:
        """Wait until the view is acknowledged, with all the backups there can be."""
        self.until(self.is_whole, WHOLE_S, "an acknowledged view with its backups")

    def is_whole(self) -> bool:
        """Is nothing waited for that could come?"""
        views = self.world.views_process.views
        backups = min(views.backups_max, len(self.world.running()) - 1)
        serving = [self.world.process_of(member) for member in views.view.members()]
        return (
            views.acknowledged
            and len(views.view.backups) == backups
            and None not in serving
        )

    # -- what happens --------------------------------------------------------------

    def kill(self, *names: str) -> None:
        """These end at once."""
        for name in names:
            self.server(name).end()

    def start(self, *names: str) -> None:
        """New processes under these names."""
        for name in names:
            self.world.start_server(name)

    def pause(self, name: str) -> None:
        """That process stands still."""
        self._process(name).pause()

    def wake(self, name: str) -> None:
        """It goes on."""
        self._process(name).wake()

    def _process(self, name: str) -> Any:
        return self.world.views_process if name == "views" else self.server(name)

    def cut(self, one: str, *others: str) -> None:
        """Nothing passes between *one* and the others, either way."""
        for other in others:
            self.world.network.cut |= {(one, other), (other, one)}

    def cut_one_way(self, one: str, other: str) -> None:
        """What *one* says does not come to *other*."""
        self.world.network.cut.add((one, other))

    def cut_off(self, name: str, *, but: Sequence[str] = ()) -> None:
        """*name* reaches nobody, *but* these."""
        hosts = [host for host in self.world.hosts() if host not in {name, *but}]
        self.cut(name, *hosts)

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.world.network.heal()
        self._lost = (0, 0)

    def slow(self, one: str, other: str, ms: int) -> None:
        """What *one* says takes longer to come to *other*."""
        self.world.network.slow[one, other] = ms * MS

    def restart_views(self, down_s: float = 0.0) -> None:
        """The view service ends, and comes back with what it has on disk."""
        self.world.views_process.end()
        self.run(down_s)
        self.world.start_views()

    def stop_views(self) -> None:
        """The view service is stopped as an operator stops it."""
        views = self.world.views_process
        views.leave()
        self.until(lambda: not views.is_alive, 5, "the view service's end")

    def lossy(self, requests: int, answers: int) -> None:
        """So many percent of what clerks and servers say to each other gets lost,
        and with it the connection: that is how a stream loses something."""
        self._lost = (requests, answers)

    def _lose(self, end: End, message: Message) -> None:
        kind = type(message).__name__
        self.said[kind] = self.said.get(kind, 0) + 1
        if not any(self._lost):
            return
        ends = end.process, end.other.process
        clerks = [isinstance(process, ClerkProcess) for process in ends]
        servers = [isinstance(process, ServerProcess) for process in ends]
        if any(clerks) and any(servers):
            percent = self._lost[0] if clerks[0] else self._lost[1]
            if self.world.random.randrange(100) < percent:
                self.world.agenda.later(0, lambda: self.world.network.tear(end, 0))

    # -- clerks ------------------------------------------------------------------------

    def clerk(self) -> Caller:
        """Somebody who asks."""
        return Caller(self, self.world.start_clerk())

    def judge(self, *keys: str) -> None:
        """Everything that was asked of these keys, in one order; nobody was lied
        to.  All clerks are gone after that."""
        life = Life(self.world, [key.encode() for key in keys])
        life.judge()
        assert not life.unknown, "the search for an order was cut short"


class Caller:
    """A clerk whose calls wait, or do not."""

    def __init__(self, service: Service, process: ClerkProcess) -> None:
        self._service = service
        self.process = process

    def put(self, key: str, value: str) -> None:
        self._wait(self.begin(Put(key.encode(), value.encode())))

    def get(self, key: str) -> str | None:
        value = self._wait(self.begin(Get(key.encode())))
        return None if value is None else value.decode()

    def append(self, key: str, suffix: str) -> int:
        return self._wait(self.begin(Append(key.encode(), suffix.encode())))

    def delete(self, key: str) -> bool:
        return self._wait(self.begin(Delete(key.encode())))

    def cas(self, key: str, before: str | None, after: str) -> bool:
        expected = None if before is None else before.encode()
        return self._wait(self.begin(Cas(key.encode(), expected, after.encode())))

    def incr(self, key: str, by: int = 1) -> int:
        return self._wait(self.begin(Incr(key.encode(), by)))

    def begin(self, command: AnyCommand, timeout_s: float | None = None) -> int:
        """Make a call and do not wait -> its number."""
        timeout_ms = None if timeout_s is None else int(timeout_s * 1000)
        return self.process.call(command, timeout_ms)

    def ended(self, number: int) -> Call | None:
        """How that call ended, if it did."""
        call = self.process.calls[number]
        return call if call.ended is not None else None

    def ends(self, number: int, within_s: float = PATIENCE_S) -> Call:
        """Wait for that call."""
        what = f"the end of {self.process.calls[number].command}"
        self._service.until(lambda: self.ended(number) is not None, within_s, what)
        call = self.ended(number)
        assert call is not None
        return call

    def all_end(self, within_s: float = PATIENCE_S) -> None:
        """Wait for everything that was called."""
        what = f"{self.process.name} has open calls"
        self._service.until(lambda: not self.process.open, within_s, what)

    def _wait(self, number: int) -> Any:
        call = self.ends(number)
        assert call.outcome == DONE, call
        assert not call.answer.code, call
        return call.answer.value
