"""Real daemons that are told to stop: what they hold is passed on first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom

import pytest

from pbserver.departure import STOP_S_MAX
from tests.processes import ROOT, Service, service, understudy, wait_for
from understudy.daemons import TWISTD, Daemon, free_port

pytestmark = pytest.mark.processes

MIB = 1 << 20
#: "At once", on a machine that is busy with other tests.
AT_ONCE_S = 3.0
#: A clerk that comes and goes: its session is opened, and closed.
SESSION_ENTRIES = 2


def filled(running: Service, mib: int) -> bytes:
    """Puts so many MiB there, 4 in each value -> the value."""
    value = os.urandom(4 * MIB)
    with running.clerk(60) as clerk:
        for number in range(mib // 4):
            clerk.put(f"big{number}", value)
    return value


def told(daemon: Daemon, event: str) -> dict | None:
    return daemon.event(event)


def until_ended(daemon: Daemon, seconds: float) -> float:
    """Waits for its end -> how long that took."""
    began = time.monotonic()
    wait_for(lambda: daemon.exit_code() is not None, f"{daemon.name} to end", seconds)
    return time.monotonic() - began


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, ("s1", "s2")) as running:
        running.safe()
        yield running


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Service]:
    """Of which one is idle; and something to lose."""
    with service(tmp_path, ("s1", "s2", "s3")) as running:
        running.safe()
        with running.clerk(60) as clerk:
            clerk.put("k", "v")
        yield running


def restarted(running: Service) -> None:
    """The view service has just begun to listen again, and is in its margin."""
    running.views.terminate()
    until_ended(running.views, STOP_S_MAX)
    running.views.start()
    running.status()


@pytest.mark.parametrize("what", ["restarted", "killed", "paused"])
def test_primary_and_backup_stopped_while_no_view_can_be_created(three, what):
    both = [three.primary(), three.backup()]
    if what == "restarted":
        restarted(three)
        time.sleep(0.5)
    elif what == "killed":
        three.views.kill()
        time.sleep(0.2)
    else:
        three.views.pause()
    for daemon in both:
        daemon.terminate()
    if what == "killed":
        time.sleep(0.7)
        three.views.start()
    elif what == "paused":
        time.sleep(2)
        three.views.wake()
    for daemon in both:
        until_ended(daemon, 2 * STOP_S_MAX)
        assert told(daemon, "data.abandoned") is None
        assert "Traceback" not in daemon.last_words(1000)
    with three.clerk(60) as clerk:
        assert clerk.get("k") == b"v"


def test_a_whole_cluster_says_once_what_is_lost_and_ends_at_once(three):
    both = [three.primary(), three.backup()]
    began = time.monotonic()
    for daemon in (three.views, *both):
        daemon.terminate()
    for daemon in both:
        until_ended(daemon, STOP_S_MAX)
    assert time.monotonic() - began < AT_ONCE_S
    assert len([each for each in both if told(each, "data.abandoned")]) == 1


def test_a_rolling_restart_of_two_without_waiting_loses_nothing(pair):
    value = filled(pair, 240)
    first, second = pair.primary(), pair.backup()
    for daemon in (first, second):
        daemon.terminate()
        until_ended(daemon, 2 * STOP_S_MAX)
        assert daemon.exit_code() == -signal.SIGTERM
        assert told(daemon, "data.abandoned") is None
        assert "Traceback" not in daemon.last_words(1000)
        daemon.start()
        wait_for(lambda each=daemon: each.endpoint, f"{daemon.name} to listen")
    pair.safe()
    with pair.clerk(60) as clerk:
        for number in range(60):
            assert clerk.get(f"big{number}") == value


def test_all_that_are_stopped_at_once_end_at_once(pair):
    filled(pair, 4)
    both = [pair.primary(), pair.backup()]
    for daemon in both:
        daemon.terminate()
    assert until_ended(both[0], STOP_S_MAX) < AT_ONCE_S
    assert until_ended(both[1], STOP_S_MAX) < AT_ONCE_S
    (told_by,) = [each for each in both if told(each, "data.abandoned")]
    event = told(told_by, "data.abandoned")
    assert event["level"] == "critical"
    assert event["entries"] == 1 + SESSION_ENTRIES
    assert "no other server" in event["text"]
    wait = pair.until(lambda found: found["waiting"], "what is waited for")["waiting"]
    assert wait["code"] == "lost"


def test_the_last_one_ends_at_once_and_says_what_is_lost(pair):
    filled(pair, 4)
    first, last = pair.primary(), pair.backup()
    first.terminate()
    assert until_ended(first, STOP_S_MAX) < AT_ONCE_S
    assert told(first, "data.abandoned") is None
    last.terminate()
    assert until_ended(last, STOP_S_MAX) < AT_ONCE_S
    assert told(last, "data.abandoned")["entries"] == 1 + SESSION_ENTRIES


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_wait(pair, number):
    """The newcomer stands still, so that its transfer does not end; and the view
    service, too, or it would take the newcomer out of the view."""
    filled(pair, 128)
    entries = 32 + SESSION_ENTRIES
    old = pair.primary()
    newcomer = pair.backup()
    newcomer.kill()
    pair.until(lambda found: not found["view"]["backups"], "a view without a backup")
    newcomer.start()
    pair.until(lambda found: found["view"]["backups"], "a view with the newcomer")
    pair.views.pause()
    newcomer.pause()
    os.kill(old.pid, number)
    event = wait_for(lambda: told(old, "stop.delayed"), "the wait in the log")
    assert event["awaited"] == f"{newcomer.name} to be synced"
    assert event["entries"] == entries
    assert event["verified"] == {newcomer.name: 0}
    assert old.is_running()
    os.kill(old.pid, number)
    assert until_ended(old, STOP_S_MAX) < AT_ONCE_S
    assert old.exit_code() == -number
    assert told(old, "stop.hurried")
    assert told(old, "data.abandoned")["entries"] == entries
    assert "Traceback" not in old.last_words(1000)


def test_a_view_service_ends_at_once(pair):
    filled(pair, 4)
    pair.views.terminate()
    assert until_ended(pair.views, STOP_S_MAX) < AT_ONCE_S


def test_a_daemon_without_a_terminal_passes_on_what_it_holds(tmp_path):
    """Without ``-n`` the process that is told to stop is another one."""
    with service(tmp_path, ("s1",)) as running:
        pidfile, log = tmp_path / "s2.pid", tmp_path / "s2.log"
        arguments = [each for each in TWISTD if each not in {"-n", "--pidfile="}]
        arguments += ["--pidfile", str(pidfile), "--logfile", str(log)]
        port = free_port(SystemRandom())
        arguments += ["pbserver", "--name", "s2", "--views", running.address]
        arguments += ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        subprocess.run(arguments, cwd=ROOT, check=True, timeout=20)
        pid = int(wait_for(lambda: pidfile.exists() and pidfile.read_text(), "a pid"))
        try:
            running.safe()
            filled(running, 4)
            running["s1"].terminate()
            until_ended(running["s1"], STOP_S_MAX)
            running["s1"].start()
            wait_for(lambda: running["s1"].endpoint, "s1 to listen")
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not Path(f"/proc/{pid}").exists(), "s2 to end")
        except BaseException:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
            raise
        assert "data.abandoned" not in log.read_text()
        assert running.command("get", "big0", "--raw").returncode == 0


def test_ready_by_exit_code(pair):
    filled(pair, 4)
    old, other = pair.primary(), pair.backup()
    done = pair.command("ready", old.name)
    assert done.returncode == 0
    assert done.stdout == f"{old.name} is ready to serve\n".encode()
    assert pair.command("ready", old.name, "--to", "stop").returncode == 0
    other.terminate()
    until_ended(other, STOP_S_MAX)
    alone = pair.command("ready", old.name, "--to", "stop", "--json")
    assert alone.returncode == 1
    assert b"no other living server" in alone.stderr
    assert b'"not ready"' in alone.stdout
    assert pair.command("ready", old.name).returncode == 0
    assert pair.command("ready", other.name).returncode == 1
    waiting = subprocess.Popen(
        (
            *(sys.executable, "-m", "understudy", "ready", old.name, "--to", "stop"),
            *("--wait", "--views", pair.address, "--timeout", "20"),
        ),
        cwd=ROOT,
    )
    other.start()
    assert waiting.wait(25) == 0
    assert pair.command("ready", "s9").returncode == 1
    short = pair.command("ready", "s9", "--wait", "--timeout", "0.2")
    assert short.returncode == 1
    nobody = understudy("ready", "s1", "--views", "tcp:127.0.0.1:1", "--timeout", "0.3")
    assert nobody.returncode == 4


def test_up_ends_at_once(tmp_path):
    up = subprocess.Popen(
        (
            *(sys.executable, "-m", "understudy", "up", "--json"),
            *("--servers", "3", "--base-port", "0"),
        ),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert up.stdout is not None
        views = json.loads(up.stdout.readline())["views"]
        assert understudy("put", "k", "v", "--views", views).returncode == 0
        began = time.monotonic()
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=15)
        assert time.monotonic() - began < AT_ONCE_S
    finally:
        up.kill()
        up.wait()
