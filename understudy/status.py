"""
``understudy status``: what the view service knows, once, or when it is so far.

With ``--wait acknowledged`` it is asked until there is a view that its primary
serves in with all of its backups up to date: from then on the death of one of
them loses nothing, and if there is a backup at all, stops nothing.
"""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any, Final

from understudy.observer import Observer
from understudy.outcome import DONE, UNAVAILABLE, Ended
from understudy.running import pause, run
from understudy.table import status_lines, view_line
from understudy.text import say
from wire.messages import VIEW_SERVICE, Status, StatusIs

#: Between two questions of ``--wait``, seconds.
_AGAIN_S: Final = 0.05


def main(options: Namespace) -> int:
    """Print it -> the exit code.  Raises `Ended`."""
    raw = run(lambda reactor: _tell(reactor, options))
    if options.json:
        say(raw.decode())
    else:
        say("\n".join(status_lines(json.loads(raw))))
    return DONE


async def _tell(reactor: Any, options: Namespace) -> bytes:
    observer = Observer(reactor, VIEW_SERVICE, options.views)
    try:
        if options.wait is None:
            return await ask_raw(observer, options.timeout)
        return await _wait(reactor, observer, options.timeout)
    finally:
        observer.stop()


async def _wait(reactor: Any, observer: Observer, seconds: float) -> bytes:
    end = reactor.seconds() + seconds
    while True:
        raw = await ask_raw(observer, end - reactor.seconds())
        document = json.loads(raw)
        if is_serving(document):
            return raw
        if reactor.seconds() + _AGAIN_S >= end:
            raise Ended(UNAVAILABLE, _still(document, seconds), "not acknowledged")
        await pause(reactor, _AGAIN_S)


def is_serving(document: dict[str, Any]) -> bool:
    """Whether the view is acknowledged, and its primary still there."""
    view = document["view"]
    return bool(view["acknowledged"]) and state(document, view["primary"]) == "primary"


def is_safe(document: dict[str, Any]) -> bool:
    """Whether it serves with backups, and each of them could take over."""
    backups = document["view"]["backups"]
    return (
        is_serving(document)
        and bool(backups)
        and all(state(document, name) == "backup" for name in backups)
    )


def state(document: dict[str, Any], name: str) -> str | None:
    """What a server is: ``primary``, ``idle``, ...; None: it is not known."""
    for server in document["servers"]:
        if server["name"] == name:
            return str(server["state"])
    return None


def _still(document: dict[str, Any], seconds: float) -> str:
    text = f"not acknowledged after {seconds:g} s: {view_line(document['view'])}"
    waiting = document["waiting"]
    return text if waiting is None else f"{text}. It waits for: {waiting['text']}"


async def ask_raw(observer: Observer, seconds: float) -> bytes:
    """The status document, as it came."""
    return (await observer.ask(Status(), StatusIs, seconds)).document


async def ask(observer: Observer, seconds: float) -> dict[str, Any]:
    """The status document."""
    document: dict[str, Any] = json.loads(await ask_raw(observer, seconds))
    return document
