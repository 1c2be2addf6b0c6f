"""
``understudy watch``: every change of the view as it happens, with its causes.

It starts with the view as it is.  A view service that goes away is waited for;
when it is back, and the view has moved on meanwhile, that is shown too.
"""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred

from understudy.observer import Observer
from understudy.outcome import DONE, UNAVAILABLE, Ended, Interrupted
from understudy.running import run
from understudy.table import change_lines
from understudy.text import complain, say, say_json
from wire.messages import VIEW_SERVICE, View, ViewIs


def main(options: Namespace) -> int:
    """Print changes until Ctrl-C -> the exit code.  Raises `Ended`."""
    try:
        run(lambda reactor: _tell(reactor, options))
    except Interrupted:
        return DONE
    raise AssertionError("watching does not end by itself")


async def _tell(reactor: Any, options: Namespace) -> None:
    observer = Observer(reactor, VIEW_SERVICE, options.views)
    ended: Deferred[None] = Deferred()
    shown: list[int] = []
    is_lost = False

    def take(message: ViewIs) -> None:
        nonlocal is_lost
        if is_lost:
            is_lost = False
            complain("the view service is back")
        number = message.view.number
        if shown and number == shown[-1]:
            return
        shown[:] = [number]
        try:
            show(message, as_json=options.json)
        except Exception as error:  # noqa: BLE001 -- it ends the command, not the link
            if not ended.called:
                ended.errback(error)

    def silent() -> None:
        if not shown:
            text = observer.why_silent(options.timeout)
            ended.errback(Ended(UNAVAILABLE, text))

    def lost(reason: str) -> None:
        nonlocal is_lost
        is_lost = True
        complain(f"lost the view service: {reason}")

    observer.on_lost = lost
    observer.watch(take)
    waiting = reactor.callLater(options.timeout, silent)
    try:
        await ended
    finally:
        if waiting.active():
            waiting.cancel()
        observer.stop()


def show(message: ViewIs, *, as_json: bool) -> None:
    """Print one view and how it came about."""
    document = change_document(message)
    if as_json:
        say_json(document)
    elif message.change is None:
        say("view 0: nobody serves yet")
    else:
        say("\n".join(change_lines(document, today())))


def today() -> str:
    """The date, in UTC as all times that are shown."""
    return datetime.now(UTC).date().isoformat()


def change_document(message: ViewIs) -> dict[str, Any]:
    """The view and its causes, in the shape of ``status --json``'s history."""
    view, change = message.view, message.change
    return {
        "number": view.counter,
        "primary": view.primary and view.primary.name,
        "backups": [member.name for member in view.backups],
        "holders": list(view.holders),
        "acknowledged": message.acknowledged,
        "causes": [
            {"server": cause.server, "code": cause.code, "evidence": cause.evidence}
            for cause in (change.causes if change is not None else ())
        ],
        "time": change.time if change is not None else "",
        "cluster": message.cluster.hex(),
    }


def names(view: View) -> tuple[str, ...]:
    """The members of *view* by name, the primary first."""
    return tuple(member.name for member in view.members())
