"""The view service's shell, in memory: what is told to whom, and when."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, capturedLogs

from tests.stories import CLUSTER, member
from viewservice.options import Settings
from viewservice.roster import SERVERS_MAX
from viewservice.service import ViewService
from viewservice.state_file import StateFile, Volatile, decode
from wire.codec import ProtocolError
from wire.messages import (
    CLERK,
    OBSERVER,
    SERVER,
    VERSION,
    Goodbye,
    Hello,
    Member,
    Message,
    Ping,
    Report,
    Status,
    StatusIs,
    Unreachable,
    ViewIs,
    Wait,
    Watch,
    counter_of,
    view_number,
)
from wire.seldom import BURST_MAX

SEEDS = itertools.count()


class Caller:
    """A link to the service, and what it was told on it."""

    def __init__(
        self,
        world: World,
        hello: Hello,
        far_host: str = "127.0.0.1",
        near_host: str = "127.0.0.1",
    ) -> None:
        self.far_host, self.near_host = far_host, near_host
        world.link_count += 1
        self.id = world.link_count
        self.hello = hello
        self.peer = f"caller {self.id}"
        self.world = world
        self.told: list[Message] = []
        self.farewell: Goodbye | None = None
        self.is_patient = False
        self.refused = world.service.link_opened(self)

    def send(self, message: Message) -> None:
        self.told.append(message)
        self.world.told.append((self, message))

    def goodbye(self, reason: str, text: str) -> None:
        self.send(Goodbye(reason, text))

    def ping(self, number: int, **more: Any) -> Message:
        assert self.hello.member
        self.say(Ping(len(self.told) + 1, self.hello.member, number, **more))
        return self.told[-1]

    def say(self, *messages: Message) -> None:
        """All in one turn."""
        for message in messages:
            self.world.service.received(self, message)
        self.world.reactor.advance(0)

    def leave(self, *farewell: str) -> None:
        self.farewell = Goodbye(*farewell) if farewell else None
        self.world.service.link_closed(self, "gone")

    def service_view(self) -> int:
        """The counter of the view that there is."""
        return self.world.service.views.view.counter

    def pushes(self) -> list[int]:
        """The numbers of the views that it was told unasked."""
        views = [each for each in self.told if isinstance(each, ViewIs)]
        return [each.view.number for each in views if not each.answers]


class NoBits(Random):
    """Draws no bits for views, so that a number is a counter."""

    def getrandbits(self, k: int, /) -> int:
        return 0 if k == 32 else super().getrandbits(k)


class Quick(Settings):
    """Begins to create views after three ticks."""

    margin_ticks = 3


class World:
    """A service that has begun, on a reactor in memory."""

    def __init__(self, path: Path | None, **settings: Any) -> None:
        self.settings = Quick(dead_pings=3, **settings)
        storage = Volatile() if path is None else StateFile(path)
        self.reactor = MemoryReactorClock()
        random = NoBits(next(SEEDS))
        #: Why the process would have ended.
        self.failures: list[str] = []
        self.service = ViewService(
            *(self.settings, storage, self.reactor, random), self.failures.append
        )
        self.link_count = 0
        self.told: list[tuple[Caller, Message]] = []
        self.service.startService()

    def server(self, who: str) -> Caller:
        return Caller(self, Hello(VERSION, SERVER, member=member(who)))

    def caller(self, role: str) -> Caller:
        return Caller(self, Hello(VERSION, role))

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.advance(self.settings.ping_interval_ms / 1000)

    def status(self) -> dict[str, Any]:
        asker = self.caller(OBSERVER)
        asker.say(Status())
        answer = asker.told[-1]
        assert isinstance(answer, StatusIs)
        document: dict[str, Any] = json.loads(answer.document)
        return document

    def pair(self) -> tuple[Caller, Caller]:
        """The view (A; B), acknowledged."""
        a, b = self.server("A"), self.server("B")
        self.tick(3)
        a.ping(0)
        b.ping(0)
        a.ping(1)
        a.ping(2, synced=("B",))
        b.ping(2)
        assert self.service.views.acknowledged
        return a, b


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


# -- remembered before told ---------------------------------------------------------


def test_f13_whatever_is_told_is_on_disk(path: Path) -> None:
    world = World(path)

    class Suspicious(list[tuple[Caller, Message]]):
        def append(self, told: tuple[Caller, Message]) -> None:
            message, memory = told[1], decode(path.read_bytes())
            if isinstance(message, ViewIs):
                assert message.view == memory.view
                assert message.acknowledged == memory.acknowledged
                assert message.cluster == memory.cluster
                assert message.change in {None, *memory.history}
            super().append(told)

    world.told = Suspicious()
    watcher = world.caller(CLERK)
    watcher.say(Watch())
    a, b = world.pair()
    c = world.server("C")
    c.ping(0)
    a.leave()
    world.tick(2)
    b.ping(2)
    assert watcher.pushes() == [0, 1, 2, 3]
    assert c.pushes() == [3]


def test_the_disk_is_not_touched_by_pings_that_say_nothing_new(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(path)
    a, b = world.pair()
    monkeypatch.setattr(StateFile, "_sync_directory", lambda _: pytest.fail("synced"))
    for _ in range(5):
        a.ping(2, synced=("B",), report=Report(commit=9))
        b.ping(2)
        world.tick()


@pytest.mark.parametrize("first", ["a view", "a lost memory"])
def test_nothing_is_told_that_could_not_be_remembered(
    path: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(path)
    a, b = world.pair()
    c = world.server("C")

    def full(_: StateFile) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StateFile, "_sync_directory", full)
    before = len(world.told)
    if first == "a view":
        a.say(Ping(9, member("A"), 2, unreachable=("B",)))
    else:
        cluster = world.service.views.cluster
        Caller(world, Hello(VERSION, SERVER, cluster, 3, member("A")))
    b.say(Ping(9, member("B"), 2))
    c.say(Status())
    world.tick(5)
    assert len(world.told) == before
    assert world.failures == [f"cannot write {path}: No space left on device"]
    assert world.server("D").refused is not None


# -- who is told of a new view, and who is asked for a ping ---------------------------


def test_a_new_view_is_told_to_all_at_once(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    watcher, asker, silent = (world.caller(role) for role in (CLERK, OBSERVER, CLERK))
    watcher.say(Watch())
    asker.say(Status())
    c, d = world.server("C"), world.server("D")
    c.ping(0)
    before = len(world.told)
    a.ping(2, unreachable=("B",))
    told = [
        (caller, message.answers)
        for caller, message in world.told[before:]
        if isinstance(message, ViewIs) and message.view.number == 3
    ]
    # Who asked is answered first, and only answered; servers before watchers.
    assert told[0] == (a, len(a.told))
    assert told[1:] == [(b, 0), (c, 0), (d, 0), (watcher, 0)]
    assert silent.told == []


def test_watching_is_being_told_now_and_later(path: Path) -> None:
    world = World(path)
    watcher = world.caller(CLERK)
    watcher.say(Watch())
    watcher.say(Watch())
    world.pair()
    assert watcher.pushes() == [0, 0, 1, 2]
    watcher.leave()
    world.server("A").ping(2)
    assert watcher.pushes() == [0, 0, 1, 2]


def test_who_is_due_is_asked_once(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    seen = len(a.pushes())
    for _ in range(2):
        world.tick()
        a.ping(2, synced=("B",))
    assert len(a.pushes()) == seen
    world.tick()
    assert a.pushes()[seen:] == [2]
    world.tick()
    world.server("C")
    assert a.pushes()[seen:] == [2]
    assert isinstance(answer := a.ping(2, synced=("B",)), ViewIs)
    assert answer.view.number == 3
    assert b.pushes()[-1] == 3


def test_a_lost_connection_shows_in_two_ticks(path: Path) -> None:
    world = World(path)
    world.tick(3)
    a, b = world.pair()
    seen = len(b.pushes())
    a.leave()
    world.tick()
    b.ping(2)
    assert len(b.pushes()) == seen
    world.tick()
    assert len(b.pushes()) == seen + 1


@pytest.mark.parametrize(
    ("farewell", "code"),
    [((), "primary"), (("stopping", ""), "lost"), (("protocol", ""), "primary")],
)
def test_f12_who_stopped_in_order_is_not_hoped_for(path, farewell, code) -> None:
    world = World(path)
    world.tick(3)
    a = world.server("A")
    a.ping(0)
    a.ping(1)
    a.ping(1, leaving=True)
    a.leave(*farewell)
    assert world.status()["waiting"]["code"] == code


def test_v16_asking_is_no_ping(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    for _ in range(3):
        for question in (Watch(), Status()):
            a.say(question)
        b.ping(2)
        world.tick()
    b.ping(2)
    assert world.service.views.view.primary == member("B")
    world.caller(CLERK).say(Watch())
    assert set(world.service.views.servers) == {"A", "B"}


def test_l2_a_pause_of_the_view_service_is_nobodys_death(path: Path) -> None:
    world = World(path)
    world.tick(3)
    a, _ = world.pair()
    a.leave()  # what it finds first when it goes on
    world.reactor.advance(60.0)
    world.tick()
    states = {each["name"]: each["state"] for each in world.status()["servers"]}
    assert states == {"A": "primary", "B": "backup"}


# -- who is let in ------------------------------------------------------------------


def test_a_connection_speaks_for_one_server(path: Path) -> None:
    a = World(path).server("A")
    with pytest.raises(
        ProtocolError, match=r"of B at .*, which its Hello did not name"
    ):
        a.say(Ping(1, member("B"), 0))
    with pytest.raises(ProtocolError, match="A at tcp:a:2, which its Hello did not"):
        a.say(Ping(1, member("A", "tcp:a:2"), 0))


def test_a_server_that_was_in_no_view_changes_nothing_on_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change costs an fsync, and what it claims may be made up."""
    world = World(path)
    world.pair()
    saves: list[int] = []
    monkeypatch.setattr(StateFile, "_sync_directory", lambda _: saves.append(1))
    for number in range(20):
        caller = Caller(world, Hello(VERSION, SERVER, member=stranger(number)))
        caller.say(Ping(1, stranger(number), 0))
        assert isinstance(caller.told[-1], ViewIs)
    assert not saves
    assert len(world.service.views.servers) == 22


