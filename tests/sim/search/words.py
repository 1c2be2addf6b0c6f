"""
What happened in a search, in words, and in a line that makes it happen again.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.chronicle import Violation
from tests.sim.search.actions import Action
from tests.sim.search.breadth import judge_state
from tests.sim.search.config import NAMES
from tests.sim.search.fair import Fair
from tests.sim.search.model import Model
from tests.sim.search.world import State


class NoAction(ValueError):  # noqa: N818 (it says what is wrong)
    """That is nothing that can happen there."""


def line_of(actions: Iterable[Action]) -> str:
    """All actions in one line."""
    return "; ".join(
        " ".join((action[0].replace(" ", "-"), *map(str, action[1:])))
        for action in actions
    )


def actions_of(line: str) -> list[Action]:
    """The actions that such a line stands for."""
    found: list[Action] = []
    for part in filter(None, map(str.strip, line.split(";"))):
        what, *words = part.split()
        arguments = [int(word) if word.isdecimal() else word for word in words]
        found.append((what.replace("-", " "), *arguments))
    return found


def replay(
    model: Model, start: State, actions: Iterable[Action]
) -> tuple[list[str], Violation | None]:
    """Do all that -> a line for each step, and how it ended.  `NoAction` if
    something cannot happen where it is to."""
    lines, state = [], start
    try:
        for action in actions:
            if action not in model.actions(state):
                raise NoAction(
                    f"{line_of([action])!r} cannot happen as step {len(lines) + 1}"
                )
            lines.append(text_of(model, state, action))
            state = model.step(state, action)
            judge_state(model, state)
        Fair(model).judge(state)
    except Violation as violation:
        return lines, violation
    return lines, None


def text_of(model: Model, state: State, action: Action) -> str:
    """What happens then, in words."""
    what, *arguments = action
    for link in model.worlds.links(state):
        if link[:3] == tuple(arguments):
            ends = [NAMES[link.one], NAMES[link.other]]
            if what in {"back", "end back", "break there"}:
                ends.reverse()
            text = f"{ends[0]} to {ends[1]}"
            if what in {"there", "back"}:
                queue = link.there if what == "there" else link.back
                return f"{text}: {model.servers.messages.all[queue[0]]}"
            return f"{text}: connection {'breaks' if 'break' in what else 'ends'}"
    if what in {"open", "write", "again", "late"}:
        clerk, server, *which = arguments
        return " ".join(
            (f"clerk {clerk + 1} at {NAMES[server]}: {what}", *map(str, which))
        )
    names = [NAMES[each] if isinstance(each, int) else str(each) for each in arguments]
    return " ".join((what, *names))
