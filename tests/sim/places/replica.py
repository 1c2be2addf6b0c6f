"""
The rare places of every server, and of a backup: views, greetings, snapshots.
"""

from __future__ import annotations

from tests.sim.places.place import at, places, wrong

_REPLICA = {
    "promoted with an uncommitted tail": at(
        "primary.begin()", when="self.history.log.end > self.history.commit"
    ),
    "promoted with a snapshot half installed": at(
        "primary = self.role = Primary(",
        when="isinstance(before, Backup) and before.incoming is not None",
    ),
    "promoted again, with later rounds": at(
        "primary = self.role = Primary(", when="self._round > 0"
    ),
    "a primary becomes a backup": at(
        "before.resign(view)", when="view.backup(self.me.name) is not None"
    ),
    "a primary leaves the view": at(
        "before.resign(view)", when="view.backup(self.me.name) is None"
    ),
    "a primary that never heard of its successor's view": at(
        "before.resign(view)", when="view.counter > before.view.counter + 1"
    ),
    "a backup goes on under the same primary": at("backup.continue_from(before)"),
    "a backup gets another primary in a transfer": at(
        "backup = self.role = Backup(view, self.history, self.limits, self._out)",
        when="isinstance(before, Backup) and before.incoming is not None"
        " and not view.primary.is_same_copy(before.view.primary)",
    ),
    "idle with an uncommitted tail": at(
        "self.role = None", when="self.history.log.end > self.history.commit"
    ),
    "a view is skipped": at(
        "before, self.view, self._adopted = self.role, view, True",
        when="0 < self.view.counter < view.counter - 1",
    ),
    "two views before one ping": at(
        "before, self.view, self._adopted = self.role, view, True",
        when="self._adopted",
    ),
    "a clerk is refused": at('self._refuse(link, message, "not primary")'),
    "a clerk's query is refused": at(
        'self._refuse(link, message, "not primary")', when="type(message) is Query"
    ),
    "a greeting tells the view": at(
        "if (refusal := self._learn(view)) is not None:",
        when="view.counter > self.view.counter",
    ),
    "a greeting that the view service must confirm": at("self._adopted = True"),
    "a view of another history": wrong(
        "if view.counter == mine.counter:", "return Goodbye("
    ),
    "greeted for an older view": at('self._refuse(link, greet, "of an older view")'),
    "greeted, and no backup of that view": at(
        'self._refuse(link, greet, "not a backup of that view")'
    ),
    "greeted by another than its primary": wrong(
        'self._refuse(link, greet, "not from that view\'s primary")'
    ),
    "a Forward of an older view": at('self._refuse(link, forward, "of an older view")'),
    "a Forward of a view that was not introduced": at(
        'self._out.ignore(link, forward, "of a view that was not introduced")'
    ),
    "a Forward where nobody was greeted": at(
        'self._out.ignore(link, forward, "not from the primary that greeted")'
    ),
    "a snapshot part where nobody was greeted": at(
        'self._refuse(link, part, "not from the primary that greeted")'
    ),
    "a snapshot part of an older view is taken": at(
        "role.on_snapshot_part(part)",
        when="counter_of(part.view) < self.view.counter",
    ),
    "a refusal tells the view": at(
        "if (refusal := self._learn(message.view)) is not None:",
        when="message.view.counter > self.view.counter",
    ),
    "a backup answers who is primary no more": at(
        'self._out.ignore(link, message, "not primary any more")'
    ),
    "a connection is made when it is needed no more": at(
        "self._links[member.name, member.incarnation] = link",
        when="not isinstance(self.role, Primary)",
    ),
    "a backup names its primary unreachable": at(
        "assert role.view.primary is not None", "return (role.view.primary.name,)"
    ),
    "a backup says that it differs": wrong(
        "return self.role.diverged if isinstance(self.role, Backup) else None",
        when="isinstance(self.role, Backup) and self.role.diverged",
    ),
}

_BACKUP = {
    "a transfer goes on at a backup": at(
        "self.incoming, self.job = before.incoming, before.job",
        when="before.incoming is not None",
    ),
    "greeted on a new connection in a transfer": at(
        "# A transfer lives on one connection.",
        "self._drop_incoming()",
        when="self.incoming is not None",
    ),
    "greeted again on the same connection": at(
        "if link != self.link:", when="link == self.link"
    ),
    "greeted before the echo was sent": at(
        "self.silent_ticks = 0",
        "self._echo = None",
        when="self._echo is not None",
    ),
    "an entry that is verified comes again": at(
        "if entry.index <= verified:", "continue"
    ),
    "a gap between entries": at(
        "if entry.index > verified + 1:", "self.verified = verified"
    ),
    "the primary has committed what is not verified here": at(
        "upto = min(forward.commit, self.verified)",
        when="forward.commit > self.verified",
    ),
    "a backup trims its log": at("history.trim(history.commit)"),
    "a snapshot that is not ahead": at(
        "# It must not replace what was accepted after it.", "self._drop_incoming()"
    ),
    "a snapshot is overtaken while it comes": at(
        "# It must not replace what was accepted after it.",
        "self._drop_incoming()",
        when="self.incoming is not None",
    ),
    "a snapshot begins again": at(
        "self.incoming = Incoming(self.history.fresh())",
        when="self.incoming is not None",
    ),
    "a snapshot part of what was dropped": at(
        'raise ValueError(f"part {part.part} came of what was dropped")'
    ),
    "a snapshot is whole": at("self.history.install(incoming.state)"),
    "the connection is lost in a transfer": at(
        "if link == self.link:",
        "self._drop_incoming()",
        when="self.incoming is not None",
    ),
    "a turn is too short to apply what is committed": at("self._lags = True"),
    "what was accepted is held back": at(
        "accepted = ForwardOk(", when="self._accepted < self.verified"
    ),
    "what was held back is reported": at(
        "if self.verified > self._accepted and self.link is not None:",
        "self._echo = self._round",
    ),
    "a machine is restored in a thread": at("self.job = incoming.job"),
    "a restored machine belongs to no transfer any more": at(
        "return  # The transfer that it was for has ended meanwhile."
    ),
    "the connection is lost before the echo was sent": at(
        "self.link = self._echo = None",
        when="self._echo is not None",
    ),
}

_TRANSFER = {
    "enough parts are unconfirmed": at(
        "if self.ended or self.part - self.confirmed >= limits.parts_unconfirmed_max:",
        when="not self.ended"
        " and self.part - self.confirmed >= limits.parts_unconfirmed_max",
    ),
    "a snapshot part that is not the next": wrong(
        'raise ValueError(f"part {part.part} came, {self.next_part} was due")'
    ),
    "a snapshot part that was changed on its way": wrong(
        'raise ValueError(f"the checksum of part {part.part} does not fit")'
    ),
}

REPLICA = places(
    {
        "pbserver.replica": _REPLICA,
        "pbserver.backup": _BACKUP,
        "pbserver.transfer": _TRANSFER,
    }
)
