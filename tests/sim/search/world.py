"""
A world as a value: a tuple of numbers, and what they stand for.

One number for each server (`DOWN` if none runs), then one for the view service,
one for all connections, one for everybody who asks, and one for the rest.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, NamedTuple

from attrs import define

from tests.sim.search.outside import Outside

State = tuple[int, ...]

DOWN: Final = -1


class Link(NamedTuple):
    """A connection between two servers, dialled by *one*; the *number*-th of
    those two.  What is on its way are numbers of messages."""

    one: int
    other: int
    number: int
    #: The lives that it is between.
    ones: int
    others: int
    #: Has that end neither closed it nor heard that the other one has?
    is_open: bool = True
    is_open_there: bool = True
    there: tuple[int, ...] = ()
    back: tuple[int, ...] = ()


#: Which of all connections.
Key = tuple[int, int, int]


def name_of(key: Key) -> tuple[str, int, int, int]:
    """What replicas call it."""
    return ("link", *key)


class Rest(NamedTuple):
    """What belongs to nobody."""

    #: Which life each server is in.
    lives: tuple[int, ...]
    #: By place in `tests.sim.search.config.KINDS`.
    budget: tuple[int, ...]
    #: The view service as it was saved once, and how often it has been rolled back
    #: to that.
    saved: int = -1
    rolled: int = 0


@define
class World:
    """A state, taken apart to be changed."""

    servers: list[int]
    views: int
    links: dict[Key, Link]
    outside: Outside
    rest: Rest


class Table:
    """Values by number, each once."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: Hashable) -> int:
        """The number of that value."""
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.all)
            self.all.append(value)
        return found


class Worlds:
    """All states by number."""

    def __init__(self) -> None:
        self.nets = Table()
        self._outsides = Table()
        self._rests = Table()

    def pack(self, world: World) -> State:
        """The world as a value."""
        links = world.links
        return (
            *world.servers,
            world.views,
            self.nets.number(tuple(links[key] for key in sorted(links))),
            self._outsides.number(world.outside),
            self._rests.number(world.rest),
        )

    def unpack(self, state: State) -> World:
        """That state, to be changed."""
        *servers, views, net, _, _ = state
        links = {link[:3]: link for link in self.nets.all[net]}
        return World(servers, views, links, self.outside(state), self.rest(state))

    def links(self, state: State) -> tuple[Link, ...]:
        """All connections."""
        links: tuple[Link, ...] = self.nets.all[state[-3]]
        return links

    def outside(self, state: State) -> Outside:
        """Everybody who asks."""
        outside: Outside = self._outsides.all[state[-2]]
        return outside

    def rest(self, state: State) -> Rest:
        """What belongs to nobody."""
        rest: Rest = self._rests.all[state[-1]]
        return rest

    def with_budget(self, state: State, budget: tuple[int, ...]) -> State:
        """The same with another budget."""
        rest = self.rest(state)._replace(budget=budget)
        return (*state[:-1], self._rests.number(rest))
