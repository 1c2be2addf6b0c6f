"""
Can everybody be helped from here, once nothing goes wrong any more?

From a state, nothing but what a healthy world does: everything that was sent
arrives, every server pings and hears the answer, primaries say something every
interval, who has ended is found dead, and clerks ask again.  If after some
rounds of that somebody still waits, the state is a trap.  The one way out of
being helped is that nobody lives who may lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.sim.chronicle import Violation
from tests.sim.search.actions import Action
from tests.sim.search.config import KINDS, NAMES
from tests.sim.search.model import Model
from tests.sim.search.world import DOWN, State

#: So many messages and connections follow from one event at most.
CARRIED_MAX: Final = 500

#: Rounds of health after which everybody must be helped; most need three, but
#: one that could not be reached is left alone for two dozen.
ROUNDS_MAX: Final = 60


class Fair:
    """The healthy future of states."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._calm = tuple(0 for _ in KINDS)
        #: States from which everybody is helped.
        self._good: set[State] = set()
        self.runs = 0

    def judge(self, state: State) -> None:
        """Raise `Violation` if somebody would wait for ever."""
        if self._model.config.late:
            return  # Of two histories, one will wait for an operator.
        state = self._model.worlds.with_budget(state, self._calm)
        self.runs += 1
        passed: list[State] = []
        for _ in range(ROUNDS_MAX):
            if self.is_settled(state):
                break
            for after in self._round(state):
                state = after
                if state in self._good:
                    self._good.update(passed)
                    return
                passed.append(state)
        else:
            raise Violation("everything ends", self._what_waits(state))
        self._good.update(passed)

    def _round(self, state: State) -> Iterator[State]:
        """The states that one healthy interval goes through."""
        servers = range(self._model.config.servers)
        for i in servers:
            if self._is_known_dead(state, i):
                state = self._spending(state, ("dead", i))
        running = [i for i in servers if state[i] != DOWN]
        if self._model.may_have_waited(state):
            state = self._model.step(state, ("waited",))
        state = self._model.step(state, ("views tick",))
        todo: list[Action] = [
            (what, i) for i in running for what in ("ping", "tell", "tick")
        ]
        for action in (None, *todo):
            if action is not None:
                state = self._done(state, action)
                yield state
            for _ in range(CARRIED_MAX):
                after = self._carried(state)
                if after is None:
                    break
                state = after
                yield state
            else:
                raise Violation("everything ends", "messages follow for ever")
        leader = self._leader(state)
        if leader is not None:
            yield self._asked(state, leader)

    def _done(self, state: State, action: Action) -> State:
        if action[0] != "tick":
            return self._model.step(state, action)
        is_leading = self._model.facts(state[action[1]]).is_primary
        return self._spending(state, action) if is_leading else state

    def _asked(self, state: State, leader: int) -> State:
        """All who wait ask that server again."""
        model = self._model
        for c, clerk in enumerate(model.worlds.outside(state).clerks):
            if not clerk.opened_index:
                state = self._spending(state, ("open", c, leader), "late")
        for action in model.actions(state):
            is_again = action[0] == "again" and action[2] == leader
            is_again = is_again or action == ("read again", leader)
            # One answer may have brought others.
            if is_again and action in model.actions(state):
                state = model.step(state, action)
        return state

    def _carried(self, state: State) -> State | None:
        """Something that is on its way arrives; None: nothing is."""
        for action in self._model.carried(state):
            after = self._model.step(state, action)
            if after != state:
                return after
        return None

    def _spending(self, state: State, action: Action, kind: str = "") -> State:
        """Something that only costs while things go wrong."""
        worlds = self._model.worlds
        budget = tuple(int(each == (kind or action[0])) for each in KINDS)
        after = self._model.step(worlds.with_budget(state, budget), action)
        return worlds.with_budget(after, self._calm)

    def _is_known_dead(self, state: State, i: int) -> bool:
        """Does the view service believe in a life that has ended?"""
        known = self._model.view_service(state).servers.get(NAMES[i])
        return known is not None and (
            state[i] == DOWN
            or known.member.incarnation != self._model.worlds.rest(state).lives[i]
        )

    def _leader(self, state: State) -> int | None:
        primary = self._model.view_service(state).view.primary
        if primary is None:
            return None
        i = NAMES.index(primary.name)
        is_there = state[i] != DOWN and self._model.facts(state[i]).is_primary
        return i if is_there else None

    def is_settled(self, state: State) -> bool:
        """Is everybody helped, or can nobody be?"""
        model = self._model
        views, rest = model.view_service(state), model.worlds.rest(state)
        lives = {
            (NAMES[i], life) for i, life in enumerate(rest.lives) if state[i] != DOWN
        }
        members = [(each.name, each.incarnation) for each in views.view.members()]
        if not lives or views.lost or views.claims:
            return True
        if views.view.number and not views.is_unfounded():
            heirs = {each for each in members if each[0] in views.eligible}
            if not heirs & lives:
                return True
        backups = min(model.config.backups, len(lives) - 1)
        if not views.acknowledged or len(members) <= backups or set(members) - lives:
            return False
        outside = model.worlds.outside(state)
        if outside.reads or any(
            clerk.waiting or not clerk.opened_index for clerk in outside.clerks
        ):
            return False
        ends = [model.facts(state[NAMES.index(name)]) for name, _ in members]
        return len({(fact.commit, fact.view.number) for fact in ends}) == 1

    def _what_waits(self, state: State) -> str:
        model = self._model
        views, outside = model.view_service(state), model.worlds.outside(state)
        servers = [
            f"{NAMES[i]}: {model.servers.replica(state[i]).report}"
            for i in range(model.config.servers)
            if state[i] != DOWN
        ]
        return (
            f"after {ROUNDS_MAX} rounds of health: {views.view},"
            f" acknowledged {views.acknowledged}; {outside}; {servers}"
        )
