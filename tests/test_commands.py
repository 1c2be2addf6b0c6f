"""The `understudy` command over a running service: answers and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from argparse import SUPPRESS
from pathlib import Path

import pytest

from tests.documents import blocks, read
from tests.processes import ROOT, Service, service, understudy, wait_for
from understudy.main import MODULES, main
from understudy.options import _parser, parse
from understudy.status import is_safe
from wire.codec import Decoder, encode
from wire.messages import (
    CLERK,
    SERVER,
    VERSION,
    VIEW_SERVICE,
    Batch,
    Hello,
    Member,
    OpenSession,
    SessionOpened,
    View,
    ViewIs,
    Watch,
)

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with service(tmp_path_factory.mktemp("commands"), ("s1", "s2")) as running:
        running.safe()
        yield running


def told(done):
    """Exit code, stdout, and whether anything was complained about."""
    return done.returncode, done.stdout, bool(done.stderr)


def test_put_get_append_delete(running: Service):
    assert told(running.command("put", "a", "one")) == (0, b"", False)
    assert told(running.command("get", "a")) == (0, b"one\n", False)
    assert told(running.command("append", "a", "two")) == (0, b"6\n", False)
    assert told(running.command("get", "--raw", "a")) == (0, b"onetwo", False)
    assert told(running.command("delete", "a")) == (0, b"", False)
    gone = running.command("get", "a")
    assert told(gone) == (1, b"", True)
    assert b"no such key: 'a'" in gone.stderr
    assert running.command("delete", "a").returncode == 1


def test_bytes_come_back_as_they_went(running: Service):
    value = bytes(range(256)) * 100
    assert running.command("put", "bytes", "-", stdin=value).returncode == 0
    assert running.command("get", "bytes", "--raw").stdout == value
    assert running.command("append", "bytes", "-", stdin=b"\xff").returncode == 0
    assert running.command("get", "bytes", "--raw").stdout == value + b"\xff"
    dash = ("append", "--views", running.address, "dash", "--", "-")
    assert understudy(*dash).returncode == 0
    assert running.command("get", "dash", "--raw").stdout == b"-"
    assert told(running.command("put", "empty", "")) == (0, b"", False)
    assert told(running.command("get", "empty")) == (0, b"\n", False)


def test_cas(running: Service):
    assert running.command("cas", "c", "first", "--absent").returncode == 0
    again = running.command("cas", "c", "second", "--absent")
    assert again.returncode == 1
    assert b"'c' is not absent" in again.stderr
    assert running.command("cas", "c", "first", "second").returncode == 0
    wrong = running.command("cas", "c", "first", "third")
    assert wrong.returncode == 1
    assert b"'c' is not 'first', but 'second'" in wrong.stderr
    missing = running.command("cas", "nokey", "x", "y")
    assert missing.returncode == 1
    assert b"'nokey' is no key" in missing.stderr
    assert running.command("get", "c").stdout == b"second\n"


def test_incr(running: Service):
    assert told(running.command("incr", "n")) == (0, b"1\n", False)
    assert told(running.command("incr", "n", "41")) == (0, b"42\n", False)
    assert told(running.command("incr", "n", "-50")) == (0, b"-8\n", False)
    running.command("put", "word", "seven")
    wrong = running.command("incr", "word")
    assert told(wrong) == (1, b"", True)
    assert b"number" in wrong.stderr
    assert b"key 'word', which holds 'seven'" in wrong.stderr


def test_scan(running: Service):
    for key, value in (("x1", "a\tb"), ("x2", "ü"), ("x3", "line\n")):
        running.command("put", key, value)
    assert (
        running.command("scan", "--prefix", "x").stdout.decode()
        == "x1\ta\\tb\nx2\tü\nx3\tline\\n\n"
    )
    assert (
        running.command("scan", "--start", "x2", "--end", "x3").stdout
        == "x2\tü\n".encode()
    )
    assert (
        running.command("scan", "--prefix", "x", "--limit", "1").stdout
        == b"x1\ta\\tb\n"
    )
    found = json.loads(running.command("scan", "--prefix", "x3", "--json").stdout)
    assert found == [{"key": "x3", "value": "line\n"}]


def test_json(running: Service):
    running.command("put", "j", "-", stdin=b"\xff\x00")
    found = json.loads(running.command("get", "j", "--json").stdout)
    assert found == {"key": "j", "value_base64": "/wA="}
    missing = running.command("get", "nothing", "--json")
    assert missing.returncode == 1
    assert json.loads(missing.stdout)["error"]["code"] == "no such key"


def test_too_large(running: Service):
    key = running.command("put", "-", "v", stdin=b"")
    assert key.returncode == 0, "a dash is a key like any other"
    large = running.command("put", "large", "-", stdin=bytes(8 * 1024 * 1024 + 1))
    assert told(large) == (1, b"", True)
    assert b"the value has more than 8388608 bytes (key 'large')" in large.stderr
    large = running.command("put", "large", "-", "--json", stdin=bytes(9_000_000))
    assert json.loads(large.stdout)["error"]["code"] == "too large"
    assert running.command("put", "k" * 65537, "v").returncode == 1
    exact = bytes(8 * 1024 * 1024)
    assert running.command("put", "large", "-", stdin=exact).returncode == 0
    assert running.command("get", "large", "--raw").stdout == exact
    assert running.command("delete", "large").returncode == 0


def test_status(running: Service):
    found = json.loads(
        running.command("status", "--json", "--wait", "acknowledged").stdout
    )
    assert is_safe(found)
    assert {"cluster", "view", "servers", "waiting", "history"} <= found.keys()
    words = running.command("status").stdout.decode()
    primary = found["view"]["primary"]
    assert f"primary {primary}" in words
    for server in found["servers"]:
        assert server["address"] in words
        assert server["incarnation"][:8] in words


def test_verify(running: Service):
    running.command("put", "v", "w")
    done = running.command("verify")
    assert done.returncode == 0
    assert done.stdout.startswith(b"ok: ")
    found = json.loads(running.command("verify", "--json").stdout)
    assert found["same"] is True
    digests = {member["digest"] for member in found["members"]}
    assert len(found["members"]) == 2
    assert len(digests) == 1
    assert len(digests.pop()) >= 16


def test_watch_starts_with_the_view_and_ends_with_ctrl_c(running: Service):
    watching = subprocess.Popen(
        (
            sys.executable,
            "-m",
            "understudy",
            "watch",
            "--json",
            "--views",
            running.address,
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert first["number"] == running.status()["view"]["number"]
        watching.send_signal(signal.SIGINT)
        _, complaints = watching.communicate(timeout=10)
        assert (watching.returncode, complaints) == (0, b"")
    finally:
        watching.kill()
        watching.wait()


def test_a_get_is_quick(running: Service):
    """Half a second at most, on a machine with nothing else to do: so the time
    that it was given is counted, and not the time that others took."""
    running.command("put", "quick", "1")
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert running.command("get", "quick").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )
    assert min(times) < 0.5


# -- nobody there ----------------------------------------------------------------------

#: Nobody listens on it: it is reserved.
NOBODY = "tcp:127.0.0.1:1"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "k"),
        ("put", "k", "v"),
        ("status",),
        ("status", "--wait", "acknowledged"),
        ("verify",),
        ("watch",),
    ],
)
def test_no_view_service(arguments):
    began = time.monotonic()
    done = understudy(*arguments, "--views", NOBODY, "--timeout", "0.5")
    assert done.returncode == 4
    assert time.monotonic() - began < 5
    assert NOBODY.encode() in done.stderr
    assert b"connection refused" in done.stderr
    assert b"Traceback" not in done.stderr


def test_servers_that_are_stopped_are_the_trouble(tmp_path):
    with service(tmp_path, ("s1", "s2")) as running:
        found = running.safe()
        primary = found["view"]["primary"]
        addresses = {each["name"]: each["address"] for each in found["servers"]}
        for name in ("s1", "s2"):
            running[name].pause()
        done = running.command("get", "k", "--timeout", "1")
        assert done.returncode == 4
        said = done.stderr.decode()
        assert f"the primary {primary} at {addresses[primary]} has not answered" in said
        assert "goodbye" not in said
        assert "running?" not in said
        asked = running.command("verify", "--timeout", "1").stderr.decode()
        where = addresses[primary]
        assert f"{where} accepted the connection but said no Hello" in asked
        assert f"{primary} is stopped" in asked


def test_the_only_server_of_an_empty_cluster_is_restarted(tmp_path):
    """What a new user sees who starts one server and restarts it."""
    with service(tmp_path, ("s1",)) as running:
        assert running.command("status", "--wait", "acknowledged").returncode == 0
        empty = running.command("verify").stdout.decode()
        assert empty.startswith("ok: no operation was executed yet")
        assert empty.count("\n") == 1
        running["s1"].kill()
        running["s1"].start()
        wait_for(lambda: b"idle" in running.command("status").stdout, "the restart")
        status = running.command("status").stdout.decode()
        assert status.startswith("what was written, if anything, is lost: ")
        assert "waiting (lost): only s1 (restarted without its data)" in status
        assert "start it once with --new-cluster, and restart every server" in status
        done = running.command("put", "k", "v", "--timeout", "1")
        assert done.returncode == 4
        assert done.stderr.count(b"`understudy status`") == 1
        done = running.command("ready", "s1")
        assert done.returncode == 1
        assert b"none can become primary" in done.stderr
        assert running.command("ready", "s1", "--to", "stop").returncode == 0


def test_who_says_no_hello_is_not_called_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp:127.0.0.1:{silent.getsockname()[1]}"
        asked = understudy("status", "--views", address, "--timeout", "0.5")
        assert asked.returncode == 4
        assert b"accepted the connection but said no Hello" in asked.stderr
        got = understudy("get", "k", "--views", address, "--timeout", "0.5")
        assert got.returncode == 4
        assert b"said no Hello" in got.stderr


def test_what_can_be_saved_when_the_memory_is_lost(tmp_path):
    """As docs/operations.md, "Beginning anew", has it."""
    with service(tmp_path, ("s1", "s2")) as running, running.clerk() as clerk:
        running.safe()
        clerk.put("k", "v")
        running.views.stop()
        (tmp_path / "viewservice.json").unlink()
        running.views.start()
        found = running.until(
            lambda found: len(found["refused"]) == 2, "both servers are refused"
        )
        assert found["memory_lost"]
        words = running.command("status").stdout.decode()
        assert "called yet" not in words
        assert words.startswith("the view service has lost its memory")
        assert "do not restart the servers" in words.partition("\n")[0]
        assert words.count("Restore its newest state file") == 1
        assert running.command("scan", "--timeout", "0.5").returncode == 4
        assert clerk.scan(limit=10) == [(b"k", b"v")]


def test_acknowledged_without_a_backup_is_not_safe(tmp_path):
    with service(tmp_path, ("s1", "s2")) as running:
        safe = running.command("status", "--wait", "safe", "--json")
        assert safe.returncode == 0
        assert json.loads(safe.stdout)["view"]["backups"]
        running.backup().kill()
        running.until(lambda found: not found["view"]["backups"], "the backup is out")
        alone = running.command("status", "--wait", "acknowledged")
        assert alone.returncode == 0
        waiting = running.command("status", "--wait", "safe", "--timeout", "0.5")
        assert waiting.returncode == 4
        assert b"not safe after 0.5 s" in waiting.stderr
        assert b"0 of 1 backups" in waiting.stderr


def test_no_server_within_the_timeout(tmp_path):
    with service(tmp_path, ()) as running:
        done = running.command("put", "k", "v", "--timeout", "0.7")
        assert done.returncode == 4
        assert b"no primary" in done.stderr
        waiting = running.command(
            "status", "--wait", "acknowledged", "--timeout", "0.7"
        )
        assert waiting.returncode == 4
        assert b"twistd pbserver" in waiting.stderr


# -- sent, and no answer ---------------------------------------------------------------


class Mute:
    """A view service and a primary that open sessions, take batches, and never
    answer one: in threads, until closed."""

    CLUSTER = bytes(range(16))

    def __init__(self) -> None:
        self.batches = 0
        self._sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.address, server = (
            f"tcp:127.0.0.1:{each.getsockname()[1]}" for each in self._sockets
        )
        self._member = Member("s1", 7, server)
        self._view = View(3, self._member)
        for which, each in enumerate(self._sockets):
            threading.Thread(
                target=self._accept, args=(each, which), daemon=True
            ).start()

    def _accept(self, listening: socket.socket, which: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                calling, _ = listening.accept()
                serve = self._as_server if which else self._as_views
                threading.Thread(
                    target=self._talk, args=(calling, serve), daemon=True
                ).start()

    def _talk(self, calling: socket.socket, serve) -> None:
        decoder = Decoder(CLERK, SERVER if serve == self._as_server else VIEW_SERVICE)
        with calling, contextlib.suppress(OSError):
            while data := calling.recv(65536):
                for message in decoder.feed(data):
                    for answer in serve(message):
                        calling.sendall(encode(answer))

    def _as_views(self, message):
        if isinstance(message, Hello):
            yield Hello(VERSION, VIEW_SERVICE, self.CLUSTER, 3, None, "", 100, 5)
        elif isinstance(message, Watch):
            yield ViewIs(0, self.CLUSTER, self._view, True)

    def _as_server(self, message):
        if isinstance(message, Hello):
            yield Hello(
                VERSION, SERVER, self.CLUSTER, 3, self._member, "pbserver.store:Store"
            )
        elif isinstance(message, OpenSession):
            yield SessionOpened(message.id, 1)
        elif isinstance(message, Batch):
            self.batches += 1

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@pytest.fixture
def mute():
    mute = Mute()
    yield mute
    mute.close()


def test_past_its_time_after_sending_is_in_doubt(mute: Mute):
    done = understudy(
        "put", "k", "v", "--views", mute.address, "--timeout", "0.5", "--json"
    )
    assert done.returncode == 3
    assert mute.batches >= 1
    assert json.loads(done.stdout)["error"]["code"] == "in doubt"
    assert b"may have been executed" in done.stderr


def test_the_recipe_for_doubt(tmp_path):
    (recipe,) = blocks(read("docs/lab.md"), "python")
    with service(tmp_path) as running:
        primary = running.primary()
        recipe = recipe.replace("12345", str(primary.pid))
        recipe = recipe.replace("tcp:127.0.0.1:7400", running.address)
        done = subprocess.run(
            (sys.executable, "-c", recipe),
            capture_output=True,
            cwd=ROOT,
            timeout=20,
            check=True,
        )
        first, doubt, last = done.stdout.decode().splitlines()
        assert (first, last) == ("1", "b'xy'")
        assert doubt.startswith("in doubt: its time was up after it was sent")


def test_a_read_past_its_time_is_not_executed(mute: Mute):
    done = understudy("get", "k", "--views", mute.address, "--timeout", "0.5")
    assert done.returncode == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_sending_is_in_doubt(mute: Mute, number):
    putting = subprocess.Popen(
        (sys.executable, "-m", "understudy", "put", "k", "v", "--views", mute.address),
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        wait_for(lambda: mute.batches, "a batch to be sent")
        putting.send_signal(number)
        _, stderr = putting.communicate(timeout=10)
    finally:
        putting.kill()
        putting.wait()
    assert putting.returncode == 3
    assert b"in doubt" in stderr


def test_ctrl_c_before_sending_is_not_executed():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp:127.0.0.1:{silent.getsockname()[1]}"
        putting = subprocess.Popen(
            (sys.executable, "-m", "understudy", "put", "k", "v", "--views", address),
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        try:
            calling, _ = silent.accept()
            putting.send_signal(signal.SIGINT)
            _, stderr = putting.communicate(timeout=10)
            calling.close()
        finally:
            putting.kill()
            putting.wait()
        assert putting.returncode == 4
        assert b"not executed" in stderr


# -- what was typed -------------------------------------------------------------------

WRONG = {
    "no command": (("--json",), "COMMAND"),
    "help about nothing": (("help", "frobnicate"), "frobnicate"),
    "help about too much": (("help", "get", "put"), "get put"),
    "no such command": (("frobnicate",), "frobnicate"),
    "no key": (("get",), "K"),
    "an unknown option": (("get", "k", "--frob"), "--frob"),
    "a short option": (("get", "k", "--tim", "3"), "--tim"),
    "too many arguments": (("get", "k", "l"), "l"),
    "a malformed address": (
        ("get", "k", "--views", "localhost:7400"),
        "localhost:7400",
    ),
    "a port out of range": (("get", "k", "--views", "tcp:h:70000"), "tcp:h:70000"),
    "no time": (("get", "k", "--timeout", "0"), "'0'"),
    "a time that is none": (("get", "k", "--timeout", "nan"), "'nan'"),
    "no number": (("incr", "k", "x"), "'x'"),
    "a number too large": (("incr", "k", str(2**63)), str(2**63)),
    "cas without a new value": (("cas", "k", "old"), "NEW is missing"),
    "cas of too much": (("cas", "k", "a", "b", "c"), "there is more"),
    "its own usage": (("incr", "k", "1", "2"), "usage: understudy incr"),
    "up needs no view service": (("up", "--views", "tcp:h:1"), "--views"),
    "cas absent with an old value": (
        ("cas", "k", "old", "new", "--absent"),
        "--absent",
    ),
    "a scan by prefix and range": (("scan", "--prefix", "a", "--end", "b"), "--prefix"),
    "a limit of none": (("scan", "--limit", "0"), "'0'"),
    "a wait for nothing": (("status", "--wait", "godot"), "godot"),
    "no servers": (("up", "--servers", "0"), "'0'"),
    "a port too large": (("up", "--base-port", "99999"), "'99999'"),
    "an option of another command": (("get", "k", "--limit", "3"), "--limit"),
    "a key that begins with a dash": (("get", "-key"), "get -- -key"),
    "a value that begins with a dash": (("put", "k", "-v"), "put -- k -v"),
    "a value in between": (("cas", "k", "-a", "b"), "cas -- k -a b"),
    "a prefix that begins with a dash": (("scan", "--prefix", "-x"), "--prefix=-x"),
    "a picture nowhere": (("demo", "--picture", "/nowhere/at/all.svg"), "/nowhere/at"),
}


@pytest.mark.parametrize("name", WRONG)
def test_usage(name, capsys):
    arguments, what = WRONG[name]
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    said = capsys.readouterr()
    assert what in said.err
    assert said.out == ""


def test_a_usage_error_without_a_dash_speaks_of_none(capsys):
    for typed in ("get",), ("get", "k", "l"), ("get", "--views", "x"), ("status", "-x"):
        with pytest.raises(SystemExit):
            parse(typed)
        assert "begins with a dash" not in capsys.readouterr().err


@pytest.mark.parametrize("noun", MODULES)
def test_help_has_the_default_of_every_option(noun, capsys):
    """Of each that has one: an option without a value is off by default."""
    main(["help", noun])
    words = " ".join(capsys.readouterr().out.split())
    _, nouns = _parser()
    for action in nouns[noun]._actions:
        if action.default not in {None, False, SUPPRESS} or action.nargs == "?":
            assert f"(default: {action.default})" in words, action.dest


@pytest.mark.parametrize("typed", [(), ("help",), ("--help",)])
def test_help_is_no_error(typed, capsys):
    assert main(typed) == 0
    said = capsys.readouterr()
    assert all(f"\n    {noun} " in said.out for noun in MODULES)
    assert said.err == ""


@pytest.mark.parametrize("noun", MODULES)
def test_help_about_a_command(noun, capsys):
    assert main(["help", noun]) == 0
    assert capsys.readouterr().out.startswith(f"usage: understudy {noun} ")


def test_a_fault_of_the_command_has_an_exit_code_of_its_own(monkeypatch, capsys):
    """Python's own for an exception is 1, which means that the store refused."""
    for noun, more in (("get", ""), ("put", "may have been executed")):

        def fails(_: object) -> int:
            raise ZeroDivisionError("as it is")

        monkeypatch.setattr("understudy.keys.main", fails)
        typed = [noun, "k", "v"][: 2 if noun == "get" else 3]
        assert main([*typed, "--json"]) == 5
        said = capsys.readouterr()
        assert "ZeroDivisionError: as it is" in said.err
        assert "report it" in said.err
        assert more in said.err
        assert json.loads(said.out)["error"]["code"] == "internal error"


