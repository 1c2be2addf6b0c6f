"""
Everything that can happen next.

Weaker than the real world nowhere: the view service may take anybody for dead
at any time, a server may ping, or hear of the newest view, or not; what clerks
send comes when it pleases; connections deliver in order until they break, and
what is on its way then may be lost from any point on.
"""

from __future__ import annotations

from typing import Any

from tests.sim.search.config import KINDS, NAMES, Config
from tests.sim.search.outside import Outside
from tests.sim.search.servers import Facts
from tests.sim.search.views import DEAD_PINGS
from tests.sim.search.world import DOWN, Link, Rest, State, Worlds
from viewservice.views import Views

#: What happens, and to whom.
Action = tuple[Any, ...]


class Actions:
    """What can happen, in the worlds of one configuration."""

    def __init__(self, config: Config, worlds: Worlds, facts: list[Facts]) -> None:
        self._config = config
        self._worlds = worlds
        self._facts = facts
        self._of_links: dict[tuple[int, bool], tuple[Action, ...]] = {}

    def of(self, state: State, views: Views) -> list[Action]:
        """All of them, in a fixed order; *views* is that state's view service."""
        config, worlds = self._config, self._worlds
        rest, outside = worlds.rest(state), worlds.outside(state)
        can = {kind for kind, left in zip(KINDS, rest.budget, strict=True) if left}
        found = list(self._in_links(state[-3], breaks="break" in can))
        found += [(kind,) for kind in ("views crash", "forget") if kind in can]
        if "roll back" in can and rest.saved >= 0:
            found.append(("roll back",))
        if self.may_have_waited(state, views):
            found.append(("waited",))
        for i in range(config.servers):
            if state[i] == DOWN:
                if "restart" in can:
                    found.append(("restart", i))
                continue
            fact = self._facts[state[i]]
            found.append(("ping", i))
            if views.view.counter >= fact.view.counter:
                found.append(("tell", i))
            if config.lazy:
                found.append(("flush", i))
            if "crash" in can:
                found.append(("crash", i))
            if "dead" in can and _is_living(views, i):
                found.append(("dead", i))
            if "doubt" in can and fact.view.number == views.view.number:
                found += [
                    ("doubt", i, member.name)
                    for member in fact.view.members()
                    if member.name != NAMES[i]
                ]
            if fact.is_primary:
                found += [(kind, i) for kind in ("tick", "idle") if kind in can]
                found += self._dials(i, fact, state, rest)
                found += self._asks(i, outside, fact.asking, late="late" in can)
        return found

    def carried(self, state: State) -> list[Action]:
        """What happens by itself where nothing goes wrong: what is on its way
        arrives, what is closed ends, and who wants a connection dials."""
        rest = self._worlds.rest(state)
        found = list(self._in_links(state[-3], breaks=False))
        for i in range(self._config.servers):
            if state[i] != DOWN:
                fact = self._facts[state[i]]
                if fact.peers:
                    found += self._dials(i, fact, state, rest)
                if self._config.lazy:
                    found.append(("flush", i))
        return found

    def _in_links(self, net: int, *, breaks: bool) -> tuple[Action, ...]:
        found = self._of_links.get((net, breaks))
        if found is None:
            links: tuple[Link, ...] = self._worlds.nets.all[net]
            found = tuple(each for link in links for each in _of_link(link, breaks))
            self._of_links[net, breaks] = found
        return found

    def may_have_waited(self, state: State, views: Views) -> bool:
        """Can the time be over in which the view service waits for callers?  All who
        run have called by then, and none of them is one that it turns away."""
        if not views.settling or self._config.late:
            return bool(views.settling)
        known = [views.servers.get(name) for name in NAMES]
        lives = self._worlds.rest(state).lives
        return all(
            state[i] == DOWN
            or (
                server is not None
                and server.connected
                and server.member.incarnation == life
            )
            for i, (server, life) in enumerate(zip(known, lives, strict=False))
        )

    def _dials(self, i: int, fact: Facts, state: State, rest: Rest) -> list[Action]:
        links = self._worlds.links(state)
        if len(links) >= self._config.links:
            return []
        ends = {
            (link.other, link.others)
            for link in links
            if link.one == i and link.ones == rest.lives[i] and link.is_open
        }
        return [
            ("dial", i, j)
            for j, life in enumerate(rest.lives)
            if state[j] != DOWN
            and (j, life) not in ends
            and self.is_peer(j, life, fact.peers)
        ]

    def is_peer(self, j: int, life: int, peers: tuple[tuple[str, int], ...]) -> bool:
        """Is that life of a server one to be connected to?"""
        if self._config.strangers:
            return any(name == NAMES[j] for name, _ in peers)
        return (NAMES[j], life) in peers

    def _asks(
        self, i: int, outside: Outside, asking: tuple[Any, ...], *, late: bool
    ) -> list[Action]:
        config = self._config
        found: list[Action] = []
        for c, clerk in enumerate(outside.clerks):
            if clerk.opened_index:
                if clerk.made < config.writes and len(clerk.waiting) < config.window:
                    found.append(("write", c, i))
            elif late or not clerk.is_opening:
                found.append(("open", c, i))
            # Who waits for the answer to a question would only ask it twice.
            if ("clerk", c, clerk.session) not in asking:
                found += [("again", c, i, k) for k in range(len(clerk.waiting))]
                if late:
                    found += [("late", c, i, k) for k in range(len(clerk.sent))]
        if outside.reads:
            if ("reader", 0, 0) not in asking:
                found.append(("read again", i))
        elif outside.reads_made < config.reads:
            found.append(("read", i))
        return found


def _of_link(link: Link, breaks: bool) -> list[Action]:
    key = link[:3]
    found: list[Action] = []
    if link.is_open_there:
        if link.there:
            found.append(("there", *key))
        if not link.is_open:
            found.append(("end there", *key))
    if link.is_open:
        if link.back:
            found.append(("back", *key))
        if not link.is_open_there:
            found.append(("end back", *key))
    if breaks and link.is_open and link.is_open_there:
        found += [("break", *key), ("break there", *key)]
    return found


def _is_living(views: Views, i: int) -> bool:
    known = views.servers.get(NAMES[i])
    return known is not None and not known.is_dead(DEAD_PINGS)
