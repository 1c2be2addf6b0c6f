"""The blocking clerk: in threads of this process, and in scripts of their own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThread

from client import BlockingClerk, InDoubt, NotANumber, NotExecuted
from client.background import background
from tests.model_servers import ModelCluster
from tests.until import until

ROOT = Path(__file__).parent.parent


@pytest_twisted.async_yield_fixture
async def cluster() -> AsyncIterator[ModelCluster]:
    cluster = await ModelCluster().up()
    yield cluster
    await cluster.down()


def in_thread(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """The model of the service runs in this thread; who blocks needs another."""
    return deferToThread(function, *args)


@pytest_twisted.ensureDeferred
async def test_every_call_gives_a_plain_result(cluster: ModelCluster) -> None:
    def script() -> None:
        with BlockingClerk(cluster.views.address, timeout=5) as clerk:
            assert clerk.get("k") is None
            assert clerk.put("k", "v") is None
            assert clerk.append("k", "!") == 2
            assert clerk.cas("k", "v!", "w") is True
            assert clerk.get("k") == b"w"
            assert clerk.incr("n", 5) == 5
            assert clerk.scan() == [(b"k", b"w"), (b"n", b"5")]
            assert clerk.scan("n") == clerk.scan(start="l", end="o", limit=9)
            assert clerk.delete("k") is True
            assert clerk.execute([1, b"k", b"v"]) is None
            assert clerk.ask([0, b"k"]) == b"v"

    await in_thread(script)
    assert cluster.service.sessions == {}
    await until(lambda: not cluster.views.links, "the clerk has hung up")


@pytest_twisted.ensureDeferred
async def test_errors_are_raised_where_the_call_is(cluster: ModelCluster) -> None:
    def script() -> None:
        with BlockingClerk(cluster.views.address, timeout=5) as clerk:
            with pytest.raises(TypeError, match="not int: 7"):
                clerk.put("k", 7)  # type: ignore[arg-type]
            clerk.put("k", "no number")
            with pytest.raises(NotANumber):
                clerk.incr("k")
            cluster.s1.is_paused = True
            with pytest.raises(InDoubt):
                clerk.incr("n", timeout=0.05)
            with pytest.raises(NotExecuted):
                clerk.get("n", timeout=0.05)
            cluster.s1.is_paused = False
            reactor.callFromThread(cluster.s1.work)
            assert clerk.get("n") == b"1"
        with pytest.raises(NotExecuted, match="closed"):
            clerk.get("n")
        clerk.close()

    await in_thread(script)


def test_arguments_are_checked_before_anything_is_started() -> None:
    with pytest.raises(ValueError, match="tcp:HOST:PORT"):
        BlockingClerk("nonsense")
    for views in (7400, b"tcp:127.0.0.1:7400", None):
        with pytest.raises(TypeError, match="tcp:HOST:PORT"):
            BlockingClerk(views)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_threads_and_clerks_share_one_background_thread(
    cluster: ModelCluster,
) -> None:
    clerks = [BlockingClerk(cluster.views.address) for _ in range(3)]

    def script(clerk: BlockingClerk) -> list[int]:
        return [clerk.incr("n") for _ in range(50)]

    results = await gatherResults([in_thread(script, c) for c in clerks * 2])
    assert sorted(n for numbers in results for n in numbers) == [*range(1, 301)]
    assert sum(t.name == "understudy" for t in threading.enumerate()) == 1
    await gatherResults([in_thread(clerk.close) for clerk in clerks])


@pytest_twisted.ensureDeferred
async def test_to_wait_in_the_thread_that_answers_is_refused(
    cluster: ModelCluster,
) -> None:
    clerk = BlockingClerk(cluster.views.address)

    def inside() -> Deferred[object]:
        clerk.get("k")
        raise AssertionError("unreachable")

    def script() -> None:
        with pytest.raises(RuntimeError, match="use Clerk"):
            background().run(inside, None, NotExecuted, str)
        clerk.close()

    await in_thread(script)


class Script(ProcessProtocol):
    """A script in a process of its own, that says READY when it is."""

    def __init__(self, source: str) -> None:
        self.output = b""
        self.ended: Deferred[int] = Deferred()
        self.began = reactor.seconds()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-c", source]
        reactor.spawnProcess(self, sys.executable, arguments, environment)

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        self.output += data

    errReceived = outReceived  # noqa: N815

    async def ready(self) -> None:
        await until(lambda: b"READY" in self.output, "the script is ready", 20)

    async def code(self) -> int:
        """Its exit code, negative for a signal."""
        self.ended.addTimeout(20, reactor)
        return await self.ended

    def processEnded(self, reason: Any) -> None:  # noqa: N802
        if reason.check(ProcessDone):
            self.ended.callback(0)
        else:
            reason.trap(ProcessTerminated)
            self.ended.callback(reason.value.exitCode or -(reason.value.signal or 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest_twisted.ensureDeferred
async def test_a_script_that_closes_nothing_ends_and_leaves_nothing(
    cluster: ModelCluster, host: str
) -> None:
    port = cluster.views.address.rsplit(":", 1)[1]
    script = Script(
        f"""
