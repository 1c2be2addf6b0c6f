"""The clerk over real loopback sockets, against a model of the service."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater

from client import (
    Clerk,
    ClerkError,
    CommandError,
    InDoubt,
    NotANumber,
    NotExecuted,
    TooLarge,
    WrongCluster,
)
from client.primary_locator import SILENCE_MS
from tests.model_servers import ModelCluster, ModelServer, nobody
from tests.until import until
from wire.commands import (
    COUNTER_MAX,
    KEY_BYTES_MAX,
    SCAN_LIMIT_MAX,
    VALUE_BYTES_MAX,
    Get,
    Ok,
    Put,
)
from wire.links import Link
from wire.messages import View, ViewIs


@pytest_twisted.async_yield_fixture
async def cluster() -> AsyncIterator[ModelCluster]:
    cluster = await ModelCluster().up()
    yield cluster
    await cluster.down()


@pytest_twisted.async_yield_fixture
async def clerk(cluster: ModelCluster) -> AsyncIterator[Clerk]:
    clerk = Clerk(reactor, cluster.views.address, timeout=10, random=Random(1))
    yield clerk
    await clerk.close(timeout=0)
    assert clerk._turn is None
    assert clerk._timer is None


async def outcome(awaitable: Awaitable[Any]) -> object:
    """A result, or the class of the error."""
    try:
        return await awaitable
    except ClerkError as error:
        return type(error)


# -- the store -----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_calls_of_the_store(clerk: Clerk) -> None:
    assert await clerk.get("k") is None
    assert await clerk.put("k", "v") is None
    assert await clerk.get(b"k") == b"v"
    assert await clerk.append("k", b"!") == 2
    assert await clerk.cas("k", "v!", "ö") is True
    assert await clerk.cas("k", "v!", "x") is False
    assert await clerk.cas("absent", None, "") is True
    assert await clerk.get("k") == "ö".encode()
    assert await clerk.incr("n") == 1
    assert await clerk.incr("n", -43) == -42
    assert await clerk.delete("k") is True
    assert await clerk.delete("k") is False
    assert await clerk.scan() == [(b"absent", b""), (b"n", b"-42")]
    assert await clerk.scan("a") == [(b"absent", b"")]
    assert await clerk.scan(start="b", end="z") == [(b"n", b"-42")]
    assert await clerk.scan(limit=1) == [(b"absent", b"")]


@pytest_twisted.ensureDeferred
async def test_what_the_store_refuses(clerk: Clerk) -> None:
    await clerk.put("k", "no number")
    with pytest.raises(NotANumber, match="64 bit"):
        await clerk.incr("k")
    await clerk.put("n", str(COUNTER_MAX))
    with pytest.raises(NotANumber):
        await clerk.incr("n")
    await clerk.put("k", bytes(VALUE_BYTES_MAX))
    with pytest.raises(TooLarge):
        await clerk.append("k", "x")


@pytest_twisted.ensureDeferred
async def test_values_that_do_not_fit_into_one_answer_come_in_several(
    clerk: Clerk,
) -> None:
    value = bytes(VALUE_BYTES_MAX)
    for key in range(3):
        await clerk.put(str(key), value)
    assert await gatherResults([clerk.get(str(key)) for key in range(3)]) == [value] * 3
    found = [len(await clerk.scan(start=str(key))) for key in range(3)]
    assert found == [1, 1, 1]
    several = [clerk.scan(), clerk.scan("a"), clerk.scan("2")]
    assert [len(pairs) for pairs in await gatherResults(several)] == [1, 0, 1]


@pytest_twisted.ensureDeferred
async def test_commands_of_any_machine(clerk: Clerk) -> None:
    assert await clerk.execute([1, b"k", b"v"], answer=Any) == [0, None]
    assert await clerk.ask([0, b"k"], answer=Any) == [0, b"v"]
    assert await clerk.ask([0, b"k"]) == b"v"
    assert await clerk.execute(Put(b"k", b"w")) is None
    assert await clerk.ask(Get(b"k")) == b"w"
    assert await clerk.ask([0, b"k"], answer=Ok) == b"w"
    with pytest.raises(CommandError, match="read"):
        await clerk.ask(Put(b"k", b"v"))
    with pytest.raises(InDoubt, match="makes no sense"):
        await clerk.execute(Put(b"k", b"v"), answer=str)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda c: c.get(5), TypeError, "key is bytes or str, not int: 5"),
        (lambda c: c.put("k", None), TypeError, "value is bytes or str"),
        (lambda c: c.append("k", ["x"]), TypeError, "suffix is bytes or str"),
        (lambda c: c.cas("k", 1, "x"), TypeError, "expected value is bytes"),
        (lambda c: c.incr("k", 1.5), TypeError, "float: 1.5"),
        (lambda c: c.incr("k", True), TypeError, "bool"),
        (lambda c: c.incr("k", COUNTER_MAX + 1), ValueError, str(COUNTER_MAX + 1)),
        (lambda c: c.scan("a", start="b"), ValueError, "not by both"),
        (lambda c: c.scan(limit=0), ValueError, "not 0"),
        (lambda c: c.scan(limit=SCAN_LIMIT_MAX + 1), ValueError, "10001"),
        (lambda c: c.scan(limit="7"), TypeError, "'7'"),
        (lambda c: c.get("k" * (KEY_BYTES_MAX + 1)), TooLarge, "65537 bytes"),
        (lambda c: c.put("k", bytes(VALUE_BYTES_MAX + 1)), TooLarge, "8388609"),
        (lambda c: c.execute(bytes(1 << 24)), TooLarge, "the limit is"),
        (lambda c: c.execute(object()), TypeError, "object"),
        (lambda c: c.execute(1 << 70), ValueError, "cannot be encoded"),
        (lambda c: c.get("k", timeout="soon"), TypeError, "'soon'"),
        (lambda c: c.get("k", timeout=math.nan), ValueError, "nan"),
        (lambda c: c.put("\ud800", "x"), ValueError, "surrogates"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_makes_no_sense_is_said_at_once(
    clerk: Clerk, call: Callable[[Clerk], object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(clerk)
    assert clerk._core.calls.last == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"views": "127.0.0.1:7400"}, "tcp:HOST:PORT"),
        ({"views": []}, "no address"),
        ({"views": "unix:/tmp/x"}, "unix"),
        ({"views": "tcp:a:1", "window": 0}, "window"),
        ({"views": "tcp:a:1", "window": 65}, "window"),
        ({"views": "tcp:a:1", "timeout": -1}, "-1"),
    ],
)
def test_a_clerk_that_makes_no_sense(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Clerk(reactor, **arguments)


def test_a_prefix_of_high_bytes_has_an_end() -> None:
    from client.arguments import as_scan

    assert as_scan(b"a\xff\xff", None, None, 1).end == b"b"
    assert as_scan(b"\xff", None, None, 1).end is None
    assert as_scan(b"", None, None, 1).end is None


# -- order and batches ---------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_calls_of_one_turn_travel_together(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("warm", "up")
    before = cluster.s1.received_count
    await gatherResults([clerk.append("k", "x") for _ in range(100)])
    assert cluster.s1.received_count <= before + 2
    before = cluster.s1.received_count
    await clerk.append("k", "y")
    assert cluster.s1.received_count == before + 1
    assert await clerk.get("k") == b"x" * 100 + b"y"


@pytest_twisted.ensureDeferred
async def test_a_lone_call_goes_out_in_the_turn_that_it_is_made(clerk: Clerk) -> None:
    await clerk.put("warm", "up")
    await deferLater(reactor, 0, lambda: None)
    call = clerk.put("k", "v")
    assert clerk._core.is_outstanding
    await call


@pytest_twisted.ensureDeferred
async def test_loops_of_calls_see_their_own_writes(clerk: Clerk) -> None:
    async def loop(name: str) -> None:
        for n in range(50):
            assert await clerk.incr(name) == n + 1
            write = clerk.append(name + "s", "x")
            assert len(await clerk.get(name + "s")) >= n + 1
            assert await write == n + 1

    await gatherResults([Deferred.fromCoroutine(loop(str(n))) for n in range(40)])


@pytest_twisted.ensureDeferred
async def test_the_view_service_is_asked_once_for_many_calls(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    for n in range(300):
        await clerk.put("k", str(n))
    assert cluster.views.asked <= 2
    assert cluster.s1.opened_count == 1


# -- failures ------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_lost_answers_execute_nothing_twice(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    for n in range(30):
        cluster.s1.cuts = n % 3
        await clerk.append("k", f"{n},")
    await until(lambda: cluster.s1.cuts == 0, "all cuts are made")
    assert await clerk.get("k") == "".join(f"{n}," for n in range(30)).encode()


@pytest_twisted.ensureDeferred
async def test_a_failover_under_load_loses_and_doubles_nothing(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    calls = [clerk.append("k", f"{n},") for n in range(500)]
    await calls[0]
    more = [clerk.append("k", f"{n},") for n in range(500, 600)]
    cluster.s1.is_deaf = True
    await deferLater(reactor, 0.01, lambda: None)
    cluster.fail_over()
    await gatherResults(calls + more)
    assert await clerk.get("k") == "".join(f"{n}," for n in range(600)).encode()


@pytest_twisted.ensureDeferred
async def test_a_pushed_view_is_followed_although_the_old_primary_hangs(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    calls = [clerk.incr("n") for _ in range(10)]
    await until(lambda: cluster.s1._waiting, "the old primary has got something")
    begun = reactor.seconds()
    cluster.fail_over()
    await gatherResults(calls)
    assert reactor.seconds() - begun < SILENCE_MS / 1000


@pytest_twisted.ensureDeferred
async def test_a_primary_that_hangs_is_found_out_by_asking(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    cluster.fail_over(push=False)
    assert await clerk.incr("n") == 1
    assert cluster.views.asked <= 3


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_no_longer_primary_says_so(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    cluster.fail_over(push=False)
    asked = cluster.views.asked
    assert await clerk.get("k") == b"v"
    assert cluster.views.asked == asked


@pytest_twisted.ensureDeferred
async def test_a_primary_that_has_yet_to_learn_it_is_given_time(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    old = cluster.service.view
    cluster.fail_over()
    cluster.service.lagging["s2"] = old
    call = clerk.get("k")
    await until(lambda: cluster.s2.opened_count > 2, "the clerk tries again")
    assert cluster.s2.opened_count < 20
    cluster.service.lagging.clear()
    assert await call == b"v"


@pytest_twisted.ensureDeferred
async def test_another_incarnation_at_the_address_is_not_believed(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    s1 = cluster.s1
    right = s1.member
    s1.member = msgspec.structs.replace(right, incarnation=2)
    s1.links[0].abort()
    received = s1.received_count
    call = clerk.get("k")
    await until(lambda: s1.opened_count > 3, "the clerk has tried")
    assert s1.received_count == received
    s1.member = right
    assert await call == b"v"


@pytest_twisted.ensureDeferred
async def test_an_eviction_while_idle_goes_unnoticed(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    assert await clerk.incr("n") == 1
    cluster.service.evict()
    assert await clerk.incr("n") == 2
    cluster.service.evict()
    assert await gatherResults([clerk.incr("n") for _ in range(100)]) == [
        *range(3, 103)
    ]


@pytest_twisted.ensureDeferred
async def test_a_view_service_that_is_late_or_empty_is_waited_for(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    said = cluster.views.said
    cluster.views.said = nobody()
    assert await outcome(clerk.get("k", timeout=0.05)) is NotExecuted
    cluster.views.push(said)
    assert await clerk.get("k") is None


@pytest_twisted.ensureDeferred
async def test_several_addresses_of_the_view_service_are_tried(
    cluster: ModelCluster,
) -> None:
    addresses = ["tcp:127.0.0.1:1", cluster.views.address]
    clerk = Clerk(reactor, addresses, timeout=10)
    assert await clerk.get("k") is None
    await clerk.close()


@pytest_twisted.ensureDeferred
async def test_a_mute_view_service_is_dialled_anew(cluster: ModelCluster) -> None:
    cluster.views.is_mute = True
    other = type(cluster.views)(cluster.views.said)
    await other.up()
    clerk = Clerk(reactor, [cluster.views.address, other.address], timeout=10)
    assert await clerk.get("k") is None
    assert cluster.views.asked == 1
    await clerk.close()
    await other.listener.close()


# -- the truth about what ended ------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_past_its_time_a_call_is_in_doubt_or_not_executed(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    write, read = clerk.append("k", "!", timeout=0.05), clerk.get("k", timeout=0.05)
    assert [await outcome(write), await outcome(read)] == [InDoubt, NotExecuted]
    cluster.s1.is_paused = False
    cluster.s1.work()
    assert await clerk.get("k") == b"v!"


@pytest_twisted.ensureDeferred
async def test_with_nobody_there_nothing_was_executed_and_it_says_why() -> None:
    clerk = Clerk(reactor, "tcp:127.0.0.1:1", timeout=0.05)
    said = r"the view service at tcp:127.0.0.1:1 \(connection refused\)"
    with pytest.raises(NotExecuted, match=said):
        await clerk.put("k", "v")
    await clerk.close()


@pytest_twisted.ensureDeferred
async def test_with_no_time_left_nothing_is_sent(clerk: Clerk) -> None:
    assert await outcome(clerk.put("k", "v", timeout=0)) is NotExecuted
    assert await clerk.get("k") is None


@pytest_twisted.ensureDeferred
async def test_for_ever_is_a_timeout_too(clerk: Clerk) -> None:
    assert await clerk.get("k", timeout=math.inf) is None


@pytest_twisted.ensureDeferred
async def test_cancelling_gives_a_call_up(clerk: Clerk, cluster: ModelCluster) -> None:
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    calls = [clerk.append("k", "!"), clerk.get("k")]
    await until(lambda: cluster.s1._waiting, "the server has got something")
    calls += [clerk.append("k", "?")]
    for call in calls:
        call.cancel()
        call.cancel()
    ended = [await outcome(call) for call in calls]
    assert ended == [InDoubt, NotExecuted, NotExecuted]
    cluster.s1.is_paused = False
    cluster.s1.work()
    assert await clerk.get("k") == b"v!"


@pytest_twisted.ensureDeferred
async def test_cancelling_out_of_an_answer_of_the_same_batch(clerk: Clerk) -> None:
    await clerk.put("k", "v")
    first = clerk.append("k", "1")
    calls = [clerk.append("k", "2"), clerk.get("k"), clerk.append("k", "3")]
    calls[0].addCallback(lambda _: [call.cancel() for call in calls[1:]])
    ended = await DeferredList([first, *calls], consumeErrors=True)
    assert [is_done for is_done, _ in ended] == [True, True, False, False]
    assert [type(ended[n][1].value) for n in (2, 3)] == [NotExecuted, InDoubt]
    assert await clerk.get("k") == b"v123"


@pytest_twisted.ensureDeferred
async def test_an_error_in_a_callers_callback_is_the_callers(clerk: Clerk) -> None:
    await clerk.put("k", "v")
    broken = clerk.get("k").addCallback(lambda _: 1 / 0)
    fine = clerk.get("k")
    assert await fine == b"v"
    with pytest.raises(ZeroDivisionError):
        await broken


@pytest_twisted.ensureDeferred
async def test_another_cluster_is_refused_by_name(
    clerk: Clerk, cluster: ModelCluster
) -> None:
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    sent = clerk.put("k", "w")
    cluster.views.push(ViewIs(0, bytes(16), View(9, cluster.s2.member), False))
    assert await outcome(sent) is InDoubt
    with pytest.raises(WrongCluster, match=bytes(16).hex()):
        await clerk.get("k")
    await until(lambda: not cluster.views.links, "the clerk has hung up")


# -- the end -------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_closing_leaves_nothing_behind(cluster: ModelCluster) -> None:
    clerk = Clerk(reactor, cluster.views.address)
    calls = [clerk.append("k", "x") for _ in range(100)]
    await clerk.close()
    assert await gatherResults(calls) == list(range(1, 101))
    assert cluster.service.sessions == {}
    await until(lambda: not cluster.s1.links and not cluster.views.links, "hung up")
    assert await outcome(clerk.get("k")) is NotExecuted
    await clerk.close()


@pytest_twisted.ensureDeferred
async def test_closing_a_clerk_that_was_never_used() -> None:
    await Clerk(reactor, "tcp:127.0.0.1:1").close()


@pytest_twisted.ensureDeferred
async def test_closing_has_an_end(cluster: ModelCluster) -> None:
    clerk = Clerk(reactor, cluster.views.address, window=1)
    await clerk.put("k", "v")
    cluster.s1.is_paused = True
    sent = clerk.put("k", "w")
    await until(lambda: cluster.s1._waiting, "the server has got something")
    queued = clerk.put("k", "x")
    await clerk.close(timeout=0.05)
    assert [await outcome(sent), await outcome(queued)] == [InDoubt, NotExecuted]


@pytest_twisted.ensureDeferred
async def test_two_who_close_are_both_told(cluster: ModelCluster) -> None:
    clerk = Clerk(reactor, cluster.views.address)
    await clerk.put("k", "v")
    await gatherResults([clerk.close(), clerk.close()])


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_another_hears_that_it_is(
    clerk: Clerk, cluster: ModelCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clerk.put("k", "v")
    said: list[str | None] = []
    server, link_closed = cluster.s1, ModelServer.link_closed

    def noted(self: ModelServer, link: Link, reason: str) -> None:
        said.append(link.farewell and link.farewell.reason)
        link_closed(self, link, reason)

    monkeypatch.setattr(ModelServer, "link_closed", noted)
    right = server.member
    server.member = msgspec.structs.replace(right, incarnation=2)
    server.links[0].abort()
    call = clerk.get("k")
    await until(lambda: "member" in said, "the wrong server is told")
    server.member = right
    assert await call == b"v"


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_no_text_ends_its_own_call_alone(
    clerk: Clerk,
) -> None:
    await clerk.put("k", "v")
    broken, other = clerk.ask([0, b"k"]), clerk.get("k")
    clerk._happened([(broken.number, msgspec.Raw(b"\xa1\xff"))])  # type: ignore[attr-defined]
    assert await outcome(broken) is NotExecuted
    assert await other == b"v"


# -- a primary that is out of reach ------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_view_service_learns_of_a_primary_that_cannot_be_reached(
    cluster: ModelCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.primary_locator.REPORT_MS", 100)
    await cluster.s1.listener.close()
    clerk = Clerk(reactor, cluster.views.address, timeout=10)
    reading = outcome(clerk.get("k", timeout=3))
    await until(lambda: cluster.views.unreachable, "the primary is reported")
    assert cluster.views.unreachable == ["s1"]
    cluster.fail_over()
    assert await reading is None
    assert cluster.views.unreachable == ["s1"]
    await clerk.close()
