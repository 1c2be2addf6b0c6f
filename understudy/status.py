"""
``understudy status``: what the view service knows, once, or when it is so far.

With ``--wait acknowledged`` it is asked until there is a view that its primary
serves in with all of the backups that it has up to date, and those may be none.
With ``--wait safe``, until it has as many as the view service was told to have,
each of them alive and up to date: from then on so many deaths lose nothing.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any, Final

from understudy.observer import Observer
from understudy.outcome import DONE, UNAVAILABLE, Ended
from understudy.running import pause, run
from understudy.table import head_lines, status_lines
from understudy.text import say, say_json_text
from understudy.watch import today
from wire.messages import VIEW_SERVICE, Status, StatusIs

#: Between two questions of ``--wait``, seconds.
_AGAIN_S: Final = 0.05


def main(options: Namespace) -> int:
    """Print it -> the exit code.  Raises `Ended`."""
    raw = run(lambda reactor: _tell(reactor, options))
    if options.json:
        say_json_text(raw.decode())
    else:
        say("\n".join(status_lines(json.loads(raw), today())))
    return DONE


async def _tell(reactor: Any, options: Namespace) -> bytes:
    observer = Observer(reactor, VIEW_SERVICE, options.views)
    try:
        if options.wait is None:
            return await ask_raw(observer, options.timeout)
        return await _wait(reactor, observer, options.wait, options.timeout)
    finally:
        observer.stop()


async def _wait(reactor: Any, observer: Observer, what: str, seconds: float) -> bytes:
    end = reactor.seconds() + seconds
    document: dict[str, Any] | None = None
    while True:
        try:
            raw = await ask_raw(observer, end - reactor.seconds())
        except Ended:
            if document is None or not observer.is_open:
                raise
            # The time was up with the last question under way.
            text = _still(document, what, seconds)
            raise Ended(UNAVAILABLE, text, f"not {what}") from None
        document = json.loads(raw)
        if WAITS[what](document):
            return raw
        if reactor.seconds() + _AGAIN_S >= end:
            raise Ended(UNAVAILABLE, _still(document, what, seconds), f"not {what}")
        await pause(reactor, _AGAIN_S)


def is_serving(document: dict[str, Any]) -> bool:
    """Whether the view is acknowledged, and its primary still there."""
    view = document["view"]
    return bool(view["acknowledged"]) and state(document, view["primary"]) == "primary"


def is_safe(document: dict[str, Any]) -> bool:
    """Whether it serves with as many backups as are configured, each of them
    able to take over, and nobody in the view has hung up."""
    view = document["view"]
    connected = {each["name"] for each in document["servers"] if each["connected"]}
    return (
        is_serving(document)
        and len(view["backups"]) >= document["settings"]["backups"]
        and all(state(document, name) == "backup" for name in view["backups"])
        and connected.issuperset((view["primary"], *view["backups"]))
    )


#: What ``--wait`` can wait for.
WAITS: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "acknowledged": is_serving,
    "safe": is_safe,
}


def state(document: dict[str, Any], name: str) -> str | None:
    """What a server is: ``primary``, ``idle``, ...; None: it is not known."""
    for server in document["servers"]:
        if server["name"] == name:
            return str(server["state"])
    return None


def _still(document: dict[str, Any], what: str, seconds: float) -> str:
    text = f"not {what} after {seconds:g} s: {head_lines(document)[0]}"
    waiting = document["waiting"]
    return text if waiting is None else f"{text}. It waits for: {waiting['text']}"


async def ask_raw(observer: Observer, seconds: float) -> bytes:
    """The status document, as it came."""
    return (await observer.ask(Status(), StatusIs, seconds)).document


async def ask(observer: Observer, seconds: float) -> dict[str, Any]:
    """The status document."""
    document: dict[str, Any] = json.loads(await ask_raw(observer, seconds))
    return document
