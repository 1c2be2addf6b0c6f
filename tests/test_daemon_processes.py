"""Real daemons as twistd runs them: starting, failing to start, signals, files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

import pytest

from tests.processes import (
    PATIENCE_S,
    ROOT,
    ask_status,
    service,
    wait_for,
)
from understudy import daemons
from understudy.daemons import TWISTD, free_port, server
from viewservice.state_file import StateFile

pytestmark = pytest.mark.processes

RUN = TWISTD[:3]
LOOPBACK = "tcp:0:interface=127.0.0.1"
VIEWS = ("viewservice", "--volatile", "--listen", LOOPBACK)
SERVER = (
    "pbserver",
    "--name",
    "s1",
    "--listen",
    LOOPBACK,
    "--views",
    "tcp:127.0.0.1:1",
)
DAEMONS = {"viewservice": VIEWS, "pbserver": SERVER}
both = pytest.mark.parametrize("plugin", DAEMONS)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """The current directory of what is run; at the end no daemon is left in it."""
    yield tmp_path
    for file in tmp_path.glob("*.pid"):
        os.kill(int(file.read_text()), signal.SIGKILL)


def twistd(
    directory: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run it until it returns."""
    return subprocess.run(
        (*RUN, *arguments),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def running(
    directory: Path, *arguments: str, files: int = 0, run: tuple[str, ...] = RUN
) -> Iterator[subprocess.Popen[str]]:
    """One in the foreground, which may open so many *files*."""
    command = (*run, "-n", "--pidfile=", *arguments)
    if files:
        command = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command)
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def events(file: Path, name: str) -> list[dict]:
    """Those of that name in a log."""
    text = file.read_text() if file.exists() else ""
    found = [json.loads(line) for line in text.splitlines()]
    return [event for event in found if event["event"] == name]


def until_logged(file: Path, name: str) -> dict:
    return wait_for(lambda: events(file, name), f"{name} in {file.name}")[0]


def is_gone(file: Path) -> bool:
    """Whether twistd has removed that file of a process id."""
    return not file.exists()


# -- what cannot be started ------------------------------------------------------------


@both
@pytest.mark.parametrize("mode", [("-n", "--pidfile="), ()])
def test_a_usage_error_is_one_line(directory, plugin, mode):
    done = twistd(directory, *mode, plugin, "--listen", "bogus:7", "--name", "s1")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"twistd {plugin}: ")
    assert ("--name" if plugin == "viewservice" else "'bogus:7'") in line
    assert line.endswith(f"; see twistd {plugin} --help")
    assert list(directory.iterdir()) == []


