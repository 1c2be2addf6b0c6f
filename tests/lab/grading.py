"""
Points for rules.

    @rule(3, "view service", hint="count what is silent, not what is late")
    def test_a_silent_primary_is_replaced() -> None: ...

Whoever runs the test with plain pytest sees the hint when it fails; whoever
runs ``python -m tests.lab`` sees points, part by part.
"""

from __future__ import annotations

import functools
import linecache
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

#: Parts in the order in which they are shown.  Those over real processes are
#: run by pytest, and are not part of the quick grade.
PARTS: Final = (
    "view service",
    "replication",
    "clients",
    "partitions",
    "beyond the courses",
)
DAEMONS: Final = "real daemons"


class Rule(NamedTuple):
    """What a scenario is worth, and what to look at when it fails."""

    points: int
    part: str
    hint: str


class Mark(NamedTuple):
    """How a scenario went."""

    name: str
    rule: Rule
    #: Why it failed; "": it did not.
    failure: str
    took_s: float

    @property
    def points(self) -> int:
        return 0 if self.failure else self.rule.points


def rule(points: int, part: str, hint: str) -> Callable[[Test], Test]:
    """That test plays a rule of *part*, worth so many points."""
    if part not in {*PARTS, DAEMONS}:
        raise ValueError(f"no part {part!r}: one of {PARTS} or {DAEMONS!r}")
    if points < 1:
        raise ValueError(f"{points} points: a rule is worth one or more")

    def mark(test: Test) -> Test:
        @functools.wraps(test)
        def hinting(*args: Any, **kwargs: Any) -> None:
            try:
                test(*args, **kwargs)
            except Exception as error:
                error.add_note(f"hint: {hint}")
                raise

        hinting.rule = Rule(points, part, hint)  # type: ignore[attr-defined]
        return hinting  # type: ignore[return-value]

    return mark


def graded(modules: Iterable[ModuleType]) -> list[Callable[[], None]]:
    """The tests in these modules that are worth points."""
    return [
        test
        for module in modules
        for name, test in vars(module).items()
        if name.startswith("test_") and hasattr(test, "rule")
    ]


def grade(test: Callable[[], None]) -> Mark:
    """Run it."""
    began = time.monotonic()
    failure = ""
    try:
        test()
    except Exception as error:  # noqa: BLE001 -- whatever it is, it costs the points
        failure = f"{type(error).__name__}: {str(error) or _statement(error)}"
    name = test.__name__.removeprefix("test_").replace("_", " ")
    return Mark(name, test.rule, failure, time.monotonic() - began)  # type: ignore[attr-defined]


def _statement(error: Exception) -> str:
    """What to say of an error that has no text, as of a bare ``assert``: the
    statement of the scenario that raised it, and the innermost one if that is
    another."""
    frames = traceback.extract_tb(error.__traceback__)
    of_scenarios = [f for f in frames if Path(f.filename).name.startswith("test_")]
    chosen = [*of_scenarios[-1:], frames[-1]]
    if chosen[0] == chosen[-1]:
        chosen = chosen[:1]
    return "; in ".join(
        f"{_source(frame)} ({Path(frame.filename).name}, line {frame.lineno})"
        for frame in chosen
    )


def _source(frame: traceback.FrameSummary) -> str:
    """The whole statement, on one line."""
    assert frame.lineno is not None
    end = frame.end_lineno or frame.lineno
    numbers = range(frame.lineno, end + 1)
    lines = [linecache.getline(frame.filename, number) for number in numbers]
    return " ".join(" ".join(lines).split())


def sheet(marks: list[Mark]) -> str:
    """All of it, for a person; the last line is the total."""
    lines: list[str] = []
    for part in PARTS:
        of_part = [mark for mark in marks if mark.rule.part == part]
        lines.append(f"{part}: {_points(of_part)}")
        for mark in of_part:
            lines.append(f"  {mark.points:2d}/{mark.rule.points:<2d} {mark.name}")
            if mark.failure:
                lines += [f"        {mark.failure}", f"        hint: {mark.rule.hint}"]
    took_s = sum(mark.took_s for mark in marks)
    lines.append(f"total: {_points(marks)}, {len(marks)} rules, {took_s:.1f} s")
    return "\n".join(lines)


def _points(marks: list[Mark]) -> str:
    return f"{sum(m.points for m in marks)} of {sum(m.rule.points for m in marks)}"
