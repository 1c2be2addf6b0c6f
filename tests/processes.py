"""
Real daemons for tests: started, struck, asked, and never left behind.

Everything here blocks, and waits for conditions only, each with a limit that
says what it waited for.  When a test fails inside `service`, the ends of all logs
are added to what pytest prints.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar

from client import BlockingClerk
from understudy.cluster import Cluster
from understudy.daemons import Daemon, free_port
from understudy.status import is_safe
from wire.addresses import parse_address
from wire.codec import Decoder, encode
from wire.messages import (
    OBSERVER,
    VERSION,
    VIEW_SERVICE,
    Hello,
    Status,
    StatusIs,
)

T = TypeVar("T")
Found = dict[str, Any]

#: The longest that anything may take on a machine that is busy with other tests.
PATIENCE_S = 20.0

ROOT = Path(__file__).resolve().parent.parent


def wait_for(
    look: Callable[[], T | None],
    what: str | Callable[[], str],
    seconds: float = PATIENCE_S,
) -> T:
    """Look again until something is there -> what."""
    end = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > end:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {seconds:g} s: {text}")
        time.sleep(0.01)


def ask_status(address: str, seconds: float = 1.0) -> Found | None:
    """The status document; None: nobody answers there now."""
    decoder = Decoder(VIEW_SERVICE, OBSERVER)
    try:
        with socket.create_connection(parse_address(address), seconds) as asking:
            asking.sendall(encode(Hello(VERSION, OBSERVER)) + encode(Status()))
            while data := asking.recv(65536):
                for message in decoder.feed(data):
                    if isinstance(message, StatusIs):
                        return json.loads(message.document)
    except OSError:
        pass
    return None


class Service:
    """A view service and servers, with ports that stay theirs over restarts."""

    def __init__(
        self,
        directory: Path,
        names: Iterable[str] = ("s1", "s2", "s3"),
        view_options: Iterable[str] = (),
        server_options: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        ports = {"views": free_port(SystemRandom())}
        self.cluster = Cluster(directory, names, ports, view_options, server_options)

    @property
    def views(self) -> Daemon:
        return self.cluster.views

    @property
    def address(self) -> str:
        return self.cluster.address

    def __getitem__(self, name: str) -> Daemon:
        return self.cluster.servers[name]

    def start(self) -> None:
        """Until all listen."""
        wait_for(self.cluster.started, "all daemons to listen")

    def status(self) -> Found:
        """What the view service says now; it must be there."""
        return wait_for(lambda: ask_status(self.address), "an answer to Status")

    def until(
        self,
        holds: Callable[[Found], Any],
        what: str,
        seconds: float = PATIENCE_S,
    ) -> Found:
        """Until a status document *holds* -> that one."""
        seen: list[Found] = []

        def look() -> Found | None:
            found = ask_status(self.address)
            seen[:] = [found] if found else seen
            return found if found and holds(found) else None

        return wait_for(look, lambda: f"{what}; status: {json.dumps(seen)}", seconds)

    def safe(self, without: str | None = None) -> Found:
        """Until the view is acknowledged with all its backups in step, and there
        are some; and *without* is not among them."""
        return self.until(
            lambda found: is_safe(found) and without not in members(found),
            f"an acknowledged view with backups, without {without}",
        )

    def primary(self) -> Daemon:
        """The primary, of a view that is safe."""
        return self[self.safe()["view"]["primary"]]

    def backup(self) -> Daemon:
        """The first backup, of a view that is safe."""
        return self[self.safe()["view"]["backups"][0]]

    def clerk(self, seconds: float = PATIENCE_S) -> BlockingClerk:
        """A clerk of this service, with a limit so that no test hangs."""
        return BlockingClerk(self.address, timeout=seconds)

    def command(
        self, *arguments: str, stdin: bytes = b"", seconds: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``understudy`` with this service."""
        return understudy(
            *arguments, "--views", self.address, stdin=stdin, seconds=seconds
        )

    def last_words(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {each.name}: exit code {each.exit_code()}\n{each.last_words()}"
            for each in self.cluster.all()
        )


@contextmanager
def service(
    directory: Path,
    names: Iterable[str] = ("s1", "s2", "s3"),
    view_options: Iterable[str] = (),
    server_options: Iterable[str] = (),
) -> Iterator[Service]:
    """A running service; on return nothing of it is left."""
    running = Service(directory, names, view_options, server_options)
    try:
        running.start()
        yield running
    except BaseException as error:
        error.add_note(running.last_words())
        raise
    finally:
        for daemon in running.cluster.all():
            daemon.kill()


def understudy(
    *arguments: str,
    stdin: bytes = b"",
    seconds: float = PATIENCE_S,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a user would."""
    return subprocess.run(
        (sys.executable, "-m", "understudy", *arguments),
        input=stdin,
        capture_output=True,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        check=False,
    )


# -- what a status document says -----------------------------------------------------


def members(found: Found) -> set[str]:
    """The names of those who serve."""
    return {found["view"]["primary"], *found["view"]["backups"]}
