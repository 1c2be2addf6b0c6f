"""
A world: one view service, some servers, some clerks, and what befalls them.

Everything in it is a function of its seed: one stream of randomness for each
thing that is drawn, one agenda, and no clock but the agenda's.  Two phases:
misfortune, in which everything may go wrong, then healing, after which
everything that was asked must be answered within a bound, unless the service is
truly beyond help and the view service says so.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

from tests.sim.agenda import MS, Agenda, S
from tests.sim.checker_clerks import Call
from tests.sim.chronicle import Chronicle, Violation
from tests.sim.clerk import ClerkProcess
from tests.sim.excerpt import WHOLE, Excerpt
from tests.sim.misfortune import Misfortune
from tests.sim.network import Network
from tests.sim.observer import Observer
from tests.sim.onlooker import Onlooker
from tests.sim.process import Process
from tests.sim.server import ServerProcess
from tests.sim.settings import Settings
from tests.sim.sockets import End
from tests.sim.streams import stream
from tests.sim.views import ViewsProcess
from viewservice.state_file import decode
from wire.messages import Member, Message, SnapshotPart

#: How long a supervisor waits before it starts a server again that has stopped.
RESTART_US: Final = 500 * MS
#: How long a server may be kept from a view service that has an old state: an
#: attempt that fails for it still leaves time for the next within the margin.
LATE_US_MAX: Final = 200 * MS
#: Old state files that are kept.
OLD_DISKS_MAX: Final = 20


class World:
    """All processes, and who looks on."""

    views_process: ViewsProcess

    def __init__(
        self,
        seed: int,
        settings: Settings | None = None,
        *,
        excerpt: Excerpt = WHOLE,
        story: Callable[[str], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.seed = seed
        #: For whoever runs this world; what is in it has randomness of its own.
        self.random = stream(seed, "world")
        #: Lives that processes of each name have had.
        self._lives: Counter[str] = Counter()
        self.settings = settings or Settings.drawn(stream(seed, "settings"))
        self._story = story
        self.agenda = Agenda()
        self.network = Network(self.agenda, seed)
        self.network.delay_us = self.settings.delay_us
        self.chronicle = Chronicle(self)
        self.misfortune = Misfortune(self, seed, excerpt)
        #: How much faster or slower than the others a clock may run, in thousandths.
        self.drift = self.misfortune.drift
        #: The state file of the view service, and what an operator will put in
        #: its place.
        self.disk = b""
        self._saved_disk: bytes | None = None
        #: What the state file has held before, the oldest first.
        self._old_disks: list[bytes] = []
        #: Has the view service never been started?
        self.is_new = True
        self.limits = self.settings.limits
        self.session_limits = self.settings.session_limits
        self._moments = 0
        self.servers: dict[str, ServerProcess] = {}
        self.clerks: list[ClerkProcess] = []
        self.calls: list[Call] = []
        self._clerk_names = 0
        self.on_ended: Callable[[ClerkProcess, Call], None] = lambda *_: None
        self.on_said: Callable[[End, Message], None] = lambda *_: None
        self.on_clerk: Callable[[ClerkProcess], None] = lambda _: None
        self.onlooker = None if observer is None else Onlooker(self, observer)

    # -- what processes use ---------------------------------------------------

    def random_of(self, name: str) -> Random:
        """The randomness of a process that begins."""
        self._lives[name] += 1
        return stream(self.seed, f"{name} {self._lives[name]}")

    def moment(self) -> int:
        """A number for what happens now; no two are the same."""
        self._moments += 1
        return self._moments

    def turn(self, process: Process, what: Callable[[], None]) -> None:
        """*process* does something; a broken assertion would end it."""
        try:
            what()
        except Violation:
            raise
        except Exception as error:
            raise Violation("assertion", f"{process.name}: {error!r}") from error
        if self.onlooker is not None:
            self.onlooker.turned(process)

    def require(self, truth: bool, rule: str, text: str) -> None:
        """A rule of the sim itself."""
        if not truth:
            raise Violation(rule, text)

    def said(self, end: End, message: Message) -> None:
        """*end* sends *message*."""
        self.on_said(end, message)
        if self.onlooker is not None:
            self.onlooker.said(end, message)
        if self._story is not None:
            self._story(f"{self._at()} {end} > {end.other}: {message}")
        self.misfortune.said(end, message)
        if type(message) is SnapshotPart and not message.part:
            self.misfortune.transferring(end)

    def heard(self, end: End, message: Message) -> None:
        """*message* has come to *end*."""
        if self._story is not None:
            self._story(f"{self._at()} {end} < {end.other}: {message}")
        if self.onlooker is not None:
            self.onlooker.heard(end, message)
        if isinstance(end.process, ServerProcess):
            self.chronicle.heard(end, message)

    def stopped(self, server: ServerProcess, reason: str) -> None:
        """*server* stops by itself."""
        self.note(f"{server.name} stops: {reason}")
        # Whatever supervises it starts it again.
        start = functools.partial(self.start_server, server.name)
        self.agenda.later(RESTART_US, start)

    def ended(self, clerk: ClerkProcess, call: Call) -> None:
        """A call has ended."""
        if self._story is not None:
            self._story(f"{self._at()} {clerk.name}: {call}")
        self.on_ended(clerk, call)

    def note(self, text: str) -> None:
        """For whoever reads the story."""
        if self._story is not None:
            self._story(f"{self._at()} -- {text}")
        if self.onlooker is not None:
            self.onlooker.note(text)

    def _at(self) -> str:
        return f"{self.agenda.now_us / S:10.6f}"

    # -- processes ------------------------------------------------------------

    def start_views(self) -> None:
        """Start the view service, if it does not run."""
        if not hasattr(self, "views_process") or not self.views_process.is_alive:
            self.note("views start")
            self.views_process = ViewsProcess(self)

    def crash_views(self) -> None:
        """It ends; what it has on disk stays."""
        if self.views_process.is_alive:
            self.note("views crash")
            self.views_process.end()

    def lose_disk(self) -> bool:
        """The view service starts without its state file -> False: this is no
        moment for that."""
        knowing = [server.replica.view.number for server in self.running()]
        if self._saved_disk is not None or not (self._staying() and all(knowing)):
            return False
        self.note("views lose their state file")
        self._replace_disk(b"")
        return True

    def _staying(self) -> list[ServerProcess]:
        """The servers that run, and will: those that can prove an old state."""
        return [server for server in self.running() if not server.stopped]

    def roll_disk_back(self, random: Random) -> bool:
        """The view service starts with a state file of an earlier time -> False:
        there is none, or nobody who knows better."""
        newest = self.chronicle.view.number
        older = [disk for disk in self._old_disks if disk != self.disk]
        is_known = any(each.replica.view.number == newest for each in self._staying())
        if self._saved_disk is not None or not older or not newest or not is_known:
            return False
        self.note("views get an old state file")
        self._replace_disk(random.choice(older))
        # Some servers call later than others, and some of them by a failed attempt.
        for server in self.running():
            if server.has_one_address and random.randrange(2):
                paths = [(server.host, "views"), ("views", server.host)]
                mend = self.network.cut_off(paths)
                self.agenda.later(random.randrange(LATE_US_MAX), mend)
        return True

    def _replace_disk(self, disk: bytes) -> None:
        # First it ends: it may be asleep, and write something when it is woken.
        self.crash_views()
        self._saved_disk, self.disk = self.disk, disk
        self.misfortune.begin_truce()
        self.start_views()

    @property
    def is_state_old(self) -> bool:
        """Does the view service run with another state file than its newest?"""
        return self._saved_disk is not None

    def write_disk(self, disk: bytes) -> None:
        """The view service has saved that."""
        if not self.is_state_old and self.disk:
            self._old_disks.append(self.disk)
            del self._old_disks[:-OLD_DISKS_MAX]
        self.disk = disk

    def restore_disk(self) -> None:
        """The newest state file is back in its place, unless the view service has gone
        on with an old one: then that is the newest."""
        if self._saved_disk is None:
            return
        now, saved = decode(self.disk) if self.disk else None, decode(self._saved_disk)
        if (
            now is not None
            and now.cluster == saved.cluster
            and now.view.counter > saved.view.counter
        ):
            self.note("views have gone on with an old state file")
            self._saved_disk = None
        else:
            self.note("views get their state file back")
            self.crash_views()
            self.disk, self._saved_disk = self._saved_disk, None
            self.start_views()

    def start_server(self, name: str) -> ServerProcess:
        """Start a server of that name, if none runs -> the one that runs."""
        server = self.servers.get(name)
        if server is not None and server.is_alive:
            return server
        server = self.servers[name] = ServerProcess(self, name)
        self.note(f"{name} starts as {server.incarnation:016x}")
        return server

    def start_clerk(self) -> ClerkProcess:
        """One more clerk."""
        self._clerk_names += 1
        clerk = ClerkProcess(self, f"c{self._clerk_names}", self.settings.window)
        self.clerks.append(clerk)
        return clerk

    def end_clerk(self, clerk: ClerkProcess) -> None:
        """It is no more, and its calls are history."""
        clerk.end()
        self.clerks.remove(clerk)
        self.calls += clerk.calls.values()

    def replace_clerk(self, clerk: ClerkProcess) -> None:
        """It ends, another one begins."""
        self.end_clerk(clerk)
        self.on_clerk(self.start_clerk())

    def running(self) -> list[ServerProcess]:
        """The servers that are alive, be they paused."""
        return [server for server in self.servers.values() if server.is_alive]

    def process_of(self, member: Member) -> ServerProcess | None:
        """The living process that holds that copy of the data."""
        server = self.servers.get(member.name)
        if server is None or not server.is_alive:
            return None
        return server if member.is_same_copy(server.member) else None

    def hosts(self) -> list[str]:
        """Every place that can be cut off."""
        return ["views", *self.servers, *(clerk.host for clerk in self.clerks)]

    # -- time -----------------------------------------------------------------

    def run(self, delay_us: int) -> None:
        """Let so much time pass."""
        self.agenda.run(self.agenda.now_us + delay_us)

    def until(self, condition: Callable[[], bool], within_us: int) -> bool:
        """Let time pass until *condition* -> whether it came within the bound."""
        end_us = self.agenda.now_us + within_us
        while not condition():
            if self.agenda.now_us >= end_us:
                return False
            self.agenda.run(min(end_us, self.agenda.now_us + 5 * MS))
        return True

    def heal(self) -> None:
        """Nothing goes wrong any more, and everybody is there."""
        self.note("healing")
        self.misfortune.is_over = True
        self.network.heal()
        self.restore_disk()
        self.start_views()
        self.views_process.wake()
        for clerk in self.clerks:
            clerk.wake()
        for server in self.running():
            server.wake()
        for name in list(self.servers):
            later = functools.partial(self.start_server, name)
            self.agenda.later(self.random.randrange(100 * MS), later)
