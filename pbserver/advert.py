"""
The address that a server publishes, and who cannot use it.

Pure.  Every other server and every clerk dials what is published here, so it
must mean this server on their hosts, too.  What the addresses themselves show
is checked; routes, firewalls and NAT are not seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from wire.addresses import (
    IPV4,
    IPV6,
    confined,
    family,
    format_address,
    host_of,
    is_loopback,
    is_wildcard,
    parse_address,
    split_address,
)
from wire.messages import Member

#: What an endpoint string says of the interface; a colon in it is escaped.
_INTERFACE: Final = re.compile(r":interface=((?:[^:\\]|\\.)*)")

#: What to publish in a Hello before any connection shows this host's address.
_NO_WAY: Final = "127.0.0.1"


@define
class Advert:
    """What one server publishes.

    Raises ValueError for an endpoint that gives no address for others.
    """

    #: What the operator said, or None.
    advertised: str | None

    #: Where it listens, ``tcp:HOST:PORT``; "" before it does.
    listens_on: str = field(default="", init=False)

    #: The address of this host on the way to the view service, and that of the
    #: view service as it is dialled; "" before the first connection.
    near: str = field(default="", init=False)
    far: str = field(default="", init=False)

    def listening(self, endpoint: str) -> None:
        """It listens on *endpoint*.  Raises ValueError if others cannot be given
        that, and nothing else is advertised."""
        if self.advertised is None:
            split_address(endpoint)
        self.listens_on = endpoint

    @property
    def address(self) -> str:
        """As advertised; else where it listens, with this host's address on the
        way to the view service in place of a wildcard."""
        if self.advertised is not None:
            return self.advertised
        if not self.listens_on:
            return format_address(_NO_WAY, 1)
        host, port = split_address(self.listens_on)
        return format_address(self.near or _NO_WAY if is_wildcard(host) else host, port)

    def doubt(self, members: Iterable[Member]) -> str:
        """Why the view service or one of *members* cannot connect to the address;
        "" if nothing shows that."""
        host, port = parse_address(self.address)
        others = ((each.name, host_of(each.address)) for each in members)
        for who, other in (("the view service", self.far), *others):
            if not other or other in {self.near, host} or is_loopback(other):
                continue  # On this host, too, or no evidence of another.
            if why := confined(host):
                return (
                    f"{self.address} is {why}, of no use to {who} at {other}; this "
                    f"server needs --advertise tcp:HOST:{port}, HOST being what other "
                    "hosts reach it by (a restart empties it: wait until another "
                    "server has its data)"
                )
        return self._family_doubt(host, port)

    def _family_doubt(self, host: str, port: int) -> str:
        if self.advertised is not None or not self.listens_on:
            return ""  # Checked when it was typed.
        listens = family(split_address(self.listens_on)[0])
        if listens != IPV4 or family(host) != IPV6:
            return ""  # An IPv6 wildcard takes IPv4 as well.
        return (
            f"{self.address} is an {IPV6} address, and this server listens by {IPV4} "
            f"only; it needs --listen tcp6:{port}, which takes both, or --advertise (a "
            "restart empties it: wait until another server has its data)"
        )


def family_fault(listen: str, advertised: str) -> str:
    """Why nobody can reach *advertised* if the server listens on *listen*, both as
    they are typed: it is of the other IP family.  "" if that does not show."""
    host, port = parse_address(advertised)
    takes = _families(listen)
    if not takes or family(host) in takes | {""}:
        return ""
    [listens] = takes
    other = f"tcp6:{port}" if listens == IPV4 else f"tcp:{port}"
    return (
        f"{advertised} is an {family(host)} address, and --listen {listen} takes "
        f"{listens} only; advertise an {listens} address, or --listen {other}"
    )


def _families(listen: str) -> set[str]:
    """The IP families that an endpoint takes; none if the string does not show it."""
    scheme = listen.partition(":")[0]
    if scheme not in {"tcp", "tcp6"}:
        return set()
    found = _INTERFACE.search(listen)
    interface = found[1].replace("\\:", ":") if found else ""
    if not interface:
        interface = "0.0.0.0" if scheme == "tcp" else "::"  # noqa: S104 -- to compare
    if family(interface) == IPV6 and is_wildcard(interface):
        return {IPV4, IPV6}
    return {family(interface)} - {""}
