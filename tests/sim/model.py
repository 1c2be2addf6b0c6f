"""
What the store should do, said a second time and in the plainest way.

The state of one key is its value, None if it is absent.  Nothing here is taken
from `pbserver`: two that make the same mistake would agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from wire.commands import (
    COUNTER_MAX,
    COUNTER_MIN,
    NOT_A_NUMBER,
    AnyAnswer,
    Append,
    Cas,
    Command,
    Delete,
    Failed,
    Get,
    Incr,
    Put,
)

#: The value of one key.
State = bytes | None


class Answer(NamedTuple):
    """What a command was answered: a value, or the code of a failure."""

    value: object
    code: str = ""

    @classmethod
    def of(cls, answer: AnyAnswer) -> Answer:
        if isinstance(answer, Failed):
            return cls(None, answer.code)
        return cls(answer.value)


_NO_NUMBER = Answer(None, NOT_A_NUMBER)


def step(state: State, command: Command) -> tuple[State, Answer]:
    """Do *command* to a key in *state* -> the state after it, and its answer."""
    match command:
        case Get():
            return state, Answer(state)
        case Put(_, value):
            return value, Answer(None)
        case Append(_, suffix):
            value = (state or b"") + suffix
            return value, Answer(len(value))
        case Delete():
            return None, Answer(state is not None)
        case Cas(_, expected, value):
            same = state == expected
            return (value if same else state), Answer(same)
        case Incr(_, by):
            return _incremented(state, by)
    raise AssertionError(command)


def observes(command: Command, answer: Answer) -> bool:
    """Whether *command* changes nothing in any state in which that is its answer."""
    is_no = answer.value is False or bool(answer.code)
    return is_no or isinstance(command, Get)


def _incremented(state: State, by: int) -> tuple[State, Answer]:
    try:
        number = int(state or b"0") + by
    except ValueError:
        return state, _NO_NUMBER
    if not COUNTER_MIN <= number <= COUNTER_MAX:
        return state, _NO_NUMBER
    return str(number).encode(), Answer(number)


def replay(commands: Iterable[Command]) -> State:
    """The state of one key after these, from nothing."""
    state: State = None
    for command in commands:
        state, _ = step(state, command)
    return state
