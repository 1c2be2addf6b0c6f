"""The load generator speaks as a clerk does, counts right, and sees every lie."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from bench import loadgen, page, peers
from bench.results import Report, reports
from bench.rows import CORE, EVERY, GOALS, LOADS, QUICK
from bench.run import able as able_in
from bench.run import found as found_of
from bench.run import measure
from bench.run import one as one_of
from bench.systems import Missing, Understudy
from pbserver.store import Store
from wire.codec import Decoder, encode
from wire.commands import Get, Put
from wire.messages import (
    CLERK,
    SERVER,
    VERSION,
    Batch,
    BatchAnswer,
    CloseSession,
    Goodbye,
    Hello,
    Member,
    Message,
    OpenSession,
    Query,
    QueryAnswer,
    Redirect,
    SessionClosed,
    SessionOpened,
    View,
)

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load generator is compiled by cc"
)

ROOT = Path(loadgen.__file__).parent.parent
SHORT = ("--seconds", "0.2", "--warmup", "0")
BODY = msgspec.msgpack.Decoder(list[Put])
GETS = msgspec.msgpack.Decoder(list[Get])

MEMBER = Member("s1", 7, "tcp:127.0.0.1:7401")


class Fake:
    """A server for one connection after another, in a thread; *talk* has each
    connection, and what it raises is raised in the end."""

    def __init__(self, talk: Callable[[socket.socket], None]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.errors: list[Exception] = []
        self._talk = talk
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        talks = []
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                break
            talks.append(threading.Thread(target=self._one, args=(connection,)))
            talks[-1].start()
        for thread in talks:
            thread.join()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._talk(connection)
            except ConnectionError:
                pass
            except Exception as error:  # noqa: BLE001 -- raised by `end`
                self.errors.append(error)

    def end(self) -> None:
        # Closing alone would not wake up the accept.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self.errors:
            raise self.errors[0]


def run(proto: str, port: int, *options: str) -> tuple[dict[str, Any], str, int]:
    done = subprocess.run(
        [loadgen.compiled(), "--proto", proto, "--port", str(port), *SHORT, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return json.loads(done.stdout or "{}"), done.stderr, done.returncode


def data(connection: socket.socket) -> Iterator[bytes]:
    while received := connection.recv(1 << 16):
        yield received


# -- Understudy --------------------------------------------------------------------


class Primary:
    """Answers as a primary would; checks what a clerk must keep to."""

    def __init__(self) -> None:
        self.store = Store()
        self.puts = self.gets = 0
        self.batches: set[int] = set()
        self.windows: set[int] = set()
        self.closed = 0
        self._lock = threading.Lock()

    def talk(self, connection: socket.socket) -> None:
        decoder = Decoder(None, SERVER)
        next_sequence = 1
        first_unanswered = 1
        for received in data(connection):
            answers: list[Message] = []
            for message in decoder.feed(received):
                match message:
                    case Hello():
                        assert (message.version, message.role) == (VERSION, CLERK)
                        answers.append(
                            Hello(VERSION, SERVER, member=Member("s1", 7, "tcp:h:1"))
                        )
                    case OpenSession(id):
                        answers.append(SessionOpened(id, 7000))
                    case Batch():
                        assert (message.opened_index, message.sequence) == (
                            7000,
                            next_sequence,
                        )
                        assert (
                            first_unanswered
                            <= message.first_unanswered
                            <= message.sequence
                        )
                        assert message.sequence - message.first_unanswered < 64
                        next_sequence, first_unanswered = (
                            next_sequence + 1,
                            message.first_unanswered,
                        )
                        answers.append(self.execute(message))
                    case Query(id, session, after, body):
                        assert (len(session), after) == (16, 0)
                        with self._lock:
                            self.gets += len(GETS.decode(body))
                            answer = self.store.query(body)
                        answers.append(QueryAnswer(id, answer))
                    case CloseSession(id, opened_index):
                        assert opened_index == 7000
                        with self._lock:
                            self.closed += 1
                        answers.append(SessionClosed(id))
                    case _:
                        raise AssertionError(message)
            connection.sendall(b"".join(map(encode, answers)))

    def execute(self, batch: Batch) -> Message:
        puts = BODY.decode(batch.body)
        with self._lock:
            self.puts += len(puts)
            self.batches.add(len(puts))
            self.windows.add(batch.sequence - batch.first_unanswered)
            return BatchAnswer(batch.sequence, self.store.apply(batch.body, 0))


@pytest.mark.parametrize(
    ("connections", "outstanding", "batch", "value_bytes"),
    [(1, 1, 1, 100), (4, 64, 1, 0), (2, 1, 20, 300), (1, 3, 2, 70_000)],
)
def test_what_it_says_to_a_primary_is_what_a_clerk_says(
    connections: int, outstanding: int, batch: int, value_bytes: int
) -> None:
    primary = Primary()
    fake = Fake(primary.talk)
    row, errors, code = run(
        *("understudy", fake.port, "--connections", str(connections)),
        *("--outstanding", str(outstanding), "--batch", str(batch)),
        *("--value-bytes", str(value_bytes), "--keys", "50"),
    )
    fake.end()
    assert (errors, code, row["errors"]) == ("", 0, 0)
    assert primary.batches == {batch}
    assert max(primary.windows) == outstanding - 1
    assert primary.closed == connections
    # What was answered behind the end is executed and not counted.
    assert 0 < row["ops"] <= primary.puts
    assert primary.puts - row["ops"] <= connections * outstanding * batch
    assert row["ops_per_s"] == pytest.approx(row["ops"] / 0.2, abs=1)
    assert 0 < row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["max_us"] < 10e6
    assert 1 < len(primary.store) <= 50


@pytest.mark.parametrize(("batch", "reads"), [(1, 100), (1, 50), (7, 50)])
def test_it_fills_every_key_once_and_reads_what_was_put(batch: int, reads: int) -> None:
    primary = Primary()
    fake = Fake(primary.talk)
    shape = ("--connections", "3", "--batch", str(batch), "--keys", "70")
    filled, errors, code = run("understudy", fake.port, *shape, "--fill", "1")
    assert (errors, code, filled["ops"]) == ("", 0, primary.puts)
    assert len(primary.store) == 70
    assert 70 <= primary.puts < 70 + batch
    row, errors, code = run("understudy", fake.port, *shape, "--reads", str(reads))
    fake.end()
    assert (errors, code) == ("", 0)
    assert primary.gets > 0
    assert (primary.puts == filled["ops"]) == (reads == 100)
    assert row["ops_all"] == primary.gets + primary.puts - filled["ops"]


def test_it_sees_a_get_that_does_not_say_what_was_put() -> None:
    fake = Fake(Primary().talk)
    how = ("--connections", "1", "--reads", "100")
    row, errors, code = run("understudy", fake.port, *how)
    fake.end()
    assert (code, row["ops"]) == (1, 0)
    assert "a get did not say what was put" in errors


def lie(answer: Callable[[Batch], Message]) -> Callable[[socket.socket], None]:
    class Liar(Primary):
        def execute(self, batch: Batch) -> Message:
            return super().execute(batch) if batch.sequence < 3 else answer(batch)

    return Liar().talk


LIES: dict[str, tuple[Callable[[Batch], Message], str]] = {
    "another server's clerk": (lambda _: Redirect(View()), "not the primary"),
    "goodbye": (lambda _: Goodbye("stopping", "in a hurry"), "message 2: .*in a hurry"),
    "not done": (
        lambda batch: BatchAnswer(batch.sequence, b"\x91\x93\x01\xa1x\xa1y"),
        "a put was not done",
    ),
    "too few answers": (
        lambda batch: BatchAnswer(batch.sequence, b"\x90"),
        "a put was not done",
    ),
    "answered twice": (
        lambda batch: BatchAnswer(batch.sequence - 1, b"\x91\x92\x00\xc0"),
        "an answer to nothing",
    ),
    "answered before asked": (
        lambda batch: BatchAnswer(batch.sequence + 1, b"\x91\x92\x00\xc0"),
        "an answer to nothing",
    ),
}


@pytest.mark.parametrize(("answer", "text"), LIES.values(), ids=LIES)
def test_it_sees_what_is_no_answer(
    answer: Callable[[Batch], Message], text: str
) -> None:
    fake = Fake(lie(answer))
    row, errors, code = run("understudy", fake.port, "--connections", "1")
    fake.end()
    assert (code, row["errors"]) == (1, 1)
    assert re.search(text, errors), errors


def test_it_sees_a_connection_that_ends() -> None:
    fake = Fake(lambda connection: connection.close())
    row, errors, code = run("understudy", fake.port, "--connections", "3")
    fake.end()
    assert (code, row["errors"], row["ops"]) == (1, 3, 0)
    assert "closed the connection" in errors


def test_it_sees_that_nobody_listens_and_what_makes_no_sense() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert run("understudy", port)[:0:-1] == (2, "loadgen: Connection refused\n")
    for option, value in (("--outstanding", "65"), ("--batch", "x"), ("--port", "0")):
        _, errors, code = run("understudy", port, option, value)
        assert code == 2
        assert f"{option} must be" in errors


# -- Redis -----------------------------------------------------------------------------


def redis(
    replicas: int, counted: list[int], value: bytes = b"v" * 100
) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        while header := lines.readline():
            words = []
            for _ in range(int(header[1:])):
                length = int(lines.readline()[1:])
                words.append(lines.read(length + 2)[:-2])
            if words[0] == b"GET":
                connection.sendall(b"$100\r\n" + value + b"\r\n")
            elif words[0] == b"SET":
                assert len(words) == 3
                assert len(words[2]) == 100
                counted.append(1)
                connection.sendall(b"+OK\r\n")
            else:
                assert words == [b"WAIT", b"1", b"0"]
                connection.sendall(b":%d\r\n" % replicas)

    return talk


@pytest.mark.parametrize(("outstanding", "batch"), [(1, 1), (5, 1), (1, 7)])
def test_what_it_says_to_redis_is_set_and_wait(outstanding: int, batch: int) -> None:
    counted: list[int] = []
    fake = Fake(redis(1, counted))
    row, errors, code = run(
        *("redis", fake.port, "--connections", "2"),
        *("--outstanding", str(outstanding), "--batch", str(batch)),
    )
    fake.end()
    assert (errors, code) == ("", 0)
    assert 0 < row["ops"] <= len(counted) <= row["ops"] + 2 * outstanding * batch


def test_it_sees_that_no_replica_has_it() -> None:
    fake = Fake(redis(0, []))
    row, errors, code = run("redis", fake.port, "--connections", "1")
    fake.end()
    assert (code, row["ops"]) == (1, 0)
    assert "no replica" in errors


@pytest.mark.parametrize(("value", "code"), [(b"v" * 100, 0), (b"w" * 100, 1)])
def test_it_sees_whether_redis_said_what_was_put(value: bytes, code: int) -> None:
    fake = Fake(redis(1, [], value))
    how = ("--connections", "2", "--batch", "5", "--reads", "60")
    row, errors, ended = run("redis", fake.port, *how)
    fake.end()
    assert ended == code
    assert ("a get did not say what was put" in errors) == (code == 1)
    assert (row["ops"] > 0) == (code == 0)


# -- ZooKeeper -------------------------------------------------------------------------


def zookeeper(nodes: dict[bytes, bytes]) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        data = connection.makefile("rb")

        def frame() -> bytes:
            return data.read(int.from_bytes(data.read(4), "big"))

        def send(answer: bytes) -> None:
            connection.sendall(len(answer).to_bytes(4, "big") + answer)

        def text(message: bytes, at: int) -> bytes:
            length = int.from_bytes(message[at : at + 4], "big")
            return message[at + 4 : at + 4 + length]

        assert len(frame()) == 45
        send(bytes(4) + (30_000).to_bytes(4, "big") + bytes(8 + 20 + 1))
        last = -1
        while message := frame():
            xid, kind = message[:4], int.from_bytes(message[4:8], "big", signed=True)
            assert int.from_bytes(xid, "big") == (last := last + 1)
            right = xid + bytes(12)
            path = text(message, 8)
            if kind == 4:
                assert message[12 + len(path) :] == b"\0"
                value = nodes[path]
                send(right + len(value).to_bytes(4, "big") + value + bytes(68))
            elif kind in {1, 5} and (kind == 1) != (path in nodes):
                nodes[path] = text(message, 12 + len(path))
                send(right)
            else:  # there already, or not there
                send(
                    xid
                    + bytes(8)
                    + (-110 if kind == 1 else -101).to_bytes(4, "big", signed=True)
                )

    return talk


def test_what_it_says_to_zookeeper_is_create_and_then_set_and_get() -> None:
    nodes: dict[bytes, bytes] = {}
    fake = Fake(zookeeper(nodes))
    shape = ("--connections", "2", "--outstanding", "3", "--keys", "40")
    for more in (("--fill", "1"), ("--reads", "50")):
        row, errors, code = run("zookeeper", fake.port, *shape, *more)
        assert (errors, code) == ("", 0)
        assert row["ops_all"] == 40 or more[0] == "--reads"
    assert nodes == {b"/key:%012d" % at: b"v" * 100 for at in range(40)}
    assert row["ops"] > 0
    nodes[b"/key:%012d" % 1] = b"w" * 100
    row, errors, code = run("zookeeper", fake.port, *shape, "--reads", "100")
    # What was still outstanding then is answered before the next one begins.
    fake.end()
    empty = Fake(zookeeper({}))
    _, error, _ = run("zookeeper", empty.port, "--connections", "1")
    empty.end()
    assert code == 1
    assert "a get did not say what was put" in errors
    assert "zookeeper: error -101" in error


# -- the systems themselves ------------------------------------------------------------


def there(name: str) -> bool:
    try:
        peers.SYSTEMS[name].version()
    except Missing:
        return False
    return True


NATIVE = [name for name, system in peers.SYSTEMS.items() if system.is_native]


@pytest.mark.processes
@pytest.mark.parametrize("name", NATIVE)
# The larger one does not fit into what an HTTP/2 server takes unasked.
@pytest.mark.parametrize("value_bytes", [100, 70_000])
def test_each_system_takes_every_kind_of_load(name: str, value_bytes: int) -> None:
    if not there(name):
        pytest.skip(f"{name} is not installed")
    shape = ("--connections", "4", "--keys", "50", "--value-bytes", str(value_bytes))
    with peers.SYSTEMS[name]() as system:
        loadgen.fill(system, 50, value_bytes)
        reads = ("--reads", "0" if system.writes_only else "50")
        for how in (reads, loadgen.many(system, 8)):
            assert loadgen.loadgen(system, *shape, *how, *SHORT)["ops"] > 0
        assert system.cpu_s() > 0
        pids = [daemon.pid for daemon in system.daemons]
    assert len(pids) > 1
    assert not any(map(is_there, pids))
    assert not system.directory.exists()


@pytest.mark.processes
@pytest.mark.parametrize("name", [n for n in peers.SYSTEMS if n != "bare"])
def test_each_program_takes_every_kind_of_call(name: str) -> None:
    system = peers.SYSTEMS[name]
    versions, missing = found_of([name])
    if missing:
        pytest.skip(", ".join(missing.values()))
    report = Report("load", versions=versions)
    many = "python-put-64" if system.writes_only else "python-mix-64"
    for row in ("python-put-1", many, "python-put-64-collected"):
        if name in able_in(LOADS[row], report):
            figures = one_of(system, LOADS[row], 0.2)
            assert figures["ops_per_s"] > 0
            assert figures["client_cpu_us_per_op"] > 0


# -- whole runs ------------------------------------------------------------------------


BENCH = (sys.executable, "-m", "bench")
#: What there is to find on a machine without any peer.
ALONE = "redis-server is missing: apt-get install redis-server"


def bench(*options: str, path: Path | None = None) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if path is not None:
        environment["PATH"] = str(path)
    return subprocess.run(
        [*BENCH, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def children_of(process: int) -> list[int]:
    """Processes that it has started, and theirs."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = [tuple(map(int, line.split())) for line in listing.stdout.splitlines()]
    found = [pid for pid, parent in parents if parent == process]
    return found + [pid for child in found for pid in children_of(child)]


