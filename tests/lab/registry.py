"""
A view service and servers that do nothing but ping: for rules about views.

Servers ping once per tick unless they are silent, at once when they hear of a
newer view, and in answer to a push, as real ones do; as primary they report
their backups synced, unless they lag.  Death takes five ticks.
"""

from __future__ import annotations

from viewservice.roster import Roster
from viewservice.views import Views
from wire.messages import Goodbye, Member, Ping, ViewIs

DEAD = 5
CLUSTER = b"c" * 16

#: Number, primary and backups, by name.
Seen = tuple[int, str | None, tuple[str, ...]]


class Pinging:
    """One server, as the view service sees it."""

    def __init__(self, name: str, incarnation: int, link: int) -> None:
        self.member = Member(name, incarnation, f"tcp:{name}:1")
        self.link = link
        #: The newest view that it was told of.
        self.told = 0
        self.serial = 0
        self.is_silent = False
        #: Does it tell that its backups are synced?
        self.is_lagging = False
        self.unreachable: tuple[str, ...] = ()


class Registry:
    """The view service, and all who ping it."""

    def __init__(self, *, backups: int = 1, strict: bool = False) -> None:
        self.views = Views(
            CLUSTER, Roster(DEAD, grace=0), backups_max=backups, strict=strict
        )
        self.servers: dict[str, Pinging] = {}
        self.numbers: list[int] = []
        self._links = 0
        #: The last answer to a ping that is not a view.
        self.goodbye: Goodbye | None = None

    @property
    def seen(self) -> Seen:
        """The view."""
        view = self.views.view
        primary = view.primary and view.primary.name
        return view.number, primary, tuple(member.name for member in view.backups)

    @property
    def primary(self) -> str | None:
        """Who leads, by name."""
        return self.seen[1]

    # -- what servers do -----------------------------------------------------------

    def start(self, *names: str, silent: bool = False) -> None:
        """New processes under these names; each pings, if only once."""
        for name in names:
            old = self.servers.get(name)
            if old is not None:
                self.views.disconnected(old.link)
            self._links += 1
            self.servers[name] = Pinging(name, self._links, self._links)
            self.servers[name].is_silent = silent
            self.ping(name)

    def ping(self, name: str, number: int | None = None) -> None:
        """One ping; of the newest number that it knows unless one is given."""
        server = self.servers[name]
        server.serial += 1
        number = server.told if number is None else number
        view = self.views.view
        synced: tuple[str, ...] = ()
        if not server.is_lagging and number == view.number:
            synced = tuple(member.name for member in view.backups)
        if not server.member.is_same_copy(view.primary):
            synced = ()
        answer = self.views.ping(
            server.link,
            Ping(server.serial, server.member, number, synced, server.unreachable),
        )
        self._note()
        if not isinstance(answer, ViewIs):
            self.goodbye = answer
        elif answer.view.number > server.told:
            server.told = answer.view.number
            if not server.is_silent:
                self.ping(name)  # at once, since there is news
        self._push()

    def silence(self, *names: str, ticks: int = 0) -> None:
        """These say nothing any more, and so many ticks pass."""
        for name in names:
            self.servers[name].is_silent = True
        self.tick(ticks)

    def speak(self, *names: str) -> None:
        """These go on."""
        for name in names:
            self.servers[name].is_silent = False
            self.ping(name)

    def tick(self, times: int = 1) -> None:
        """Intervals pass: everybody who is not silent pings in each."""
        for _ in range(times):
            self.views.tick()
            self._push()
            for name, server in self.servers.items():
                if not server.is_silent:
                    self.ping(name)

    # -- what the view service does --------------------------------------------------

    def forget_nothing(self) -> None:
        """It stops, and starts again with what it has on disk."""
        roster = Roster(DEAD)
        self.views = Views.recalled(
            self.views.memory(), roster, backups_max=self.views.backups_max
        )
        for server in self.servers.values():
            self._links += 1
            server.link = self._links

    def _push(self) -> None:
        """Ask those whose ping is due, until nobody's is."""
        for _ in range(20):
            due = [
                server.member.name
                for server in self.views.due()
                if not self.servers[server.member.name].is_silent
            ]
            if not due:
                return
            server = self.servers[due[0]]
            server.told = self.views.view.number
            self.ping(due[0])
        raise AssertionError(f"pushed for ever: {self.seen}")

    def _note(self) -> None:
        number = self.views.view.number
        if not self.numbers or number != self.numbers[-1]:
            self.numbers.append(number)
