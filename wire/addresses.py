"""
Addresses: ``tcp:HOST:PORT``, the one form that is ever dialled.

Pure.  What a process listens on is its operator's choice, any endpoint string
that Twisted knows; but an address travels over the wire into other processes,
which would otherwise dial whatever they are told, sockets of the file system
included (``docs/design.md``, section 8).

HOST is a name, an IPv4 address, or an IPv6 address with each colon written as
``\\:``, as in all endpoint strings: ``tcp:\\:\\:1:7400``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")


def parse_address(text: str) -> tuple[str, int]:
    """The host and the port of *text*.

    Raises ValueError, with the value, for anything but ``tcp:HOST:PORT`` with
    a port from 1 to 65535.
    """
    scheme, _, rest = text.partition(":")
    escaped, _, digits = rest.rpartition(":")
    host = escaped.replace("\\:", ":")
    if scheme != "tcp" or not _is_host(host, escaped) or not _is_port(digits):
        raise ValueError(
            f"not an address: {text[:200]!r}; "
            "it must be tcp:HOST:PORT, such as tcp:127.0.0.1:7400"
        )
    return host, int(digits)


def format_address(host: str, port: int) -> str:
    """The address of *host*, a name or an IP address, and *port*."""
    return f"tcp:{host}:{port}" if ":" not in host else _format_ipv6(host, port)


def _format_ipv6(host: str, port: int) -> str:
    escaped = host.replace(":", "\\:")
    return f"tcp:{escaped}:{port}"


def _is_port(digits: str) -> bool:
    return (
        digits.isascii()
        and digits.isdecimal()
        and len(digits) <= 5
        and 0 < int(digits) < 65536
    )


def _is_host(host: str, escaped: str) -> bool:
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    if escaped.count(":") != escaped.count("\\:") or "%" in host:
        return False
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
