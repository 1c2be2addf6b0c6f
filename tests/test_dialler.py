"""Calling, on virtual time: when, where, and what the log says of it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure

from tests.recorder import Recorder, said
from tests.test_names import Resolver
from wire.codec import encode
from wire.dialler import (
    CONNECT_S,
    HELLO_LEAST_S,
    HELLO_S,
    LOOKUP_S,
    SETTLED_S,
    Dialler,
)
from wire.messages import (
    BACKUP,
    CLERK,
    PRIMARY,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Attach,
    Goodbye,
    Hello,
    Member,
    View,
)

ONE, TWO = "tcp:127.0.0.1:7400", "tcp:10.0.0.2:7401"
VIEW_HELLO = Hello(VERSION, VIEW_SERVICE, ping_interval_ms=100, dead_pings=5)
REFUSED = "Connection was refused by other side."

SERVER_HELLO = Hello(VERSION, SERVER, member=Member("s1", 7, "tcp:127.0.0.1:7401"))


class World:
    """A dialler and the network, played by hand."""

    def __init__(self, *addresses: str, **options: float) -> None:
        #: What the dialler reports as failed: address and reason.
        self.failed: list[str] = []
        self.reactor = MemoryReactorClock()
        self.resolver = Resolver()
        self.owner = Recorder(Hello(VERSION, CLERK))
        self.dialler = Dialler(
            self.owner,
            CLERK,
            VIEW_SERVICE,
            addresses or (ONE,),
            self.reactor,
            Random(1),
            failed=lambda address, reason: self.failed.append(f"{address} {reason}"),
            names=self.resolver.names,
            **options,
        )

    @property
    def dials(self) -> list[str]:
        return [f"tcp:{host}:{port}" for host, port, *_ in self.reactor.tcpClients]

    def refuse(self, at: int = -1) -> None:
        factory = self.reactor.tcpClients[at][2]
        factory.clientConnectionFailed(None, Failure(Refused()))

    def accept(self, *first: object, at: int = -1) -> None:
        self.transport = StringTransport()
        self.protocol = self.reactor.tcpClients[at][2].buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        for message in first or (VIEW_HELLO,):
            data = message if isinstance(message, bytes) else encode(message)
            self.protocol.dataReceived(data)

    def lose(self, error: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(error or ConnectionLost()))

    def wait_s(self) -> float:
        """Seconds until the next attempt, which begins."""
        before, dials = self.reactor.seconds(), len(self.dials)
        while len(self.dials) == dials:
            assert self.reactor.seconds() < before + 10, "it dials no more"
            self.reactor.advance(0.001)
        return self.reactor.seconds() - before

    def _factory(self):
        return self.reactor.tcpClients[-1][2]


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Event, address and reason of what the dialler logs."""

    class Lines(list):
        def __iter__(self):
            for event in captured:
                if event["log_namespace"] == "wire.dialler":
                    values = event["understudy_values"].values()
                    yield " ".join([event["understudy_event"], *values])

    with capturedLogs() as captured:
        yield Lines()


# -- one connection ------------------------------------------------------------


def test_a_connection_is_made():
    world = World()
    assert world.dials == []
    world.dialler.start()
    world.dialler.start()
    assert world.dials == [ONE]
    assert world.dialler.link is None
    world.accept()
    assert world.owner.heard == ["opened"]
    assert world.owner.links == [world.dialler.link]
    assert world.dialler.link.dialled
    assert world.dialler.link.hello == VIEW_HELLO
    assert [world.owner.greeting] == said(world.transport, CLERK, VIEW_SERVICE)


def test_there_is_no_link_before_the_hello():
    world = World()
    world.dialler.start()
    world.accept(Goodbye("full", "too many"))
    assert world.dialler.link is None
    assert world.owner.heard == []


def test_a_refused_peer_is_no_link():
    world = World()
    world.owner.refusal = Goodbye("cluster", "another")
    world.dialler.start()
    world.accept()
    assert world.dialler.link is None


