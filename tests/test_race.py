"""Several IP addresses of one host, on virtual time."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from wire.race import NEXT_ADDRESS_S, ConnectFailed, Race


class World:
    """A race, and the attempts that it makes, ended by hand."""

    def __init__(self, *ips: str, sync: str = "") -> None:
        self.clock = Clock()
        self.dialled: dict[str, Deferred[Protocol]] = {}
        self.given_up: list[str] = []
        self._sync = sync
        self.race = Race(self._dial, self.clock)
        self.outcome: list[object] = []
        self.race.over.addBoth(self._over)
        self.race.add(ips)

    def _over(self, result: object) -> None:
        self.outcome.append(getattr(result, "value", result))

    def _dial(self, ip: str) -> Deferred[Protocol]:
        assert ip not in self.dialled, "each address once"
        attempt: Deferred[Protocol] = Deferred(lambda _: self.given_up.append(ip))
        self.dialled[ip] = attempt
        if self._sync:
            self.fail(ip, self._sync)
        return attempt

    def fail(self, ip: str, why: str = "refused") -> None:
        self.dialled[ip].errback(OSError(why))

    def connect(self, ip: str) -> Protocol:
        protocol = Protocol()
        self.dialled[ip].callback(protocol)
        return protocol


def test_the_next_is_dialled_after_a_moment() -> None:
    world = World("1", "2", "3")
    assert [*world.dialled] == ["1"]
    world.clock.advance(NEXT_ADDRESS_S / 2)
    assert [*world.dialled] == ["1"]
    world.clock.advance(NEXT_ADDRESS_S / 2)
    assert [*world.dialled] == ["1", "2"]
    world.clock.advance(NEXT_ADDRESS_S)
    assert [*world.dialled] == ["1", "2", "3"]


def test_the_next_is_dialled_at_once_after_a_failure() -> None:
    world = World("1", "2", "3")
    world.fail("1")
    assert [*world.dialled] == ["1", "2"]
    world.clock.advance(NEXT_ADDRESS_S * 0.9)
    assert [*world.dialled] == ["1", "2"], "it has its time, too"


def test_the_first_connection_wins_and_the_rest_is_given_up() -> None:
    world = World("1", "2", "3")
    world.clock.advance(NEXT_ADDRESS_S)
    protocol = world.connect("2")
    assert world.outcome == [protocol]
    assert world.race.winner == "2"
    assert world.given_up == ["1"]
    world.race.add(["4"])
    world.clock.advance(10)
    assert [*world.dialled] == ["1", "2"]
    assert world.clock.getDelayedCalls() == []


def test_it_fails_when_all_have_failed_and_says_why_for_each() -> None:
    world = World("1", "2")
    world.fail("1", "refused")
    assert world.outcome == []
    world.fail("2", "no route")
    [error] = world.outcome
    assert isinstance(error, ConnectFailed)
    assert str(error) == "1: refused; 2: no route"
    assert world.clock.getDelayedCalls() == []


def test_attempts_may_fail_at_once() -> None:
    world = World("1", "2", "3", sync="no route")
    assert [*world.dialled] == ["1", "2", "3"]
    assert [str(each) for each in world.outcome] == [
        "1: no route; 2: no route; 3: no route"
    ]
    assert world.clock.getDelayedCalls() == []


def test_what_is_found_later_joins_in() -> None:
    world = World("1")
    world.race.add(["1", "2"])
    assert [*world.dialled] == ["1"]
    world.clock.advance(NEXT_ADDRESS_S)
    assert [*world.dialled] == ["1", "2"]
    world.clock.advance(1)
    world.race.add(["3"])
    assert [*world.dialled] == ["1", "2", "3"]
    assert world.connect("3") in world.outcome


def test_cancelling_gives_all_up() -> None:
    world = World("1", "2")
    world.clock.advance(NEXT_ADDRESS_S)
    world.race.over.cancel()
    assert world.given_up == ["1", "2"]
    assert [type(each) for each in world.outcome] == [CancelledError]
    assert world.clock.getDelayedCalls() == []