@both
def test_the_help_of_a_daemon(directory, plugin):
    done = twistd(directory, plugin, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--listen=" in done.stdout


def detached(directory: Path, name: str, *arguments: str):
    """Without ``-n``: until the parent process has returned."""
    return twistd(
        directory, f"--pidfile={name}.pid", f"--logfile={name}.log", *arguments
    )


@both
def test_a_daemon_that_starts_says_nothing(directory, plugin):
    done = detached(directory, "a", *DAEMONS[plugin])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert events(directory / "a.log", "listening"), "before its parent has returned"


def failed(done: subprocess.CompletedProcess[str], directory: Path) -> str:
    """The reason, as standard error has it in one line, and the log too."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    line, *rest = done.stderr.splitlines()
    # twistd adds two lines of its own.
    assert [each.partition(":")[0] for each in rest] == [
        "An error has occurred",
        "Please look at log file for more information.",
    ]
    (event,) = events(directory / "b.log", "daemon.failed")
    assert line.endswith(event["text"])
    wait_for(lambda: is_gone(directory / "b.pid"), "the end of the daemon")
    return line


@both
def test_a_port_that_is_taken_is_reported_by_a_daemon(directory, plugin):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
        line = failed(detached(directory, "b", *DAEMONS[plugin], *listen), directory)
    assert line.startswith(f"twistd {plugin}: cannot listen on tcp:{port}:")


def test_a_state_file_that_is_in_use_is_reported_by_a_daemon(directory):
    views = ("viewservice", "--listen", LOOPBACK, "--state")
    assert detached(directory, "a", *views, "x.state").returncode == 0
    (directory / "link").symlink_to("x.state")
    pid = (directory / "a.pid").read_text()
    for name in ("x.state", "link"):
        line = failed(detached(directory, "b", *views, name), directory)
        assert f"in use by another view service (process {pid})" in line
        (directory / "b.log").unlink()


def test_a_damaged_state_file_is_reported_by_a_daemon(directory):
    (directory / "x.state").touch()
    views = ("viewservice", "--listen", LOOPBACK, "--state", "x.state")
    assert "damaged: it is empty" in failed(detached(directory, "b", *views), directory)


def test_in_the_foreground_standard_error_has_it_if_the_log_is_elsewhere(directory):
    (directory / "x.state").mkdir()
    arguments = ("viewservice", "--listen", LOOPBACK, "--state", "x.state")
    mode = ("-n", "--pidfile=")
    done = twistd(directory, *mode, "--logfile=x.log", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "is a directory" in line
    done = twistd(directory, *mode, *arguments)
    assert (done.returncode, done.stderr) == (1, ""), "not twice on a terminal"
    assert "is a directory" in done.stdout


WRONG_FILES = {
    "a log that cannot be": ("--logfile=none/x.log", "cannot open none/x.log"),
    "a log on no terminal": ("--logfile=-", "add -n"),
    "a pid file that cannot be": ("--pidfile=none/x.pid", "none/x.pid"),
}


@both
@pytest.mark.parametrize("name", WRONG_FILES)
def test_files_of_twistd_that_cannot_be_are_told_in_a_line(directory, plugin, name):
    option, what = WRONG_FILES[name]
    done = twistd(directory, "--pidfile=x.pid", option, *DAEMONS[plugin])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert what in line


def bind_mount(directory: Path, source: str, target: str) -> list[str]:
    """The beginning of a command after which *target* is *source*."""
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    paths = (str(directory / source), str(directory / target))
    return [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        *paths,
    ]


@pytest.mark.parametrize("content", ["state", "empty"])
@pytest.mark.parametrize("more", [(), ("--new-cluster",)])
def test_a_state_file_that_is_a_mount_is_refused_at_the_start(directory, content, more):
    for name in ("x.state", "y.state"):
        (directory / name).touch()
    probe = (*bind_mount(directory, "x.state", "y.state"), "true")
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("no file can be mounted here")
    if content == "state":
        (directory / "x.state").unlink()
        assert (
            detached(
                directory,
                "a",
                "viewservice",
                "--listen",
                LOOPBACK,
                "--state",
                "x.state",
            ).returncode
            == 0
        )
        os.kill(int((directory / "a.pid").read_text()), signal.SIGTERM)
        wait_for(lambda: is_gone(directory / "a.pid"), "the first to end")
        assert StateFile(directory / "x.state").load() is not None
    views = ("viewservice", "--listen", LOOPBACK, "--state", "y.state", *more)
    done = subprocess.run(
        (
            *bind_mount(directory, "x.state", "y.state"),
            *(*RUN, "-n", "--pidfile=", *views),
        ),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "listening" not in done.stdout
    assert "mount the directory, not the file" in done.stdout


# -- Ctrl-C while it starts ------------------------------------------------------------

#: Raises a signal (Ctrl-C: SIGINT) when a module is imported, or when a method is
#: called, and then runs twistd.
PRESS = """
import os, signal, sys

def press():
    os.kill(os.getpid(), number)

def press_in(cls, name):
    real = getattr(cls, name)
    def method(*args, **kwargs):
        press()
        return real(*args, **kwargs)
    setattr(cls, name, method)

class Finder:
    def find_spec(self, name, path, target=None):
        if name == moment:
            press()

number, moment = int(sys.argv.pop(1)), sys.argv.pop(1)
sys.meta_path.insert(0, Finder())
from twisted.application import app, service
from twisted.internet.base import ReactorBase
moments = {
    "the log begins": (app.AppLogger, "start"),
    "startService": (service.MultiService, "startService"),
    "run": (ReactorBase, "startRunning"),
    "running": (ReactorBase, "_reallyStartRunning"),
}
if moment == "makeService":
    from twisted.python import reflect
    real = service.namedAny
    def named(name):
        press()
        return real(name)
    service.namedAny = named
elif moment in moments:
    press_in(*moments[moment])
from twisted.scripts.twistd import run
run()
"""

MOMENTS = (
    *("viewservice.service", "pbserver.service", "wire.daemon", "wire.messages"),
    *("twisted.internet.epollreactor", "twisted.internet.reactor", "structlog"),
    *("makeService", "the log begins", "startService", "run", "running"),
)


def press(number: signal.Signals, moment: str) -> tuple[str, ...]:
    return (sys.executable, "-c", PRESS, str(int(number)), moment)


@both
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_daemon_that_starts(directory, plugin, moment):
    if moment.endswith(".service") and not moment.startswith(plugin):
        pytest.skip("not imported by this one")
    done = subprocess.run(
        (*press(signal.SIGINT, moment), "-n", "--pidfile=", *DAEMONS[plugin]),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""
    assert "Traceback" not in done.stdout


def test_a_ctrl_c_that_is_ignored_stays_ignored(directory):
    """``nohup``, and what a shell starts in the background."""
    with running(directory, "--logfile=x.log", *VIEWS) as process:
        until_logged(directory / "x.log", "listening")
        assert not ignores(process.pid, signal.SIGINT)
    (directory / "x.log").unlink()
    command = ("sh", "-c", 'trap "" INT; exec "$@"', "sh", *RUN, "-n", "--pidfile=")
    process = subprocess.Popen(
        (*command, "--logfile=x.log", *VIEWS),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        until_logged(directory / "x.log", "listening")
        assert ignores(process.pid, signal.SIGINT)
    finally:
        process.kill()
        process.wait()


def ignores(pid: int, number: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn")]
    return bool(mask >> (number - 1) & 1)


# -- SIGUSR1 ---------------------------------------------------------------------------


@both
@pytest.mark.parametrize("is_moved", [True, False])
def test_sigusr1_opens_the_log_again(directory, plugin, is_moved):
    assert detached(directory, "a", *DAEMONS[plugin]).returncode == 0
    pid = int((directory / "a.pid").read_text())
    log, old = directory / "a.log", directory / "a.log.1"
    if is_moved:
        log.rename(old)
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: log.exists() and old.exists(), "a new log")
    assert events(old, "listening")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: is_gone(directory / "a.pid"), "the end of the daemon")
    assert "SIGTERM" in log.read_text()
    assert "SIGTERM" not in old.read_text()


@both
@pytest.mark.parametrize("moment", ["wire.daemon", "makeService"])
def test_sigusr1_does_not_end_a_daemon_that_starts(directory, plugin, moment):
    run = press(signal.SIGUSR1, moment)
    with running(directory, "--logfile=x.log", *DAEMONS[plugin], run=run):
        until_logged(directory / "x.log", "listening")


@both
def test_sigusr1_without_a_log_file_changes_nothing(directory, plugin):
    with running(directory, *DAEMONS[plugin]) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        assert ignores(process.pid, signal.SIGUSR1)


# -- running out of files --------------------------------------------------------------


def test_callers_cannot_use_up_the_files_of_a_view_service(directory):
    """It goes on, also where it has to write its state, and says what it lacks."""
    port = free_port(SystemRandom())
    address = f"tcp:127.0.0.1:{port}"
    listen = ("--listen", f"tcp:{port}:interface=127.0.0.1")
    log = directory / "x.log"
    arguments = ("--logfile=x.log", "viewservice", "--state", "x.state", *listen)
    s1 = server(directory, "s1", address)
    with running(directory, *arguments, files=256) as process, ExitStack() as callers:
        limited = until_logged(log, "files.limited")
        assert (limited["files"], limited["connections"]) == (256, 56)
        until_logged(log, "listening")
        try:
            s1.start()
            wait_for(lambda: events(log, "view.acknowledged"), "s1 to serve")
            for _ in range(300):
                callers.enter_context(socket.create_connection(("127.0.0.1", port)))
            filled = until_logged(log, "listener.filled")
            assert "32 connections of strangers" in filled["text"]
            # A death has to be written down.
            s1.kill()
            wait_for(lambda: events(log, "server.died"), "the death of s1")
            assert process.poll() is None
            callers.close()
            wait_for(lambda: ask_status(address), "an answer after that")
        finally:
            s1.kill()


@both
def test_out_of_files_is_logged(directory, plugin):
    """So few that even the reserve is not enough."""
    arguments = ("--logfile=x.log", *DAEMONS[plugin])
    log = directory / "x.log"
    with running(directory, *arguments, files=32), ExitStack() as callers:
        endpoint = until_logged(log, "listening")["endpoint"]
        port = int(endpoint.rpartition(":")[2])
        for _ in range(64):
            callers.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert "ulimit -n" in until_logged(log, "files.limited")["text"]
        assert until_logged(log, "accept.failed")["error"] == "EMFILE"


# -- the wall clock --------------------------------------------------------------------

#: Runs twistd under a wall clock that SIGUSR2 sets back by an hour.
SET_BACK = """
import signal, time
wall, back_s = time.time, 0
time.time = lambda: wall() - back_s
def set_back(*_):
    global back_s
    back_s = 3600
signal.signal(signal.SIGUSR2, set_back)
from twisted.scripts.twistd import run
run()
"""


def test_a_wall_clock_that_is_set_back_stops_nothing(tmp_path, monkeypatch):
    set_back = (sys.executable, "-c", SET_BACK, *TWISTD[3:])
    monkeypatch.setattr(daemons, "TWISTD", set_back)
    with service(tmp_path) as cluster:
        primary = cluster.primary()
        for daemon in cluster.cluster.all():
            os.kill(daemon.pid, signal.SIGUSR2)
        with cluster.clerk() as clerk:
            clerk.put("k", "v")
            primary.pause()
            cluster.safe(without=primary.name)
            assert clerk.get("k") == b"v"
        (began,) = events(tmp_path / "views.log", "listening")
        (died,) = events(tmp_path / "views.log", "server.died")
        assert died["timestamp"] < began["timestamp"], "the clock was set back"
