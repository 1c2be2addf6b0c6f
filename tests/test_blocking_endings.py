"""The blocking clerk when the thread that works for it is gone, stuck, or was
never there: at the end of a program, after a fork, and as garbage."""

from __future__ import annotations

import copy
import gc
import logging
import os
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.python.failure import Failure

import client.background
from client import BlockingClerk, ClerkError, InDoubt, NotExecuted
from client.background import LATE_S, LOOK_S, background
from tests.model_servers import ModelCluster
from tests.test_blocking import Script, in_thread
from tests.until import until


@pytest_twisted.async_yield_fixture
async def cluster() -> AsyncIterator[ModelCluster]:
    cluster = await ModelCluster().up()
    yield cluster
    await cluster.down()


def ended(call: Callable[[], Any]) -> tuple[type[ClerkError], str, float]:
    """How it ended, what it said, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises(ClerkError) as caught:
        call()
    return type(caught.value), str(caught.value), time.monotonic() - began


def apart(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Call it in a thread which ends with the process, even if it is stuck."""
    done: Deferred[Any] = Deferred()

    def work() -> None:
        try:
            outcome: Any = function(*args)
        except BaseException:  # noqa: BLE001 -- whatever it is, the test gets it
            outcome = Failure()
        reactor.callFromThread(lambda: done.called or done.callback(outcome))

    threading.Thread(target=work, daemon=True).start()
    return done.addTimeout(20, reactor)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# -- the thread ------------------------------------------------------------------


@pytest.mark.parametrize("seconds_max", [None, 60.0])
@pytest_twisted.ensureDeferred
async def test_no_call_waits_for_a_thread_that_has_ended(
    cluster: ModelCluster, seconds_max: float | None
) -> None:
    cluster.s1.is_paused = True
    clerk = BlockingClerk(cluster.views.address, seconds_max)
    writing = apart(ended, lambda: clerk.incr("n"))
    await until(lambda: cluster.s1._waiting, "the server has got something")
    reading = apart(ended, lambda: clerk.get("n"))
    here = clerk._core
    assert here is not None
    await until(lambda: len(here.clerk._replies) == 2, "both calls are made")
    ground = background()
    ground.reactor.callFromThread(ground.reactor.stop)
    for waiting, kind in ((writing, InDoubt), (reading, NotExecuted)):
        found, said, seconds = await waiting
        assert found is kind
        assert "background thread" in said
        assert seconds < LOOK_S + 2
    # The next call is made, on a thread of its own.
    cluster.s1.is_paused = False
    cluster.s1.work()
    assert await in_thread(clerk.incr, "m") == 1
    assert background() is not ground
    await in_thread(clerk.close)


@pytest_twisted.ensureDeferred
async def test_a_clerk_whose_thread_has_ended_is_closed(cluster: ModelCluster) -> None:
    clerk = BlockingClerk(cluster.views.address, timeout=60)
    await in_thread(clerk.incr, "n")
    ground = background()
    ground.reactor.callFromThread(ground.reactor.stop)
    await until(lambda: not ground.is_usable, "the thread has ended")
    await in_thread(clerk.close)
    found, said, _ = await apart(ended, lambda: clerk.get("n"))
    assert (found, said) == (NotExecuted, "the clerk is closed")


@pytest_twisted.ensureDeferred
async def test_no_call_waits_longer_than_it_may_for_a_thread_that_is_stuck(
    cluster: ModelCluster,
) -> None:
    clerk = BlockingClerk(cluster.views.address, timeout=60)
    assert await in_thread(clerk.incr, "n") == 1
    cluster.s1.is_paused = True
    writing = apart(ended, lambda: clerk.incr("n", timeout=0.6))
    await until(lambda: cluster.s1._waiting, "the server has got something")
    go_on = threading.Event()
    background().reactor.callFromThread(go_on.wait)
    try:
        found, said, seconds = await apart(
            ended, lambda: clerk.put("n", "never", timeout=0.3)
        )
        assert found is NotExecuted, "it was never begun"
        assert "stuck" in said
        assert 0.3 <= seconds < 0.3 + LATE_S + 1
        found, said, seconds = await writing
        assert found is InDoubt
        assert seconds < 0.6 + LATE_S + 1
    finally:
        go_on.set()
    cluster.s1.is_paused = False
    cluster.s1.work()
    assert await in_thread(clerk.get, "n") == b"2"
    await in_thread(clerk.close)


