"""
The rare places of the view service: who may lead, and who is alive.
"""

from __future__ import annotations

from tests.sim.places.place import at, places, wrong

_VIEWS = {
    "memory lost, by a cluster": at("self._lose(text, for_good=False)"),
    "memory lost, by a server that has served": at(
        "self._lose(evidence, for_good=True)"
    ),
    "a server that has not served knows another view": at(
        "if len(self.claims) < CLAIMS_MAX:"
    ),
    "a known counter with other bits": wrong(
        'evidence += f", but another one ({number:016x}) than was created here"'
    ),
    "no view is created for a margin": at(
        "if self.lost or self.settling or not self._may_lead(leader):",
        when="self.settling and not self.lost and self.view.number",
    ),
    "a ping knows an older view": at(
        "if ping.number != view.number or view.primary is None:",
        when="0 < counter_of(ping.number) < view.counter",
    ),
    "a backup becomes eligible": at("self.eligible |= synced"),
    "eligible before all are": at(
        "self.acknowledged = synced == backups",
        when="synced and synced != backups",
    ),
    "a primary names its backup unreachable": at(
        "self.weighed = self.weighed if self.unreachable else 0",
        when="self.unreachable",
    ),
    "a primary takes back that it cannot reach one": at(
        "self.unreachable = backups.intersection(ping.unreachable)",
        when="self.unreachable - set(ping.unreachable)",
    ),
    "a backup accuses its primary": at("self.cut_off |= accuser"),
    "a backup takes it back": at(
        "self.cut_off -= accuser", when="accuser <= self.cut_off"
    ),
    "backups outvote the primary": at(
        "return len(heirs) >= 2 and heirs <= self.cut_off",
        when="len(heirs) >= 2 and heirs <= self.cut_off",
    ),
    "one backup alone cannot outvote": at(
        "return len(heirs) >= 2 and heirs <= self.cut_off",
        when="len(heirs) == 1 and heirs <= self.cut_off",
    ),
    "somebody not eligible calls, and the primary is gone": at(
        "backup = view.backup(member.name)",
        when="not self.is_unfounded() and member.name not in self.eligible",
    ),
    "a first view waits": at(
        "if self.lost or self.settling or not self._may_lead(leader):",
        when="self.settling and not self.view.number",
    ),
    "founding view again": at(
        "return View(counter, leader, founding=True)", when="view.number"
    ),
    "founding view again by the same copy": at(
        "return View(counter, leader, founding=True)",
        when="view.number and any(leader.name == change.primary"
        " for change in self.history)",
    ),
    "a backup has moved to another address": at(
        "# A place that was free before an acknowledgement stays so until then.",
        when="any(each not in view.backups for each in kept)",
    ),
    "too many backups": at("kept = kept[:places]", when="len(kept) > places"),
    "no place is free before the acknowledgement": at(
        "kept = kept[:places]",
        when="not self.acknowledged and len(view.backups) < self.backups_max",
    ),
    "view not made since it is the same": at(
        "if proposed.members() == view.members():", "return False"
    ),
    "view not made since unacknowledged": at(
        "return not self.strict and not all(has(proposed, each) for each in"
        " view.backups)",
        when="all(has(proposed, each) for each in view.backups)",
    ),
    "view not made since the gate is strict": at(
        "return not self.strict and not all(has(proposed, each) for each in"
        " view.backups)",
        when="self.strict and not all(has(proposed, each) for each in view.backups)",
    ),
    "a backup leaves an unacknowledged view": at(
        "self._assert_well_formed(proposed)",
        when="not self.acknowledged and has(proposed, self.view.primary,"
        " as_primary=True)",
    ),
    "a primary is replaced in an unacknowledged view": at(
        "self._assert_well_formed(proposed)",
        when="self.view.number and not self.view.founding and not self.acknowledged"
        " and not has(proposed, self.view.primary, as_primary=True)",
    ),
    "promoted and recruited in one step": at(
        "self._assert_well_formed(proposed)",
        when="not has(proposed, self.view.primary, as_primary=True)"
        " and any(not has(self.view, each) for each in proposed.backups)",
    ),
    "a backup is replaced in one step": at(
        "self._assert_well_formed(proposed)",
        when="has(proposed, self.view.primary, as_primary=True)"
        " and any(not has(proposed, each) for each in self.view.backups)"
        " and any(not has(self.view, each) for each in proposed.backups)",
    ),
    "a restarted backup is listed again": at(
        "self._assert_well_formed(proposed)",
        when="any(self.view.backup(each.name) and not has(self.view, each)"
        " for each in proposed.backups)",
    ),
    "a living primary loses its place": at(
        "self.roster.retired(member.name, code, counts=counts)",
        when="member.is_same_copy(self.view.primary)"
        " and not self.roster.is_dead(member)",
    ),
    "unreachable weighed": at(
        "return self.unreachable - heirs", when="self.unreachable & heirs"
    ),
    "unreachable, and weighed long enough": at(
        "return self.unreachable",
        when="len(heirs) >= 2 and self.unreachable & heirs",
    ),
    "recalled in an unacknowledged view": at(
        "views.acknowledged = memory.acknowledged",
        when="memory.view.number and not memory.acknowledged",
    ),
    "the history is full": at(
        "self.history = (*self.history, change)[-HISTORY_MAX:]",
        when="len(self.history) == HISTORY_MAX",
    ),
}

