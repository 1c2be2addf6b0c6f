"""
Every state there is, the nearest first.

Explicit: each state is kept, with the one that it was first reached from and
by what, so that what is found is shown by a shortest way to it.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.sim.chronicle import Violation
from tests.sim.search.actions import Action
from tests.sim.search.fair import Fair
from tests.sim.search.model import Model
from tests.sim.search.rules import judge
from tests.sim.search.world import DOWN, State, Table

NONE: Final = 2**32 - 1


class Found(NamedTuple):
    """What a search has come to."""

    config: str
    states: int
    steps: int
    depth: int
    #: Was everything looked at that the bounds allow?
    is_exhausted: bool
    #: How often the real code was asked, and how often a second time.
    asked: int
    repeated: int
    #: States from which a healthy future was followed.
    futures: int
    seconds: float
    #: Which rule was violated, how, and how one gets there.
    rule: str = ""
    text: str = ""
    actions: tuple[Action, ...] = ()


class Breadth:
    """A breadth-first search of one configuration."""

    def __init__(
        self,
        model: Model,
        start: State,
        *,
        futures: bool = True,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._model = model
        self._start = start
        self._fair = Fair(model) if futures else None
        self._progress = progress
        self._places: dict[State, int] = {}
        self._from = array("L")
        self._by = array("L")
        self._actions = Table()
        self._steps = 0
        self._began_s = time.monotonic()

    def run(
        self, *, seconds: float = float("inf"), states_max: float = float("inf")
    ) -> Found:
        """Search until there is nothing more, or so long, or so far."""
        self._began_s = began_s = time.monotonic()
        level, depth = [self._start], 0
        self._keep(self._start, NONE, NONE)
        at: State | None = self._start
        action: Action | None = None
        try:
            self._judge(self._start)
            while level:
                following: list[State] = []
                for at in level:
                    place = self._places[at]
                    if place % 1024 == 0 and time.monotonic() - began_s > seconds:
                        return self._found(depth, is_exhausted=False)
                    if len(self._places) >= states_max:
                        return self._found(depth, is_exhausted=False)
                    for action in self._model.actions(at):
                        after = self._model.step(at, action)
                        self._steps += 1
                        if after not in self._places:
                            number = self._actions.number(action)
                            self._keep(after, place, number)
                            self._judge(after)
                            following.append(after)
                    action = None
                    if self._fair is not None:
                        self._fair.judge(at)
                depth += bool(following)
                level = following
                self._progress(f"depth {depth}: {len(self._places)} states")
        except Violation as violation:
            found = self._found(depth, is_exhausted=False)
            way = self._way(at, action)
            return found._replace(
                depth=len(way),
                rule=violation.rule,
                text=violation.text,
                actions=tuple(way),
            )
        return self._found(depth, is_exhausted=True)

    def _keep(self, state: State, place: int, number: int) -> None:
        self._places[state] = len(self._from)
        self._from.append(place)
        self._by.append(number)

    def _judge(self, state: State) -> None:
        judge_state(self._model, state)

    def _way(self, state: State, last: Action | None) -> list[Action]:
        way = [] if last is None else [last]
        place = self._places[state]
        while self._from[place] != NONE:
            way.append(self._actions.all[self._by[place]])
            place = self._from[place]
        return way[::-1]

    def _found(self, depth: int, *, is_exhausted: bool) -> Found:
        servers = self._model.servers
        return Found(
            self._model.config.name,
            len(self._places),
            self._steps,
            depth,
            is_exhausted,
            servers.asked,
            servers.repeated,
            self._fair.runs if self._fair is not None else 0,
            time.monotonic() - self._began_s,
        )


def judge_state(model: Model, state: State) -> None:
    """Raise `Violation` if that state may not be."""
    facts = [
        None if state[i] == DOWN else model.facts(state[i])
        for i in range(model.config.servers)
    ]
    worlds = model.worlds
    judge(
        model.config,
        facts,
        model.view_service(state),
        worlds.outside(state),
        worlds.rest(state),
    )
