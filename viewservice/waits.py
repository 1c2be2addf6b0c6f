"""
What a view service waits for, in words.

Pure: sentences over what `viewservice.views` knows; no rule.  Nothing may wait
for ever without `status` saying for whom, and what an operator can do
(``docs/design.md``, section 4, rule 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from viewservice.server import NEVER
from wire.messages import Wait

if TYPE_CHECKING:
    from viewservice.refusals import Refusal
    from viewservice.views import Views

#: The code of every `Wait` of a view service.
WAITS: Final = {
    "memory lost": "it has forgotten something, and makes no view until restored",
    "settling": "it started without a view, and listens for who might know one",
    "first server": "no server that could lead the first view is alive",
    "ping": "a change is due, and comes with the next ping of one of these",
    "primary": "nobody eligible is alive; these might call again",
    "lost": "nobody eligible can ever call again",
    "acknowledgement": "the primary has not said that all its backups are in step",
    "backup": "fewer backups than configured, and nobody to recruit",
}


def waiting(views: Views, refused: Sequence[Refusal] = ()) -> Wait | None:
    """What *views* waits for; None if for nothing at all.  *refused* called of
    late, in vain."""
    if views.lost:
        return Wait((), "memory lost", views.lost)
    due = tuple(server.member.name for server in views.due())
    if due:
        return Wait(due, "ping", f"a change comes with the next ping of {_or(due)}")
    if views.is_unfounded() and views.primary_is_gone():
        return _first(views, refused)
    if views.primary_is_gone():
        return _nobody_eligible(views)
    if not views.acknowledged:
        return _acknowledgement(views)
    if len(views.view.backups) < views.backups_max:
        return _backup(views, refused)
    return None


def _first(views: Views, refused: Sequence[Refusal]) -> Wait:
    if not views.view.number and views.roster.grace:
        text = (
            f"the first view is made in {views.roster.grace} ticks, unless somebody "
            "calls who knows of an earlier one"
        )
        return Wait((), "settling", text)
    if refused:
        text = f"every server that has called was refused: {_refused(refused)}"
        return Wait((), "first server", text)
    text = "no server is alive; start one: twistd pbserver"
    return Wait((), "first server", text)


def _refused(refused: Sequence[Refusal]) -> str:
    """Who, and what would help."""
    text = ", ".join(f"{each.member.name} ({each.goodbye.reason})" for each in refused)
    if any(each.goodbye.reason == "cluster" for each in refused):
        text += (
            ". A server keeps the cluster that it met first, with its data: to have it "
            "join this one, empty, restart it"
        )
    return text


def _nobody_eligible(views: Views) -> Wait:
    """Who holds all the data, and whether it can be hoped for."""
    hoped: list[str] = []
    stopping: list[str] = []
    seen: list[str] = []
    for member in views.view.members():
        if member.name not in views.eligible:
            continue
        server = views.servers.get(member.name)
        if server is None or not member.is_same_copy(server.member):
            seen.append(f"{member.name} (restarted without its data)")
        elif server.leaving:
            # It ends by its own decision, and its memory with it.
            if server.connected:
                stopping.append(member.name)
            seen.append(f"{member.name} ({server.evidence()[1]})")
        else:
            hoped.append(member.name)
            seen.append(f"{member.name} ({server.evidence()[1]})")
    holds = f"only {', '.join(seen)} held everything that was answered"
    if hoped:
        text = (
            f"{holds}; all goes on when {_or(hoped)} calls again. If that cannot be, "
            "the data is lost: start the view service with --new-cluster, and the "
            "servers anew"
        )
        return Wait(tuple(hoped), "primary", text)
    if stopping:
        text = f"{holds}; the data is lost when {_or(stopping)} has ended"
        return Wait(tuple(stopping), "primary", text)
    text = (
        f"{holds}, and the data is lost. To begin anew, empty: start the view service "
        "with --new-cluster, and the servers anew"
    )
    return Wait((), "lost", text)


def _acknowledgement(views: Views) -> Wait:
    view = views.view
    primary = view.primary.name if view.primary else "nobody"
    behind = [backup for backup in view.backups if backup.name not in views.eligible]
    text = f"{primary} has yet to say that it serves in view {view.number}"
    if behind:
        names = tuple(backup.name for backup in behind)
        text += f" with {', '.join(names)} brought up to date"
        dead = [backup.name for backup in behind if views.roster.is_dead(backup)]
        if dead and views.strict:
            text += (
                f"; {', '.join(dead)} died before that, and --ack-gate strict lets no "
                "backup go before an acknowledgement"
            )
        return Wait(names, "acknowledgement", text)
    return Wait((primary,), "acknowledgement", text)


def _backup(views: Views, refused: Sequence[Refusal]) -> Wait:
    have, want = len(views.view.backups), views.backups_max
    text = f"{have} of {want} backups: no idle server; start another: twistd pbserver"
    serving = {member.name for member in views.view.members()}
    doubted = tuple(
        name
        for name, server in views.servers.items()
        if name not in serving
        and server.doubted != NEVER
        and not server.is_dead(views.roster.dead_pings)
    )
    if doubted:
        text += f". {', '.join(doubted)} could not be reached, and is tried again later"
    if refused:
        text += f". Refused: {_refused(refused)}"
    return Wait(doubted, "backup", text)


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)