_ROSTER = {
    "the roster is full": at("if not self._make_room(needed):", "return Goodbye("),
    "a server is forgotten": at(
        "if name not in needed and server.is_dead(self.dead_pings):",
        "del self.servers[name]",
    ),
    "a superseded incarnation calls": at(
        "if incarnation in known.superseded:", "return Goodbye("
    ),
    "the name is in use": at(
        "if known.holds_its_name(self.dead_pings) or link < known.link:",
        when="known.holds_its_name(self.dead_pings)",
    ),
    "a newer incarnation on an older connection": at(
        "if known.holds_its_name(self.dead_pings) or link < known.link:",
        when="not known.holds_its_name(self.dead_pings) and link < known.link",
    ),
    "a name is taken over": at("return self._note(newer, link, ping)"),
    "a ping on an older connection": at(
        "if link < known.link or (link == known.link and not known.connected):",
        "return None",
    ),
    "a hint": at(
        "self.servers[name] = replace(known, connected=False, hint=max(0, hint))"
    ),
    "a hint after silence": at(
        "self.servers[name] = replace(known, connected=False, hint=max(0, hint))",
        when="not self.grace and server.silent",
    ),
    "a second hint": at(
        "self.servers[name] = replace(known, connected=False, hint=max(0, hint))",
        when="server.hint",
    ),
    "a hint that comes too late": at(
        "self.servers[name] = replace(known, connected=False, hint=max(0, hint))",
        when="hint < 0",
    ),
    "a connection lost in the grace": at(
        "self.servers[name] = replace(known, connected=False, hint=max(0, hint))",
        when="self.grace",
    ),
    "a pause takes a hint back": at("self.servers[name] = replace(server, hint=0)"),
    "idle, and waiting for its losses": at(
        "damping = server.damping", "if (", when="damping.is_waiting(dead_pings)"
    ),
    "recruited after it has waited": at(
        "(found if calm else doubtful).append(server.member)", when="not calm"
    ),
    "unreachable, and waits at once": at(
        "if counts and code in LOSSES:", when="code in UNREACHABLE"
    ),
    "several losses": at(
        "damping = server.damping.lost(unreachable=unreachable)",
        when="server.damping.losses",
    ),
    "back from the dead": at(
        "if old is not None and self.is_dead(ping.member):", "del self.servers[name]"
    ),
}

_SERVER = {
    "more incarnations than are remembered": at(
        "kept = gone[-SUPERSEDED_MAX:]",
        when="len(gone) > SUPERSEDED_MAX",
    ),
}

VIEWS = places(
    {
        "viewservice.views": _VIEWS,
        "viewservice.roster": _ROSTER,
        "viewservice.server": _SERVER,
    }
)
