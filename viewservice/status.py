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
from wire.messages import Change, Report, Wait

NO_CALLERS: Final = Callers()


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
    server."""
    complaints = complaints or {}
    view = views.view
    members = [server.member for server in views.servers.values()]
    doubts = callers.doubts(members)
    return msgspec.json.encode(
        {
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
            "servers": [
                _server(views, server, reports.get(name, Report()))
                | {"clerks_cut_off": complaints.get(name, 0)}
                | _reach(callers.servers.get(name), doubts.get(name))
                for name, server in sorted(views.servers.items())
            ],
            "refused": [
                {
                    "name": each.member.name,
                    "incarnation": f"{each.member.incarnation:016x}",
                    "address": each.member.address,
                    "calls_from": each.caller,
                    "code": each.goodbye.reason,
                    "text": each.goodbye.text,
                }
                for each in refused
            ],
            "waiting": _wait(
                waits.doubting(waits.waiting(views, refused, complaints), doubts)
            ),
            "history": [_change(change) for change in views.history],
            "settings": {
                "ping_interval_ms": interval_ms,
                "dead_pings": views.roster.dead_pings,
                "backups": views.backups_max,
                "ack_gate": "strict" if views.strict else "narrow",
            },
            "memory_lost": bool(views.lost),
        }
    )


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
