"""
Why a view differs from the one before it.

Pure: words and evidence over what `viewservice.views` knows; no rule.  Every
change carries them, into the log, to watchers and into `status`
(``docs/design.md``, section 4, rule 11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from wire.bounds import EVIDENCE_MAX, shortened
from wire.messages import Cause, Member, View

if TYPE_CHECKING:
    from viewservice.views import Views

#: The code of every `Cause`.
CAUSES: Final = {
    "first": "no view, or none in which anything was answered, existed before",
    "promoted": "the primary is gone, and this was the first eligible to ping",
    "place free": "recruited: alive, in no view, and first in line",
    "silent": "no ping for as many ticks as mean death",
    "disconnected": "its connection was lost, and it did not call again in time",
    "restarted": "its name has called under a new incarnation",
    "leaving": "it said that it is stopping",
    "unreachable": "a backup that the primary cannot reach",
    "cut off": "a primary whom no eligible backup hears, and they are two or more",
    "stuck": "a primary that pings, and does none of its own work",
    "moved": "the same copy of the data under another address",
    "surplus": "the view had more backups than are configured",
}


def of_change(views: Views, proposed: View) -> Iterator[Cause]:
    """Why each server goes, comes or changes its part on the way from the view
    that *views* is in to *proposed*."""
    for member in views.view.members():
        if not _same_copy(proposed, member):
            yield _cause(member.name, *_why_gone(views, member))
    for member in proposed.members():
        yield from _why_there(views.view, member, proposed)


def _cause(name: str, code: str, evidence: str) -> Cause:
    return Cause(name, code, shortened(evidence, EVIDENCE_MAX))


def _why_gone(views: Views, member: Member) -> tuple[str, str]:
    server = views.servers.get(member.name)
    if server is not None and not server.holds(member):
        if member.is_same_copy(server.member):
            return "restarted", "another incarnation has taken its name"
        return "restarted", (
            f"incarnation {member.incarnation:016x} is now "
            f"{server.member.incarnation:016x}"
        )
    if server is not None and views.roster.is_dead(member):
        return server.evidence()
    primary = views.view.primary
    if member.is_same_copy(primary) and views.roster.is_stuck(member):
        return "stuck", f"no progress for {server.stuck if server else 0} ticks"
    if member.is_same_copy(primary):
        return "cut off", "unreachable from " + ", ".join(sorted(views.cut_off))
    if member.name in views.unreachable and primary is not None:
        return "unreachable", f"unreachable from {primary.name}"
    most = views.backups_max
    are = "backup is" if most == 1 else "backups are"
    return "surplus", f"at most {most} {are} configured"


def _why_there(old: View, member: Member, proposed: View) -> Iterator[Cause]:
    name, before = member.name, _same_copy(old, member)
    if proposed.founding:
        yield _cause(name, "first", "the first to ping, and nothing was answered yet")
    elif before is None:
        yield _cause(name, "place free", "alive, in no view, and first in line")
    elif member == proposed.primary and not member.is_same_copy(old.primary):
        yield _cause(name, "promoted", "eligible, and the first such to ping")
    elif member != before:
        yield _cause(name, "moved", f"is now at {member.address}")


def _same_copy(view: View, member: Member) -> Member | None:
    return next((each for each in view.members() if each.is_same_copy(member)), None)