def test_a_package_that_is_missing_is_told() -> None:
    with pytest.raises(Missing, match=r"no-such-thing.* is missing: make bench-peers"):
        peers.package("no-such-thing")


def test_nobody_is_measured_in_what_would_mean_nothing() -> None:
    report = Report("load", versions=dict.fromkeys(peers.SYSTEMS, "1"))
    report.versions |= {"redis (Python)": "1"}
    able = {name: set(able_in(LOADS[name], report)) for name in CORE}
    everybody = {"understudy", "redis", "etcd", "zookeeper"}
    assert able["put-64x1"] == {*everybody, "bare"}
    assert able["get-64x1"] == everybody
    # Without their packages, etcd and ZooKeeper cannot be used from Python.
    assert able["python-put-64"] == {"understudy", "redis", "pysyncobj"}
    assert able["python-get-64"] == {"understudy", "redis"}
    assert able["python-put-64-collected"] == {"understudy", "redis"}


@pytest.mark.parametrize(("fails", "is_whole"), [((1,), True), ((1, 2), False)])
def test_who_fails_in_one_round_is_measured_in_the_others(
    monkeypatch, fails: tuple[int, ...], is_whole: bool
) -> None:
    rounds: list[int] = []

    def one(*_: object) -> dict[str, float]:
        rounds.append(len(rounds) + 1)
        if rounds[-1] in fails:
            raise RuntimeError("no answer for 10 s")
        return {"ops_per_s": 5.0, "server_cpu_us_per_op": 1.0}

    monkeypatch.setattr("bench.run.one", one)
    report = Report("load", versions={"understudy": "1"})
    assert measure(report, [LOADS["put-64x1"]], 2, 1.0, lambda _: None) is is_whole
    assert rounds == [1, 2]
    assert [skip.why for skip in report.skipped] == [
        f"in round {at} of 2, no answer for 10 s" for at in fails
    ]