@pytest.fixture
def no_background(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As at the beginning of a program."""
    with monkeypatch.context() as patched:
        patched.setattr(client.background, "_shared", None)
        yield
        if (ground := client.background._shared) is not None:
            ground.end()


def cannot_start(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def does_not_start(_: threading.Thread) -> None:
    """As where a program was built without threads."""


@pytest.mark.usefixtures("no_background")
@pytest.mark.parametrize("start", [cannot_start, does_not_start])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_without_a_thread_nothing_is_executed(
    monkeypatch: pytest.MonkeyPatch, start: Any, timeout: float | None
) -> None:
    gc.collect()  # Files of earlier tests would go meanwhile.
    before = open_files()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        clerk = BlockingClerk("tcp:127.0.0.1:1", timeout)
        for call in (lambda: clerk.incr("n"), lambda: clerk.get("n")):
            found, said, seconds = ended(call)
            assert found is NotExecuted
            assert "no thread can be started" in said
            assert seconds < 1
    assert open_files() <= before
    # As soon as there can be threads, it works.
    found, said, _ = ended(lambda: clerk.get("n", timeout=0.05))
    assert "127.0.0.1:1 (connection refused)" in said
    clerk.close()


@pytest_twisted.ensureDeferred
async def test_a_call_without_a_timeout_does_not_wait_in_silence(
    cluster: ModelCluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(client.background, "LOOK_S", 0.02)
    monkeypatch.setattr(client.background, "WARN_S", 0.05)
    cluster.s1.is_paused = True
    clerk = BlockingClerk(cluster.views.address)
    with caplog.at_level(logging.WARNING, "client"):
        reading = apart(clerk.get, "k")
        await until(lambda: caplog.records, "a warning is logged")
    (record,) = caplog.records
    assert f"the primary s1 at {cluster.s1.member.address}" in record.getMessage()
    cluster.s1.is_paused = False
    cluster.s1.work()
    assert await reading is None
    await in_thread(clerk.close)


# -- the end of a program ----------------------------------------------------------


async def told(source: str, cluster: ModelCluster, seconds: float = 4.0) -> list[str]:
    """What a script prints after READY, and that it ends soon after."""
    script = Script(source.replace("VIEWS", repr(cluster.views.address)))
    await script.ready()
    ready = reactor.seconds()
    try:
        code = await script.code()
    finally:
        with suppress(ProcessExitedAlready):
            script.transport.signalProcess("KILL")
    text = script.output.decode()
    assert code == 0, text
    assert reactor.seconds() - ready < seconds
    assert "Traceback" not in text
    return text.partition("READY\n")[2].splitlines()


@pytest_twisted.ensureDeferred
async def test_an_exit_handler_may_still_call(cluster: ModelCluster) -> None:
    said = await told(
        """
import atexit
from client import BlockingClerk
atexit.register(lambda: print(clerk.delete("lock", timeout=2)))
clerk = BlockingClerk(VIEWS, timeout=2)
clerk.put("lock", "held")
print("READY", flush=True)
""",
        cluster,
    )
    assert said == ["True"]
    assert cluster.service.sessions == {}


CALLS = """
import time
def calls():
    for timeout in (2, None):
        began = time.monotonic()
        try:
            clerk.delete("lock", timeout=timeout)
        except Exception as error:
            print(type(error).__name__, "is ending" in str(error))
        print(time.monotonic() - began < 0.5, flush=True)
"""


@pytest.mark.parametrize("is_used", [True, False])
@pytest_twisted.ensureDeferred
async def test_after_the_last_exit_handler_a_call_ends_at_once(
    cluster: ModelCluster, is_used: bool
) -> None:
    said = await told(
        f"""
import atexit
{CALLS}
atexit.register(calls)
from client import BlockingClerk
clerk = BlockingClerk(VIEWS)
if {is_used}:
    clerk.put("lock", "held")
print("READY", flush=True)
""",
        cluster,
    )
    assert said == ["NotExecuted True", "True"] * 2


@pytest_twisted.ensureDeferred
async def test_what_dies_with_the_program_may_call(cluster: ModelCluster) -> None:
    said = await told(
        f"""
from client import BlockingClerk
{CALLS}
class Buffer:
    def __del__(self, calls=calls):
        calls()
buffer = Buffer()
buffer.itself = buffer
clerk = BlockingClerk(VIEWS)
clerk.put("lock", "held")
print("READY", flush=True)
""",
        cluster,
    )
    assert said == ["NotExecuted True", "True"] * 2


@pytest_twisted.ensureDeferred
async def test_calls_of_other_threads_end_with_the_program(
    cluster: ModelCluster,
) -> None:
    """One is under way, and others are made while clerks are being closed."""
    cluster.s1.is_paused = True
    said = await told(
        """
import threading, time
from client import BlockingClerk, NotExecuted
clerk = BlockingClerk(VIEWS)
def read():
    try:
        clerk.get("k")
    except NotExecuted:
        print("not executed", flush=True)
def go_on():
    while True:
        read()
        time.sleep(0.1)
threading.Thread(target=go_on, daemon=True).start()
while not clerk._core or not clerk._core.clerk._lines._primary:
    time.sleep(0.01)
print("READY", flush=True)
""",
        cluster,
    )
    assert said
    assert set(said) == {"not executed"}


# -- after a fork ------------------------------------------------------------------


@pytest.mark.parametrize("way", ["sys.exit(0)", "os._exit(0)", "clerk.close()", "pass"])
@pytest_twisted.ensureDeferred
async def test_a_child_that_leaves_does_nothing_to_its_parent(
    cluster: ModelCluster, way: str
) -> None:
    said = await told(
        f"""
import os, sys
from client import BlockingClerk
print("READY", flush=True)
with BlockingClerk(VIEWS, timeout=9) as clerk:
    clerk.incr("n")
    child = os.fork()
    if not child:
        {way}
    else:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, clerk.incr("n"), flush=True)
