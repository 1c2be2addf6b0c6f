"""
The way to a state, as a page: see `tests.sim.trace_page`.

The steps are taken again, with somebody who looks on.  Rounds keep their
numbers here; that they are made alike elsewhere only makes equal states equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tests.sim.chronicle import Violation
from tests.sim.observer import Observer
from tests.sim.portraits import of_replica, of_views
from tests.sim.search.actions import Action
from tests.sim.search.breadth import judge_state
from tests.sim.search.config import NAMES, Config
from tests.sim.search.model import Model
from tests.sim.search.servers import Event
from tests.sim.search.views import member
from tests.sim.search.words import text_of
from tests.sim.search.world import DOWN, Key, Link, State, World
from wire.messages import Ping, ViewIs

VIEWS: Final = "views"


class ToldModel(Model):
    """The same model, which tells what it does."""

    def __init__(self, config: Config, observer: Observer) -> None:
        super().__init__(config)
        self._observer = observer
        self._at = 0
        self._is_telling = False

    def tell(self, start: State, actions: Iterable[Action]) -> None:
        """Take those steps from there, and tell all of it."""
        observer, state = self._observer, start
        observer.began(0, VIEWS, "views")
        running = [i for i in range(self.config.servers) if start[i] != DOWN]
        for i in running:
            observer.began(0, NAMES[i], "server")
        for c in range(self.config.clerks):
            observer.began(0, _clerk(c), "clerk")
        if self.config.reads:
            observer.began(0, "reader", "clerk")
        self._is_telling = True
        # What was on its way before is said now.
        for link in self.worlds.links(start):
            for number in link.there:
                self._say(link, number, back=False)
            for number in link.back:
                self._say(link, number, back=True)
        observer.turned(0, VIEWS, of_views(self.view_service(start)))
        for i in running:
            self._show(i, start[i])
        violation = None
        try:
            for action in actions:
                self._at += 1
                if action[0] in _BEFALLS:
                    where = tuple(NAMES[i] for i in action[1:3] if isinstance(i, int))
                    text = text_of(self, state, action)
                    observer.befell(self._at, action[0], where, text)
                state = self.step(state, action)
                judge_state(self, state)
        except Violation as found:
            violation = found
            observer.violated(self._at, found.rule, found.text)
        steps = {"steps": self._at, "view": self.view_service(state).view.counter}
        observer.finished(self._at + (violation is None), steps)

    # -- what is told ----------------------------------------------------------------

    def _tell(self, world: World, i: int, event: Event) -> None:
        if not self._is_telling:
            super()._tell(world, i, event)
            return
        observer, name, before = self._observer, NAMES[i], world.servers[i]
        if event[0] == "receive":
            _, link, _, number = event
            message = self.servers.messages.all[number]
            if link[0] == "link":
                direction = (link[1:], i == link[1])
                observer.heard(self._at, name, direction, message)
            else:
                asker = _asker(link)
                observer.said(self._at, asker, name, (asker, name), message)
                observer.heard(self._at, name, (asker, name), message)
        elif event[0] == "view":
            _, view, acknowledged = event
            news = ViewIs(0, b"", view, acknowledged)
            observer.said(self._at, VIEWS, name, (VIEWS, name), news)
            observer.heard(self._at, name, (VIEWS, name), news)
        elif event[0] != "forget rounds":
            observer.did(self._at, name, event[0], event[0])
        super()._tell(world, i, event)
        self._notice(i, before, world.servers[i])

    def _carry(self, world: World, i: int, name: Any, number: int) -> bool:
        if self._is_telling:
            message = self.servers.messages.all[number]
            if name[0] == "link":
                link = world.links.get(name[1:])
                if link is not None:
                    self._say(link, number, back=i == link.other)
            else:
                asker, server = _asker(name), NAMES[i]
                self._observer.said(self._at, server, asker, (server, asker), message)
                self._observer.heard(self._at, asker, (server, asker), message)
        return super()._carry(world, i, name, number)

    def _forget_rounds(self, world: World, i: int) -> None:
        if not self._is_telling:
            super()._forget_rounds(world, i)

    def _ping(self, world: World, i: int, *unreachable: str) -> None:
        if self._is_telling:
            fact = self.facts(world.servers[i])
            said = (fact.view.number, fact.synced, unreachable)
            ping = Ping(0, member(i, world.rest.lives[i]), *said)
            name = NAMES[i]
            self._observer.said(self._at, name, VIEWS, (name, VIEWS), ping)
            self._show(i, world.servers[i])
            self._observer.heard(self._at, VIEWS, (name, VIEWS), ping)
        before = self.views.all[world.views].view
        super()._ping(world, i, *unreachable)
        if self._is_telling:
            views = self.views.all[world.views]
            if views.view != before:
                text = f"makes view {views.view.counter}"
                self._observer.did(self._at, VIEWS, "view", text)
            self._observer.turned(self._at, VIEWS, of_views(views))

    def _put(self, world: World, link: Link) -> None:
        super()._put(world, link)
        if self._is_telling:
            if not link.is_open:
                self._observer.lost((link[:3], True))
            if not link.is_open_there:
                self._observer.lost((link[:3], False))

    def _crash(self, world: World, i: int) -> None:
        if self._is_telling:
            self._observer.ended(self._at, NAMES[i], "crash")
        super()._crash(world, i)

    def _restart(self, world: World, i: int) -> None:
        super()._restart(world, i)
        if self._is_telling:
            self._observer.began(self._at, NAMES[i], "server")

    # -- parts -------------------------------------------------------------------------

    def _say(self, link: Link, number: int, *, back: bool) -> None:
        ends = (NAMES[link.one], NAMES[link.other])
        one, other = ends[::-1] if back else ends
        key: Key = link[:3]
        message = self.servers.messages.all[number]
        self._observer.said(self._at, one, other, (key, back), message)

    def _notice(self, i: int, before: int, after: int) -> None:
        old, new = self.facts(before), self.facts(after)
        if old.view != new.view or old.is_primary != new.is_primary:
            role = "leads" if new.is_primary else "is in"
            text = f"{NAMES[i]} {role} view {new.view.number}"
            self._observer.did(self._at, NAMES[i], "role", text)
        if new.commit != old.commit:
            text = f"{old.commit + 1}..{new.commit}"
            self._observer.did(self._at, NAMES[i], "commit", text)
        self._show(i, after)

    def _show(self, i: int, number: int) -> None:
        state = dict(of_replica(self.servers.replica(number)))
        state["value"] = self.facts(number).value.decode() or "nothing"
        self._observer.turned(self._at, NAMES[i], state)


#: What happens to somebody, rather than being done.
_BEFALLS: Final = frozenset(
    {"dead", "crash", "restart", "break", "break there", "views crash", "forget"}
)


def _clerk(c: int) -> str:
    return f"c{c + 1}"


def _asker(link: tuple[str, int, int]) -> str:
    return _clerk(link[1]) if link[0] == "clerk" else link[0]
