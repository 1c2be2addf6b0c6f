"""Real daemons on loopback: what they do with bad input, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import SystemRandom

import pytest
from twisted.python.usage import UsageError

from client import NotANumber, TooLarge
from pbserver.service import Options as ServerOptions
from tests.processes import ROOT, ask_status, members, service, understudy, wait_for
from understudy.daemons import TWISTD, Daemon, free_port, server, view_service
from understudy.status import is_safe, state
from viewservice.options import Options as ViewServiceOptions

pytestmark = pytest.mark.processes

LOOPBACK = "tcp:0:interface=127.0.0.1"
NOBODY = "tcp:127.0.0.1:1"


def ended(daemon: Daemon) -> Daemon:
    """Started, and ended by itself."""
    daemon.start()
    wait_for(lambda: daemon.exit_code() is not None, f"{daemon.name} to end")
    return daemon


def said(daemon: Daemon) -> str:
    return daemon.log.read_text()


def events(daemon: Daemon, name: str, **values: object) -> list[dict]:
    """Those of that name in its log which have these values."""
    return [
        event
        for event in daemon.events()
        if event["event"] == name and values.items() <= event.items()
    ]


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


# -- what cannot be started ------------------------------------------------------------

USAGE = {
    "viewservice: unknown option": ("viewservice", ["--frob"], "--frob"),
    "viewservice: malformed endpoint": ("viewservice", ["--listen", "tcp"], "'tcp'"),
    "viewservice: too few dead pings": ("viewservice", ["--dead-pings", "2"], "'2'"),
    "viewservice: no connections": ("viewservice", ["--connections", "0"], "'0'"),
    "viewservice: a word for a limit": (
        "viewservice",
        ["--connections-per-address", "all"],
        "'all'",
    ),
    "viewservice: something more": ("viewservice", ["now"], "'now'"),
    "viewservice: a port that is a word": (
        "viewservice",
        ["--listen", "tcp:abc"],
        "'tcp:abc' ('abc' is no number)",
    ),
    "viewservice: a port that is missing": (
        "viewservice",
        ["--listen", "tcp"],
        "'tcp' (a part is missing or not known)",
    ),
    "viewservice: an unknown part": (
        "viewservice",
        ["--listen", "tcp:1:where=2"],
        "'tcp:1:where=2' (a part is missing or not known)",
    ),
    "viewservice: a port that does not exist": (
        "viewservice",
        ["--listen", "tcp:65536"],
        "'tcp:65536' (65536 is no port from 0 to 65535)",
    ),
    "pbserver: something more": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "now"],
        "'now'",
    ),
    "pbserver: something before": (
        "pbserver",
        ["now", "--name", "s1", "--listen", LOOPBACK],
        "'now'",
    ),
    "pbserver: a word for a limit": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--connections-per-address", "all"],
        "--connections-per-address: 'all'",
    ),
    "viewservice: gate": ("viewservice", ["--ack-gate", "open"], "'open'"),
    "viewservice: state or none": (
        "viewservice",
        ["--state", "x", "--volatile"],
        "exclude each other",
    ),
    "pbserver: unknown option": ("pbserver", ["--frob"], "--frob"),
    "pbserver: no name": ("pbserver", ["--listen", LOOPBACK], "--name"),
    "pbserver: nowhere to listen": ("pbserver", ["--name", "s1"], "--listen"),
    "pbserver: malformed endpoint": (
        "pbserver",
        ["--name", "s1", "--listen", "bogus:7"],
        "'bogus:7'",
    ),
    "pbserver: malformed view service": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--views", "7400"],
        "'7400'",
    ),
    "pbserver: malformed advertised address": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--advertise", "here"],
        "'here'",
    ),
    "pbserver: nobody may call": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--connections", "0"],
        "--connections: '0'",
    ),
    "pbserver: more than a moment": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--spin-us", "10001"],
        "--spin-us: '10001'",
    ),
    "pbserver: no number": (
        "pbserver",
        ["--name", "s1", "--listen", LOOPBACK, "--spin-us", "long"],
        "--spin-us: 'long'",
    ),
    "pbserver: a name that no terminal should see": (
        "pbserver",
        ["--name", "s\x1b[31m1", "--listen", LOOPBACK],
        "printable",
    ),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_of_daemons(name):
    plugin, arguments, what = USAGE[name]
    options = {"viewservice": ViewServiceOptions, "pbserver": ServerOptions}[plugin]()
    with pytest.raises(UsageError) as caught:
        options.parseOptions(arguments)
    assert what in str(caught.value)


@pytest.mark.parametrize("plugin", ["viewservice", "pbserver"])
def test_usage_of_a_process(tmp_path, plugin):
    arguments = (*TWISTD, plugin, "--listen", "bogus:7", "--name", "s1")
    daemon = ended(Daemon(plugin, arguments, tmp_path / "log"))
    assert daemon.exit_code() == 1
    what = "--name" if plugin == "viewservice" else "'bogus:7'"
    assert what in said(daemon)
    assert "Traceback" not in said(daemon)


@pytest.mark.parametrize("machine", ["nowhere:Nothing", "collections:OrderedDict"])
def test_a_machine_that_is_none_is_told_in_one_line(tmp_path, machine):
    daemon = ended(server(tmp_path, "s1", NOBODY, 0, ("--machine", machine)))
    assert daemon.exit_code() == 1
    (line,) = said(daemon).splitlines()
    assert line.startswith(f"twistd pbserver: --machine: {machine}: ")


def failed(daemon: Daemon) -> str:
    """Why a daemon ended: in one line, with exit code 1."""
    ended(daemon)
    assert daemon.exit_code() == 1
    (event,) = events(daemon, "daemon.failed")
    assert "Traceback" not in said(daemon)
    return event["text"]


def test_port_in_use(tmp_path, taken):
    assert str(taken) in failed(view_service(tmp_path, taken))
    assert str(taken) in failed(server(tmp_path, "s1", NOBODY, taken))


def test_state_file_damaged(tmp_path):
    path = tmp_path / "viewservice.json"
    path.write_text('{"view": 7')
    text = failed(view_service(tmp_path))
    assert str(path) in text
    assert "--new-cluster" in text
    assert path.read_text() == '{"view": 7', "what is damaged is left for repair"


def test_state_file_that_is_a_directory(tmp_path):
    (tmp_path / "viewservice.json").mkdir()
    assert "directory" in failed(view_service(tmp_path))


def test_state_file_in_use(tmp_path):
    first = view_service(tmp_path)
    first.start()
    try:
        wait_for(lambda: first.endpoint, "the first view service to listen")
        second = view_service(tmp_path)
        second.log = tmp_path / "second.log"
        text = failed(second)
        assert str(first.pid) in text
        assert first.is_running()
    finally:
        first.kill()


# -- who is not let in -----------------------------------------------------------------


def test_a_name_that_a_live_server_holds(tmp_path):
    with service(tmp_path, ("s1", "s2")) as running:
        before = running.safe()
        (tmp_path / "other").mkdir()
        double = server(tmp_path / "other", "s1", running.address)
        try:
            double.start()
            wait_for(lambda: double.exit_code() is not None, "the second s1 to stop")
        finally:
            double.kill()
        assert double.exit_code() == 1
        (event,) = events(double, "daemon.failed")
        assert "name in use" in event["text"]
        assert "--name" in event["text"]
        after = running.status()
        assert after["view"] == before["view"]
        assert after["servers"][0]["incarnation"] == before["servers"][0]["incarnation"]


def test_a_view_service_of_another_cluster(tmp_path):
    with service(tmp_path, ("s1", "s2")) as running:
        running.safe()
        old = running.status()["cluster"]
        running.views.kill()
        running.views.arguments = (*running.views.arguments, "--new-cluster")
        running.views.start()
        wait_for(lambda: running.views.endpoint, "the new view service")
        new = running.status()["cluster"]
        assert new != old
        wait_for(lambda: _told(running["s1"], new), f"s1 to refuse cluster {new}")
        assert running["s1"].is_running()
        assert running.status()["view"]["number"] == 0
        # Servers that are started anew may join.
        for name in ("s1", "s2"):
            running[name].kill()
            running[name].start()
        assert running.safe()["cluster"] == new


def _told(daemon: Daemon, words: str) -> bool:
    return any(words in json.dumps(event) for event in daemon.events())


def test_a_view_service_that_lost_its_memory(tmp_path):
    with service(tmp_path, ("s1", "s2"), ("--volatile",)) as running:
        running.safe()
        running.views.kill()
        running.views.start()
        wait_for(lambda: running.views.endpoint, "the view service")
        lost = running.until(
            lambda found: (found["waiting"] or {}).get("code") == "memory lost",
            "the loss to be noticed",
        )
        assert "--new-cluster" in lost["waiting"]["text"]
        assert lost["view"]["number"] == 0
        done = running.command("get", "k", "--timeout", "0.5")
        assert done.returncode == 4


def test_another_machine_is_not_replicated(tmp_path):
    (tmp_path / "another.py").write_text(
        "from pbserver.store import Store\n\n\nclass Machine(Store):\n    pass\n"
    )
    with service(tmp_path, ("s1",)) as running:
        running.until(lambda found: found["view"]["acknowledged"], "s1 to serve")
        stranger = server(
            tmp_path, "s2", running.address, 0, ("--machine", "another:Machine")
        )
        assert "start it with --machine pbserver.store:Store" in failed(stranger)
        running.until(
            lambda found: found["view"]["backups"] == [], "s2 to be in no view"
        )
        with running.clerk() as clerk:
            clerk.put("k", "v")


def test_wrong_commands_change_nothing(tmp_path):
    with service(tmp_path, ("s1", "s2")) as running:
        running.safe()
        with running.clerk() as clerk:
            clerk.put("word", "seven")
            with pytest.raises(NotANumber):
                clerk.incr("word")
            clerk.put("most", str(2**63 - 1))
            with pytest.raises(NotANumber):
                clerk.incr("most")
            with pytest.raises(TooLarge):
                clerk.put("k" * 65_537, "v")
            with pytest.raises(TooLarge):
                clerk.put("k", bytes(8 * 1024 * 1024 + 1))
            clerk.put("full", bytes(8 * 1024 * 1024))
            with pytest.raises(TooLarge):
                clerk.append("full", "x")
            assert clerk.get("word") == b"seven"
            assert len(clerk.get("full") or b"") == 8 * 1024 * 1024


# -- nobody to talk to -----------------------------------------------------------------


def test_a_server_waits_for_its_view_service(tmp_path):
    port = free_port(SystemRandom())
    address = f"tcp:127.0.0.1:{port}"
    waiting = server(tmp_path, "s1", address)
    views = view_service(tmp_path, port)
    try:
        waiting.start()
        wait_for(lambda: events(waiting, "dial.failed"), "the first failed attempt")
        # Long enough for many attempts, had each its line; nothing to wait for.
        time.sleep(0.7)
        assert len(events(waiting, "dial.failed")) == 1
        views.start()
        wait_for(lambda: events(waiting, "link.made"), "the connection")
        wait_for(lambda: is_serving(address), "the first view")
        views.kill()
        wait_for(lambda: events(waiting, "link.lost"), "the loss to be told")
        views.start()
        wait_for(
            lambda: len(events(waiting, "link.made")) == 2, "the second connection"
        )
        assert len(events(waiting, "link.lost")) == 1
        assert waiting.is_running()
    finally:
        waiting.kill()
        views.kill()


def is_serving(address: str) -> bool:
    found = ask_status(address)
    return found is not None and found["view"]["acknowledged"]


# -- how they end ----------------------------------------------------------------------


def test_sigterm_is_a_leave_taking(tmp_path):
    with service(tmp_path) as running:
        primary = running.primary()
        with running.clerk() as clerk:
            clerk.put("k", "v")
            assert primary.stop() == -signal.SIGTERM
            assert clerk.get("k") == b"v"
        found = running.safe(without=primary.name)
        causes = [
            cause
            for change in found["history"]
            for cause in change["causes"]
            if cause["server"] == primary.name
        ]
        assert causes[-1]["code"] == "leaving"
        assert running.views.stop() == -signal.SIGTERM
        assert "Traceback" not in running.last_words()


def test_a_broken_invariant_ends_the_process(tmp_path):
    (tmp_path / "broken.py").write_text(
        "from pbserver.store import Store\n\n\n"
        "class Machine(Store):\n"
        "    def apply(self, body, stamp_ms):\n"
        "        assert b'poison' not in body, 'poison'\n"
        "        return super().apply(body, stamp_ms)\n"
    )
    with service(tmp_path, ("s1",), (), ("--machine", "broken:Machine")) as running:
        running.until(lambda found: found["view"]["acknowledged"], "s1 to serve")
        assert running.command("put", "k", "fine").returncode == 0
        done = running.command("put", "k", "poison", "--timeout", "1")
        assert done.returncode == 3
        wait_for(lambda: running["s1"].exit_code() is not None, "s1 to end")
        assert running["s1"].exit_code() == 1
        (event,) = events(running["s1"], "invariant.broken")
        assert event["level"] == "critical"


def test_daemons_do_not_outlive_whoever_started_them(tmp_path):
    story = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.processes import Service\n"
        "running = Service(Path(sys.argv[1]), ('s1',))\n"
        "running.start()\n"
        "print(*(each.pid for each in running.cluster.all()), flush=True)\n"
        "time.sleep(60)\n"
    )
    starter = subprocess.Popen(
        (sys.executable, "-c", story, str(tmp_path)), stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert starter.stdout is not None
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
    finally:
        starter.kill()
        starter.wait()
    wait_for(lambda: not any(map(is_alive, pids)), "the daemons to be gone")


def is_alive(pid: int) -> bool:
    """Whether that process runs; one that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_up_serves_until_it_is_told_to_end(tmp_path):
    up = subprocess.Popen(
        (
            *(sys.executable, "-m", "understudy", "up", "--json"),
            *("--servers", "2", "--base-port", "0"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert up.stdout is not None
        told = json.loads(up.stdout.readline())
        names = [each["name"] for each in told["processes"]]
        assert names == ["views", "s1", "s2"]
        views = ("--views", told["views"])
        found = understudy("status", "--json", "--wait", "acknowledged", *views)
        assert found.returncode == 0, found.stderr
        assert is_safe(json.loads(found.stdout)) or members(json.loads(found.stdout))
        assert understudy("put", "k", "v", *views).returncode == 0
        victim = next(each for each in told["processes"] if each["name"] == "s2")
        os.kill(victim["pid"], signal.SIGKILL)
        assert understudy("get", "k", *views).stdout == b"v\n"
        up.send_signal(signal.SIGINT)
        rest, complaints = up.communicate(timeout=15)
    finally:
        up.kill()
        up.wait()
    assert up.returncode == 0, complaints
    lines = [json.loads(line) for line in rest.splitlines()]
    assert any(line.get("ended") == "s2" for line in lines)
    assert any(line.get("number") for line in lines)
    for each in told["processes"]:
        assert not is_alive(each["pid"])
    assert list(tmp_path.iterdir()) == [], "its directory goes with it"


def test_up_says_which_port_is_taken(taken, tmp_path):
    env = {"TMPDIR": str(tmp_path)}
    done = understudy("up", "--base-port", str(taken), env=env)
    assert done.returncode == 4
    (logs,) = tmp_path.iterdir()
    assert str(logs).encode() in done.stderr
    assert f"tcp:{taken}".encode() in done.stderr
    assert b"--base-port" in done.stderr


def test_a_restarted_server_comes_back_as_a_replacement(tmp_path):
    with service(tmp_path) as running:
        victim = running.primary()
        with running.clerk() as clerk:
            clerk.put("k", "v")
            victim.kill()
            running.safe(without=victim.name)
            victim.start()
            running.until(
                lambda found: state(found, victim.name) == "idle",
                f"{victim.name} to be idle",
            )
            assert clerk.get("k") == b"v"
        assert running.command("verify").returncode == 0
