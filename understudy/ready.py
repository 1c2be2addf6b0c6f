"""
``understudy ready NAME``: reports by exit code, to a supervisor, if a server is ready.

There are two questions, which the view service answers.  ``--to serve``: is the
server primary, a backup that is up to date, or idle?  ``--to stop``: if it stops
now, does another living server hold everything that was answered?  With
``--wait`` the question is repeated until the answer is yes.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from typing import Any, Final

from understudy.observer import Observer
from understudy.outcome import DONE, REFUSED, Ended
from understudy.running import pause, run
from understudy.status import ask_raw
from understudy.text import say, say_json
from wire.messages import VIEW_SERVICE

#: Between two questions of ``--wait``, seconds.
_AGAIN_S: Final = 0.05

#: What a server that is not ready to serve does, by its state in the document.
_UNREADY: Final = {
    "syncing": "is a backup that is still being brought up",
    "dead": "is dead, stopped or stopping",
}


def main(options: Namespace) -> int:
    """Say whether it is ready -> the exit code.  Raises `Ended`."""
    raw = run(lambda reactor: _ask(reactor, options))
    document = json.loads(raw)
    if options.json:
        ready = {"name": options.name, "to": options.to, "ready": True}
        say_json({**ready, "state": _state(document, options.name)})
    else:
        say(f"{options.name} is ready to {options.to}")
    return DONE


async def _ask(reactor: Any, options: Namespace) -> bytes:
    observer = Observer(reactor, VIEW_SERVICE, options.views)
    obstacle_to = OBSTACLES[options.to]
    end = reactor.seconds() + options.timeout
    try:
        while True:
            raw = await ask_raw(observer, end - reactor.seconds())
            obstacle = obstacle_to(json.loads(raw), options.name)
            if not obstacle:
                return raw
            if not options.wait or reactor.seconds() + _AGAIN_S >= end:
                text = f"{options.name} is not ready to {options.to}: {obstacle}"
                raise Ended(REFUSED, text, "not ready")
            await pause(reactor, _AGAIN_S)
    finally:
        observer.stop()


def obstacle_to_serving(document: dict[str, Any], name: str) -> str:
    """Why that server does not do its part; "": it does."""
    server = _server(document, name)
    if server is None:
        return f"the view service knows no server called {name}"
    if document["memory_lost"]:
        return "the view service has lost its memory, and refuses every server"
    state = server["state"]
    if state in _UNREADY:
        return f"it {_UNREADY[state]}"
    if not server["connected"]:
        return "it has lost its connection to the view service"
    if _is_lost(document):
        return (
            "every server that held the data has stopped or was restarted, so none can "
            "become primary; `understudy status` says what to do"
        )
    view = document["view"]
    if state == "primary" and view["founding"] and not view["acknowledged"]:
        return "its view is a founding one and not acknowledged"
    return ""


def obstacle_to_stopping(document: dict[str, Any], name: str) -> str:
    """What is lost if that server stops now; "": nothing that was answered."""
    if _server(document, name) is None:
        return f"the view service knows no server called {name}"
    if document["memory_lost"]:
        return "the view service has lost its memory; nobody could take over"
    view = document["view"]
    unfounded = view["founding"] and not view["acknowledged"]
    if name not in view["eligible"] or unfounded or _is_lost(document):
        return ""
    for other in view["eligible"]:
        found = _server(document, other)
        if other == name or found is None:
            continue
        if found["state"] in {"primary", "backup"} and found["connected"]:
            return ""
    states = {other: _state(document, other) for other in view["backups"]}
    coming = [other for other, state in states.items() if state == "syncing"]
    text = "no other living server holds everything that was answered"
    if coming:
        text += f"; {', '.join(coming)} is being brought up"
    return text


#: What ``--to`` can ask -> what finds the obstacle.
OBSTACLES: Final[dict[str, Callable[[dict[str, Any], str], str]]] = {
    "serve": obstacle_to_serving,
    "stop": obstacle_to_stopping,
}


def _is_lost(document: dict[str, Any]) -> bool:
    """Whether nothing that was answered is in any server that may still live."""
    waiting = document["waiting"]
    return waiting is not None and waiting["code"] == "lost"


def _server(document: dict[str, Any], name: str) -> dict[str, Any] | None:
    for server in document["servers"]:
        if server["name"] == name:
            return dict(server)
    return None


def _state(document: dict[str, Any], name: str) -> str:
    server = _server(document, name)
    return "unknown" if server is None else str(server["state"])
