"""The address that a server publishes, and who cannot use it."""

from __future__ import annotations

import pytest
from twisted.python.usage import UsageError

from pbserver.advert import Advert, family_fault
from pbserver.service import Options
from wire.messages import Member

ANY, ANY_IPV6 = "tcp:0.0.0.0:7401", "tcp:\\:\\::7401"
LOOPBACK = "tcp:127.0.0.1:7401"


def advert(
    listens_on: str, near: str = "", far: str = "", advertised: str | None = None
) -> Advert:
    it = Advert(advertised)
    it.listening(listens_on)
    it.near, it.far = near, far
    return it


def member(name: str, address: str) -> Member:
    return Member(name, 1, address)


PUBLISHED = {
    "as advertised": (LOOPBACK, "10.0.0.1", "tcp:s1:1", "tcp:s1:1"),
    "where it listens": (LOOPBACK, "10.0.0.1", None, LOOPBACK),
    "the way to the view service": (ANY, "10.0.0.1", None, "tcp:10.0.0.1:7401"),
    "the same by IPv6": (ANY_IPV6, "fd00::1", None, "tcp:fd00\\:\\:1:7401"),
    "IPv4 of a port for both": (ANY_IPV6, "10.0.0.1", None, "tcp:10.0.0.1:7401"),
    "before there is a way": (ANY, "", None, LOOPBACK),
}


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_what_is_published(case: tuple[str, str, str | None, str]) -> None:
    listens_on, near, advertised, expected = case
    assert expected == advert(listens_on, near, advertised=advertised).address


def test_what_is_no_address_for_others() -> None:
    with pytest.raises(ValueError, match="not an address"):
        Advert(None).listening("UNIXAddress('/run/x')")
    it = advert("UNIXAddress('/run/x')", advertised="tcp:s1:1")
    assert it.address == "tcp:s1:1"
    assert it.doubt([]) == ""


FAR = member("s2", "tcp:10.9.0.2:7401")

DOUBTED = {
    "loopback, and another server is not": (
        advert(ANY, "127.0.0.1", "127.0.0.1"),
        FAR,
        "s2 at 10.9.0.2",
    ),
    "loopback, and another server has a name": (
        advert(LOOPBACK, "127.0.0.1", "127.0.0.1"),
        member("s2", "tcp:s2.example:7401"),
        "s2 at s2.example",
    ),
    "listens on loopback, and the view service is elsewhere": (
        advert(LOOPBACK, "10.9.0.1", "10.9.0.3"),
        member("s2", LOOPBACK),
        "the view service at 10.9.0.3",
    ),
    "advertises loopback": (
        advert(ANY, "10.9.0.1", "10.9.0.3", "tcp:localhost:7401"),
        member("s2", LOOPBACK),
        "the view service at 10.9.0.3",
    ),
    "link-local": (
        advert(ANY_IPV6, "fe80::1", "fe80::2"),
        member("s2", LOOPBACK),
        "a link-local address",
    ),
    "by IPv6, and it listens by IPv4": (
        advert(ANY, "fd00::1", "fd00::2"),
        member("s2", "tcp:fd00\\:\\:3:7401"),
        "--listen tcp6:7401",
    ),
}


@pytest.mark.parametrize("case", DOUBTED.values(), ids=DOUBTED.keys())
def test_what_is_doubted(case: tuple[Advert, Member, str]) -> None:
    it, other, words = case
    text = it.doubt([other])
    assert it.address in text
    assert words in text
    assert "--advertise" in text


FINE = {
    "all on one host": (advert(ANY, "127.0.0.1", "127.0.0.1"), LOOPBACK),
    "the view service on its host, by another address": (
        advert(LOOPBACK, "10.9.0.1", "10.9.0.1"),
        LOOPBACK,
    ),
    "others on its host, by another address": (
        advert(LOOPBACK, "10.9.0.1", "127.0.0.1"),
        "tcp:10.9.0.1:7402",
    ),
    "each by its own address": (advert(ANY, "10.9.0.1", "10.9.0.3"), FAR.address),
    "IPv4 to a port for both": (advert(ANY_IPV6, "10.9.0.1", "10.9.0.3"), FAR.address),
    "a name": (advert(ANY, "127.0.0.1", "127.0.0.1", "tcp:s1:7401"), FAR.address),
    "an address that is none": (advert(LOOPBACK), "nonsense"),
    "a number that is no address here": (advert(LOOPBACK), "tcp:127.1:7401"),
    "nothing is known": (advert(LOOPBACK), LOOPBACK),
}


@pytest.mark.parametrize("case", FINE.values(), ids=FINE.keys())
def test_what_is_not_doubted(case: tuple[Advert, str]) -> None:
    it, other = case
    assert it.doubt([member("s1", it.address), member("s2", other)]) == ""


FAMILIES = {
    ("tcp:7401", "tcp:[fd00::1]:7401"): "IPv4 only",
    ("tcp:port=7401", "tcp:[fd00::1]:7401"): "IPv4 only",
    ("tcp:7401:interface=10.0.0.1", "tcp:[fd00::1]:7401"): "IPv4 only",
    ("tcp6:7401:interface=fd00\\:\\:1", "tcp:10.0.0.1:7401"): "IPv6 only",
    ("tcp:7401:interface=\\:\\:1:backlog=5", "tcp:10.0.0.1:7401"): "IPv6 only",
    ("tcp:7401", "tcp:10.0.0.1:7401"): "",
    ("tcp:7401", "tcp:s1.example:7401"): "",
    ("tcp6:7401", "tcp:10.0.0.1:7401"): "",
    ("tcp6:7401:interface=\\:\\:", "tcp:10.0.0.1:7401"): "",
    ("tcp:7401:interface=eth0.example", "tcp:[fd00::1]:7401"): "",
    ("unix:/run/s1", "tcp:[fd00::1]:7401"): "",
    ("systemd:domain=INET:index=0", "tcp:[fd00::1]:7401"): "",
}


@pytest.mark.parametrize(("case", "words"), FAMILIES.items())
def test_the_family_that_is_listened_on(case: tuple[str, str], words: str) -> None:
    text = family_fault(*case)
    assert bool(text) == bool(words)
    assert words in text


ADVERTISED = {
    "a wildcard": ("tcp:0.0.0.0:7401", "wildcard"),
    "the IPv6 wildcard": ("tcp:\\:\\::7401", "wildcard"),
    "nothing": ("", "not an address"),
    "no address": ("10.0.0.1:7401", "not an address"),
    "the other family": ("tcp:[fd00::1]:7401", "IPv4 only"),
}


@pytest.mark.parametrize("case", ADVERTISED.values(), ids=ADVERTISED.keys())
def test_what_cannot_be_advertised(case: tuple[str, str]) -> None:
    address, words = case
    arguments = ["--name", "s1", "--listen", "tcp:7401", "--advertise", address]
    with pytest.raises(UsageError, match="--advertise: ") as refused:
        Options().parseOptions(arguments)
    assert words in str(refused.value)


def test_what_is_typed_in_brackets_is_published_in_the_form_of_the_protocol() -> None:
    options = Options()
    arguments = ["--name", "s1", "--listen", "tcp6:7401", "--advertise"]
    options.parseOptions([*arguments, "tcp:[fd00::1]:7401", "--views", "tcp:[::1]:1"])
    assert options["advertise"] == "tcp:fd00\\:\\:1:7401"
    assert options["views"] == ["tcp:\\:\\:1:1"]
