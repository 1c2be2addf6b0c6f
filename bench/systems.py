"""
What is measured: each system fresh, on loopback, replicated, and answering a
write when its promise for it holds.

Each system is a context manager: entering starts it and waits until it is
complete, leaving ends it.  No process outlives this one, see
`understudy.daemons`; what a killed run has left in the way of files, the next
one removes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from bench.rows import Load
from understudy.cluster import Cluster, DidNotStart
from understudy.daemons import Daemon, die_with

WAIT_S: Final = 30.0
#: Files are kept in memory, so that no disk is measured; a write waits for it
#: wherever a system syncs.
TMPFS: Final = Path("/dev/shm")
_PREFIX: Final = "bench"


class Missing(Exception):  # noqa: N818 (it says what is missing)
    """Something that has to be installed is not; the text says what, and how to
    get it."""


class System(ABC):
    """Daemons in a directory of their own, and the port to ask at."""

    name: ClassVar = ""
    #: What the native load generator calls it, if not so.
    proto: ClassVar = ""
    #: Whether one native request may be of several commands.
    batches: ClassVar = False

    def __init__(self) -> None:
        #: Where the primary, or leader, listens.
        self.port = 0
        self.daemons: list[Daemon] = []
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = directory(self.name)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):
            daemon.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @abstractmethod
    def start(self) -> None:
        """Run its daemons, and wait until they are complete."""

    def run(self, daemon: Daemon) -> Daemon:
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def daemon(self, name: str, *arguments: str) -> Daemon:
        """Run a program that logs to a file of that name."""
        return self.run(Daemon(name, arguments, self.directory / f"{name}.log"))

    def wait_for(self, what: str, ready: Callable[[], Any]) -> Any:
        """What *ready* returns, as soon as that is true."""
        end = time.monotonic() + WAIT_S
        while not (found := ready()):
            words = [d.last_words() for d in self.daemons if not d.is_running()]
            if words or time.monotonic() > end:
                said = "\n".join(words or [d.last_words(5) for d in self.daemons])
                raise RuntimeError(f"{self.name} is not ready: {what}\n{said}")
            time.sleep(0.02)
        return found

    def cpu_s(self) -> float:
        """What its processes have used so far, of all processors."""
        ticks = 0
        for daemon in self.daemons:
            words = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2]
            ticks += sum(map(int, words.split()[11:13]))
        return float(ticks / os.sysconf("SC_CLK_TCK"))


class Loaded(System):
    """One that is put under the loads of `bench.rows`."""

    #: Who it is, for a table.
    title: ClassVar = ""
    #: What an answer of it means and what it does not, in a sentence or two.
    promise: ClassVar = ""
    #: Whether the native load generator can speak to it.
    is_native: ClassVar = True
    #: There are no reads, or they ask nobody: to look into one's own memory is no
    #: load.
    writes_only: ClassVar = False
    #: The package that a Python program speaks to it with, if that is another.
    spoken_with: ClassVar = ""
    #: Whether it takes long to start, or is far behind: it then takes part in
    #: every other round only.
    is_slow: ClassVar = False

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Raises `Missing`."""

    @classmethod
    def takes(cls, load: Load) -> bool:
        """Whether it can be put under this load, and that would mean something."""
        return (
            (cls.is_native or not load.is_native)
            and (cls.batches or not load.is_collected)
            and not (cls.writes_only and load.reads)
        )

    def program(self) -> Sequence[str]:
        """What `bench.programs` are told of where it is."""
        return (str(self.port),)


class Understudy(Loaded):
    """A view service, a primary and its backup."""

    name = "understudy"
    title = "Understudy, one backup"
    promise = (
        "Linearizable writes and reads. An answer leaves when every server that could"
        " take over has what it depends on; no answer is lost in a failover. In"
        " memory: losing both servers at once loses the data."
    )
    batches = True

    #: The view service's address.
    views = ""

    @classmethod
    def version(cls) -> str:
        return metadata.version("understudy")

    def start(self) -> None:
        # A row is about speed: whatever else keeps the machine busy for a moment
        # must not cause a failover in the middle of it.
        options = ("--volatile", "--dead-pings", "30")
        self._cluster = Cluster(self.directory, ("s1", "s2"), view_options=options)
        self.wait_for("not all listen", self._started)
        self.views = self._cluster.address
        ask = ("status", "--wait", "safe", "--json", "--views", self.views)
        done = ended([sys.executable, "-m", "understudy", *ask], WAIT_S)
        if done.returncode:
            raise RuntimeError(f"understudy is not ready: {done.stderr.strip()}")
        status = json.loads(done.stdout)
        addresses = {each["name"]: each["address"] for each in status["servers"]}
        primary = addresses[status["view"]["primary"]]
        self.port = int(primary.rpartition(":")[2])

    def _started(self) -> bool:
        try:
            return self._cluster.started()
        except DidNotStart as error:
            raise RuntimeError(f"understudy: {error}") from None
        finally:
            self.daemons = self._cluster.all()

    def program(self) -> Sequence[str]:
        return (self.views,)


def directory(name: str) -> Path:
    """A new one, in memory if that can be; its name says whose it is."""
    parent = TMPFS if os.access(TMPFS, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}-*-*"):
        owner = left.name.split("-")[1]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
    prefix = f"{_PREFIX}-{os.getpid()}-{name}-"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def ended(
    arguments: Sequence[Any], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; it ends with this one, however that does.
    Raises RuntimeError if it takes longer."""
    try:
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            # Ctrl-C is for this process, which then ends its children.
            process_group=0,
            preexec_fn=partial(die_with, os.getpid()),
        )
    except subprocess.TimeoutExpired:
        what = " ".join(map(str, arguments))
        raise RuntimeError(f"not done after {timeout_s:.0f} s: {what}") from None
