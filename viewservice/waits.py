"""
What a view service waits for, in words.

Pure: sentences over what `viewservice.views` knows; no rule.  Nothing may wait
for ever without `status` saying for whom, and what an operator can do
(``docs/design.md``, section 4, rule 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from wire.messages import Member, Wait

if TYPE_CHECKING:
    from viewservice.refusals import Refusal
    from viewservice.views import Views

#: The code of every `Wait` of a view service.
WAITS: Final = {
    "memory lost": "it has forgotten something, and makes no view until restored",
    "settling": "no view is created yet: a server that knows a newer one may call",
    "first server": "no server that could lead the first view is alive",
    "ping": "a change is due, and comes with the next ping of one of these",
    "primary": "nobody eligible is alive; these might call again",
    "lost": "nobody eligible can ever call again",
    "acknowledgement": "the primary has not said that all its backups are in step",
    "backup": "fewer backups than configured, and nobody to recruit",
    "clerks": "all is well here, but clerks cannot reach the primary",
    "address": "a server publishes an address that is of no use to others",
}

#: What to do when no server holds the data any more.
_ANEW: Final = (
    "stop the view service, start it once with --new-cluster, and restart every server"
)


def waiting(
    views: Views,
    refused: Sequence[Refusal] = (),
    complaints: Mapping[str, int] | None = None,
) -> Wait | None:
    """What *views* waits for; None if for nothing at all.  *refused* are servers
    that were turned away recently, *complaints* tells how many clerks cannot
    reach a server."""
    if views.lost:
        return Wait((), "memory lost", views.lost)
    if views.claims or (views.settling and not views.view.number):
        return _settling(views)
    due = tuple(server.member.name for server in views.due())
    if due:
        return Wait(due, "ping", f"a change comes with the next ping of {_or(due)}")
    if views.is_unfounded() and views.primary_is_gone():
        return _first(refused)
    if views.primary_is_gone():
        return _nobody_eligible(views)
    if not views.acknowledged:
        return _acknowledgement(views)
    primary = views.view.primary
    if complaints and primary is not None and complaints.get(primary.name):
        return _clerks(primary, complaints[primary.name])
    if len(views.view.backups) < views.backups_max:
        return _backup(views, refused)
    return None


def doubting(wait: Wait | None, doubts: Mapping[str, str]) -> Wait | None:
    """*wait*, and which servers publish an address that others cannot use: it may
    be the reason, and will be one at the latest after a failover."""
    if not doubts:
        return wait
    text = ". ".join(doubts.values())
    if wait is None:
        return Wait(tuple(doubts), "address", text)
    return Wait(wait.names, wait.code, f"{wait.text}. {text}")


def _settling(views: Views) -> Wait:
    """It may have an old state, and listens for servers that show it."""
    text = f"no view is created for {views.settling} ticks"
    names = tuple(dict.fromkeys(name for name, _ in views.claims))
    if not names:
        text += ": a server that knows an earlier view may call"
        return Wait((), "settling", text)
    text += (
        f", and as long as servers call of which this is true: "
        f"{'; '.join(views.claims.values())}. Then this state is old: restore the "
        f"newest state file. If they do not belong here, stop {_or(names)}"
    )
    return Wait(names, "settling", text)


def _first(refused: Sequence[Refusal]) -> Wait:
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
            ". A server keeps the cluster that it met first, with its data: if that "
            "cluster is the one that you want, stop this view service and start the "
            "one with its state file. If not, restart the server: it is empty then, "
            "and joins this cluster"
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
        if server is None or not server.holds(member):
            seen.append(f"{member.name} (restarted without its data)")
        elif server.stopped:
            seen.append(f"{member.name} (stopped, and its data with it)")
        elif server.leaving:
            # It ends when another server has its data, or at last without that.
            stopping.append(member.name)
            seen.append(f"{member.name} ({server.evidence()[1]})")
        else:
            hoped.append(member.name)
            seen.append(f"{member.name} ({server.evidence()[1]})")
    holds = f"only {' and '.join(seen)} held everything that was answered"
    if hoped:
        one = len(hoped) == 1
        text = (
            f"{holds}; all goes on when {_or(hoped)} calls again, with its memory. Do "
            f"not restart {'it' if one else 'them'} while a process may still live. If "
            f"{'its process has' if one else 'the processes of all of them have'} "
            f"ended, the data is lost: {_ANEW}"
        )
        return Wait(tuple(hoped), "primary", text)
    if stopping:
        text = f"{holds}; the data is lost when {_or(stopping)} has ended"
        return Wait(tuple(stopping), "primary", text)
    # Whether there was any is known to a primary alone: it answers without the view
    # service, and what it reports may be an interval old.
    text = (
        f"{holds}, and what was written, if anything, is lost. To begin again, empty: "
        f"{_ANEW}"
    )
    return Wait((), "lost", text)


def _acknowledgement(views: Views) -> Wait:
    view = views.view
    primary = view.primary.name if view.primary else "nobody"
    behind = [backup for backup in view.backups if backup.name not in views.eligible]
    text = f"{primary} has yet to say that it serves in view {view.counter}"
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


def _clerks(primary: Member, count: int) -> Wait:
    text = (
        f"{count} clerk{'s' * (count != 1)} cannot reach {primary.name} at "
        f"{primary.address}, which pings as ever: look for a firewall between them, "
        "and at its --advertise and its --connections"
    )
    return Wait((primary.name,), "clerks", text)


def _backup(views: Views, refused: Sequence[Refusal]) -> Wait:
    have, want = len(views.view.backups), views.backups_max
    text = f"{have} of {want} backups: no idle server; start another: twistd pbserver"
    serving = {member.name for member in views.view.members()}
    dead_pings = views.roster.dead_pings
    damped = {
        name: server.damping
        for name, server in views.servers.items()
        if name not in serving
        and server.damping.is_waiting(dead_pings)
        and not server.is_dead(dead_pings)
    }
    for name, damping in damped.items():
        left = damping.wait_ticks(dead_pings) - damping.quiet
        text += f". {name} lost its place recently, and is tried again in {left} ticks"
    if refused:
        text += f". Refused: {_refused(refused)}"
    return Wait(tuple(damped), "backup", text)


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)