def test_of_two_servers_the_dialler_speaks_as_primary():
    greet = Attach(View())
    reactor = MemoryReactorClock()
    for roles in [(SERVER, SERVER), (PRIMARY, BACKUP)]:
        owner = Recorder(SERVER_HELLO)
        Dialler(owner, *roles, [ONE], reactor, Random(1)).start()
        protocol = reactor.tcpClients[-1][2].buildProtocol(None)
        protocol.makeConnection(StringTransport())
        protocol.dataReceived(encode(SERVER_HELLO))
        protocol.dataReceived(encode(greet))
        assert owner.heard == ["opened"], "a backup does not greet"
        assert protocol.transport.disconnecting


@pytest.mark.parametrize(
    "addresses", [(), "tcp:127.0.0.1:7400", ["unix:/tmp/x"], [ONE, "10.0.0.1:80"]]
)
def test_what_cannot_be_dialled_is_said_at_once(addresses):
    with pytest.raises(ValueError, match=r"tcp:HOST:PORT|one address or more"):
        Dialler(None, CLERK, VIEW_SERVICE, addresses, MemoryReactorClock(), Random(1))


# -- again ---------------------------------------------------------------------


def test_a_lost_link_is_made_again_almost_at_once():
    world = World()
    world.dialler.start()
    for _ in range(3):
        world.accept()
        world.reactor.advance(SETTLED_S)
        world.lose()
        assert world.dialler.link is None
        assert world.wait_s() <= 0.021


def test_attempts_become_rarer_up_to_a_limit():
    world = World(first_delay_s=0.02, delay_max_s=1.0)
    world.dialler.start()
    waits = []
    for _ in range(10):
        world.refuse()
        waits.append(world.wait_s())
    full = [min(0.02 * 2**n, 1.0) for n in range(10)]
    for wait, most in zip(waits, full, strict=True):
        assert most / 2 - 0.001 <= wait <= most + 0.002
    assert max(waits[-4:]) - min(waits[-4:]) > 0.05, "there is no jitter"


def test_a_connection_that_does_not_come_is_given_up():
    world = World(ONE, TWO, connect_timeout_s=1.0)
    world.dialler.start()
    assert 1.0 <= world.wait_s() <= 1.03
    assert world.dials == [ONE, TWO]


def test_several_addresses_are_tried_in_turn():
    world = World(ONE, TWO)
    world.dialler.start()
    assert world.dialler.address == ONE
    for _ in range(3):
        world.refuse()
        world.wait_s()
    assert world.dials == [ONE, TWO, ONE, TWO]
    assert world.dialler.address == TWO


def test_all_addresses_are_tried_before_the_delay_grows():
    world = World(ONE, TWO)
    world.dialler.start()
    world.refuse()
    world.wait_s()
    world.refuse()
    assert world.wait_s() <= 0.021


def test_an_address_that_worked_is_tried_first():
    world = World(ONE, TWO)
    world.dialler.start()
    world.refuse()
    world.wait_s()
    world.accept()
    world.reactor.advance(SETTLED_S)
    world.lose()
    world.wait_s()
    assert world.dials == [ONE, TWO, TWO]


GOODBYES = {
    "instead of a Hello": [Goodbye("full", "too many")],
    "after the Hello": [VIEW_HELLO, Goodbye("cluster", "another cluster")],
}


@pytest.mark.parametrize("messages", GOODBYES.values(), ids=GOODBYES.keys())
def test_who_is_told_goodbye_does_not_spin(messages):
    world = World()
    world.dialler.start()
    waits = []
    for _ in range(8):
        world.accept(*messages)
        world.lose(ConnectionDone())
        waits.append(world.wait_s())
    assert waits[-1] >= 0.5
    assert sum(waits) > 1.5


# -- names -----------------------------------------------------------------------

NAMED, LATE = "tcp:views.example:7400", "the name views.example is being looked up"


