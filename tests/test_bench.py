"""The load generator speaks as a clerk does, counts right, and sees every lie."""

from __future__ import annotations

import json
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

import msgspec
import pytest

from bench import systems
from pbserver.store import Store
from wire.codec import Decoder, encode
from wire.commands import Put
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
    NotYours,
    OpenSession,
    SessionClosed,
    SessionOpened,
    View,
)

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="the load generator is compiled by cc"
)

ROOT = Path(systems.__file__).parent.parent
SHORT = ("--seconds", "0.2", "--warmup", "0")
BODY = msgspec.msgpack.Decoder(list[Put])

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
        [systems.compiled(), "--proto", proto, "--port", str(port), *SHORT, *options],
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
        self.puts = 0
        self.batches: set[int] = set()
        self.windows: set[int] = set()
        self.closed = 0
        self._lock = threading.Lock()

    def talk(self, connection: socket.socket) -> None:
        decoder = Decoder(None, SERVER)
        next_sequence = 1
        lacking = 1
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
                        assert (message.birth, message.sequence) == (
                            7000,
                            next_sequence,
                        )
                        assert lacking <= message.lacking <= message.sequence
                        assert message.sequence - message.lacking < 64
                        next_sequence, lacking = next_sequence + 1, message.lacking
                        answers.append(self.execute(message))
                    case CloseSession(id, birth):
                        assert birth == 7000
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
            self.windows.add(batch.sequence - batch.lacking)
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


def lie(answer: Callable[[Batch], Message]) -> Callable[[socket.socket], None]:
    class Liar(Primary):
        def execute(self, batch: Batch) -> Message:
            return super().execute(batch) if batch.sequence < 3 else answer(batch)

    return Liar().talk


LIES: dict[str, tuple[Callable[[Batch], Message], str]] = {
    "another server's clerk": (lambda _: NotYours(View(3)), "not the primary"),
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


def redis(replicas: int, counted: list[int]) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        while header := lines.readline():
            words = []
            for _ in range(int(header[1:])):
                length = int(lines.readline()[1:])
                words.append(lines.read(length + 2)[:-2])
            if words[0] == b"SET":
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


# -- a whole row -----------------------------------------------------------------------


ROW = (sys.executable, "-m", "bench.row")


def children_of(process: int) -> list[int]:
    """Processes that it has started, and theirs."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = [tuple(map(int, line.split())) for line in listing.stdout.splitlines()]
    found = [pid for pid, parent in parents if parent == process]
    return found + [pid for child in found for pid in children_of(child)]


@pytest.mark.processes
def test_a_row_is_measured_without_redis(tmp_path: Path) -> None:
    systems.compiled()  # by a compiler that finds its assembler
    done = subprocess.run(
        [*ROW, "--repeats", "1", "--seconds", "0.3", "--connections", "4"],
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "redis-server is not installed; try: apt-get install" in done.stderr
    assert "4 connections, 1 outstanding, 1 batch, 100 value-bytes" in done.stdout
    assert "understudy " in done.stdout
    assert "ratio" not in done.stdout


@pytest.mark.processes
def test_a_row_that_is_terminated_leaves_no_process() -> None:
    row = subprocess.Popen(
        [*ROW, "--only", "understudy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 30
        while len(started := children_of(row.pid)) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(started) >= 3
        row.send_signal(signal.SIGTERM)
        assert row.wait(20) == 130
    finally:
        row.kill()
        row.wait()
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
