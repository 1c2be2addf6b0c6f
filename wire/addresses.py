"""
Addresses: ``tcp:HOST:PORT``, the one form that is ever dialled.

Pure.  What a process listens on is its operator's choice, any endpoint string
that Twisted knows; but an address travels over the wire into other processes,
which would otherwise dial whatever they are told, sockets of the file system
included (``docs/design.md``, section 8).

HOST is a name, an IPv4 address, or an IPv6 address with each colon written as
``\\:``, as in all endpoint strings: ``tcp:\\:\\:1:7400``.  An IPv6 address in
brackets, ``tcp:[::1]:7400``, is accepted as well; `normal_address` gives the
one form that is sent.

An address means something only to a process that can reach it.  `confined`
finds what the address itself shows: a loopback address is of no use on another
host.  It cannot see routes, firewalls and NAT.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")

#: The last label of what a resolver reads as an IPv4 address, in all the forms
#: that `inet_aton` knows: 127.1, 0x7f000001, 0.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

#: Names that mean this host on every host (RFC 6761, and Debian's).
_LOOPBACK_NAME: Final = re.compile(
    r"(.*\.)?localhost\.?|localhost\.localdomain|ip6-(localhost|loopback)",
    re.IGNORECASE,
)

#: An address with an IPv6 address, in the form that is sent.
_ESCAPED: Final = re.compile(r"tcp:((?:[0-9A-Fa-f.]|\\:)+):([0-9]+)")

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

IPV4: Final = "IPv4"
IPV6: Final = "IPv6"


def parse_address(text: str) -> tuple[str, int]:
    """The host and the port of *text*.

    Raises ValueError, with the value, for anything but ``tcp:HOST:PORT`` with
    a port from 1 to 65535, and for a host that no connection can be made to.
    """
    host, port = split_address(text)
    if (ip := as_ip(host)) is not None and (fault := _fault(ip)):
        raise ValueError(
            f"{text[:200]!r} is no address to connect to: {host} is {fault}; write "
            "an address of that one host, such as tcp:10.0.0.2:7400"
        )
    return host, port


def split_address(text: str) -> tuple[str, int]:
    """The same for an address that a process listens on, which may be a wildcard."""
    scheme, _, rest = text.partition(":")
    written, _, digits = rest.rpartition(":")
    host = _host(written)
    if scheme != "tcp" or host is None or not _is_port(digits):
        raise ValueError(
            f"not an address: {text[:200]!r}; "
            "it must be tcp:HOST:PORT, such as tcp:127.0.0.1:7400 or tcp:[::1]:7400"
        )
    return host, int(digits)


def host_of(text: str) -> str:
    """The host of an address that came from elsewhere; "" if it is none."""
    try:
        return split_address(text)[0]
    except ValueError:
        return ""


def format_address(host: str, port: int) -> str:
    """The address of *host*, a name or an IP address, and *port*."""
    escaped = host.replace(":", "\\:")
    return f"tcp:{escaped}:{port}"


def normal_address(text: str) -> str:
    """*text* in the one form that is sent.  Raises ValueError as `parse_address`."""
    return format_address(*parse_address(text))


def readable(text: str) -> str:
    """*text* for people: each IPv6 address in it in brackets, which are accepted
    wherever an address is typed, and need no backslashes in a shell."""
    return _ESCAPED.sub(_in_brackets, text)


def _in_brackets(found: re.Match[str]) -> str:
    host = found[1].replace("\\:", ":")
    return f"tcp:[{host}]:{found[2]}" if ":" in host and _is_ipv6(host) else found[0]


def as_ip(host: str) -> IP | None:
    """*host* as an IP address, IPv4 where IPv6 only wraps it; None: it is a name."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def family(host: str) -> str:
    """`IPV4` or `IPV6`; "" for a name, which may have addresses of both."""
    ip = as_ip(host)
    return "" if ip is None else IPV4 if ip.version == 4 else IPV6


def is_wildcard(host: str) -> bool:
    """Whether *host* stands for all addresses of a host that listens."""
    ip = as_ip(host)
    return ip is not None and ip.is_unspecified


def is_loopback(host: str) -> bool:
    """Whether *host* means this host on every host."""
    ip = as_ip(host)
    return _LOOPBACK_NAME.fullmatch(host) is not None if ip is None else ip.is_loopback


def confined(host: str) -> str:
    """Why *host* means something else, or nothing, on another host; "" if the
    address itself does not show that."""
    if is_loopback(host):
        return "a loopback address"
    ip = as_ip(host)
    if ip is not None and ip.version == 6 and ip.is_link_local:
        return "a link-local address"
    return ""


def _fault(ip: IP) -> str:
    """Why no connection can be made to *ip*; "" if there is no such reason."""
    if ip.is_unspecified or (ip.version == 4 and not int(ip) >> 24):
        return "a wildcard, which means all addresses of a host"
    if ip.is_multicast or (int(ip) == 0xFFFFFFFF and ip.version == 4):
        return "a multicast or broadcast address"
    return ""


def _is_port(digits: str) -> bool:
    return (
        digits.isascii()
        and digits.isdecimal()
        and len(digits) <= 5
        and 0 < int(digits) < 65536
    )


def _host(written: str) -> str | None:
    """The host that is *written* so; None if none is."""
    if written.startswith("[") and written.endswith("]"):
        host = written[1:-1]
        return host if ":" in host and _is_ipv6(host) else None
    host = written.replace("\\:", ":")
    if ":" in host:
        is_escaped = written.count(":") == written.count("\\:")
        return host if is_escaped and _is_ipv6(host) else None
    if _NAME.fullmatch(host) is None:
        return None
    if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        # Resolvers accept 127.1, 010.0.0.1 and 0, each in its own way.
        return host if as_ip(host) is not None else None
    return host


def _is_ipv6(host: str) -> bool:
    if "%" in host:
        return False
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
