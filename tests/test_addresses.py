"""Addresses that travel: ``tcp:HOST:PORT`` and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.addresses import format_address, parse_address

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
]


@pytest.mark.parametrize(("text", "expected"), GOOD.items())
def test_good(text, expected):
    assert expected == parse_address(text)
    assert text == format_address(*expected)


@pytest.mark.parametrize("text", BAD)
def test_bad(text):
    with pytest.raises(ValueError, match="it must be tcp:HOST:PORT") as refused:
        parse_address(text)
    assert repr(text[:50])[:-1] in str(refused.value)
    assert len(str(refused.value)) < 400


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_number_comes_back(ip, port):
    host = str(ip)
    assert (host, port) == parse_address(format_address(host, port))
