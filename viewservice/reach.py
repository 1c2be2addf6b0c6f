"""
Which published addresses other processes cannot use, as the view service sees it.

Pure: sentences for `status`, and no rule.  A server publishes an address, and
the view service sends it to other servers and to clerks.  It knows from which
host each of them connects, so it detects an address that means something else
there (a loopback address, on another host).  It does not know whether a
connection to the address works.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

from wire.addresses import confined, format_address, host_of, is_loopback, split_address
from wire.messages import Member

#: How many others are named in one sentence.
_NAMED: Final = 3


@frozen
class Caller:
    """One connection: which process called, and from which host."""

    #: A server's name, or what kind of process it is: "a clerk".
    who: str
    #: The IP address that it calls from, as seen here.
    host: str
    #: Whether that is this very host.
    is_here: bool

    def is_apart(self, other: Caller) -> bool:
        """Whether the two call from different hosts, as far as it shows."""
        return self.host != other.host and not (self.is_here and other.is_here)


def caller(who: str, far: str, near: str) -> Caller:
    """The process at the other end of a connection between these IP addresses."""
    return Caller(who, far, is_loopback(far) or far == near)


@frozen
class Callers:
    """Everything that is connected: the servers by name, and the others."""

    servers: Mapping[str, Caller] = field(factory=dict)
    others: tuple[Caller, ...] = ()

    def doubts(self, members: Iterable[Member]) -> dict[str, str]:
        """Server -> why its address is of no use to others, and what to do."""
        everybody = (*self.servers.values(), *dict.fromkeys(self.others))
        found = {}
        for member in members:
            its = self.servers.get(member.name)
            if its is not None and (text := _doubt(member, its, everybody)):
                found[member.name] = text
        return found


def _doubt(member: Member, its: Caller, everybody: Iterable[Caller]) -> str:
    away = [f"{each.who} at {each.host}" for each in everybody if its.is_apart(each)]
    why = confined(host_of(member.address))
    if not why or not away:
        return ""
    advertise = format_address("HOST", split_address(member.address)[1])
    named = ", ".join(away[:_NAMED])
    more = f" and {len(away) - _NAMED} more" if len(away) > _NAMED else ""
    return (
        f"{member.name} publishes {member.address}, {why}, of no use to {named}{more}; "
        f"it needs --advertise {advertise}, HOST being what other hosts reach it "
        "by (a restart empties it: wait until another server has its data)"
    )