from client import BlockingClerk
clerks = [BlockingClerk("tcp:{host}:{port}", timeout=9) for _ in range(2)]
print([clerk.incr("n") for clerk in clerks], "READY", flush=True)
"""
    )
    await script.ready()
    ready = reactor.seconds()
    assert await script.code() == 0
    assert reactor.seconds() - ready < 1
    assert script.output == b"[1, 2] READY\n"
    assert cluster.service.sessions == {}


@pytest_twisted.ensureDeferred
async def test_a_script_ends_although_the_service_hangs(cluster: ModelCluster) -> None:
    script = Script(
        f"""
from client import BlockingClerk
clerk = BlockingClerk("{cluster.views.address}", timeout=9)
clerk.incr("n")
print("READY", flush=True)
input()
"""
    )
    await script.ready()
    cluster.s1.is_paused = True
    script.transport.closeStdin()
    closed = reactor.seconds()
    assert await script.code() == 1  # EOFError
    assert reactor.seconds() - closed < 4


@pytest_twisted.ensureDeferred
async def test_ctrl_c_ends_the_wait(cluster: ModelCluster) -> None:
    cluster.s1.is_paused = True
    script = Script(
        f"""
from client import BlockingClerk
clerk = BlockingClerk("{cluster.views.address}")
print("READY", flush=True)
try:
    clerk.incr("n")
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise SystemExit(3)
"""
    )
    await script.ready()
    await until(lambda: cluster.s1._waiting, "the server has got something")
    script.transport.signalProcess(signal.SIGINT)
    sent = reactor.seconds()
    assert await script.code() == 3
    assert reactor.seconds() - sent < 4
    assert b"interrupted" in script.output


@pytest_twisted.ensureDeferred
async def test_after_a_fork_the_child_begins_a_conversation_of_its_own(
    cluster: ModelCluster,
) -> None:
    script = Script(
        f"""
import os
from client import BlockingClerk
clerk = BlockingClerk("{cluster.views.address}", timeout=9)
clerk.incr("n")
child = os.fork()
if not child:
    print(clerk.incr("n"), flush=True)
    grandchild = os.fork()
    if not grandchild:
        print(clerk.incr("n"), flush=True)
    else:
        assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 0
        print(clerk.incr("n"), flush=True)
else:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(clerk.incr("n"), flush=True)
"""
    )
    assert await script.code() == 0
    # From Python 3.12 on a warning about forks comes first.
    numbers = [word for word in script.output.decode().split() if word.isdigit()]
    assert numbers == ["2", "3", "4", "5"]
    assert cluster.s1.opened_count == 3
    assert cluster.service.sessions == {}


@pytest_twisted.ensureDeferred
async def test_a_clerk_does_not_disturb_the_programs_own_reactor(
    cluster: ModelCluster,
) -> None:
    script = Script(
        f"""
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.python.threadable import isInIOThread
from client import BlockingClerk
clerk = BlockingClerk("{cluster.views.address}", timeout=9)
print(clerk.incr("n"), flush=True)
done = deferToThread(clerk.incr, "n")
done.addCallback(lambda n: print(n, isInIOThread(), flush=True))
done.addBoth(lambda _: reactor.stop())
reactor.run()
print(clerk.incr("n"), flush=True)
"""
    )
    assert await script.code() == 0
    assert script.output.split() == [b"1", b"2", b"True", b"3"]