def test_servers_that_were_in_no_view_come_after_those_that_were(path: Path) -> None:
    world = World(path)
    primary, backup = world.pair()
    spare = world.server("C")
    spare.ping(0)
    primary.ping(2, synced=("B",))
    assert not primary.is_patient
    assert not backup.is_patient
    assert spare.is_patient
    backup.leave("stopping", "")
    world.tick(3)
    spare.ping(0)
    primary.ping(2)
    spare.ping(0)
    assert world.service.views.view.backup("C") is not None
    assert not spare.is_patient


def stranger(number: int) -> Member:
    return Member(f"x{number}", number, "tcp:x:1")


def test_reports_of_clerks_do_not_fill_the_log(path: Path) -> None:
    world = World(path)
    world.pair()
    clerk = world.caller(CLERK)
    with capturedLogs() as events:
        for number in range(1000):
            clerk.say(Unreachable("AB"[number % 2]), Unreachable(f"x{number}"))
    assert len(events) == 2
    assert not any("x" in name for name in world.service._complaints.counts(0))


def test_a13_servers_that_never_serve_do_not_fill_the_log(path: Path) -> None:
    world = World(path)
    a, _ = world.pair()
    with capturedLogs() as logs:
        for number in range(200):
            caller = Caller(world, Hello(VERSION, SERVER, member=stranger(number)))
            caller.say(Ping(1, stranger(number), 0))
            caller.leave("stopping", "")
        a.leave()
        # B was in no view yet when it was found.
        assert told(logs, "server.found") == [f"x{n}" for n in range(BURST_MAX - 1)]
        world.tick(10)
    # Members of a view are always told.
    assert told(logs, "server.died") == ["A", "B"]
    assert told(logs, "servers.unlogged") == []
    with capturedLogs() as logs:
        world.tick(round(60_000 / world.settings.ping_interval_ms))
        world.server("C").ping(0)
    # 200 came and 200 went.
    assert told(logs, "servers.unlogged") == [1 + 400 - BURST_MAX]
    assert told(logs, "server.found") == ["C"]