def test_a_name_that_takes_long_to_resolve_is_connected_to(log):
    world = World(NAMED)
    world.dialler.start()
    world.reactor.advance(LOOKUP_S * 0.9)
    assert list(log) == []
    world.reactor.advance(60)
    assert world.dials == []
    world.resolver.answer("views.example", "10.0.0.1")
    assert world.dials == ["tcp:10.0.0.1:7400"]
    world.accept()
    assert world.owner.heard == ["opened"]
    assert world.resolver.asked == ["views.example"]
    assert world.failed == [f"{NAMED} {LATE}, and there is no answer yet"]
    expected = f"lookup.delayed {NAMED} {LATE}, and there is no answer yet"
    assert [expected, f"link.made {NAMED} 192.168.1.1:54321"] == list(log)


def test_the_connection_has_all_its_time_after_the_lookup():
    world = World(NAMED)
    world.dialler.start()
    world.reactor.advance(60)
    world.resolver.answer("views.example", "10.0.0.1")
    world.reactor.advance(CONNECT_S * 0.99)
    assert not world.reactor.connectors[-1].stoppedConnecting
    world.reactor.advance(CONNECT_S * 0.02)
    assert world.reactor.connectors[-1].stoppedConnecting


def test_a_lookup_does_not_keep_another_address_waiting(log):
    world = World(NAMED, ONE)
    world.dialler.start()
    assert LOOKUP_S <= world.wait_s() <= LOOKUP_S + 0.03
    assert world.dials == [ONE]
    assert f"dial.failed {NAMED} {LATE}, and there is no answer yet" in list(log)
    world.resolver.answer("views.example", "10.0.0.1")
    world.refuse()
    world.wait_s()
    assert world.dials == [ONE, "tcp:10.0.0.1:7400"], "what was found is used"


def test_the_next_attempt_uses_the_lookup_that_runs():
    world = World(NAMED, ONE)
    world.dialler.start()
    for _ in range(3):
        world.wait_s()
        world.refuse()
    assert world.resolver.asked == ["views.example"]
    assert world.dials == [ONE] * 3


def test_another_dialler_uses_the_lookup_that_runs():
    world = World(NAMED)
    world.dialler.start()
    assert stops_of(world) == ["stopped"], "a lookup delays no stop"
    assert world.reactor.getDelayedCalls() == []
    names, owner = world.resolver.names, Recorder(Hello(VERSION, CLERK))
    addresses = ["tcp:views.example:7401"]
    Dialler(
        *(owner, CLERK, SERVER, addresses, world.reactor, Random(1)), names=names
    ).start()
    assert world.resolver.asked == ["views.example"]
    world.resolver.answer("views.example", "10.0.0.1")
    assert world.dials == ["tcp:10.0.0.1:7401"]


def test_stop_while_several_addresses_are_dialled():
    world = World(NAMED)
    world.dialler.start()
    world.resolver.answer("views.example", "10.0.0.1", "10.0.0.2")
    world.reactor.advance(0.05)
    stops = stops_of(world)
    assert [each.stoppedConnecting for each in world.reactor.connectors] == [True] * 2
    assert stops == ["stopped"]
    assert world.reactor.getDelayedCalls() == []
    assert world.failed == []


def test_a_name_that_is_not_found(log):
    world = World(NAMED)
    world.dialler.start()
    for _ in range(3):
        world.resolver.answer("views.example")
        asked = len(world.resolver.asked)
        while len(world.resolver.asked) == asked:
            world.reactor.advance(0.01)
    assert [f"dial.failed {NAMED} the name a was not found"] == list(log)
    world.resolver.answer("views.example", "10.0.0.1")
    world.accept()
    assert world.owner.heard == ["opened"]


def connected(*ips: str) -> World:
    """To the first of these, and that has settled; then it was lost."""
    world = World(NAMED)
    world.dialler.start()
    world.resolver.answer("views.example", *ips)
    world.accept()
    world.reactor.advance(SETTLED_S)
    world.lose()
    assert world.wait_s() < 0.03
    return world


