"""
A run as one page: a space-time diagram that one can walk through.

The page is a single HTML file that needs nothing else: what was recorded, as
JSON, with the style and the scripts in `tests/sim/page`.  Equal recordings give
equal pages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.sim.observer import KINDS
from tests.sim.recording import NOBODY, Event, Recording

PARTS: Final = Path(__file__).parent / "page"
SCRIPTS: Final = (
    *("run.js", "layout.js", "sheet.js", "drawing.js"),
    *("panel.js", "controls.js"),
)

_NONE: Final = -1


def write(path: Path | str, recording: Recording) -> None:
    """Write the page of that run; `OSError` if that cannot be done."""
    Path(path).write_text(page(recording), encoding="utf-8")


def page(recording: Recording) -> str:
    """The page of that run."""
    data = json.dumps(contents(recording), ensure_ascii=False, separators=(",", ":"))
    parts = {
        "style": (PARTS / "style.css").read_text(encoding="utf-8"),
        "script": "\n".join(
            (PARTS / name).read_text(encoding="utf-8") for name in SCRIPTS
        ),
        # No text of a run may end the element that it stands in.
        "data": data.replace("<", "\\u003c"),
    }
    text = (PARTS / "page.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        before, mark, after = text.partition(f"/*{name}*/")
        assert mark, name
        text = before + part + after
    return text


def contents(recording: Recording) -> dict[str, Any]:
    """What the page's script reads; `tests/sim/page/run.js` has the other end."""
    texts = _Texts()
    processes = sorted(recording.processes.items(), key=_row)
    numbers = {name: number for number, (name, _) in enumerate(processes)}
    events, messages = recording.events, recording.messages
    calls = list(recording.calls.values())
    violation = recording.violation
    return {
        "title": recording.title,
        "command": recording.command,
        "unit": recording.unit,
        "figures": recording.figures,
        "ended": recording.ended_at,
        "start": start(recording),
        "violation": violation
        and {
            "rule": violation.rule,
            "text": violation.text,
            "event": violation.event,
            "calls": [
                number
                for number, call in enumerate(calls)
                if (call.clerk, call.number) in violation.calls
            ],
        },
        "processes": processes,
        "lives": [
            [numbers[life.process], life.began, _or_none(life.ended), life.how]
            for life in recording.lives
        ],
        "events": {
            "after": _steps(event.at for event in events),
            "life": [event.life for event in events],
            "kind": [texts.number(event.kind) for event in events],
            "text": [texts.number(event.text) for event in events],
            "message": [_or_none(event.message) for event in events],
            "where": {n: event.where for n, event in enumerate(events) if event.where},
        },
        "learned": _learned(events),
        "messages": [
            [
                texts.number(told.kind),
                numbers.get(told.to, _NONE),
                told.said,
                _or_none(told.heard),
                told.is_lost + 2 * told.is_routine,
            ]
            for told in messages
        ],
        "calls": [
            [
                *(numbers[call.clerk], call.number, texts.number(call.text)),
                *(call.called, _or_none(call.ended)),
                *(texts.number(call.outcome), texts.number(call.answer)),
            ]
            for call in calls
        ],
        "pauses": [
            [numbers[each.where[0]], each.began, _or_none(each.ended)]
            for each in recording.pauses
        ],
        "faults": [
            [each.kind, each.where, each.began, _or_none(each.ended)]
            for each in recording.faults
        ],
        "states": [_changes(recording.states.get(name, [])) for name in numbers],
        "texts": texts.all,
    }


def start(recording: Recording) -> int:
    """The event at which the page opens: where it is seen that a rule is broken,
    else the first failover, else the first fault, else the first event."""
    violation = recording.violation
    if violation is not None:
        ends = [recording.calls[call].ended for call in violation.calls]
        return max((end for end in ends if end is not None), default=violation.event)
    leader = ""
    for number, event in enumerate(recording.events):
        if event.kind != "role":
            continue
        if recording.state(event.process, number).get("role") == "primary":
            if leader not in {"", event.process}:
                return number
            leader = event.process
    return recording.faults[0].began if recording.faults else 0


def _row(process: tuple[str, str]) -> tuple[int, int, str]:
    """Where it stands: who decides, who serves, who asks."""
    name, kind = process
    return KINDS.index(kind), len(name), name


class _Texts:
    """Texts, each once."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


def _or_none(number: int | None) -> int:
    return _NONE if number is None else number


def _steps(times: Any) -> list[int]:
    """How much later each is than the one before."""
    found, before = [], 0
    for time in times:
        found.append(time - before)
        before = time
    return found


def _learned(events: list[Event]) -> dict[int, list[int]]:
    """What each event's clock has that the one before it in its life had not,
    but for its own count: life, count, life, count, ..."""
    found: dict[int, list[int]] = {}
    clocks: dict[int, tuple[int, ...]] = {}
    for number, event in enumerate(events):
        if event.life == NOBODY:
            continue
        before = clocks.get(event.life, ())
        news = [
            part
            for life, count in enumerate(event.clock)
            if life != event.life
            and count != (before[life] if life < len(before) else 0)
            for part in (life, count)
        ]
        if news:
            found[number] = news
        clocks[event.life] = event.clock
    return found


def _changes(states: list[tuple[int, dict[str, Any]]]) -> list[list[Any]]:
    """For each state: from which event on, what is new, and what is gone."""
    found = []
    before: dict[str, Any] = {}
    for since, state in states:
        new = {key: value for key, value in state.items() if before.get(key) != value}
        gone = [key for key in before if key not in state]
        found.append([since, new, gone])
        before = state
    return found