def told(logs: list[LogEvent], event: str) -> list[Any]:
    """The names, or counts, in the lines about that event."""
    values = [
        each["understudy_values"] for each in logs if each["understudy_event"] == event
    ]
    return [each.get("name", each.get("count")) for each in values]


def test_f7_pings_of_one_turn_are_the_first_and_the_newest(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    b.told.clear()
    a.told.clear()
    for serial in range(1, 101):
        world.service.received(b, Ping(serial, member("B"), 2, report=Report(serial)))
        world.service.received(a, Ping(serial, member("A"), 2, ("B",)))
    assert [each.answers for each in b.told if isinstance(each, ViewIs)] == [1]
    world.reactor.advance(0)
    for caller in (a, b):
        answers = [each.answers for each in caller.told if isinstance(each, ViewIs)]
        assert answers == [1, 100]
    assert world.service._reports["B"].commit == 100
    # The next turn has its own.
    b.say(Ping(101, member("B"), 2))
    assert b.told[-1].answers == 101  # type: ignore[attr-defined]


def test_the_newest_ping_of_a_turn_counts_before_the_end_of_its_connection(
    path: Path,
) -> None:
    world = World(path)
    _, b = world.pair()
    for commit in (1, 2, 3):
        ping = Ping(commit + 5, member("B"), 2, report=Report(commit))
        world.service.received(b, ping)
    b.leave("stopping", "")
    assert world.service._reports["B"].commit == 3
    world.reactor.advance(0)
    assert not world.service.views.servers["B"].connected


def test_each_ping_of_a_turn_is_checked(path: Path) -> None:
    world = World(path)
    a, _ = world.pair()
    world.service.received(a, Ping(9, member("A"), 2, ("B",)))
    with pytest.raises(ProtocolError):
        world.service.received(a, Ping(10, member("B"), 2))


def test_questions_of_one_turn_are_answered_once(path: Path) -> None:
    world = World(path)
    world.pair()
    askers = [world.caller(OBSERVER) for _ in range(3)]
    made: list[bytes] = []
    document = world.service._document
    world.service._document = lambda: made.append(document()) or made[-1]  # type: ignore[method-assign,func-returns-value]
    for asker in askers[:2]:
        for _ in range(100):
            world.service.received(asker, Status())
            world.service.received(asker, Watch())
    world.reactor.advance(0)
    for asker in askers[:2]:
        assert [type(each) for each in asker.told] == [ViewIs, StatusIs]
    assert len(made) == 1
    askers[2].say(Status())
    assert len(made) == 2


def test_a_refused_ping_is_a_goodbye(path: Path) -> None:
    world = World(path)
    world.pair()
    assert world.server("A'").ping(0) == Goodbye(
        "name in use",
        "A is held by incarnation 0000000000000000 at tcp:a:1; "
        "give this server another --name",
    )


def test_who_was_refused_is_shown_until_it_is_let_in_or_silent(path: Path) -> None:
    world = World(path, new_cluster=True)
    world.tick(3)
    old = Hello(VERSION, SERVER, b"o" * 16, 7, member("A"))
    refused = Caller(world, old).refused
    status = world.status()
    assert [
        {
            "name": "A",
            "incarnation": "0000000000000000",
            "address": "tcp:a:1",
            "calls_from": "127.0.0.1",
            "code": "cluster",
            "text": refused and refused.text,
        }
    ] == status["refused"]
    assert status["waiting"]["code"] == "first server"
    assert "A (cluster)" in status["waiting"]["text"]
    assert "restart the server: it is empty then" in status["waiting"]["text"]
    world.server("A").ping(0)
    assert world.status()["refused"] == []
    Caller(world, old)
    assert len(world.status()["refused"]) == 1
    world.tick(51)
    assert world.status()["refused"] == []


def test_so_many_are_shown_who_were_refused(path: Path) -> None:
    world = World(path, new_cluster=True)
    for number in range(40):
        named = Member(f"s{number:02}", 1, "tcp:a:1")
        Caller(world, Hello(VERSION, SERVER, b"o" * 16, 7, named))
    names = [each["name"] for each in world.status()["refused"]]
    assert names == [f"s{number:02}" for number in range(8, 40)]


def test_a_name_in_use_is_shown(path: Path) -> None:
    world = World(path)
    world.pair()
    world.server("A'").ping(0)
    (refused,) = world.status()["refused"]
    assert (refused["name"], refused["code"]) == ("A", "name in use")


def test_the_cluster_is_named_once_there_is_a_view(path: Path) -> None:
    world = World(path)
    assert world.service.hello().cluster == b""
    world.pair()
    hello = world.service.hello()
    assert hello.cluster == world.service.views.cluster
    assert (hello.number, hello.ping_interval_ms, hello.dead_pings) == (2, 100, 3)


def test_f12_lost_memory_is_remembered_told_and_shown(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    cluster = world.service.views.cluster
    # The primary has been in a view that this view service has not created.
    theirs = view_number(3, 77)
    back = Caller(world, Hello(VERSION, SERVER, cluster, theirs, member("A")))
    assert back.refused
    assert back.refused.reason == "memory lost"
    assert decode(path.read_bytes()).lost == back.refused.text
    world.tick(9)
    for caller in a, b:
        answer = caller.ping(2)
        assert isinstance(answer, Goodbye)
        assert answer.reason == "memory lost"
    status = world.status()
    assert status["memory_lost"]
    assert status["waiting"]["code"] == "memory lost"
    assert status["view"]["number"] == 2


def test_f12_what_a_stranger_claims_ends_with_the_process(path: Path) -> None:
    world = World(path)
    fresh = world.server("C")
    old = Caller(world, Hello(VERSION, SERVER, b"o" * 16, 7, member("A")))
    assert old.refused
    assert old.refused.reason == "memory lost"
    world.tick(9)
    answer = fresh.ping(0)
    assert isinstance(answer, Goodbye)
    assert world.status()["memory_lost"]
    assert decode(path.read_bytes()).lost == ""


def test_f1_a_ping_of_an_unknown_view_needs_a_cluster(path: Path) -> None:
    world = World(path)
    world.pair()
    stranger = world.server("Z")
    with pytest.raises(ProtocolError, match="names no cluster"):
        stranger.ping(3)
    assert not world.status()["memory_lost"]
    assert world.service.views.settling == 0


def test_f2_views_get_bits_from_the_randomness_of_the_service() -> None:
    numbers = set()
    for seed in range(8):
        world = World(None)
        world.service._random = Random(seed)
        world.tick(3)
        world.server("A").ping(0)
        numbers.add(world.service.views.view.number)
    assert len(numbers) == 8
    assert {counter_of(number) for number in numbers} == {1}


def test_f13_clerks_report_a_primary_that_they_cannot_reach() -> None:
    world = World(None)
    a, b = world.pair()
    clerks = [world.caller(CLERK) for _ in range(3)]
    for clerk in clerks:
        clerk.say(Unreachable("A"))
    clerks[2].leave()
    clerks[1].say(Unreachable("B"))

    def cut_off() -> dict[str, int]:
        a.ping(2, synced=("B",))
        b.ping(2)
        servers = world.status()["servers"]
        return {each["name"]: each["clerks_cut_off"] for each in servers}

    # The user of a clerk that gave up looks for the reason after that.
    assert cut_off() == {"A": 2, "B": 1}
    waiting = world.status()["waiting"]
    assert (waiting["code"], waiting["for"]) == ("clerks", ["A"])
    assert "tcp:a:1" in waiting["text"]
    assert a.service_view() == 2  # it decides nothing
    world.tick(60)
    clerks[0].say(Unreachable("A"))
    assert cut_off() == {"A": 2, "B": 1}
    world.tick(100)
    assert cut_off() == {"A": 1, "B": 0}
    world.tick(60)
    assert cut_off() == {"A": 0, "B": 0}


def test_u2_a_server_with_another_machine_is_refused_when_it_calls() -> None:
    world = World(None)
    first, wrong = (
        Caller(world, Hello(VERSION, SERVER, member=member(who), machine=machine))
        for who, machine in (("A", "m:one"), ("B", "m:two"))
    )
    world.tick(3)
    assert isinstance(first.ping(0), ViewIs)
    assert isinstance(wrong.ping(0), ViewIs)  # nothing was answered yet
    first.ping(1)
    answer = wrong.ping(1)
    assert isinstance(answer, Goodbye)
    assert answer.reason == "machine"
    assert "m:one" in answer.text
    assert "m:two" in answer.text
    again = Caller(world, Hello(VERSION, SERVER, member=member("C"), machine="m:two"))
    assert again.refused
    assert again.refused.reason == "machine"
    assert world.status()["refused"][0]["code"] == "machine"


# -- with many servers


def crowd(count: int, **settings: Any) -> list[Caller]:
    """The view (s0; s1), acknowledged, and the others idle."""
    world = World(None, **settings)
    callers = [world.server(f"s{number}") for number in range(count)]
    world.tick(3)
    for each in callers:
        each.ping(0)
    callers[0].ping(1)
    for each in callers:
        each.ping(2, synced=("s1",))
    assert world.service.views.acknowledged
    return callers


def cost(action: Callable[[], object]) -> int:
    """How many Python functions *action* calls."""
    count = 0

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    # What other tests have left behind is not to be freed meanwhile.
    gc.collect()
    gc.disable()
    sys.setprofile(called)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


def test_m3_a_ping_that_changes_nothing_costs_the_same() -> None:
    few, many = crowd(20), crowd(200)
    for at, synced in ((0, ("s1",)), (1, ()), (-1, ())):
        one, other = (
            cost(functools.partial(each[at].ping, 2, synced=synced))
            for each in (few, many)
        )
        assert one == other


def test_m3_nor_does_a_free_place_that_nobody_can_take() -> None:
    """All others are dead, and are looked through once in a tick."""
    costs = []
    for callers in crowd(20), crowd(200):
        world = callers[0].world
        for each in callers[1:]:
            each.leave()
        for _ in range(3):
            world.tick()
            callers[0].ping(2, synced=("s1",))
        callers[0].ping(3)
        assert world.service.views.waiting() is not None
        callers[0].ping(3)
        costs.append(cost(functools.partial(callers[0].ping, 3)))
    assert len(set(costs)) == 1, costs


def test_m3_the_declared_bound_is_run_at() -> None:
    callers = crowd(SERVERS_MAX)
    world = callers[0].world
    for _ in range(3):
        world.tick()
        for each in callers[1:]:
            each.ping(2)
    assert world.service.views.view.counter == 3
    assert callers[1].pushes()[-1] <= 3
    assert callers[-1].pushes()[-1] == 3
    assert world.status()["view"]["primary"] == "s1"
    stranger = world.server("one too many")
    answer = stranger.ping(0)
    assert isinstance(answer, ViewIs)  # s0 is dead, and is forgotten for it


# -- what is shown -------------------------------------------------------------------


def test_where_a_refused_server_calls_from_is_shown(path: Path) -> None:
    world = World(path, new_cluster=True)
    world.tick(3)
    Caller(world, Hello(VERSION, SERVER, b"o" * 16, 7, member("A")), "10.9.0.2")
    holder = world.server("B")
    holder.ping(0)
    other = Member("B", 9, "tcp:127.0.0.1:1")
    second = Caller(world, Hello(VERSION, SERVER, member=other), "10.9.0.3")
    second.ping(0)
    shown = {each["name"]: each["calls_from"] for each in world.status()["refused"]}
    assert shown == {"A": "10.9.0.2", "B": "10.9.0.3"}


def test_an_address_that_others_cannot_use_is_shown(path: Path) -> None:
    world = World(path)
    first = Member("A", 1, "tcp:127.0.0.1:7401")
    second = Member("B", 2, "tcp:10.9.0.2:7401")
    a = Caller(world, Hello(VERSION, SERVER, member=first))
    world.tick(3)
    a.ping(0)
    a.ping(1)
    assert [each["address_doubt"] for each in world.status()["servers"]] == [None]
    b = Caller(world, Hello(VERSION, SERVER, member=second), "10.9.0.2", "10.9.0.1")
    b.ping(0)
    a.ping(1)
    a.ping(2, synced=("B",))
    status = world.status()
    shown = {each["name"]: each for each in status["servers"]}
    assert "of no use to B at 10.9.0.2" in shown["A"]["address_doubt"]
    assert shown["B"]["address_doubt"] is None
    assert shown["B"]["calls_from"] == "10.9.0.2"
    assert status["waiting"]["code"] == "address"
    assert status["waiting"]["for"] == ["A"]
    assert "--advertise" in status["waiting"]["text"]
    b.leave()
    status = world.status()
    assert status["servers"][0]["address_doubt"] is None
    assert status["servers"][1]["calls_from"] is None


def test_a_clerk_elsewhere_cannot_use_a_loopback_address(path: Path) -> None:
    world = World(path)
    member_ = Member("A", 1, "tcp:127.0.0.1:7401")
    Caller(world, Hello(VERSION, SERVER, member=member_)).ping(0)
    clerk = Caller(world, Hello(VERSION, CLERK), "10.9.0.2", "10.9.0.1")
    assert "a clerk at 10.9.0.2" in world.status()["waiting"]["text"]
    clerk.leave()
    assert "10.9.0.2" not in world.status()["waiting"]["text"]


def test_status_is_the_document_of_the_design(path: Path) -> None:
    world = World(path)
    a, _ = world.pair()
    waits = Wait(("B",), "backup", "for B")
    a.ping(2, synced=("B",), report=Report(7, 9, waits, transfer_bytes=5))
    world.tick()
    world.server("C").ping(0)
    status = world.status()
    assert status["cluster"] == world.service.views.cluster.hex()
    assert status["view"] == {
        "number": 2,
        "id": "0000000000000002",
        "primary": "A",
        "backups": ["B"],
        "holders": [],
        "eligible": ["A", "B"],
        "acknowledged": True,
        "founding": False,
    }
    assert [each["state"] for each in status["servers"]] == [
        "primary",
        "backup",
        "idle",
    ]
    assert status["servers"][0] == {
        "name": "A",
        "incarnation": "0000000000000000",
        "address": "tcp:a:1",
        "state": "primary",
        "silent_ticks": 1,
        "connected": True,
        "position": {"commit": 7, "log": 9},
        "waiting": {"for": ["B"], "code": "backup", "text": "for B"},
        "transfer_bytes": 5,
        "clerks_cut_off": 0,
        "calls_from": "127.0.0.1",
        "address_doubt": None,
    }
    assert status["waiting"] is None
    last = status["history"][-1]
    assert last["time"].endswith("+00:00")
    assert {**last, "time": ""} == {
        "number": 2,
        "primary": "A",
        "backups": ["B"],
        "causes": [
            {
                "server": "B",
                "code": "place free",
                "evidence": "alive, in no view, and first in line",
            }
        ],
        "time": "",
    }
    assert status["settings"] == {
        "ping_interval_ms": 100,
        "dead_pings": 3,
        "backups": 1,
        "ack_gate": "narrow",
    }


def test_states_of_servers(path: Path) -> None:
    world = World(path)
    a, b = world.pair()
    c = world.server("C")
    b.leave()
    for _ in range(3):
        world.tick()
        a.ping(2, synced=("B",))
        c.ping(0)
    a.ping(2)
    states = {each["name"]: each["state"] for each in world.status()["servers"]}
    assert states == {"A": "primary", "B": "dead", "C": "syncing"}


# -- beginning and ending ---------------------------------------------------------


def restarted(path: Path, world: World, **settings: Any) -> World:
    world.service.stopService()
    return World(path, **settings)


def test_v20_v21_a_restart_goes_on_where_it_was(path: Path) -> None:
    world = World(path)
    world.pair()
    before = world.status()
    after = restarted(path, world).status()
    for key in ("cluster", "view", "history"):
        assert before[key] == after[key]


def test_a_cluster_is_drawn_once(path: Path) -> None:
    world = World(path)
    again = restarted(path, world)
    assert again.service.views.cluster == world.service.views.cluster


def test_a_new_cluster_sets_the_old_state_aside(path: Path) -> None:
    world = World(path)
    world.pair()
    again = restarted(path, world, new_cluster=True)
    assert again.service.views.cluster != world.service.views.cluster
    assert again.service.views.view.number == 0
    (aside,) = path.parent.glob("state.2*")
    assert decode(aside.read_bytes()).view.number == 2
    old = Caller(again, Hello(VERSION, CLERK, CLUSTER, 2))
    assert old.refused
    assert old.refused.reason == "cluster"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"understudy view service 1 "])
def test_a_damaged_state_is_never_begun_over(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    world = World(path)
    assert path.read_bytes() == content
    assert len(world.failures) == 1
    assert "--new-cluster" in world.failures[0]
    assert not world.reactor.tcpServers
    world.service.stopService()


def test_a_second_one_on_the_same_state_does_not_start(path: Path) -> None:
    World(path)
    second = World(path)
    assert "in use by another view service" in second.failures[0]
    assert not second.reactor.tcpServers


def test_volatile_leaves_nothing_behind(tmp_path: Path) -> None:
    World(None).pair()
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_no_timer_and_no_lock(path: Path) -> None:
    world = World(path)
    world.pair()
    world.service.stopService()
    assert not world.reactor.getDelayedCalls()
    assert World(path).failures == []
