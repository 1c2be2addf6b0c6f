"""
Everything that a view service knows, as a document for people and programs.

Pure.  This is what `Status` is answered with and what ``understudy status
--json`` prints (``docs/design.md``, section 10).  More fields may come; those
there are stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from viewservice import waits
from viewservice.reach import Caller, Callers
from viewservice.refusals import Refusal
from viewservice.server import Server
from viewservice.views import Views
from wire.bounds import FRAME_BYTES_MAX
from wire.messages import Change, Report, Wait

NO_CALLERS: Final = Callers()

#: The longest document: what else is in a `StatusIs` fits beside it.
DOCUMENT_BYTES_MAX: Final = FRAME_BYTES_MAX - 1024


def document(
    views: Views,
    reports: Mapping[str, Report],
    interval_ms: int,
    refused: Sequence[Refusal] = (),
    callers: Callers = NO_CALLERS,
    *,
    complaints: Mapping[str, int] | None = None,
) -> bytes:
    """UTF-8 JSON.  *reports* are what the servers last told of themselves,
    *refused* are those that were turned away recently, *callers* is everything
    that is connected, and *complaints* tells how many clerks cannot reach a
    server.

    What does not fit into a frame is left out, and ``cut`` says what.
    """
    doubts = callers.doubts([server.member for server in views.servers.values()])
    wait = waits.waiting(views, refused, complaints)
    whole = {
        **_settled(views, interval_ms),
        "servers": [
            _server(views, server, reports.get(name, Report()))
            | {"clerks_cut_off": (complaints or {}).get(name, 0)}
            | _reach(callers.servers.get(name), doubts.get(name))
            for name, server in sorted(views.servers.items())
        ],
        "refused": [_refusal(each) for each in refused],
        "waiting": _wait(waits.doubting(wait, doubts)),
        "history": [_change(change) for change in views.history],
        "cut": None,
    }
    encoded = msgspec.json.encode(whole)
    for cut in _CUTS:
        if len(encoded) <= DOCUMENT_BYTES_MAX:
            break
        whole = whole | cut(whole)
        encoded = msgspec.json.encode(whole)
    return encoded


def _without_history(whole: dict[str, Any]) -> dict[str, Any]:
    return {"history": whole["history"][-1:], "cut": "the history but for its end"}


def _without_waits(whole: dict[str, Any]) -> dict[str, Any]:
    servers = [{**server, "waiting": None} for server in whole["servers"]]
    return {"servers": servers, "cut": f"{whole['cut']}; what servers wait for"}


#: What is left out, one after the other, until the document fits; without both it
#: does, however long the names are (tests/test_status_document.py).
_CUTS: Final = (_without_history, _without_waits)


def _settled(views: Views, interval_ms: int) -> dict[str, Any]:
    """What is as long as a view."""
    view = views.view
    return {
        "cluster": views.cluster.hex(),
        "view": {
            "number": view.counter,
            "id": f"{view.number:016x}",
            "primary": view.primary and view.primary.name,
            "backups": [backup.name for backup in view.backups],
            "holders": list(view.holders),
            "eligible": sorted(views.eligible),
            "acknowledged": views.acknowledged,
            "founding": view.founding,
        },
        "settings": {
            "ping_interval_ms": interval_ms,
            "dead_pings": views.roster.dead_pings,
            "backups": views.backups_max,
            "ack_gate": "strict" if views.strict else "narrow",
        },
        "memory_lost": bool(views.lost),
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "name": refusal.member.name,
        "incarnation": f"{refusal.member.incarnation:016x}",
        "address": refusal.member.address,
        "calls_from": refusal.caller,
        "code": refusal.goodbye.reason,
        "text": refusal.goodbye.text,
    }


def state(views: Views, server: Server) -> str:
    """One of ``primary``, ``backup``, ``syncing``, ``idle`` and ``dead``."""
    view, member = views.view, server.member
    if views.roster.is_dead(member):
        return "dead"
    if member.is_same_copy(view.primary):
        return "primary"
    if member.is_same_copy(view.backup(member.name)):
        return "backup" if member.name in views.eligible else "syncing"
    return "idle"


def _server(views: Views, server: Server, report: Report) -> dict[str, Any]:
    return {
        "name": server.member.name,
        "incarnation": f"{server.member.incarnation:016x}",
        "address": server.member.address,
        "state": state(views, server),
        "silent_ticks": server.silent,
        "connected": server.connected,
        "position": {"commit": report.commit, "log": report.log},
        "waiting": _wait(report.waiting),
        "transfer_bytes": report.transfer_bytes,
    }


def _reach(caller: Caller | None, doubt: str | None) -> dict[str, Any]:
    return {
        "calls_from": caller and caller.host,
        "address_doubt": doubt,
    }


def _wait(wait: Wait | None) -> dict[str, Any] | None:
    if wait is None:
        return None
    return {"for": list(wait.names), "code": wait.code, "text": wait.text}


def _change(change: Change) -> dict[str, Any]:
    return {
        "number": change.number,
        "primary": change.primary,
        "backups": list(change.backups),
        "causes": [
            {"server": cause.server, "code": cause.code, "evidence": cause.evidence}
            for cause in change.causes
        ],
        "time": change.time,
    }
