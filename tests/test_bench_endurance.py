"""Growth, failover, transfer and overload run, and say what they found; how fast is
no matter here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import failover, growth, page_failover, page_growth, page_transfer, transfer
from bench.peers import program
from bench.results import Report
from bench.systems import Missing
from tests.processes import ROOT
from tests.test_bench import children_of

pytestmark = pytest.mark.processes


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,
    )


def has(name: str) -> bool:
    try:
        program(name)
    except Missing:
        return False
    return True


def test_a_gap_is_seen_for_each_strike(tmp_path: Path) -> None:
    file = tmp_path / "failover.json"
    strikes = ("--kills", "1", "--stops", "1", "--ping-interval-ms", "20")
    done = run("bench.failover", *strikes, "--json", str(file))
    assert done.returncode == 0, done.stderr
    report = Report.load(file)
    assert [row.name.partition(":")[0] for row in report.rows] == ["kill", "stop"]
    assert all(row.median("gap_ms") > 0 for row in report.rows)
    text = page_failover.section(report).text
    assert text.count("| kill understudy, ping_interval_ms 20, dead_pings 5 | 1 |") == 1


def test_a_newcomer_is_given_everything(tmp_path: Path) -> None:
    file = tmp_path / "transfer.json"
    done = run(
        *("bench.transfer", "--keys", "2000", "--repeats", "1", "--json", str(file))
    )
    assert done.returncode == 0, done.stderr
    report = Report.load(file)
    measured = set(report.of("2000 keys"))
    assert measured == (
        {"understudy", "redis"} if has("redis-server") else {"understudy"}
    )
    assert "| 2000 keys, understudy |" in page_transfer.section(report).text


@pytest.mark.skipif(not has("cc"), reason="the load generator is compiled by cc")
def test_each_thing_grows(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    done = run("bench.growth", "--to", "1", "--seconds", "0.2", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert [row.name for row in Report.load(file).rows] == [
        *("1 connections", "1 sessions", "0 backups", "1 backups")
    ]


def test_growth_is_told_with_a_picture_for_each_thing() -> None:
    report = Report("growth")
    figures = {"ops_per_s": 1e4, "p50_us": 9.0, "p99_us": 50.0, "cpu_us": 10.0}
    memory = {"empty_bytes": 1e6, "filled_bytes": 3e6, "resident_bytes": 4e6}
    for name, axis in growth.AXES.items():
        for times, size in enumerate(axis.sizes, 1):
            shape = {"axis": name, "size": size}
            grown = {**figures, **memory, "cpu_us": 10.0 * times}
            report.add(f"{size} {name}", "understudy", shape, grown)
    section = page_growth.section(report)
    assert set(section.pictures) == {f"growth-{name}" for name in growth.AXES}
    assert (
        "From 10,000 to 10,000,000 keys that are there, an operation goes from 10 "
        in (section.text)
    )
    assert "4.00 times" in section.text


def test_the_longest_gap_is_found_around_a_moment() -> None:
    class Nothing:
        def write(self, key: bytes) -> None:
            raise failover.Unanswered(key)

        def close(self) -> None: ...

    stream = failover.Stream(Nothing())
    stream.end()
    assert stream.answered == []
    stream.answered = [(0.0, 0.1), (0.1, 3.0), (3.0, 3.1), (3.1, 4.5), (4.5, 4.6)]
    assert stream.gap_s(3.05) == pytest.approx(1.4)
    assert stream.longest_s(0.0, 1.0) == pytest.approx(2.9)


def test_who_is_missing_is_told_and_left_out(tmp_path: Path) -> None:
    done = run(
        *("bench.failover", "--kills", "0", "--stops", "0", "--ping-interval-ms"),
        *("--against", "sentinel", "etcd"),
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "redis-server is missing: apt-get install redis-server" in done.stderr
    assert "etcd is missing: apt-get install etcd-server" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench.failover", "--kills", "-1"),
        ("bench.failover", "--ping-interval-ms", "0"),
        ("bench.transfer", "--keys", "0"),
        ("bench.growth", "--seconds", "0"),
        ("bench.growth", "--axes", "age"),
        ("tests.chaos", "--overload", "--seconds", "0"),
    ],
)
def test_what_makes_no_sense_is_told(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert f"{arguments[-2].removeprefix('--overload')}" in done.stderr


@pytest.mark.parametrize("part", [failover, transfer])
def test_a_run_that_is_ended_leaves_no_process(part: Any) -> None:
    run = subprocess.Popen(
        # Whoever runs in the background has been told to ignore SIGINT.
        ["env", "--default-signal=INT", sys.executable, "-m", part.__name__],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started: list[int] = []
    try:
        end = time.monotonic() + 30
        while len(started := children_of(run.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(started) >= 2
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    finally:
        run.kill()
        run.wait()
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