def test_another_error_of_the_system_is_a_fault_too(monkeypatch, capsys):
    def fails(_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("understudy.keys.main", fails)
    assert main(["get", "k"]) == 5
    assert "PermissionError" in capsys.readouterr().err


def test_ctrl_c_at_any_time_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    for place in ("understudy.main.parse", "understudy.main._do"):
        with monkeypatch.context() as patch:
            patch.setattr(place, interrupted)
            assert main(["get", "k"]) == 4
            assert "nothing was executed" in capsys.readouterr().err


def test_usage_of_a_process():
    done = understudy("get", "k", "--timeout", "soon")
    assert told(done) == (2, b"", True)
    assert done.stderr.startswith(b"understudy get: argument --timeout: 'soon'")


def test_usage_of_the_environment():
    done = understudy("get", "k", env={"UNDERSTUDY_VIEWS": "nonsense"})
    assert done.returncode == 2
    assert b"UNDERSTUDY_VIEWS" in done.stderr
    assert b"nonsense" in done.stderr


def test_an_environment_without_an_address():
    done = understudy("get", "k", env={"UNDERSTUDY_VIEWS": ","})
    assert done.returncode == 2
    assert b"no address in ','" in done.stderr


def test_version():
    done = understudy("--version")
    assert told(done) == (0, b"understudy 0.1.0, protocol 2\n", False)


def test_the_environment_names_the_view_service(running: Service):
    addresses = f"{NOBODY}, {running.address}"
    done = understudy("get", "nothing", env={"UNDERSTUDY_VIEWS": addresses})
    assert done.returncode == 1


def test_a_broken_pipe_is_no_traceback(running: Service):
    for number in range(3):
        running.command("put", f"p{number}", "x" * 100_000)
    scanning = subprocess.Popen(
        (sys.executable, "-m", "understudy", "scan", "--views", running.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert scanning.stdout is not None
    scanning.stdout.close()
    assert scanning.stderr is not None
    assert scanning.stderr.read() == b""
    scanning.wait(10)


#: Ways to an output that has less than Unicode.
POOR = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "",
    },
}


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A service with a server, a key and a value that no ASCII has."""
    with service(tmp_path_factory.mktemp("names"), ("übung",)) as named:
        named.until(lambda found: found["view"]["acknowledged"], "übung to serve")
        assert named.command("put", "Zürich", "8000 €").returncode == 0
        yield named


@pytest.mark.parametrize("name", POOR)
def test_what_the_encoding_lacks_is_escaped(named: Service, name):
    def out(*arguments: str) -> bytes:
        done = understudy(*arguments, "--views", named.address, env=POOR[name])
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    key = b"Z\xfcrich" if name == "latin-1" else b"Z\\xc3\\xbcrich"
    server = b"\xfcbung" if name == "latin-1" else b"\\xc3\\xbcbung"
    assert out("scan") == key + b"\t8000 \\xe2\\x82\\xac\n"
    assert b"primary " + server in out("status")
    assert server in out("verify")
    assert out("get", "Zürich") == "8000 €\n".encode(), "bytes are as they are"
    got = out("get", "Zürich", "--json")
    assert b"Z\\u00fcrich" in got
    assert json.loads(got) == {"key": "Zürich", "value": "8000 €"}
    for noun in ("status", "verify", "scan"):
        found = out(noun, "--json")
        assert found.isascii(), "JSON is UTF-8, or all ASCII"
        assert json.loads(found)
    missing = understudy("get", "Ü", "--views", named.address, env=POOR[name])
    assert missing.returncode == 1
    assert b"Traceback" not in missing.stderr


@pytest.mark.parametrize("name", POOR)
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_watch_escapes_what_the_encoding_lacks(named: Service, name, more):
    watching = subprocess.Popen(
        (sys.executable, "-m", "understudy", "watch", "--views", named.address, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **POOR[name]},
    )
    try:
        assert watching.stdout is not None
        line = watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, stderr = watching.communicate(timeout=10)
    finally:
        watching.kill()
        watching.wait()
    assert (watching.returncode, stderr) == (0, b"")
    assert b"bung" in line
    assert not more or json.loads(line)["primary"] == "übung"


@pytest.mark.parametrize("noun", ["watch", "status"])
def test_what_cannot_be_written_ends_a_command(running: Service, noun):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            (sys.executable, "-m", "understudy", noun, "--views", running.address),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=20,
            check=False,
        )
    assert done.returncode == 4
    assert b"cannot be written" in done.stderr


@pytest.mark.parametrize(("noun", "code"), [("incr", 3), ("get", 4)])
def test_what_cannot_be_written_is_said(running: Service, noun, code):
    running.command("put", "full", "1")
    arguments = (sys.executable, "-m", "understudy", noun, "full")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            (*arguments, "--views", running.address),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == code
    assert b"cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr
    left = b"2\n" if noun == "incr" else b"1\n"
    assert running.command("get", "full").stdout == left


def without(stream: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run it with a stream closed, as ``<&-`` does."""
    command = f'exec "$0" -m understudy "$@" {stream}'
    return subprocess.run(
        ("sh", "-c", command, sys.executable, *arguments),
        capture_output=True,
        cwd=ROOT,
        check=False,
    )


def test_no_standard_input():
    done = without("<&-", "put", "k", "-")
    assert done.returncode == 2
    assert b"standard input is closed" in done.stderr


def test_no_standard_output(running: Service):
    done = without(">&-", "incr", "silent", "--views", running.address)
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr
    assert b"Traceback" not in done.stderr
    assert running.command("get", "silent").returncode == 1, "nothing was done"


def test_no_standard_error(running: Service):
    done = without("2>&-", "get", "nothing", "--views", running.address)
    assert (done.returncode, done.stdout) == (1, b"")
