"""How long a view service waits for servers before it creates a view."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from pbserver.pinger import Pinger
from viewservice.options import Settings
from wire.margin import CONNECT_S, HELLO_S, REDIAL_S
from wire.messages import VERSION, VIEW_SERVICE, Hello


@pytest.mark.parametrize(
    ("interval_ms", "dead_pings", "ticks"),
    [(100, 5, 22), (20, 3, 88), (1000, 5, 12), (5, 3, 343)],
)
def test_the_margin_in_ticks(interval_ms: int, dead_pings: int, ticks: int) -> None:
    settings = Settings(ping_interval_ms=interval_ms, dead_pings=dead_pings)
    assert settings.margin_ticks == ticks


@pytest.mark.parametrize("addresses", [["tcp:h:1"], ["tcp:h:1", "tcp:h:2"]])
@pytest.mark.parametrize("dead_pings", [3, 5, 10])
def test_it_covers_what_a_server_needs_to_call_again(
    addresses: list[str], dead_pings: int
) -> None:
    pinger = Pinger(None, addresses, Clock(), Random(1))  # type: ignore[arg-type]
    dialler = pinger._dialler
    assert dialler._connect_timeout_s == CONNECT_S
    assert dialler._delay_max_s == REDIAL_S
    # A server that has data has had a Hello of its view service.
    hello = Hello(VERSION, VIEW_SERVICE, ping_interval_ms=100, dead_pings=dead_pings)
    link = dialler.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1))
    link.hello = hello
    dialler.opened(link)
    assert dialler._hello_patience_s() == max(HELLO_S, dead_pings / 10)
