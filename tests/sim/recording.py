"""
What an observer was told, kept in order, with a vector clock on every event.

Knows nothing of worlds: whoever tells it the story of a run (`tests.sim.observer`)
gets plain records, and `tests.sim.trace_page` draws them.

A vector clock counts the events of every *life*, which is a process from its
start to its end: one event is before another if the other's clock has counted it.
Two lives of a server know nothing of each other but what others tell; the
view service's remember through its disk.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from attrs import define, field

from tests.sim.observer import State
from tests.sim.wording import Wording, shortened

#: An event that belongs to no life: the network's, or the judge's.
NOBODY = -1


class Event(NamedTuple):
    """Something that happened, once."""

    at: int
    #: Empty: it happened to no process, or to several.
    process: str
    life: int
    kind: str
    text: str
    #: The number of the message that was said or heard; None: none was.
    message: int | None
    #: For each life, how many of its events this one knows of, itself included;
    #: of lives past the end: none.
    clock: tuple[int, ...]
    #: Whom it concerns, if it happened to no single process.
    where: tuple[str, ...] = ()


def is_before(one: Event, other: Event) -> bool:
    """Could *one* have had an influence on *other*?"""
    if one is other or NOBODY in {one.life, other.life}:
        return False
    known = other.clock[one.life] if one.life < len(other.clock) else 0
    return known >= one.clock[one.life]


@define
class Life:
    """A process from a start to an end."""

    process: str
    began: int
    ended: int | None = None
    how: str = ""


@define
class Told:
    """A message, from the event that said it to the one that heard it."""

    kind: str
    text: str
    to: str
    said: int
    heard: int | None = None
    is_lost: bool = False
    #: It says nothing but what the last one of its kind did on its connection.
    is_routine: bool = False
    message: object = None


@define
class Spell:
    """What lasted for a while, from one event to another."""

    kind: str
    where: tuple[str, ...]
    began: int
    ended: int | None = None


@define
class Asked:
    """A call of a clerk, from one event to another."""

    clerk: str
    number: int
    text: str
    called: int
    ended: int | None = None
    outcome: str = "open"
    answer: str = ""


@define
class Violated:
    """The rule that was broken, and by what."""

    rule: str
    text: str
    event: int
    calls: tuple[tuple[str, int], ...]


@define
class Recording:
    """An `Observer` that forgets nothing."""

    #: What was run, and the command that runs it again.
    title: str = ""
    command: str = ""
    #: What times count: microseconds ("us") or steps ("step").
    unit: str = "us"

    #: Process -> its kind, in the order of first starts.
    processes: dict[str, str] = field(factory=dict, init=False)
    lives: list[Life] = field(factory=list, init=False)
    events: list[Event] = field(factory=list, init=False)
    messages: list[Told] = field(factory=list, init=False)
    calls: dict[tuple[str, int], Asked] = field(factory=dict, init=False)
    pauses: list[Spell] = field(factory=list, init=False)
    faults: list[Spell] = field(factory=list, init=False)
    #: Process -> from which event on it was in which state.
    states: dict[str, list[tuple[int, dict[str, Any]]]] = field(
        factory=lambda: defaultdict(list), init=False
    )
    violation: Violated | None = field(default=None, init=False)
    figures: dict[str, Any] = field(factory=dict, init=False)
    ended_at: int = field(default=0, init=False)

    _wording: Wording = field(factory=Wording, init=False)
    #: Process -> the number of its present life, or of its last.
    _living: dict[str, int] = field(factory=dict, init=False)
    #: Life -> the clock of its last event.
    _clocks: dict[int, tuple[int, ...]] = field(factory=dict, init=False)
    #: Process -> its first event since it last showed its state.
    _turn: dict[str, int] = field(factory=dict, init=False)
    #: Link -> the messages that are on their way there.
    _flights: dict[Hashable, deque[int]] = field(
        factory=lambda: defaultdict(deque), init=False
    )

    # -- processes ------------------------------------------------------------

    def began(
        self, at: int, process: str, kind: str, *, remembers: bool = False
    ) -> None:
        self.processes.setdefault(process, kind)
        before = self._living.get(process)
        life = self._living[process] = len(self.lives)
        self.lives.append(Life(process, len(self.events)))
        if remembers and before is not None:
            self._clocks[life] = self._clocks[before]
        text = f"{process} starts" + ("" if before is None else " again")
        self._event(at, process, "began", text)

    def ended(self, at: int, process: str, how: str) -> None:
        self._wake(process)
        life = self.lives[self._living[process]]
        life.ended = self._event(at, process, "ended", f"{process} ends: {how}")
        life.how = how

    def paused(self, at: int, process: str) -> None:
        event = self._event(at, process, "paused", f"{process} stands still")
        self.pauses.append(Spell("pause", (process,), event))

    def woke(self, at: int, process: str) -> None:
        self._event(at, process, "woke", f"{process} goes on")
        self._wake(process)

    def _wake(self, process: str) -> None:
        for pause in self.pauses:
            if pause.where == (process,) and pause.ended is None:
                pause.ended = len(self.events) - 1

    def did(self, at: int, process: str, kind: str, text: str) -> None:
        event = self._event(at, process, kind, text)
        if kind != "log":
            # What it heard just before was no routine, then.
            for cause in self.events[self._turn[process] : event]:
                if cause.process == process and cause.kind == "heard":
                    assert cause.message is not None
                    self.messages[cause.message].is_routine = False

    def turned(self, at: int, process: str, state: State) -> None:  # noqa: ARG002
        since = self._turn.pop(process, len(self.events))
        states = self.states[process]
        began = self.lives[self._living[process]].began
        if not states or states[-1][0] < began or states[-1][1] != state:
            states.append((since, dict(state)))

    def state(self, process: str, event: int) -> dict[str, Any]:
        """What was to be seen of that process right after that event."""
        found: dict[str, Any] = {}
        for since, state in self.states[process]:
            if since > event:
                break
            found = state
        return found

    # -- messages -------------------------------------------------------------

    def said(
        self, at: int, process: str, to: str, link: Hashable, message: object
    ) -> None:
        number = len(self.messages)
        kind, text, is_routine = self._wording.said(process, to, link, message)
        event = self._event(at, process, "said", text, message=number)
        told = Told(kind, text, to, event, is_routine=is_routine, message=message)
        self.messages.append(told)
        self._flights[link].append(number)

    def heard(self, at: int, process: str, link: Hashable, message: object) -> None:
        self._wording.heard(process, message)
        flight = self._flights[link]
        for number in list(flight):
            flight.popleft()
            told = self.messages[number]
            if told.message == message:
                told.heard = self._event(
                    at, process, "heard", told.text, message=number
                )
                return
            told.is_lost = True
        raise ValueError(f"{process} hears on {link} what was not said: {message}")

    def lost(self, link: Hashable) -> None:
        for number in self._flights.pop(link, ()):
            self.messages[number].is_lost = True

    # -- calls ----------------------------------------------------------------

    def called(self, at: int, process: str, number: int, text: str) -> None:
        event = self._event(at, process, "called", f"call {number}: {text}")
        self.calls[process, number] = Asked(process, number, text, event)

    def answered(
        self, at: int, process: str, number: int, outcome: str, text: str
    ) -> None:
        call = self.calls[process, number]
        said = f"{outcome}, {text}" if text else outcome
        what = f"call {number} ends: {call.text}: {said}"
        call.ended = self._event(at, process, "answered", what)
        call.outcome, call.answer = outcome, text

    # -- what befalls them ----------------------------------------------------

    def befell(self, at: int, kind: str, where: tuple[str, ...], text: str) -> None:
        self._event(at, "", kind, text, where=where)

    def begins(self, at: int, kind: str, where: tuple[str, ...], text: str) -> None:
        event = self._event(at, "", kind, text, where=where)
        self.faults.append(Spell(kind, where, event))

    def passes(self, at: int, kind: str, where: tuple[str, ...]) -> None:
        event = self._event(at, "", "mended", f"no longer {kind}", where=where)
        for fault in self.faults:
            if (fault.kind, fault.where, fault.ended) == (kind, where, None):
                fault.ended = event

    def violated(
        self, at: int, rule: str, text: str, calls: Iterable[tuple[str, int]] = ()
    ) -> None:
        words = text.replace("#", " ").replace(":", " ").split()
        process = next((word for word in words if word in self._living), "")
        event = self._event(at, process, "violated", shortened(f"{rule}: {text}", 400))
        known = tuple(call for call in calls if call in self.calls)
        self.violation = Violated(rule, shortened(text, 2000), event, known)

    def finished(self, at: int, figures: Mapping[str, object]) -> None:
        self.ended_at = at
        self.figures.update(figures)

    # -- events ---------------------------------------------------------------

    def _event(
        self,
        at: int,
        process: str,
        kind: str,
        text: str,
        *,
        message: int | None = None,
        where: tuple[str, ...] = (),
    ) -> int:
        """Note an event -> its number."""
        number = len(self.events)
        life, clock = NOBODY, ()
        if process:
            life = self._living[process]
            clock = self._clocks[life] = self._counted(life, kind, message)
            self._turn.setdefault(process, number)
        self.events.append(Event(at, process, life, kind, text, message, clock, where))
        return number

    def _counted(self, life: int, kind: str, message: int | None) -> tuple[int, ...]:
        """The clock of that life's next event."""
        clock = list(self._clocks.get(life, ()))
        if kind == "heard" and message is not None:
            known = self.events[self.messages[message].said].clock
            clock += [0] * (len(known) - len(clock))
            for n, count in enumerate(known):
                clock[n] = max(clock[n], count)
        clock += [0] * (life + 1 - len(clock))
        clock[life] += 1
        return tuple(clock)