@pytest.mark.processes
def test_rows_come_out_and_who_is_missing_is_said(tmp_path: Path) -> None:
    loadgen.compiled()  # by a compiler that finds its assembler
    results = tmp_path / "found.json"
    done = bench("--quick", "--json", str(results), path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"skipped: redis: {ALONE}" in done.stderr
    assert "skipped: etcd: etcd is missing: apt-get install etcd-server" in done.stderr
    report = Report.load(results)
    assert report.names() == list(QUICK)
    for name in QUICK:
        row = report.row(name, "understudy")
        assert row.median("ops_per_s") > 0
        assert 0 < row.median("p50_us") <= row.median("p999_us") <= row.median("max_us")
        assert row.median("server_cpu_us_per_op") > 0
        assert name in done.stdout
    assert {"redis", "etcd", "zookeeper"} <= {skip.system for skip in report.skipped}
    assert f"not measured: all rows of redis: {ALONE}" in done.stdout


def test_a_peer_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    loadgen.compiled()
    done = bench("--quick", "--peers", "redis", path=tmp_path)
    assert done.returncode == 2
    assert ALONE in done.stderr


USAGE = {
    "unknown row": (
        ("--rows", "put-64x1,x"),
        "unknown row 'x'; python -m bench --list",
    ),
    "unknown peer": (("--peers", "mongodb"), "unknown peer 'mongodb'"),
    "no row": (("--rows", ","), "name a row"),
    "no time": (("--seconds", "0"), "must be 0.01 or more, not 0"),
    "no number": (("--repeats", "many"), "must be 1 or more, not many"),
    "rows twice": (("--quick", "--all"), "not allowed with argument"),
    "keeping a part": (("--keep", "--quick"), "--keep wants all systems"),
    "nowhere to write": (("--json", "no/such/x.json"), "there is no directory no/such"),
}


@pytest.mark.parametrize(("options", "text"), USAGE.values(), ids=USAGE)
def test_usage_is_told(options: tuple[str, ...], text: str) -> None:
    done = bench(*options)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_compiler_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    native = tmp_path / "native"
    native.mkdir()
    (native / "loop.c").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"no C compiler.*apt-get install gcc"):
        loadgen.compiled(tmp_path)


