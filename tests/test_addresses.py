"""Addresses that travel: ``tcp:HOST:PORT`` and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.addresses import (
    IPV4,
    IPV6,
    confined,
    family,
    format_address,
    host_of,
    is_loopback,
    is_wildcard,
    normal_address,
    parse_address,
    readable,
    split_address,
)

GOOD = {
    "tcp:127.0.0.1:7400": ("127.0.0.1", 7400),
    "tcp:localhost:1": ("localhost", 1),
    "tcp:db-1.example.org:65535": ("db-1.example.org", 65535),
    "tcp:my_host.:80": ("my_host.", 80),
    "tcp:\\:\\:1:7400": ("::1", 7400),
    "tcp:fe80\\:\\:1\\:2:7400": ("fe80::1:2", 7400),
}

BAD = [
    "",
    "tcp",
    "tcp:",
    "tcp::7400",
    "tcp:127.0.0.1",
    "tcp:127.0.0.1:",
    "tcp:127.0.0.1:0",
    "tcp:127.0.0.1:65536",
    "tcp:127.0.0.1:-1",
    "tcp:127.0.0.1:+1",
    "tcp:127.0.0.1: 1",
    "tcp:127.0.0.1:1 ",
    "tcp:127.0.0.1:\u0661",
    "tcp:127.0.0.1:7400:timeout=900",
    "tcp:host=127.0.0.1:port=7400",
    "TCP:127.0.0.1:7400",
    "127.0.0.1:7400",
    "unix:/run/secret.sock",
    "unix:/run/x:80",
    "ssl:127.0.0.1:7400",
    "tcp:/etc/passwd:80",
    "tcp:a b:80",
    "tcp:a\nb:80",
    "tcp:::1:7400",
    "tcp:\\:\\::1:7400",
    "tcp:\\:\\:1%eth0:7400",
    "tcp:-host:80",
    "tcp:" + "h" * 300 + ":80",
    "tcp:127.0.0.1:" + "9" * 5000,
    "tcp:[]:7400",
    "tcp:[::1:7400",
    "tcp:::1]:7400",
    "tcp:[127.0.0.1]:7400",
    "tcp:[localhost]:7400",
    "tcp:[fe80::1%eth0]:7400",
    "tcp:[\\:\\:1]:7400",
    "tcp:256.0.0.1:80",
    "tcp:127.1:80",
    "tcp:0:80",
    "tcp:0x7f000001:80",
    "tcp:2130706433:80",
    "tcp:127.0.0.01:80",
    "tcp:127.0.0.1.:80",
    "tcp:host.0:80",
]

#: Well formed, and nothing that a connection could be made to.
NOWHERE = {
    "tcp:0.0.0.0:7400": "wildcard",
    "tcp:0.1.2.3:7400": "wildcard",
    "tcp:\\:\\::7400": "wildcard",
    "tcp:[::]:7400": "wildcard",
    "tcp:[0:0:0:0:0:0:0:0]:7400": "wildcard",
    "tcp:[::ffff:0.0.0.0]:7400": "wildcard",
    "tcp:224.0.0.1:7400": "multicast",
    "tcp:[ff02::1]:7400": "multicast",
    "tcp:255.255.255.255:7400": "broadcast",
}


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_good(text, expected):
    assert expected == parse_address(text)
    assert expected[0] == host_of(text)
    assert text == format_address(*expected)


@pytest.mark.parametrize("text", BAD)
def test_bad(text):
    assert host_of(text) == ""
    with pytest.raises(ValueError, match="it must be tcp:HOST:PORT") as refused:
        parse_address(text)
    assert repr(text[:50])[:-1] in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(("text", "why"), NOWHERE.items())
def test_nowhere(text, why):
    with pytest.raises(ValueError, match="no address to connect to") as refused:
        parse_address(text)
    assert why in str(refused.value)
    assert text in str(refused.value).replace("\\\\", "\\")
    host, port = split_address(text)
    assert port == 7400
    assert is_wildcard(host) <= (why == "wildcard")


BRACKETS = {
    "tcp:[::1]:7400": "tcp:\\:\\:1:7400",
    "tcp:[fe80::1]:1": "tcp:fe80\\:\\:1:1",
    "tcp:\\:\\:1:7400": "tcp:\\:\\:1:7400",
    "tcp:localhost:7400": "tcp:localhost:7400",
}


@pytest.mark.parametrize(("text", "expected"), BRACKETS.items())
def test_brackets_are_accepted_and_the_other_form_is_sent(text, expected):
    assert expected == normal_address(text)
    assert parse_address(text) == parse_address(expected)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_number_comes_back(ip, port):
    host = str(ip)
    assert (host, port) == split_address(format_address(host, port))
    if ip.version == 6:
        assert (host, port) == split_address(f"tcp:[{host}]:{port}")


HOSTS = {
    "127.0.0.1": (IPV4, "a loopback address"),
    "127.9.9.9": (IPV4, "a loopback address"),
    "::1": (IPV6, "a loopback address"),
    "::ffff:127.0.0.1": (IPV4, "a loopback address"),
    "localhost": ("", "a loopback address"),
    "LocalHost.": ("", "a loopback address"),
    "s1.localhost": ("", "a loopback address"),
    "localhost.localdomain": ("", "a loopback address"),
    "ip6-loopback": ("", "a loopback address"),
    "fe80::1": (IPV6, "a link-local address"),
    "10.0.0.1": (IPV4, ""),
    "2001:db8::1": (IPV6, ""),
    "localhost.example.org": ("", ""),
    "notlocalhost": ("", ""),
    "db.example.org": ("", ""),
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.items())
def test_what_a_host_shows(host, expected):
    assert expected == (family(host), confined(host))
    assert is_loopback(host) == (expected[1] == "a loopback address")
    assert not is_wildcard(host)


READABLE = {
    "tcp:127.0.0.1:7400": "tcp:127.0.0.1:7400",
    "tcp:\\:\\:1:7400": "tcp:[::1]:7400",
    "s1 at tcp:fd00\\:\\:a\\:1:7401, s2 at tcp:\\:\\:ffff\\:10.0.0.1:1": (
        "s1 at tcp:[fd00::a:1]:7401, s2 at tcp:[::ffff:10.0.0.1]:1"
    ),
    "tcp:7400:interface=\\:\\:1": "tcp:7400:interface=\\:\\:1",
    "tcp:a\\:1": "tcp:a\\:1",
    "a key \\: of someone": "a key \\: of someone",
}


@pytest.mark.parametrize("text", READABLE)
def test_people_read_the_form_with_brackets(text: str) -> None:
    assert readable(text) == READABLE[text]
    for word in READABLE[text].split():
        if "[" in word:
            assert normal_address(word.rstrip(",")) in text
