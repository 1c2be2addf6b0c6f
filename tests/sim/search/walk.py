"""
Random ways through the same worlds, deeper than breadth can go.

Each way begins where the search begins, takes steps by chance, and ends with
the healthy future of where it came to.  What it finds is not the shortest.
"""

from __future__ import annotations

import time
from random import Random
from typing import Final

from tests.sim.chronicle import Violation
from tests.sim.search.actions import Action
from tests.sim.search.breadth import Found, judge_state
from tests.sim.search.fair import Fair
from tests.sim.search.model import Model
from tests.sim.search.world import State

#: How likely things are, compared with each other; 4 if not here.
WEIGHTS: Final = {
    "there": 10,
    "back": 10,
    "flush": 8,
    "dial": 8,
    "ping": 5,
    "again": 2,
    "crash": 1,
    "dead": 1,
    "restart": 1,
    "break": 1,
    "break there": 1,
    "doubt": 1,
}

#: How long one way is at most.
LENGTH_MAX: Final = 90


def walk(model: Model, start: State, *, seconds: float, seed: int) -> Found:
    """Go such ways for so long."""
    random, fair = Random(seed), Fair(model)
    began_s = time.monotonic()
    seen: set[State] = {start}
    steps = longest = 0
    rule, text, way = "", "", list[Action]()
    try:
        while time.monotonic() - began_s < seconds:
            state, way = start, []
            for _ in range(random.randrange(5, LENGTH_MAX)):
                actions = model.actions(state)
                if not actions:
                    break
                weights = [WEIGHTS.get(action[0], 4) for action in actions]
                (action,) = random.choices(actions, weights)
                after = _step(model, state, action, way)
                if after != state:
                    steps, state = steps + 1, after
                    if state not in seen:
                        seen.add(state)
                        judge_state(model, state)
            longest = max(longest, len(way))
            fair.judge(state)
    except Violation as found:
        rule, text, longest = found.rule, found.text, len(way)
    return Found(
        *(model.config.name, len(seen), steps, longest, False),
        *(model.servers.asked, model.servers.repeated, fair.runs),
        *(time.monotonic() - began_s, rule, text),
        tuple(way) if rule else (),
    )


def _step(model: Model, state: State, action: Action, way: list[Action]) -> State:
    """The next state, if it is another one on the way."""
    way.append(action)
    after = model.step(state, action)
    if after == state:
        way.pop()
    return after