def test_missing_sources_are_told(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no source of a load generator"):
        loadgen.compiled(tmp_path)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["redis", "etcd", "zookeeper"])
def test_a_port_in_use_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not there(name):
        pytest.skip(f"{name} is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = peers.ports

        def ports(count: int) -> list[int]:
            return [port, *free(count - 1)]

        monkeypatch.setattr(peers, "ports", ports)
        system = peers.SYSTEMS[name]()
        with (
            pytest.raises(RuntimeError, match=rf"(?is){name} is not ready.*in use"),
            system,
        ):
            pass
    assert not [daemon for daemon in system.daemons if daemon.is_running()]


@pytest.mark.processes
@pytest.mark.parametrize("strike", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process(strike: signal.Signals) -> None:
    asked = ["--rows", "put-64x1", "--seconds", "60", "--peers", "understudy"]
    run = subprocess.Popen(
        # Whoever runs in the background has been told to ignore SIGINT.
        ["env", "--default-signal=INT", *BENCH, *asked],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started: list[int] = []
    try:
        # The view service, two servers and the load.
        until(lambda: len(children_of(run.pid)) >= 4, 60, "the load never began")
        started = children_of(run.pid)
        run.send_signal(strike)
        assert run.wait(60) == (-strike if strike == signal.SIGKILL else 130)
        until(lambda: not any(map(is_there, started)), 40, "somebody is left")
    finally:
        run.kill()
        run.wait()


def until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.processes
def test_a_system_that_does_not_start_leaves_nothing() -> None:
    class Broken(Understudy):
        def start(self) -> None:
            super().start()
            raise ZeroDivisionError

    system = Broken()
    with pytest.raises(ZeroDivisionError), system:
        pass
    assert len(system.daemons) == 3
    assert not [daemon for daemon in system.daemons if daemon.is_running()]
    assert not system.directory.exists()


# -- results and pages -----------------------------------------------------------------


def measured(rates: dict[str, list[float]], row: str = "put-64x1") -> Report:
    report = Report("load", "python -m bench", {"cores": 2}, {"redis": "7"})
    for system, values in rates.items():
        for rate in values:
            figures = {"ops_per_s": rate, "p50_us": 1e6 / rate, "p99_us": 2e6 / rate}
            figures |= {"p999_us": 3e6 / rate, "max_us": 4e6 / rate}
            figures |= {"server_cpu_us_per_op": 9.0, "client_cpu_us_per_op": 1.0}
            report.add(row, system, LOADS[row].shape(), figures)
    return report


def test_what_is_saved_is_what_was_found(tmp_path: Path) -> None:
    report = measured({"understudy": [3, 1, 2], "redis": [1]})
    report.save(tmp_path / "load.json")
    assert Report.load(tmp_path / "load.json") == report
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="no report of format"):
        Report.load(tmp_path / "other.json")


def test_the_page_tells_ratios_of_medians_and_what_was_missed() -> None:
    text, pictures = page.render(
        {"load": measured({"understudy": [9000, 7000, 8000], "redis": [10_000]})}
    )
    assert "| `put-64x1`, op/s | redis | 0.80 (missed) | 1 | 1.3 |" in text
    assert "| `put-8x32`, op/s | redis | not measured | 1 | 1.5 |" in text
    assert "| every load, op/s | etcd | not measured | 4 | 8 |" in text
    assert "| `put-64x1` | 8,000 | 10,000 (0.80) |" in text
    assert "can be lost" in text
    assert not pictures
    with pytest.raises(KeyError, match="no section for elsewhere"):
        page.render({"elsewhere": Report("elsewhere")})


def test_a_peer_that_did_nothing_is_infinitely_far_behind() -> None:
    report = measured({"understudy": [9000], "etcd": [0.1]})
    report.row("put-64x1", "etcd").repeats[0]["ops_per_s"] = 0
    assert report.ratio("put-64x1", "ops_per_s", "etcd", "understudy") == math.inf
    assert "0 (inf)" in page.render({"load": report})[0]
    assert "inf x" in "\n".join(page.summary(report))


def test_the_page_tells_of_the_load_in_which_a_peer_is_nearest() -> None:
    report = measured({"understudy": [9000], "etcd": [1000]})
    near = measured({"understudy": [3000], "etcd": [2000]}, "put-1x1")
    report.rows.extend(near.rows)
    text, _ = page.render({"load": report})
    told = "| every load, op/s | etcd | 1.50 in `put-1x1` (missed) | 4 | 8 |"
    assert told in text


def test_the_page_shows_a_picture_of_what_differs() -> None:
    report = measured({"understudy": [9000]})
    for row in measured({"understudy": [1000]}, "put-1x1").rows:
        report.rows.append(row)
    text, pictures = page.render({"load": report})
    assert set(pictures) == {"put-x1-rate", "put-x1-latency"}
    for name, svg in pictures.items():
        assert f"(benchmarks/{name}.svg)" in text
        assert ET.fromstring(svg).tag.endswith("svg")


def test_the_page_is_what_was_kept() -> None:
    kept = reports()
    if not kept:
        assert not page.PAGE.exists(), "a page without results"
        pytest.skip("nothing is kept yet")
    text, pictures = page.render(kept)
    assert page.PAGE.read_text() == text
    found = {path.stem: path.read_text() for path in page.PICTURES.glob("*.svg")}
    assert found == pictures


def test_every_row_that_is_spoken_of_is_one() -> None:
    assert {*CORE, *QUICK} <= set(LOADS)
    assert {goal.row for goal in GOALS} <= {*CORE, EVERY}
    assert {load.value_bytes for load in LOADS.values()} == {100, 1024, 65536}