def test_what_worked_last_is_dialled_before_its_name_is_looked_up():
    world = connected("10.0.0.1", "10.0.0.2")
    assert world.dials[-1] == "tcp:10.0.0.1:7400"
    world.accept()
    assert world.owner.heard.count("opened") == 2, "although the lookup hangs"
    assert world.resolver.asked == ["views.example"] * 2, "it is refreshed"


def test_a_lookup_that_hangs_delays_no_attempt_at_what_is_known():
    world = connected("10.0.0.1")
    for _ in range(4):
        world.refuse()
        assert world.wait_s() < 0.35
        assert world.dials[-1] == "tcp:10.0.0.1:7400"


def test_where_the_name_leads_now_is_dialled_in_the_same_attempt():
    world = connected("10.0.0.1")
    world.resolver.answer("views.example", "10.0.0.9")
    world.reactor.advance(0.05)
    assert world.dials[-2:] == ["tcp:10.0.0.1:7400", "tcp:10.0.0.9:7400"]
    world.accept()
    assert world.reactor.connectors[-2].stoppedConnecting


def test_all_addresses_of_a_name_are_tried(log):
    world = World(NAMED)
    world.dialler.start()
    world.resolver.answer("views.example", "10.0.0.1", "2001:db8::1")
    world.refuse()
    assert world.dials == ["tcp:10.0.0.1:7400", "tcp:2001:db8::1:7400"]
    world.refuse()
    reasons = f"10.0.0.1: {REFUSED}; 2001:db8::1: {REFUSED}"
    assert [f"dial.failed {NAMED} {reasons}"] == list(log)


def test_a_lookup_that_fails_is_told_beside_what_failed(log):
    world = connected("10.0.0.1")
    world.resolver.answer("views.example")
    world.refuse()
    failed = f"dial.failed {NAMED} 10.0.0.1: {REFUSED}; the name a was not found"
    assert list(log)[-1] == failed


def test_an_address_of_a_name_that_says_no_hello_comes_last():
    world = World(NAMED)
    world.dialler.start()
    world.resolver.answer("views.example", "10.0.0.1", "10.0.0.2")
    world.protocol = world._factory().buildProtocol(None)
    world.protocol.makeConnection(StringTransport())
    world.reactor.advance(HELLO_LEAST_S)
    world.lose(ConnectionDone())
    world.wait_s()
    assert world.dials[-1] == "tcp:10.0.0.2:7400"


# -- waiting for the Hello ----------------------------------------------------------


def patience_s(world: World) -> float:
    """How long a connection that stands is waited on for its Hello."""
    world.protocol = world._factory().buildProtocol(None)
    transport = StringTransport()
    world.protocol.makeConnection(transport)
    begun = world.reactor.seconds()
    while not transport.disconnecting:
        world.reactor.advance(0.01)
        assert world.reactor.seconds() < begun + 10, "it waits for ever"
    waited_s = world.reactor.seconds() - begun
    world.lose(ConnectionDone())
    world.wait_s()
    return waited_s


def near(*seconds: float) -> object:
    return pytest.approx([*seconds], abs=0.02)


def test_a_hello_has_its_time_where_there_is_nothing_else_to_try():
    world = World(ONE)
    world.dialler.start()
    assert [patience_s(world) for _ in range(3)] == near(*[HELLO_S] * 3)


def test_with_another_address_the_patience_grows_with_each_round():
    world = World(ONE, TWO)
    world.dialler.start()
    found = [patience_s(world) for _ in range(10)]
    rounds = [min(HELLO_LEAST_S * 2**n, HELLO_S) for n in range(5)]
    assert found == near(*(each for each in rounds for _ in range(2)))


