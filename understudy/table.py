"""
The status document as people read it.

Pure: from the document of `wire.messages.StatusIs` to lines of text.  Nothing
is left out that somebody may be waiting for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from wire.addresses import as_ip, host_of, is_loopback, readable

#: The newest changes that are shown; ``--json`` has them all.
CHANGES_SHOWN: Final = 5

_HEAD: Final = (
    *("server", "state", "address", "incarnation"),
    *("silent ticks", "commit", "log", ""),
)
#: Columns of numbers.
_RIGHT: Final = frozenset({4, 5, 6})


def status_lines(document: dict[str, Any], today: str) -> list[str]:
    """All of ``understudy status``; *today* is the date of `clock`."""
    lines = [*head_lines(document), f"cluster {document['cluster']}", ""]
    if servers := document["servers"]:
        order = {"primary": 0, "backup": 1, "syncing": 2, "idle": 3, "dead": 4}
        servers = sorted(servers, key=lambda each: order.get(each["state"], 9))
        lines += columns([_HEAD, *(_row(server) for server in servers)], _RIGHT)
    elif document["refused"]:
        lines.append("no server was let in")
    else:
        lines.append("no server has called yet")
    lines += [_refusal(each, document["waiting"]) for each in document["refused"]]
    lines += ["", *_waiting(document)]
    if cut := document.get("cut"):
        lines.append(f"left out, for it would not fit: {cut}")
    if history := document["history"]:
        lines += ["", "last changes, newest first:"]
        for change in reversed(history[-CHANGES_SHOWN:]):
            lines += [f"  {line}" for line in change_lines(change, today)]
    return [_printable(line) for line in lines]


def head_lines(document: dict[str, Any]) -> list[str]:
    """How the cluster is: the view, after what makes it mean less than it seems to."""
    waiting, view = document["waiting"], document["view"]
    if document["memory_lost"]:
        head = (
            "the view service has lost its memory or has an old state, and creates no "
            "view; do not restart the servers: they hold the data"
        )
    elif waiting is not None and waiting["code"] == "lost":
        head = (
            "what was written, if anything, is lost: every server that held it has "
            "stopped or was restarted"
        )
    else:
        return [view_line(view)]
    if view["primary"] is None:
        return [head]
    return [head, f"the newest view that it knows: {view_line(view)}"]


def view_line(view: dict[str, Any]) -> str:
    """``view 7: primary s1, backups s2 (holder); acknowledged``."""
    if view["primary"] is None:
        return "no view yet: nobody serves"
    backups = [
        f"{name} (holder)" if name in view["holders"] else name
        for name in view["backups"]
    ]
    many = "backups" if len(backups) > 1 else "backup"
    return _printable(
        f"view {view['number']}: primary {view['primary']}, "
        f"{many} {', '.join(backups) or 'none'}; "
        f"{'acknowledged' if view['acknowledged'] else 'not acknowledged yet'}"
    )


def change_lines(change: dict[str, Any], today: str) -> list[str]:
    """One change: what the view became, and why, server by server."""
    backups = ", ".join(change["backups"]) or "none"
    when = f"{clock(change['time'], today)}  " if change["time"] else ""
    head = (
        f"{when}view {change['number']}: "
        f"primary {change['primary'] or 'nobody'}, backup {backups}"
    )
    lines = [head, *(f"    {cause_text(cause)}" for cause in change["causes"])]
    return [_printable(line) for line in lines]


def cause_text(cause: dict[str, Any]) -> str:
    """``s1: silent (silent for 5 ticks)``."""
    return f"{cause['server']}: {cause['code']} ({cause['evidence']})"


def _printable(line: str) -> str:
    """*line* for people, with all that is no printable character escaped: names and
    texts come from any process that called the view service, and must not control a
    terminal."""
    line = readable(line)
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in line
    )


def clock(time: str, today: str) -> str:
    """An ISO 8601 time, which is UTC, for people: ``12:34:56.789Z``, with its date
    before it unless that is *today*, ``YYYY-MM-DD``."""
    date, _, of_day = time.partition("T")
    if not of_day:
        return time
    of_day = of_day.removesuffix("+00:00").removesuffix("Z") + "Z"
    return of_day if date == today else f"{date} {of_day}"


def columns(
    rows: Iterable[Sequence[str]], right: frozenset[int] = frozenset()
) -> list[str]:
    """*rows* under each other, those of *right* aligned there."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _row(server: dict[str, Any]) -> tuple[str, ...]:
    position = server["position"]
    return (
        server["name"],
        server["state"],
        readable(server["address"]),
        server["incarnation"][:8],
        str(server["silent_ticks"]),
        str(position["commit"]),
        str(position["log"]),
        _note(server),
    )


def _refusal(refused: dict[str, Any], waiting: dict[str, Any] | None) -> str:
    # What is waited for is said once.
    is_said = waiting is not None and waiting["text"] == refused["text"]
    why = refused["code"] if is_said else refused["text"]
    where = refused["address"]
    if refused.get("calls_from"):
        where += f", called from {refused['calls_from']}"
    return f"refused: {refused['name']} at {where}: {why}"


def _note(server: dict[str, Any]) -> str:
    notes = []
    if server.get("transfer_bytes") is not None:
        notes.append(f"transfer: {server['transfer_bytes'] / 1e6:.1f} MB")
    if (wait := server.get("waiting")) is not None:
        word = "failed" if wait["code"] == "failed" else "waits"
        notes.append(f"{word}: {wait['text']}")
    if _is_seen_elsewhere(server["address"], server.get("calls_from")):
        notes.append(f"calls from {server['calls_from']}")
    if server.get("address_doubt") is not None:
        notes.append("of no use to others at this address, see below")
    return "; ".join(notes)


def _is_seen_elsewhere(address: str, calls_from: str | None) -> bool:
    """Whether a server calls from another IP address than it publishes: its host
    has several, or NAT or a container is in between.  Not a fault by itself."""
    published = as_ip(host_of(address))
    if calls_from is None or published is None or is_loopback(calls_from):
        return False
    return as_ip(calls_from) != published


def _waiting(document: dict[str, Any]) -> list[str]:
    waiting = document["waiting"]
    if waiting is None:
        return ["waiting for nothing"]
    return [f"waiting ({waiting['code']}): {waiting['text']}"]
