"""
A place in the rules, and how it is written down.

A place is the point before a line; where that line alone is there more than
once, the lines before it are given, too.  With a condition it is only that
case.  Those marked as wrong are places to which no honest process comes: they
guard against whoever breaks the protocol, and the simulator has no liars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """Somewhere that a run should come to."""

    name: str
    module: str
    #: Lines without their indentation; the place is before the last of them.
    lines: tuple[str, ...]
    #: An expression that must hold there; "": always.
    when: str = ""
    is_wrong: bool = False


#: All of a place but its name and module.
Where = tuple[tuple[str, ...], str, bool]


def at(*lines: str, when: str = "") -> Where:
    """Before the last of these lines."""
    return lines, when, False


def wrong(*lines: str, when: str = "") -> Where:
    """The same, and nobody should come there."""
    return lines, when, True


def places(by_module: Mapping[str, Mapping[str, Where]]) -> tuple[Place, ...]:
    """Module -> name -> where, one after the other."""
    return tuple(
        Place(name, module, *where)
        for module, found in by_module.items()
        for name, where in found.items()
    )
