"""Real processes on two hosts, which are network namespaces of this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import ROOT, wait_for
from understudy.daemons import TWISTD, Daemon

pytestmark = pytest.mark.processes

PORT = 7400
NEAR, FAR = "10.99.0.1", "10.99.0.2"
VIEWS = f"tcp:{NEAR}:{PORT}"


class Hosts:
    """Two hosts with a cable, each with a loopback of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names = {NEAR: f"us-near-{os.getpid()}", FAR: f"us-far-{os.getpid()}"}
        self.daemons: list[Daemon] = []

    def make(self) -> None:
        """Raises OSError or CalledProcessError where this is not possible."""
        near, far = self.names.values()
        ends = f"usn{os.getpid()}", f"usf{os.getpid()}"
        for name in self.names.values():
            _ip("netns", "add", name)
        _ip(*("link", "add", ends[0], "type", "veth", "peer", "name", ends[1]))
        for name, end, ip in ((near, ends[0], NEAR), (far, ends[1], FAR)):
            _ip("link", "set", end, "netns", name)
            _ip("-n", name, "addr", "add", f"{ip}/24", "dev", end)
            for each in (end, "lo"):
                _ip("-n", name, "link", "set", each, "up")

    def drop(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        for name in self.names.values():
            with suppress(OSError, subprocess.CalledProcessError):
                _ip("netns", "del", name)

    def start(self, host: str, name: str, *arguments: str) -> Daemon:
        """A daemon on that host, which listens."""
        inside = ("ip", "netns", "exec", self.names[host], *TWISTD, *arguments)
        daemon = Daemon(name, inside, self.directory / f"{name}.log")
        self.daemons.append(daemon)
        daemon.start()
        wait_for(lambda: daemon.event("listening"), f"{name} to listen")
        return daemon

    def server(self, host: str, name: str, views: str, *more: str) -> Daemon:
        """A server that listens on all addresses of its host."""
        arguments = ("--name", name, "--listen", "tcp:7401", "--views", views)
        return self.start(host, name, "pbserver", *arguments, *more)

    def understudy(
        self, host: str, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """The command, on that host."""
        command = (sys.executable, "-m", "understudy", *arguments, "--timeout", "3")
        return subprocess.run(
            ("ip", "netns", "exec", self.names[host], *command),
            *(),
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=60,
            check=False,
        )

    def status(self, words: str) -> str:
        """What `status` prints on the view service's host, once *words* are in it."""
        seen = [""]

        def look() -> str | None:
            seen[0] = self.understudy(NEAR, "status", "--views", VIEWS).stdout
            return seen[0] if words in seen[0] else None

        return wait_for(look, lambda: f"{words!r} in {seen[0]}")


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if os.geteuid() != 0:
        pytest.skip("only root can make network namespaces")
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command (iproute2)")
    found = Hosts(tmp_path)
    try:
        try:
            found.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
        found.start(NEAR, "views", "viewservice", "--listen", f"tcp:{PORT}")
        yield found
    finally:
        found.drop()


def test_a_loopback_address_is_noticed_by_all_who_meet_it(hosts: Hosts) -> None:
    first = hosts.server(NEAR, "s1", f"tcp:127.0.0.1:{PORT}")
    hosts.status("view 1: primary s1")
    assert first.event("address.doubted") is None
    second = hosts.server(FAR, "s2", VIEWS)
    shown = hosts.status("; acknowledged")
    assert "waiting (address): s1 publishes tcp:127.0.0.1:7401, a loopback" in shown
    assert f"of no use to s2 at {FAR}" in shown
    assert "--advertise tcp:HOST:7401" in shown
    warned = wait_for(lambda: first.event("address.doubted"), "s1 to warn")
    assert f"s2 at {FAR}" in warned["text"]
    assert second.event("address.doubted") is None
    done = hosts.understudy(FAR, "put", "k", "v", "--views", VIEWS)
    assert done.returncode == 4
    assert "a loopback address" in done.stderr
    assert "s1 needs --advertise" in done.stderr


def test_with_advertise_it_works_from_everywhere(hosts: Hosts) -> None:
    first = hosts.server(
        *(NEAR, "s1", f"tcp:127.0.0.1:{PORT}", "--advertise", f"tcp:{NEAR}:7401")
    )
    hosts.status("view 1: primary s1")
    hosts.server(FAR, "s2", VIEWS)
    assert "waiting for nothing" in hosts.status("backup s2; acknowledged")
    for host in (NEAR, FAR):
        done = hosts.understudy(host, "put", "k", "v", "--views", VIEWS)
        assert (done.returncode, done.stderr) == (0, "")
    assert first.event("address.doubted") is None


def test_a_clerk_on_another_host_is_enough(hosts: Hosts) -> None:
    hosts.server(NEAR, "s1", f"tcp:127.0.0.1:{PORT}")
    hosts.status("view 1: primary s1")
    there = hosts.understudy(FAR, "status", "--views", VIEWS).stdout
    assert f"of no use to an observer at {FAR}" in there


def test_a_refused_server_is_shown_where_it_is(hosts: Hosts) -> None:
    hosts.server(NEAR, "s1", f"tcp:127.0.0.1:{PORT}")
    hosts.status("view 1: primary s1")
    hosts.server(FAR, "s1", VIEWS)
    shown = hosts.status("refused: s1")
    assert f"refused: s1 at tcp:{FAR}:7401, called from {FAR}: " in shown


def test_a_server_that_listens_on_loopback_says_so_itself(hosts: Hosts) -> None:
    listen = ("--listen", "tcp:7401:interface=127.0.0.1")
    views = ("--views", VIEWS)
    only = hosts.start(FAR, "s1", "pbserver", "--name", "s1", *listen, *views)
    warned = wait_for(lambda: only.event("address.doubted"), "s1 to warn")
    assert f"the view service at {NEAR}" in warned["text"]
    assert "s1 publishes tcp:127.0.0.1:7401" in hosts.status("view 1: primary s1")
