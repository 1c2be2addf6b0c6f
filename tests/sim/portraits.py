"""
What there is to see of a process at a moment: plain values, by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from pbserver.backup import Backup
from pbserver.follower import Follower
from pbserver.primary import Primary
from pbserver.replica import Replica
from tests.sim.checker_clerks import OPEN
from tests.sim.clerk import ClerkProcess
from tests.sim.observer import State
from tests.sim.process import Process
from tests.sim.server import ServerProcess
from tests.sim.views import ViewsProcess
from tests.sim.wording import command_text
from viewservice.views import Views
from wire.messages import Wait


def portrait(process: Process) -> State:
    """Its state; nothing of a process that has none of its own."""
    if isinstance(process, ServerProcess):
        return of_replica(process.replica)
    if isinstance(process, ViewsProcess):
        return of_views(process.views)
    return _clerk(process) if isinstance(process, ClerkProcess) else {}


def of_replica(replica: Replica) -> State:
    """A server's state."""
    role, history = replica.role, replica.history
    log = history.log
    state: dict[str, object] = {
        "role": "idle",
        "view": replica.view.counter,
        "commit": history.commit,
        "log": f"{log.base_index + 1}..{log.end}" if log.entries else f"ends {log.end}",
    }
    if isinstance(role, Primary):
        state["role"] = "primary"
        state["round"] = role.round
        for name, follower in role.followers.items():
            state[f"of {name}"] = _follower(follower)
        if not role.may_complete:
            state["founding"] = "may complete nothing yet"
    elif isinstance(role, Backup):
        state["role"] = "backup"
        state["verified"] = role.verified
        if role.incoming is not None:
            state["receiving"] = "a snapshot"
    state["waits"] = _wait(replica.report.waiting)
    return state


def _follower(follower: Follower) -> str:
    """What a primary knows of a backup."""
    words = [f"verified {follower.verified}"]
    words.append("in the commit rule" if follower.joined else "not in the commit rule")
    if follower.synced:
        words.append("synced")
    if follower.transfer is not None:
        words.append("gets a snapshot")
    if follower.link is None:
        words.append("not connected")
    return ", ".join(words)


def of_views(views: Views) -> State:
    """A view service's state."""
    view = views.view
    silent = [
        f"{name} for {server.silent}"
        for name, server in sorted(views.roster.servers.items())
        if server.silent > 1
    ]
    return {
        "view": view.counter,
        "acknowledged": views.acknowledged,
        "primary": view.primary.name if view.primary is not None else "nobody",
        "backups": _names(member.name for member in view.backups),
        "holders": _names(view.holders),
        "eligible": _names(sorted(views.eligible)),
        "unreachable": _names(sorted(views.unreachable)),
        "silent ticks": _names(silent),
        "waits": _wait(views.waiting()),
        "lost": views.lost,
    }


def _clerk(clerk: ClerkProcess) -> State:
    core = clerk.core
    where = core.locator
    session = core.session
    calls = [
        f"{number}: {command_text(call.command)}"
        for number, call in clerk.calls.items()
        if call.outcome == OPEN
    ]
    return {
        "view": where.view.counter,
        "talks to": "nobody" if where.dial is None else where.dial[1].name,
        "connected": where.is_open,
        "open calls": calls,
        "session": "none" if session is None else f"born at {session.opened_index}",
        "unanswered": _names(() if session is None else map(str, session.outstanding)),
        "waits": where.obstacle if calls and not where.is_open else "",
    }


def _wait(wait: Wait | None) -> str:
    if wait is None:
        return ""
    return f"{_names(wait.names)} {wait.text}".strip()


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