@pytest.mark.parametrize(
    ("dead_pings", "expected_s"), [(3, HELLO_LEAST_S), (8, 0.8), (1000, HELLO_S)]
)
@pytest.mark.parametrize("addresses", [(ONE,), (ONE, TWO)])
def test_it_is_a_dead_time_once_that_is_known(addresses, dead_pings, expected_s):
    world = World(*addresses)
    world.dialler.start()
    hello = Hello(VERSION, VIEW_SERVICE, ping_interval_ms=100, dead_pings=dead_pings)
    world.accept(hello)
    world.reactor.advance(SETTLED_S)
    world.lose()
    world.wait_s()
    assert [patience_s(world) for _ in range(4)] == near(*[expected_s] * 4)


# -- at once, and never more ---------------------------------------------------


def test_redial_drops_what_is_there():
    world = World()
    world.dialler.start()
    world.accept()
    world.dialler.redial()
    assert world.dialler.link is None
    assert world.transport.disconnected or world.transport.disconnecting
    world.lose()
    assert world.wait_s() <= 0.001
    world.refuse()
    assert world.wait_s() > 0.009, "only once at once"


def test_redial_does_not_wait():
    world = World()
    world.dialler.start()
    for _ in range(8):
        world.refuse()
        world.wait_s()
    world.refuse()
    dials = len(world.dials)
    world.dialler.redial()
    assert len(world.dials) == dials + 1
    world.dialler.redial()
    assert len(world.dials) == dials + 1, "an attempt is under way"


def test_redial_of_what_was_never_started():
    world = World()
    world.dialler.redial()
    assert world.dials == []


def stops_of(world: World) -> list[str]:
    stops: list[str] = []
    world.dialler.stop().addCallback(lambda _: stops.append("stopped"))
    return stops


def test_stop_says_goodbye_first():
    world = World()
    world.dialler.start()
    world.accept()
    stops, again = stops_of(world), stops_of(world)
    assert [] == stops == again
    farewell = said(world.transport, CLERK, VIEW_SERVICE)[-1]
    assert farewell.reason == "stopping"
    world.lose(ConnectionDone())
    assert ["stopped"] == stops == again
    assert world.reactor.getDelayedCalls() == []
    world.reactor.advance(100)
    assert world.dials == [ONE]


def test_stop_while_waiting():
    world = World()
    world.dialler.start()
    world.refuse()
    assert stops_of(world) == ["stopped"]
    assert world.reactor.getDelayedCalls() == []


def test_stop_while_dialling():
    world = World()
    world.dialler.start()
    stops = stops_of(world)
    assert world.reactor.connectors[-1].stoppedConnecting
    world._factory().clientConnectionFailed(None, Failure(ConnectionLost()))
    assert stops == ["stopped"]
    assert world.reactor.getDelayedCalls() == []


def test_stop_what_was_never_started():
    assert stops_of(World()) == ["stopped"]


def test_redial_after_stop_does_nothing():
    world = World()
    world.dialler.start()
    world.accept()
    stops = stops_of(world)
    world.dialler.redial()
    assert not world.transport.disconnected, "the Goodbye is on its way"
    world.lose(ConnectionDone())
    world.dialler.redial()
    world.reactor.advance(100)
    assert stops == ["stopped"]
    assert world.dials == [ONE]


def test_it_may_be_started_again():
    world = World()
    world.dialler.start()
    world.accept()
    stops_of(world)
    world.lose(ConnectionDone())
    world.dialler.start()
    assert world.dials == [ONE, ONE]
    world.accept()
    assert world.dialler.link is not None


# -- what the log says ---------------------------------------------------------


def test_one_line_for_each_change(log):
    world = World()
    world.dialler.start()
    for _ in range(5):
        world.refuse()
        world.wait_s()
    failed = f"dial.failed {ONE} {REFUSED}"
    assert [failed] == list(log)
    world.accept()
    made = f"link.made {ONE} 192.168.1.1:54321"
    assert [failed, made] == list(log)
    world.reactor.advance(SETTLED_S)
    world.lose(ConnectionDone())
    lost = f"link.lost {ONE} connection closed"
    assert [failed, made, lost] == list(log)
    for _ in range(5):
        world.wait_s()
        world.refuse()
    assert [failed, made, lost, failed] == list(log)