""",
        cluster,
    )
    assert said[-1] == "0 2"
    assert cluster.s1.opened_count == 1
    assert cluster.service.sessions == {}


@pytest_twisted.ensureDeferred
async def test_a_child_closes_its_copies_of_the_sockets(cluster: ModelCluster) -> None:
    clerk = BlockingClerk(cluster.views.address, timeout=9)
    await in_thread(clerk.incr, "n")
    here = clerk._core
    assert here is not None
    links = here.clerk._lines._views._dialler.link, here.clerk._lines._primary
    sockets = [links[0].transport.socket, links[1]._dialler.link.transport.socket]
    child = os.fork()
    if not child:
        os._exit(sum(each.fileno() != -1 for each in sockets))
    _, status = await in_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await in_thread(clerk.incr, "n") == 2
    assert cluster.s1.opened_count == 1
    await in_thread(clerk.close)


@pytest_twisted.ensureDeferred
async def test_a_connection_does_not_outlive_its_parent_in_a_child(
    cluster: ModelCluster,
) -> None:
    script = Script(
        f"""
import os, signal, time
from client import BlockingClerk
clerk = BlockingClerk("{cluster.views.address}", timeout=9)
clerk.incr("n")
child = os.fork()
if not child:
    print("READY", flush=True)
    os.close(1); os.close(2)
    time.sleep(20)
else:
    while True:
        signal.pause()
"""
    )
    await script.ready()
    os.kill(script.transport.pid, 9)
    await until(lambda: not cluster.s1.links, "the server has lost the parent")
    await until(lambda: not cluster.views.links, "the view service, too")


@pytest_twisted.ensureDeferred
async def test_workers_that_are_forked_share_a_clerk_by_name(
    cluster: ModelCluster,
) -> None:
    """As with a server that loads the program before it forks its workers."""
    said = await told(
        """
import multiprocessing
from client import BlockingClerk
clerk = BlockingClerk(VIEWS, timeout=9)
def work(_):
    return clerk.incr("n")
if __name__ == "__main__":
    print("READY", flush=True)
    clerk.incr("n")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(sorted(pool.map(work, range(30))) == list(range(2, 32)))
    print(clerk.incr("n"))
""",
        cluster,
        seconds=15,
    )
    assert said[-2:] == ["True", "32"]


@pytest_twisted.ensureDeferred
async def test_before_the_first_call_there_is_no_thread(cluster: ModelCluster) -> None:
    said = await told(
        """
import threading
from client import BlockingClerk
clerk = BlockingClerk(VIEWS, timeout=9)
print("READY", threading.active_count(), flush=True)
print("READY", flush=True)
""",
        cluster,
    )
    assert said == []


# -- garbage -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_clerk_that_is_garbage_hangs_up_and_warns(
    cluster: ModelCluster,
) -> None:
    def use() -> None:
        for _ in range(10):
            BlockingClerk(cluster.views.address, timeout=5).incr("n")
        gc.collect()

    before = None
    for _ in range(3):
        with pytest.warns(ResourceWarning, match=cluster.views.address):
            await in_thread(use)
        await until(lambda: not cluster.views.links, "all have hung up there")
        await until(lambda: not cluster.s1.links, "all have hung up here, too")
        assert cluster.service.sessions == {}
        gc.collect()
        before = before or open_files()
    assert open_files() <= before + 2


@pytest_twisted.ensureDeferred
async def test_what_was_closed_or_never_used_warns_of_nothing(
    cluster: ModelCluster, recwarn: pytest.WarningsRecorder
) -> None:
    def use() -> None:
        with BlockingClerk(cluster.views.address, timeout=5) as clerk:
            clerk.incr("n")
        del clerk
        BlockingClerk(cluster.views.address)
        with pytest.raises(ValueError, match="tcp:HOST:PORT"):
            BlockingClerk("nonsense")
        gc.collect()

    await in_thread(use)
    assert [str(each.message) for each in recwarn] == []


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_clerk_is_not_copied(copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="make another one where it is needed"):
        copied(BlockingClerk("tcp:127.0.0.1:1"))
