"""
Messages, commands and answers in few words, and which messages are routine.

A message is routine if it says nothing but what the last one of its kind said
on its connection: most pings, most heartbeats.  A heartbeat that is sent for the
sake of a read is none, nor is its echo.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from wire.commands import AnyAnswer, AnyCommand, Failed, Scan
from wire.messages import (
    Attach,
    Batch,
    BatchAnswer,
    BatchRefused,
    CloseSession,
    DigestAt,
    DigestIs,
    Entry,
    Forward,
    ForwardOk,
    Goodbye,
    Hello,
    LogPosition,
    OpenSession,
    Ping,
    Query,
    QueryAnswer,
    Redirect,
    Report,
    SessionClosed,
    SessionOpened,
    SnapshotPart,
    SnapshotPartOk,
    Status,
    StatusIs,
    Unreachable,
    View,
    ViewIs,
    Watch,
    counter_of,
)

#: Texts are cut here; a page is no archive.
TEXT_MAX: Final = 160

_commands = msgspec.msgpack.Decoder(list[AnyCommand]).decode
_answers = msgspec.msgpack.Decoder(list[AnyAnswer]).decode


class Words(NamedTuple):
    """A message, in words."""

    kind: str
    text: str
    is_routine: bool


def shortened(text: str, length_max: int = TEXT_MAX) -> str:
    """The beginning, with a mark where something is missing."""
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


class Wording:
    """Puts messages into words, and remembers what was said before."""

    def __init__(self) -> None:
        #: (link, type) -> what the last one of that type said there.
        self._last: dict[tuple[Hashable, type], object] = {}
        #: Who has been asked by a clerk since it last began a round, and the
        #: rounds (primary, view, number) that answer such a question.
        self._asked: set[str] = set()
        self._rounds: set[tuple[str, int, int]] = set()

    def said(self, process: str, to: str, link: Hashable, message: object) -> Words:
        """*process* says that."""
        text = shortened(told(message))
        is_routine = self._is_routine(link, message)
        if isinstance(message, Forward):
            is_routine &= not self._is_for_read(process, message)
        elif isinstance(message, ForwardOk):
            is_routine &= (to, message.view, message.round) not in self._rounds
        return Words(type(message).__name__, text, is_routine)

    def heard(self, process: str, message: object) -> None:
        """*process* hears that."""
        if isinstance(message, Query):
            self._asked.add(process)

    def _is_for_read(self, process: str, forward: Forward) -> bool:
        this = (process, forward.view, forward.round)
        if process in self._asked:
            self._asked.discard(process)
            self._rounds.add(this)
        return this in self._rounds

    def _is_routine(self, link: Hashable, message: object) -> bool:
        if isinstance(message, Hello | Watch):
            return True
        news = _news(message)
        place = (link, type(message))
        last = self._last.get(place)
        self._last[place] = news
        return news is not None and news == last


def _news(message: object) -> object:
    """What is equal in two messages if the second is routine; None: nothing."""
    if isinstance(message, Ping):
        return replace(message, serial=0, report=Report(), progress=0)
    if isinstance(message, ViewIs):
        return message.view.number, message.acknowledged
    if isinstance(message, Forward) and not message.entries:
        return message.view, message.commit
    if isinstance(message, ForwardOk):
        return message.view, message.verified, message.commit
    return None


# -- messages -----------------------------------------------------------------


def told(message: object) -> str:
    """A message in words; whatever is no message of ours speaks for itself."""
    words = _WORDS.get(type(message))
    return str(message) if words is None else words(message)


def view_text(view: View) -> str:
    """Who serves; a star marks a holder."""
    if view.primary is None:
        return f"view {view.counter}: nobody"
    stars = dict.fromkeys(view.holders, "*")
    backups = ", ".join(f"{m.name}{stars.get(m.name, '')}" for m in view.backups)
    text = f"view {view.counter}: {view.primary.name} with {backups or 'nobody'}"
    return f"founding {text}" if view.founding else text


def _ping(ping: Ping) -> str:
    text = f"ping: knows view {counter_of(ping.number)}"
    if ping.synced:
        text += f", synced: {', '.join(ping.synced)}"
    if ping.unreachable:
        text += f", cannot reach {', '.join(ping.unreachable)}"
    return text + ", is leaving" * ping.leaving


def _view_is(said: ViewIs) -> str:
    text = view_text(said.view)
    return f"{text}, acknowledged" if said.acknowledged else text


def _span(entries: tuple[Entry, ...]) -> str:
    first, last = entries[0].index, entries[-1].index
    return f"entry {first}" if first == last else f"entries {first}..{last}"


def _forward(forward: Forward) -> str:
    committed = f"committed to {forward.commit}, round {forward.round}"
    if not forward.entries:
        return committed
    requests = "; ".join(_request(entry.request) for entry in forward.entries[:4])
    return f"{_span(forward.entries)}, {committed}: {requests}"


def _request(request: object) -> str:
    if isinstance(request, Batch):
        return commands_text(request.body)
    return "opens a session" if isinstance(request, OpenSession) else "closes a session"


_WORDS: Final[dict[type, Any]] = {
    Hello: lambda m: f"hello from a {m.role} that knows view {counter_of(m.number)}",
    Goodbye: lambda m: f"goodbye, {m.reason}: {m.text}",
    Ping: _ping,
    ViewIs: _view_is,
    Watch: lambda _: "tell me the view, and each new one",
    Status: lambda _: "asks for the status",
    StatusIs: lambda m: f"the status, {len(m.document)} bytes",
    Unreachable: lambda m: f"cannot reach {m.name}",
    DigestAt: lambda m: f"asks for the digest at {m.index or 'where it is'}",
    DigestIs: lambda m: f"the state at {m.index}: {m.digest.hex()[:16] or 'no digest'}",
    Attach: lambda m: f"your primary in {view_text(m.view)}; where do you stand?",
    LogPosition: lambda m: f"stands at {m.index} (of view {m.entry_view})",
    Forward: _forward,
    ForwardOk: lambda m: f"has {m.verified}, applied {m.commit}, round {m.round}",
    Redirect: lambda m: f"not from you: {view_text(m.view)}",
    SnapshotPart: lambda m: f"snapshot as of {m.index}, part {m.part}",
    SnapshotPartOk: lambda m: f"has part {m.part}",
    OpenSession: lambda _: "open a session",
    CloseSession: lambda _: "close the session",
    SessionOpened: lambda m: f"session opened by entry {m.opened_index}",
    SessionClosed: lambda _: "session closed",
    Batch: lambda m: f"batch {m.sequence}: {commands_text(m.body)}",
    BatchAnswer: lambda m: f"batch {m.sequence}: {answers_text(m.body)}",
    BatchRefused: lambda m: f"batch {m.sequence} refused: {m.reason}",
    Query: lambda m: f"query {m.id}: {commands_text(m.body)}",
    QueryAnswer: lambda m: f"query {m.id}: {answers_text(m.body)}",
}


# -- commands and answers -----------------------------------------------------


def commands_text(body: bytes) -> str:
    """The commands in a body."""
    try:
        return ", ".join(command_text(command) for command in _commands(body))
    except msgspec.DecodeError:
        return f"{len(body)} bytes"


def answers_text(body: bytes) -> str:
    """The answers in a body."""
    try:
        answers = _answers(body)
    except msgspec.DecodeError:
        return f"{len(body)} bytes"
    return ", ".join(
        each.code if isinstance(each, Failed) else value_text(each.value)
        for each in answers
    )


def command_text(command: AnyCommand) -> str:
    """A command as one would type it."""
    name = type(command).__name__.lower()
    if isinstance(command, Scan):
        return name
    values = [getattr(command, each) for each in command.__struct_fields__]
    return " ".join((name, *(value_text(value) for value in values)))


def value_text(value: object) -> str:
    """A key or a value; of a long one its end, which tells the most."""
    if value is None:
        return "nothing"
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
        return text if len(text) <= 24 else "…" + text[-23:]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"{len(list(value))} pairs"
    return str(value)
