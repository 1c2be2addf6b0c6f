"""How long a view service waits for servers before it creates a view."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.task import Clock

from pbserver.pinger import Pinger
from viewservice.options import CONNECT_S, REDIAL_S, Settings


@pytest.mark.parametrize(
    ("interval_ms", "dead_pings", "ticks"),
    [(100, 5, 22), (20, 3, 88), (1000, 5, 12), (5, 3, 343)],
)
def test_the_margin_in_ticks(interval_ms: int, dead_pings: int, ticks: int) -> None:
    settings = Settings(ping_interval_ms=interval_ms, dead_pings=dead_pings)
    assert settings.margin_ticks == ticks


def test_it_covers_what_a_server_needs_to_call_again() -> None:
    pinger = Pinger(None, ["tcp:h:1"], Clock(), Random(1))  # type: ignore[arg-type]
    dialler = pinger._dialler
    assert dialler._connect_timeout_s == CONNECT_S
    assert dialler._delay_max_s == REDIAL_S
