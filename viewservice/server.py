"""
What a view service knows of one server.

Pure: a value.  Nothing here decides who serves; it says whether a server is
alive, and by what evidence it is not (``docs/design.md``, section 4, rules 4
to 6).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from viewservice.damping import NO_LOSS, Damping
from viewservice.memory import Known
from wire.messages import Member

#: How many incarnations that lost their name are remembered for each name.  One
#: that is older than all of these would be taken for new, which is harmless
#: (what it holds is looked at, never believed) but lets two processes fight
#: over a name.
SUPERSEDED_MAX: Final = 16

#: The link of a server that has not called since the view service started:
#: older than any that there can be.
NO_LINK: Final = -1


class Server(Struct, frozen=True, gc=False):
    """One server, as its newest incarnation shows it.  Times are in ticks."""

    member: Member
    #: The newest connection that it has pinged on; only pings on it count.
    link: int = NO_LINK
    connected: bool = False
    #: Ticks since its last ping.
    silent: int = 0
    #: Ticks that a lost connection counts for, on top of the silence.
    hint: int = 0
    #: It said that it is stopping.
    leaving: bool = False
    #: It said Goodbye when it closed its connection: the process has ended, and its
    #: memory is gone.  One that is *leaving* may take that back.
    stopped: bool = False
    #: What its last pings have shown of its own work, and for how many ticks with
    #: a ping that has not changed; 0: it shows nothing.
    progress: int = 0
    stuck: int = 0
    #: What the places that it has lost cost it.
    damping: Damping = NO_LOSS
    #: Has this incarnation been a member of a view?
    served: bool = False
    #: The state machine that it replicates, as its Hello names it.
    machine: str = ""
    #: Earlier incarnations of this name that were in a view, oldest first; never
    #: taken again.
    superseded: tuple[int, ...] = ()
    #: The last of them, until this one has been in a view itself.
    past: Member | None = None

    def holds(self, member: Member) -> bool:
        """Whether this is that very copy of the data, and may still call."""
        return (
            member.is_same_copy(self.member)
            and member.incarnation not in self.superseded
        )

    def is_dead(self, dead_pings: int) -> bool:
        """Silent for too long, or gone by its own word."""
        return self.leaving or self.silent + self.hint >= dead_pings

    def holds_its_name(self, dead_pings: int) -> bool:
        """Whether another incarnation must be refused.  A lost connection is a
        hint and takes no name away; silence for the whole dead time does, and a
        Goodbye.  One that is leaving may still pass its data on."""
        return not self.stopped and self.silent < dead_pings

    def is_stuck(self, dead_pings: int) -> bool:
        """Whether it pings, and has done no work for as long as means death."""
        return self.stuck >= dead_pings

    def evidence(self) -> tuple[str, str]:
        """Code and words for why it counts as dead, if it does."""
        ticks = f"silent for {self.silent} tick{'s' * (self.silent != 1)}"
        if self.leaving:
            return "leaving", "said that it is stopping"
        if self.hint or not self.connected:
            return "disconnected", f"not connected, {ticks}"
        return "silent", ticks

    def fingerprint(self, dead_pings: int) -> tuple[object, ...]:
        """Equal for servers that no rule tells apart."""
        dead = self.is_dead(dead_pings)
        return (
            self.member,
            self.link,
            self.connected,
            dead,
            0 if dead else self.silent,
            0 if dead else self.hint,
            self.leaving,
            self.is_stuck(dead_pings) or self.stuck,
            self.damping,
            self.served,
            self.stopped,
            self.superseded,
            self.past,
        )


def superseding(old: Server, member: Member) -> Server:
    """*member* takes the name over from another incarnation.  One that was in no
    view held nothing, and any caller can claim to be one: it is forgotten."""
    new = Server(member, damping=old.damping)
    if not old.served:
        return replace(new, superseded=old.superseded, past=old.past)
    gone = (*old.superseded, old.member.incarnation)
    kept = gone[-SUPERSEDED_MAX:]
    return replace(new, superseded=kept, past=old.member)


def recalled(known: Known, dead_pings: int) -> Server:
    """What is still known after a restart of the view service."""
    server = Server(known.member, superseded=known.superseded, served=known.served)
    if known.served and not known.stopped:
        return server
    # Its name is free, and only later incarnations may take it.
    past = None if known.served else known.member
    return replace(server, past=past, stopped=True, silent=dead_pings)
