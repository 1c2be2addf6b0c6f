"""Real processes, and names whose lookup takes long or never ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import pytest

from tests.processes import (
    ROOT,
    Service,
    ask_status,
    service,
    understudy,
    wait_for,
)
from understudy.daemons import free_port, server

pytestmark = pytest.mark.processes

#: Puts a resolver into every Python process that is slow for one name; it can be
#: told by a file to be quick.
RESOLVER = """
import os, socket, time
real = socket.getaddrinfo
def getaddrinfo(host, *more, **options):
    if host == "slow.test":
        end = time.monotonic() + float(os.environ["LOOKUP_S"])
        while time.monotonic() < end and not os.path.exists(os.environ["QUICK"]):
            time.sleep(0.01)
        host = "127.0.0.1"
    return real(host, *more, **options)
socket.getaddrinfo = getaddrinfo
"""

#: So long does a lookup take that is slow, and one that hangs.
SLOW_S, FOR_EVER_S = 1.6, 600.0

#: What may pass for "at once" on a machine that is busy with other tests.
SOON_S = 10.0

#: How a daemon ends that was told to, and did not have to be killed.
ENDED = {0, -signal.SIGTERM}

Slow = Callable[[float], None]


@pytest.fixture
def lookups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Call it with the seconds that a lookup of slow.test is to take."""
    place = tmp_path / "resolver"
    place.mkdir()
    (place / "sitecustomize.py").write_text(RESOLVER)
    paths = [str(place), os.environ.get("PYTHONPATH", "")]

    def take(seconds: float) -> None:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        monkeypatch.setenv("LOOKUP_S", str(seconds))
        monkeypatch.setenv("QUICK", str(tmp_path / "quick"))

    return take


def slowly(address: str) -> str:
    return address.replace("127.0.0.1", "slow.test")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, ("s1", "s2")) as it:
        it.safe()
        yield it


def joined(it: Service, name: str) -> None:
    it.until(
        lambda found: any(
            each["name"] == name and each["connected"] for each in found["servers"]
        ),
        f"{name} to join",
    )


def test_commands_connect_when_a_slow_lookup_has_answered(
    two: Service, lookups: Slow
) -> None:
    lookups(SLOW_S)
    views = slowly(two.address)
    for command in (["put", "k", "v"], ["status"], ["verify"]):
        done = understudy(*command, "--views", views, "--timeout", "20")
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_server_joins_when_a_slow_lookup_has_answered(
    two: Service, lookups: Slow, tmp_path: Path
) -> None:
    lookups(SLOW_S)
    late = server(tmp_path, "s3", slowly(two.address))
    late.start()
    joined(two, "s3")
    delayed = late.event("lookup.delayed")
    assert delayed is not None
    assert "the name slow.test is being looked up" in delayed["reason"]
    assert late.stop() in ENDED


@pytest.mark.parametrize("command", [["get", "k"], ["put", "k", "v"], ["status"]])
def test_a_lookup_that_hangs_delays_no_deadline_and_is_named(
    command: list[str], lookups: Slow
) -> None:
    lookups(FOR_EVER_S)
    begun = time.monotonic()
    done = understudy(*command, "--views", "tcp:slow.test:7400", "--timeout", "1.5")
    assert time.monotonic() - begun < 1.5 + SOON_S
    assert done.returncode == 4
    assert b"the name slow.test is being looked up" in done.stderr


CLERK = """
from client import BlockingClerk, NotExecuted
try:
    BlockingClerk("tcp:slow.test:7400", timeout=1).get("a")
except NotExecuted:
    print("not executed")
"""


def test_a_program_with_a_clerk_ends_although_a_lookup_hangs(lookups: Slow) -> None:
    lookups(FOR_EVER_S)
    begun = time.monotonic()
    command = [sys.executable, "-c", CLERK]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "not executed\n")
    assert time.monotonic() - begun < 1 + SOON_S


def test_a_server_stops_although_a_lookup_hangs(lookups: Slow, tmp_path: Path) -> None:
    lookups(FOR_EVER_S)
    one = server(tmp_path, "s1", "tcp:slow.test:7400")
    one.start()
    wait_for(lambda: one.event("lookup.delayed"), "the lookup to be late")
    begun = time.monotonic()
    assert one.stop(SOON_S) in ENDED
    assert time.monotonic() - begun < SOON_S


def test_what_worked_last_is_dialled_while_a_lookup_hangs(
    two: Service, lookups: Slow, tmp_path: Path
) -> None:
    lookups(FOR_EVER_S)
    (tmp_path / "quick").touch()
    third = server(tmp_path, "s3", slowly(two.address))
    third.start()
    joined(two, "s3")
    (tmp_path / "quick").unlink()
    two.views.kill()
    two.views.start()
    wait_for(lambda: ask_status(two.address), "the view service to be back")
    joined(two, "s3")
    assert third.stop() in ENDED


def test_a_backup_whose_name_is_slow_becomes_a_backup(
    tmp_path: Path, lookups: Slow
) -> None:
    lookups(SLOW_S)
    with service(tmp_path, ("s1",)) as it:
        port = free_port(SystemRandom())
        advertise = ("--advertise", f"tcp:slow.test:{port}")
        late = server(tmp_path, "s2", it.address, port, advertise)
        late.start()
        assert it.safe()["view"]["backups"] == ["s2"]
        assert late.stop() in ENDED


def test_ctrl_c_is_not_delayed_by_a_lookup(lookups: Slow) -> None:
    lookups(FOR_EVER_S)
    command = [sys.executable, "-m", "understudy", "get", "k", "--timeout", "300"]
    asking = subprocess.Popen(
        [*command, "--views", "tcp:slow.test:7400"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    threads = Path(f"/proc/{asking.pid}/task")
    wait_for(lambda: len(list(threads.iterdir())) > 1, "the lookup to begin")
    asking.send_signal(signal.SIGINT)
    _, complaint = asking.communicate(timeout=SOON_S)
    assert asking.returncode == 4
    assert "not executed" in complaint