def test_one_line_for_each_address(log):
    world = World(ONE, TWO)
    world.dialler.start()
    for _ in range(6):
        world.refuse()
        world.wait_s()
    expected = [f"dial.failed {ONE} {REFUSED}", f"dial.failed {TWO} {REFUSED}"]
    assert expected == list(log)


def test_a_new_reason_is_told(log):
    world = World()
    world.dialler.start()
    world.refuse()
    world.wait_s()
    for _ in range(3):
        world.accept(Goodbye("full", "too many"))
        world.lose(ConnectionDone())
        world.wait_s()
    expected = [
        f"dial.failed {ONE} {REFUSED}",
        f"dial.failed {ONE} goodbye: full: too many",
    ]
    assert expected == list(log)


@pytest.mark.parametrize(
    ("event", "hellos"), [("dial.failed", ()), ("link.lost", (VIEW_HELLO,))]
)
def test_nonsense_is_told_once_with_what_it_is(log, event, hellos):
    world = World()
    world.dialler.start()
    for _ in range(5):
        world.accept(*hellos, b"\0\0\0\x01\xc1")
        world.lose(ConnectionDone())
        world.wait_s()
    (line,) = (line for line in log if not line.startswith("link.made"))
    assert line.startswith(f"{event} {ONE} said goodbye: protocol: ")
    assert "MessagePack data is malformed" in line


def test_a_link_that_comes_and_goes_is_told_once(log):
    world = World()
    world.dialler.start()
    for _ in range(5):
        world.accept(VIEW_HELLO, Goodbye("cluster", "another"))
        world.lose(ConnectionDone())
        world.wait_s()
    made = f"link.made {ONE} 192.168.1.1:54321"
    lost = f"link.lost {ONE} goodbye: cluster: another"
    assert [made, lost] == list(log)
    world.accept()
    assert [made, lost] == list(log)
    world.reactor.advance(SETTLED_S)
    assert [made, lost, made] == list(log)


def test_a_timeout_is_told_with_its_seconds(log):
    world = World(connect_timeout_s=0.5)
    world.dialler.start()
    world.reactor.advance(0.5)
    assert [f"dial.failed {ONE} no connection within 0.5 s"] == list(log)


def test_stopping_is_no_failure():
    world = World()
    with capturedLogs() as captured:
        world.dialler.start()
        world.accept()
        world.dialler.stop()
        world.lose(ConnectionDone())
    names = {
        event["understudy_event"]: event["log_level"]
        for event in captured
        if event["log_namespace"] == "wire.dialler"
    }
    assert {"link.made": LogLevel.info, "link.lost": LogLevel.debug} == names


def test_stopping_while_dialling_is_no_failure(log):
    world = World()
    world.dialler.start()
    world.dialler.stop()
    world._factory().clientConnectionFailed(None, Failure(ConnectionLost()))
    assert list(log) == []


# -- what its owner learns ---------------------------------------------------------


def test_each_failure_is_reported_with_address_and_reason():
    world = World(ONE, TWO)
    world.dialler.start()
    world.refuse()
    world.wait_s()
    world.accept(Goodbye("full", "too many"))
    world.lose(ConnectionDone())
    assert world.failed == [f"{ONE} {REFUSED}", f"{TWO} goodbye: full: too many"]
    world.wait_s()
    world.accept()
    world.lose()
    world.wait_s()
    world.accept()
    world.reactor.advance(SETTLED_S)
    world.lose()
    other = "Connection to the other side"
    lost = f"connection lost: {other} was lost in a non-clean fashion."
    assert world.failed[2:] == [f"{ONE} {lost}", f"{TWO} {lost}"]


def test_what_was_ended_on_purpose_is_no_failure():
    world = World()
    world.dialler.start()
    world.accept()
    world.dialler.redial()
    world.lose()
    world.wait_s()
    world.accept()
    world.dialler.stop()
    world.lose(ConnectionDone())
    assert world.failed == []
